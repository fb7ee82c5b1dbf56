"""How long a plan will take, from the runs that are on record."""

import pytest

from orchestrator.dataset import Augmentation, Dataset, Synthetic
from orchestrator.engines.source import current_sha256
from orchestrator.execution.forecast import forecast, forecast_checks
from orchestrator.host import machine_keys
from orchestrator.records.store import Store
from orchestrator.trial import Measure, Training
from tests import fake_run as fake

STEP, EVALUATION = 0.1 + 0.001, 1.5 / 822  # of tests/fake_run.py: a step with its input, one picture
FIXED = 62.0 - 2 * 30 * STEP - 3 * 1.5  # its wall time less training and evaluations


@pytest.fixture
def recorded(home):
    """recorded(trial, ...) puts an ended trial on record."""

    def recorded(asked, hostname=None, run_id="20261121-120000-quick", **record):
        facts = fake.run_facts(run_id=run_id, host=fake.host(hostname_sha256=hostname or machine_keys()[-1]))
        one = fake.trial_record(asked, run_id=run_id, **record)
        folder = fake.write_run(home.runs, facts, [(one, fake.ENDED, fake.OK, fake.training())])
        with Store.open(home.store_url) as store:
            store.ingest(folder)

    return recorded


def test_without_runs_nothing_is_known_and_nothing_written(home):
    assert forecast([fake.trial()], home) == [None]
    assert not home.root.exists()


def test_a_trial_takes_what_its_steps_took_before(recorded, home):
    recorded(fake.trial(), data=fake.data_facts(train_pictures=6400, valid_pictures=100, test_pictures=200))
    asked = fake.trial(training=Training(epochs=3))
    assert forecast([asked], home) == [pytest.approx(FIXED + 3 * 100 * STEP + (3 * 100 + 200) * EVALUATION)]


def test_pictures_that_no_run_has_read_are_the_whole_data_set(recorded, home):
    recorded(fake.trial(dataset=Dataset(name="synthetic", synthetic=Synthetic())))
    (seconds,) = forecast([fake.trial(training=Training(epochs=1), measure=Measure(evaluate="end"))], home)
    assert seconds == pytest.approx(FIXED + 490 * STEP + (7842 + 12_630) * EVALUATION)


@pytest.mark.parametrize("other", [{"filters": ("hog",)}, {"augment": Augmentation(shift=0.1)}])
def test_features_and_changed_pictures_have_steps_of_their_own(recorded, home, other):
    recorded(fake.trial())
    assert forecast([fake.trial(dataset=Dataset(**other))], home) == [None]


@pytest.mark.parametrize(
    ("part", "seen", "tested"), [({"fraction": 0.1}, 3921, 1263), ({"per_class": 50}, 43 * 50, 43 * 50)]
)
def test_a_part_takes_the_time_of_its_pictures(recorded, home, part, seen, tested):
    recorded(fake.trial(dataset=Dataset(name="synthetic", synthetic=Synthetic())))
    asked = fake.trial(dataset=Dataset(**part), training=Training(epochs=1), measure=Measure(evaluate="end"))
    (seconds,) = forecast([asked], home)
    valid = round(seen * 0.2)
    assert seconds == pytest.approx(FIXED + (seen - valid) // 64 * STEP + (valid + tested) * EVALUATION)


@pytest.mark.parametrize(
    "other",
    [
        {"variant": "1.3"},
        {"input_size": 48},
        {"model": fake.IDSIA},
        {"threads": 1},
        {"training": Training(batch_size=32)},
    ],
    ids=["variant", "size", "network", "threads", "batch"],
)
def test_other_steps_are_not_known(recorded, home, other):
    recorded(fake.trial())
    assert forecast([fake.trial(**other)], home) == [None]


def test_runs_of_another_machine_say_nothing(recorded, home):
    recorded(fake.trial(), hostname="another")
    assert forecast([fake.trial()], home) == [None]


PARTS = {"regime 'first'": 2.0, "regime 'clean'": 6.0, "the oracle's 'clean'": 30.0, "a small batch": 2.0}


@pytest.fixture
def checked(home):
    """checked(framework, seconds of its parts) puts a check that passed on record, of the current worker code."""

    def checked(framework, seconds, wall_seconds=50.0, run_id="20261121-120000-check", **record):
        said = fake.checking()
        said[1] = said[1].model_copy(update={"seconds": seconds})
        facts = fake.run_facts(run_id=run_id, kind="check")
        asked = {"worker_sha256": current_sha256(), "processor": "AMD EPYC", **record}
        one = fake.check_record(framework, run_id=run_id, **asked)
        ended = fake.ENDED.model_copy(update={"wall_seconds": wall_seconds})
        folder = fake.write_run(home.runs, facts, [(one, ended, fake.OK, said)])
        with Store.open(home.store_url) as store:
            store.ingest(folder)

    return checked


def test_checks_of_a_new_machine_are_a_guess_and_say_so(home):
    trials = [fake.trial(), fake.trial("mxnet", "1.5")]
    first, second = forecast_checks(trials, home, "AMD EPYC")
    assert first.basis.startswith("a guess")
    assert first.seconds > second.seconds  # the oracle trains for the first alone
    assert not home.root.exists()


def test_a_check_that_has_passed_takes_no_time(checked, home):
    checked("pytorch", PARTS)
    (one,) = forecast_checks([fake.trial()], home, "AMD EPYC")
    assert (one.seconds, one.basis) == (0.0, "passed before")


@pytest.mark.parametrize("changed", [{"worker_sha256": "0" * 64}, {"processor": "another"}])
def test_a_check_of_other_code_or_processor_is_made_again(checked, home, changed):
    checked("pytorch", PARTS, **changed)
    (one,) = forecast_checks([fake.trial()], home, "AMD EPYC")
    is_traced = "processor" in changed  # the oracle's traces are those of the worker code
    assert (one.seconds, one.basis) == (pytest.approx(20.0 if is_traced else 50.0), "")


def test_a_larger_network_takes_longer_by_its_operations(checked, home):
    checked("pytorch", PARTS, worker_sha256="0" * 64)
    (small,) = forecast_checks([fake.trial()], home, "AMD EPYC")
    (large,) = forecast_checks([fake.trial(input_size=64)], home, "AMD EPYC")
    assert large.seconds - 10.0 == pytest.approx(4 * (small.seconds - 10.0), rel=0.01)
