"""Which kinds of ops each framework's adapter lowers, read from its source: to ask it, its framework must be there."""

import ast
from functools import cache
from pathlib import Path

from workers import net as worker_net
from workers.net import Net

_TABLE = "_LOWER"


def lacking(net: Net) -> dict[str, list[str]]:
    """Framework -> the names of the ops that its adapter has no lowering for; of those that lack none, nothing.

    An adapter may refuse an op of a kind that it has, for a param of it; its selfcheck says so.
    """
    asked = {op.name: op.kind for op in net.ops[1:]}
    lacks = {name: [op for op, kind in asked.items() if kind not in kinds] for name, kinds in _lowered().items()}
    return {name: ops for name, ops in lacks.items() if ops}


@cache
def _lowered() -> dict[str, frozenset[str]]:
    """Of every framework but the oracle, which has all. Some runtimes read the ONNX model that workers/ writes."""
    workers = Path(worker_net.__file__).parent
    written = _kinds_in([workers / "onnx_model.py"])
    folders = sorted(path.parent for path in (workers / "frameworks").glob("*/adapter.py"))
    kinds = {folder.name: _kinds_in(sorted(folder.glob("*.py"))) for folder in folders}
    return {name: own or written for name, own in kinds.items() if name != "numpy_ref"}


def _kinds_in(paths: list[Path]) -> frozenset[str]:
    """The keys of their tables, and the kinds that they compare `op.kind` with; none where there is no table."""
    constants: list[ast.expr | None] = []
    has_table = False
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                is_table = ast.unparse(node.targets[0]) == _TABLE
                constants += node.value.keys if is_table else ()
                has_table = has_table or is_table
            elif isinstance(node, ast.Compare) and ast.unparse(node.left) == "op.kind":
                constants += node.comparators
    kinds = frozenset(str(part.value) for part in constants if isinstance(part, ast.Constant))
    return kinds if has_table else frozenset()
