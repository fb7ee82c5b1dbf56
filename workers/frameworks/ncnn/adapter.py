"""ncnn on the CPU: written for one picture at a time, so that a batch is asked picture by picture."""

import os
import tempfile

import ncnn
import numpy

from workers import native
from workers.bounds import FLOAT16, FLOAT32
from workers.frameworks import own_options, own_precision
from workers.frameworks.ncnn import model
from workers.protocol import NoFramework, Unsupported

VERSION = ncnn.__version__


class Adapter(object):
    """A runtime; see workers/frameworks/__init__.py. No own options.

    The number format float16 leaves ncnn's defaults, which keep maps and weights so; float32 is demanded.
    """

    def __init__(self, net, weights, device, settings, options):
        own_options(options)
        is_full = own_precision(settings, {FLOAT32: True, FLOAT16: False})
        if device == "gpu":
            raise Unsupported("device", "this build of ncnn computes on the CPU only")
        with tempfile.TemporaryDirectory() as folder:
            _write(net, weights, folder)
            self._network = _read(folder, settings.threads, is_full)

    def prepare(self, x):
        """One matrix of ncnn for each picture."""
        return [_matrix(picture) for picture in x]

    def infer(self, pictures):
        """The logits: ncnn waits for them."""
        return numpy.stack([_logits(self._network, picture) for picture in pictures])

    def logits(self, handle):
        """The handle."""
        return handle

    @staticmethod
    def export(net, weights, folder):
        """Write model.param and model.bin."""
        names = _write(net, weights, folder)
        network = _read(folder, 1, is_full=True)
        return names, lambda x: numpy.stack([_logits(network, _matrix(picture)) for picture in x])

    def describe(self):
        """The switches in force, and what they make of float32."""
        opt = self._network.opt
        # On processors without float16 arithmetic ncnn stores halves and computes in float32; on x86 it needs F16C.
        half = opt.use_fp16_storage or opt.use_fp16_packed or opt.use_fp16_arithmetic
        return {
            **native.describe(),
            "precision": "bfloat16" if opt.use_bf16_storage else "float16" if half else "float32",
            "threads": opt.num_threads,
            "winograd": opt.use_winograd_convolution,
        }


def _matrix(picture):
    return ncnn.Mat(numpy.ascontiguousarray(picture)).clone()


def _write(net, weights, folder):
    """The names of the two files."""
    text, arrays = model.build(net, weights)
    with open(os.path.join(folder, "model.param"), "w", encoding="utf-8") as file:
        file.write(text)
    with open(os.path.join(folder, "model.bin"), "wb") as file:
        file.write(arrays)
    return ["model.param", "model.bin"]


def _read(folder, threads, is_full):
    """The network of the two files. Raises NoFramework if ncnn does not take them."""
    network = ncnn.Net()
    opt = network.opt
    opt.num_threads = threads
    if is_full:
        opt.use_fp16_packed = opt.use_fp16_storage = opt.use_fp16_arithmetic = opt.use_bf16_storage = False
    param, binary = os.path.join(folder, "model.param"), os.path.join(folder, "model.bin")
    if network.load_param(param) or network.load_model(binary):
        raise NoFramework("ncnn does not read the network that was written for it.")
    return network


def _logits(network, picture):
    extractor = network.create_extractor()
    extractor.input(model.INPUT, picture)
    status, logits = extractor.extract(model.OUTPUT)
    if status:
        raise RuntimeError(f"ncnn ended with status {status}")
    return numpy.array(logits)
