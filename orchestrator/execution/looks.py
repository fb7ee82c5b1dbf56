"""Looks at a comparison between its pairs, or at a scout between its turns, and says what needs no more of them."""

import time
from dataclasses import dataclass, field
from typing import Protocol

from orchestrator.analysis import comparison
from orchestrator.analysis.costs import half_widths
from orchestrator.analysis.noise import NoiseFloors
from orchestrator.analysis.ratios import FIRST_LOOK
from orchestrator.console.progress import Console
from orchestrator.errors import SpecError
from orchestrator.records.run_folder import RunFacts, Until
from orchestrator.records.store import Store
from orchestrator.trial import Cell, Trial


class Looks(Protocol):
    """Decides, trial by trial, whether a run needs it."""

    def wants(self, trial: Trial) -> bool:
        """Whether `trial` is to be run."""
        ...


@dataclass
class ComparisonLooks:
    """Of one run with `until`. cells: how many its plan has; floors: what is known of this machine's scatter."""

    store: Store
    run: RunFacts
    cells: int
    floors: NoiseFloors
    console: Console
    _began: float = field(default_factory=time.monotonic)
    _pairs: dict[Cell, int] = field(default_factory=dict)
    _ended: set[Cell] = field(default_factory=set)

    def wants(self, trial: Trial) -> bool:
        """Whether `trial` is to be run: its pair has begun, or its cell is not known well enough yet."""
        cell, pair = trial.cell.in_float32, self._pair_of(trial)
        if cell in self._ended:
            return False
        if self._pairs.get(cell) != pair:
            self._pairs[cell] = pair
            if self._has_enough(cell, pair):
                self._ended.add(cell)
        return cell not in self._ended

    @property
    def _until(self) -> Until:
        assert self.run.until is not None
        return self.run.until

    def _pair_of(self, trial: Trial) -> int:
        """The number of its pair, from 0; of a control each pair is two repeats."""
        assert self.run.compared is not None
        return trial.repeat // (2 if self.run.compared[0] == self.run.compared[1] else 1)

    def _has_enough(self, cell: Cell, pairs: int) -> bool:
        budget = self._until.budget_seconds
        if pairs and budget is not None and time.monotonic() - self._began > budget:
            self.console.say(f"{cell.title}: the budget of {budget / 60:.3g} minutes has ended after {pairs} pairs")
            return True
        if pairs < FIRST_LOOK:
            return False
        try:
            ratio = comparison.look(self.store.run(self.run.run_id), cell, self.floors, self.cells)
        except SpecError as error:
            self.console.say(f"{cell.title}: {error}")
            return True
        if ratio.pairs > pairs:  # a resumed run: this pair is done, and so is a later one
            return False
        self.console.say(f"{cell.title} after {pairs} pairs: {comparison.words(ratio)}")
        return comparison.is_enough(ratio, self._until)


@dataclass
class ScoutLooks:
    """Of a scout: three turns of every cell, then more of those whose time is not known to the promised precision."""

    store: Store
    run: RunFacts
    console: Console
    _turn: int = 0
    _known: set[tuple[str, Cell]] = field(default_factory=set)

    def wants(self, trial: Trial) -> bool:
        """Whether `trial` is one of the first turns, or the time of its cell is not known well enough yet."""
        if trial.repeat < FIRST_LOOK:
            return True
        if trial.repeat != self._turn:
            self._turn = trial.repeat
            self._look()
        return (trial.subject, trial.cell) not in self._known

    def _look(self) -> None:
        assert self.run.until is not None
        precision = self.run.until.precision
        widths = half_widths(self.store.run(self.run.run_id).trials)
        self._known = {where for where, width in widths.items() if width is not None and width <= precision}
        self.console.say(
            f"after {self._turn} turns the steps of {len(self._known)} of {len(widths)} cells are known to "
            f"+-{precision:.1%}".replace("%", " %")
        )
