"""Wrong versions of single ops: small networks that an adapter computes with one op changed, against the oracle.

Asked in a framework's own interpreter: op_mutants.py FRAMEWORK OPTIONS; prints mutant -> the first figure beyond its
bound, '' if it passes, or why the framework refuses it.
"""

import importlib
import json
import sys

from tests.contract.adapter_facts import SETTINGS, batch_for, forget_compiled, further_ops, off, windows, worst_update
from workers.bounds import bounds
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.net import Net
from workers.protocol import Unsupported


def last_of(net, kind):
    return [op for op in net.ops if op.kind == kind][-1]


def params(kind, **changes):
    """The last op of that kind with other params."""
    return lambda net: net.changed(last_of(net, kind).name, **changes)


def replaced(kind, other, **values):
    """The last op of that kind as one of another, with these params."""

    def change(net):
        wrong = last_of(net, kind)._replace(kind=other, params=values)
        return Net([wrong if op.name == wrong.name else op for op in net.ops])

    return change


def left_out(kind):
    """Without the last op of that kind: what it read is read in its place."""

    def change(net):
        gone = last_of(net, kind)
        return Net(
            op._replace(inputs=tuple(gone.inputs[0] if name == gone.name else name for name in op.inputs))
            for op in net.ops
            if op.name != gone.name
        )

    return change


def rotated(kind):
    """The last op of that kind with its first input at the end."""

    def change(net):
        wrong = last_of(net, kind)
        wrong = wrong._replace(inputs=wrong.inputs[1:] + wrong.inputs[:1])
        return Net([wrong if op.name == wrong.name else op for op in net.ops])

    return change


def moved(end):
    """A change of first weights: those with this end are 0.02 larger."""
    return lambda start: {name: value + 0.02 if name.endswith("." + end) else value for name, value in start.items()}


def untrained(end):
    """A change of trained weights: those with this end are the first ones again."""
    return lambda after, start: {name: start[name] if name.endswith("." + end) else after[name] for name in after}


OF_OPS = {
    "clip below and above 0": {
        "low": params("clip", low=-0.38),
        "high": params("clip", high=0.92),
        "as a ReLU": replaced("clip", "relu"),
    },
    "leakyrelu": {"slope": params("leakyrelu", slope=0.11), "as a ReLU": replaced("leakyrelu", "relu")},
    "elu": {"alpha": params("elu", alpha=0.72), "as a leaky ReLU": replaced("elu", "leakyrelu", slope=0.7)},
    "sigmoid": {"as a hard sigmoid": replaced("sigmoid", "hardsigmoid", slope=0.25, offset=0.5)},
    "hardsigmoid": {
        "slope 1/6": params("hardsigmoid", slope=1 / 6.0),
        "offset": params("hardsigmoid", offset=0.51),
        "as a sigmoid": replaced("hardsigmoid", "sigmoid"),
    },
    "hardswish": {"as SiLU": replaced("hardswish", "silu")},
    "silu": {"as hard swish": replaced("silu", "hardswish")},
    "tanh": {"cut to -1 and 1": replaced("tanh", "clip", low=-1, high=1)},
    "exact gelu": {"with tanh": params("gelu", is_exact=False), "as SiLU": replaced("gelu", "silu")},
    "gelu with tanh": {"exact": params("gelu", is_exact=True)},
    "softplus": {"as a ReLU": replaced("softplus", "relu")},
    "mish": {"as SiLU": replaced("mish", "silu")},
    "product": {"as a sum": replaced("multiply", "add")},
    "square": {"as a sum": replaced("multiply", "add")},
    "gate": {
        "as a sum": replaced("multiply", "add"),
        "hard": replaced("sigmoid", "hardsigmoid", slope=0.2, offset=0.5),
    },
    "sum with 1 x 1": {"as a product": replaced("add", "multiply")},
    "concat": {"in another order": rotated("concat")},
    "layernorm of maps": {
        "epsilon": params("layernorm", epsilon=1e-2),
        "over the pixels too": replaced("layernorm", "groupnorm", groups=1, epsilon=1e-6),
        "of each channel": replaced("layernorm", "groupnorm", groups=4, epsilon=1e-6),
    },
    "groupnorm": {
        "in two groups": params("groupnorm", groups=2),
        "of each channel": params("groupnorm", groups=6),
        "epsilon": params("groupnorm", epsilon=1e-2),
        "of each pixel": replaced("groupnorm", "layernorm", epsilon=1e-3),
    },
    "instancenorm": {"in two groups": params("groupnorm", groups=2), "epsilon": params("groupnorm", epsilon=1e-3)},
    "lrn": {
        "over three channels": params("lrn", size=3),
        "alpha not divided": params("lrn", alpha=2.5),
        "beta": params("lrn", beta=0.8),
        "bias": params("lrn", bias_term=1.4),
    },
    "shuffle": {"in three groups": params("shuffle", groups=3), "left out": left_out("shuffle")},
    "largest": {"as a mean": replaced("globalmax", "globalpool")},
    "slice": {"one channel on": params("slice", begin=2, end=4)},
    "slices of vectors": {"in another order": rotated("concat")},
    "pad": {"value": params("pad", value=0.0), "other sides": params("pad", padding=(0, 1, 3, 2))},
    "nearest pixels": {"bilinear": params("upsample", is_bilinear=True)},
    "bilinear, wide": {"nearest": params("upsample", is_bilinear=False)},
}
"""Network of further_ops -> name of the mutant -> the network that is computed in its place."""

OF_WINDOWS = {
    "dilated convolution": {"not dilated": params("conv", dilation=(1, 1), padding=(1, 1, 1, 1))},
    "depthwise convolution": {"padding": params("conv", padding=(0, 2, 1, 1))},
    "grouped convolution": {"padding": params("conv", padding=(1, 1, 2, 0))},
    "strided depthwise convolution": {"padding": params("conv", padding=(2, 0, 2, 0))},
    "lopsided maximum": {"other sides": params("maxpool", padding=(1, 0, 1, 0))},
    "padded maximum": {
        "as a mean": replaced(
            "maxpool", "avgpool", kernel=(3, 3), stride=(2, 2), padding=(1,) * 4, counts_padding=False
        )
    },
    "padded mean that counts": {"does not count": params("avgpool", counts_padding=False)},
    "padded mean": {"counts": params("avgpool", counts_padding=True)},
}
"""The same of windows()."""

WEIGHTS = {
    "prelu": ("slope",),
    "scale": ("scale",),
    "shift": ("shift",),
    "layernorm of maps": ("gamma", "beta"),
    "groupnorm": ("gamma", "beta"),
}
"""Network of further_ops -> ends of weights of which a mutant moves the first ones, and another trains none."""


def mutants():
    """name -> (network, what is computed, change of the first weights, change of the trained ones)."""
    found = {}
    for nets, table in ((further_ops(), OF_OPS), (windows(), OF_WINDOWS)):
        for name, changes in table.items():
            for words, change in changes.items():
                found[f"{name}: {words}"] = nets[name], change(nets[name]), _same, _as_trained
    for name, ends in WEIGHTS.items():
        net = further_ops()[name]
        for end in ends:
            found[f"{name}: {end} 0.02 larger"] = net, net, moved(end), _as_trained
            found[f"{name}: {end} not trained"] = net, net, _same, untrained(end)
    return found


def _same(start):
    return start


def _as_trained(after, start):
    return after


def first_beyond(adapter_class, options, mutant):
    """The first figure of the selfcheck that is beyond its bound, '' if the mutant passes, or why it is refused."""
    forget_compiled()
    net, wrong, change_start, change_trained = mutant
    start, (x, y), allowed = net.start(5), batch_for(net, 8), bounds("selfcheck")
    oracle = Oracle(net, start, "cpu", SETTINGS, {})
    given = {weight.name: start[weight.name] for weight in wrong.weights}
    try:
        adapter = adapter_class(wrong, change_start(given), "cpu", SETTINGS, options)
    except Unsupported as error:
        return f"refused: {error.op}"
    if off(adapter.predict(adapter.place(x, y)), oracle.predict(oracle.place(x, y))) > allowed["logits"]:
        return "logits"
    adapter.step(adapter.place(x, y))
    adapter.sync()
    oracle.step(oracle.place(x, y))
    after = change_trained({**start, **adapter.weights()}, start)
    return "update_step_1" if worst_update(after, oracle.weights(), start) > allowed["update_step_1"] else ""


def main(framework, options):
    adapter_class = importlib.import_module(f"workers.frameworks.{framework}.adapter").Adapter
    return {name: first_beyond(adapter_class, options, mutant) for name, mutant in mutants().items()}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(sys.argv[1], json.loads(sys.argv[2]))) + "\n")
