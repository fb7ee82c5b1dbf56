"""A further data set, engine, optimiser or kind of job: the shared files that each edits, counted; and that it runs."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from orchestrator.home import Home
from tests.project_copy import copy_project, files_of, invoke

MOST_EDITS = 2

DATASET = '''
"""Squares of three brightnesses: a data set without tracks."""

import contextlib

import numpy as np

from orchestrator.data.datasets import DatasetKind
from orchestrator.data.pictures import Located, Origin, PictureSets


class Squares:
    tracks = None

    def __init__(self, count):
        self.labels = np.arange(count, dtype=np.int64) % 3

    def sign(self, index):
        return np.full((40, 40, 3), 60 * (1 + self.labels[index]), np.uint8)


def _origin(dataset, home):
    drawn = Located("unknown", "squares", {}, lambda: contextlib.nullcontext(PictureSets(Squares(60), Squares(30))))
    return Origin(("dark", "grey", "light"), lambda: drawn)


DATASET = DatasetKind(title="squares", origin=_origin)
'''

ENGINE = '''
"""The virtualenv engine under another name."""

from orchestrator.engines.virtualenv import VirtualenvEngine


class PlainEngine(VirtualenvEngine):
    name = "plain"
'''

JOB = '''
"""Time the prediction of each training batch; nothing is trained."""

from workers import protocol
from workers.batches import open_batches
from workers.process import clock
from workers.protocol import Training

PAYLOAD = ("training", "measure")


def work(job):
    adapter_class = job.import_adapter()
    training = protocol.record(Training, job.payload["training"], "job.json: payload.training")
    batches, _, _ = open_batches(job.folder, job.data_folder, job.net, training.batch_size)
    adapter = adapter_class(job.net, job.net.start(job.seed), job.device, job.settings(training), job.options)
    seconds, began = [], clock()
    for numbers in batches.in_order():
        placed, start = adapter.place(*batches.cut(numbers)), clock()
        adapter.predict(placed)
        seconds.append(clock() - start)
    job.emit("epoch", epoch=0, step_seconds=seconds, epoch_seconds=clock() - began, warmup_steps=0)
    job.emit("done", weights_sha256=None, total_seconds=clock())
'''

SIGNED = """

class Signed(Sgd):
    shows_itself = False

    def _moved(self, state, gradient):
        state, velocity = Sgd._moved(self, state, gradient)
        return state, numpy.sign(velocity)


RULES["signed"] = Signed
"""

FAMILY = '''
"""One convolution and a dense layer, for pictures of any size."""

from workers.net import NetBuilder

LABEL = "Plain"


def build(input_size, classes, channels):
    net = NetBuilder(input_size)
    net.dense(net.globalpool(net.relu(net.conv(net.input, channels, 3))), classes)
    return net.net()
'''


@dataclass(frozen=True)
class Addition:
    """What is added, and how: files that are written, and the shared files that are edited."""

    written: dict[str, str]
    edited: dict[str, Callable[[str], str]]


ADDITIONS = {
    "family": Addition({"orchestrator/networks/families/plain.py": FAMILY}, {}),
    "data set": Addition({"orchestrator/data/datasets/squares.py": DATASET}, {}),
    "engine": Addition(
        {"orchestrator/engines/plain.py": ENGINE},
        {
            "orchestrator/engines/__init__.py": lambda text: text.replace(
                "def engine_forms(",
                "from orchestrator.engines.plain import PlainEngine\n\n"
                'ENGINES["plain"] = EngineKind("plain", lambda home, cores, _: PlainEngine(home, cores))\n\n\n'
                "def engine_forms(",
            )
        },
    ),
    "kind of job": Addition(
        {"workers/jobs/predict.py": JOB},
        {
            "orchestrator/records/job.py": lambda text: text.replace(
                '    "selfcheck": JobKind(',
                '    "predict": JobKind(lambda job, events: "", JOB_PAYLOADS["train"]),\n    "selfcheck": JobKind(',
            ).replace(
                "JOB_KINDS: dict",
                'JOB_PAYLOADS = {"train": lambda trial: _TrainPayload(training=trial.training, measure=trial.measure)}'
                "\n\nJOB_KINDS: dict",
            )
        },
    ),
    # An adapter that is to have it gets an entry too; here the oracle alone does.
    "optimiser": Addition(
        {},
        {
            "workers/optimisers.py": lambda text: text + SIGNED,
        },
    ),
}

SPEC = {
    "axes": {"frameworks": ["numpy_ref"], "models": [{"name": "resnet", "depth": 8, "input_sizes": [8]}]},
    "training": {"epochs": 1, "batch_size": 16},
    "measure": {"warmup_steps": 0, "warmup_seconds": 0.0},
}
TINY = {"name": "synthetic", "synthetic": {"tracks_per_class": 2, "frames_per_track": 1, "test_tracks_per_class": 1}}


@pytest.fixture(scope="module")
def added(tmp_path_factory):
    """The copy of the project, addition -> the shared files that it changed, and the worker's hash before and after."""
    copy, changed, hashes = copy_project(tmp_path_factory.mktemp("copy")), {}, {}
    for name, addition in ADDITIONS.items():
        before, hash_before = files_of(copy), worker_sha256(copy)
        for path, text in addition.written.items():
            assert path not in before
            (copy / path).write_text(text.lstrip(), encoding="utf-8")
        for path, edit in addition.edited.items():
            (copy / path).write_text(edit((copy / path).read_text(encoding="utf-8")), encoding="utf-8")
        after = files_of(copy)
        changed[name] = sorted(path for path, content in before.items() if after[path] != content)
        hashes[name] = hash_before, worker_sha256(copy)
    return copy, changed, hashes


def worker_sha256(copy: Path) -> str:
    """The hash that the copy's own runs would record."""
    asked = "from orchestrator.engines.source import current_sha256; print(current_sha256())"
    done = subprocess.run([sys.executable, "-c", asked], cwd=copy, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture(scope="module")
def sweep(added, tmp_path_factory):
    """sweep(engine, **changes of the spec) -> its rows."""
    copy, *_ = added
    home, shared = tmp_path_factory.mktemp("home"), Home.default().virtualenvs
    shared.mkdir(parents=True, exist_ok=True)
    (home / "virtualenvs").symlink_to(shared)

    def sweep(engine: str, **changes):
        spec = Path(home, f"{changes['name']}.json")
        spec.write_text(json.dumps({**SPEC, **changes}), encoding="utf-8")
        done = invoke(copy, home, "sweep", f"--spec={spec}", f"--engine={engine}", "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    return sweep


@pytest.mark.parametrize("name", ADDITIONS)
def test_nothing_costs_more_than_two_shared_edits(added, name):
    assert added[1][name] == sorted(ADDITIONS[name].edited)
    assert len(added[1][name]) <= MOST_EDITS


@pytest.mark.parametrize("name", ["family", "data set", "engine"])
def test_the_hash_of_the_worker_stays_what_it_was(added, name):
    before, after = added[2][name]
    assert before == after


def test_a_new_kind_of_job_is_new_worker_code(added):
    before, after = added[2]["kind of job"]
    assert before != after


@pytest.mark.slow
def test_a_new_family_trains_on_grey_pictures(sweep):
    model = {"name": "plain", "params": {"channels": 4}, "input_sizes": [[1, 12, 20]]}
    (row,) = sweep("plain", name="grey", dataset=TINY, axes={**SPEC["axes"], "models": [model]})
    assert (row["cell"], row["status"], row["check"]) == ("Plain channels 4@1x12x20", "ok", "passed")


@pytest.mark.slow
def test_a_new_kind_of_job_data_set_and_engine_run_together(sweep):
    (row,) = sweep("plain", name="predictions", kind="predict", dataset={"name": "squares"})
    assert (row["subject"], row["status"], row["check"]) == ("numpy_ref:1.0", "ok", "passed")
    assert row["step_ms"] > 0


@pytest.mark.slow
def test_a_new_optimiser_is_checked_and_trains(sweep):
    rule = {**SPEC["training"], "optimiser": "signed"}
    answer = sweep("plain", name="rule", dataset=TINY, training=rule)
    (row,) = answer["results"]
    assert answer["rule"][0]["source"] == "ours"
    assert (row["status"], row["check"]) == ("ok", "passed")
    assert row["accuracy_test"] is not None
