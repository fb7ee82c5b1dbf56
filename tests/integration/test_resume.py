"""Resuming asks the folders, which are the record; a number keeps its trial, whatever the plan has become."""

import json
import shutil

import pytest

from orchestrator.commands import outline, sweep
from orchestrator.errors import SpecError, StoreError
from orchestrator.records.run_folder import RunFolder
from orchestrator.records.store import Store
from tests.sweeping import run


def folder_of(world, result):
    return world[0].runs / result.report.stored.facts.run_id


@pytest.fixture
def done(swept, world):
    """(world, folder of its one complete run)."""
    return world, folder_of(world, swept[1])


def trials_by_number(folder):
    return {number: record.trial for number, (_, record) in RunFolder(folder).jobs()[0].items() if record.trial}


def change(path, **changes):
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_trial_keeps_its_number_when_the_plan_has_changed(done, catalogue, swept):
    world, folder = done
    before = trials_by_number(folder)
    spec = json.loads((folder / "run.json").read_text())["spec"]
    first_seed = before[1].seed  # now the plan begins with the other seed
    spec["axes"]["seeds"] = [1 - first_seed, 7]
    change(folder / "run.json", spec=spec)
    source = folder_of(world, swept[1])
    recordings = shutil.copytree(source, world[0].root.parent / "recordings" / source.name)
    seven = next(path for path in recordings.glob("*") if "-s0-" in path.name)
    record = json.loads((seven / "record.json").read_text())
    record["trial"]["seed"] = 7
    (seven / "record.json").write_text(json.dumps(record))
    change(folder / "run.json", engine=f"replay:{recordings}")
    again, said = run(world, catalogue, resume=folder.name)
    after = trials_by_number(folder)
    assert {number: after[number] for number in before} == before
    assert [trial.seed for number, trial in after.items() if number not in before] == [7]
    assert len(again.report.stored.trials) == 3, said


def test_a_complete_run_without_its_store_is_not_trained_again(done, catalogue):
    world, folder = done
    names = sorted(path.name for path in folder.iterdir())
    (world[0].root / "store.sqlite").unlink()
    again, said = run(world, catalogue, resume=folder.name)
    assert said.count("already done") == 2
    assert sorted(path.name for path in folder.iterdir()) == names
    assert [trial.outcome.status for trial in again.report.stored.trials] == ["ok", "ok"]


@pytest.mark.parametrize("damaged", ["a line dropped", "a number changed"])
def test_a_trial_with_damaged_events_is_run_again(done, catalogue, damaged):
    world, folder = done
    events = next(folder.glob("0001-*")) / "events.jsonl"
    lines = events.read_text().splitlines(keepends=True)
    at = next(number for number, line in enumerate(lines) if '"epoch"' in line and '"step_seconds"' in line)
    lines[at] = "" if damaged == "a line dropped" else lines[at].replace("0.0", "0.00", 1)
    events.write_text("".join(lines))
    with Store.open(world[0].store_url) as store:
        read = store.ingest(folder)
    assert (read.jobs, len(read.damaged)) == (4, 1)  # the other trial, the selfcheck, and an audit of each trial
    again, said = run(world, catalogue, resume=folder.name)
    assert said.count("already done") == 1
    assert [trial.outcome.status for trial in again.report.stored.trials] == ["ok", "ok"]


def test_a_trial_of_other_ops_is_run_again(done, catalogue):
    world, folder = done
    path = next(folder.glob("0001-*")) / "record.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "network_sha256": "0" * 64}))
    _, said = run(world, catalogue, resume=folder.name)
    assert said.count("already done") == 1


def test_a_row_without_a_folder_is_run_again(done, catalogue):
    world, folder = done
    shutil.rmtree(next(folder.glob("0001-*")))
    _, said = run(world, catalogue, resume=folder.name)
    assert said.count("already done") == 1


BROKEN = {
    "no JSON": "{",
    "empty": "",
    "a list": "[]",
    "not UTF-8": "\udcff",
    "no fields": "{}",
    "nothing": "null",
    "nested too deeply": "[" * 100_000,
}


@pytest.mark.parametrize("case", BROKEN, ids=str)
def test_a_damaged_run_is_refused_by_name_and_passed_over_else(done, catalogue, case):
    world, folder = done
    newer = folder.with_name("29991231-235959-newer")
    newer.mkdir()
    (newer / "run.json").write_bytes(BROKEN[case].encode("utf-8", "surrogateescape"))
    with pytest.raises(StoreError, match=r"newer/run\.json does not read"):
        run(world, catalogue, resume=newer.name)
    _, said = run(world, catalogue, resume="latest")
    assert "newer/run.json does not read" in said
    assert said.count("already done") == 2


def test_a_recorded_spec_of_another_version_is_one_sentence(done, catalogue):
    world, folder = done
    spec = json.loads((folder / "run.json").read_text())["spec"]
    change(folder / "run.json", spec={**spec, "sauce": "hot"})
    with pytest.raises(SpecError, match=r"run\.json of .*: sauce is not a key of a spec"):
        run(world, catalogue, resume=folder.name)


def test_a_dry_run_of_a_complete_run_lists_nothing_to_run(done, catalogue):
    world, folder = done
    request = sweep.SweepRequest(world[1], resume=folder.name)
    title, rows = outline.outline(request, catalogue, world[0])
    assert [row["plan"] for row in rows] == ["done", "done"]
    assert "2 trials (2 of them done)" in title
    assert "nothing is left to run" in title


def test_a_dry_run_of_a_torn_run_lists_what_is_left(done, catalogue):
    world, folder = done
    shutil.rmtree(next(folder.glob("0001-*")))
    (world[0].root / "store.sqlite").unlink()
    with Store.open(world[0].store_url) as store:
        store.ingest(folder)
    _, rows = outline.outline(sweep.SweepRequest(world[1], resume=folder.name), catalogue, world[0])
    assert sorted(row["plan"] for row in rows if row["plan"] != "check") == ["done", "run"]
