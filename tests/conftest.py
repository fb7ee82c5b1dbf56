"""What several kinds of tests need: a home of their own, the real engines and environments where they are."""

import functools
import os

# Before numpy is imported anywhere: its threads only wait for each other on the small arrays of a test.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import pytest

from orchestrator.commands.images import catalogue_with
from orchestrator.engines import open_engine
from orchestrator.errors import AbsentError, EngineError
from orchestrator.home import REPOSITORY, Home
from orchestrator.host import card, read_host
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.image_row import ImageRow
from orchestrator.trial import Environment
from tests.fake_nvml import FakeNvml


@functools.lru_cache(maxsize=1)
def _why_no_docker() -> str:
    try:
        open_engine("docker", Home.default(), read_host()).close()
    except EngineError as error:
        return str(error)
    return ""


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item):
    """A test marked `docker` or `gpu` runs where there is one, and says why not elsewhere, before a fixture asks."""
    if item.get_closest_marker("docker") and _why_no_docker():
        pytest.skip(_why_no_docker())
    if item.get_closest_marker("gpu") and not read_host().gpus:
        pytest.skip(read_host().gpu_note)


@pytest.fixture
def nvml(monkeypatch):
    """nvml('t4') puts that machine's cards in the place of this one's (see tests/recordings/cards)."""

    def put(machine: str) -> FakeNvml:
        fake = FakeNvml(machine)
        monkeypatch.setattr(card, "pynvml", fake)
        return fake

    return put


@pytest.fixture
def home(tmp_path) -> Home:
    """A home that no other test sees."""
    return Home(tmp_path / "home")


@pytest.fixture(scope="session")
def catalogue() -> Catalogue:
    return Catalogue.load(REPOSITORY / "docker")


def pytest_generate_tests(metafunc):
    """A test marked `rows` is run for every CPU row of the catalogue, or for those that its `where` takes."""
    marker = metafunc.definition.get_closest_marker("rows")
    if marker and "row" in metafunc.fixturenames:
        rows = catalogue_with().rows(device="cpu")
        taken = [row for row in rows if marker.kwargs.get("where", lambda row: True)(row)]
        metafunc.parametrize("row", taken, ids=lambda row: row.slug, scope="module")


@pytest.fixture(scope="session")
def environment():
    """environment(row) -> its virtualenv; a test that needs what this machine lacks is skipped, and says what.

    Environments are content-addressed, so tests share those of the user's home: they are made once a machine, and
    making them is a test of the recipes.
    """
    engine = open_engine("virtualenv", Home.default(), read_host())

    made: dict[str, Environment | AbsentError] = {}

    def environment(row: ImageRow) -> Environment:
        if row.slug not in made:
            try:
                made[row.slug] = engine.prepare(row, print)
            except AbsentError as error:
                made[row.slug] = error
        found = made[row.slug]
        if isinstance(found, AbsentError):
            pytest.skip(str(found))
        return found

    return environment
