"""docs/adding-a-framework.md, followed to the letter in a copy of the project."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.home import REPOSITORY
from tests.offline import skip_offline
from tests.project_copy import copy_project, files_of, invoke

PAGE = REPOSITORY / "docs" / "adding-a-framework.md"
FILE = re.compile(
    r"^[^`\n]*`((?:workers/frameworks|docker)/autograd/[^`\s]+)`[^`]*?:?\n\n```\w+\n(.*?)^```", re.S | re.M
)
COMMAND = re.compile(r"^\$ (.*)$", re.M)


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """(copy, files before, what `run` printed): a copy of the project in which the page's first two steps were done."""
    copy = copy_project(tmp_path_factory.mktemp("copy"))
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
        assert program == "invoke"
        done = invoke(copy, home, *arguments, *more)
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
