"""Repeats the audited steps of a timed trial with the oracle, at that trial's own batch, size and rate."""

import os
from typing import NamedTuple

import numpy

from workers import arrays, native, protocol
from workers.audits import COPIES, FILE
from workers.averages import over_n
from workers.batches import open_batches
from workers.bounds import bounds, is_within, worst
from workers.frameworks import Settings
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.optimisers import is_audited, rule_of
from workers.process import clock
from workers.protocol import BadJob, Training

PAYLOAD = ("training", "losses")

ROUNDING = 64 * float(numpy.finfo(numpy.float32).eps)
"""Of the weights: an update of no more than this cannot be told from their rounding."""


def work(job):
    """Emit how far the audited steps are from the oracle's. job: Job, with network and seed of that trial."""
    training = protocol.record(Training, job.payload["training"], "job.json: payload.training")
    if not is_audited(training):
        raise BadJob(f"the state of the optimiser {training.optimiser!r} is not known; its steps cannot be repeated.")
    if job.data_folder is None:
        raise BadJob("an audit needs the pictures of its trial: give the folder of the prepared data.")
    adapter_class = job.import_adapter()
    began = clock()
    augmentation = protocol.augmentation_of(job.payload)
    batches, _, _ = open_batches(job.folder, job.data_folder, job.net, training.batch_size, augmentation)
    job.say_built(adapter_class.describe(), clock() - began)
    kept = load(os.path.join(job.folder, FILE), job.net)
    if not kept:
        raise BadJob(f"{FILE} holds no step.")
    allowed = bounds("audit", job.precision)
    figures = dict.fromkeys(allowed, 0.0)
    with native.one_blas_thread():
        for at, ((epoch, step), copies) in enumerate(sorted(kept.items()), start=1):
            cut = batches.cut(batches.shuffled(job.seed, epoch)[step])
            audited = Audited(epoch, step, copies, cut, job.payload["losses"][epoch][step])
            seen = compare(job.net, training, audited)
            figures = {name: worst([figures[name], value]) for name, value in seen.items()}
            job.emit("progress", epoch=0, step=at, steps=len(kept))
    job.emit("check", figures=figures, bounds=dict(allowed), passed=is_within(figures, allowed))
    job.emit("done", weights_sha256=None, total_seconds=clock())


def load(path, net):
    """(epoch, step) -> (weights in front, before, after) of a training of `net`. Raises BadJob if it holds others."""
    names = [weight.name for weight in net.weights]
    try:
        copies = arrays.read(path)
        places = sorted({tuple(map(int, key.split("/")[:2])) for key in copies})
        return {
            place: tuple({name: copies[f"{place[0]}/{place[1]}/{copy}/{name}"] for name in names} for copy in COPIES)
            for place in places
        }
    except (ValueError, KeyError) as error:
        raise BadJob(f"{path} does not hold the audited steps of this network: {error}.") from error


class Audited(NamedTuple):
    """One audited step. copies: weights in front, before and after, name -> float32 array.

    batch: (x, y) of the step. loss: as the worker read it.
    """

    epoch: int
    step: int
    copies: tuple
    batch: tuple
    loss: float


def compare(net, training, audited):
    """Figures of one audited step against the oracle; see workers/bounds.py."""
    front, before, after = (
        {name: value.astype(numpy.float64) for name, value in one.items()} for one in audited.copies
    )
    batch, loss = audited.batch, audited.loss
    oracle = Oracle(net, before, "cpu", Settings(training, threads=1, seed=0), {})
    wanted_loss, gradients = oracle.gradients(oracle.place(*batch))
    averages = oracle.weights()
    rule = rule_of(training)
    rate, rate_before = rule.rate_at(audited.epoch, audited.step), rule.rate_at(audited.epoch, audited.step - 1)
    moves, wanted = {}, {}
    for name, gradient in gradients.items():
        state = rule.left_by(front[name], before[name], rate_before)
        moves[name] = after[name] - before[name]
        wanted[name] = rule.update(state, before[name], gradient, rate)[1] - before[name]
    others = [weight.name for weight in net.weights if not weight.is_trainable]
    of_batch = over_n(net, before, averages, len(batch[1]))
    rest = {name: moves[name] - wanted[name] for name in moves}
    weight = _norm(before[name] for name in moves)
    kept_moves = _norm(averages[name] - before[name] for name in others)
    return {
        "loss": abs(loss / wanted_loss - 1),
        "update": _norm(rest.values()) / (_norm(wanted.values()) + ROUNDING * weight),
        "averages": min(_norm(after[name] - due[name] for name in others) for due in (averages, of_batch))
        / (kept_moves + ROUNDING * _norm(before[name] for name in others) or 1.0),
        "decay": abs(sum(float((rest[name] * before[name]).sum()) for name in rest)) / (rate * weight**2),
    }


def _norm(arrays):
    return sum(float((value * value).sum()) for value in arrays) ** 0.5
