"""What an adapter does with small networks; asked in a framework's own interpreter, by row_facts.py."""

import importlib
import sys

import numpy as np

from workers.batches import Batches
from workers.bounds import FLOAT32
from workers.frameworks import Settings, runner
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.net import Net, NetBuilder
from workers.protocol import BadJob, Training, Unsupported

SETTINGS = Settings(Training("sgd", "he_normal", 0.1, 0.9, batch_size=8, epochs=1), threads=2, seed=0)


# What each framework is asked before its adapter trusts in a card. Told that there is one, a CPU build must fail.
CARD = {
    "pytorch": ("torch.cuda", "is_available", lambda: True),
    "tensorflow": ("tensorflow.config", "list_physical_devices", lambda kind: ["a card"]),
    "mxnet": ("mxnet.context", "num_gpus", lambda: 1),
}


def every_op():
    """Odd maps, lopsided padding with and without stride, overlapping pools, a flattened map through relu and add."""
    net = NetBuilder((3, 13, 11))
    x = net.relu(net.batchnorm(net.conv(net.input, 5, 3, 2, (0, 1, 2, 1), bias=False)))
    side = net.conv(x, 6, 1)
    x = net.add(net.batchnorm(net.conv(x, 6, 3, 1, 1)), side)
    x = net.relu(net.conv(net.maxpool(net.relu(x), 2, 1), 4, 4, 1, (2, 1, 1, 2)))
    flat = net.flatten(net.avgpool(x, 2, 2))
    x = net.relu(net.dense(net.add(net.relu(flat), flat), 7))
    net.dense(net.add(x, net.dense(net.globalpool(side), 7, bias=False)), 6)
    return net.net()


def nested():
    """Blocks inside blocks, with even padding: for a framework whose graphs are nested and not free."""
    net = NetBuilder((3, 13, 11))
    x = net.relu(net.batchnorm(net.conv(net.input, 5, 3, 2, 1, bias=False)))
    main = net.conv(net.relu(net.batchnorm(net.conv(x, 6, 3, 1, 1, bias=False))), 6, 3, 1, 1)
    main = net.relu(net.add(net.batchnorm(net.conv(main, 6, 3, 1, 1)), main))
    x = net.relu(net.add(net.batchnorm(main), net.conv(x, 6, 1)))
    x = net.relu(net.conv(net.maxpool(x, 2, 1), 4, 4, 1, 1))
    x = net.relu(net.dense(net.flatten(net.avgpool(x, 2, 2)), 7, bias=False))
    net.dense(x, 6)
    return net.net()


def every_window():
    """Rectangular kernels, strides, paddings, dilations, groups, and pools that count their padding or do not."""
    net = NetBuilder((4, 17, 13))
    x = net.conv(net.input, 8, (3, 5), (2, 1), (1, 0, 2, 3), dilation=(2, 1), groups=2)
    x = net.maxpool(x, (3, 2), (1, 2), (1, 2, 0, 1))
    x = net.avgpool(net.conv(x, 8, 3, padding=1, groups=8), (2, 3), (1, 1), (1, 0, 2, 1))
    x = net.avgpool(x, 3, 2, 1, counts_padding=True)
    net.dense(net.flatten(x), 5)
    return net.net()


def windows():
    """name -> a small network with one window that is out of the ordinary."""
    found = {}

    def keep(name, add):
        net = NetBuilder((4, 12, 9))
        x = add(net, net.relu(net.conv(net.input, 4, 3)))
        net.dense(net.flatten(x), 5)
        found[name] = net.net()

    keep("rectangular convolution", lambda net, x: net.conv(x, 6, (3, 2), (1, 2), (1, 1, 0, 0)))
    keep("kernel larger than its map", lambda net, x: net.conv(net.maxpool(x, 5, 5), 6, 3, 1, 1))
    keep("dilated convolution", lambda net, x: net.conv(x, 6, 3, 1, 2, dilation=2))
    keep("dilated and strided convolution", lambda net, x: net.conv(x, 6, 3, 2, 2, dilation=2))
    keep("depthwise convolution", lambda net, x: net.conv(x, 8, 3, 1, 1, groups=4))
    keep("strided depthwise convolution", lambda net, x: net.conv(x, 4, 3, 2, 1, groups=4))
    keep("grouped convolution", lambda net, x: net.conv(x, 6, 3, 1, 1, groups=2))
    keep("rectangular maximum", lambda net, x: net.maxpool(x, (3, 2), (2, 1)))
    keep("padded maximum", lambda net, x: net.maxpool(x, 3, 2, 1))
    keep("lopsided maximum", lambda net, x: net.maxpool(x, 3, 2, (0, 1, 0, 1)))
    keep("padded mean that counts", lambda net, x: net.avgpool(x, 3, 2, 1, counts_padding=True))
    keep("padded mean", lambda net, x: net.avgpool(x, 3, 2, 1))
    keep("lopsided mean", lambda net, x: net.avgpool(x, 3, 1, (0, 1, 2, 1)))
    return found


def further_ops():
    """kind -> a small network with such an op; of joins also with a map of 1 x 1, and of both orders."""
    nets = {}

    def keep(name, add):
        net = NetBuilder((4, 10, 9))
        x = add(net, net.batchnorm(net.conv(net.input, 4, 3)))
        net.dense(net.flatten(x), 5)
        nets[name] = net.net()

    def gate(net, x):
        return net.op("sigmoid", net.conv(net.op("unflatten", net.globalpool(x)), 4, 1))

    for kind, params in {
        "clip": {"low": 0, "high": 6},
        "leakyrelu": {"slope": 0.1},
        "prelu": {},
        "elu": {"alpha": 0.7},
        "sigmoid": {},
        "hardsigmoid": {"slope": 0.2, "offset": 0.5},
        "hardswish": {},
        "silu": {},
        "tanh": {},
        "softplus": {},
        "mish": {},
    }.items():
        keep(kind, lambda net, x, kind=kind, params=params: net.op(kind, x, **params))
    keep("exact gelu", lambda net, x: net.op("gelu", x, is_exact=True))
    keep("gelu with tanh", lambda net, x: net.op("gelu", x, is_exact=False))
    keep("clip below and above 0", lambda net, x: net.op("clip", x, low=-0.4, high=0.9))
    keep("product", lambda net, x: net.op("multiply", x, net.conv(x, 4, 1)))
    keep("square", lambda net, x: net.op("multiply", x, x))
    keep("gate", lambda net, x: net.op("multiply", x, gate(net, x)))
    keep("gate first", lambda net, x: net.op("multiply", gate(net, x), x))
    keep("sum with 1 x 1", lambda net, x: net.add(gate(net, x), x))
    keep("concat", lambda net, x: net.op("concat", x, net.conv(x, 3, 1), x))
    keep("scale", lambda net, x: net.op("scale", x))
    keep("shift", lambda net, x: net.op("shift", net.op("tanh", x)))
    keep("layernorm of maps", lambda net, x: net.op("layernorm", x, epsilon=1e-6))
    keep("groupnorm", lambda net, x: net.op("groupnorm", net.conv(x, 6, 1), groups=3, epsilon=1e-3))
    keep("instancenorm", lambda net, x: net.op("groupnorm", x, groups=4, epsilon=1e-5))
    keep("slice", lambda net, x: net.op("slice", x, begin=1, end=3))
    keep("slices of vectors", lambda net, x: net.op("unflatten", _swapped_halves(net, net.flatten(x))))
    keep("pad", lambda net, x: net.conv(net.op("pad", x, padding=(1, 0, 2, 3), value=0.5), 3, 3))
    keep("nearest pixels", lambda net, x: net.op("upsample", x, factor=(2, 2), is_bilinear=False))
    keep("nearest pixels, wide", lambda net, x: net.op("upsample", x, factor=(1, 3), is_bilinear=False))
    keep("bilinear", lambda net, x: net.op("upsample", x, factor=(2, 2), is_bilinear=True))
    keep("bilinear, wide", lambda net, x: net.op("upsample", net.maxpool(x, 3, 3), factor=(3, 4), is_bilinear=True))
    keep("lrn", lambda net, x: net.op("lrn", net.conv(x, 7, 1), size=5, alpha=0.5, beta=0.75, bias_term=1.5))
    keep("shuffle", lambda net, x: net.op("shuffle", net.conv(x, 6, 1), groups=2))
    keep("largest", lambda net, x: net.op("unflatten", net.op("globalmax", x)))
    nets["awkward names"] = awkward_names()
    keep("vectors", lambda net, x: net.op("unflatten", _joined_vectors(net, x)))
    return nets


def awkward_names():
    """A network whose ops have names that writers and frameworks might use themselves."""
    net = NetBuilder((4, 10, 9))
    x = net.relu(net.conv(net.input, 4, 3))
    x = net.op("clip", net.add(net.conv(x, 4, 3), net.conv(x, 4, 3)), low=-1, high=2)
    net.dense(net.globalpool(net.relu(net.conv(x, 4, 1))), 5)
    names = [
        "input",
        "type",
        "relu",
        "relu_0",
        "relu_1",
        "pictures",
        "logits",
        "logits_low",
        "pool_map",
        "pool",
        "forward",
    ]
    ops = net.net().ops
    renamed = {op.name: names[at] for at, op in enumerate(ops)}
    return Net(op._replace(name=renamed[op.name], inputs=tuple(renamed[one] for one in op.inputs)) for op in ops)


def _swapped_halves(net, vector):
    return net.op("concat", net.op("slice", vector, begin=200, end=224), net.op("slice", vector, begin=0, end=50))


def _joined_vectors(net, x):
    pooled, largest = net.globalpool(x), net.op("globalmax", x)
    joined = net.op("silu", net.op("concat", net.op("multiply", pooled, largest), largest))
    return net.op("scale", net.op("shift", net.op("layernorm", joined, epsilon=1e-5)))


def with_dropout():
    net = NetBuilder((3, 6, 6))
    net.dense(net.dropout(net.flatten(net.conv(net.input, 4, 3)), 0.5), 6)
    return net.net()


def downsampling():
    """A stride-2 convolution padded by one on an even map: what "same" would pad otherwise."""
    net = NetBuilder((3, 8, 8))
    net.dense(net.globalpool(net.relu(net.conv(net.input, 4, 3, 2, 1))), 6)
    return net.net()


def batch_for(net, count):
    rng = np.random.RandomState(3)
    return rng.random_sample((count, *net.input)).astype(np.float32), rng.randint(0, net.classes, count)


def off(seen, wanted):
    """Largest difference relative to the largest value."""
    return float(np.abs(seen - wanted).max() / max(float(np.abs(wanted).max()), 1e-30))


def loaded_equal(adapter, workers):
    """Whether the framework's own loader gives the batches of two epochs bit for bit as we cut them, and no more."""
    rng = np.random.RandomState(4)
    batches = Batches(rng.randint(0, 256, (29, 3, 8, 8)).astype(np.uint8), rng.randint(0, 6, 29), 8)
    is_equal = []
    for epoch in range(2):
        order = batches.shuffled(7, epoch)
        seen = [tuple(as_numpy(part) for part in pair) for pair in adapter.load(batches, order, workers)]
        wanted = [batches.cut(numbers) for numbers in order]
        is_equal.append(
            [(x.dtype, x.tobytes(), y.tolist()) for x, y in seen]
            == [(x.dtype, x.tobytes(), y.tolist()) for x, y in wanted]
        )
    adapter.loss_value(adapter.step(adapter.place(*next(iter(adapter.load(batches, order, workers))))))
    return is_equal


def as_numpy(part):
    return part.asnumpy() if hasattr(part, "asnumpy") else np.asarray(part)


def step_facts(nets, adapter_class, options, precision=FLOAT32):
    """name -> [logits off, worst update off] of a step of each network, or [the op, why it is refused]."""
    found = {}
    for name, net in nets.items():
        forget_compiled()
        start, (x, y) = net.start(5), batch_for(net, 8)
        oracle = Oracle(net, start, "cpu", SETTINGS, {})
        try:
            adapter = adapter_class(net, start, "cpu", SETTINGS._replace(precision=precision), options)
        except Unsupported as error:
            found[name] = [error.op, error.why]
            continue
        logits = adapter.predict(adapter.place(x, y))
        wanted = oracle.predict(oracle.place(x, y))
        adapter.step(adapter.place(x, y))
        adapter.sync()
        oracle.step(oracle.place(x, y))
        found[name] = [off(logits, wanted), worst_update(adapter.weights(), oracle.weights(), start)]
    return found


def forget_compiled():
    """Let torch.compile forget earlier networks: it compiles eight in one process, where a worker has one."""
    if "torch._dynamo" in sys.modules:
        sys.modules["torch._dynamo"].reset()


def worst_update(after, wanted, start):
    """How far the worst array is off, as a share of how far the oracle moved it, or of 1e-3 of the farthest."""
    moved = {name: float(np.linalg.norm(wanted[name] - start[name])) for name in start}
    return max(
        float(np.linalg.norm(after[name] - wanted[name])) / max(moved[name], 1e-3 * max(moved.values()))
        for name in start
    )


def rate_facts(adapter_class, options):
    """Two steps at other rates than the first ones: how far the weights are off, or [what it refuses, why]."""
    forget_compiled()
    net = downsampling()
    start, batch = net.start(5), batch_for(net, 8)
    adapter = adapter_class(net, start, "cpu", SETTINGS, options)
    oracle = Oracle(net, start, "cpu", SETTINGS, {})
    for rate in (None, None, 0.02, 0.05):
        for one in (adapter, oracle):
            if rate is not None:
                try:
                    one.set_rate(rate)
                except Unsupported as error:
                    return [error.op, error.why]
            one.step(one.place(*batch))
    adapter.sync()
    return worst_update(adapter.weights(), oracle.weights(), start)


def infer_facts(adapter, net, oracle):
    """Of an adapter whose batches are of 8: two queries that wait at once, and what they are off from the oracle's."""
    adapter = runner(adapter)
    asked = [batch_for(net, 8)[0], batch_for(net, 8)[0][::-1].copy()]
    prepared = [adapter.prepare(x) for x in asked]
    handles = [adapter.infer(x) for x in prepared]
    logits = [adapter.logits(handle) for handle in handles]
    wanted = [oracle.predict(oracle.place(x, None)) for x in asked]
    return {
        "infer_off": max(off(logits[at], wanted[at]) for at in range(len(asked))),
        "infer_dtypes": sorted({str(seen.dtype) for seen in logits}),
        "infer_shapes": [list(seen.shape) for seen in logits],
    }


def raised(error, build):
    try:
        build()
    except error:
        return True
    return False


def hardest(adapter_class, options):
    """(net, adapter, what was refused): the hardest network that the adapter lowers, and why not the harder ones."""
    refused = []
    for net in (every_op(), nested()):
        try:
            return net, adapter_class(net, net.start(5), "cpu", SETTINGS, options), refused
        except Unsupported as error:
            refused.append([error.op, error.why])
    raise SystemExit(f"it lowers neither network: {refused}")


def facts_of(framework, own_options):
    """What the adapter does; of a framework in CARD, the last thing that this process may be asked."""
    adapter_class = importlib.import_module(f"workers.frameworks.{framework}.adapter").Adapter
    options = dict(own_options)
    facts = {"describe": adapter_class.describe()}
    net, adapter, facts["refused"] = hardest(adapter_class, options)
    start = net.start(5)
    oracle = Oracle(net, net.start(5), "cpu", SETTINGS, {})

    given = adapter.weights()
    facts["round_trip"] = list(given) == list(start) and all(
        given[name].dtype == np.float32 and given[name].tobytes() == start[name].tobytes() for name in start
    )
    facts["rows"] = [adapter.predict(adapter.place(*batch_for(net, n))).shape for n in (1, 8, 13)]
    for count in (8, 13):
        batch = batch_for(net, count)
        logits = adapter.predict(adapter.place(*batch))
        facts[f"logits_off_of_{count}"] = off(logits, oracle.predict(oracle.place(*batch)))
    facts["logits_dtype"] = str(logits.dtype)
    facts.update(infer_facts(adapter, net, oracle))
    x, y = batch_for(net, 8)
    facts["predict_changes_nothing"] = all(adapter.weights()[n].tobytes() == start[n].tobytes() for n in start)

    handles = []
    wanted = []
    for _ in range(3):
        handles.append(adapter.step(adapter.place(x, y)))
        adapter.sync()
        run = runner(adapter)
        run.logits(run.infer(run.prepare(x)))  # between two steps it must leave no trace
        wanted.append(oracle.step(oracle.place(x, y)))
    losses = [adapter.loss_value(handle) for handle in handles]
    facts["loss_types"] = sorted({type(loss).__name__ for loss in losses})
    facts["losses_off"] = off(np.array(losses), np.array(wanted))
    after, oracle_after = adapter.weights(), oracle.weights()
    facts["worst_update_off"] = worst_update(after, oracle_after, start)
    facts["windows"] = step_facts(windows(), adapter_class, options)
    facts["further_ops"] = step_facts(further_ops(), adapter_class, options)
    facts["other_rate_off"] = rate_facts(adapter_class, options)
    after["dense1.weight"][:] = 0
    facts["weights_are_copies"] = bool(adapter.weights()["dense1.weight"].any())

    for name, other in (("dropout", with_dropout()), ("downsampling", downsampling())):
        x, y = batch_for(other, 8)
        adapter = adapter_class(other, other.start(5), "cpu", SETTINGS, options)
        oracle = Oracle(other, other.start(5), "cpu", SETTINGS, {})
        facts[f"{name}_logits_off"] = off(adapter.predict(adapter.place(x, y)), oracle.predict(oracle.place(x, y)))
        if name == "dropout":
            first = [adapter.loss_value(adapter.step(adapter.place(x, y)))]
            facts["dropout_trains"] = bool(np.isfinite(first).all())
    try:
        facts["loads"] = [loaded_equal(adapter, workers) for workers in (0, 1, 3)]
    except Unsupported as error:
        facts["loads"] = [error.op, error.why]
    facts["refuses_unknown_options"] = raised(
        BadJob, lambda: adapter_class(net, start, "cpu", SETTINGS, dict(options, no_such_option=1))
    )
    odd = SETTINGS._replace(training=SETTINGS.training._replace(optimiser="no_such_rule"))
    facts["refuses_unknown_optimisers"] = raised(Unsupported, lambda: adapter_class(net, start, "cpu", odd, options))
    facts["refuses_an_absent_gpu"] = raised(Unsupported, lambda: adapter_class(net, start, "gpu", SETTINGS, options))
    if framework in CARD:
        module, name, told = CARD[framework]
        setattr(importlib.import_module(module), name, told)
        facts["never_falls_back_to_the_cpu"] = raised(
            Exception, lambda: adapter_class(net, start, "gpu", SETTINGS, options)
        )
    return facts
