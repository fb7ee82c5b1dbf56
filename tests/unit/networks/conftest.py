"""ONNX files for tests."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper


@pytest.fixture
def write(tmp_path):
    """write(nodes, arrays, shape, output, opset) -> a file of these nodes, that read 'x' and make 'y'."""

    def write(nodes, arrays=None, shape=("n", 3, 16, 16), opset=17, output="y"):
        graph = helper.make_graph(
            nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
            [numpy_helper.from_array(np.asarray(array), name) for name, array in (arrays or {}).items()],
        )
        path = tmp_path / "net.onnx"
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)]), path)
        return path

    return write
