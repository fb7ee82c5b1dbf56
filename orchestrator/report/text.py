"""Numbers as people read them; tables and the page share these."""

import math


def percent(share: float | None, digits: int = 2) -> str:
    """'98.42 %'; an en dash where nothing is known."""
    return "–" if share is None else f"{share:.{digits}%}".replace("%", " %")


def figures3(value: float | None) -> str:
    """Three significant figures, thousands apart: '0.0123', '12.3', '12,345'."""
    if value is None or not math.isfinite(value):
        return "–"
    digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
