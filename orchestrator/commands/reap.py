"""`invoke reap`: ends and removes what runs that were killed left behind. No run may be going on."""

from orchestrator import files
from orchestrator.console.progress import Console
from orchestrator.engines import open_builder
from orchestrator.engines.orphans import running_workers
from orchestrator.errors import EngineError
from orchestrator.execution.locks import exclusive_run
from orchestrator.home import Home

_DRAFTS = (".freeze-*", "workers/.draft-*", "data/.draft-*", "data/.sources-*")


def reap(home: Home, console: Console) -> int:
    """Workers of this home, containers of runs on this machine that have ended, and drafts. Gives exit code 0.

    Raises EngineError while a run is going on, because its workers are none of these.
    """
    with exclusive_run(home):
        workers = running_workers(home.root)
        for worker in workers:
            worker.end()
            console.say(f"ended process {worker.pid}, a worker on the job {worker.folder}")
        drafts = [path for pattern in _DRAFTS for path in home.root.glob(pattern)]
        for path in drafts:
            files.remove(path)
            console.say(f"removed {path}")
        try:
            builder = open_builder()
        except EngineError as error:
            console.say(f"containers were not looked for: {error}")
            containers = 0
        else:
            containers = builder.sweep()
            builder.close()
    console.say(f"{len(workers)} workers and {containers} containers ended, {len(drafts)} drafts removed")
    return 0
