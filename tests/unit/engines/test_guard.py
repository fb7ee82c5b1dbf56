"""Guards: what they watch ends with the process that started them, and not before."""

import signal
import subprocess
import sys
import time

import pytest

from orchestrator.engines import process
from orchestrator.engines.guard import GROUP, guarded
from orchestrator.engines.orphans import Worker, running_workers

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
PARENT = """
import os, subprocess, sys
from orchestrator.engines.guard import GROUP, guarded
with guarded(GROUP) as guard:
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    guard(str(child.pid))
    print(child.pid, flush=True)
    sys.stdin.read()
    os._exit(0)
"""


@pytest.mark.parametrize("end", ["killed", "ends without a word"])
def test_a_group_ends_with_the_process_that_guards_it(end):
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=-1, stdout=-1, text=True) as parent:
        pid = int(parent.stdout.readline())
        assert process.birth(pid) is not None
        parent.kill() if end == "killed" else parent.stdin.close()
        deadline = time.monotonic() + 5
        while process.birth(pid) is not None and time.monotonic() < deadline:
            time.sleep(0.02)
    assert process.birth(pid) is None


def test_a_guard_ends_nothing_when_its_block_is_left():
    with subprocess.Popen(SLEEPER, start_new_session=True) as child:
        with guarded(GROUP) as guard:
            guard(str(child.pid))
        time.sleep(0.2)
        assert child.poll() is None
        child.kill()


def test_an_orphan_is_found_by_its_command_line_and_ended(tmp_path):
    package = tmp_path / "source" / "workers"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "run.py").write_text("import time; time.sleep(60)")
    job = tmp_path / "home" / "runs" / "old" / "0001-job"
    argv = [sys.executable, "-m", "workers.run", str(job)]
    with subprocess.Popen(argv, cwd=package.parent, start_new_session=True) as orphan:
        deadline = time.monotonic() + 5
        while not running_workers(tmp_path / "home") and time.monotonic() < deadline:
            time.sleep(0.02)
        (worker,) = running_workers(tmp_path / "home")
        assert (worker.pid, worker.folder) == (orphan.pid, str(job))
        assert running_workers(tmp_path / "another") == []
        worker.end()
        assert orphan.wait(5) == -signal.SIGKILL


def test_another_process_with_an_orphans_pid_is_left_alone():
    with subprocess.Popen(SLEEPER, start_new_session=True) as other:
        Worker(other.pid, born="0", folder="/nowhere").end()
        assert other.poll() is None
        other.kill()


def test_a_command_tells_the_processor_time_of_its_group(tmp_path):
    code = (
        "import os, time, pathlib\nos.fork()\nend = time.process_time() + 0.2\n"
        "while time.process_time() < end: pass\nwhile not pathlib.Path('told').exists(): time.sleep(0.01)"
    )
    readers, seen = [], []
    command = process.Command(
        (sys.executable, "-c", code), tmp_path, {}, tmp_path / "log", 20.0, on_start=readers.append
    )

    def tick():
        seen.append(readers[0]())
        if seen[-1] > 0.3:
            (tmp_path / "told").touch()

    ended = process.run(command, tick)
    assert not ended.is_timeout, seen
    assert seen == sorted(seen)
