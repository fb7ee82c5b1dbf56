"""NVIDIA cards through NVML: which there are, their load, and readings of one card. The only user of pynvml."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pynvml

from orchestrator.environment import Card
from orchestrator.records.host_facts import CardLoad
from orchestrator.records.sample import CardSample

GIB = 2**30

_IN_USE_BYTES = GIB  # an idle card with a desktop on it holds some hundred MiB

T = TypeVar("T")

# NVML's bits, with the names of nvidia-smi. An idle card is not throttled.
_THROTTLES = {
    0x02: "application clocks",
    0x04: "software power cap",
    0x08: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal",
    0x40: "hardware thermal",
    0x80: "power brake",
    0x100: "display clocks",
}


def card_warning(load: CardLoad) -> str:
    """Why times on this card would not be reliable, a sentence; '' if it is idle."""
    if not load.processes and load.used_bytes < _IN_USE_BYTES:
        return ""
    used, all_ = load.used_bytes / GIB, load.memory_bytes / GIB
    return (
        f"GPU {load.index} ({load.name}) is busy: {load.processes} other "
        f"{'process computes' if load.processes == 1 else 'processes compute'} on it, "
        f"{used:.1f} of {all_:.1f} GiB are in use."
    )


def read_cards() -> tuple[tuple[Card, ...], str]:
    """The cards; and the reason if there are none."""
    try:
        with _nvml():
            driver = _text(pynvml.nvmlSystemGetDriverVersion())
            cards = tuple(_card(index, driver) for index in range(pynvml.nvmlDeviceGetCount()))
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return (), "no NVIDIA driver: GPU cells will be skipped"
    except pynvml.NVMLError as error:
        return (), f"the NVIDIA driver does not answer ({error}): GPU cells will be skipped"
    return cards, "" if cards else "the NVIDIA driver sees no card: GPU cells will be skipped"


def read_card_loads(cards: Sequence[Card]) -> tuple[CardLoad, ...]:
    """The current load of these cards; a card that does not answer is left out."""
    return tuple(load for card in cards if (load := _told(_load, card)))


class Meter:
    """Reads one card repeatedly; `close` it. Values that the card does not report are None; `read` never raises."""

    def __init__(self, card: Card) -> None:
        """Raises NVMLError if the card is not there any more."""
        pynvml.nvmlInit()
        try:
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(card.index)
        except pynvml.NVMLError:
            pynvml.nvmlShutdown()
            raise

    def read(self) -> CardSample:
        """A sample of the card now."""
        handle = self._handle
        rates = _told(pynvml.nvmlDeviceGetUtilizationRates, handle)
        memory = _told(pynvml.nvmlDeviceGetMemoryInfo, handle)
        milliwatts = _told(pynvml.nvmlDeviceGetPowerUsage, handle)
        millijoules = _told(pynvml.nvmlDeviceGetTotalEnergyConsumption, handle)
        throttles = _told(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons, handle) or 0
        return CardSample(
            busy_percent=None if rates is None else int(rates.gpu),
            memory_bytes=None if memory is None else int(memory.used),
            clock_mhz=_told(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_SM),
            memory_clock_mhz=_told(pynvml.nvmlDeviceGetClockInfo, handle, pynvml.NVML_CLOCK_MEM),
            watts=None if milliwatts is None else milliwatts / 1000,
            celsius=_told(pynvml.nvmlDeviceGetTemperature, handle, pynvml.NVML_TEMPERATURE_GPU),
            throttled=tuple(name for bit, name in _THROTTLES.items() if throttles & bit),
            joules=None if millijoules is None else millijoules / 1000,
        )

    def close(self) -> None:
        """Release the library."""
        _told(pynvml.nvmlShutdown)


def open_meter(card: Card) -> Meter | None:
    """A meter of `card`; None if it does not answer."""
    return _told(Meter, card)


@contextmanager
def _nvml() -> Iterator[None]:
    pynvml.nvmlInit()
    try:
        yield
    finally:
        pynvml.nvmlShutdown()


def _card(index: int, driver: str) -> Card:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Card(
        index=index,
        uuid=_text(pynvml.nvmlDeviceGetUUID(handle)),
        name=_text(pynvml.nvmlDeviceGetName(handle)),
        memory_bytes=int(pynvml.nvmlDeviceGetMemoryInfo(handle).total),
        capability=f"{major}.{minor}",
        driver=driver,
        is_mig=bool((_told(pynvml.nvmlDeviceGetMigMode, handle) or (0,))[0]),  # cards before Ampere have no MIG
    )


def _load(card: Card) -> CardLoad:
    with _nvml():
        handle = pynvml.nvmlDeviceGetHandleByIndex(card.index)
        memory = pynvml.nvmlDeviceGetMemoryInfo(handle)
        return CardLoad(
            index=card.index,
            name=card.name,
            processes=len(_told(pynvml.nvmlDeviceGetComputeRunningProcesses, handle) or ()),
            used_bytes=int(memory.used),
            memory_bytes=int(memory.total),
        )


def _told(ask: Callable[..., T], *arguments: Any) -> T | None:
    """NVML's answer; None if there is none, because this card does not support it or is gone."""
    try:
        return ask(*arguments)
    except pynvml.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
