"""Neon 2.6, on its CPU and MKL backends."""
