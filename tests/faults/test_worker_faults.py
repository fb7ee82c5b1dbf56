"""Each way in which a worker can fail has its status and its fault, in each engine, and leaves nothing behind."""

import json
import os
import time

import docker
import pytest

from orchestrator.engines.orphans import running_workers
from orchestrator.errors import EngineError
from orchestrator.execution import job_runner
from orchestrator.execution.job_runner import run_job
from orchestrator.records.job import check_job
from tests import fake_run as fake

pytestmark = pytest.mark.timeout(120)

TELL = "say(*story)"
FAIL = 'say(story[0], {{"v": 1, "seq": 1, "t": 1.0, "kind": "fail", "code": {0}, "reason": "because"}}); sys.exit({0})'

FAULTS = {  # what goes wrong -> what the worker does, status and fault
    "nothing": (TELL, "ok", "none"),
    "ends without an event": ("sys.exit(1)", "no_protocol", "environment"),
    "ends with code 1 in the middle": ("say(*story[:3]); sys.exit(1)", "crashed", "unknown"),
    "ends with code 0 in the middle": ("say(*story[:3])", "crashed", "unknown"),
    "segmentation fault": ("say(*story[:3]); os.kill(os.getpid(), signal.SIGSEGV)", "crashed", "subject"),
    "abort": ("say(*story[:3]); os.abort()", "crashed", "subject"),
    "killed by somebody": ("say(*story[:3]); os.kill(os.getpid(), signal.SIGKILL)", "crashed", "unknown"),
    "out of memory": ("say(*story[:3]); x = bytearray(10**9); time.sleep(60)", "out_of_memory", "subject"),
    "hangs while it imports": ("time.sleep(60)", "timeout", "subject"),
    "hangs while it builds": ("say(story[0]); time.sleep(60)", "timeout", "subject"),
    "hangs in a step": ("say(*story[:4]); time.sleep(60)", "timeout", "subject"),
    "hangs and ignores SIGTERM": (
        "signal.signal(signal.SIGTERM, signal.SIG_IGN); say(*story[:4]); time.sleep(60)",
        "timeout",
        "subject",
    ),
    "is busy without end": (
        'n = 0\nwhile True: say({"v": 1, "seq": n, "t": 1.0, "kind": "progress"}); n += 1; time.sleep(.2)',
        "timeout",
        "subject",
    ),
    "loss is not finite": (FAIL.format(67), "diverged", "subject"),
    "an op is not lowered": (FAIL.format(66), "unsupported", "subject"),
    "the framework does not import": (FAIL.format(65), "crashed", "environment"),
    "a setting is not in force": (FAIL.format(68), "misconfigured", "environment"),
    "a bug of an adapter": (FAIL.format(70), "crashed", "unknown"),
    "garbage between the events": (
        'say(*story[:3]); open("events.jsonl", "ab").write(bytes(range(256))); say(*story[3:])',
        "no_protocol",
        "environment",
    ),
    "a line cut in half": (
        'say(*story[:-1]); open("events.jsonl", "a").write(json.dumps(story[-1])[:20])',
        "crashed",
        "unknown",
    ),
    "a line is missing": ("say(*story[:4], *story[5:])", "no_protocol", "environment"),
    "a line twice": ("say(*story, story[-1])", "no_protocol", "environment"),
    "a line of 100 MB": (
        'file = open("events.jsonl", "w"); [file.write("x" * 10**6) for _ in range(100)]',
        "no_protocol",
        "subject",
    ),
    "a million lines": ('open("events.jsonl", "w").write("{}\\n" * 10**6)', "no_protocol", "subject"),
    "a future version": ("say(*[dict(one, v=99) for one in story])", "no_protocol", "environment"),
    "losses that are text": ('story[4]["loss"] = ["abc"]; say(*story)', "no_protocol", "environment"),
    "a time that is not finite": ('story[4]["t"] = float("1e999"); say(*story)', "no_protocol", "environment"),
    "steps that take no time": ('story[4]["step_seconds"] = [0] * 30; say(*story)', "no_protocol", "environment"),
    "steps of 10^308 s": ('story[4]["step_seconds"] = [1e308] * 30; say(*story)', "no_protocol", "environment"),
    "a progress without its fields": ('del story[3]["step"]; say(*story)', "ok", "none"),
    "another network": ('story[1]["weights"] = 7; say(*story)', "no_protocol", "environment"),
    "an epoch too few": (
        "say(*story[:6], *[dict(one, seq=one['seq'] - 3) for one in story[9:]])",
        "no_protocol",
        "environment",
    ),
    "100 MB on stdout": ('[sys.stdout.write("x" * 10**6) for _ in range(100)]; say(*story)', "ok", "none"),
    "a child that stays": (
        'subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]); say(*story)',
        "ok",
        "none",
    ),
    "events are a FIFO": ('os.mkfifo("events.jsonl")', "no_protocol", "subject"),
    "events are an endless device": (
        'os.symlink("/dev/zero", "events.jsonl"); time.sleep(1)',
        "no_protocol",
        "subject",
    ),
    "events are a folder": ('os.mkdir("events.jsonl")', "no_protocol", "subject"),
    "folders 3,000 deep": (
        'say(*story)\nfor _ in range(3000): os.mkdir("d"); os.chdir("d")',
        "crashed",
        "subject",
    ),
    "its folder is emptied": (
        'say(*story); time.sleep(1)\nfor name in os.listdir("."): os.remove(name)',
        "no_protocol",
        "subject",
    ),
    "a folder in the place of our files": (
        'say(*story)\nfor name in ("exit.json", "outcome.json"): os.makedirs(name + "/x")',
        "ok",
        "none",
    ),
}


@pytest.mark.parametrize("fault", FAULTS, ids=str)
def test_a_fault_has_its_outcome(victim, story, note, fault):
    code, status, fault_of = FAULTS[fault]
    began = time.monotonic()
    outcome, folder = victim.run(code, story)
    note(fault, victim.name, f"{outcome.status}/{outcome.fault}: {outcome.reason}"[:140])
    assert (outcome.status, outcome.fault) == (status, fault_of), outcome.reason
    assert (outcome.reason == "") == (status == "ok")
    assert folder.outcome() == outcome
    assert time.monotonic() - began < 40
    assert running_workers(victim.context.run_dir) == []
    run = victim.context.store.run(victim.context.run_dir.name)
    assert [trial.outcome for trial in run.trials] == [outcome]


LINKS = {
    "log.txt": "the log",
    "exit.json": "exit.json",
    "outcome.json": "outcome.json",
    "telemetry.jsonl": "telemetry.jsonl",
    "reference.npz": "the oracle's traces",
}


@pytest.mark.parametrize("name", LINKS, ids=str)
def test_a_link_to_a_file_of_the_host_is_not_followed(victim, story, note, precious, name):
    # `remove` first: what is already there when the worker starts may be replaced too.
    code = f"say(*story)\nif os.path.lexists({name!r}): os.remove({name!r})\nos.symlink({str(precious)!r}, {name!r})"
    outcome, folder = victim.run(code, story)
    note(f"a link in the place of {LINKS[name]}", victim.name, f"{outcome.status}; not followed")
    assert precious.read_text() == "precious"
    assert precious.stat().st_mode & 0o777 == 0o600
    copies = [path for path in folder.path.iterdir() if path.is_file() and not path.is_symlink()]
    assert not any(
        "precious" in path.read_text(errors="replace")
        for path in copies
        if path.name not in ("job.json", "record.json")
    )


SHELL = """
for folder in (".", "inner"):
    os.makedirs(folder, exist_ok=True)
    shell = os.path.join(folder, "shell")
    with open(shell, "wb") as file: file.write(open("/bin/sh", "rb").read())
    os.chmod(shell, 0o6755)
    os.chmod(folder, 0o2777)
"""


def test_no_program_that_a_worker_left_runs_as_its_user(victim, story, note):
    outcome, folder = victim.run(f"say(*story)\n{SHELL}", story)
    rights = {path.name: path.lstat().st_mode & 0o7777 for path in folder.path.rglob("*")}
    note("a set-user-ID shell is left", victim.name, f"{outcome.status}; its rights are 0644, its folder is gone")
    assert outcome.status == "ok", outcome.reason
    assert (rights["shell"], "inner" in rights, folder.path.stat().st_mode & 0o7777) == (0o644, False, 0o755)
    assert {mode & 0o7022 for mode in rights.values()} == {0}
    assert {path.stat().st_uid for path in folder.path.iterdir()} == {os.geteuid()}


def test_a_worker_that_takes_its_folder_away_ends_its_row(victim, story, note):
    outcome, folder = victim.run("say(*story)\nos.rename(os.getcwd(), os.getcwd() + '-away')", story)
    note("the worker takes its folder away", victim.name, f"{outcome.status}: {outcome.reason}")
    if victim.name == "docker":  # where it cannot
        assert outcome.status == "crashed"
        return
    assert (outcome.status, outcome.fault) == ("no_protocol", "subject")
    assert folder.outcome() == outcome
    assert victim.run(TELL, story)[0].status == "ok"


def test_a_worker_that_closes_its_folder_ends_its_row(victim, story, note):
    code = "say(*story[:3]); time.sleep(.5); os.chmod('.', 0); time.sleep(1)"
    outcome, folder = victim.run(code, story)
    note("the worker closes its folder", victim.name, f"{outcome.status}: {outcome.reason}")
    assert outcome.status == ("crashed" if os.geteuid() == 0 else "no_protocol")  # nothing is closed to root
    assert (folder.outcome(), folder.path.stat().st_mode & 0o777) == (outcome, 0o755)
    assert victim.run(TELL, story)[0].status == "ok"


FILLING = {
    "bytes": "file = open('x', 'wb')\nfor _ in range(300): file.write(bytes(2**20)); file.flush(); time.sleep(.02)",
    "files": "for n in range(10**6): open(str(n), 'w').close(); time.sleep(.001)",
}


@pytest.mark.parametrize("what", FILLING)
def test_a_worker_that_fills_the_disk_is_ended(victim, story, note, monkeypatch, what):
    monkeypatch.setattr(job_runner, "_MOST_BYTES", 2**26)
    monkeypatch.setattr(job_runner, "_MOST_ENTRIES", 500)
    outcome, folder = victim.run(f"say(*story[:3])\n{FILLING[what]}", story)
    note(f"too many {what} in its folder", victim.name, f"{outcome.status}: {outcome.reason}")
    assert (outcome.status, outcome.fault) == ("crashed", "subject")
    assert "its folder" in outcome.reason
    assert sum(path.stat().st_size for path in folder.path.iterdir()) < 2**23


FORGED = """
record = json.load(open("record.json"))
record["trial"]["framework"] = record["environment"]["framework"] = "another"
samples = '{"unix": 1.0, "cpu_percent": 1.0, "memory_bytes": 1}\\n'
for name, text in (("record.json", json.dumps(record)), ("job.json", "{}"), ("telemetry.jsonl", samples)):
    if os.path.lexists(name): os.remove(name)
    open(name, "w").write(text)
"""


def test_a_record_that_its_worker_rewrote_is_ours_again(victim, story, note):
    outcome, folder = victim.run(f"say(*story)\n{FORGED}", story)
    note("the worker rewrites record.json and telemetry.jsonl", victim.name, f"{outcome.status}; ours stand")
    (trial,) = victim.context.store.run(victim.context.run_dir.name).trials
    assert outcome.status == "ok", outcome.reason
    assert folder.record() == trial.record
    assert folder.record().trial.framework != "another"
    assert json.loads((folder.path / "job.json").read_text()) != {}
    assert [sample for sample in folder.samples() if sample.unix == 1.0] == []
    assert folder.samples() != ()


def test_code_that_was_changed_between_two_jobs_is_not_run(victim, story, note):
    victim.run(TELL, story)
    run = victim.context.source.path / "workers" / "run.py"
    run.write_text(run.read_text() + "# faster\n")
    with pytest.raises(EngineError, match="was changed after it was made") as caught:
        victim.run(TELL, story)
    note("the worker's code is changed", victim.name, str(caught.value)[:120])


def kill_from_outside(victim):
    if victim.name == "virtualenv":
        for worker in running_workers(victim.context.run_dir):
            os.kill(worker.pid, 9)
        return
    client = docker.from_env()
    for container in client.containers.list(filters={"label": f"waymark.run={victim.context.run_dir.name}"}):
        container.remove(force=True)
    client.close()


def test_a_worker_that_somebody_removes_is_told(victim, story, note):
    def on_event(event):
        if event.kind == "built":
            kill_from_outside(victim)

    outcome, _ = victim.run("say(*story[:3]); time.sleep(60)", story, on_event)
    note(
        "somebody removes the worker or its container",
        victim.name,
        f"{outcome.status}/{outcome.fault}: {outcome.reason}",
    )
    assert (outcome.status, outcome.fault) == ("crashed", "unknown")


def test_others_containers_are_left_alone(victim, story, need_base):
    if victim.name != "docker":
        pytest.skip("this engine has no containers")
    client = docker.from_env()
    image = victim.environment.location
    other = client.containers.run(image, ["-c", "import time; time.sleep(60)"], entrypoint=["python"], detach=True)
    try:
        victim.run("os.abort()", story)
        other.reload()
        assert other.status == "running"
    finally:
        other.remove(force=True)
        client.close()


def test_what_the_worker_leaves_can_be_read_again(victim, story):
    victim.run(TELL, story)
    run = victim.context.run_dir
    (run / "run.json").write_text(json.dumps(json.loads(victim.context.store.runs()[0].model_dump_json())))
    read = victim.context.store.ingest(run)
    assert (read.jobs, read.damaged) == (1, ())


@pytest.mark.parametrize("passed", [True, False])
def test_traces_are_kept_only_of_a_check_that_passed(victim, passed):
    record = fake.check_record("numpy_ref", "1.0", run_id=victim.context.run_dir.name)
    record = record.model_copy(update={"environment": victim.environment})
    code = 'open("reference.npz", "w").write("traces"); say(*story)'
    told = [json.loads(one.model_dump_json()) for one in fake.checking(passed)]
    environment = victim.environment.model_copy(update={"options": {"code": code, "story": told}})
    outcome = run_job(victim.context, record, check_job(record.check, environment), None, lambda event: None)
    assert outcome.status == "ok"
    kept = list(victim.context.references.glob("*")) if victim.context.references.exists() else []
    assert len(kept) == passed
    assert not list(victim.context.run_dir.glob("*/reference.npz"))
