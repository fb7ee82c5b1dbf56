"""Rows, tables and doubts of a run that never ran."""

import csv
import io
import itertools
import json
import sys
from dataclasses import replace

import pytest
from pyarrow import parquet

from orchestrator import report
from orchestrator.records.stored import StoredCheck, StoredTrial
from orchestrator.records.timeline import Timeline, read_timeline
from orchestrator.report import export, tables
from orchestrator.report.caveats import caveats
from orchestrator.report.tables import trial_rows
from orchestrator.report.text import figures3, tiny
from orchestrator.trial import Outcome
from tests import fake_run as fake
from tests.fake_stored import NO_MEMORY, audited, checked, kept, run, skip, timed, watched


def repeated(*step_seconds, **said):
    return [timed(fake.trial(repeat=at), at + 1, step_seconds=each, **said) for at, each in enumerate(step_seconds)]


def caveats_of(stored):
    return caveats(stored, report.summary_rows(stored))


def flat_rows(stored):
    return [row.flat() for row in report.summary_rows(stored)]


def test_a_row_holds_the_median_of_the_repeats():
    (row,) = flat_rows(run(*repeated(0.1, 0.4, 0.2)))
    assert row["step_ms"] == pytest.approx(200)


def test_images_per_second_are_a_batch_over_its_step():
    (row,) = flat_rows(run(timed(step_seconds=0.1)))
    assert row["images_per_second"] == pytest.approx(640)  # batch of 64


def test_spread_is_that_of_the_repeats():
    (row,) = flat_rows(run(*repeated(0.1, 0.11, 0.12)))
    assert row["spread"] == pytest.approx(0.02 / 0.11)


def test_one_repeat_has_no_spread_to_show():
    assert flat_rows(run(timed()))[0]["spread"] is None


def test_accuracies_are_the_last_of_each_split():
    (row,) = flat_rows(run(timed(accuracy=0.9)))
    assert (row["accuracy_test"], row["accuracy_valid"]) == (pytest.approx(0.89), pytest.approx(0.9))


def test_a_trial_that_failed_gives_its_row_no_numbers():
    (row,) = flat_rows(run(timed(step_seconds=0.1), timed(fake.trial(repeat=1), 2, NO_MEMORY, step_seconds=9)))
    assert (row["ok"], row["trials"], row["step_ms"]) == (1, 2, pytest.approx(100))


def test_a_row_is_as_good_as_its_worst_trial():
    (row,) = flat_rows(run(timed(), timed(fake.trial(repeat=1), 2, NO_MEMORY)))
    assert (row["status"], row["fault"], row["reason"]) == ("out_of_memory", "subject", NO_MEMORY.reason)


def test_a_cell_that_failed_is_never_dropped():
    (row,) = flat_rows(run(timed(outcome=NO_MEMORY)))
    assert (row["status"], row["step_ms"]) == ("out_of_memory", None)


def test_a_skipped_cell_is_a_row_with_its_reason():
    (row,) = flat_rows(run(skips=(skip(),)))
    assert (row["subject"], row["status"], row["reason"]) == ("mxnet:1.5", "skipped", "no row for it")


def test_rows_stand_in_natural_order_whatever_the_plan_was():
    trials = [timed(fake.trial("mxnet", variant), at) for at, variant in enumerate(("1.10", "1.9", "1.5"))]
    assert [row["variant"] for row in flat_rows(run(*trials))] == ["1.5", "1.9", "1.10"]


def test_parity_figures_stand_beside_the_speed():
    (row,) = flat_rows(run(timed(), checks=[checked()]))
    assert (row["verified"], row["parity_loss_step_20"]) == (True, fake.FIGURES["loss_step_20"])


@pytest.mark.parametrize(
    ("check", "word"),
    [
        (checked(passed=False), "failed"),
        (checked(outcome=NO_MEMORY), "failed"),
        (checked(framework="tensorflow", variant="2.21"), "missing"),
        (checked(worker_sha256="0" * 64), "missing"),
        (checked(model=fake.IDSIA), "missing"),
    ],
    ids=["failed", "died", "environment", "worker", "model"],
)
def test_only_a_passed_check_of_the_same_thing_verifies(check, word):
    (row,) = flat_rows(run(timed(), checks=[check]))
    assert (row["verified"], row["check"]) == (False, word)


def test_the_check_of_the_same_size_is_preferred():
    checks = [checked(input_size=48, figures={"logits": 0.5}), checked(ordinal=91)]
    (row,) = flat_rows(run(timed(), checks=checks))
    assert row["parity_logits"] == fake.FIGURES["logits"]


def test_rows_are_json():
    rows = flat_rows(run(timed(), timed(ordinal=2, outcome=NO_MEMORY), checks=[checked()], skips=(skip(),)))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_csv_has_a_row_for_every_trial_and_skip():
    stored = run(timed(), timed(fake.trial(repeat=1), 2, NO_MEMORY), skips=(skip(),))
    rows = list(csv.DictReader(io.StringIO(export.csv_text(tables.trial_rows(stored)))))
    assert [row["status"] for row in rows] == ["ok", "out_of_memory", "skipped"]


def test_csv_gives_a_spreadsheet_nothing_to_run():
    text = export.csv_text([{"reason": "=cmd()", "step_ms": -1.0}])
    assert next(csv.DictReader(io.StringIO(text))) == {"reason": "'=cmd()", "step_ms": "-1.0"}


def test_parity_csv_has_a_row_for_each_figure():
    rows = tables.parity_rows([checked(figures={"logits": 1.0})])
    assert [(row["figure"], row["within"]) for row in rows][:2] == [("logits", False), ("loss_step_1", True)]


def test_parquet_and_json_hold_the_same_rows():
    rows = trial_rows(run(timed(), timed(fake.trial(repeat=1), 2, NO_MEMORY)))
    read = parquet.read_table(io.BytesIO(export.parquet_bytes(rows))).to_pylist()
    assert json.loads(export.json_text(rows)) == [{name: row[name] for name in rows[0]} for row in read]


def test_without_pyarrow_there_is_no_parquet(monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert export.parquet_bytes([{"a": 1}]) is None


def test_a_check_that_died_is_in_the_parity_table():
    dead = StoredCheck(fake.check_record(), NO_MEMORY, fake.ENDED, Timeline())
    assert [(row["figure"], row["status"]) for row in tables.parity_rows([dead])] == [("", "out_of_memory")]


@pytest.mark.parametrize(
    ("outcome", "word"), [(NO_MEMORY, "FAILED"), (Outcome(status="unsupported", fault="subject"), "unsupported")]
)
def test_what_a_framework_cannot_do_is_no_failed_check(outcome, word):
    ended = StoredCheck(fake.check_record(), outcome, fake.ENDED, Timeline())
    assert tables.check_row(ended.request, ended, "")["check"] == word


def test_a_cell_of_an_op_that_is_lacking_is_not_called_unequal():
    unsupported = Outcome(status="unsupported", fault="subject", reason="gelu: CNTK has no error function")
    check = StoredCheck(fake.check_record(), unsupported, fake.ENDED, Timeline())
    stored = run(timed(fake.trial(), 1, unsupported, step_seconds=0.1), checks=(check,))
    (row,) = report.summary_rows(stored)
    assert (row.status, row.check) == ("unsupported", "unsupported")
    assert not any("compute something else" in sentence for sentence in caveats_of(stored))


def test_markdown_cells_stay_in_their_cell():
    assert export.markdown_table([{"a": "x | y\nz"}]) == "| a |\n| --- |\n| x \\| y z |\n"


def test_names_are_escaped_in_the_header_of_a_markdown_table():
    assert export.markdown_table([{"<img src=x>": "1"}]).startswith("| \\<img src=x\\> |\n")


@pytest.mark.parametrize(
    "begin", ["=", "\n=", " =", "\r", "\t", "\uff1d", "\uff0b", "\uff0d", "\uff20", "\u00a0@", "\ufeff="]
)
def test_a_cell_that_a_spreadsheet_could_execute_is_text(begin):
    (row,) = csv.DictReader(io.StringIO(export.csv_text([{"reason": f"{begin}cmd()"}])))
    assert row["reason"].startswith("'")


def test_control_codes_reach_no_table():
    hostile = "a\x1b]0;title\x07b\x9bc\u202ed"
    for text in (export.csv_text([{"reason": hostile}]), export.markdown_table([{"reason": hostile}])):
        assert [char for char in text if char != "\n" and not char.isprintable()] == []


def test_a_run_without_fault_raises_no_doubt():
    trials = [timed(fake.trial(repeat=at, seed=at), at + 1) for at in range(6)]
    assert caveats_of(run(*trials, checks=[checked()])) == []


def test_an_accuracy_of_one_seed_is_a_caveat():
    assert "1 accuracy of 1 rest on one seed" in " ".join(caveats_of(run(*repeated(*[0.1] * 6))))


def test_steps_that_become_slower_are_a_caveat():
    seconds = [0.1 + 0.001 * step for step in range(100)]
    told = caveats_of(run(timed(steps=100, epochs=1, changes={"epoch": {"step_seconds": seconds}})))
    assert any(caveat.startswith("1 trial of 1 reached no steady state, least pytorch:2.13") for caveat in told)


def test_a_step_of_many_times_the_median_is_a_caveat():
    seconds = [0.1] * 60 + [20.0] + [0.1] * 39
    changes = {"epoch": {"step_seconds": seconds, "input_seconds": [0.0] * 100}}
    told = caveats_of(run(timed(steps=100, epochs=1, changes=changes)))
    assert any(
        "one step took 20 s, 200 times the median: the worker was stopped for a while, or the machine was; 67 % of the "
        "time timed" in caveat
        for caveat in told
    )


def test_a_long_first_step_is_no_pause():
    """Frameworks compile in it."""
    changes = {"epoch": {"step_seconds": [20.0] + [0.1] * 99, "input_seconds": [0.0] * 100}}
    told = caveats_of(run(timed(steps=100, epochs=1, changes=changes)))
    assert not any("the worker was stopped" in caveat for caveat in told)


@pytest.mark.parametrize(("share", "is_said"), [(0.89, True), (0.5, False), (None, False)])
def test_accuracies_of_the_largest_class_alone_are_a_caveat(share, is_said):
    facts = {"data": fake.data_facts(largest_class_share=share)}
    told = caveats_of(run(*(timed(fake.trial(seed=at), at + 1, record=facts) for at in range(2))))
    assert any(caveat.startswith("Nothing was learnt: all 2 trials") for caveat in told) == is_said


def test_a_subject_that_learns_unlike_the_others_is_a_caveat():
    trials = []
    for number, (name, seed) in enumerate(itertools.product(("mxnet", "pytorch"), range(4)), start=1):
        loss = [(3.0 if name == "mxnet" else 2.0) + 0.01 * seed] * 30
        trials.append(timed(fake.trial(name, seed=seed), number, changes={"epoch": {"loss": loss}}))
    assert any("mxnet:2.13 learns slower than the others" in caveat for caveat in caveats_of(run(*trials)))


def test_blocks_of_a_framework_that_waits_are_no_throughput():
    measure = fake.trial().measure.model_copy(update={"sync": "block"})
    waiting = {"built": {"describe": {"waits_each_step": True}}}
    told = caveats_of(run(timed(fake.trial("cntk", "2.7", device="gpu", measure=measure), changes=waiting)))
    assert any(caveat.startswith("cntk:2.7 reads the loss of each step") for caveat in told)


def test_a_failed_first_step_of_its_size_fails_the_row():
    checks = [checked(), checked(ordinal=91, passed=False, input_size=48, steps="first")]
    small, large = flat_rows(run(timed(), timed(fake.trial(input_size=48), 2), checks=checks))
    assert (small["check"], large["check"]) == ("passed", "failed")


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        (run(*repeated(0.1, 0.12), checks=[checked()]), "repeats lie over 5 % apart"),
        (run(timed(), checks=[checked()]), "fewer than 6 repeats"),
        (run(timed()), "There is no selfcheck on record"),
        (run(timed(), checks=[checked(passed=False)]), "The selfcheck failed"),
        (run(timed(record={"is_unverified": True})), "1 trial ran with --unverified"),
        (run(timed(outcome=NO_MEMORY)), "1 trial did not end ok"),
        (run(skips=(skip(),)), "1 cell of the plan did not run here"),
        (run(timed(steps=10, warmup=10, epochs=1)), "No steady state was reached"),
        (run(timed(record={"data": fake.data_facts(recognised="synthetic")})), "drawn by waymark"),
        (run(timed(record={"data": fake.data_facts(recognised="sample")})), "a sample of GTSRB"),
        (run(timed(record={"data": fake.data_facts(recognised="unknown")})), "whose checksums are not those of GTSRB"),
        (run(host=fake.host(load=fake.load(load_1min=1.5))), "load 1.5 on 2 processors"),
        (run(host=fake.host(is_virtual=True)), "The machine is virtual"),
        (
            run(host=fake.host(load=fake.load(throttle_count=2), load_after=fake.load(throttle_count=5))),
            "Cores were slowed 3 times during the run",
        ),
        (run(host=fake.host(governor="powersave")), "governor 'powersave'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "run",
)
def test_each_doubt_is_said(stored, says):
    assert any(says in doubt for doubt in caveats_of(stored))


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        (run(watched(busy=0)), "its card was idle while it trained; it may have computed elsewhere"),
        (run(watched(throttled=("hardware thermal",))), "reduced in part of the samples: hardware thermal 100 %"),
        (
            run(watched(), watched(2, name="Tesla T4", subject=("mxnet", "1.9"))),
            "its trials ran on different cards (NVIDIA H200, Tesla T4)",
        ),
    ],
    ids=["idle", "throttled", "two cards"],
)
def test_each_doubt_of_a_card_is_said(stored, says):
    assert any(says in doubt for doubt in caveats_of(stored))


def test_a_card_that_worked_raises_no_doubt_of_its_own():
    assert [doubt for doubt in caveats_of(run(watched())) if "card" in doubt] == []


def test_a_row_says_what_the_machine_did_while_it_trained():
    (row,) = flat_rows(run(watched()))
    seen = {name: row[name] for name in ("cpu_percent", "card_percent", "card_mhz", "card_watts", "card_celsius")}
    assert seen == {
        "cpu_percent": 55.0,
        "card_percent": 97.0,
        "card_mhz": 1980.0,
        "card_watts": 300.0,
        "card_celsius": 51.0,
    }
    assert row["card_joules"] == pytest.approx(300 * 0.93)  # an epoch of 30 steps of 31 ms
    assert row["cpu_joules"] == pytest.approx(80 * 0.93)


def test_events_that_could_not_be_read_are_a_doubt():
    said = read_timeline(fake.events(("epoch", {"epoch": "first"})))
    broken = StoredTrial(fake.trial_record(), fake.OK, fake.ENDED, said)
    assert "1 event could not be read, so data is missing." in caveats_of(run(broken))


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "0.00"), (0.01234, "0.0123"), (12.34, "12.3"), (12345.6, "12,346")]
)
def test_numbers_have_three_significant_figures(value, text):
    assert figures3(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.0, "0"), (2.14e-6, "2.1e-6"), (1e-12, "1.0e-12")])
def test_differences_are_short(value, text):
    assert tiny(value) == text


def test_other_numbers_of_threads_in_one_cell_are_a_caveat():
    mxnet = fake.trial("mxnet", "1.5")
    ours = timed(changes={"built": {"describe": {"threads": 2}}})
    others = timed(mxnet, 2, changes={"built": {"describe": {"omp_threads": 1}}})
    said = " ".join(caveats_of(run(ours, others)))
    assert "ResNet-20@32 cpu: the builds compared have different numbers of threads in force: mxnet:1.5 1" in said
    same = timed(mxnet, 2, changes={"built": {"describe": {"omp_threads": 2}}})
    assert not any("threads" in caveat for caveat in caveats_of(run(ours, same)))


def test_a_quota_that_stopped_a_trial_is_a_caveat():
    stopped = timed(changes={"done": {"throttled_periods": 7}})
    (said,) = [caveat for caveat in caveats_of(run(stopped)) if "quota of a cgroup" in caveat]
    assert said.endswith("cpu seed 0 repeat 0 (7 times).")


@pytest.mark.parametrize(("passed", "word"), [(True, "passed"), (False, "failed"), (None, "missing")])
def test_audits_stand_beside_the_speed(passed, word):
    trial = kept()
    stored = replace(run(trial), audits=() if passed is None else (audited(trial, passed, update=2e-4),))
    (row,) = report.summary_rows(stored)
    assert (row.audit, row.audited.get("update")) == (word, None if passed is None else 2e-4)
    assert (row.flat()["audit"], trial_rows(stored)[0]["audit"]) == (word, None if passed is None else word)
    said = " ".join(caveats_of(stored))
    assert ("not what the oracle computes" in said, "has not repeated" in said) == (passed is False, passed is None)


def test_the_audit_of_an_earlier_attempt_vouches_for_nothing():
    trial = kept()
    again = replace(trial, exit=trial.exit.model_copy(update={"events_sha256": "another"}))
    (row,) = report.summary_rows(replace(run(again), audits=(audited(trial),)))
    assert row.audit == "missing"


def test_a_trial_that_kept_no_step_misses_no_audit():
    (row,) = report.summary_rows(run(timed()))
    assert (row.audit, row.audited) == ("", {})
