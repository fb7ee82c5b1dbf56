"""The sections of trainings: seconds to a target, batch sizes, and whose update was taken."""

from dataclasses import replace

import pytest

from orchestrator.records.stored import StoredRun
from orchestrator.report.figures import draw
from orchestrator.report.studies.batches import batches_section
from orchestrator.report.studies.rules import rule_section
from orchestrator.report.studies.targets import target_section
from orchestrator.trial import Target, Training
from tests import fake_run as fake
from tests.fake_stored import timed

MIB = 2**20


def run_of(*trials):
    return StoredRun(fake.run_facts(), trials, ())


def aimed(framework, seed, step_seconds, accuracy=0.9, target=0.85, model=fake.RESNET):
    training = Training(epochs=2, target=Target(accuracy=target))
    asked = fake.trial(framework, "1", seed=seed, training=training, model=model)
    return timed(asked, ordinal=seed + 1, framework=framework, step_seconds=step_seconds, accuracy=accuracy)


def seeds_of(framework, step_seconds, reached=(True,) * 4, **more):
    shares = (1.0, 1.02, 0.99, 1.01)
    return [
        aimed(framework, seed, step_seconds * shares[seed], 0.9 if is_reached else 0.8, **more)
        for seed, is_reached in enumerate(reached)
    ]


def test_a_run_without_a_target_has_no_such_section():
    assert target_section(run_of(timed())) is None


def test_the_first_at_the_target_stands_first():
    section = target_section(run_of(*seeds_of("pytorch", 0.2), *seeds_of("mxnet", 0.1)))
    first, second = section.tables[0].rows
    assert (first["subject"], second["subject"]) == ("mxnet:1", "pytorch:1")
    assert first["low_s"] < first["median_s"] < first["high_s"] < second["low_s"]
    assert (first["reached"], first["seeds"], first["note"]) == (4, 4, "")
    assert section.verdicts[0].startswith("ResNet-20@32 cpu: mxnet:1 is first, in ")


def test_the_seconds_are_those_of_start_steps_and_evaluation():
    row, _ = target_section(run_of(*seeds_of("pytorch", 0.2), *seeds_of("mxnet", 0.3))).tables[0].rows
    assert row["steps_s"] == pytest.approx(2 * 30 * 0.201, rel=0.05)
    assert row["evaluation_s"] == 3.0
    assert row["median_s"] == pytest.approx(row["start_s"] + row["steps_s"] + row["evaluation_s"], rel=0.05)


def test_a_training_that_does_not_reach_it_is_censored_and_said():
    section = target_section(run_of(*seeds_of("pytorch", 0.1, reached=(True, True, True, False))))
    (row,) = section.tables[0].rows
    assert (row["reached"], row["seeds"]) == (3, 4)
    assert "did not reach it: pytorch:1 1 of 4" in section.verdicts[0]


def test_who_never_reaches_it_stands_last_without_seconds():
    none = (False,) * 4
    section = target_section(run_of(*seeds_of("mxnet", 0.1, reached=none), *seeds_of("pytorch", 0.2)))
    assert [row["subject"] for row in section.tables[0].rows] == ["pytorch:1", "mxnet:1"]
    assert section.tables[0].rows[1]["median_s"] is None
    assert "fewer than two trainings reached it: mxnet:1" in section.verdicts[0]


def test_two_that_overlap_are_not_told_apart():
    section = target_section(run_of(*seeds_of("pytorch", 0.1), *seeds_of("mxnet", 0.1005)))
    assert "not told apart from it: mxnet:1" in section.verdicts[0]


def test_two_cells_have_a_profile_that_is_drawn():
    two = [trial for model in (fake.RESNET, fake.IDSIA) for trial in seeds_of("pytorch", 0.1, model=model)]
    run = run_of(*two, *seeds_of("mxnet", 0.2))
    section = target_section(run)
    assert [row["share_solved"] for row in section.tables[1].rows if row["subject"] == "pytorch:1"] == [0.5, 1.0]
    drawings = draw(run, {"profile": section.tables[1].rows})()
    assert "Performance profile" in {figure.title for figure in drawings}


def sized(batch_size, step_seconds, peak=500 * MIB, repeat=0):
    training = Training(epochs=2, batch_size=batch_size)
    asked = fake.trial(training=training, by_batch=True, repeat=repeat)
    return timed(
        asked, ordinal=batch_size + repeat, step_seconds=step_seconds, changes={"done": {"peak_rss_bytes": peak}}
    )


def test_a_run_of_one_batch_size_has_no_such_section():
    assert batches_section(run_of(timed())) is None


def test_the_knee_is_the_smallest_batch_near_the_most():
    run = run_of(sized(1, 0.010), sized(8, 0.019), sized(64, 0.1), sized(128, 0.195))
    section = batches_section(run)
    rows = section.tables[0].rows
    assert [row["batch_size"] for row in rows] == [1, 8, 64, 128]
    assert [row["note"] for row in rows] == ["", "", "knee", ""]
    assert rows[2]["images_per_second"] == pytest.approx(64 / 0.101)
    assert rows[2]["peak_gib"] == pytest.approx(500 / 1024)
    assert "the knee is at a batch of 64" in section.verdicts[0]
    assert len(draw(run, {"batches": rows})()) >= 3


def test_cells_of_two_batch_sizes_are_two():
    assert sized(8, 0.1).trial.cell.label == "ResNet-20@32 batch 8"
    assert sized(8, 0.1).trial.cell != sized(16, 0.1).trial.cell
    assert fake.trial(training=Training(batch_size=8)).cell.label == "ResNet-20@32"


def test_a_batch_that_did_not_end_ok_is_a_row_with_its_reason():
    failed = replace(
        sized(512, 0.1), outcome=fake.OK.model_copy(update={"status": "out_of_memory", "reason": "too large"})
    )
    rows = batches_section(run_of(sized(64, 0.1), failed)).tables[0].rows
    assert rows[1]["note"] == "out_of_memory: too large"
    assert rows[1]["images_per_second"] is None


def by_rule(framework, source, **training):
    asked = fake.trial(framework, "1", training=Training(epochs=2, **training))
    return timed(asked, changes={"built": {"optimiser": {"source": source, "what": f"its {source}"}}})


def test_the_sgd_of_the_study_needs_no_section():
    assert rule_section(run_of(by_rule("pytorch", "own"))) is None


def test_whose_update_it_is_stands_for_each_subject():
    run = run_of(by_rule("pytorch", "own", optimiser="adam"), by_rule("tensorflow", "aligned", optimiser="adam"))
    section = rule_section(run)
    assert [(row["subject"], row["source"]) for row in section.tables[0].rows] == [
        ("pytorch:1", "own"),
        ("tensorflow:1", "aligned"),
    ]
    assert section.tables[0].rows[0]["rule"] == "adam, rate 0.01"
    assert section.verdicts == ("pytorch:1: takes its own update.", "tensorflow:1: takes its own, aligned.")
