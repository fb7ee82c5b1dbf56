"""A catalogue of one framework, mxnet, and what is changed in it; and a tuning that found its best."""

import pytest

from orchestrator.errors import CatalogueError
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.tuned import Tuned

ROW = 'stage = "cpu"\npython = "3.11"\nrequirements = "pins.txt"\ndisk_mb = 1\n'
TABLE = f'default = "1.5"\n["1.5".cpu]\n{ROW}["1.5-mkl".cpu]\n{ROW}env = {{ OMP_NUM_THREADS = "{{physical_cores}}" }}\n'


def rewrite(folder, old, new):
    path = folder / "mxnet" / "images.toml"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new, 1))


def why(folder):
    with pytest.raises(CatalogueError) as caught:
        Catalogue.load(folder)
    return str(caught.value)


def tuned(machine="here", framework="mxnet", variant="1.5-mkl_amd", **changes):
    facts = {"machine": machine, "framework": framework, "device": "cpu", "cells": ("IDSIA@48",), "default": "1.5"}
    facts |= {"variant": variant, "tuned_unix": 1.0, "seconds": 60.0, "ratio": 2.0, "low": 1.9, "high": 2.1}
    return Tuned(**{**facts, **changes})
