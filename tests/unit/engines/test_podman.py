"""podman's service: found, or started for as long as it is used."""

import os
import socket
import sys

import pytest

from orchestrator.engines import podman
from orchestrator.errors import AbsentError, EngineError

SERVICE = f"""#!{sys.executable}
import os, signal, socket, sys, time
place = sys.argv[-1][len("unix://"):]
listener = socket.socket(socket.AF_UNIX)
listener.bind(place)
listener.listen()
open(os.environ["SAID"], "w").write(" ".join(sys.argv[1:-1]) + " " + str(os.getpid()))
time.sleep(60)
"""


@pytest.fixture(autouse=True)
def alone(monkeypatch, tmp_path):
    """No podman of this machine, but that of a test."""
    monkeypatch.setattr(podman, "_places", lambda: iter([tmp_path / "podman.sock"]))
    monkeypatch.delenv("CONTAINER_HOST", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SAID", str(tmp_path / "said"))


def program(tmp_path, text):
    (tmp_path / "podman").write_text(text, encoding="utf-8")
    (tmp_path / "podman").chmod(0o755)


def test_the_users_own_address_comes_first(monkeypatch, tmp_path):
    monkeypatch.setenv("CONTAINER_HOST", "unix:///elsewhere.sock")
    with podman.socket_address() as address:
        assert address == "unix:///elsewhere.sock"


def test_a_service_that_is_there_is_used(tmp_path):
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "podman.sock"))
        with podman.socket_address() as address:
            assert address == f"unix://{tmp_path}/podman.sock"


def test_without_podman_a_sentence_says_what_to_install():
    with pytest.raises(AbsentError, match="apt install podman catatonit"), podman.socket_address():
        pass


def test_a_service_is_started_and_ended(tmp_path):
    program(tmp_path, SERVICE)
    with podman.socket_address() as address:
        assert address.endswith("/podman.sock")
        *words, pid = (tmp_path / "said").read_text().split()
        assert words == ["system", "service", "--time=0"]
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid), 0)


def test_a_service_that_does_not_start_is_told_in_its_words(tmp_path):
    program(tmp_path, "#!/bin/sh\necho no storage here\nexit 1\n")
    with (
        pytest.raises(EngineError, match=r"podman's service does not start: no storage here\."),
        podman.socket_address(),
    ):
        pass
