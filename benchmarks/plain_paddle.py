"""The baseline of the adapter: the same training as an expert writes it in PaddlePaddle's dynamic graph.

python plain_paddle.py --data FOLDER --split FOLDER --model resnet20 --size 32 --epochs 3 --seed 0 --threads 2
Prints {"epoch_seconds": [...], "cpu_seconds": [...], "loss": last}. The epoch includes cutting the batches.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import paddle
from paddle import nn
from paddle.nn import functional

BATCH = 64
CLASSES = 43


class Idsia(nn.Layer):
    def __init__(self, size):
        super().__init__()
        self.conv1, self.conv2, self.conv3 = nn.Conv2D(3, 100, 3), nn.Conv2D(100, 150, 4), nn.Conv2D(150, 250, 3)
        self.pool = nn.MaxPool2D(2)
        side = (((size - 2) // 2 - 3) // 2 - 2) // 2
        self.fc1, self.fc2 = nn.Linear(250 * side * side, 230), nn.Linear(230, CLASSES)

    def forward(self, x):
        for conv in (self.conv1, self.conv2, self.conv3):
            x = self.pool(functional.relu(conv(x)))
        return self.fc2(functional.relu(self.fc1(paddle.flatten(x, 1))))


class Block(nn.Layer):
    def __init__(self, ins, outs, stride):
        super().__init__()
        self.conv1 = nn.Conv2D(ins, outs, 3, stride, 1, bias_attr=False)
        self.bn1 = nn.BatchNorm2D(outs)
        self.conv2 = nn.Conv2D(outs, outs, 3, 1, 1, bias_attr=False)
        self.bn2 = nn.BatchNorm2D(outs)
        self.side = None
        if stride != 1:
            self.side = nn.Sequential(nn.Conv2D(ins, outs, 1, stride, bias_attr=False), nn.BatchNorm2D(outs))

    def forward(self, x):
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + (x if self.side is None else self.side(x)))


def resnet20():
    layers, ins = [nn.Conv2D(3, 16, 3, 1, 1, bias_attr=False), nn.BatchNorm2D(16), nn.ReLU()], 16
    for outs, stride in ((16, 1), (32, 2), (64, 2)):
        for block in range(3):
            layers.append(Block(ins, outs, 1 if block else stride))
            ins = outs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2D(1), nn.Flatten(), nn.Linear(64, CLASSES))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--model", choices=("idsia", "resnet20"), required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", choices=("cpu",), default="cpu")
    parser.add_argument("--onednn", choices=("True", "False"), default="False")
    args = parser.parse_args()

    paddle.seed(args.seed)
    paddle.base.core.set_num_threads(args.threads)
    paddle.set_flags({"FLAGS_use_mkldnn": args.onednn == "True"})
    rng = np.random.default_rng(args.seed)
    numbers = np.load(args.split / "train.npy")
    pictures = np.load(args.data / "train_x.npy")[numbers]
    labels = np.load(args.data / "train_y.npy")[numbers]
    model = Idsia(args.size) if args.model == "idsia" else resnet20()
    model.train()
    optimizer = paddle.optimizer.Momentum(0.01, 0.9, parameters=model.parameters())

    seconds, cpu_seconds = [], []
    for _ in range(args.epochs):
        began, cpu_began = time.perf_counter(), time.process_time()
        order = rng.permutation(len(labels))
        for at in range(0, len(labels) - BATCH + 1, BATCH):
            batch = order[at : at + BATCH]
            x = paddle.to_tensor(pictures[batch].astype(np.float32) * np.float32(1 / 255))
            loss = functional.cross_entropy(model(x), paddle.to_tensor(labels[batch]))
            loss.backward()
            optimizer.step()
            optimizer.clear_grad()
        last = float(loss)
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - cpu_began)
    print(json.dumps({"epoch_seconds": seconds, "cpu_seconds": cpu_seconds, "loss": last}))


if __name__ == "__main__":
    main()
