"""The oracle: every op written out in numpy, float64 inside."""
