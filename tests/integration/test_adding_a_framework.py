"""docs/adding-a-framework.md, followed to the letter in a copy of the project."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.home import REPOSITORY
from tests.offline import skip_offline

PAGE = REPOSITORY / "docs" / "adding-a-framework.md"
FILE = re.compile(
    r"^[^`\n]*`((?:workers/frameworks|docker)/autograd/[^`\s]+)`[^`]*?:?\n\n```\w+\n(.*?)^```", re.S | re.M
)
COMMAND = re.compile(r"^\$ (.*)$", re.M)
SHARED = ("docker", "docs", "experiments", "orchestrator", "tests", "workers", "pyproject.toml", "tasks.py")


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and ".pytest_cache" not in path.parts
    }


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """(copy, files before, what `run` printed): a copy of the project in which the page's first two steps were done."""
    copy = tmp_path_factory.mktemp("copy") / "waymark"
    copy.mkdir()
    for name in SHARED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "lock.json"))
        else:
            shutil.copy(source, copy / name)
    before = files_of(copy)
    page = PAGE.read_text()
    for name, text in FILE.findall(page):
        path = copy / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (make,) = [command for command in COMMAND.findall(page) if command.startswith("mkdir")]
    subprocess.run(["sh", "-euc", make], cwd=copy, check=True)
    return copy, before


@pytest.fixture(scope="module")
def run(followed, tmp_path_factory):
    """run(command of the page, *more) -> what it printed on stdout, in the copy and a home of its own."""
    copy, _ = followed
    home = tmp_path_factory.mktemp("home")

    def run(command: str, *more: str) -> str:
        assert f"$ {command}\n" in PAGE.read_text()
        program, *arguments = command.split()
        env = {**os.environ, "WAYMARK_HOME": str(home), "WAYMARK_REPORTS": str(home / "reports"), "NO_COLOR": "1"}
        argv = [sys.executable, "-m", program, *arguments, *more]
        done = subprocess.run(argv, cwd=copy, env=env, capture_output=True, text=True, timeout=600)
        if done.returncode:
            logs = "".join(path.read_text() for path in (home / "logs").glob("*.log"))
            skip_offline(logs + done.stderr)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_the_page_makes_the_two_folders_and_nothing_else(followed):
    copy, before = followed
    after = files_of(copy)
    assert {name: after[name] for name in before} == before
    assert {Path(name).parts[:-1] for name in after.keys() - before.keys()} == {
        ("workers", "frameworks", "autograd"),
        ("docker", "autograd"),
        ("docker", "autograd", "requirements"),
    }


def test_the_new_framework_computes_what_the_oracle_does(run):
    said = run("invoke check --frameworks=autograd --spec=experiments/smoke.json", "--engine=virtualenv", "--json")
    (row,) = json.loads(said)
    assert (row["subject"], row["check"]) == ("autograd:1.9", "passed")
    assert row["clean_loss_step_20"] < 1e-3


def test_the_new_framework_is_swept(run):
    said = run("invoke sweep --frameworks=autograd --spec=experiments/smoke.json", "--engine=virtualenv", "--json")
    (row,) = json.loads(said)
    assert (row["subject"], row["status"]) == ("autograd:1.9", "ok")


def test_nothing_that_is_shared_was_touched_by_all_this(followed, run):
    copy, before = followed
    after = files_of(copy)
    assert {name: after[name] for name in before} == before


def test_the_tests_of_the_catalogue_accept_it(followed):
    copy, _ = followed
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/unit/planning/test_catalogue.py"]
    done = subprocess.run(argv, cwd=copy, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout
