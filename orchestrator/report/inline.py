"""What the page holds beside its text: style, scripts and data, and the policy that lets a browser run only these."""

import base64
import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

TEMPLATES = Path(__file__).resolve().parent / "templates"


def style() -> Markup:
    """The style sheet."""
    return Markup((TEMPLATES / "style.css").read_text(encoding="utf-8"))  # noqa: S704 - a file of ours


def script() -> Markup:
    """The page's own script."""
    return Markup((TEMPLATES / "page.js").read_text(encoding="utf-8"))  # noqa: S704 - a file of ours


def library(text: str) -> Markup:
    """A library's script, so that it cannot end its element early."""
    return Markup("(() => {" + text.replace("</script", "<\\/script") + "})();")  # noqa: S704 - from an installed package


def data(value: Any) -> Markup:
    """A value as JSON that is also inert as markup; a browser reads it as text and never runs it."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)  # noqa: S704 - nothing in it can start markup


def policy(styles: Sequence[str], scripts: Sequence[str]) -> str:
    """The content security policy of a page with these style sheets and scripts: all else is refused, also eval."""
    parts = {"default-src": ["'none'"], "img-src": ["data:"]}
    parts |= {"style-src": [*map(_hash, styles)], "script-src": [*map(_hash, scripts)]}
    return "; ".join(f"{name} {' '.join(sources)}" for name, sources in parts.items())


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
