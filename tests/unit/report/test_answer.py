"""The sentence in which a sweep of several frameworks ends, and the answer with which its page begins."""

from dataclasses import replace

from orchestrator.analysis.noise import NoiseFloors
from orchestrator.report.answer import answer, answers, ranked
from orchestrator.report.caveats import caveats
from orchestrator.report.next_step import next_step
from orchestrator.report.studies.section import Section, StudyTable
from orchestrator.report.tables import summary_rows
from orchestrator.trial import Outcome
from tests import fake_run as fake
from tests.fake_stored import NO_MEMORY, audited, checked, run, timed

SUBJECTS = (("pytorch", "2.13"), ("tensorflow", "2.21"))
CHECKS = [checked(framework=name, variant=variant, ordinal=90 + at) for at, (name, variant) in enumerate(SUBJECTS)]


def sweep(seconds, repeats=2, checks=CHECKS, **facts):
    """A run of both frameworks whose steps take so many seconds."""
    trials = [
        timed(fake.trial(*subject, repeat=repeat), 10 * at + repeat, step_seconds=seconds[at])
        for at, subject in enumerate(SUBJECTS)
        for repeat in range(repeats)
    ]
    return run(*trials, checks=checks, **facts)


def of_turns(takes):
    """A run of three frameworks, of (framework, variant, seconds of a step, the turns in which it ran)."""
    trials = [
        timed(fake.trial(name, variant, repeat=repeat), 20 * at + repeat, step_seconds=seconds)
        for at, (name, variant, seconds, repeats) in enumerate(takes)
        for repeat in repeats
    ]
    return run(*trials, checks=[*CHECKS, checked(framework="cntk", variant="2.7", ordinal=92)])


def sentences(stored):
    """What the run's rankings say."""
    rows = summary_rows(stored)
    return answers(rows, ranked(stored, rows, NoiseFloors()))


def test_the_fastest_is_named_with_factor_and_interval():
    (said,) = sentences(sweep((0.1, 0.3), repeats=6))
    assert said == (
        "pytorch:2.13 trains ResNet-20@32 on the CPU 3.00x as fast as tensorflow:2.21 [3.00, 3.00] in 6 pairs of runs; "
        "both compute the same to 2.1e-6."
    )


def test_two_that_are_not_told_apart_are_named_together():
    trials = [
        timed(fake.trial(*subject, repeat=repeat), 2 * repeat + at, step_seconds=0.1 + 0.01 * ((repeat + at) % 3))
        for at, subject in enumerate(SUBJECTS)
        for repeat in range(6)
    ]
    (said,) = sentences(run(*trials, checks=CHECKS))
    assert said.startswith("ResNet-20@32 on the CPU: pytorch:2.13 and tensorflow:2.21 are not told apart in 6 pairs")


def test_few_pairs_are_said_to_give_no_verdict():
    (said,) = sentences(sweep((0.1, 0.3)))
    assert "3.00x as fast as tensorflow:2.21 (3.00 to 3.00) in 2 pairs of runs (6 are needed for a verdict)" in said


def test_where_one_has_few_pairs_all_stand_by_their_times():
    """A scout takes fewer turns of a cell whose time is known."""
    takes = (("pytorch", "2.13", 0.1, range(6)), ("tensorflow", "2.21", 0.11, range(4)), ("cntk", "2.7", 0.2, range(6)))
    (said,) = sentences(of_turns(takes))
    assert "1.10x as fast as tensorflow:2.21 (1.10 to 1.10), 2.00x as fast as cntk:2.7 [2.00, 2.00]" in said
    assert said.split(";")[0].endswith("in 4 to 6 pairs of runs (6 are needed for a verdict)")


def test_a_surely_slower_one_is_never_named_first():
    """TensorFlow ran in the quick turns alone, so that its median is the least, yet it lost all its pairs."""
    quick, slow = range(6), range(6, 14)
    takes = [("pytorch", "2.13", 0.1, quick), ("pytorch", "2.13", 0.3, slow), ("tensorflow", "2.21", 0.12, quick)]
    takes.append(("cntk", "2.7", 0.4, range(4)))
    (said,) = sentences(of_turns(takes))
    assert said.startswith("pytorch:2.13 trains ResNet-20@32 on the CPU 1.20x as fast as tensorflow:2.21 [1.20, 1.20]")


def test_one_that_shares_no_turn_with_the_first_has_no_factor():
    """As in a run some of whose trials were deleted."""
    takes = [("pytorch", "2.13", 0.1, (0, 1)), ("tensorflow", "2.21", 0.2, (2, 3)), ("cntk", "2.7", 0.4, range(4))]
    (said,) = sentences(of_turns(takes))
    assert "4.00x as fast as cntk:2.7 (4.00 to 4.00) in 2 pairs of runs" in said
    assert said.split(";")[0].endswith("are needed for a verdict), never in a turn with tensorflow:2.21")


def test_a_single_run_of_each_gives_no_answer():
    assert sentences(sweep((0.1, 0.3), repeats=1)) == []


def test_what_did_not_pass_its_check_is_not_ranked():
    assert sentences(sweep((0.1, 0.3), checks=CHECKS[:1])) == []


def test_what_did_not_end_ok_is_not_ranked():
    stored = sweep((0.1, 0.3))
    bad = timed(fake.trial("tensorflow", "2.21", repeat=2), 30, NO_MEMORY)
    assert sentences(run(*stored.trials, bad, checks=CHECKS)) == []


def test_a_run_that_compares_builds_gives_no_such_answer():
    assert sentences(sweep((0.1, 0.3), compared=("pytorch:2.13", "pytorch:2.13"))) == []


def test_the_oracle_competes_with_none():
    trials = [timed(fake.trial("numpy_ref", "1.0", repeat=at), 50 + at, step_seconds=0.01) for at in range(2)]
    checks = [*CHECKS, checked(framework="numpy_ref", variant="1.0", ordinal=99)]
    (said,) = sentences(run(*sweep((0.1, 0.3)).trials, *trials, checks=checks))
    assert "numpy_ref" not in said


def lines(stored, floors=None, sections=()):
    """The answer's sentences, by question."""
    rows = summary_rows(stored)
    floors = floors or NoiseFloors()
    said = answer(stored, rows, ranked(stored, rows, floors), floors, sections, caveats(stored, rows))
    return {line.question: " ".join(line.sentences) for line in said}


def test_of_single_runs_the_answer_gives_a_range_and_no_order():
    said = lines(sweep((0.1, 0.3), repeats=1))["What is fastest?"]
    assert "a step takes 100 ms (pytorch:2.13) to 300 ms (tensorflow:2.21)" in said
    assert "No order is judged: that takes 6 repeats of two frameworks or more" in said


def test_the_answer_of_a_ranking_is_its_sentence():
    assert "3.00x as fast as tensorflow:2.21 [3.00, 3.00]" in lines(sweep((0.1, 0.3), repeats=6))["What is fastest?"]


def test_the_answer_of_a_comparison_is_its_verdict():
    trials = [
        timed(fake.trial(variant=variant, repeat=repeat), 2 * repeat + at, step_seconds=seconds)
        for repeat in range(6)
        for at, (variant, seconds) in enumerate((("2.13", 0.1), ("1.3", 0.2)))
    ]
    said = lines(run(*trials, compared=("pytorch:2.13", "pytorch:1.3")))["What is fastest?"]
    assert said.startswith("pytorch ResNet-20@32 cpu: pytorch:1.3 beside pytorch:2.13 is 2.00x slower [2.00, 2.00]")


def test_the_answer_says_how_many_rows_are_proven():
    said = lines(sweep((0.1, 0.3), checks=CHECKS[:1]))["Do all compute the same?"]
    assert said == "1 of 2 rows passed their selfcheck; their logits are within 2.1e-6 of the float64 reference."


def test_an_audit_that_is_not_made_is_in_the_answer():
    kept = timed(extra=fake.events(("audited", {"steps": [[0, 3]], "seconds": 0.1})))
    said = lines(run(kept, checks=CHECKS))["Do all compute the same?"]
    assert said.endswith("Audited steps: 0 rows failed and 1 are not made yet, of 1.")


def test_the_answer_names_the_first_caveats_and_counts_the_rest():
    stored = sweep((0.1, 0.3), repeats=1, checks=(), host=fake.host(is_virtual=True))
    said = lines(stored)["What limits these numbers?"]
    count = len(caveats(stored, summary_rows(stored)))
    assert said.endswith(f"{count - 2} more below.")


def test_what_tuning_gave_is_told_only_where_it_was_asked():
    assert "What did tuning give?" not in lines(sweep((0.1, 0.3)))
    mkl = {"candidate": "mxnet:1.5-mkl", "verdict": "faster", "ratio": 1.9, "words": "1.90x faster [1.80, 2.00]"}
    newer = {"candidate": "mxnet:1.9", "verdict": "unclear", "ratio": 1.0, "words": "1.000"}
    rows = [{"baseline": "mxnet:1.5", "cell": "IDSIA@48 cpu", **row} for row in (mkl, newer)]
    pairs = Section("pairs", "Builds compared", "", (), (StudyTable("pairs", "", {"candidate": "candidate"}, rows),))
    said = lines(sweep((0.1, 0.3)), sections=[pairs])["What did tuning give?"]
    assert said == (
        "mxnet:1.5-mkl is 1.90x faster [1.80, 2.00] than mxnet:1.5 in IDSIA@48 cpu. 1 of 2 rows are shown to be faster."
    )


def test_a_run_of_nothing_was_not_timed():
    assert lines(run())["What is fastest?"] == "No trial was timed."


def test_repeats_of_one_framework_are_not_called_too_few():
    trials = [
        timed(fake.trial("mxnet", variant, repeat=repeat), 10 * at + repeat, step_seconds=seconds)
        for at, (variant, seconds) in enumerate((("1.5", 0.1), ("1.9", 0.3)))
        for repeat in range(6)
    ]
    said = lines(run(*trials))["What is fastest?"]
    assert "fewer than" not in said
    assert "No order is judged: that takes 6 repeats of two frameworks or more" in said


def test_cells_beyond_the_first_are_counted():
    rows = summary_rows(sweep((0.1, 0.3), repeats=1))
    cells = [fake.trial(input_size=size).cell for size in (32, 48, 64)]
    several = [replace(row, cell=cell) for cell in cells for row in rows]
    said = answer(run(), several, {}, NoiseFloors(), (), ())[0].sentences
    assert (len(said), said[1]) == (3, "2 more below.")


def beside(others, **facts):
    """Six repeats of both frameworks, with others at work beside each. others: percent, by framework."""
    trials = [
        timed(fake.trial(*subject, repeat=repeat), 10 * at + repeat, step_seconds=0.1, others=others[at])
        for at, subject in enumerate(SUBJECTS)
        for repeat in range(6)
    ]
    return run(*trials, checks=CHECKS, **facts)


def first_line(stored):
    rows = summary_rows(stored)
    said = answer(stored, rows, ranked(stored, rows, NoiseFloors()), NoiseFloors(), (), caveats(stored, rows))
    return said[0].question, " ".join(said[0].sentences)


def test_of_a_quiet_machine_nothing_is_said():
    assert first_line(beside((0.5, 0.5)))[0] == "What is fastest?"


def test_the_first_line_names_what_was_disturbed_the_most_first():
    assert first_line(beside((40.0, 90.0))) == (
        "Was the machine quiet?",
        "No. Other processes used the processors of 2 of 2 rows while they were timed, so these stand in no order: "
        "tensorflow:2.21 ResNet-20@32 cpu (90 %), pytorch:2.13 ResNet-20@32 cpu (40 %).",
    )


def test_trials_that_ended_disturbed_are_named_too():
    noisy = Outcome(status="disturbed", fault="environment", reason="other processes used 50 %")
    question, said = first_line(run(timed(outcome=noisy, others=50.0), checks=CHECKS))
    assert (question, "1 of 1 rows" in said, "(50 %)" in said) == ("Was the machine quiet?", True, True)


def test_a_row_of_unknown_load_is_named_and_leads_nothing():
    stored = beside((0.5, None))
    question, said = first_line(stored)
    assert question == "Was the machine quiet?"
    assert said.startswith("That is not known of 1 of 2 rows")
    assert sentences(stored) == []


def test_disturbed_rows_lead_no_sentence():
    assert sentences(beside((0.5, 40.0))) == []
    assert "What is fastest?" not in lines(beside((0.5, 40.0)))


def test_what_decides_about_the_numbers_is_the_first_caveat():
    stored = beside((40.0, 90.0))
    assert caveats(stored, summary_rows(stored))[0].startswith("Other processes used the processors of these trials")


def test_short_trials_tell_the_load_together():
    """Of 2.5 s each: three of them are long enough."""
    short = [timed(fake.trial(repeat=at), at + 1, others=1.0, epochs=1, step_seconds=0.05) for at in range(3)]
    assert [row.load for row in summary_rows(run(*short[:1]))] == ["unknown"]
    assert [row.load for row in summary_rows(run(*short))] == ["quiet"]


def test_too_few_repeats_end_with_the_command_that_decides():
    stored = sweep((0.1, 0.3), repeats=1, argv=("sweep", "--spec=my.json", "--json", "--seeds=1", "--repeats", "2"))
    assert next_step(stored, summary_rows(stored)) == (
        "What decides the order of ResNet-20@32 cpu: `invoke sweep --spec=my.json --seeds=1 --repeats=6`, about 12 "
        "minutes by the trials of this run."
    )
    assert lines(stored)["What to run next?"] == next_step(stored, summary_rows(stored))


def test_the_minutes_of_what_decides_hold_its_audits():
    stored = sweep((0.1, 0.3), repeats=1)
    with_audits = replace(stored, audits=tuple(audited(one) for one in stored.trials))
    trials, all_ = (
        float(next_step(one, summary_rows(one)).partition("about ")[2].split()[0]) for one in (stored, with_audits)
    )
    assert abs(all_ - 2 * trials) <= 1  # an audit of the fakes takes as long as a trial; both are rounded


def test_of_a_resumed_run_the_command_names_its_spec():
    stored = sweep((0.1, 0.3), repeats=1, argv=("sweep", "--resume"), engine="virtualenv")
    said = next_step(stored, summary_rows(stored))
    assert f"`invoke sweep --spec={stored.facts.run_id} --engine=virtualenv --repeats=6`" in said


def test_disturbed_repeats_ask_for_a_quiet_machine():
    stored = beside((0.5, 40.0))
    assert "--repeats=6` on a machine that does nothing else" in next_step(stored, summary_rows(stored))


def test_what_is_decided_asks_for_no_command():
    stored = sweep((0.1, 0.3), repeats=6)
    assert next_step(stored, summary_rows(stored)) == ""


def test_one_framework_or_builds_ask_for_no_command():
    one = run(timed(), checks=CHECKS)
    builds = sweep((0.1, 0.3), repeats=1, compared=("pytorch:2.13", "pytorch:2.13"))
    assert [next_step(stored, summary_rows(stored)) for stored in (one, builds)] == ["", ""]


def test_a_comparison_that_was_disturbed_leads_no_sentence():
    trials = [
        timed(fake.trial(variant=variant, repeat=repeat), 2 * repeat + at, step_seconds=seconds, others=60.0)
        for repeat in range(6)
        for at, (variant, seconds) in enumerate((("2.13", 0.1), ("1.3", 0.2)))
    ]
    said = lines(run(*trials, compared=("pytorch:2.13", "pytorch:1.3")))
    assert (next(iter(said)), "What is fastest?" in said) == ("Was the machine quiet?", False)
