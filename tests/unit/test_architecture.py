"""docs/architecture.md, held against the code."""

import importlib
import re
import tomllib
from collections import defaultdict
from pathlib import Path

import grimp
import pytest

from orchestrator.home import REPOSITORY

PAGE = (REPOSITORY / "docs" / "architecture.md").read_text(encoding="utf-8")
GROUND = {"trial", "dataset", "networks", "environment", "files", "home", "errors", "printable", "scratch", "staging"}
TOP_LEVEL = ("tasks", "workers")


def section(title: str) -> str:
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def rows_of(text: str) -> list[list[str]]:
    """The body of the first table of `text`: the cells of each row, stripped."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[2:]]


def layers_in_the_picture() -> list[str]:
    (picture,) = re.findall(r"^```text\n(.*?)^```", section("Rooms"), re.S | re.M)
    return picture.splitlines()


def layers_in_the_contract() -> list[str]:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    contracts = settings["tool"]["importlinter"]["contracts"]
    (layers,) = [one["layers"] for one in contracts if one.get("containers") == ["orchestrator"]]
    return layers


def rooms_in_the_code() -> set[str]:
    found = {path.stem for path in (REPOSITORY / "orchestrator").glob("*.py")}
    found |= {path.parent.name for path in (REPOSITORY / "orchestrator").glob("*/__init__.py")}
    return found - {"__init__"}


def imports_in_the_code() -> dict[str, set[str]]:
    """room -> the other rooms that it imports directly, without the ground."""
    graph, found = grimp.build_graph("orchestrator"), defaultdict(set)
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            importer, other = (name.split(".")[1] if "." in name else "" for name in (module, imported))
            found[importer] |= {other} - {importer, "", *GROUND}
    return found


def resolve(dotted: str) -> object:
    """The function or class of that name, relative to `orchestrator` unless it begins with a package of its own."""
    parts = dotted.split(".") if dotted.startswith(TOP_LEVEL) else ["orchestrator", *dotted.split(".")]
    for end in range(len(parts), 0, -1):
        try:
            found = importlib.import_module(".".join(parts[:end]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise ModuleNotFoundError(dotted)


def test_the_picture_shows_the_layers_of_the_import_contract():
    assert layers_in_the_picture() == layers_in_the_contract()


def test_the_picture_and_the_table_name_every_room_once():
    pictured = [room for line in layers_in_the_picture() for room in line.split(" | ")]
    listed = [cells[0].strip("`") for cells in rows_of(section("Rooms"))]
    assert sorted(pictured) == sorted(listed) == sorted(rooms_in_the_code())


def test_the_table_of_rooms_shows_the_imports_of_the_code():
    shown = {cells[0].strip("`"): set(re.findall(r"`(\w+)`", cells[2])) for cells in rows_of(section("Rooms"))}
    actual = imports_in_the_code()
    assert shown == {room: actual[room] for room in shown}


@pytest.mark.parametrize(
    "name", sorted(set(re.findall(r"`([a-z_]+(?:\.\w+)+)`", section("The way of one spec"))) - {"errors.py"})
)
def test_the_way_of_a_spec_names_what_is_in_the_code(name):
    assert callable(resolve(name))


def test_every_file_that_the_pages_name_exists():
    pages = [REPOSITORY / "README.md", REPOSITORY / "CONTRIBUTING.md", *(REPOSITORY / "docs").glob("*.md")]
    named = {
        (page.name, path)
        for page in pages
        for path in re.findall(
            r"`((?:orchestrator|workers|benchmarks|tests)/[\w/]+\.py)`", page.read_text(encoding="utf-8")
        )
    }
    # The page adds a framework that is not part of the project.
    missing = {(page, path) for page, path in named if not Path(REPOSITORY, path).exists() and "autograd" not in path}
    assert not missing
