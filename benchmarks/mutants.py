"""python -m benchmarks.mutants [ROW ...] [--models resnet20@32,idsia@48] [--ops]: how sensitive the proofs are.

Every wrong version of an adapter (tests/contract/adapter_mutants.py) goes through the selfcheck and the audits, in the
virtualenv of its row and on the study's networks. The table is Markdown, for docs/parity.md. Rows are framework or
framework:variant; without any, the fastest row of each framework is taken. The exit code is 1 if a harmful mutant
passes or a harmless one is stopped. Takes minutes for each row and network. With --ops, a minute for each row: the
mutants of single ops (tests/contract/op_mutants.py).
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
from orchestrator.engines.engine import Engine
from orchestrator.home import REPOSITORY, Home
from orchestrator.host import read_host
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.image_row import ImageRow
from tests.networks import network_of
from tests.oracle_traces import save_traces

ROWS = ("pytorch", "tensorflow", "mxnet:1.5-mkl-omp-amd", "cntk:2.7-amd", "neon:2.6-mkl-amd")
LARGER = 16
"""By so many pixels another input size of a sweep is larger."""

SCRIPT = REPOSITORY / "tests" / "contract" / "adapter_mutants.py"
OPS_SCRIPT = REPOSITORY / "tests" / "contract" / "op_mutants.py"


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("rows", nargs="*", default=ROWS)
    parser.add_argument("--models", default="resnet20@32,idsia@48")
    parser.add_argument("--ops", action="store_true")
    args = parser.parse_args()
    catalogue, engine = catalogue_with(), open_engine("virtualenv", Home.default(), read_host())
    rows = [resolved(catalogue, name) for name in args.rows]
    if args.ops:
        columns = {row.subject: asked(engine, row, OPS_SCRIPT) for row in rows}
        print(ops_table(columns))
        return 1 if any("" in found.values() for found in columns.values()) else 0
    columns = {}
    with tempfile.TemporaryDirectory() as folder:
        for cell in args.models.split(","):
            model, size = cell.split("@")
            traces = Path(folder) / f"{cell}.npz"
            save_traces(traces, model, int(size))
            networks = Path(folder) / f"{cell}.json"
            two = [network_of(model, side).model_dump(mode="json") for side in (int(size), int(size) + LARGER)]
            networks.write_text(json.dumps(two))
            for row in rows:
                began = time.monotonic()
                columns[row.subject, cell] = asked(engine, row, SCRIPT, networks, traces)
                print(f"{row.subject} {cell}: {time.monotonic() - began:.0f} s", file=sys.stderr, flush=True)
    print(table(columns))
    wrong = [c for c in columns.values() if not all(c["harmful"].values()) or any(c["harmless"].values())]
    return 1 if wrong else 0


def resolved(catalogue: Catalogue, name: str) -> ImageRow:
    """The row of 'framework' or 'framework:variant'."""
    framework, _, variant = name.partition(":")
    return catalogue.resolve(framework, "cpu", variant or None)


def asked(engine: Engine, row: ImageRow, script: Path, *arguments: Path) -> dict:
    """What the script prints as JSON in the virtualenv of a row."""
    where = engine.prepare(row, print)
    env = {**os.environ, **where.env, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}
    command = [where.location, script, row.framework, *arguments, json.dumps(row.options)]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def ops_table(columns: dict[str, dict[str, str]]) -> str:
    """One row per mutant of an op, one column per row."""
    lines = [f"| mutant | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name in next(iter(columns.values())):
        cells = (found[name] or "passes" for found in columns.values())
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


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
