"""The upstream source of a framework that is on no package index: fetched at its commit, or from a local clone."""

import os
import tarfile
from pathlib import Path

from orchestrator.engines import process
from orchestrator.engines.environment import LIMIT_SECONDS
from orchestrator.errors import AbsentError, EngineError
from orchestrator.home import Home
from orchestrator.planning.image_row import ImageRow, UpstreamSource
from orchestrator.scratch import scratch_folder


def checkout(row: ImageRow, home: Home) -> Path:
    """Folder with the source of `row` at its commit, without its history; made once, atomically.

    The name of a commit is the hash of its content, so the source is the right one, wherever it came from.
    Raises EngineError, saying what could not be reached and what to give instead.
    """
    if row.source is None:
        raise ValueError(f"{row.label} has no upstream source")
    folder = home.sources / f"{row.framework}-{row.source.commit[:12]}"
    if not folder.exists():
        with scratch_folder(home.sources) as draft:
            _unpack(row, row.source, draft, home.logs / f"{row.framework}.source.log").replace(folder)
    return folder


def _unpack(row: ImageRow, source: UpstreamSource, draft: Path, log: Path) -> Path:
    """The source in a folder of `draft`."""
    log.unlink(missing_ok=True)
    clone = source.local or _fetched(row, source, draft / "clone", log)
    archive, folder = draft / "source.tar", draft / "source"
    if not _git(log, draft, "-C", str(clone), "archive", "--format=tar", f"--output={archive}", source.commit):
        raise EngineError(
            f"{clone}, given as the source of {row.framework}, is not a git repository that holds commit "
            f"{source.commit}. Give a clone of {source.repository} that does."
        )
    with tarfile.open(archive) as files:
        files.extractall(folder, filter="data")
    return folder


def _fetched(row: ImageRow, source: UpstreamSource, clone: Path, log: Path) -> Path:
    """A repository with that one commit."""
    fetch = ("-C", str(clone), "fetch", "--quiet", "--depth=1", source.repository, source.commit)
    if _git(log, clone.parent, "init", "--quiet", "--bare", str(clone)) and _git(log, clone.parent, *fetch):
        return clone
    last = (process.tail(log, 1) or "git said nothing").strip()
    raise AbsentError(
        f"{row.label} is built from {source.repository} at commit {source.commit[:12]}, which could not be fetched "
        f"({last}). Without a network, give a local clone that holds it: --source={row.framework}=PATH."
    )


def _git(log: Path, cwd: Path, *arguments: str) -> bool:
    """Whether git succeeded; its output is in the log."""
    # A repository of another owner is safe: the hash of the commit is checked, and no hook runs here.
    argv = ("git", "-c", "safe.directory=*", *arguments)
    env = {**os.environ, "GIT_TERMINAL_PROMPT": "0"}
    return process.run(process.Command(argv, cwd, env, log, LIMIT_SECONDS), lambda: None).code == 0
