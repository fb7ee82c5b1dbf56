"""The command line: exit codes, one sentence for each mistake, JSON on stdout only."""

import json
import os
import subprocess
import sys

import pytest

from orchestrator.home import REPOSITORY
from orchestrator.host import read_host


def invoke(*arguments, home):
    environment = {**os.environ, "WAYMARK_HOME": str(home.root)}
    return subprocess.run(
        [sys.executable, "-m", "invoke", *arguments], cwd=REPOSITORY, env=environment, capture_output=True, text=True
    )


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["sweep", "--spec=nowhere.json"], 2, "nowhere.json: cannot be read"),
        (["sweep", "--frameworks=pytorhc"], 2, "Did you mean 'pytorch'?"),
        (["sweep", "--device=tpu"], 2, "--device is 'tpu'; it is cpu or gpu."),
        (["sweep", "--variant=pytorch"], 2, "--variant is 'pytorch'; write framework=variant"),
        (["sweep", "--variant=pytorch=9.9"], 2, "has no variant '9.9'"),
        (["sweep", "--epochs=-1"], 2, "training.epochs is -1; it must be between 1 and 1000"),
        (["sweep", "--resume", "--epochs=3"], 2, "--resume uses the spec that the run recorded"),
        (["sweep", "--resume"], 4, "holds no run to resume"),
        (["sweep", "--engine=podman", "--spec=experiments/smoke.json"], 3, "No engine is called 'podman'"),
        (["sweep", "--image=mxnet"], 2, "--image is 'mxnet'; write framework=image"),
        (["sweep", "--source=neon"], 2, "--source is 'neon'; write framework=PATH"),
        (["check", "--device=gpu", "--frameworks=numpy_ref"], 2, "declares a gpu image of numpy_ref"),
        (["build-images", "--device=gpu", "--frameworks=numpy_ref"], 2, "declares a gpu image of numpy_ref"),
        (["check", "--source=mxnet=/srv"], 2, "mxnet comes whole from the package index"),
        (["compare", "mxnet:1.5", "pytorch:1.3"], 2, "are two frameworks"),
        (["compare", "nowhere", "mxnet:1.5"], 2, "'nowhere' is neither a run on record nor framework:variant"),
        (["sweep", "--gpus=first"], 2, "--gpus is 'first'; it takes the numbers of cards"),
        (["sweep", "--gpus=0,0"], 2, "--gpus is '0,0'; it takes the numbers of cards"),
        (["sweep", "--engine=host:/nowhere", "--spec=experiments/smoke.json"], 3, "that is no Python that runs"),
        (["sweep", "--engine=host", "--variant=pytorch=2.13", "--dry-run"], 2, "Known: host."),
        (["data", "--sizes=50"], 2, "--sizes is '50'; it takes 32, 48 and 64"),
        (["data"], 3, "invoke data --from PATH"),
        (["data", "--from=nowhere"], 3, "nowhere is not a folder"),
        (["build-images", "--frameworks=pytorhc"], 2, "Did you mean 'pytorch'?"),
        (["report"], 4, "holds no run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_gives_one_sentence_and_its_exit_code(arguments, code, said, home):
    ended = invoke(*arguments, home=home)
    assert said in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.returncode == code


def test_a_dry_run_lists_trials_as_json_and_writes_nothing(home):
    ended = invoke("sweep", "--spec=experiments/paper.json", "--dry-run", "--json", home=home)
    assert len(json.loads(ended.stdout)) == 70
    assert not home.root.exists()


def test_a_dry_run_on_gpu_names_each_rows_cuda_and_its_source(home):
    ended = invoke("build-images", "--device=gpu", "--dry-run", "--json", home=home)
    cuda = {row["row"]: row["cuda"] for row in json.loads(ended.stdout)}
    frameworks = {row.partition(":")[0] for row in cuda}
    assert frameworks == {"cntk", "mxnet", "neon", "pytorch", "tensorflow"}
    assert cuda["mxnet:1.5 gpu"].startswith("10.1: NVIDIA's archive")
    assert all(cuda.values())


@pytest.mark.skipif(bool(read_host().gpus), reason="this machine has a card")
def test_without_a_card_the_reason_for_gpu_skips_is_told(home):
    no_driver = "no NVIDIA driver: GPU cells will be skipped"
    findings = json.loads(invoke("doctor", "--json", home=home).stdout)
    assert [finding["seen"] for finding in findings if finding["check"] == "card"] == [no_driver]
    rows = json.loads(invoke("sweep", "--device=gpu", "--dry-run", "--json", home=home).stdout)
    assert {(row["plan"], row["reason"]) for row in rows} == {("skip", no_driver)}
    named = json.loads(invoke("sweep", "--device=gpu", "--gpus=0,1", "--dry-run", "--json", home=home).stdout)
    assert named == rows


def test_the_host_engine_plans_only_the_installed_variant(home):
    ended = invoke("sweep", "--spec=experiments/paper.json", "--engine=host", "--dry-run", "--json", home=home)
    cells = [row["cell"] for row in json.loads(ended.stdout)]
    assert len(cells) == 70
    assert {cell.split()[0].partition(":")[2] for cell in cells} == {"host"}


@pytest.mark.parametrize("verb", ["build-images", "data", "doctor", "images", "ingest", "report", "sweep"])
def test_every_verb_has_help(verb, home):
    ended = invoke(verb, "--help", home=home)
    assert ended.returncode == 0
    assert "none" not in ended.stdout.partition("Docstring:")[2].splitlines()[1]


def test_ingest_of_an_empty_home_is_no_error(home):
    assert invoke("ingest", home=home).returncode == 0
