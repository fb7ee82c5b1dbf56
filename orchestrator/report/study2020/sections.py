"""The sections of a report that set a run beside the study of 2020."""

from orchestrator.analysis.noise import NoiseFloors
from orchestrator.records.stored import StoredRun
from orchestrator.report.studies import Section
from orchestrator.report.study2020.findings import Answers, findings
from orchestrator.report.study2020.form import tables_of_the_study


def paper_sections(stored: StoredRun, floors: NoiseFloors, answers: Answers | None = None) -> list[Section]:
    """Its findings and its tables; none if no trial trained as the study did.

    answers: the newest runs of the studies that decide findings of their own.
    """
    return [section for section in (findings(stored, answers or {}, floors), tables_of_the_study(stored)) if section]
