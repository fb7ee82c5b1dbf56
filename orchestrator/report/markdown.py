"""The results of a run and its caveats in Markdown, for an issue or a README."""

from collections.abc import Mapping, Sequence

from orchestrator.records.run_folder import RunFacts
from orchestrator.report import export
from orchestrator.report.studies import Section


def results_markdown(
    facts: RunFacts, texts: Sequence[Mapping[str, str]], caveats: Sequence[str], sections: Sequence[Section]
) -> str:
    """The results and their caveats. texts: of results_table.results_texts."""
    items = "".join(f"- {export.one_cell(caveat)}\n" for caveat in caveats) or "- none\n"
    answered = "".join(_section_markdown(section) for section in sections)
    title = f"{facts.run_id}{facts.league_words}"
    return f"# {title}\n\n{export.markdown_table(texts)}\n{answered}## Caveats\n\n{items}"


def _section_markdown(section: Section) -> str:
    verdicts, notes = (
        "".join(f"- {export.one_cell(item)}\n" for item in said) for said in (section.verdicts, section.notes)
    )
    shown = [export.markdown_table(table.texts) for table in section.tables]
    parts = [part for part in (export.one_cell(section.about) + "\n", verdicts, *shown, notes) if part]
    return f"## {export.one_cell(section.title)}\n\n" + "\n".join(parts) + "\n"
