"""The page of a run that is still going on, served on this machine alone."""

import socket
import sys
import threading
import time
import urllib.error
import urllib.request

import pytest

from orchestrator.commands import watching
from orchestrator.errors import SpecError, StoreError
from orchestrator.home import Home
from orchestrator.records.host_facts import RecordedHost
from orchestrator.records.run_folder import JobFolder
from orchestrator.records.store import Store
from tests import fake_run as fake


class Told:
    """A console that remembers."""

    def __init__(self):
        self.lines = []

    def say(self, text):
        self.lines.append(text)


def answer(address, host=None):
    request = urllib.request.Request(address, headers={"Host": host} if host else {})
    with urllib.request.urlopen(request, timeout=10) as got:
        return got.read().decode(), dict(got.headers)


def until(told):
    """Waits for what has to become true."""
    deadline = time.monotonic() + 20
    while not told():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    home = Home(tmp_path / "home")
    with Store.open(home.store_url) as store:
        store.add_run(fake.run_facts(host=host(None)))
        store.add(*fake.some_jobs()[0])
    return home


def host(load_after):
    return RecordedHost(**{**fake.run_facts().host.model_dump(), "load_after": load_after})


@pytest.fixture
def served(home):
    """(address, console) of a page that is being watched."""
    console, has_to_end = Told(), threading.Event()

    def sleep(_):
        if has_to_end.wait(0.02):
            raise KeyboardInterrupt

    thread = threading.Thread(target=watching.watch, args=((), home, 0, console), kwargs={"sleep": sleep})
    thread.start()
    until(lambda: console.lines)
    yield console.lines[0].split()[3], console
    has_to_end.set()
    thread.join(20)
    assert console.lines[-1] == "stopped serving"


def test_the_page_grows_with_the_run(served, home):
    address, console = served
    before, _ = answer(address)
    with Store.open(home.store_url) as store:
        record = fake.trial_record(fake.trial("mxnet", "1.5"), ordinal=2)
        store.add(record, fake.ENDED, fake.OK, fake.training())
    until(lambda: any("2 trials" in line for line in console.lines))
    after, _ = answer(address)
    assert ("mxnet:1.5" in before, "mxnet:1.5" in after) == (False, True)


def test_the_browser_asks_again_until_the_run_has_ended(served, home):
    address, console = served
    going_on = answer(address)[1]
    with Store.open(home.store_url) as store:
        store.add_run(fake.run_facts(host=host({"load_1min": 0, "steal_percent": 0, "available_memory_bytes": 1})))
    until(lambda: any("has ended" in line for line in console.lines))
    assert ("Refresh" in going_on, "Refresh" in answer(address)[1]) == (True, False)


@pytest.mark.parametrize(
    ("path", "name", "code"), [("", "waymark.example", 403), ("../../store.sqlite", None, 404), ("%2e%2e/x", None, 404)]
)
def test_nothing_else_is_served(served, path, name, code):
    with pytest.raises(urllib.error.HTTPError) as refused:
        answer(served[0] + path, name)
    refused.value.close()
    assert refused.value.code == code


@pytest.mark.parametrize("path", ["/", "/index.html", "/x/", "/%00", "//", "/..%2f"])
def test_without_the_secret_part_nothing_is_served(served, path):
    with pytest.raises(urllib.error.HTTPError) as refused:
        answer(root(served) + path)
    refused.value.close()
    assert refused.value.code == 404


@pytest.mark.parametrize("path", ["%00", "a" * 5000, "%ff", "index.html/x"])
def test_a_name_that_no_file_has_is_not_found(served, path, capfd):
    with pytest.raises(urllib.error.HTTPError) as refused:
        answer(served[0] + path)
    refused.value.close()
    assert (refused.value.code, capfd.readouterr().err) == (404, "")


def root(served):
    return served[0].rstrip("/").rpartition("/")[0]


def test_many_slow_connections_take_no_more_than_some_threads(served, monkeypatch):
    monkeypatch.setattr(watching._Handler, "timeout", 0.5)
    port, before = int(root(served).rpartition(":")[2]), threading.active_count()
    idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(4 * watching.MOST_CONNECTIONS)]
    assert threading.active_count() - before <= watching.MOST_CONNECTIONS
    until(lambda: threading.active_count() <= before)  # those that say nothing are closed
    for one in idle:
        one.close()
    assert "waymark" in answer(served[0])[0]


def test_it_listens_on_the_loopback_only(served):
    assert served[0].startswith("http://127.0.0.1:")


def test_a_port_in_use_is_refused(served, home):
    port = int(root(served).rpartition(":")[2])
    with pytest.raises(SpecError, match=f"--port is {port}, which cannot be used"):
        watching.watch((), home, port, Told())


def test_without_a_run_there_is_nothing_to_watch(tmp_path):
    with pytest.raises(StoreError, match="there is no run yet"):
        watching.watch((), Home(tmp_path / "none"), 0, Told())


def test_several_runs_are_refused(home):
    with pytest.raises(SpecError, match="names 2 runs; --watch shows one"):
        watching.watch(("a", "b"), home, 0, Told())


def test_it_writes_to_no_folder_that_a_sweep_writes_to(served, home):
    """Both would make the same drafts, and one of them would fail."""
    answer(served[0])
    assert sorted(path.name for path in home.root.parent.iterdir()) == ["home"]


def test_the_page_tells_what_is_going_on(served, home):
    """A selfcheck, while no trial has begun."""
    address, _ = served
    request = fake.check_record(run_id=fake.run_facts().run_id, ordinal=5)
    job = JobFolder(home.runs / fake.run_facts().run_id / "0005-check")
    job.path.mkdir(parents=True)
    job.write("record.json", request)
    position = {"epoch": 0, "step": 20, "steps": 100, "phase": "regime 'clean' (2 of 9)"}
    (job.path / "events.jsonl").write_text(
        "".join(e.model_dump_json() + "\n" for e in fake.events(("progress", position)))
    )
    said = "Going on now: pytorch:2.13 selfcheck ResNet-20@32: regime &#x27;clean&#x27; (2 of 9)  20 %"
    until(lambda: said in answer(address)[0])
    job.write("outcome.json", fake.OK)
    until(lambda: "Going on now" not in answer(address)[0])
