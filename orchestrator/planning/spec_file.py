"""A spec as the JSON object that a file holds, with the changes that flags make; not yet checked for its meaning."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from orchestrator.errors import SpecError
from orchestrator.planning.spec_errors import shown


def read_object(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}). Specs are in experiments/.") from None
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: byte {error.start} is not UTF-8; a spec is a UTF-8 JSON file.") from None
    try:
        raw = json.loads(text, object_pairs_hook=_no_repeats, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise SpecError(f"{path}: line {error.lineno}, column {error.colno} is not JSON ({error.msg}).") from None
    except _RepeatedKeyError as error:
        raise SpecError(f"{path}: the key '{error}' appears twice in one object; keep one of them.") from None
    except _ConstantError as error:
        raise SpecError(f"{path}: {error} is not JSON; write a number.") from None
    except ValueError:
        raise SpecError(f"{path}: holds a number of thousands of digits; none of a spec is that large.") from None
    except RecursionError:
        raise SpecError(f"{path}: is nested too deeply to be a spec.") from None
    if not isinstance(raw, dict):
        raise SpecError(f"{path}: holds {shown(raw)}; a spec is a JSON object with 'name' and 'axes'.")
    return raw


class _RepeatedKeyError(Exception):
    pass


class _ConstantError(Exception):
    pass


def _no_constant(text: str) -> float:
    raise _ConstantError(text)


def _no_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    seen: dict[str, Any] = {}
    for key, value in pairs:
        if key in seen:
            raise _RepeatedKeyError(key)
        seen[key] = value
    return seen


def _replace(raw: dict[str, Any], dotted: str, value: object) -> None:
    parent, _, rest = dotted.partition(".")
    if not rest:
        raw[parent] = value
        return
    child = raw.setdefault(parent.removesuffix("[]"), {})
    for item in child if isinstance(child, list) and parent.endswith("[]") else [child]:
        if isinstance(item, dict):  # validation will report anything else
            _replace(item, rest, value)


def _keep_frameworks(raw: dict[str, Any], frameworks: Collection[str]) -> None:
    """Drop the axes' entries of all other frameworks."""
    axes = raw.get("axes")
    for key in ("variants", "epochs", "repeats"):
        if isinstance(axes, dict) and isinstance(axes.get(key), dict):
            axes[key] = {name: value for name, value in axes[key].items() if name in frameworks}


def changed(raw: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` after `changes`: dotted path -> value. Values are checked later, when the spec is validated."""
    if "axes.frameworks" in changes:
        _keep_frameworks(raw, changes["axes.frameworks"])
    for dotted, value in changes.items():
        _replace(raw, dotted, value)
    return raw
