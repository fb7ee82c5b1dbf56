"""Run by a framework's own interpreter: what its adapter does with small networks, as one line of JSON.

python adapter_facts.py FRAMEWORK, with PYTHONPATH set to the folder that holds `workers`.
"""

import importlib
import json
import sys

import numpy as np

from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.net import Builder
from workers.protocol import BadJob, Unsupported

OPTIONS = {"learning_rate": 0.1, "momentum": 0.9, "batch_size": 8, "threads": 1, "seed": 0}


def every_op():
    """Odd maps, lopsided padding with and without stride, overlapping pools, a flattened map through relu and add."""
    net = Builder((3, 13, 11))
    x = net.relu(net.batchnorm(net.conv(net.input, 5, 3, 2, (0, 1, 2, 1), bias=False)))
    side = net.conv(x, 6, 1)
    x = net.add(net.batchnorm(net.conv(x, 6, 3, 1, 1)), side)
    x = net.relu(net.conv(net.maxpool(net.relu(x), 2, 1), 4, 4, 1, (2, 1, 1, 2)))
    flat = net.flatten(net.avgpool(x, 2, 2))
    x = net.relu(net.dense(net.add(net.relu(flat), flat), 7))
    net.dense(net.add(x, net.dense(net.globalpool(side), 7, bias=False)), 6)
    return net.net()


def with_dropout():
    net = Builder((3, 6, 6))
    net.dense(net.dropout(net.flatten(net.conv(net.input, 4, 3)), 0.5), 6)
    return net.net()


def downsampling():
    """A stride-2 convolution padded by one on an even map: what "same" would pad otherwise."""
    net = Builder((3, 8, 8))
    net.dense(net.globalpool(net.relu(net.conv(net.input, 4, 3, 2, 1))), 6)
    return net.net()


def batch_for(net, count):
    rng = np.random.RandomState(3)
    return rng.random_sample((count, *net.shapes["input"])).astype(np.float32), rng.randint(0, 6, count)


def off(seen, wanted):
    """Largest difference relative to the largest value."""
    return float(np.abs(seen - wanted).max() / max(float(np.abs(wanted).max()), 1e-30))


def raised(error, build):
    try:
        build()
    except error:
        return True
    return False


def main(framework):
    adapter_class = importlib.import_module(f"workers.frameworks.{framework}.adapter").Adapter
    facts = {"describe": adapter_class.describe()}
    net = every_op()
    start = net.start(5)
    adapter, oracle = (kind(net, net.start(5), "cpu", OPTIONS) for kind in (adapter_class, Oracle))

    given = adapter.weights()
    facts["round_trip"] = list(given) == list(start) and all(
        given[name].dtype == np.float32 and given[name].tobytes() == start[name].tobytes() for name in start
    )
    facts["rows"] = [adapter.predict(adapter.place(*batch_for(net, n))).shape for n in (1, 8, 13)]
    x, y = batch_for(net, 8)
    logits = adapter.predict(adapter.place(x, y))
    facts["logits_dtype"] = str(logits.dtype)
    facts["logits_off"] = off(logits, oracle.predict(oracle.place(x, y)))
    facts["predict_changes_nothing"] = all(adapter.weights()[n].tobytes() == start[n].tobytes() for n in start)

    handles = []
    wanted = []
    for _ in range(3):
        handles.append(adapter.step(adapter.place(x, y)))
        adapter.sync()
        wanted.append(oracle.step(oracle.place(x, y)))
    losses = [adapter.loss_value(handle) for handle in handles]
    facts["loss_types"] = sorted({type(loss).__name__ for loss in losses})
    facts["losses_off"] = off(np.array(losses), np.array(wanted))
    after, oracle_after = adapter.weights(), oracle.weights()
    moved = {name: float(np.linalg.norm(oracle_after[name] - start[name])) for name in start}
    facts["worst_update_off"] = max(
        float(np.linalg.norm(after[name] - oracle_after[name])) / max(moved[name], 1e-3 * max(moved.values()))
        for name in start
    )
    after["dense1.weight"][:] = 0
    facts["weights_are_copies"] = bool(adapter.weights()["dense1.weight"].any())

    for name, other in (("dropout", with_dropout()), ("downsampling", downsampling())):
        x, y = batch_for(other, 8)
        adapter, oracle = (kind(other, other.start(5), "cpu", OPTIONS) for kind in (adapter_class, Oracle))
        facts[f"{name}_logits_off"] = off(adapter.predict(adapter.place(x, y)), oracle.predict(oracle.place(x, y)))
        if name == "dropout":
            first = [adapter.loss_value(adapter.step(adapter.place(x, y)))]
            facts["dropout_trains"] = bool(np.isfinite(first).all())
    facts["refuses_unknown_options"] = raised(
        BadJob, lambda: adapter_class(net, start, "cpu", dict(OPTIONS, no_such_option=1))
    )
    facts["refuses_an_absent_gpu"] = raised(Unsupported, lambda: adapter_class(net, start, "gpu", OPTIONS))
    sys.stdout.write(json.dumps(facts) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
