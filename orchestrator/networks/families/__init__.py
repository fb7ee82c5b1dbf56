"""The families of networks: one file each, found by listing.

A file defines `build(input_size, classes, **params) -> Net` and may define LABEL, the family's usual name; a param with
a default may be left out. A family is
asked while a sweep is planned; what a worker gets is the list of ops that it wrote.
"""

import importlib
import inspect
import pkgutil

from orchestrator.networks.input_size import InputSize
from workers.net import Net


def names() -> list[str]:
    """Sorted names of the families."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def label(name: str) -> str:
    """'ResNet' for 'resnet': the family's usual name; the given name if there is no such family."""
    if name not in names():
        return name
    usual: str = getattr(importlib.import_module(f"{__name__}.{name}"), "LABEL", name)
    return usual


def build(name: str, input_size: InputSize, classes: int, **params: int) -> Net:
    """The network `name` for pictures of that size and `classes` logits.

    Raises ValueError, a sentence for the user, for an unknown family, a wrong param or an impossible size.
    """
    if name not in names():
        raise ValueError(f"there is no model {name!r}; known: {', '.join(names())}.")
    family = importlib.import_module(f"{__name__}.{name}")
    known = dict(list(inspect.signature(family.build).parameters.items())[2:])
    for wrong in sorted(set(params) - set(known)):
        raise ValueError(f"model {name} takes no {wrong}; it takes {', '.join(known) or 'no params'}.")
    needed = {param for param, given in known.items() if given.default is inspect.Parameter.empty}
    for missing in sorted(needed - set(params)):
        raise ValueError(f"model {name} needs {missing}.")
    net: Net = family.build(input_size, classes, **params)
    return net
