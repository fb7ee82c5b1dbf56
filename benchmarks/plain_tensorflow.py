"""The baseline of the adapter: the same training as an expert writes it in TensorFlow.

python plain_tensorflow.py --data FOLDER --split FOLDER --model resnet20 --size 32 --epochs 3 --seed 0 --threads 2
Prints {"epoch_seconds": [...], "cpu_seconds": [...], "loss": last}. The epoch includes cutting the batches; the first
one includes tracing. Pictures are held as NHWC from the start.
"""

import argparse
import json
import time
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow import keras
from tensorflow.keras import layers

BATCH = 64
CLASSES = 43
# MobileNetV2: expansion, channels, blocks, stride of the first block.
STAGES = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1))


def idsia(size):
    x = inputs = keras.Input((size, size, 3))
    for channels, kernel in ((100, 3), (150, 4), (250, 3)):
        x = layers.Conv2D(channels, kernel, activation="relu", kernel_initializer="he_normal")(x)
        x = layers.MaxPooling2D(2)(x)
    x = layers.Dense(230, activation="relu", kernel_initializer="he_normal")(layers.Flatten()(x))
    return keras.Model(inputs, layers.Dense(CLASSES)(x))


def conv_norm(x, channels, kernel, stride):
    if kernel == 3 and stride == 2:
        x = layers.ZeroPadding2D(1)(x)
    padding = "same" if stride == 1 else "valid"
    x = layers.Conv2D(channels, kernel, stride, padding, use_bias=False, kernel_initializer="he_normal")(x)
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x)


def resnet20(size):
    inputs = keras.Input((size, size, 3))
    x = layers.ReLU()(conv_norm(inputs, 16, 3, 1))
    for stage, channels in enumerate((16, 32, 64)):
        for block in range(3):
            stride = 2 if stage and not block else 1
            side = conv_norm(x, channels, 1, 2) if stride == 2 else x
            x = layers.ReLU()(conv_norm(x, channels, 3, stride))
            x = layers.ReLU()(layers.Add()([conv_norm(x, channels, 3, 1), side]))
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def relu6_conv(x, channels, kernel, stride, depthwise=False):
    if kernel == 3 and stride == 2:
        x = layers.ZeroPadding2D(1)(x)
    padding = "same" if stride == 1 else "valid"
    if depthwise:
        x = layers.DepthwiseConv2D(kernel, stride, padding, use_bias=False, depthwise_initializer="he_normal")(x)
    else:
        x = layers.Conv2D(channels, kernel, stride, padding, use_bias=False, kernel_initializer="he_normal")(x)
    return layers.ReLU(6.0)(layers.BatchNormalization(momentum=0.9, epsilon=1e-5)(x))


def mobilenet_v2(size):
    inputs = keras.Input((size, size, 3))
    x, channels_in = relu6_conv(inputs, 32, 3, 2), 32
    for expansion, channels, blocks, stride in STAGES:
        for block in range(blocks):
            hidden = channels_in * expansion
            inner = x if expansion == 1 else relu6_conv(x, hidden, 1, 1)
            inner = relu6_conv(inner, hidden, 3, 1 if block else stride, depthwise=True)
            inner = conv_norm(inner, channels, 1, 1)
            is_residual = channels_in == channels and (block or stride == 1)
            x, channels_in = layers.Add()([x, inner]) if is_residual else inner, channels
    x = relu6_conv(x, 1280, 1, 1)
    return keras.Model(inputs, layers.Dense(CLASSES)(layers.GlobalAveragePooling2D()(x)))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--split", type=Path, required=True)
    parser.add_argument("--model", choices=("idsia", "resnet20", "mobilenet_v2"), required=True)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, required=True)
    args = parser.parse_args()

    tf.config.threading.set_intra_op_parallelism_threads(args.threads)
    tf.random.set_seed(args.seed)
    rng = np.random.default_rng(args.seed)
    numbers = np.load(args.split / "train.npy")
    pictures = np.ascontiguousarray(np.load(args.data / "train_x.npy")[numbers].transpose(0, 2, 3, 1))
    labels = np.load(args.data / "train_y.npy")[numbers]

    model = {"idsia": idsia, "resnet20": resnet20, "mobilenet_v2": mobilenet_v2}[args.model](args.size)
    criterion = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.SGD(learning_rate=0.01, momentum=0.9)
    optimizer.build(model.trainable_variables)

    @tf.function
    def train_step(x, y):
        with tf.GradientTape() as tape:
            loss = criterion(y, model(x, training=True))
        gradients = tape.gradient(loss, model.trainable_variables)
        optimizer.apply_gradients(zip(gradients, model.trainable_variables, strict=True))
        return loss

    seconds, cpu_seconds = [], []
    for _ in range(args.epochs):
        start, cpu_start = time.perf_counter(), time.process_time()
        order = rng.permutation(len(labels))
        for at in range(0, len(labels) - BATCH + 1, BATCH):
            batch = order[at : at + BATCH]
            x = pictures[batch].astype(np.float32) / np.float32(255)
            loss = train_step(x, labels[batch])
        last = float(loss)
        seconds.append(time.perf_counter() - start)
        cpu_seconds.append(time.process_time() - cpu_start)
    print(json.dumps({"epoch_seconds": seconds, "cpu_seconds": cpu_seconds, "loss": last}))


if __name__ == "__main__":
    main()
