"""Runs workers in an existing Python with an installed framework.

For machines where nothing can be installed, or to measure what is installed. The row has no versions: it is the variant
`host` of its framework, and the record holds what was installed.
"""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from orchestrator.engines import process
from orchestrator.engines.engine import Launch, Say
from orchestrator.engines.environment import declared, frozen
from orchestrator.engines.source import snapshot
from orchestrator.engines.virtualenv import run_worker
from orchestrator.environment import Environment
from orchestrator.errors import EngineError
from orchestrator.home import Home, expanded
from orchestrator.planning.image_row import Cores, ImageRow
from orchestrator.trial import Exit

VARIABLE = "WAYMARK_HOST_PYTHON"


class HostEngine:
    """See Engine."""

    name = "host"
    is_local = True

    def __init__(self, home: Home, cores: Cores, python: str = "") -> None:
        """python: path or name of the interpreter; '' means $WAYMARK_HOST_PYTHON, or the one that runs waymark.

        Raises EngineError if there is no such interpreter.
        """
        asked = str(expanded(python or os.environ.get(VARIABLE) or sys.executable))
        program = shutil.which(asked)
        build = process.output((program, "-c", "import sys; print(sys.version)")) if program else None
        if program is None or not build:
            raise EngineError(
                f"--engine=host would run {asked}, and that is no Python that runs. Name one: "
                f"--engine=host:/path/of/python, or {VARIABLE}."
            )
        self._python, self._build = str(Path(program).absolute()), build
        self._home, self._cores = home, cores

    def prepare(self, row: ImageRow, say: Say) -> Environment:
        """That Python as it is: nothing is installed; the record lists what is."""
        bare = declared(self.name, row, self._cores, str(Path(self._python).parent.parent))
        here = {"identity": self._build, "location": self._python, "env": {**_searched(), **bare.env}}
        bare = bare.model_copy(update=here)
        return frozen(bare, self.run, snapshot(self._home), self._home)

    def run(self, launch: Launch, tick: Callable[[], None]) -> Exit:
        """Run one worker; its stdout and stderr go to <job>/log.txt."""
        theirs = launch.environment.env.get("PYTHONPATH")
        variables = {
            "PYTHONPATH": os.pathsep.join([str(launch.source), *([theirs] if theirs else [])]),
            "PYTHONNOUSERSITE": "",  # packages of `pip install --user` count as installed
            "PYTHONUSERBASE": os.environ.get("PYTHONUSERBASE") or str(Path.home() / ".local"),
        }
        return run_worker(launch, variables, tick)

    def close(self) -> None:
        """Nothing to close."""


def _searched() -> dict[str, str]:
    """The user's variables that affect what that Python imports; the worker gets them, and the record holds them.

    LD_LIBRARY_PATH as at the start of this process, because opencv changes it when it is imported.
    """
    try:
        lines = os.fsdecode(Path("/proc/self/environ").read_bytes()).split("\0")
        started = dict(line.partition("=")[::2] for line in lines if line)
    except OSError:
        started = dict(os.environ)
    variables = {"LD_LIBRARY_PATH": started.get("LD_LIBRARY_PATH"), "PYTHONPATH": os.environ.get("PYTHONPATH")}
    return {name: value for name, value in variables.items() if value}
