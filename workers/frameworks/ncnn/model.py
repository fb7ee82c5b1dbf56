"""A network with its weights as ncnn's two files: a text of layers, and their weights.

Source: ncnn's wiki, "param and model file structure" and "operation param weight table".
"""

import numpy

from workers.protocol import Unsupported

INPUT, OUTPUT = "pictures", "logits"
MAGIC = 7767517


def build(net, weights):
    """(param text, weight bytes) of a network for one picture (channels, height, width).

    net: of workers/net.py. weights: name -> float32 array. Raises Unsupported for an op that has no counterpart here.
    A value that several layers read is divided by a Split, because a blob of ncnn has one reader.
    """
    channels, height, width = net.input
    lines, blobs, parts = [f"Input {INPUT} 0 1 {INPUT} 0={width} 1={height} 2={channels}"], [INPUT], []
    readers = [name for op in net.ops for name in op.inputs]
    free = {}

    def make(name, blob):
        """Of a new value: the blobs that its readers take, one each."""
        count = readers.count(name)
        if count < 2:
            free[name] = [blob]
            return
        free[name] = [f"{blob}.{at}" for at in range(count)]  # no name of an op has a dot
        lines.append(f"Split {blob}.split 1 {count} {blob} {' '.join(free[name])}")
        blobs.extend(free[name])

    make(net.ops[0].name, INPUT)
    for op in net.ops[1:]:
        if op.kind not in _LOWER:
            raise Unsupported(op.kind, f"{op.name}: it is not written for ncnn")
        kind, params, arrays = _LOWER[op.kind](op, lambda end, op=op: weights.get(f"{op.name}.{end}"))
        inputs = [free[name].pop(0) for name in op.inputs]
        own = op.name + ".value" if op.name in (INPUT, OUTPUT) else op.name
        blob = OUTPUT if op.name == net.output else own
        given = " ".join(f"{key}={value}" for key, value in params)
        lines.append(f"{kind} {own} {len(inputs)} 1 {' '.join(inputs)} {blob} {given}".rstrip())
        blobs.append(blob)
        parts.extend(arrays)
        make(op.name, blob)
    text = f"{MAGIC}\n{len(lines)} {len(blobs)}\n" + "\n".join(lines) + "\n"
    return text, b"".join(parts)


def _plain_bytes(array):
    return numpy.ascontiguousarray(array, dtype="<f4").tobytes()


def _tagged(array):
    """An array after the tag that says float32."""
    return (0).to_bytes(4, "little") + _plain_bytes(array)


def _conv(op, weight):
    top, bottom, left, right = op.params["padding"]
    (rows, columns), (down, across), (apart, beside) = (op.params[key] for key in ("kernel", "stride", "dilation"))
    params = [
        (0, op.params["channels"]),
        (1, columns),
        (11, rows),
        (2, beside),
        (12, apart),
        (3, across),
        (13, down),
        (4, left),
        (14, top),
        (15, right),
        (16, bottom),
        (5, int(op.params["bias"])),
        (6, weight("weight").size),
    ]
    arrays = [_tagged(weight("weight"))] + _bias(op, weight)
    if op.params["groups"] == 1:
        return "Convolution", params, arrays
    return "ConvolutionDepthWise", params + [(7, op.params["groups"])], arrays


def _bias(op, weight):
    return [_plain_bytes(weight("bias"))] if op.params["bias"] else []


def _batchnorm(op, weight):
    arrays = [_plain_bytes(weight(end)) for end in ("gamma", "mean", "var", "beta")]
    return "BatchNorm", [(0, len(weight("gamma"))), (1, repr(float(op.params["epsilon"])))], arrays


def _pool(kind):
    def lower(op, weight):
        top, bottom, left, right = op.params["padding"]
        (rows, columns), (down, across) = op.params["kernel"], op.params["stride"]
        # 5=1 leaves out rows and columns that do not fill a window.
        params = [(0, kind), (1, columns), (11, rows), (2, across), (12, down), (5, 1)]
        params += [(3, left), (13, top), (14, right), (15, bottom), (6, int(op.params.get("counts_padding", False)))]
        return "Pooling", params, []

    return lower


def _dense(op, weight):
    params = [(0, op.params["features"]), (1, int(op.params["bias"])), (2, weight("weight").size)]
    return "InnerProduct", params, [_tagged(weight("weight"))] + _bias(op, weight)


def _plain(kind, *params):
    """The lowering to a layer of that kind with these params."""
    return lambda op, weight: (kind, list(params), [])


def _with(kind, *names):
    """Likewise; its params 0, 1, ... have the values of the op's params of these names."""
    return lambda op, weight: (kind, [(at, repr(float(op.params[name]))) for at, name in enumerate(names)], [])


def _prelu(op, weight):
    return "PReLU", [(0, weight("slope").size)], [_plain_bytes(weight("slope"))]


def _scale(op, weight):
    return "Scale", [(0, weight("scale").size), (1, 0)], [_plain_bytes(weight("scale"))]


def _shift(op, weight):
    return "Bias", [(0, weight("shift").size)], [_plain_bytes(weight("shift"))]


def _groupnorm(op, weight):
    arrays = [_plain_bytes(weight(end)) for end in ("gamma", "beta")]
    given = [op.params["groups"], len(weight("gamma")), repr(float(op.params["epsilon"])), 1]
    return "GroupNorm", list(enumerate(given)), arrays


def _slice(op, weight):
    # Params 9, 10 and 11 are lists, of one number each: begins, ends, axes.
    lists = (op.params["begin"], op.params["end"], 0)
    return "Crop", [(-23300 - at, f"1,{number}") for at, number in zip((9, 10, 11), lists)], []


def _pad(op, weight):
    return "Padding", [*enumerate(op.params["padding"]), (4, 0), (5, repr(float(op.params["value"])))], []


def _upsample(op, weight):
    rows, columns = (repr(float(factor)) for factor in op.params["factor"])
    return "Interp", [(0, 2 if op.params["is_bilinear"] else 1), (1, rows), (2, columns)], []


def _lrn(op, weight):
    given = [repr(float(op.params[name])) for name in ("alpha", "beta", "bias_term")]
    return "LRN", [(0, 0), (1, op.params["size"]), *zip((2, 3, 4), given)], []


_LOWER = {
    "conv": _conv,
    "scale": _scale,
    "shift": _shift,
    "groupnorm": _groupnorm,
    "slice": _slice,
    "pad": _pad,
    "upsample": _upsample,
    "lrn": _lrn,
    "shuffle": lambda op, weight: ("ShuffleChannel", [(0, op.params["groups"])], []),
    "clip": _with("Clip", "low", "high"),
    "leakyrelu": _with("ReLU", "slope"),
    "prelu": _prelu,
    "elu": _with("ELU", "alpha"),
    "sigmoid": _plain("Sigmoid"),
    "hardsigmoid": _with("HardSigmoid", "slope", "offset"),
    "hardswish": _plain("HardSwish", (0, repr(1 / 6.0)), (1, 0.5)),
    "silu": _plain("Swish"),
    "tanh": _plain("TanH"),
    "gelu": lambda op, weight: ("GELU", [(0, int(not op.params["is_exact"]))], []),
    "softplus": _plain("Softplus"),
    "mish": _plain("Mish"),
    "globalmax": _plain("Pooling", (0, 0), (4, 1)),
    "unflatten": _plain("Reshape", (0, 1), (1, 1), (2, -1)),
    "multiply": _plain("BinaryOp", (0, 2)),
    "concat": _plain("Concat", (0, 0)),
    "batchnorm": _batchnorm,
    "relu": _plain("ReLU"),
    "maxpool": _pool(0),
    "avgpool": _pool(1),
    "globalpool": _plain("Pooling", (0, 1), (4, 1)),
    "flatten": _plain("Flatten"),
    "dense": _dense,
    "dropout": _plain("Noop"),
    "add": _plain("BinaryOp", (0, 0)),
}
