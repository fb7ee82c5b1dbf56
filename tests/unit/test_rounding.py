"""Rounding to narrow number formats: each value as ml-dtypes, an independent implementation, has it."""

import ml_dtypes
import numpy as np
import pytest

from workers.bounds import BFLOAT16, FLOAT16, FLOAT32
from workers.rounding import rounded

TYPES = {BFLOAT16: ml_dtypes.bfloat16, FLOAT16: np.float16}


def of_bits(precision):
    """All 65,536 values of a format of 16 bits, as float32."""
    return np.arange(1 << 16, dtype=np.uint16).view(TYPES[precision]).astype(np.float32)


@pytest.mark.parametrize("precision", TYPES)
def test_every_value_of_a_format_stays_as_it_is(precision):
    values = of_bits(precision)
    np.testing.assert_array_equal(rounded(values, precision), values)


@pytest.mark.parametrize("precision", TYPES)
def test_halfway_between_two_values_is_the_even_one(precision):
    positive = of_bits(precision)[: 1 << 15]
    finite = positive[np.isfinite(positive)].astype(np.float64)
    halfway = ((finite[1:] + finite[:-1]) / 2).astype(np.float32)
    np.testing.assert_array_equal(rounded(halfway, precision), halfway.astype(TYPES[precision]).astype(np.float32))


@pytest.mark.parametrize("precision", TYPES)
@pytest.mark.parametrize("type_", [np.float32, np.float64])
def test_a_million_float32_are_rounded_as_ml_dtypes_rounds_them(precision, type_):
    bits = np.random.default_rng(0).integers(0, 1 << 32, 1_000_000, dtype=np.uint32)
    values = bits.view(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        wanted = values.astype(TYPES[precision]).astype(np.float32)
        seen = rounded(values.astype(type_), precision)
    assert seen.dtype == type_
    np.testing.assert_array_equal(seen.astype(np.float32), wanted)


def test_float32_is_what_the_oracle_computes_in():
    values = np.array([1 / 3, 1e300])
    assert rounded(values, FLOAT32) is values


def test_what_is_too_large_becomes_infinite():
    assert rounded(np.array([1e39, -1e39]), BFLOAT16).tolist() == [np.inf, -np.inf]
    assert rounded(np.array([65_520.0, 65_519.0]), FLOAT16).tolist() == [np.inf, 65_504.0]
