"""What all verbs of tasks.py share: their flags, --csv beside --json, and the exit code of an error."""

import errno
import functools
import inspect
import io
import keyword
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any, NamedTuple

from invoke.context import Context
from invoke.exceptions import Exit
from invoke.tasks import Task, task

from orchestrator.console.progress import Console
from orchestrator.console.tables import as_csv
from orchestrator.engines import engine_forms
from orchestrator.errors import EngineError, SpecError, WaymarkError
from orchestrator.files import NO_LOCKS
from orchestrator.home import Home


class Flag(NamedTuple):
    """One thing that a verb takes.

    name:    as it is typed after --, 'dry-run'.
    default: '' or another text, a number, False for a switch, () for what may be repeated; None where it must be given.
    is_word: given without its name, in the order of the list.
    may_be_bare: may be given without a value, `--resume`, which is then True; None if it is not given.
    """

    name: str
    help: str
    default: Any = ""
    is_word: bool = False
    may_be_bare: bool = False

    @property
    def attribute(self) -> str:
        """Its name in `Call`: 'dry_run', 'from_'."""
        plain = self.name.replace("-", "_")
        return f"{plain}_" if keyword.iskeyword(plain) else plain

    @property
    def is_needed(self) -> bool:
        """Whether it must be given."""
        return self.default is None and not self.may_be_bare


def word(name: str, help_: str) -> Flag:
    """A word that a verb needs."""
    return Flag(name, help_, None, is_word=True)


class Call(SimpleNamespace):
    """The flags of one call of a verb, by their attributes; with the user's home and console."""

    @functools.cached_property
    def home(self) -> Home:
        """As the environment names it."""
        return Home.default()

    @functools.cached_property
    def console(self) -> Console:
        """For progress and advice."""
        return Console()

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"this verb takes no --{name}")


JSON = (Flag("json", "print the result as JSON", False), Flag("csv", "print its table as CSV", False))
FRAMEWORKS = Flag("frameworks", "only these, comma-separated")
DEVICE = Flag("device", "cpu or gpu", "cpu")
VARIANT = Flag("variant", "framework=variant, for example mxnet=1.5-mkl: only this one of it; may be repeated", ())
IMAGE = Flag(
    "image", "framework=NAME[@digest]: an image of your own (Python 3.6+ as `python`, numpy, the framework)", ()
)
SOURCE = Flag("source", "framework=PATH: a local clone to take an upstream source from (default $WAYMARK_SOURCE)", ())
GPUS = Flag("gpus", "cards to lease, by number, for example 0,1 (default: any); a row takes the first that it fits")
STRICT = Flag(
    "strict", "refuse a machine that is busy, shared, short of memory or emulated, where others are only warned", False
)
ENGINE = Flag("engine", f"{engine_forms()} (default docker, or virtualenv where no Docker answers)")
CHOICE = (FRAMEWORKS, DEVICE, VARIANT, SOURCE)
"""Of a verb that chooses rows."""

RUNTIME = (ENGINE, SOURCE)
"""Of a verb that starts a worker, and compares nothing."""

RUN = (ENGINE, GPUS, IMAGE, SOURCE)
"""Of a verb that measures."""

CELLS = Flag("cells", "only these, comma-separated, for example IDSIA@48,ResNet-20@32")
BUDGET = "time for all pairs, for example 20m; what is known when it ends is the answer"

_BROKEN_PIPE = 141

_OF_THE_MACHINE = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EEXIST, errno.EISDIR),
    *(errno.EIO, errno.ENAMETOOLONG, errno.ELOOP, errno.ESTALE, errno.EFBIG),
)
"""Errors that no code of ours can avoid: a full, read-only or broken disk, folders that the user may not write."""


def reader_gone() -> Exit:
    """The end of a program whose reader has enough, as `| head -1` has: quiet, with the code of SIGPIPE."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python's last flush would fail, too
    return Exit(code=_BROKEN_PIPE)


def _prepare_streams() -> None:
    """Print in any locale, and where the streams were closed (`>&-`) to nowhere: a file must not become our output."""
    for name, number in (("stdout", 1), ("stderr", 2)):
        stream = getattr(sys, name)
        if stream is None:
            null = os.open(os.devnull, os.O_WRONLY)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, "w", encoding="utf-8"))
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")


def verb(name: str, *takes: Flag) -> Callable[[Callable[[Call], int | None]], "Task[Callable[..., None]]"]:
    """Make a verb of a function: it gets one call, and gives its exit code, or None for 0.

    WaymarkError, a full disk, Ctrl-C and a closed pipe become one sentence and an exit code.
    """

    def decorate(body: Callable[[Call], int | None]) -> "Task[Callable[..., None]]":
        def run(_: Context, **given: Any) -> None:
            _prepare_streams()
            call = Call(**{flag.attribute: given[flag.attribute] for flag in takes})
            with _sentences():
                _require_whole(name, takes, call)
                with as_csv(bool(vars(call).get("csv"))):
                    code = body(call)
                sys.stdout.flush()
            if code:
                raise Exit(code=code)

        functools.update_wrapper(run, body)
        del run.__wrapped__  # type: ignore[attr-defined]
        run.__signature__ = inspect.Signature([_CONTEXT, *map(_parameter, takes)])  # type: ignore[attr-defined]
        made: Task[Callable[..., None]] = task(
            name=name,
            auto_shortflags=False,
            positional=[flag.attribute for flag in takes if flag.is_word],
            iterable=[flag.attribute for flag in takes if flag.default == ()],
            optional=[flag.attribute for flag in takes if flag.may_be_bare],
            help={flag.name: flag.help for flag in takes},
        )(run)
        return made

    return decorate


_CONTEXT = inspect.Parameter("_", inspect.Parameter.POSITIONAL_OR_KEYWORD)


def _parameter(flag: Flag) -> inspect.Parameter:
    default = inspect.Parameter.empty if flag.is_needed else None if flag.default == () else flag.default
    return inspect.Parameter(flag.attribute, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=default)


def _require_whole(name: str, takes: Sequence[Flag], call: Call) -> None:
    """Raises SpecError for a flag that is lacking, or two that exclude each other; EngineError for an odd Python."""
    if sys.flags.optimize:
        raise EngineError(
            f"Python runs with PYTHONOPTIMIZE={sys.flags.optimize} (or -O), which takes checks and docstrings "
            "out of libraries that waymark needs. Unset it."
        )
    given = vars(call)
    lacking = [flag.name for flag in takes if flag.is_needed and given[flag.attribute] is None]
    if lacking:
        raise SpecError(f"--{lacking[0]} is needed; `invoke {name} --help` says what it takes.")
    if given.get("json") and given.get("csv"):
        raise SpecError("--json and --csv are two forms of the same table; say one of them.")


@contextmanager
def _sentences() -> Iterator[None]:
    """Raise Exit, with a sentence and a code, for what no code of ours can avoid."""
    try:
        yield
    except WaymarkError as error:
        raise Exit(str(error), error.exit_code) from None
    except KeyboardInterrupt:
        raise Exit("stopped", 130) from None
    except BrokenPipeError:
        raise reader_gone() from None
    except OSError as error:
        if error.errno in NO_LOCKS:
            raise Exit(
                f"{error.filename} cannot be locked ({error.strerror}): its file system keeps no locks, as some "
                "network file systems do not. Set WAYMARK_HOME, and WAYMARK_LOCKS if that names its folder, to "
                "folders on a local disk.",
                EngineError.exit_code,
            ) from None
        if error.errno not in _OF_THE_MACHINE:
            raise
        where = error.filename or "The disk"
        raise Exit(f"{where} cannot be used ({error.strerror}). What had been done is kept.", 3) from None
