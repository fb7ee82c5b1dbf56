"""Processors that a trial takes, on machines as kernels number them: SMT or not, sockets, hybrid cores, cpusets."""

import pytest

from orchestrator.host.topology import Place, in_order_of_use, read_places


def machine(*places):
    """Processors 0, 1 ... at these (package, core) or (package, core, capacity)."""
    return {cpu: Place(*place) for cpu, place in enumerate(places)}


SIBLINGS_BESIDE = machine((0, 0), (0, 0), (0, 1), (0, 1))
SIBLINGS_APART = machine((0, 0), (0, 1), (0, 0), (0, 1))
TWO_SOCKETS = machine(*((package, core) for package in (0, 1) for core in (0, 1)))
ALTERNATING_SOCKETS = machine((0, 0), (1, 0), (0, 1), (1, 1), (0, 0), (1, 0), (0, 1), (1, 1))
P_AND_E = [
    *((0, 4 * core, 5_000_000) for core in (0, 1) for _ in range(2)),
    *((0, 8 + at, 3_900_000) for at in range(4)),
]
BIG_LITTLE = [(0, core, 446) for core in range(4)] + [(0, 4 + core, 1024) for core in range(2)]


@pytest.mark.parametrize(
    ("places", "order"),
    [
        (machine((0, 0), (0, 1), (0, 2), (0, 3)), (0, 1, 2, 3)),
        (SIBLINGS_BESIDE, (0, 2, 1, 3)),
        (SIBLINGS_APART, (0, 1, 2, 3)),
        (TWO_SOCKETS, (0, 1, 2, 3)),
        (ALTERNATING_SOCKETS, (0, 2, 1, 3, 4, 6, 5, 7)),
        (machine(*P_AND_E), (0, 2, 4, 5, 6, 7, 1, 3)),
        (machine(*BIG_LITTLE), (4, 5, 0, 1, 2, 3)),
        ({cpu: SIBLINGS_BESIDE[cpu] for cpu in (1, 2, 3)}, (1, 2, 3)),
        ({4: Place(1, 0), 5: Place(1, 1), 12: Place(1, 0), 13: Place(1, 1)}, (4, 5, 12, 13)),
    ],
    ids=[
        "no SMT",
        "siblings numbered 0 and 1",
        "siblings numbered 0 and 2",
        "two sockets",
        "sockets that alternate, SMT",
        "P cores with SMT, E cores without",
        "little cores before big ones",
        "a cpuset that cuts a core in half",
        "a cpuset of one socket",
    ],
)
def test_one_processor_of_each_core_comes_first(places, order):
    assert in_order_of_use(places) == order


def test_places_are_read_from_the_kernels_files(tmp_path):
    for cpu, (package, core, capacity) in enumerate([(0, 0, 1024), (0, 1, 512)]):
        folder = tmp_path / f"cpu{cpu}" / "topology"
        folder.mkdir(parents=True)
        (folder / "physical_package_id").write_text(f"{package}\n")
        (folder / "core_id").write_text(f"{core}\n")
        (folder.parent / "cpu_capacity").write_text(f"{capacity}\n")
    assert read_places((0, 1), tmp_path) == {0: Place(0, 0, 1024), 1: Place(0, 1, 512)}
    assert read_places((0, 1, 2), tmp_path) is None  # of processor 2 the kernel says nothing
