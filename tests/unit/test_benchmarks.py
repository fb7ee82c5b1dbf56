"""The benchmarks that use the orchestrator: they are run by hand, so that nothing else tells when a name has moved."""

import importlib.util

import pytest

from orchestrator.home import REPOSITORY

OURS = [path for path in sorted((REPOSITORY / "benchmarks").glob("*.py")) if not path.name.startswith("plain_")]


@pytest.mark.parametrize("path", OURS, ids=lambda path: path.stem)
def test_a_benchmark_imports_what_there_is(path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert callable(module.main)
