"""`invoke publish` and `invoke ingest --published`: a run as one folder or archive that others can check and render.

It is laid out as a home is (`runs/`, `tuned.toml`), with the report, bills of materials, RO-Crate metadata and a hash
for every file. It carries the other runs that its report needs: selfchecks made before, comparisons that tell the noise
of the machine, and studies that decide findings. So the report that is made of it elsewhere is the one that is in it.
"""

import json
import re
import shutil
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from orchestrator import files
from orchestrator.analysis.noise import noise_floors
from orchestrator.console.progress import Console
from orchestrator.data.archive import PUBLISHED, ZipFiles, is_debris
from orchestrator.errors import SpecError, StoreError
from orchestrator.execution.locks import exclusive_run
from orchestrator.execution.run_record import DISTRIBUTION
from orchestrator.home import Home
from orchestrator.planning.tuned import read_tuned
from orchestrator.records.event import LIMIT_BYTES
from orchestrator.records.kept import write_kept
from orchestrator.records.run_folder import EVENTS, EXIT, JOB, OUTCOME, RECORD, RUN, TELEMETRY, RunFolder
from orchestrator.records.store import Store
from orchestrator.records.stored import StoredRun
from orchestrator.report import write_report
from orchestrator.report.crate import (
    METADATA,
    SUMS,
    Sums,
    bill_of_materials,
    require_libraries,
    sums_text,
    write_metadata,
)
from orchestrator.report.signature import SIGNATURE, signed, verify
from orchestrator.report.text import without_paths
from orchestrator.report.writing import deciding_runs
from orchestrator.scratch import folder_beside, scratch_folder, temporary_folder

REPORT, RENDERED = "report", "rendered"
"""The report that was published, and the one that was made of its records here."""

RUN_ID = "RUN"
_Read = Callable[[str], bytes]
_JOB_FILES = (RECORD, JOB, EVENTS, EXIT, OUTCOME)
_PART = r"[^/\x00-\x1f\x7f]{1,120}"
_KNOWN = re.compile(
    "|".join(re.escape(name) for name in (RUN_ID, SUMS, SIGNATURE, METADATA, "tuned.toml"))
    + rf"|bom/{_PART}\.cdx\.json|{REPORT}/{_PART}|runs/{_PART}/{re.escape(RUN)}"
    + rf"|runs/{_PART}/{_PART}/(?:{'|'.join(re.escape(name) for name in (*_JOB_FILES, TELEMETRY))})"
)
"""Every file that `publish_run` writes. One of another name could stand where this home writes files of its own."""
_FOLDERS = re.compile(r"(?:(?<=^)|(?<=[=,:]))/(?:[^/,:]+/)+")
"""Of absolute paths in arguments and variables, which tell more of a machine than of a run."""

_JSON_BYTES, _FILE_BYTES, _ALL_BYTES = 4 * 2**20, 32 * 2**20, 96 * 2**20
_MOST_JOBS, _MOST_LINES = 5_000, 500_000
"""Of one published run: what is within can be read and drawn in a minute and a gigabyte, whatever it holds. The whole
study of 2020, 35 cells of 25 epochs of 490 steps, takes about a fifth of it."""

_WHEN = (1980, 1, 1, 0, 0, 0)  # of every member of an archive, so that the same run gives the same archive


def publish_run(run_id: str, to: Path, home: Home, console: Console, key: Path | None = None) -> None:
    """Write the run to a new folder, or to an archive if `to` ends in .zip. Nothing is left behind if that fails.

    key: a private key in PEM, to sign its hashes with.

    Raises StoreError if there is no such run, its record is not whole or larger than anybody takes in; LockedError if
    it may be the run that is going on; SpecError if `to` exists.
    """
    require_libraries()
    require_new(to, "a new folder or .zip file")
    with Store.open(home.store_url) as store:
        facts = store.run(run_id).facts
    is_open = facts.state == "going on, or killed"
    if is_open:
        console.say(f"note: {run_id} has not ended; what it holds now is published. `invoke sweep --resume` ends it.")
    with exclusive_run(home) if is_open else nullcontext(), folder_beside(to, home) as scratch:
        crate = Home(scratch / run_id)
        with Store.open(home.store_url) as store:
            stored = store.run(run_id)
            for needed, ordinals in _needed(store, stored).items():
                console.say(f"{needed}: {'all' if ordinals is None else len(ordinals)} jobs")
                _copy_run(home, needed, crate.runs / needed, ordinals)
        tuned = [tuning for tuning in read_tuned(home.tuned) if run_id in tuning.run_ids]
        if tuned:
            write_kept(crate.tuned, "tuned", tuned)
        (crate.root / RUN_ID).write_text(run_id + "\n", encoding="utf-8")
        (crate.root / "bom").mkdir()
        for environment in stored.environments:
            path = crate.root / "bom" / f"{environment.identity.removeprefix('sha256:')[:16]}.cdx.json"
            path.write_text(bill_of_materials(environment), encoding="utf-8")
        rendered(crate, run_id, crate.root / REPORT, console)
        write_metadata(crate.root, stored.facts)
        sums = sums_text(crate.root).encode()
        (crate.root / SUMS).write_bytes(sums)
        _require_takeable(crate.root)
        if key:
            (crate.root / SIGNATURE).write_text(signed(sums, stored.facts, key), encoding="utf-8")
        if to.suffix == ".zip":
            packed = scratch / "packed.zip"
            _pack(crate.root, packed)
            move_to(packed, to)
        else:
            move_to(crate.root, to)
    console.say(f"{run_id} is in {to}. Elsewhere: invoke ingest --published={to}")


def require_new(to: Path, what: str) -> None:
    """Raises SpecError if something is there already, or if its folder is not."""
    if to.exists():
        raise SpecError(f"--to is {to}, which exists; name {what}.")
    if not to.absolute().parent.is_dir():
        raise SpecError(f"--to is {to}, and {to.absolute().parent} is no folder; make it first.")


def move_to(made: Path, to: Path) -> None:
    """Give what was made its name. Raises SpecError if another program has taken that meanwhile."""
    try:
        files.move_new(made, to)
    except FileExistsError:
        raise SpecError(f"--to is {to}, which another program has made meanwhile; name a new one.") from None


def ingest_publication(path: Path, home: Home, console: Console, key: Path | None = None) -> int:
    """Verify a published run, keep it below the home's `published`, and render its report there; 1 if tables differ.

    It stays apart from the runs of this home, because another machine's times say nothing about this one.
    key: a public key in PEM; it must be signed with the private one.
    Raises StoreError, naming the file, if a hash does not agree, or if another publication of the run is kept already;
    DataError for an unsafe archive. Nothing is kept, or replaced, then.
    """
    with scratch_folder(home.published) as scratch:
        draft = Home(scratch / "crate")
        run_id = unpacked(path, draft)
        console.say(_signer(path, draft, key))
        kept = home.published / run_id
        _require_replaceable(kept, draft.root, path)
        stored = rendered(draft, run_id, draft.root / RENDERED, console)
        tables = _tables(draft.root / REPORT)
        alone = set(_tables(draft.root / RENDERED)).difference(tables)
        differing = [name for name in tables if not _is_same(draft.root / REPORT, draft.root / RENDERED, name)]
        files.remove(kept)
        draft.root.replace(kept)
    if differing:
        console.say(f"{len(differing)} of {len(tables)} tables differ from those in {path}: {', '.join(differing)}")
        console.say(_why_different(stored))
    elif tables:
        console.say(f"every hash agrees, and {len(tables)} tables are those in {path}, byte for byte")
    else:
        console.say("every hash agrees")
    if alone:
        console.say(f"{len(alone)} tables that were made here are not in it, so nothing was compared with them")
    console.say(f"report: {kept / RENDERED / 'index.html'}")
    return 1 if differing else 0


def _require_replaceable(kept: Path, new: Path, path: Path) -> None:
    """Raises StoreError if another publication of the run is kept, or the same one signed, which `new` is not."""
    if not kept.exists():
        return
    advice = f"To take this one instead, move {kept} away first."
    run_id = kept.name
    if not (kept / SUMS).is_file() or files.read_bytes(kept / SUMS) != files.read_bytes(new / SUMS):
        raise StoreError(f"{path}: run {run_id} is kept already, with other hashes. {advice}")
    if (kept / SIGNATURE).is_file() and not (new / SIGNATURE).is_file():
        raise StoreError(f"{path}: run {run_id} comes without the signature of the one that is kept. {advice}")


def _why_different(stored: StoredRun) -> str:
    """What is unknown here, so that a table may differ though nothing was changed; else that this is not known."""
    unknown = sorted({job.trial.model.name for job in stored.trials if not job.trial.model.is_known})
    made, here = stored.facts.waymark_version, version(DISTRIBUTION)
    said = []
    if unknown:
        said.append(f"this clone knows no network '{unknown[0]}', so what is counted from its ops is left out here")
    if made != here:
        said.append(f"the run was published by waymark {made}, and this is {here}, whose tables may have other columns")
    return f"unknown, and not shown to be wrong: {'; '.join(said)}" if said else "no reason for that is known here"


def unpacked(path: Path, draft: Home) -> str:
    """Write every file of a published run to the draft, each verified as it is read; gives the run.

    Raises StoreError, naming the file, for a wrong one, DataError for an unsafe archive.
    """
    with _contents(path) as (names, read):
        folder = _crate_folder(path, names)
        here = [name.removeprefix(folder) for name in names if name.startswith(folder)]
        return _taken(path, here, lambda name: read(folder + name), draft)


def _crate_folder(path: Path, names: Collection[str]) -> str:
    """'' or 'run/': the one folder in which the hashes lie, as in an archive that was packed again.

    Raises StoreError if there are none, or several.
    """
    folders = sorted(name.removesuffix(SUMS) for name in names if name == SUMS or name.endswith(f"/{SUMS}"))
    if "" in folders:
        return ""
    if len(folders) == 1:
        stray = next((name for name in names if not name.startswith(folders[0])), None)
        if stray is not None:
            raise StoreError(f"{path}: {SUMS} lies in {folders[0]}, and {stray} beside that, so nobody vouches for it.")
        return folders[0]
    if folders:
        raise StoreError(
            f"{path} holds {len(folders)} published runs ({folders[0]}, {folders[1]}, ...); take them in one by one."
        )
    packed = [name for name in names if name.endswith(".zip")]
    if packed:
        raise StoreError(f"{path} holds {packed[0]}: an archive in an archive. Unpack it, and name that file.")
    raise StoreError(f"{path} is no published run: it has no {SUMS}.")


def _taken(path: Path, names: Collection[str], read: _Read, draft: Home) -> str:
    if RUN_ID not in names:
        raise StoreError(f"{path} is no published run: it has no {RUN_ID}.")
    listed = read(SUMS)
    sums = Sums(str(path), listed)
    _require_few(path, names)
    draft.root.mkdir(parents=True)
    files.write_atomically(draft.root / SUMS, listed)
    bounds = _Bounds(path)
    for name in names:
        if name == SUMS:
            continue
        content = read(name)
        bounds.take(name, content)
        if name != SIGNATURE:
            sums.check(name, content)
        if not _KNOWN.fullmatch(name):
            raise StoreError(f"{path}: {name} is no file of a published run, so none of it is taken. Ask who made it.")
        (draft.root / name).parent.mkdir(parents=True, exist_ok=True)
        files.write_atomically(draft.root / name, content)
    sums.end()
    run_id = (draft.root / RUN_ID).read_text(encoding="utf-8", errors="replace").strip()
    if f"runs/{run_id}/{RUN}" not in names:
        raise StoreError(f"{path}: {RUN_ID} names no run that is in it.")
    return RunFolder(draft.runs / run_id).facts().run_id


def _require_few(path: Path, names: Collection[str]) -> None:
    jobs = sum(name.endswith(f"/{RECORD}") for name in names)
    if jobs > _MOST_JOBS or len(names) > 8 * _MOST_JOBS:
        raise StoreError(f"{path} has {jobs} jobs and {len(names)} files; at most {_MOST_JOBS} jobs are taken in.")


def _require_takeable(crate: Path) -> None:
    with _contents(crate) as (names, read):
        _require_few(crate, names)
        bounds = _Bounds(crate)
        for name in names:
            bounds.take(name, read(name))


@dataclass
class _Bounds:
    """What the files of one published run take together."""

    path: Path
    total_bytes: int = 0
    lines: int = 0

    def take(self, name: str, content: bytes) -> None:
        """Count a file. Raises StoreError if it, or all so far, would take too much memory and time."""
        is_record = name.startswith("runs/") and name.endswith(".json")
        limit = _JSON_BYTES if is_record else _FILE_BYTES
        if len(content) > limit:
            raise StoreError(f"{self.path}: {name} is larger than the {limit // 2**20} MiB that are taken in.")
        self.total_bytes += len(content)
        self.lines += content.count(b"\n") if name.endswith(".jsonl") else 0
        if self.total_bytes > _ALL_BYTES or self.lines > _MOST_LINES:
            raise StoreError(
                f"{self.path} is larger than the {_ALL_BYTES // 2**20} MiB, or holds more than the {_MOST_LINES:,} "
                "events and samples, that are taken in of one published run."
            )


def _signer(path: Path, draft: Home, key: Path | None) -> str:
    """Who signed the published run, in words. Raises StoreError if the owner of `key` did not."""
    signature = draft.root / SIGNATURE
    if key is None:
        return "it is signed; --key=FILE verifies by whom" if signature.exists() else "it is not signed"
    if not signature.exists():
        raise StoreError(f"{path} is not signed: it has no {SIGNATURE}.")
    verify(signature.read_bytes(), (draft.root / SUMS).read_bytes(), key, str(path))
    return f"it is signed with {key}"


def _needed(store: Store, stored: StoredRun) -> dict[str, set[int] | None]:
    """The run and those that its report needs -> the numbers of their jobs; None for all."""
    needed: dict[str, set[int] | None] = {stored.facts.run_id: None}
    for floor in noise_floors(store.comparisons_before(stored.facts)).known.values():
        needed |= dict.fromkeys(floor.run_ids)
    needed |= dict.fromkeys(run.facts.run_id for run in deciding_runs(store, stored).values())
    for check in stored.checks:
        ordinals = needed.setdefault(check.record.run_id, set())
        if ordinals is not None:
            ordinals.add(check.record.ordinal)
    return needed


def _copy_run(home: Home, run_id: str, target: Path, ordinals: set[int] | None) -> None:
    """Copy the records of a run, without paths of this machine. Raises StoreError if one does not read.

    Events stay as the worker wrote them, because their hash is part of the record.
    """
    folder = RunFolder(home.runs / run_id)
    folder.facts()
    jobs, damaged = folder.jobs()
    if damaged:
        raise StoreError(f"{damaged[0]} A run whose record is not whole is not published.")
    target.mkdir(parents=True)
    _copy(home, folder.path / RUN, target / RUN)
    run = json.loads((target / RUN).read_bytes())
    run["argv"] = [_FOLDERS.sub("", argument) for argument in run.get("argv", [])]
    run["engine"] = _FOLDERS.sub("", run["engine"])
    files.write_atomically(target / RUN, json.dumps(run))
    for ordinal, (job, _) in jobs.items():
        if ordinals is None or ordinal in ordinals:
            (target / job.path.name).mkdir()
            for name in (*_JOB_FILES, *([TELEMETRY] if ordinals is None else [])):
                if (job.path / name).exists():
                    _copy(home, job.path / name, target / job.path.name / name)
            _mask_environment(target / job.path.name / RECORD)


def _mask_environment(path: Path) -> None:
    """Take the folders out of where an installed Python lies, and of the variables that say what it searches.

    Those of a container are everybody's, and those of a virtualenv are in the home.
    """
    record = json.loads(path.read_bytes())
    environment = record["environment"]
    if environment["engine"] != "host":
        return
    environment["location"] = _FOLDERS.sub("", environment["location"])
    environment["env"] = {name: _FOLDERS.sub("", value) for name, value in environment["env"].items()}
    files.write_atomically(path, json.dumps(record, indent=1) + "\n")


def _copy(home: Home, source: Path, target: Path) -> None:
    if source.suffix == ".jsonl":
        files.copy(source, target, LIMIT_BYTES)
    else:
        text = files.read_bytes(source).decode("utf-8", "replace")
        files.write_atomically(target, without_paths(text, home, Path.home()))


def is_published(path: Path) -> bool:
    """Whether this looks like a published run: a folder with hashes, or an archive."""
    return (path / SUMS).is_file() or (path.suffix == ".zip" and path.is_file())


def rendered(crate: Home, run_id: str, report: Path, console: Console) -> StoredRun:
    """Write the report of a run, made of nothing but what is in the crate; gives the run.

    Raises FileExistsError if there is something at `report`.
    """
    with temporary_folder() as scratch:
        with Store.open(f"sqlite:///{scratch}/store.sqlite") as store:
            read = store.rebuild(crate.runs, lambda line: None)
            if read.damaged:
                raise StoreError(read.damaged[0])
            stored = write_report(store, run_id, crate, scratch).stored
        shutil.copytree(scratch / run_id, report)  # refuses a folder that is there; a move would go into it
    console.say(f"rendered {run_id} from {read.jobs} jobs of {read.runs} runs")
    return stored


def _tables(report: Path) -> list[str]:
    return sorted(path.name for path in report.glob("*.csv"))


def _is_same(mine: Path, other: Path, name: str) -> bool:
    return (other / name).is_file() and (mine / name).read_bytes() == (other / name).read_bytes()


def _pack(folder: Path, archive: Path) -> None:
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as packed:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            member = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _WHEN)
            member.compress_type = zipfile.ZIP_DEFLATED
            packed.writestr(member, path.read_bytes())


@contextmanager
def _contents(path: Path) -> Iterator[tuple[Collection[str], _Read]]:
    """The names of the files of a folder or archive, and what reads one of them."""
    if path.is_dir():
        paths = sorted(entry for entry in path.rglob("*") if not entry.is_dir() or entry.is_symlink())
        names = [entry.relative_to(path).as_posix() for entry in paths]
        yield [name for name in names if not is_debris(name)], lambda name: _read_plain(path / name)
    elif path.is_file():
        archive = ZipFiles(path, PUBLISHED._replace(file_bytes=_FILE_BYTES))
        try:
            yield archive.names, archive.read
        finally:
            archive.close()
    else:
        raise StoreError(f"{path} is not there; it takes a folder or a .zip file that `invoke publish` wrote.")


def _read_plain(path: Path) -> bytes:
    try:
        return files.read_bytes(path, _FILE_BYTES)
    except OSError as error:
        raise StoreError(f"{path} cannot be read ({error.strerror}).") from None
