"""What this machine can do at best: matrix products, convolutions and copies in float32, on all processors of the job.

The fastest of many repetitions counts, because a limit is asked for and not what is usual. The payload names
`networks`, [{label, ops []}, ...], whose convolutions are timed one by one, forward, in batches of BATCH.
"""

import importlib
import threading
from typing import NamedTuple

import numpy

from workers import native
from workers.process import clock, read_net

PAYLOAD = ("networks",)
BATCH = 64
SIDES = (1024, 2048, 4096)
SECONDS = 0.7  # of each repetition's series
COPY_MIB = 256  # larger than any cache


def work(job):
    """Time them with numpy's BLAS, and with torch's libraries where the job's framework is PyTorch. job: Job."""
    adapter_class = job.import_adapter()
    threads = job.threads
    torch = importlib.import_module("torch") if job.framework == "pytorch" else None
    if torch is not None:
        torch.set_num_threads(threads)
    gemm = {}
    for at, side in enumerate(SIDES):
        square = numpy.ones((side, side), numpy.float32)
        gemm[f"numpy {side}"] = _gemm(numpy.matmul, square, square.copy())
        if torch is not None:
            gemm[f"torch {side}"] = _gemm(torch.matmul, torch.ones((side, side)), torch.ones((side, side)))
        job.emit("progress", epoch=0, step=at + 1, steps=len(SIDES) + 1)
    conv, whole = {}, {}
    for network in job.payload["networks"] if torch is not None else ():
        label, net = network["label"], read_net(network)
        timed = {shape: _conv(torch, shape) for shape in sorted(set(_convolutions(net)))}
        conv.update((f"{label} {tuple(shape)}", done / seconds / 1e9) for shape, (done, seconds) in timed.items())
        total = [timed[shape] for shape in _convolutions(net)]
        whole[label] = sum(operations for operations, _ in total) / sum(seconds for _, seconds in total) / 1e9
    libraries = dict(native.describe(), **adapter_class.describe())
    job.emit(
        "peak",
        gemm_gflops=gemm,
        conv_gflops=conv,
        network_conv_gflops=whole,
        copy_gb_per_second=_copy(threads),
        libraries=libraries,
    )
    job.emit("done", weights_sha256=None, total_seconds=clock())


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


class Convolution(NamedTuple):
    """One convolution, as it is timed; sides of its padding that are opposite count as equal."""

    channels: int
    height: int
    width: int
    features: int
    kernel: tuple
    stride: tuple
    padding: tuple
    dilation: tuple
    groups: int


def _convolutions(net):
    """The Convolution of each op that is one, in order."""
    shapes = []
    for op in net.ops:
        if op.kind == "conv":
            params = op.params
            own = (params["kernel"], params["stride"], params["padding"][::2], params["dilation"], params["groups"])
            shapes.append(Convolution(*net.shapes[op.inputs[0]], params["channels"], *own))
    return shapes


def _conv(torch, asked):
    """(operations, seconds) of one forward convolution of a batch."""
    weight = torch.ones((asked.features, asked.channels // asked.groups) + asked.kernel)
    x, more = torch.ones((BATCH,) + asked[:3]), (asked.stride, asked.padding, asked.dilation, asked.groups)
    with torch.no_grad():
        result = torch.nn.functional.conv2d(x, weight, None, *more)
        seconds = _fastest(lambda: torch.nn.functional.conv2d(x, weight, None, *more))
    return 2.0 * result.numel() * weight[0].numel(), seconds


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
