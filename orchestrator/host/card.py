"""NVIDIA cards through NVML: which there are, their load, and readings of one card. The only user of pynvml."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import pynvml

from orchestrator.environment import Card
from orchestrator.records.host_facts import CardLoad
from orchestrator.records.sample import CardSample

GIB = 2**30

_IN_USE_BYTES = GIB  # an idle card with a desktop on it holds some hundred MiB

_SKIPPED = "GPU cells will be skipped"

_FAULTS = (pynvml.NVMLError, pynvml.NVMLLibraryMismatchError, UnicodeDecodeError)
"""What pynvml raises; the second is no NVMLError: an older driver lacks a function."""

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
    if load.processes == 0 and load.used_bytes < _IN_USE_BYTES:
        return ""
    if load.processes is None and load.used_bytes < _IN_USE_BYTES:
        return f"GPU {load.index} ({load.name}): its driver does not tell how many processes compute on it."
    used, all_ = load.used_bytes / GIB, load.memory_bytes / GIB
    count = load.processes
    others = (
        "" if count is None else f"{count} other {'process computes' if count == 1 else 'processes compute'} on it, "
    )
    return f"GPU {load.index} ({load.name}) is busy: {others}{used:.1f} of {all_:.1f} GiB are in use."


def read_cards(visible: str | None = None) -> tuple[tuple[Card, ...], str]:
    """The cards that may be used; and why there is none, or why some are left out, a clause.

    visible: $CUDA_VISIBLE_DEVICES, by which a scheduler says which cards are its job's; None if it is not set.
    """
    answers: list[Card | str] = []
    try:
        with _nvml():
            driver = _text(pynvml.nvmlSystemGetDriverVersion)
            answers = [_card_or_reason(index, driver) for index in range(pynvml.nvmlDeviceGetCount())]
    except (pynvml.NVMLError_LibraryNotFound, pynvml.NVMLError_DriverNotLoaded):
        return (), f"no NVIDIA driver: {_SKIPPED}"
    except _FAULTS as error:
        return (), f"the NVIDIA driver does not answer ({error}): {_SKIPPED}"
    cards = tuple(answer for answer in answers if isinstance(answer, Card))
    silent = [answer for answer in answers if isinstance(answer, str)]
    if not cards:
        return (), f"the NVIDIA driver {f'does not answer ({silent[0]})' if silent else 'sees no card'}: {_SKIPPED}"
    lost = [
        f"GPU {index} does not answer ({answer})" for index, answer in enumerate(answers) if isinstance(answer, str)
    ]
    if visible is None:
        return cards, "; ".join(lost)
    chosen = _chosen(cards, visible)
    names = ", ".join(str(card.index) for card in chosen) or "none"
    left = f"CUDA_VISIBLE_DEVICES is '{visible}', so of this machine's cards {names} may be used"
    if not chosen:
        return (), f"{left}: {_SKIPPED}"
    return chosen, "; ".join([*lost, *([left] if len(chosen) < len(cards) else [])])


def _chosen(cards: Sequence[Card], visible: str) -> tuple[Card, ...]:
    """The cards that the variable names, by number or UUID; as CUDA does, nothing counts after the first unknown one.

    Source: CUDA C++ Programming Guide, CUDA environment variables.
    """
    chosen: list[Card] = []
    for name in visible.split(","):
        text = name.strip()
        card = next(
            (candidate for candidate in cards if text == str(candidate.index) or _is_uuid(text, candidate)), None
        )
        if card is None or card in chosen:
            break
        chosen.append(card)
    return tuple(chosen)


def _is_uuid(text: str, card: Card) -> bool:
    """Whether it is the card's UUID, or the beginning of it."""
    return text.startswith("GPU-") and card.uuid.startswith(text)


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
        except _FAULTS:
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


def _card_or_reason(index: int, driver: str) -> Card | str:
    """The card of that number, or what NVML answers in its place."""
    try:
        return _card(index, driver)
    except _FAULTS as error:
        return str(error)


def _card(index: int, driver: str) -> Card:
    handle = pynvml.nvmlDeviceGetHandleByIndex(index)
    major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
    return Card(
        index=index,
        uuid=_text(pynvml.nvmlDeviceGetUUID, handle),
        name=_text(pynvml.nvmlDeviceGetName, handle),
        memory_bytes=_memory_bytes(handle)[0],
        capability=f"{major}.{minor}",
        driver=driver,
        is_mig=bool((_told(pynvml.nvmlDeviceGetMigMode, handle) or (0,))[0]),  # cards before Ampere have no MIG
    )


def _load(card: Card) -> CardLoad:
    with _nvml():
        handle = pynvml.nvmlDeviceGetHandleByIndex(card.index)
        total, used = _memory_bytes(handle)
        processes = _told(pynvml.nvmlDeviceGetComputeRunningProcesses, handle)
        if processes is None:  # drivers before R510 know the older form only
            processes = _told(pynvml.nvmlDeviceGetComputeRunningProcesses_v2, handle)
        return CardLoad(
            index=card.index,
            name=card.name,
            processes=None if processes is None else len(processes),
            used_bytes=used,
            memory_bytes=total,
        )


def _memory_bytes(handle: Any) -> tuple[int, int]:
    """All and used memory; of a card without its own, as in a Jetson or a GB10, the machine's, of which none counts."""
    try:
        told = pynvml.nvmlDeviceGetMemoryInfo(handle)
    except (pynvml.NVMLError_NotSupported, pynvml.NVMLLibraryMismatchError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), 0
    return int(told.total), int(told.used)


def _told(ask: Callable[..., T], *arguments: Any) -> T | None:
    """NVML's answer; None if there is none, because this card or driver does not support it, or is gone."""
    try:
        return ask(*arguments)
    except _FAULTS:
        return None


def _text(ask: Callable[..., str | bytes], *arguments: Any) -> str:
    """NVML's answer; bytes that are not UTF-8 are replaced."""
    try:
        value = ask(*arguments)
    except UnicodeDecodeError as error:
        value = error.object
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value
