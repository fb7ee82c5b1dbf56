"""CNTK: one function, trained by CNTK's own Trainer on values made from numpy arrays."""

import ctypes
import os

import cntk
import numpy
from cntk import cntk_py

from workers import native
from workers.bounds import FLOAT32
from workers.frameworks import EXTRAS, own_optimiser, own_options, own_precision
from workers.frameworks.cntk.lowering import Graph
from workers.frameworks.cntk.optimisers import OPTIMISERS, Update, table_of
from workers.protocol import NoFramework, Unsupported

VERSION = cntk.__version__

# CNTK does not report on its MKL; this is the copy that it has loaded.
_MKL = ctypes.CDLL("libmklml_intel.so")


class Adapter(object):
    """See workers/frameworks/__init__.py. Own options:

    deterministic: False or True, for the life of the process.
    unit_gain:     False or True: whether momentum scales the gradient, which is CNTK's default and no other's.
    """

    def __init__(self, net, weights, device, settings, options):
        own = own_options(options, deterministic=(False, True), unit_gain=(False, True))
        own_precision(settings, {FLOAT32: numpy.float32})
        self._device = _default_device(device)
        cntk_py.set_max_num_cputhreads(settings.threads)
        cntk_py.set_fixed_random_seed(settings.seed)
        if own["deterministic"]:
            cntk_py.force_deterministic_algorithms()
        if cntk_py.should_force_deterministic_algorithms() != own["deterministic"]:
            raise NoFramework(f"CNTK ignores deterministic = {own['deterministic']} in this process.")
        self._graph = Graph(net, weights, settings.training.batch_size, self._device)
        self._logits = self._graph.logits
        self._labels = cntk.input_variable(net.shapes[net.output])
        self._wanted = table_of(settings.training, net.shapes[net.output][0])
        entry = own_optimiser(settings.training, OPTIMISERS, EXTRAS)
        self._update = Update(entry, self._logits.parameters, settings.training, own["unit_gain"], self._device)
        self.optimiser = self._update.optimiser
        loss = cntk.cross_entropy_with_softmax(self._logits, self._labels)
        self._trainer = cntk.Trainer(self._logits, (loss, None), [self._update.learner])
        if not self._update.states:
            self.state = None  # CNTK's own learner shows nothing

    def place(self, x, y):
        """Values of CNTK, which are copies, with a row of probabilities for each label."""
        return cntk.Value(x, device=self._device), cntk.Value(self._wanted[y], device=self._device)

    def load(self, batches, order, workers):
        """Raises Unsupported: its reader keeps its own order."""
        raise Unsupported(
            "feed", "CNTK's reader of arrays (MinibatchSourceFromData) keeps its own order and has no workers"
        )

    def step(self, batch):
        """One update; the loss before it. The Trainer keeps it no longer than a step, so it is read here."""
        x, y = batch
        self._update.begin()
        self._trainer.train_minibatch({self._graph.pictures: x, self._labels: y}, device=self._device)
        return self._trainer.previous_minibatch_loss_average

    def set_rate(self, rate):
        """The rate of the next update.

        Raises Unsupported for CNTK's own learner, which keeps the velocity times the rate and lets nobody scale it.
        """
        if not self._update.set_rate(rate):
            raise Unsupported(
                "rate", "CNTK's momentum keeps the old rate in its velocity; another rate is another rule"
            )

    def state(self):
        """Copies in the network's own layouts."""
        return self._graph.states(self._update.states)

    def loss_value(self, handle):
        """The handle, which is the float."""
        return handle

    def predict(self, batch):
        """Logits (n, classes)."""
        return self._logits.eval({self._graph.pictures: batch[0]}, device=self._device)

    def prepare(self, x):
        """The pictures as they are."""
        return x

    def infer(self, x):
        """The logits: CNTK's eval copies them to the host."""
        return self._logits.eval({self._graph.pictures: x}, device=self._device)

    def logits(self, handle):
        """The handle."""
        return handle

    def sync(self):
        """Nothing to wait for: the CPU is synchronous, and reading the loss has waited for a GPU."""

    def weights(self):
        """Copies in the network's own layouts."""
        return self._graph.weights()

    @staticmethod
    def describe():
        """Features of the build, and the number of threads (MKL uses at most one per core)."""
        mkl = ctypes.create_string_buffer(200)
        _MKL.MKL_Get_Version_String(mkl, len(mkl))
        return {
            **native.describe(),
            "devices": ", ".join(map(str, cntk.device.all_devices())),
            "threads": cntk_py.get_max_num_cputhreads(),
            "waits_each_step": True,  # see step
            "mkl_threads": _MKL.MKL_Get_Max_Threads(),
            "mkl": mkl.value.decode().strip(),
            "mkl_debug_cpu_type": os.environ.get("MKL_DEBUG_CPU_TYPE"),
            "deterministic": cntk_py.should_force_deterministic_algorithms(),
        }


def _default_device(kind):
    """The device of that kind, made CNTK's default; otherwise CNTK would choose one itself."""
    wanted = cntk.device.DeviceKind.GPU if kind == "gpu" else cntk.device.DeviceKind.CPU
    devices = [device for device in cntk.device.all_devices() if device.type() == wanted]
    if not devices:
        raise Unsupported("device", "CNTK sees no GPU, or is its CPU build")
    if not cntk.device.try_set_default_device(devices[0]):
        raise Unsupported("device", f"CNTK does not take {devices[0]} as its default")
    return devices[0]
