"""An inference from its folder to its events, of the oracle and of runtimes that are wrong in known ways."""

import json

import numpy
import pytest

from tests.small_networks import as_json, residual
from workers import process, protocol, run
from workers.frameworks import inference_settings
from workers.frameworks.numpy_ref import adapter as reference
from workers.jobs import infer

ORACLE = reference.Adapter
PICTURES, CLASSES, SIZE = 37, 5, 8
NET = residual((3, SIZE, SIZE), CLASSES)


@pytest.fixture
def asked(tmp_path):
    """asked(**changes) -> (exit code, events) of a job in a new folder; the last folder is asked.folder."""
    weights = NET.start(3)
    data = tmp_path / "data"
    data.mkdir()
    rng = numpy.random.RandomState(0)
    numpy.save(data / "test_x.npy", rng.randint(0, 255, (PICTURES, 3, SIZE, SIZE)).astype(numpy.uint8))
    numpy.save(data / "test_y.npy", rng.randint(0, CLASSES, PICTURES).astype(numpy.int64))
    numpy.save(data / "train_x.npy", numpy.full((9, 3, SIZE, SIZE), 51, numpy.uint8))
    numpy.save(data / "train_y.npy", numpy.zeros(9, numpy.int64))
    jobs = []

    def asked(**changes):
        folder = tmp_path / f"job{len(jobs)}"
        folder.mkdir()
        jobs.append(folder)
        asked.folder = folder
        numpy.savez(folder / "start.npz", **changes.pop("weights", weights))
        numpy.save(folder / "train.npy", numpy.arange(6))
        if "reference" in changes:
            numpy.savez(folder / "reference.npz", logits=changes.pop("reference"))
        inference = {
            "scenario": "single-stream",
            "batch_size": 1,
            "seconds": 0.02,
            "warmup_seconds": 0.0,
            "bound_seconds": 1.0,
            "weights_sha256": process.weights_sha256(weights),
        }
        for name in inference:
            inference[name] = changes.pop(name, inference[name])
        job = {
            "v": protocol.VERSION,
            "kind": "infer",
            "framework": "numpy_ref",
            "device": "cpu",
            "network": as_json(NET),
            "precision": "float32",
            "seed": 0,
            "threads": 1,
            "options": {},
            "expects": {},
            "payload": {"inference": inference},
        }
        (folder / "job.json").write_text(json.dumps(dict(job, **changes)))
        code = run.main([str(folder), str(data)])
        events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
        return code, {event["kind"]: event for event in events}

    return asked


def test_a_job_leaves_what_the_report_reads(asked):
    code, events = asked()
    assert code == protocol.OK
    assert {"hello", "built", "check", "queries", "score", "answers", "done"} <= events.keys()


def test_the_oracle_gives_its_own_logits(asked):
    _, events = asked()
    assert events["check"]["passed"]
    assert events["check"]["figures"]["logits"] < 1e-6  # it computes in float64, and hands over float32
    assert events["answers"]["differing"] == []


def test_every_test_picture_is_answered_once_whatever_the_batch(asked):
    for batch_size in (1, 8, 64):
        _, events = asked(scenario="offline", batch_size=batch_size)
        assert len(events["answers"]["classes"]) == events["score"]["pictures"] == PICTURES


def test_logits_of_the_oracle_are_left_for_the_next_job(asked):
    asked()
    with numpy.load(asked.folder / "reference.npz") as arrays:
        assert arrays["logits"].shape == (PICTURES, CLASSES)


def test_logits_that_were_left_are_those_compared_with(asked):
    code, events = asked(reference=numpy.ones((PICTURES, CLASSES)))
    assert code == protocol.NOT_EQUAL
    assert "off by" in events["fail"]["reason"]


def test_logits_of_other_pictures_are_refused(asked):
    code, events = asked(reference=numpy.ones((PICTURES + 1, CLASSES)))
    assert code == protocol.BAD_JOB
    assert f"{PICTURES} test pictures" in events["fail"]["reason"]


def test_other_weights_than_those_asked_for_are_refused(asked):
    code, events = asked(weights=NET.start(4))
    assert code == protocol.BAD_JOB
    assert "this job asks for" in events["fail"]["reason"]


def test_an_unknown_scenario_is_refused_with_the_known(asked):
    code, events = asked(scenario="camera")
    assert code == protocol.BAD_JOB
    assert "single-stream, multi-stream, offline, server" in events["fail"]["reason"]


def off_by(share, precision=None):
    """An adapter whose logits are off by that share of the largest."""

    class Adapter(ORACLE):
        def predict(self, batch):
            logits = ORACLE.predict(self, batch)
            return logits + numpy.float32(share * numpy.abs(logits).max())

        @staticmethod
        def describe():
            return dict(ORACLE.describe(), **({"precision": precision} if precision else {}))

    return Adapter


def test_float32_that_is_off_is_not_measured(asked, monkeypatch):
    monkeypatch.setattr(reference, "Adapter", off_by(1e-3))
    code, events = asked()
    assert code == protocol.NOT_EQUAL
    assert "queries" not in events


def test_less_than_float32_is_measured_and_no_equal(asked, monkeypatch):
    monkeypatch.setattr(reference, "Adapter", off_by(1e-3, "bfloat16"))
    code, events = asked()
    assert code == protocol.OK
    assert not events["check"]["passed"]
    assert events["check"]["figures"]["logits"] > 5e-4


def test_less_than_float32_is_no_equal_even_if_it_is_near(asked, monkeypatch):
    monkeypatch.setattr(reference, "Adapter", off_by(0, "float16"))
    assert not asked()[1]["check"]["passed"]


def test_float32_that_is_expected_and_not_in_force_is_refused(asked, monkeypatch):
    monkeypatch.setattr(reference, "Adapter", off_by(0, "bfloat16"))
    code, _ = asked(expects={"precision": "float32"})
    assert code == protocol.NOT_AS_DECLARED


def test_a_runtime_is_asked_for_no_training(asked, monkeypatch):
    class Runtime(object):
        """It does not train."""

    monkeypatch.setattr(reference, "Adapter", Runtime)
    code, events = asked(kind="probe", payload={})
    assert code == protocol.UNSUPPORTED
    assert events["fail"]["op"] == "training"


def test_a_class_that_differs_is_named_with_its_margin():
    oracle = numpy.array([[1.0, 2.0], [4.0, 3.0]])
    seen = numpy.array([[2.1, 2.0], [4.0, 3.0]])
    assert infer.differing(seen, oracle) == [[0, 0, 1, 0.25]]


def test_logits_that_are_no_numbers_are_infinitely_off():
    assert infer.off(numpy.array([[numpy.nan]]), numpy.array([[1.0]])) == float("inf")


def of_8_bits(wrong):
    """An adapter that says int8; of each `wrong`-th picture it predicts another class, if that is not 0."""

    class Adapter(ORACLE):
        calibrated_with = None

        def calibrate(self, x):
            Adapter.calibrated_with = x

        def predict(self, batch):
            logits = ORACLE.predict(self, batch)
            for at in range(len(logits)):
                Adapter.answered += 1
                if wrong and Adapter.answered % wrong == 0:
                    logits[at] = numpy.roll(logits[at], 1)
            return logits

        @staticmethod
        def describe():
            return dict(ORACLE.describe(), precision="int8")

    Adapter.answered = 0
    return Adapter


def labelled_by_the_oracle(folder):
    """Make the oracle right in every test picture, so that its accuracy is 1."""
    x = numpy.load(str(folder / "test_x.npy")).astype(numpy.float32) / numpy.float32(255)
    numpy.save(
        str(folder / "test_y.npy"),
        ORACLE(NET, NET.start(3), "cpu", inference_settings(1), {}).exact_logits(x).argmax(1),
    )


def test_8_bits_are_calibrated_on_training_pictures(asked, monkeypatch):
    adapter = of_8_bits(wrong=0)
    monkeypatch.setattr(reference, "Adapter", adapter)
    code, events = asked()
    assert code == protocol.OK
    assert adapter.calibrated_with.shape == (6, 3, SIZE, SIZE)
    assert adapter.calibrated_with == pytest.approx(0.2)
    assert events["answers"]["kept"][0] == 1.0


def test_8_bits_that_lose_too_much_accuracy_fail(asked, monkeypatch, tmp_path):
    labelled_by_the_oracle(tmp_path / "data")
    monkeypatch.setattr(reference, "Adapter", of_8_bits(wrong=2))
    code, events = asked()
    assert code == protocol.NOT_EQUAL
    assert "99% are asked for" in events["fail"]["reason"]


def test_few_pictures_do_not_decide_about_a_small_loss(asked, monkeypatch, tmp_path):
    labelled_by_the_oracle(tmp_path / "data")
    monkeypatch.setattr(reference, "Adapter", of_8_bits(wrong=36))
    code, events = asked()
    share, low, high = events["answers"]["kept"]
    assert code == protocol.OK
    assert low < 0.99 < high
    assert share < 1


def test_the_interval_of_what_is_kept_holds_as_often_as_it_says():
    rng = numpy.random.RandomState(0)
    held = 0
    for _ in range(500):
        oracle = rng.rand(800) < 0.95
        seen = numpy.where(rng.rand(800) < 0.02, ~oracle, oracle)
        # The true shares: 0.95, and 0.95 * 0.98 + 0.05 * 0.02.
        _, low, high = infer.kept_accuracy(seen, oracle)
        held += low <= 0.932 / 0.95 <= high
    assert held / 500.0 >= 0.93
