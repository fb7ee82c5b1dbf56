"""Audited steps: what a timed training did in a few steps, drawn at random; workers/jobs/audit.py repeats them.

Of each audited step the loop keeps the weights before the step in front of it, before it and after it, outside every
clock; the adapter is not told which steps these are. Of a rule whose state does not show in what it did to the weights
(see left_by in workers/optimisers.py) the adapter shows its state before and after the step as well.
"""

import os
import random

import numpy

FILE = "audits.npz"
COPIES = ("front", "before", "after")
STATES = ("state_before", "state_after")
CALM_STEPS = 20  # the selfcheck trains so many; one audited step at least comes later, if there is one


class Audits(object):
    """Keeps the weights around the audited steps of one training.

    count: how many steps. epochs, steps: of the training, and of each epoch. clock: as in workers/loop.py.
    has_state: whether the adapter's state is kept too. may_end: whether the training may end before its last epoch;
    then as many steps of the first one are drawn as well, and those that it does not reach are left out.
    """

    def __init__(self, adapter, count, epochs, steps, clock, has_state=False, may_end=False):
        self._adapter, self._clock, self._has_state = adapter, clock, has_state
        early = drawn(count, 1, steps) if may_end else []
        self._drawn = sorted(set(drawn(count, epochs, steps)) | set(early))
        self._due = {}
        for epoch, step in self._drawn:
            for at, copy in enumerate(COPIES):
                self._due.setdefault((epoch, step - 1 + at), []).append(f"{epoch}/{step}/{copy}")
        self._kept, self._taken = {}, set()
        self.seconds = 0.0

    @property
    def steps(self):
        """Sorted (epoch, step) of the audited steps that were taken."""
        return [(epoch, step) for epoch, step in self._drawn if (epoch, step + 1) in self._taken]

    def due(self, epoch):
        """The steps of an epoch before which a copy is taken; the one after the last stands for its end."""
        return frozenset(step for place, step in self._due if place == epoch)

    def take(self, epoch, step):
        """Copy the weights; gives the seconds that this took, which are nobody's step."""
        began = self._clock()
        self._taken.add((epoch, step))
        weights = self._adapter.weights()
        for copy in self._due[epoch, step]:
            self._kept.update((f"{copy}/{name}", value) for name, value in weights.items())
            place, _, which = copy.rpartition("/")
            if self._has_state and f"state_{which}" in STATES:
                for name, state in self._adapter.state().items():
                    self._kept.update((f"{place}/state_{which}/{name}/{part}", part_) for part, part_ in state.items())
        seconds = self._clock() - began
        self.seconds += seconds
        return seconds

    def save(self, folder):
        """Write the copies to audits.npz; gives the fields of an `audited` event."""
        began = self._clock()
        numpy.savez(os.path.join(folder, FILE), **self._kept)
        return {"steps": [list(where) for where in self.steps], "seconds": self.seconds + self._clock() - began}


def drawn(count, epochs, steps):
    """Sorted (epoch, step), `count` of them if there are as many, from random numbers that nobody can foresee.

    The first step of an epoch has none in front of it. One at least comes after CALM_STEPS steps, if there is one.
    """
    chance = random.SystemRandom()
    places = range(epochs * (steps - 1))  # the steps with one in front of them, in order
    chosen = set(chance.sample(places, min(count, len(places))))
    early = CALM_STEPS // steps * (steps - 1) + CALM_STEPS % steps
    if chosen and max(chosen) < early < len(places):
        chosen.remove(max(chosen))
        chosen.add(chance.randrange(early, len(places)))
    return sorted((place // (steps - 1), 1 + place % (steps - 1)) for place in chosen)
