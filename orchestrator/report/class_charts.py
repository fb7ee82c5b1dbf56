"""The chart of confusions: what the pictures of each class were taken for."""

import json
from collections.abc import Sequence
from typing import Any

from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.chart_parts import Drawing, configured
from orchestrator.report.studies.classes import counts_of, names_of, total
from orchestrator.report.studies.section import grouped

MOST_PANELS = 8
MOST_CLASSES = 100
MOST_NAMED = 50  # beyond it the names of classes would cover each other
SIDE = 320  # pixels of a panel


def confusions(alt: Any, stored: StoredRun, trials: Sequence[StoredTrial]) -> list[Drawing]:
    """A panel for each of the first subjects and cells; none for more classes than can be told apart."""
    told = grouped(
        [job for job in trials if counts_of(job)], lambda job: f"{job.trial.cell.title} · {job.trial.subject}"
    )
    points: list[dict[str, Any]] = []
    labels: dict[int, str] = {}
    shown = list(told.items())[:MOST_PANELS]
    for panel, jobs in shown:
        names, counts = names_of(stored, jobs[0]), total(jobs)
        pictures: dict[int, int] = {}
        for (true, taken), count in counts.items():
            pictures[true] = pictures.get(true, 0) + count
            labels.update({true: names(true), taken: names(taken)})
        points += [
            {"cell": panel, "true": true, "taken": taken, "share": count / pictures[true], "pictures": count}
            | {"class": names(true), "taken for": names(taken)}
            for (true, taken), count in counts.items()
        ]
    if not points or len(labels) > MOST_CLASSES:
        return []
    named = {str(number): label for number, label in labels.items()} if len(labels) <= MOST_NAMED else {}
    axis = alt.Axis(labelExpr=f"{_object(named)}[datum.value] || datum.value", labelLimit=110, labelOverlap=True)
    order = sorted(labels)
    chart = (
        alt.Chart(alt.Data(values=points), width=SIDE, height=SIDE)
        .mark_rect()
        .encode(
            x=alt.X("taken:O", title="taken for", sort=order, axis=axis),
            y=alt.Y("true:O", title="class", sort=order, axis=axis),
            color=alt.Color("share:Q", title="share of the class", scale=alt.Scale(scheme="blues", domain=[0, 1])),
            tooltip=["class:N", "taken for:N", "pictures:Q", alt.Tooltip("share:Q", format=".1%")],
        )
        .facet(facet=alt.Facet("cell:N", title=None), columns=2, spacing={"row": 36, "column": 60})
    )
    more = f" The first {MOST_PANELS} of {len(told)} rows are shown." if len(told) > MOST_PANELS else ""
    alt_text = (
        f"Squares: the share of the test pictures of each class that was taken for each class; {len(shown)} panels, "
        f"one per cell and subject.{more} Numbers: confusion.csv."
    )
    title = "Which classes are taken for which"
    return [Drawing("confusion", title, alt_text, configured(alt, chart).to_dict(validate=False))]


def _object(named: dict[str, str]) -> str:
    """The names as a literal of Vega's expressions: JSON is one, with the characters escaped that end a script."""
    return json.dumps(named).replace("<", "\\u003c").replace("&", "\\u0026")
