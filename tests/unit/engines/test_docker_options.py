"""What a worker's container is given and denied, read from its options; the real thing is inspected in contract/."""

import json
from pathlib import Path

import pytest
from docker.types import DeviceRequest, Mount

from orchestrator.engines import seccomp
from orchestrator.engines.container import NOBODY, container_options, worker_user
from orchestrator.engines.docker import Daemon
from orchestrator.engines.engine import Launch
from orchestrator.environment import Card, Environment

ENVIRONMENT = Environment(
    engine="docker",
    framework="numpy_ref",
    variant="1.0",
    device="cpu",
    identity="",
    location="sha256:0",
    python="3.11",
    freeze=(),
    env={"OMP_NUM_THREADS": "2"},
)


CARD = Card(index=2, uuid="GPU-2", name="Tesla T4", memory_bytes=1, capability="7.5", driver="550.54")


def options(data_dir=Path("/data"), cpus=(0, 2), environment=ENVIRONMENT, volumes=()):
    launch = Launch(
        environment=environment,
        module="workers.run",
        source=Path("/source"),
        job_dir=Path("/job"),
        data_dir=data_dir,
        cpus=cpus,
        memory_bytes=2**30,
        timeout_seconds=60,
        labels={"run": "r1", "job": "0007"},
    )
    return container_options(launch, (1000, 1001), volumes, "{}")


def test_only_the_job_folder_is_writable():
    is_read_only = {mount["Source"]: mount["ReadOnly"] for mount in options()["mounts"]}
    assert is_read_only == {"/source": True, "/job": False, "/data": True}


def test_a_mount_is_what_the_sdk_makes_of_one():
    assert options()["mounts"][1] == Mount("/waymark/job", "/job", type="bind", read_only=False)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("user", "1000:1001"),
        ("read_only", True),
        ("network_mode", "none"),
        ("cap_drop", ["ALL"]),
        ("security_opt", ["no-new-privileges:true", "seccomp={}"]),
        ("cpuset_cpus", "0,2"),
        ("mem_limit", 2**30),
        ("memswap_limit", 2**30),
        ("init", True),
    ],
)
def test_container_is_confined(key, value):
    assert options()[key] == value


def test_a_volume_of_the_image_is_kept_in_memory():
    tmpfs = options(volumes=("/var/own", "/waymark/job", "/tmp"))["tmpfs"]
    assert sorted(tmpfs) == ["/tmp", "/var/own", "/waymark/home"]


def test_a_daemon_with_a_profile_of_its_own_keeps_it():
    daemon = Daemon.__new__(Daemon)
    for facts, is_ours in (
        ({"SecurityOptions": ["name=seccomp,profile=default"], "Architecture": "x86_64"}, True),
        ({"SecurityOptions": ["name=seccomp,profile=builtin"], "Architecture": "aarch64"}, True),
        ({"SecurityOptions": ["name=seccomp,profile=/etc/strict.json"], "Architecture": "x86_64"}, False),
        ({"SecurityOptions": ["name=seccomp,profile=default"], "Architecture": "ppc64le"}, False),
        ({"SecurityOptions": None, "Architecture": "x86_64"}, False),
    ):
        daemon._facts = facts
        assert (daemon.seccomp is not None) == is_ours, facts


def test_no_call_is_both_allowed_and_refused():
    rules = json.loads(seccomp.profile("x86_64"))["syscalls"]
    named = [name for rule in rules for name in rule["names"] if not rule["args"]]
    assert len(named) == len(set(named)) > 250
    assert not {"socket", "clone", "personality"} & set(named)


def test_no_cpus_means_no_pinning():
    assert options(cpus=())["cpuset_cpus"] is None


def test_the_docker_socket_is_never_mounted():
    assert not any("docker" in mount["Source"] for mount in options()["mounts"])


def test_the_rows_variables_reach_the_worker():
    assert options()["environment"]["OMP_NUM_THREADS"] == "2"


def test_a_trial_on_a_card_gets_that_one_and_no_other():
    (request,) = options(environment=ENVIRONMENT.on(CARD))["device_requests"]
    assert (request["DeviceIDs"], request["Count"]) == (["GPU-2"], 0)
    assert request["Capabilities"] == [["gpu", "compute", "utility"]]


def test_a_device_request_is_what_the_sdk_makes_of_one():
    (request,) = options(environment=ENVIRONMENT.on(CARD))["device_requests"]
    assert request == DeviceRequest(driver="nvidia", device_ids=["GPU-2"], capabilities=[["gpu", "compute", "utility"]])


def test_a_cpu_trial_sees_no_card_even_under_an_nvidia_runtime():
    assert options()["device_requests"] == []
    assert options()["environment"]["NVIDIA_VISIBLE_DEVICES"] == "void"
    assert "NVIDIA_VISIBLE_DEVICES" not in options(environment=ENVIRONMENT.on(CARD))["environment"]


def test_a_trial_on_a_card_is_confined_like_any_other():
    on_card, bare = options(environment=ENVIRONMENT.on(CARD)), options()
    assert {key for key in bare if on_card[key] != bare[key]} == {"device_requests", "environment"}


def test_a_job_without_pictures_is_told_of_its_folder_only():
    assert options(data_dir=None)["command"] == ["-m", "workers.run", "/waymark/job"]


def test_containers_are_marked_with_run_and_job():
    assert options()["labels"] == {"waymark.run": "r1", "waymark.job": "0007"}


@pytest.mark.parametrize(
    ("caller", "is_rootless", "expected"),
    [((1000, 100), False, (1000, 100)), ((0, 0), False, (NOBODY, NOBODY)), ((1000, 100), True, (0, 0))],
    ids=["the caller", "nobody for root", "the caller by another name"],
)
def test_worker_is_never_root_of_the_machine(caller, is_rootless, expected):
    assert worker_user(caller, is_rootless) == expected
