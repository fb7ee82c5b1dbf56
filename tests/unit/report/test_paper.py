"""The paper's figures as we hold them, and our cells beside them."""

import sys

import pytest

from orchestrator.report import html
from orchestrator.report.paper import paper
from orchestrator.report.studies import beside_the_paper
from orchestrator.trial import Dataset, Measure, Model
from tests import fake_run as fake
from tests.fake_stored import run, timed


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


def test_our_cells_stand_beside_the_papers():
    section = beside_the_paper(
        run(timed(fake.trial(), step_seconds=0.1), timed(fake.trial("tensorflow", "2.21"), step_seconds=0.05))
    )
    (table,) = section.tables
    pytorch, tensorflow = table.rows
    assert pytorch["paper_images_per_second"] == pytest.approx(25 * 31367 / 3372.83)
    assert pytorch["ratio"] == pytest.approx(640 / (25 * 31367 / 3372.83))
    assert (pytorch["ours_times"], pytorch["paper_times"]) == (pytest.approx(2.0), 1.0)
    assert (tensorflow["ours_times"], tensorflow["accuracy_paper"]) == (1.0, pytest.approx(0.9763))
    assert section.verdicts == ()  # single runs order nothing


def test_the_machine_and_each_erratum_are_named():
    notes = beside_the_paper(run(timed(fake.trial()))).notes
    assert "The study used another machine" in notes[0]
    assert [note.partition(":")[0] for note in notes[1:]] == [f"Erratum {number}" for number in (1, 2, 3, 4, 5)]


@pytest.mark.parametrize(
    "asked",
    [
        fake.trial(input_size=64),
        fake.trial("numpy_ref", "1.0"),
        fake.trial(model=Model(name="resnet", depth=8)),
        fake.trial(dataset=Dataset(name="synthetic")),
        fake.trial(dataset=Dataset(clahe=False)),
        fake.trial(measure=Measure(feed="native")),
    ],
    ids=["64", "framework", "network", "drawn signs", "no CLAHE", "loader"],
)
def test_a_cell_that_the_paper_does_not_have_is_not_beside_it(asked):
    assert beside_the_paper(run(timed(asked))) is None


def test_notes_stand_below_the_table_where_there_is_no_order(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    html.render(run(timed(fake.trial())), tmp_path)
    _, _, beside = (tmp_path / "results.md").read_text().partition("## Beside the paper")
    assert beside.index("| cell |") < beside.index("- Erratum 1")
