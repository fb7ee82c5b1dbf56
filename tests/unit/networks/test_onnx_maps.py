"""ONNX operators that normalise by group, cut, pad and enlarge: what they become, and what of them is refused."""

import numpy as np
import pytest
from onnx import helper

from orchestrator.networks import onnx_file
from tests.unit.networks.onnx_files import RNG, by_onnx, network, same_as_written


def by_group(scaled="m", shape=(0, 5, -1), ones=5):
    """Nodes of a group normalisation as PyTorch's exporter writes it, and their arrays."""
    nodes = [
        helper.make_node("Reshape", ["c", "split"], ["g"]),
        helper.make_node("InstanceNormalization", ["g", "ones", "zeros"], ["n"], name="norm"),
        helper.make_node("Shape", ["c"], ["whole"]),
        helper.make_node("Reshape", ["n", "whole"], ["back"]),
        helper.make_node("Mul", ["back", "gamma"], ["scaled"]),
        helper.make_node("Add", [scaled, "beta"], ["m"])
        if scaled != "m"
        else helper.make_node("Relu", ["scaled"], ["m"]),
    ]
    arrays = {"split": np.array(shape), "ones": np.ones(ones, np.float32), "zeros": np.zeros(ones, np.float32)}
    weights = {end: RNG.random_sample((5, 1, 1)).astype(np.float32) for end in ("gamma", "beta")}
    return nodes, {**arrays, **weights}


def test_a_normalisation_by_group_takes_the_weights_that_follow(write):
    path = write(*network(*by_group("scaled")))
    imported = onnx_file.read(path)
    assert [op.kind for op in imported.net.ops] == ["input", "conv", "groupnorm", "globalpool", "dense"]
    x = RNG.standard_normal((1, 3, 16, 16)).astype(np.float32)
    assert same_as_written(imported, x, by_onnx(path, x))


def test_weights_that_a_normalisation_lacks_are_told(write):
    imported = onnx_file.read(write(*network(*by_group())))
    assert imported.told == ("'norm' (groupnorm) has beta as weights; the file has none for it.",)


def test_a_product_after_the_sum_is_not_the_norms_own(write):
    nodes, arrays = by_group("scaled")
    nodes[-2:] = [helper.make_node("Add", ["back", "beta"], ["a"]), helper.make_node("Mul", ["a", "gamma"], ["m"])]
    path = write(*network(nodes, arrays))
    imported = onnx_file.read(path)
    assert [op.kind for op in imported.net.ops[2:4]] == ["groupnorm", "scale"]
    x = RNG.standard_normal((1, 3, 16, 16)).astype(np.float32)
    assert same_as_written(imported, x, by_onnx(path, x))


SIZES = {
    "one": np.array([1]),
    "three": np.array([3]),
    "rows": np.array([2]),
    "two": np.array([2]),
    "wide": np.array([1, 1, 2, 2], np.float32),
    "half": np.array([1, 1, 1.5, 1.5], np.float32),
    "huge": np.array([1, 1, 1024, 1024], np.float32),
    "channels": np.array([1, 2, 1, 1], np.float32),
    "sides": np.array([0, 0, 1, 1, 0, 0, 1, 1]),
    "inside": np.array([0, 0, -1, 1, 0, 0, 1, 1]),
    "colours": np.array([0, 1, 0, 0, 0, 0, 0, 0]),
    "nothing": np.array([], np.float32),
    "split": np.array([2, 2]),
}


@pytest.mark.parametrize(
    ("kind", "inputs", "attributes", "sentence"),
    [
        ("Slice", ["one", "three", "rows"], {}, "only channels or features one after the other are read"),
        ("Slice", ["one", "three", "one", "two"], {}, "only channels or features one after the other are read"),
        ("Slice", ["one", "three", "sides"], {}, "its axes are (0, 0, 1, 1, 0, 0, 1, 1); its input has 4"),
        ("Slice", ["three", "one", "one"], {}, "(slice): 3 to 1 is no part of 5"),
        ("Split", ["split"], {"axis": 1}, "it divides 5 channels into (2, 2), as 1 values"),
        ("Split", [], {"axis": 2}, "only channels or features are divided here"),
        ("Pad", ["sides"], {"mode": "reflect"}, "only a constant is read"),
        ("Pad", ["inside"], {}, "they must be two for each axis, none negative"),
        ("Pad", ["colours"], {}, "only rows and columns are padded here"),
        ("Resize", ["nothing", "wide"], {"mode": "cubic"}, "nearest and linear are read"),
        ("Resize", ["nothing", "half"], {}, "it makes an axis 1.5 times as long"),
        ("Resize", ["nothing", "huge"], {}, "only whole factors up to 64 are read"),
        ("Resize", ["nothing", "channels"], {}, "only rows and columns are enlarged here"),
        (
            "Resize",
            ["nothing", "wide"],
            {"mode": "linear", "coordinate_transformation_mode": "align_corners"},
            "with align_corners its pixels lie elsewhere",
        ),
        ("Resize", ["nothing"], {}, "it says neither a scale nor a size for each axis"),
    ],
)
def test_what_no_slice_padding_or_upsampling_does_is_refused(write, kind, inputs, attributes, sentence):
    middle = [helper.make_node(kind, ["c", *inputs], ["m"], name="cut", **attributes)]
    with pytest.raises(ValueError, match="node 'cut'") as caught:
        onnx_file.read(write(*network(middle, SIZES)))
    assert sentence in str(caught.value)


def test_an_upsampling_that_grows_without_end_is_refused(write):
    middle = [helper.make_node("Resize", ["c" if not at else f"r{at}", "", "wide"], [f"r{at + 1}"]) for at in range(12)]
    middle.append(helper.make_node("Relu", ["r12"], ["m"]))
    with pytest.raises(ValueError, match="pixels; at most 8192 are read"):
        onnx_file.read(write(*network(middle, SIZES)))
