"""Which trained weights are found on record."""

import numpy as np
import pytest

from orchestrator.commands import export_model
from orchestrator.dataset import Dataset
from orchestrator.errors import SpecError, StoreError
from orchestrator.execution import weights
from orchestrator.execution.session import RunOptions
from orchestrator.home import Home
from orchestrator.networks import InputSize
from orchestrator.records.store import Store
from orchestrator.trial import Training
from tests import fake_run as fake

TRAINING = Training(epochs=2)
WANTED = weights.Wanted(fake.RESNET, InputSize.square(32), Dataset(), TRAINING)


@pytest.fixture
def home(tmp_path):
    """A home with two runs, the newer of which trained another network too, and the files that they left."""
    made = Home(tmp_path)
    made.runs.mkdir(parents=True)
    with Store.open(made.store_url) as store:
        for day, asked in (("21", [fake.trial()]), ("22", [fake.trial(), fake.trial(model=fake.IDSIA, input_size=48)])):
            run_id = f"202611{day}-120000-quick"
            facts = fake.run_facts(run_id, started_unix=1_795_262_400.0 + int(day))
            records = [fake.trial_record(trial, at, run_id) for at, trial in enumerate(asked, start=1)]
            fake.add_all(store, facts, [(record, fake.ENDED, fake.OK, fake.training()) for record in records])
            for record in records:
                folder = made.runs / run_id / record.folder_name
                folder.mkdir(parents=True)
                np.savez(folder / "weights.npz")
    return made


def test_those_of_the_newest_run_are_taken(home):
    (found,), missing = weights.find([WANTED], home)
    assert (found.run_id, found.sha256, missing) == ("20261122-120000-quick", "f" * 64, [])


def test_those_of_a_named_run_are_taken(home):
    (found,), _ = weights.find([WANTED], home, "20261121-120000-quick")
    assert found.run_id == "20261121-120000-quick"


def test_weights_whose_file_is_gone_are_not_found(home):
    weights.path_of(weights.find([WANTED], home)[0][0], home).unlink()
    assert weights.find([WANTED], home)[0][0].run_id == "20261121-120000-quick"


@pytest.mark.parametrize(
    "change",
    [{"input_size": InputSize.square(48)}, {"training": Training(epochs=3)}, {"dataset": Dataset(clahe=False)}],
    ids=["size", "training", "pictures"],
)
def test_what_was_trained_otherwise_is_missing(home, change):
    wanted = WANTED._replace(**change)
    assert weights.find([wanted], home) == ([], [wanted])


def test_any_training_will_do_where_none_is_asked_for(home):
    assert weights.find([WANTED._replace(training=None)], home)[1] == []


def test_a_run_that_is_not_there_is_named(home):
    with pytest.raises(StoreError, match="has no run '20990101-000000-none'"):
        weights.find([WANTED], home, "20990101-000000-none")


def test_a_home_without_runs_has_no_weights(tmp_path):
    assert weights.find([WANTED], Home(tmp_path / "none")) == ([], [WANTED])


def test_a_cell_is_chosen_by_its_name(home):
    assert weights.chosen("", "IDSIA@48", home).model == fake.IDSIA


def test_an_unknown_cell_is_refused_with_the_known(home):
    with pytest.raises(SpecError, match="known: ResNet-20@32, IDSIA@48"):
        weights.chosen("20261122-120000-quick", "ResNet-56@32", home)


@pytest.fixture
def two_trainers(home):
    """The id of a run in which two frameworks trained one network."""
    run_id = "20261123-120000-both"
    records = [
        fake.trial_record(fake.trial(framework), at, run_id)
        for at, framework in enumerate(("pytorch", "mxnet"), start=1)
    ]
    with Store.open(home.store_url) as store:
        facts = fake.run_facts(run_id, started_unix=1_795_263_000.0)
        fake.add_all(store, facts, [(record, fake.ENDED, fake.OK, fake.training()) for record in records])
    for record in records:
        folder = home.runs / run_id / record.folder_name
        folder.mkdir(parents=True)
        np.savez(folder / "weights.npz")
    return run_id


def request_of(run_id, subject=""):
    return export_model.ExportRequest(run_id, "ResNet-20@32", {}, RunOptions(), subject)


def test_whose_weights_is_asked_where_several_trained(home, two_trainers):
    with pytest.raises(SpecError, match=r"trained by pytorch:2\.13 and mxnet:2\.13 in run .*: --subject=pytorch:2\.13"):
        export_model._of_subject(request_of(two_trainers), home)
    assert export_model._of_subject(request_of(two_trainers, "mxnet:2.13"), home).subject == "mxnet:2.13"


def test_a_subject_that_trained_nothing_is_refused_by_name(home, two_trainers):
    with pytest.raises(SpecError, match=r"Did you mean 'mxnet:2\.13'"):
        export_model._of_subject(request_of(two_trainers, "mxnet:2.12"), home)


def test_of_one_trainer_nobody_is_asked(home):
    assert export_model._of_subject(request_of("20261121-120000-quick"), home).subject == "pytorch:2.13"
