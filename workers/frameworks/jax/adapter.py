"""JAX: a step, or a block of steps, as a function that XLA compiles; weights are donated, so that there is one copy."""

import functools
import os

import jax
import jax.numpy as jnp
import numpy

from workers import native
from workers.bounds import BFLOAT16, FLOAT32
from workers.frameworks import EXTRAS, own_optimiser, own_options, own_precision
from workers.frameworks.jax.lowering import logits_of, require_ops
from workers.frameworks.jax.optimisers import OPTIMISERS, loss_of, state_of, transformation
from workers.protocol import Unsupported

VERSION = jax.__version__


class Adapter(object):
    """See workers/frameworks/__init__.py. Own option:

    scan_steps: how many steps are one call of XLA (lax.scan); 1, or more: steps that wait for others are taken when so
                many are there, or when something is read. A block that is shorter is taken step by step.

    Threads: those of the processors that this process may use; XLA has no setting of its own for the CPU.
    """

    _precision = FLOAT32

    def __init__(self, net, weights, device, settings, options):
        own = own_options(options, scan_steps=(1, 2, 4, 8, 16, 32))
        self._dtype = own_precision(settings, {FLOAT32: jnp.float32, BFLOAT16: jnp.bfloat16})
        Adapter._precision = settings.precision
        self._compiled = jax.jit
        if self._dtype != jnp.float32:
            # By default XLA leaves out a rounding between two ops that it joins (docs/precision.md).
            self._compiled = functools.partial(jax.jit, compiler_options={"xla_allow_excess_precision": False})
        kinds = {found.platform: found for found in jax.devices()}
        if device == "gpu" and "gpu" not in kinds:
            raise Unsupported("device", "JAX sees no GPU, or was built without CUDA")
        self._device = kinds["gpu"] if device == "gpu" else jax.devices("cpu")[0]
        require_ops(net)
        self._net = net
        put = functools.partial(jax.device_put, device=self._device)
        names = {weight.name for weight in net.weights if weight.is_trainable}
        self._trained = {name: put(numpy.array(weights[name])) for name in weights if name in names}
        self._averages = {name: put(numpy.array(weights[name])) for name in weights if name not in names}
        self._key = put(jax.random.key(settings.seed))
        self._rate = settings.training.learning_rate
        self.optimiser = own_optimiser(settings.training, OPTIMISERS, EXTRAS)
        self._scan_steps, self._waiting = own["scan_steps"], []
        # Pictures are placed by the call itself: to place them before it costs a twentieth to a tenth more.
        where = jax.sharding.SingleDeviceSharding(self._device)
        self._logits = self._compiled(
            lambda weights, x: logits_of(net, self._dtype, weights, x)[0], in_shardings=(None, where)
        )
        self._frozen = None
        change = transformation(self.optimiser, settings.training)
        loss = loss_of(settings.training, net.shapes[net.output][0])
        self._state = put(change.init(self._trained))

        def step(rate, held, batch):
            trained, averages, state, key = held
            x, y = batch
            key, own_key = jax.random.split(key)

            def forward(trained):
                logits, new = logits_of(net, self._dtype, dict(averages, **trained), x, own_key)
                return loss(logits, y), new

            (told, averages), gradients = jax.value_and_grad(forward, has_aux=True)(trained)
            directions, state = change.update(gradients, state, trained)
            trained = {name: weight - rate * directions[name] for name, weight in trained.items()}
            return (trained, averages, state, key), told

        def steps(rate, held, *batches):
            stacked = jax.tree.map(lambda *parts: jnp.stack(parts), *batches)
            return jax.lax.scan(functools.partial(step, rate), held, stacked)

        self._one, self._many = (self._compiled(one, donate_argnums=1) for one in (step, steps))

    def place(self, x, y):
        """Arrays on the device."""
        return jax.device_put(x, self._device), jax.device_put(y.astype(numpy.int32), self._device)

    def load(self, batches, order, workers):
        """Raises Unsupported: JAX has no loader."""
        raise Unsupported("feed", "JAX has no loader of its own; its users take that of another library")

    def step(self, batch):
        """One update; a list that holds its loss, and where in it, when it is taken."""
        handle = []
        self._waiting.append((batch, handle))
        self._frozen = None
        if len(self._waiting) == self._scan_steps:
            self._take()
        return handle

    def set_rate(self, rate):
        """The rate of the next update; what waits is taken at the rate that it had."""
        self._take()
        self._rate = rate

    def loss_value(self, handle):
        """Waits for the device."""
        self._take()
        losses, at = handle
        return float(losses if at is None else losses[at])

    def predict(self, batch):
        """Logits (n, classes)."""
        self._take()
        return jax.device_get(self._logits(dict(self._averages, **self._trained), batch[0]))

    def prepare(self, x):
        """The pictures as they are."""
        return x

    def infer(self, x):
        """An array that is being computed."""
        if self._frozen is None:
            self._take()
            own = dict(self._averages, **self._trained)
            self._frozen = self._compiled(
                lambda x: logits_of(self._net, self._dtype, own, x)[0],
                in_shardings=jax.sharding.SingleDeviceSharding(self._device),
            )
        return self._frozen(x)

    def logits(self, handle):
        """Waits for it."""
        return jax.device_get(handle)

    def sync(self):
        """Takes what waits, and waits for it."""
        self._take()
        jax.block_until_ready(self._trained)

    def weights(self):
        """Copies in the network's own layouts and order."""
        self._take()
        own = dict(self._averages, **self._trained)
        return {weight.name: numpy.array(jax.device_get(own[weight.name])) for weight in self._net.weights}

    def state(self):
        """Copies, of the weights that have a gradient."""
        self._take()
        return state_of(self._state, self._trained)

    @staticmethod
    def describe():
        """Where it computes; float32 products are asked for in full (see lowering.py)."""
        return {
            **native.describe(),
            "precision": Adapter._precision,
            "platform": jax.default_backend(),
            "processors": len(os.sched_getaffinity(0)),
        }

    def _take(self):
        """Take the steps that wait."""
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        held = (self._trained, self._averages, self._state, self._key)
        if len(waiting) == self._scan_steps > 1:
            held, losses = self._many(self._rate, held, *[batch for batch, _ in waiting])
            for at, (_, handle) in enumerate(waiting):
                handle[:] = losses, at
        else:
            for batch, handle in waiting:
                held, loss = self._one(self._rate, held, batch)
                handle[:] = loss, None
        self._trained, self._averages, self._state, self._key = held
