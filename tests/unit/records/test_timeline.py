"""Events of one worker read as clocks; a worker is not trusted to keep to the protocol."""

from dataclasses import fields

import numpy as np
import pytest

from orchestrator.records.payloads import KINDS, ONCE
from orchestrator.records.timeline import Timeline, read_timeline
from tests import fake_run as fake
from workers import protocol


def epoch(**fields):
    return ("epoch", {"epoch": 0, "epoch_seconds": 1.0, **fields})


def test_steady_steps_are_those_after_the_warm_up():
    timeline = read_timeline(fake.events(epoch(step_seconds=[9.0, 8.0, 1.0, 2.0], warmup_steps=2)))
    assert timeline.steady_steps.tolist() == [1.0, 2.0]


def test_steady_steps_go_on_over_epochs():
    warm, next_one = epoch(step_seconds=[9.0, 1.0], warmup_steps=1), epoch(step_seconds=[2.0])
    assert read_timeline(fake.events(warm, next_one)).steady_steps.tolist() == [1.0, 2.0]


def test_a_block_counts_once_as_its_mean_step():
    timeline = read_timeline(fake.events(epoch(block_steps=[4, 2], block_seconds=[2.0, 3.0])))
    assert timeline.steady_steps.tolist() == [0.5, 1.5]


def test_a_block_that_begins_in_the_warm_up_belongs_to_it():
    said = epoch(block_steps=[4, 4, 2], block_seconds=[8.0, 4.0, 3.0], warmup_steps=5)
    assert read_timeline(fake.events(said)).steady_steps.tolist() == [1.5]


def test_blocks_hide_the_first_step():
    assert read_timeline(fake.events(epoch(block_steps=[4], block_seconds=[2.0]))).first_step_seconds is None


def test_the_first_step_is_kept_though_it_warms_up():
    assert read_timeline(fake.events(epoch(step_seconds=[9.0, 1.0], warmup_steps=2))).first_step_seconds == 9.0


def test_the_first_epoch_warms_up():
    timeline = read_timeline(fake.events(epoch(epoch_seconds=9.0), epoch(epoch_seconds=4.0), epoch(epoch_seconds=5.0)))
    assert timeline.steady_epochs.tolist() == [4.0, 5.0]


def test_an_only_epoch_is_better_than_none():
    assert read_timeline(fake.events(epoch(epoch_seconds=9.0))).steady_epochs.tolist() == [9.0]


def test_accuracy_is_the_last_of_its_split():
    said = [("score", fake.score("valid", at, at / 10)) for at in (3, 4)] + [("score", fake.score("test", 4, 0.1))]
    assert read_timeline(fake.events(*said)).accuracy("valid") == 0.4


def test_a_score_whose_loss_is_not_finite_is_a_score():
    said = {**fake.score("test", 0, 0.02), "loss": None}
    assert read_timeline(fake.events(("score", said))).accuracy("test") == 0.02


def test_a_worker_that_said_nothing_has_no_steps():
    assert read_timeline([]).steady_steps.size == 0


def test_unknown_events_and_fields_are_no_fault():
    assert read_timeline(fake.events(("dance", {}), epoch(mood="good"))).unread == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"step_seconds": "fast"},
        {"step_seconds": [None]},
        {"step_seconds": [-1.0]},
        {"epoch_seconds": None},
        {"warmup_steps": -1},
        {"block_steps": [1, 2], "block_seconds": [1.0]},
        {"block_steps": [0], "block_seconds": [1.0]},
    ],
    ids=str,
)
def test_an_invalid_event_is_counted_and_left_out(fields):
    timeline = read_timeline(fake.events(epoch(**fields)))
    assert (timeline.unread, timeline.epochs) == (1, ())


def test_input_seconds_are_of_all_epochs():
    timeline = read_timeline(fake.events(epoch(input_seconds=[1.0]), epoch(input_seconds=[2.0])))
    assert np.array_equal(timeline.input_seconds, [1.0, 2.0])


def test_the_steps_of_an_inference_are_its_queries():
    assert read_timeline(fake.answering(0.002, 700)).steady_steps == pytest.approx([0.002] * 700)


def test_the_step_of_a_server_is_the_time_between_two_queries():
    assert read_timeline(fake.answering(rate=400.0)).steady_steps == pytest.approx([1 / 400])


def test_a_server_that_is_always_late_has_no_step():
    assert read_timeline(fake.answering(rate=0.0)).steady_steps.size == 0


def test_the_timed_span_of_an_inference_ends_with_its_queries():
    said = [
        event.model_copy(update={"started_unix": 1000.0}) if event.kind == "hello" else event
        for event in fake.answering(0.002, 500)
    ]
    assert read_timeline(said).timed_spans == ((1003.0 - 1.0, 1003.0),)


def test_the_kinds_that_are_read_are_those_that_a_worker_writes():
    silent = {"training", "fail"}  # they carry nothing that a timeline keeps
    assert set(KINDS) | silent == set(protocol.KINDS)
    assert {field.name for field in fields(Timeline)} >= set(ONCE)
