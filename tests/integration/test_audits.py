"""Audits of real trials: an honest one passes, and one that is wrong only after its selfcheck loses its number."""

import json
import shutil

import pytest

from orchestrator.home import Home
from orchestrator.records.run_folder import AUDITS
from orchestrator.records.store import Store
from tests.project_copy import copy_project, invoke
from tests.sweeping import SPEC, run

ADAPTER = '''
"""The oracle, but it stops training after 50 steps: no more than a selfcheck takes."""

from workers.frameworks.numpy_ref import adapter

VERSION = adapter.VERSION


class Adapter(adapter.Adapter):
    taken = 0

    def step(self, batch):
        self.taken += 1
        return adapter.Adapter.step(self, batch) if self.taken <= 50 else self.gradients(batch)[0]
'''


def test_an_honest_trial_passes_its_audit(swept):
    (home, _, _), result, said = swept
    stored = result.report.stored
    audits = [stored.audit_of(trial) for trial in stored.trials]
    assert [audit.passed for audit in audits] == [True, True]
    assert [len(trial.timeline.audited.steps) for trial in stored.trials] == [2, 2]
    assert said.count(": as the oracle computes") == 2
    assert list(home.runs.glob(f"*/*/{AUDITS}")) == []  # they are large
    assert '<span class="good">passed</span>' in result.report.page.read_text()


def test_a_spec_may_ask_for_no_audit(world, catalogue):
    _, spec, _ = world
    spec.write_text(json.dumps({**SPEC, "measure": {**SPEC["measure"], "audit": 0}}))
    result, said = run(world, catalogue)
    assert result.report.stored.audits == ()
    assert "audit [" not in said


def test_an_audit_that_was_not_made_is_made_at_resume(world, catalogue, monkeypatch):
    monkeypatch.setattr("orchestrator.commands.sweep.Auditor.run_all", lambda auditor: False)
    first, _ = run(world, catalogue)
    assert first.report.stored.audits == ()
    assert "The oracle has not repeated the audited steps" in first.report.page.read_text()
    monkeypatch.undo()
    again, _ = run(world, catalogue, resume="latest")
    assert [audit.passed for audit in again.report.stored.audits] == [True, True]


@pytest.mark.slow
def test_a_step_that_is_wrong_after_the_selfcheck_is_found(tmp_path, catalogue, environment):
    environment(catalogue.resolve("numpy_ref", "cpu"))
    copy, home = copy_project(tmp_path), tmp_path / "home"
    shutil.copytree(copy / "docker" / "numpy_ref", copy / "docker" / "tired")
    folder = copy / "workers" / "frameworks" / "tired"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""The oracle that stops training."""\n', encoding="utf-8")
    (folder / "adapter.py").write_text(ADAPTER.lstrip(), encoding="utf-8")
    spec = copy / "experiments" / "tired.json"
    axes = {**SPEC["axes"], "frameworks": ["tired"], "seeds": [0]}
    asked = {"training": {"epochs": 8, "batch_size": 4}, "measure": {**SPEC["measure"], "audit": 12}}  # of 168 steps
    spec.write_text(json.dumps({**SPEC, "axes": axes, **asked}), encoding="utf-8")
    home.mkdir()
    (home / "virtualenvs").symlink_to(Home.default().virtualenvs)

    done = invoke(copy, home, "sweep", f"--spec={spec}", "--engine=virtualenv", "--json")
    (row,) = json.loads(done.stdout)
    assert (row["check"], row["audit"], row["status"]) == ("passed", "failed", "unverified"), done.stderr
    assert row["reason"].startswith("an audited step of it is not what numpy_ref computes: update off by")
    assert row["step_ms"] is None
    with Store.open(Home(home).store_url) as store:
        (trial,) = store.run(store.runs()[0].run_id).trials
    assert trial.outcome.status == "unverified"
