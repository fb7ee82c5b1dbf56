"""What a run records of its machine: what it is, and what it was busy with when the run began and ended."""

from orchestrator.trial import Card, Frozen


class CardLoad(Frozen):
    """What a card was busy with at one moment. processes: that compute on it, as far as NVML may see them."""

    index: int
    name: str
    processes: int
    used_bytes: int
    memory_bytes: int


class Load(Frozen):
    """What the machine was busy with at one moment.

    steal_percent:  of the processors' time, taken by other guests of the same machine, over half a second.
    throttle_count: how often a core was slowed because it was hot, since boot; None where nobody counts.
    cards:          the load of the cards that were asked about.
    """

    load_1min: float
    steal_percent: float
    available_memory_bytes: int
    throttle_count: int | None = None
    cards: tuple[CardLoad, ...] = ()


class HostFacts(Frozen):
    """What does not change while a run goes on.

    hostname_sha256: tells two machines apart without telling which they are.
    cpus:            logical processors that waymark may use (its affinity), ascending.
    memory_bytes:    physical memory, or the cgroup's limit where that is less.
    gpu_note:        why there is no card, a clause; '' where there is one.
    """

    hostname_sha256: str
    system: str
    kernel: str
    machine: str
    python: str
    cpu_model: str
    cpu_flags: tuple[str, ...]
    physical_cores: int
    logical_cores: int
    cpus: tuple[int, ...]
    threads_per_core: int
    numa_nodes: int
    governor: str | None
    microcode: str | None
    is_virtual: bool
    memory_bytes: int
    gpus: tuple[Card, ...]
    gpu_note: str


class RecordedHost(HostFacts):
    """The machine of a run, of which an old or copied record may not tell all.

    load, load_after: when it began, and when it ended (None where it was stopped hard).
    """

    hostname_sha256: str = ""
    system: str = "unknown"
    kernel: str = "unknown"
    machine: str = "unknown"
    python: str = "unknown"
    cpu_model: str = "unknown"
    cpu_flags: tuple[str, ...] = ()
    physical_cores: int = 0
    logical_cores: int = 0
    cpus: tuple[int, ...] = ()
    threads_per_core: int = 1
    numa_nodes: int = 1
    governor: str | None = None
    microcode: str | None = None
    is_virtual: bool = False
    memory_bytes: int = 0
    gpus: tuple[Card, ...] = ()
    gpu_note: str = ""
    load: Load | None = None
    load_after: Load | None = None

    def is_same_machine(self, other: "RecordedHost") -> bool:
        """Whether both are known to be one machine."""
        return self.hostname_sha256 != "" and self.hostname_sha256 == other.hostname_sha256
