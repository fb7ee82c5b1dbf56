"""The baseline of the adapter: the same training as an expert writes it in PyTorch.

python plain_pytorch.py --data FOLDER --split FOLDER --model resnet20 --size 32 --epochs 3 --seed 0 --threads 2
--device cuda trains on a card; --graph there captures the step once as a CUDA graph and replays it for each batch.
Prints {"epoch_seconds": [...], "cpu_seconds": [...], "loss": last}. The epoch includes cutting the batches.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

BATCH = 64
CLASSES = 43
# MobileNetV2: expansion, channels, blocks, stride of the first block.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


class Idsia(nn.Module):
    def __init__(self, size):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 100, 3)
        self.conv2 = nn.Conv2d(100, 150, 4)
        self.conv3 = nn.Conv2d(150, 250, 3)
        self.pool = nn.MaxPool2d(2)
        side = (((size - 2) // 2 - 3) // 2 - 2) // 2
        self.fc1 = nn.Linear(250 * side * side, 230)
        self.fc2 = nn.Linear(230, CLASSES)

    def forward(self, x):
        x = self.pool(functional.relu(self.conv1(x), inplace=True))
        x = self.pool(functional.relu(self.conv2(x), inplace=True))
        x = self.pool(functional.relu(self.conv3(x), inplace=True))
        x = functional.relu(self.fc1(torch.flatten(x, 1)), inplace=True)
        return self.fc2(x)


class Block(nn.Module):
    def __init__(self, channels_in, channels, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Identity()
        if stride != 1:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return self.relu(out)


class ResNet20(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU(inplace=True))
        blocks, channels_in = [], 16
        for channels, stride in ((16, 1), (32, 2), (64, 2)):
            blocks.append(Block(channels_in, channels, stride))
            blocks += [Block(channels, channels, 1) for _ in range(2)]
            channels_in = channels
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(64, CLASSES)

    def forward(self, x):
        x = self.blocks(self.stem(x))
        return self.fc(torch.flatten(functional.adaptive_avg_pool2d(x, 1), 1))


def relu6_conv(channels_in, channels, kernel, stride, groups=1):
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(channels),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    def __init__(self, channels_in, channels, stride, expansion):
        super().__init__()
        hidden = channels_in * expansion
        layers = [] if expansion == 1 else [relu6_conv(channels_in, hidden, 1, 1)]
        layers += [relu6_conv(hidden, hidden, 3, stride, hidden)]
        layers += [nn.Conv2d(hidden, channels, 1, bias=False), nn.BatchNorm2d(channels)]
        self.layers = nn.Sequential(*layers)
        self.is_residual = stride == 1 and channels_in == channels

    def forward(self, x):
        return x + self.layers(x) if self.is_residual else self.layers(x)


def mobilenet_v2():
    layers, channels_in = [relu6_conv(3, 32, 3, 2)], 32
    for expansion, channels, blocks, stride in STAGES:
        for block in range(blocks):
            layers.append(InvertedResidual(channels_in, channels, 1 if block else stride, expansion))
            channels_in = channels
    layers += [relu6_conv(channels_in, 1280, 1, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(1280, CLASSES)]
    return nn.Sequential(*layers)


def initialise(module):
    if isinstance(module, (nn.Conv2d, nn.Linear)):
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def captured(step, x, y):
    """`step` as a CUDA graph: a function that replays it on the batch it is given. x, y: the graph's own batch."""
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):  # buffers and chosen algorithms must exist before the capture
        for _ in range(3):
            step(x, y)
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step(x, y)

    def replay(new_x, new_y):
        x.copy_(new_x)
        y.copy_(new_y)
        graph.replay()
        return loss

    return replay


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--model", choices=("idsia", "resnet20", "mobilenet_v2"), required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--graph", action="store_true")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    numbers = np.load(args.split / "train.npy")
    pictures = torch.from_numpy(np.load(args.data / "train_x.npy")[numbers])
    labels = torch.from_numpy(np.load(args.data / "train_y.npy")[numbers])

    model = {"idsia": lambda: Idsia(args.size), "resnet20": ResNet20, "mobilenet_v2": mobilenet_v2}[args.model]()
    model.apply(initialise)
    model.to(args.device)
    model.train()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step(x, y):
        optimizer.zero_grad()
        loss = criterion(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    if args.graph:
        x = torch.rand(BATCH, 3, args.size, args.size, device=args.device)
        step = captured(step, x, torch.zeros(BATCH, dtype=torch.int64, device=args.device))

    seconds, cpu_seconds = [], []
    for _ in range(args.epochs):
        start, cpu_start = time.perf_counter(), time.process_time()
        order = torch.randperm(len(labels))
        for at in range(0, len(labels) - BATCH + 1, BATCH):
            batch = order[at : at + BATCH]
            x = pictures[batch].float().div_(255)
            loss = step(x.to(args.device), labels[batch].to(args.device))
        last = loss.item()
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    print(json.dumps({"epoch_seconds": seconds, "cpu_seconds": cpu_seconds, "loss": last}))


if __name__ == "__main__":
    main()
