"""How far a figure may be from the oracle's, by number format and proof; what is beyond is no pass.

A number format without an entry promises no closeness: what it is off by is told, and never passes.
"""

import math
import types

import numpy

FLOAT32, BFLOAT16, FLOAT16, INT8, CHOSEN = "float32", "bfloat16", "float16", "int8", "chosen"

PRECISIONS = (FLOAT32, BFLOAT16, FLOAT16, INT8, CHOSEN)
"""What may be asked for; 'chosen' is what a framework takes by itself on this processor."""

_SELFCHECK = {
    "logits": 1e-4,  # of the first weights: float32 sums of 4000 terms, some 20 layers
    "clean_loss_step_1": 1e-5,
    "clean_loss_step_20": 1e-3,
    "study_loss_step_5": 1e-3,
    # How far the worst of all arrays is off, as a share of what one update did to it. A ReLU whose sign flips by
    # rounding moves the gradient of a small vector by 1e-2, in every float32 build (seen: 1.2e-2).
    "update_step_1": 5e-2,
    # The same of all trained arrays together (seen: 3e-2, all of it rounding), and of all running averages (seen: 1e-3;
    # a framework that keeps the variance of the batch, n and not n - 1, is off by 3e-4; 0.89 kept for 0.9 by 3e-2).
    "update_step_20": 1e-1,
    "averages_step_20": 1e-2,
    "partial_logits": 1e-4,  # of a batch that is smaller than those of the training
    "black_decay": 1e-6,  # black pictures give the first convolution no gradient: whatever moves it is something else
    # Of all trained arrays. At this rate rounding makes 5e-3 in ResNet-20 (4e-2 at 0.0001), an update left out 2.3e-2.
    "update_step_45": 1.5e-2,
    "logits_step_20": 3e-2,  # inference with weights that are off by that (seen: 1e-2)
}

# Of a rule that takes the sign of an average. A gradient may be off by 5e-2 (above); of one whose values are normally
# distributed, as the noise is, the share of signs that then differ is 5e-2 / pi, and each is off by twice the update:
# 2 sqrt(5e-2 / pi) = 0.25 (seen: 0.1).
_SIGN = 2 * math.sqrt(5e-2 / math.pi)

_BOUNDS = {
    FLOAT32: {
        "selfcheck": _SELFCHECK,
        # Of networks of more than some 20 layers, whose training is chaotic: see workers/jobs/selfcheck.py.
        "selfcheck_deep": dict(_SELFCHECK, study_loss_step_5=2e-2, update_step_45=1e-1),
        "selfcheck_sign": {"update_step_1": _SIGN},
        "audit": {
            # Relative differences of the audited step that is off most.
            "loss": 1e-3,
            "update": 5e-2,  # of all trained arrays, as a share of the update; ReLUs that flip by rounding move it
            "averages": 2e-2,  # likewise, of the running averages; of n or n - 1 values of a batch: frameworks differ
            "state": 2e-2,  # of what an adapter shows of its optimiser's state, as a share of it
            "decay": 3e-5,  # the share of all weights by which the update differs, over the rate: a decay not asked for
        },
        "audit_sign": {"update": _SIGN},
        # Largest difference from the oracle's logits, as a share of the largest of them. ncnn's float16 makes 2.5e-4.
        "inference": {"logits": 1e-4},
        "export": {"logits": 1e-5},  # what is written is not rewritten for speed
        "reference": {
            "reference_logits": 1e-6,  # the oracle's logits leave it as float32
            "reference_loss": 1e-12,  # float64 on both sides
            "reference_gradients": 1e-3,  # central differences of step 1e-6; ReLUs that flip within it add up to 1e-4
            "reference_averages": 1e-6,  # running mean and variance leave the oracle as float32
            "reference_weights": 1e-6,  # likewise, after three updates
        },
    },
    # The bounds of a selfcheck are measured for each network: workers/mixed.py.
    BFLOAT16: {
        "audit": {
            "loss": 1e-2,  # seen: 3e-4
            "update": 0.5,  # seen: 3e-2 in ResNet-20@32; in float32 0.1 and more from the model
            "averages": 5e-2,  # seen: 6e-3
            "state": 0.5,
            "decay": 1e-3,
            "rounding": 2.0,  # as far from the exact update as the model's, or as near: float32 is at 100 and more
        },
    },
}


KEPT = 0.99
"""Share of float32's accuracy that int8 must keep, as MLPerf Inference asks of quantised networks."""


def bounds(proof, precision=FLOAT32):
    """figure -> bound, of a proof in that number format; empty if it promises none."""
    return types.MappingProxyType(_BOUNDS.get(precision, {}).get(proof, {}))


def is_within(figures, allowed):
    """Whether every figure keeps its bound. What is no number keeps none, and without bounds nothing passes."""
    return bool(allowed) and all(figures[name] <= bound for name, bound in allowed.items())


def worst(figures):
    """The largest; one that is not a number is worse than all, where Python's max may pass over it."""
    return float(numpy.max(list(figures)))
