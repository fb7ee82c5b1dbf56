"""The parity table: what is checked, what is remembered, what is missing, and what a sweep makes of such a run."""

import io
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest
from rich.console import Console as Terminal

from orchestrator.commands import check, sweep
from orchestrator.console.flags import Rows
from orchestrator.console.progress import Console
from orchestrator.errors import EngineError, StoreError
from orchestrator.execution.session import RunOptions
from orchestrator.home import Home
from orchestrator.planning.spec import load_spec
from orchestrator.records.store import Store

SPEC = {
    "name": "tiny",
    "axes": {"frameworks": ["numpy_ref"], "models": [{"name": "resnet", "depth": 8, "input_sizes": [16, 8]}]},
    "threads": 1,
    "limits": {"trial_seconds": 300, "memory_gib": 4},
}


@pytest.fixture(scope="module")
def world(tmp_path_factory, catalogue, environment):
    """A home with the machine's own virtualenvs, numpy_ref's row, a spec; and `run(rows, again)` for a check there."""
    environment(catalogue.resolve("numpy_ref", "cpu"))  # or skip, with what is lacking
    folder = tmp_path_factory.mktemp("checked")
    home = Home(folder / "home")
    home.root.mkdir()
    shared = Home.default().virtualenvs
    shared.mkdir(parents=True, exist_ok=True)
    home.virtualenvs.symlink_to(shared)
    (folder / "tiny.json").write_text(json.dumps(SPEC))
    spec = load_spec(folder / "tiny.json", catalogue.frameworks)
    row = catalogue.resolve("numpy_ref", "cpu")

    def run(rows=(row,), again=False):
        said = io.StringIO()
        request = check.ParityRequest(rows, spec, RunOptions(engine="virtualenv", argv=("check",)))
        result = check.check(request, again, home, Console(Terminal(file=said, width=200)))
        return result, said.getvalue()

    return SimpleNamespace(home=home, row=row, run=run, first=run())


def test_a_check_that_passes_has_every_figure(world):
    result, _ = world.first
    row, _ = result.rows
    assert (result.has_passed, row["subject"], row["check"]) == (True, "numpy_ref:1.0", "passed")
    assert row.keys() >= row["bounds"].keys()


def test_all_steps_are_taken_at_the_smallest_size(world):
    assert [(row["cell"], row["steps"]) for row in world.first[0].rows] == [
        ("ResNet-8@8", "all"),
        ("ResNet-8@16", "first"),
    ]


def test_what_passed_is_not_checked_again(world):
    result, said = world.run()
    assert "passed before" in said
    assert result.rows == world.first[0].rows


def test_again_checks_again(world):
    assert "passed before" not in world.run(again=True)[1]


def test_an_environment_that_fails_is_a_row_with_its_reason(world):
    absent = replace(world.row, variant="0.1", python="2.6")
    result, _ = world.run((world.row, absent))
    assert not result.has_passed
    assert [(row["subject"], row["check"]) for row in result.rows] == [
        ("numpy_ref:1.0", "passed"),
        ("numpy_ref:1.0", "passed"),
        ("numpy_ref:0.1", "missing"),
        ("numpy_ref:0.1", "missing"),
    ]
    assert "needs CPython 2.6" in result.rows[2]["reason"]


def test_no_environment_at_all_ends_it(world):
    with pytest.raises(EngineError, match=r"no environment of this run could be made.*CPython 2\.6"):
        world.run((replace(world.row, python="2.6"),))


def test_a_check_is_no_sweep_to_report_or_resume(world, tmp_path, catalogue):
    with Store.open(world.home.store_url) as store:
        assert [run.kind for run in store.runs()] == ["check"] * len(store.runs())
        assert store.latest_sweep() is None
    request = sweep.SweepRequest(tmp_path / "none.json", resume="latest")
    with pytest.raises(StoreError, match="holds no run to resume"):
        sweep.sweep(request, catalogue, world.home, tmp_path, Console(Terminal(file=io.StringIO())))


@pytest.mark.parametrize(
    ("frameworks", "variants", "subjects"),
    [
        ((), {}, ["mxnet:1.5-mkl", "pytorch:2.13"]),
        (("mxnet",), {}, ["mxnet:1.5-mkl"]),
        (("pytorch",), {"pytorch": ["1.3"]}, ["pytorch:1.3"]),
        (("tensorflow",), {}, ["tensorflow:2.21"]),
    ],
    ids=["the spec's", "one of them", "a variant that was named", "one that the spec has not"],
)
def test_only_the_environments_that_were_asked_for_are_checked(tmp_path, catalogue, frameworks, variants, subjects):
    path = tmp_path / "two.json"
    axes = {"frameworks": ["mxnet", "pytorch"], "variants": {"mxnet": "1.5-mkl"}, "models": [{"name": "idsia"}]}
    path.write_text(json.dumps({"name": "two", "axes": axes}))
    asked = check.request_for(path, Rows(frameworks, "cpu", variants), (), (), catalogue, RunOptions())
    assert [row.subject for row in asked.rows] == subjects


def test_all_variants_are_checked_if_that_is_asked(tmp_path, catalogue):
    path = tmp_path / "one.json"
    path.write_text(json.dumps({"name": "one", "axes": {"frameworks": ["pytorch"], "models": [{"name": "idsia"}]}}))
    asked = check.request_for(path, Rows((), "cpu", {"pytorch": ["all"]}), ("IDSIA@32",), (), catalogue, RunOptions())
    assert {row.subject for row in asked.rows} == {row.subject for row in catalogue.rows(("pytorch",), device="cpu")}
