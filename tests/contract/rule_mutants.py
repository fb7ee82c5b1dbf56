"""Run by a framework's own interpreter: which proof catches each wrong version of a rule of training, one line of JSON.

python rule_mutants.py FRAMEWORK NETWORKS.json REFERENCE.npz OPTIONS FOLDER [NUMBER ...]; the first four as in
adapter_mutants.py, and the numbers of the rules, all if none is named.
FOLDER holds the oracle's traces of each rule of rule_rows.py, <number>.npz. The last line is an object:
rule -> {"harmful", "harmless"} -> mutant -> what catches it; a rule that the adapter lacks has the reason in its place.
"""

import json
import sys
from pathlib import Path

import adapter_mutants as base
import numpy
from rule_rows import RULES

from workers import traces
from workers.batches import Batches
from workers.jobs import selfcheck
from workers.protocol import Unsupported


def other_direction(direction):
    """Of Adam: direction(training, mean, square, count) in place of its own, from the state that it shows."""

    def change(self, before, after):
        state, training = self.real.state(), self.asked
        moved = {
            name: direction(training, state[name]["mean"], state[name]["square"], self.steps) for name in base.TRAINABLE
        }
        return {name: (before[name] - self.rate * moved[name]).astype(numpy.float32) for name in base.TRAINABLE}

    kind = base.after_step(change)
    kind.training = lambda self, given: self.__dict__.update(asked=given, rate=given.learning_rate) or given
    kind.set_rate = lambda self, rate: self.__dict__.update(rate=rate) or self.real.set_rate(rate)
    return kind


def uncorrected(training, mean, square, count):
    return mean / (numpy.sqrt(square) + training.epsilon)


def corrected_mean_alone(training, mean, square, count):
    return mean / (1 - training.momentum**count) / (numpy.sqrt(square) + training.epsilon)


def epsilon_in_the_root(training, mean, square, count):
    share = square / (1 - training.beta2**count)
    return mean / (1 - training.momentum**count) / numpy.sqrt(share + training.epsilon)


def epsilon_before_the_correction(training, mean, square, count):
    root = (numpy.sqrt(square) + training.epsilon) / numpy.sqrt(1 - training.beta2**count)
    return mean / (1 - training.momentum**count) / root


def one_update_late(training, mean, square, count):
    count = count + 1
    root = numpy.sqrt(square / (1 - training.beta2**count))
    return mean / (1 - training.momentum**count) / (root + training.epsilon)


def asked(**changes):
    """The adapter, asked for another training."""
    return base.mutant(training=lambda self, given: given._replace(**changes))


class LateRate(base.Mutant):
    """Takes each new rate one step late."""

    told = None

    def set_rate(self, rate):
        self.told = rate

    def step(self, batch):
        loss = base.Mutant.step(self, batch)
        if self.told is not None:
            self.real.set_rate(self.told)
            self.told = None
        return loss


class RateOfTheEpoch(base.Mutant):
    """Takes a new rate only now and then, as a schedule by epochs does."""

    def set_rate(self, rate):
        if self.steps % 10 == 0:
            self.real.set_rate(rate)


def harmful(optimiser, traits):
    """name -> adapter class."""
    classes = float(base.CLASSES)
    found = {"momentum 0.81": asked(momentum=0.81)}
    if "schedule" not in traits:  # which says each rate anew
        found["rate 10 % higher"] = base.other_training(learning_rate=1.1)
    if optimiser == "adam":
        found.update(
            {
                "no bias correction": other_direction(uncorrected),
                "the mean corrected alone": other_direction(corrected_mean_alone),
                "epsilon inside the root": other_direction(epsilon_in_the_root),
                "epsilon before the correction": other_direction(epsilon_before_the_correction),
                "bias corrected for one update more": other_direction(one_update_late),
            }
        )
    if optimiser in ("adam", "adamw", "rmsprop", "lion"):
        found["beta2 half as far from 1"] = base.mutant(
            training=lambda self, given: given._replace(beta2=(1 + given.beta2) / 2)
        )
    if optimiser in ("adam", "adamw", "rmsprop"):
        found["epsilon a tenth"] = base.other_training(epsilon=0.1)
    if optimiser == "nesterov":
        found["momentum without looking ahead"] = asked(optimiser="sgd")
    if optimiser == "rmsprop":
        found["no momentum"] = asked(momentum=0.0)
    if optimiser == "lion":
        found["the average and not its sign"] = asked(optimiser="sgd")
        found["one average for both"] = base.mutant(training=lambda self, given: given._replace(beta2=given.momentum))
    if "decay apart" in traits:
        found["decay half as large"] = base.other_training(weight_decay=0.5)
        found["no decay"] = asked(weight_decay=0.0)
        if optimiser == "adamw":
            found["decay coupled and not apart"] = asked(optimiser="adam", decay="coupled")
    if "coupled decay" in traits:
        found["decay apart and not coupled"] = asked(decay="apart")
        found["decay half as large"] = base.other_training(weight_decay=0.5)
    if "clipping" in traits:
        found["clipped after the update"] = asked(clip_norm=None)
        found["clipped at twice the norm"] = base.other_training(clip_norm=2.0)
    if "smoothing" in traits:
        found["smoothed over all classes but one"] = base.other_training(label_smoothing=classes / (classes - 1))
        found["labels not smoothed"] = asked(label_smoothing=0.0)
    if "schedule" in traits:
        found["each rate one step late"] = LateRate
        found["a rate for each ten steps"] = RateOfTheEpoch
        found["a constant rate"] = base.mutant(set_rate=lambda self, rate: None)
    return {name: (kind, Batches) for name, kind in found.items()}


def use(number, folder):
    """Make the stages of adapter_mutants.py those of a rule."""
    optimiser, traits = RULES[number][0], RULES[number][1:]
    base.TRAINING = selfcheck.training_of(optimiser, "he_normal", traits)
    rate = base.TRAINING.learning_rate * selfcheck.RATES.get(optimiser, 1.0)
    base.AUDITED = base.TRAINING._replace(batch_size=8, epochs=3, learning_rate=rate)
    base.REGIMES, base.BOUNDS = selfcheck.regimes_and_bounds(base.NET, optimiser=optimiser)
    base.WANTED, _ = traces.load(str(Path(folder) / f"{number}.npz"), base.NET, tuple(base.REGIMES))


def main(folder, numbers):
    found = {}
    for number in numbers or range(len(RULES)):
        optimiser, *traits = RULES[number]
        use(number, folder)
        rule = ", ".join([optimiser, *traits])
        try:
            base.by_regime("first")(base.Mutant, Batches)
        except Unsupported as why:
            found[rule] = str(why)
            continue
        right = {"the adapter as it is": (base.Mutant, Batches)}
        found[rule] = base.results_of({"harmless": right, "harmful": harmful(optimiser, traits)})
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[5], [int(number) for number in sys.argv[6:]])
