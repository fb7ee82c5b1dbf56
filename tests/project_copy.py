"""A copy of the project in which a test may add what a user would add."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from orchestrator.home import REPOSITORY

SHARED = ("docker", "docs", "experiments", "orchestrator", "tests", "workers", "pyproject.toml", "tasks.py")


def copy_project(folder: Path) -> Path:
    """The project's own files in a new folder of `folder`, without what was built."""
    copy = folder / "waymark"
    copy.mkdir()
    for name in SHARED:
        source = REPOSITORY / name
        if source.is_dir():
            shutil.copytree(source, copy / name, ignore=shutil.ignore_patterns("__pycache__", "lock.json"))
        else:
            shutil.copy(source, copy / name)
    return copy


def files_of(folder: Path) -> dict[str, bytes]:
    """Every file below `folder`, by its name there."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts and ".pytest_cache" not in path.parts
    }


def invoke(copy: Path, home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`invoke` in the copy, with a home of its own."""
    env = {**os.environ, "WAYMARK_HOME": str(home), "WAYMARK_REPORTS": str(home / "reports"), "NO_COLOR": "1"}
    argv = [sys.executable, "-m", "invoke", *arguments]
    return subprocess.run(argv, cwd=copy, env=env, capture_output=True, text=True, timeout=600)
