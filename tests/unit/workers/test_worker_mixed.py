"""bfloat16 is proven: what rounds as it says passes, and what says one format and computes in another does not."""

import functools

import numpy
import pytest

from tests.small_networks import residual
from workers import mixed
from workers.bounds import BFLOAT16, FLOAT16, FLOAT32, bounds
from workers.frameworks.numpy_ref.adapter import Adapter
from workers.frameworks.numpy_ref.narrow import Narrowed
from workers.jobs import selfcheck
from workers.rounding import rounded

NET = residual((3, 16, 16), 7)
TRAINING = selfcheck.TRAINING
REGIMES = {name: selfcheck.REGIMES[name] for name in mixed.REGIMES}
PICTURES, LABELS = selfcheck.lopsided(NET.input, NET.classes, 650)


class Honest(Adapter):
    """Another order of sums than the model's: float32 inside."""

    dtype = numpy.float32

    def __init__(self, net, weights, device, settings, options):
        Adapter.__init__(self, net, weights, device, settings._replace(precision=BFLOAT16), options)
        self._layers = {name: self.changed(layer) for name, layer in self._layers.items()}

    def changed(self, layer):
        return layer


class InFloat32(Honest):
    def changed(self, layer):
        return layer.layer


class InFloat16(Honest):
    def changed(self, layer):
        return Narrowed(layer.layer, FLOAT16)


class OneOfTwoLayers(Honest):
    count = 0

    def changed(self, layer):
        self.count += 1
        return layer if self.count % 2 else layer.layer


class SecondHalf(Honest):
    count = 0

    def changed(self, layer):
        self.count += 1
        return layer.layer if self.count <= len(NET.ops) // 2 else layer


def of_kinds(*kinds):
    """Narrow in these kinds of ops alone."""

    class Liar(Honest):
        def changed(self, layer):
            return layer if layer.layer.op.kind in kinds else layer.layer

    return Liar


class Backwards(Narrowed):
    def forward(self, *values, training):
        return self.layer.forward(*values, training=training)


class WeightsAlone(Narrowed):
    def forward(self, *values, training):
        self._precision = BFLOAT16 if self._is_product else FLOAT32
        own = self.layer.name + "."
        self.layer.weights = {k: rounded(w, self._precision) for k, w in self._weights.items() if k.startswith(own)}
        return self.layer.forward(*values, training=training)

    def backward(self, gradient):
        return self.layer.backward(gradient)


class ValuesAlone(Narrowed):
    def __init__(self, layer, precision):
        Narrowed.__init__(self, layer, precision)
        self._is_product = False


class Truncated(Narrowed):
    def narrow(self, values):
        single = numpy.ascontiguousarray(values, numpy.float32)
        return (single.view(numpy.uint32) & numpy.uint32(0xFFFF0000)).view(numpy.float32).astype(values.dtype)


class Upwards(Narrowed):
    """Away from zero."""

    def narrow(self, values):
        lower = Truncated.narrow(self, values)
        return lower + numpy.where(lower == values, 0, lower * 2.0**-7).astype(values.dtype)


def of_bits(bits):
    class OfBits(Narrowed):
        def narrow(self, values):
            share, exponent = numpy.frexp(values)
            return numpy.ldexp(numpy.rint(share * 2.0**bits) / 2.0**bits, exponent).astype(values.dtype)

    return OfBits


def with_layers(kind):
    class Liar(Honest):
        def changed(self, layer):
            return kind(layer.layer, BFLOAT16)

    return Liar


class NarrowWeightsAfterTheUpdate(Honest):
    def step(self, batch):
        loss = Honest.step(self, batch)
        for value in self._weights.values():
            value[...] = rounded(value, BFLOAT16)
        return loss


class NarrowAverages(Honest):
    def step(self, batch):
        loss = Honest.step(self, batch)
        for weight in self._net.weights:
            if not weight.is_trainable:
                self._weights[weight.name][...] = rounded(self._weights[weight.name], BFLOAT16)
        return loss


LIARS = {
    "everything in float32": InFloat32,
    "float16": InFloat16,
    "every second op": OneOfTwoLayers,
    "the second half": SecondHalf,
    "the dense layer alone": of_kinds("dense"),
    "normalisation alone": of_kinds("batchnorm"),
    "relu alone": of_kinds("relu"),
    "sums alone": of_kinds("add"),
    "products alone": of_kinds("conv", "dense"),
    "backwards alone": with_layers(Backwards),
    "weights alone": with_layers(WeightsAlone),
    "values alone": with_layers(ValuesAlone),
    "cut off": with_layers(Truncated),
    "away from zero": with_layers(Upwards),
    "a bit more": with_layers(of_bits(9)),
    "two bits more": with_layers(of_bits(10)),
    "a bit less": with_layers(of_bits(7)),
    "weights after the update": NarrowWeightsAfterTheUpdate,
    "running averages": NarrowAverages,
}


@functools.lru_cache(maxsize=None)
def reference():
    return {
        name: selfcheck.trace_oracle(NET, TRAINING, REGIMES[regime], PICTURES, LABELS, variation=one)
        for name, (regime, one) in mixed.variations(BFLOAT16, REGIMES).items()
    }


@functools.lru_cache(maxsize=None)
def allowed():
    return selfcheck.narrow_bounds(NET, TRAINING, reference(), REGIMES, bounds("selfcheck"))


def figures(adapter_class):
    build = selfcheck.build_with(adapter_class, NET, "cpu", TRAINING)
    seen = {
        name: selfcheck.trace_adapter(build, TRAINING, regime, PICTURES, LABELS) for name, regime in REGIMES.items()
    }
    found = selfcheck.compare(NET, TRAINING, seen, reference())
    trained = [weight.name for weight in NET.weights if weight.is_trainable]
    return dict(found, **mixed.rounding(seen["first"], reference(), trained))


def beyond(adapter_class):
    found = figures(adapter_class)
    return {name: found[name] for name, bound in allowed().items() if name in found and not found[name] <= bound}


def test_another_order_of_sums_passes():
    assert beyond(Honest) == {}


@pytest.mark.parametrize("lie", LIARS)
def test_what_says_bfloat16_and_rounds_otherwise_does_not_pass(lie):
    assert beyond(LIARS[lie])
