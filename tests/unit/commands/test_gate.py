"""What `invoke gate` finds, and the files that it writes for CI."""

import io
import json
from xml.etree import ElementTree

import pytest
from rich.console import Console as Terminal

from orchestrator.commands import gate
from orchestrator.commands.compare import CompareRequest
from orchestrator.commands.sweep import SweepResult
from orchestrator.console.progress import Console
from orchestrator.errors import EngineError
from orchestrator.home import REPOSITORY
from orchestrator.records.run_folder import Until
from orchestrator.report import Report, ci
from orchestrator.trial import Outcome
from tests import fake_run as fake
from tests.fake_stored import run, skip, timed

BUILDS = ("mxnet:1.5", "mxnet:1.9")
FAILED = Outcome(status="crashed", fault="subject", reason="ended by signal 11")


def measured(seconds, outcome=fake.OK, skips=()):
    """A run in which the candidate took so long, in pairs with a baseline of 0.1 s."""
    trials = [
        timed(fake.trial("mxnet", variant, repeat=repeat), 2 * repeat + at, outcome, step_seconds=of[at])
        for repeat, of in enumerate((0.1, one) for one in seconds)
        for at, variant in enumerate(("1.5", "1.9"))
    ]
    return run(*trials, compared=BUILDS, until=Until(margin=0.03), skips=skips)


SLOW, FINE, OPEN = [0.2, 0.2, 0.201], [0.1, 0.1, 0.1001], [0.1, 0.2, 0.05]


@pytest.fixture
def gated(monkeypatch, tmp_path, home, catalogue):
    """gated(first run, second run ...) -> (result, what was said, requests): what the gate makes of such runs."""

    def gated(*runs, output=None):
        requests, left = [], list(runs)

        def sweep(request, catalogue, home, reports, console):
            requests.append(request)
            found = left.pop(0)
            if isinstance(found, Exception):
                raise found
            return SweepResult(Report(found, tmp_path / "page", (), (), ()), 0)

        monkeypatch.setattr(gate, "sweep", sweep)
        said = io.StringIO()
        request = CompareRequest(REPOSITORY / "experiments" / "compare.json", BUILDS, until=Until(margin=0.03))
        console = Console(Terminal(file=said, width=300))
        return gate.gate(request, output, catalogue, home, tmp_path, console), said.getvalue(), requests

    return gated


@pytest.mark.parametrize(
    ("runs", "code", "findings"),
    [
        ([measured(FINE)], 0, ["not slower"]),
        ([measured(SLOW), measured(SLOW)], 10, ["slower"]),
        ([measured(SLOW), measured(FINE)], 0, ["not slower"]),
        ([measured(SLOW), measured(OPEN)], 11, ["not decided"]),
        ([measured(OPEN)], 11, ["not decided"]),
        ([measured(SLOW, FAILED)], 12, ["not measured"]),
        ([EngineError("Docker does not answer.")], 12, ["not measured"]),
        ([measured([], skips=(skip("mxnet", reason="no wheel"),))], 12, ["not measured"]),
    ],
    ids=["fine", "slow twice", "slow once", "slow, then open", "open", "crashed", "no engine", "skipped"],
)
def test_the_exit_code_is_that_of_the_finding(gated, runs, code, findings):
    result, _, requests = gated(*runs)
    assert ([row.finding for row in result.rows], result.exit_code) == (findings, code)
    assert len(requests) == len(runs)


def test_only_the_cells_that_were_slower_are_measured_again(gated):
    _, said, (_, again) = gated(measured(SLOW), measured(SLOW))
    assert "ResNet-20@32 cpu: slower than allowed; measured again before it counts" in said
    assert [(one["name"], one["input_sizes"]) for one in again.changes["axes.models"]] == [("resnet", [32])]


def test_the_sentence_says_what_was_asked(gated):
    result, _, _ = gated(measured(FINE))
    assert result.sentence == "mxnet:1.9 is not slower than mxnet:1.5 by more than 3 %."


def test_junit_is_xml_whatever_a_log_holds():
    words = "not measured: \x1b[31mred\x1b[0m \x00\x07\ufffe\ud800"
    row = ci.GateRow(cell="ResNet-20@32 cpu\x1b[0m", finding="not measured", words=words)
    result = ci.GateResult(("mxnet:1.5", "mxnet:1.9"), allowed=0.03, rows=[row], exit_code=12)
    (case,) = ElementTree.fromstring(ci.junit(result).encode())
    assert (case.get("name"), "red" in case.find("error").get("message")) == ("ResNet-20@32 cpu", True)


def test_the_files_say_the_same(gated, tmp_path):
    result, _, _ = gated(measured(SLOW), measured(SLOW), output=tmp_path / "gate")
    files = {path.name: path.read_text() for path in (tmp_path / "gate").iterdir()}
    assert set(files) == set(ci.files(result))
    (case,) = ElementTree.fromstring(files["junit.xml"])
    assert (case.get("name"), case.find("failure").get("message")[:7]) == ("ResNet-20@32 cpu", "slower:")
    assert "| ResNet-20@32 cpu | slower |" in files["summary.md"]
    measures = json.loads(files["bencher.json"])["ResNet-20@32 cpu"]
    assert measures["latency"] == {"value": 200e6, "lower_value": 200e6, "upper_value": pytest.approx(201e6)}
    assert measures["speed-ratio"]["lower_value"] < 0.5 < measures["speed-ratio"]["upper_value"]
    (entry,) = json.loads(files["github-action-benchmark.json"])
    assert (entry["name"], entry["unit"], entry["value"]) == ("ResNet-20@32 cpu", "ms per step", 200.0)


@pytest.mark.parametrize("runs", [[measured(SLOW, FAILED)], [EngineError("no Docker")]])
def test_what_was_not_measured_is_an_error_and_no_number(gated, tmp_path, runs):
    gated(*runs, output=tmp_path / "gate")
    suite = ElementTree.parse(tmp_path / "gate" / "junit.xml").getroot()
    assert (suite.get("errors"), suite.get("failures")) == ("1", "0")
    assert (tmp_path / "gate" / "bencher.json").read_text(encoding="utf-8") == "{}\n"
    assert json.loads((tmp_path / "gate" / "github-action-benchmark.json").read_text()) == []


def test_a_budget_shorter_than_six_pairs_is_told_at_once(monkeypatch, tmp_path, home, catalogue):
    def outline(request, catalogue, home):
        check = {"plan": "check", "cell": "a check", "minutes": 1.0}
        trials = [{"plan": "run", "cell": f"cell {at}", "minutes": 1 / 3} for at in range(12)]
        return "title", [check, *trials]

    monkeypatch.setattr(gate, "outline", outline)
    monkeypatch.setattr(gate, "sweep", lambda *_: pytest.fail("it was measured"))
    short = CompareRequest(
        REPOSITORY / "experiments" / "compare.json", BUILDS, until=Until(margin=0.03, budget_seconds=90.0)
    )
    said = io.StringIO()
    result = gate.gate(short, tmp_path / "out", catalogue, home, tmp_path, Console(Terminal(file=said, width=300)))
    assert result.exit_code == 11
    assert "by the records of this machine these take about 300 s" in said.getvalue()
    assert "Give --budget=5m or more" in said.getvalue()
    assert (tmp_path / "out" / "junit.xml").exists()
