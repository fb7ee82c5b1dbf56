"""How the fastest variant of a framework was found, in the report of a run that was part of it."""

from collections.abc import Iterable

from orchestrator.planning.tuned import Tried, Tuned
from orchestrator.report.studies.section import Section, StudyRow, StudyTable

_ROUNDS = {1: "every variant", 2: "the faster half again", 3: "each setting alone", 4: "settings together"}


def tuning_section(run_id: str, tuned: Iterable[Tuned]) -> Section | None:
    """The path of the tuning that this run was part of; None if it was part of none."""
    tuning = next((tuning for tuning in tuned if run_id in tuning.run_ids), None)
    if tuning is None:
        return None
    headings = {"round": "round", "variant": "variant", "ratio": "takes, times the fastest of the round"}
    headings |= {"low": "from", "high": "to", "result": "result", "run": "run"}
    return Section(
        anchor="tuning",
        title=f"The tuning of {tuning.framework} on the {tuning.device.upper()}",
        about=(
            f"Every variant passed its selfcheck before it was timed. Times are geometric means over "
            f"{', '.join(tuning.cells)}; the intervals of a round hold together in 95 % of cases, and rounds of fewer "
            f"than three runs have none. Rounds only choose: what counts is the comparison of the winner with the "
            f"default {tuning.default}, in fresh pairs."
        ),
        verdicts=(_verdict(tuning), *tuning.open),
        tables=(StudyTable("tuning", "What was tried.", headings, [_row(tried) for tried in tuning.path]),),
    )


def _row(tried: Tried) -> StudyRow:
    kept = "kept" if tried.is_kept else "left out"
    return {
        "round": f"{tried.round}: {_ROUNDS[tried.round]}",
        "variant": tried.variant,
        "ratio": tried.ratio,
        "low": tried.low,
        "high": tried.high,
        "result": f"not timed: {tried.reason}" if tried.reason else kept,
        "run": tried.run_id,
    }


def _verdict(tuning: Tuned) -> str:
    if tuning.ratio is None or tuning.low is None or tuning.high is None:
        return f"No variant is shown to be faster than the default {tuning.default}."
    interval = f"[{tuning.low:.2f}, {tuning.high:.2f}]"
    return (
        f"{tuning.variant} is {tuning.ratio:.2f}x as fast as the default {tuning.default} {interval} "
        f"(run {tuning.confirmed_by})."
    )
