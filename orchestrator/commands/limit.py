"""`invoke limit`: what this machine can do at best, so that a report can say how far a speed is from it."""

import time
from collections.abc import Sequence
from pathlib import Path

from orchestrator.analysis.utilisation import DISTURBED_PERCENT
from orchestrator.console.progress import Console
from orchestrator.data import datasets
from orchestrator.errors import EngineError
from orchestrator.execution.session import RunOptions, Session, open_session
from orchestrator.home import Home
from orchestrator.host import machine_keys
from orchestrator.networks import Network
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.image_row import ImageRow
from orchestrator.planning.spec import Limits, load_spec
from orchestrator.records.kept import write_kept
from orchestrator.records.limit import Limit, read_limits
from orchestrator.records.payloads import Peak

ATTEMPTS = 3
LEAST_GEMM_SHARE = 0.8
"""Of the fastest convolution: large matrix products are at least about as fast, on a machine that does nothing else."""

BY = "pytorch"
"""Its default environment holds two BLAS, numpy's and its own, and oneDNN for convolutions."""


def measure(spec_path: Path, catalogue: Catalogue, home: Home, options: RunOptions, console: Console) -> Limit:
    """Measure it, on every physical core, and keep it in <home>/limits.toml; a sweep records what is kept there.

    spec_path: the experiment whose networks' convolutions are timed. Raises WaymarkError if it cannot be measured.
    """
    spec = load_spec(spec_path, catalogue.frameworks, {})
    classes = len(datasets.classes(spec.dataset, home))
    networks = [Network.of(entry.model, size, classes) for entry, size in spec.axes.networks]
    row = catalogue.resolve(BY, "cpu")
    with open_session(options, home, console) as session:
        threads = spec.threads or session.host.physical_cores
        session.claim([row], Limits())
        console.say(f"matrix products, convolutions of {len(networks)} networks, and copies, on {threads} processors")
        peak = _undisturbed_peak(session, row, networks, threads)
        limit = Limit.of(peak, session.host.key, session.host.cpu_model, threads, time.time())
    keys = machine_keys()
    others = [
        known for known in read_limits(home.limits) if known.machine not in keys or known.threads != limit.threads
    ]
    write_kept(home.limits, "limit", [*others, limit])
    return limit


def _undisturbed_peak(session: Session, row: ImageRow, networks: Sequence[Network], threads: int) -> Peak:
    """The first measurement that nothing disturbed. Raises EngineError after ATTEMPTS that something did."""
    for attempt in range(1, ATTEMPTS + 1):
        peak, foreign = session.peak(row, networks, threads)
        why = why_no_limit(peak, foreign)
        if not why:
            return peak
        if attempt < ATTEMPTS:
            session.console.say(f"{why}; it is measured again, attempt {attempt + 1} of {ATTEMPTS}")
    raise EngineError(
        f"{why}, in {ATTEMPTS} attempts: that is not what this machine can do at best, and nothing was kept. Stop what "
        "else runs here, and measure again."
    )


def why_no_limit(peak: Peak, foreign_percent: float | None) -> str:
    """Why a measurement does not show what the machine can do at best, a clause; '' if it may."""
    if foreign_percent is not None and foreign_percent > DISTURBED_PERCENT:
        return f"other processes used {foreign_percent:.0f} % of the processors while it was measured"
    gemm, conv = max(peak.gemm_gflops.values()), max(peak.conv_gflops.values(), default=0.0)
    if gemm < LEAST_GEMM_SHARE * conv:
        return (
            f"matrix products ({gemm:.0f} GFLOP/s) came out slower than convolutions ({conv:.0f}), which are made of "
            "them"
        )
    return ""


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
