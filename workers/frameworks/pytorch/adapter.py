"""PyTorch, eager: modules and SGD as torch.nn and torch.optim have them. One code for 1.3 and later."""

import copy
import functools
import itertools
import math
import os

import torch
import torch.backends.mkldnn  # 1.3 does not import it by itself
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from workers import native
from workers.bounds import BFLOAT16, FLOAT32
from workers.frameworks import EXTRAS, own_optimiser, own_options, own_precision
from workers.frameworks.pytorch.optimisers import OPTIMISERS, Update, loss_of
from workers.ops import divisor
from workers.protocol import Unsupported

VERSION = str(torch.__version__)

# The first optimiser of a process makes torch 2 import its compiler (2.7 s more after 2.0 s, on two busy cores). Making
# one here counts that time as import and not as building the network.
torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)

# 1.9+: a mode in which less is recorded than without gradients.
_inference_mode = getattr(torch, "inference_mode", torch.no_grad)

# Ops whose gradient does not need their output, and those whose gradient needs no more than their own: where one of
# these, or a sum, alone reads the output of one of those, it may overwrite it.
_OVERWRITABLE = ("conv", "batchnorm", "dense", "add", "maxpool", "avgpool")
_OVERWRITING = ("relu", "clip")
_TORCH_NAMES = {
    "weight": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "mean": "running_mean",
    "var": "running_var",
    "slope": "weight",
    "scale": "weight",
    "shift": "weight",
}


class Adapter(object):
    """See workers/frameworks/__init__.py. Own options, of later releases than 1.3:

    memory_format: 'contiguous' or 'channels_last' (1.5+).
    compile:       whether torch.compile makes the training step's forward and backward pass (2.0+). The first steps
                   wait for it; inference, which is not timed by steps, stays eager.
    deterministic: False or True, for the life of the process.
    tf32:          False or True, likewise: whether a card may round the factors of a float32 product to 10 bits.
    cudnn_benchmark: False or True, likewise: whether cuDNN times its algorithms for each new shape and keeps one.
    """

    _precision = FLOAT32

    def __init__(self, net, weights, device, settings, options):
        layouts, switch = ("contiguous", "channels_last"), (False, True)
        own = own_options(
            options,
            memory_format=layouts,
            compile=switch,
            deterministic=switch,
            tf32=switch,
            cudnn_benchmark=switch,
        )
        Adapter._precision = settings.precision
        dtype = own_precision(settings, {FLOAT32: torch.float32, BFLOAT16: torch.bfloat16})
        if dtype != torch.float32 and not hasattr(torch, "autocast"):
            raise Unsupported("precision", f"torch {VERSION} has no torch.autocast; 1.10 and later have it")
        if device == "gpu" and not torch.cuda.is_available():
            raise Unsupported("device", "torch sees no CUDA device, or was built without CUDA")
        _set_deterministic(own["deterministic"])
        _allow_tf32(own["tf32"])
        torch.backends.cudnn.benchmark = own["cudnn_benchmark"]
        torch.set_num_threads(settings.threads)
        torch.manual_seed(settings.seed)
        self._net = net
        self._device = torch.device("cuda" if device == "gpu" else "cpu")
        self._layout = {}
        if own["memory_format"] == "channels_last":
            self._layout = {"memory_format": torch.channels_last}
        self._network = Network(net)
        self._tensors = {w.name: self._network.tensor(w.name) for w in net.weights}
        with torch.no_grad():
            for name, tensor in self._tensors.items():
                tensor.copy_(torch.from_numpy(weights[name]))
        self._network.to(device=self._device, **self._layout)
        self._tensors = {w.name: self._network.tensor(w.name) for w in net.weights}
        elsewhere = [name for name, tensor in self._tensors.items() if tensor.device.type != self._device.type]
        if elsewhere:
            raise Unsupported("device", f"{elsewhere[0]} is on {self._tensors[elsewhere[0]].device}")
        # fullgraph: an op that cannot be compiled is an error and does not silently stay eager.
        compiled = functools.partial(torch.compile, fullgraph=True) if own["compile"] else lambda network: network
        self._forward, self._infer = compiled(self._network), compiled(_running(self._network))
        self._eager = self._network
        if dtype != torch.float32:
            mixed = functools.partial(_mixed, self._device.type, dtype)
            self._forward, self._infer, self._eager = map(mixed, (self._forward, self._infer, self._eager))
        self._loss = loss_of(settings.training, net.shapes[net.output][0])
        entry = own_optimiser(settings.training, OPTIMISERS, EXTRAS)
        self._update = Update(entry, self._network.parameters(), settings.training)
        self.optimiser = self._update.optimiser
        self._network.train()

    def place(self, x, y):
        """Tensors on the device; on the CPU they share the batch's memory."""
        return torch.as_tensor(x).to(device=self._device, **self._layout), torch.as_tensor(y).to(self._device)

    def load(self, batches, order, workers):
        """A DataLoader: `workers` processes, which cut picture by picture and hand batches over in shared memory."""
        return DataLoader(batches, batch_sampler=[numbers.tolist() for numbers in order], num_workers=workers)

    def step(self, batch):
        """One update; the loss before it, as a tensor without its graph."""
        x, y = batch
        self._update.begin()
        loss = self._loss(self._forward(x), y)
        loss.backward()
        self._update.take()
        return loss.detach()

    def set_rate(self, rate):
        """The rate of the next update."""
        self._update.set_rate(rate)

    def state(self):
        """Copies in the usual layout, of the weights that have a gradient."""
        trained = {name: tensor for name, tensor in self._tensors.items() if tensor.requires_grad}
        states = {name: self._update.state(tensor) for name, tensor in trained.items()}
        return {name: {part: _copied(value) for part, value in state.items()} for name, state in states.items()}

    def loss_value(self, handle):
        """Waits for the device."""
        return float(handle)

    def predict(self, batch):
        """Logits (n, classes)."""
        self._network.eval()
        with torch.no_grad():
            logits = self._eager(batch[0]).cpu().numpy()
        self._network.train()
        return logits

    def prepare(self, x):
        """The pictures as they are."""
        return x

    def infer(self, x):
        """A tensor on the device."""
        with _inference_mode():
            return self._infer(torch.from_numpy(x).to(device=self._device, **self._layout))

    def logits(self, handle):
        """Waits for the device."""
        return handle.cpu().numpy()

    def sync(self):
        """The CPU works in step with Python; a GPU does not."""
        if self._device.type == "cuda":
            torch.cuda.synchronize()

    def weights(self):
        """Copies in the usual layout, whatever the memory format."""
        return {name: _copied(tensor) for name, tensor in self._tensors.items()}

    @staticmethod
    def describe():
        """Features of the build, and the number of threads."""
        return {
            **native.describe(),
            "precision": Adapter._precision,
            "threads": torch.get_num_threads(),
            "mkldnn": bool(torch.backends.mkldnn.is_available()),
            "mkl": bool(torch.backends.mkl.is_available()),
            "openmp": bool(torch.backends.openmp.is_available()),
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version() if torch.cuda.is_available() else None,
            "cudnn_benchmark": torch.backends.cudnn.benchmark,
            "deterministic": _is_deterministic(),
            "cublas_workspace_variable": os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
            "tf32": any(backend.allow_tf32 for backend in _with_tf32()),
        }


def _mixed(device, dtype, network):
    """The network in mixed precision: torch.autocast narrows the ops of its list, and the logits are float32 again."""

    def forward(x):
        with torch.autocast(device, dtype):
            return network(x).float()

    return forward


def _copied(tensor):
    return tensor.detach().cpu().contiguous().numpy().copy()


def _running(network):
    """The same layers on the same tensors in inference mode: changing a mode visits every layer, at each query."""
    shared = itertools.chain(network.parameters(), network.buffers())
    return copy.deepcopy(network, {id(tensor): tensor for tensor in shared}).eval()


def _set_deterministic(wanted):
    """Deterministic algorithms only, or torch's defaults; 1.3 has a switch for cuDNN and none for the rest."""
    torch.backends.cudnn.deterministic = wanted
    if hasattr(torch, "use_deterministic_algorithms"):
        torch.use_deterministic_algorithms(wanted)


def _allow_tf32(allowed):
    """By default torch's convolutions use TF32 and its matrix products do not; here float32 means float32."""
    for backend in _with_tf32():
        backend.allow_tf32 = allowed


def _with_tf32():
    """The parts of torch with that switch; none in 1.3, whose CUDA is older than such cards."""
    backends = (torch.backends.cudnn, getattr(torch.backends.cuda, "matmul", None))
    return [backend for backend in backends if hasattr(backend, "allow_tf32")]


def _is_deterministic():
    anywhere = getattr(torch, "are_deterministic_algorithms_enabled", lambda: True)
    return torch.backends.cudnn.deterministic and anywhere()


class Network(nn.Module):
    """The ops of a Net as modules, run in its order; values are released after their last use."""

    def __init__(self, net):
        super(Network, self).__init__()
        self.layers, self._by_name = nn.ModuleList(), {}
        self._input, self._output = net.ops[0].name, net.output
        self._plan = []
        kinds = {op.name: op.kind for op in net.ops}
        readers = [name for op in net.ops for name in op.inputs]
        for op in net.ops[1:]:
            if op.kind not in _LOWER:
                raise Unsupported(op.kind, f"{op.name}: the pytorch adapter does not lower it")
            layer = _LOWER[op.kind](op, net.shapes[op.inputs[0]])
            if op.kind in _OVERWRITING or (op.kind == "add" and net.shapes[op.inputs[0]] == net.shapes[op.name]):
                layer.inplace = readers.count(op.inputs[0]) == 1 and kinds[op.inputs[0]] in _OVERWRITABLE
            self.layers.append(layer)
            self._by_name[op.name] = layer
            self._plan.append((layer, op.inputs, op.name, net.last_uses[op.name]))

    def forward(self, x):
        """Logits (n, classes) of x (n, channels, height, width)."""
        values = {self._input: x}
        for layer, inputs, name, dead in self._plan:
            values[name] = layer(*[values[source] for source in inputs])
            for value in dead:
                del values[value]
        return values[self._output]

    def tensor(self, weight_name):
        """The parameter or buffer that holds a weight of the Net."""
        op, end = weight_name.split(".")
        layer = self._by_name[op]
        while isinstance(layer, nn.Sequential):
            layer = layer[-1]
        return getattr(layer, _TORCH_NAMES[end])


class Add(nn.Module):
    """Sum of two values; in place of the first where that is allowed."""

    inplace = False

    def forward(self, left, right):
        """The same shape."""
        return left.add_(right) if self.inplace else left + right


class Function(nn.Module):
    """A function of tensors that has no module, in torch or in an early release of it."""

    def __init__(self, function):
        super(Function, self).__init__()
        self._function = function

    def forward(self, *values):
        """What the function makes of them."""
        return self._function(*values)


class ByChannel(nn.Module):
    """A weight of each channel or feature, with which `function` joins the value."""

    def __init__(self, channels, rank, function):
        super(ByChannel, self).__init__()
        self.weight = nn.Parameter(torch.zeros(channels))
        self._shape, self._function = (-1,) + (1,) * (rank - 1), function

    def forward(self, x):
        """The same shape."""
        return self._function(x, self.weight.view(self._shape))


class LayerNorm(nn.LayerNorm):
    """Over the channels of each pixel: torch normalises over the last axis, so the axes are turned and turned back."""

    def forward(self, x):
        """The same shape."""
        if x.dim() == 2:
            return super(LayerNorm, self).forward(x)
        return super(LayerNorm, self).forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class GlobalPool(nn.Module):
    """Mean over height and width."""

    def forward(self, x):
        """(n, c, h, w) -> (n, c)."""
        return x.mean((2, 3))


class Divided(nn.Module):
    """Sums of windows over how many values each holds: means that do not count the padding."""

    def __init__(self, pool, pixels, counts):
        super(Divided, self).__init__()
        self.pool = pool
        # The pool divides by all pixels of a window.
        self.register_buffer("share", torch.from_numpy((pixels / counts).astype("float32")))

    def forward(self, x):
        """(n, c, h, w) -> (n, c, oh, ow)."""
        return self.pool(x) * self.share


def _conv(op, shape):
    top, bottom, left, right = op.params["padding"]
    is_even = (top, left) == (bottom, right)
    conv = nn.Conv2d(
        shape[0],
        op.params["channels"],
        op.params["kernel"],
        stride=op.params["stride"],
        padding=(top, left) if is_even else 0,
        dilation=op.params["dilation"],
        groups=op.params["groups"],
        bias=op.params["bias"],
    )
    return conv if is_even else nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), conv)


def _pads_itself(op):
    """Whether torch's own padding of a pool can be what is asked for: equal on both sides, half a window at most."""
    top, bottom, left, right = op.params["padding"]
    rows, columns = op.params["kernel"]
    return (top, left) == (bottom, right) and top <= rows // 2 and left <= columns // 2


def _maxpool(op, shape):
    top, bottom, left, right = op.params["padding"]
    if _pads_itself(op):
        return nn.MaxPool2d(op.params["kernel"], op.params["stride"], (top, left))
    pad = nn.ConstantPad2d((left, right, top, bottom), float("-inf"))
    return nn.Sequential(pad, nn.MaxPool2d(op.params["kernel"], op.params["stride"]))


def _avgpool(op, shape):
    top, bottom, left, right = op.params["padding"]
    if _pads_itself(op):
        counts = op.params["counts_padding"]
        return nn.AvgPool2d(op.params["kernel"], op.params["stride"], (top, left), count_include_pad=counts)
    pool = nn.AvgPool2d(op.params["kernel"], op.params["stride"])
    padded = nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), pool)
    rows, columns = op.params["kernel"]
    return padded if op.params["counts_padding"] else Divided(padded, rows * columns, divisor(op, shape))


def _batchnorm(op, shape):
    # torch's momentum is the share that the new batch gets.
    return nn.BatchNorm2d(shape[0], eps=op.params["epsilon"], momentum=1 - op.params["kept"])


def _own(name, function):
    """torch's own module of that name; in a release without it, its definition."""
    return getattr(nn, name)() if hasattr(nn, name) else Function(function)


def _hardsigmoid(op, shape):
    slope, offset = op.params["slope"], op.params["offset"]
    return Function(lambda x: torch.clamp(slope * x + offset, 0, 1))


def _gelu(op, shape):
    if op.params["is_exact"]:
        return Function(functional.gelu)
    if hasattr(nn, "SiLU") and "approximate" in (functional.gelu.__doc__ or ""):  # 1.12+
        return nn.GELU(approximate="tanh")
    return Function(lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x))))


def _lrn(op, shape):
    params = op.params
    return nn.LocalResponseNorm(params["size"], params["alpha"], params["beta"], params["bias_term"])


def _slice(op, shape):
    part = slice(op.params["begin"], op.params["end"])
    return Function(lambda x: x[:, part])


def _pad(op, shape):
    top, bottom, left, right = op.params["padding"]
    return nn.ConstantPad2d((left, right, top, bottom), op.params["value"])


def _upsample(op, shape):
    sides = [side * factor for side, factor in zip(shape[1:], op.params["factor"])]
    if op.params["is_bilinear"]:
        return Function(lambda x: functional.interpolate(x, size=sides, mode="bilinear", align_corners=False))
    return Function(lambda x: functional.interpolate(x, size=sides, mode="nearest"))


def _shuffle(op, shape):
    (channels, height, width), groups = shape, op.params["groups"]
    return Function(lambda x: x.reshape(-1, groups, channels // groups, height, width).transpose(1, 2).reshape(x.shape))


_LOWER = {
    "conv": _conv,
    "scale": lambda op, shape: ByChannel(shape[0], len(shape), torch.mul),
    "shift": lambda op, shape: ByChannel(shape[0], len(shape), torch.add),
    "layernorm": lambda op, shape: LayerNorm(shape[0], eps=op.params["epsilon"]),
    "groupnorm": lambda op, shape: nn.GroupNorm(op.params["groups"], shape[0], eps=op.params["epsilon"]),
    "slice": _slice,
    "pad": _pad,
    "upsample": _upsample,
    "lrn": _lrn,
    "shuffle": _shuffle,
    "clip": lambda op, shape: nn.Hardtanh(op.params["low"], op.params["high"]),
    "leakyrelu": lambda op, shape: nn.LeakyReLU(op.params["slope"]),
    "prelu": lambda op, shape: nn.PReLU(shape[0]),
    "elu": lambda op, shape: nn.ELU(op.params["alpha"]),
    "sigmoid": lambda op, shape: nn.Sigmoid(),
    "hardsigmoid": _hardsigmoid,
    "hardswish": lambda op, shape: _own("Hardswish", lambda x: x * functional.relu6(x + 3) / 6),
    "silu": lambda op, shape: _own("SiLU", lambda x: x * torch.sigmoid(x)),
    "tanh": lambda op, shape: nn.Tanh(),
    "gelu": _gelu,
    "softplus": lambda op, shape: nn.Softplus(),
    "mish": lambda op, shape: _own("Mish", lambda x: x * torch.tanh(functional.softplus(x))),
    "globalmax": lambda op, shape: Function(lambda x: x.flatten(2).max(2)[0]),
    "unflatten": lambda op, shape: Function(lambda x: x[:, :, None, None]),
    "multiply": lambda op, shape: Function(torch.mul),
    "concat": lambda op, shape: Function(lambda *values: torch.cat(values, 1)),
    "batchnorm": _batchnorm,
    "relu": lambda op, shape: nn.ReLU(),
    "maxpool": _maxpool,
    "avgpool": _avgpool,
    "globalpool": lambda op, shape: GlobalPool(),
    "flatten": lambda op, shape: nn.Flatten(),
    "dense": lambda op, shape: nn.Linear(shape[0], op.params["features"], bias=op.params["bias"]),
    "dropout": lambda op, shape: nn.Dropout(op.params["rate"]),
    "add": lambda op, shape: Add(),
}
