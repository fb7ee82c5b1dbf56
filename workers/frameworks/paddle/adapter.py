"""PaddlePaddle, op by op (its dynamic graph), with its own optimisers."""

import os

import paddle

from workers import native
from workers.bounds import FLOAT32
from workers.frameworks import EXTRAS, own_optimiser, own_options, own_precision
from workers.frameworks.paddle.lowering import Network
from workers.frameworks.paddle.optimisers import OPTIMISERS, Update, loss_of
from workers.protocol import Unsupported

VERSION = paddle.__version__


class Adapter(object):
    """See workers/frameworks/__init__.py. Own option:

    onednn: False or True, for the life of the process: whether ops are those of oneDNN where it has them.
    """

    def __init__(self, net, weights, device, settings, options):
        own = own_options(options, onednn=(False, True))
        own_precision(settings, {FLOAT32: "float32"})
        if device == "gpu" and not (paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count()):
            raise Unsupported("device", "Paddle sees no GPU, or was built without CUDA")
        paddle.set_flags({"FLAGS_use_mkldnn": own["onednn"]})
        paddle.set_device(device)
        paddle.base.core.set_num_threads(settings.threads)
        paddle.seed(settings.seed)
        self._is_gpu, self._net = device == "gpu", net
        self._network = Network(net, weights)
        elsewhere = [name for name, one in self._network.tensors.items() if one.place.is_gpu_place() != self._is_gpu]
        if elsewhere:
            raise Unsupported("device", f"{elsewhere[0]} is on {self._network.tensors[elsewhere[0]].place}")
        entry = own_optimiser(settings.training, OPTIMISERS, EXTRAS)
        self._update = Update(entry, self._network.trained, settings.training)
        self.optimiser = self._update.optimiser
        self._loss = loss_of(settings.training)

    def place(self, x, y):
        """Tensors on the device."""
        return paddle.to_tensor(x), paddle.to_tensor(y)

    def load(self, batches, order, workers):
        """Paddle's DataLoader: `workers` processes, which cut picture by picture."""
        sampler = [numbers.tolist() for numbers in order]
        return paddle.io.DataLoader(_Pictures(batches), batch_sampler=sampler, num_workers=workers, return_list=True)

    def step(self, batch):
        """One update; the loss before it, as a tensor without its graph."""
        x, y = batch
        loss = self._loss(self._network.logits(x, training=True), y)
        loss.backward()
        self._update.take()
        return loss.detach()

    def set_rate(self, rate):
        """The rate of the next update."""
        self._update.set_rate(rate)

    def loss_value(self, handle):
        """Waits for the device."""
        return float(handle)

    def predict(self, batch):
        """Logits (n, classes)."""
        with paddle.no_grad():
            return self._network.logits(batch[0], training=False).numpy()

    def prepare(self, x):
        """The pictures as they are."""
        return x

    def infer(self, x):
        """A tensor on the device."""
        with paddle.no_grad():
            return self._network.logits(paddle.to_tensor(x), training=False)

    def logits(self, handle):
        """Waits for the device."""
        return handle.numpy()

    def sync(self):
        """The CPU works in step with Python; waits for a card."""
        if self._is_gpu:
            paddle.device.synchronize()

    def weights(self):
        """Copies in the network's own layouts."""
        return {name: _copied(tensor.numpy()) for name, tensor in self._network.tensors.items()}

    def state(self):
        """Copies in the network's own layouts, of the weights that have a gradient."""
        trained = {name: tensor for name, tensor in self._network.tensors.items() if not tensor.stop_gradient}
        states = {name: self._update.state(tensor) for name, tensor in trained.items()}
        return {name: {part: _copied(value) for part, value in state.items()} for name, state in states.items()}

    @staticmethod
    def describe():
        """Features of the build."""
        return {
            **native.describe(),
            "onednn": bool(paddle.get_flags(["FLAGS_use_mkldnn"])["FLAGS_use_mkldnn"]),
            "has_onednn": bool(paddle.base.core.is_compiled_with_onednn()),
            "cuda": paddle.version.cuda(),
            "omp_num_threads_variable": os.environ.get("OMP_NUM_THREADS"),
        }


def _copied(value):
    return value.T.copy() if value.ndim == 2 else value.copy()


class _Pictures(paddle.io.Dataset):
    """Batches, one picture at a time."""

    def __init__(self, batches):
        super().__init__()
        self._batches = batches

    def __getitem__(self, number):
        return self._batches[number]

    def __len__(self):
        return len(self._batches)
