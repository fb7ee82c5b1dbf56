"""Repeats the audited steps of a timed trial with the oracle, at that trial's own batch, size and rate."""

import os

import numpy

from workers import native, protocol
from workers.audits import COPIES, FILE
from workers.batches import open_batches
from workers.frameworks import Settings
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.protocol import BadJob, Training
from workers.session import clock

PAYLOAD = ("training", "losses")

BOUNDS = {
    # Relative differences of the audited step that is off most.
    "loss": 1e-3,
    "update": 5e-2,  # of all trained arrays together, as a share of the update; ReLUs that flip by rounding move it
    "averages": 2e-2,  # likewise, of the running averages; of n or n - 1 values of a batch, since frameworks differ
    "decay": 3e-5,  # the share of all weights by which the update differs, over the rate: a decay that nobody asked for
}

ROUNDING = 64 * float(numpy.finfo(numpy.float32).eps)
"""Of the weights: an update of no more than this cannot be told from their rounding."""


def work(trial):
    """Emit how far the audited steps are from the oracle's. trial: Session, with network and seed of that trial."""
    payload = trial.job["payload"]
    training = protocol.record(Training, payload["training"], "job.json: payload.training")
    if trial.data_folder is None:
        raise BadJob("an audit needs the pictures of its trial: give the folder of the prepared data.")
    adapter_class = trial.import_adapter()
    began = clock()
    net = trial.build_net()
    batches, _, _ = open_batches(trial.folder, trial.data_folder, trial.network, training.batch_size)
    trial.say_built(net, adapter_class.describe(), clock() - began)
    kept = load(os.path.join(trial.folder, FILE), net)
    if not kept:
        raise BadJob(f"{FILE} holds no step.")
    figures = dict.fromkeys(BOUNDS, 0.0)
    with native.one_blas_thread():
        for at, ((epoch, step), copies) in enumerate(sorted(kept.items()), start=1):
            numbers = batches.shuffled(trial.job["seed"], epoch)[step]
            seen = compare(net, training, copies, batches.cut(numbers), payload["losses"][epoch][step])
            figures = {name: max(figures[name], value) for name, value in seen.items()}
            trial.emit("progress", epoch=0, step=at, steps=len(kept))
    passed = all(figures[name] <= bound for name, bound in BOUNDS.items())
    trial.emit("check", figures=figures, bounds=BOUNDS, passed=passed)
    trial.emit("done", weights_sha256=None, total_seconds=clock())


def load(path, net):
    """(epoch, step) -> (weights in front, before, after) of a training of `net`. Raises BadJob if it holds others."""
    names = [weight.name for weight in net.weights]
    try:
        with numpy.load(path) as arrays:
            places = sorted({tuple(map(int, key.split("/")[:2])) for key in arrays.files})
            return {
                place: tuple(
                    {name: arrays[f"{place[0]}/{place[1]}/{copy}/{name}"] for name in names} for copy in COPIES
                )
                for place in places
            }
    except (OSError, ValueError, KeyError) as error:
        raise BadJob(f"{path} does not hold the audited steps of this network: {error}.") from error


def compare(net, training, kept, batch, loss):
    """Figures of one audited step against the oracle; see BOUNDS.

    kept: weights in front, before and after, name -> float32 array. batch: (x, y) of the step. loss: as the worker
    read it.
    """
    front, before, after = ({name: value.astype(numpy.float64) for name, value in one.items()} for one in kept)
    oracle = Oracle(net, before, "cpu", Settings(training, threads=1, seed=0), {})
    wanted_loss, gradients = oracle.gradients(oracle.place(*batch))
    averages = oracle.weights()
    rate, momentum = training.learning_rate, training.momentum
    moves, wanted = {}, {}
    for name, gradient in gradients.items():
        velocity = (front[name] - before[name]) / rate
        moves[name] = after[name] - before[name]
        wanted[name] = -rate * (momentum * velocity + gradient)
    others = [weight.name for weight in net.weights if not weight.is_trainable]
    of_batch = _of_the_batch(net, before, averages, len(batch[1]))
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


def _of_the_batch(net, before, averages, count):
    """The running averages with the variance over the n values of a batch, from those with n - 1; see frameworks.md."""
    found = dict(averages)
    for op in net.ops:
        if op.kind == "batchnorm":
            name, (_, height, width) = op.name + ".var", net.shapes[op.name]
            values = count * height * width
            kept = op.params["kept"] * before[name]
            found[name] = kept + (averages[name] - kept) * (values - 1) / values
    return found


def _norm(arrays):
    return sum(float((value * value).sum()) for value in arrays) ** 0.5
