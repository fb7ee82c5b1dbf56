"""A sweep on pictures of one's own: normalised, changed at random, as features; audited, and told by class."""

import csv
import io
import json

import numpy as np
import pytest

from orchestrator import data
from orchestrator.data.source import Reading
from orchestrator.errors import SpecError
from tests.sweeping import SPEC, run
from tests.unit.data.own_pictures import named, registered, written

LABELS = ("кошка", "<b>dog", "bird")


def spec(world, **dataset):
    asked = {"name": "mine", "filters": [], "validation_fraction": 0.25, **dataset}
    world[1].write_text(json.dumps({**SPEC, "dataset": asked, "axes": {**SPEC["axes"], "seeds": [0]}}))
    return world


def test_own_pictures_are_trained_and_told_by_class(world, catalogue, tmp_path):
    written(tmp_path / "set", named("train", "test", classes=LABELS, count=12))
    registered(tmp_path / "set", world[0])
    augment = {"shift": 0.1, "rotation_degrees": 15, "brightness": 0.2, "erase": 0.2, "flip": ["bird"]}
    result, said = run(spec(world, normalise="standard", augment=augment), catalogue)
    (trial,) = result.report.stored.trials
    assert trial.outcome.status == "ok", said
    assert (trial.data.classes, trial.data.recognised) == (3, "own")
    assert result.report.stored.facts.class_names == {"mine": tuple(sorted(LABELS))}
    text = (result.report.page.parent / "accuracy-by-class.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["class"] for row in rows] == sorted(LABELS)
    assert sum(int(row["pictures"]) for row in rows) == 36
    page = result.report.page.read_text()
    assert "&lt;b&gt;dog" in page
    assert "<b>dog" not in page.split("<script")[0]


def test_the_linear_baseline_trains_on_features(world, catalogue, tmp_path):
    written(tmp_path / "set", named("train", "test", count=12))
    data.register("mine", tmp_path / "set", world[0], Reading())
    spec(world)
    asked = json.loads(world[1].read_text())
    asked["axes"] |= {"models": [{"name": "linear", "input_sizes": [24]}], "filters": [["hog"], ["clahe", "hue"]]}
    world[1].write_text(json.dumps({**asked, "study": "filters"}))
    result, said = run(world, catalogue)
    assert [trial.outcome.status for trial in result.report.stored.trials] == ["ok", "ok"], said
    shapes = {trial.trial.network_input for trial in result.report.stored.trials}
    assert {tuple(shape) for shape in shapes} == {(1, 12, 12), (1, 16, 16)}
    (section,) = [section for section in result.report.sections if section.anchor == "filters"]
    assert all(np.isfinite(row["filters_ms"]) for row in section.tables[0].rows)


def test_a_class_that_is_not_there_is_said_before_anything(world, catalogue, tmp_path):
    written(tmp_path / "set", named("train", "test", classes=LABELS))
    registered(tmp_path / "set", world[0])
    with pytest.raises(SpecError, match=r"dataset.augment.flip names 'birt', which is no class .* Did you mean 'bird'"):
        run(spec(world, augment={"flip": ["birt"]}), catalogue)
