"""Each speed beside what the machine can do at best."""

import pytest

from orchestrator.analysis.operations import step_operations
from orchestrator.networks import InputSize, Network
from orchestrator.records.kept import write_kept
from orchestrator.records.limit import Limit, limit_of, read_limits
from orchestrator.records.payloads import Peak
from orchestrator.report.limit import limit_section
from orchestrator.report.tables import summary_rows
from tests import fake_run as fake
from tests.fake_stored import run, timed

RATES = {"gemm_gflops": 160.0, "conv_gflops": 150.0, "network_conv_gflops": {"ResNet-20@32": 40.0}}


def limit(**changes):
    facts = {"machine": "ab", "processor": "AMD EPYC", "threads": 2, "measured_unix": 1.0, "copy_gb_per_second": 20.0}
    return Limit(**{**facts, **RATES, **changes})


def section(stored):
    return limit_section(stored, summary_rows(stored))


def rows(*trials, **changes):
    (table,) = section(run(*trials, limit=limit(**changes))).tables
    return table.rows


def test_a_speed_is_told_as_a_share_of_the_peak():
    (row,) = rows(timed(fake.trial(), step_seconds=0.2))
    assert row["gflops"] == pytest.approx(
        step_operations(Network.of(fake.RESNET, InputSize.square(32), 43), 64) / 0.2 / 1e9
    )
    assert row["share_peak"] == pytest.approx(row["gflops"] / 160)
    assert row["forward_gflops"] == 40.0


def test_the_roof_is_lower_where_bytes_take_longer():
    (row,) = rows(timed(fake.trial()), copy_gb_per_second=1.0)
    assert row["roof_gflops"] == pytest.approx(row["intensity"])
    assert row["roof_gflops"] < 160


def test_the_best_of_each_cell_is_named():
    trials = [timed(fake.trial(), step_seconds=0.2), timed(fake.trial("mxnet", "1.5"), step_seconds=0.4)]
    (said,) = section(run(*trials, limit=limit())).verdicts
    assert said.startswith("ResNet-20@32 cpu: the most is 78.1 GFLOP/s (pytorch:2.13), 49 % of the peak.")


def test_without_a_limit_or_without_times_there_is_no_section():
    assert section(run(timed(fake.trial()))) is None
    assert section(run(timed(fake.trial(), outcome=fake.CRASHED), limit=limit())) is None


def test_a_card_is_not_held_against_the_processors_limit():
    assert section(run(timed(fake.trial(device="gpu")), limit=limit())) is None


def test_the_limit_is_the_fastest_of_what_was_measured():
    peak = Peak(gemm_gflops={"numpy 1024": 90.0, "torch 1024": 110.0}, conv_gflops={"a": 120.0}, copy_gb_per_second=9.0)
    found = Limit.of(peak, "ab", "AMD EPYC", 2, 1.0)
    assert (found.gemm_gflops, found.conv_gflops, found.peak_gflops) == (110.0, 120.0, 120.0)


def test_a_limit_is_that_of_a_machine_and_its_threads(home):
    write_kept(home.limits, "limit", [limit(), limit(threads=1, gemm_gflops=80.0), limit(machine="other")])
    known = read_limits(home.limits)
    assert len(known) == 3
    assert limit_of(known, ["cd", "ab"], 1).gemm_gflops == 80.0
    assert limit_of(known, ["ab"], 4) is None
