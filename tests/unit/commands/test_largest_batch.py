"""The search for the largest batch, and what it refuses."""

import pytest

from orchestrator.commands import largest_batch
from orchestrator.commands.largest_batch import BatchRequest, search
from orchestrator.console.progress import Console
from orchestrator.errors import SpecError
from orchestrator.home import REPOSITORY
from orchestrator.planning.narrowing import Narrowing


@pytest.mark.parametrize("largest", [1, 2, 5, 40, 63, 64, 65, 100, 311, 1000, 4095])
def test_the_search_ends_close_to_the_largest_that_fits(largest):
    asked = []

    def fits(size):
        asked.append(size)
        return size <= largest

    low, high = search(fits)
    assert low <= largest < high
    assert high - low <= max(1, low // largest_batch.CLOSE)
    assert len(set(asked)) == len(asked) <= 14


def test_where_all_fit_the_largest_of_a_spec_is_the_answer():
    assert search(lambda size: True) == (4096, None)


def test_where_not_one_picture_fits_the_answer_is_none():
    assert search(lambda size: False) == (0, 1)


def test_a_limit_that_is_not_free_is_refused(home, catalogue):
    spec = REPOSITORY / "experiments" / "batch-sizes.json"
    request = BatchRequest(spec, Narrowing(frameworks=("numpy_ref",)), (), 4096.0, None)
    with pytest.raises(SpecError, match=r"trainings may use 4096 GiB, and [0-9.]+ GiB are free"):
        largest_batch.measure(request, catalogue, home, Console())
