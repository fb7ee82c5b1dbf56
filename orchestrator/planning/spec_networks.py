"""The files of users' own networks, which a spec names, as ops in it."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from orchestrator.errors import SpecError
from orchestrator.networks import InputSize, own

FILES = ("onnx", "net")
"""Keys of an entry of axes.models that name a file."""

STARTS = ("drawn", "file")
"""Where its first weights come from."""


def with_networks(raw: dict[str, Any], path: Path) -> dict[str, Any]:
    """`raw` with the ops of each file that its models name, under their hash in `networks`.

    path: of the spec, beside which the files lie. What is wrong in another way is left for the validation.
    Raises SpecError: one sentence with the spec, the entry, the file and what is wrong with it.
    """
    axes = raw.get("axes")
    models = axes.get("models") if isinstance(axes, dict) else None
    if not isinstance(axes, dict) or not isinstance(models, list):
        return raw
    entries, networks = [], dict(raw.get("networks") or {}) if isinstance(raw.get("networks", {}), dict) else {}
    for at, entry in enumerate(models):
        where = f"{path}: axes.models[{at}]"
        named = [key for key in FILES if isinstance(entry, dict) and key in entry]
        if len(named) > 1:
            raise SpecError(f"{where} names both 'onnx' and 'net'; a network is in one file.")
        new = _imported(entry, named[0], path, where) if named else entry
        sha256 = new.get("network_sha256") if isinstance(new, dict) else None
        if isinstance(sha256, str) and own.is_known(sha256):
            networks[sha256] = own.ops_of(sha256)
        entries.append(new)
    if not networks:
        return raw
    return {**raw, "axes": {**axes, "models": entries}, "networks": networks}


def _imported(entry: dict[str, Any], key: str, path: Path, where: str) -> dict[str, Any]:
    given = entry[key]
    if not isinstance(given, str) or not given or "\0" in given:
        raise SpecError(f"{where}.{key} is {given!r:.60}; it must be the path of a file, beside the spec.")
    start = entry.get("start", "drawn")
    if start not in STARTS:
        raise SpecError(f"{where}.start is {start!r:.60}; it must be one of: {', '.join(STARTS)}.")
    file = path.parent / Path(given).expanduser()
    sizes = entry.get("input_sizes")
    try:
        read = _read_onnx if key == "onnx" else _read_net
        sha256, start_sha256 = read(file, sizes if isinstance(sizes, list) and sizes else [None], start == "file")
    except ValueError as error:
        raise SpecError(f"{where}: {file}: {error}") from None
    rest = {name: value for name, value in entry.items() if name not in (key, "start")}
    new = {
        "name": own.name_of(file),
        "input_sizes": [own.input_size(sha256).written],
        **rest,
        "network_sha256": sha256,
    }
    return {**new, "start_sha256": start_sha256} if start_sha256 else new


def _read_net(file: Path, _: Sequence[object], is_start: bool) -> tuple[str, str]:
    """The hash of the ops in a file of `invoke import`, and ''. Raises ValueError, a sentence without the path."""
    if is_start:
        raise ValueError("it holds no weights, so it is no start; an ONNX file does.")
    return own.keep(own.read(file)), ""


def _read_onnx(file: Path, sizes: Sequence[object], is_start: bool) -> tuple[str, str]:
    """The hash of the ops in an ONNX file, and that of its weights if they are the start, else ''; known from then on.

    sizes: as a spec writes them; [None] for that of the file. Raises ValueError, a sentence without the path.
    """
    try:
        from orchestrator.networks import onnx_file
    except ImportError:
        raise ValueError('reading ONNX needs the package onnx: pip install -e ".[onnx]" in the clone.') from None
    first, *others = [None if size is None else InputSize.of(size) for size in sizes]
    imported = onnx_file.read(file, first)
    sha256 = own.keep(imported.net.data)
    for size in others:
        there = own.keep(onnx_file.read(file, size).net.data)
        if own.at_size(there, own.input_size(sha256)) != own.ops_of(sha256):
            raise ValueError(f"its ops at {size} are others than at {first}; give each size an entry and a name.")
    return sha256, own.keep_start(imported.weights()) if is_start else ""
