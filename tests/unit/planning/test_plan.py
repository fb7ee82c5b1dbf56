"""A plan is a pure function: cells, order, skips."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise

import pytest

from orchestrator.environment import Card
from orchestrator.errors import SpecError
from orchestrator.home import REPOSITORY
from orchestrator.networks import InputSize, Network
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.image_row import Cuda
from orchestrator.planning.plan import Order, expand, oversubscribed
from orchestrator.planning.spec import load_spec
from orchestrator.records.host_facts import HostFacts
from orchestrator.records.job import trial_job
from tests import fake_run as fake

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


def test_the_paper_as_shipped_is_run_at_its_own_versions(catalogue, host):
    plan = expand(shipped("paper-as-shipped", {"axes.devices": ["cpu"]}), catalogue, host)
    study = {"cntk:2.7", "neon:2.6-mkl", "mxnet:1.5", "pytorch:1.3", "tensorflow:2.7"}
    assert Counter(trial.subject for trial in plan.trials) == Counter(dict.fromkeys(study, 7))


def test_the_paper_is_run_in_the_fastest_variants_here(catalogue, host):
    here = catalogue.with_best({"mxnet": {"cpu": "1.5-mkl_amd_omp"}})
    plan = expand(shipped("paper", {"axes.devices": ["cpu"]}), here, host)
    best = {"cntk:2.7-amd", "neon:2.6-mkl-amd", "mxnet:1.5-mkl_amd_omp", "pytorch:2.13-tuned", "tensorflow:2.21-onednn"}
    assert Counter(trial.subject for trial in plan.trials) == Counter(dict.fromkeys(best, 7))
    assert {row.subject for row in plan.rows} == best


def test_best_beside_the_variant_that_it_stands_for_is_one(catalogue, host):
    changes = {
        "axes.frameworks": ["mxnet"],
        "axes.variants.mxnet": ["best", "1.5-mkl-omp-amd"],
        "axes.devices": ["cpu"],
    }
    plan = expand(shipped("paper", changes), catalogue, host)
    assert Counter(trial.subject for trial in plan.trials) == {"mxnet:1.5-mkl-omp-amd": 7}


def test_both_leagues_of_the_paper_ask_for_the_same_cells():
    tuned, as_shipped = shipped("paper"), shipped("paper-as-shipped")
    assert (tuned.league, as_shipped.league) == ("tuned", "as shipped")
    same = {
        "axes": tuned.axes.model_copy(update={"variants": {}}),
        "training": tuned.training,
        "dataset": tuned.dataset,
    }
    assert same == {
        "axes": as_shipped.axes.model_copy(update={"variants": {}}),
        "training": as_shipped.training,
        "dataset": as_shipped.dataset,
    }


def test_the_paper_asks_a_card_for_rows_that_are_built_for_one(catalogue, host):
    plan = expand(shipped("paper", {"axes.devices": ["gpu"]}), catalogue, host)
    asked = {(skip.framework, skip.variant) for skip in plan.skips}
    assert len(asked) == 5
    assert asked <= {(row.framework, row.variant) for row in catalogue.rows(device="gpu")}


def test_fewer_frameworks_drop_the_variants_of_the_others(catalogue, host):
    changes = {"axes.frameworks": ["mxnet"], "axes.devices": ["cpu"]}
    plan = expand(shipped("paper-as-shipped", changes), catalogue, host)
    assert {trial.subject for trial in plan.trials} == {"mxnet:1.5"}


def test_repeats_are_interleaved(catalogue, host):
    plan = expand(shipped("quick", {"axes.repeats": 3}), catalogue, host)
    cells = len(plan.trials) // 3
    assert [trial.repeat for trial in plan.trials] == [0] * cells + [1] * cells + [2] * cells


def test_order_within_a_repeat_changes_from_repeat_to_repeat(catalogue, host):
    plan = expand(shipped("quick", {"axes.repeats": 8}), catalogue, host)
    cells = len(plan.trials) // 8
    turns = [plan.trials[at : at + cells] for at in range(0, len(plan.trials), cells)]
    orders = {tuple(trial.subject + trial.cell.label for trial in turn) for turn in turns}
    assert len(orders) > 1


def firsts(trials, pair):
    """How often each of a pair runs first, and how many runs apart they are, over cells and repeats."""
    places = {}
    for place, trial in enumerate(trials):
        if trial.subject in pair:
            places.setdefault((trial.cell, trial.seed, trial.repeat), {})[trial.subject] = place
    first = Counter(min(found, key=found.get) for found in places.values())
    return first, [abs(found[pair[0]] - found[pair[1]]) for found in places.values()]


def test_the_builds_of_a_pair_stand_next_to_each_other(catalogue, host):
    spec = load_spec(REPOSITORY / "experiments" / "build-flags.json", catalogue.frameworks)
    trials = expand(spec, catalogue, host).trials
    largest = max(len(variants) for variants in spec.axes.variants.values())
    distances = [distance for pair in spec.pairs for distance in firsts(trials, pair)[1]]
    assert max(distances) < largest
    assert sorted(distances)[len(distances) // 2] <= 2


def test_each_build_of_a_pair_runs_first_equally_often(catalogue, host):
    for repeats in (5, 6):
        spec = load_spec(
            REPOSITORY / "experiments" / "build-flags.json", catalogue.frameworks, {"axes.repeats": repeats}
        )
        by_network = {}
        for trial in expand(spec, catalogue, host).trials:
            by_network.setdefault(trial.cell, []).append(trial)
        for trials in by_network.values():
            for pair in spec.pairs:
                first, _ = firsts(trials, pair)
                assert abs(first[pair[0]] - first[pair[1]]) <= repeats % 2


def test_each_drawn_order_has_each_build_first_equally_often(catalogue, host):
    changes = {"axes.frameworks": ["mxnet"], "axes.variants.mxnet": ["1.5", "1.5-mkl"], "axes.repeats": 6}
    plans = [expand(shipped("compare", changes), catalogue, host, Order(seed, 2)).trials for seed in range(8)]
    orders = {tuple(trial.variant for trial in trials) for trials in plans}
    assert len(orders) > 1
    for trials in plans:
        first, distances = firsts(trials, ("mxnet:1.5", "mxnet:1.5-mkl"))
        assert (set(distances), first["mxnet:1.5"], first["mxnet:1.5-mkl"]) == ({1}, 6, 6)


def test_one_seed_gives_one_order(catalogue, host):
    spec = shipped("compare", {"axes.frameworks": ["mxnet"], "axes.variants.mxnet": ["1.5", "1.5-mkl"]})
    assert expand(spec, catalogue, host, Order(7)) == expand(spec, catalogue, host, Order(7))


def test_neighbours_in_a_comparison_are_of_one_build(catalogue, host):
    changes = {"axes.frameworks": ["mxnet"], "axes.variants.mxnet": ["1.5", "1.5-mkl"], "axes.repeats": 4}
    trials = expand(shipped("compare", changes), catalogue, host, Order(1, 2)).trials
    for at in range(0, len(trials), 4):
        first, second, third, fourth = trials[at : at + 4]
        assert (first.variant, second.variant) == (fourth.variant, third.variant)
        assert len({trial.cell for trial in trials[at : at + 4]}) == 1


def test_the_pairs_of_a_control_are_two_runs_in_a_row(catalogue, host):
    changes = {"axes.frameworks": ["mxnet"], "axes.variants.mxnet": ["1.5"], "axes.repeats": 8}
    trials = expand(shipped("compare", changes), catalogue, host, Order(runs_together=2)).trials
    for left, right in zip(trials[::2], trials[1::2], strict=True):
        assert (left.cell, left.repeat // 2) == (right.cell, right.repeat // 2)
        assert {left.repeat % 2, right.repeat % 2} == {0, 1}


def test_the_same_spec_gives_the_same_order(catalogue, host):
    assert expand(shipped("quick"), catalogue, host) == expand(shipped("quick"), catalogue, host)


def test_threads_default_to_physical_cores(catalogue, host):
    assert {trial.threads for trial in expand(shipped("quick"), catalogue, host).trials} == {2}


def test_more_threads_than_processors_are_refused(catalogue, host):
    with pytest.raises(SpecError, match="threads is 9; this machine lets waymark use 4 processors"):
        expand(shipped("quick", {"threads": 9}), catalogue, host)


def test_an_undeclared_variant_is_refused_with_its_place(catalogue, host):
    with pytest.raises(
        SpecError, match=r"^axes\.variants\.pytorch: docker/pytorch/images\.toml has no variant '2\.31'"
    ):
        expand(shipped("quick", {"axes.frameworks": ["pytorch"], "axes.variants.pytorch": "2.31"}), catalogue, host)


def omp(threads):
    changes = {"axes.frameworks": ["mxnet"], "axes.variants.mxnet": ["1.5", "1.5-omp"], "threads": threads}
    return load_spec(REPOSITORY / "experiments" / "quick.json", ["mxnet"], changes)


def test_more_threads_than_a_trial_has_processors_is_said(catalogue, host):
    said = oversubscribed(expand(omp(threads=1), catalogue, host), host)
    assert said == ["mxnet:1.5-omp starts 2 threads on the 1 processors of a trial."]


def test_as_many_threads_as_processors_is_no_worry(catalogue, host):
    assert oversubscribed(expand(omp(threads=2), catalogue, host), host) == []


def test_batch_sizes_are_an_axis_named_in_each_cell(catalogue, host):
    changes = {"axes.frameworks": ["pytorch"], "axes.batch_sizes": [8, 64]}
    plan = expand(shipped("compare", changes), catalogue, host)
    assert {trial.cell.batch_size for trial in plan.trials} == {8, 64}
    assert {trial.training.batch_size for trial in plan.trials} == {8, 64}
    assert all(trial.cell.label.endswith(f"batch {trial.training.batch_size}") for trial in plan.trials)


def test_clahe_and_loader_workers_are_axes_named_in_each_cell(catalogue, host):
    changes = {"axes.frameworks": ["pytorch"], "axes.clahe": [True, False], "axes.loader_workers": [0, 4]}
    plan = expand(shipped("compare", changes), catalogue, host)
    assert {trial.cell.label for trial in plan.trials if trial.model.name == "idsia"} == {
        "IDSIA@48 0 loader workers",
        "IDSIA@48 4 loader workers",
        "IDSIA@48 without CLAHE 0 loader workers",
        "IDSIA@48 without CLAHE 4 loader workers",
    }
    assert {
        (bool(trial.dataset.filters), trial.measure.feed, trial.measure.loader_workers) for trial in plan.trials
    } == {(clahe, "native", workers) for clahe in (True, False) for workers in (0, 4)}


def test_what_differs_in_its_feed_alone_stands_side_by_side(catalogue, host):
    changes = {"axes.frameworks": ["pytorch", "tensorflow"], "axes.loader_workers": [0, 4, 16], "axes.repeats": 2}
    trials = expand(shipped("compare", changes), catalogue, host).trials
    for at in range(0, len(trials), 6):
        assert len({(trial.cell.network, trial.repeat) for trial in trials[at : at + 6]}) == 1


def test_repeats_can_differ_by_framework(catalogue, host):
    trials = expand(shipped("quick", {"axes.repeats": {"pytorch": 3}}), catalogue, host).trials
    counts = Counter((trial.framework, trial.cell) for trial in trials)
    assert {count for (framework, _), count in counts.items() if framework == "pytorch"} == {3}
    assert {count for (framework, _), count in counts.items() if framework != "pytorch"} == {1}


def network_of(trial):
    return Network.of(trial.model, trial.input_size, 43)


def test_a_repeat_asks_its_worker_for_the_same(catalogue, host):
    trials = expand(shipped("compare", {"axes.repeats": 3}), catalogue, host).trials
    jobs = {trial_job(trial, fake.environment(), network_of(trial)).model_dump_json() for trial in trials}
    assert len(jobs) == len(trials) / 3


def test_a_variant_changes_the_trial_but_not_its_key(catalogue, host):
    trial = expand(shipped("quick"), catalogue, host).trials[0]
    tuned = trial.model_copy(update={"variant": "another"})
    assert tuned.key == trial.key


@pytest.mark.parametrize("change", [{"seed": 5}, {"repeat": 1}, {"threads": 1}, {"input_size": InputSize.square(64)}])
def test_another_question_has_another_key(catalogue, host, change):
    trial = expand(shipped("quick"), catalogue, host).trials[0]
    assert trial.model_copy(update=change).key != trial.key


def on(host, **changes):
    card = Card(**{"index": 0, "name": "any", "memory_bytes": 1, "capability": "7.5", "driver": "550.54", **changes})
    return host.model_copy(update={"gpus": (card,), "gpu_note": ""})


@pytest.fixture
def one_row(catalogue):
    """A catalogue in which PyTorch has a row of the GPU, built for sm_50 to sm_75, and one of the CPU alone."""
    (cpu, *_) = catalogue.rows(frameworks=("pytorch",), variant="2.13", device="cpu")
    cuda = Cuda(version="10.1", driver="418.39", capability=("5.0", "7.5"), source="wheels")
    only = replace(cpu, variant="cpu-only")
    return replace(catalogue, tables={"pytorch": (cpu, replace(cpu, device="gpu", cuda=cuda), only)})


def gpu(variant="2.13"):
    return shipped(
        "paper",
        {
            "axes.frameworks": ["pytorch"],
            "axes.variants": {"pytorch": variant},
            "axes.devices": ["gpu"],
            "axes.models": [{"name": "idsia"}],
        },
    )


def test_a_cell_whose_row_was_built_for_the_card_is_a_trial(one_row, host):
    plan = expand(gpu(), one_row, on(host))
    assert [(trial.subject, trial.device) for trial in plan.trials] == [("pytorch:2.13", "gpu")]


@pytest.mark.parametrize(
    ("card", "reason"),
    [
        ({"capability": "9.0"}, "unsupported: built for sm_50-sm_75, this card is sm_90"),
        ({"driver": "390.48"}, "needs driver >= 418.39, here 390.48"),
    ],
)
def test_a_cell_that_does_not_fit_the_card_is_a_skip(one_row, host, card, reason):
    plan = expand(gpu(), one_row, on(host, **card))
    assert (plan.trials, [skip.reason for skip in plan.skips]) == ((), [reason])


def test_a_cpu_only_variant_is_a_skip_on_the_card(one_row, host):
    plan = expand(gpu("cpu-only"), one_row, on(host))
    assert [skip.reason for skip in plan.skips] == ["docker/pytorch/images.toml declares cpu-only for the cpu only"]


def test_a_variant_of_nobody_is_refused(one_row, host):
    with pytest.raises(SpecError, match=r"has no variant '9\.9' for gpu"):
        expand(gpu("9.9"), one_row, on(host))


def test_an_inference_has_a_trial_for_each_scenario_and_batch(catalogue, host):
    asked = {"scenarios": ["single-stream", "multi-stream", "offline", "server"], "batch_sizes": [1, 64]}
    spec = load_spec(REPOSITORY / "experiments/inference.json", catalogue.frameworks, {"inference": asked})
    plan = expand(spec, catalogue, host)
    cells = {"single-stream", "multi-stream", "offline 1", "offline 64", "server"}
    assert {trial.cell.scenario for trial in plan.trials} == cells
    assert {trial.batch_size for trial in plan.trials if trial.cell.scenario == "multi-stream"} == {8}
    assert Counter(Counter(trial.subject for trial in plan.trials).values()) == {2 * len(cells): 13}


def test_the_subjects_of_an_inference_run_next_to_each_other(catalogue, host):
    spec = load_spec(REPOSITORY / "experiments/inference.json", catalogue.frameworks)
    cells = [trial.cell.in_float32 for trial in expand(spec, catalogue, host).trials]
    assert sum(cell != after for cell, after in pairwise(cells)) == len(set(cells)) - 1


def test_all_subjects_of_a_network_run_the_same_weights(catalogue, host):
    spec = load_spec(REPOSITORY / "experiments/inference.json", catalogue.frameworks)
    known = {(entry.model, entry.input_sizes[0], spec.dataset): entry.name[:1] * 64 for entry in spec.axes.models}
    trials = expand(spec, catalogue, host, weights=known).trials
    assert {(trial.model.name, trial.inference.weights_sha256) for trial in trials} == {
        ("resnet", "r" * 64),
        ("idsia", "i" * 64),
    }


def test_a_runtime_is_asked_for_no_training(catalogue, host):
    spec = load_spec(REPOSITORY / "experiments/quick.json", catalogue.frameworks, {"axes.frameworks": ["ncnn"]})
    plan = expand(spec, catalogue, host)
    assert plan.trials == ()
    assert {skip.reason for skip in plan.skips} == {"unsupported: ncnn only runs networks that were trained elsewhere"}
