"""What `invoke limit` keeps, and what it measures again."""

import pytest

from orchestrator.commands import limit
from orchestrator.console.progress import Console
from orchestrator.errors import EngineError
from orchestrator.records.payloads import Peak


def peak(gemm=200.0, conv=180.0):
    return Peak(
        gemm_gflops={"numpy 2048": gemm / 2, "torch 2048": gemm}, conv_gflops={"a": conv}, copy_gb_per_second=20.0
    )


class Session:
    """Measures what it is given, in turn."""

    def __init__(self, *measured):
        self.measured, self.console = list(measured), Console()

    def peak(self, row, networks, threads):
        return self.measured.pop(0)


@pytest.mark.parametrize(
    ("measured", "foreign", "says"),
    [
        (peak(), 0.0, ""),
        (peak(), None, ""),
        (peak(), 45.0, "other processes used 45 % of the processors while it was measured"),
        (peak(78.0, 182.0), 1.0, "matrix products (78 GFLOP/s) came out slower than convolutions (182)"),
    ],
    ids=["quiet", "load not known", "disturbed", "products below convolutions"],
)
def test_what_is_no_limit_is_told(measured, foreign, says):
    why = limit.why_no_limit(measured, foreign)
    assert why.startswith(says) if says else why == ""


def test_a_disturbed_measurement_is_made_again():
    good = peak(210.0)
    assert limit._undisturbed_peak(Session((peak(), 50.0), (good, 0.5)), None, [], 2) is good


def test_what_stays_disturbed_is_refused():
    with pytest.raises(EngineError, match=r"other processes used 50 % .*, in 3 attempts: .* nothing was kept"):
        limit._undisturbed_peak(Session(*[(peak(), 50.0)] * 3), None, [], 2)
