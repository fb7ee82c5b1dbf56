"""A sweep on a Slurm cluster of two nodes, on this host: what is asked is done once, whatever happens to the nodes.

`make cluster` repeats what happens to them, and does what takes minutes.
"""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from orchestrator.cluster import SubmissionFolder
from orchestrator.home import REPOSITORY, Home
from tests.cluster.cluster import REFUSED_ACCOUNT, Cluster, why_not

pytest.importorskip("submitit")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(why_not()), reason=f"no Slurm cluster can be started: {why_not()}"),
]

TIMES = int(os.environ.get("WAYMARK_CLUSTER_TIMES", "0"))
takes_minutes = pytest.mark.skipif(not TIMES, reason="takes minutes; `make cluster` runs it")
times = pytest.mark.parametrize("nth", range(TIMES or 1))
PROGRAM = [sys.executable, "-c", "from orchestrator.console.program import main; main()"]
TWELVE = {
    "frameworks": ["numpy_ref"],
    "models": [{"name": "linear"}, {"name": "lenet"}],
    "input_sizes": [16, 24, 32],
    "seeds": [0, 1],
}
TWO = {"frameworks": ["numpy_ref"], "models": [{"name": "linear"}], "input_sizes": [16], "seeds": [0, 1], "repeats": 16}


def spec_of(axes):
    pictures = {"tracks_per_class": 2, "frames_per_track": 3, "test_tracks_per_class": 1}
    return {
        "name": "cluster",
        "axes": axes,
        "dataset": {"name": "synthetic", "synthetic": pictures},
        "training": {"epochs": 1},
        "measure": {"warmup_steps": 1, "warmup_seconds": 0.0, "audit": 0},
        "limits": {"trial_seconds": 600, "memory_gib": 1, "foreign_percent": 100},
    }


class World:
    """The cluster, and a user at its login node."""

    def __init__(self, cluster):
        self.cluster = cluster
        self.home = Home(cluster.shared / "home")
        self.environment = {
            **cluster.environment,
            "WAYMARK_HOME": str(self.home.root),
            "WAYMARK_REPORTS": str(cluster.shared / "reports"),
            "WAYMARK_LOCKS": str(cluster.folder),
        }
        self.environment.pop("WAYMARK_STORE", None)
        self.before = set()

    def write(self, axes, name="spec.json"):
        path = self.cluster.shared / name
        path.write_text(json.dumps(spec_of(axes)), encoding="utf-8")
        return path

    def waymark(self, *words, seconds=300):
        return subprocess.run(
            [*PROGRAM, *map(str, words)],
            cwd=REPOSITORY, env=self.environment, capture_output=True, text=True, timeout=seconds,
        )  # fmt: skip

    def begin(self, *words):
        """`invoke submit` at the login node, which goes on."""
        self.before = {path.name for path in self.home.submissions.iterdir()}
        return subprocess.Popen(
            [*PROGRAM, "submit", *map(str, words)],
            cwd=REPOSITORY, env=self.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a shell's background job ignores it
        )  # fmt: skip

    def newest(self):
        """The folder of the newest submission."""
        return SubmissionFolder(self.home, max(path.name for path in self.home.submissions.iterdir()))

    def until_trial(self, node, seconds=60):
        """Wait until a trial of the newest submission runs on the node; gives the shard's number."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if {path.name for path in self.home.submissions.iterdir()} - self.before:
                begun = [one for one in self.newest().attempts() if one.node == node and one.ended_unix is None]
                for attempt in begun:
                    runs = self.home.runs.glob(f"*-{attempt.number}of*-{node}*")
                    if any(path.stat().st_mtime > attempt.began_unix for path in runs for path in path.glob("0*")):
                        return attempt.number
            time.sleep(0.05)
        raise TimeoutError(f"no trial began on {node}")

    def jobs(self):
        return json.loads(self.waymark("jobs", "--json").stdout)


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="waymark-cluster-", dir="/var/tmp")))
    cluster.start()
    yield cluster
    cluster.stop()
    shutil.rmtree(cluster.folder, ignore_errors=True)


@pytest.fixture(scope="module")
def prepared(cluster):
    """A world whose environment, pictures and selfchecks are made."""
    world = World(cluster)
    world.home.root.mkdir()
    world.home.settings.write_text("[slurm]\nhome_is_shared = true\n", encoding="utf-8")
    submitted = world.waymark("submit", f"--spec={world.write(TWELVE)}", "--nodes=2", "--engine=virtualenv")
    assert submitted.returncode == 0, submitted.stderr
    return world, submitted


@pytest.fixture
def world(prepared):
    world, _ = prepared
    yield world
    world.cluster.slurm("scancel", "--partition=main")
    world.cluster.wait_idle(60)


def until(is_so, seconds):
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.3)


def ended(process, seconds=240):
    _, said = process.communicate(timeout=seconds)
    return process.returncode, said


def evidence(world, folder):
    """What Slurm, the jobs and the sweeps said last."""
    logs = [world.cluster.folder / "slurmctld.log", *folder.path.glob("*.log"), *(folder.path / "jobs").glob("*log*")]
    tails = [f"--- {path.name}\n{path.read_text(encoding='utf-8', errors='replace')[-1500:]}" for path in logs]
    return "\n".join([*map(repr, folder.attempts()), *tails])


def require_whole(world, said=""):
    """Every shard is done and counted once; what was tried is listed."""
    folder = world.newest()
    shards = folder.shards(folder.read().count)
    assert all(shard.is_done for shard in shards), f"{said}\n{evidence(world, folder)}"
    joined = world.waymark("join", folder.submission)
    assert joined.returncode == 0, joined.stderr
    page = Path(joined.stderr.split("report: ")[-1].strip()).with_name("runs.csv").read_text(encoding="utf-8")
    counted = [shard.runs[0].run_id for shard in shards]
    rows = page.splitlines()[1:]
    assert sum(any(run_id in row for run_id in counted) for row in rows) == len(rows) == len(shards)
    return shards


def test_a_sweep_over_two_nodes_has_every_cell_once(prepared):
    world, submitted = prepared
    folder = world.newest()
    runs = [shard.runs[0] for shard in folder.shards(2)]
    records = [
        json.loads(path.read_text(encoding="utf-8"))
        for run in runs
        for path in (world.home.runs / run.run_id).glob("*/record.json")
    ]
    trials = [record["trial"] for record in records if record["trial"]]
    asked = [(trial["model"]["name"], trial["input_size"], trial["seed"]) for trial in trials]
    assert len(asked) == len(set(map(str, asked))) == 12
    assert len({run.host.marks for run in runs}) == 2
    assert "note: no run of shard" not in submitted.stderr
    log = (folder.path / "shard-1.log").read_text(encoding="utf-8")
    assert re.search(r"copied numpy_ref-\w+ to .*/disk\.n\d/staging/virtualenvs", log)
    assert re.search(r"copied synthetic-16-\w+ to .*/disk\.n\d/staging/data", log)
    assert re.search(r"note: the 2 machines are of one kind and differ by up to \d+\.\d% in the step", submitted.stderr)


def trained(runs):
    """Network, input size and seed of each trial -> its id, its losses, its accuracies and its weights."""
    found = {}
    for folder in (folder for run in runs for folder in run.glob("0*") if (folder / "events.jsonl").is_file()):
        trial = json.loads((folder / "record.json").read_text(encoding="utf-8"))
        said = [json.loads(line) for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()]
        if trial["trial"]:
            asked = trial["trial"]["model"]["name"], str(trial["trial"]["input_size"]), trial["trial"]["seed"]
            kept = ("loss", "accuracy", "weights_sha256")
            found[asked] = trial["id"], [event[key] for event in said for key in kept if key in event]
    return found


def test_two_nodes_compute_what_one_machine_does(prepared):
    world, _ = prepared
    alone = World(world.cluster)
    alone.home = Home(world.cluster.shared / "alone")
    alone.environment["WAYMARK_HOME"] = str(alone.home.root)
    swept = alone.waymark("sweep", f"--spec={world.write(TWELVE)}", "--engine=virtualenv")
    assert swept.returncode == 0, swept.stderr
    together = trained(world.home.runs.glob("*of2-n?"))
    assert len(together) == 12
    assert together == trained(alone.home.runs.iterdir())


def test_machines_are_an_axis_and_stand_side_by_side(world):
    axes = {**TWO, "machines": ["zen4", "n2"], "repeats": 1}
    submitted = world.waymark("submit", f"--spec={world.write(axes)}", "--nodes=1", "--engine=virtualenv")
    assert submitted.returncode == 0, submitted.stderr
    page = Path(submitted.stderr.split("report: ")[-1].strip())
    rows = list(csv.DictReader(page.with_name("runs.csv").read_text(encoding="utf-8").splitlines()))
    assert {row["run"][-3:] for row in rows} == {"-n1", "-n2"}
    assert len({row["machine"] for row in rows}) == 2
    assert len({row["group"] for row in rows}) == 1


@times
def test_a_node_that_is_killed_loses_no_shard(world, nth):
    submitting = world.begin(f"--spec={world.write(TWO)}", "--nodes=2", "--engine=virtualenv")
    number = world.until_trial("n1")
    world.cluster.kill_node("n1")
    world.cluster.start_requeued()
    code, said = ended(submitting)
    world.cluster.start_node("n1")
    shards = require_whole(world, said)
    attempts = shards[number - 1].attempts
    assert (code, len(attempts), attempts[0].ended_unix) == (0, 2, None)


@takes_minutes
@times
def test_the_old_job_of_a_frozen_node_counts_once(world, nth):
    """One shard, so that the other node is free for the job that the controller sends again."""
    submitting = world.begin(f"--spec={world.write({**TWO, 'repeats': 80})}", "--nodes=1", "--engine=virtualenv")
    world.until_trial("n1")
    world.cluster.freeze("n1")
    world.cluster.start_requeued()
    code, said = ended(submitting)
    folder = world.newest()
    until(lambda: all(one.ended_unix for one in folder.attempts()), 240)
    world.cluster.thaw("n1")
    world.cluster.wait_idle(60)
    (shard,) = require_whole(world, said)
    assert code == 0
    assert [one.node for one in shard.attempts] == ["n1", "n2"]
    assert [run.state for run in shard.runs] == ["ended", "ended"]


@times
def test_ctrl_c_cancels_our_jobs_and_no_others(world, nth):
    submitting = world.begin(f"--spec={world.write(TWO)}", "--nodes=2", "--engine=virtualenv")
    world.until_trial("n1")
    other = world.cluster.slurm("sbatch", "-o", "/dev/null", "-D", "/", "--wrap", "sleep 300", user="nobody").split()[
        -1
    ]
    submitting.send_signal(signal.SIGINT)
    code, said = ended(submitting, 60)
    assert (code, "its jobs are cancelled" in said) == (130, True)
    until(lambda: {row["state"] for row in world.jobs()} <= {"cancelled", "done"}, 30)
    assert world.cluster.slurm("squeue", "-h", "-o", "%i %T", "-j", other).split()[0] == other
    world.cluster.slurm("scancel", other)
    world.cluster.wait_idle(60)
    resumed = world.waymark("submit", "--resume")
    assert resumed.returncode == 0, resumed.stderr
    require_whole(world)


@times
def test_a_job_that_is_requeued_goes_on(world, nth):
    submitting = world.begin(f"--spec={world.write(TWO)}", "--nodes=2", "--engine=virtualenv")
    number = world.until_trial("n2")
    job_id = next(sent.job_id for sent in world.newest().read().sent if sent.number == number)
    world.cluster.slurm("scontrol", "requeue", job_id)
    world.cluster.start_requeued()
    code, said = ended(submitting)
    assert (code, len(require_whole(world, said)[number - 1].attempts)) == (0, 2)


@times
def test_a_job_whose_time_ends_goes_on_on_its_node(world, nth):
    submitting = world.begin(f"--spec={world.write(TWO)}", "--nodes=2", "--engine=virtualenv")
    number = world.until_trial("n1")
    job_id = next(sent.job_id for sent in world.newest().read().sent if sent.number == number)
    world.cluster.slurm("scancel", "--signal=USR2", job_id)  # as Slurm does before the limit
    world.cluster.start_requeued()
    code, said = ended(submitting)
    shard = require_whole(world, said)[number - 1]
    assert (code, [one.node for one in shard.attempts], len(shard.runs)) == (0, ["n1", "n1"], 1)
    assert shard.attempts[0].why == "its time ended, or it was preempted"


@takes_minutes
def test_a_shard_that_is_longer_than_its_time_ends_in_the_next(world):
    axes = {**TWO, "repeats": 80}
    submitting = world.begin(f"--spec={world.write(axes)}", "--nodes=2", "--engine=virtualenv", "--time=1m")
    world.until_trial("n1")
    for _ in range(6):
        if submitting.poll() is None:
            world.cluster.start_requeued()
    code, said = ended(submitting)
    shards = require_whole(world, said)
    assert code == 0
    assert all(len(shard.attempts) > 1 for shard in shards)
    assert all(len(shard.runs) == 1 for shard in shards)


@takes_minutes
def test_a_node_that_fails_three_times_is_left_out(world):
    broken = world.cluster.folder / "disk.n1" / "waymark.lock"
    world.cluster.run_on("n1", "sh", "-c", f"rm -f {broken}; mkdir {broken}")
    submitting = world.begin(f"--spec={world.write(TWO)}", "--nodes=2", "--engine=virtualenv")
    for _ in range(6):
        if submitting.poll() is None:
            world.cluster.start_requeued(20)
    code, said = ended(submitting)
    world.cluster.run_on("n1", "rmdir", str(broken))
    shards = require_whole(world, said)
    assert (code, {run.run_id[-3:] for shard in shards for run in shard.runs}) == (0, {"-n2"})
    assert sum(one.node == "n1" and one.code == 3 for shard in shards for one in shard.attempts) == 3


@takes_minutes
@times
def test_a_controller_that_restarts_loses_no_shard(world, nth):
    submitting = world.begin(f"--spec={world.write(TWO)}", "--nodes=2", "--engine=virtualenv")
    world.until_trial("n1")
    world.cluster.stop_controller()
    time.sleep(3)
    world.cluster.start_controller()
    code, said = ended(submitting)
    require_whole(world, said)
    assert code == 0


@takes_minutes
@times
def test_a_full_disk_of_a_node_loses_no_shard(world, nth):
    submitting = world.begin(f"--spec={world.write(TWO)}", "--nodes=2", "--engine=virtualenv")
    world.until_trial("n1")
    disk = world.cluster.folder / "disk.n1" / "fill"
    world.cluster.run_on("n1", "dd", "if=/dev/zero", f"of={disk}", "bs=1M")
    code, said = ended(submitting)
    world.cluster.run_on("n1", "rm", str(disk))
    require_whole(world, said)
    assert code == 0


@takes_minutes
@times
def test_a_shared_folder_that_is_away_loses_no_shard(world, nth):
    submitting = world.begin(f"--spec={world.write(TWO)}", "--nodes=2", "--engine=virtualenv")
    world.until_trial("n1")
    world.cluster.run_on("n1", "mount", "-t", "tmpfs", "none", str(world.cluster.shared))
    time.sleep(float(os.environ.get("WAYMARK_CLUSTER_AWAY_SECONDS", "5")))
    world.cluster.run_on("n1", "umount", str(world.cluster.shared))
    world.cluster.start_requeued(20)
    code, said = ended(submitting)
    require_whole(world, said)
    assert code == 0


BAD = {
    ("--nodes=2", "--partition=nope"): "invalid partition specified: nope",
    ("--nodes=2", "--constraint=nope"): "no node has what --constraint asks for",
    ("--nodes=13",): "the plan has 2 groups of network, device and seed",
    ("--nodes=2", "--time=soon"): "--time is 'soon'",
    (): "--nodes is needed",
    ("--nodes=2", f"--account={REFUSED_ACCOUNT}"): "account closed has no hours left",
}


@pytest.mark.parametrize("flags", BAD)
def test_what_cannot_be_sent_is_one_sentence(world, flags):
    before = sorted(world.home.submissions.iterdir())
    if any("account" in flag for flag in flags) and not world.cluster.refuses_accounts:
        pytest.skip("this Slurm has no lua, which stands in for accounting")
    submitted = world.waymark("submit", f"--spec={world.write(TWO)}", *flags)
    assert (submitted.returncode in (2, 3), submitted.stderr.count("\n")) == (True, 1)
    assert BAD[flags] in submitted.stderr
    assert sorted(world.home.submissions.iterdir()) == before
    assert world.cluster.slurm("squeue", "-h") == ""


def test_a_home_that_no_node_sees_is_refused(world):
    world.home.settings.rename(world.home.settings.with_suffix(".away"))
    try:
        submitted = world.waymark("submit", f"--spec={world.write(TWO)}", "--nodes=2")
    finally:
        world.home.settings.with_suffix(".away").rename(world.home.settings)
    assert submitted.returncode == 3
    assert "so no node sees it, and nothing was submitted" in submitted.stderr
