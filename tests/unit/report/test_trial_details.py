"""What the page and `invoke show` tell about one trial."""

import json
from dataclasses import replace

import numpy as np
import pytest

from orchestrator.console import flags
from orchestrator.networks import InputSize
from orchestrator.planning.narrowing import Narrowing, load_cells
from orchestrator.report import html
from orchestrator.report.trial_details import STEP_POINTS, details, repeat_command, thinned_steps
from tests import fake_run as fake
from tests.fake_stored import NO_MEMORY, audited, kept, run, timed


def test_details_hold_clocks_losses_and_scores():
    (one,) = details(run(timed(step_seconds=0.1, accuracy=0.9)))
    assert (one["numbers"]["step_ms"], len(one["losses"]), one["valid"][-1]) == (100.0, 2, 0.9)


def test_a_long_series_of_steps_is_thinned():
    (one,) = details(run(timed(steps=1000, epochs=2)))
    assert 0.9 * STEP_POINTS < len(one["steps_ms"]) <= STEP_POINTS


def test_many_trials_have_shorter_series():
    stored = run(*(timed(fake.trial(repeat=at), at + 1, steps=200) for at in range(3)))
    many = replace(stored, trials=stored.trials * 3000)
    assert len(details(many)[0]["steps_ms"]) < STEP_POINTS


def test_the_log_of_a_trial_that_ended_ok_is_left_out():
    logged = fake.ENDED.model_copy(update={"log_tail": "the end"})
    ok, bad = details(run(timed(exit_=logged), timed(fake.trial(repeat=1), 2, NO_MEMORY, logged)))
    assert (ok["log"], bad["log"]) == ("", "the end")


def test_an_audit_stands_with_its_bounds():
    trial = kept()
    (one,) = details(replace(run(trial), audits=(audited(trial, update=2e-4),)))
    assert (one["audit"]["update"], set(one["bounds"]) >= {"logits"}) == (2e-4, True)


def test_a_loss_that_is_not_finite_is_not_known():
    one = timed(changes={"epoch": {"loss": [None, 1.0]}})
    assert details(run(one))[0]["losses"] == [None, None]


def test_details_are_json():
    stored = run(timed(), timed(fake.trial(repeat=1), 2, NO_MEMORY))
    assert json.loads(json.dumps(details(stored), allow_nan=False)) == details(stored)


def test_the_command_of_a_trial_plans_that_trial(tmp_path):
    spec = {"name": "many", "axes": {"frameworks": ["mxnet", "pytorch"], "repeats": 3, "seeds": [0, 1, 2]}}
    spec["axes"]["models"] = [{"name": "idsia"}, {"name": "resnet", "depth": 20}]
    stored = run(timed(fake.trial(seed=2, repeat=1)), spec=spec)
    html.render(stored, tmp_path / stored.facts.run_id)
    said = dict(part.removeprefix("--").split("=", 1) for part in repeat_command(stored, stored.trials[0])[2:])
    assert said["spec"] == stored.facts.run_id
    path = tmp_path / stored.facts.run_id / "spec.json"
    narrowing = Narrowing(
        device=said["device"],
        frameworks=flags.names(said["frameworks"]),
        variants=flags.variants([said["variant"]]),
        seeds=flags.seeds(said["seeds"]),
        repeats=flags.number("--repeats", said["repeats"]),
    )
    asked = load_cells(path, ["mxnet", "pytorch"], narrowing.changes(), flags.names(said["cells"]))
    axes = asked.axes
    assert (axes.frameworks, axes.variants["pytorch"], axes.seeds, axes.repeats) == (("pytorch",), ("2.13",), (2,), 1)
    assert [(entry.model.label, entry.input_sizes) for entry in axes.models] == [("ResNet-20", (InputSize.square(32),))]


def test_the_command_names_an_engine_that_is_not_docker():
    stored = run(timed(), engine="virtualenv")
    assert repeat_command(stored, stored.trials[0])[-1] == "--engine=virtualenv"


@pytest.mark.parametrize("count", [121, 134, 239, 240, 1000])
def test_a_thinned_series_ends_where_the_steps_end(count):
    seconds = np.r_[np.zeros(count - 10), np.ones(10)]
    thinned = thinned_steps(seconds, STEP_POINTS)
    assert (len(thinned) <= STEP_POINTS, thinned[0], thinned[-1]) == (True, 0.0, 1.0)


def test_a_users_own_image_is_named_in_the_command():
    own = fake.environment(variant="image-0a1b2c", location="sha256:0a1b2c")
    stored = run(timed(fake.trial(variant="image-0a1b2c"), record={"environment": own}))
    command = repeat_command(stored, stored.trials[0])
    assert "--image=pytorch=sha256:0a1b2c" in command
    assert not any(part.startswith("--variant") for part in command)


def test_a_command_can_be_pasted_into_a_shell():
    (one,) = details(run(timed(), engine="host:/my pythons/python"))
    assert one["command"].endswith("'--engine=host:/my pythons/python'")
