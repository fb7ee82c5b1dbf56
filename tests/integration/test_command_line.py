"""Wrong command lines, each one sentence with exit code 2; the list of verbs; and `waymark` from any folder."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tasks
from orchestrator.console.program import GROUPS
from orchestrator.home import REPOSITORY

INVOKE = (sys.executable, "-m", "invoke")
WAYMARK = (sys.executable, "-c", "from orchestrator.console.program import main; main()")


def run(*words, program=INVOKE, cwd=REPOSITORY, **env):
    finished = subprocess.run(
        [*program, *words], cwd=cwd, capture_output=True, text=True, check=False, env={**os.environ, **env}
    )
    return finished.returncode, finished.stdout, finished.stderr


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["swep"], "waymark has no verb 'swep'. Did you mean 'sweep'?"),
        (["sweep", "--epoch=3"], "'sweep' has no flag --epoch. Did you mean '--epochs'?"),
        (["compare"], "'compare' needs BASELINE and CANDIDATE, in that order or as --baseline and --candidate."),
        (["gate", "mxnet:1.5"], "'gate' needs CANDIDATE, as a word or as --candidate."),
        (["compare", "--cell=IDSIA@48", "a", "b"], "'compare' has no flag --cell. Did you mean '--cells'?"),
        (["tune", "--budgt=1m"], "'tune' has no flag --budgt. Did you mean '--budget'?"),
        (["--dry", "runs"], "--dry is Invoke's own and would run the verb all the same"),
        (["sweep", "--spec"], "--spec of 'sweep' needs a value."),
        (["runs", "now"], "'runs' takes no word 'now' there."),
        (["help", "swep"], "waymark has no verb 'swep'. Did you mean 'sweep'?"),
    ],
    ids=str,
)
def test_a_wrong_command_line_is_one_sentence(words, sentence):
    code, out, said = run(*words)
    assert (code, out) == (2, "")
    assert said.startswith(sentence)
    assert said.count("\n") == 1


@pytest.mark.parametrize("words", [[], ["help"], ["--list"]], ids=["no word", "help", "--list"])
def test_all_verbs_are_shown_by_what_one_does_first(words):
    code, out, _ = run(*words)
    assert code == 0
    titles = [line for line in out.splitlines() if line in GROUPS]
    assert titles == list(GROUPS)


def test_every_verb_is_in_one_group():
    verbs = [one.name for one in vars(tasks).values() if type(one).__name__ == "Task"]
    assert sorted(name.replace("_", "-") for name in verbs) == sorted(verb for of in GROUPS.values() for verb in of)


def test_help_shows_what_a_verb_takes():
    code, out, _ = run("help", "compare")
    assert (code, "--precision" in out) == (0, True)


def test_waymark_has_the_same_verbs_in_any_folder(tmp_path):
    code, out, _ = run("runs", "--json", program=WAYMARK, cwd=tmp_path, WAYMARK_HOME=str(tmp_path / "home"))
    assert (code, out.strip()) == (0, "[]")
    code, out, _ = run("sweep", "--spec=experiments/smoke.json", "--dry-run", "--json", program=WAYMARK, cwd=tmp_path)
    assert (code, '"cell"' in out) == (0, True)


def test_waymark_tells_its_version():
    code, out, _ = run("--version", program=WAYMARK)
    assert (code, out.startswith("waymark 0.")) == (0, True)


def test_a_reader_that_has_enough_is_no_traceback():
    line = f"{' '.join(INVOKE)} --list | head -1; exit ${{PIPESTATUS[0]}}"
    finished = subprocess.run(["bash", "-c", line], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert (finished.returncode in (0, 141), finished.stderr) == (True, "")


def test_python_without_checks_is_refused(tmp_path):
    code, _, said = run("runs", PYTHONOPTIMIZE="2", WAYMARK_HOME=str(tmp_path / "home"))
    assert (code, "PYTHONOPTIMIZE=2" in said) == (3, True)
    assert not (tmp_path / "home").exists()


def test_a_tilde_that_no_shell_expanded_is_the_users_folder(tmp_path):
    code, _, _ = run("runs", program=WAYMARK, cwd=tmp_path, HOME=str(tmp_path / "user"), WAYMARK_HOME="~/waymark")
    assert (code, Path(tmp_path / "~").exists()) == (0, False)
