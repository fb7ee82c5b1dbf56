"""Caveats of a run, one sentence each."""

from collections.abc import Callable, Iterator, Sequence

from orchestrator.analysis import stats
from orchestrator.analysis.convergence import unlike
from orchestrator.analysis.steady import stall, trend
from orchestrator.analysis.utilisation import FOREIGN_CAVEAT_PERCENT, foreign_percent
from orchestrator.data import datasets
from orchestrator.host import STEAL_PERCENT, load_warnings
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.report.tables import SummaryRow
from orchestrator.report.text import listed
from orchestrator.trial import ORACLE, Cell

_THREADS = ("threads", "omp_threads", "openmp_threads")
"""Where an adapter's description says how many threads are in force, in this order."""

CHANCE_MARGIN = 0.02
"""So much more than the share of the largest class is still chance."""

THROTTLED_SHARE = 0.05
"""If the card's clock was reduced in a larger share of a trial's samples, it is a caveat."""

PICTURES = {
    "sample": "a sample of {title} with a split of its own, so accuracies are not those of the official test set",
    "synthetic": "drawn by waymark, so accuracies say nothing about real pictures",
    "unknown": "from archives whose checksums are not those of {title}, so it is unknown what the accuracies refer to",
}


def caveats(stored: StoredRun, rows: Sequence[SummaryRow]) -> list[str]:
    """The caveats that the run's own data give reason for, the decisive ones first. rows: its summary rows.

    What decides whether numbers may stand beside each other is the load beside them, the threads, and the proof.
    """
    decisive = [*_of_load(stored, rows), *_of_threads(stored), *_of_stalls(stored), *_of_busy_host(stored)]
    of_rows = [*_of_ends(rows), *_of_proof(stored, rows), *_of_numbers(rows), *_of_cards(stored, rows)]
    of_rows += [*_of_nothing_learnt(stored), *_of_seeds(stored), *_of_learning(stored), *_of_trends(stored)]
    return [*decisive, *of_rows, *_of_pictures(stored), *_of_host(stored)]


def _of_ends(rows: Sequence[SummaryRow]) -> Iterator[str]:
    skipped = sum(row.status == "skipped" for row in rows)
    if skipped:
        yield f"{_many(skipped, 'cell')} of the plan did not run here; each is in the table with its reason."
    failed = sum(row.trials - row.ok for row in rows)
    if failed:
        yield f"{_many(failed, 'trial')} did not end ok; medians are over those that did."


def _of_proof(stored: StoredRun, rows: Sequence[SummaryRow]) -> Iterator[str]:
    kinds: tuple[tuple[str, Callable[[SummaryRow], bool]], ...] = (
        ("The selfcheck failed, so these compute something else than the others", lambda row: row.check == "failed"),
        ("There is no selfcheck on record, so these may compute something else", lambda row: row.check == "missing"),
        (
            "Steps are not what the oracle computes, so trials are unverified",
            lambda row: row.audit == "failed",
        ),
        ("The oracle has not repeated the audited steps yet", lambda row: row.audit == "missing"),
    )
    for what, is_so in kinds:
        yield from _about(what, [row.name for row in rows if is_so(row)])
    unverified = sum(trial.record.is_unverified for trial in stored.trials)
    if unverified:
        yield f"{_many(unverified, 'trial')} ran with --unverified."


def _of_numbers(rows: Sequence[SummaryRow]) -> Iterator[str]:
    timed = [row for row in rows if row.ok]
    wide = [row for row in timed if row.spread is not None and row.spread > stats.SPREAD_CAVEAT]
    if wide:
        widest = max(wide, key=lambda row: row.spread or 0.0)
        yield (
            f"In {_many(len(wide), 'row')} of {len(timed)} the repeats lie over {_percent(stats.SPREAD_CAVEAT)} apart, "
            f"most in {widest.name} ({_percent(widest.spread or 0.0)}); smaller differences between rows may be noise."
        )
    few = [row.ok for row in timed if row.ok < stats.ENOUGH_REPEATS]
    if few:
        yield (
            f"{_many(len(few), 'row')} of {len(timed)} have fewer than {stats.ENOUGH_REPEATS} repeats that ended ok "
            f"(the fewest: {min(few)}), too few to show a difference in speed."
        )
    unsteady = [row.name for row in timed if row.medians.step_ms is None]
    yield from _about("No steady state was reached, as all steps were warm-up", unsteady)


def _of_seeds(stored: StoredRun) -> Iterator[str]:
    """Rows whose accuracy is that of one seed, so that nothing tells how far another seed is from it."""
    seeds: dict[tuple[Cell, str], set[int]] = {}
    for job in _ok(stored):
        if job.timeline.epochs and job.timeline.accuracy("test") is not None:
            seeds.setdefault((job.trial.cell, job.trial.subject), set()).add(job.trial.seed)
    single = sum(len(numbers) == 1 for numbers in seeds.values())
    if single:
        yield (
            f"{_many(single, 'accuracy', 'accuracies')} of {len(seeds)} rest on one seed; another one may give points "
            "more or less."
        )


def _of_nothing_learnt(stored: StoredRun) -> Iterator[str]:
    """All test accuracies are one value, no better than always naming the most frequent class."""
    known = [(job.timeline.accuracy("test"), job.data.largest_class_share) for job in _ok(stored) if job.data]
    told = [(accuracy, share) for accuracy, share in known if accuracy is not None]
    if len(told) < 2 or len({accuracy for accuracy, _ in told}) > 1 or None in {share for _, share in told}:
        return
    accuracy, share = told[0]
    if share is not None and accuracy <= share * (1 + CHANCE_MARGIN):
        yield (
            f"Nothing was learnt: all {len(told)} trials have a test accuracy of {accuracy * 100:.1f} %, that of "
            "always naming the most frequent class. Their accuracies say nothing; train for more epochs."
        )


def _of_learning(stored: StoredRun) -> Iterator[str]:
    cells: dict[Cell, list[StoredTrial]] = {}
    for trial in (job for job in _ok(stored) if job.timeline.epochs):
        cells.setdefault(trial.trial.cell, []).append(trial)
    for cell, trials in cells.items():
        for outlier in unlike(trials):
            yield (
                f"{cell.title}: {outlier.subject} learns {outlier.word} than the others: its mean training loss is "
                f"{outlier.loss:.3g}, theirs {outlier.others:.3g} (p = {outlier.p:.2g}, "
                f"{outlier.seeds} seeds); it may not compute the same."
            )


def _of_trends(stored: StoredRun) -> Iterator[str]:
    ok = _ok(stored)
    trends = [(seen, job) for job in ok if (seen := trend(job.timeline.steady_steps)) and not seen.is_steady]
    if trends:
        most, job = max(trends, key=lambda pair: abs(pair[0].change))
        yield (
            f"{_many(len(trends), 'trial')} of {len(ok)} reached no steady state, least {job.trial.label}: its steps "
            f"became {_percent(abs(most.change))} {'slower' if most.change > 0 else 'faster'} after the warm-up."
        )


def _of_stalls(stored: StoredRun) -> Iterator[str]:
    """Trials in which one step took many times the others: a median hides it, the time of an epoch does not."""
    stalls = [(seen, job) for job in _ok(stored) if (seen := stall(job.timeline.spans_seconds))]
    if not stalls:
        return
    most, job = max(stalls, key=lambda pair: pair[0].share)
    what = "query" if job.timeline.queries else "block of steps" if job.trial.measure.sync == "block" else "step"
    more = f"; {_many(len(stalls) - 1, 'other trial')} had such a pause, too" if len(stalls) > 1 else ""
    yield (
        f"{job.trial.label}: one {what} took {most.seconds:.3g} s, {most.times:.0f} times the median: the worker was "
        f"stopped for a while, or the machine was; {_percent(most.share)} of the time timed is that pause{more}."
    )


def _waits_in_blocks(job: StoredTrial) -> bool:
    built, trial = job.timeline.built, job.trial
    waits = built is not None and built.describe.get("waits_each_step") is True
    return waits and trial.device == "gpu" and trial.measure.sync == "block"


def _ok(stored: StoredRun) -> list[StoredTrial]:
    return [trial for trial in stored.trials if trial.outcome.status == "ok"]


def _of_load(stored: StoredRun, rows: Sequence[SummaryRow]) -> Iterator[str]:
    timed = [job for job in stored.trials if job.outcome.status in ("ok", "disturbed")]
    shares = {trial.trial.label: foreign_percent(trial.samples, trial.timeline) or 0.0 for trial in timed}
    most_first = sorted(shares.items(), key=lambda item: -item[1])
    busy = [f"{label} ({share:.0f} %)" for label, share in most_first if share > FOREIGN_CAVEAT_PERCENT]
    yield from _about("Other processes used the processors of these trials, for a share of the time", busy)
    unknown = [row.name for row in rows if row.load == "unknown"]
    yield from _about(
        "Whether other processes worked beside these is not known (their trials are too short together, or nothing "
        "measured it), so they stand in no order",
        unknown,
    )
    counts = {job.trial.label: job.timeline.done.throttled_periods for job in _ok(stored) if job.timeline.done}
    stopped = [f"{label} ({count} times)" for label, count in counts.items() if count]
    yield from _about("The CPU quota of a cgroup stopped trials while they trained", stopped)


def _of_threads(stored: StoredRun) -> Iterator[str]:
    """Rows of one cell that start other numbers of threads; the oracle, which is not compared, is left out."""
    cells: dict[Cell, dict[str, str]] = {}
    for job in stored.trials:
        built = job.timeline.built
        threads = next((built.describe[name] for name in _THREADS if built.describe.get(name)), None) if built else None
        if threads is not None and job.trial.framework != ORACLE:
            cells.setdefault(job.trial.cell, {})[job.trial.subject] = str(threads)
    for cell, sizes in cells.items():
        if len(set(sizes.values())) > 1:
            said = ", ".join(f"{subject} {threads}" for subject, threads in sorted(sizes.items()))
            yield f"{cell.title}: the builds compared have different numbers of threads in force: {said}."


def _of_cards(stored: StoredRun, rows: Sequence[SummaryRow]) -> Iterator[str]:
    for row in rows:
        if row.cell.device == "gpu" and row.utilisation.card_percent == 0:
            yield f"{row.name}: its card was idle while it trained; it may have computed elsewhere."
        held = {reason: share for reason, share in row.throttled.items() if share > THROTTLED_SHARE}
        if held:
            reasons = ", ".join(f"{reason} {_percent(share)}" for reason, share in held.items())
            yield f"{row.name}: the clock of its card was reduced in part of the samples: {reasons}."
    for subject in sorted({job.trial.subject for job in _ok(stored) if _waits_in_blocks(job)}):
        yield f"{subject} reads the loss of each step before the next, so its blocks on a card are no throughput."
    for cell in dict.fromkeys(row.cell for row in rows):
        cards = {job.environment.card.name for job in stored.trials if job.trial.cell == cell and job.environment.card}
        if len(cards) > 1:
            yield f"{cell.title}: its trials ran on different cards ({', '.join(sorted(cards))})."


def _of_pictures(stored: StoredRun) -> Iterator[str]:
    seen = dict.fromkeys((trial.trial.dataset.name, trial.data.recognised) for trial in stored.trials if trial.data)
    for name, recognised in seen:
        if recognised in PICTURES:
            yield f"The pictures are {PICTURES[recognised].format(title=datasets.title(name))}."
    unread = sum(job.timeline.unread for job in (*stored.trials, *stored.checks))
    if unread:
        yield f"{_many(unread, 'event')} could not be read, so data is missing."
    codes = {trial.record.worker_sha256 for trial in stored.trials}
    if len(codes) > 1:
        yield f"The trials ran with {len(codes)} versions of waymark's worker code: it was resumed after an upgrade."


def _of_busy_host(stored: StoredRun) -> Iterator[str]:
    host = stored.facts.host
    if host.load is not None:
        yield from load_warnings(host, host.load, " when the run began")


def _of_host(stored: StoredRun) -> Iterator[str]:
    host, after = stored.facts.host, stored.facts.host.load_after
    if host.is_virtual and (host.load is None or host.load.steal_percent <= STEAL_PERCENT):
        yield "The machine is virtual: other guests of its host may have slowed it."
    before, ended = (load.throttle_count if load else None for load in (host.load, after))
    if before is not None and ended is not None and ended > before:
        yield f"Cores were slowed {ended - before} times during the run because they were hot."


def _about(what: str, names: Sequence[str]) -> Iterator[str]:
    """A sentence about all of these, if there is any."""
    if names:
        yield f"{what}: {listed(names)}."


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _many(count: int, noun: str, several: str = "") -> str:
    return f"{count} {noun if count == 1 else several or noun + 's'}"
