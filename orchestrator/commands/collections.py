"""`invoke report --run=A,B` and `invoke index`: several runs on one page, of this home or published ones."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator import files
from orchestrator.cluster import SubmissionFolder, read_submission
from orchestrator.commands.publication import is_published, move_to, rendered, require_new, unpacked
from orchestrator.console.progress import Console
from orchestrator.environment import digest
from orchestrator.errors import SpecError, StoreError
from orchestrator.home import Home
from orchestrator.records.run_folder import Shard
from orchestrator.records.store import Store
from orchestrator.report import nodes, write_report
from orchestrator.report.collection import Entry, write_collection
from orchestrator.scratch import folder_beside


def join_runs(run_ids: Sequence[str], home: Home, reports: Path, console: Console) -> Path:
    """One page of several runs, beside their reports, which are written too. Raises StoreError for an unknown run."""
    entries = _reported(run_ids, home, reports, console)
    folder = reports / f"joined-{digest(list(run_ids))[:12]}"
    return write_collection(entries, folder, f"{len(entries)} runs", home)


@dataclass(frozen=True)
class Joined:
    """The page of a sweep that ran in shards. is_whole: every shard has a run that ended."""

    page: Path
    is_whole: bool


def join_shards(run_ids: Sequence[str], home: Home, reports: Path, console: Console) -> Joined:
    """One page of the shards of one plan, each counted once: the run that ended first; all keep their own pages.

    Raises StoreError for an unknown run, SpecError for one that is no shard, or of another plan.
    """
    if not run_ids:
        raise SpecError("`invoke join` names no run; give the runs of the shards, for example: invoke join RUN,RUN")
    entries = _stored(list(dict.fromkeys(run_ids)), home, reports)
    shards = _shards_of(entries)
    counted = [min(same, key=_when_ended) for _, same in sorted(shards.items())]
    count, places = _shard(counted[0]).count, sorted({machine for machine, _ in shards})
    missing = [
        _shard(counted[0]).model_copy(update={"machine": machine, "number": number})
        for machine in places
        for number in range(1, count + 1)
        if (machine, number) not in shards
    ]
    notes = [*_shard_notes(shards, counted, missing), *_node_notes(counted, home, console)]
    for note in notes:
        console.say(f"note: {note}")
    folder = reports / f"joined-{digest(list(run_ids))[:12]}"
    title = f"{counted[0].facts.spec['name']}: {len(counted)} of {count * len(places)} shards"
    page = write_collection(counted, folder, title, home, notes)
    return Joined(page, is_whole=not missing and all(entry.facts.state == "ended" for entry in counted))


def runs_of(names: Sequence[str], home: Home, console: Console) -> list[str]:
    """The runs that these name: runs, or submissions, whose runs are taken into this machine's store."""
    runs = []
    for name in names:
        if (home.submissions / name).is_dir():
            runs += taken_in(read_submission(name, home), console)
        else:
            runs.append(name)
    return runs


def taken_in(folder: SubmissionFolder, console: Console) -> list[str]:
    """The runs of a submission, each taken into this machine's store from its folder. Raises SpecError for none."""
    shards = folder.shards(folder.read().count)
    run_ids = [run.run_id for shard in shards for run in shard.runs]
    if not run_ids:
        raise SpecError(
            f"no shard of {folder.submission} has begun a run; `invoke jobs --submission={folder.submission}` says why."
        )
    with Store.open(folder.home.store_url) as store:
        for run_id in run_ids:
            for sentence in store.ingest(folder.home.runs / run_id).damaged:
                console.say(f"note: {sentence}")
    return run_ids


def _stored(run_ids: Sequence[str], home: Home, reports: Path) -> list[Entry]:
    """The runs, with links to those of their reports that are there: each node has written its own.

    Raises StoreError for an unknown run.
    """
    links = {run_id: f"../{run_id}/index.html" for run_id in run_ids if (reports / run_id / "index.html").is_file()}
    with Store.open(home.store_url) as store:
        return [Entry.of(store.run(run_id), links.get(run_id, "")) for run_id in run_ids]


def _reported(run_ids: Sequence[str], home: Home, reports: Path, console: Console) -> list[Entry]:
    """The runs, with their reports, which are written. Raises StoreError for an unknown run."""
    entries = []
    with Store.open(home.store_url) as store:
        for run_id in run_ids:
            report = write_report(store, run_id, home, reports)
            console.say(f"report: {report.page}")
            entries.append(Entry.of(report.stored, f"../{run_id}/index.html"))
    return entries


def _shard(entry: Entry) -> Shard:
    facts = entry.facts
    if facts.shard is None:
        raise SpecError(
            f"run {facts.run_id} is no shard of a sweep; `invoke report --run=A,B` shows any runs together."
        )
    return facts.shard


_Place = tuple[str, int]
"""The machine that a shard was sent to, '' for any, and its number."""


def _shards_of(entries: Sequence[Entry]) -> dict[_Place, list[Entry]]:
    """Place -> the runs of that shard. Raises SpecError if they are not all of one plan."""
    first, shards = _shard(entries[0]), dict[_Place, list[Entry]]()
    for entry in entries:
        shard = _shard(entry)
        if (shard.spec_sha256, shard.count) != (first.spec_sha256, first.count):
            runs = [f"run {one.facts.run_id} ({_shard(one).label})" for one in (entry, entries[0])]
            raise SpecError(
                f"{' and '.join(runs)} are not of one plan: the spec, its flags or the number of shards differ."
            )
        shards.setdefault((shard.machine, shard.number), []).append(entry)
    return shards


def _when_ended(entry: Entry) -> tuple[bool, float]:
    """A key: those that ended come first, in their order; then the others."""
    return entry.facts.state != "ended", entry.ended_unix


def _shard_notes(
    shards: Mapping[_Place, Sequence[Entry]], counted: Sequence[Entry], missing: Sequence[Shard]
) -> Iterator[str]:
    for shard in missing:
        yield f"no run of {shard.label} was named; it is missing here."
    for entry in counted:
        facts, shard = entry.facts, _shard(entry)
        same = shards[shard.machine, shard.number]
        others = [run.facts.run_id for run in same if run is not entry]
        has_ended = facts.state == "ended"
        if others:
            times, first = f"{shard.label} was run {len(others) + 1} times", "ended first and is" if has_ended else "is"
            yield f"{times}; {facts.run_id} {first} counted, not {', '.join(others)}."
        if not has_ended:
            command = f"`invoke sweep --resume={facts.run_id}`"
            yield f"{shard.label}, run {facts.run_id}, has not ended: {command} on its machine."


def _node_notes(counted: Sequence[Entry], home: Home, console: Console) -> Iterator[str]:
    """How far the machines of the shards differ, by their controls; first those of one kind."""
    hosts = {entry.facts.host.key: entry.facts.host for entry in counted}
    if len(hosts) < 2:
        return
    sent = {name: None for entry in counted if (name := _shard(entry).submission)}
    found = [run for name in sent for run in read_submission(name, home).controls()]
    with Store.open(home.store_url) as store:
        for run in found:
            store.ingest(home.runs / run.run_id)
        controls = [store.run(run.run_id) for run in found]
    yield from nodes.compared([run for run in controls if run.facts.host.key in hosts], list(hosts.values()))


def write_index(published: Path, to: Path, home: Home, console: Console) -> Path:
    """A site of all published runs in a folder: their pages, made anew from their records, and one that lists all.

    Raises SpecError if `to` exists or `published` holds no published run, StoreError for one that does not verify;
    nothing is left behind then.
    """
    require_new(to, "a new folder")
    paths = sorted(path for path in published.glob("*") if is_published(path))
    if not paths:
        raise SpecError(f"--published is {published}, which holds no folder or .zip file that `invoke publish` wrote.")
    with folder_beside(to, home) as scratch:
        site = scratch / "site"
        site.mkdir()
        entries = []
        for number, path in enumerate(paths):
            draft = Home(scratch / f"draft-{number}")
            run_id = unpacked(path, draft)
            if (site / run_id).exists():
                raise StoreError(f"{path} is run {run_id}, which another file of {published} is, too. Remove one.")
            stored = rendered(draft, run_id, site / run_id, console)
            entries.append(Entry.of(stored, f"{run_id}/index.html"))
            files.remove(draft.root)
        write_collection(entries, site, f"{len(entries)} published run{'s' if len(entries) > 1 else ''}")
        move_to(site, to)
    return to / "index.html"
