"""The scatter between runs on this machine, from all comparisons on record: what noise alone does to a ratio."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from orchestrator.analysis.ratios import scatters
from orchestrator.analysis.scatter import Scatter, findable_factor, noise_factor, pooled
from orchestrator.analysis.timed import cell_pairs
from orchestrator.environment import Device
from orchestrator.errors import SpecError
from orchestrator.records.stored import StoredRun, StoredTrial

Where = tuple[str, Device]
"""A framework on a device, because frameworks differ in their noise."""


@dataclass(frozen=True)
class Noise:
    """What comparisons on record tell: the scatter of pairs and neighbours in each cell, and the runs."""

    scatters: tuple[Scatter, ...]
    run_ids: tuple[str, ...]

    @property
    def pooled(self) -> Scatter:
        """All of them as one."""
        scatter = pooled(self.scatters)
        assert scatter is not None
        return scatter


@dataclass(frozen=True)
class NoiseFloors:
    """What is known of the noise of one machine, by framework and device."""

    known: Mapping[Where, Noise] = field(default_factory=dict)

    def scatters(self, where: Collection[Where]) -> list[Scatter]:
        """Those of the frameworks and devices named."""
        return [scatter for place in where if place in self.known for scatter in self.known[place].scatters]

    def factor(self, where: Collection[Where], pairs: int) -> float | None:
        """The factor that noise alone exceeds in 5 % of comparisons of so many pairs; None if it is not known."""
        known = [noise_factor(self.known[place].pooled, pairs) for place in where if place in self.known]
        return max(known, default=None)

    def words(self, trials: Iterable[StoredTrial]) -> str:
        """A sentence with the scatter of each of their frameworks and devices, and how many runs it is from."""
        said = []
        for framework, device in sorted({(job.trial.framework, job.trial.device) for job in trials}):
            noise = self.known.get((framework, device))
            told = "not known yet"
            if noise:
                count = len(noise.run_ids)
                told = f"{noise.pooled.variance**0.5:.1%} ({count} comparison{'' if count == 1 else 's'} on record)"
            said.append(f"{framework} {device} {told}".replace("%", " %"))
        return f"Scatter of the pairs of a build on this machine: {'; '.join(said)}."

    def power_words(self, where: Where, pairs: int) -> str:
        """What so many pairs can find, as a sentence; beforehand, from the comparisons on record."""
        noise = self.known.get(where)
        if noise is None:
            return f"No comparison of {where[0]} on this machine's {where[1]} is on record: its noise is not known yet."
        factor = findable_factor(noise.pooled, pairs)
        scatter = noise.pooled.variance**0.5
        return (
            f"Pairs of {where[0]} {where[1]} scatter by {scatter:.1%} here: {pairs} of them find a difference of "
            f"{factor - 1:.1%} in four of five comparisons."
        ).replace("%", " %")


def noise_floors(comparisons: Iterable[StoredRun]) -> NoiseFloors:
    """What comparisons of one machine tell; those of `Store.comparisons_before` for the report of a run.

    Controls (a build with itself) and comparisons of two builds both count: a difference between builds does not move
    the scatter of their pairs.
    """
    by_place: dict[Where, dict[str, list[Scatter]]] = {}
    for run in comparisons:
        assert run.facts.compared is not None
        try:
            cells = cell_pairs(run.trials, *run.facts.compared)
        except SpecError:  # it was stopped, or failed
            continue
        for key, pairs in cells.items():
            of_run = by_place.setdefault((key.framework, key.cell.device), {}).setdefault(run.facts.run_id, [])
            of_run += scatters(pairs)
    return NoiseFloors({where: _noise_of(of_runs) for where, of_runs in by_place.items() if any(of_runs.values())})


def _noise_of(of_runs: Mapping[str, Sequence[Scatter]]) -> Noise:
    told = {run_id: scatters for run_id, scatters in of_runs.items() if scatters}
    return Noise(tuple(scatter for scatters in told.values() for scatter in scatters), tuple(told))
