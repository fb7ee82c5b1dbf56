"""The rules of training: how weights are updated, in float64; the oracle, the audit and the reference check call them.

g is the gradient of the mean loss by a weight w, after clipping; m stands for `momentum`, b for `beta2`, e for
`epsilon`, t for the number of the update (from 1). Every state starts at zero.

name      settings  state           direction of an update, after which w = w - rate * direction
sgd       m         velocity        velocity = m velocity + g; direction = velocity
nesterov  m         velocity        velocity = m velocity + g; direction = g + m velocity
adam      m, b, e   mean, square    mean = m mean + (1 - m) g; square = b square + (1 - b) g^2;
                                    direction = mean / (1 - m^t) / (sqrt(square / (1 - b^t)) + e)
adamw     m, b, e   mean, square    that of adam
rmsprop   m, b, e   square,         square = b square + (1 - b) g^2; velocity = m velocity + g / (sqrt(square) + e);
                    velocity        direction = velocity
lion      m, b      mean            direction = sign(m mean + (1 - m) g); mean = b mean + (1 - b) g

weight_decay    d, of every trained weight. coupled: g becomes g + d w, after clipping. apart: w is multiplied by
                1 - rate * d before its update. adam has it coupled, adamw and lion apart, the others either way.
clip_norm       c: all gradients are multiplied by c / norm where their norm (Euclidean, of all together) is above c.
label_smoothing s: the loss is the cross-entropy with 1 - s for the right class, and s / classes more for every class.
                Scores of validation and test pictures are not smoothed.

The rate of a step is the rule's too: rate_at(epoch, step), a pure function (see Schedule of workers/protocol.py), which
the loop calls and tells the adapter. An adapter has the updates of its framework, or writes them in its ops.

Sources: SGD and Nesterov as Sutskever et al. 2013 write them for a constant rate, with the rate outside the velocity;
Adam: Kingma and Ba 2015, algorithm 1; AdamW: Loshchilov and Hutter 2019, with the decay times the rate; RMSprop:
Tieleman and Hinton 2012; Lion: Chen et al. 2023, algorithm 2; smoothing: Szegedy et al. 2016; one-cycle: Smith 2018.
"""

import math

import numpy

COUPLED, APART = "coupled", "apart"
"""The ways of a weight decay."""

CONSTANT = "constant"

FIRST_SHARE = 1 / 25.0
"""Of the rate: the first one of a one-cycle schedule, as in Smith 2018."""


class Rule(object):
    """One rule of training, made of a Training; the base of all.

    SETTINGS: the fields of Training that it reads, and what they are unless asked for. DECAYS: the ways in which it
    has a weight decay, the first unless asked for. STATE: the arrays that it keeps of each weight. shows_itself:
    whether what an update did to a weight shows the state that it left (`left_by`), so that no adapter is asked for it.
    takes_sign: whether a direction is a sign, so that rounding can turn it round.
    """

    SETTINGS = {}
    DECAYS = (COUPLED, APART)
    STATE = ()
    shows_itself = takes_sign = False

    def __init__(self, training, steps=None):
        """training: Training of workers/protocol.py. steps: of an epoch; needed by a schedule alone."""
        if steps is None and has_schedule(training):
            raise ValueError("a rate that changes needs the number of steps of an epoch")
        self.training, self._steps = training, steps
        self._is_apart = decays_apart(training)
        self.learning_rate = training.learning_rate

    def rate_at(self, epoch, step):
        """The rate of a step; both count from 0."""
        return rate_at(self.training, self._steps, epoch, step)

    def start(self, weight):
        """The state in front of the first update: name -> array like `weight`, and how many updates there were."""
        return dict({name: numpy.zeros(weight.shape) for name in self.STATE}, count=0)

    def clipped(self, gradients):
        """name -> gradient, of all weights together, no longer than clip_norm."""
        limit = self.training.clip_norm
        norm = math.sqrt(sum(float((gradient**2).sum()) for gradient in gradients.values()))
        if limit is None or not norm > limit:
            return gradients
        return {name: gradient * (limit / norm) for name, gradient in gradients.items()}

    def update(self, state, weight, gradient, rate):
        """(state, weight) after one update. Arrays of one shape, which stay as they are. gradient: a clipped one."""
        decay = self.training.weight_decay
        if not self._is_apart:
            gradient = gradient + decay * weight
        after, direction = self._moved(dict(state, count=state["count"] + 1), gradient)
        return after, weight * (1 - rate * decay * self._is_apart) - rate * direction

    def _moved(self, state, gradient):
        """(state, direction) of one update, from a state with its count."""
        raise NotImplementedError  # a Rule is none by itself


class Sgd(Rule):
    """Stochastic gradient descent with momentum."""

    SETTINGS = {"momentum": 0.9}
    STATE = ("velocity",)
    shows_itself = True

    def left_by(self, before, after, rate):
        """The state that an update left which moved a weight so: the move without the decay, divided by the rate."""
        kept = before * (1 - rate * self.training.weight_decay * self._is_apart)
        return {"velocity": (kept - after) / rate, "count": 1}

    def _moved(self, state, gradient):
        velocity = self.training.momentum * state["velocity"] + gradient
        return dict(state, velocity=velocity), velocity


class Nesterov(Rule):
    """SGD with the momentum of Nesterov."""

    SETTINGS = {"momentum": 0.9}
    STATE = ("velocity",)

    def _moved(self, state, gradient):
        velocity = self.training.momentum * state["velocity"] + gradient
        return dict(state, velocity=velocity), gradient + self.training.momentum * velocity


class Adam(Rule):
    """Adam, with its epsilon outside the root and after the correction of the bias."""

    SETTINGS = {"momentum": 0.9, "beta2": 0.999, "epsilon": 1e-8}
    DECAYS = (COUPLED,)
    STATE = ("mean", "square")

    def _moved(self, state, gradient):
        training, count = self.training, state["count"]
        mean = training.momentum * state["mean"] + (1 - training.momentum) * gradient
        square = training.beta2 * state["square"] + (1 - training.beta2) * gradient**2
        root = numpy.sqrt(square / (1 - training.beta2**count))
        direction = mean / (1 - training.momentum**count) / (root + training.epsilon)
        return dict(state, mean=mean, square=square), direction


class AdamW(Adam):
    """Adam with its weight decay apart from the gradient."""

    DECAYS = (APART,)


class RmsProp(Rule):
    """RMSprop, with its epsilon outside the root, and a momentum of the scaled gradients."""

    SETTINGS = {"momentum": 0.0, "beta2": 0.9, "epsilon": 1e-8}
    STATE = ("square", "velocity")

    def __init__(self, training, steps=None):
        super(RmsProp, self).__init__(training, steps)
        if not training.momentum:
            self.STATE = ("square",)

    def _moved(self, state, gradient):
        training = self.training
        square = training.beta2 * state["square"] + (1 - training.beta2) * gradient**2
        scaled = gradient / (numpy.sqrt(square) + training.epsilon)
        if not training.momentum:
            return dict(state, square=square), scaled
        velocity = training.momentum * state["velocity"] + scaled
        return dict(state, square=square, velocity=velocity), velocity


class Lion(Rule):
    """Lion: the sign of an average of gradients."""

    SETTINGS = {"momentum": 0.9, "beta2": 0.99}
    DECAYS = (APART,)
    STATE = ("mean",)
    takes_sign = True

    def _moved(self, state, gradient):
        training, mean = self.training, state["mean"]
        direction = numpy.sign(training.momentum * mean + (1 - training.momentum) * gradient)
        return dict(state, mean=training.beta2 * mean + (1 - training.beta2) * gradient), direction


RULES = {"sgd": Sgd, "nesterov": Nesterov, "adam": Adam, "adamw": AdamW, "rmsprop": RmsProp, "lion": Lion}
"""name -> rule, made of a Training."""


def rule_of(training, steps=None):
    """The rule of a Training. steps: of an epoch. Raises ValueError, naming the known ones, for another."""
    if training.optimiser not in RULES:
        raise ValueError(f"there is no optimiser {training.optimiser!r}; known: {', '.join(sorted(RULES))}.")
    return RULES[training.optimiser](training, steps)


def decays_apart(training):
    """Whether its weight decay, if it has one, is apart from the gradient."""
    return (training.decay or RULES[training.optimiser].DECAYS[0]) == APART


def state_names(training):
    """The arrays that its rule keeps of each weight."""
    return rule_of(training, 1).STATE


def has_schedule(training):
    """Whether its rate changes."""
    return training.schedule.kind != CONSTANT or training.schedule.warmup_epochs > 0


def rate_at(training, steps, epoch, step):
    """The rate of a step of a training whose epochs have so many steps; see Schedule of workers/protocol.py."""
    schedule, rate = training.schedule, training.learning_rate
    if not has_schedule(training):
        return rate
    at, last = epoch * steps + step, training.epochs * steps
    first = round(schedule.warmup_epochs * steps)
    if at < first:
        return rate * (at + 1.0) / first
    if schedule.kind == "step":
        return rate * schedule.factor ** sum(1 for milestone in schedule.milestones if milestone <= epoch)
    if schedule.kind == "cosine":
        return rate * (schedule.floor + (1 - schedule.floor) * _falling(at - first, last - first))
    if schedule.kind == "one-cycle":
        top = schedule.rise * last
        if at < top:
            return rate * (1 - (1 - FIRST_SHARE) * _falling(at, top))
        return rate * _falling(at - top, last - top)
    return rate


def _falling(at, length):
    """Half a cosine, from 1 at 0 to 0 at `length`."""
    return (1 + math.cos(math.pi * at / length)) / 2


def targets(labels, classes, smoothing):
    """(n, classes): what the loss of labels (n,) compares probabilities with."""
    return (1.0 - smoothing) * numpy.eye(classes)[labels] + smoothing / classes


TRAITS = ("coupled decay", "decay apart", "clipping", "smoothing", "schedule", "no momentum")


def traits(training):
    """What a selfcheck of this training must have beside its optimiser: some of TRAITS."""
    way = training.decay or RULES[training.optimiser].DECAYS[0]
    found = (
        training.weight_decay > 0 and way == COUPLED,
        training.weight_decay > 0 and way == APART,
        training.clip_norm is not None,
        training.label_smoothing > 0,
        has_schedule(training),
        training.momentum == 0,
    )
    return tuple(trait for trait, is_there in zip(TRAITS, found) if is_there)
