"""The figures of the study of 2020, from paper.json beside this file, with its errata applied and named."""

import functools
from pathlib import Path

from orchestrator.environment import Device, Frozen
from orchestrator.networks import InputSize, Model
from orchestrator.trial import SubjectPair

FIGURES = Path(__file__).resolve().with_name("paper.json")


DATASET = "gtsrb"
"""The data set of the study; runs on others are not compared with it."""


class PaperCell(Frozen):
    """One cell of its tables 2, 4 and 5: seconds of the whole training, accuracy in per cent."""

    table: int
    framework: str
    model: str
    input_size: int
    device: Device
    total_seconds: float
    accuracy_percent: float


class Tuning(Frozen):
    """A row of its tuning table (IDSIA at 48x48). pairs: our pairs of subjects that change the same setting."""

    framework: str
    device: Device
    change: str
    before_s_per_epoch: float
    after_s_per_epoch: float
    pairs: tuple[SubjectPair, ...]

    @property
    def ratio(self) -> float:
        """How many times as fast the setting made it."""
        return self.before_s_per_epoch / self.after_s_per_epoch

    @property
    def words(self) -> str:
        """'1.92x (219.9 to 114.4 s an epoch)'."""
        return f"{self.ratio:.2f}x ({self.before_s_per_epoch:g} to {self.after_s_per_epoch:g} s an epoch)"


class Paper(Frozen):
    """The figures that we compare with. loader_workers_s_per_epoch: PyTorch's, on its GPU, by number of workers.

    deterministic_s_per_epoch: CNTK's, on its GPU, with deterministic algorithms 'off' and 'on'.
    """

    source: str
    machine: str
    epochs: int
    batch_size: int
    training_pictures: int
    errata: tuple[str, ...]
    results: tuple[PaperCell, ...]
    tuning: tuple[Tuning, ...]
    loader_workers_s_per_epoch: dict[str, float]
    deterministic_s_per_epoch: dict[str, float]

    def cell(self, framework: str, model: Model, input_size: InputSize, device: Device) -> PaperCell | None:
        """The matching cell; None if the paper has none (nothing at 64x64: erratum 2)."""
        name = f"{model.name}{model.depth or ''}"
        asked = (framework, name, input_size.side, device)
        return next(
            (cell for cell in self.results if asked == (cell.framework, cell.model, cell.input_size, cell.device)), None
        )

    def images_per_second(self, cell: PaperCell) -> float:
        """Training pictures over the whole training's seconds."""
        return self.epochs * self.training_pictures / cell.total_seconds

    @property
    def steps_per_epoch(self) -> int:
        """Whole batches of its training pictures; the last, incomplete one is dropped."""
        return self.training_pictures // self.batch_size

    def tuning_of(self, pair: SubjectPair) -> Tuning | None:
        """The row of its tuning table that changes what this pair changes."""
        return next((tuning for tuning in self.tuning if pair in tuning.pairs), None)

    @property
    def caution(self) -> str:
        """The note that is printed with its figures."""
        return f"The study used another machine ({self.machine}), so its figures are only a rough guide."


@functools.cache
def paper() -> Paper:
    """The figures; read once."""
    return Paper.model_validate_json(FIGURES.read_text(encoding="utf-8"))
