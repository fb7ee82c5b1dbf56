"""Processes: how they end, what they leave, what they may use."""

import contextlib
import os
import sys
import time
from pathlib import Path

import pytest

from orchestrator.engines import process
from orchestrator.engines.process import Command, NewLines, birth, run, tail
from orchestrator.errors import EngineError


@pytest.fixture
def python(tmp_path):
    def command(code, **bounds):
        return Command(
            (sys.executable, "-c", code), tmp_path, {}, tmp_path / "log.txt", **{"timeout_seconds": 20, **bounds}
        )

    return command


def nothing():
    pass


def test_exit_code_is_told(python):
    assert run(python("raise SystemExit(7)"), nothing).code == 7


def test_signal_is_told_and_is_no_exit_code(python):
    ended = run(python("import os; os.kill(os.getpid(), 11)"), nothing)
    assert (ended.code, ended.signal) == (None, 11)


def test_both_streams_go_to_the_log(python, tmp_path):
    run(python("import sys; print('out', flush=True); print('err', file=sys.stderr)"), nothing)
    assert tail(tmp_path / "log.txt") == "out\nerr"


def test_nothing_is_inherited(python, tmp_path, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    run(python("import os; print('SECRET' in os.environ)"), nothing)
    assert tail(tmp_path / "log.txt") == "False"


def test_affinity_is_what_was_asked_for(python, tmp_path):
    one = min(os.sched_getaffinity(0))
    run(python("import os; print(os.sched_getaffinity(0))", cpus=(one,)), nothing)
    assert tail(tmp_path / "log.txt") == f"{{{one}}}"


def test_affinity_holds_from_the_first_instruction_on(python, tmp_path, monkeypatch):
    class Slow(process.subprocess.Popen):
        def __init__(self, *args, **options):
            super().__init__(*args, **options)
            self.wait()  # the program has ended before its starter goes on

    monkeypatch.setattr(process.subprocess, "Popen", Slow)
    monkeypatch.setattr(process, "guarded", lambda _: contextlib.nullcontext(lambda name: None))
    monkeypatch.setattr(process, "_has_ended", lambda pid: True)
    monkeypatch.setattr(process.os, "killpg", lambda group, number: None)
    one, before = min(os.sched_getaffinity(0)), os.sched_getaffinity(0)
    run(python("import os; print(os.sched_getaffinity(0))", cpus=(one,)), nothing)
    assert tail(tmp_path / "log.txt") == f"{{{one}}}"
    assert os.sched_getaffinity(0) == before


def test_a_processor_that_is_not_there_is_one_sentence(python):
    with pytest.raises(EngineError, match="Processors 4000 cannot be used"):
        run(python("pass", cpus=(4000,)), nothing)


def test_time_limit_ends_a_process_that_ignores_the_request(python, monkeypatch):
    monkeypatch.setattr(process, "GRACE_SECONDS", 0.2)
    stubborn = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    ended = run(python(stubborn, timeout_seconds=0.5), nothing)
    assert ended.is_timeout
    assert ended.signal == 9
    assert ended.wall_seconds < 5


def test_memory_limit_is_kept(python):
    ended = run(python("x = bytearray(300_000_000); import time; time.sleep(60)", memory_bytes=100_000_000), nothing)
    assert ended.is_over_memory
    assert ended.signal == 9


def test_what_tick_raises_goes_on_once_the_process_is_gone(python, tmp_path):
    pid = tmp_path / "pid"

    def interrupt():
        if pid.exists() and pid.read_text():
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(python("import os, time; open('pid', 'w').write(str(os.getpid())); time.sleep(60)"), interrupt)
    assert birth(int(pid.read_text())) is None


def test_children_left_behind_are_ended_too(python, tmp_path):
    run(
        python(
            "import os, time\nif os.fork() == 0:\n  print(os.getpid(), flush=True); time.sleep(60)\ntime.sleep(0.3)"
        ),
        nothing,
    )
    child = int(tail(tmp_path / "log.txt"))
    deadline = time.monotonic() + 2
    while birth(child) is not None and time.monotonic() < deadline:
        time.sleep(0.01)  # the init process has it to reap
    assert birth(child) is None


def test_tick_is_called_at_least_five_times_a_second(python):
    ticks = []
    run(python("import time; time.sleep(1)"), lambda: ticks.append(1))
    assert len(ticks) >= 5


def test_a_program_that_is_not_there_is_named(tmp_path):
    with pytest.raises(EngineError, match="/nowhere/python does not start: No such file"):
        run(Command(("/nowhere/python",), tmp_path, {}, tmp_path / "log.txt", 1), nothing)


def test_only_whole_new_lines_are_given(tmp_path):
    log = tmp_path / "log"
    log.write_text("old\n")
    new_lines = NewLines(log)
    with log.open("a") as file:
        file.write("new\nto")
    assert list(new_lines()) == ["new"]


def test_a_torn_line_is_given_once_it_is_whole(tmp_path):
    log = tmp_path / "log"
    log.write_text("to")
    new_lines = NewLines(log)
    first = list(new_lines())
    with log.open("a") as file:
        file.write("rn\n")
    assert (first, list(new_lines())) == ([], ["rn"])


def test_processes_that_proc_hides_are_passed_over(python, monkeypatch):
    """As with hidepid=1 on shared clusters."""
    read = Path.read_text

    def hidden(path, *args, **kwargs):
        if path == Path("/proc/1/stat"):
            raise PermissionError(1, "Operation not permitted", str(path))
        return read(path, *args, **kwargs)

    monkeypatch.setattr(Path, "read_text", hidden)
    assert run(python("raise SystemExit(7)", memory_bytes=2**40), nothing).code == 7


@pytest.mark.parametrize(("kills", "full"), [((3, 4), True), ((3, 3), False), ((None, None), False)])
def test_a_kill_because_memory_ran_out_is_told_apart(python, monkeypatch, kills, full):
    counts = iter(kills)
    monkeypatch.setattr(process, "oom_kills", lambda: next(counts))
    ended = run(python("import os; os.kill(os.getpid(), 9)"), nothing)
    assert (ended.full_at_bytes is not None) == full
