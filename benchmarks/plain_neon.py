"""The baseline of the adapter: the same training as an expert writes it in Neon.

python plain_neon.py --data FOLDER --split FOLDER --model resnet20 --size 32 --epochs 3 --seed 0 --threads 2
Prints {"epoch_seconds": [...], "cpu_seconds": [...], "loss": last}. The epoch includes cutting the batches. A loop by
hand, because Neon's iterator over arrays cannot shuffle; --threads has no effect (it keeps the command line the same as
the others'): Neon takes its threads from variables like OMP_NUM_THREADS.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
from neon.backends import gen_backend
from neon.initializers import Constant, Kaiming
from neon.layers import Activation, Affine, Conv, GeneralizedCost, MergeSum, Pooling, SkipNode
from neon.models import Model
from neon.optimizers import GradientDescentMomentum
from neon.transforms import CrossEntropyMulti, Rectlin, Softmax

BATCH = 64
CLASSES = 43


def idsia():
    layers = []
    for channels, kernel in ((100, 3), (150, 4), (250, 3)):
        common = {"init": Kaiming(local=True), "bias": Constant(0), "activation": Rectlin()}
        layers += [Conv((kernel, kernel, channels), **common), Pooling(2, strides=2)]
    layers.append(Affine(230, init=Kaiming(local=False), bias=Constant(0), activation=Rectlin()))
    return layers


def conv_norm(channels, kernel, stride, activation=None):
    common = {"init": Kaiming(local=True), "batch_norm": True, "activation": activation}
    return Conv((kernel, kernel, channels), strides=stride, padding=kernel // 2, **common)


def block(channels, stride):
    main = [conv_norm(channels, 3, stride, Rectlin()), conv_norm(channels, 3, 1)]
    side = SkipNode() if stride == 1 else conv_norm(channels, 1, stride)
    return [MergeSum([side, main]), Activation(Rectlin())]


def resnet20():
    layers = [conv_norm(16, 3, 1, Rectlin())]
    for channels, stride in ((16, 1), (32, 2), (64, 2)):
        layers += [block(channels, stride), block(channels, 1), block(channels, 1)]
    return [*layers, Pooling("all", op="avg")]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--model", choices=("idsia", "resnet20"), required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--backend", choices=("cpu", "mkl"), default="mkl")
    args = parser.parse_args()

    backend = gen_backend(args.backend, batch_size=BATCH, rng_seed=args.seed)
    numbers = np.load(str(args.split / "train.npy"))
    pictures = np.load(str(args.data / "train_x.npy"))[numbers].reshape(len(numbers), -1)
    labels = np.load(str(args.data / "train_y.npy"))[numbers]

    layers = idsia() if args.model == "idsia" else resnet20()
    layers.append(Affine(CLASSES, init=Kaiming(local=False), bias=Constant(0), activation=Softmax()))
    model = Model(layers)
    cost = GeneralizedCost(CrossEntropyMulti())
    model.initialize((3, args.size, args.size), cost)
    optimizer = GradientDescentMomentum(0.01, 0.9)
    x, y = backend.iobuf(pictures.shape[1]), backend.iobuf(CLASSES)
    one_hot = np.eye(CLASSES, dtype=np.float32)

    seconds, cpu_seconds = [], []
    rng = np.random.RandomState(args.seed)
    for epoch in range(args.epochs):
        start, cpu_start = time.perf_counter(), time.process_time()
        order = rng.permutation(len(labels))
        for at in range(0, len(labels) - BATCH + 1, BATCH):
            batch = order[at : at + BATCH]
            backend.copy_transpose(backend.array(pictures[batch]), x)
            x[:] = x * (1 / 255)
            y.set(one_hot[:, labels[batch]])
            output = model.fprop(x)
            loss = cost.get_cost(output, y)
            model.bprop(cost.get_errors(output, y))
            optimizer.optimize(model.layers_to_optimize, epoch=epoch)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    print(json.dumps({"epoch_seconds": seconds, "cpu_seconds": cpu_seconds, "loss": float(loss[0, 0])}))


if __name__ == "__main__":
    main()
