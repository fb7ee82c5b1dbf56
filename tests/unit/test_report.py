"""Rows, doubts and pages of a run that never ran."""

import csv
import io
import json
import re
import sys
import xml.etree.ElementTree as ET
from html.parser import HTMLParser
from pathlib import Path

import pytest

from orchestrator import report
from orchestrator.compare import Floor, Floors
from orchestrator.home import Home
from orchestrator.report import html, tables
from orchestrator.report.doubts import doubts
from orchestrator.stored import CheckRow, StoredRun, StoredTrial
from orchestrator.trial import Card, Exit, Outcome
from orchestrator.wire import CardSample, Sample, Skip
from tests import fake_run as fake

NO_MEMORY = Outcome(status="out_of_memory", fault="subject", reason="the kernel ended it at its memory limit")
HOSTILE = "<script>alert('x')</script> | =cmd() \x1b[31mred\x1b[0m \u202e"


def timed(asked=None, ordinal=1, outcome=fake.OK, exit_=fake.ENDED, record=None, **said):
    record = fake.trial_record(asked or fake.trial(), ordinal, **(record or {}))
    return StoredTrial(record, outcome, exit_, tuple(fake.training(**said)))


def checked(passed=True, outcome=fake.OK, figures=None, **record):
    said = fake.checking(passed, **(figures or {}))
    return CheckRow(fake.check_record(**record), outcome, fake.ENDED, tuple(said))


def watched(ordinal=1, name="NVIDIA H200", busy=97, throttled=(), subject=("pytorch", "2.13")):
    """A trial on a card, with a sample a second over its eleven; it trains from second 3.

    One that began in 1970, so that its own clock and the samples' are the same.
    """
    asked = fake.trial(*subject, device="gpu")
    card = Card(index=0, name=name, memory_bytes=2**37, capability="9.0", driver="580.1")
    record = fake.trial_record(asked, ordinal, environment=fake.environment(*subject, device="gpu").on(card))
    said = [
        event.model_copy(update={"started_unix": 0.0}) if event.kind == "hello" else event
        for event in fake.training(step_seconds=0.03, steps=30)
    ]
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
    return StoredTrial(record, fake.OK, fake.ENDED, tuple(said), samples)


def skip(framework="mxnet", cell="ResNet-20@32", reason="no row for it"):
    return Skip(
        label=f"{framework}:1.5 {cell} cpu", framework=framework, variant="1.5", cell=cell, device="cpu", reason=reason
    )


def run(*trials, checks=(), **facts):
    return StoredRun(fake.run_facts(**facts), tuple(trials), tuple(checks))


def repeated(*step_seconds, **said):
    return [timed(fake.trial(repeat=at), at + 1, step_seconds=each, **said) for at, each in enumerate(step_seconds)]


def doubts_of(stored):
    return doubts(stored, report.summary_rows(stored))


class Balance(HTMLParser):
    """Keeps the elements left open and the ends that close nothing."""

    def __init__(self):
        super().__init__()
        self.open, self.stray = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open[-1:] == [tag]:
            self.open.pop()
        else:
            self.stray.append(tag)


@pytest.fixture
def no_altair(monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)


@pytest.fixture
def page(tmp_path, no_altair):
    """Renders a run without figures, which take their time, and gives the text of its page."""

    def rendered(stored):
        return report.render(stored, tmp_path / "report").read_text()

    return rendered


def test_a_row_holds_the_median_of_the_repeats():
    (row,) = report.summary_rows(run(*repeated(0.1, 0.4, 0.2)))
    assert row["step_ms"] == pytest.approx(200)


def test_images_per_second_are_a_batch_over_its_step():
    (row,) = report.summary_rows(run(timed(step_seconds=0.1)))
    assert row["images_per_second"] == pytest.approx(640)  # batch of 64


def test_spread_is_that_of_the_repeats():
    (row,) = report.summary_rows(run(*repeated(0.1, 0.11, 0.12)))
    assert row["spread"] == pytest.approx(0.02 / 0.11)


def test_one_repeat_has_no_spread_to_show():
    assert report.summary_rows(run(timed()))[0]["spread"] is None


def test_accuracies_are_the_last_of_each_split():
    (row,) = report.summary_rows(run(timed(accuracy=0.9)))
    assert (row["accuracy_test"], row["accuracy_valid"]) == (pytest.approx(0.89), pytest.approx(0.9))


def test_a_trial_that_failed_gives_its_row_no_numbers():
    (row,) = report.summary_rows(
        run(timed(step_seconds=0.1), timed(fake.trial(repeat=1), 2, NO_MEMORY, step_seconds=9))
    )
    assert (row["ok"], row["trials"], row["step_ms"]) == (1, 2, pytest.approx(100))


def test_a_row_is_as_good_as_its_worst_trial():
    (row,) = report.summary_rows(run(timed(), timed(fake.trial(repeat=1), 2, NO_MEMORY)))
    assert (row["status"], row["fault"], row["reason"]) == ("out_of_memory", "subject", NO_MEMORY.reason)


def test_a_cell_that_failed_is_never_dropped():
    (row,) = report.summary_rows(run(timed(outcome=NO_MEMORY)))
    assert (row["status"], row["step_ms"]) == ("out_of_memory", None)


def test_a_skipped_cell_is_a_row_with_its_reason():
    (row,) = report.summary_rows(run(skips=(skip(),)))
    assert (row["subject"], row["status"], row["reason"]) == ("mxnet:1.5", "skipped", "no row for it")


def test_rows_stand_in_natural_order_whatever_the_plan_was():
    trials = [timed(fake.trial("mxnet", variant), at) for at, variant in enumerate(("1.10", "1.9", "1.5"))]
    assert [row["variant"] for row in report.summary_rows(run(*trials))] == ["1.5", "1.9", "1.10"]


def test_parity_figures_stand_beside_the_speed():
    (row,) = report.summary_rows(run(timed(), checks=[checked()]))
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
    (row,) = report.summary_rows(run(timed(), checks=[check]))
    assert (row["verified"], row["check"]) == (False, word)


def test_the_check_of_the_same_size_is_preferred():
    checks = [checked(input_size=48, figures={"logits": 0.5}), checked(ordinal=91)]
    (row,) = report.summary_rows(run(timed(), checks=checks))
    assert row["parity_logits"] == fake.FIGURES["logits"]


def test_rows_are_json():
    rows = report.summary_rows(run(timed(), timed(ordinal=2, outcome=NO_MEMORY), checks=[checked()], skips=(skip(),)))
    assert json.loads(json.dumps(rows, allow_nan=False)) == rows


def test_csv_has_a_row_for_every_trial_and_skip():
    stored = run(timed(), timed(fake.trial(repeat=1), 2, NO_MEMORY), skips=(skip(),))
    rows = list(csv.DictReader(io.StringIO(tables.csv_text(tables.trial_rows(stored)))))
    assert [row["status"] for row in rows] == ["ok", "out_of_memory", "skipped"]


def test_csv_gives_a_spreadsheet_nothing_to_run():
    text = tables.csv_text([{"reason": "=cmd()", "step_ms": -1.0}])
    assert next(csv.DictReader(io.StringIO(text))) == {"reason": "'=cmd()", "step_ms": "-1.0"}


def test_parity_csv_has_a_row_for_each_figure():
    rows = tables.parity_rows([checked(figures={"logits": 1.0})])
    assert [(row["figure"], row["within"]) for row in rows][:2] == [("logits", False), ("loss_step_1", True)]


def test_a_check_that_died_is_in_the_parity_table():
    dead = CheckRow(fake.check_record(), NO_MEMORY, fake.ENDED, ())
    assert [(row["figure"], row["status"]) for row in tables.parity_rows([dead])] == [("", "out_of_memory")]


def test_markdown_cells_stay_in_their_cell():
    assert tables.markdown_table([{"a": "x | y\nz"}]) == "| a |\n| --- |\n| x \\| y z |\n"


def test_a_run_without_fault_raises_no_doubt():
    assert doubts_of(run(*repeated(*[0.1] * 6), checks=[checked()])) == []


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        (run(*repeated(0.1, 0.12), checks=[checked()]), "repeats lie over 5 % apart"),
        (run(timed(), checks=[checked()]), "fewer than 6 repeats"),
        (run(timed()), "has no selfcheck on record"),
        (run(timed(), checks=[checked(passed=False)]), "failed its selfcheck"),
        (run(timed(record={"is_unverified": True})), "1 trial ran with --unverified"),
        (run(timed(outcome=NO_MEMORY)), "1 trial did not end ok"),
        (run(skips=(skip(),)), "1 cell of the plan did not run here"),
        (run(timed(steps=10, warmup=10, epochs=1)), "reached no steady state"),
        (run(timed(record={"data": fake.data_facts(recognised="synthetic")})), "signs drawn by waymark"),
        (run(timed(record={"data": fake.data_facts(recognised="sample")})), "a slice of GTSRB"),
        (run(timed(record={"data": fake.data_facts(recognised="unknown")})), "whose checksums are not those of GTSRB"),
        (run(host={"load": {"load_1min": 1.5}, "logical_cores": 2}), "load 1.5 on 2 processors"),
        (run(host={"is_virtual": True}), "The machine is virtual"),
        (
            run(host={"load": {"throttle_count": 2}, "load_after": {"throttle_count": 5}}),
            "Cores were slowed 3 times during the run",
        ),
        (run(host={"governor": "powersave"}), "governor 'powersave'"),
    ],
    ids=lambda value: value if isinstance(value, str) else "run",
)
def test_each_doubt_is_said(stored, says):
    assert any(says in doubt for doubt in doubts_of(stored))


@pytest.mark.parametrize(
    ("stored", "says"),
    [
        (run(watched(busy=0)), "its card was idle while it trained; it may have computed elsewhere"),
        (run(watched(throttled=("hardware thermal",))), "held down in part of the samples: hardware thermal 100 %"),
        (
            run(watched(), watched(2, name="Tesla T4", subject=("mxnet", "1.9"))),
            "its trials ran on different cards (NVIDIA H200, Tesla T4)",
        ),
    ],
    ids=["idle", "throttled", "two cards"],
)
def test_each_doubt_of_a_card_is_said(stored, says):
    assert any(says in doubt for doubt in doubts_of(stored))


def test_a_card_that_worked_raises_no_doubt_of_its_own():
    assert [doubt for doubt in doubts_of(run(watched())) if "card" in doubt] == []


def test_a_row_says_what_the_machine_did_while_it_trained():
    (row,) = report.summary_rows(run(watched()))
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


def test_what_the_machine_did_is_a_section_of_the_page(page):
    text = page(run(watched(throttled=("software power cap",))))
    seen = ('id="telemetry"', "card J/epoch", "software power cap 100 %", "GPU 0 (NVIDIA H200), capability 9.0")
    assert [word in text for word in seen] == [True] * 4


def test_a_run_that_nobody_watched_has_no_such_section(page):
    assert 'id="telemetry"' not in page(run(timed()))


def test_a_page_with_telemetry_is_well_formed(page):
    parser = Balance()
    parser.feed(page(run(watched(), timed(ordinal=2))))
    assert (parser.open, parser.stray) == ([], [])


def test_each_quantity_that_was_watched_is_a_figure(tmp_path):
    report.render(run(watched()), tmp_path)
    drawn = {path.stem for path in tmp_path.glob("*.svg")} - {"accuracy", "epochs"}
    assert drawn == {"cpu-percent", "memory-gib", "card-percent", "card-mhz", "card-watts", "card-celsius"}


def test_each_epochs_end_is_a_dot_on_the_course(tmp_path):
    report.render(run(watched()), tmp_path)
    marks = ET.parse(tmp_path / "card-watts.svg").getroot().iter("{http://www.w3.org/2000/svg}path")
    dots = [mark for mark in marks if mark.get("aria-roledescription") == "point"]
    assert len(dots) == 2


def test_events_that_could_not_be_read_are_a_doubt():
    broken = StoredTrial(fake.trial_record(), fake.OK, fake.ENDED, tuple(fake.events(("epoch", {"epoch": "first"}))))
    assert "1 event could not be read and left gaps." in doubts_of(run(broken))


def test_a_report_is_a_folder_of_page_tables_and_figures(tmp_path):
    report.render(run(timed(fake.trial("numpy_ref", "1.0")), checks=[checked()]), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"index.html", "results.csv", "results.md", "parity.csv", "accuracy.svg", "epochs.svg"}


def test_a_page_loads_nothing_from_anywhere(page):
    loaded = re.findall(r"<(?:script|link|iframe)|(?:src|srcset|poster)=\"(?!data:)|@import|url\(", page(run(timed())))
    assert loaded == []


def test_a_page_is_well_formed(page):
    parser = Balance()
    parser.feed(page(run(timed(), timed(ordinal=2, outcome=NO_MEMORY), checks=[checked()], skips=(skip(),))))
    assert (parser.open, parser.stray) == ([], [])


@pytest.mark.parametrize(
    "stored",
    [
        run(timed(outcome=NO_MEMORY.model_copy(update={"reason": HOSTILE}))),
        run(timed(outcome=NO_MEMORY, exit_=Exit(code=1, log_tail=HOSTILE, launched_unix=0.0, wall_seconds=1.0))),
        run(skips=(skip(reason=HOSTILE),)),
        run(timed(framework=HOSTILE, version=HOSTILE)),
        run(timed(), checks=[checked(figures={HOSTILE: 1.0})]),
        run(timed(), spec={"name": HOSTILE}, host={HOSTILE: HOSTILE}, argv=(HOSTILE,)),
    ],
    ids=["reason", "log", "skip", "hello", "figure", "facts"],
)
def test_what_strangers_wrote_is_only_text(page, stored):
    text = page(stored)
    assert not re.search("<script|\x1b|\u202e", text)


def test_every_status_is_on_the_page(page):
    text = page(run(timed(), timed(fake.trial(model=fake.IDSIA, input_size=48), 2, NO_MEMORY), skips=(skip(),)))
    assert [word in text for word in (">ok<", ">out_of_memory<", ">skipped<", NO_MEMORY.reason, "no row for it")] == [
        True
    ] * 5


def test_a_run_of_nothing_has_a_page(tmp_path):
    assert "No trial got far enough to be drawn." in report.render(run(), tmp_path).read_text()


def test_a_page_without_altair_says_how_to_get_figures(page):
    assert "pip install &#39;waymark[report]&#39;" in page(run(timed()))


def test_a_report_without_altair_has_no_figures(tmp_path, no_altair):
    report.render(run(timed()), tmp_path)
    assert list(tmp_path.glob("*.svg")) == []


def test_figures_are_svg(tmp_path):
    report.render(run(timed()), tmp_path)
    tags = {ET.parse(path).getroot().tag for path in tmp_path.glob("*.svg")}
    assert tags == {"{http://www.w3.org/2000/svg}svg"}


def test_a_report_names_no_folder_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/users/ada")
    home = Home(Path("/big/waymark"))
    record = {"environment": fake.environment(location="/big/waymark/virtualenvs/1/bin/python")}
    stored = run(timed(record=record), argv=("sweep", "--spec=/users/ada/spec.json"))
    text = report.render(stored, tmp_path, home).read_text()
    assert "$WAYMARK_HOME/virtualenvs/1/bin/python" in text
    assert "--spec=~/spec.json" in text


def test_rendering_again_replaces_the_page(page):
    page(run(timed(), run_id="an-old-run"))
    assert "an-old-run" not in page(run(timed()))


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (0.0, "0.00"), (0.01234, "0.0123"), (12.34, "12.3"), (12345.6, "12,346")]
)
def test_numbers_have_three_significant_figures(value, text):
    assert html.figures3(value) == text


@pytest.mark.parametrize(("value", "text"), [(None, "–"), (0.0, "0"), (2.14e-6, "2.1e-6"), (1e-12, "1.0e-12")])
def test_differences_are_short(value, text):
    assert html.tiny(value) == text


def compared(*outcomes):
    pairs = [
        timed(fake.trial(variant=variant, repeat=repeat), ordinal, outcome, step_seconds=seconds)
        for ordinal, (repeat, outcome) in enumerate(enumerate(outcomes))
        for variant, seconds in (("2.13", 0.1), ("1.3", 0.2))
    ]
    return StoredRun(fake.run_facts(arms=("pytorch:2.13", "pytorch:1.3")), tuple(pairs), ())


def test_a_run_that_was_made_to_compare_shows_its_verdicts(tmp_path):
    floors = Floors({("pytorch", "cpu"): Floor(1.03, "control")})
    text = report.render(compared(*[fake.OK] * 6), tmp_path, floors=floors).read_text()
    assert "2.00x slower [2.00, 2.00]" in text
    assert "Noise floor of this machine: pytorch cpu 1.030x, from control." in text


def test_a_comparison_without_a_control_says_so(tmp_path):
    assert "No A/A control of this machine" in report.render(compared(*[fake.OK] * 6), tmp_path).read_text()


def test_a_comparison_that_failed_says_why(tmp_path):
    text = report.render(compared(fake.OK, NO_MEMORY), tmp_path).read_text()
    assert "ended out_of_memory" in text


def test_a_run_that_compares_nothing_has_no_such_section(tmp_path):
    assert 'id="comparison"' not in report.render(run(timed()), tmp_path).read_text()
