"""Legacy stacks still build and run: as images on a maintained Debian, in a container that is given nothing."""

import io
import json
from dataclasses import dataclass

import docker
import pytest
from rich.console import Console as Terminal

from orchestrator.commands import compare, images, sweep
from orchestrator.console.progress import Console
from orchestrator.engines import open_engine, upstream
from orchestrator.engines.engine import Launch
from orchestrator.engines.source import snapshot
from orchestrator.environment import Environment
from orchestrator.errors import AbsentError
from orchestrator.execution.session import RunOptions
from orchestrator.home import REPOSITORY, Home
from orchestrator.host import GIB, read_host
from orchestrator.networks import Model
from orchestrator.records.job import CheckRequest, check_job
from orchestrator.records.run_folder import EVENTS, JOB, JobFolder
from tests.contract.row_images import is_legacy
from tests.offline import skip_offline

SIZE_OF = """
import os, sys
names = [os.path.join(folder, name) for top in sys.argv[1:] for folder, _, names in os.walk(top) for name in names]
print(sum(os.lstat(name).st_size for name in names))
"""


@dataclass(frozen=True)
class Checked:
    environment: Environment
    events: list[dict]
    log: str
    screen: str


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """checked(row, capfd) -> a small selfcheck of the row in its image; made once."""
    home, known = Home.default(), {}

    def checked(row, capfd) -> Checked:
        if row.slug in known:
            return known[row.slug]
        engine = open_engine("docker", home, read_host())
        try:
            try:
                if row.source:
                    upstream.checkout(row, home)
                environment = engine.prepare(row, lambda line: None)
            except AbsentError as error:
                pytest.skip(str(error))
            folder = tmp_path_factory.mktemp("job")
            asked = {"framework": row.framework, "variant": row.variant, "device": "cpu", "threads": 2}
            request = CheckRequest(model=Model(name="resnet", depth=8), input_size=16, **asked)
            JobFolder(folder).write(JOB, check_job(request, environment))
            launch = Launch(
                environment=environment,
                module="workers.run",
                source=snapshot(home).path,
                job_dir=folder,
                data_dir=None,
                cpus=(),
                memory_bytes=4 * GIB,
                timeout_seconds=300,
                labels={"run": "contract", "job": row.slug},
            )
            capfd.readouterr()
            ended = engine.run(launch, lambda: None)
            screen = "".join(capfd.readouterr())
        finally:
            engine.close()
        assert ended.code == 0, ended.log_tail
        events = [json.loads(line) for line in (folder / EVENTS).read_text().splitlines()]
        known[row.slug] = Checked(environment, events, (folder / "log.txt").read_text(), screen)
        return known[row.slug]

    return checked


@pytest.mark.docker
@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.rows(where=is_legacy)
class TestLegacyImage:
    def test_computes_what_the_oracle_does_in_a_hardened_container(self, checked, row, capfd):
        (check,) = [event for event in checked(row, capfd).events if event["kind"] == "check"]
        assert check["passed"], check["figures"]

    def test_says_nothing_on_the_screen(self, checked, row, capfd):
        assert checked(row, capfd).screen == ""

    def test_is_little_more_than_its_packages_and_its_base(self, checked, row, capfd):
        image = checked(row, capfd).environment.location
        client = docker.from_env()
        try:
            size, labels = client.images.get(image).attrs["Size"], client.images.get(image).labels
            base = labels["org.opencontainers.image.base.name"]
            base_size = client.images.get(base).attrs["Size"]
            # On a bare Debian the interpreter was brought along; elsewhere it is in the base.
            installed = ["/environment", *(["/usr/local"] if base.startswith("debian:") else [])]
            command = ["-c", SIZE_OF, *installed]
            packages = int(client.containers.run(image, command, remove=True, network_mode="none"))
        finally:
            client.close()
        assert size <= 1.15 * (packages + base_size)


DOCKERFILE = """
FROM python:3.11-slim-bookworm
RUN pip install --no-cache-dir numpy==2.4.6
ENV OPENBLAS_NUM_THREADS=1
"""


@pytest.fixture(scope="module")
def own_image(tmp_path_factory):
    """Name and id of an image that somebody built by hand from a Dockerfile of theirs."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    client = docker.from_env()
    try:
        image, _ = client.images.build(path=str(folder), tag="waymark-test/own:1", rm=True)
    except docker.errors.BuildError as error:
        skip_offline("".join(line.get("stream", "") for line in error.build_log))
        raise
    yield "waymark-test/own:1", image.id
    client.images.remove("waymark-test/own:1", force=True)
    client.close()


@pytest.mark.docker
@pytest.mark.slow
def test_a_hand_built_image_is_run_and_compared_by_its_digest(own_image, catalogue, tmp_path):
    name, image_id = own_image
    console, home = Console(Terminal(file=io.StringIO())), Home(tmp_path / "home")
    catalogue, (row,) = images.with_images(catalogue, {"numpy_ref": name}, "cpu", console.say)
    compared = (row.subject, row.subject)
    asked = compare.CompareRequest(
        REPOSITORY / "experiments/smoke.json", compared, 1, options=RunOptions(engine="docker")
    )
    result = sweep.sweep(compare.sweep_of(asked, catalogue), catalogue, home, tmp_path / "reports", console)
    assert [trial.outcome.status for trial in result.report.stored.trials] == ["ok", "ok"]
    assert {trial.environment.location for trial in result.report.stored.trials} == {image_id}
    assert "numpy==2.4.6" in result.report.stored.trials[0].environment.freeze
    (verdict,) = compare.verdicts_of(home, result.report.stored)
    assert verdict["pairs"] == 1
    assert f"numpy_ref:image-{image_id[7:19]}" in result.report.page.read_text()
