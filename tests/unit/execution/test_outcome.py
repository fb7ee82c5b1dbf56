"""`decide`: what events and an exit amount to. Every status a job can have is reached here."""

import pytest

from orchestrator.execution.outcome import decide, judge_load
from orchestrator.records.event import Event
from orchestrator.records.job import trial_job
from orchestrator.records.sample import Sample
from orchestrator.trial import Exit, Measure
from tests import fake_run as fake
from tests.networks import network_of
from workers import protocol

TRIAL = fake.trial("numpy_ref", "1.0", model=fake.IDSIA, input_size=48)
JOB = trial_job(TRIAL, fake.environment("numpy_ref", "1.0"), network=network_of("idsia", 48))
_EPOCH = {"kind": "epoch", "step_seconds": [0.1], "loss": [3.0], "input_seconds": [0.0], "epoch_seconds": 0.1}
HELLO = {"kind": "hello", "python": "3.11.9", "framework": "numpy_ref", "version": "1.0", "import_seconds": 0.1}
BUILT = {"kind": "built", "weights": 1510863, "multiply_adds": 1, "build_seconds": 0.1, "data_seconds": 0.1}
STORY = [
    HELLO,
    BUILT,
    {"kind": "training"},
    {**_EPOCH, "epoch": 0},
    {**_EPOCH, "epoch": 1},
    {"kind": "score", **fake.score("test", 1, 0.9)},
    {"kind": "done", "total_seconds": 1.0},
]


def events(story=STORY):
    return [Event(v=1, seq=seq, t=float(seq), **fields) for seq, fields in enumerate(story)]


def exit_(**fields):
    return Exit(**{"code": 0, "launched_unix": 0.0, "wall_seconds": 9.0, **fields})


def fingerprinted(count):
    return events([*STORY[:-1], *[{"kind": "fingerprint", "epoch": 0}] * count, STORY[-1]])


@pytest.mark.parametrize(("count", "status"), [(3, "ok"), (2, "no_protocol")])
def test_promised_fingerprints_are_one_per_epoch_and_the_test(count, status):
    trial = TRIAL.model_copy(update={"measure": Measure(fingerprint="epoch")})
    job = trial_job(trial, fake.environment("numpy_ref", "1.0"), network=network_of("idsia", 48))
    assert decide(job, fingerprinted(count), exit_()).status == status


@pytest.mark.parametrize(
    ("drain_seconds", "status"), [(0.0, "ok"), (0.019, "ok"), (0.03, "undrained"), (110.9, "undrained")]
)
def test_a_device_that_works_on_after_the_clock_has_no_speed(drain_seconds, status):
    story = [{**event, "drain_seconds": drain_seconds} if event["kind"] == "epoch" else event for event in STORY]
    story = [
        {**event, "drain_seconds": 0.0} if event.get("epoch") == 1 and "loss" in event else event for event in story
    ]
    outcome = decide(JOB, events(story), exit_())
    assert outcome.status == status
    assert status == "ok" or "steps were only queued" in outcome.reason


def failing(code, reason="because"):
    return events([{"kind": "hello"}, {"kind": "fail", "code": code, "reason": reason}])


def without(at):
    return events(STORY[:at] + STORY[at + 1 :])


@pytest.mark.parametrize(
    ("happened", "ended", "status", "fault"),
    [
        (events(), exit_(), "ok", "none"),
        (events(), None, "lost", "unknown"),
        (events(STORY[:4]), exit_(code=None, signal=9, full_at_bytes=2**29), "out_of_memory", "environment"),
        (events(), exit_(code=1), "crashed", "unknown"),
        (events(STORY[:4]), exit_(code=None, signal=11), "crashed", "subject"),
        (events(STORY[:4]), exit_(code=139), "crashed", "subject"),
        (events(STORY[:4]), exit_(code=None, signal=9), "crashed", "unknown"),
        (events(STORY[:4]), exit_(code=None, signal=9, is_out_of_memory=True), "out_of_memory", "subject"),
        (events(STORY[:4]), exit_(code=None, signal=9, is_timeout=True), "timeout", "subject"),
        (events(STORY[:4]), exit_(code=None, signal=15, is_cancelled=True), "cancelled", "none"),
        (events(STORY[:4]), exit_(), "crashed", "unknown"),
        ([], exit_(code=1, log_tail="python: no such file"), "no_protocol", "environment"),
        (failing(protocol.BAD_JOB), exit_(code=64), "crashed", "environment"),
        (failing(protocol.NO_FRAMEWORK), exit_(code=65), "crashed", "environment"),
        (failing(protocol.UNSUPPORTED), exit_(code=66), "unsupported", "subject"),
        (failing(protocol.NOT_FINITE), exit_(code=67), "diverged", "subject"),
        (failing(protocol.NOT_AS_DECLARED), exit_(code=68), "misconfigured", "environment"),
        (failing(protocol.BUG), exit_(code=70), "crashed", "unknown"),
        (without(4), exit_(), "no_protocol", "environment"),
        (without(5), exit_(), "no_protocol", "environment"),
        (events(STORY)[:3] + events(STORY)[4:], exit_(), "no_protocol", "environment"),
    ],
)
def test_ending_has_its_status_and_fault(happened, ended, status, fault):
    outcome = decide(JOB, happened, ended)
    assert (outcome.status, outcome.fault) == (status, fault)


CUDA_SAID = [
    "RuntimeError: CUDA error: no kernel image is available for execution on the device",
    "InternalError: could not launch: CUDA_ERROR_NO_BINARY_FOR_GPU: no kernel image is available",
    "MXNetError: Check failed: e == cudaSuccess: invalid device function",
]


@pytest.mark.parametrize("said", CUDA_SAID)
@pytest.mark.parametrize("kind", ["train", "selfcheck", "probe"])
def test_a_build_without_code_for_the_card_is_unsupported(said, kind):
    job = JOB.model_copy(update={"device": "gpu", "kind": kind})
    told = decide(job, failing(protocol.BUG, said), exit_(code=70))
    died = decide(job, events(STORY[:2]), exit_(code=None, signal=6, log_tail=f"terminate called\n{said}\naborted"))
    assert (told.status, told.fault, died) == ("unsupported", "subject", told)
    assert told.reason == f"built without code for this card: {said}"


def test_the_same_words_mean_nothing_for_a_cpu_trial():
    assert decide(JOB, failing(protocol.BUG, CUDA_SAID[0]), exit_(code=70)).status == "crashed"


def test_a_trial_that_ended_well_may_have_logged_anything():
    job = JOB.model_copy(update={"device": "gpu"})
    assert decide(job, events(), exit_(log_tail=CUDA_SAID[0])).status == "ok"


def test_a_probe_that_took_its_step_is_ok():
    probe = JOB.model_copy(update={"kind": "probe"})
    assert decide(probe, events(STORY[:2] + STORY[-1:]), exit_()).status == "ok"


def test_another_network_than_the_one_asked_for_is_not_ok():
    story = [*STORY[:1], {**BUILT, "weights": 7}, *STORY[2:]]
    assert decide(JOB, events(story), exit_()).reason == "it built 7 weights; IDSIA@48 has 1510863"


def test_a_selfcheck_without_its_figures_is_not_ok():
    check = JOB.model_copy(update={"kind": "selfcheck"})
    assert decide(check, events([HELLO, STORY[-1]]), exit_()).status == "no_protocol"


@pytest.mark.parametrize("at", [0, 1, 3, 5, 6])
def test_an_event_that_does_not_match_the_protocol_is_not_ok(at):
    story = [*STORY[:at], {"kind": STORY[at]["kind"], "epoch": "x"}, *STORY[at + 1 :]]
    assert "do not match the protocol" in decide(JOB, events(story), exit_()).reason


def loaded(cpu_percent, own_percent, seconds=20):
    """Samples of a trial whose epochs last for `seconds`, and its events."""
    training = events([{**HELLO, "started_unix": 100.0}, *STORY[1:3], {**_EPOCH, "epoch": 0, "epoch_seconds": seconds}])
    said = [one.model_copy(update={"t": seconds + 3.0}) if one.kind == "epoch" else one for one in training]
    shares = {"cpu_percent": cpu_percent, "own_percent": own_percent, "memory_bytes": 1}
    return said, [Sample(unix=103.0 + at, **shares) for at in range(seconds + 1)]


@pytest.mark.parametrize(
    ("cpu_percent", "own_percent", "status"),
    [(99.0, 98.5, "ok"), (60.0, 55.0, "ok"), (99.0, 80.0, "disturbed"), (30.0, 40.0, "ok"), (99.0, None, "ok")],
)
def test_a_trial_beside_other_work_is_disturbed(cpu_percent, own_percent, status):
    assert judge_load(*loaded(cpu_percent, own_percent), limit_percent=10).status == status


def test_a_disturbed_trial_says_by_how_much():
    outcome = judge_load(*loaded(99.0, 49.0), limit_percent=10)
    assert outcome.fault == "environment"
    assert outcome.reason == (
        "other processes used 50 % of its processors' time while it trained; limits.foreign_percent is 10"
    )


def test_two_seconds_are_too_few_to_tell_of_other_work():
    assert judge_load(*loaded(99.0, 1.0, seconds=2), limit_percent=10).status == "ok"


def test_every_status_that_is_not_ok_has_a_reason():
    assert decide(JOB, [], exit_(code=1, log_tail="line 1\nline 2")).reason == (
        "wrote no event; ended with exit code 1: line 2"
    )
