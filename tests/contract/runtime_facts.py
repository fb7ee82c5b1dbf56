"""Run by a runtime's own interpreter: what its adapter does with small networks, as one line of JSON.

python runtime_facts.py FRAMEWORK OPTIONS PRECISION FOLDER, with PYTHONPATH set to the folder that holds
`workers` and `tests`.
"""

import importlib
import json
import sys
from pathlib import Path

import numpy as np

from tests.contract.adapter_facts import (
    SETTINGS,
    batch_for,
    downsampling,
    every_op,
    further_ops,
    infer_facts,
    off,
    raised,
    windows,
)
from workers.bounds import INT8
from workers.frameworks import trains
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.protocol import BadJob, Unsupported


def main(framework, options, precision, folder):
    adapter_class = importlib.import_module(f"workers.frameworks.{framework}.adapter").Adapter
    facts = {"trains": trains(adapter_class), "windows": {}, "further_ops": {}}
    settings = SETTINGS._replace(precision=precision)

    def seen(net):
        start = weights_of(net)
        adapter = adapter_class(net, start, "cpu", settings, options)
        if precision == INT8:
            adapter.calibrate(np.concatenate([batch_for(net, 8)[0]] * 4))
        return adapter, infer_facts(adapter, net, Oracle(net, start, "cpu", SETTINGS, {}))

    for kind, nets in (("windows", windows()), ("further_ops", further_ops())):
        for name, net in nets.items():
            try:
                facts[kind][name] = seen(net)[1]["infer_off"]
            except Unsupported as error:
                facts[kind][name] = [error.op, error.why]
    for name, net in (("every_op", every_op()), ("downsampling", downsampling())):
        adapter, facts[name] = seen(net)
    start = weights_of(net)
    facts["describe"] = adapter.describe()
    facts["refuses_unknown_options"] = raised(
        BadJob, lambda: adapter_class(net, start, "cpu", settings, dict(options, no_such_option=1))
    )
    facts["refuses_an_absent_gpu"] = raised(Unsupported, lambda: adapter_class(net, start, "gpu", settings, options))
    if hasattr(adapter_class, "export"):
        names, logits = adapter_class.export(net, start, folder)
        x, _ = batch_for(net, 5)
        facts["exported"] = {name: (Path(folder) / name).stat().st_size for name in names}
        facts["exported_off"] = off(logits(x), Oracle(net, start, "cpu", SETTINGS, {}).exact_logits(x))
    sys.stdout.write(json.dumps(facts) + "\n")


def weights_of(net):
    """First weights with averages and offsets that are not zero: a trained network's."""
    rng = np.random.RandomState(2)
    drawn = dict(net.start(5))
    for name, value in drawn.items():
        if name.endswith((".mean", ".beta", ".bias")):
            drawn[name] = rng.normal(0, 0.1, value.shape).astype(np.float32)
        if name.endswith((".var", ".gamma")):
            drawn[name] = rng.uniform(0.5, 1.5, value.shape).astype(np.float32)
    return drawn


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]), sys.argv[3], sys.argv[4])
