"""Neon 2.6: its Model, trained step by step and without Neon's iterators, because the loop is ours."""

import ctypes
import os
from typing import NamedTuple

import neon
import numpy
from neon import NervanaObject
from neon.backends import gen_backend
from neon.layers import GeneralizedCost, Sequential
from neon.models import Model
from neon.optimizers import GradientDescentMomentum
from neon.optimizers.optimizer import get_param_list
from neon.transforms import CrossEntropyMulti

from workers import native
from workers.bounds import FLOAT32
from workers.frameworks import OWN, Optimiser, own_optimiser, own_options, own_precision
from workers.frameworks.neon.lowering import Lowering
from workers.protocol import NoFramework, Unsupported

VERSION = neon.__version__
ENGINE = "mklEngine.so"


class Placed(NamedTuple):
    """Pictures as tensors of the fixed size of Neon's buffers, the last filled up with zeros; one-hot labels."""

    pictures: list
    labels: object
    count: int


OPTIMISERS = {
    "sgd": Optimiser(
        OWN, "GradientDescentMomentum", lambda asked: GradientDescentMomentum(asked.learning_rate, asked.momentum)
    )
}


class Adapter(object):
    """See workers/frameworks/__init__.py. Own option: backend, 'cpu', 'mkl' or 'gpu'.

    Layers read their backend from a global, so an adapter sets it before each use; several adapters can exist.
    Variables set the number of threads before Neon is imported; Neon has no function for it.
    """

    def __init__(self, net, weights, device, settings, options):
        own = own_options(options, backend=("cpu", "mkl", "gpu"))
        own_precision(settings, {FLOAT32: numpy.float32})
        self._is_gpu = own["backend"] == "gpu"
        if self._is_gpu != (device == "gpu"):
            raise Unsupported("device", f"Neon's {own['backend']} backend is not for a {device}")
        self._size = settings.training.batch_size
        self._backend = _start(own["backend"], self._size, settings.seed)
        self._features = int(numpy.prod(net.shapes[net.ops[0].name]))
        self._classes = int(numpy.prod(net.shapes[net.output]))
        self._asked = None
        self._lowering = Lowering(net, self._backend)
        self._model = Model(self._lowering.layers)
        self._cost = GeneralizedCost(CrossEntropyMulti())
        self._model.initialize(net.shapes[net.ops[0].name], self._cost)
        self._logits = Sequential(self._lowering.layers[:-1])
        for layer in self._model.layers.layers_fprop():
            if layer.deltas is not None:
                # Layers of one shape share a tensor for their errors, and with it the layout that the MKL engine stores
                # in it, which may be another layer's. So the memory stays shared, but not the tensor.
                layer.deltas = layer.deltas.share(layer.deltas.shape)
                layer.deltas.fill(0)
            if layer.outputs is not None:
                # Neon multiplies old memory by 0 before adding; not-a-number would stay not-a-number.
                layer.outputs.fill(0)
        self._lowering.set(weights)
        self._trained = self._model.layers_to_optimize
        self.optimiser = own_optimiser(settings.training, OPTIMISERS)
        self._optimiser = self.optimiser.make(settings.training)

    def place(self, x, y):
        """Tensors with the batch axis last, as Neon requires."""
        count = len(x)
        if count % self._size:
            x = numpy.concatenate([x, numpy.zeros((-count % self._size,) + x.shape[1:], x.dtype)])
        rows = x.reshape(-1, self._features)
        pictures = [self._tensor(rows[at : at + self._size].T) for at in range(0, len(rows), self._size)]
        labels = None
        if count == self._size:
            labels = self._tensor(y == numpy.arange(self._classes)[:, None])
        return Placed(pictures, labels, count)

    def load(self, batches, order, workers):
        """Raises Unsupported: its reader keeps its own order."""
        raise Unsupported("feed", "Neon's reader of arrays (ArrayIterator) keeps its own order and has no workers")

    def step(self, batch):
        """One update; the loss before it, as an array of one number."""
        if batch.count != self._size:
            raise ValueError(f"a batch of {batch.count}; Neon's buffers hold {self._size} pictures")
        NervanaObject.be = self._backend
        output = self._model.fprop(batch.pictures[0])
        loss = self._cost.get_cost(output, batch.labels)
        self._model.bprop(self._cost.get_errors(output, batch.labels))
        self._optimiser.optimize(self._trained, epoch=0)
        return loss

    def set_rate(self, rate):
        """The rate of the next update. Neon keeps the velocity times the rate, so what it has kept is scaled too."""
        scale = rate / self._optimiser.learning_rate
        for _, states in get_param_list(self._trained):
            for kept in states:
                kept[:] = kept * scale
        self._optimiser.learning_rate = rate

    def loss_value(self, handle):
        """Nothing to wait for."""
        return float(handle[0, 0])

    def predict(self, batch):
        """Logits (n, classes): what goes into the softmax."""
        NervanaObject.be = self._backend
        logits = [self._logits.fprop(pictures, inference=True).get() for pictures in batch.pictures]
        return numpy.ascontiguousarray(numpy.concatenate(logits, axis=1).T[: batch.count])

    def prepare(self, x):
        """The pictures with the batch axis last, as Neon requires."""
        return numpy.ascontiguousarray(x.reshape(len(x), self._features).T)

    def infer(self, columns):
        """The logits: Neon computes the next ones in the same memory, so they are copied."""
        NervanaObject.be = self._backend
        if self._asked is None:
            self._asked = self._backend.iobuf(self._features)
        self._asked.set(columns)
        return numpy.array(self._logits.fprop(self._asked, inference=True).get().T, order="C")

    def logits(self, handle):
        """The handle."""
        return handle

    def sync(self):
        """The CPU's backends are synchronous; waits for a card."""
        if self._is_gpu:
            from pycuda import driver  # only the GPU build has it

            driver.Context.synchronize()

    def weights(self):
        """Copies in the network's own layouts."""
        return self._lowering.get()

    @staticmethod
    def describe():
        """The backend, its libraries, and the number of MKL's threads (OpenBLAS does not report its own)."""
        engine = getattr(NervanaObject.be, "mklEngine", None)
        engine_path = native.loaded().get(ENGINE)
        return {
            **native.describe(),
            "backend": getattr(NervanaObject.be, "backend_name", None),
            "threads": engine.mkl_get_max_threads() if engine else None,
            "omp_num_threads": os.environ.get("OMP_NUM_THREADS"),
            "mkl": _mkl_version(engine) if engine else None,
            "mkl_engine": engine_path,
            "mkl_engine_flags": _flags(engine_path),
            "numpy_blas": ", ".join(numpy.__config__.blas_opt_info.get("libraries", [])),
        }

    def _tensor(self, columns):
        tensor = self._backend.iobuf(len(columns))
        # A card's tensor accepts only its own layout, and copies byte for byte.
        tensor.set(numpy.ascontiguousarray(columns, numpy.float32) if self._is_gpu else columns)
        return tensor


def _start(name, size, seed):
    """A new backend, in use. Raises NoFramework if it does not start or is not the requested one."""
    try:
        backend = gen_backend(name, batch_size=size, rng_seed=seed, datatype=numpy.float32)
        is_right = backend.backend_name == name and (name != "mkl" or _engine_works(backend))
    except Exception as error:  # a missing library can raise anything
        raise NoFramework(f"Neon's {name} backend does not start: {type(error).__name__}: {error}") from error
    if not is_right:
        seen = f"{backend.backend_name}, engine {native.loaded().get(ENGINE)}"
        raise NoFramework(f"Neon was asked for its {name} backend and started another, or one that is wrong: {seen}")
    return backend


def _engine_works(backend):
    """Whether the loaded MKL engine transposes and sums correctly, and has the functions that layers call."""
    given, turned = backend.iobuf(2), backend.zeros((backend.bsz, 2))
    given.set(numpy.arange(given.size, dtype=numpy.float32).reshape(given.shape))
    backend.copy_transpose(given, turned)
    is_whole = hasattr(backend.mklEngine, "Conv_forward") and hasattr(backend.mathlib, "cmath_copy")
    # MKL chooses its kernels for this processor at the first call.
    ones = numpy.ones(8, numpy.float32)
    backend.mklEngine.cblas_sasum.restype = ctypes.c_float
    is_whole = is_whole and backend.mklEngine.cblas_sasum(8, ones.ctypes.data_as(ctypes.c_void_p), 1) == 8
    return is_whole and ENGINE in native.loaded() and bool((turned.get() == given.get().T).all())


def _flags(engine_path):
    """The engine's compiler flags, from a file of docker/neon/finish.sh beside it; None without engine or file."""
    path = os.path.join(os.path.dirname(engine_path or ""), "flags")
    if engine_path is None or not os.path.exists(path):
        return None
    with open(path, encoding="utf-8") as file:
        return file.read().strip()


def _mkl_version(engine):
    text = ctypes.create_string_buffer(200)
    engine.mkl_get_version_string(text, len(text))
    return text.value.decode().strip()
