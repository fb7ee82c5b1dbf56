"""`invoke limit`: what this machine can do at best, so that a report can say how far a speed is from it."""

import time
from collections.abc import Sequence
from pathlib import Path

from orchestrator.console.progress import Console
from orchestrator.execution.session import RunOptions, open_session
from orchestrator.home import Home
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.spec import Limits, load_spec
from orchestrator.records.kept import read_kept, write_kept
from orchestrator.records.limit import Limit
from orchestrator.trial import Model

BY = "pytorch"
"""Its default environment holds two BLAS, numpy's and its own, and oneDNN for convolutions."""


def measure(spec_path: Path, catalogue: Catalogue, home: Home, options: RunOptions, console: Console) -> Limit:
    """Measure it, on every physical core, and keep it in <home>/limits.toml; a sweep records what is kept there.

    spec_path: the experiment whose networks' convolutions are timed. Raises WaymarkError if it cannot be measured.
    """
    spec = load_spec(spec_path, catalogue.frameworks, {})
    networks: list[tuple[Model, int]] = [
        (entry.model, size) for entry in spec.axes.models for size in entry.input_sizes or spec.axes.input_sizes
    ]
    row = catalogue.resolve(BY, "cpu")
    with open_session(options, home, console) as session:
        threads = spec.threads or session.host.physical_cores
        session.claim([row], Limits())
        console.say(f"matrix products, convolutions of {len(networks)} networks, and copies, on {threads} processors")
        peak = session.peak(row, networks, threads)
        limit = Limit.of(peak, session.host.hostname_sha256, session.host.cpu_model, threads, time.time())
    others = [one for one in read_limits(home) if (one.machine, one.threads) != (limit.machine, limit.threads)]
    write_kept(home.limits, "limit", [*others, limit])
    return limit


def read_limits(home: Home) -> tuple[Limit, ...]:
    """All that was measured. Raises StoreError if the file does not read."""
    return read_kept(home.limits, "limit", Limit)


def limit_of(home: Home, machine: str, threads: int) -> Limit | None:
    """What is known of that machine with so many threads."""
    return next((one for one in read_limits(home) if (one.machine, one.threads) == (machine, threads)), None)


def limit_rows(limit: Limit) -> Sequence[dict[str, object]]:
    """A row for each rate."""
    rows: list[dict[str, object]] = [
        {"what": "matrix products", "rate": limit.gemm_gflops, "unit": "GFLOP/s"},
        {"what": "fastest convolution", "rate": limit.conv_gflops, "unit": "GFLOP/s"},
        {"what": "copies, read and written", "rate": limit.copy_gb_per_second, "unit": "GB/s"},
    ]
    return rows + [
        {"what": f"convolutions of {name}, forward", "rate": rate, "unit": "GFLOP/s"}
        for name, rate in limit.network_conv_gflops.items()
    ]
