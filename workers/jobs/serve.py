"""Answers one picture after the other, as they come through a pipe in the job folder: a camera at the other end.

questions.fifo: for each question how many pictures (uint32, little-endian) and they themselves (uint8, (n, channels,
height, width)); 0 pictures, or the end of the pipe, ends the job.
scale.npy, if it is there: what the network gets of these bytes.
answers.fifo: for each the seconds of placing and inferring (float64) and the logits (float32, (n, classes)).
Before the first question the logits are compared with the oracle's, as before a timed inference.
"""

import numpy

from workers.batches import Scale
from workers.bounds import FLOAT32, INT8
from workers.frameworks import inference_settings, runner
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.jobs import infer
from workers.process import clock
from workers.protocol import ANSWERS, COUNT, QUESTIONS, SECONDS, BadJob, Unsupported

PAYLOAD = ("weights_sha256",)
PICTURES = 8
LARGEST = 4096  # pictures of one question


def work(job):
    """Build, compare, answer until the pipe ends. job: Job; start.npz in its folder holds the weights."""
    adapter_class = job.import_adapter()
    began = clock()
    weights = job.trained_weights(job.payload["weights_sha256"])
    adapter = adapter_class(job.net, weights, job.device, job.inference_settings(1), job.options)
    describe = adapter.describe()
    if describe.get("precision") == INT8:
        raise Unsupported("calibration", "8 bits are calibrated on training pictures, and here there are none")
    adapter = runner(adapter)
    job.say_built(describe, clock() - began)
    job.require_settings(describe)

    scale = Scale.read(job.folder)
    pictures = numpy.random.RandomState(0).randint(0, 256, (PICTURES,) + job.net.input).astype(numpy.uint8)
    oracle = Oracle(job.net, weights, "cpu", inference_settings(1), {}).exact_logits(scale.apply(pictures))
    infer.require_equal(
        job, {"logits": infer.off(answered(adapter, pictures, scale), oracle)}, describe.get("precision", FLOAT32)
    )

    with open(QUESTIONS, "rb") as questions, open(ANSWERS, "wb") as answers:
        while answer(adapter, questions, answers, job.net.input, scale):
            pass
    job.emit("done", weights_sha256=job.payload["weights_sha256"], total_seconds=clock())


def answer(adapter, questions, answers, shape, scale):
    """Answer the next question; False if there is none. Raises BadJob for one that is cut short or too large.

    shape: of a picture, (channels, height, width). scale: Scale, what the network gets of its bytes.
    """
    head = questions.read(COUNT.size)
    count = COUNT.unpack(head)[0] if len(head) == COUNT.size else 0
    if not count:
        return False
    if count > LARGEST:
        raise BadJob(f"a question of {count} pictures; {LARGEST} are the most.")
    size = count * shape[0] * shape[1] * shape[2]
    content = questions.read(size)
    if len(content) != size:
        raise BadJob("a question was cut short.")
    pictures = numpy.frombuffer(content, numpy.uint8).reshape((count,) + tuple(shape))
    began = clock()
    logits = answered(adapter, pictures, scale)
    answers.write(SECONDS.pack(clock() - began) + numpy.ascontiguousarray(logits, "<f4").tobytes())
    answers.flush()
    return True


def answered(adapter, pictures, scale):
    """Logits (n, classes) of uint8 pictures, one after the other: runtimes are built for batches of one."""
    return numpy.concatenate(
        [adapter.logits(adapter.infer(adapter.prepare(scale.apply(picture[None])))) for picture in pictures]
    )
