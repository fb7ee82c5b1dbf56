"""A run's folder: each job has one folder, whose name, number and run agree with its record."""

import json
import shutil

import pytest

from orchestrator.errors import StoreError
from orchestrator.records.run_folder import JobFolder, RunFolder
from tests import fake_run as fake

RUN_ID = fake.run_facts().run_id


@pytest.fixture
def run(tmp_path):
    """The folder of a run of two trials."""
    jobs = [(fake.trial_record(ordinal=number), fake.ENDED, fake.OK, fake.training()) for number in (1, 2)]
    fake.write_run(tmp_path, fake.run_facts(), jobs)
    folder = tmp_path / RUN_ID
    for path in folder.glob("*-job"):
        path.rename(folder / JobFolder(path).record().folder_name)
    return RunFolder(folder)


def first(run):
    return next(iter(sorted(run.path.glob("0001-*"))))


def test_the_jobs_of_a_run_are_found_by_number(run):
    jobs, refused = run.jobs()
    assert (sorted(jobs), refused) == ([1, 2], [])


def test_a_copied_job_folder_is_left_out_aloud(run):
    copy = first(run).with_name(f"{first(run).name}.bak")
    shutil.copytree(first(run), copy)
    (copy / "outcome.json").unlink()
    jobs, refused = run.jobs()
    assert (sorted(jobs), jobs[1][0].path) == ([1, 2], first(run))
    assert refused == [f"{copy} has the number of another job's folder: a copy, which is left out. Move it away."]


def test_two_copies_of_unknown_origin_are_both_left_out(run):
    original = first(run)
    shutil.copytree(original, original.with_name("0001-a"))
    original.rename(original.with_name("0001-b"))
    jobs, refused = run.jobs()
    assert (sorted(jobs), len(refused)) == ([2], 2)


def test_a_folder_with_the_number_of_another_job_is_left_out(run):
    first(run).rename(run.path / "0007-job")
    jobs, refused = run.jobs()
    assert sorted(jobs) == [2]
    assert refused == [f"{run.path / '0007-job'} does not read: its record says that it is job 1."]


def test_a_job_of_another_run_is_left_out(run, tmp_path):
    other = fake.run_facts(run_id="20261122-120000-quick")
    job = (fake.trial_record(ordinal=3, run_id=other.run_id), fake.ENDED, fake.OK, fake.training())
    fake.write_run(tmp_path, other, [job])
    (tmp_path / other.run_id / "0003-job").rename(run.path / "0003-job")
    assert "belongs to run '20261122-120000-quick'" in run.jobs()[1][0]


def test_a_link_to_a_folder_is_no_job(run, tmp_path):
    first(run).rename(tmp_path / "elsewhere")
    first_number = run.path / "0001-job"
    first_number.symlink_to(tmp_path / "elsewhere")
    jobs, refused = run.jobs()
    assert (sorted(jobs), refused) == ([2], [f"{first_number} does not read: it is a link or no folder."])


def test_a_copied_run_is_refused(run):
    copy = run.path.with_name("backup")
    shutil.copytree(run.path, copy)
    with pytest.raises(StoreError, match=f"is that of run '{RUN_ID}': a copy or a renamed folder"):
        RunFolder(copy).facts()


@pytest.mark.parametrize("name", ["../../elsewhere", "/etc", "a/b", "..", ".hidden", "", "x" * 200, "a\0b"])
def test_a_run_id_cannot_lead_elsewhere(name):
    with pytest.raises(ValueError, match="run_id"):
        fake.run_facts(run_id=name)
    with pytest.raises(ValueError, match="run_id"):
        fake.trial_record(run_id=name)


ABSURD = {
    "a start in the year 10^12": ("started_unix", "1e20"),
    "memory of 10^400 bytes": ("memory_bytes", "1" + "0" * 400),
    "memory of 5,000 digits": ("memory_bytes", "1" * 5000),
    "text for a number": ("started_unix", '"soon"'),
    "a load that is not finite": ("load_1min", "1e999"),
}


@pytest.mark.parametrize("case", ABSURD, ids=str)
def test_an_absurd_run_is_refused_in_one_sentence(run, case):
    key, value = ABSURD[case]
    path = run.path / "run.json"
    text = path.read_text()
    start = text.index(f'"{key}":') + len(key) + 3
    end = min(text.index(sign, start) for sign in ",}" if sign in text[start:])
    path.write_text(f"{text[:start]}{value}{text[end:]}")
    with pytest.raises(StoreError) as caught:
        run.facts()
    said = str(caught.value)
    assert said.startswith(f"{path} does not read: ")
    assert (len(said) < 400, "pydantic" in said) == (True, False)


FIELDS = ["run_id", "kind", "started_unix", "waymark_version", "argv", "engine", "spec", "host", "skips", "compared"]


@pytest.mark.parametrize("name", [*FIELDS, "study", "pairs"])
def test_a_wrong_field_of_a_run_is_one_sentence(run, name):
    path = run.path / "run.json"
    fields = json.loads(path.read_text())
    for value in (7, "x\0y z", [[]], {"a": 1}, [None], "1" * 100_000):
        path.write_text(json.dumps({**fields, name: value}))
        try:
            run.facts()
        except StoreError as error:
            said = str(error)
        else:
            said = ""  # it is as good as the other
        assert len(said) < 500
        assert "pydantic" not in said
