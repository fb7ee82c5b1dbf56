"""Networks from ONNX files: what waymark writes is read as it was, idioms of exporters, and files that are refused."""

import numpy as np
import onnx
import pytest
from onnx import helper

from orchestrator.networks import InputSize, onnx_file
from tests.contract.adapter_facts import further_ops, windows
from tests.networks import net_of
from tests.unit.networks.onnx_files import RNG, by_onnx, conv, network, same_as_written, to_logits
from workers import onnx_model
from workers.frameworks import inference_settings
from workers.frameworks.numpy_ref.adapter import Adapter as Oracle
from workers.ops import KINDS


def kinds(read):
    return [op.kind for op in read.net.ops]


@pytest.mark.parametrize(("name", "size", "count"), [("idsia", 48, 1510863), ("resnet20", 32, 274619)])
def test_a_network_that_was_exported_is_read_as_it_was(tmp_path, name, size, count):
    net = net_of(name, size)
    weights = net.start(0)
    onnx.save(onnx_model.build(net, weights), tmp_path / "net.onnx")
    read = onnx_file.read(tmp_path / "net.onnx")
    assert (read.net.data, read.net.weight_count, read.told) == (net.data, count, ())
    assert {name: value.tobytes() for name, value in read.weights().items()} == {
        name: value.tobytes() for name, value in weights.items()
    }


@pytest.mark.parametrize("name", sorted({**windows(), **further_ops()}))
def test_each_op_that_is_written_computes_the_same_once_read(tmp_path, name):
    net = {**windows(), **further_ops()}[name]
    weights = net.start(1)
    onnx.save(onnx_model.build(net, weights), tmp_path / "net.onnx")
    read = onnx_file.read(tmp_path / "net.onnx")
    x = RNG.standard_normal((2, *net.input))
    wanted, seen = (
        Oracle(of_net, of_weights, "cpu", inference_settings(1), {}).exact_logits(x)
        for of_net, of_weights in ((net, weights), (read.net, read.weights()))
    )
    assert np.allclose(seen, wanted, rtol=1e-6, atol=1e-6)


def test_every_kind_of_op_is_written_and_read():
    written = {op.kind for net in {**windows(), **further_ops()}.values() for op in net.ops}
    assert set(KINDS) - written == {"relu", "dropout"} - written


def test_the_share_that_running_averages_keep_is_written(tmp_path):
    net = net_of("resnet8", 8).changed("batchnorm1", kept=0.75)
    onnx.save(onnx_model.build(net, net.start(0)), tmp_path / "net.onnx")
    assert onnx_file.read(tmp_path / "net.onnx").net.data == net.data


CHAINS = {
    "silu": [("Sigmoid", ["c"], "s"), ("Mul", ["c", "s"], "m")],
    "mish": [("Softplus", ["c"], "a"), ("Tanh", ["a"], "b"), ("Mul", ["b", "c"], "m")],
    "hardswish": [("Add", ["c", "three"], "a"), ("Clip", ["a", "zero", "six"], "b"), ("Mul", ["c", "b"], "d"),
                  ("Div", ["d", "six"], "m")],
    "gelu": [("Div", ["c", "root"], "a"), ("Erf", ["a"], "b"), ("Add", ["b", "one"], "d"), ("Mul", ["c", "d"], "e"),
             ("Mul", ["e", "half"], "m")],
    "hardsigmoid": [("Add", ["c", "three"], "a"), ("Clip", ["a", "zero", "six"], "b"), ("Div", ["b", "six"], "m")],
}  # fmt: skip
NUMBERS = {"zero": 0.0, "half": 0.5, "one": 1.0, "three": 3.0, "six": 6.0, "root": 2**0.5}


@pytest.mark.parametrize("kind", CHAINS)
def test_a_function_in_several_nodes_is_one_op(write, kind):
    middle = [helper.make_node(op, inputs, [output]) for op, inputs, output in CHAINS[kind]]
    nodes, arrays = network(middle, {name: np.float32(number) for name, number in NUMBERS.items()})
    assert kinds(onnx_file.read(write(nodes, arrays))) == ["input", "conv", kind, "globalpool", "dense"]


def test_a_gate_of_other_pixels_stays_a_product(write):
    middle = [
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Sigmoid", ["p"], ["s"]),
        helper.make_node("Mul", ["c", "s"], ["m"]),
    ]
    read = onnx_file.read(write(*network(middle)))
    assert kinds(read) == ["input", "conv", "globalpool", "unflatten", "sigmoid", "multiply", "globalpool", "dense"]


def test_flattening_by_shape_arithmetic_is_read(write):
    first, kernel = conv()
    nodes = [
        first,
        helper.make_node("Shape", ["c"], ["whole"]),
        helper.make_node("Gather", ["whole", "at"], ["count"], axis=0),
        helper.make_node("Unsqueeze", ["count", "axes"], ["row"]),
        helper.make_node("Concat", ["row", "rest"], ["shape"], axis=0),
        helper.make_node("Reshape", ["c", "shape"], ["flat"]),
        helper.make_node("MatMul", ["flat", "w"], ["product"], name="head"),
        helper.make_node("Add", ["product", "b"], ["y"]),
    ]
    arrays = {"at": np.int64(0), "axes": np.array([0]), "rest": np.array([-1])}
    arrays |= {"w": np.ones((5 * 14 * 14, 4), np.float32), "b": np.ones(4, np.float32)}
    read = onnx_file.read(write(nodes, {**kernel, **arrays}))
    assert kinds(read) == ["input", "conv", "flatten", "dense"]
    assert read.net.ops[-1].params == {"features": 4, "bias": True}


def test_a_softmax_at_the_end_is_taken_off_and_said(write):
    nodes, arrays = network([helper.make_node("Relu", ["c"], ["m"])])
    nodes.append(helper.make_node("Softmax", ["y"], ["p"], name="prob"))
    read = onnx_file.read(write(nodes, arrays, output="p"))
    assert kinds(read)[-1] == "dense"
    assert read.told == ("'prob' (Softmax) at the end is taken off: networks are trained on logits.",)


def test_a_map_of_one_pixel_at_the_end_is_the_logits(write):
    first, kernel = conv()
    nodes = [first, helper.make_node("GlobalAveragePool", ["c"], ["y"])]
    read = onnx_file.read(write(nodes, kernel))
    assert (kinds(read), read.net.classes) == (["input", "conv", "globalpool"], 5)


@pytest.mark.parametrize(("pad", "padding"), [("SAME_UPPER", (0, 1, 0, 1)), ("SAME_LOWER", (1, 0, 1, 0))])
def test_same_padding_is_written_out(write, pad, padding):
    first, kernel = conv(auto_pad=pad, strides=[2, 2])
    last, weights = to_logits("c")
    read = onnx_file.read(write([first, *last], {**kernel, **weights}))
    assert read.net.ops[1].params["padding"] == padding
    assert read.net.shapes["stem"] == (5, 8, 8)


def test_an_open_size_is_asked_for_and_given(write):
    path = write(*network([helper.make_node("Relu", ["c"], ["m"])]), shape=("n", 3, "h", "w"))
    with pytest.raises(ValueError, match="leaves its size open"):
        onnx_file.read(path)
    assert onnx_file.read(path, InputSize.square(24)).net.input == (3, 24, 24)


REFUSED = {
    "a loop": ([("If", ["c"], ["m"], {})], "node 'm' (If): it is not among the operators that are read."),
    "another domain": ([("Relu", ["c"], ["m"], {"domain": "com.mine"})], "of the domain 'com.mine'"),
    "a dangling input": ([("Add", ["c", "nowhere"], ["m"], {})], "it reads 'nowhere', which no earlier node makes"),
    "a cycle": ([("Add", ["c", "q"], ["m"], {}), ("Relu", ["m"], ["q"], {})], "part of a cycle"),
    "a constant map": (
        [("Mul", ["c", "map"], ["m"], {})],
        "its constant is neither one number nor one for each channel",
    ),
    "an unknown function": ([("Sqrt", ["c"], ["m"], {})], "a function of each value that is none of those"),
    "a softmax inside": ([("Softmax", ["c"], ["m"], {"axis": 1})], "it is not at the end"),
    "a name of control characters": ([("If", ["c"], ["m"], {"name": "a\x1b[31m<b>"})], "node 'a?[31m<b>' (If)"),
    "a shape that does not fit": (
        [("Conv", ["c", "four"], ["m"], {})],
        "its kernel is of shape (5, 4, 1, 1) in 1 groups",
    ),
    "a value made twice": ([("Relu", ["c"], ["m"], {}), ("Relu", ["c"], ["m"], {})], "which an earlier node makes"),
    "shared weights": (
        [("Conv", ["c", "k"], ["a"], {"name": "one"}), ("Conv", ["a", "k"], ["m"], {"name": "two"})],
        "node 'two' (Conv): it shares 'k' with node 'one'",
    ),
    "weights that are shared through their transpose": (
        [
            ("Transpose", ["k"], ["t"], {"perm": [1, 0, 2, 3]}),
            ("Identity", ["t"], ["i"], {}),
            ("Conv", ["c", "k"], ["a"], {"name": "one"}),
            ("Conv", ["a", "i"], ["m"], {"name": "two"}),
        ],
        "node 'two' (Conv): it shares 'k' with node 'one'",
    ),
    "a huge constant": (
        [("ConstantOfShape", ["huge"], ["h"], {}), ("Add", ["c", "h"], ["m"], {})],
        "of which none or too many values come",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_network_is_a_sentence_with_the_node(write, case):
    nodes, sentence = REFUSED[case]
    middle = [helper.make_node(kind, inputs, outputs, **given) for kind, inputs, outputs, given in nodes]
    arrays = {"map": np.ones((5, 5, 14, 14), np.float32), "k": np.ones((5, 5, 1, 1), np.float32)}
    arrays["four"] = np.ones((5, 4, 1, 1), np.float32)
    arrays["huge"] = np.array([2**20, 2**20])
    with pytest.raises(ValueError, match=r"^node ") as refused:
        onnx_file.read(write(*network(middle, arrays)))
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_that_is_no_model_is_said(tmp_path):
    (tmp_path / "a.onnx").write_bytes(b"not a model at all")
    (tmp_path / "b.onnx").write_bytes(b"")
    for name, sentence in (("a.onnx", "is no ONNX model"), ("b.onnx", "holds no graph"), ("c.onnx", "cannot be read")):
        with pytest.raises(ValueError, match=sentence):
            onnx_file.read(tmp_path / name)


def test_an_unknown_opset_is_said(write):
    path = write(*network([helper.make_node("Relu", ["c"], ["m"])]), opset=6)
    with pytest.raises(ValueError, match="its opset is 6; opsets 7 to 25 are read"):
        onnx_file.read(path)


def test_a_sum_is_no_bias_where_the_layer_has_another_reader(write):
    middle = [
        helper.make_node("Identity", ["c"], ["again"]),
        helper.make_node("Add", ["again", "b"], ["shifted"]),
        helper.make_node("Mul", ["shifted", "c"], ["m"]),
    ]
    path = write(*network(middle, {"b": np.arange(5, dtype=np.float32).reshape(5, 1, 1)}))
    x = RNG.standard_normal((1, 3, 16, 16)).astype(np.float32)
    assert same_as_written(onnx_file.read(path), x, by_onnx(path, x))


def test_a_sum_after_a_vector_became_a_map_is_read(write):
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["d"], name="first"),
        helper.make_node("Unsqueeze", ["d", "axes"], ["map"]),
        helper.make_node("Add", ["map", "b"], ["s"]),
        helper.make_node("Flatten", ["s"], ["g"]),
        helper.make_node("MatMul", ["g", "v"], ["y"], name="second"),
    ]
    arrays = {name: RNG.standard_normal(shape).astype(np.float32) for name, shape in (("w", (3, 4)), ("v", (4, 2)))}
    arrays |= {"axes": np.array([2, 3]), "b": np.arange(4, dtype=np.float32).reshape(4, 1, 1)}
    path = write(nodes, arrays)
    x = RNG.standard_normal((1, 3, 16, 16)).astype(np.float32)
    assert same_as_written(onnx_file.read(path), x, by_onnx(path, x))


def test_the_shape_of_a_map_with_channels_last_is_the_files(write):
    middle = [
        helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]),
        helper.make_node("Shape", ["t"], ["whole"]),
        helper.make_node("Gather", ["whole", "three"], ["channels"]),
        helper.make_node("Concat", ["ends", "channels"], ["pick"], axis=0),
        helper.make_node("Transpose", ["t"], ["u"], perm=[0, 3, 1, 2]),
        helper.make_node("ConstantOfShape", ["channels"], ["zeros"]),
        helper.make_node("Unsqueeze", ["zeros", "axes"], ["zeros_map"]),
        helper.make_node("Add", ["u", "zeros_map"], ["m"]),
    ]
    arrays = {"three": np.array([3]), "ends": np.array([1]), "axes": np.array([1, 2])}
    read = onnx_file.read(write(*network(middle, arrays)))
    assert kinds(read) == ["input", "conv", "shift", "globalpool", "dense"]


def test_a_map_of_one_pixel_is_made_before_all_that_read_it(write):
    middle = [
        helper.make_node("GlobalAveragePool", ["c"], ["p"]),
        helper.make_node("Sigmoid", ["p"], ["s"]),
        helper.make_node("Mul", ["c", "p"], ["a"]),
        helper.make_node("Mul", ["a", "s"], ["m"]),
    ]
    path = write(*network(middle))
    x = RNG.standard_normal((1, 3, 16, 16)).astype(np.float32)
    assert same_as_written(onnx_file.read(path), x, by_onnx(path, x))


def test_a_function_that_is_cut_far_away_is_not_another(write):
    middle = [helper.make_node("Relu", ["c"], ["r"]), helper.make_node("Min", ["r", "far"], ["m"])]
    op = onnx_file.read(write(*network(middle, {"far": np.float32(5000)}))).net.ops[2]
    assert (op.kind, op.params) == ("clip", {"low": 0.0, "high": 5000.0})


def choice(slope):
    """Nodes of a leaky ReLU as a choice between x and slope * x."""
    return [
        helper.make_node("Mul", ["c", "slope"], ["s"]),
        helper.make_node("Less", ["c", "zero"], ["b"]),
        helper.make_node("Where", ["b", "s", "c"], ["m"]),
    ], {"slope": np.float32(slope), "zero": np.float32(0)}


def test_a_choice_by_sign_is_a_leaky_relu(write):
    op = onnx_file.read(write(*network(*choice(0.3)))).net.ops[2]
    assert (op.kind, op.params) == ("leakyrelu", {"slope": 0.3})


def test_factors_of_a_dense_layer_go_into_its_weights(write):
    nodes, arrays = network([helper.make_node("Relu", ["c"], ["m"])], {"b": np.arange(4, dtype=np.float32)})
    nodes[-1] = helper.make_node("Gemm", ["flat", "w", "b"], ["y"], alpha=0.5, beta=2.0)
    path = write(nodes, arrays)
    x = RNG.standard_normal((1, 3, 16, 16)).astype(np.float32)
    assert same_as_written(onnx_file.read(path), x, by_onnx(path, x))


@pytest.mark.parametrize(
    ("kind", "inputs", "sentence"),
    [
        ("Conv", ["c", "k", "four"], "its bias has 4 numbers, and there are 5 channels"),
        ("LayerNormalization", ["t", "four", "four"], "is not one number for each of 5 channels"),
    ],
)
def test_weights_of_another_size_are_refused(write, kind, inputs, sentence):
    middle = [helper.make_node("Transpose", ["c"], ["t"], perm=[0, 2, 3, 1]), helper.make_node(kind, inputs, ["m"])]
    arrays = {"k": np.ones((5, 5, 1, 1), np.float32), "four": np.ones(4, np.float32)}
    with pytest.raises(ValueError, match=sentence):
        onnx_file.read(write(*network(middle, arrays)))
