"""What several kinds of tests need: a home of their own, the real engines and environments where they are."""

import functools
import os
import re
import tempfile

# Before numpy is imported anywhere: its threads only wait for each other on the small arrays of a test.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

# Before a test imports cv2, which reads it as it is loaded.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(8192 * 8192)

# The lock of this machine is that of real runs: each process of tests has its own, so that none waits for another.
os.environ["WAYMARK_LOCKS"] = tempfile.mkdtemp(prefix="waymark-locks-")

import docker
import pytest

from orchestrator.commands.images import catalogue_with
from orchestrator.engines import images, open_engine
from orchestrator.environment import Environment
from orchestrator.errors import AbsentError, EngineError
from orchestrator.home import REPOSITORY, Home
from orchestrator.host import card, read_host
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.image_row import ImageRow, pins_sha256
from tests.fake_nvml import FakeNvml
from tests.tiny_framework import BASE, DOCKERFILE, TABLE


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


_ON_DOCKER = re.compile(r"docker|^tests/contract/test_images\.py|containers")


def _group_of(nodeid: str) -> str:
    """Which tests stay together in one process with --dist=loadscope.

    Those that share one Docker engine run one after the other; those of a framework make and ask its environments once;
    all others stay together by file, for its fixtures.
    """
    path, _, name = nodeid.partition("::")
    if _ON_DOCKER.search(nodeid):
        return "docker"
    if path.startswith(("tests/contract", "tests/integration")):
        parameters = name.partition("[")[2]
        return next((framework for framework in _frameworks() if framework in parameters), path)
    return path


def pytest_collection_modifyitems(items):
    """Begin with what takes longest, so that no process is left alone with it at the end."""
    longest = ("docker", *_frameworks(), "tests/integration", "tests/faults", "tests/contract")

    def rank(group: str) -> int:
        return next((at for at, start in enumerate(longest) if group.startswith(start)), len(longest))

    groups = {item: _group_of(item.nodeid) for item in items}
    for item, group in groups.items():
        if item.get_closest_marker("docker") and group != "docker":
            raise pytest.UsageError(f"{item.nodeid} is marked `docker`; its id must say so, for --dist=loadscope.")
    items.sort(key=lambda item: (rank(groups[item]), groups[item]))


def pytest_xdist_make_scheduler(config, log):
    """With --dist=loadscope tests are handed out by the groups above, in the order of their collection.

    xdist's own way, its mark `xdist_group`, does nothing under pytest 9.
    """
    if config.getvalue("dist") != "loadscope":
        return None
    from xdist.scheduler import LoadScopeScheduling

    class ByGroup(LoadScopeScheduling):
        def _split_scope(self, nodeid):
            return _group_of(nodeid)

    return ByGroup(config, log)


@functools.cache
def _frameworks() -> tuple[str, ...]:
    return tuple(catalogue_with().frameworks)


def pytest_xdist_auto_num_workers(config):
    """One more process than processors, as those of Docker mostly wait; each takes half a minute to collect."""
    return min(len(os.sched_getaffinity(0)) + 1, 8)


@pytest.fixture(scope="session")
def virtualenv():
    """virtualenv(row) -> its virtualenv, or an AbsentError that says what this machine lacks for it.

    Environments are content-addressed, so tests share those of the user's home: they are made once a machine, and
    making them is a test of the recipes.
    """
    engine = open_engine("virtualenv", Home.default(), read_host())

    made: dict[str, Environment] = {}
    absent: dict[tuple[str, ...], AbsentError] = {}

    def virtualenv(row: ImageRow) -> Environment | AbsentError:
        # Rows of the same pins and needs lack the same; making the pins' virtualenv to see that takes a minute.
        recipe = (pins_sha256(row), *sorted(row.needs))
        if row.slug not in made and recipe not in absent:
            try:
                made[row.slug] = engine.prepare(row, print)
            except AbsentError as error:
                absent[recipe] = error
        return made[row.slug] if row.slug in made else absent[recipe]

    return virtualenv


@pytest.fixture(scope="session")
def environment(virtualenv):
    """environment(row) -> its virtualenv; a test that needs what this machine lacks is skipped, and says what."""

    def environment(row: ImageRow) -> Environment:
        found = virtualenv(row)
        if isinstance(found, AbsentError):
            pytest.skip(str(found))
        return found

    return environment


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """The row of the tiny framework."""
    folder = tmp_path_factory.mktemp("docker") / "tiny"
    (folder / "requirements").mkdir(parents=True)
    (folder / "requirements" / "none.txt").write_text("# nothing: a Python is all it is\n")
    (folder / "images.toml").write_text(TABLE)
    (folder / "Dockerfile").write_text(DOCKERFILE)
    return Catalogue.load(folder.parent).resolve("tiny", "cpu")


@pytest.fixture(scope="session")
def need_base():
    """need_base() skips the test where the tiny framework's base image is neither here nor to be had."""

    def need_base() -> None:
        client = docker.from_env()
        try:
            client.images.get(BASE)
        except docker.errors.ImageNotFound:
            try:
                client.images.pull(BASE)
            except docker.errors.APIError as error:
                pytest.skip(f"{BASE} is not here and cannot be pulled: {error.explanation}")
        finally:
            client.close()

    return need_base


@pytest.fixture(scope="session")
def prepared(tiny, tmp_path_factory, need_base):
    """name -> engine and environment, each made once a session."""
    home, made = Home(tmp_path_factory.mktemp("home")), {}

    def prepare(name: str):
        if name not in made:
            if name == "docker":
                need_base()
            engine = open_engine(name, home, read_host())
            made[name] = engine, engine.prepare(tiny, print)
        return made[name]

    yield prepare
    for engine, _ in made.values():
        engine.close()
    if "docker" in made:
        client = docker.from_env()
        client.images.remove(images.reference(tiny), force=True)
        client.close()
