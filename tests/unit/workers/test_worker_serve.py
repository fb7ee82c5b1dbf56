"""Pictures that come through a pipe, and their answers."""

import io
import json
import os
import threading

import numpy
import pytest

from tests.small_networks import as_json, residual
from workers import process, protocol, run
from workers.batches import Scale
from workers.frameworks import Settings
from workers.frameworks.numpy_ref.adapter import Adapter
from workers.jobs import serve
from workers.protocol import BadJob, Training

CLASSES, SIZE = 5, 8
NET = residual((3, SIZE, SIZE), CLASSES)
WEIGHTS = NET.start(3)
SETTINGS = Settings(Training("sgd", "he_normal", 0.01, 0.9, 1, 1), 1, 0)


def oracle():
    return Adapter(NET, WEIGHTS, "cpu", SETTINGS, {})


class Echo(object):
    """A runtime whose logits are the sums of the planes."""

    def prepare(self, x):
        return x

    def infer(self, x):
        return x.sum((2, 3))

    def logits(self, handle):
        return handle


def asked(content):
    """What is answered to these bytes; raises what the job would."""
    answers = io.BytesIO()
    is_more = serve.answer(Echo(), io.BytesIO(content), answers, (3, SIZE, SIZE), Scale())
    return is_more, answers.getvalue()


def test_an_answer_is_a_time_and_the_logits_of_each_picture():
    pictures = numpy.arange(2 * 3 * SIZE * SIZE, dtype=numpy.uint8).reshape(2, 3, SIZE, SIZE)
    is_more, said = asked(serve.COUNT.pack(2) + pictures.tobytes())
    logits = numpy.frombuffer(said[serve.SECONDS.size :], "<f4").reshape(2, 3)
    assert is_more
    assert serve.SECONDS.unpack(said[: serve.SECONDS.size])[0] >= 0
    assert logits == pytest.approx(pictures.sum((2, 3)) / 255.0, rel=1e-5)


@pytest.mark.parametrize("end", [b"", serve.COUNT.pack(0)], ids=["the pipe ends", "no pictures"])
def test_the_end_of_the_questions_ends_the_job(end):
    assert asked(end) == (False, b"")


@pytest.mark.parametrize(
    ("content", "said"),
    [(serve.COUNT.pack(2) + b"few", "was cut short"), (serve.COUNT.pack(10**6), "4096 are the most")],
    ids=["cut short", "too many"],
)
def test_a_question_that_is_damaged_is_refused(content, said):
    with pytest.raises(BadJob, match=said):
        asked(content)


def test_a_job_answers_what_the_oracle_says(tmp_path):
    job = {"v": protocol.VERSION, "kind": "serve", "framework": "numpy_ref", "device": "cpu", "seed": 0, "threads": 1}
    job.update(
        {
            "options": {},
            "expects": {},
            "network": as_json(NET),
            "precision": "float32",
        }
    )
    job["payload"] = {"weights_sha256": process.weights_sha256(WEIGHTS)}
    (tmp_path / "job.json").write_text(json.dumps(job))
    numpy.savez(str(tmp_path / "start.npz"), **WEIGHTS)
    for pipe in (serve.QUESTIONS, serve.ANSWERS):
        os.mkfifo(str(tmp_path / pipe))
    pictures = numpy.random.RandomState(1).randint(0, 256, (3, 3, SIZE, SIZE)).astype(numpy.uint8)
    said = []

    def ask():
        with open(str(tmp_path / serve.QUESTIONS), "wb") as questions:
            questions.write(serve.COUNT.pack(3) + pictures.tobytes())
            questions.flush()
            with open(str(tmp_path / serve.ANSWERS), "rb") as answers:
                said.append(answers.read(serve.SECONDS.size + 4 * 3 * CLASSES))
            questions.write(serve.COUNT.pack(0))

    asker = threading.Thread(target=ask)
    asker.start()
    code = run.main([str(tmp_path)])
    asker.join()
    logits = numpy.frombuffer(said[0][serve.SECONDS.size :], "<f4").reshape(3, CLASSES)
    assert code == protocol.OK
    assert logits == pytest.approx(oracle().exact_logits(Scale().apply(pictures)), rel=1e-4, abs=1e-5)
