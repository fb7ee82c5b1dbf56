"""Writes the report of a run from the store into the folder of reports."""

import contextlib
import gc
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.analysis.noise import NoiseFloors, noise_floors
from orchestrator.errors import StoreError
from orchestrator.home import Home
from orchestrator.networks import recorded_labels
from orchestrator.planning.tuned import read_tuned
from orchestrator.records.store import Store
from orchestrator.records.stored import StoredRun
from orchestrator.report.answer import answers, ranked, unquiet
from orchestrator.report.figures import begin_library
from orchestrator.report.html import render
from orchestrator.report.limit import limit_section
from orchestrator.report.next_step import next_step
from orchestrator.report.studies import Section, classes_section, ranks_section, study_sections
from orchestrator.report.study2020.findings import DECISIVE, Answers
from orchestrator.report.study2020.sections import paper_sections
from orchestrator.report.tables import SummaryRow, summary_rows
from orchestrator.report.tuning import tuning_section
from orchestrator.trial import Study


@dataclass(frozen=True)
class Report:
    """A run with its report: page, sections of its studies, answers (a sentence for each cell), summary rows.

    unquiet: which rows stand in no order because of the load beside them. next_step: the command that would decide; ''.
    """

    stored: StoredRun
    page: Path
    sections: Sequence[Section]
    answers: Sequence[str]
    rows: Sequence[SummaryRow]
    unquiet: Sequence[str] = ()
    next_step: str = ""


def require_writable(reports: Path) -> None:
    """Raises StoreError if no report can be written there: a sweep must learn that before its trials, not after."""
    try:
        reports.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=reports):
            pass
    except OSError as error:
        raise StoreError(
            f"{reports} cannot be written ({error.strerror}), and reports go there. Set WAYMARK_REPORTS to another "
            "folder."
        ) from None


def write_report(store: Store, run_id: str, home: Home, reports: Path) -> Report:
    """Write the report. Raises StoreError if there is no such run."""
    with _no_garbage_collection():
        return _write_report(store, run_id, home, reports)


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """A large run is millions of objects without a cycle, which a collection would walk through again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _write_report(store: Store, run_id: str, home: Home, reports: Path) -> Report:
    stored = store.run(run_id)
    with recorded_labels(stored.facts.labels):
        return _write_stored(store, stored, home, reports)


def _write_stored(store: Store, stored: StoredRun, home: Home, reports: Path) -> Report:
    run_id = stored.facts.run_id
    begin_library()
    facts = stored.facts
    is_repeated = any(job.trial.repeat or job.trial.seed for job in stored.trials)
    is_judged = facts.compared or facts.study or facts.pairs or is_repeated
    floors = noise_floors(store.comparisons_before(stored.facts)) if is_judged else NoiseFloors()
    rows = summary_rows(stored)
    ranking = ranked(stored, rows, floors)
    ranks = ranks_section(ranking)
    sections = [*study_sections(stored, floors), *([ranks] if ranks else [])]
    tuning = tuning_section(run_id, read_tuned(home.tuned))
    sections += [tuning] if tuning else []
    limit = limit_section(stored, rows)
    sections += [limit] if limit else []
    sections += paper_sections(stored, floors, deciding_runs(store, stored))
    classes = classes_section(stored)  # on the page only: every run of trainings has it
    shown = [*sections, *([classes] if classes else [])]
    page = render(stored, reports / run_id, home, floors, shown, rows, ranking)
    return Report(stored, page, sections, answers(rows, ranking), rows, unquiet(rows), next_step(stored, rows))


def deciding_runs(store: Store, stored: StoredRun) -> Answers:
    """The newest runs on this machine, no newer than `stored`, of the studies that decide findings of their own."""
    runs: dict[Study, StoredRun] = {}
    for facts in store.runs():
        is_before = facts.started_unix <= stored.facts.started_unix and facts.host.is_same_machine(stored.facts.host)
        if is_before and facts.study in DECISIVE and facts.study not in runs:
            with contextlib.suppress(StoreError):  # it is damaged
                runs[facts.study] = store.run(facts.run_id)
    return runs
