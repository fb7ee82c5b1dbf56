"""Values of a narrow number format, as a processor makes them of wider ones: to nearest, ties to even (IEEE 754).

Written here and not taken from `ml-dtypes`, because the oracle runs inside each framework's environment, down to
CPython 3.6, which that library does not support; the tests hold every value to it.
"""

import numpy

from workers.bounds import BFLOAT16, FLOAT16, FLOAT32


def rounded(values, precision):
    """`values` (float64 or float32) as numbers of `precision`, in their own type; as they are for float32.

    What is too large becomes infinite.
    """
    if precision == FLOAT32:
        return values
    return _NARROW[precision](values).astype(values.dtype)


def _bfloat16(values):
    """A bfloat16 is the upper half of a float32."""
    with numpy.errstate(over="ignore"):
        bits = numpy.ascontiguousarray(values, numpy.float32).view(numpy.uint32)
    is_number = bits & 0x7FFFFFFF <= 0x7F800000
    half = numpy.uint32(0x7FFF) + ((bits >> numpy.uint32(16)) & numpy.uint32(1))
    return numpy.where(is_number, bits + half & numpy.uint32(0xFFFF0000), bits).view(numpy.float32)


def _float16(values):
    with numpy.errstate(over="ignore"):
        return values.astype(numpy.float16)


_NARROW = {BFLOAT16: _bfloat16, FLOAT16: _float16}
