"""What a machine can do at best, as `invoke limit` measured it: the roof over every speed."""

from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Annotated

from pydantic import Field

from orchestrator.environment import Frozen, Token, UnixSeconds
from orchestrator.records.kept import read_kept
from orchestrator.records.payloads import Peak

Rate = Annotated[float, Field(gt=0, le=1e9)]


class Limit(Frozen):
    """In float32, with so many threads, each the fastest that was seen; operations are multiplications and additions.

    machine:  HostFacts.key. processor: its model.
    gemm_gflops: of matrix products, by the better of two BLAS. conv_gflops: of the fastest convolution of the networks.
    network_conv_gflops: of all convolutions of a network together, forward, by a good library: 'ResNet-20@32' -> rate.
    copy_gb_per_second: read and written together.
    """

    machine: Token
    processor: str
    threads: Annotated[int, Field(ge=1, le=1024)]
    measured_unix: UnixSeconds
    gemm_gflops: Rate
    conv_gflops: Rate | None = None
    network_conv_gflops: dict[str, Rate] = {}
    copy_gb_per_second: Rate

    @classmethod
    def of(cls, peak: Peak, machine: str, processor: str, threads: int, now: float) -> "Limit":
        """The limit that one measurement shows."""
        return cls(
            machine=machine,
            processor=processor,
            threads=threads,
            measured_unix=now,
            gemm_gflops=max(peak.gemm_gflops.values()),
            conv_gflops=max(peak.conv_gflops.values(), default=None),
            network_conv_gflops=peak.network_conv_gflops,
            copy_gb_per_second=peak.copy_gb_per_second,
        )

    @property
    def peak_gflops(self) -> float:
        """The larger of both."""
        return max(self.gemm_gflops, self.conv_gflops or 0.0)

    def roof_gflops(self, operations_per_byte: float) -> float:
        """What work of that intensity can reach. Source: Williams, Waterman and Patterson 2009, the roofline model."""
        return min(self.peak_gflops, self.copy_gb_per_second * operations_per_byte)


def read_limits(path: Path) -> tuple[Limit, ...]:
    """All that are kept; () if there is no file. Raises StoreError if it does not read."""
    return read_kept(path, "limit", Limit)


def limit_of(limits: Iterable[Limit], machine: Collection[str], threads: int) -> Limit | None:
    """That of a machine with so many threads. machine: the keys of one (host.machine_keys)."""
    return next((limit for limit in limits if limit.machine in machine and limit.threads == threads), None)
