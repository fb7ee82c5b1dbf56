"""Row by card: which builds run on which machine of the recorded fleet, and why the others do not."""

import re
from dataclasses import replace

import pytest

from orchestrator.environment import Card
from orchestrator.errors import SpecError
from orchestrator.home import REPOSITORY
from orchestrator.host.card import read_cards
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.gpu_fit import card_for, cards_for, narrowed, unfit, why_not
from orchestrator.planning.image_row import Cuda
from tests.fake_host import machine

DIVIDED = (
    "unsupported: this card is divided (MIG), and the speed of a part is not that of a card; "
    "`nvidia-smi -i 0 -mig 0` makes it whole"
)


def cuda(lowest, highest, driver, **more):
    return Cuda(version="10.0", driver=driver, capability=(lowest, highest), source="wheels", **more)


BUILDS = {
    "of 2018": cuda("3.0", "7.5", "410.48"),
    "of 2021": cuda("3.5", "8.6", "450.80.02"),
    "of today": cuda("7.5", "12.0", "580.65.06"),
    "portable": cuda("3.5", "8.6", "450.80.02", ptx="8.6"),
}


@pytest.fixture
def host(nvml):
    """host('t4') -> that machine of the fleet."""

    def of(name):
        nvml(name)
        gpus, note = read_cards()
        return machine(gpus=gpus, gpu_note=note)

    return of


@pytest.mark.parametrize(
    ("build", "name", "reason"),
    [
        ("of 2018", "gtx1060", ""),
        ("of 2018", "v100", ""),
        ("of 2018", "t4", ""),
        ("of 2018", "a100", "unsupported: built for sm_30-sm_75, this card is sm_80"),
        ("of 2018", "h100", "unsupported: built for sm_30-sm_75, this card is sm_90"),
        ("of 2018", "old-driver", "needs driver >= 410.48, here 384.81"),
        ("of 2018", "busy", ""),
        ("of 2018", "mig", DIVIDED),
        ("of 2018", "none", "no NVIDIA driver: GPU cells will be skipped"),
        ("of 2021", "a100", ""),
        ("of 2021", "h200", "unsupported: built for sm_35-sm_86, this card is sm_90"),
        ("portable", "h200", ""),
        ("portable", "mig", DIVIDED),
        ("of today", "gtx1060", "unsupported: built for sm_75-sm_120, this card is sm_61"),
        ("of today", "v100", "unsupported: built for sm_75-sm_120, this card is sm_70"),
        ("of today", "t4", "needs driver >= 580.65.06, here 550.54.15"),
        ("of today", "h100", ""),
        ("of today", "none", "no NVIDIA driver: GPU cells will be skipped"),
    ],
)
def test_a_build_needs_a_fitting_card_and_a_new_enough_driver(host, build, name, reason):
    here = host(name)
    faults = [unfit(BUILDS[build], card) for card in here.gpus] or [here.gpu_note]
    assert faults == [reason]


def test_of_a_build_that_nothing_is_known_of_trying_must_tell(host):
    assert [unfit(None, host(name).gpus[0]) for name in ("gtx1060", "h200", "old-driver")] == ["", "", ""]


def test_driver_versions_are_compared_as_numbers():
    card = Card(index=0, name="a card", memory_bytes=1, capability="7.0", driver="99.10")
    assert unfit(cuda("3.0", "9.0", "100.2"), card) == "needs driver >= 100.2, here 99.10"


@pytest.fixture
def rows():
    """rows('3.0', '7.5') -> a row of that build on the GPU."""
    some = Catalogue.load(REPOSITORY / "docker").rows()[0]

    def of(lowest, highest):
        return replace(some, device="gpu", cuda=cuda(lowest, highest, "410.48"))

    return of


def test_each_row_takes_the_first_card_that_it_was_built_for(host, rows):
    two = host("two")
    old, new = rows("3.0", "7.5"), rows("8.0", "9.0")
    assert [card_for(row, two).index for row in (old, new)] == [0, 1]
    assert [card.index for card in cards_for((old, new, old), two)] == [0, 1]


def test_a_row_that_fits_no_card_says_so_of_each(host, rows):
    assert why_not(rows("9.0", "9.0"), host("two")) == (
        "GPU 0 (Tesla V100-SXM2-16GB): unsupported: built for sm_90, this card is sm_70; "
        "GPU 1 (NVIDIA A100-SXM4-40GB): unsupported: built for sm_90, this card is sm_80"
    )


def test_the_cards_that_were_named_are_the_only_ones(host, rows):
    only = narrowed(host("two"), (1,))
    assert why_not(rows("3.0", "7.5"), only) == "unsupported: built for sm_30-sm_75, this card is sm_80"


def test_cards_are_tried_in_the_order_they_are_named(host, rows):
    assert card_for(rows("7.0", "8.0"), narrowed(host("two"), (1, 0))).index == 1


def test_an_unknown_card_is_answered_with_those_there_are(host):
    with pytest.raises(SpecError, match=r"--gpus names card 3; this machine has 0 \(Tesla V100-SXM2-16GB\), 1 \("):
        narrowed(host("two"), (0, 3))


def test_naming_cards_where_there_are_none_keeps_the_reason(host, rows):
    assert why_not(rows("7.0", "8.0"), narrowed(host("none"), (0,))) == "no NVIDIA driver: GPU cells will be skipped"


def test_a_row_of_the_processors_takes_no_card(host):
    row = Catalogue.load(REPOSITORY / "docker").resolve("numpy_ref", "cpu")
    assert card_for(row, host("h100")) is None


OLD = {"cntk:2.7", "mxnet:1.5", "mxnet:1.5-cu90mkl", "pytorch:1.3"}
LATER = {"mxnet:1.9", "tensorflow:2.7"}
NEWEST = {"tensorflow:2.21", "pytorch:2.13"}
RUNS = {
    "gtx1060": OLD | LATER | {"neon:2.6"},  # its driver is too old for what is new
    "v100": OLD | LATER | {"tensorflow:2.21"},
    "t4": OLD | LATER | {"tensorflow:2.21"},
    "a100": LATER | {"tensorflow:2.21"},
    "h100": {"tensorflow:2.7"} | NEWEST,
    "h200": {"tensorflow:2.7"} | NEWEST,
    "old-driver": {"mxnet:1.5-cu90mkl"},
    "busy": OLD | LATER | {"tensorflow:2.21"},
    "mig": set(),
    "none": set(),
}
"""The catalogue's own rows, by machine; of each that is not named here for a machine there is a reason."""

REASON = re.compile(
    r"unsupported: built for sm_\d+-sm_\d+, this card is sm_\d+$|needs driver >= [\d.]+, here [\d.]+$"
    r"|unsupported: this card is divided|no NVIDIA driver: GPU cells will be skipped$"
)


@pytest.mark.parametrize("name", RUNS)
def test_each_row_runs_on_a_card_or_says_why_not(host, catalogue, name):
    named, here = set().union(*RUNS.values()), host(name)
    reasons = {row.subject: why_not(row, here) for row in catalogue.rows(device="gpu") if row.subject in named}
    assert {subject for subject, reason in reasons.items() if not reason} == RUNS[name]
    assert [reason for reason in reasons.values() if reason and not REASON.match(reason)] == []


def test_the_study_s_builds_say_what_they_were_built_for(host, catalogue):
    reasons = {row.subject: why_not(row, host("h100")) for row in catalogue.rows(device="gpu")}
    assert reasons["pytorch:1.3"] == "unsupported: built for sm_35-sm_75, this card is sm_90"
    assert reasons["mxnet:1.9"] == "unsupported: built for sm_50-sm_89, this card is sm_90"
    assert reasons["neon:2.6"] == "unsupported: built for sm_50-sm_62, this card is sm_90"
