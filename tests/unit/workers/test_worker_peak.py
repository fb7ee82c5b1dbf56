"""The job that measures what the machine can do at best."""

import signal

import pytest

from tests.fake_job import job_json, said_in
from tests.small_networks import as_json, residual
from workers import protocol, run
from workers.jobs import peak
from workers.net import NetBuilder


@pytest.fixture(autouse=True)
def _quick(monkeypatch):
    before = signal.getsignal(signal.SIGTERM)
    monkeypatch.setattr(peak, "SIDES", (32, 64))
    monkeypatch.setattr(peak, "SECONDS", 0.01)
    monkeypatch.setattr(peak, "COPY_MIB", 1)
    yield
    signal.signal(signal.SIGTERM, before)


def test_rates_of_matrix_products_and_copies_are_told(tmp_path):
    payload = {"networks": [as_json(residual((3, 8, 8), 5))]}
    (tmp_path / "job.json").write_text(job_json(kind="peak", payload=payload))
    assert run.main([str(tmp_path)]) == protocol.OK
    told = next(event for event in said_in(tmp_path) if event["kind"] == "peak")
    assert set(told["gemm_gflops"]) == {"numpy 32", "numpy 64"}
    assert all(0 < rate < 1e5 for rate in [*told["gemm_gflops"].values(), told["copy_gb_per_second"]])
    assert told["conv_gflops"] == {}  # the oracle has no library for them


def test_the_fastest_repetition_counts_and_the_first_does_not(monkeypatch):
    now, takes = [0.0], iter([0.001, 0.5, 0.2, 0.3])
    monkeypatch.setattr(peak, "SECONDS", 1.0)
    monkeypatch.setattr(peak, "clock", lambda: now[0])

    def run_once():
        now[0] += next(takes)

    assert peak._fastest(run_once) == pytest.approx(0.2)


def test_every_convolution_is_timed_at_its_own_shape():
    net = NetBuilder((3, 48, 48))
    x = net.maxpool(net.conv(net.input, 100, 3))
    net.conv(net.conv(x, 150, 4), 60, (1, 3), (2, 1), (1, 1, 0, 0), dilation=2, groups=30)
    shapes = peak._convolutions(net.net())
    assert shapes == [
        (3, 48, 48, 100, (3, 3), (1, 1), (0, 0), (1, 1), 1),
        (100, 23, 23, 150, (4, 4), (1, 1), (0, 0), (1, 1), 1),
        (150, 20, 20, 60, (1, 3), (2, 1), (1, 0), (2, 2), 30),
    ]
