"""A timeline as bytes."""

import pytest

from orchestrator.records.packed import pack, unpack
from orchestrator.records.timeline import read_timeline
from tests import fake_run as fake

BLOCKS = {"epoch": 0, "block_steps": [4, 2], "block_seconds": [0.4, 0.2], "loss": [1.0, None], "epoch_seconds": 1.0}
SAID = {
    "training": fake.training(),
    "check": fake.checking(),
    "nothing": [],
    "queries": fake.answering(differing=[[3, 1, 2, 1e-5]]),
    "queries of a server": fake.answering(rate=400.0, probes=[[400.0, 700, 1, True], [450.0, 700, 40, False]]),
    "blocks and losses that are not finite": fake.events(("epoch", BLOCKS), ("epoch", {"epoch": "one"})),
    "all else": fake.events(
        ("fingerprint", {"epoch": 0, "weights": {"w": "a"}, "predictions": {"valid": "b"}}),
        ("audited", {"steps": [[0, 3], [1, 4]], "seconds": 0.5}),
        ("place", {"place_seconds": [0.1, 0.2]}),
        ("peak", {"gemm_gflops": {"numpy 512": 90.0}, "copy_gb_per_second": 12.0}),
    ),
}


@pytest.mark.parametrize("said", SAID.values(), ids=SAID)
def test_a_timeline_is_the_same_after_packing(said):
    timeline = read_timeline(said)
    assert repr(unpack(pack(timeline))) == repr(timeline)


def other_format(packed):
    return packed.replace(b'"format":1', b'"format":9')


DAMAGE = {
    "other format": other_format,
    "numbers missing": lambda packed: packed[:-8],
    "header cut": lambda packed: packed[:40],
    "empty": lambda packed: b"",
    "noise": lambda packed: b"x" * 99,
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_bytes_that_are_no_timeline_are_not_read(damage):
    assert unpack(damage(pack(read_timeline(fake.training())))) is None
