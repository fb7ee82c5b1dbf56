"""MXNet 1.5 and later."""
