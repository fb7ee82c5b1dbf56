"""What is sent to a cluster and what becomes of it, where there is no cluster."""

import json
import os
import signal

import pytest

from orchestrator.cluster import (
    Attempt,
    Sent,
    ShardJob,
    ShardState,
    SlurmSettings,
    Submission,
    SubmissionFolder,
    job_states,
    read_settings,
    read_submission,
    require_slurm,
    send,
)
from orchestrator.cluster import shard_job as on_node
from orchestrator.cluster.settings import minutes_of
from orchestrator.cluster.submission import SPEC
from orchestrator.commands import submit
from orchestrator.console.progress import Console
from orchestrator.engines import process
from orchestrator.errors import AbsentError, EngineError, SpecError, StoreError
from orchestrator.home import Home
from orchestrator.host import boot_key, shared
from orchestrator.records.run_folder import Shard
from tests import fake_run as fake

NAME = "20261130-120000-cluster"


@pytest.fixture
def home(tmp_path):
    return Home(tmp_path / "home")


@pytest.fixture
def folder(home):
    folder = SubmissionFolder(home, NAME)
    folder.path.mkdir(parents=True)
    folder.write(Submission(submission=NAME, name="cluster", began_unix=1.0, count=2))
    return folder


@pytest.fixture
def called(monkeypatch):
    """Programs that a test says answer; all calls are kept."""
    calls, answers = [], {}

    def output(argv, timeout_seconds=20.0):
        calls.append(argv)
        return answers.get(argv[0], "")

    monkeypatch.setattr(process, "output", output)
    monkeypatch.setattr(signal, "signal", lambda number, handler: signal.SIG_DFL)
    return calls, answers


def run(home, number, state="ended", began=1.0, submission=NAME, marks=("m",), **changes):
    """A run of a shard, on record."""
    run_id = f"20261130-12000{int(began)}-cluster-{number}of2-n1"
    host = fake.host(marks=marks, load_after=fake.load() if state == "ended" else None)
    shard = Shard(number=number, count=2, spec_sha256="a" * 64, submission=submission)
    facts = fake.run_facts(run_id, shard=shard, host=host, started_unix=began, **changes)
    fake.write_run(home.runs, facts, [])
    return run_id


def attempt(number=1, node="n1", code=None, ended=None, began=1.0):
    return Attempt(
        number=number, job_id="7", node=node, began_unix=began, ended_unix=ended, code=code
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "minutes"),
    [("90m", 90), ("4h", 240), ("1-12:00:00", 2160), ("01:30:00", 90), ("1-12:00", 2160), ("00:00:30", 1)],
)
def test_times_read_as_slurm_and_we_write_them(text, minutes):
    assert minutes_of(text) == minutes


@pytest.mark.parametrize("text", ["0m", "soon", "00:00:00", "-1h", "4", "1:2:3:4", "٣m"])
def test_other_times_are_refused(text):
    with pytest.raises(SpecError, match="--time is "):
        minutes_of(text)


def test_settings_come_from_the_table_of_the_home(home):
    assert read_settings(home) == SlurmSettings()
    home.root.mkdir()
    home.settings.write_text('[slurm]\npartition = "cpu"\ntime = "2h"\n', encoding="utf-8")
    assert (read_settings(home).partition, read_settings(home).limit_minutes) == ("cpu", 120)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[slurm\n", "does not read"),
        ("[slrum]\n", "has 'slrum'; it may have the table [slurm]"),
        ('[slurm]\npartitoin = "x"\n', "slurm.partitoin: extra inputs"),
        ("[slurm]\npartition = 3\n", "slurm.partition: input should be a valid string"),
    ],
)
def test_wrong_settings_are_one_sentence(home, text, words):
    home.root.mkdir()
    home.settings.write_text(text, encoding="utf-8")
    with pytest.raises(SpecError) as caught:
        read_settings(home)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_slurm_one_sentence_says_what_else_can_be_done(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AbsentError, match=r"no sbatch here: .*invoke sweep --shard=1/2"):
        require_slurm()


def test_a_shard_is_done_when_one_of_its_runs_ended(home, folder):
    run(home, 1, state="killed", began=1.0)
    ended = run(home, 1, began=2.0)
    run(home, 2, submission="20261130-120000-another")
    first, second = folder.shards(2)
    assert (first.is_done, first.runs[0].run_id) == (True, ended)
    assert (second.is_done, second.runs) == (False, [])


def test_a_shard_is_given_up_after_three_faults_or_a_wrong_spec():
    faults = [attempt(code=3, ended=2.0, node=node) for node in ("n1", "n1", "n2")]
    turned_away = attempt(node="n3", ended=1.0)
    assert ShardState(1, [*faults, turned_away]).is_given_up
    assert not ShardState(1, faults[:2] * 2).is_given_up
    assert ShardState(1, [attempt(code=2, ended=2.0)]).is_given_up
    assert not ShardState(1, faults[1:]).is_given_up
    assert not ShardState(1, [*faults, attempt(ended=2.0)]).is_given_up


def test_each_attempt_has_a_file_of_its_own(folder):
    paths = [folder.begin(attempt(node=node)) for node in ("n1", "n1", "../n2")]
    assert len(set(paths)) == 3
    assert {path.parent for path in paths} == {folder.path / "attempts"}
    assert sorted(one.node for one in folder.attempts()) == ["../n2", "n1", "n1"]


def test_an_attempt_that_is_damaged_hides_no_other(folder):
    folder.begin(attempt()).write_text("{", encoding="utf-8")
    folder.begin(attempt(number=2))
    assert [one.number for one in folder.attempts()] == [2]


def test_shards_that_were_given_up_are_tried_again_when_asked(folder):
    for node in ("n1", "n2", "n2"):
        folder.begin(attempt(code=3, ended=2.0, node=node))
    assert folder.shards(2)[0].is_given_up
    folder.forgive([1])
    assert not folder.shards(2)[0].is_given_up
    assert {one.why for one in folder.attempts()} == {" (exit code 3)"}


def test_an_unknown_submission_is_named_with_one_like_it(home, folder):
    with pytest.raises(StoreError, match=f"there is no submission '{NAME}x'.*{NAME}"):
        SubmissionFolder(home, f"{NAME}x").read()
    with pytest.raises(StoreError, match=r"there is no submission '\.\./x'"):
        read_submission("../x", home)
    assert read_submission("", home) == folder
    with pytest.raises(StoreError, match="no submission is on record"):
        read_submission("", Home(home.root / "empty"))


def test_states_of_other_jobs_are_left_out(called):
    calls, answers = called
    answers["squeue"] = "7_0|RUNNING|n1|None\n7_1|PENDING||Resources\n8|RUNNING|n2|None\n7_2|FAILED|n1|x"
    states = job_states({"7_0", "7_1", "7_2"})
    assert {name: (one.is_running, one.node, one.why) for name, one in states.items()} == {
        "7_0": (True, "n1", ""),
        "7_1": (False, "", "Resources"),
    }
    answers["squeue"] = None
    assert job_states({"7_0"}) is None
    assert calls[0][:6] == ("squeue", "-h", "-r", "-t", "all", "-u")


def ours(home, monkeypatch, codes):
    """A job of shard 1 whose sweeps end with these codes; gives it, and the words of the sweeps."""
    job, said = ShardJob(str(home.root), str(home.root / "reports"), NAME, 1, 2, ("--engine=virtualenv",)), []

    def ended(command, tick):
        said.append(command.argv[3:])
        code = codes.pop(0)
        if isinstance(code, Exception):
            raise code
        if code == 0 and "--shard=1/2" in command.argv:
            run(home, 1, began=5.0)
        return process.Ended(code, None, False, False, 0.0, 1.0, 0.1)

    monkeypatch.setattr(process, "run", ended)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    monkeypatch.setenv("SLURMD_NODENAME", "n1")
    return job, said


def test_a_job_runs_the_control_and_its_shard(home, folder, monkeypatch, called):
    job, said = ours(home, monkeypatch, [0, 0])
    assert job() == 0
    assert [words[1].rpartition("/")[2] for words in said] == ["control.json", SPEC]
    assert said[1][2:] == ("--shard=1/2", "--engine=virtualenv")
    assert [(one.code, one.node) for one in folder.attempts()] == [(0, "n1")]
    assert called[0] == []


def test_a_job_of_a_shard_that_is_done_runs_nothing(home, folder, monkeypatch, called):
    run(home, 1)
    job, said = ours(home, monkeypatch, [])
    assert (job(), said, folder.attempts()) == (0, [], [])


def test_a_run_that_this_machine_began_is_continued(home, folder, monkeypatch, called):
    monkeypatch.setattr(on_node, "machine_marks", lambda: ("m",))
    begun = run(home, 1, state="killed")
    job, said = ours(home, monkeypatch, [0])
    job()
    assert said == [("sweep", f"--resume={begun}", "--engine=virtualenv")]


def test_a_run_that_another_machine_began_is_not_continued(home, folder, monkeypatch, called):
    monkeypatch.setattr(on_node, "machine_marks", lambda: ("another",))
    run(home, 1, state="killed")
    job, said = ours(home, monkeypatch, [0, 0])
    job()
    assert "--shard=1/2" in said[1]


def test_a_fault_of_the_machine_is_sent_again_and_recorded(home, folder, monkeypatch, called):
    job, _ = ours(home, monkeypatch, [0, 3])
    assert job() == 3
    assert [one.code for one in folder.attempts()] == [3]
    assert ("scontrol", "requeue", "7") in called[0]


def test_a_wrong_spec_is_not_sent_again(home, folder, monkeypatch, called):
    job, _ = ours(home, monkeypatch, [0, 2])
    assert job() == 2
    assert called[0] == []


def test_a_program_that_python_ended_is_a_fault(home, folder, monkeypatch, called):
    """It has the exit code of a sweep in which a trial failed, but its run has not ended."""
    job, _ = ours(home, monkeypatch, [0, 1])
    assert job() == 70


def test_a_job_whose_time_ends_goes_back_to_its_node(home, folder, monkeypatch, called):
    job, _ = ours(home, monkeypatch, [0, on_node._StoppedError("its time ended", is_sent_again=True)])
    assert job() is None
    assert called[0] == [("scontrol", "requeue", "7"), ("scontrol", "update", "JobId=7", "ReqNodeList=n1")]
    assert [(one.code, one.why) for one in folder.attempts()] == [(None, "its time ended")]


def test_a_job_that_is_cancelled_is_not_sent_again(home, folder, monkeypatch, called):
    job, _ = ours(home, monkeypatch, [0, on_node._StoppedError("Slurm ended it", is_sent_again=False)])
    assert (job(), called[0]) == (None, [])


def test_a_node_with_three_faults_in_a_row_is_left_out(home, folder, monkeypatch, called):
    for number in (1, 2, 2):
        folder.begin(attempt(number=number, code=3, ended=2.0))
    job, said = ours(home, monkeypatch, [])
    assert (job(), said) == (None, [])
    assert called[0] == [("scontrol", "requeue", "7"), ("scontrol", "update", "JobId=7", "ExcNodeList=n1")]
    assert folder.attempts()[-1].why == "n1 failed 3 times in a row, and is left out"


def test_slurm_that_refuses_leaves_no_submission(home, monkeypatch, tmp_path):
    class Executor:
        def __init__(self, folder):
            pass

        def update_parameters(self, **asked):
            pass

        def submit_array(self, jobs):
            told = ("sbatch: error: invalid partition specified: x", "sbatch: error: Batch job submission failed")
            raise RuntimeError("\n".join(told))

    monkeypatch.setattr("submitit.SlurmExecutor", Executor)
    with pytest.raises(EngineError, match=r"nothing was submitted: invalid partition specified: x\.$"):
        send([], SlurmSettings(), tmp_path)


def test_jobs_are_exclusive_and_told_before_their_end(monkeypatch, tmp_path):
    pytest.importorskip("submitit")
    (tmp_path / "srun").touch(mode=0o755)
    (tmp_path / "sbatch").write_text(f'#!/bin/sh\ncp "$1" {tmp_path}/script\necho Submitted batch job 5\n')
    (tmp_path / "sbatch").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    jobs = [ShardJob("home", "reports", NAME, number, 2, ()) for number in (1, 2)]
    sent = send(jobs, SlurmSettings(partition="cpu", account="a1", time="90m"), tmp_path / NAME, "n2")
    assert sent == ["5_0", "5_1"]
    script = (tmp_path / "script").read_text().splitlines()
    wanted = ["array=0-1%2", "exclusive", "nodes=1", "partition=cpu", "account=a1", "time=90", "mem=0", "requeue"]
    assert [line for line in wanted if f"#SBATCH --{line}" not in script] == []
    assert "#SBATCH --nodelist=n2" in script
    assert any(line.startswith("#SBATCH --signal=") and line.endswith("@120") for line in script)


def test_a_home_on_a_disk_of_this_machine_is_refused(home, tmp_path, monkeypatch):
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(shared, "MOUNTS", mounts)
    mounts.write_text(f"/dev/a / ext4 rw 0 0\nserver:/x {tmp_path} nfs4 rw 0 0\n", encoding="utf-8")
    submit._require_shared(home, SlurmSettings())
    mounts.write_text(f"server:/ / nfs4 rw 0 0\n/dev/a {tmp_path} xfs rw 0 0\n", encoding="utf-8")
    with pytest.raises(EngineError, match="lies on xfs, a disk of this machine alone"):
        submit._require_shared(home, SlurmSettings())
    submit._require_shared(home, SlurmSettings(home_is_shared=True))


def test_rows_of_jobs_say_state_and_attempts(home, folder, called):
    _, answers = called
    answers["squeue"] = "7_1|PENDING||Priority"
    sent = [Sent(number=1, job_id="7_0"), Sent(number=2, job_id="7_1")]
    folder.write(folder.read().model_copy(update={"sent": tuple(sent)}))
    folder.begin(attempt(ended=2.0))
    rows = submit.job_rows("", home)
    assert [(row["shard"], row["state"], row["attempts"], row["why"]) for row in rows] == [
        (1, "to send again", 1, ""),
        (2, "queued", 0, "Priority"),
    ]
    assert json.dumps(rows)
    answers["squeue"] = None
    assert {row["state"] for row in submit.job_rows("", home)} == {"not known: Slurm does not answer"}


def test_the_boot_tells_machines_apart():
    assert len(boot_key()) == 16


def test_a_resumed_submission_is_open_before_its_jobs_start(home, folder, monkeypatch, called):
    """A job that begins at once runs nothing if it is still cancelled."""
    folder.write(folder.read().model_copy(update={"is_cancelled": True}))
    seen = []

    def sent(jobs, settings, path, node=""):
        seen.append(folder.read().is_cancelled)
        return [str(job.number) for job in jobs]

    monkeypatch.setattr(submit, "require_slurm", lambda: None)
    monkeypatch.setattr(submit, "send", sent)
    submit.resume("", home, home.root / "reports", Console(), is_detached=True)
    assert seen == [False, False]
