"""The section of an inference: latencies, proofs, and what is no equal."""

from dataclasses import replace

import pytest

from orchestrator.analysis.noise import NoiseFloors
from orchestrator.records.stored import StoredRun
from orchestrator.report.answer import ranked
from orchestrator.report.studies import study_sections
from orchestrator.report.studies.inference import inference_section
from orchestrator.report.tables import summary_rows
from tests import fake_run as fake
from tests.fake_stored import answered, timed


def run_of(*trials):
    return StoredRun(fake.run_facts(), trials, ())


def rows_of(*trials):
    section = inference_section(run_of(*trials))
    assert section is not None
    return section, section.tables[0].rows


def test_a_run_that_trains_has_no_such_section():
    assert inference_section(StoredRun(fake.run_facts(), (timed(),), ())) is None


def test_a_row_has_the_percentiles_of_its_latencies():
    _, (row,) = rows_of(answered("ncnn", seconds=0.002, queries=700))
    assert [row[name] for name in ("p50_ms", "p90_ms", "p99_ms", "proven_p99_ms")] == pytest.approx([2.0] * 4)


def test_pictures_a_second_are_of_offline_alone():
    _, (row,) = rows_of(answered("ncnn", scenario="offline", batch=8, seconds=0.002, answered=700, wall_seconds=28.0))
    assert row["images_per_second"] == pytest.approx(200)
    _, (alone,) = rows_of(answered("ncnn", seconds=0.002, answered=700, wall_seconds=28.0))
    assert "images_per_second" not in alone
    (summary,) = summary_rows(run_of(answered("ncnn", seconds=0.002, answered=700, wall_seconds=28.0)))
    assert (summary.medians.images_per_second, summary.medians.epoch_images_per_second) == (None, None)


def test_too_few_queries_prove_no_percentile():
    _, (row,) = rows_of(answered("ncnn", queries=100))
    assert row["proven_p99_ms"] is None
    assert row["proven_p90_ms"] == pytest.approx(2.0)


def test_a_batch_counts_all_of_its_pictures():
    _, (row,) = rows_of(answered("ncnn", scenario="offline", batch=32, seconds=0.01, queries=50))
    assert row["images_per_second"] == pytest.approx(3200)
    assert row["cell"] == "ResNet-20@32 offline 32 cpu"
    assert "p50_ms" not in row


def test_a_server_is_told_by_its_rate():
    _, (row,) = rows_of(answered("ncnn", scenario="server", rate=410.0))
    assert row["queries_per_second"] == 410.0


def test_equal_answers_are_told_with_their_pictures():
    section, _ = rows_of(answered("ncnn"), answered("jax", ordinal=2))
    assert section.verdicts == (
        "ResNet-20@32: 2 subjects compute in float32, with the oracle's logits to within 4.0e-7 and its class "
        "for all 822 test pictures.",
    )


def test_a_near_tie_is_named_with_its_margin():
    section, (row,) = rows_of(answered("ncnn", differing=[[17, 3, 4, 5e-5]]))
    assert "but for near ties: picture 17 (5.0e-5)" in section.verdicts[0]
    assert row["differing"] == 1


def test_another_class_that_is_no_tie_is_told_with_its_subject():
    section, _ = rows_of(answered("ncnn", differing=[[17, 3, 4, 0.2]]))
    assert "but for 1 that are no ties: picture 17 (ncnn:1)" in section.verdicts[0]


def test_what_leaves_float32_is_told_and_is_no_equal():
    section, _ = rows_of(answered("ncnn"), answered("openvino", ordinal=2, precision="bfloat16", off=4e-3))
    assert section.verdicts[-1] == (
        "ResNet-20@32: openvino:1 computes in bfloat16, and its logits are off by 4.0e-3; it is no equal of float32 "
        "and stands in no order with it."
    )


def test_what_leaves_float32_has_no_rank():
    def of(framework, seconds, **said):
        return [answered(framework, ordinal=at + 1, repeat=at, seconds=seconds + at * 1e-6, **said) for at in range(6)]

    trials = [*of("ncnn", 0.003), *of("jax", 0.002), *of("openvino", 0.001, precision="bfloat16", off=4e-3)]
    stored = run_of(*trials)
    (ranking,) = ranked(stored, summary_rows(stored), NoiseFloors()).values()
    assert {rank.subject for rank in ranking.ranks} == {"ncnn:1", "jax:1"}


def test_a_trial_that_failed_is_a_row_with_its_reason():
    _, (row,) = rows_of(answered("ncnn", outcome=fake.CRASHED))
    assert row["note"].startswith("crashed: ")


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        ([0.998, 0.992, 1.003], "99.8 % of float32's accuracy [99.2 %, 100.3 %]: the 99 % that are asked for"),
        ([0.995, 0.985, 1.002], "99.5 % of float32's accuracy [98.5 %, 100.2 %]: whether it is 99 % is not decided"),
    ],
)
def test_int8_is_judged_by_its_accuracy(kept, words):
    trial = answered("ncnn", precision="int8", off=0.03)
    answers = replace(trial.timeline.answers, kept=tuple(kept))
    section, (row,) = rows_of(replace(trial, timeline=replace(trial.timeline, answers=answers)))
    assert words in section.verdicts[-1]
    assert row["share_kept"] == kept[0]


def of_network(model, size, subject, ordinal, seconds, accuracy):
    return answered(subject, ordinal=ordinal, model=model, input_size=size, seconds=seconds, accuracy=accuracy + 0.0)


def test_the_front_holds_what_nothing_beats_in_both():
    section, _ = rows_of(
        of_network(fake.RESNET, 32, "ncnn", 1, 0.002, 0.90),
        of_network(fake.RESNET, 32, "jax", 2, 0.004, 0.90),
        of_network(fake.IDSIA, 48, "ncnn", 3, 0.010, 0.95),
        of_network(fake.IDSIA, 48, "jax", 4, 0.050, 0.99),
    )
    front = [(row["network"], row["subject"]) for row in section.tables[2].rows if row["front"]]
    assert front == [("ResNet-20@32", "ncnn:1"), ("IDSIA@48", "ncnn:1"), ("IDSIA@48", "jax:1")]
    assert section.verdicts[-1] == (
        "On the CPU at 30 frames a second, one picture each: IDSIA@48 in ncnn:1 is the most accurate (95.00 %), "
        "p99 10 ms."
    )


def test_where_all_is_too_slow_nothing_is_to_be_deployed():
    slow = [of_network(model, 48, "ncnn", at, 0.2, 0.9) for at, model in enumerate((fake.RESNET, fake.IDSIA), start=1)]
    assert "nothing answers 99 % of pictures within 33.3 ms" in rows_of(*slow)[0].verdicts[-1]


def test_of_one_network_there_is_nothing_to_choose():
    assert [table.name for table in rows_of(answered("ncnn"))[0].tables] == ["inference", "answers"]


def test_a_pair_of_unlike_precisions_says_so():
    def of(subject, at, seconds, **said):
        return answered(
            "jax", subject, ordinal=2 * at + (subject == "8"), repeat=at, seconds=seconds + at * 1e-6, **said
        )

    trials = [of("32", at, 0.003) for at in range(6)]
    trials += [of("8", at, 0.002, precision="int8", off=0.02) for at in range(6)]
    facts = fake.run_facts(pairs=(("jax:32", "jax:8"),))
    _, pairs = study_sections(StoredRun(facts, tuple(trials), ()), NoiseFloors())
    (row,) = pairs.tables[0].rows
    assert row["verdict"] == "faster"
    assert row["note"] == "computes in int8, its baseline in float32"
