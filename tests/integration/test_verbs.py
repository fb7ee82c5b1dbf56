"""The command line: exit codes, one sentence for each mistake, JSON on stdout only."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from orchestrator.home import REPOSITORY, Home
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
        (["sweep", "--epochs=-1"], 2, "--epochs is '-1'; it takes a whole number of at least 1."),
        (["sweep", "--epochs=0"], 2, "--epochs is '0'; it takes a whole number of at least 1."),
        (["sweep", "--epochs=abc"], 2, "--epochs is 'abc'; it takes a whole number of at least 1."),
        (["sweep", "--epochs=1001"], 2, "training.epochs is 1001; it must be between 1 and 1000"),
        (["sweep", "--resume="], 2, "--resume= names no run. Write --resume for the newest"),
        (["sweep", "--resume", "--dry-run"], 4, "holds no run to resume"),
        (["sweep", "--resume=../../etc"], 4, "there is no sweep '../../etc' to resume"),
        (["sweep", f"--gpus={'1' * 5000}"], 2, "--gpus is '1111"),
        (["sweep", "--variant=pytroch=2.13"], 2, "Did you mean 'pytorch'?"),
        (["check", "--variant=pytroch=2.13"], 2, "Did you mean 'pytorch'?"),
        (["build-images", "--variant=pytroch=2.13"], 2, "Did you mean 'pytorch'?"),
        (["compare", "mxnet:1.5", "mxnet:1.5-mkl", "--pairs=many"], 2, "--pairs is 'many'; it takes a whole number"),
        (["compare", "mxnet:1.5", "mxnet:1.5-mkl", "--pairs=0"], 2, "--pairs is '0'; it takes a whole number"),
        (["report", "--run=../../etc"], 4, "holds no run"),
        (["show", "../../etc/7"], 4, "holds no run"),
        (["images", "--json", "--csv"], 2, "--json and --csv are two forms of the same table"),
        (["export-env", "mxnet", "--to=x"], 2, "'mxnet' is not framework:variant"),
        (
            ["sweep", "--spec=experiments/inference.json", "--weights=../../etc"],
            2,
            "has left no weights of ResNet-20@32",
        ),
        (["watch", "nowhere.mp4"], 2, "no run on record has left weights"),
        (["watch", "nowhere.mp4", "--roi=1,2"], 2, "--roi is '1,2'; it takes left,top,width,height"),
        (["watch", "nowhere.mp4", "--confidence=high"], 2, "--confidence is 'high'; it takes per cent"),
        (["export", "../../etc", "ResNet-20@32", "--onnx=net.onnx"], 2, "has left no weights of 'ResNet-20@32'"),
        (["export", "any", "ResNet-20@32"], 2, "no file is named; write for example --onnx=net.onnx"),
        (["data", "--video=README.md"], 2, "--video is README.md, which exists; name a new file."),
        (["data", "--video=nowhere/drive.mp4"], 2, "--video is nowhere/drive.mp4; there is no folder nowhere."),
        (["watch", "nowhere.mp4", "--lines=README.md"], 2, "--lines is README.md, which exists"),
        (["export", "any", "ResNet-20@32", "--onnx=nowhere/net.onnx"], 2, "there is no folder nowhere."),
        (["sweep", "--weights=any"], 2, "--weights is for a spec that runs networks"),
        (["sweep", "--spec=experiments/inference.json", "--scout"], 2, "--scout tells how long a training takes"),
        (["data", "--video=drive.mp4", "--fps=0"], 2, "--fps is '0'; it takes frames a second"),
        (["remove", "../../etc"], 2, "Nobody can be asked here; say --yes."),
        (["remove", "../../etc", "--yes"], 4, "holds no run"),
        (["sweep", "--seeds=a"], 2, "--seeds is 'a'; it takes whole numbers, each once"),
        (["sweep", "--cells=ResNet-21@32", "--dry-run"], 2, "--cells names 'ResNet-21@32'; quick has ResNet-20@32"),
        (["sweep", "--engine=host:/bin/true", "--spec=experiments/smoke.json"], 3, "that is no Python that runs"),
        (["sweep", "--resume", "--epochs=3"], 2, "--resume uses the spec that the run recorded"),
        (["sweep", "--resume"], 4, "holds no run to resume"),
        (["sweep", "--engine=lxc", "--spec=experiments/smoke.json"], 3, "No engine is called 'lxc'"),
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
        (["data", "--sizes=5"], 2, "--sizes is '5'; it takes sides in pixels"),
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
    plans = [row["plan"] for row in json.loads(ended.stdout)]
    assert (plans.count("run") + plans.count("skip"), plans.count("check")) == (70, 35)
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
    cells = [row["cell"] for row in json.loads(ended.stdout) if row["plan"] in ("run", "skip")]
    assert len(cells) == 70
    assert {cell.split()[0].partition(":")[2] for cell in cells} == {"host"}


def test_every_verb_has_help(home):
    listed = json.loads(invoke("--list", "--list-format=json", home=home).stdout)["tasks"]
    assert {"compare", "publish", "sweep"} <= {verb["name"] for verb in listed}
    for verb in listed:
        ended = invoke(verb["name"], "--help", home=home)
        assert (ended.returncode, ended.stderr) == (0, ""), verb["name"]
        assert ended.stdout.startswith(f"Usage: inv[oke] [--core-opts] {verb['name']} ")
        assert "none" not in ended.stdout.partition("Docstring:")[2].splitlines()[1]


@pytest.mark.parametrize("words", [("publish", "a"), ("export-env", "mxnet:1.5"), ("export-mlflow", "a"), ("index",)])
def test_a_flag_that_is_needed_is_named(words, home):
    ended = invoke(*words, home=home)
    assert (ended.returncode in (1, 2), "Traceback" in ended.stderr) == (True, False)
    assert "--to" in ended.stderr or "'to'" in ended.stderr


def test_a_reader_that_has_enough_is_no_traceback(home):
    shell = f"{sys.executable} -m invoke images --json | head -1"
    environment = {**os.environ, "WAYMARK_HOME": str(home.root)}
    ended = subprocess.run(shell, shell=True, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert (ended.stdout, ended.stderr) == ("[\n", "")


def test_a_closed_output_is_no_traceback(home):
    for closed in (">&-", "2>&-", ">&- 2>&-"):
        shell = f"{sys.executable} -m invoke images {closed}"
        environment = {**os.environ, "WAYMARK_HOME": str(home.root)}
        ended = subprocess.run(shell, shell=True, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
        assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.parametrize("locale", [{"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "latin-1"}])
def test_a_locale_without_unicode_is_no_traceback(home, locale):
    environment = {**os.environ, "WAYMARK_HOME": str(home.root), "PYTHONUTF8": "0", **locale}
    for verb in (["images"], ["sweep", "--dry-run", "--spec=experiments/paper.json"], ["doctor"]):
        argv = [sys.executable, "-m", "invoke", *verb]
        ended = subprocess.run(argv, cwd=REPOSITORY, env=environment, capture_output=True)
        assert b"Traceback" not in ended.stderr
        assert ended.returncode in (0, 1)


def test_a_home_that_cannot_be_used_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    for root in (tmp_path / "file", tmp_path / "file" / "home", Path("/proc/nowhere")):
        ended = invoke("sweep", "--spec=experiments/smoke.json", "--engine=virtualenv", home=Home(root))
        assert "Traceback" not in ended.stderr
        assert (ended.returncode, len(ended.stderr.strip().splitlines())) == (3, 1), ended.stderr


def test_unwritable_reports_are_told_before_the_trials(home, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("WAYMARK_REPORTS", str(tmp_path / "file" / "reports"))
    ended = invoke("sweep", "--spec=experiments/smoke.json", "--engine=virtualenv", home=home)
    assert (ended.returncode, "Traceback" in ended.stderr) == (4, False)
    assert "reports go there. Set WAYMARK_REPORTS to another folder." in ended.stderr
    assert not home.root.exists()


def test_a_home_may_be_called_anything(tmp_path):
    odd = Home(tmp_path / "what? a%20 'home' & more")
    assert invoke("ingest", home=odd).returncode == 0
    assert (odd.root / "store.sqlite").is_file()


def test_ingest_of_an_empty_home_is_no_error(home):
    assert invoke("ingest", home=home).returncode == 0
