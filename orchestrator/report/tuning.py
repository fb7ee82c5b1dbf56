"""How the fastest variant of a framework was found, in the report of a run that was part of it."""

from collections.abc import Iterable

from orchestrator.planning.tuned import Tried, Tuned
from orchestrator.report.studies.section import Section, StudyRow, StudyTable

_ROUNDS = {1: "every variant", 2: "the faster half again", 3: "each setting alone", 4: "settings together"}


def tuning_section(run_id: str, tuned: Iterable[Tuned]) -> Section | None:
    """The path of the tuning that this run was part of; None if it was part of none."""
    one = next((one for one in tuned if run_id in one.run_ids), None)
    if one is None:
        return None
    headings = {"round": "round", "variant": "variant", "ratio": "takes, times the fastest of the round"}
    headings |= {"low": "from", "high": "to", "result": "result", "run": "run"}
    return Section(
        anchor="tuning",
        title=f"The tuning of {one.framework} on the {one.device.upper()}",
        about=(
            f"Every variant passed its selfcheck before it was timed. Times are geometric means over "
            f"{', '.join(one.cells)}; the intervals of a round hold together in 95 % of cases, and rounds of fewer "
            f"than three runs have none. Rounds only choose: what counts is the comparison of the winner with the "
            f"default {one.default}, in fresh pairs."
        ),
        verdicts=(_verdict(one), *one.open),
        tables=(StudyTable("tuning", "What was tried.", headings, [_row(tried) for tried in one.path]),),
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


def _verdict(one: Tuned) -> str:
    if one.ratio is None or one.low is None or one.high is None:
        return f"No variant is shown to be faster than the default {one.default}."
    return (
        f"{one.variant} is {one.ratio:.2f}x as fast as the default {one.default} [{one.low:.2f}, {one.high:.2f}] "
        f"(run {one.confirmed_by})."
    )
