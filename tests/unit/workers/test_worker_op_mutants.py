"""No wrong op keeps the bounds of the selfcheck: asked of the oracle, as benchmarks/mutants asks each framework."""

import pytest

from tests.contract.op_mutants import first_beyond, mutants
from workers.frameworks.numpy_ref.adapter import Adapter


@pytest.mark.parametrize("name", sorted(mutants()))
def test_a_wrong_op_is_beyond_a_bound(name):
    assert first_beyond(Adapter, {}, mutants()[name]) in ("logits", "update_step_1")
