"""The baseline of the adapter: the same training as an expert writes it in MXNet.

python plain_mxnet.py --data FOLDER --split FOLDER --model resnet20 --size 32 --epochs 3 --seed 0 --threads 2
Prints {"epoch_seconds": [...], "cpu_seconds": [...], "loss": last}. The epoch includes cutting the batches; the first
one includes building the graph. --threads has no effect: MXNet reads OMP_NUM_THREADS when it is imported, so set that,
to the same value as for the adapter.
"""

import argparse
import json
import time
from pathlib import Path

import mxnet as mx
import numpy as np
from mxnet import autograd, gluon, nd
from mxnet.gluon import nn

BATCH = 64
CLASSES = 43


def idsia():
    net = nn.HybridSequential()
    for channels, kernel in ((100, 3), (150, 4), (250, 3)):
        net.add(nn.Conv2D(channels, kernel, activation="relu"), nn.MaxPool2D(2))
    net.add(nn.Dense(230, activation="relu"), nn.Dense(CLASSES))
    return net


class Block(nn.HybridBlock):
    def __init__(self, channels, stride):
        super().__init__()
        with self.name_scope():
            self.body = nn.HybridSequential()
            self.body.add(
                nn.Conv2D(channels, 3, stride, 1, use_bias=False),
                nn.BatchNorm(),
                nn.Activation("relu"),
                nn.Conv2D(channels, 3, 1, 1, use_bias=False),
                nn.BatchNorm(),
            )
            self.shortcut = nn.HybridSequential()
            if stride != 1:
                self.shortcut.add(nn.Conv2D(channels, 1, stride, use_bias=False), nn.BatchNorm())

    def hybrid_forward(self, F, x):  # noqa: N803 - Gluon passes it by this name
        side = self.shortcut(x) if len(self.shortcut) else x
        return F.Activation(self.body(x) + side, act_type="relu")


def resnet20():
    net = nn.HybridSequential()
    net.add(nn.Conv2D(16, 3, 1, 1, use_bias=False), nn.BatchNorm(), nn.Activation("relu"))
    for stage, channels in enumerate((16, 32, 64)):
        net.add(*(Block(channels, 2 if stage and not block else 1) for block in range(3)))
    net.add(nn.GlobalAvgPool2D(), nn.Dense(CLASSES))
    return net


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--model", choices=("idsia", "resnet20"), required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()

    mx.random.seed(args.seed)
    np.random.seed(args.seed)  # MXNet's initialisers may draw from either
    numbers = np.load(args.split / "train.npy")
    pictures = np.load(args.data / "train_x.npy")[numbers]
    labels = np.load(args.data / "train_y.npy")[numbers]

    net = {"idsia": idsia, "resnet20": resnet20}[args.model]()
    net.initialize(mx.init.Xavier(rnd_type="gaussian", factor_type="in", magnitude=2))
    net.hybridize(static_alloc=True, static_shape=True)
    criterion = gluon.loss.SoftmaxCrossEntropyLoss()
    trainer = gluon.Trainer(net.collect_params(), "sgd", {"learning_rate": 0.01, "momentum": 0.9})

    seconds, cpu_seconds = [], []
    for _ in range(args.epochs):
        start, cpu_start = time.perf_counter(), time.process_time()
        order = np.random.permutation(len(labels))
        for at in range(0, len(labels) - BATCH + 1, BATCH):
            batch = order[at : at + BATCH]
            x = nd.array(pictures[batch], dtype="uint8").astype("float32") / 255
            y = nd.array(labels[batch])
            with autograd.record():
                loss = criterion(net(x), y)
            loss.backward()
            trainer.step(BATCH)
            # Make the next batch during the backward pass, but not the whole epoch in advance.
            loss.wait_to_read()
        last = float(loss.mean().asscalar())
        nd.waitall()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    print(json.dumps({"epoch_seconds": seconds, "cpu_seconds": cpu_seconds, "loss": last}))


if __name__ == "__main__":
    main()
