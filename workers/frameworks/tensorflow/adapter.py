"""TensorFlow: one traced function per step, of TensorFlow's own ops. One code for 2.7 and later.

Written with tf.nn and tf.raw_ops and not with Keras, because Keras 2 and 3 are two libraries with one name: so the same
ops run in every version, with batch normalisation and the update fused. Maps are NHWC, the only layout that TensorFlow
trains on a CPU.
"""

import os

import numpy
import tensorflow as tf
from tensorflow.python.framework.config import is_op_determinism_enabled  # also reads the variable of 2.7

from workers import native
from workers.bounds import BFLOAT16, FLOAT32
from workers.frameworks import EXTRAS, own_optimiser, own_options, own_precision
from workers.frameworks.tensorflow.lowering import Graph
from workers.frameworks.tensorflow.optimisers import OPTIMISERS, Update, loss_of
from workers.protocol import Unsupported

VERSION = tf.__version__


class Adapter(object):
    """See workers/frameworks/__init__.py. Own options:

    jit_compile: False or True (XLA).
    deterministic: False or True (2.8+), for the life of the process.
    tf32: False or True, likewise: whether a card may round the factors of a float32 product to 10 bits.
    """

    _precision = FLOAT32
    _has_threads = False  # until an adapter has set their number, `describe` must not start TensorFlow's threads

    def __init__(self, net, weights, device, settings, options):
        switch = (False, True)
        own = own_options(options, jit_compile=switch, deterministic=switch, tf32=switch)
        Adapter._precision = settings.precision
        dtype = own_precision(settings, {FLOAT32: tf.float32, BFLOAT16: tf.bfloat16})
        if device == "gpu" and not tf.config.list_physical_devices("GPU"):
            raise Unsupported("device", "TensorFlow sees no GPU, or was built without CUDA")
        if own["deterministic"]:
            tf.config.experimental.enable_op_determinism()
        # TensorFlow allows it by default; here float32 means float32.
        tf.config.experimental.enable_tensor_float_32_execution(own["tf32"])
        tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
        tf.random.set_seed(settings.seed)
        self._device = "/GPU:0" if device == "gpu" else "/CPU:0"
        self._is_gpu = device == "gpu"
        is_dilated = any(op.params.get("dilation", (1, 1)) != (1, 1) for op in net.ops)
        has_dilation = is_dilated and (self._is_gpu or _has_dilation_gradient())
        with tf.device(self._device):
            self._graph = Graph(net, weights, has_dilation, dtype)
            entry = own_optimiser(settings.training, OPTIMISERS, EXTRAS)
            self._rule = Update(entry, self._graph.trainable, settings.training)
        self.optimiser = self._rule.optimiser
        placed = self._graph.variables + [variable for kept in self._rule.kept for variable in kept.values()]
        elsewhere = [v.device for v in placed if (device.upper() + ":") not in v.device]
        if elsewhere:
            raise Unsupported("device", f"a weight is on {elsewhere[0]}")
        Adapter._has_threads = True
        self._loss = loss_of(settings.training, net.shapes[net.output][0])
        self._loaded, self._arrays = None, None
        channels, height, width = net.shapes[net.ops[0].name]
        picture, label = tf.TensorSpec((None, height, width, channels)), tf.TensorSpec((None,), tf.int64)
        self._step = tf.function(self._update, [picture, label], jit_compile=own["jit_compile"])
        self._predict = tf.function(self._infer, [picture], jit_compile=own["jit_compile"])

    def place(self, x, y):
        """Tensors on the device, pictures as NHWC."""
        with tf.device(self._device):
            return tf.transpose(x, (0, 2, 3, 1)), tf.constant(y)

    def load(self, batches, order, workers):
        """A tf.data pipeline: batch by batch, `workers` at a time on TensorFlow's own threads (0: one, when asked)."""
        if self._loaded is not batches:  # the pictures are copied once, not in each epoch
            with tf.device("/CPU:0"):
                self._loaded, self._arrays = batches, (tf.constant(batches.pictures), tf.constant(batches.labels))
        pictures, labels = self._arrays

        def cut(numbers):
            x = tf.cast(tf.gather(pictures, numbers), tf.float32) * batches.scale.factor
            return x if batches.scale.offset is None else x + batches.scale.offset, tf.gather(labels, numbers)

        cuts = tf.data.Dataset.from_tensor_slices(numpy.stack(order)).map(cut, workers or None)
        return cuts.prefetch(workers) if workers else cuts

    def step(self, batch):
        """One update; the loss before it, as a tensor."""
        return self._step(*batch)

    def set_rate(self, rate):
        """The rate of the next update."""
        self._rule.set_rate(rate)

    def state(self):
        """Copies in the network's own layouts."""
        return self._graph.states(self._rule.kept)

    def loss_value(self, handle):
        """Waits for the device."""
        return float(handle)

    def predict(self, batch):
        """Logits (n, classes)."""
        return self._predict(batch[0]).numpy()

    def prepare(self, x):
        """The pictures as NHWC."""
        return numpy.ascontiguousarray(x.transpose(0, 2, 3, 1))

    def infer(self, x):
        """A tensor on the device."""
        with tf.device(self._device):
            return self._predict(tf.constant(x))

    def logits(self, handle):
        """Waits for the device."""
        return handle.numpy()

    def sync(self):
        """A CPU function is done when it returns; on a GPU a copy back waits for everything queued before it."""
        if self._is_gpu:
            with tf.device(self._device):
                (tf.constant(1.0) + 1.0).numpy()

    def weights(self):
        """Copies in the network's own layouts."""
        return self._graph.weights()

    @staticmethod
    def describe():
        """Features of the build, and the number of threads (0: TensorFlow decides)."""
        build = tf.sysconfig.get_build_info()
        return {
            **native.describe(),
            "precision": Adapter._precision,
            "onednn": _convolves_on_onednn() if Adapter._has_threads else None,
            "intra_op_threads": tf.config.threading.get_intra_op_parallelism_threads(),
            "inter_op_threads": tf.config.threading.get_inter_op_parallelism_threads(),
            "cuda": build.get("cuda_version"),
            "cudnn": build.get("cudnn_version"),
            "onednn_variable": os.environ.get("TF_ENABLE_ONEDNN_OPTS"),
            "deterministic": is_op_determinism_enabled(),
            "tf32": tf.config.experimental.tensor_float_32_execution_enabled(),
        }

    def _update(self, x, y):
        with tf.GradientTape() as tape:
            logits = self._graph.logits(x, training=True)
            loss = self._loss(y, logits)
        self._rule.take(tape.gradient(loss, self._graph.trainable))
        return loss

    def _infer(self, x):
        return self._graph.logits(x, training=False)


def _has_dilation_gradient():
    """Whether the CPU has a gradient of a dilated convolution: oneDNN's kernels of 2.21 have, TensorFlow's own not."""
    return tuple(int(part) for part in VERSION.split(".")[:2]) >= (2, 21) and _convolves_on_onednn()


def _convolves_on_onednn():
    """Whether a convolution on the CPU becomes one of oneDNN's, read from the graph that TensorFlow made.

    Its build information is not reliable: 2.7 reports no oneDNN even where the variable turned it on.
    """
    v1 = tf.compat.v1
    config, seen = v1.ConfigProto(device_count={"GPU": 0}), v1.RunMetadata()
    with tf.Graph().as_default(), v1.Session(config=config) as session:
        picture = v1.placeholder(tf.float32, (1, 8, 8, 3))
        maps = tf.nn.conv2d(picture, tf.ones((3, 3, 3, 4)), 1, "VALID")
        options = v1.RunOptions(output_partition_graphs=True)
        session.run(maps, {picture: numpy.ones((1, 8, 8, 3), numpy.float32)}, options=options, run_metadata=seen)
    return any(node.op.startswith("_Mkl") for graph in seen.partition_graphs for node in graph.node)
