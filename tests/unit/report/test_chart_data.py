"""The rows that charts draw."""

from itertools import pairwise

from orchestrator.report import chart_data
from tests import fake_run as fake
from tests.fake_stored import timed


def ends(*values, cell="ResNet-20@32"):
    """One line for each value, which it ends at."""
    return [
        {"cell": cell, "subject": f"s{at}", "process": at, "epoch": epoch, "accuracy": value if epoch == 2 else 0.0}
        for at, value in enumerate(values)
        for epoch in (1, 2)
    ]


def test_names_at_the_ends_of_lines_keep_clear_of_each_other():
    labels = chart_data.end_labels(ends(0.9, 0.901, 0.902, 0.3), "epoch", "accuracy")
    heights = sorted(label["accuracy"] for label in labels)
    assert all(high - low > 0.9 * 0.902 * chart_data.LABEL_ROOM for low, high in pairwise(heights))


def test_a_name_stands_at_the_end_of_its_own_line():
    labels = chart_data.end_labels(ends(0.9, 0.3), "epoch", "accuracy")
    assert [(one["subject"], one["epoch"], one["accuracy"]) for one in labels] == [("s1", 2, 0.3), ("s0", 2, 0.9)]


def test_lines_that_end_together_have_names_above_each_other():
    labels = chart_data.end_labels(ends(0.0, 0.0), "epoch", "accuracy")
    assert len({label["accuracy"] for label in labels}) == 2


def test_few_trials_have_a_line_each():
    points, what = chart_data.accuracy_lines([timed(), timed(fake.trial(repeat=1), 2)])
    assert [(point["process"], point["epoch"]) for point in points] == [(1, 1), (1, 2), (2, 1), (2, 2)]
    assert what == "a line for each trial"


def test_many_trials_of_a_subject_are_shown_by_their_median():
    trials = [timed(fake.trial(repeat=at), at + 1, epochs=1, accuracy=at / 10) for at in range(9)]
    (middle,), what = chart_data.accuracy_lines(trials)
    assert (middle["accuracy"], what) == (0.4, "the median of the trials of each subject")


def test_dots_beyond_the_most_are_thinned():
    points = [{"at": at} for at in range(10)]
    assert (chart_data.few(points, 20), len(chart_data.few(points, 4))) == (points, 4)
