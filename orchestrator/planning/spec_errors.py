"""Messages for an invalid spec, one sentence each: where, what was seen, what is allowed."""

import json
from typing import Any

from pydantic import BaseModel, ValidationError

from orchestrator.errors import did_you_mean, shortened


def sentence(error: ValidationError, raw: object, model: type[BaseModel]) -> str:
    """The first of pydantic's errors as one sentence. raw: the JSON that is not a valid `model`."""
    schema, errors = model.model_json_schema(), error.errors(include_url=False)
    # Of a union's alternatives, the one that fits the JSON best is the one that was meant.
    deepest = max(errors, key=lambda error: len(_steps(error["loc"], raw)))
    first = next((error for error in errors if error["type"] == "extra_forbidden"), deepest)
    where = _path(first["loc"], raw, is_absent=first["type"] == "missing")
    kind, context, seen = first["type"], first.get("ctx", {}), shown(first["input"])
    if kind == "missing":
        return f"{where} is missing; it is required."
    if kind == "extra_forbidden":
        known = sorted(_schema_at(first["loc"][:-1], schema).get("properties", {}))
        nearest = did_you_mean(str(first["loc"][-1]), known)
        return f"{where} is not a key of a spec. Known here: {', '.join(known)}.{nearest}"
    if kind in ("greater_than", "greater_than_equal", "less_than", "less_than_equal"):
        return f"{where} is {seen}; it must be {_range(first['loc'], schema)}."
    if kind == "literal_error":
        expected = str(context.get("expected", "")).replace(" or ", ", ").replace("'", "")
        return f"{where} is {seen}; allowed: {expected}.{did_you_mean(str(first['input']), expected.split(', '))}"
    if kind == "too_long":
        return f"{where} is {seen}; it takes {context.get('max_length')} values at most."
    if kind == "too_short":
        return f"{where} is empty; it needs at least one value."
    if kind == "string_pattern_mismatch":
        return f"{where} is {seen}; it must match {context.get('pattern')}."
    if kind.endswith("_type") or kind.endswith("_parsing"):
        return f"{where} is {seen}; {first['msg'].lower().replace('input should', 'it must').replace('tuple', 'list')}."
    if kind == "value_error":
        return f"{where} is {seen}; {first['msg'].removeprefix('Value error, ')}."
    return f"{where} is {seen}; {first['msg']}."


def _path(loc: tuple[int | str, ...], raw: object, is_absent: bool) -> str:
    """'axes.models[1].depth'. is_absent: the last part is a key that the JSON lacks."""
    steps = [*_steps(loc, raw), *(loc[-1:] if is_absent else ())]
    text = "".join(f"[{step}]" if isinstance(step, int) else f".{shortened(step)}" for step in steps)
    return text.removeprefix(".") or "the spec"


def _steps(loc: tuple[int | str, ...], raw: object) -> list[int | str]:
    """The parts of `loc` that are keys or positions of the JSON; pydantic adds others for unions."""
    steps: list[int | str] = []
    for part in loc:
        is_position = isinstance(raw, list) and isinstance(part, int) and part < len(raw)
        if is_position or (isinstance(raw, dict) and part in raw):
            raw = raw[part]  # type: ignore[index]
            steps.append(part)
    return steps


def _schema_at(loc: tuple[int | str, ...], schema: dict[str, Any]) -> dict[str, Any]:
    """The part of the JSON Schema for `loc`; {} where a union hides it."""
    node = schema
    for part in loc:
        node = _unfolded(node, schema)
        node = node.get("items", {}) if isinstance(part, int) else node.get("properties", {}).get(part, {})
    return _unfolded(node, schema)


def _unfolded(node: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    """`node` with optional values and references resolved."""
    for option in node.get("anyOf", []):
        if option.get("type") != "null":
            node = option
            break
    reference = node.get("$ref")
    return schema["$defs"][reference.rpartition("/")[2]] if reference else node


def _range(loc: tuple[int | str, ...], schema: dict[str, Any]) -> str:
    """'between 1 and 4096', 'greater than 0 and at most 10': the allowed range of `loc`, or ''."""
    node = _schema_at(loc, schema)
    low, high = node.get("minimum"), node.get("maximum")
    if low is not None and high is not None:
        return f"between {low} and {high}"
    words = [
        f"{said} {node[bound]:g}"
        for bound, said in (
            ("minimum", "at least"),
            ("exclusiveMinimum", "greater than"),
            ("maximum", "at most"),
            ("exclusiveMaximum", "less than"),
        )
        if bound in node
    ]
    return " and ".join(words)


def shown(value: object) -> str:
    """A JSON value as the user wrote it, cut to 60 characters."""
    try:
        text = json.dumps(value, default=str)
    except ValueError:  # an integer of thousands of digits
        text = "a number of thousands of digits"
    return shortened(f"'{value}'" if isinstance(value, str) else text)
