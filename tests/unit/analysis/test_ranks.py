"""Ranks by speed, with simultaneous intervals."""

import numpy as np

from orchestrator.analysis.ranks import rankings
from orchestrator.analysis.ratios import TimedRun
from tests import fake_run as fake

CELL = fake.trial().cell


def timings(seconds, noise=0.01, turns=6):
    rng = np.random.default_rng(1)
    return {
        subject: {
            (0, turn): TimedRun(len(seconds) * turn + at, mean * float(np.exp(rng.normal(0, noise))))
            for turn in range(turns)
        }
        for at, (subject, mean) in enumerate(seconds.items())
    }


def ranking(seconds, **options):
    return rankings({CELL: timings(seconds, **options)})[CELL]


def intervals(found):
    return [(rank.subject, rank.low, rank.high) for rank in found.ranks]


def test_subjects_that_are_told_apart_have_one_rank_each():
    found = ranking({"c:1": 0.3, "a:1": 0.1, "b:1": 0.2})
    assert intervals(found) == [
        ("a:1", 1, 1),
        ("b:1", 2, 2),
        ("c:1", 3, 3),
    ]
    assert found.leaders == ["a:1"]


def test_subjects_that_are_not_told_apart_share_their_ranks():
    found = ranking({"a:1": 0.1, "b:1": 0.1001, "c:1": 0.3}, noise=0.05)
    assert intervals(found) == [
        ("a:1", 1, 2),
        ("b:1", 1, 2),
        ("c:1", 3, 3),
    ]


def test_few_turns_order_nothing():
    found = ranking({"a:1": 0.1, "b:1": 0.2}, turns=5)
    assert [(rank.low, rank.high) for rank in found.ranks] == [(1, 2), (1, 2)]


def test_a_subject_without_a_common_turn_has_no_ranking():
    alone = {"a:1": {(0, 0): TimedRun(0, 0.1)}, "b:1": {(0, 1): TimedRun(1, 0.2)}}
    assert rankings({CELL: alone}) == {}
