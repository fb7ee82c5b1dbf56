"""A plan is a pure function: cells, order, skips."""

from collections import Counter

import pytest

from orchestrator.catalogue import Catalogue
from orchestrator.errors import SpecError
from orchestrator.home import REPOSITORY
from orchestrator.host import Gpu, HostFacts
from orchestrator.plan import expand
from orchestrator.spec import load_spec

FRAMEWORKS = ("numpy_ref", "pytorch", "tensorflow")


@pytest.fixture(scope="module")
def catalogue():
    return Catalogue.load(REPOSITORY / "docker")


@pytest.fixture
def host(request):
    return HostFacts(
        hostname_sha256="0",
        system="Debian",
        kernel="6",
        machine="x86_64",
        python="3.11",
        cpu_model="any",
        cpu_flags=(),
        physical_cores=2,
        logical_cores=4,
        cpus=(0, 1, 2, 3),
        threads_per_core=2,
        numa_nodes=1,
        governor=None,
        microcode=None,
        is_virtual=False,
        memory_bytes=2**34,
        gpus=(),
        gpu_note="no NVIDIA driver: GPU cells will be skipped",
    )


def shipped(name, changes=None):
    return load_spec(REPOSITORY / "experiments" / f"{name}.json", FRAMEWORKS, changes)


def test_paper_has_the_seventy_cells_of_the_study(catalogue, host):
    plan = expand(shipped("paper"), catalogue, host)
    assert len(plan.trials) + len(plan.skips) == 70


def test_cells_without_a_card_are_skipped_with_that_reason(catalogue, host):
    plan = expand(shipped("paper", {"axes.frameworks": ["pytorch"]}), catalogue, host)
    assert {skip.reason for skip in plan.skips} == {"no NVIDIA driver: GPU cells will be skipped"}


def test_a_framework_without_recipe_is_skipped_with_that_reason(catalogue, host):
    missing = [name for name in ("cntk", "neon", "mxnet") if name not in catalogue.frameworks]
    plan = expand(shipped("paper", {"axes.devices": ["cpu"]}), catalogue, host)
    assert Counter(skip.framework for skip in plan.skips) == Counter(dict.fromkeys(missing, 7))


def test_the_paper_is_run_at_its_own_versions(catalogue, host):
    plan = expand(shipped("paper", {"axes.devices": ["cpu"]}), catalogue, host)
    study = {"cntk:2.7", "neon:2.6-mkl", "mxnet:1.5", "pytorch:1.3", "tensorflow:2.7"}
    assert Counter(trial.subject for trial in plan.trials) == Counter(dict.fromkeys(study, 7))


def test_a_variant_that_is_for_another_device_is_skipped_with_those_that_are_for_this(catalogue, host):
    card = Gpu(name="GTX 1060", memory_bytes=2**32, capability="6.1", driver="535.183.01")
    changes = {"axes.frameworks": ["neon"], "axes.devices": ["gpu"]}
    plan = expand(shipped("paper", changes), catalogue, host.model_copy(update={"gpus": (card,)}))
    assert plan.trials == ()
    assert {skip.reason for skip in plan.skips} == {"neon:2.6-mkl has no gpu image; with one: 2.6"}


def test_a_card_is_given_the_default_for_cards(catalogue, host):
    card = Gpu(name="GTX 1060", memory_bytes=2**32, capability="6.1", driver="535.183.01")
    changes = {"axes.frameworks": ["neon"], "axes.devices": ["gpu"], "axes.variants": {}}
    plan = expand(shipped("paper", changes), catalogue, host.model_copy(update={"gpus": (card,)}))
    assert {trial.subject for trial in plan.trials} == {"neon:2.6"}


def test_fewer_frameworks_leave_the_variants_of_the_others_behind(catalogue, host):
    plan = expand(shipped("paper", {"axes.frameworks": ["mxnet"], "axes.devices": ["cpu"]}), catalogue, host)
    assert {trial.subject for trial in plan.trials} == {"mxnet:1.5"}


def test_repeats_are_interleaved(catalogue, host):
    plan = expand(shipped("quick", {"axes.repeats": 3}), catalogue, host)
    cells = len(plan.trials) // 3
    assert [trial.repeat for trial in plan.trials] == [0] * cells + [1] * cells + [2] * cells


def test_order_within_a_repeat_changes_from_repeat_to_repeat(catalogue, host):
    plan = expand(shipped("quick", {"axes.repeats": 8}), catalogue, host)
    cells = len(plan.trials) // 8
    turns = [plan.trials[at : at + cells] for at in range(0, len(plan.trials), cells)]
    orders = {tuple(trial.subject + trial.cell for trial in turn) for turn in turns}
    assert len(orders) > 1


def test_the_same_spec_gives_the_same_order(catalogue, host):
    assert expand(shipped("quick"), catalogue, host) == expand(shipped("quick"), catalogue, host)


def test_threads_default_to_physical_cores(catalogue, host):
    assert {trial.threads for trial in expand(shipped("quick"), catalogue, host).trials} == {2}


def test_more_threads_than_processors_are_refused(catalogue, host):
    with pytest.raises(SpecError, match="threads is 9; this machine lets waymark use 4 processors"):
        expand(shipped("quick", {"threads": 9}), catalogue, host)


def test_a_variant_changes_the_trial_but_not_its_key(catalogue, host):
    trial = expand(shipped("quick"), catalogue, host).trials[0]
    tuned = trial.model_copy(update={"variant": "another"})
    assert tuned.key == trial.key


@pytest.mark.parametrize("change", [{"seed": 5}, {"repeat": 1}, {"threads": 1}, {"input_size": 64}])
def test_another_question_has_another_key(catalogue, host, change):
    trial = expand(shipped("quick"), catalogue, host).trials[0]
    assert trial.model_copy(update=change).key != trial.key
