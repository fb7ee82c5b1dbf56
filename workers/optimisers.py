"""The optimisers: what one update computes. numpy_ref has the reference of each, and each adapter its framework's own.

name  settings read            the update of a weight w with the gradient g of the mean loss
sgd   learning_rate, momentum  v = momentum * v + g; w = w - learning_rate * v  (v starts at zero)
"""

NAMES = ("sgd",)

AUDITED = frozenset(["sgd"])
"""Those whose state follows from what the last update did to the weights: workers/jobs/audit.py can repeat one."""
