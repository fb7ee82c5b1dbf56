"""ONNX Runtime on the CPU: one session over the network as an ONNX model."""

import os

import numpy
import onnx
import onnxruntime

from workers import native, onnx_model
from workers.bounds import FLOAT32, INT8
from workers.frameworks import own_options, own_precision
from workers.protocol import Unsupported

VERSION = onnxruntime.__version__


class Adapter(object):
    """A runtime; see workers/frameworks/__init__.py. Own options:

    graph: 'all' or 'basic': how far ONNX Runtime may rewrite the network; only 'all' changes layouts.
    """

    def __init__(self, net, weights, device, settings, options):
        own = own_options(options, graph=("all", "basic"))
        if device == "gpu":
            raise Unsupported("device", "this build of ONNX Runtime computes on the CPU only")
        levels = onnxruntime.GraphOptimizationLevel
        self._net, self._weights, self._count = net, weights, settings.training.batch_size
        self._asked = asked = onnxruntime.SessionOptions()
        asked.graph_optimization_level = {"all": levels.ORT_ENABLE_ALL, "basic": levels.ORT_ENABLE_BASIC}[own["graph"]]
        # Both explicit: in a set of processors ONNX Runtime pins one thread to each of the machine's, and some fail.
        asked.intra_op_num_threads, asked.inter_op_num_threads = settings.threads, 1
        self._graph, self._precision = own["graph"], own_precision(settings, {FLOAT32: FLOAT32, INT8: INT8})
        self._session, self._bytes = None, None
        self._read(onnx_model.build(net, weights, self._count))

    def _read(self, model):
        content = model.SerializeToString()
        self._bytes = len(content)
        self._session = onnxruntime.InferenceSession(content, self._asked, providers=["CPUExecutionProvider"])

    def calibrate(self, x):
        """Replace the network by one of 8 bits."""
        from workers import onnx_int8

        self._read(onnx_int8.quantised(self._net, self._weights, x, self._count))

    def prepare(self, x):
        """The pictures as they are."""
        return numpy.ascontiguousarray(x)

    def infer(self, x):
        """The logits: a session waits for them."""
        return self._session.run(None, {onnx_model.INPUT: x})[0]

    def logits(self, handle):
        """The handle."""
        return handle

    @staticmethod
    def export(net, weights, folder):
        """Write model.onnx, for any number of pictures, checked by onnx's own checker."""
        model = onnx_model.build(net, weights)
        onnx.checker.check_model(model, full_check=True)
        onnx.save(model, os.path.join(folder, "model.onnx"))
        session = onnxruntime.InferenceSession(os.path.join(folder, "model.onnx"), providers=["CPUExecutionProvider"])
        return ["model.onnx"], lambda x: session.run(None, {onnx_model.INPUT: x})[0]

    def describe(self):
        """What computes, and with how many threads."""
        return {
            **native.describe(),
            "precision": self._precision,
            "model_bytes": self._bytes,
            "vnni": native.has_vnni(),
            "providers": ", ".join(self._session.get_providers()),
            "graph": self._graph,
            "threads": self._session.get_session_options().intra_op_num_threads,
        }
