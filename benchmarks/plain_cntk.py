"""The baseline of the adapter: the same training as an expert writes it in CNTK.

python plain_cntk.py --data FOLDER --split FOLDER --model resnet20 --size 32 --epochs 3 --seed 0 --threads 2
Prints {"epoch_seconds": [...], "cpu_seconds": [...], "loss": last}. The epoch includes cutting the batches. With
--own-loop CNTK's own training function (Function.train) goes over the arrays, as float32, and cuts the batches itself;
the study says that it would be faster than a loop of one's own. Runs on Python 3.6.
"""

import argparse
import json
import math
import time
from pathlib import Path

import cntk as C  # noqa: N812 - as CNTK's own documentation does
import numpy as np
from cntk.layers import BatchNormalization, Convolution2D, Dense, For, GlobalAveragePooling, MaxPooling, Sequential

BATCH = 64
CLASSES = 43


def idsia():
    def stage(channels, kernel):
        return [Convolution2D(kernel, channels, activation=C.relu), MaxPooling((2, 2), strides=2)]

    stages = [stage(100, 3), stage(150, 4), stage(250, 3)]
    return Sequential([*stages, Dense(230, activation=C.relu), Dense(CLASSES)])


def conv_norm(channels, kernel, stride):
    # CNTK takes a time constant, in pictures, for the running averages; this one keeps 0.9 per batch.
    kept = {"normalization_time_constant": -BATCH / math.log(0.9), "epsilon": 1e-5}
    convolution = Convolution2D(kernel, channels, strides=stride, pad=kernel > 1, bias=False)
    return Sequential([convolution, BatchNormalization(map_rank=1, **kept)])


def block(channels, stride):
    main = Sequential([conv_norm(channels, 3, stride), C.relu, conv_norm(channels, 3, 1)])
    side = conv_norm(channels, 1, stride) if stride > 1 else C.layers.identity
    return lambda x: C.relu(main(x) + side(x))


def resnet20():
    def stage(channels, stride):
        return [block(channels, stride), For(range(2), lambda: block(channels, 1))]

    stages = [stage(16, 1), stage(32, 2), stage(64, 2)]
    return Sequential([conv_norm(16, 3, 1), C.relu, *stages, GlobalAveragePooling(), Dense(CLASSES)])


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--model", choices=("idsia", "resnet20"), required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--own-loop", action="store_true")
    args = parser.parse_args()

    C.device.try_set_default_device(C.device.cpu())
    C.cntk_py.set_fixed_random_seed(args.seed)
    C.cntk_py.set_max_num_cputhreads(args.threads)
    rng = np.random.RandomState(args.seed)
    numbers = np.load(args.split / "train.npy")
    pictures = np.load(args.data / "train_x.npy")[numbers]
    labels = np.eye(CLASSES, dtype=np.float32)[np.load(args.data / "train_y.npy")[numbers]]

    x = C.input_variable((3, args.size, args.size))
    y = C.input_variable(CLASSES)
    with C.layers.default_options(init=C.he_normal()):
        model = {"idsia": idsia, "resnet20": resnet20}[args.model]()(x)
    loss = C.cross_entropy_with_softmax(model, y)
    rate, momentum = C.learning_parameter_schedule(0.01), C.momentum_schedule(0.9)

    def learner():
        return C.momentum_sgd(model.parameters, rate, momentum, unit_gain=False, use_mean_gradient=True)

    trainer = C.Trainer(model, (loss, None), [learner()])
    whole = len(labels) // BATCH * BATCH
    arrays = (pictures[:whole].astype(np.float32) / np.float32(255), labels[:whole]) if args.own_loop else None

    seconds, cpu_seconds = [], []
    for _ in range(args.epochs):
        start, cpu_start = time.perf_counter(), time.process_time()
        if arrays is not None:
            # A learner counts its epochs, and one that has had its own trains no more.
            summary = loss.train(arrays, minibatch_size=BATCH, max_epochs=1, parameter_learners=[learner()])
            last = summary.epoch_summaries[-1].loss
            seconds.append(time.perf_counter() - start)
            cpu_seconds.append(time.process_time() - cpu_start)
            continue
        order = rng.permutation(len(labels))
        for at in range(0, len(labels) - BATCH + 1, BATCH):
            batch = order[at : at + BATCH]
            trainer.train_minibatch({x: pictures[batch].astype(np.float32) / np.float32(255), y: labels[batch]})
        last = trainer.previous_minibatch_loss_average
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    print(json.dumps({"epoch_seconds": seconds, "cpu_seconds": cpu_seconds, "loss": last}))


if __name__ == "__main__":
    main()
