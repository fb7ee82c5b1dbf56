"""PyTorch as somebody installed it, through the host engine: in a virtualenv on the CPU, and on a card where one is.

There the Python is that of $WAYMARK_HOST_PYTHON, or the one that runs these tests; without PyTorch in it they skip.
"""

import io
import json
import os
import sys

import pytest
from rich.console import Console as Terminal

from orchestrator.commands import sweep
from orchestrator.console.progress import Console
from orchestrator.engines import open_engine, process
from orchestrator.environment import Card
from orchestrator.execution import environments
from orchestrator.execution.session import RunOptions
from orchestrator.home import Home
from orchestrator.host import read_host
from orchestrator.report import summary_rows

SPEC = {
    "name": "installed",
    "axes": {"frameworks": ["pytorch"], "models": [{"name": "resnet"}]},
    "dataset": {
        "name": "synthetic",
        "split": "by-track",
        "synthetic": {"tracks_per_class": 4, "frames_per_track": 4, "test_tracks_per_class": 1},
    },
    "training": {"epochs": 3},
    "measure": {"warmup_steps": 0, "warmup_seconds": 0.0},
    "limits": {"trial_seconds": 900, "memory_gib": 16, "foreign_percent": 100},
}
ON_CARD = pytest.param("gpu", marks=pytest.mark.gpu)
pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def python(environment, catalogue):
    """python('gpu') -> an interpreter with PyTorch for that device."""

    def python(device):
        if device == "cpu":
            return environment(catalogue.resolve("pytorch", "cpu", "1.3")).location
        named = os.environ.get("WAYMARK_HOST_PYTHON") or sys.executable
        if process.output((named, "-c", "import torch; print(torch.version.cuda)"), 120.0) in (None, "None"):
            pytest.skip(f"{named} has no PyTorch with CUDA; name a Python that has, with WAYMARK_HOST_PYTHON")
        return named

    return python


@pytest.fixture(scope="module", params=["cpu", ON_CARD])
def swept(request, python, tmp_path_factory, catalogue):
    """(device, result) of a sweep: ResNet-20@32 on a card; ResNet-8@16 on the CPU, where a test need not take minutes.

    An epoch takes a card 0.1 s, and samples are a second apart, so there it trains for many.
    """
    folder = tmp_path_factory.mktemp("installed")
    spec = folder / "spec.json"
    on_card = request.param == "gpu"
    model = {"name": "resnet", "depth": 20 if on_card else 8, "input_sizes": [32 if on_card else 16]}
    axes = {**SPEC["axes"], "models": [model], "devices": [request.param]}
    spec.write_text(json.dumps({**SPEC, "axes": axes, "training": {"epochs": 60 if on_card else 3}}))
    asked = sweep.SweepRequest(spec_path=spec, options=RunOptions(engine=f"host:{python(request.param)}"))
    console = Console(Terminal(file=io.StringIO(), width=200))
    return request.param, sweep.sweep(asked, catalogue, Home(folder / "home"), folder / "reports", console)


def test_what_is_installed_computes_what_the_oracle_computes(swept):
    (check,) = swept[1].report.stored.checks
    assert check.passed, check.timeline.check
    assert check.timeline.check.figures["clean_loss_step_20"] <= 1e-3


def test_what_is_installed_trains(swept):
    device, result = swept
    (trial,) = result.report.stored.trials
    first, *_, last = trial.timeline.epochs
    assert (trial.trial.subject, trial.trial.device, trial.outcome.status) == ("pytorch:host", device, "ok")
    assert sum(last.loss) / len(last.loss) < 0.9 * sum(first.loss) / len(first.loss)


def test_its_own_version_is_in_the_record(swept):
    (trial,) = swept[1].report.stored.trials
    frozen = dict(line.split("==") for line in trial.environment.freeze)
    assert trial.timeline.hello.version.partition("+")[0] == frozen["torch"].partition("+")[0]


def test_a_card_is_watched_only_while_a_trial_trains_on_it(swept):
    device, result = swept
    (row,) = summary_rows(result.report.stored)
    seen = {name: bool(row.flat()[name]) for name in ("cpu_percent", "card_gib", "card_watts", "card_mhz", "place_ms")}
    on_card = device == "gpu"
    assert seen == {
        "cpu_percent": True,
        "card_gib": on_card,
        "card_watts": on_card,
        "card_mhz": on_card,
        "place_ms": True,
    }


@pytest.mark.parametrize("device", ["cpu", ON_CARD])
def test_a_trial_that_does_not_see_its_card_is_unsupported(python, device, home, catalogue):
    home.root.mkdir()
    engine = open_engine(f"host:{python(device)}", home, read_host())
    environment = engine.prepare(catalogue.installed().resolve("pytorch", "gpu"), print)
    hidden = Card(index=0, uuid="GPU-of-nobody", name="none", memory_bytes=1, capability="9.0", driver="1")
    outcome = environments.probe(environment.on(hidden), engine, home)
    assert (outcome.status, outcome.fault) == ("unsupported", "subject")
    assert outcome.reason == "device: torch sees no CUDA device, or was built without CUDA"
