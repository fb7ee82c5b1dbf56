"""Real sweeps: spec in, report out; one stopped and resumed; machines that are broken in part or whole."""

import fcntl
import io
import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pytest
from rich.console import Console as Terminal

from orchestrator.commands import compare, gate, records, sweep
from orchestrator.console.progress import Console
from orchestrator.engines.source import WorkerSource, snapshot
from orchestrator.engines.virtualenv import VirtualenvEngine
from orchestrator.errors import EngineError, StoreError
from orchestrator.execution.session import RunOptions
from orchestrator.home import REPOSITORY
from orchestrator.host import boot_key, read_host
from orchestrator.host.card import read_cards
from orchestrator.planning.catalogue import Catalogue
from orchestrator.records.run_folder import Until
from orchestrator.records.store import Store
from orchestrator.trial import Exit
from tests.fake_job import kind_of
from tests.sweeping import SPEC, run

INVOKE = [sys.executable, "-m", "invoke"]


def weights(result):
    return [trial.timeline.done.weights_sha256 for trial in result.report.stored.trials]


def test_a_sweep_ends_with_ok_rows_a_report_and_exit_code_0(swept):
    _, result, _ = swept
    assert [trial.outcome.status for trial in result.report.stored.trials] == ["ok", "ok"]
    assert result.exit_code == 0
    assert "numpy_ref:1.0" in result.report.page.read_text()


def test_an_environment_is_checked_before_it_is_timed(swept):
    _, result, said = swept
    assert [check.passed for check in result.report.stored.checks] == [True]
    assert said.index("selfcheck ResNet-8@8: passed") < said.index("[1/2]")


def test_a_trial_leaves_what_the_machine_did_meanwhile(swept):
    _, result, _ = swept
    assert [len(trial.samples) >= 2 for trial in result.report.stored.trials] == [True, True]
    assert [check.samples for check in result.report.stored.checks] == [()]
    assert {sample.card for trial in result.report.stored.trials for sample in trial.samples} == {None}


def test_a_resumed_sweep_runs_nothing_that_is_done(swept, world, catalogue):
    again, said = run(world, catalogue, resume="latest")
    before = swept[1].report.stored
    assert repr((again.report.stored.trials, again.report.stored.checks)) == repr((before.trials, before.checks))
    assert said.count("already done") == 2


def test_a_second_sweep_reuses_the_selfcheck(swept, world, catalogue):
    again, said = run(world, catalogue)
    assert "passed before" in said
    assert (
        len(again.report.stored.checks) == 1
    )  # cited from the first run, so that its figures stand in this report too
    assert sorted(weights(again)) == sorted(weights(swept[1]))


def test_another_seed_gives_other_weights(swept):
    assert len(set(weights(swept[1]))) == 2


def test_a_variant_whose_switch_does_not_take_is_never_timed(world, catalogue):
    row = catalogue.resolve("numpy_ref", "cpu")
    env, expects = {"LD_PRELOAD": "libno_such_tcmalloc.so"}, {"allocator": "tcmalloc"}
    tuned = replace(row, variant="1.0-tuned", env=env, expects=expects)
    catalogue = replace(catalogue, tables={**catalogue.tables, "numpy_ref": (row, tuned)})
    result, _ = run(world, catalogue, changes={"axes.variants.numpy_ref": "1.0-tuned", "axes.seeds": [0]})
    (trial,) = result.report.stored.trials
    assert (trial.outcome.status, trial.outcome.fault) == ("misconfigured", "environment")
    assert trial.outcome.reason == "its row expects allocator = 'tcmalloc'; in force is 'libc'."
    assert not trial.timeline.epochs
    assert result.exit_code == 1


def test_changed_worker_code_is_checked_again(world, catalogue, monkeypatch):
    changed = WorkerSource(world[0].workers / "changed", "0" * 64)
    shutil.copytree(snapshot(world[0]).path, changed.path)
    monkeypatch.setattr(WorkerSource, "verify", lambda source: None)
    monkeypatch.setattr("orchestrator.execution.session.snapshot", lambda home: changed)
    _, said = run(world, catalogue)
    assert "passed before" not in said


def test_ingest_makes_the_same_store_again(swept, world):
    home = world[0]
    (home.root / "store.sqlite").unlink()
    assert records.ingest(home, Console(Terminal(file=io.StringIO()))) == 0
    with Store.open(home.store_url) as store:
        assert repr(store.run(swept[1].report.stored.facts.run_id)) == repr(swept[1].report.stored)


def test_the_host_engine_trains_what_is_installed(world, catalogue):
    result, said = run(world, catalogue, engine="host")
    assert [(trial.trial.subject, trial.outcome.status) for trial in result.report.stored.trials] == [
        ("numpy_ref:host", "ok"),
        ("numpy_ref:host", "ok"),
    ]
    assert [check.passed for check in result.report.stored.checks] == [True]
    assert {trial.environment.location for trial in result.report.stored.trials} == {sys.executable}
    again, said = run(world, catalogue, resume="latest")
    assert said.count("already done") == 2
    assert again.exit_code == 0


class Refusing(VirtualenvEngine):
    """Its framework cannot lower an op; the selfcheck is where that comes out."""

    def run(self, launch, tick):
        if kind_of(launch) != "selfcheck":
            return super().run(launch, tick)
        said = {"v": 1, "seq": 0, "t": 0.0, "kind": "fail", "code": 66, "reason": "dropout: it is not lowered"}
        (launch.job_dir / "events.jsonl").write_text(json.dumps(said) + "\n")
        return Exit(code=66, launched_unix=time.time(), wall_seconds=1.0)


def test_an_unsupported_selfcheck_is_not_timed_even_unverified(fresh, catalogue, monkeypatch):
    monkeypatch.setattr("orchestrator.execution.session.open_engine", lambda name, home, host: Refusing(home, host))
    result, said = run(fresh, catalogue, allow_unverified=True)
    outcomes = [(trial.outcome.status, trial.outcome.reason) for trial in result.report.stored.trials]
    assert outcomes == [("unsupported", "dropout: it is not lowered")] * 2
    assert "[1/2] numpy_ref:1.0 ResNet-8@8 cpu seed" in said
    assert result.exit_code == 0


class OnCard(Refusing):
    """Runs GPU jobs without a card: a probe says what a real one would, of every framework but the oracle."""

    def prepare(self, row, say):
        made = super().prepare(replace(row, framework="numpy_ref", device="cpu"), say)
        return made.model_copy(update={"framework": row.framework, "device": row.device})

    def run(self, launch, tick):
        if kind_of(launch) != "probe" or launch.environment.framework == "numpy_ref":
            return super().run(launch, tick)
        assert launch.environment.card.name == "Tesla T4"
        said = "RuntimeError: CUDA error: no kernel image is available for execution on the device"
        return Exit(code=None, signal=6, launched_unix=time.time(), wall_seconds=1.0, log_tail=said)


def test_a_build_without_code_for_the_card_is_a_skip(fresh, catalogue, monkeypatch, nvml):
    nvml("t4")
    cards, _ = read_cards()
    rows = catalogue.rows(frameworks=("numpy_ref",))
    foreign = replace(rows[0], framework="tiny", device="gpu")
    known = Catalogue(
        {"numpy_ref": rows, "tiny": (foreign,)},
        {name: dict.fromkeys(("cpu", "gpu"), "1.0") for name in ("numpy_ref", "tiny")},
    )
    monkeypatch.setattr("orchestrator.execution.session.open_engine", lambda name, home, host: OnCard(home, host))
    monkeypatch.setattr(
        "orchestrator.execution.session.read_host", lambda: read_host().model_copy(update={"gpus": cards})
    )
    axes = {**SPEC["axes"], "frameworks": ["numpy_ref", "tiny"], "devices": ["cpu", "gpu"], "seeds": [0]}
    fresh[1].write_text(json.dumps({**SPEC, "axes": {**axes, "variants": {"tiny": rows[0].variant}}}))
    result, _ = run(fresh, known)
    reasons = {skip.label: skip.reason for skip in result.report.stored.facts.skips}
    assert reasons["tiny:1.0 ResNet-8@8 gpu"] == (
        "unsupported: built without code for this card: "
        "RuntimeError: CUDA error: no kernel image is available for execution on the device"
    )
    assert [trial.outcome.status for trial in result.report.stored.trials] == ["unsupported"]
    assert result.exit_code == 0


def test_resuming_nothing_is_one_sentence(world, catalogue):
    shutil.rmtree(world[0].runs)
    with pytest.raises(StoreError, match="holds no run to resume"):
        run(world, catalogue, resume="latest")


def test_two_sweeps_at_once_are_refused(world, catalogue):
    folder = world[0].locks / boot_key()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "sweep.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(EngineError, match="another run is going on"):
            run(world, catalogue)


class Broken(VirtualenvEngine):
    """Starts nothing: every worker ends at once without an event."""

    def run(self, launch, tick):
        return Exit(code=127, launched_unix=time.time(), wall_seconds=0.0, log_tail="python: not found")


def test_three_environment_faults_in_a_row_stop_the_sweep(world, catalogue, monkeypatch):
    environment = VirtualenvEngine(world[0], read_host()).prepare(catalogue.resolve("numpy_ref", "cpu"), print)
    monkeypatch.setattr(Broken, "prepare", lambda self, row, say: environment)
    monkeypatch.setattr("orchestrator.execution.session.open_engine", lambda name, home, host: Broken(home, host))
    monkeypatch.setattr("orchestrator.execution.trial_runner.BACKOFF_SECONDS", (0.0, 0.0))
    world[1].write_text(json.dumps({**SPEC, "axes": {**SPEC["axes"], "seeds": [0, 1, 2, 3, 4]}}))
    with pytest.raises(EngineError, match="3 trials in a row failed because of this machine"):
        run(world, catalogue, allow_unverified=True)
    with Store.open(world[0].store_url) as store:
        stored = store.run(store.latest_sweep().run_id)
    ends = [(trial.outcome.status, trial.outcome.fault) for trial in stored.trials]
    assert ends == [("no_protocol", "environment")] * 3
    assert [trial.record.attempt for trial in stored.trials] == [3] * 3


def test_an_environment_that_fails_costs_its_own_cells_only(world, catalogue, monkeypatch):
    class Partial(VirtualenvEngine):
        def prepare(self, row, say):
            if row.framework == "pytorch":
                raise EngineError("no wheel for this machine")
            return super().prepare(row, say)

    monkeypatch.setattr("orchestrator.execution.session.open_engine", lambda name, home, host: Partial(home, host))
    axes = {**SPEC["axes"], "frameworks": ["numpy_ref", "pytorch"], "seeds": [0]}
    world[1].write_text(json.dumps({**SPEC, "axes": axes}))
    result, _ = run(world, catalogue)
    assert [trial.outcome.status for trial in result.report.stored.trials] == ["ok"]
    assert [skip.reason for skip in result.report.stored.facts.skips] == ["no wheel for this machine"]
    assert result.exit_code == 1


def stopped_by_ctrl_c(verb, environment):
    """Exit code and words of a verb that is stopped a second after its first trial began."""
    # Whoever runs the tests in the background of a script has Ctrl-C ignored in all that it starts.
    pipes = {
        "stderr": subprocess.PIPE,
        "text": True,
        "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    }
    with subprocess.Popen([*INVOKE, *verb], cwd=REPOSITORY, env=environment, **pipes) as process:
        next(line for line in process.stderr if line.startswith("[1/"))
        time.sleep(1.0)
        process.send_signal(signal.SIGINT)
        said = process.stderr.read()
    return process.returncode, said


def test_ctrl_c_keeps_what_is_done_and_resume_finishes_it(long_world):
    home, spec, environment = long_world
    code, said = stopped_by_ctrl_c(["sweep", f"--spec={spec}", "--engine=virtualenv"], environment)
    assert code == 130, said
    assert "Continue with: invoke sweep --resume=" in said
    with Store.open(home.store_url) as store:
        stopped = store.run(store.latest_sweep().run_id)
    assert [trial.outcome.status for trial in stopped.trials] == ["cancelled"]
    resume = [*INVOKE, "sweep", "--resume", "--json"]
    done = subprocess.run(resume, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert [(row["status"], row["ok"]) for row in json.loads(done.stdout)] == [("ok", 2)]


def test_ctrl_c_of_a_comparison_is_no_mistake_of_the_users(long_world):
    _, spec, environment = long_world
    compared = ["numpy_ref:1.0", "numpy_ref:1.0"]
    code, said = stopped_by_ctrl_c(["compare", *compared, f"--spec={spec}", "--engine=virtualenv"], environment)
    assert (code, "nothing to compare" in said) == (130, False), said
    assert "Continue with: invoke sweep --resume=" in said


def test_a_study_reads_each_data_set_and_grades_its_runs(world, catalogue):
    axes = {**SPEC["axes"], "seeds": [0], "clahe": [True, False], "repeats": 2}
    study = {"study": "determinism", "measure": {**SPEC["measure"], "fingerprint": "epoch"}}
    world[1].write_text(json.dumps({**SPEC, **study, "axes": axes}))
    result, _ = run(world, catalogue)
    assert len({trial.data.sha256 for trial in result.report.stored.trials}) == 2
    ((section,),) = [result.report.sections]
    assert [(row["cell"], row["runs"], row["grade"]) for row in section.tables[0].rows] == [
        ("ResNet-8@8 cpu", 2, "bit-exact"),
        ("ResNet-8@8 without CLAHE cpu", 2, "bit-exact"),
    ]
    assert len(set(weights(result))) == 2


@pytest.mark.docker
def test_a_sweep_in_containers_ends_like_one_in_virtualenvs(world, catalogue):
    in_docker, _ = run(world, catalogue, engine="docker")
    assert [trial.outcome.status for trial in in_docker.report.stored.trials] == ["ok", "ok"]
    assert {trial.environment.engine for trial in in_docker.report.stored.trials} == {"docker"}


def test_strict_refuses_a_machine_that_others_are_warned_of(world, catalogue, monkeypatch):
    monkeypatch.setattr(
        "orchestrator.execution.session.machine_warnings", lambda host, load, memory_bytes: ["The machine is busy."]
    )
    with pytest.raises(EngineError, match=r"would not be reliable, and --strict is given\. The machine is busy\."):
        run(world, catalogue, is_strict=True)
    _, said = run(world, catalogue)
    assert "note: The machine is busy." in said


def test_a_build_against_itself_is_a_control_on_record(world, catalogue):
    home, spec, reports = world
    compared = ("numpy_ref:1.0", "numpy_ref:1.0")
    asked = compare.CompareRequest(spec, compared, 2, options=RunOptions(engine="virtualenv"))
    request = compare.sweep_of(asked, catalogue)
    request = replace(request, changes={**request.changes, "axes.seeds": [0], "measure.warmup_steps": 0})
    result = sweep.sweep(request, catalogue, home, reports, Console(Terminal(file=io.StringIO())))
    (row,) = compare.verdicts_of(home, result.report.stored)
    assert (row["cell"], row["pairs"]) == ("numpy_ref ResNet-8@8 cpu", 2)
    assert row["words"].endswith("no verdict from fewer than 6 pairs")
    assert row["noise_floor"] is None  # no earlier comparison tells one
    run_id = result.report.stored.facts.run_id
    assert compare.recorded(home, (run_id, run_id)) == [row]
    assert compare.recorded(home, ("numpy_ref:1.0", run_id)) is None


def test_a_gate_stops_when_it_knows_and_leaves_what_ci_reads(world, catalogue, tmp_path):
    home, spec, reports = world
    compared = ("numpy_ref:1.0", "numpy_ref:1.0")
    spec.write_text(json.dumps({**SPEC, "axes": {**SPEC["axes"], "seeds": [0]}}))
    until = Until(margin=0.9, budget_seconds=600)
    asked = compare.CompareRequest(spec, compared, until=until, options=RunOptions(engine="virtualenv"))
    said = io.StringIO()
    result = gate.gate(asked, tmp_path / "gate", catalogue, home, reports, Console(Terminal(file=said, width=200)))
    assert result.exit_code == 0
    assert 3 <= result.rows[0].pairs < 30
    assert "ResNet-8@8 cpu after 3 pairs: " in said.getvalue()
    assert {path.name for path in (tmp_path / "gate").iterdir()} >= {"junit.xml", "summary.md"}
