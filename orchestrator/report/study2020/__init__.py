"""A run beside the study of 2020: its numbers (paper), what a run measured of them, its claims, findings and tables.

Modules import each other by name: `paper` is read by the studies, which `findings` reads.
"""
