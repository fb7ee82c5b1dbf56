"""Shared by all verbs of tasks.py: help texts of common flags, and the exit code of an error."""

import functools
from collections.abc import Callable
from typing import ParamSpec

from invoke.exceptions import Exit

from orchestrator.engines import engine_forms
from orchestrator.errors import WaymarkError

P = ParamSpec("P")

JSON = {"json": "print the result as JSON"}
FRAMEWORKS = {"frameworks": "only these, comma-separated"}
DEVICE = {"device": "cpu or gpu"}
VARIANT = {"variant": "framework=variant, for example mxnet=1.5-mkl: only this one of it; may be repeated"}
IMAGE = {"image": "framework=NAME[@digest]: an image of your own (Python 3.6+ as `python`, numpy, the framework)"}
SOURCE = {"source": "framework=PATH: a local clone to take an upstream source from (default $WAYMARK_SOURCE)"}
GPUS = {"gpus": "cards to lease, by number, for example 0,1 (default: any); a row takes the first that it fits"}
STRICT = {"strict": "refuse a machine that is busy, shared, short of memory or emulated, where others are only warned"}
ENGINE = {"engine": f"{engine_forms()} (default docker, or virtualenv where no Docker answers)"}


def verb(body: Callable[P, int | None]) -> Callable[P, None]:
    """Wrap a verb: WaymarkError becomes one sentence and an exit code, and Ctrl-C gives no traceback."""

    @functools.wraps(body)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            code = body(*args, **kwargs)
        except WaymarkError as error:
            raise Exit(str(error), error.exit_code) from None
        except KeyboardInterrupt:
            raise Exit("stopped", 130) from None
        if code:
            raise Exit(code=code)

    return run
