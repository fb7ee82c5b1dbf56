"""ONNX Runtime: runs trained networks."""
