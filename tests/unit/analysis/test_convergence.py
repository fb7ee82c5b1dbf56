"""Which subject learns unlike the others of its cell."""

import numpy as np

from orchestrator.analysis.convergence import unlike
from tests import fake_run as fake
from tests.fake_stored import timed

RNG = np.random.default_rng(0)


def trained(framework, seed, loss, repeat=0):
    asked, ordinal = fake.trial(framework, "1", seed=seed, repeat=repeat), len(framework) * 100 + 10 * seed + repeat
    return timed(asked, ordinal, changes={"epoch": {"loss": [loss] * 30}})


def cell(seeds, **factors):
    """Each subject's loss: of its seed, times its factor, with rounding that differs from run to run."""
    return [
        trained(name, seed, 2.0 * (1 + 0.1 * seed) * factor * (1 + 0.003 * RNG.standard_normal()))
        for name, factor in factors.items()
        for seed in range(seeds)
    ]


def test_subjects_that_learn_alike_are_not_named():
    assert unlike(cell(5, cntk=1.0, mxnet=1.0, pytorch=1.0)) == []


def test_a_subject_that_learns_slower_is_named():
    (found,) = unlike(cell(5, cntk=1.0, mxnet=1.1, pytorch=1.0, tensorflow=1.0))
    assert (found.subject, found.word, found.seeds) == ("mxnet:1", "slower", 5)
    assert found.loss > found.others


def test_two_seeds_are_too_few():
    assert unlike(cell(2, mxnet=2.0, pytorch=1.0)) == []


def test_repeats_of_a_seed_count_once():
    one_seed = [
        trained(name, 0, loss, repeat) for name, loss in (("mxnet", 2.0), ("pytorch", 1.0)) for repeat in range(6)
    ]
    assert unlike(one_seed) == []


def test_a_single_subject_has_no_others():
    assert unlike(cell(5, mxnet=1.0)) == []


def test_chance_names_a_subject_in_few_cells():
    named = sum(bool(unlike(cell(5, cntk=1.0, mxnet=1.0, pytorch=1.0))) for _ in range(200))
    assert named <= 20
