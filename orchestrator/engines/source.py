"""A snapshot of the worker source, identified by its hash, so that an edit does not change a run that is going on."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import workers
from orchestrator.errors import EngineError
from orchestrator.home import Home
from orchestrator.scratch import scratch_folder


@dataclass(frozen=True)
class WorkerSource:
    """path: the folder that holds the package `workers`. sha256: over the names and bytes of its files."""

    path: Path
    sha256: str

    @classmethod
    def of(cls, folder: Path) -> "WorkerSource":
        """What is in `folder` now."""
        return cls(folder, _sha256(_files(folder)))

    def verify(self) -> None:
        """Raises EngineError if a file of the snapshot was changed, added or removed: what runs is what is recorded."""
        if WorkerSource.of(self.path) != self:
            raise EngineError(
                f"{self.path}, the snapshot of the worker's code, was changed after it was made; what ran from it is "
                "not what the records say. Remove that folder: the next run makes it anew."
            )


def current_sha256() -> str:
    """The hash of the worker source as it is now; nothing is written."""
    return _sha256(_package())


def snapshot(home: Home) -> WorkerSource:
    """Copy the package `workers` to home.workers/<first 12 of its hash>/, unless that exists; it is read-only.

    Raises EngineError if it exists and was changed.
    """
    files = _package()
    sha256 = _sha256(files)
    source = WorkerSource(home.workers / sha256[:12], sha256)
    if not source.path.exists():
        _write(source.path, files)
    source.verify()
    return source


def _package() -> dict[str, bytes]:
    """Path below the repository -> content, of the package `workers`."""
    package = Path(workers.__file__).parent
    return {path.relative_to(package.parent).as_posix(): path.read_bytes() for path in package.rglob("*.py")}


def _files(folder: Path) -> dict[str, bytes]:
    """Path below `folder` -> content, of all that is there; a link is named and not followed."""
    contents = {}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            contents[name] = b"link"
        elif path.is_file():
            contents[name] = path.read_bytes()
    return contents


def _sha256(files: Mapping[str, bytes]) -> str:
    total = hashlib.sha256()
    for name, content in sorted(files.items()):
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()


def _write(folder: Path, files: Mapping[str, bytes]) -> None:
    """Fill a draft beside `folder` and rename it; if another process was faster, it has written the same."""
    with scratch_folder(folder.parent) as draft:
        draft.chmod(0o755)  # a container's user may be another
        for name, content in files.items():
            path = draft / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.parent.chmod(0o755)
            path.write_bytes(content)
            path.chmod(0o444)
        try:
            draft.rename(folder)
        except OSError:
            if not folder.exists():
                raise
