"""An upstream source: taken from a local clone, proved by its commit, made once, and never half."""

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.engines import images, upstream
from orchestrator.errors import CatalogueError, EngineError
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.image_row import UpstreamSource

ROW = 'stage = "cpu"\npython = "3.6"\nrequirements = "pins.txt"\ndisk_mb = 1\n'
NOWHERE = "https://localhost:1/none"


def git(folder: Path, *arguments: str) -> str:
    who = {f"GIT_{role}_{what}": "a@b.test" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
    done = subprocess.run(
        ["git", *arguments], cwd=folder, env={**os.environ, **who}, check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


@pytest.fixture
def clone(tmp_path):
    """A repository whose first commit holds the source and whose second has spoilt it."""
    folder = tmp_path / "clone"
    folder.mkdir()
    git(folder, "init", "--quiet")
    for text in ("as released", "changed since"):
        (folder / "code.py").write_text(text)
        git(folder, "add", ".")
        git(folder, "commit", "--quiet", "-m", text)
    return folder


@pytest.fixture
def folder(tmp_path, clone):
    """docker/ with a framework that is built from the clone's first commit."""
    folder = tmp_path / "docker"
    (folder / "oldie" / "requirements").mkdir(parents=True)
    (folder / "oldie" / "requirements" / "pins.txt").touch()
    (folder / "oldie" / "Dockerfile").write_text("FROM scratch AS cpu\n")
    commit = git(clone, "rev-parse", "HEAD^")
    source = f'source = {{ repository = "{NOWHERE}", commit = "{commit}" }}\n'
    (folder / "oldie" / "images.toml").write_text(f'default = "1"\n["1".cpu]\n{ROW}{source}')
    return folder


@pytest.fixture
def row(folder, clone):
    return Catalogue.load(folder).with_sources({"oldie": clone}).resolve("oldie", "cpu")


def test_a_local_clone_gives_the_commit_not_its_working_files(row, home):
    assert (upstream.checkout(row, home) / "code.py").read_text() == "as released"


def test_a_source_is_unpacked_once(row, home, clone):
    first = upstream.checkout(row, home)
    (clone / ".git").rename(clone / "gone")
    assert upstream.checkout(row, home) == first


def test_a_clone_without_the_commit_is_named_with_the_commit(row, home):
    other = replace(row, source=UpstreamSource(repository=NOWHERE, commit="0" * 40, local=row.source.local))
    with pytest.raises(EngineError, match=f"is not a git repository that holds commit {'0' * 40}"):
        upstream.checkout(other, home)
    assert not list(home.sources.iterdir())


def test_an_unreachable_repository_says_what_to_give_instead(folder, home):
    with pytest.raises(EngineError, match=r"could not be fetched .* give a local clone .*: --source=oldie=PATH"):
        upstream.checkout(Catalogue.load(folder).resolve("oldie", "cpu"), home)


def test_a_framework_without_a_source_cannot_be_given_one(folder, tmp_path):
    text = (folder / "oldie" / "images.toml").read_text()
    (folder / "oldie" / "images.toml").write_text(text[: text.index("source =")])
    with pytest.raises(CatalogueError, match="comes whole from the package index"):
        Catalogue.load(folder).with_sources({"oldie": tmp_path})


def test_an_images_context_holds_source_beside_the_dockerfile(row, home):
    seen = {}

    class Builder:
        folder = None

        def image(self, reference):
            return seen.get("facts")

        def share(self, label, reference, ids):
            return False

        def build(self, recipe, log, limit_seconds, on_line):
            seen["source"] = (recipe.folder / "source" / "code.py").read_text()
            seen["args"] = recipe.args
            seen["facts"] = images.ImageFacts("sha256:1", 1, "2026-01-01", recipe.labels, ())
            return ""

        def prune_stages(self):
            pass

    images.ensure(Builder(), row, home, print)
    assert seen["source"] == "as released"
    assert seen["args"]["SOURCE_COMMIT"] == row.source.commit
    assert not (row.folder / "source").exists()
