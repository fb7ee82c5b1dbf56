"""Shared by all verbs of tasks.py: help texts of common flags, --csv beside --json, and the exit code of an error."""

import errno
import functools
import inspect
import io
import os
import sys
from collections.abc import Callable
from typing import ParamSpec

from invoke.exceptions import Exit

from orchestrator.console.tables import as_csv
from orchestrator.engines import engine_forms
from orchestrator.errors import EngineError, SpecError, WaymarkError
from orchestrator.files import NO_LOCKS

P = ParamSpec("P")

JSON = {"json": "print the result as JSON", "csv": "print its table as CSV"}
FRAMEWORKS = {"frameworks": "only these, comma-separated"}
DEVICE = {"device": "cpu or gpu"}
VARIANT = {"variant": "framework=variant, for example mxnet=1.5-mkl: only this one of it; may be repeated"}
IMAGE = {"image": "framework=NAME[@digest]: an image of your own (Python 3.6+ as `python`, numpy, the framework)"}
SOURCE = {"source": "framework=PATH: a local clone to take an upstream source from (default $WAYMARK_SOURCE)"}
GPUS = {"gpus": "cards to lease, by number, for example 0,1 (default: any); a row takes the first that it fits"}
STRICT = {"strict": "refuse a machine that is busy, shared, short of memory or emulated, where others are only warned"}
ENGINE = {"engine": f"{engine_forms()} (default docker, or virtualenv where no Docker answers)"}
CELLS = {
    "cells": "only these, comma-separated, for example IDSIA@48,ResNet-20@32",
    "spec": "experiment whose cells to compare (default experiments/compare.json)",
}
COMPARED = {
    **CELLS,
    "baseline": "framework:variant, for example mxnet:1.5; framework:image with --image; or runs on record",
    "candidate": "another variant of it, or other runs; the same twice is a control",
}
BUDGET = "time for all pairs, for example 20m; what is known when it ends is the answer"
UNTIL = {"precision": "with --pairs=auto: an interval of +- this much is enough, for example 3%", "budget": BUDGET}

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


def verb(body: Callable[P, int | None]) -> Callable[P, None]:
    """Wrap a verb: WaymarkError, a full disk, Ctrl-C and a closed pipe become one sentence and an exit code.

    A verb with `json_` takes `csv` too.
    """

    parameters = list(inspect.signature(body).parameters.values())[1:]
    needed = [one.name for one in parameters if one.default is inspect.Parameter.empty]

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        is_csv = bool(kwargs.pop("csv", False))
        _prepare_streams()
        try:
            if sys.flags.optimize:
                raise EngineError(
                    f"Python runs with PYTHONOPTIMIZE={sys.flags.optimize} (or -O), which takes checks and docstrings "
                    "out of libraries that waymark needs. Unset it."
                )
            lacking = [name for name in needed if kwargs.get(name) is None]
            if lacking:
                name = body.__name__.strip("_").replace("_", "-")
                raise SpecError(f"--{lacking[0].strip('_')} is needed; `invoke {name} --help` says what it takes.")
            if is_csv and kwargs.get("json_"):
                raise SpecError("--json and --csv are two forms of the same table; say one of them.")
            with as_csv(is_csv):
                code = body(*args, **kwargs)
            sys.stdout.flush()
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
        if code:
            raise Exit(code=code)

    signature = inspect.signature(body)
    if "json_" in signature.parameters:
        csv = inspect.Parameter("csv", inspect.Parameter.POSITIONAL_OR_KEYWORD, default=False)
        run.__signature__ = signature.replace(parameters=[*signature.parameters.values(), csv])  # type: ignore[attr-defined]
    return run
