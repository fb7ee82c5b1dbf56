"""The studies that a spec can name, each answered in a section of the report, on the console and in --json."""

from collections.abc import Callable

from orchestrator.analysis.noise import NoiseFloors
from orchestrator.records.stored import StoredRun
from orchestrator.report.studies import levels
from orchestrator.report.studies.batches import batches_section
from orchestrator.report.studies.classes import classes_section
from orchestrator.report.studies.determinism import determinism
from orchestrator.report.studies.inference import inference_section
from orchestrator.report.studies.loaders import loader_workers
from orchestrator.report.studies.pairs import pairs_section
from orchestrator.report.studies.ranks import ranks_section
from orchestrator.report.studies.rules import rule_section
from orchestrator.report.studies.section import Section, StudyRow, StudyTable
from orchestrator.report.studies.targets import target_section
from orchestrator.trial import Study

__all__ = ["Section", "StudyRow", "StudyTable", "classes_section", "ranks_section", "study_sections"]

_ANSWERS: dict[Study, Callable[[StoredRun, NoiseFloors], Section]] = {
    "clahe": lambda stored, floors: levels.levels(levels.CLAHE, stored, floors),
    "depth": lambda stored, floors: levels.levels(levels.DEPTH, stored, floors),
    "filters": lambda stored, floors: levels.levels(levels.FILTERS, stored, floors),
    "determinism": lambda stored, _: determinism(stored),
    "input-size": lambda stored, floors: levels.levels(levels.INPUT_SIZE, stored, floors),
    "loader-workers": loader_workers,
    "unit-gain": lambda stored, floors: levels.levels(levels.UNIT_GAIN, stored, floors),
}
"""'build-flags' has no entry: its pairs are its answer."""


def study_sections(stored: StoredRun, floors: NoiseFloors) -> list[Section]:
    """The sections of its inference, target, batch sizes, study, pairs and rule; of those that it has."""
    asked = stored.facts.study
    studied = [_ANSWERS[asked](stored, floors)] if asked in _ANSWERS else []
    sections = [inference_section(stored), target_section(stored), batches_section(stored), *studied]
    return [section for section in (*sections, pairs_section(stored, floors), rule_section(stored)) if section]
