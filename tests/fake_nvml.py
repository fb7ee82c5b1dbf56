"""NVML as tests/recordings/cards tells it: a stand-in for the module pynvml that counts how often it is open."""
# ruff: noqa: N802 - the names are NVIDIA's

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pynvml

MIB = 2**20
FLEET = Path(__file__).parent / "recordings" / "cards"


class FakeNvml:
    """See pynvml: the functions that orchestrator/host/card.py uses, its constants and its errors."""

    def __init__(self, machine: str) -> None:
        recorded = json.loads((FLEET / f"{machine}.json").read_text())
        self.driver: str | None = recorded["driver"]
        self.cards: list[dict[str, Any]] = recorded["cards"]
        self.opened = 0
        self.is_lost = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith("nvml"):
            raise AssertionError(f"{name} is asked of NVML, and nothing is recorded of it")
        return getattr(pynvml, name)  # constants and errors

    def lacks(self, name: str, error: type[Exception] = pynvml.NVMLLibraryMismatchError) -> None:
        """From now on that function raises, as one does that a driver or a card lacks."""

        def raising(*_: Any) -> None:
            raise error("not here")

        setattr(self, name, raising)

    def nvmlInit(self) -> None:
        if self.driver is None:
            raise pynvml.NVMLError_LibraryNotFound
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlSystemGetDriverVersion(self) -> str | None:
        return self.driver

    def nvmlDeviceGetCount(self) -> int:
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> dict[str, Any]:
        assert self.opened > 0, "NVML is asked before it is open"
        if index >= len(self.cards):
            raise pynvml.NVMLError_InvalidArgument
        return self.cards[index]

    def nvmlDeviceGetName(self, card: dict[str, Any]) -> str:
        return card["name"]

    def nvmlDeviceGetUUID(self, card: dict[str, Any]) -> str:
        return card["uuid"]

    def nvmlDeviceGetCudaComputeCapability(self, card: dict[str, Any]) -> list[int]:
        return card["capability"]

    def nvmlDeviceGetMemoryInfo(self, card: dict[str, Any]) -> SimpleNamespace:
        self._answer(card)
        return SimpleNamespace(total=card["memory_MiB"] * MIB, used=card["used_MiB"] * MIB)

    def nvmlDeviceGetMigMode(self, card: dict[str, Any]) -> list[int]:
        if card["mig"] is None:
            raise pynvml.NVMLError_NotSupported
        return card["mig"]

    def nvmlDeviceGetComputeRunningProcesses(self, card: dict[str, Any]) -> list[SimpleNamespace]:
        return [SimpleNamespace(pid=1000 + at) for at in range(card["processes"])]

    def nvmlDeviceGetUtilizationRates(self, card: dict[str, Any]) -> SimpleNamespace:
        return SimpleNamespace(gpu=self._answer(card)["utilization"], memory=0)

    def nvmlDeviceGetPowerUsage(self, card: dict[str, Any]) -> int:
        return self._answer(card)["milliwatts"]

    def nvmlDeviceGetTotalEnergyConsumption(self, card: dict[str, Any]) -> int:
        if self._answer(card)["millijoules"] is None:
            raise pynvml.NVMLError_NotSupported
        return card["sample"]["millijoules"]

    def nvmlDeviceGetClockInfo(self, card: dict[str, Any], clock: int) -> int:
        return self._answer(card)["sm_mhz" if clock == pynvml.NVML_CLOCK_SM else "memory_mhz"]

    def nvmlDeviceGetTemperature(self, card: dict[str, Any], sensor: int) -> int:
        return self._answer(card)["celsius"]

    def nvmlDeviceGetCurrentClocksThrottleReasons(self, card: dict[str, Any]) -> int:
        return self._answer(card)["throttle_bits"]

    def _answer(self, card: dict[str, Any]) -> dict[str, Any]:
        """The card's sample; a card that is lost raises, whatever it is asked."""
        if self.is_lost:
            raise pynvml.NVMLError_GpuIsLost
        return card["sample"]
