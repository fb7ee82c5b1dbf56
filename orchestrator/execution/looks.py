"""Looks at a comparison between its pairs, and says when a cell needs no more of them."""

import time
from dataclasses import dataclass, field

from orchestrator.analysis import comparison
from orchestrator.analysis.noise import NoiseFloors
from orchestrator.analysis.ratios import FIRST_LOOK
from orchestrator.console.progress import Console
from orchestrator.errors import SpecError
from orchestrator.records.run_folder import RunFacts, Until
from orchestrator.records.store import Store
from orchestrator.trial import Cell, Trial


@dataclass
class Looks:
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
        cell, pair = trial.cell, self._pair_of(trial)
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
