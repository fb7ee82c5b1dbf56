"""Answers one picture after the other, as they come through a pipe in the job folder: a camera at the other end.

questions.fifo: for each question how many pictures (uint32, little-endian) and they themselves (uint8, (n, 3, s, s));
0 pictures, or the end of the pipe, ends the job. answers.fifo: for each the seconds of placing and inferring (float64)
and the logits (float32, (n, classes)).
Before the first question the logits are compared with the oracle's, as before a timed inference.
"""

import struct

import numpy

from workers.batches import TO_UNIT
from workers.frameworks import inference_settings, runner
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.jobs import infer
from workers.protocol import BadJob, NotEqual, Unsupported
from workers.session import clock

PAYLOAD = ("weights_sha256",)
QUESTIONS, ANSWERS = "questions.fifo", "answers.fifo"
PICTURES = 8
LARGEST = 4096  # pictures of one question
COUNT, SECONDS = struct.Struct("<I"), struct.Struct("<d")


def work(trial):
    """Build, compare, answer until the pipe ends. trial: Session; start.npz in its folder holds the weights."""
    job, size = trial.job, trial.network.input_size
    adapter_class = trial.import_adapter()
    began = clock()
    net = trial.build_net()
    weights = trial.trained_weights(net, job["payload"]["weights_sha256"])
    adapter = adapter_class(net, weights, job["device"], trial.inference_settings(1), job["options"])
    describe = adapter.describe()
    if describe.get("precision") == infer.INT8:
        raise Unsupported("calibration", "8 bits are calibrated on training pictures, and here there are none")
    adapter = runner(adapter)
    trial.say_built(net, describe, clock() - began)
    trial.require_settings(describe)

    pictures = numpy.random.RandomState(0).randint(0, 256, (PICTURES, 3, size, size)).astype(numpy.uint8)
    oracle = Oracle(net, weights, "cpu", inference_settings(1), {}).exact_logits(floats(pictures))
    off = infer.off(answered(adapter, pictures), oracle)
    is_full = describe.get("precision", infer.FLOAT32) == infer.FLOAT32
    trial.emit("check", figures={"logits": off}, bounds=infer.BOUNDS, passed=is_full and off <= infer.BOUNDS["logits"])
    if is_full and not off <= infer.BOUNDS["logits"]:
        raise NotEqual(f"it computes in float32, and its logits are off by {off:.2g}.")

    with open(QUESTIONS, "rb") as questions, open(ANSWERS, "wb") as answers:
        while answer(adapter, questions, answers, size):
            pass
    trial.emit("done", weights_sha256=job["payload"]["weights_sha256"], total_seconds=clock())


def answer(adapter, questions, answers, size):
    """Answer the next question; False if there is none. Raises BadJob for one that is cut short or too large."""
    head = questions.read(COUNT.size)
    count = COUNT.unpack(head)[0] if len(head) == COUNT.size else 0
    if not count:
        return False
    if count > LARGEST:
        raise BadJob(f"a question of {count} pictures; {LARGEST} are the most.")
    content = questions.read(count * 3 * size * size)
    if len(content) != count * 3 * size * size:
        raise BadJob("a question was cut short.")
    pictures = numpy.frombuffer(content, numpy.uint8).reshape(count, 3, size, size)
    began = clock()
    logits = answered(adapter, pictures)
    answers.write(SECONDS.pack(clock() - began) + numpy.ascontiguousarray(logits, "<f4").tobytes())
    answers.flush()
    return True


def answered(adapter, pictures):
    """Logits (n, classes) of uint8 pictures, one after the other: runtimes are built for batches of one."""
    return numpy.concatenate(
        [adapter.logits(adapter.infer(adapter.prepare(floats(picture[None])))) for picture in pictures]
    )


def floats(pictures):
    """float32 in [0, 1], as the batches of a training."""
    x = pictures.astype(numpy.float32)
    x *= TO_UNIT
    return x
