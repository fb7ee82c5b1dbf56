"""What this machine can do at best: matrix products, convolutions and copies in float32, on all processors of the job.

The fastest of many repetitions counts, because a limit is asked for and not what is usual. The payload names
`networks`, [[label, model, params, input_size], ...], whose convolutions are timed one by one, forward, in batches of
BATCH.
"""

import importlib
import threading

import numpy

from workers import models, native
from workers.session import clock

PAYLOAD = ("networks",)
BATCH = 64
SIDES = (1024, 2048, 4096)
SECONDS = 0.7  # of each repetition's series
COPY_MIB = 256  # larger than any cache


def work(trial):
    """Time them with numpy's BLAS, and with torch's libraries where the job's framework is PyTorch. trial: Session."""
    adapter_class = trial.import_adapter()
    threads = trial.job["threads"]
    torch = importlib.import_module("torch") if trial.job["framework"] == "pytorch" else None
    if torch is not None:
        torch.set_num_threads(threads)
    gemm = {}
    for at, side in enumerate(SIDES):
        square = numpy.ones((side, side), numpy.float32)
        gemm[f"numpy {side}"] = _gemm(numpy.matmul, square, square.copy())
        if torch is not None:
            gemm[f"torch {side}"] = _gemm(torch.matmul, torch.ones((side, side)), torch.ones((side, side)))
        trial.emit("progress", epoch=0, step=at + 1, steps=len(SIDES) + 1)
    conv, whole = {}, {}
    for label, name, params, size in trial.job["payload"]["networks"] if torch is not None else ():
        net = models.build(name, trial.network.classes, size, **params)
        timed = {str(shape): _conv(torch, shape) for shape in sorted(set(_convolutions(net)))}
        conv.update((f"{label} {shape}", operations / seconds / 1e9) for shape, (operations, seconds) in timed.items())
        total = [timed[str(shape)] for shape in _convolutions(net)]
        whole[label] = sum(operations for operations, _ in total) / sum(seconds for _, seconds in total) / 1e9
    libraries = dict(native.describe(), **adapter_class.describe())
    trial.emit(
        "peak",
        gemm_gflops=gemm,
        conv_gflops=conv,
        network_conv_gflops=whole,
        copy_gb_per_second=_copy(threads),
        libraries=libraries,
    )
    trial.emit("done", weights_sha256=None, total_seconds=clock())


def _fastest(run):
    """Seconds of the fastest repetition; one at least comes before those that count."""
    run()
    best, end = float("inf"), clock() + SECONDS
    while clock() < end:
        began = clock()
        run()
        best = min(best, clock() - began)
    return best


def _gemm(matmul, a, b):
    """GFLOP/s of the product of two square matrices of float32."""
    out = a + b
    return 2.0 * len(a) ** 3 / _fastest(lambda: matmul(a, b, out=out)) / 1e9


def _convolutions(net):
    """(channels in, height, width, channels out, kernel, stride, padding) of each convolution, in order."""
    found = []
    for op in net.ops:
        if op.kind == "conv":
            channels, height, width = net.shapes[op.inputs[0]]
            params = op.params
            shape = (params["channels"], params["kernel"], params["stride"], params["padding"][0])
            found.append((channels, height, width) + shape)
    return found


def _conv(torch, shape):
    """(operations, seconds) of one forward convolution of a batch."""
    channels, height, width, out, kernel, stride, padding = shape
    x, weight = torch.ones((BATCH, channels, height, width)), torch.ones((out, channels, kernel, kernel))
    with torch.no_grad():
        result = torch.nn.functional.conv2d(x, weight, None, stride, padding)
        seconds = _fastest(lambda: torch.nn.functional.conv2d(x, weight, None, stride, padding))
    return 2.0 * result.numel() * channels * kernel * kernel, seconds


def _copy(threads):
    """GB/s that are read and written together while every thread copies an array of its own."""
    elements = COPY_MIB * 2**20 // 4 // threads
    pairs = [(numpy.ones(elements, numpy.float32), numpy.ones(elements, numpy.float32)) for _ in range(threads)]

    def run():
        running = [threading.Thread(target=numpy.copyto, args=(into, source)) for into, source in pairs]
        for thread in running:
            thread.start()
        for thread in running:
            thread.join()

    return 2.0 * 4 * elements * threads / _fastest(run) / 1e9
