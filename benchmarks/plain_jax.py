"""The baseline of the adapter: the same training as an expert writes it in JAX and optax, NCHW, one jitted step.

python plain_jax.py --data FOLDER --split FOLDER --model resnet20 --size 32 --epochs 3 --seed 0 --threads 2
Prints {"epoch_seconds": [...], "cpu_seconds": [...], "loss": last}. The epoch includes cutting the batches.
"""

import argparse
import json
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax

BATCH = 64
CLASSES = 43


def conv(weights, x, stride=1, padding=0):
    sides = ((padding, padding),) * 2
    y = lax.conv_general_dilated(x, weights["w"], (stride, stride), sides, precision=lax.Precision.HIGHEST)
    return y + weights["b"][:, None, None] if "b" in weights else y


def norm(weights, x, new, name):
    mean, var = x.mean((0, 2, 3)), x.var((0, 2, 3))
    new[name] = (mean, var)
    scale = weights["gamma"] * lax.rsqrt(var + 1e-5)
    return x * scale[:, None, None] + (weights["beta"] - mean * scale)[:, None, None]


def pool(x):
    return lax.reduce_window(x, -jnp.inf, lax.max, (1, 1, 2, 2), (1, 1, 2, 2), "VALID")


def idsia(weights, x, new):
    for name in ("conv1", "conv2", "conv3"):
        x = pool(jax.nn.relu(conv(weights[name], x)))
    x = x.reshape(len(x), -1)
    x = jax.nn.relu(x @ weights["fc1"]["w"] + weights["fc1"]["b"])
    return x @ weights["fc2"]["w"] + weights["fc2"]["b"]


def resnet20(weights, x, new):
    x = jax.nn.relu(norm(weights["bn0"], conv(weights["conv0"], x, 1, 1), new, "bn0"))
    for number, (_, stride) in enumerate(BLOCKS):
        name = f"block{number}"
        own = weights[name]
        y = jax.nn.relu(norm(own["bn1"], conv(own["conv1"], x, stride, 1), new, name + "/1"))
        y = norm(own["bn2"], conv(own["conv2"], y, 1, 1), new, name + "/2")
        if "side" in own:
            x = norm(own["bn3"], conv(own["side"], x, stride), new, name + "/3")
        x = jax.nn.relu(x + y)
    return x.mean((2, 3)) @ weights["fc"]["w"] + weights["fc"]["b"]


BLOCKS = [(16, 1)] * 3 + [(32, 2), (32, 1), (32, 1), (64, 2), (64, 1), (64, 1)]


def start(model, size, rng):
    def drawn(*shape):
        fan = np.prod(shape[1:]) if len(shape) == 4 else shape[0]
        return (rng.standard_normal(shape) * (2 / fan) ** 0.5).astype(np.float32)

    def bn(channels):
        return {"gamma": np.ones(channels, np.float32), "beta": np.zeros(channels, np.float32)}

    def dense(ins, outs):
        return {"w": drawn(ins, outs), "b": np.zeros(outs, np.float32)}

    if model == "idsia":
        shapes = {"conv1": (100, 3, 3, 3), "conv2": (150, 100, 4, 4), "conv3": (250, 150, 3, 3)}
        weights = {name: {"w": drawn(*shape), "b": np.zeros(shape[0], np.float32)} for name, shape in shapes.items()}
        side = (((size - 2) // 2 - 3) // 2 - 2) // 2
        return {**weights, "fc1": dense(250 * side * side, 230), "fc2": dense(230, CLASSES)}
    weights = {"conv0": {"w": drawn(16, 3, 3, 3)}, "bn0": bn(16), "fc": dense(64, CLASSES)}
    ins = 16
    for number, (outs, stride) in enumerate(BLOCKS):
        own = {"conv1": {"w": drawn(outs, ins, 3, 3)}, "bn1": bn(outs)}
        own |= {"conv2": {"w": drawn(outs, outs, 3, 3)}, "bn2": bn(outs)}
        if stride != 1:
            own |= {"side": {"w": drawn(outs, ins, 1, 1)}, "bn3": bn(outs)}
        weights[f"block{number}"] = own
        ins = outs
    return weights


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--model", choices=("idsia", "resnet20"), required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, required=True)  # XLA takes those of the processors
    parser.add_argument("--device", choices=("cpu",), default="cpu")
    args = parser.parse_args()

    rng = np.random.default_rng(args.seed)
    numbers = np.load(args.split / "train.npy")
    pictures = np.load(args.data / "train_x.npy")[numbers]
    labels = np.load(args.data / "train_y.npy")[numbers].astype(np.int32)
    network = {"idsia": idsia, "resnet20": resnet20}[args.model]
    weights = jax.device_put(start(args.model, args.size, rng))
    optimizer = optax.sgd(0.01, momentum=0.9)
    state, averages = optimizer.init(weights), {}

    @jax.jit
    def first(weights, x):
        new = {}
        network(weights, x, new)
        return new

    averages = first(weights, jnp.zeros((BATCH, 3, args.size, args.size)))

    def step(weights, state, averages, x, y):
        def loss_of(weights):
            new = {}
            losses = optax.softmax_cross_entropy_with_integer_labels(network(weights, x, new), y)
            return losses.mean(), new

        (loss, new), gradients = jax.value_and_grad(loss_of, has_aux=True)(weights)
        updates, state = optimizer.update(gradients, state, weights)
        averages = jax.tree.map(lambda old, now: 0.9 * old + 0.1 * now, averages, new)
        return optax.apply_updates(weights, updates), state, averages, loss

    step = jax.jit(step, donate_argnums=(0, 1, 2))
    seconds, cpu_seconds = [], []
    for _ in range(args.epochs):
        began, cpu_began = time.perf_counter(), time.process_time()
        order = rng.permutation(len(labels))
        for at in range(0, len(labels) - BATCH + 1, BATCH):
            batch = order[at : at + BATCH]
            x = pictures[batch].astype(np.float32) * np.float32(1 / 255)
            weights, state, averages, loss = step(weights, state, averages, x, labels[batch])
            jax.block_until_ready(weights)
        last = float(loss)
        seconds.append(time.perf_counter() - began)
        cpu_seconds.append(time.process_time() - cpu_began)
    print(json.dumps({"epoch_seconds": seconds, "cpu_seconds": cpu_seconds, "loss": last}))


if __name__ == "__main__":
    main()
