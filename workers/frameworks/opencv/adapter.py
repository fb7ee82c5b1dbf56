"""OpenCV's DNN module on the CPU: the network as an ONNX model."""

import cv2
import numpy

from workers import native, onnx_model
from workers.bounds import FLOAT32
from workers.frameworks import own_options, own_precision
from workers.protocol import Unsupported

VERSION = cv2.__version__


class Adapter(object):
    """A runtime; see workers/frameworks/__init__.py. No own options."""

    def __init__(self, net, weights, device, settings, options):
        own_options(options)
        own_precision(settings, {FLOAT32: FLOAT32})
        if device == "gpu":
            raise Unsupported("device", "this build of OpenCV computes on the CPU only")
        cv2.setNumThreads(settings.threads)
        model = onnx_model.build(net, weights, settings.training.batch_size).SerializeToString()
        self._network = cv2.dnn.readNetFromONNX(numpy.frombuffer(model, numpy.uint8))
        self._network.setPreferableTarget(cv2.dnn.DNN_TARGET_CPU)

    def prepare(self, x):
        """The pictures as they are."""
        return numpy.ascontiguousarray(x)

    def infer(self, x):
        """The logits, copied: OpenCV writes the next ones into the same memory."""
        self._network.setInput(x)
        return self._network.forward().copy()

    def logits(self, handle):
        """The handle."""
        return handle

    def describe(self):
        """How many threads, and of what."""
        lines = cv2.getBuildInformation().splitlines()
        parallel = [line.split(":", 1)[1].strip() for line in lines if "Parallel framework" in line]
        return {
            **native.describe(),
            "precision": "float32",
            "threads": cv2.getNumThreads(),
            "parallel_framework": parallel[0] if parallel else None,
        }
