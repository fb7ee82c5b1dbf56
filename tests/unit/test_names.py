"""The names of all tests, in every folder."""

import ast

from orchestrator.home import REPOSITORY


def test_every_name_is_shorter_than_60_characters():
    parsed = {path: ast.parse(path.read_text()) for path in (REPOSITORY / "tests").rglob("test_*.py")}
    names = [
        f"{path.stem}::{node.name}"
        for path, tree in parsed.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name.startswith("test_")
    ]
    assert names
    assert [name for name in names if len(name.split("::")[1]) >= 60] == []
