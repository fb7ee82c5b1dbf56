"""The paper's figures as we hold them, our cells beside them, and the study's findings as claims."""

import sys

import numpy as np
import pytest

from orchestrator.analysis.noise import NoiseFloors
from orchestrator.dataset import Augmentation, Dataset
from orchestrator.networks import Model
from orchestrator.report import html
from orchestrator.report.study2020.claims import CLAIMS, verdict_of, weighed
from orchestrator.report.study2020.measured import NETWORKS, Measured, measured_paper, paper_place
from orchestrator.report.study2020.paper import paper
from orchestrator.report.study2020.sections import paper_sections
from orchestrator.trial import Measure, Training
from tests import fake_run as fake
from tests.fake_stored import run, timed

NO_FLOORS = NoiseFloors()
WHOLE = Training(epochs=25)
INPUT_SECONDS = 0.001  # of each step of a fake training
MODELS = {
    "idsia": fake.IDSIA,
    "resnet20": fake.RESNET,
    "resnet32": Model(name="resnet", depth=32),
}
FAILED_IN_THE_PAPER = {"cpu-depth-of-resnets", "cpu-size"}
"""In proportion its own numbers say otherwise: from ResNet-20 to 32 CNTK slows down less than Neon and MXNet do, and
from 32x32 to 48x48 so do PyTorch and TensorFlow."""


def test_the_papers_devices_are_put_right():
    """The order in its text, which is that of the columns headed with the other device."""

    def order(device):
        cells = [one for one in paper().results if (one.model, one.input_size, one.device) == ("resnet20", 32, device)]
        return [one.framework for one in sorted(cells, key=lambda one: one.total_seconds)]

    assert order("gpu") == ["neon", "cntk", "pytorch", "mxnet", "tensorflow"]
    assert order("cpu") == ["neon", "mxnet", "cntk", "pytorch", "tensorflow"]


def test_the_paper_has_no_figure_at_64():
    assert {one.input_size for one in paper().results} == {32, 48}
    assert len(paper().results) == 50


def test_the_papers_tuning_is_that_of_its_table():
    assert [f"{one.ratio:.2f}" for one in paper().tuning] == ["1.92", "1.40", "1.78", "1.06"]


# ---- the paper's rows as if they were ours


def as_ours(one, repeat):
    """A trial of the paper's times and accuracy, with two steps an epoch in place of 490."""
    step = one.total_seconds / (paper().epochs * paper().steps_per_epoch)
    asked = fake.trial(
        one.framework,
        "1.0",
        model=MODELS[one.model],
        input_size=one.input_size,
        device=one.device,
        repeat=repeat,
        training=WHOLE,
    )
    return timed(
        asked,
        step_seconds=step - INPUT_SECONDS,
        epochs=25,
        steps=2,
        warmup=1,
        accuracy=one.accuracy_percent / 100 + 0.01,
    )


@pytest.fixture(scope="module")
def ours():
    """The sections of a run in which every cell gave the paper's numbers, three times."""
    trials = [as_ours(one, repeat) for repeat in range(3) for one in paper().results]
    return {section.anchor: section for section in paper_sections(run(*trials), NO_FLOORS)}


def table(section, name):
    return next(one for one in section.tables if one.name == name)


def test_the_papers_numbers_decide_its_findings_as_it_says():
    evidence = weighed(CLAIMS, measured_paper())
    failed = {claim.name for claim in CLAIMS if verdict_of(evidence[claim.name]) == "fails"}
    assert failed == FAILED_IN_THE_PAPER
    assert all(verdict_of(evidence[claim.name]) != "not decided" for claim in CLAIMS)


def test_the_papers_rows_give_its_tables(ours):
    section = ours["study-tables"]
    *tables, _ = section.tables
    assert [one.name for one in tables] == ["study-32-gpu", "study-32-cpu", "study-48-gpu", "study-48-cpu"]
    for one in tables:
        for row in one.rows:
            for key in {key.removesuffix("_paper_s") for key in row if key.endswith("_paper_s")}:
                assert row[f"{key}_s"] == pytest.approx(row[f"{key}_paper_s"])
                assert row[f"accuracy_{key}_test"] == pytest.approx(row[f"accuracy_{key}_paper"])
    cntk = table(section, "study-48-cpu").rows[0]
    assert (cntk["subject"], cntk["idsia_time"], cntk["resnet32_paper_s"]) == ("cntk:1.0", "~3,657", 5994.42)


def test_the_papers_rows_give_its_order_in_every_cell(ours):
    rows = table(ours["findings"], "agreement").rows
    assert len(rows) == 10
    assert all((row["tau"], row["tau_low"], row["tau_high"]) == (1, 1, 1) for row in rows)
    assert all(row["order"] == row["order_paper"] for row in rows)
    first = next(row for row in rows if row["cell"] == "ResNet-20@32 cpu")
    assert first["order"] == "neon 35.53 s, mxnet 39.36 s, cntk 69.25 s, pytorch 134.9 s, tensorflow 158.6 s"


def test_the_papers_rows_decide_its_findings_on_time(ours):
    timed_claims = {claim.name for claim in CLAIMS if all(one.contrast is not None for one in claim.comparisons)}
    rows = [row for row in table(ours["findings"], "findings").rows if row["name"] in timed_claims]
    assert len(rows) == 10
    assert all(row["verdict"] == row["paper"] for row in rows)


def test_findings_on_accuracy_need_more_than_single_runs(ours):
    """Its accuracies scatter by more than half a point from framework to framework."""
    rows = {row["name"]: row for row in table(ours["findings"], "findings").rows}
    assert rows["resnets-beat-idsia"]["verdict"] == "holds"
    assert rows["resnet-32-no-better"]["paper"] == "holds"


# ---- how a finding is decided


def times(**seconds):
    """One cell of three turns: framework=seconds, with a scatter of 1 % between turns."""
    places = {one.framework: paper_place(one) for one in paper().results if (one.model, one.device) == ("idsia", "cpu")}
    scatter = np.random.RandomState(0)
    return Measured(
        {
            places[name]: {(0, turn): value * np.exp(scatter.normal(0, 0.01)) for turn in range(3)}
            for name, value in seconds.items()
        },
        {},
    )


def idsia_verdict(measured):
    return verdict_of(weighed(CLAIMS, measured)["cpu-idsia-mxnet"])


def test_a_finding_holds_where_every_comparison_surely_agrees():
    assert idsia_verdict(times(mxnet=1.0, neon=2.0, cntk=2.0, pytorch=2.0, tensorflow=2.0)) == "holds"


def test_a_finding_fails_where_one_comparison_surely_disagrees():
    assert idsia_verdict(times(mxnet=1.0, neon=2.0, cntk=2.0, pytorch=0.5, tensorflow=2.0)) == "fails"


def test_a_finding_is_open_where_a_difference_is_noise():
    assert idsia_verdict(times(mxnet=1.0, neon=2.0, cntk=2.0, pytorch=1.001, tensorflow=2.0)) == "not decided"


def test_single_runs_decide_no_finding_on_time():
    trials = [as_ours(one, 0) for one in paper().results]
    findings, _ = paper_sections(run(*trials), NO_FLOORS)
    rows = {row["name"]: row for row in table(findings, "findings").rows}
    assert rows["cpu-idsia-mxnet"]["verdict"] == "not decided"
    assert "three turns of each are needed" in rows["cpu-idsia-mxnet"]["numbers"]


def test_findings_on_a_card_are_not_measurable_without_one():
    findings, _ = paper_sections(run(*(as_ours(one, 0) for one in paper().results if one.device == "cpu")), NO_FLOORS)
    rows = {row["name"]: row for row in table(findings, "findings").rows}
    assert (rows["gpu-order"]["verdict"], rows["gpu-order"]["numbers"]) == ("not measurable here", "no card")
    assert rows["tuning-mxnet-cpu"]["verdict"] == "not decided"


# ---- what stands beside the paper


def test_a_training_in_full_is_not_extrapolated():
    asked = fake.trial(training=WHOLE)
    trial = timed(asked, step_seconds=0.1, epochs=25, steps=490)
    (section,) = (one for one in paper_sections(run(trial), NO_FLOORS) if one.anchor == "study-tables")
    row = next(row for row in section.tables[0].rows if row["subject"] == "pytorch:2.13")
    assert (row["resnet20_time"], row["resnet20_extrapolated"]) == ("1,237", False)
    assert row["resnet20_paper_s"] == 3372.83


def test_two_variants_of_a_framework_have_a_row_each():
    trials = [timed(fake.trial("tensorflow", variant)) for variant in ("2.7", "2.21")]
    (section,) = paper_sections(run(*trials), NO_FLOORS)
    subjects = [row["subject"] for row in section.tables[0].rows]
    assert subjects == ["cntk", "neon", "mxnet", "pytorch", "tensorflow:2.21", "tensorflow:2.7"]


def test_the_machine_and_each_erratum_are_named(ours):
    notes = ours["findings"].notes
    assert "The study used another machine" in notes[0]
    assert [note.partition(":")[0] for note in notes[1:]] == [f"Erratum {number}" for number in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize(
    "asked",
    [
        fake.trial("numpy_ref", "1.0"),
        fake.trial(model=Model(name="resnet", depth=8)),
        fake.trial(dataset=Dataset(name="synthetic")),
        fake.trial(dataset=Dataset(clahe=False)),
        fake.trial(dataset=Dataset(fraction=0.1)),
        fake.trial(dataset=Dataset(fit="letterbox")),
        fake.trial(dataset=Dataset(normalise="standard")),
        fake.trial(dataset=Dataset(augment=Augmentation(shift=0.1))),
        fake.trial(measure=Measure(feed="native")),
        fake.trial(training=Training(batch_size=32)),
        fake.trial(training=Training(learning_rate=0.1)),
    ],
    ids=[
        *(
            "framework",
            "network",
            "drawn signs",
            "no CLAHE",
            "a part",
            "another fit",
            "normalised",
            "changed at random",
        ),
        *("loader", "batch", "rate"),
    ],
)
def test_what_the_study_did_not_train_is_not_beside_it(asked):
    assert paper_sections(run(timed(asked)), NO_FLOORS) == []


def test_our_size_64_stands_beside_an_empty_column():
    (section,) = paper_sections(run(timed(fake.trial(input_size=64))), NO_FLOORS)
    row = next(row for row in section.tables[0].rows if row["subject"] == "pytorch:2.13")
    assert row["resnet20_s"] is not None
    assert row["resnet20_paper_s"] is None


def test_the_study_is_in_every_form_of_the_report(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    html.render(run(*(as_ours(one, 0) for one in paper().results)), tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert text.index("## The study's findings") < text.index("- Erratum 1") < text.index("## The study's tables")
    assert {"findings.csv", "evidence.csv", "agreement.csv", "study-48-cpu.csv"} <= {
        one.name for one in tmp_path.iterdir()
    }


def test_every_network_of_the_paper_is_named():
    assert {one.model for one in paper().results} == set(NETWORKS)


def test_the_papers_rows_give_the_values_of_its_figures(ours):
    rows = table(ours["study-tables"], "study-epochs").rows
    assert len(rows) == 50
    assert all(row["epoch_s"] == pytest.approx(row["epoch_paper_s"]) for row in rows)


# ---- a scout


def scouted(repeats=3, **facts):
    drawn = Dataset(name="synthetic")
    trials = [
        timed(fake.trial(dataset=drawn, repeat=repeat, training=Training(epochs=1)), step_seconds=0.1 + 0.001 * repeat)
        for repeat in range(repeats)
    ]
    return paper_sections(run(*trials, is_scout=True, **facts), NO_FLOORS)


def epochs_row(sections):
    (section,) = sections
    return next(row for row in table(section, "study-epochs").rows if row["subject"] == "pytorch:2.13")


def test_a_scout_tells_the_seconds_of_the_study():
    row = epochs_row(scouted())
    assert row["epoch_s"] == pytest.approx(490 * (0.101 + INPUT_SECONDS))
    assert row["epoch_low_s"] < row["epoch_s"] < row["epoch_high_s"]
    assert row["training_s"] == pytest.approx(25 * row["epoch_s"])


def test_a_scout_of_two_runs_has_no_interval():
    row = epochs_row(scouted(2))
    assert (row["runs"], row["epoch_low_s"], row["epoch_high_s"]) == (2, None, None)


def test_accuracy_after_fewer_epochs_is_named_as_the_reason():
    asked = [fake.trial(*of, training=Training(epochs=10)) for of in (("pytorch", "2.13"), ("tensorflow", "2.21"))]
    findings, _ = paper_sections(run(*(timed(one, at, epochs=10) for at, one in enumerate(asked))), NO_FLOORS)
    row = next(row for row in table(findings, "findings").rows if row["name"] == "resnets-beat-idsia")
    assert row["numbers"] == "not measured; accuracies count after the study's 25 epochs"


def test_a_scout_has_no_accuracy():
    (section,) = scouted()
    row = next(row for row in section.tables[0].rows if row["subject"] == "pytorch:2.13")
    assert (row["accuracy_resnet20_test"], row["resnet20_extrapolated"]) == (None, True)


def test_a_league_stands_behind_the_title_of_each_table():
    (section,) = scouted(league="tuned")
    assert section.tables[0].caption == "Table 2, 32x32, CPU (tuned)"
