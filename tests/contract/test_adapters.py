"""What every adapter promises (workers/frameworks/__init__.py), asked of each in its own interpreter."""

import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from orchestrator.home import REPOSITORY
from orchestrator.wire import Job
from workers import models, selfcheck

HERE = Path(__file__).parent
REAL = ["pytorch", "tensorflow"]
ADAPTERS = ["numpy_ref", *(pytest.param(name, marks=pytest.mark.frameworks) for name in REAL)]
MUTANTS = [
    "changed padding",
    "dropped ReLU",
    "transposed picture",
    "swapped channels",
    "decayed learning rate",
    "another BN momentum",
    "unshuffled epoch",
    "summed loss",
]


@pytest.fixture(scope="module")
def start(request):
    """start(framework, *arguments) -> stdout of that framework's interpreter, with our workers on its path."""

    def start(framework: str, *arguments: str | Path) -> str:
        python = sys.executable
        if framework != "numpy_ref":
            python = str(request.getfixturevalue("framework_python")(framework))
        env = {**os.environ, "PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}
        command = [python, *map(str, arguments)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=900)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return start


@pytest.fixture(scope="module")
def facts(start):
    """facts(framework) -> what tests/contract/adapter_facts.py saw."""
    return functools.cache(lambda framework: json.loads(start(framework, HERE / "adapter_facts.py", framework)))


@pytest.mark.parametrize("framework", ADAPTERS)
class TestAdapter:
    def test_weights_come_back_bit_for_bit(self, facts, framework):
        assert facts(framework)["round_trip"]

    def test_any_number_of_pictures_gives_as_many_rows(self, facts, framework):
        assert facts(framework)["rows"] == [[1, 6], [8, 6], [13, 6]]

    def test_logits_are_float32(self, facts, framework):
        assert facts(framework)["logits_dtype"] == "float32"

    def test_every_op_is_the_oracles(self, facts, framework):
        assert facts(framework)["logits_off"] < 1e-5  # float32, five layers, sums of 100 terms

    def test_a_strided_convolution_pads_where_it_is_told(self, facts, framework):
        assert facts(framework)["downsampling_logits_off"] < 1e-5

    def test_every_gradient_is_the_oracles(self, facts, framework):
        assert facts(framework)["worst_update_off"] < 1e-2  # a ReLU may flip by rounding

    def test_the_loss_is_that_before_the_update_and_stays_readable(self, facts, framework):
        assert facts(framework)["losses_off"] < 1e-4

    def test_a_loss_is_a_float(self, facts, framework):
        assert facts(framework)["loss_types"] == ["float"]

    def test_predicting_moves_no_weight(self, facts, framework):
        assert facts(framework)["predict_changes_nothing"]

    def test_weights_are_copies(self, facts, framework):
        assert facts(framework)["weights_are_copies"]

    def test_dropout_is_silent_at_inference(self, facts, framework):
        assert facts(framework)["dropout_logits_off"] < 1e-5

    def test_dropout_trains(self, facts, framework):
        assert facts(framework)["dropout_trains"]

    def test_an_unknown_option_is_refused(self, facts, framework):
        assert facts(framework)["refuses_unknown_options"]

    def test_a_description_is_flat(self, facts, framework):
        assert not [value for value in facts(framework)["describe"].values() if isinstance(value, dict | list)]


# Where there is a card the pinned CPU builds still see none.
@pytest.mark.parametrize("framework", ADAPTERS)
def test_a_cpu_build_refuses_a_gpu_job(facts, framework):
    assert facts(framework)["refuses_an_absent_gpu"]


@pytest.fixture(scope="module")
def trained(start, tmp_path_factory):
    """trained(framework, seed, again) -> weights_sha256 of a small training in a process of its own."""
    data = tmp_path_factory.mktemp("data")
    rng = np.random.RandomState(0)
    for name, count in (("train", 80), ("test", 10)):
        np.save(data / f"{name}_x.npy", rng.randint(0, 256, (count, 3, 16, 16)).astype(np.uint8))
        np.save(data / f"{name}_y.npy", rng.randint(0, 43, count))

    @functools.cache
    def trained(framework: str, seed: int, again: int) -> str:
        folder = tmp_path_factory.mktemp(f"job-{again}")
        np.save(folder / "train.npy", np.arange(70))
        np.save(folder / "valid.npy", np.arange(70, 80))
        job = Job(
            kind="train",
            framework=framework,
            device="cpu",
            model="resnet",
            model_params={"depth": 8},
            input_size=16,
            seed=seed,
            learning_rate=0.01,
            momentum=0.9,
            batch_size=16,
            epochs=2,
            threads=2,
        )
        (folder / "job.json").write_text(job.model_dump_json())
        start(framework, "-m", "workers.run", folder, data)
        return json.loads((folder / "events.jsonl").read_text().splitlines()[-1])["weights_sha256"]

    return trained


@pytest.mark.parametrize("framework", ADAPTERS)
def test_the_same_seed_gives_bit_equal_weights(trained, framework):
    assert trained(framework, 1, 0) == trained(framework, 1, 1)


@pytest.mark.parametrize("framework", ADAPTERS)
def test_another_seed_gives_other_weights(trained, framework):
    assert trained(framework, 1, 0) != trained(framework, 2, 0)


@pytest.fixture(scope="module")
def broken(start, tmp_path_factory):
    """broken(framework, model, size) -> mutant name -> bounds that it breaks."""

    @functools.cache
    def reference(model: str, size: int) -> Path:
        params = {"depth": int(model[6:])} if model.startswith("resnet") else {}
        net = models.build("resnet" if params else model, 43, size, **params)
        pictures, labels = selfcheck.lopsided(size, 43, max(r.pictures for r in selfcheck.REGIMES.values()))
        traces = {name: selfcheck.trace_oracle(net, r, pictures, labels) for name, r in selfcheck.REGIMES.items()}
        path = tmp_path_factory.mktemp(model) / "reference.npz"
        selfcheck.save_reference(path, traces)
        return path

    @functools.cache
    def broken(framework: str, model: str, size: int) -> dict[str, list[str]]:
        script = HERE / "adapter_mutants.py"
        return json.loads(start(framework, script, framework, model, str(size), reference(model, size)))

    return broken


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("framework", REAL)
@pytest.mark.parametrize(("model", "size"), [("resnet20", 32), ("idsia", 48)])
class TestSelfcheck:
    def test_passes_the_adapter(self, broken, framework, model, size):
        assert broken(framework, model, size)["none"] == []

    @pytest.mark.parametrize("mutant", MUTANTS)
    def test_catches(self, broken, framework, model, size, mutant):
        if (model, mutant) == ("idsia", "another BN momentum"):
            # IDSIA has no batch normalisation, so this mutant is the adapter itself.
            assert broken(framework, model, size)[mutant] == []
        else:
            assert broken(framework, model, size)[mutant] != []
