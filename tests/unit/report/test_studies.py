"""The answers to the shipped studies, from runs that never ran."""

import csv
import io
import json

import pytest

from orchestrator.analysis.noise import Noise, NoiseFloors
from orchestrator.analysis.scatter import Scatter
from orchestrator.dataset import Dataset
from orchestrator.networks import Model
from orchestrator.records.run_folder import Skip
from orchestrator.records.stored import StoredRun, StoredTrial
from orchestrator.records.timeline import read_timeline
from orchestrator.report import html
from orchestrator.report.studies import StudyTable, study_sections
from orchestrator.report.study2020.sections import paper_sections
from orchestrator.trial import Measure, Outcome
from tests import fake_run as fake

TIMEOUT = Outcome(status="timeout", fault="subject", reason="still running after 60 s")
SIX = range(6)
NO_FLOORS = NoiseFloors()
MXNET_NOISE = NoiseFloors({("mxnet", "cpu"): Noise((Scatter(0.04, 9.0),) * 6, ("control",))})
RESNET32 = Model(name="resnet", depth=32)


def timed(asked, seconds=0.1, accuracy=0.9, outcome=fake.OK, inputs=0.001, extra=()):
    said = []
    for event in fake.training(seconds, accuracy=accuracy):
        fields = event.fields
        if event.kind == "epoch":
            steps = len(fields["input_seconds"])
            fields |= {"input_seconds": [inputs] * steps, "epoch_seconds": (seconds + inputs) * steps}
        said.append((event.kind, fields))
    record = fake.trial_record(asked)
    return StoredTrial(record, outcome, fake.ENDED, read_timeline(fake.events(*said, *extra)))


def run(*trials, **facts):
    return StoredRun(fake.run_facts(**facts), tuple(trials), ())


def skip(framework, variant, reason):
    label = f"{framework}:{variant} IDSIA@48 cpu"
    return Skip(label=label, framework=framework, variant=variant, cell="IDSIA@48", device="cpu", reason=reason)


def only(sections):
    (section,) = sections
    return section


def rows_of(section):
    (table,) = section.tables
    return table.rows


# ---- pairs: what each setting bought


def builds(variant_seconds, model=fake.IDSIA, size=48, framework="mxnet"):
    return [
        timed(fake.trial(framework, variant, model, size, repeat=repeat), seconds)
        for repeat in SIX
        for variant, seconds in variant_seconds.items()
    ]


MKL = ("mxnet:1.5", "mxnet:1.5-mkl")
OMP = ("mxnet:1.5", "mxnet:1.5-omp")


def tuned(*trials, pairs=(MKL, OMP), **facts):
    return run(*trials, study="build-flags", pairs=pairs, **facts)


def test_pairs_that_share_a_baseline_are_each_measured_to_it():
    section = only(study_sections(tuned(*builds({"1.5": 0.1, "1.5-mkl": 0.2, "1.5-omp": 0.05})), NO_FLOORS))
    assert [(row["candidate"], row["words"], row["pairs"]) for row in rows_of(section)] == [
        ("mxnet:1.5-mkl", "2.00x slower [2.00, 2.00]", 6),
        ("mxnet:1.5-omp", "2.00x faster [2.00, 2.00]", 6),
    ]


def test_the_papers_figure_stands_beside_its_pair_and_cell():
    trials = builds({"1.5": 0.1, "1.5-mkl": 0.2, "1.5-omp": 0.05})
    trials += builds({"1.5": 0.1, "1.5-mkl": 0.05, "1.5-omp": 0.05}, fake.RESNET, 32)
    rows = rows_of(only(study_sections(tuned(*trials), NO_FLOORS)))
    assert [(row["candidate"], row["cell"]) for row in rows if row["paper"]] == [("mxnet:1.5-mkl", "IDSIA@48 cpu")]
    assert next(row["paper"] for row in rows if row["paper"]) == "1.92x (219.9 to 114.4 s an epoch)"


def test_every_setting_of_the_paper_has_a_sentence():
    section = only(study_sections(tuned(*builds({"1.5": 0.1, "1.5-mkl": 0.2, "1.5-omp": 0.05})), NO_FLOORS))
    said = "\n".join(section.verdicts)
    assert "in the paper 1.92x (219.9 to 114.4 s an epoch); here mxnet:1.5-mkl beside mxnet:1.5: 2.00x slower" in said
    assert "in the paper 1.40x (198.8 to 141.5 s an epoch): not measured in this run." in said
    assert "in the paper 1.78x (298.6 to 167.8 s an epoch): not measured in this run." in said
    assert "in the paper 1.06x (22.4 to 21.1 s an epoch): not measured in this run." in said


def test_a_pair_with_a_failed_trial_is_a_row_with_its_reason():
    trials = builds({"1.5": 0.1, "1.5-omp": 0.05})
    trials += [timed(fake.trial("mxnet", "1.5-mkl", fake.IDSIA, 48), 0.1, outcome=TIMEOUT)]
    first, second = rows_of(only(study_sections(tuned(*trials), NO_FLOORS)))
    assert "not compared: mxnet:1.5-mkl IDSIA@48 cpu seed 0 repeat 0 ended timeout" in first["words"]
    assert (first["ratio"], second["verdict"]) == (None, "faster")


def test_a_build_that_failed_in_one_cell_counts_in_the_other():
    trials = builds({"1.5": 0.1, "1.5-mkl": 0.05}, fake.RESNET, 32)
    trials += [
        timed(fake.trial("mxnet", "1.5", fake.IDSIA, 48)),
        timed(fake.trial("mxnet", "1.5-mkl", fake.IDSIA, 48), outcome=TIMEOUT),
    ]
    rows = rows_of(only(study_sections(tuned(*trials, pairs=(MKL,)), NO_FLOORS)))
    assert {row["cell"]: row["verdict"] for row in rows} == {"IDSIA@48 cpu": None, "ResNet-20@32 cpu": "faster"}


def test_a_build_that_was_skipped_is_a_row_with_that_reason():
    stored = tuned(*builds({"1.5": 0.1}), pairs=(MKL,), skips=(skip("mxnet", "1.5-mkl", "no wheel for this machine"),))
    (row,) = rows_of(only(study_sections(stored, NO_FLOORS)))
    assert row["words"] == "not compared: mxnet:1.5-mkl did not run: no wheel for this machine"


def test_a_pair_of_which_nothing_ran_is_a_row():
    (row,) = rows_of(only(study_sections(tuned(pairs=(MKL,)), NO_FLOORS)))
    assert (row["cell"], row["words"]) == ("all", "not compared: mxnet:1.5 did not run")


def test_a_pair_in_two_cells_has_a_mean_of_its_own():
    trials = builds({"1.5": 0.1, "1.5-mkl": 0.05}) + builds({"1.5": 0.1, "1.5-mkl": 0.0125}, fake.RESNET, 32)
    *_, mean = rows_of(only(study_sections(tuned(*trials, pairs=(MKL,)), NO_FLOORS)))
    assert (mean["cell"], mean["ratio"], mean["verdict"]) == ("geometric mean", pytest.approx(4.0), "faster")


def test_the_noise_of_earlier_comparisons_is_named():
    section = only(study_sections(tuned(*builds({"1.5": 0.1, "1.5-mkl": 0.09}), pairs=(MKL,)), MXNET_NOISE))
    assert rows_of(section)[0]["noise_floor"] == pytest.approx(1.17, abs=0.02)
    assert "mxnet cpu 20.0 % (1 comparison on record)" in section.about


def test_a_run_without_study_and_pairs_has_no_answers():
    assert study_sections(run(timed(fake.trial())), NO_FLOORS) == []


# ---- loader workers


def loading(workers, seconds, inputs, repeats=SIX, framework="pytorch", outcome=fake.OK):
    measure = Measure(feed="native", loader_workers=workers)
    return [
        timed(fake.trial(framework, "2.13", repeat=r, measure=measure), seconds, inputs=inputs, outcome=outcome)
        for r in repeats
    ]


def loaders(*trials):
    return only(study_sections(run(*trials, study="loader-workers"), NO_FLOORS))


def test_loader_workers_keep_step_and_input_apart():
    section = loaders(*loading(0, 0.1, 0.010), *loading(4, 0.1, 0.021))
    zero, four = rows_of(section)
    assert (zero["step_ms"], zero["input_ms"], four["input_ms"]) == pytest.approx((100, 10, 21))
    assert (zero["input_s"], zero["epoch_s"]) == pytest.approx((0.3, 3.3))


def test_an_epoch_is_held_against_the_one_with_fewest_workers():
    section = loaders(*loading(16, 0.1, 0.12), *loading(0, 0.1, 0.010))
    zero, sixteen = rows_of(section)
    assert (zero["workers"], zero["words"]) == (0, None)
    assert sixteen["words"] == "2.00x as long [2.00, 2.00]"
    assert section.verdicts == (
        "pytorch:2.13 in ResNet-20@32 cpu: with 16 workers an epoch takes 2.00x as long [2.00, 2.00].",
    )


def test_the_papers_loaders_stand_beside_pytorchs_alone():
    section = loaders(*loading(0, 0.1, 0.01), *loading(16, 0.1, 0.01), *loading(0, 0.1, 0.01, framework="mxnet"))
    figures = {(row["subject"], row["workers"]): (row["paper_s"], row["paper_times"]) for row in rows_of(section)}
    assert figures["pytorch:2.13", 0] == (21.1, 1.0)
    assert figures["pytorch:2.13", 16] == (23.4, pytest.approx(1.109, abs=1e-3))
    assert figures["mxnet:2.13", 0] == (None, None)
    assert "21.1 s an epoch with 0, 22.3 s an epoch with 4, 23.4 s an epoch with 16 workers" in section.notes[0]


def test_fewer_than_six_runs_give_no_verdict_on_loaders():
    _, four = rows_of(loaders(*loading(0, 0.1, 0.01, range(2)), *loading(4, 0.1, 0.12, range(2))))
    assert four["words"].endswith("(no verdict from fewer than 6 pairs)")


def test_a_framework_without_a_loader_is_a_row_with_the_reason():
    cannot = Outcome(status="unsupported", fault="subject", reason="feed: it keeps its own order")
    section = loaders(*loading(4, 0.1, 0.01, range(1), "cntk", cannot))
    assert (rows_of(section)[0]["note"], section.verdicts) == ("unsupported: feed: it keeps its own order", ())


# ---- determinism


def repeated(hashes, framework="pytorch", variant="2.13"):
    return [
        timed(
            fake.trial(framework, variant, repeat=repeat),
            extra=[("fingerprint", {"epoch": 0, "weights": {"conv1.weight": said}, "predictions": {"valid": "v"}})],
        )
        for repeat, said in enumerate(hashes)
    ]


def test_each_subject_is_graded_and_its_first_difference_named():
    trials = [*repeated("aaa"), *repeated("aab", variant="1.3")]
    section = only(study_sections(run(*trials, study="determinism"), NO_FLOORS))
    assert [(row["subject"], row["grade"], row["layer"]) for row in rows_of(section)] == [
        ("pytorch:1.3", "loss-exact", "epoch 1, conv1.weight (1 of 1 arrays)"),
        ("pytorch:2.13", "bit-exact", None),
    ]
    assert section.verdicts[1] == "pytorch:2.13 in ResNet-20@32 cpu, seed 0: bit-exact over 3 runs."
    assert "29.4 s an epoch instead of 16.6: 1.77x as long" in section.notes[0]


def test_what_cannot_be_graded_is_a_row_with_the_reason():
    failed = timed(fake.trial("cntk", "2.7"), outcome=TIMEOUT)
    (row,) = rows_of(only(study_sections(run(failed, study="determinism"), NO_FLOORS)))
    assert (row["grade"], row["note"]) == (None, "timeout: still running after 60 s")


def test_the_cost_of_the_switches_is_a_pair():
    trials = builds({"2.13": 0.1, "2.13-deterministic": 0.15}, framework="pytorch")
    pair = ("pytorch:2.13", "pytorch:2.13-deterministic")
    _, cost = study_sections(run(*trials, study="determinism", pairs=(pair,)), NO_FLOORS)
    assert [row["words"] for row in rows_of(cost)] == ["1.50x slower [1.50, 1.50]"]


# ---- clahe, input size, depth


def over_seeds(accuracies, seconds=0.1, **asked):
    return [timed(fake.trial(seed=seed, **asked), seconds, accuracy) for seed, accuracy in enumerate(accuracies)]


def test_clahe_shows_median_and_range_of_error_with_and_without():
    trials = over_seeds([0.9, 0.91, 0.95], dataset=Dataset(clahe=False)) + over_seeds([0.95, 0.96, 0.97])
    with_, without = rows_of(only(study_sections(run(*trials, study="clahe"), NO_FLOORS)))
    assert [(row["level"], row["runs"]) for row in (with_, without)] == [("with CLAHE", 3), ("without CLAHE", 3)]
    keys = ("error_test", "error_test_low", "error_test_high")
    assert [without[key] for key in keys] == pytest.approx([0.10, 0.06, 0.11])  # the test accuracy is 0.01 lower


def test_filters_are_compared_with_none_and_tell_their_time():
    plain = over_seeds([0.9, 0.91, 0.95], dataset=Dataset(filters=()))
    trials = over_seeds([0.95, 0.96, 0.97], dataset=Dataset(filters=("gamma", "lab"))) + plain
    first, second = rows_of(only(study_sections(run(*trials, study="filters"), NO_FLOORS)))
    assert (first["level"], second["level"]) == ("none", "gamma, lab")
    assert "points lower than none" in second["error_words"]
    assert "filters_ms" in first


@pytest.mark.parametrize(
    ("without", "says"),
    [
        (
            [0.90, 0.91, 0.92, 0.90, 0.91, 0.92],
            "4.50 points higher than with CLAHE in the median of 6 seeds [+3.00, +5.00]; shown",
        ),
        ([0.90, 0.97, 0.92, 0.97, 0.91, 0.97], "no difference shown"),
        ([0.90, 0.90, 0.90], "fewer than 6 seeds give no verdict"),
    ],
)
def test_clahe_is_judged_seed_by_seed(without, says):
    trials = over_seeds([0.95, 0.95, 0.95, 0.95, 0.96, 0.96])
    section = only(
        study_sections(run(*trials, *over_seeds(without, dataset=Dataset(clahe=False)), study="clahe"), NO_FLOORS)
    )
    (verdict,) = section.verdicts
    assert says in verdict


def test_repeats_of_one_seed_are_not_seeds():
    trials = [timed(fake.trial(repeat=repeat), accuracy=0.9) for repeat in SIX]
    trials += [timed(fake.trial(repeat=repeat, dataset=Dataset(clahe=False)), accuracy=0.8) for repeat in SIX]
    (verdict,) = only(study_sections(run(*trials, study="clahe"), NO_FLOORS)).verdicts
    assert "in the median of 1 seed [+10.00, +10.00]; fewer than 6 seeds give no verdict" in verdict


def test_input_sizes_show_time_and_error_of_paper_at_32_and_48():
    trials = [t for size, s in ((32, 0.1), (48, 0.2), (64, 0.4)) for t in over_seeds([0.9] * 6, s, input_size=size)]
    section = only(study_sections(run(*trials, study="input-size"), NO_FLOORS))
    rows = rows_of(section)
    assert [row["time_words"] for row in rows] == [None, "2.00x as long [2.00, 2.00]", "4.00x as long [4.00, 4.00]"]
    assert [row["error_paper"] for row in rows] == [pytest.approx(0.04), pytest.approx(0.03), None]
    assert any("Erratum 2" in note for note in section.notes)


def test_depths_are_levels_of_one_family():
    trials = over_seeds([0.9] * 6) + over_seeds([0.9] * 6, 0.16, model=RESNET32)
    section = only(study_sections(run(*trials, study="depth"), NO_FLOORS))
    assert [(row["cell"], row["level"]) for row in rows_of(section)] == [
        ("ResNet at 32x32 cpu", "ResNet-20"),
        ("ResNet at 32x32 cpu", "ResNet-32"),
    ]
    assert "a step takes 1.60x as long [1.60, 1.60]." in section.verdicts[0]


def test_a_study_of_which_every_trial_failed_has_its_rows():
    trials = [timed(fake.trial(), outcome=TIMEOUT), timed(fake.trial(dataset=Dataset(clahe=False)), outcome=TIMEOUT)]
    rows = rows_of(only(study_sections(run(*trials, study="clahe"), NO_FLOORS)))
    assert [(row["runs"], row["error_test"], row["note"]) for row in rows] == [
        (0, None, "timeout: still running after 60 s")
    ] * 2


# ---- findings that studies of their own decide


def finding(name, study, stored):
    """The row of a finding, in the report of a run of one framework."""
    sections = paper_sections(run(timed(fake.trial()), timed(fake.trial("mxnet", "1.5"))), NO_FLOORS, {study: stored})
    table = next(table for section in sections for table in section.tables if table.name == "findings")
    return next(row for row in table.rows if row["name"] == name)


def test_a_setting_that_makes_it_faster_holds():
    stored = tuned(
        *builds({"1.5": 0.1, "1.5-mkl": 0.05, "1.5-mkl-omp": 0.02}), pairs=(MKL, ("mxnet:1.5", "mxnet:1.5-mkl-omp"))
    )
    row = finding("tuning-mxnet-cpu", "build-flags", stored)
    assert (row["verdict"], row["paper"]) == ("holds", "as stated")
    assert row["numbers"].startswith("mxnet:1.5-mkl-omp is 5.00x faster")
    assert "(run 20261121-120000-quick)" in row["numbers"]


def test_a_setting_that_makes_it_slower_fails():
    stored = tuned(*builds({"1.5": 0.1, "1.5-mkl": 0.2}), pairs=(MKL,))
    assert finding("tuning-mxnet-cpu", "build-flags", stored)["verdict"] == "fails"


def test_a_setting_without_a_run_names_its_spec():
    row = finding("tuning-neon-cpu", "build-flags", tuned(*builds({"1.5": 0.1, "1.5-mkl": 0.2}), pairs=(MKL,)))
    assert (row["verdict"], row["numbers"]) == ("not decided", "not measured; experiments/build-flags.json measures it")


@pytest.mark.parametrize(("hashes", "verdict"), [("aaa", "holds"), ("aab", "fails")])
def test_training_repeats_where_every_row_is_bit_exact(hashes, verdict):
    stored = run(*repeated("aaa"), *repeated(hashes, "tensorflow", "2.21"), study="determinism")
    assert finding("cpu-repeats", "determinism", stored)["verdict"] == verdict


def test_deterministic_switches_say_nothing_of_repeating():
    stored = run(*repeated("aaa"), *repeated("aab", variant="2.13-deterministic"), study="determinism")
    assert finding("cpu-repeats", "determinism", stored)["numbers"].startswith("1 of 1 rows are bit-exact")


@pytest.mark.parametrize(("inputs", "verdict"), [(0.5, "holds"), (0.0, "fails"), (0.1, "not decided")])
def test_workers_pay_where_an_epoch_is_shorter_with_them(inputs, verdict):
    stored = run(*loading(0, 0.1, 0.1), *loading(4, 0.1, inputs), study="loader-workers")
    assert finding("loader-workers", "loader-workers", stored)["verdict"] == verdict


def unit_gain(theirs, own):
    trials = [
        timed(fake.trial("cntk", variant, seed=seed), accuracy=accuracy)
        for variant, of in (("2.7", theirs), ("2.7_unit-gain", own))
        for seed, accuracy in enumerate(of)
    ]
    return run(*trials, study="unit-gain")


@pytest.mark.parametrize(
    ("own", "verdict"),
    [([0.8, 0.81, 0.79, 0.8], "holds"), ([0.99, 0.98, 0.99, 0.98], "fails"), ([0.9, 0.99, 0.8, 0.9], "not decided")],
)
def test_unit_gain_harms_where_the_error_is_surely_larger(own, verdict):
    row = finding("unit-gain", "unit-gain", unit_gain([0.9, 0.91, 0.89, 0.9], own))
    assert row["verdict"] == verdict
    assert row["numbers"].startswith("its test error is ")


def test_unit_gain_is_a_study_of_two_levels_of_one_framework():
    (section,) = study_sections(unit_gain([0.9] * 6, [0.8] * 6), NO_FLOORS)
    assert [(row["subject"], row["level"], row["runs"]) for row in rows_of(section)] == [
        ("cntk", "unit_gain=False", 6),
        ("cntk", "unit_gain=True", 6),
    ]


# ---- page, Markdown, CSV, JSON


def everything():
    trials = [
        *over_seeds([0.9] * 2),
        *over_seeds([0.8] * 2, dataset=Dataset(clahe=False)),
        *builds({"1.5": 0.1, "1.5-mkl": 0.2}),
    ]
    return run(*trials, study="clahe", pairs=(MKL, OMP))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "altair", None)
    html.render(everything(), tmp_path)
    return tmp_path


def test_every_answer_is_on_the_page_with_a_link_to_it(folder):
    page = (folder / "index.html").read_text()
    for anchor in ("clahe", "pairs", "study-tables"):
        assert f'<h2 id="{anchor}">' in page
        assert f'<a href="#{anchor}">' in page
    assert "fewer than 6 seeds give no verdict" in page
    assert "not compared: mxnet:1.5-omp did not run" in page


def test_every_answer_is_in_the_markdown(folder):
    text = (folder / "results.md").read_text()
    assert all(title in text for title in ("## CLAHE", "## Builds compared", "## The study's tables", "## Caveats"))


def test_every_table_is_a_csv(folder):
    rows = list(csv.DictReader(io.StringIO((folder / "pairs.csv").read_text())))
    assert [row["candidate"] for row in rows] == ["mxnet:1.5-mkl", "mxnet:1.5-omp"]
    assert {"clahe.csv", "study-32-cpu.csv"} <= {path.name for path in folder.iterdir()}


def test_every_table_is_json():
    for section in study_sections(everything(), NO_FLOORS):
        for table in section.tables:
            assert json.loads(json.dumps(table.rows, allow_nan=False)) == table.rows


def test_a_table_with_one_heading_twice_is_refused():
    with pytest.raises(ValueError, match="the table speeds has a heading twice: ours, the paper's, the paper's"):
        StudyTable("speeds", "", {"ours": "ours", "speed": "the paper's", "error": "the paper's"}, ())


def test_a_column_of_notes_is_shown_where_there_is_one():
    headings, quiet, noted = {"cell": "cell", "note": "note"}, {"cell": "a", "note": ""}, {"cell": "b", "note": "slow"}
    assert StudyTable("t", "", headings, [quiet]).texts == [{"cell": "a"}]
    assert StudyTable("t", "", headings, [quiet, noted]).texts == [
        {"cell": "a", "note": "–"},
        {"cell": "b", "note": "slow"},
    ]
