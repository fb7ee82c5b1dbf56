"""ONNX files with parts changed, left out, doubled or swapped: each is a network, or one sentence."""

import os
import random

import onnx
import pytest

from orchestrator.networks import onnx_file, own
from tests.contract.adapter_facts import every_op, further_ops, windows
from workers import onnx_model

COUNT = int(os.environ.get("WAYMARK_FUZZ") or 400)
NUMBERS = [0, 1, -1, 2, 3, 7, 2**31 - 1, -(2**31), 2**40, 2**63 - 1]
DECIMALS = [0.0, -1.0, float("nan"), float("inf"), 1e30]
WORDS = ["", "\0", "../../etc/passwd", "\x1b[31m", "<b>", "x" * 5000]
WORDS += ["If", "Loop", "Reshape", "Transpose", "Expand", "Tile", "Range", "ConstantOfShape", "Gather", "QLinearConv"]


def parts_of(message):
    """Every (message, field that it has) inside a message."""
    for part, value in message.ListFields():
        yield message, part
        if part.type == part.TYPE_MESSAGE:
            for inner in value if part.is_repeated else [value]:
                yield from parts_of(inner)


def other(value, draw):
    """A value of the same type."""
    if isinstance(value, int):
        return draw.choice([*NUMBERS, value + 1, value * 1000])
    if isinstance(value, float):
        return draw.choice([*DECIMALS, -value])
    return draw.choice(WORDS) if isinstance(value, str) else draw.choice([b"", value + b"1", value[:-1]])


def change(message, part, draw):
    """Change one field of a message."""
    if not part.is_repeated:
        if part.type == part.TYPE_MESSAGE:
            message.ClearField(part.name)
        else:
            setattr(message, part.name, other(getattr(message, part.name), draw))
        return
    values = getattr(message, part.name)
    at = draw.randrange(len(values))
    if draw.random() < 0.4:
        del values[at]
    elif part.type == part.TYPE_MESSAGE:
        values.add().CopyFrom(values[at])
    else:
        values[at] = other(values[at], draw)


def mutated(model, draw) -> bytes:
    """The bytes of a model with one to four fields changed; of some, bytes too."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for _ in range(draw.choice([1, 1, 2, 4])):
        message, part = draw.choice(list(parts_of(copy)))
        try:
            change(message, part, draw)
        except (ValueError, OverflowError):  # a number that the field cannot hold
            continue
    content = bytearray(copy.SerializeToString())
    if draw.random() < 0.25:
        content[draw.randrange(len(content))] = draw.randrange(256)
        content = content[: draw.choice([len(content), draw.randrange(len(content))])]
    return bytes(content)


@pytest.mark.parametrize("seed", range(4))
def test_a_changed_file_is_a_network_or_one_sentence(tmp_path, seed):
    draw, path = random.Random(seed), tmp_path / "net.onnx"
    models = [onnx_model.build(net, net.start(0)) for net in (*further_ops().values(), *windows().values(), every_op())]
    read, sentences = 0, []
    for _ in range(COUNT // 4):
        path.write_bytes(mutated(draw.choice(models), draw))
        try:
            own.keep(onnx_file.read(path).net.data)
            read += 1
        except ValueError as error:
            sentences.append(str(error))
    assert [sentence for sentence in sentences if not sentence.isprintable() or len(sentence) > 400] == []
    assert min(read, len(sentences)) > COUNT / 40
