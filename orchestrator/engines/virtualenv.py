"""The same rows and pins without Docker: one virtualenv per set of pins, one process group per launch.

No container stands between the worker and the machine: it may read what the user may read, and its memory limit is
kept by looking (see process.Command), not by the kernel.
"""

import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.metadata import distributions
from pathlib import Path

from packaging.utils import canonicalize_name

from orchestrator.engines import package_index, process, upstream
from orchestrator.engines.engine import Launch, Say
from orchestrator.engines.environment import LIMIT_SECONDS, declared, exit_of, failure, frozen, need_room, need_source
from orchestrator.engines.source import snapshot
from orchestrator.environment import Environment
from orchestrator.errors import AbsentError, EngineError
from orchestrator.files import take_lock
from orchestrator.home import Home
from orchestrator.planning.image_row import FINISH, Cores, ImageRow, pins_sha256
from orchestrator.records.run_folder import LOG
from orchestrator.scratch import temporary_folder
from orchestrator.staging import staged
from orchestrator.trial import Exit

# Written last: a virtualenv without it was never finished. (None can be renamed into place: its scripts hold its path.)
_COMPLETE = "waymark-complete"

# Written where finish.sh found that the machine lacks something: all before it is there, and need not be made again.
_UNFINISHED = "waymark-unfinished"

# With this exit code a finish.sh says, in its last line, what this machine lacks. (EX_UNAVAILABLE of sysexits.h.)
_ABSENT = 69

# An empty word on the command line outdoes the `target` of the user's configuration files; `prefix` and `root` have no
# such word.
_HERE = ("--target=",)
_ELSEWHERE = ("prefix", "root")

# For a publisher's index that seems not to answer; pip still asks it, as it may know a way (a proxy, a certificate).
_BRIEF = ("--timeout", "5", "--retries", "0")

_PIN = re.compile(r"^([A-Za-z0-9][\w.-]*)==([^\s;]+)", re.MULTILINE)

_PROBE = (
    "import sys, venv, ensurepip, platform as p;"
    "print(p.python_implementation(), '%d.%d' % sys.version_info[:2], sys.executable)"
)


def unfinished(home: Home) -> list[Path]:
    """Virtualenvs that nobody makes now and that are not whole, as of a process that was killed while it made them."""
    ends = (_COMPLETE, _UNFINISHED)
    unmarked = [path for path in sorted(home.virtualenvs.glob("*/")) if not any((path / end).exists() for end in ends)]
    return [folder for folder in unmarked if not _is_being_made(folder)]


def _is_being_made(folder: Path) -> bool:
    path = _lock(folder)
    try:
        with path.open() as lock:
            return not take_lock(lock.fileno(), path)
    except FileNotFoundError:
        return False
    except OSError:  # its file system keeps no locks, so nobody knows
        return True


class VirtualenvEngine:
    """See Engine."""

    name = "virtualenv"
    is_local = True

    def __init__(self, home: Home, cores: Cores) -> None:
        self._home = home
        self._cores = cores

    def prepare(self, row: ImageRow, say: Say) -> Environment:
        """The virtualenv of `row`; made on first use, from the user's own pip configuration."""
        if row.image is not None:
            raise EngineError(f"{row.label} is an image; it runs with --engine=docker.")
        for name, remedy in row.needs.items():
            if shutil.which(name) is None and not process.has_library(name):
                raise AbsentError(f"{row.label} needs {name}, and this machine has none. {remedy}")
        folder = self._home.virtualenvs / f"{row.framework}-{pins_sha256(row)[:12]}"
        with _alone(folder):
            if (folder / _UNFINISHED).exists():
                self._finish(row, folder, say)
            elif not (folder / _COMPLETE).exists() or lacking_pins(row, folder):
                self._make(row, folder, say)
        folder = staged(folder, say)
        bare = declared(self.name, row, self._cores, str(folder))
        bare = bare.model_copy(update={"location": str(folder / "bin" / "python")})
        return frozen(bare, self.run, snapshot(self._home), self._home)

    def run(self, launch: Launch, tick: Callable[[], None]) -> Exit:
        """Run one worker; its stdout and stderr go to <job>/log.txt."""
        return run_worker(launch, {}, tick)

    def close(self) -> None:
        """Nothing outlives `run`."""

    def _make(self, row: ImageRow, folder: Path, say: Say) -> None:
        need_source(row)
        python = find_python(row.python)
        if python is None:
            raise AbsentError(
                f"{row.label} needs CPython {row.python} with venv and ensurepip; none is on PATH, among pyenv's "
                f"versions or known to uv. Get it with `pyenv install {row.python}`, or use --engine=docker."
            )
        need_room(row, folder)
        log = self._log(row)
        log.unlink(missing_ok=True)
        if folder.exists():
            say(f"{row.label}: {folder} is not whole; making it again")
            shutil.rmtree(folder)
        say(f"{row.label}: making {folder} with {python}")
        if row.source:
            upstream.checkout(row, self._home)  # before what takes minutes
        self._step(row, "making a virtualenv", (python, "-m", "venv", str(folder)), {}, log, say)
        pip = (str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "--no-input", "install")
        for key in _ELSEWHERE:
            elsewhere = _setting(pip[0], key)
            if elsewhere:
                raise EngineError(
                    f"{row.label}: your pip configuration sets {key} to {elsewhere}, so packages would not come into "
                    f"{folder}. Remove it there (`pip config debug` says where), or name another file with "
                    "PIP_CONFIG_FILE."
                )
        for requirements in filter(None, (row.pip_path, row.requirements_path)):
            install = (*pip, *_HERE, "--progress-bar", "off", "--no-deps", "--require-hashes", "-r", str(requirements))
            self._install(row, install, log, say)
        lacking = lacking_pins(row, folder)
        if lacking:
            what = (
                f"pip ended well, but {folder} has no {lacking}: does your pip configuration send packages elsewhere?"
            )
            raise failure(row, f"{what} `pip config list` shows it", log)
        self._finish(row, folder, say)

    def _finish(self, row: ImageRow, folder: Path, say: Say) -> None:
        """finish.sh, the last step."""
        if row.finish_path:
            source = upstream.checkout(row, self._home) if row.source else ""
            given = {**row.args, "ENVIRONMENT": str(folder), "SOURCE": str(source)}
            try:
                self._step(row, FINISH, ("sh", str(row.finish_path)), given, self._log(row), say)
            except AbsentError:
                (folder / _UNFINISHED).touch()
                raise
        (folder / _UNFINISHED).unlink(missing_ok=True)
        (folder / _COMPLETE).touch()

    def _install(self, row: ImageRow, install: tuple[str, ...], log: Path, say: Say) -> None:
        """pip, with exactly the user's configuration; once more with the row's index where that has not got it all."""
        ended = self._run_step(row, install, {}, log, say)
        lacking = package_index.missing(log)
        is_index_free = bool(lacking) and _asks_no_index(install[0])
        if lacking and row.index and not is_index_free:
            index = package_index.shown(row.index)
            say(f"{row.label}: your own package indexes have no {lacking}; asking its publisher's, {index}, too")
            brief = _BRIEF if package_index.silence(row.index) else ()
            ended = self._run_step(row, (*install, *brief, "--extra-index-url", row.index), {}, log, say)
            lacking = package_index.missing(log)
        if ended.code != 0 and lacking:
            shortage = package_index.shortage(row, lacking, log, is_index_free)
            if shortage:
                raise shortage
        _must_end_well(row, "pip", ended, log)

    def _log(self, row: ImageRow) -> Path:
        return self._home.logs / f"{row.slug}.virtualenv.log"

    def _step(
        self, row: ImageRow, what: str, argv: tuple[str, ...], given: dict[str, str], log: Path, say: Say
    ) -> None:
        _must_end_well(row, what, self._run_step(row, argv, given, log, say), log)

    def _run_step(
        self, row: ImageRow, argv: tuple[str, ...], given: dict[str, str], log: Path, say: Say
    ) -> process.Ended:
        new_lines = process.NewLines(log)

        def follow() -> None:
            for line in new_lines():
                say(f"{row.label}: {line.strip()}")

        # The user's pip settings and proxies hold; what would send the packages elsewhere does not.
        env = {key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "VIRTUAL_ENV"))}
        env.update(PIP_USER="0", PIP_REQUIRE_VIRTUALENV="0")
        for stray in ("PIP_TARGET", "PIP_PREFIX", "PIP_ROOT"):
            env.pop(stray, None)
        env.update(given)
        command = process.Command(argv, self._home.root, env, log, LIMIT_SECONDS)
        ended = process.run(command, follow)
        follow()
        return ended


def lacking_pins(row: ImageRow, folder: Path) -> str:
    """The first pin of `row` that is not installed in the virtualenv, 'numpy==2.4.6'; '' if all are."""
    sites = [str(path) for path in folder.glob("lib*/python*/site-packages")]
    installed = {(canonicalize_name(package.name or ""), package.version) for package in distributions(path=sites)}
    pins = _PIN.findall(row.requirements_path.read_text(encoding="utf-8"))
    return next(
        (f"{name}=={version}" for name, version in pins if (canonicalize_name(name), version) not in installed), ""
    )


def _must_end_well(row: ImageRow, what: str, ended: process.Ended, log: Path) -> None:
    """Raises EngineError for a step that did not."""
    if ended.is_timeout:
        raise failure(row, f"{what} was stopped after {LIMIT_SECONDS:.0f} s", log)
    if what == FINISH and ended.code == _ABSENT:
        raise AbsentError(f"{row.label}: {process.tail(log, 1).strip()}")
    if ended.code != 0:
        raise failure(row, f"{what} ended with exit code {ended.code}, signal {ended.signal}", log)


def _setting(python: str, key: str) -> str:
    """What the user's configuration tells pip to do, beyond the variables that are dropped; '' if nothing."""
    listing = process.output((python, "-m", "pip", "config", "list")) or ""
    match = re.search(rf"^(?:global|install)\.{key}='(.*)'$", listing, re.MULTILINE)
    return match[1] if match else ""


def _asks_no_index(python: str) -> bool:
    """Whether the user's configuration tells pip to ask no index."""
    listing = process.output((python, "-m", "pip", "config", "list")) or ""
    return any(re.search(r"\.no-index='(1|true|yes|on)'$", line, re.IGNORECASE) for line in listing.splitlines())


def run_worker(launch: Launch, variables: dict[str, str], tick: Callable[[], None]) -> Exit:
    """Run one worker as a process of this machine. variables: beyond those that every worker gets."""
    log = launch.job_dir / LOG
    data = () if launch.data_dir is None else (str(launch.data_dir),)
    with temporary_folder() as scratch:
        command = process.Command(
            argv=(launch.environment.location, "-m", launch.module, str(launch.job_dir), *data),
            cwd=launch.job_dir,
            env={**worker_env(launch, str(scratch)), **variables},
            log=log,
            timeout_seconds=launch.timeout_seconds,
            cpus=launch.cpus,
            memory_bytes=launch.memory_bytes,
            on_start=launch.on_start,
        )
        ended = process.run(command, tick)
    return exit_of(ended, log)


def find_python(version: str) -> str | None:
    """Path of a CPython of that version ('3.11') that can make virtualenvs; None if there is none."""
    for candidate in _candidates(version):
        seen = (process.output((candidate, "-c", _PROBE)) or "").split(maxsplit=2)
        if seen[:2] == ["CPython", version]:
            return seen[2]
    return None


def _candidates(version: str) -> Iterator[str]:
    """Interpreters that may be of that version, nearest first."""
    if version == f"{sys.version_info.major}.{sys.version_info.minor}":
        yield sys.executable
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield on_path
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv")
    paths = (path for path in pyenv.glob(f"versions/{version}.*") if path.name.replace(".", "").isdigit())
    for path in sorted(paths, key=lambda path: tuple(map(int, path.name.split("."))), reverse=True):
        yield str(path / "bin" / "python")
    uv = shutil.which("uv")
    managed = process.output((uv, "python", "find", "--no-python-downloads", version)) if uv else None
    if managed:
        yield managed


def worker_env(launch: Launch, scratch: str) -> dict[str, str]:
    """The worker's whole environment: nothing of the user's reaches it, so nothing of it is left out of the record."""
    card = launch.environment.card
    return {
        "PATH": f"{Path(launch.environment.location).parent}:/usr/local/bin:/usr/bin:/bin",
        "HOME": scratch,
        "TMPDIR": scratch,
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(launch.source),
        "PYTHONNOUSERSITE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "CUDA_VISIBLE_DEVICES": card.uuid if card else "",  # its own card, or none: a CPU trial cannot stray
        **launch.environment.env,
    }


def _lock(folder: Path) -> Path:
    """The file of its lock, beside it."""
    return folder.with_name(f".{folder.name}.lock")


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Hold this virtualenv's lock, so that two sweeps do not make it at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    path = _lock(folder)
    with path.open("w") as lock:
        take_lock(lock.fileno(), path, waits=True)
        yield
