"""How far each speed is from what the machine can do: GFLOP/s, share of the peak, and the roof for that work."""

from collections.abc import Sequence

from orchestrator.analysis.operations import step_bytes, step_operations
from orchestrator.records.job import CLASSES_BEFORE
from orchestrator.records.limit import Limit
from orchestrator.records.stored import StoredRun
from orchestrator.report.studies.section import Section, StudyRow, StudyTable
from orchestrator.report.tables import SummaryRow


def limit_section(stored: StoredRun, rows: Sequence[SummaryRow]) -> Section | None:
    """A row for each subject and cell on the CPU with a time; None if the machine's limit was not measured before."""
    limit = stored.facts.limit
    timed = [
        row
        for row in rows
        if row.medians.step_ms and row.cell.device == "cpu" and row.cell.scenario is None and row.cell.model.is_known
    ]
    if limit is None or not timed:
        return None
    told = [_row(row, stored, limit) for row in timed]
    conv = f"{limit.conv_gflops:.0f} in the fastest convolution" if limit.conv_gflops else "convolutions were not timed"
    headings = {"cell": "cell", "subject": "subject", "step_ms": "step ms", "gflops": "GFLOP/s"}
    headings |= {"share_peak": "of the peak", "intensity": "operations a byte", "roof_gflops": "roof, GFLOP/s"}
    headings |= {"share_roof": "of the roof", "forward_gflops": "a good library's convolutions, GFLOP/s"}
    return Section(
        anchor="limit",
        title="The limit of this machine",
        about=(
            f"{limit.processor}, {limit.threads} threads, float32, each the fastest that was seen: "
            f"{limit.gemm_gflops:.0f} GFLOP/s in matrix products, {conv}, "
            f"{limit.copy_gb_per_second:.1f} GB/s in copies. Operations are the multiplications and additions of "
            "its convolutions and dense layers, forward and backward. The roof is the peak, or the speed of copies "
            "times the operations for each byte, if every op reads its inputs from memory and writes its output there; "
            "a framework that joins ops can be above it."
        ),
        verdicts=tuple(_best_of_each(told)),
        tables=(StudyTable("limit", "Each speed beside what the machine can do.", headings, told),),
        notes=("Source of the roof: Williams, Waterman and Patterson 2009, the roofline model.",),
    )


def _row(row: SummaryRow, stored: StoredRun, limit: Limit) -> StudyRow:
    trial = next(job for job in stored.trials if (job.trial.cell, job.trial.environment_key) == (row.cell, row.key))
    asked = trial.trial
    network = asked.network(trial.data.classes if trial.data else CLASSES_BEFORE)
    batch_size = asked.training.batch_size
    operations, moved = step_operations(network, batch_size), step_bytes(network, batch_size)
    assert row.medians.step_ms is not None
    gflops = operations / row.medians.step_ms / 1e6
    roof = limit.roof_gflops(operations / moved)
    return {
        "cell": row.cell.title,
        "subject": row.subject,
        "step_ms": row.medians.step_ms,
        "gflops": gflops,
        "share_peak": gflops / limit.peak_gflops,
        "intensity": operations / moved,
        "roof_gflops": roof,
        "share_roof": gflops / roof,
        "forward_gflops": limit.network_conv_gflops.get(asked.cell.network),
        "peak_gflops": limit.peak_gflops,
        "copy_gb_per_second": limit.copy_gb_per_second,
    }


def _best_of_each(rows: list[StudyRow]) -> list[str]:
    """A sentence for each cell: how much of the peak the best of it reaches."""
    cells = dict.fromkeys(str(row["cell"]) for row in rows)
    best = [max((row for row in rows if row["cell"] == cell), key=lambda row: float(row["gflops"])) for cell in cells]
    said = "{cell}: the most is {gflops:.1f} GFLOP/s ({subject}), {share_peak:.0%} of the peak."
    return [said.format(**row).replace("%", " %") for row in best]
