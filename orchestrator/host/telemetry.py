"""Samples of the machine while a trial runs: one line of telemetry.jsonl each second.

It is called from the engine's tick, so there is no thread; benchmarks/telemetry_overhead.py measures its cost.
"""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from orchestrator import files
from orchestrator.environment import Card
from orchestrator.host.card import open_meter
from orchestrator.records.sample import Sample

PERIOD_SECONDS = 1.0

POWERCAP = Path("/sys/class/powercap")
"""Where the kernel counts the energy of the processors, also of AMD's; mostly readable by root only."""


class Telemetry:
    """Writes the samples of one trial to a new file; use it as a context and call `tick` in it.

    cpus: the processors of the trial; empty means all. card: the trial's, if it has one.
    The file is opened before the worker starts, because the folder is the worker's: a link that it might put there
    later is not followed. At the end it is written anew from memory, since the worker may have changed it.
    """

    def __init__(self, path: Path, cpus: Sequence[int], card: Card | None) -> None:
        self._path = path
        self._sampler = Sampler(cpus, card)
        self._lines: list[bytes] = []
        self._due = time.monotonic()

    def __enter__(self) -> Self:
        self._file = self._path.open("xb", buffering=0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._take()  # the last epoch may have ended since the previous sample
        self._file.close()
        self._sampler.close()
        files.write_atomically(self._path, b"".join(self._lines))

    def follow(self, read_seconds: Callable[[], float | None]) -> None:
        """From now on, record what the trial's own processes use. read_seconds: their processor seconds so far."""
        self._sampler.read_own = read_seconds

    def tick(self) -> None:
        """Take a sample if a second has passed since the last one."""
        now = time.monotonic()
        if now >= self._due:
            self._due = max(self._due, now - PERIOD_SECONDS) + PERIOD_SECONDS  # late ticks do not add up
            self._take()

    def _take(self) -> None:
        self._lines.append(self._sampler.read().model_dump_json(exclude_none=True).encode() + b"\n")
        self._file.write(self._lines[-1])


class Sampler:
    """Reads processors, memory, energy and card; `close` it.

    read_own: the processor seconds of the trial's own processes so far; None while they are not known. Those of this
              process, which follows them, are added.
    """

    def __init__(self, cpus: Sequence[int], card: Card | None) -> None:
        self.read_own: Callable[[], float | None] = lambda: None
        self._cpus = tuple(cpus)
        self._meter = open_meter(card) if card is not None else None
        self._counters = [counter for path in sorted(POWERCAP.glob("intel-rapl:[0-9]")) if (counter := _counter(path))]
        self._before: tuple[float, float, float] | None = None
        self._own_before: float | None = None

    def read(self) -> Sample:
        """A sample of the machine now."""
        busy, stolen, total = now = self._times()
        used = self.read_own()
        own = None if used is None else used + time.process_time()  # what follows a trial is not foreign to it
        busy_percent, stolen_percent, own_percent = None, None, None
        if self._before is not None and total > self._before[2]:
            passed = total - self._before[2]
            busy_percent = _percent((busy - self._before[0]) / passed)
            stolen_percent = _percent((stolen - self._before[1]) / passed)
            if own is not None and self._own_before is not None:
                own_percent = _percent((own - self._own_before) / passed)
        sample = Sample(
            unix=time.time(),
            cpu_percent=busy_percent,
            steal_percent=stolen_percent,
            own_percent=own_percent,
            memory_bytes=_used_memory(),
            cpu_joules=sum(counter.joules() for counter in self._counters) if self._counters else None,
            card=self._meter.read() if self._meter else None,
        )
        self._before, self._own_before = now, own
        return sample

    def close(self) -> None:
        """Release the card."""
        if self._meter:
            self._meter.close()

    def _times(self) -> tuple[float, float, float]:
        """Seconds since boot of the trial's processors: busy, stolen, all."""
        each = psutil.cpu_times(percpu=True)
        mine = [each[cpu] for cpu in self._cpus if cpu < len(each)] or each
        total = sum(sum(times[:8]) for times in mine)  # the later fields, time of guests, are part of user time already
        idle = sum(times.idle + getattr(times, "iowait", 0.0) for times in mine)
        stolen = sum(getattr(times, "steal", 0.0) for times in mine)
        return total - idle - stolen, stolen, total


def _percent(share: float) -> float:
    """A share in percent, limited to 0 and 100: rounding, or a counter that went back, may have moved it beyond."""
    return 100 * min(max(share, 0.0), 1.0)


class Counter:
    """Energy of one processor package since this was made; handles an overflow of the kernel's counter."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError if the counter cannot be read."""
        self._path = folder / "energy_uj"
        self._range = int((folder / "max_energy_range_uj").read_text(encoding="utf-8"))
        self._last = int(self._path.read_text(encoding="utf-8"))
        self._microjoules = 0

    def joules(self) -> float:
        """So far."""
        now = int(self._path.read_text(encoding="utf-8"))
        self._microjoules += now - self._last if now >= self._last else now - self._last + self._range
        self._last = now
        return self._microjoules / 1e6


def _counter(folder: Path) -> Counter | None:
    try:
        return Counter(folder) if (folder / "name").read_text(encoding="utf-8").startswith("package") else None
    except (OSError, ValueError):
        return None


def _used_memory() -> int:
    memory = psutil.virtual_memory()
    return int(memory.total - memory.available)
