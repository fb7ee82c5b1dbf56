"""The rules whose wrong versions are tried; see rule_mutants.py, which an environment without pytest reads too."""

RULES = (
    ("adam",),
    ("adamw", "decay apart", "clipping", "smoothing", "schedule"),
    ("sgd", "coupled decay", "clipping", "schedule"),
    ("nesterov",),
    ("rmsprop",),
    ("lion", "decay apart"),
)
"""Optimiser and traits of each selfcheck."""
