"""OpenVINO on the CPU: the network as an ONNX model, compiled for this processor."""

import numpy
import openvino

from workers import native, onnx_model
from workers.bounds import CHOSEN, FLOAT32, INT8
from workers.frameworks import own_options, own_precision
from workers.protocol import Unsupported

VERSION = openvino.__version__

_PRECISIONS = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


class Adapter(object):
    """A runtime; see workers/frameworks/__init__.py. No own options.

    The number format 'chosen' lets OpenVINO take what is fastest on this processor, which may be less than float32;
    float32 is demanded; int8 runs the network that ONNX Runtime quantised.
    """

    def __init__(self, net, weights, device, settings, options):
        own_options(options)
        hint = own_precision(settings, {CHOSEN: None, FLOAT32: "f32", INT8: "f32"})
        if device == "gpu":
            raise Unsupported("device", "OpenVINO does not compute on NVIDIA's cards")
        wanted = {"INFERENCE_NUM_THREADS": settings.threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
        if hint:
            wanted["INFERENCE_PRECISION_HINT"] = hint
        for op in net.ops:
            if op.kind == "lrn" and op.params["bias_term"] != int(op.params["bias_term"]):
                bias = op.params["bias_term"]
                raise Unsupported("lrn", f"{op.name}: OpenVINO cuts its bias, {bias}, to {int(bias)}")  # 2026.4
        self._wanted, self._is_int8 = wanted, settings.precision == INT8
        self._net, self._weights, self._count = net, weights, settings.training.batch_size
        self._read(onnx_model.build(net, weights, self._count))

    def _read(self, model):
        content, core = model.SerializeToString(), openvino.Core()
        self._bytes = len(content)
        self._compiled = core.compile_model(core.read_model(content, b""), "CPU", self._wanted)
        self._request = self._compiled.create_infer_request()

    def calibrate(self, x):
        """Replace the network by one of 8 bits."""
        from workers import onnx_int8

        self._read(onnx_int8.quantised(self._net, self._weights, x, self._count))

    def prepare(self, x):
        """The pictures as they are."""
        return numpy.ascontiguousarray(x)

    def infer(self, x):
        """The logits, copied: the next request writes into the same memory."""
        self._request.infer([x], share_inputs=True)
        return self._request.get_output_tensor(0).data.copy()

    def logits(self, handle):
        """The handle."""
        return handle

    def describe(self):
        """What is in force, as the compiled network says it."""
        hint = self._compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        return {
            **native.describe(),
            "precision": "int8" if self._is_int8 else _PRECISIONS.get(hint, hint),
            "model_bytes": self._bytes,
            "vnni": native.has_vnni(),
            "threads": self._compiled.get_property("INFERENCE_NUM_THREADS"),
            "streams": int(self._compiled.get_property("NUM_STREAMS")),
        }
