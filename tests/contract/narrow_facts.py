"""Run in the environment of a row with a narrow number format: the first step of its adapter, and of two liars.

python narrow_facts.py FRAMEWORK OPTIONS PRECISION REFERENCE, with the oracle's traces of mixed.variations. Prints
which figures are beyond their bounds: of the adapter; of one that says so and computes in float32; and of one that says
float32 and computes in the narrow format.
"""

import importlib
import json
import sys

from tests.small_networks import residual
from workers import mixed, traces
from workers.bounds import FLOAT32, bounds
from workers.jobs import selfcheck

NET = residual((3, 16, 16), 43)
TRAINING = selfcheck.training_of("sgd", "he_normal")
REGIMES = {"first": selfcheck.REGIMES["first"]}
PICTURES, LABELS = selfcheck.lopsided(NET.input, NET.classes, REGIMES["first"].pictures)


def main(framework, options, precision, path):
    """Print one JSON object: the adapter, or how it lies -> names of figures."""
    kind = importlib.import_module(f"workers.frameworks.{framework}.adapter").Adapter
    reference, _ = traces.load(path, NET, tuple(mixed.variations(precision, REGIMES)))
    allowed = selfcheck.narrow_bounds(NET, TRAINING, reference, REGIMES, bounds("selfcheck"))

    def trace(computes_in):
        variation = mixed.Variation(computes_in)
        build = selfcheck.build_with(kind, NET, "cpu", TRAINING, 2, json.loads(options), variation)
        return selfcheck.trace_adapter(build, TRAINING, REGIMES["first"], PICTURES, LABELS)

    def beyond(seen, wanted, allowed):
        found = selfcheck.compare(NET, TRAINING, {"first": seen}, {"first": wanted})
        found.update(mixed.rounding(seen, reference, selfcheck.trained_names(NET)))
        return [name for name, bound in allowed.items() if name in found and not found[name] <= bound]

    narrow, wide = trace(precision), trace(FLOAT32)
    found = {
        "adapter": beyond(narrow, reference["first"], allowed),
        "computes in float32": beyond(wide, reference["first"], allowed),
        "says float32": beyond(narrow, reference[mixed.EXACT], bounds("selfcheck")),
    }
    print(json.dumps(found))  # noqa: T201 - the test reads it


if __name__ == "__main__":
    main(*sys.argv[1:])
