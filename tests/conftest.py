"""What several kinds of tests need: a home of their own, the real engines and environments where they are."""

import functools
from pathlib import Path

import pytest

from orchestrator.catalogue import Catalogue
from orchestrator.engines import open_engine
from orchestrator.errors import EngineError
from orchestrator.home import REPOSITORY, Home
from orchestrator.host import read_host


@functools.lru_cache(maxsize=1)
def _why_no_docker() -> str:
    try:
        open_engine("docker", Home.default(), read_host()).close()
    except EngineError as error:
        return str(error)
    return ""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """A test marked `docker` runs where a daemon answers, and says why not elsewhere; before any fixture needs one."""
    if item.get_closest_marker("docker") and _why_no_docker():
        pytest.skip(_why_no_docker())


@pytest.fixture
def home(tmp_path) -> Home:
    """A home that no other test sees."""
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.load(REPOSITORY / "docker")


@pytest.fixture(scope="session")
def framework_python(catalogue):
    """framework -> interpreter of its default virtualenv.

    Environments are content-addressed, so tests share those of the user's home: they are made once a machine, and
    making them is a test of the recipes.
    """
    engine = open_engine("virtualenv", Home.default(), read_host())

    @functools.cache
    def python(framework: str) -> Path:
        return Path(engine.prepare(catalogue.resolve(framework, "cpu"), print).location)

    return python
