"""Writes a run's report folder: a page that needs no other file and no network, with tables as CSV and Markdown."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from itertools import groupby
from math import prod
from pathlib import Path
from typing import Any

from orchestrator.analysis import comparison
from orchestrator.analysis.noise import NoiseFloors
from orchestrator.analysis.ranks import Ranking
from orchestrator.dataset import Dataset
from orchestrator.errors import SpecError
from orchestrator.files import write_atomically
from orchestrator.home import Home
from orchestrator.records.run_folder import DataFacts
from orchestrator.records.stored import StoredRun
from orchestrator.report import export, inline, tables
from orchestrator.report.answer import answer, ranked
from orchestrator.report.caveats import caveats as caveats_of
from orchestrator.report.figures import Figure, FiguresMissingError, chart_library, draw, left_out, panel_charts
from orchestrator.report.latex import results_latex
from orchestrator.report.markdown import results_markdown
from orchestrator.report.results_table import results_texts
from orchestrator.report.studies import Section, StudyTable, study_sections
from orchestrator.report.study2020.sections import paper_sections
from orchestrator.report.tables import SummaryRow, TrialNumbers
from orchestrator.report.templating import cleaner, inert, templates
from orchestrator.report.text import without_paths
from orchestrator.report.trial_details import anchor, details
from orchestrator.trial import Cell

SYNC = {
    "step": "the device is idle at the end of every step (latency)",
    "block": "the device is idle at the end of every block of at least 200 ms (throughput); a step is its block's mean",
}
FEED = {
    "host": "each batch is placed on the device inside the clock",
    "resident": "the epoch's batches are placed on the device before the clock starts",
    "native": "the framework's own loader makes the batches, in waymark's order; input is the wait for it",
}
RECOGNISED = {
    "official": "the official archives, by checksum",
    "sample": "a sample of the official archives, by checksum; not the official split",
    "synthetic": "drawn by waymark",
    "unknown": "archives of unknown checksum",
    "own": "the user's own",
}


def render(
    stored: StoredRun,
    folder: Path,
    home: Home | None = None,
    floors: NoiseFloors | None = None,
    sections: Sequence[Section] | None = None,
    rows: Sequence[SummaryRow] | None = None,
    ranking: Mapping[Cell, Ranking] | None = None,
) -> Path:
    """Write the run's report into `folder` and return its page.

    floors: what is known of its machine's noise, for a run that compares.
    sections: the answers to its studies and the study of 2020 beside it, if they are known.
    rows, ranking: its summary rows and which subjects lead, if they are known.
    Without Altair the page says how to get figures. The paths of `home` and of the user's own folder are written as
    $WAYMARK_HOME and ~, so that a report holds no personal paths.
    """
    folder.mkdir(parents=True, exist_ok=True)
    rows = tables.summary_rows(stored) if rows is None else rows
    floors = floors or NoiseFloors()
    ranking = ranked(stored, rows, floors) if ranking is None else ranking
    if sections is None:
        sections = [*study_sections(stored, floors), *paper_sections(stored, floors)]
    tables_by_name = {table.name: table for section in sections for table in section.tables}
    drawn, figures_missing = _figures(stored, tables_by_name)
    caveats = caveats_of(stored, rows)
    _write_tables(stored, folder, home, rows, caveats, sections)
    trials = _trial_block(stored)
    try:
        figures = drawn()
    except FiguresMissingError as error:
        figures, figures_missing = [], str(error)
    for figure in figures:
        write_atomically(folder / f"{figure.name}.svg", without_paths(figure.svg, home, Path.home()))
        write_atomically(folder / f"{figure.name}.png", figure.png)
    context = {
        "run": stored.facts,
        "began": datetime.fromtimestamp(stored.facts.started_unix, UTC),
        "headline": _headline(stored, rows),
        "answer": answer(stored, rows, ranking, floors, sections, caveats),
        "comparison": _comparison(stored, floors),
        "sections": sections,
        "caveats": caveats,
        "figures": figures,
        "trials": trials,
        "figures_missing": figures_missing,
        "figures_note": left_out(stored),
    }
    page = _page(stored, rows, context, home)
    write_atomically(folder / "index.html", page)  # last, so that a page always has its tables
    return folder / "index.html"


def _write_tables(
    stored: StoredRun,
    folder: Path,
    home: Home | None,
    rows: Sequence[SummaryRow],
    caveats: Sequence[str],
    sections: Sequence[Section],
) -> None:
    """The results for other programs and documents, the tables of the studies, and the spec."""
    results, by_trial = results_texts(stored, rows), tables.trial_rows(stored)
    texts = {
        "results.csv": export.csv_text(by_trial),
        "results.json": export.json_text(by_trial),
        "parity.csv": export.csv_text(tables.parity_rows(stored.checks)),
        "results.md": results_markdown(stored.facts, results, caveats, sections),
        "results.tex": results_latex(stored.facts, results, sections),
        "spec.json": json.dumps(stored.facts.spec, indent=2, ensure_ascii=False) + "\n",
        **{f"{table.name}.csv": export.csv_text(table.rows) for section in sections for table in section.tables},
    }
    for name, text in texts.items():
        write_atomically(folder / name, without_paths(text, home, Path.home()))
    parquet = export.parquet_bytes(by_trial, cleaner(home))
    if parquet:
        write_atomically(folder / "results.parquet", parquet)


def _page(stored: StoredRun, rows: Sequence[SummaryRow], context: Mapping[str, Any], home: Home | None) -> str:
    """The text of the page. context: what is said in words, and the figures."""
    groups = tables.groups(stored)
    at = {id(trial): number for number, trial in enumerate(stored.trials)}
    members = [[at[id(trial)] for trial in group.trials] for group in groups]
    flat = [{**row.flat(), "at": number, "members": members[number]} for number, row in enumerate(rows)]
    figures: Sequence[Figure] = context["figures"]
    blocks = {
        "row-data": [{"title": row.name, "trials": members[number]} for number, row in enumerate(rows)],
        "trial-data": context["trials"],
        "chart-data": {figure.name: figure.chart for figure in figures},
        "panel-charts": panel_charts() if figures else {},
    }
    style, script = inline.style(), inline.script()
    library = inline.library(chart_library()) if figures else ""
    made = templates(home)
    made.filters |= {"nearest": tables.nearest_to_bound, "anchor": anchor}
    return made.get_template("page.html").render(
        **context,
        rows=flat,
        host=stored.facts.host.model_dump(mode="json"),
        cells=[(cell, list(members)) for cell, members in groupby(flat, key=lambda row: (row["cell"], row["device"]))],
        figure_names=tables.figure_names(stored),
        audit_figures=tables.AUDIT_FIGURES,
        checks=stored.checks,
        failed=[trial for trial in stored.trials if trial.outcome.status != "ok"],
        failed_checks=[check for check in stored.checks if not check.passed],
        measures=_distinct(trial.trial.measure for trial in stored.trials if trial.trial.inference is None),
        inferences=_distinct(trial.trial.inference for trial in stored.trials if trial.trial.inference),
        trainings=_distinct(trial.trial.training for trial in stored.trials),
        threads=_distinct(trial.trial.threads for trial in stored.trials),
        pictures=_pictures(stored),
        environments=stored.environments,
        builds=_builds(stored),
        sync=SYNC,
        feed=FEED,
        style=style,
        script=script,
        library=library,
        policy=inline.policy([style], [library, script] if library else [script]),
        blocks={name: inline.data(inert(value, home)) for name, value in blocks.items()},
    )


def _trial_block(stored: StoredRun) -> dict[str, Any]:
    """The details of all trials, with the names of their numbers once for all."""
    names = TrialNumbers._fields
    trials = [{**trial, "numbers": [trial["numbers"].get(name) for name in names]} for trial in details(stored)]
    return {"names": names, "trials": trials}


def _figures(stored: StoredRun, of_studies: Mapping[str, StudyTable]) -> tuple[Callable[[], Sequence[Figure]], str]:
    """What waits for the figures, and why there are none."""
    try:
        return draw(stored, {name: table.rows for name, table in of_studies.items()}), ""
    except FiguresMissingError as error:
        return list, str(error)


def _headline(stored: StoredRun, rows: Sequence[SummaryRow]) -> str:
    ok = sum(row.ok for row in rows)
    cells = len({row.cell for row in rows})
    skipped = sum(row.status == "skipped" for row in rows)
    subjects = len({row.subject for row in rows})
    text = f"{len(stored.trials)} trials of {subjects} framework builds in {cells} cells: {ok} ended ok"
    league = f" League: {stored.facts.league}." if stored.facts.league else ""
    scout = " A scout: a few steps of each cell, on drawn signs." if stored.facts.is_scout else ""
    return f"{text}, {len(stored.trials) - ok} did not; {skipped} skipped.{league}{scout}{_unended(stored)}"


def _unended(stored: StoredRun) -> str:
    """' Stopped: ...', of a run that is not whole, with how it goes on; '' of one that is."""
    facts = stored.facts
    if facts.planned is None or facts.state == "ended":
        return ""
    ended = sum(job.outcome.status not in ("cancelled", "lost") for job in stored.trials)
    return (
        f" {facts.state.capitalize()}: {ended} of {facts.planned} planned trials have ended; "
        f"`invoke sweep --resume={facts.run_id}` continues it."
    )


def _pictures(stored: StoredRun) -> list[dict[str, Any]]:
    """Each prepared data set once, with the sizes that were read."""
    entries: dict[str, dict[str, Any]] = {}
    for job in stored.trials:
        if job.data is not None:
            entry = {"facts": job.data, "dataset": job.trial.dataset, "size": job.trial.input_size}
            known = RECOGNISED[job.data.recognised]
            known = f"{job.trial.dataset.name}, {known}" if job.data.recognised == "own" else known
            words = {"recognised": known, "filters": _filters(job.trial.dataset, job.data)}
            entries.setdefault(job.data.sha256, entry | words)
    return sorted(entries.values(), key=lambda entry: prod(entry["size"]))


def _filters(dataset: Dataset, facts: DataFacts) -> str:
    """'clahe (0.03 ms)': what is done to pictures, in this order, with what each filter took for one."""
    words = [
        f"{name} ({facts.filter_ms[name]:.3g} ms)" if name in facts.filter_ms else name for name in dataset.filters
    ]
    before = [] if dataset.fit == "stretch" else [dataset.fit]
    after = [] if dataset.normalise == "unit" else ["mean and deviation"]
    after += ["changed at random"] if dataset.augment else []
    return ", ".join([*before, *words, *after]) or "none"


def _builds(stored: StoredRun) -> dict[str, dict[str, Any]]:
    """What each environment's framework reported about itself, if possible after its network was built; by identity."""
    said: dict[str, dict[str, Any]] = {}
    for job in (*stored.checks, *stored.trials):
        hello, built = job.timeline.hello, job.timeline.built
        if hello is not None:
            in_force = built.describe if built else {}
            said[job.environment.identity] = {"version": hello.version, **hello.describe, **in_force}
    return said


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _comparison(stored: StoredRun, floors: NoiseFloors) -> dict[str, Any] | None:
    """The verdicts of an `invoke compare`, or why there are none."""
    if stored.facts.compared is None:
        return None
    noise = floors.words(stored.trials)
    context: dict[str, Any] = {"compared": stored.facts.compared, "noise": noise, "rows": [], "reason": ""}
    try:
        return context | {"rows": comparison.rows(stored, floors)}
    except SpecError as error:
        return context | {"reason": str(error)}
