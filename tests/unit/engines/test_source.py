"""Worker snapshots: named by what is in them, complete, and never written twice."""

import json
import subprocess
import sys

import pytest

from orchestrator.engines.source import snapshot
from orchestrator.errors import EngineError


def test_a_snapshot_holds_a_package_that_runs_by_itself(home, tmp_path):
    source = snapshot(home)
    argv = [sys.executable, "-m", "workers.freeze", str(tmp_path)]
    subprocess.run(argv, env={"PYTHONPATH": str(source.path), "PYTHONDONTWRITEBYTECODE": "1"}, cwd=tmp_path, check=True)
    assert "python" in json.loads((tmp_path / "freeze.json").read_text())


def test_the_same_source_is_the_same_snapshot(home):
    assert snapshot(home) == snapshot(home)


def test_the_folder_is_named_by_the_hash(home):
    source = snapshot(home)
    assert source.path.name == source.sha256[:12]


def test_no_draft_is_left(home):
    snapshot(home)
    assert [path.name for path in home.workers.iterdir()] == [snapshot(home).path.name]


def test_any_user_can_read_it_and_none_is_invited_to_write(home):
    files = list(snapshot(home).path.rglob("*.py"))
    assert {path.stat().st_mode & 0o777 for path in files} == {0o444}


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_a_snapshot_that_was_changed_is_refused(home, change):
    source = snapshot(home)
    loop = source.path / "workers" / "loop.py"
    if change == "edited":
        loop.chmod(0o644)
        loop.write_text(loop.read_text() + "# faster\n")
    elif change == "added":
        (source.path / "sitecustomize.py").write_text("# runs before the worker\n")
    else:
        loop.unlink()
    with pytest.raises(EngineError, match="was changed after it was made"):
        source.verify()
    with pytest.raises(EngineError, match="Remove that folder"):
        snapshot(home)
