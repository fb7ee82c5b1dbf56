"""What the replay engine promises: the recorded events, one tick after each, and the recorded end."""

import json
import shutil
from pathlib import Path

import pytest

from orchestrator.engines import open_engine
from orchestrator.engines.engine import Launch
from orchestrator.errors import EngineError
from orchestrator.home import REPOSITORY
from orchestrator.host import read_host
from orchestrator.planning.catalogue import Catalogue
from orchestrator.records import run_folder
from orchestrator.records.event import Tail
from orchestrator.records.run_folder import JobFolder

RECORDINGS = sorted(path.parent for path in Path(__file__).parents[1].glob("recordings/*/exit.json"))
OK = next(path for path in RECORDINGS if path.name == "ok")


@pytest.fixture
def launch(tmp_path):
    """A launch of the job that a folder records."""

    def of(recording):
        job_dir = tmp_path / f"job-{len(list(tmp_path.iterdir()))}"
        job_dir.mkdir()
        for name in (run_folder.RECORD, run_folder.JOB):
            shutil.copy(recording / name, job_dir / name)
        environment = JobFolder(recording).record().environment
        return Launch(environment, "workers.run", tmp_path, job_dir, None, (), 2**30, 60.0)

    return of


@pytest.fixture
def replay(home):
    return lambda folder: open_engine(f"replay:{folder}", home, read_host())


def nothing():
    pass


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.name)
def test_a_recording_ends_as_it_did(recording, replay, launch):
    ended = replay(recording).run(launch(recording), nothing)
    assert ended == JobFolder(recording).exit().model_copy(update={"launched_unix": ended.launched_unix})


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda path: path.name)
def test_a_recording_gives_the_events_it_has(recording, replay, launch):
    played = launch(recording)
    replay(recording).run(played, nothing)
    assert JobFolder(played.job_dir).events() == JobFolder(recording).events()


def test_events_arrive_one_tick_at_a_time(replay, launch):
    played, seen = launch(OK), []
    tail = Tail(played.job_dir / run_folder.EVENTS)
    replay(OK).run(played, lambda: seen.append(len(list(tail.read()))))
    assert max(seen) == 1
    assert sum(seen) == len(JobFolder(OK).events())


def test_what_tick_raises_leaves_run(replay, launch):
    def interrupt():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        replay(OK).run(launch(OK), interrupt)


def test_the_environment_is_the_recorded_one(replay):
    row = Catalogue.load(REPOSITORY / "docker").resolve("numpy_ref", "cpu", "1.0")
    assert replay(OK).prepare(row, print) == JobFolder(OK).record().environment


def test_a_row_that_was_not_recorded_is_named(replay):
    row = Catalogue.load(REPOSITORY / "docker").resolve("tensorflow", "cpu")
    with pytest.raises(EngineError, match=f"was made with tensorflow:{row.variant} cpu"):
        replay(OK).prepare(row, print)


def test_in_a_run_each_job_finds_its_own_recording(replay, launch, tmp_path):
    of_50_epochs = next(path for path in RECORDINGS if path.name == "timeout")
    for recording in (OK, of_50_epochs):
        shutil.copytree(recording, tmp_path / "run" / recording.name)
    engine = replay(tmp_path / "run")
    assert [engine.run(launch(path), nothing).is_timeout for path in (of_50_epochs, OK)] == [True, False]


def test_a_job_that_was_not_recorded_is_refused(replay, launch, tmp_path):
    stranger = launch(OK)
    record = json.loads((stranger.job_dir / run_folder.RECORD).read_text())
    other = {**record, "trial": {**record["trial"], "seed": 12345}}
    (stranger.job_dir / run_folder.RECORD).write_text(json.dumps(other))
    with pytest.raises(EngineError, match=r"holds no recording of what .*record\.json asks"):
        replay(OK.parent).run(stranger, nothing)


def test_a_folder_without_recordings_is_refused(replay, tmp_path):
    with pytest.raises(EngineError, match="holds no recording"):
        replay(tmp_path)


@pytest.mark.parametrize("name", ["weights.npz", "log.txt", "more"])
def test_a_link_in_a_recording_is_not_followed(replay, launch, tmp_path, name):
    (tmp_path / "precious").write_text("mine")
    recording = shutil.copytree(OK, tmp_path / "recording")
    (recording / name).unlink(missing_ok=True)
    (recording / name).symlink_to(tmp_path / "precious")
    asked = launch(recording)
    replay(recording).run(asked, nothing)
    assert not (asked.job_dir / name).exists()


def test_a_recording_whose_events_are_a_link_is_refused(replay, launch, tmp_path):
    recording = shutil.copytree(OK, tmp_path / "recording")
    (recording / "events.jsonl").rename(tmp_path / "elsewhere")
    (recording / "events.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(EngineError, match=r"events\.jsonl cannot be read \(it is a link\)"):
        replay(recording).run(launch(recording), nothing)
