"""TensorFlow 2.7 and later."""
