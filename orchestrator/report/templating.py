"""What renders pages from templates, so that nothing from outside runs on them or tells of this machine's paths."""

import base64
import json
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2

from orchestrator.home import Home
from orchestrator.printable import printable
from orchestrator.report import inline
from orchestrator.report.text import figures3, percent, shown, tiny, without_paths, words

_NUMBERS = {float, int, type(None)}


def templates(home: Home | None) -> jinja2.Environment:
    """What renders our pages: every text from outside is printable, escaped and without paths of this machine."""
    clean = cleaner(home)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(inline.TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: clean(value) if type(value) is str else value,  # texts from outside
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "percent": percent,
        "figures3": figures3,
        "tiny": tiny,
        "words": words,
        "shown": shown,
        "pretty": lambda value: json.dumps(value, indent=2, ensure_ascii=False, default=str),
        "data_uri": lambda svg: "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode(),
        "short": lambda identity: identity.removeprefix("sha256:")[:12],
    }
    return environment


def cleaner(home: Home | None) -> Callable[[str], str]:
    """What makes a text printable, without paths of this machine."""
    own = Path.home()
    return lambda text: _text(text, home, own)


def inert(value: Any, home: Home | None) -> Any:
    """The value with every text in it printable and without paths of this machine."""
    return _inert(value, home, Path.home())


def _inert(value: Any, home: Home | None, own: Path) -> Any:
    if isinstance(value, str):
        return _text(value, home, own)
    if isinstance(value, Mapping):
        return {_inert(key, home, own): _inert(item, home, own) for key, item in value.items()}
    if isinstance(value, list | tuple):
        if _NUMBERS.issuperset(map(type, value)):
            return value
        return [_inert(item, home, own) for item in value]
    return value


@lru_cache(maxsize=10_000)
def _text(text: str, home: Home | None, own: Path) -> str:
    return without_paths(printable(text), home, own)
