"""LiteRT (TensorFlow Lite): runs trained networks."""
