"""What a reader must hold against a run's numbers, one sentence each; an empty list is a strong statement."""

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

from orchestrator.analysis import stats
from orchestrator.host import BUSY, STEAL_PERCENT
from orchestrator.records.stored import StoredRun
from orchestrator.report.tables import Row

THROTTLED_SHARE = 0.05
"""Of the samples of a trial's card, above which a clock that was held down is felt in times."""

PICTURES = {
    "sample": "a slice of GTSRB with a split of its own, so accuracies are not those of the official test set",
    "synthetic": "signs drawn by waymark, so accuracies say nothing of real road signs",
    "unknown": "archives whose checksums are not those of GTSRB, so nobody can tell what the accuracies are of",
}


def doubts(stored: StoredRun, rows: Sequence[Row]) -> list[str]:
    """Every doubt that the run itself gives rise to. rows: its summary rows."""
    of_rows = [*_of_ends(rows), *_of_proof(stored, rows), *_of_numbers(rows), *_of_cards(stored, rows)]
    return [*of_rows, *_of_pictures(stored), *_of_host(stored)]


def _of_ends(rows: Sequence[Row]) -> Iterator[str]:
    skipped = sum(row["status"] == "skipped" for row in rows)
    if skipped:
        yield f"{_many(skipped, 'cell')} of the plan did not run here; each is in the table with its reason."
    failed = sum(row["trials"] - row["ok"] for row in rows)
    if failed:
        yield f"{_many(failed, 'trial')} did not end ok; medians are over those that did."


def _of_proof(stored: StoredRun, rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row["check"] in ("failed", "missing"):
            what = "failed its selfcheck" if row["check"] == "failed" else "has no selfcheck on record"
            yield f"{_name(row)} {what}: nothing proves that it computes what the others compute."
    unverified = sum(trial.record.is_unverified for trial in stored.trials)
    if unverified:
        yield f"{_many(unverified, 'trial')} ran with --unverified."


def _of_numbers(rows: Sequence[Row]) -> Iterator[str]:
    timed = [row for row in rows if row["ok"]]
    wide = [row for row in timed if row["spread"] is not None and row["spread"] > stats.SPREAD_DOUBT]
    if wide:
        widest = max(wide, key=lambda row: float(row["spread"]))
        yield (
            f"In {_many(len(wide), 'row')} of {len(timed)} the repeats lie over {_percent(stats.SPREAD_DOUBT)} apart, "
            f"most in {_name(widest)} ({_percent(widest['spread'])}); smaller differences between rows mean nothing."
        )
    few = [row["ok"] for row in timed if row["ok"] < stats.ENOUGH_REPEATS]
    if few:
        yield (
            f"{_many(len(few), 'row')} of {len(timed)} have fewer than {stats.ENOUGH_REPEATS} repeats that ended ok "
            f"(the fewest: {min(few)}), so no difference in speed is claimed to be more than chance."
        )
    for row in timed:
        if row["step_ms"] is None:
            yield f"{_name(row)} reached no steady state: all of its steps fell into the warm-up."


def _of_cards(stored: StoredRun, rows: Sequence[Row]) -> Iterator[str]:
    for row in rows:
        if row["device"] == "gpu" and row["card_percent"] == 0:
            yield f"{_name(row)}: its card was idle while it trained; it may have computed elsewhere."
        held = {reason: share for reason, share in row["card_throttled"].items() if share > THROTTLED_SHARE}
        if held:
            reasons = ", ".join(f"{reason} {_percent(share)}" for reason, share in held.items())
            yield f"{_name(row)}: the clock of its card was held down in part of the samples: {reasons}."
    for device, cell in dict.fromkeys((row["device"], row["cell"]) for row in rows):
        cards = {
            one.environment.card.name
            for one in stored.trials
            if (one.trial.device, one.trial.cell) == (device, cell) and one.environment.card
        }
        if len(cards) > 1:
            yield f"{cell} {device}: its trials ran on different cards ({', '.join(sorted(cards))})."


def _of_pictures(stored: StoredRun) -> Iterator[str]:
    kinds = Counter(trial.data.recognised for trial in stored.trials if trial.data)
    for kind, note in PICTURES.items():
        if kind in kinds:
            yield f"The pictures are {note}."
    unread = sum(job.timeline.unread for job in (*stored.trials, *stored.checks))
    if unread:
        yield f"{_many(unread, 'event')} could not be read and left gaps."


def _of_host(stored: StoredRun) -> Iterator[str]:
    host = stored.facts.host
    load, cores = _number(host, "load", "load_1min"), _number(host, "logical_cores")
    if load is not None and cores and load > BUSY * cores:
        yield f"The machine was busy when the sweep began: load {load:.1f} on {cores:.0f} processors."
    steal = _number(host, "load", "steal_percent")
    if steal is not None and steal > STEAL_PERCENT:
        yield f"The machine is shared: {steal:.0f} % of its processors' time went to others."
    elif host.get("is_virtual") is True:
        yield "The machine is virtual: neighbours that it cannot see may have slowed it."
    throttled = [_number(host, when, "throttle_count") for when in ("load", "load_after")]
    if throttled[0] is not None and throttled[1] is not None and throttled[1] > throttled[0]:
        yield f"Cores were slowed {throttled[1] - throttled[0]:.0f} times during the run because they were hot."
    governor = host.get("governor")
    if isinstance(governor, str) and governor != "performance":
        yield f"The processors' clock was left to the governor '{governor}'."


def _number(value: Any, *path: str) -> float | None:
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) else None


def _name(row: Row) -> str:
    return f"{row['subject']} {row['cell']} {row['device']}"


def _percent(share: float) -> str:
    return f"{share * 100:.0f} %"


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
