"""Charts as SVG, with greys that are readable on light and dark pages. The only user of Altair and vl-convert."""

import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from orchestrator.analysis.timed import timed_run
from orchestrator.analysis.utilisation import SERIES, Series, thinned
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.tables import trial_numbers

# After Okabe and Ito 2008, for every kind of colour vision; the blue is lighter, to be readable on dark pages.
COLOURS = ["#2A87C8", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#8C8C8C", "#B8A800"]
INK = "#7d838c"
LINE = "#7d838c40"
WIDTH = 280
CURVE_POINTS = 240  # of one line: more than a panel of this width can show is not needed


_RESNET_FIGURES = {"ResNet-20": 2, "ResNet-32": 3}
"""Figures of the paper, by the network that they show at all sizes."""


@dataclass(frozen=True)
class Figure:
    """One chart. name: of its file, without .svg; alt: its content in words, for screen readers."""

    name: str
    title: str
    alt: str
    svg: str


class FiguresMissingError(Exception):
    """The extra for figures is not installed; the message says how to get it."""


def draw(stored: StoredRun, studies: Mapping[str, Sequence[Mapping[str, Any]]] | None = None) -> list[Figure]:
    """The run's charts; empty ones are left out. studies: the rows of its studies' tables, by the name of the table.

    Raises FiguresMissingError if Altair or vl-convert is not installed.
    """
    try:
        import altair
        import vl_convert  # noqa: F401  Altair asks for it only when it saves
    except ImportError:
        raise FiguresMissingError("Figures need an extra: pip install -e '.[report]' in the clone.") from None
    ok = [trial for trial in stored.trials if trial.outcome.status == "ok"]
    watched = list({(one.trial.subject, one.trial.cell): one for one in reversed(ok)}.values())
    studies = studies or {}
    curves = [_curve(altair, watched, series) for series in SERIES]
    return [
        *_ranks(altair, studies.get("ranks", ())),
        *_study(altair, studies.get("study-epochs", ())),
        *_roofline(altair, studies.get("limit", ())),
        *_accuracy(altair, ok),
        *_epochs(altair, ok),
        *_drift(altair, ok),
        *(figure for curve in curves for figure in curve),
    ]


def _ranks(alt: Any, rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
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
        )
    )
    alt_text = f"Bars: the interval of the rank of each of {len(subjects)} subjects by speed, a panel per cell."
    return [
        Figure("ranks", "Ranks by speed, with their intervals", f"{alt_text} Numbers: ranks.csv.", _svg(alt, chart))
    ]


def _study(alt: Any, rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
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
        alt.Chart(alt.Data(values=list(distinct.values())), width=WIDTH, height=180)
        .mark_bar(opacity=0.85)
        .encode(
            x=alt.X("x:N", title=None, axis=alt.Axis(labelAngle=0)),
            xOffset=alt.XOffset("subject:N", sort=names),
            y=alt.Y("seconds:Q", title="seconds per epoch"),
            color=alt.Color(
                "subject:N", sort=names, scale=alt.Scale(range=COLOURS), legend=alt.Legend(title=None, orient="top")
            ),
        )
    )
    alt_text = "Bars: seconds of an epoch of the study by framework, here and in the paper. Numbers: study-epochs.csv."
    return [
        Figure(
            "study-epochs",
            "Seconds per epoch, as in the paper's figures 2 to 4",
            alt_text,
            _svg(alt, chart, grouped="xOffset"),
        )
    ]


def _roofline(alt: Any, rows: Sequence[Mapping[str, Any]]) -> list[Figure]:
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
        .encode(x=x, y=y, color=alt.Color("subject:N", sort=subjects, scale=alt.Scale(range=COLOURS), legend=legend)),
        data=alt.Data(values=[*lines, *points]),
        width=WIDTH,
        height=180,
    )
    alt_text = f"Dots: GFLOP/s of each of {len(rows)} rows below a line, the roof of the machine. Numbers: limit.csv."
    return [Figure("roofline", "Speeds below the roof of this machine", alt_text, _svg(alt, chart))]


def _accuracy(alt: Any, trials: list[StoredTrial]) -> list[Figure]:
    panel = _panels(trials)
    points = [
        {**panel(one), "process": one.record.ordinal, "epoch": score.epoch + 1, "accuracy": score.accuracy}
        for one in trials
        for score in one.timeline.scores
        if score.split == "valid"
    ]
    if not points:
        return []
    chart = (
        alt.Chart(alt.Data(values=points), width=WIDTH, height=200)
        .mark_line(point=alt.OverlayMarkDef(size=22), strokeWidth=1.5, opacity=0.85)
        .encode(
            x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d", grid=False)),
            y=alt.Y("accuracy:Q", title="validation accuracy", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False)),
            color=_colour(alt, trials),
            shape=alt.Shape("subject:N", legend=None, sort=_subjects(trials)),
            detail="process:N",
        )
    )
    alt_text = (
        f"Lines: validation accuracy after each epoch, a line for each of {len(trials)} trials, a panel per cell."
    )
    svg = _svg(alt, chart, trials, shared="y")
    return [Figure("accuracy", "Validation accuracy after each epoch", f"{alt_text} Numbers: results.csv.", svg)]


def _epochs(alt: Any, trials: list[StoredTrial]) -> list[Figure]:
    panel = _panels(trials)
    points = [{**panel(one), "seconds": trial_numbers(one).epoch_s} for one in trials if one.timeline.epochs]
    if not points:
        return []
    chart = (
        alt.Chart(alt.Data(values=points), width=WIDTH, height=alt.Step(22))
        .mark_point(size=55, filled=True, opacity=0.7)
        .encode(
            x=alt.X("seconds:Q", title="seconds per epoch", scale=alt.Scale(zero=True), axis=alt.Axis(tickCount=6)),
            y=alt.Y("subject:N", title=None, sort=_subjects(trials), axis=alt.Axis(grid=True)),
            color=alt.Color("subject:N", legend=None, sort=_subjects(trials), scale=alt.Scale(range=COLOURS)),
        )
    )
    alt_text = (
        f"Dots: seconds per epoch, one dot for each of {len(points)} trials, a row per framework, a panel per cell."
    )
    svg = _svg(alt, chart, trials)
    return [Figure("epochs", "Seconds per epoch, a dot per repeat", f"{alt_text} Numbers: results.csv.", svg)]


def _drift(alt: Any, trials: list[StoredTrial]) -> list[Figure]:
    """The speed of each trial against the order in which they ran, as a share of its row's median."""
    trials = [one for one in trials if one.timeline.steady_steps.size]
    rows: dict[tuple[str, str], list[tuple[int, float]]] = {}
    panel = _panels(trials)
    for place, one in enumerate(sorted(trials, key=lambda one: timed_run(one).place), start=1):
        key = panel(one)["cell"], one.trial.subject
        rows.setdefault(key, []).append((place, float(np.median(one.timeline.steady_steps))))
    points = [
        {
            "cell": key[0],
            "subject": key[1],
            "place": place,
            "share": seconds / float(np.median([own for _, own in of])) - 1,
        }
        for key, of in rows.items()
        if len(of) > 1
        for place, seconds in of
    ]
    if not points:
        return []
    chart = (
        alt.Chart(alt.Data(values=points), width=WIDTH, height=140)
        .mark_point(size=40, filled=True, opacity=0.75)
        .encode(
            x=alt.X(
                "place:Q", title="order of the trials in the run", axis=alt.Axis(tickMinStep=1, format="d", grid=False)
            ),
            y=alt.Y("share:Q", title="step, off its median", axis=alt.Axis(format="+%")),
            color=_colour(alt, trials),
            shape=alt.Shape("subject:N", legend=None, sort=_subjects(trials)),
        )
    )
    alt_text = f"Dots: the median step of each of {len(points)} trials against their order, off the median of its row."
    title = "Drift: the step of each trial against the order of the trials"
    return [Figure("drift", title, f"{alt_text} Numbers: results.csv.", _svg(alt, chart, trials, shared="x"))]


def _curve(alt: Any, trials: list[StoredTrial], series: Series) -> list[Figure]:
    """`series` over the time of each trial, with a dot where an epoch ended."""
    lines, dots, drawn, panel_of = [], [], [], _panels(trials)
    for one in trials:
        times, values = thinned(one.samples, series.read, CURVE_POINTS)
        if times.size < 2:
            continue
        drawn.append(one)
        panel = panel_of(one)
        began = one.samples[0].unix
        lines += [{**panel, "seconds": time - began, "value": value} for time, value in zip(times, values, strict=True)]
        dots += [
            {**panel, "seconds": end - began, "value": float(np.interp(end, times, values))}
            for _, end in one.timeline.epoch_spans
        ]
    if not drawn:
        return []
    encoding = {
        "x": alt.X("seconds:Q", title="seconds since the launch", axis=alt.Axis(grid=False)),
        "y": alt.Y("value:Q", title=series.unit, scale=alt.Scale(zero=series.unit == "%")),
        "color": _colour(alt, drawn),
    }
    chart = alt.layer(
        alt.Chart().mark_line(strokeWidth=1.3, opacity=0.85).transform_filter("datum.is_line").encode(**encoding),
        alt.Chart().mark_point(size=22, filled=True).transform_filter("!datum.is_line").encode(**encoding),
        data=alt.Data(values=[{**row, "is_line": True} for row in lines] + [{**row, "is_line": False} for row in dots]),
        width=WIDTH,
        height=140,
    )
    title = f"{series.title[0].upper()}{series.title[1:]}, over one trial of each; a dot ends an epoch"
    alt_text = f"Lines: {series.title} in {series.unit}, a line for each of {len(drawn)} trials, a panel per cell."
    return [Figure(series.name.replace("_", "-"), title, f"{alt_text} Numbers: results.csv.", _svg(alt, chart, trials))]


def _panels(trials: Sequence[StoredTrial]) -> Callable[[StoredTrial], dict[str, Any]]:
    """The subject of a trial and the title of its panel: its cell, and its framework where colours run out."""
    is_split = _are_many(trials)

    def panel(one: StoredTrial) -> dict[str, Any]:
        title = f"{one.trial.cell.title} · {one.trial.framework}" if is_split else one.trial.cell.title
        return {"subject": one.trial.subject, "cell": title}

    return panel


def _are_many(trials: Sequence[StoredTrial]) -> bool:
    return len(_subjects(trials)) > len(COLOURS)


def _subjects(trials: Sequence[StoredTrial]) -> list[str]:
    return sorted({one.trial.subject for one in trials})


def _colour(alt: Any, trials: list[StoredTrial]) -> Any:
    legend = alt.Legend(title=None, orient="top", symbolType="circle", symbolSize=60, columnPadding=24)
    order = None if _are_many(trials) else _subjects(trials)
    return alt.Color("subject:N", legend=legend, sort=order or alt.Undefined, scale=alt.Scale(range=COLOURS))


def _svg(alt: Any, chart: Any, trials: Sequence[StoredTrial] = (), shared: str = "", grouped: str = "") -> str:
    """The chart with a panel per cell, three side by side.

    trials: those that it shows by colour; of many subjects each panel has colours and a legend of its own.
    shared: the axes that all panels have in common, because they are read against each other.
    grouped: the channel that sets bars side by side, if there is one.
    """
    own = "independent" if _are_many(trials) else "shared"
    axes = {axis: "shared" if axis in shared else "independent" for axis in ("x", "y", *([grouped] if grouped else []))}
    panels = (
        chart.facet(facet=alt.Facet("cell:N", title=None), columns=3, spacing=36)
        .resolve_scale(**axes, color=own, shape=own)
        .resolve_legend(color=own)
        .configure(
            background="transparent",
            font="system-ui, sans-serif",
            padding={"left": 28, "right": 16, "top": 4, "bottom": 4},
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK, titleColor=INK, domainColor=INK, tickColor=INK, gridColor=LINE, titleFontWeight=400
        )
        .configure_header(labelColor=INK, labelFontSize=13, labelFontWeight=600, labelAnchor="start")
        .configure_legend(labelColor=INK, labelFontSize=12)
    )
    file = io.StringIO()
    panels.save(file, format="svg")
    return file.getvalue()
