"""A home after one real sweep, and one in which nothing ran yet."""

import json
import os
import shutil

import pytest

from orchestrator.home import Home
from tests.sweeping import SPEC, run


@pytest.fixture(scope="session")
def swept(tmp_path_factory, catalogue, environment):
    """(world, result, what was said) of one real sweep: a home with the machine's own virtualenvs, a spec, reports."""
    environment(catalogue.resolve("numpy_ref", "cpu"))  # or skip, with what is lacking
    folder = tmp_path_factory.mktemp("swept")
    home = Home(folder / "home")
    home.root.mkdir()
    shared = Home.default().virtualenvs
    shared.mkdir(parents=True, exist_ok=True)
    home.virtualenvs.symlink_to(shared)
    spec = folder / "tiny.json"
    spec.write_text(json.dumps(SPEC))
    world = home, spec, folder / "reports"
    return world, *run(world, catalogue)


@pytest.fixture
def world(swept, tmp_path):
    """The same home after that sweep, in a copy: its selfcheck has passed, so a test need not wait for another."""
    shutil.copytree(swept[0][0].root.parent, tmp_path / "world", symlinks=True)
    home = Home(tmp_path / "world" / "home")
    return home, tmp_path / "world" / "tiny.json", tmp_path / "world" / "reports"


@pytest.fixture
def fresh(tmp_path, catalogue, environment):
    """A home in which nothing ran yet, with the machine's own virtualenvs: for engines that compute nothing."""
    environment(catalogue.resolve("numpy_ref", "cpu"))
    home = Home(tmp_path / "home")
    home.root.mkdir()
    home.virtualenvs.symlink_to(Home.default().virtualenvs)
    spec = tmp_path / "tiny.json"
    spec.write_text(json.dumps(SPEC))
    return home, spec, tmp_path / "reports"


@pytest.fixture
def long_world(world):
    """Its spec takes a while; and the environment of a command that finds that world."""
    home, spec, reports = world
    spec.write_text(json.dumps({**SPEC, "training": {"epochs": 40, "batch_size": 16}}))
    return home, spec, {**os.environ, "WAYMARK_HOME": str(home.root), "WAYMARK_REPORTS": str(reports)}
