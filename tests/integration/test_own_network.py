"""A network of a user's own, from its ONNX file to a report; and what comes after its file is gone."""

import io
import json

import numpy as np
import onnx
import pytest
from rich.console import Console as Terminal

from orchestrator.commands import import_network
from orchestrator.console.progress import Console
from orchestrator.errors import SpecError
from orchestrator.networks import onnx_file, own
from orchestrator.planning.narrowing import Narrowing
from tests.sweeping import SPEC, run
from workers import onnx_model
from workers.net import NetBuilder


def small_net():
    """A squeezed and gated network for pictures of 8 x 8 pixels."""
    net = NetBuilder((3, 8, 8))
    x = net.op("silu", net.batchnorm(net.conv(net.input, 6, 3, 1, 1, bias=False)))
    x = net.op("concat", net.relu(net.conv(x, 4, 1)), net.relu(net.conv(x, 4, 3, 1, 1, groups=2)))
    gate = net.op("sigmoid", net.conv(net.op("unflatten", net.globalpool(x)), 8, 1))
    net.dense(net.globalpool(net.op("multiply", x, gate)), 43)
    return net.net()


@pytest.fixture
def own_world(world):
    """The world of `swept`, whose spec names mine.onnx beside it."""
    _, spec, _ = world
    net = small_net()
    onnx.save(onnx_model.build(net, net.start(0)), spec.with_name("mine.onnx"))
    spec.write_text(json.dumps({**SPEC, "axes": {**SPEC["axes"], "models": [{"onnx": "mine.onnx"}], "seeds": [0]}}))
    return world


def forget(world, monkeypatch):
    """As in another process, and without the file."""
    world[1].with_name("mine.onnx").unlink()
    monkeypatch.setattr(own, "_known", {})


def test_an_onnx_file_is_checked_and_trained(own_world, catalogue):
    result, said = run(own_world, catalogue)
    (trial,), (check,) = result.report.stored.trials, result.report.stored.checks
    assert (trial.outcome.status, trial.trial.model.label, check.passed) == ("ok", "mine", True)
    assert trial.timeline.built.weights == small_net().weight_count
    assert "selfcheck mine@8: passed" in said
    assert "mine@8" in result.report.page.read_text()


def test_a_run_goes_on_when_the_file_is_gone(own_world, catalogue, monkeypatch):
    run(own_world, catalogue)
    forget(own_world, monkeypatch)
    again, said = run(own_world, catalogue, resume="latest")
    assert (again.exit_code, said.count("already done")) == (0, 1)
    assert "mine@8" in again.report.page.read_text()


def test_a_network_is_named_in_place_of_those_of_a_spec(own_world, catalogue):
    own_world[1].write_text(json.dumps(SPEC))
    network = own_world[1].with_name("mine.onnx")
    result, _ = run(own_world, catalogue, changes=Narrowing(network=network, seeds=(0,), epochs=1).changes())
    assert [trial.trial.model.label for trial in result.report.stored.trials] == ["mine"]


def with_start(world, start, **entry):
    entry = {"onnx": "mine.onnx", "start": start, **entry}
    world[1].write_text(json.dumps({**SPEC, "axes": {**SPEC["axes"], "models": [entry], "seeds": [0]}}))


def first_weights_of(result, world):
    (trial,) = result.report.stored.trials
    with np.load(world[0].runs / trial.record.run_id / trial.record.folder_name / "start.npz") as arrays:
        return dict(arrays)


def test_a_file_gives_the_first_weights_that_are_asked_of_it(own_world, catalogue, monkeypatch):
    with_start(own_world, "file")
    wanted = onnx_file.read(own_world[1].with_name("mine.onnx")).weights()
    result, _ = run(own_world, catalogue)
    (trial,) = result.report.stored.trials
    seen = first_weights_of(result, own_world)
    assert trial.outcome.status == "ok"
    assert list(seen) == list(wanted)
    assert all((seen[name] == wanted[name]).all() for name in wanted)
    forget(own_world, monkeypatch)
    again, said = run(own_world, catalogue, resume="latest")
    assert (again.exit_code, said.count("already done")) == (0, 1)


def test_first_weights_that_were_changed_are_written_again(own_world, catalogue):
    with_start(own_world, "file")
    run(own_world, catalogue)
    (kept,) = own_world[0].starts.iterdir()
    kept.write_bytes(b"PK\x03\x04 something else")
    result, _ = run(own_world, catalogue)
    wanted = onnx_file.read(own_world[1].with_name("mine.onnx")).weights()
    seen = first_weights_of(result, own_world)
    assert all((seen[name] == wanted[name]).all() for name in wanted)


def test_weights_from_a_file_are_another_trial(own_world, catalogue):
    drawn, _ = run(own_world, catalogue)
    with_start(own_world, "file")
    of_file, _ = run(own_world, catalogue)
    (one,), (other,) = drawn.report.stored.trials, of_file.report.stored.trials
    assert one.record.id != other.record.id
    assert one.record.network_sha256 == other.record.network_sha256


@pytest.mark.parametrize(
    ("start", "entry", "sentence"),
    [
        ("best", {}, r"axes\.models\[0\]\.start is 'best'; it must be one of: drawn, file\."),
        ("file", {"onnx": "nan.onnx"}, r"nan\.onnx: its weight .* has a value that is no finite number"),
        (
            "file",
            {"onnx": "flat.onnx", "input_sizes": [8, 10]},
            r"flat\.onnx: node 'dense1' .* its weights take 144 features, and its input has 256",
        ),
    ],
)
def test_a_start_that_cannot_be_is_refused(own_world, catalogue, start, entry, sentence):
    net, spec = small_net(), own_world[1]
    weights = net.start(0)
    weights[net.weights[0].name][0] = np.nan
    onnx.save(onnx_model.build(net, weights), spec.with_name("nan.onnx"))
    flat = NetBuilder((3, 8, 8))
    flat.dense(flat.flatten(flat.conv(flat.input, 4, 3)), 43)
    model = onnx_model.build(flat.net(), flat.net().start(0))
    for side in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        side.dim_param = "side"
    onnx.save(model, spec.with_name("flat.onnx"))
    with_start(own_world, start, **entry)
    with pytest.raises(SpecError, match=sentence):
        run(own_world, catalogue)


def test_a_file_of_ops_is_no_start(own_world, catalogue):
    own_world[1].with_name("mine.json").write_text(json.dumps({"label": "mine", "ops": small_net().data}))
    entry = {"net": "mine.json", "start": "file"}
    own_world[1].write_text(json.dumps({**SPEC, "axes": {**SPEC["axes"], "models": [entry], "seeds": [0]}}))
    with pytest.raises(SpecError, match="it holds no weights, so it is no start; an ONNX file does"):
        run(own_world, catalogue)


def test_import_writes_the_ops_that_a_spec_may_name(own_world, tmp_path):
    source = own_world[1].with_name("mine.onnx")
    request = import_network.ImportRequest(source, "gated", None, tmp_path)
    title, rows = import_network.import_network(request, Console(Terminal(file=io.StringIO())))
    assert title.startswith(f"gated@8: 3x8x8 to 43 logits, {len(small_net().ops) - 1} ops")
    assert [row["kind"] for row in rows] == [op.kind for op in small_net().ops]
    assert own.keep(own.read(tmp_path / "gated.json")) == own.keep(onnx_file.read(source).net.data)
    import_network.import_network(request, Console(Terminal(file=io.StringIO())))
    (tmp_path / "gated.json").write_text("{}")
    with pytest.raises(SpecError, match=r"gated\.json is there and holds another network"):
        import_network.import_network(request, Console(Terminal(file=io.StringIO())))


def test_import_says_what_a_framework_lacks(own_world, tmp_path):
    said = io.StringIO()
    request = import_network.ImportRequest(own_world[1].with_name("mine.onnx"), "", None, tmp_path)
    import_network.import_network(request, Console(Terminal(file=said, width=200)))
    assert [line for line in said.getvalue().splitlines() if "lacks" in line] == [
        "neon lacks concat, multiply, sigmoid, silu, unflatten: 5 ops, the first silu1"
    ]
