"""Every shipped spec loads; every malformed one is refused in one sentence that names file and path."""

import copy
import json
from pathlib import Path

import pytest

from orchestrator.errors import SpecError
from orchestrator.home import REPOSITORY
from orchestrator.planning.spec import load_spec, schema_text

EXPERIMENTS = REPOSITORY / "experiments"
FRAMEWORKS = ("numpy_ref", "pytorch", "tensorflow")
GOOD = json.loads((EXPERIMENTS / "quick.json").read_text())


def write(folder: Path, raw: object) -> Path:
    path = folder / "mine.json"
    path.write_text(raw if isinstance(raw, str) else json.dumps(raw))
    return path


def changed(path: str, value: object) -> dict:
    raw = copy.deepcopy(GOOD)
    node = raw
    *parents, last = path.split("/")
    for part in parents:
        node = node[int(part)] if isinstance(node, list) else node[part]
    if isinstance(node, list):
        node[int(last)] = value
    else:
        node[last] = value
    return raw


def paired(*pairs: list[str]) -> dict:
    raw = changed("pairs", list(pairs))
    raw["axes"]["variants"] = {"mxnet": ["1.5", "1.5-mkl"], "pytorch": "2.13"}
    return raw


MALFORMED = {
    "wrong type": (changed("training", {"epochs": "ten"}), "training.epochs is 'ten'; it must be a valid integer"),
    "float for an integer": (
        changed("training", {"epochs": 2.5}),
        "training.epochs is 2.5; it must be a valid integer",
    ),
    "true for an integer": (
        changed("training", {"epochs": True}),
        "training.epochs is true; it must be a valid integer",
    ),
    "unknown key": (changed("training", {"epoch": 3}), "training.epoch is not a key of a spec. Known here: batch_size"),
    "unknown key in a list": (
        changed("axes/models/1", {"name": "idsia", "dept": 3}),
        "axes.models[1].dept is not a key",
    ),
    "misspelt framework": (changed("axes/frameworks/1", "tensorflwo"), "axes.frameworks[1] is 'tensorflwo'"),
    "suggestion": (changed("axes/frameworks/0", "pytorhc"), "Did you mean 'pytorch'?"),
    "input size 600": (
        changed("axes/models/0/input_sizes", [600]),
        "axes.models[0].input_sizes[0] is 600; it must be a side of 8 to 512 pixels, or [channels, height, width]",
    ),
    "input size of five channels": (
        changed("axes/models/0/input_sizes", [[5, 32, 32]]),
        "axes.models[0].input_sizes[0] is [5, 32, 32]; it must be a side of 8 to 512 pixels",
    ),
    "input size that its network cannot halve": (
        changed("axes/models/0/input_sizes", [[1, 30, 48]]),
        "axes.models[0] cannot be built for 1x30x48: model resnet halves its maps twice, so each side must be",
    ),
    "zero batch": (
        changed("training", {"batch_size": 0}),
        "training.batch_size is 0; it must be between 1 and 4096",
    ),
    "huge batch": (
        changed("training", {"batch_size": 5000}),
        "training.batch_size is 5000; it must be between 1 and 4096",
    ),
    "inference of a training": (
        changed("inference", {"seconds": 5}),
        "inference is set while kind is 'train'; set the kind to 'infer', or remove it",
    ),
    "unknown trainer": (
        {**GOOD, "kind": "infer", "inference": {"trained_with": "pytorhc"}},
        "inference.trained_with is 'pytorhc'. Known:",
    ),
    "batch asked for twice": (
        {**GOOD, "kind": "infer", "inference": {"batch_sizes": [8, 8]}},
        "inference.batch_sizes[1] repeats 8",
    ),
    "unknown scenario": (
        {**GOOD, "kind": "infer", "inference": {"scenarios": ["camera"]}},
        "inference.scenarios[0] is 'camera'; allowed: single-stream, multi-stream, offline, server",
    ),
    "duplicate axis": (changed("axes/frameworks", ["pytorch", "pytorch"]), "axes.frameworks[1] repeats 'pytorch'"),
    "repeats of no framework": (changed("axes/repeats", {"neno": 2}), "axes.repeats is 'neno', which is no framework"),
    "zero repeats": (changed("axes/repeats", 0), "axes.repeats is 0; it must be"),
    "zero repeats of one": (changed("axes/repeats", {"pytorch": 0}), "axes.repeats.pytorch is 0; it must be"),
    "repeats as words": (changed("axes/repeats", "two"), "axes.repeats is 'two'; "),
    "duplicate model": (
        changed("axes/models", [{"name": "idsia", "input_sizes": [48]}] * 2),
        "axes.models[1] repeats 'IDSIA'",
    ),
    "empty axis": (changed("axes/frameworks", []), "axes.frameworks is empty; it needs at least one value"),
    "missing axes": ({"name": "x"}, "axes is missing; it is required"),
    "missing name": ({"axes": GOOD["axes"]}, "name is missing; it is required"),
    "misspelt model": (changed("axes/models/0/name", "resnett"), "Did you mean 'resnet'?"),
    "impossible depth": (changed("axes/models/0/depth", 21), "axes.models[0] cannot be built for 32x32"),
    "depth for idsia": (changed("axes/models/1/depth", 20), "axes.models[1] cannot be built for 48x48"),
    "depth missing": (
        changed("axes/models/0", {"name": "resnet", "input_sizes": [32]}),
        "axes.models[0] cannot be built",
    ),
    "device": (changed("axes/devices", ["tpu"]), "axes.devices[0] is 'tpu'; allowed: cpu, gpu"),
    "negative seed": (changed("axes/seeds", [-1]), "axes.seeds[0] is -1; it must be between 0 and 4294967295"),
    "learning rate": (
        changed("training", {"learning_rate": 0}),
        "training.learning_rate is 0; it must be greater than 0 and at most 10",
    ),
    "momentum one": (
        changed("training", {"momentum": 1.0}),
        "training.momentum is 1.0; it must be at least 0 and less than 1",
    ),
    "beta2 of sgd": (
        changed("training", {"beta2": 0.9}),
        "training.beta2 is set while training.optimiser is 'sgd', which has none: remove it",
    ),
    "unknown optimiser": (changed("training", {"optimiser": "adamm"}), "Did you mean 'adam'?"),
    "adam with its decay apart": (
        changed("training", {"optimiser": "adam", "weight_decay": 0.1, "decay": "apart"}),
        "training.decay is 'apart' while training.optimiser is 'adam': write 'adamw'",
    ),
    "a way without a decay": (
        changed("training", {"decay": "apart"}),
        "training.decay is set while training.weight_decay is 0",
    ),
    "nesterov without momentum": (
        changed("training", {"optimiser": "nesterov", "momentum": 0}),
        "without momentum it is 'sgd'",
    ),
    "steps without milestones": (
        changed("training", {"schedule": {"kind": "step"}}),
        "training.schedule.kind is 'step' without milestones",
    ),
    "milestones of a cosine": (
        changed("training", {"schedule": {"kind": "cosine", "milestones": [2]}}),
        "training.schedule.milestones is set while its kind is 'cosine'",
    ),
    "milestone twice": (
        changed("training", {"schedule": {"kind": "step", "milestones": [2, 2]}}),
        "training.schedule.milestones[1] repeats 2",
    ),
    "one-cycle with a warm-up": (
        changed("training", {"schedule": {"kind": "one-cycle", "warmup_epochs": 1}}),
        "which rises by itself",
    ),
    "target of the test pictures": (
        changed("training", {"target": {"accuracy": 0.9, "split": "test"}}),
        "training.target.split is 'test'; allowed: valid",
    ),
    "target above one": (
        changed("training", {"target": {"accuracy": 90}}),
        "training.target.accuracy is 90; it must be greater than 0 and at most 1",
    ),
    "target seen at the end only": (
        {**changed("training", {"target": {"accuracy": 0.9}}), "measure": {"evaluate": "end"}},
        "training.target is set while measure.evaluate is 'end'",
    ),
    "batch size twice": (changed("axes/batch_sizes", [8, 8]), "axes.batch_sizes[1] repeats 8"),
    "batch sizes of an inference": (
        {**changed("axes/batch_sizes", [8]), "kind": "infer"},
        "axes.batch_sizes is set while kind is 'infer'; write inference.batch_sizes",
    ),
    "unknown split": (changed("dataset/split", "by-sign"), "dataset.split is 'by-sign'; allowed: paper, by-track"),
    "variant of no framework": (
        changed("axes/variants", {"numpy_ref": "1.0"}),
        "axes.variants names 'numpy_ref', which is not in",
    ),
    "stray synthetic": (changed("dataset/synthetic", {}), "dataset.synthetic is set while dataset.name is 'gtsrb'"),
    "name with a slash": (changed("name", "../up"), "name is '../up'; it must match"),
    "workers without a loader": (
        changed("measure", {"loader_workers": 4}),
        "measure.loader_workers is 4 while measure.feed is 'host'",
    ),
    "loaders of resident batches": (
        {**changed("measure", {"feed": "resident"}), "axes": {**GOOD["axes"], "loader_workers": [0, 4]}},
        "axes.loader_workers asks for the framework's own loader while measure.feed is 'resident'",
    ),
    "workers twice": (changed("axes/loader_workers", [4, 4]), "axes.loader_workers[1] repeats 4"),
    "CLAHE twice": (changed("axes/clahe", [True, True]), "axes.clahe[1] repeats true"),
    "an unknown study": (changed("study", "clage"), "study is 'clage'; allowed: build-flags, clahe"),
    "a pair of one": (paired(["mxnet:1.5"]), "pairs[0]"),
    "a pair of three": (paired(["a:1", "b:1", "c:1"]), 'pairs[0] is ["a:1", "b:1", "c:1"]; it takes 2 values at most.'),
    "a pair without variants": (paired(["mxnet", "mxnet:1.5"]), "pairs[0][0] is 'mxnet'; it must match"),
    "a pair that is not asked for": (
        paired(["mxnet:1.5", "mxnet:1.5-mlk"]),
        "pairs[0] names 'mxnet:1.5-mlk', which axes.variants does not ask for. Asked for: mxnet:1.5, mxnet:1.5-mkl, "
        "pytorch:2.13. Did you mean 'mxnet:1.5-mkl'?",
    ),
    "a pair of two frameworks": (paired(["mxnet:1.5", "pytorch:2.13"]), "a pair is two builds of one framework"),
    "a thing against itself": (paired(["mxnet:1.5", "mxnet:1.5"]), "invoke compare mxnet:1.5 mxnet:1.5"),
    "a pair twice": (paired(["mxnet:1.5", "mxnet:1.5-mkl"], ["mxnet:1.5", "mxnet:1.5-mkl"]), "pairs[1] repeats"),
    "not JSON": ('{"name": ', "line 1, column 10 is not JSON"),
    "repeated key": ('{"name": "a", "name": "b"}', "the key 'name' appears twice"),
    "a list": ("[]", "a spec is a JSON object"),
    "a null": (changed("training", None), "training is null"),
    "not a number": ('{"name": "x", "axes": {}, "training": {"learning_rate": NaN}}', "is not JSON"),
}


@pytest.mark.parametrize("case", MALFORMED, ids=str)
def test_malformed_spec_gives_one_sentence_with_file_and_path(case, tmp_path):
    raw, expected = MALFORMED[case]
    path = write(tmp_path, raw)
    with pytest.raises(SpecError) as caught:
        load_spec(path, FRAMEWORKS)
    said = str(caught.value)
    assert said.startswith(f"{path}: ")
    assert expected in said
    assert "\n" not in said
    assert caught.value.exit_code == 2


def test_missing_file_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"nowhere\.json: cannot be read"):
        load_spec(tmp_path / "nowhere.json", FRAMEWORKS)


@pytest.mark.parametrize(
    "path", sorted(set(EXPERIMENTS.glob("*.json")) - {EXPERIMENTS / "schema.json"}), ids=lambda p: p.name
)
def test_shipped_spec_loads(path, catalogue):
    assert load_spec(path, catalogue.frameworks).name == path.stem


def test_schema_for_editors_is_fresh():
    assert (EXPERIMENTS / "schema.json").read_text() == schema_text()


def test_changes_replace_what_the_file_says(tmp_path):
    spec = load_spec(write(tmp_path, GOOD), FRAMEWORKS, {"axes.frameworks": ["numpy_ref"], "training.batch_size": 8})
    assert (spec.axes.frameworks, spec.training.batch_size) == (("numpy_ref",), 8)


def test_a_bad_change_is_refused_like_a_bad_file(tmp_path):
    with pytest.raises(SpecError, match=r"training.epochs is 0; it must be between 1 and 1000"):
        load_spec(write(tmp_path, GOOD), FRAMEWORKS, {"training.epochs": 0})


@pytest.mark.parametrize(
    "changes", [{"axes.frameworks": ["pytorch"]}, {"axes.variants.mxnet": ["1.5"]}], ids=["framework", "variant"]
)
def test_pairs_that_are_no_longer_whole_are_left_behind(tmp_path, changes):
    path = write(tmp_path, paired(["mxnet:1.5", "mxnet:1.5-mkl"]))
    assert load_spec(path, FRAMEWORKS).pairs == (("mxnet:1.5", "mxnet:1.5-mkl"),)
    assert load_spec(path, FRAMEWORKS, changes).pairs == ()


def test_fewer_frameworks_drop_what_the_file_says_of_the_others(catalogue):
    changes = {"axes.frameworks": ["pytorch"]}
    spec = load_spec(REPOSITORY / "experiments" / "demo.json", catalogue.frameworks, changes)
    assert set(spec.axes.repeats) == {"pytorch"}
