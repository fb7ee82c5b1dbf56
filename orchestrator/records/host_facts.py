"""What a run records about its machine: its properties, and its load when the run began and ended."""

from typing import Annotated

from pydantic import Field

from orchestrator.environment import Bytes, Card, Frozen, digest

_GIB = 2**30
_Count = Annotated[int, Field(ge=0, le=2**20)]


class CardLoad(Frozen):
    """The load of a card at one moment.

    processes: those computing on it, as far as NVML can see them; None if it does not tell.
    """

    index: int
    name: str
    processes: int | None
    used_bytes: Bytes
    memory_bytes: Bytes


class Load(Frozen):
    """The load of the machine at one moment.

    steal_percent:  share of the processors' time that other guests of the same machine took, over half a second.
    throttle_count: how often a core was slowed because it was hot, since boot; None where it is not counted.
    cards:          the load of the cards of the run.
    """

    load_1min: Annotated[float, Field(ge=0, le=1e6)]
    steal_percent: Annotated[float, Field(ge=0, le=100)]
    available_memory_bytes: Bytes
    throttle_count: Annotated[int, Field(ge=0, le=2**60)] | None = None
    cards: tuple[CardLoad, ...] = ()


class HostFacts(Frozen):
    """Properties of the machine that do not change during a run.

    hostname_sha256: a hash of its name, which told machines apart before 0.6.
    marks:           what tells them apart, without naming them (host.machine_marks); () in records of before 0.6.
    cpus:            logical processors that waymark may use (its affinity), in the order in which a trial takes them:
                     one of each physical core first.
    memory_bytes:    physical memory, or the cgroup's limit where that is less.
    gpu_note:        why there is no card, or why some are not used, a clause; '' where all are.
    """

    hostname_sha256: str
    marks: tuple[str, ...] = ()
    system: str
    kernel: str
    machine: str
    python: str
    cpu_model: str
    cpu_flags: tuple[str, ...]
    physical_cores: _Count
    logical_cores: _Count
    cpus: tuple[int, ...]
    threads_per_core: int
    numa_nodes: int
    governor: str | None
    microcode: str | None
    is_virtual: bool
    memory_bytes: Bytes
    gpus: tuple[Card, ...]
    gpu_note: str

    @property
    def key(self) -> str:
        """Under which what is kept of it is found; see host.machine_keys."""
        return self.marks[0] if self.marks else self.hostname_sha256

    @property
    def kind(self) -> str:
        """A hash of what times depend on: machines of one kind have the same processors, memory, kernel and cards."""
        cards = [[card.name, card.memory_bytes, card.driver] for card in self.gpus]
        parts = [self.cpu_model, sorted(self.cpu_flags), self.microcode, self.physical_cores, self.logical_cores]
        return digest([*parts, round(self.memory_bytes / _GIB), self.kernel, cards])[:8]

    @property
    def known_by(self) -> frozenset[str]:
        """By which it is known: its marks, or its name if it has none."""
        return frozenset(self.marks or (self.hostname_sha256,))


class RecordedHost(HostFacts):
    """The machine of a run; an old record may lack some of the fields.

    load, load_after: when it began, and when it ended (None if it was killed).
    """

    hostname_sha256: str = ""
    system: str = "unknown"
    kernel: str = "unknown"
    machine: str = "unknown"
    python: str = "unknown"
    cpu_model: str = "unknown"
    cpu_flags: tuple[str, ...] = ()
    physical_cores: _Count = 0
    logical_cores: _Count = 0
    cpus: tuple[int, ...] = ()
    threads_per_core: int = 1
    numa_nodes: int = 1
    governor: str | None = None
    microcode: str | None = None
    is_virtual: bool = False
    memory_bytes: Bytes = 0
    gpus: tuple[Card, ...] = ()
    gpu_note: str = ""
    load: Load | None = None
    load_after: Load | None = None

    def is_same_machine(self, other: "RecordedHost") -> bool:
        """Whether both are known to be one machine: by their marks, or by their names if one has no marks."""
        if self.marks and other.marks:
            return not self.known_by.isdisjoint(other.known_by)
        return self.hostname_sha256 != "" and self.hostname_sha256 == other.hostname_sha256
