"""How long a plan will take, from the runs that are on record."""

import pytest

from orchestrator.execution.forecast import forecast
from orchestrator.host import machine_id
from orchestrator.records.store import Store
from orchestrator.trial import Dataset, Measure, Synthetic, Training
from tests import fake_run as fake

STEP, EVALUATION = 0.1 + 0.001, 1.5 / 822  # of tests/fake_run.py: a step with its input, one picture
FIXED = 62.0 - 2 * 30 * STEP - 3 * 1.5  # its wall time less training and evaluations


@pytest.fixture
def recorded(home):
    """recorded(trial, ...) puts an ended trial on record."""

    def recorded(asked, hostname=None, run_id="20261121-120000-quick", **record):
        facts = fake.run_facts(run_id=run_id, host=fake.host(hostname_sha256=hostname or machine_id()))
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
