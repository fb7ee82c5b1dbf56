"""What every adapter promises (workers/frameworks/__init__.py), asked of each row in its own environment."""

import functools
import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from orchestrator.environment import FLOAT32
from orchestrator.errors import AbsentError, EngineError
from orchestrator.home import REPOSITORY, Home
from tests.contract import narrow_facts, rule_rows
from tests.contract.adapter_facts import CARD, further_ops
from tests.contract.row_images import RowImages
from tests.fake_job import job_json
from tests.networks import network_of
from tests.oracle_traces import save_traces
from workers import mixed, traces
from workers.jobs import selfcheck

HERE = Path(__file__).parent
FRAMEWORKS = ("cntk", "mxnet", "neon", "pytorch", "tensorflow")
RULES_OF = dict.fromkeys((*FRAMEWORKS, "paddle"), range(len(rule_rows.RULES)))
RULES_OF["jax"] = [1]  # XLA compiles each mutant anew, some seconds each; by hand all are tried (docs/rules.md)
"""Framework -> numbers of the rules whose wrong versions are tried in it."""

RESNET8 = {"shape": (3, 16, 16), "classes": 43}
pytestmark = pytest.mark.timeout(1800)  # the first test of a row may have to make its environment
REFUSED = {
    "cntk": {"dilated convolution", "dilated and strided convolution"},
    "neon": {
        "dilated convolution",
        "dilated and strided convolution",
        "depthwise convolution",
        "strided depthwise convolution",
        "grouped convolution",
        "padded maximum",
        "lopsided maximum",
        "padded mean that counts",
        "padded mean",
        "lopsided mean",
    },
}
"""The windows that a framework is known not to have; any other one must be lowered."""

REFUSED_OPS = {"cntk": {"exact gelu"}, "neon": set(further_ops())}
"""The same of the networks of `further_ops`."""

TEST_PICTURES = 822  # as many as the sample of GTSRB has: no multiple of any batch


def is_wide(row):
    """Whether it trains in float32."""
    return row.trains and row.precision == FLOAT32


@pytest.fixture(scope="session")
def in_image(catalogue):
    """in_image(row, reason, arguments, job): as `start`, in the row's image; without one skipped for `reason`."""
    opened = []

    def in_image(row, reason: str, arguments: tuple[str | Path, ...], job: Path) -> str:
        try:
            if not opened:
                opened.append(RowImages(catalogue, Home.default()))
            opened[0].environment(row)
        except EngineError as error:
            if opened and not isinstance(error, AbsentError):
                raise  # the engine answers, and the image does not build
            pytest.skip(f"{reason} {error}")
        return opened[0].run(row, arguments, job)

    yield in_image
    for images in opened:
        images.close()


@pytest.fixture(scope="session")
def start(virtualenv, in_image, tmp_path_factory):
    """start(row, *arguments, job) -> what that row's interpreter says, with our workers on its path.

    Its virtualenv runs it; where that cannot be made, its image. job: the only folder that it may write in an image.
    """

    def start(row, *arguments: str | Path, job: Path | None = None) -> str:
        where = virtualenv(row)
        if isinstance(where, AbsentError):
            return in_image(row, str(where), arguments, job or tmp_path_factory.mktemp("job"))
        # Threads of OpenMP that wait for work sleep: another test may run on the same processors.
        env = {"OMP_WAIT_POLICY": "PASSIVE", **os.environ, **where.env}
        env |= {"PYTHONPATH": str(REPOSITORY), "TF_CPP_MIN_LOG_LEVEL": "2"}
        command = [where.location, *map(str, arguments)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=900)
        assert done.returncode == 0, done.stderr[-2000:]
        return done.stdout

    return start


def last_object(said: str) -> dict:
    """The last line that holds a JSON object: CNTK talks on stdout, and a container's log holds both streams."""
    return json.loads([line for line in said.splitlines() if line.startswith("{")][-1])


@pytest.fixture(scope="session")
def facts(asked):
    """facts(row) -> what tests/contract/adapter_facts.py saw."""

    def facts(row):
        return json.loads((asked(row) / "facts.json").read_text())

    return facts


@pytest.mark.rows(where=is_wide)
@pytest.mark.frameworks
class TestAdapter:
    def test_weights_come_back_bit_for_bit(self, facts, row):
        assert facts(row)["round_trip"]

    def test_any_number_of_pictures_gives_as_many_rows(self, facts, row):
        assert facts(row)["rows"] == [[1, 6], [8, 6], [13, 6]]

    def test_logits_are_float32(self, facts, row):
        assert facts(row)["logits_dtype"] == "float32"

    @pytest.mark.parametrize("count", [8, 13])
    def test_every_op_is_the_oracles(self, facts, row, count):
        assert facts(row)[f"logits_off_of_{count}"] < 1e-5  # float32, five layers, sums of 100 terms

    def test_queries_that_wait_at_once_keep_their_own_logits(self, facts, row):
        assert facts(row)["infer_off"] < 1e-5
        assert facts(row)["infer_shapes"] == [[8, 6], [8, 6]]
        assert facts(row)["infer_dtypes"] == ["float32"]

    def test_an_op_it_refuses_is_a_padding_or_a_graph_with_a_reason(self, facts, row):
        assert all(op in ("conv", "add") and len(why) > 20 for op, why in facts(row)["refused"])

    def test_each_window_is_the_oracles_or_refused_with_a_reason(self, facts, row):
        seen = facts(row)["windows"]
        refused = {name: why for name, why in seen.items() if isinstance(why[0], str)}
        assert len(seen) == 13
        assert all(len(why) > 20 for _, why in refused.values())
        assert refused.keys() <= REFUSED.get(row.framework, set())
        lowered = {name: figures for name, figures in seen.items() if name not in refused}
        assert {name: one for name, one in lowered.items() if not (one[0] < 1e-5 and one[1] < 1e-2)} == {}

    def test_each_further_op_is_the_oracles_or_refused(self, facts, row):
        seen = facts(row)["further_ops"]
        refused = {name: why for name, why in seen.items() if isinstance(why[0], str)}
        assert len(seen) == len(further_ops())
        assert all(len(why) > 20 for _, why in refused.values())
        assert refused.keys() <= REFUSED_OPS.get(row.framework, set())
        lowered = {name: figures for name, figures in seen.items() if name not in refused}
        assert {
            name: figures for name, figures in lowered.items() if not (figures[0] < 1e-5 and figures[1] < 1e-2)
        } == {}

    def test_an_update_takes_the_rate_that_was_set(self, facts, row):
        seen = facts(row)["other_rate_off"]
        if row.framework == "cntk":  # its velocity holds the old rate
            assert seen[0] == "rate"
            assert len(seen[1]) > 20
        else:
            assert seen < 1e-3

    def test_a_strided_convolution_pads_where_it_is_told(self, facts, row):
        assert facts(row)["downsampling_logits_off"] < 1e-5

    def test_every_gradient_is_the_oracles(self, facts, row):
        assert facts(row)["worst_update_off"] < 1e-2  # a ReLU may flip by rounding

    def test_the_loss_is_that_before_the_update_and_stays_readable(self, facts, row):
        assert facts(row)["losses_off"] < 1e-4

    def test_a_loss_is_a_float(self, facts, row):
        assert facts(row)["loss_types"] == ["float"]

    def test_predicting_moves_no_weight(self, facts, row):
        assert facts(row)["predict_changes_nothing"]

    def test_weights_are_copies(self, facts, row):
        assert facts(row)["weights_are_copies"]

    def test_dropout_is_silent_at_inference(self, facts, row):
        assert facts(row)["dropout_logits_off"] < 1e-5

    def test_dropout_trains(self, facts, row):
        assert facts(row)["dropout_trains"]

    def test_its_loader_gives_our_batches_in_order_or_says_why_not(self, facts, row):
        loads = facts(row)["loads"]
        assert loads == [[True, True]] * 3 or (loads[0] == "feed" and len(loads[1]) > 20)

    def test_an_unknown_option_is_refused(self, facts, row):
        assert facts(row)["refuses_unknown_options"]

    def test_refuses_an_optimiser_that_it_does_not_have(self, facts, row):
        assert facts(row)["refuses_unknown_optimisers"]

    def test_a_description_is_flat(self, facts, row):
        assert not [value for value in facts(row)["describe"].values() if isinstance(value, dict | list)]

    # Where there is a card the pinned CPU builds still see none.
    def test_a_cpu_build_refuses_a_gpu_job(self, facts, row):
        assert facts(row)["refuses_an_absent_gpu"]


@pytest.mark.rows(where=lambda row: row.framework in CARD and is_wide(row))
@pytest.mark.frameworks
def test_a_card_that_is_not_there_is_an_error_and_never_the_cpu(facts, row):
    assert facts(row)["never_falls_back_to_the_cpu"]


@pytest.mark.rows(where=lambda row: row.options.get("deterministic"))
@pytest.mark.frameworks
def test_a_deterministic_row_describes_itself_as_deterministic(asked, row):
    (built,) = [event for event in events_of(asked(row) / "first") if event["kind"] == "built"]
    assert built["describe"]["deterministic"] is True


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """A folder of prepared pictures."""
    data = tmp_path_factory.mktemp("data")
    rng = np.random.RandomState(0)
    for name, count in (("train", 60), ("test", TEST_PICTURES)):
        np.save(data / f"{name}_x.npy", rng.randint(0, 256, (count, 3, 16, 16)).astype(np.uint8))
        np.save(data / f"{name}_y.npy", rng.randint(0, 43, count))
    return data


def write_training(folder: Path, row, seed: int, begin: Path | None = None) -> Path:
    """A job of three steps of training. begin: weights.npz to begin with; None draws them from the seed."""
    folder.mkdir(parents=True)
    np.save(folder / "train.npy", np.arange(50))
    np.save(folder / "valid.npy", np.arange(50, 60))
    if begin is not None:
        (folder / "start.npz").write_bytes(begin.read_bytes())
    rule = {"learning_rate": 0.001, "momentum": 0.9, "batch_size": 16, "epochs": 1}
    given = {"framework": row.framework, **RESNET8, "seed": seed, "threads": 2, "options": row.options}
    (folder / "job.json").write_text(job_json(**given, **rule, warmup_steps=20, warmup_seconds=3.0))
    return folder


@pytest.fixture(scope="session")
def oracle_trained(start, catalogue, pictures, tmp_path_factory):
    """oracle_trained(begin) -> the job folder of a training by the oracle; begin: as in write_training."""

    @functools.cache
    def train(begin: Path | None = None) -> Path:
        numpy_ref = catalogue.resolve("numpy_ref", "cpu")
        folder = write_training(tmp_path_factory.mktemp("oracle") / "job", numpy_ref, 1, begin)
        start(numpy_ref, "-m", "workers.run", folder, pictures, job=folder)
        return folder

    return train


@pytest.fixture(scope="session")
def asked(start, pictures, oracle_trained, reference, tmp_path_factory):
    """asked(row) -> the folder of what one process of the row did: a folder for each job, and facts.json.

    The jobs: trainings from the seed 1 (`first`, `again`), from the seed 2 (`other`), from weights that the oracle left
    (`begun`), and a selfcheck (`check`).
    """

    known: dict[str, Path] = {}

    def asked(row) -> Path:
        if row.slug in known:
            return known[row.slug]
        folder = tmp_path_factory.mktemp(row.slug)
        for name, seed in (("first", 1), ("again", 1), ("other", 2)):
            write_training(folder / name, row, seed)
        write_training(folder / "begun", row, 1, oracle_trained() / "weights.npz")
        (folder / "check").mkdir()
        (folder / "check" / "reference.npz").write_bytes(reference("resnet8", 16).read_bytes())
        given = {"framework": row.framework, **RESNET8, "threads": 2, "options": row.options}
        (folder / "check" / "job.json").write_text(job_json("selfcheck", **given))
        start(row, HERE / "row_facts.py", row.framework, json.dumps(row.options), folder, pictures, job=folder)
        codes = json.loads((folder / "codes.json").read_text())
        failed = {name: events_of(folder / name)[-1] for name, code in codes.items() if code}
        assert (len(codes), failed) == (5, {})
        known[row.slug] = folder
        return folder

    return asked


def events_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]


def weights_hash(folder: Path) -> str:
    return events_of(folder)[-1]["weights_sha256"]


def distance(seen: Path, wanted: Path, begin: Path) -> float:
    """How far trained weights are off, as a share of how far the training moved them (Euclidean, all together)."""
    seen_, wanted_, begin_ = (dict(np.load(path)) for path in (seen, wanted, begin))
    assert list(seen_) == list(wanted_)
    off = sum(float(((seen_[name] - wanted_[name]) ** 2).sum()) for name in wanted_)
    moved = sum(float(((wanted_[name] - begin_[name]) ** 2).sum()) for name in wanted_)
    return (off / moved) ** 0.5


@pytest.mark.rows(where=is_wide)
@pytest.mark.frameworks
class TestTraining:
    def test_the_same_seed_gives_bit_equal_weights(self, asked, row):
        assert weights_hash(asked(row) / "first") == weights_hash(asked(row) / "again")

    def test_another_seed_gives_other_weights(self, asked, row):
        assert weights_hash(asked(row) / "first") != weights_hash(asked(row) / "other")

    def test_every_test_picture_is_predicted_once(self, asked, row):
        (score,) = [event for event in events_of(asked(row) / "first") if event.get("split") == "test"]
        assert score["pictures"] == TEST_PICTURES

    def test_another_framework_goes_on_with_its_weights(self, asked, oracle_trained, row):
        begun, oracle_begun = asked(row) / "first" / "weights.npz", oracle_trained() / "weights.npz"
        continued, oracle_continued = (oracle_trained(begin) / "weights.npz" for begin in (begun, oracle_begun))
        assert distance(continued, oracle_continued, oracle_begun) < 2e-2  # of three steps: rounding, and n for n - 1

    def test_it_goes_on_with_the_weights_of_another(self, asked, oracle_trained, row):
        begun = oracle_trained() / "weights.npz"
        continued, oracle_continued = asked(row) / "begun", oracle_trained(begun)
        assert distance(continued / "weights.npz", oracle_continued / "weights.npz", begun) < 2e-2

    def test_it_passes_the_selfcheck_of_a_small_network(self, asked, row):
        check = next(event for event in events_of(asked(row) / "check") if event["kind"] == "check")
        assert {name: value for name, value in check["figures"].items() if not value <= check["bounds"][name]} == {}


@pytest.fixture(scope="session")
def reference(tmp_path_factory):
    """reference(model, size) -> file with the oracle's traces, made once."""

    @functools.cache
    def reference(model: str, size: int) -> Path:
        path = tmp_path_factory.mktemp(model) / "reference.npz"
        save_traces(path, model, size)
        return path

    return reference


@pytest.fixture(scope="session")
def rule_references(tmp_path_factory) -> Path:
    """A folder with the oracle's traces of each rule of tests/contract/rule_mutants.py."""
    folder = tmp_path_factory.mktemp("rules")
    for number, (optimiser, *traits) in enumerate(rule_rows.RULES):
        save_traces(folder / f"{number}.npz", "resnet8", 12, optimiser, tuple(traits))
    return folder


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.parametrize("framework", sorted(RULES_OF))
def test_every_wrong_rule_is_caught_and_no_right_one(start, catalogue, reference, rule_references, framework, tmp_path):
    row, script = catalogue.resolve(framework, "cpu"), HERE / "rule_mutants.py"
    networks = tmp_path / "networks.json"
    networks.write_text(json.dumps([network_of("resnet8", size).model_dump(mode="json") for size in (12, 20)]))
    options = json.dumps(row.options)
    numbers = map(str, RULES_OF[framework])
    said = start(row, script, framework, networks, reference("resnet8", 12), options, rule_references, *numbers)
    found = last_object(said)
    refused = {rule: why for rule, why in found.items() if isinstance(why, str)}
    assert not refused or framework == "neon"
    assert all(len(why) > 20 for why in refused.values())
    proven = {rule: sorts for rule, sorts in found.items() if rule not in refused}
    assert {rule: sorts["harmless"] for rule, sorts in proven.items() if any(sorts["harmless"].values())} == {}
    missed = [f"{rule}: {name}" for rule, sorts in proven.items() for name, by in sorts["harmful"].items() if not by]
    assert missed == []
    assert refused or all(len(sorts["harmful"]) >= 3 for sorts in proven.values())


@pytest.mark.frameworks
@pytest.mark.slow
@pytest.mark.parametrize("framework", FRAMEWORKS)
def test_every_wrong_adapter_is_caught_and_no_right_one(start, catalogue, reference, framework, tmp_path):
    """On a network as small as shows all of them; `python -m benchmarks.mutants` takes the study's (docs/parity.md)."""
    row, script = catalogue.resolve(framework, "cpu"), HERE / "adapter_mutants.py"
    networks = tmp_path / "networks.json"
    networks.write_text(json.dumps([network_of("resnet8", size).model_dump(mode="json") for size in (12, 20)]))
    arguments = framework, networks, reference("resnet8", 12), json.dumps(row.options)
    found = last_object(start(row, script, *arguments))
    assert {name: figures for name, figures in found["harmless"].items() if figures} == {}
    assert [name for name, figures in found["harmful"].items() if not figures] == []
    assert len(found["harmful"]) >= 50


@pytest.fixture(scope="session")
def narrow_reference(tmp_path_factory):
    """narrow_reference(precision) -> the file of the oracle's traces that narrow_facts.py asks for."""

    @functools.cache
    def narrow_reference(precision: str) -> Path:
        path = tmp_path_factory.mktemp("narrow") / "reference.npz"
        given = (narrow_facts.NET, narrow_facts.TRAINING, narrow_facts.REGIMES["first"])
        pictures = (narrow_facts.PICTURES, narrow_facts.LABELS)
        wanted = mixed.variations(precision, narrow_facts.REGIMES).items()
        traces.save(path, {name: selfcheck.trace_oracle(*given, *pictures, variation=one) for name, (_, one) in wanted})
        return path

    return narrow_reference


@pytest.mark.rows(where=lambda row: row.trains and not is_wide(row))
@pytest.mark.frameworks
def test_a_row_computes_in_its_number_format_and_in_no_other(start, narrow_reference, row):
    path = narrow_reference(row.precision)
    given = (row.framework, json.dumps(row.options), row.precision)
    found = last_object(start(row, HERE / "narrow_facts.py", *given, path, job=path.parent))
    assert found["adapter"] == []
    assert "rounding_update" in found["computes in float32"]
    assert "logits" in found["says float32"]
