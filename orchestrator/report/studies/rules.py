"""Whose update each subject takes: its framework's own, its own aligned with the rule, or waymark's in its ops."""

from orchestrator.records.stored import StoredRun
from orchestrator.report.studies.section import Section, StudyTable, grouped, ok
from orchestrator.report.text import listed
from orchestrator.trial import Training

_STUDY = Training()


def rule_section(stored: StoredRun) -> Section | None:
    """A row for each subject; None for the plain SGD of the study, which all frameworks have, or if nobody says it."""
    told = [job for job in ok(stored.trials) if job.timeline.built is not None and job.timeline.built.optimiser]
    kept = {"learning_rate", "momentum", "batch_size", "epochs", "target"}
    plain = _STUDY.model_dump(exclude=kept)
    told = [job for job in told if job.trial.training.model_dump(exclude=kept) != plain]
    rows = []
    for (rule, subject), jobs in grouped(told, lambda job: (job.trial.training.rule, job.trial.subject)).items():
        built = jobs[0].timeline.built
        if built is not None and built.optimiser is not None:
            update = {"source": built.optimiser.get("source", ""), "what": built.optimiser.get("what", "")}
            rows.append({"rule": rule, "subject": subject, **update})
    if not rows:
        return None
    by_source = {
        source: sorted({row["subject"] for row in rows if row.get("source") == source})
        for source in ("own", "aligned", "ours")
    }
    words = {"own": "takes its own update", "aligned": "takes its own, aligned", "ours": "takes waymark's, in its ops"}
    verdicts = [f"{listed(names)}: {words[source]}." for source, names in by_source.items() if names]
    return Section(
        anchor="rule",
        title="Whose update",
        about=(
            "How weights are updated, in every framework by the same definition (docs/rules.md). own: the framework's "
            "own optimiser. aligned: its own, with an argument or an op around it that makes it the rule's. ours: "
            "written by waymark in the framework's ops, because its own defines it otherwise or there is none; then "
            "its speed is that of these ops."
        ),
        verdicts=tuple(verdicts),
        tables=(
            StudyTable(
                "rule",
                "The update of each subject.",
                {"rule": "rule", "subject": "subject", "source": "whose", "what": "what"},
                sorted(rows, key=lambda row: (row["rule"], row["subject"])),
            ),
        ),
    )
