"""What all charts have in common: panels, colours and type. Altair is passed in, so that only figures.py imports it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from orchestrator.records.stored import StoredTrial
from orchestrator.report.chart_data import COLOURS, are_many, subjects_of

INK = "#7d838c"
LINE = "#7d838c40"
WIDTH, HEIGHT = 420, 220  # pixels of one panel


@dataclass(frozen=True)
class Drawing:
    """One chart. name: of its files, without the ending; alt: its content in words, for screen readers; chart: its
    definition in Vega-Lite, from which the page draws it."""

    name: str
    title: str
    alt: str
    chart: Mapping[str, Any]


def colour(alt: Any, trials: Sequence[StoredTrial]) -> Any:
    """The channel that tells subjects apart, with its legend."""
    legend = alt.Legend(title=None, orient="top", symbolType="circle", symbolSize=60, columnPadding=24)
    order = None if are_many(trials) else subjects_of(trials)
    return alt.Color("subject:N", legend=legend, sort=order or alt.Undefined, scale=alt.Scale(range=COLOURS))


def figure(
    alt: Any,
    name: str,
    title: str,
    alt_text: str,
    chart: Any,
    trials: Sequence[StoredTrial] = (),
    shared: str = "",
    grouped: str = "",
) -> Drawing:
    """The chart with a panel per cell, two side by side.

    trials: those that it shows by colour; of many subjects each panel has colours and a legend of its own.
    shared: the axes that all panels have in common, because they are read against each other.
    grouped: the channel that sets bars side by side, if there is one.
    """
    own = "independent" if are_many(trials) else "shared"
    axes = {axis: "shared" if axis in shared else "independent" for axis in ("x", "y", *([grouped] if grouped else []))}
    faceted = (
        chart.facet(facet=alt.Facet("cell:N", title=None), columns=2, spacing={"row": 36, "column": 96})
        .resolve_scale(**axes, color=own, shape=own)
        .resolve_legend(color=own)
    )
    return Drawing(name, title, alt_text, configured(alt, faceted).to_dict(validate=False))


def configured(alt: Any, chart: Any, right: int = 96) -> Any:
    """The chart in the colours and type of the page. right: room for names at the ends of lines, in pixels."""
    return (
        chart.configure(
            background="transparent",
            font="system-ui, sans-serif",
            padding={"left": 28, "right": right, "top": 4, "bottom": 4},
        )
        .configure_view(stroke=None)
        .configure_axis(
            labelColor=INK, titleColor=INK, domainColor=INK, tickColor=INK, gridColor=LINE, titleFontWeight=400
        )
        .configure_header(labelColor=INK, labelFontSize=13, labelFontWeight=600, labelAnchor="start")
        .configure_legend(labelColor=INK, titleColor=INK, labelFontSize=12)
    )
