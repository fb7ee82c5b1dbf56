"""What every engine promises (see Engine), tried on workers that misbehave."""

import json
import platform
import shutil
import sys
import time
from dataclasses import replace
from importlib.metadata import version

import pytest

from orchestrator.engines import open_engine
from orchestrator.engines.engine import Launch
from orchestrator.engines.virtualenv import worker_env
from orchestrator.environment import Card
from orchestrator.errors import AbsentError, EngineError
from orchestrator.host import read_host
from orchestrator.planning.catalogue import Catalogue

pytestmark = pytest.mark.timeout(120)

DOCKER = pytest.param("docker", marks=pytest.mark.docker)
every_engine = pytest.mark.parametrize("stand", [DOCKER, "virtualenv", "host"], indirect=True)

STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN); open('alive', 'w').close(); time.sleep(60)"
FERTILE = """
child = "import time\\nwhile True: open('beat', 'a').write('.'); time.sleep(.02)"
subprocess.Popen([sys.executable, "-c", child])
while not os.path.exists("beat"): time.sleep(.02)
"""


class Enough(Exception):  # noqa: N818 - it is not an error
    """What tick raises when the user has had enough."""


def when(path):
    """A tick that raises once the worker has made that file."""

    def tick():
        if path.exists():
            raise Enough

    return tick


def beats_on(folder):
    """Whether something still writes in the job folder."""
    time.sleep(0.2)
    before = (folder / "job" / "beat").stat().st_size
    time.sleep(0.3)
    return (folder / "job" / "beat").stat().st_size > before


@every_engine
def test_a_job_that_ends_well_has_code_0(stand):
    assert stand.run("pass").code == 0


@every_engine
def test_an_exit_code_is_passed_on(stand):
    assert stand.run("sys.exit(66)").code == 66


@every_engine
def test_a_signal_is_told_and_is_no_exit_code(stand):
    ended = stand.run("os.kill(os.getpid(), signal.SIGSEGV)")
    assert (ended.code, ended.signal) == (None, 11)


@every_engine
def test_a_worker_that_ignores_its_time_limit_is_ended(stand):
    ended = stand.run(STUBBORN, timeout_seconds=1.5)
    assert (ended.is_timeout, ended.code) == (True, None)


@every_engine
def test_a_worker_past_its_memory_is_ended_and_that_is_told(stand):
    ended = stand.run("x = bytearray(400_000_000); time.sleep(60)", memory_bytes=150_000_000)
    assert (ended.is_out_of_memory, ended.is_timeout) == (True, False)


@every_engine
def test_what_tick_raises_leaves_run(stand):
    launch = stand.launch(STUBBORN)
    with pytest.raises(Enough):
        stand.engine.run(launch, when(launch.job_dir / "alive"))


@every_engine
def test_children_are_gone_when_tick_raised(stand, tmp_path):
    launch = stand.launch(FERTILE + "time.sleep(60)")
    with pytest.raises(Enough):
        stand.engine.run(launch, when(launch.job_dir / "beat"))
    assert not beats_on(tmp_path)


@every_engine
def test_children_are_gone_when_the_worker_ended(stand, tmp_path):
    stand.run(FERTILE)
    assert not beats_on(tmp_path)


@every_engine
def test_tick_is_called_five_times_a_second_for_a_live_worker(stand):
    ticks = []
    stand.engine.run(stand.launch("time.sleep(2)"), lambda: ticks.append(1))
    assert len(ticks) >= 10


@every_engine
def test_events_can_be_followed_while_the_worker_runs(stand):
    launch = stand.launch("open('events.jsonl', 'w').write('{}\\n'); time.sleep(60)")
    with pytest.raises(Enough):
        stand.engine.run(launch, when(launch.job_dir / "events.jsonl"))


@every_engine
def test_the_last_words_are_kept(stand):
    ended = stand.run("print('what it said', flush=True); sys.exit('why it died')")
    # stdout and stderr are two pipes: Docker promises no order between lines written to both at once.
    assert sorted(ended.log_tail.splitlines()) == ["what it said", "why it died"]


@every_engine
def test_the_start_is_dated(stand):
    ended = stand.run("time.sleep(.3)")
    assert 0 <= ended.started_seconds < ended.wall_seconds - 0.3


@every_engine
def test_the_worker_sees_its_row_and_nothing_of_the_users(stand, monkeypatch):
    monkeypatch.setenv("SECRET", "1")
    stand.run("json.dump(dict(os.environ), open('seen', 'w'))")
    seen = json.loads((stand.folder / "job" / "seen").read_text())
    assert seen["CORES"] == str(read_host().physical_cores)
    assert "SECRET" not in seen


@every_engine
def test_home_and_temporary_folder_can_be_written(stand):
    assert stand.run("[open(os.path.join(os.environ[k], 'x'), 'w') for k in ('HOME', 'TMPDIR')]").code == 0


@every_engine
def test_pictures_are_where_the_second_argument_says(stand, tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "manifest.json").write_text("{}")
    found = "sys.exit(0 if os.listdir(sys.argv[2]) == ['manifest.json'] else 1)"
    assert stand.run(found, data_dir=tmp_path / "pictures").code == 0


@every_engine
def test_processors_are_those_asked_for(stand):
    last = max(read_host().cpus)
    assert stand.run(f"sys.exit(0 if os.sched_getaffinity(0) == {{{last}}} else 1)", cpus=(last,)).code == 0


@every_engine
def test_an_environment_knows_its_python_and_its_packages(stand):
    assert stand.environment.python.startswith(("3.",))
    assert stand.environment.engine == stand.engine.name


@every_engine
def test_preparing_again_makes_nothing_and_gives_the_same(stand, tiny):
    said = []
    assert stand.engine.prepare(tiny, said.append) == stand.environment
    assert said == []


@pytest.mark.parametrize("name", ["dcoker", "replay", "ray"])
def test_an_unknown_engine_is_answered_with_the_known_ones(name, home):
    with pytest.raises(EngineError, match=r"Known: docker, podman, virtualenv, host\[:PYTHON\], replay:FOLDER"):
        open_engine(name, home, read_host())


def test_a_silent_daemon_is_one_sentence_with_a_way_on(home, monkeypatch, tmp_path):
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/docker.sock")
    with pytest.raises(EngineError) as caught:
        open_engine("docker", home, read_host())
    assert str(caught.value) == (
        f"Docker does not answer at unix://{tmp_path}/docker.sock. Start it, or use --engine=virtualenv."
    )


@pytest.mark.parametrize("name", ["host:/nowhere/python", "host:/etc/passwd", "host:ls"])
def test_a_missing_host_python_is_one_sentence_with_a_remedy(name, home):
    with pytest.raises(EngineError, match=r"that is no Python that runs\. Name one: --engine=host:/path/of/python"):
        open_engine(name, home, read_host())


def test_the_default_host_python_is_the_one_running_waymark(home, monkeypatch, tiny, tmp_path):
    monkeypatch.delenv("WAYMARK_HOST_PYTHON", raising=False)
    assert open_engine("host", home, read_host()).prepare(tiny, print).location == sys.executable
    (tmp_path / "python").symlink_to(sys.executable)
    monkeypatch.setenv("WAYMARK_HOST_PYTHON", str(tmp_path / "python"))
    assert open_engine("host", home, read_host()).prepare(tiny, print).location == str(tmp_path / "python")
    named = open_engine(f"host:{sys.executable}", home, read_host())
    assert named.prepare(tiny, print).location == sys.executable


def test_a_host_environment_is_what_is_installed(prepared):
    _, environment = prepared("host")
    assert f"numpy=={version('numpy')}" in environment.freeze
    assert environment.python == platform.python_version()


def test_another_package_changes_a_host_environments_identity(home, tiny, tmp_path, monkeypatch):
    engine = open_engine("host", home, read_host())
    before = engine.prepare(tiny, print)
    (tmp_path / "seal-1.0.dist-info").mkdir()
    (tmp_path / "seal-1.0.dist-info" / "METADATA").write_text("Name: seal\nVersion: 1.0\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    after = engine.prepare(tiny, print)
    assert set(after.freeze) - set(before.freeze) == {"seal==1.0"}
    assert after.identity != before.identity


def test_a_workers_own_card_is_the_only_one_it_sees(prepared, tmp_path):
    card = Card(index=1, uuid="GPU-1", name="Tesla T4", memory_bytes=1, capability="7.5", driver="550.54")
    for name in ("virtualenv", "host"):
        _, environment = prepared(name)
        launch = Launch(environment, "workers.run", tmp_path, tmp_path, None, (), 2**30, 60.0)
        assert worker_env(launch, "/")["CUDA_VISIBLE_DEVICES"] == ""
        on_card = replace(launch, environment=environment.on(card))
        assert worker_env(on_card, "/")["CUDA_VISIBLE_DEVICES"] == "GPU-1"


def test_only_the_last_step_is_done_again_where_it_lacked(tiny, home, tmp_path):
    folder, library = tmp_path / "docker" / "tiny", tmp_path / "library"
    shutil.copytree(tiny.folder, folder)
    (folder / "finish.sh").write_text(f"test -e {library} || {{ echo it needs a library >&2; exit 69; }}\n")
    row, engine = Catalogue.load(folder.parent).resolve("tiny", "cpu"), open_engine("virtualenv", home, read_host())
    with pytest.raises(AbsentError, match="it needs a library"):
        engine.prepare(row, print)
    library.touch()
    said = []
    assert engine.prepare(row, said.append).python.startswith("3.")
    assert said == []


def test_a_virtualenv_left_unfinished_is_made_again(prepared, tiny):
    engine, environment = prepared("virtualenv")
    folder = next(path for path in (engine._home.virtualenvs).iterdir() if path.is_dir())
    (folder / "waymark-complete").unlink()
    assert engine.prepare(tiny, print) == environment
    assert (folder / "waymark-complete").exists()


@every_engine
def test_processor_time_of_worker_and_children_is_told(stand):
    busy = "end = time.process_time() + 0.6\nwhile time.process_time() < end: pass"
    until_told = "while not os.path.exists('told'): time.sleep(.02)"
    readers, known = [], []
    launch = replace(stand.launch(f"os.fork()\n{busy}\n{until_told}"), on_start=readers.append)

    def tick():
        seconds = readers[0]()
        if seconds is not None:
            known.append(seconds)
            if seconds > 0.8:
                (launch.job_dir / "told").touch()

    assert stand.engine.run(launch, tick).code == 0, known
    assert known == sorted(known)
