"""Control groups, as the kernel writes them: versions 1 and 2, seen from a host and from a container."""

import os

import pytest

from orchestrator.host import cgroup


@pytest.mark.parametrize("version", [1, 2])
def test_the_processor_time_of_a_control_group_is_read(tmp_path, monkeypatch, version):
    group = tmp_path / "cpu,cpuacct" / "docker" / "ab" if version == 1 else tmp_path / "docker" / "ab"
    group.mkdir(parents=True)
    counter = group / ("cpuacct.usage" if version == 1 else "cpu.stat")
    counter.write_text("2500000000\n" if version == 1 else "usage_usec 2500000\nuser_usec 1\n")
    lines = ["4:cpu,cpuacct:/docker/ab", "1:name=systemd:/docker/ab"] if version == 1 else ["0::/docker/ab"]
    monkeypatch.setattr(cgroup, "_ROOT", tmp_path)
    monkeypatch.setattr(cgroup, "_groups", lambda process: lines)
    read = cgroup.cgroup_seconds(1)
    assert read() == 2.5
    counter.unlink()
    assert read() == 2.5  # the container has ended


def test_a_group_that_nobody_counts_is_not_known(tmp_path, monkeypatch):
    monkeypatch.setattr(cgroup, "_ROOT", tmp_path)
    assert cgroup.cgroup_seconds(os.getpid())() is None


@pytest.fixture
def group(tmp_path, monkeypatch):
    """group(lines, {file: text}): this process's group; files are below /sys/fs/cgroup."""

    def make(lines, files):
        monkeypatch.setattr(cgroup, "_ROOT", tmp_path)
        monkeypatch.setattr(cgroup, "_groups", lambda process: lines)
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)

    return make


V1 = {"limit_in_bytes": "300", "usage_in_bytes": "200", "stat": "cache 90\ntotal_inactive_file 50\n"}
V2 = {"max": "300", "current": "200", "stat": "inactive_file 50\n"}


@pytest.mark.parametrize(
    ("lines", "folder", "files"),
    [
        (["4:memory:/docker/ab"], "memory/docker/ab", V1),
        (["4:memory:/docker/ab"], "memory", V1),
        (["0::/slurm/job"], "slurm/job", V2),
        (["0::/slurm/job/step"], "slurm/job", V2),
        (["0::/"], ".", V2),
    ],
    ids=["v1", "v1 in a container", "v2", "v2, limit above", "v2 in a container"],
)
def test_the_limit_of_memory_and_what_is_left_of_it_are_found(group, lines, folder, files):
    group(lines, {f"{folder}/memory.{name}": text for name, text in files.items()})
    assert cgroup.memory() == (300, 150)


@pytest.mark.parametrize("limit", ["max", str(2**63 - 4096)])
def test_no_limit_is_none(group, limit):
    name = "max" if limit == "max" else "limit_in_bytes"
    used = "current" if limit == "max" else "usage_in_bytes"
    group(["0::/"], {f"memory.{name}": limit, f"memory.{used}": "5"})
    assert cgroup.memory() is None


@pytest.mark.parametrize(
    ("lines", "file", "text"),
    [
        (["0::/a"], "a/memory.events", "oom 4\noom_kill 3\n"),
        (["4:memory:/a"], "memory/a/memory.oom_control", "oom_kill_disable 0\noom_kill 3\n"),
    ],
    ids=["v2", "v1"],
)
def test_kills_at_the_limit_are_counted(group, lines, file, text):
    group(lines, {file: text})
    assert cgroup.oom_kills() == 3


def test_kills_that_nobody_counts_are_not_known(group):
    group(["0::/a"], {})
    assert cgroup.oom_kills() is None
