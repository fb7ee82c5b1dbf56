"""Lines of events.jsonl: what is no event is left out, and what is too much is refused."""

import json
import os

import pytest

from orchestrator.files import UnsafeFileError
from orchestrator.records import event
from orchestrator.records.event import Tail, parse
from orchestrator.records.payloads import payload_of
from orchestrator.records.timeline import flaw, read_timeline
from tests import fake_run as fake

GOOD = {"v": 1, "seq": 0, "t": 0.5, "kind": "training"}


@pytest.mark.parametrize(
    "changed",
    [
        {"t": 1e999},
        {"t": -1},
        {"seq": -1},
        {"seq": 2**65},
        {"kind": "a\0b"},
        {"kind": ""},
        {"kind": "X" * 99},
        {"v": 99},
    ],
    ids=str,
)
def test_an_event_out_of_range_is_no_event(changed):
    assert parse(json.dumps(GOOD)) is not None
    assert parse(json.dumps({**GOOD, **changed})) is None


@pytest.mark.parametrize("line", ["", "{", "[]", "null", '{"v":1', "\0", "1" * 5000, '{"v":' + "1" * 5000 + "}"])
def test_other_text_is_no_event(line):
    assert parse(line) is None


def epoch(**changes):
    fields = next(one for one in fake.training() if one.kind == "epoch").fields
    return fake.events(("epoch", {**fields, **changes}))[0]


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": ["abc"]},
        {"step_seconds": [0.0]},
        {"step_seconds": [1e308]},
        {"epoch_seconds": 0},
        {"epoch": 10**30},
        {"step_seconds": "long"},
    ],
    ids=str,
)
def test_fields_out_of_range_are_counted_as_unread(changes):
    assert payload_of(epoch()) is not None
    assert payload_of(epoch(**changes)) is None
    assert read_timeline([epoch(**changes)]).unread == 1


def test_a_gap_is_told():
    whole = fake.training()
    assert flaw(whole) == ""
    assert "missing or damaged" in flaw([*whole[:3], *whole[4:]])
    assert "missing or damaged" in flaw([*whole, whole[-1]])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "events.jsonl"


def test_a_file_that_grows_is_read_line_by_line(path):
    tail = Tail(path)
    assert list(tail.read()) == []
    line = json.dumps(GOOD)
    path.write_text(line[:10])
    assert list(tail.read()) == []
    with path.open("a") as file:
        file.write(f"{line[10:]}\nrubbish\n{line}\n")
    assert len(list(tail.read())) == 2


@pytest.mark.timeout(10)
def test_a_FIFO_does_not_block(path):  # noqa: N802
    os.mkfifo(path)
    with pytest.raises(UnsafeFileError, match="no regular file"):
        list(Tail(path).read())


@pytest.mark.timeout(10)
def test_a_link_to_an_endless_device_is_not_read(path):
    path.symlink_to("/dev/zero")
    with pytest.raises(UnsafeFileError, match="link"):
        list(Tail(path).read())


@pytest.mark.parametrize("limit", ["LIMIT_BYTES", "LIMIT_LINE_BYTES", "LIMIT_LINES"])
def test_too_much_is_refused(path, monkeypatch, limit):
    monkeypatch.setattr(event, limit, 3)
    path.write_text("x\n" * 5 if limit != "LIMIT_LINE_BYTES" else "xxxx")
    with pytest.raises(UnsafeFileError, match="it is longer than"):
        list(Tail(path).read())
