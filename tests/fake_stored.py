"""Trials, checks and runs as the store gives them back, of a run that never ran."""

from orchestrator.environment import Card
from orchestrator.records.job import AuditRequest
from orchestrator.records.run_folder import Skip
from orchestrator.records.sample import CardSample, Sample
from orchestrator.records.stored import StoredAudit, StoredCheck, StoredRun, StoredTrial
from orchestrator.records.timeline import read_timeline
from orchestrator.trial import Outcome
from tests import fake_run as fake

NO_MEMORY = Outcome(status="out_of_memory", fault="subject", reason="the kernel ended it at its memory limit")


def beside(others, seconds=30):
    """Samples of a machine on which other processes used so many percent; () where nobody measured it (None)."""
    if others is None:
        return ()
    own = 100.0 - others
    each = {"cpu_percent": 100.0, "own_percent": own, "memory_bytes": 2**30}
    return tuple(Sample(unix=float(second), **each) for second in range(seconds))


def since_1970(events):
    """The events of a worker that began in 1970, so that its own clock and that of samples are the same."""
    return [event.model_copy(update={"started_unix": 0.0}) if event.kind == "hello" else event for event in events]


def timed(
    asked=None, ordinal=1, outcome=fake.OK, exit_=fake.ENDED, record=None, changes=None, extra=(), others=0.0, **said
):
    """changes: kind of event -> fields that every event of it has in place of its own. extra: more events.

    others: the share of the processors that other processes used, in percent; None where nobody measured it.
    """
    record = fake.trial_record(asked or fake.trial(), ordinal, **(record or {}))
    events = since_1970(fake.training(**said))
    events = [event.model_copy(update=(changes or {}).get(event.kind, {})) for event in events]
    return StoredTrial(record, outcome, exit_, read_timeline([*events, *extra]), beside(others))


def answered(
    framework,
    variant="1",
    ordinal=1,
    repeat=0,
    outcome=fake.OK,
    scenario="single-stream",
    batch=1,
    others=0.0,
    **said,
):
    """A trial that ran a trained network. said: see fake_run.answering; model, input_size: its network."""
    network = {name: said.pop(name) for name in ("model", "input_size") if name in said}
    inference = fake.inference(scenario, batch)
    asked = fake.trial(framework, variant, kind="infer", repeat=repeat, inference=inference, **network)
    record = fake.trial_record(asked, ordinal)
    long_enough = {"wall_seconds": 5.0}  # to tell whether others worked beside it
    timeline = read_timeline(since_1970(fake.answering(**{**long_enough, **said})))
    return StoredTrial(record, outcome, fake.ENDED, timeline, beside(others))


def checked(passed=True, outcome=fake.OK, figures=None, **record):
    said = fake.checking(passed, **(figures or {}))
    return StoredCheck(fake.check_record(**record), outcome, fake.ENDED, read_timeline(said))


def watched(ordinal=1, name="NVIDIA H200", busy=97, throttled=(), subject=("pytorch", "2.13")):
    """A trial on a card, with a sample a second over its eleven; it trains from second 3.

    One that began in 1970, so that its own clock and the samples' are the same.
    """
    asked = fake.trial(*subject, device="gpu")
    card = Card(index=0, name=name, memory_bytes=2**37, capability="9.0", driver="580.1")
    record = fake.trial_record(asked, ordinal, environment=fake.environment(*subject, device="gpu").on(card))
    said = since_1970(fake.training(step_seconds=0.03, steps=30))
    samples = tuple(
        Sample(
            unix=second / 2,
            cpu_percent=55.0,
            steal_percent=0.0,
            memory_bytes=3 * 2**30,
            cpu_joules=40.0 * second,
            card=CardSample(
                busy_percent=busy,
                memory_bytes=2**31,
                clock_mhz=1980,
                watts=300.0,
                celsius=51,
                throttled=throttled,
                joules=150.0 * second,
            ),
        )
        for second in range(2 * len(said))
    )
    return StoredTrial(record, fake.OK, fake.ENDED, read_timeline(said), samples)


def skip(framework="mxnet", cell=None, reason="no row for it"):
    return Skip(framework=framework, variant="1.5", cell=cell or fake.trial().cell, reason=reason)


def run(*trials, checks=(), **facts):
    return StoredRun(fake.run_facts(**facts), tuple(trials), tuple(checks))


def audited(trial, passed=True, **figures):
    """The audit of a trial, as the oracle left it."""
    sha256 = trial.exit.events_sha256
    request = AuditRequest(ordinal=trial.record.ordinal, trial=trial.trial, events_sha256=sha256)
    record = fake.trial_record(trial.trial, 70).model_copy(update={"trial": None, "audit": request})
    return StoredAudit(record, fake.OK, fake.ENDED, read_timeline(fake.checking(passed, **figures)))


def kept(ordinal=1, **said):
    """A trial that kept two steps for its audit."""
    extra = fake.events(("audited", {"steps": [[0, 3], [1, 4]], "seconds": 0.1}))
    return timed(ordinal=ordinal, extra=extra, **said)
