"""A Slurm cluster of two nodes on one host, from Debian's packages, to test what waymark does on one; never its times.

Each node has name spaces of its own (processes, mounts, host name), a marker of its own in the place of the host's, and
a small disk. All state is in one folder. `tests/cluster/up` starts one for a person, and `--down` ends it.
"""

import argparse
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

HERE = Path(__file__).resolve().parent
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "unshare")
FEATURES = {"n1": "zen4", "n2": "graviton"}
REFUSED_ACCOUNT = "closed"
DISK_MIB = 1600
STARTUP_SECONDS = 30.0
CREDENTIAL_SECONDS = 3

_SCRIPT = """function slurm_job_submit(job, partitions, user)
  if job.account == "{account}" then
    slurm.log_user("account {account} has no hours left")
    return slurm.ERROR
  end
  return slurm.SUCCESS
end
function slurm_job_modify(job, record, partitions, user)
  return slurm.SUCCESS
end
return slurm.SUCCESS
"""

_SETTINGS = """ClusterName=waymark
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
AuthInfo=socket={folder}/munge/socket,cred_expire={credential}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
TaskProlog={folder}/taskprolog
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
{lua}
SelectType=select/linear
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=1,sched_interval=2,sched_min_interval=200000
ReturnToService=2
SlurmdTimeout=6
SlurmctldTimeout=10
KillWait=5
OverTimeLimit=0
MinJobAge=20
MpiDefault=none
{nodes}
PartitionName=main Nodes={names} Default=YES MaxTime=INFINITE State=UP
"""


def why_not() -> str:
    """Why no cluster can be started here, a sentence; '' if one can."""
    if os.geteuid() != 0:
        return "a cluster on one host takes root."
    missing = [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]
    if missing:
        return f"no {', '.join(missing)} here (Debian: apt install slurmctld slurmd slurm-client munge)."
    tried = subprocess.run(["unshare", "--pid", "--mount", "--uts", "--fork", "true"], check=False, capture_output=True)
    return "" if tried.returncode == 0 else "this host gives no name spaces to a process."


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Cluster:
    """The cluster whose state is in `folder`, which all its nodes share."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.shared = folder / "shared"
        self._nodes: dict[str, subprocess.Popen[bytes]] = {}
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith(("SLURM", "SBATCH"))},
            "SLURM_CONF": str(folder / "slurm.conf"),
            "PATH": _PATH,
        }

    def start(self) -> None:
        """Start munge, the controller and the nodes; returns when both nodes are idle."""
        for name in (
            "state",
            "munge",
            "shared",
            *(f"{kind}.{node}" for node in FEATURES for kind in ("spool", "disk")),
        ):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        munge = self.folder / "munge"
        munge.chmod(0o711)
        (munge / "key").write_bytes(os.urandom(128))
        (munge / "key").chmod(0o600)
        (self.folder / "job_submit.lua").write_text(_SCRIPT.format(account=REFUSED_ACCOUNT), encoding="utf-8")
        prolog = self.folder / "taskprolog"
        disk = f"{self.folder}/disk.$SLURMD_NODENAME"
        places = {"TMPDIR": disk, "WAYMARK_LOCKS": disk, "WAYMARK_STAGING": f"{disk}/staging"}
        exports = "".join(f'echo "export {name}={place}"\n' for name, place in places.items())
        prolog.write_text(f"#!/bin/sh\n{exports}", encoding="utf-8")
        prolog.chmod(0o755)
        (self.folder / "slurm.conf").write_text(self._settings(), encoding="utf-8")
        options = {name: munge / name for name in ("socket", "key-file", "pid-file", "log-file", "seed-file")}
        options["key-file"] = munge / "key"
        self._call("munged", "--force", *(f"--{name}={path}" for name, path in options.items()))
        self.start_controller()
        for node in FEATURES:
            self.start_node(node)
        self.wait_idle()

    def _settings(self) -> str:
        host, port = os.uname().nodename, _free_port()
        nodes = "\n".join(
            f"NodeName={name} NodeHostname={name} NodeAddr=127.0.0.1 Port={_free_port()} CPUs={os.cpu_count()} "
            f"RealMemory=2000 Feature={feature} State=UNKNOWN"
            for name, feature in FEATURES.items()
        )
        lua = "JobSubmitPlugins=lua" if self.refuses_accounts else ""
        return _SETTINGS.format(
            host=host,
            port=port,
            folder=self.folder,
            nodes=nodes,
            credential=CREDENTIAL_SECONDS,
            names=",".join(FEATURES),
            lua=lua,
        )

    @property
    def refuses_accounts(self) -> bool:
        """Whether REFUSED_ACCOUNT is refused, which takes lua; there is no accounting."""
        has_plugin = any(Path("/usr/lib").glob("*/slurm-wlm/job_submit_lua.so"))
        return has_plugin and any(Path("/usr/lib").glob("*/liblua5.*.so*"))

    def start_controller(self) -> None:
        """Start slurmctld; it finds its jobs again."""
        self._call("slurmctld")

    def stop_controller(self) -> None:
        """Kill slurmctld, as a crash does."""
        self._kill(self.folder / "slurmctld.pid", signal.SIGKILL)

    def start_node(self, node: str) -> None:
        """Start a node: its name spaces, its disk, its slurmd."""
        command = ["unshare", "--pid", "--mount", "--uts", "--fork", "--kill-child", "--mount-proc"]
        log = (self.folder / f"node.{node}.log").open("ab")
        process = subprocess.Popen(
            [*command, str(HERE / "node"), node, str(self.folder), str(DISK_MIB)],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        log.close()
        self._nodes[node] = process
        (self.folder / f"node.{node}.pid").write_text(str(process.pid), encoding="utf-8")

    def kill_node(self, node: str) -> None:
        """End a node with all its processes at once, as a lost power supply does."""
        self._kill(self.folder / f"node.{node}.pid", signal.SIGKILL)
        if node in self._nodes:
            self._nodes.pop(node).wait()

    def freeze(self, node: str) -> None:
        """Stop the node's slurmd from running; its jobs go on."""
        os.kill(self._slurmd(node), signal.SIGSTOP)

    def thaw(self, node: str) -> None:
        """Let it run again."""
        os.kill(self._slurmd(node), signal.SIGCONT)

    def run_on(self, node: str, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command in the node's name spaces."""
        inner = ["nsenter", "-t", str(self._slurmd(node)), "-p", "-m", "-u", "--", *command]
        return subprocess.run(inner, env=self.environment, check=False, capture_output=True, text=True, timeout=60)

    def _slurmd(self, node: str) -> int:
        """Its pid here, where it is the child of the node's first process."""
        first = _children(int((self.folder / f"node.{node}.pid").read_text(encoding="utf-8")))[0]
        return next(pid for pid in _children(first) if _name(pid) == "slurmd")

    def slurm(self, *command: str, user: str | None = None) -> str:
        """What a command of Slurm prints. Raises CalledProcessError."""
        done = subprocess.run(
            command, env=self.environment, check=True, capture_output=True, text=True, timeout=60, user=user
        )
        return done.stdout

    def wait_idle(self, seconds: float = STARTUP_SECONDS) -> None:
        """Until all nodes are idle. Raises TimeoutError."""
        deadline, states = time.monotonic() + seconds, ""
        while time.monotonic() < deadline:
            with suppress(subprocess.SubprocessError):
                states = self.slurm("sinfo", "-h", "-N", "-o", "%T")
                if states.split() == ["idle"] * len(FEATURES):
                    return
            time.sleep(0.3)
        raise TimeoutError(f"the nodes are {states.split()}; the logs are in {self.folder}")

    def start_requeued(self, seconds: float = 60.0) -> None:
        """Wait for jobs that Slurm sends again, and start them soon; by itself it waits two minutes before.

        Not at once: what revokes the old job on its node would revoke the new one.
        """
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            lines = self.slurm("squeue", "-h", "-r", "-t", "PD", "-o", "%i %r").splitlines()
            delayed = [line.split()[0] for line in lines if line.endswith("BeginTime")]
            if delayed:
                time.sleep(2 * CREDENTIAL_SECONDS)
            for job_id in delayed:
                self.slurm("scontrol", "update", f"JobId={job_id}", "StartTime=now")
            if delayed:
                return
            time.sleep(0.5)

    def stop(self) -> None:
        """End all of it, jobs first; the folder stays."""
        for node in FEATURES:
            with suppress(OSError, IndexError, StopIteration):
                self.thaw(node)
            self.kill_node(node)
        self.stop_controller()
        self._kill(self.folder / "munge" / "pid-file", signal.SIGTERM)

    def _call(self, *command: str) -> None:
        subprocess.run(command, env=self.environment, check=True, capture_output=True, timeout=60)

    def _kill(self, pid_file: Path, number: int) -> None:
        with suppress(OSError, ValueError):
            pid = int(pid_file.read_text(encoding="utf-8"))
            os.kill(pid, number)
            for _ in range(100):
                os.kill(pid, 0)
                if Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").split()[2] == "Z":
                    return
                time.sleep(0.05)


def _children(pid: int) -> Sequence[int]:
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="utf-8").split()]


def _name(pid: int) -> str:
    return Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip()


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def main() -> int:
    """`tests/cluster/up`: start a cluster and print what a shell exports to use it; `--down FOLDER` ends it."""
    parser = argparse.ArgumentParser(prog="tests/cluster/up", description=main.__doc__)
    parser.add_argument("--down", metavar="FOLDER", help="end the cluster whose state is in FOLDER, and remove it")
    down = parser.parse_args().down
    if down:
        Cluster(Path(down)).stop()
        shutil.rmtree(down, ignore_errors=True)
        return 0
    if reason := why_not():
        print(reason, file=sys.stderr)  # noqa: T201
        return 1
    cluster = Cluster(Path(tempfile.mkdtemp(prefix="waymark-cluster-", dir="/var/tmp")))
    cluster.start()
    print(f"export SLURM_CONF={cluster.folder}/slurm.conf PATH={_PATH}")  # noqa: T201
    print(f"# a folder that both nodes share: {cluster.shared}")  # noqa: T201
    print(f"# the end: tests/cluster/up --down {cluster.folder}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
