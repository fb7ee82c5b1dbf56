"""The protocol between the orchestrator and a worker, version 3.

In:  a folder with job.json and, for a job that reads pictures, train.npy and valid.npy (picture numbers of the split),
     and a folder of prepared data.
     start.npz, optional: first weights, as another job left them; without it they are drawn from the seed. An `infer`
     needs it: the trained weights.
Run: python -m workers.run JOB_FOLDER [DATA_FOLDER]
Out: JOB_FOLDER/events.jsonl, one object a line; JOB_FOLDER/weights.npz, name -> float32 array in the network's own
     names, so that any other framework can begin with them. stdout and stderr are only logs.
A training leaves copies of its weights around a few steps in JOB_FOLDER/audits.npz; an `audit` reads them there.
A selfcheck leaves the oracle's traces in JOB_FOLDER/reference.npz, or reads them if the file exists: the next check of
the same network with the same worker source can reuse them. So does an `infer` with the oracle's logits of the test
pictures, which the next one with the same weights can reuse.

job.json: v (this version), kind (a file of workers/jobs), framework, device, network {label, ops []} (its name for
messages, and its ops as workers/net.py reads them), precision (of workers/bounds.py), seed, threads, options {} and
expects {} (of the environment's row), and payload {}, what only its kind needs: training {} and measure {} (see
Training and Measure below) for `train`, optimiser and initialiser for `selfcheck`, training {} and losses [] (of each
epoch) for `audit`, inference {} (see Inference below) for `infer`.

Every event has v (this version), seq (0, 1, ...), t (monotonic seconds since the process ran our first line) and kind:

hello     python, framework, version, started_unix (wall clock at t = 0), import_seconds, describe {}
built     weights, multiply_adds, build_seconds, data_seconds (opening arrays), describe {} (again, as it is now); of
          a training optimiser {source (own, aligned or ours), what}
training  the first training step comes next; no other field
progress  epoch, step, steps, perhaps phase (what is going on, if not the training): at most once a second, between two
          steps, never inside the clock
epoch     epoch, step_seconds [], input_seconds [], loss [], epoch_seconds, warmup_steps (how many of these steps),
          drain_seconds (how long the device was still busy after the last step: of an honest clock almost none)
          sync=block: block_steps [], block_seconds [] (cutting included) instead of step_seconds
score     split (valid or test), epoch, accuracy, loss, pictures, evaluate_seconds
confusion    counts [[class, class it was taken for, pictures], ...] of the test pictures, without zeros
fingerprint  epoch, weights {name: sha256} in the network's order, predictions {split: sha256}: with fingerprint=epoch,
          after each epoch for the validation pictures; after training once more, without weights, for the test's
audited   steps [[epoch, step]], seconds: copies of the weights around these steps are in audits.npz (workers/audits.py)
place     place_seconds []: a few batches, placed one by one after the training, the device idle before and after each
check     figures {}, bounds {}, passed; of a selfcheck also seconds {} of each of its parts, batch (pictures of a step)
queries   latency_seconds [] (after the warm-up, in the order in which they were asked), wall_seconds, warmup_queries,
          answered (queries after the warm-up; of `offline`, whose latencies are of a series each, more than latencies);
          of `server` also rate (queries a second, the largest that passed; 0 if none did) and probes [[rate, queries,
          late, passed]]; latencies are then those of that rate
answers   classes [] (predicted, of every test picture), differing [[picture, class, the oracle's, margin]], kept [share
          of the oracle's accuracy, low, high]
peak      gemm_gflops {}, conv_gflops {}, network_conv_gflops {}, copy_gb_per_second, libraries {}
done      weights_sha256, total_seconds; of a training also throttled_periods: how often a CPU quota stopped it, and
          peak_rss_bytes: the most memory that its process had in use at once
fail      code, reason, op (if unsupported), log

Not-a-number and infinity are written as null. Readers ignore unknown fields. `v` is increased when a meaning changes:
2, 2026-11-25: job.json is nested, and one program does all kinds of job; the events are those of version 1.
3, 2026-11-30: job.json holds the network itself, and the number format; the events are those of version 1.
Source of the shape: docs/adr/0004-events-are-the-record.md.
"""

import json
import math
import os
import struct
from typing import NamedTuple, Optional

from workers.augment import Augmentation

VERSION = 3

PROGRESS_SECONDS = 1.0

KINDS = (
    "hello",
    "built",
    "training",
    "progress",
    "epoch",
    "score",
    "confusion",
    "fingerprint",
    "audited",
    "place",
    "check",
    "queries",
    "answers",
    "peak",
    "done",
    "fail",
)

OK = 0
BAD_JOB = 64
NO_FRAMEWORK = 65
UNSUPPORTED = 66
NOT_FINITE = 67
NOT_AS_DECLARED = 68
NOT_EQUAL = 69
BUG = 70


QUESTIONS, ANSWERS = "questions.fifo", "answers.fifo"
COUNT, SECONDS = struct.Struct("<I"), struct.Struct("<d")
"""The pipes of a `serve`, and the numbers in front of a question's pictures and of an answer's logits."""


class Schedule(NamedTuple):
    """The rate of each step, as a share of the learning rate; rate_at of workers/optimisers.py.

    With t, the number of a step from 0, of T in the whole training:
    constant   1.
    step       factor to the power of how many of `milestones` (epochs, from 0) have begun.
    cosine     floor + (1 - floor) (1 + cos(pi t / T)) / 2.
    one-cycle  up to t = rise T half a cosine from 1/25 to 1, then half a cosine to 0.
    With warmup_epochs, the W steps of these have (t + 1) / W, and t and T of a cosine count from their end.
    """

    kind: str = "constant"
    warmup_epochs: float = 0.0
    milestones: tuple = ()
    factor: float = 0.1
    floor: float = 0.0
    rise: float = 0.3


class Target(NamedTuple):
    """When a training ends before its last epoch: when its accuracy over the validation pictures is at least this."""

    accuracy: float
    split: str = "valid"


class Training(NamedTuple):
    """How to train: payload.training of job.json.

    optimiser:   a name of workers/optimisers.py, which defines how it uses all but initialiser, batch_size and epochs.
    initialiser: a name of INITIALISERS in workers/net.py.
    decay:       'coupled' or 'apart'; None is the optimiser's own way.
    """

    optimiser: str
    initialiser: str
    learning_rate: float
    momentum: float
    batch_size: int
    epochs: int
    beta2: Optional[float] = None
    epsilon: Optional[float] = None
    weight_decay: float = 0.0
    decay: Optional[str] = None
    clip_norm: Optional[float] = None
    label_smoothing: float = 0.0
    schedule: Schedule = Schedule()
    target: Optional[Target] = None


class Measure(NamedTuple):
    """What to time and how: payload.measure of job.json. See workers/loop.py."""

    sync: str
    feed: str
    loader_workers: int
    warmup_steps: int
    warmup_seconds: float
    evaluate: str
    fingerprint: str
    audit: int


class Inference(NamedTuple):
    """What a trained network is asked: payload.inference of job.json. See workers/scenarios.py.

    scenario:       a name of SCENARIOS there.
    batch_size:     pictures of one query.
    seconds:        how long each measurement lasts; warmup_seconds: what comes before and does not count.
    bound_seconds:  of `server`: the 99th percentile of its latencies must stay below it.
    weights_sha256: of the weights in start.npz.
    """

    scenario: str
    batch_size: int
    seconds: float
    warmup_seconds: float
    bound_seconds: float
    weights_sha256: str


JOB_FIELDS = ("v", "kind", "framework", "device", "network", "precision", "seed", "threads", "options", "expects")
JOB_FIELDS += ("payload",)


class Unsupported(Exception):  # noqa: N818 - an outcome, not an error of ours
    """An adapter cannot lower `op`, for the reason `why`; the cell becomes a skip that says so."""

    def __init__(self, op, why):
        super(Unsupported, self).__init__("%s: %s" % (op, why))
        self.op = op
        self.why = why


class BadJob(Exception):  # noqa: N818 - an outcome, not an error of ours
    """job.json is wrong or asks for something unknown; one sentence."""


class NoFramework(Exception):  # noqa: N818 - an outcome, not an error of ours
    """The framework does not import in this environment."""


class NotAsDeclared(Exception):  # noqa: N818 - an outcome, not an error of ours
    """A setting that this environment's row declares is not in force; one sentence."""


class NotEqual(Exception):  # noqa: N818 - an outcome, not an error of ours
    """What says that it computes in float32 gives other logits than the oracle; one sentence."""


class NotFinite(Exception):  # noqa: N818 - an outcome, not an error of ours
    """The training loss became infinite or not a number."""


EXIT_CODES = (
    (BadJob, BAD_JOB),
    (NoFramework, NO_FRAMEWORK),
    (Unsupported, UNSUPPORTED),
    (NotFinite, NOT_FINITE),
    (NotAsDeclared, NOT_AS_DECLARED),
    (NotEqual, NOT_EQUAL),
)


def require_fields(given, names, where):
    """Raise BadJob, in a sentence, unless `given` is an object that has all of `names`."""
    missing = [name for name in names if name not in given] if isinstance(given, dict) else names
    if missing:
        raise BadJob("%s lacks %s." % (where, ", ".join(missing)))


def record(kind, given, where):
    """`given`, an object of job.json, as the NamedTuple `kind`. Raises BadJob for a missing or unknown field."""
    defaults = kind._field_defaults
    require_fields(given, [name for name in kind._fields if name not in defaults], where)
    for name in sorted(set(given) - set(kind._fields)):
        raise BadJob("%s.%s is not known; known: %s." % (where, name, ", ".join(kind._fields)))
    return kind(**given)


def training_of(payload):
    """payload.training of a job as Training. Raises BadJob for what is none."""
    training = record(Training, payload["training"], "job.json: payload.training")
    if isinstance(training.schedule, dict):
        schedule = record(Schedule, training.schedule, "job.json: payload.training.schedule")
        training = training._replace(schedule=schedule)
    if training.target is not None:
        target = record(Target, training.target, "job.json: payload.training.target")
        training = training._replace(target=target)
    return training


def augmentation_of(payload):
    """payload.augment of a job as Augmentation; None if it has none. Raises BadJob for what is none."""
    given = payload.get("augment")
    return None if given is None else record(Augmentation, given, "job.json: payload.augment")


def finite(value):
    """`value` with every float that is not finite replaced by None, numpy scalars by Python's."""
    if isinstance(value, dict):
        return {str(key): finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [finite(item) for item in value]
    if hasattr(value, "tolist"):  # numpy scalar or array
        return finite(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


class Emitter(object):
    """Appends events to a file, each line flushed, so that they are kept if the worker is killed.

    path:  events.jsonl; must not exist (an old record is not continued).
    clock: function without arguments, monotonic seconds since the worker began.
    """

    def __init__(self, path, clock):
        self._file = os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644), "w")
        self._clock = clock
        self._seq = 0

    def emit(self, kind, **fields):
        """Write one event. Raises ValueError for a kind that is not in the protocol."""
        if kind not in KINDS:
            raise ValueError("no event kind %r" % kind)
        event = {"v": VERSION, "seq": self._seq, "t": round(self._clock(), 6), "kind": kind}
        event.update(finite(fields))
        self._file.write(json.dumps(event, allow_nan=False, separators=(",", ":")) + "\n")
        self._file.flush()
        self._seq += 1

    def close(self):
        """Close the file; nothing can be emitted afterwards."""
        self._file.close()


class Progress(object):
    """Emits progress at most once a second; called between two steps, queries or batches.

    phase: what is going on, if it is not the training itself, for example 'scoring test pictures'.
    Its attribute `seconds`: what telling took, which whoever times the work around it takes off.
    """

    def __init__(self, emit, clock, epoch, steps, phase=""):
        self._emit, self._epoch, self._steps = emit, epoch, steps
        self._more = {"phase": phase} if phase else {}
        self._clock, self._said = clock, clock()
        self.seconds = 0.0

    def tell(self, step, now):
        """`step` steps are done at the clock reading `now`."""
        if now - self._said >= PROGRESS_SECONDS:
            self._said = now
            self._emit("progress", epoch=self._epoch, step=step, steps=self._steps, **self._more)
            self.seconds += self._clock() - now
