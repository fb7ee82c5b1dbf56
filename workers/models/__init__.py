"""The model families: one file each, found by listing.

A file defines `build(classes, size, **params) -> Net` and may define LABEL, the family's usual name.
"""

import importlib
import inspect
import pkgutil


def names():
    """Sorted names of the families."""
    return sorted(found.name for found in pkgutil.iter_modules(__path__))


def label(name):
    """'ResNet' for 'resnet': the family's usual name; the given name if there is no such family."""
    if name not in names():
        return name
    return getattr(importlib.import_module(f"{__name__}.{name}"), "LABEL", name)


def build(name, classes, size, **params):
    """The network `name` for square BGR pictures of `size` pixels and `classes` logits.

    Raises ValueError, a sentence for the user, for an unknown family, a wrong param or an impossible size.
    """
    if name not in names():
        raise ValueError(f"there is no model {name!r}; known: {', '.join(names())}.")
    family = importlib.import_module(f"{__name__}.{name}")
    known = list(inspect.signature(family.build).parameters)[2:]
    for wrong in sorted(set(params) - set(known)):
        raise ValueError(f"model {name} takes no {wrong}; it takes {', '.join(known) or 'no params'}.")
    for missing in sorted(set(known) - set(params)):
        raise ValueError(f"model {name} needs {missing}.")
    return family.build(classes, size, **params)
