"""Charts of trainings: throughput and memory over the size of the batch, and the performance profile of a target."""

from collections.abc import Mapping, Sequence
from typing import Any

from orchestrator.report.chart_data import COLOURS
from orchestrator.report.chart_parts import HEIGHT, WIDTH, Drawing, figure

Row = Mapping[str, Any]

BEYOND = 1.1
"""How much farther than its last point the lines of a profile go."""


def by_batch(alt: Any, rows: Sequence[Row]) -> list[Drawing]:
    """Pictures a second, the step and the memory over the size of the batch."""
    shown = [row for row in rows if row["images_per_second"]]
    if len({row["batch_size"] for row in shown}) < 2:
        return []
    what = (
        ("images_per_second", "pictures a second", "log"),
        ("step_ms", "step, ms", "log"),
        ("peak_gib", "memory of the process, GiB", "linear"),
    )
    drawings = []
    for key, title, scale in what:
        points = [
            {"cell": row["cell"], "subject": row["subject"], "batch": row["batch_size"], "value": row[key]}
            for row in shown
            if row[key]
        ]
        if points:
            chart = (
                alt.Chart(alt.Data(values=points), width=WIDTH, height=HEIGHT)
                .mark_line(point=alt.OverlayMarkDef(size=30), strokeWidth=1.5, opacity=0.85)
                .encode(
                    x=alt.X("batch:Q", title="pictures of a batch", scale=alt.Scale(type="log", base=2)),
                    y=alt.Y("value:Q", title=title, scale=alt.Scale(type=scale)),
                    color=_colour(alt, points),
                    tooltip=["subject:N", "batch:Q", alt.Tooltip("value:Q", format=".4g")],
                )
            )
            name = f"batches-{key.replace('_', '-')}"
            text = f"Lines: {title} by size of the batch, a panel per network. Numbers: study-batches.csv."
            drawings.append(figure(alt, name, f"Batch sizes: {title}", text, chart))
    return drawings


def profile(alt: Any, rows: Sequence[Row]) -> list[Drawing]:
    """The share of cells that a subject solves within so many times the best seconds."""
    if not rows:
        return []
    end = BEYOND * max(row["ratio"] for row in rows)
    points = []
    for subject in sorted({row["subject"] for row in rows}):
        own = [row for row in rows if row["subject"] == subject]
        steps = [(1.0, 0.0), *((row["ratio"], row["share_solved"]) for row in own), (end, own[-1]["share_solved"])]
        points += [
            {"cell": "all cells", "subject": subject, "ratio": ratio, "share": share, "at": at}
            for at, (ratio, share) in enumerate(steps)
        ]
    chart = (
        alt.Chart(alt.Data(values=points), width=WIDTH, height=HEIGHT)
        .mark_line(interpolate="step-after", strokeWidth=1.8, opacity=0.85)
        .encode(
            x=alt.X("ratio:Q", title="times the best seconds of a cell", scale=alt.Scale(type="log")),
            y=alt.Y("share:Q", title="cells solved", axis=alt.Axis(format="%")),
            order="at:Q",
            color=_colour(alt, points),
            tooltip=["subject:N", alt.Tooltip("ratio:Q", format=".3g"), alt.Tooltip("share:Q", format=".0%")],
        )
    )
    text = "Steps: the share of cells in which a subject reached the target within so many times the best seconds."
    return [figure(alt, "profile", "Performance profile", f"{text} Numbers: study-profile.csv.", chart)]


def _colour(alt: Any, points: Sequence[Row]) -> Any:
    subjects = sorted({point["subject"] for point in points})
    legend = alt.Legend(title=None, orient="top", symbolType="circle", symbolSize=60, columnPadding=24)
    return alt.Color("subject:N", sort=subjects, scale=alt.Scale(range=COLOURS), legend=legend)
