"""Charts of an inference: latencies as cumulative shares, throughput over batches, accuracy against latency."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestrator.records.stored import StoredTrial
from orchestrator.report.chart_data import COLOURS, panels
from orchestrator.report.chart_parts import HEIGHT, INK, WIDTH, Drawing, colour, figure

Row = Mapping[str, Any]

POINTS = 101
"""Of one line: every per cent."""


def latencies(alt: Any, trials: Sequence[StoredTrial]) -> list[Drawing]:
    """The share of queries that took no longer, a line for each subject; of all its repeats together."""
    together: dict[tuple[str, str], list[float]] = {}
    shown = [job for job in trials if job.trial.inference and job.trial.inference.scenario != "offline"]
    panel_of = panels(shown)
    for job in shown:
        if job.timeline.queries:
            key = panel_of(job)["cell"], job.trial.subject
            together.setdefault(key, []).extend(job.timeline.queries.latency_seconds)
    if not together:
        return []
    shares = np.linspace(0, 1, POINTS)
    points = [
        {"cell": cell, "subject": subject, "ms": ms, "share": share}
        for (cell, subject), seconds in together.items()
        for ms, share in zip((np.quantile(seconds, shares) * 1000).tolist(), shares.tolist(), strict=True)
    ]
    chart = (
        alt.Chart(alt.Data(values=points), width=WIDTH, height=HEIGHT)
        .mark_line(strokeWidth=1.5, opacity=0.85)
        .encode(
            x=alt.X("ms:Q", title="latency, ms", scale=alt.Scale(type="log"), axis=alt.Axis(grid=False)),
            y=alt.Y("share:Q", title="queries that took no longer", axis=alt.Axis(format="%")),
            order="share:Q",
            color=colour(alt, shown),
            tooltip=["subject:N", alt.Tooltip("ms:Q", format=".4g"), alt.Tooltip("share:Q", format=".0%")],
        )
    )
    alt_text = f"Lines: the share of queries by latency, of {len(together)} rows, a panel per cell."
    title = "Latencies: the share of queries that took no longer"
    return [figure(alt, "latencies", title, f"{alt_text} Numbers: inference.csv.", chart, shown)]


def throughput(alt: Any, rows: Sequence[Row]) -> list[Drawing]:
    """Pictures a second over the size of the batch, where several sizes were asked for."""
    points = [
        {
            "cell": f"{row['network']} {row['device']}",
            "subject": row["subject"],
            "batch": row["batch_size"],
            "images": row["images_per_second"],
        }
        for row in rows
        if row.get("scenario") == "offline" and row.get("images_per_second")
    ]
    if len({point["batch"] for point in points}) < 2:
        return []
    subjects = sorted({point["subject"] for point in points})
    legend = alt.Legend(title=None, orient="top", symbolType="circle", symbolSize=60, columnPadding=24)
    chart = (
        alt.Chart(alt.Data(values=points), width=WIDTH, height=HEIGHT)
        .mark_line(point=alt.OverlayMarkDef(size=30), strokeWidth=1.5, opacity=0.85)
        .encode(
            x=alt.X("batch:Q", title="pictures of a batch", scale=alt.Scale(type="log", base=2)),
            y=alt.Y("images:Q", title="pictures a second"),
            color=alt.Color("subject:N", sort=subjects, scale=alt.Scale(range=COLOURS), legend=legend),
            tooltip=["subject:N", "batch:Q", alt.Tooltip("images:Q", format=".4g")],
        )
    )
    alt_text = f"Lines: pictures a second by size of the batch, of {len(subjects)} subjects. Numbers: inference.csv."
    return [figure(alt, "throughput", "Throughput over the size of the batch", alt_text, chart)]


def pareto(alt: Any, rows: Sequence[Row]) -> list[Drawing]:
    """Accuracy against latency; a line joins those that nothing beats in both."""
    if len({row["network"] for row in rows}) < 2:
        return []
    points = [{**row, "cell": row["device"], "on": bool(row["front"])} for row in rows]
    networks = sorted({row["network"] for row in rows})
    x = alt.X("p50_ms:Q", title="median latency of one picture, ms", scale=alt.Scale(type="log"))
    y = alt.Y("accuracy_test:Q", title="test accuracy", axis=alt.Axis(format="%"), scale=alt.Scale(zero=False))
    legend = alt.Legend(title=None, orient="top", symbolType="circle", symbolSize=60, columnPadding=24)
    tooltip = ["subject:N", "network:N", alt.Tooltip("p50_ms:Q", format=".4g")]
    chart = alt.layer(
        alt.Chart()
        .mark_line(color=INK, strokeWidth=1.2)
        .transform_filter("datum.on")
        .encode(x=x, y=y, order="p50_ms:Q"),
        alt.Chart()
        .mark_point(size=55, filled=True, opacity=0.8)
        .encode(
            x=x,
            y=y,
            color=alt.Color("network:N", sort=networks, scale=alt.Scale(range=COLOURS), legend=legend),
            tooltip=[*tooltip, alt.Tooltip("accuracy_test:Q", format=".2%")],
        ),
        data=alt.Data(values=points),
        width=WIDTH,
        height=HEIGHT,
    )
    alt_text = (
        f"Dots: test accuracy against median latency of {len(rows)} rows; a line joins the best. Numbers: pareto.csv."
    )
    return [figure(alt, "pareto", "Accuracy against latency", alt_text, chart)]
