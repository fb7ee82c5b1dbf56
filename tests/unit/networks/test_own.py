"""Networks that users bring: their files, their hash, other input sizes, and how a spec and a record hold them."""

import json

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from orchestrator.errors import SpecError
from orchestrator.networks import InputSize, Model, Network, own
from orchestrator.planning.spec import ExperimentSpec, load_spec
from tests.networks import net_of, network_of
from workers import onnx_model
from workers.net import NetBuilder

SPEC = {"name": "mine", "axes": {"frameworks": ["numpy_ref"], "models": [{"net": "mine.json"}], "input_sizes": [48]}}


@pytest.fixture
def mine():
    """ResNet-8@16 of 43 classes, as a network of one's own."""
    return network_of("resnet8", 16)


@pytest.fixture
def load(tmp_path, mine):
    """load(entry) -> the spec with that entry of axes.models, beside mine.json and mine.onnx."""
    (tmp_path / "mine.json").write_text(mine.model_dump_json())
    net = net_of("resnet8", 16)
    onnx.save(onnx_model.build(net, net.start(0)), tmp_path / "mine.onnx")

    def load(entry, **changes):
        spec = {**SPEC, "axes": {**SPEC["axes"], "models": [entry]}}
        (tmp_path / "spec.json").write_text(json.dumps(spec))
        return load_spec(tmp_path / "spec.json", ["numpy_ref"], changes)

    return load


@pytest.mark.parametrize("entry", [{"net": "mine.json"}, {"onnx": "mine.onnx"}])
def test_a_file_beside_the_spec_is_a_network(load, mine, entry):
    spec = load(entry)
    ((axis, size),) = spec.axes.networks
    network = Network.of(axis.model, size, 43)
    assert (axis.model.label, str(size), network.label) == ("mine", "16", "mine@16")
    assert network.sha256 == mine.sha256


def test_a_spec_on_record_holds_its_networks(load, mine, monkeypatch):
    recorded = load({"net": "mine.json"}).model_dump_json(by_alias=True)
    monkeypatch.setattr(own, "_known", {})
    spec = ExperimentSpec.model_validate_json(recorded)
    assert list(spec.networks) == [mine.sha256]
    assert Network.of(spec.axes.models[0].model, InputSize.square(16), 43).sha256 == mine.sha256


def test_a_changed_network_on_record_is_refused(load):
    recorded = json.loads(load({"net": "mine.json"}).model_dump_json(by_alias=True))
    (ops,) = recorded["networks"].values()
    ops[1]["channels"] = 17
    ops[2:] = [{"name": "g", "kind": "globalpool", "inputs": [ops[1]["name"]]}]
    with pytest.raises(ValueError, match="they were changed"):
        ExperimentSpec.model_validate_json(json.dumps(recorded))


def test_a_spec_without_networks_is_written_as_before(tmp_path):
    spec = {**SPEC, "axes": {**SPEC["axes"], "models": [{"name": "idsia"}]}}
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    written = load_spec(tmp_path / "spec.json", ["numpy_ref"]).model_dump(mode="json")
    assert "networks" not in written
    assert "network_sha256" not in written["axes"]["models"][0]


def test_another_input_size_gives_the_same_weights(load):
    spec = load({"net": "mine.json", "input_sizes": [[3, 24, 16]]})
    ((axis, size),) = spec.axes.networks
    network = Network.of(axis.model, size, 43)
    assert network.net.input == (3, 24, 16)
    assert network.net.weight_count == net_of("resnet8", 16).weight_count


def test_ops_that_depend_on_the_size_are_asked_for_one_size(load, tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"], auto_pad="SAME_UPPER", strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["c"], ["y"]),
    ]
    kernel = numpy_helper.from_array(np.ones((43, 3, 3, 3), np.float32), "w")
    x, y = (helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in (("x", ("n", 3, "h", "w")), ("y", None)))
    onnx.save(
        helper.make_model(
            helper.make_graph(nodes, "net", [x], [y], [kernel]), opset_imports=[helper.make_opsetid("", 17)]
        ),
        tmp_path / "open.onnx",
    )
    assert load({"onnx": "open.onnx", "input_sizes": [16, 32]}).networks
    with pytest.raises(SpecError, match=r"its ops at 17 are others than at 16; give each size an entry"):
        load({"onnx": "open.onnx", "input_sizes": [16, 17]})


def test_an_own_network_named_as_a_family_keeps_its_own_label(load):
    model = load({"net": "mine.json", "name": "resnet"}).axes.models[0].model
    assert (model.label, Model(name="resnet", depth=8).label) == ("resnet", "ResNet-8")


def test_more_outputs_than_classes_are_left_and_fewer_refused(mine):
    model = Model(name="mine", network_sha256=own.keep(mine.ops))
    assert Network.of(model, InputSize.square(16), 10).net.classes == 43
    with pytest.raises(ValueError, match="has 43 outputs, and the pictures are of 100 classes"):
        Network.of(model, InputSize.square(16), 100)


@pytest.mark.parametrize(
    ("entry", "sentence"),
    [
        ({"net": "none.json"}, "none.json: it cannot be read"),
        ({"net": "mine.onnx"}, "mine.onnx: it is not JSON"),
        ({"onnx": "mine.json"}, "mine.json: it is no ONNX model"),
        ({"net": 3}, "axes.models[0].net is 3"),
        ({"net": "mine.json", "onnx": "mine.onnx"}, "names both 'onnx' and 'net'"),
        ({"net": "mine.json", "name": "Mine"}, "axes.models[0].name"),
        ({"name": "mine", "network_sha256": "0" * 64}, 'are not in the spec under "networks"'),
    ],
)
def test_a_mistake_in_an_entry_is_one_sentence(load, entry, sentence):
    with pytest.raises(SpecError) as refused:
        load(entry)
    assert sentence in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("channels", [2**31, 2**62, 10**30])
def test_more_weights_than_any_memory_holds_are_refused(channels):
    net = NetBuilder((3, 16, 16))
    net.dense(net.globalpool(net.conv(net.conv(net.input, 4, 3), channels, 1, bias=False)), 16, bias=False)
    with pytest.raises(ValueError, match=r"weights; at most 268,435,456 are trained here"):
        own.keep(net.net().data)


@pytest.mark.parametrize(
    ("name", "seen"), [("MobileNet-V2.onnx", "mobilenet_v2"), ("3d.onnx", "net_3d"), ("ü.onnx", "net")]
)
def test_a_network_is_named_after_its_file(tmp_path, name, seen):
    assert own.name_of(tmp_path / name) == seen
