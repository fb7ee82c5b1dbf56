"""Repeats the audited steps of a timed trial with the oracle, at that trial's own batch, size and rate."""

import os
from typing import NamedTuple

import numpy

from workers import arrays, mixed, native, protocol
from workers.audits import COPIES, FILE, STATES
from workers.averages import over_n
from workers.batches import open_batches
from workers.bounds import FLOAT32, bounds, is_within, worst
from workers.frameworks import Settings
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.optimisers import rule_of
from workers.process import clock
from workers.protocol import BadJob

PAYLOAD = ("training", "losses")

ROUNDING = 64 * float(numpy.finfo(numpy.float32).eps)
"""Of the weights: an update of no more than this cannot be told from their rounding."""

LEAST_RATE = 4e-3
"""Below it the bound of a decay (3e-5 times the rate) would be less than one rounding of a weight, 1.2e-7."""

CHANCE = 4
"""Standard deviations of what the sum of products with the weights is, if an error has no direction."""


def work(job):
    """Emit how far the audited steps are from the oracle's. job: Job, with network and seed of that trial."""
    training = protocol.training_of(job.payload)
    if job.data_folder is None:
        raise BadJob("an audit needs the pictures of its trial: give the folder of the prepared data.")
    adapter_class = job.import_adapter()
    began = clock()
    augmentation = protocol.augmentation_of(job.payload)
    batches, _, _ = open_batches(job.folder, job.data_folder, job.net, training.batch_size, augmentation)
    job.say_built(adapter_class.describe(), clock() - began)
    rule = rule_of(training, len(batches) // batches.size)
    kept = load(os.path.join(job.folder, FILE), job.net, rule)
    if not kept:
        raise BadJob(f"{FILE} holds no step.")
    allowed = dict(bounds("audit", job.precision), **(bounds("audit_sign") if rule.takes_sign else {}))
    if not any(states for _, states in kept.values()):
        allowed.pop("state", None)
    figures = dict.fromkeys(allowed, 0.0)
    with native.one_blas_thread():
        for at, ((epoch, step), (copies, states)) in enumerate(sorted(kept.items()), start=1):
            cut = batches.cut(batches.shuffled(job.seed, epoch)[step])
            count = epoch * (len(batches) // batches.size) + step
            audited = Audited(epoch, step, copies, cut, job.payload["losses"][epoch][step], states, count)
            seen = compare(job.net, rule, audited, job.precision)
            figures = {name: worst([figures[name], value]) for name, value in seen.items()}
            job.emit("progress", epoch=0, step=at, steps=len(kept))
    job.emit("check", figures=figures, bounds=allowed, passed=is_within(figures, allowed))
    job.emit("done", weights_sha256=None, total_seconds=clock())


def load(path, net, rule):
    """(epoch, step) -> ((weights in front, before, after), states) of a training of `net` by `rule`.

    states: before and after, each weight name -> {name: array}; None where no adapter had to show them.
    Raises BadJob if the file holds other weights.
    """
    names = [weight.name for weight in net.weights]
    trained = [weight.name for weight in net.weights if weight.is_trainable]
    try:
        copies = arrays.read(path)
        places = sorted({tuple(map(int, key.split("/")[:2])) for key in copies})
        kept = {}
        for epoch, step in places:
            weights = tuple({name: copies[f"{epoch}/{step}/{copy}/{name}"] for name in names} for copy in COPIES)
            states = None
            if f"{epoch}/{step}/{STATES[0]}/{trained[0]}/{rule.STATE[0]}" in copies:
                states = tuple(
                    {
                        name: {part: copies[f"{epoch}/{step}/{copy}/{name}/{part}"] for part in rule.STATE}
                        for name in trained
                    }
                    for copy in STATES
                )
            kept[epoch, step] = (weights, states)
        return kept
    except (ValueError, KeyError) as error:
        raise BadJob(f"{path} does not hold the audited steps of this network: {error}.") from error


class Audited(NamedTuple):
    """One audited step. copies: weights in front, before and after, name -> float32 array.

    batch: (x, y) of the step. loss: as the worker read it. states: as `load` gives them. count: of updates before it.
    """

    epoch: int
    step: int
    copies: tuple
    batch: tuple
    loss: float
    states: object = None
    count: int = 0


def compare(net, rule, audited, precision=FLOAT32):
    """Figures of one audited step against the oracle in that precision; see workers/bounds.py. rule: of the training.

    In a narrow one the exact oracle repeats the step too: `rounding` is how far the update is from the exact one, over
    how far the model's is.

    Raises BadJob if neither the weights nor the adapter show the state in front of the step.
    """
    if audited.states is None and not rule.shows_itself:
        name = rule.training.optimiser
        raise BadJob(f"the state of the optimiser {name!r} is not known; its steps cannot be repeated.")
    before, after = ({name: value.astype(numpy.float64) for name, value in one.items()} for one in audited.copies[1:])
    due = _repeated(net, rule, audited, precision)
    others = [weight.name for weight in net.weights if not weight.is_trainable]
    of_batch = over_n(net, before, due.averages, len(audited.batch[1]))
    moves = {name: after[name] - before[name] for name in due.moves}
    rest = {name: moves[name] - due.moves[name] for name in moves}
    weight = _norm(before[name] for name in moves)
    kept_moves = _norm(due.averages[name] - before[name] for name in others)
    figures = {
        "loss": abs(audited.loss / due.loss - 1),
        "update": _norm(rest.values()) / (_norm(due.moves.values()) + ROUNDING * weight),
        "averages": min(_norm(after[name] - own[name] for name in others) for own in (due.averages, of_batch))
        / (kept_moves + ROUNDING * _norm(before[name] for name in others) or 1.0),
        "decay": _decay(rest, before) / max(rule.rate_at(audited.epoch, audited.step), LEAST_RATE),
    }
    if audited.states is not None:
        figures["state"] = worst(_state_off(part, audited.states[1], due.states) for part in rule.STATE)
    if precision != FLOAT32:
        exact = _repeated(net, rule, audited, FLOAT32)
        seen, model = (_norm(update[name] - exact.moves[name] for name in exact.moves) for update in (moves, due.moves))
        figures["rounding"] = mixed.away_from_one(seen / model)
    return figures


class _Step(NamedTuple):
    """One step of the oracle: its loss, and by name how it moves weights, the averages and the states after it."""

    loss: float
    moves: dict
    averages: dict
    states: dict


def _repeated(net, rule, audited, precision):
    """The _Step that the oracle takes from the weights before it, in that precision."""
    front, before = ({name: value.astype(numpy.float64) for name, value in one.items()} for one in audited.copies[:2])
    oracle = Oracle(net, before, "cpu", Settings(rule.training, threads=1, seed=0, precision=precision), {})
    loss, gradients = oracle.gradients(oracle.place(*audited.batch))
    rate, rate_before = rule.rate_at(audited.epoch, audited.step), rule.rate_at(audited.epoch, audited.step - 1)
    moves, states = {}, {}
    for name, gradient in rule.clipped(gradients).items():
        if audited.states is None:
            state = rule.left_by(front[name], before[name], rate_before)
        else:
            state = {part: value.astype(numpy.float64) for part, value in audited.states[0][name].items()}
            state["count"] = audited.count
        states[name], updated = rule.update(state, before[name], gradient, rate)
        moves[name] = updated - before[name]
    return _Step(loss, moves, oracle.weights(), states)


def _decay(rest, before):
    """The share of all weights by which an update differs, beyond what errors without a direction give by chance."""
    weight, count = _norm(before[name] for name in rest), sum(value.size for value in rest.values())
    along = abs(sum(float((rest[name] * before[name]).sum()) for name in rest))
    return max(0.0, along - CHANCE * _norm(rest.values()) * weight / count**0.5) / weight**2


def _state_off(part, seen, wanted):
    """How far one part of the state after a step is off, all weights together, as a share of its length."""
    off = _norm(seen[name][part] - wanted[name][part] for name in wanted)
    return off / (_norm(wanted[name][part] for name in wanted) or 1.0)


def _norm(arrays):
    return sum(float((value * value).sum()) for value in arrays) ** 0.5
