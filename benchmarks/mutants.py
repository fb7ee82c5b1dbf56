"""python -m benchmarks.mutants [ROW ...] [--models resnet20@32,idsia@48]: how sensitive the proofs of equality are.

Every wrong version of an adapter (tests/contract/adapter_mutants.py) goes through the selfcheck and the audits, in the
virtualenv of its row and on the study's networks. The table is Markdown, for docs/parity.md. Rows are framework or
framework:variant; without any, the fastest row of each framework is taken. The exit code is 1 if a harmful mutant
passes or a harmless one is stopped. Takes minutes for each row and network.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from orchestrator.commands.images import catalogue_with
from orchestrator.engines import open_engine
from orchestrator.home import REPOSITORY, Home
from orchestrator.host import read_host
from tests.networks import network_of
from tests.oracle_traces import save_traces

ROWS = ("pytorch", "tensorflow", "mxnet:1.5-mkl-omp-amd", "cntk:2.7-amd", "neon:2.6-mkl-amd")
LARGER = 16
"""By so many pixels another input size of a sweep is larger."""

SCRIPT = REPOSITORY / "tests" / "contract" / "adapter_mutants.py"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", default=ROWS)
    parser.add_argument("--models", default="resnet20@32,idsia@48")
    args = parser.parse_args()
    catalogue, engine = catalogue_with(), open_engine("virtualenv", Home.default(), read_host())
    columns = {}
    with tempfile.TemporaryDirectory() as folder:
        for cell in args.models.split(","):
            model, size = cell.split("@")
            traces = Path(folder) / f"{cell}.npz"
            save_traces(traces, model, int(size))
            networks = Path(folder) / f"{cell}.json"
            two = [network_of(model, side).model_dump(mode="json") for side in (int(size), int(size) + LARGER)]
            networks.write_text(json.dumps(two))
            for name in args.rows:
                framework, _, variant = name.partition(":")
                row = catalogue.resolve(framework, "cpu", variant or None)
                where = engine.prepare(row, print)
                env = {**os.environ, **where.env, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}
                arguments = [where.location, SCRIPT, framework, networks, traces, json.dumps(row.options)]
                began = time.monotonic()
                done = subprocess.run(arguments, env=env, stdout=subprocess.PIPE, text=True, check=True)
                columns[row.subject, cell] = json.loads(done.stdout.splitlines()[-1])
                print(f"{row.subject} {cell}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(table(columns))
    wrong = [c for c in columns.values() if not all(c["harmful"].values()) or any(c["harmless"].values())]
    return 1 if wrong else 0


def table(columns: dict) -> str:
    """One row per mutant, one column per framework and network; a cell names the first figure beyond its bound."""
    heads = [f"{subject} {cell}" for subject, cell in columns]
    lines = [f"| mutant | {' | '.join(heads)} |", "|---" * (len(heads) + 1) + "|"]
    for sort in ("harmful", "harmless"):
        names = dict.fromkeys(name for found in columns.values() for name in found[sort])
        for name in names:
            cells = [told(found[sort].get(name)) for found in columns.values()]
            lines.append(f"| {name}{' (harmless)' if sort == 'harmless' else ''} | {' | '.join(cells)} |")
    return "\n".join(lines)


def told(figures: "list[str] | None") -> str:
    if figures is None:
        return "–"
    return figures[0] if figures else "passes"


if __name__ == "__main__":
    raise SystemExit(main())
