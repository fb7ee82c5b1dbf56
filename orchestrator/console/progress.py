"""Progress of a run: a live line on a terminal, plain lines elsewhere (a pipe, CI, a log)."""

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from rich.console import Console as Terminal
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from orchestrator.printable import printable
from orchestrator.records.event import Event
from orchestrator.records.payloads import Epoch, Position, Score, payload_of
from orchestrator.trial import Outcome

PLAIN_SECONDS = 10.0  # between two plain lines of one trial


@dataclass
class TrialProgress:
    """Position of one job: epoch, loss, accuracy, images/s, or its phase, and the time left, from its events.

    epochs: None of a job that is no training; it has a share that is done, and perhaps phases.
    """

    epochs: int | None
    batch_size: int
    epoch: int = 0
    share: float = 0.0
    loss: float | None = None
    accuracy: float | None = None
    images_per_second: float | None = None
    test_accuracy: float | None = None
    phase: str = ""
    _began: tuple[float, float] | None = None

    def take(self, event: Event) -> None:
        """Update from one event."""
        if event.kind == "training":
            self._began = (event.t, 0.0)
        match payload_of(event):
            case Position(epoch=epoch, step=step, steps=steps, phase=phase):
                is_training = self.epochs is not None and not phase
                share = min(1.0, (epoch + step / steps) / (self.epochs or 1) if is_training else step / steps)
                if self._began is None or (phase != self.phase and (is_training or share < self.share)):
                    self._began = (event.t, share)  # another piece of work, with a time of its own
                self.epoch, self.phase, self.share = epoch, phase, share
            case Epoch(epoch=epoch, loss=losses, epoch_seconds=seconds):
                self.epoch = epoch + 1
                self.share = min(1.0, self.epoch / (self.epochs or 1))
                self.loss = next(filter(math.isfinite, reversed(losses.tolist())), None)
                self.images_per_second = len(losses) * self.batch_size / seconds
            case Score(split="test", accuracy=accuracy):
                self.test_accuracy = accuracy
            case Score(accuracy=accuracy):
                self.accuracy = accuracy

    def seconds_left(self, t: float) -> float | None:
        """Seconds left of what is going on at the job's own time `t`; None before 2 % of it were seen."""
        began, share = self._began or (t, self.share)
        if self.share - share < 0.02:
            return None
        return (t - began) * (1 - self.share) / (self.share - share)

    def text(self, t: float) -> str:
        """'epoch 3/10  loss 0.412  valid 0.871  1234 images/s  00:41 left', or a phase with the share that is done."""
        left = self.seconds_left(t)
        time_left = [] if left is None else [f"{int(left) // 60:02d}:{int(left) % 60:02d} left"]
        if self.epochs is None or self.phase:
            share = f"{self.share:.0%}".replace("%", " %")
            return "  ".join([*([self.phase] if self.phase else []), share, *time_left])
        parts = [f"epoch {min(self.epoch + 1, self.epochs)}/{self.epochs}"]
        if self.loss is not None:
            parts.append(f"loss {self.loss:.3f}")
        if self.accuracy is not None:
            parts.append(f"valid {self.accuracy:.3f}")
        if self.images_per_second is not None:
            parts.append(f"{self.images_per_second:.0f} images/s")
        return "  ".join([*parts, *time_left])


class _Lines(Terminal):
    """A terminal, or a pipe: the run goes on when that is closed."""

    def on_broken_pipe(self) -> None:
        """Print nothing more; rich would end the process."""
        self.quiet = True


def _plain() -> dict[str, Any]:
    """Options of a terminal without any escapes, where $NO_COLOR asks for that."""
    return {"color_system": None, "force_terminal": False} if os.environ.get("NO_COLOR") else {}


@dataclass
class Console:
    """Lines for the user, on stderr; stdout is for tables and --json."""

    terminal: Terminal = field(default_factory=lambda: _Lines(stderr=True, highlight=False, **_plain()))

    @property
    def is_live(self) -> bool:
        """Whether lines can be redrawn."""
        return self.terminal.is_terminal

    def say(self, line: str) -> None:
        """Print one line that is not redrawn; to nobody, once a pipe that read us was closed: the run goes on."""
        self.terminal.print(printable(line), markup=False, soft_wrap=True)

    @contextmanager
    def counting(self, title: str) -> Iterator[Callable[[int, int], None]]:
        """A progress bar; gives a function of (done, total)."""
        if not self.is_live:
            yield self._plain_counter(title)
            return
        with self._bars() as bars:
            task = bars.add_task(title, total=None, note="")
            yield lambda done, total: bars.update(task, completed=done, total=total, note=f"{done:,}/{total:,}")

    @contextmanager
    def job(self, title: str, progress: TrialProgress) -> Iterator[Callable[[Event], None]]:
        """A line for one job; gives the function that takes its events."""
        if not self.is_live:
            self.say(f"{title}: started")
            yield self._plain_job(title, progress)
            return
        with self._bars() as bars:
            task = bars.add_task(title, total=1.0, note="starting")

            def take(event: Event) -> None:
                progress.take(event)
                bars.update(task, completed=progress.share, note=printable(progress.text(event.t)))

            yield take

    def ended(self, title: str, outcome: Outcome, progress: TrialProgress, seconds: float) -> None:
        """Print the final line of a job."""
        accuracy = "" if progress.test_accuracy is None else f", test accuracy {progress.test_accuracy:.4f}"
        reason = f": {outcome.reason}" if outcome.reason else ""
        self.say(f"{title}: {outcome.status} in {seconds:.1f} s{accuracy}{reason}")

    def _bars(self) -> Progress:
        return Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[note]}", markup=False),
            TimeElapsedColumn(),
            console=self.terminal,
            transient=True,
        )

    def _plain_counter(self, title: str) -> Callable[[int, int], None]:
        last = [time.monotonic()]

        def count(done: int, total: int) -> None:
            if done == total or time.monotonic() - last[0] >= PLAIN_SECONDS:
                last[0] = time.monotonic()
                self.say(f"{title}: {done:,} of {total:,}")

        return count

    def _plain_job(self, title: str, progress: TrialProgress) -> Callable[[Event], None]:
        last = [0.0]

        def take(event: Event) -> None:
            progress.take(event)
            if event.kind in ("progress", "epoch", "score") and event.t - last[0] >= PLAIN_SECONDS:
                last[0] = event.t
                self.say(f"{title}: {progress.text(event.t)}")

        return take
