"""LiteRT (TensorFlow Lite) on the CPU, with its default delegate, XNNPACK."""

import os
from importlib.metadata import version  # novermin: its environment has CPython 3.11

import numpy
from ai_edge_litert.interpreter import Interpreter

from workers import native
from workers.bounds import FLOAT32, INT8
from workers.frameworks import own_options, own_precision
from workers.frameworks.litert import model
from workers.protocol import Unsupported

VERSION = version("ai-edge-litert")


class Adapter(object):
    """A runtime; see workers/frameworks/__init__.py. No own options."""

    def __init__(self, net, weights, device, settings, options):
        own_options(options)
        if device == "gpu":
            raise Unsupported("device", "LiteRT computes on the CPU here")
        self._threads, self._precision = settings.threads, own_precision(settings, {FLOAT32: FLOAT32, INT8: INT8})
        self._count = settings.training.batch_size
        self._read(model.build(net, weights, self._count))

    def _read(self, content):
        self._content = content
        self._interpreter, source, result = _opened(self._threads, model_content=content)
        self._input, self._output = source["index"], result["index"]
        # (scale, zero) of what is in 8 bits: a number is (byte - zero) * scale; None of float32.
        self._scales = [None if one["dtype"] == numpy.float32 else one["quantization"] for one in (source, result)]

    def calibrate(self, x):
        """Replace the network by one of 8 bits. Raises Unsupported for one that LiteRT's quantiser does not take."""
        from ai_edge_quantizer import quantizer, recipe

        # A calibration asks batches of the model's own size.
        whole = len(x) - len(x) % self._count or len(x)
        x = numpy.resize(x, (max(whole, self._count),) + x.shape[1:])
        asked = [{model.INPUT: _nhwc(x[at : at + self._count])} for at in range(0, len(x), self._count)]
        made = quantizer.Quantizer(bytearray(self._content), recipe.static_wi8_ai8())
        try:
            quantised = made.quantize(made.calibrate({model.SIGNATURE: asked}))
        except ValueError as error:  # of a maximum over a padded map, for example, whose padding has no 8 bits
            raise Unsupported("calibration", f"LiteRT's quantiser does not take this network: {error}") from error
        self._read(bytes(quantised.quantized_model))

    def prepare(self, x):
        """The pictures as NHWC, and of a network of 8 bits as its bytes."""
        x = _nhwc(x)
        if self._scales[0] is None:
            return x
        scale, zero = self._scales[0]
        return numpy.clip(numpy.round(x / scale + zero), -128, 127).astype(numpy.int8)

    def infer(self, x):
        """The logits, copied: the next ones are written into the same memory."""
        self._interpreter.set_tensor(self._input, x)
        self._interpreter.invoke()
        return self._interpreter.get_tensor(self._output)

    def logits(self, handle):
        """The handle; of a network of 8 bits the numbers that its bytes stand for."""
        if self._scales[1] is None:
            return handle
        scale, zero = self._scales[1]
        return (handle.astype(numpy.float32) - zero) * numpy.float32(scale)

    @staticmethod
    def export(net, weights, folder):
        """Write model.tflite, for one picture."""
        content = model.build(net, weights, 1)
        with open(os.path.join(folder, "model.tflite"), "wb") as file:
            file.write(content)
        interpreter, source, result = _opened(1, model_path=os.path.join(folder, "model.tflite"))

        def logits(x):
            rows = []
            for picture in x:
                interpreter.set_tensor(source["index"], _nhwc(picture[None]))
                interpreter.invoke()
                rows.append(interpreter.get_tensor(result["index"]))
            return numpy.concatenate(rows)

        return ["model.tflite"], logits

    def describe(self):
        """How many threads it was given; it does not report them."""
        return {
            **native.describe(),
            "precision": self._precision,
            "model_bytes": len(self._content),
            "vnni": native.has_vnni(),
            "threads": self._threads,
        }


def _opened(threads, **model_):
    """(interpreter, details of its input, of its output) of a model of one input and one output."""
    interpreter = Interpreter(num_threads=threads, **model_)
    interpreter.allocate_tensors()
    (source,), (result,) = interpreter.get_input_details(), interpreter.get_output_details()
    return interpreter, source, result


def _nhwc(x):
    return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1))
