"""Environments before anything is timed: tried with one step, on their card, or left out with the reason."""

import io
import time

import pytest
from rich.console import Console as Terminal

from orchestrator.console.progress import Console
from orchestrator.engines import open_engine
from orchestrator.engines.installed import HostEngine
from orchestrator.environment import EnvironmentKey
from orchestrator.errors import EngineError
from orchestrator.execution.environments import prepare
from orchestrator.host import read_host
from orchestrator.host.card import read_cards
from orchestrator.trial import Exit, Outcome
from tests.fake_job import kind_of

CNTK, ORACLE = EnvironmentKey("cntk", "host", "cpu"), EnvironmentKey("numpy_ref", "host", "cpu")
NO_KERNEL = "RuntimeError: CUDA error: no kernel image is available for execution on the device"


@pytest.fixture
def console():
    return Console(Terminal(file=io.StringIO(), width=200))


@pytest.fixture
def on_t4(nvml):
    """This machine, if it had that card."""
    nvml("t4")
    return read_host().model_copy(update={"gpus": read_cards()[0]})


def test_a_missing_framework_is_left_out_with_its_import_error(home, catalogue, console):
    home.root.mkdir()
    rows = catalogue.installed().rows(frameworks=("cntk", "numpy_ref"), device="cpu")
    found = prepare(rows, open_engine("host", home, read_host()), read_host(), home, console)
    reason = "cntk does not import: ModuleNotFoundError: No module named 'cntk'"
    assert [*found.made] == [ORACLE]
    assert found.failed == {CNTK: Outcome(status="crashed", fault="environment", reason=reason)}


class Mute(HostEngine):
    """Its probes end as it is told; `seen` are the launches."""

    def __init__(self, home, ended):
        super().__init__(home, read_host())
        self.seen, self._ended = [], ended

    def run(self, launch, tick):
        if launch.module == "workers.freeze":
            return super().run(launch, tick)
        self.seen.append((kind_of(launch), launch))
        return self._ended


def test_a_build_without_code_for_the_card_is_no_fault(home, catalogue, console, on_t4):
    home.root.mkdir()
    rows = catalogue.installed().rows(frameworks=("pytorch",), device="gpu")
    engine = Mute(home, Exit(code=None, signal=6, launched_unix=time.time(), wall_seconds=1.0, log_tail=NO_KERNEL))
    with pytest.raises(
        EngineError, match="the last reason: built without code for this card: RuntimeError: CUDA error"
    ):
        prepare(rows, engine, on_t4, home, console)
    ((kind, probe),) = engine.seen
    assert (kind, probe.environment.device, probe.environment.card.name) == ("probe", "gpu", "Tesla T4")


def test_nothing_is_made_for_a_card_that_its_row_excludes(home, catalogue, console, on_t4):
    home.root.mkdir()
    (row,) = catalogue.rows(frameworks=("neon",), device="gpu", variant="2.6")
    engine = Mute(home, None)
    with pytest.raises(EngineError, match="built for sm_50-sm_62, this card is sm_75"):
        prepare([row], engine, on_t4, home, console)
    assert engine.seen == []
