"""Formats numbers for tables and the page."""

import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.home import Home


def percent(share: float | None, digits: int = 2) -> str:
    """'98.42 %'; an en dash where nothing is known."""
    return "–" if share is None else f"{share:.{digits}%}".replace("%", " %")


def figures3(value: float | None) -> str:
    """Three significant figures, with a thousands separator: '0.0123', '12.3', '12,345'."""
    if value is None or not math.isfinite(value):
        return "–"
    digits = 2 if value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"


MOST_NAMES = 6
"""In one sentence; the tables have all."""


def listed(names: Sequence[str], most: int = MOST_NAMES) -> str:
    """'a, b, c and 4 more'."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more}"


GIB = 2**30


def tiny(value: float | None) -> str:
    """'2.1e-6'; '0' for bitwise equality."""
    return "–" if value is None else "0" if value == 0 else re.sub(r"e([+-])0", r"e\1", f"{value:.1e}")


def words(name: str) -> str:
    """'loss_step_20' as 'loss step 20'."""
    return name.replace("_", " ")


def shown(value: Any, name: str = "") -> str:
    """A fact of the machine as text: bytes as GiB, lists with commas, an en dash for none."""
    if value is None or value in ("", [], {}):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float) and name.endswith("_bytes"):
        return f"{value / GIB:.1f} GiB"
    if isinstance(value, dict):
        return "; ".join(f"{words(key)}: {shown(item, key)}" for key, item in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(shown(item) for item in value)
    return f"{value:.2f}" if isinstance(value, float) else str(value)


def without_paths(text: str, home: Home | None, own: Path) -> str:
    """`text` with $WAYMARK_HOME in place of the path of `home`, and ~ in place of the user's own folder."""
    places = [(str(home.root), "$WAYMARK_HOME")] if home else []
    places += [(str(own), "~")] if len(own.parts) > 1 else []
    for path, name in places:
        if path not in text:
            continue
        text = re.sub(rf"(?<![\w/.-]){re.escape(path)}(?![\w-])", name, text)
    return text
