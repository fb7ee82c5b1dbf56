"""A whole worker in this process: its events, its files and its exit codes."""

import hashlib
import json
import os
import signal
import sys

import numpy
import pytest

from tests.fake_job import job_json, said_in
from workers import frameworks, freeze, protocol, run
from workers.batches import Batches
from workers.frameworks.numpy_ref import adapter as numpy_ref


@pytest.fixture(autouse=True)
def _signals():
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """Forty training pictures and ten for the test."""
    folder = tmp_path_factory.mktemp("data")
    rng = numpy.random.RandomState(0)
    for name, count in (("train", 40), ("test", 10)):
        numpy.save(str(folder / (name + "_x.npy")), rng.randint(0, 256, (count, 3, 8, 8)).astype(numpy.uint8))
        numpy.save(str(folder / (name + "_y.npy")), rng.randint(0, 5, count))
    return str(folder)


@pytest.fixture
def start(tmp_path_factory, data):
    """start(**changes of the job) -> (exit code, events, folder)."""

    def start(**changes):
        folder = tmp_path_factory.mktemp("job")
        numpy.save(str(folder / "train.npy"), numpy.arange(30))
        numpy.save(str(folder / "valid.npy"), numpy.arange(30, 40))
        (folder / "job.json").write_text(job_json(**changes))
        code = run.main([str(folder), data])
        return code, said_in(folder), folder

    return start


def test_a_trial_tells_its_story_in_order(start):
    code, events, _ = start()
    kinds = [event["kind"] for event in events if event["kind"] != "progress"]  # a slow machine tells of it
    assert code == 0
    assert kinds == [
        "hello",
        "built",
        "training",
        "epoch",
        "score",
        "epoch",
        "score",
        "score",
        "confusion",
        "place",
        "done",
    ]


def test_every_test_picture_is_counted_among_the_confusions(start):
    _, events, _ = start()
    (told,) = [event["counts"] for event in events if event["kind"] == "confusion"]
    (score,) = [event for event in events if event["kind"] == "score" and event["split"] == "test"]
    assert sum(count for _, _, count in told) == score["pictures"]
    right = sum(count for true, taken, count in told if true == taken)
    assert right == round(score["accuracy"] * score["pictures"])


def test_the_test_set_is_read_once_at_the_end(start):
    _, events, _ = start()
    scores = [(event["split"], event["epoch"]) for event in events if event["kind"] == "score"]
    assert scores == [("valid", 0), ("valid", 1), ("test", 1)]


def test_time_and_sequence_rise(start):
    _, events, _ = start()
    assert [event["seq"] for event in events] == list(range(len(events)))
    assert sorted(event["t"] for event in events) == [event["t"] for event in events]


def test_the_hash_is_that_of_the_weights_that_were_saved(start):
    _, events, folder = start()
    total = hashlib.sha256()
    with numpy.load(str(folder / "weights.npz")) as weights:
        assert weights.files[0] == "conv1.weight"
        for name in weights.files:
            total.update(name.encode() + b"\0" + weights[name].tobytes())
    assert events[-1]["weights_sha256"] == total.hexdigest()


def test_the_seed_decides_the_weights(start):
    hashes = [start(seed=seed)[1][-1]["weights_sha256"] for seed in (1, 1, 2)]
    assert hashes[0] == hashes[1]
    assert hashes[0] != hashes[2]


def test_fingerprints_end_with_saved_weights_and_test_pictures(start):
    _, events, folder = start(fingerprint="epoch")
    first, last, end = [event for event in events if event["kind"] == "fingerprint"]
    with numpy.load(str(folder / "weights.npz")) as weights:
        saved = {name: hashlib.sha256(weights[name].tobytes()).hexdigest() for name in weights.files}
        assert list(last["weights"]) == weights.files
    assert last["weights"] == saved
    assert first["weights"] != saved
    assert [list(event["predictions"]) for event in (first, last, end)] == [["valid"], ["valid"], ["test"]]


def test_one_seed_leaves_one_set_of_fingerprints(start):
    def prints(seed):
        said = [event for event in start(fingerprint="epoch", seed=seed)[1] if event["kind"] == "fingerprint"]
        return [(event["epoch"], event["weights"], event["predictions"]) for event in said]

    assert prints(1) == prints(1)
    assert prints(1) != prints(2)


@pytest.mark.parametrize(
    ("changes", "code", "reason"),
    [
        ({"feed": "native"}, 66, "feed: numpy has no loader of its own"),
        ({"v": 1}, 64, "version 1"),
        ({"kind": "dance"}, 64, "kind is 'dance'; known: "),
        ({"payload": {}}, 64, "payload lacks training, measure"),
        ({"optimiser": "ftrl"}, 66, "optimiser: this adapter has no 'ftrl'; it has adam, adamw, lion"),
        ({"initialiser": "zeros"}, 64, "there is no initialiser 'zeros'; known: he_normal"),
        ({"framework": "theano"}, 64, "framework is 'theano'; known: "),
        ({"network": {"label": "none", "ops": []}}, 64, "this one has none"),
        ({"batch_size": 64}, 64, "one batch takes 64"),
        ({"options": {"speed": 11}}, 64, "options.speed is not known"),
        ({"device": "gpu"}, 66, "CPU only"),
        ({"learning_rate": 1e300}, 67, "the training loss became"),
        ({"expects": {"dtype": "float16"}}, 68, "its row expects dtype = 'float16'; in force is 'float64'."),
        ({"expects": {"spin": 1}}, 68, "its row expects spin = 1, which the worker does not report."),
    ],
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # numpy's own, where the loss runs away
def test_what_goes_wrong_is_a_fail_event_and_an_exit_code(start, changes, code, reason):
    seen, events, _ = start(**changes)
    assert (seen, events[-1]["kind"], events[-1]["code"]) == (code, "fail", code)
    assert reason in events[-1]["reason"]


def test_no_step_is_timed_where_a_setting_is_not_in_force(start):
    _, events, _ = start(expects={"dtype": "float16"})
    assert [event["kind"] for event in events] == ["hello", "built", "fail"]


def test_an_unsupported_op_is_named(start):
    _, events, _ = start(device="gpu")
    assert events[-1]["op"] == "device"


def test_a_bug_is_told_with_its_traceback(start, monkeypatch):
    monkeypatch.setattr(numpy_ref.Adapter, "step", lambda self, batch: 1 // 0)
    code, events, _ = start()
    assert (code, events[-1]["reason"].split(":")[0]) == (70, "ZeroDivisionError")
    assert "test_worker_process.py" in events[-1]["log"]


def test_a_framework_that_does_not_import_is_65(start, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "workers.frameworks.pytorch.adapter", raising=False)
    code, events, _ = start(framework="pytorch")
    assert (code, events[-1]["code"]) == (65, 65)
    assert "pytorch does not import" in events[-1]["reason"]


def test_a_field_that_is_missing_is_named(tmp_path, data):
    (tmp_path / "job.json").write_text(json.dumps({"v": protocol.VERSION}))
    assert run.main([str(tmp_path), data]) == 64
    assert "lacks kind, framework" in said_in(tmp_path)[-1]["reason"]


def test_an_old_record_is_never_continued(start, data):
    _, _, folder = start()
    before = (folder / "events.jsonl").read_text()
    assert run.main([str(folder), data]) == 64
    assert (folder / "events.jsonl").read_text() == before


def test_sigterm_leaves_with_the_record_closed(start, monkeypatch):
    monkeypatch.setattr(numpy_ref.Adapter, "step", lambda self, batch: signal.getsignal(signal.SIGTERM)(15, None))
    with pytest.raises(SystemExit) as left:
        start()
    assert left.value.code == 128 + 15


@pytest.mark.skipif(not hasattr(os, "register_at_fork"), reason="CPython 3.6, on which no loader has processes")
def test_a_process_of_a_loader_ends_at_sigterm_without_python(start, monkeypatch):
    is_default = []

    def fork(self, batch):
        child = os.fork()
        if not child:
            os._exit(7 if signal.getsignal(signal.SIGTERM) == signal.SIG_DFL else 1)
        is_default.append(os.waitpid(child, 0)[1] >> 8 == 7)
        return 0.5

    monkeypatch.setattr(numpy_ref.Adapter, "step", fork)
    start()
    assert set(is_default) == {True}


def test_wrong_arguments_are_a_bad_job():
    assert (run.main([]), run.main(["a", "b", "c"])) == (64, 64)


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """(exit code, folder) of a selfcheck of the oracle."""
    folder = tmp_path_factory.mktemp("checked")
    (folder / "job.json").write_text(job_json(kind="selfcheck"))
    before = signal.getsignal(signal.SIGTERM)
    code = run.main([str(folder)])
    signal.signal(signal.SIGTERM, before)
    return code, folder


@pytest.mark.slow
def test_the_oracle_passes_its_selfcheck_and_leaves_a_reference(checked):
    code, folder = checked
    assert code == 0
    kinds = [event["kind"] for event in said_in(folder)]
    assert [kind for kind in kinds if kind != "progress"] == ["hello", "built", "check", "done"]
    phases = dict.fromkeys(event["phase"] for event in said_in(folder) if event["kind"] == "progress")
    assert [phase.partition(" (")[0] for phase in phases] == [
        "regime 'first'",
        "regime 'study'",
        *(f"the oracle's '{name}'" for name in ("first", "clean", "study", "long")),
        "a small batch and black pictures",
    ]
    assert list(said_in(folder)[-2]["seconds"]) == [phase.partition(" (")[0] for phase in phases]
    assert said_in(folder)[-2]["passed"] is True
    assert (folder / "reference.npz").exists()


@pytest.mark.slow
def test_a_selfcheck_that_fails_is_a_result(checked, tmp_path, monkeypatch):
    (tmp_path / "job.json").write_text(job_json(kind="selfcheck"))
    (tmp_path / "reference.npz").write_bytes((checked[1] / "reference.npz").read_bytes())
    monkeypatch.setattr(Batches, "shuffled", lambda self, seed, epoch: self.in_order()[:-1])
    assert run.main([str(tmp_path)]) == 0
    assert said_in(tmp_path)[-2]["passed"] is False


def test_every_framework_folder_is_found():
    folder = os.path.dirname(frameworks.__file__)
    adapters = [name for name in os.listdir(folder) if os.path.exists(os.path.join(folder, name, "adapter.py"))]
    assert frameworks.names() == sorted(adapters)
    assert {"numpy_ref", "pytorch"} <= set(adapters)


def test_an_event_is_one_line_of_json_with_its_number(tmp_path):
    emitter = protocol.Emitter(str(tmp_path / "events.jsonl"), lambda: 1.5)
    emitter.emit("epoch", loss=[1.0, float("nan"), numpy.float32(2)], best=float("inf"))
    emitter.close()
    assert said_in(tmp_path) == [
        {"v": 3, "seq": 0, "t": 1.5, "kind": "epoch", "loss": [1.0, None, 2.0], "best": None},
    ]


def test_an_event_is_on_disk_before_the_next_is_said(tmp_path):
    emitter = protocol.Emitter(str(tmp_path / "events.jsonl"), lambda: 0.0)
    emitter.emit("training")
    assert said_in(tmp_path)[0]["kind"] == "training"
    emitter.close()


def test_a_kind_that_the_protocol_does_not_name_is_refused(tmp_path):
    emitter = protocol.Emitter(str(tmp_path / "events.jsonl"), lambda: 0.0)
    with pytest.raises(ValueError, match="no event kind 'hullo'"):
        emitter.emit("hullo")
    emitter.close()


def test_installed_distributions_are_listed_by_name_and_version(tmp_path):
    for folder, file, name in (
        ("a-1.dist-info", "METADATA", "Big_Name"),
        ("b-2.egg-info", "PKG-INFO", "b"),
        ("c.dist-info", "METADATA", "c"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / file).write_text("Metadata-Version: 2.1\nName: %s\nVersion: 1.0\n\nName: no\n" % name)
    (tmp_path / "d.egg-info").write_text("Name: d\nVersion: 4\n")
    assert freeze.installed([str(tmp_path), str(tmp_path / "absent")]) == ["b==1.0", "big-name==1.0", "c==1.0", "d==4"]


def test_a_freeze_names_this_python_and_this_numpy(tmp_path):
    freeze.main([str(tmp_path)])
    frozen = json.loads((tmp_path / "freeze.json").read_text())
    assert frozen["python"] == "%d.%d.%d" % sys.version_info[:3]
    assert "numpy==" + numpy.__version__ in frozen["freeze"]


@pytest.mark.parametrize(("is_told", "passes"), [(True, True), (False, False)])
def test_an_audit_repeats_how_pictures_were_changed(start, data, is_told, passes):
    changes = {"shift": 0.2, "scale": 0.1, "rotation_degrees": 20, "brightness": 0.3, "erase": 0.4, "flip": [0, 1, 2]}
    training = json.loads(job_json(audit=2, epochs=2, batch_size=8))
    training["payload"]["augment"] = changes
    code, events, folder = start(audit=2, epochs=2, batch_size=8, payload=training["payload"])
    assert code == protocol.OK
    losses = [event["loss"] for event in events if event["kind"] == "epoch"]
    payload = {"training": training["payload"]["training"], "losses": losses}
    payload.update({"augment": changes} if is_told else {})
    (folder / "events.jsonl").unlink()
    (folder / "job.json").write_text(job_json("audit", payload=payload))
    assert run.main([str(folder), data]) == protocol.OK
    (check,) = [event for event in said_in(folder) if event["kind"] == "check"]
    assert check["passed"] == passes


def test_an_augmentation_that_is_none_is_a_bad_job(start):
    training = json.loads(job_json())
    training["payload"]["augment"] = {"shift": 0.1}
    assert start(payload=training["payload"])[0] == protocol.BAD_JOB
