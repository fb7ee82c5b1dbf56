"""Run by a framework's own interpreter: which bounds of the selfcheck each mutant of its adapter breaks, as JSON.

python adapter_mutants.py FRAMEWORK MODEL SIZE REFERENCE.npz, with PYTHONPATH set to the folder that holds `workers`.
"""

import importlib
import json
import sys

from workers import models
from workers.batches import Batches
from workers.jobs import selfcheck
from workers.net import Net

FRAMEWORK, MODEL, SIZE, REFERENCE = sys.argv[1:]
ADAPTER = importlib.import_module(f"workers.frameworks.{FRAMEWORK}.adapter").Adapter


def without_relu(net):
    """`net` with its third ReLU gone: its readers read what it read."""
    gone = [op for op in net.ops if op.kind == "relu"][2]
    kept = [op for op in net.ops if op is not gone]
    return Net([op._replace(inputs=tuple(gone.inputs[0] if i == gone.name else i for i in op.inputs)) for op in kept])


def shifted_padding(net):
    """`net` with one convolution that pads one row and column elsewhere, at equal map sizes further on."""
    if any(op.kind == "conv" and any(op.params["padding"]) for op in net.ops):
        return net.changed("conv9", padding=(0, 2, 0, 2))
    return net.changed("conv2", padding=(1, 0, 1, 0))  # 21 x 21, which pools to 10 x 10 like 20 x 20


def other_momentum(net):
    for op in net.ops:
        net = net.changed(op.name, kept=0.99) if op.kind == "batchnorm" else net
    return net


def other_net(change):
    class Mutant(ADAPTER):
        def __init__(self, net, weights, device, settings, options):
            ADAPTER.__init__(self, change(net), weights, device, settings, options)

    return Mutant


class Transposed(ADAPTER):
    def place(self, x, y):
        return ADAPTER.place(self, x.transpose(0, 1, 3, 2).copy(), y)


class SwappedChannels(ADAPTER):
    def place(self, x, y):
        return ADAPTER.place(self, x[:, ::-1].copy(), y)


class Unshuffled(Batches):
    def shuffled(self, seed, epoch):
        return [numbers for numbers in self.in_order() if len(numbers) == self.size]


def decay(adapter, factor):
    """Multiply the rate of a real framework's optimiser."""
    if FRAMEWORK == "pytorch":
        adapter._optimiser.param_groups[0]["lr"] *= factor
    else:
        adapter._training.learning_rate.assign(adapter._training.learning_rate * factor)


class Decayed(ADAPTER):
    """The rate falls by a tenth after ten steps, as at the end of an epoch."""

    steps = 0
    factors = {11: 0.9}  # step -> what its rate is multiplied by, and that of all later ones

    def __init__(self, *arguments):
        ADAPTER.__init__(self, *arguments)
        if FRAMEWORK == "tensorflow":
            import tensorflow as tf

            rate = tf.Variable(self._training.learning_rate, trainable=False)
            self._training = self._training._replace(learning_rate=rate)

    def step(self, batch):
        self.steps += 1
        decay(self, self.factors.get(self.steps, 1.0))
        return ADAPTER.step(self, batch)


class Tired(Decayed):
    """The rate is 0 after step 20."""

    factors = {21: 0.0}


class Skipping(Decayed):
    """Every 25th step moves nothing."""

    factors = {25: 1e-9, 26: 1e9}


class Shrinking(ADAPTER):
    """Every step makes all weights smaller by 1e-4 of themselves, times the rate."""

    def step(self, batch):
        loss = ADAPTER.step(self, batch)
        if FRAMEWORK == "pytorch":
            import torch

            with torch.no_grad():
                for group in self._optimiser.param_groups:
                    for weight in group["params"]:
                        weight.mul_(1 - 1e-4 * group["lr"])
        else:
            for variable in self._graph.trainable:
                variable.assign(variable * (1 - 1e-4 * self._training.learning_rate))
        return loss


class Summed(ADAPTER):
    """The loss is the sum over the batch."""

    def __init__(self, *arguments):
        ADAPTER.__init__(self, *arguments)
        if FRAMEWORK == "pytorch":
            import torch

            self._loss = torch.nn.CrossEntropyLoss(reduction="sum")

    def _update(self, x, y):
        import tensorflow as tf

        mean = tf.reduce_mean
        tf.reduce_mean = lambda value, axis=None: tf.reduce_sum(value) if axis is None else mean(value, axis)
        try:
            return ADAPTER._update(self, x, y)
        finally:
            tf.reduce_mean = mean


MUTANTS = {
    "none": (ADAPTER, Batches),
    "changed padding": (other_net(shifted_padding), Batches),
    "dropped ReLU": (other_net(without_relu), Batches),
    "transposed picture": (Transposed, Batches),
    "swapped channels": (SwappedChannels, Batches),
    "decayed learning rate": (Decayed, Batches),
    "another BN momentum": (other_net(other_momentum), Batches),
    "unshuffled epoch": (ADAPTER, Unshuffled),
    "summed loss": (Summed, Batches),
    "rate 0 after step 20": (Tired, Batches),
    "every 25th step skipped": (Skipping, Batches),
    "weight decay": (Shrinking, Batches),
}


def main():
    params = {"depth": int(MODEL[6:])} if MODEL.startswith("resnet") else {}
    net = models.build("resnet" if params else MODEL, 43, int(SIZE), **params)
    wanted = selfcheck.load_reference(REFERENCE, net)
    pictures, labels = selfcheck.lopsided(int(SIZE), 43, max(r.pictures for r in selfcheck.REGIMES.values()))
    broken = {}
    for mutant, (adapter_class, batches) in MUTANTS.items():
        build = selfcheck.build_with(adapter_class, net, "cpu", selfcheck.Rule(), threads=2)
        seen = {
            name: selfcheck.trace_adapter(build, regime, pictures, labels, batches)
            for name, regime in selfcheck.REGIMES.items()
        }
        figures = selfcheck.compare(net, selfcheck.Rule(), seen, wanted)
        figures.update(selfcheck.compare_odd_batches(build, net, pictures, labels, wanted["first"]))
        broken[mutant] = sorted(name for name, bound in selfcheck.BOUNDS.items() if not figures[name] <= bound)
    sys.stdout.write(json.dumps(broken) + "\n")


main()
