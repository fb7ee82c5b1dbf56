"""PyTorch 1.3 and later."""
