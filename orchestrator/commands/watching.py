"""`invoke report --watch`: serves the report of a run on this machine alone, and makes it again as trials end."""

import html
import secrets
import threading
import time
import webbrowser
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from orchestrator.console.progress import Console, TrialProgress
from orchestrator.errors import SpecError, StoreError
from orchestrator.files import write_atomically
from orchestrator.home import Home
from orchestrator.host import yield_processors
from orchestrator.records.run_folder import OUTCOME, JobFolder
from orchestrator.records.store import Store
from orchestrator.report import write_report
from orchestrator.scratch import temporary_folder

LOOPBACK = "127.0.0.1"
RELOAD_SECONDS = 10
"""How often the browser asks again, while the run goes on."""

POLL_SECONDS = 2.0
"""How often the store is asked whether there is something new."""


MOST_CONNECTIONS = 16
"""At once; a browser holds up to six."""


class _Handler(SimpleHTTPRequestHandler):
    """Files of one folder, to those who know the token in its address, by a name of this machine.

    Other users of the machine reach its ports too, and do not know the token. A page of somebody else whose name was
    made to point here would ask by that name (DNS rebinding).
    """

    timeout = 10.0  # seconds in which something must come, or the connection ends

    def __init__(self, *arguments: Any, has_ended: threading.Event, token: str, **named: Any) -> None:
        self._has_ended, self._token = has_ended, token
        super().__init__(*arguments, **named)

    def send_head(self) -> Any:
        port = self.connection.getsockname()[1]
        if self.headers.get("Host") not in (f"{LOOPBACK}:{port}", f"localhost:{port}"):
            self.send_error(HTTPStatus.FORBIDDEN, "It answers to names of this machine only")
            return None
        _, token, rest = [*self.path.split("/", 2), "", ""][:3]
        if not secrets.compare_digest(token.encode(), self._token.encode()):
            self.send_error(HTTPStatus.NOT_FOUND, "The address that waymark printed has a part that is secret")
            return None
        self.path = f"/{rest}"
        try:
            return super().send_head()
        except ValueError:  # a name that no file can have
            self.send_error(HTTPStatus.NOT_FOUND)
            return None

    def list_directory(self, path: Any) -> None:
        self.send_error(HTTPStatus.NOT_FOUND)

    def end_headers(self) -> None:
        self.send_header("Cache-Control", "no-store")
        if not self._has_ended.is_set():
            self.send_header("Refresh", str(RELOAD_SECONDS))
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """The terminal is for what happens to the run."""


class _Server(ThreadingHTTPServer):
    """At most MOST_CONNECTIONS at once: more are closed, so that nobody takes all threads and files of the user."""

    def __init__(self, *arguments: Any) -> None:
        self._free = threading.BoundedSemaphore(MOST_CONNECTIONS)
        super().__init__(*arguments)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, *_: Any) -> None:
        """A browser that went away is no news."""


def watch(
    run_ids: Sequence[str],
    home: Home,
    port: int,
    console: Console,
    is_opened: bool = False,
    sleep: Callable[[float], object] = time.sleep,
) -> None:
    """Serve the report until Ctrl-C. run_ids: which run, or none for the newest. port: 0 for any that is free.

    It is made in a folder of its own, because the sweep writes to that of the reports when it ends.

    Raises SpecError for several runs and for a port that cannot be used, StoreError if there is no such run.
    """
    if len(run_ids) > 1:
        raise SpecError(f"--run names {len(run_ids)} runs; --watch shows one.")
    with Store.open(home.store_url) as store, temporary_folder() as scratch:
        newest = store.latest_sweep()
        if not run_ids and newest is None:
            raise StoreError("there is no run yet. Start one with invoke sweep, and watch it from another terminal.")
        run_id = run_ids[0] if run_ids else newest.run_id if newest else ""
        seen = _seen(store, run_id)
        report = write_report(store, run_id, home, scratch)
        page, now_at = report.page.read_text(encoding="utf-8"), ""
        has_ended = threading.Event()
        with _served(report.page.parent, port, has_ended) as address, _until_interrupt(console):
            console.say(f"watching {run_id} at {address} (Ctrl-C ends it)")
            yield_processors()  # not the server, whose thread runs already
            if is_opened and not webbrowser.open(address):
                console.say("no browser was found; open that address in one")
            while True:
                now = _seen(store, run_id)
                if now != seen:
                    report = write_report(store, run_id, home, scratch)
                    page, now_at, seen = report.page.read_text(encoding="utf-8"), "", now
                    console.say(f"{run_id}: {len(report.stored.trials)} trials")
                at = "" if now[1] else going_on(home.runs / run_id)
                if at != now_at:
                    now_at = at
                    told = f'<p class="now">Going on now: {html.escape(at)}</p>' if at else ""
                    write_atomically(report.page, page.replace("</header>", f"{told}</header>", 1))
                if now[1] and not has_ended.is_set():
                    has_ended.set()
                    console.say(f"{run_id} has ended; its page stays at {address} until Ctrl-C")
                sleep(POLL_SECONDS)


def going_on(run: Path) -> str:
    """What the job of a run that is going on does: 'pytorch:2.13 selfcheck IDSIA@48: regime 'clean' (2 of 9)  8 %'.

    '' if none is.
    """
    folders = sorted(run.glob("[0-9]*"), key=lambda path: path.stat().st_mtime if path.exists() else 0.0)
    for folder in map(JobFolder, reversed(folders)):
        if (folder.path / OUTCOME).exists():
            continue
        try:
            record, events = folder.record(), folder.events()
        except (OSError, ValueError):  # it is just being made
            continue
        asked = record.trial or record.check or (record.audit.trial if record.audit else None)
        trial = record.trial
        epochs = trial.training.epochs if trial and not trial.inference else None
        progress = TrialProgress(epochs, trial.batch_size if trial else 1)
        for event in events:
            progress.take(event)
        where = "" if asked is None else asked.label
        return f"{'audit of ' if record.audit else ''}{where}: {progress.text(events[-1].t) if events else 'starting'}"
    return ""


def _seen(store: Store, run_id: str) -> tuple[tuple[int, int], bool]:
    """What of a run changes its page: how many trials it has and how many are ok; and whether it has ended."""
    facts = next((run for run in store.runs() if run.run_id == run_id), None)
    has_ended = facts is not None and facts.host.load_after is not None
    return store.trial_counts().get(run_id, (0, 0)), has_ended


@contextmanager
def _served(folder: Path, port: int, has_ended: threading.Event) -> Iterator[str]:
    """The address at which the folder is served."""
    token = secrets.token_urlsafe(16)
    try:
        handler = partial(_Handler, directory=str(folder), has_ended=has_ended, token=token)
        server = _Server((LOOPBACK, port), handler)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or "it is no number of a port"
        raise SpecError(
            f"--port is {port}, which cannot be used ({reason}); leave it out for any that is free."
        ) from None
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://{LOOPBACK}:{server.server_address[1]}/{token}/"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _until_interrupt(console: Console) -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        console.say("stopped serving")
