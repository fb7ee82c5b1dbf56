"""Charts, each defined once in Altair: for the page, as SVG and as PNG. The only user of Altair and vl-convert.

Their greys are readable on light and dark pages. A chart has a panel for each cell, two side by side.
"""

import base64
import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from typing import Any

import numpy as np

from orchestrator.analysis import stats
from orchestrator.analysis.timed import launched
from orchestrator.analysis.utilisation import SERIES, Series, thinned
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.chart_data import COLOURS, accuracy_lines, are_many, end_labels, few, panels, subjects_of
from orchestrator.report.chart_parts import HEIGHT, INK, WIDTH, Drawing, colour, configured, figure
from orchestrator.report.class_charts import confusions
from orchestrator.report.inference_charts import latencies, pareto, throughput
from orchestrator.report.tables import trial_numbers
from orchestrator.report.training_charts import by_batch, profile
from orchestrator.trial import Cell

LIBRARIES = ("altair", "vl_convert")

CURVE_POINTS = 240  # of one line: more than a panel of this width can show is not needed
ALL_CURVE_POINTS = 20_000  # of all lines of a chart, so that the page of a large run stays small
MOST_CELLS = 24  # of one chart

_RESNET_FIGURES = {"ResNet-20": 2, "ResNet-32": 3}
"""Figures of the paper, by the network that they show at all sizes."""


@dataclass(frozen=True)
class Figure(Drawing):
    """A chart as pictures too."""

    svg: str
    png: bytes


class FiguresMissingError(Exception):
    """There are no figures; the message says why, and how to get them."""


def chart_library() -> str:
    """The script that draws the charts on the page: Vega-Embed with all that it needs, as vl-convert holds it.

    Raises FiguresMissingError if vl-convert fails.
    """
    return _library().result()


def begin_library() -> None:
    """Begin to make it, beside other work: it takes seconds. Nothing happens where charts cannot be drawn."""
    if all(map(find_spec, LIBRARIES)):
        _library()


@cache
def _library() -> "Future[str]":
    return ThreadPoolExecutor(1).submit(_bundled)


def _bundled() -> str:
    code = (
        "import sys, vl_convert as made_by;"
        "sys.stdout.buffer.write(made_by.javascript_bundle('window.vegaEmbed = vegaEmbed;').encode())"
    )
    return _by_child(code).decode()


def _by_child(code: str, given: bytes = b"") -> bytes:
    """What a Python of its own writes that runs `code`: vl-convert lets no other thread run, and may end its process.

    Raises FiguresMissingError if it fails.
    """
    made = subprocess.run(  # noqa: S603 - our own interpreter and text
        [sys.executable, "-c", code],
        check=False,
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for us; the child would print a traceback
    )
    if made.returncode:
        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        why = f"exit code {made.returncode}" if made.returncode > 0 else f"signal {-made.returncode}"
        if limit != resource.RLIM_INFINITY:
            why += f"; `ulimit -v` allows {limit / 2**30:.3g} GiB of addresses, and it reserves more than it uses"
        raise FiguresMissingError(f"The library that draws charts ended by itself ({why}), so there are none.")
    return made.stdout


def panel_charts() -> dict[str, Any]:
    """The charts of one trial, without their data: rows of `at`, which counts from 1, and `value`."""
    import altair

    return {
        name: configured(altair, _series(altair, title, unit), right=16).to_dict(validate=False)
        for name, title, unit in (
            ("steps", "part of the training", "ms"),
            ("losses", "epoch", "loss"),
            ("valid", "epoch", "accuracy"),
        )
    }


def _series(alt: Any, x_title: str, y_title: str) -> Any:
    return (
        alt.Chart(alt.Data(values=[]), width=560, height=140)
        .mark_line(point=alt.OverlayMarkDef(size=16), strokeWidth=1.5, color=COLOURS[0])
        .encode(
            x=alt.X("at:Q", title=x_title, axis=alt.Axis(tickMinStep=1, format="d", grid=False)),
            y=alt.Y("value:Q", title=y_title, scale=alt.Scale(zero=False)),
            tooltip=[alt.Tooltip("at:Q", title=x_title), alt.Tooltip("value:Q", title=y_title)],
        )
    )


def draw(
    stored: StoredRun, studies: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
) -> Callable[[], list[Figure]]:
    """What gives the run's charts; empty ones are left out. They are drawn meanwhile, by other processes.

    studies: the rows of its studies' tables, by the name of the table. Of very many cells charts of trials show the
    first only. Raises FiguresMissingError if Altair or vl-convert is not installed; what is given, if they fail.
    """
    if not all(map(find_spec, LIBRARIES)):
        raise FiguresMissingError("Figures need an extra: pip install -e '.[report]' in the clone.")
    begin_library()
    drawings = _drawings(stored, studies or {})
    workers = max(1, min(os.cpu_count() or 1, len(drawings) // 2))  # to start one takes as long as two charts
    shares = [drawings[at::workers] for at in range(workers)]
    pool = ThreadPoolExecutor(workers)
    waiting = [pool.submit(_pictured, share) for share in shares if share]
    pool.shutdown(wait=False)

    def drawn() -> list[Figure]:
        chart_library()  # the page needs it, too
        figures = {figure.name: figure for share in waiting for figure in share.result()}
        return [figures[drawing.name] for drawing in drawings]

    return drawn


def _drawings(stored: StoredRun, studies: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Drawing]:
    import altair
    from altair.utils.schemapi import debug_mode

    with debug_mode(False):  # checking each part against the schema takes longer than all else; a test does it
        return _all(altair, stored, studies)


def _all(altair: Any, stored: StoredRun, studies: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[Drawing]:
    ok = _ok(stored)
    cells = _cells(ok)[:MOST_CELLS]
    ok = [job for job in ok if job.trial.cell in cells]
    watched = list({(job.trial.subject, job.trial.cell): job for job in reversed(ok)}.values())
    curves = [_curve(altair, watched, series) for series in SERIES]
    return [
        *_ranks(altair, studies.get("ranks", ())),
        *_study(altair, studies.get("study-epochs", ())),
        *_roofline(altair, studies.get("limit", ())),
        *latencies(altair, ok),
        *throughput(altair, studies.get("inference", ())),
        *profile(altair, studies.get("profile", ())),
        *by_batch(altair, studies.get("batches", ())),
        *pareto(altair, studies.get("pareto", ())),
        *_accuracy(altair, ok),
        *confusions(altair, stored, ok),
        *_epochs(altair, ok),
        *_drift(altair, ok),
        *(drawing for curve in curves for drawing in curve),
    ]


_PICTURED = """
import base64, json, sys, vl_convert
made = []
for chart in json.load(sys.stdin):
    svg = vl_convert.vegalite_to_svg(chart)
    made.append([svg, base64.b64encode(vl_convert.svg_to_png(svg, scale=2)).decode()])
json.dump(made, sys.stdout)
"""


def _pictured(drawings: Sequence[Drawing]) -> list[Figure]:
    asked = json.dumps([drawing.chart for drawing in drawings]).encode()
    made = json.loads(_by_child(_PICTURED, asked))
    return [
        Figure(drawing.name, drawing.title, drawing.alt, drawing.chart, svg, base64.b64decode(png))
        for drawing, (svg, png) in zip(drawings, made, strict=True)
    ]


def left_out(stored: StoredRun) -> str:
    """A sentence about cells that charts of trials do not show; '' if they show all."""
    cells = len(_cells(_ok(stored)))
    if cells <= MOST_CELLS:
        return ""
    return f"Charts of trials show the first {MOST_CELLS} of {cells} cells; results.csv has all."


def _ok(stored: StoredRun) -> list[StoredTrial]:
    return [trial for trial in stored.trials if trial.outcome.status == "ok"]


def _cells(trials: Sequence[StoredTrial]) -> list[Cell]:
    return list(dict.fromkeys(job.trial.cell for job in trials))


def _ranks(alt: Any, rows: Sequence[Mapping[str, Any]]) -> list[Drawing]:
    """The interval of each rank as a bar from its first to its last place."""
    if not rows:
        return []
    whole = alt.Axis(format="d", tickMinStep=1)
    ends = [{**row, "from": row["rank_low"] - 0.4, "to": row["rank_high"] + 0.4} for row in rows]
    subjects = list(dict.fromkeys(row["subject"] for row in rows))
    chart = (
        alt.Chart(alt.Data(values=ends), width=WIDTH, height=alt.Step(22))
        .mark_bar(height=9, cornerRadius=4, opacity=0.85)
        .encode(
            x=alt.X("from:Q", title="rank, 1 is the fastest", axis=whole, scale=alt.Scale(zero=False)),
            x2=alt.X2("to:Q"),
            y=alt.Y("subject:N", title=None, sort=subjects),
            color=alt.Color("subject:N", legend=None, sort=subjects, scale=alt.Scale(range=COLOURS)),
            tooltip=["subject:N", "rank_low:Q", "rank_high:Q"],
        )
    )
    alt_text = f"Bars: the interval of the rank of each of {len(subjects)} subjects by speed, a panel per cell."
    title = "Ranks by speed, with their intervals"
    return [figure(alt, "ranks", title, f"{alt_text} Numbers: ranks.csv.", chart)]


def _study(alt: Any, rows: Sequence[Mapping[str, Any]]) -> list[Drawing]:
    """Seconds of an epoch as the paper draws them: by size in its figures 2 and 3, by network in its figure 4."""
    subjects = {row["subject"] for row in rows}
    frameworks = {subject.partition(":")[0] for subject in subjects}
    bars = []
    for row in rows:
        framework = row["subject"].partition(":")[0]
        ours = framework if len(frameworks) == len(subjects) else row["subject"]
        shown = (("here", ours, row["epoch_s"]), ("the paper", framework, row["epoch_paper_s"]))
        for whose, subject, seconds in shown:
            of_size = _RESNET_FIGURES.get(row["network"])
            if of_size:
                panel = f"figure {of_size}, {row['network']}, {row['device']}, {whose}"
                bars.append({"cell": panel, "x": str(row["input_size"]), "subject": subject, "seconds": seconds})
            if row["input_size"] == 48:
                panel = f"figure 4, 48x48, {row['device']}, {whose}"
                bars.append({"cell": panel, "x": row["network"], "subject": subject, "seconds": seconds})
    distinct = {tuple(bar.items()): bar for bar in bars if bar["seconds"] is not None}
    if len(subjects) < 2:
        return []
    names = sorted({bar["subject"] for bar in distinct.values()})
    chart = (
        alt.Chart(alt.Data(values=list(distinct.values())), width=WIDTH, height=HEIGHT)
        .mark_bar(opacity=0.85)
        .encode(
            x=alt.X("x:N", title=None, axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("subject:N", sort=names),
            y=alt.Y("seconds:Q", title="seconds per epoch"),
            color=alt.Color(
                "subject:N", sort=names, scale=alt.Scale(range=COLOURS), legend=alt.Legend(title=None, orient="top")
            ),
            tooltip=["subject:N", "x:N", alt.Tooltip("seconds:Q", format=".4g")],
        )
    )
    alt_text = "Bars: seconds of an epoch of the study by framework, here and in the paper. Numbers: study-epochs.csv."
    title = "Seconds per epoch, as in the paper's figures 2 to 4"
    return [figure(alt, "study-epochs", title, alt_text, chart, grouped="xOffset")]


def _roofline(alt: Any, rows: Sequence[Mapping[str, Any]]) -> list[Drawing]:
    """Speeds below the roof of the machine, against the operations for each byte."""
    if not rows:
        return []
    peak, copies = rows[0]["peak_gflops"], rows[0]["copy_gb_per_second"]
    ends = [row["intensity"] for row in rows]
    low, high = min(*ends, peak / copies) / 2, max(*ends, peak / copies) * 2
    roof = [{"intensity": at, "gflops": min(peak, copies * at)} for at in (low, peak / copies, high)]
    subjects = sorted({row["subject"] for row in rows})
    x = alt.X(
        "intensity:Q",
        title="operations for each byte",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(grid=False),
    )
    y = alt.Y("gflops:Q", title="GFLOP/s", scale=alt.Scale(type="log"))
    points = [{**row, "cell": row["cell"], "roof": False, "order": at} for at, row in enumerate(rows)]
    cells = list(dict.fromkeys(row["cell"] for row in rows))
    lines = [{**point, "cell": cell, "roof": True, "order": at} for cell in cells for at, point in enumerate(roof)]
    legend = alt.Legend(title=None, orient="top", symbolType="circle", symbolSize=60, columnPadding=24)
    chart = alt.layer(
        alt.Chart()
        .mark_line(color=INK, strokeWidth=1.5)
        .transform_filter("datum.roof")
        .encode(x=x, y=y, order="order:Q"),
        alt.Chart()
        .mark_point(size=60, filled=True, opacity=0.85)
        .transform_filter("!datum.roof")
        .encode(
            x=x,
            y=y,
            color=alt.Color("subject:N", sort=subjects, scale=alt.Scale(range=COLOURS), legend=legend),
            tooltip=["subject:N", alt.Tooltip("gflops:Q", format=".4g"), alt.Tooltip("intensity:Q", format=".4g")],
        ),
        data=alt.Data(values=[*lines, *points]),
        width=WIDTH,
        height=HEIGHT,
    )
    alt_text = f"Dots: GFLOP/s of each of {len(rows)} rows below a line, the roof of the machine. Numbers: limit.csv."
    return [figure(alt, "roofline", "Speeds below the roof of this machine", alt_text, chart)]


def _accuracy(alt: Any, trials: list[StoredTrial]) -> list[Drawing]:
    shown, what = accuracy_lines(trials)
    if not shown:
        return []
    last = max(point["epoch"] for point in shown)
    ticks = list(range(1, last + 1)) if last <= 12 else alt.Undefined
    x = alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d", grid=False, values=ticks))
    y = alt.Y("accuracy:Q", title="validation accuracy", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False))
    tooltip = ["subject:N", "epoch:Q", alt.Tooltip("accuracy:Q", format=".2%")]
    line = alt.Chart().mark_line(point=alt.OverlayMarkDef(size=22), strokeWidth=1.5, opacity=0.85)
    chart = _labelled(alt, line, trials, shown, x, y, "epoch", "accuracy", detail="process:N", tooltip=tooltip)
    alt_text = f"Lines: validation accuracy after each epoch, {what}, of {len(trials)} trials, a panel per cell."
    title = "Validation accuracy after each epoch"
    return [
        figure(alt, "accuracy", title, f"{alt_text} Numbers: results.csv.", chart, trials, shared="y"),
    ]


def _labelled(
    alt: Any,
    line: Any,
    trials: Sequence[StoredTrial],
    points: Sequence[Mapping[str, Any]],
    x: Any,
    y: Any,
    x_name: str,
    y_name: str,
    **encoding: Any,
) -> Any:
    """Lines with the subject's name at the end of each, or with legends if there are very many subjects."""
    data = [{**point, "label": False} for point in points]
    if are_many(trials):
        chart = line.encode(x=x, y=y, color=colour(alt, trials), **encoding)
        return chart.properties(data=alt.Data(values=data), width=WIDTH, height=HEIGHT)
    scale = alt.Scale(range=COLOURS, domain=subjects_of(trials))
    color = alt.Color("subject:N", legend=None, sort=subjects_of(trials), scale=scale)
    names = alt.Chart().mark_text(align="left", dx=7, fontSize=11)
    return alt.layer(
        line.transform_filter("!datum.label").encode(x=x, y=y, color=color, **encoding),
        names.transform_filter("datum.label").encode(x=x, y=y, color=color, text="subject:N"),
        data=alt.Data(values=[*data, *end_labels(points, x_name, y_name)]),
        width=WIDTH,
        height=HEIGHT,
    )


def _epochs(alt: Any, trials: list[StoredTrial]) -> list[Drawing]:
    trials = few([job for job in trials if job.timeline.epochs])
    if not trials:
        return []
    panel = panels(trials)
    points = [{**panel(job), "trial": job.record.ordinal, "seconds": trial_numbers(job).epoch_s} for job in trials]
    chart = (
        alt.Chart(alt.Data(values=points), width=WIDTH, height=alt.Step(22))
        .mark_point(size=55, filled=True, opacity=0.7)
        .encode(
            x=alt.X("seconds:Q", title="seconds per epoch", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=6)),
            y=alt.Y("subject:N", title=None, sort=subjects_of(trials), axis=alt.Axis(grid=True)),
            color=alt.Color("subject:N", legend=None, sort=subjects_of(trials), scale=alt.Scale(range=COLOURS)),
            tooltip=["subject:N", "trial:Q", alt.Tooltip("seconds:Q", format=".4g")],
        )
    )
    alt_text = (
        f"Dots: seconds per epoch, one dot for each of {len(points)} trials, a row per framework, a panel per cell."
    )
    title = "Seconds per epoch, a dot per repeat"
    return [figure(alt, "epochs", title, f"{alt_text} Numbers: results.csv.", chart, trials)]


def _drift(alt: Any, trials: list[StoredTrial]) -> list[Drawing]:
    """The speed of each trial against the order in which they ran, as a share of its row's median."""
    rows: dict[tuple[str, str], list[tuple[int, float]]] = {}
    ordered = sorted((job for job in trials if job.timeline.steady_steps.size), key=launched)
    placed = few(list(enumerate(ordered, start=1)))
    trials = [trial for _, trial in placed]
    panel = panels(trials)
    for place, job in placed:
        key = panel(job)["cell"], job.trial.subject
        rows.setdefault(key, []).append((place, stats.median(job.timeline.steady_steps)))
    points = [
        {
            "cell": key[0],
            "subject": key[1],
            "place": place,
            "share": seconds / middle - 1,
        }
        for key, members in rows.items()
        for middle in [float(np.median([seconds for _, seconds in members]))]
        if len(members) > 1
        for place, seconds in members
    ]
    if not points:
        return []
    chart = (
        alt.Chart(alt.Data(values=points), width=WIDTH, height=HEIGHT)
        .mark_point(size=40, filled=True, opacity=0.75)
        .encode(
            x=alt.X(
                "place:Q", title="order of the trials in the run", axis=alt.Axis(tickMinStep=1, format="d", grid=False)
            ),
            y=alt.Y("share:Q", title="step, off its median", axis=alt.Axis(format="+%")),
            color=colour(alt, trials),
            shape=alt.Shape("subject:N", legend=None, sort=subjects_of(trials)),
            tooltip=["subject:N", "place:Q", alt.Tooltip("share:Q", format="+.1%")],
        )
    )
    alt_text = f"Dots: the median step of each of {len(points)} trials against their order, off the median of its row."
    title = "Drift: the step of each trial against the order of the trials"
    return [figure(alt, "drift", title, f"{alt_text} Numbers: results.csv.", chart, trials, shared="x")]


def _curve(alt: Any, trials: list[StoredTrial], series: Series) -> list[Drawing]:
    """`series` over the time of each trial, with a dot where an epoch ended."""
    lines, dots, drawn, panel_of = [], [], [], panels(trials)
    most = max(30, min(CURVE_POINTS, ALL_CURVE_POINTS // max(1, len(trials))))
    for job in trials:
        times, values = thinned(job.samples, series.read, most)
        if times.size < 2:
            continue
        drawn.append(job)
        panel = panel_of(job)
        began = job.samples[0].unix
        lines += [{**panel, "seconds": time - began, "value": value} for time, value in zip(times, values, strict=True)]
        dots += [
            {**panel, "seconds": end - began, "value": float(np.interp(end, times, values))}
            for _, end in job.timeline.epoch_spans
        ]
    if not drawn:
        return []
    encoding = {
        "x": alt.X("seconds:Q", title="seconds since the launch", axis=alt.Axis(grid=False)),
        "y": alt.Y("value:Q", title=series.unit, scale=alt.Scale(zero=series.unit == "%")),
        "color": colour(alt, drawn),
        "tooltip": ["subject:N", alt.Tooltip("seconds:Q", format=".0f"), alt.Tooltip("value:Q", format=".4g")],
    }
    chart = alt.layer(
        alt.Chart().mark_line(strokeWidth=1.3, opacity=0.85).transform_filter("datum.is_line").encode(**encoding),
        alt.Chart().mark_point(size=22, filled=True).transform_filter("!datum.is_line").encode(**encoding),
        data=alt.Data(values=[{**row, "is_line": True} for row in lines] + [{**row, "is_line": False} for row in dots]),
        width=WIDTH,
        height=HEIGHT,
    )
    title = f"{series.title[0].upper()}{series.title[1:]}, over one trial of each; a dot ends an epoch"
    alt_text = f"Lines: {series.title} in {series.unit}, a line for each of {len(drawn)} trials, a panel per cell."
    name = series.name.replace("_", "-")
    return [figure(alt, name, title, f"{alt_text} Numbers: results.csv.", chart, trials)]
