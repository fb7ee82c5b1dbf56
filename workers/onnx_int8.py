"""An ONNX model with 8-bit weights and activations (QDQ), by ONNX Runtime's own static quantisation.

A processor without VNNI adds pairs of products in 16 bits, which overflow: weights then have 7 bits. (Of a network of
eight layers 8-bit weights were off by 0.25 of the largest logit on such a processor, and 7-bit weights by 0.024.)
Source: ONNX Runtime's documentation, "Quantize ONNX models", reduce_range.
"""

import os
import tempfile

import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from workers import native, onnx_model

BATCH = 16


class _Reader(CalibrationDataReader):
    """Pictures, a batch at a time."""

    def __init__(self, x):
        self._batches = iter([x[at : at + BATCH] for at in range(0, len(x) - len(x) % BATCH or len(x), BATCH)])

    def get_next(self):
        """The next batch; None after the last."""
        x = next(self._batches, None)
        return None if x is None else {onnx_model.INPUT: x}


def quantised(net, weights, pictures, batch_size):
    """The model (onnx.ModelProto) for batches of that size.

    pictures: float32 (n, channels, height, width), of the training.
    Weights are quantised for each channel, activations by the range that the pictures show.
    """
    with tempfile.TemporaryDirectory() as folder:
        plain, ready, made = (os.path.join(folder, name) for name in ("plain.onnx", "ready.onnx", "int8.onnx"))
        onnx.save(onnx_model.build(net, weights), plain)
        quant_pre_process(plain, ready, skip_symbolic_shape=True)
        quantize_static(
            ready,
            made,
            _Reader(pictures),
            quant_format=QuantFormat.QDQ,
            per_channel=True,
            reduce_range=not native.has_vnni(),
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
        )
        model = onnx.load(made)
    for value in list(model.graph.input) + list(model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = batch_size
    return model
