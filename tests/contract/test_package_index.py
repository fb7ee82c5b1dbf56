"""Where a virtualenv's packages come from: the user's own indexes, then the publisher's, and the hash decides."""

import os

import pytest

from orchestrator.engines.virtualenv import VirtualenvEngine
from orchestrator.errors import AbsentError, EngineError
from orchestrator.host import read_host
from orchestrator.planning.catalogue import Catalogue
from tests.fake_index import serving
from tests.tiny_framework import PYTHON

pytestmark = pytest.mark.timeout(120)

TABLE = f"""
default = "0"
["0".cpu]
stage = "cpu"
python = "{PYTHON}"
requirements = "pins.txt"
index = "https://publisher.invalid/whl"
disk_mb = 100
"""
NOBODY = "http://127.0.0.1:9/whl"


@pytest.fixture
def own(tmp_path, monkeypatch):
    """The one index that pip is configured for."""
    for name in [name for name in os.environ if name.startswith("PIP_")]:
        monkeypatch.delenv(name)
    with serving(tmp_path / "own") as index:
        settings = {"CONFIG_FILE": os.devnull, "INDEX_URL": index.url, "NO_CACHE_DIR": "1", "RETRIES": "1"}
        for name, value in settings.items():
            monkeypatch.setenv(f"PIP_{name}", value)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        yield index


@pytest.fixture
def publisher(tmp_path):
    with serving(tmp_path / "publisher") as index:
        yield index


@pytest.fixture
def install(tmp_path, home):
    """install(index's URL or None, {'demo==1.0+cpu': its sha256}) -> what is then installed; `said` to the user."""
    folder = tmp_path / "docker" / "tiny"
    (folder / "requirements").mkdir(parents=True)
    (folder / "Dockerfile").write_text("FROM scratch AS cpu\n")

    def install(url, pins):
        lines = [f"{pin} --hash=sha256:{sha256}\n" for pin, sha256 in pins.items()]
        (folder / "requirements" / "pins.txt").write_text("".join(lines))
        (folder / "images.toml").write_text(TABLE if url else TABLE.replace("index", "# index"))
        catalogue = Catalogue.load(folder.parent).with_indexes({"tiny": url} if url else {})
        engine = VirtualenvEngine(home, read_host())
        return engine.prepare(catalogue.resolve("tiny", "cpu"), install.said.append).freeze

    install.said = []
    return install


def why(install, url, pins, kind=EngineError):
    with pytest.raises(EngineError) as caught:
        install(url, pins)
    assert type(caught.value) is kind
    return str(caught.value)


def test_a_publishers_index_gives_what_the_users_lacks(own, publisher, install):
    assert "demo==1.0+cpu" in install(publisher.url, {"demo==1.0+cpu": publisher.add("demo", "1.0+cpu")})
    said = f"your own package indexes have no demo==1.0+cpu; asking its publisher's, {publisher.url}, too"
    assert f"tiny:0 cpu: {said}" in install.said


def test_a_publisher_is_not_asked_for_what_the_user_has(own, publisher, install):
    publisher.add("demo", "1.0+cpu")
    install(publisher.url, {"demo==1.0+cpu": own.add("demo", "1.0+cpu")})
    assert publisher.asked == []


def test_the_users_other_indexes_still_count_in_the_second_try(own, publisher, install, monkeypatch):
    with serving(own.folder.with_name("other")) as other:
        monkeypatch.setenv("PIP_EXTRA_INDEX_URL", other.url)
        pins = {"demo==1.0+cpu": publisher.add("demo", "1.0+cpu"), "more==2.0": other.add("more", "2.0")}
        assert {"demo==1.0+cpu", "more==2.0"} <= set(install(publisher.url, pins))


def test_another_file_of_that_version_is_refused(own, publisher, install):
    wanted = own.add("demo", "1.0+cpu")
    publisher.add("demo", "1.0+cpu", "# something else")
    own.add("demo", "2.0")
    assert "DO NOT MATCH THE HASHES" in why(install, publisher.url, {"demo==1.0+cpu": wanted})


def test_without_an_index_a_wheel_that_is_lacking_ends_it(own, publisher, install):
    said = why(install, None, {"demo==1.0+cpu": publisher.add("demo", "1.0+cpu")})
    assert "tiny:0 cpu: pip ended with exit code 1" in said
    assert "No matching distribution found for demo==1.0+cpu" in said
    assert publisher.asked == []


def test_two_indexes_that_lack_a_wheel_are_told_with_the_fix(own, publisher, install):
    said = why(install, publisher.url, {"demo==1.0+cpu": "0" * 64})
    assert said.startswith(
        "tiny:0 cpu: pip found no demo==1.0+cpu on your own indexes, and its publisher's, "
        f"{publisher.url}, did not give it either. Name a mirror of it, WAYMARK_INDEX=tiny=URL, or "
    )


def test_a_publisher_that_does_not_answer_is_told_with_the_fix(own, install):
    said = why(install, NOBODY, {"demo==1.0+cpu": "0" * 64}, AbsentError)
    assert f"{NOBODY}, does not answer (no connection). Name a mirror of it" in said


def test_pip_that_may_ask_no_index_asks_no_publisher(own, publisher, install, monkeypatch):
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    said = why(install, publisher.url, {"demo==1.0+cpu": publisher.add("demo", "1.0+cpu")}, AbsentError)
    assert "pip is told to ask no index (no-index), and its find-links hold no demo==1.0+cpu" in said
    assert publisher.asked == []


def test_a_folder_of_wheels_needs_no_index(own, publisher, install, monkeypatch):
    sha256 = publisher.add("demo", "1.0+cpu")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(publisher.folder / "demo"))
    assert "demo==1.0+cpu" in install(publisher.url, {"demo==1.0+cpu": sha256})


def test_an_index_that_is_out_of_reach_means_absent_packages(own, install, monkeypatch):
    monkeypatch.setenv("PIP_INDEX_URL", NOBODY)
    said = why(install, None, {"demo==1.0": "0" * 64}, AbsentError)
    assert "pip found no demo==1.0, for an index that it asks could not be reached" in said
