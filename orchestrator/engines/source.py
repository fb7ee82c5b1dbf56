"""A snapshot of the worker source, identified by its hash, so that an edit does not change a run that is going on."""

import hashlib
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import workers
from orchestrator.home import Home


@dataclass(frozen=True)
class WorkerSource:
    """path: the folder that holds the package `workers`. sha256: over the names and bytes of its files."""

    path: Path
    sha256: str


def snapshot(home: Home) -> WorkerSource:
    """Copy the package `workers` to home.workers/<first 12 of its hash>/, unless that exists."""
    package = Path(workers.__file__).parent
    files = {path.relative_to(package).as_posix(): path.read_bytes() for path in package.rglob("*.py")}
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    source = WorkerSource(home.workers / total.hexdigest()[:12], total.hexdigest())
    if not source.path.exists():
        _write(source.path, files)
    return source


def _write(folder: Path, files: dict[str, bytes]) -> None:
    """Fill a draft beside `folder` and rename it; if another process was faster, it has written the same."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".draft-", dir=folder.parent))
    try:
        draft.chmod(0o755)  # a container's user may be another
        for name, content in files.items():
            path = draft / "workers" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o755)
            path.write_bytes(content)
            path.chmod(0o444)
        draft.rename(folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
