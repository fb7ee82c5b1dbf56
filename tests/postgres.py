"""A PostgreSQL server of our own, on a free port of the loopback: from Debian's package, or another that is on PATH."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path


def binaries() -> Path | None:
    """The folder of `postgres` and `initdb`; None if they are not installed."""
    on_path = shutil.which("postgres")
    found = [Path(on_path).parent] if on_path else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(found) if (folder / "initdb").exists()), None)


class Server:
    """A server that can be stopped and started again; `url` names its database."""

    def __init__(self, bin_folder: Path, folder: Path) -> None:
        self._bin, self._folder = bin_folder, folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self._port = free.getsockname()[1]
        # The server refuses to run as root.
        self._user = {"user": "nobody"} if os.geteuid() == 0 else {}
        if self._user:
            os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
        self._call("initdb", "-D", folder / "data", "-U", "waymark", "-A", "trust", "-N", "--no-instructions")

    @property
    def url(self) -> str:
        return f"postgresql://waymark@127.0.0.1:{self._port}/postgres"

    def start(self) -> None:
        options = f"-p {self._port} -c listen_addresses=127.0.0.1 -k {self._folder} -F"
        self._call("pg_ctl", "-D", self._folder / "data", "-w", "-l", self._folder / "log", "-o", options, "start")

    def stop(self) -> None:
        """At once; connections are dropped."""
        self._call("pg_ctl", "-D", self._folder / "data", "-w", "-m", "immediate", "stop")
        time.sleep(0.1)

    def _call(self, program: str, *arguments: object) -> None:
        argv = [str(self._bin / program), *map(str, arguments)]
        subprocess.run(argv, cwd="/", check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **self._user)


@contextmanager
def running(bin_folder: Path):
    """A running server; it and its data are gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="waymark-postgres-", ignore_cleanup_errors=True) as folder:
        server = Server(bin_folder, Path(folder))
        server.start()
        try:
            yield server
        finally:
            server.stop()
