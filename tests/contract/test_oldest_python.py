"""The worker's own tests, on the oldest interpreter that an environment may bring: CPython 3.6 with numpy 1.19."""

import subprocess

import pytest

from orchestrator.engines import find_python
from orchestrator.home import REPOSITORY, Home
from tests.offline import skip_offline

PIP = "pip==21.3.1"  # the last for 3.6; older ones take packages that need a newer Python
PINS = ("numpy==1.19.5", "pytest==7.0.1")


@pytest.fixture(scope="module")
def oldest_python():
    """Interpreter of a virtualenv with the pins; made once a machine."""
    base = find_python("3.6")
    if base is None:
        pytest.skip("no CPython 3.6 here: `uv python install` or pyenv brings one")
    folder = Home.default().virtualenvs / "tests-python3.6"
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
        for packages in ([PIP], PINS):
            install = [python, "-m", "pip", "install", "--quiet", *packages]
            done = subprocess.run(install, capture_output=True, text=True, check=False)
            if done.returncode:
                skip_offline(done.stderr)
            assert done.returncode == 0, done.stderr
        (folder / "complete").touch()
    return python


@pytest.mark.legacy
def test_worker_tests_pass_on_cpython_3_6(oldest_python, tmp_path):
    command = [oldest_python, "-m", "pytest", "-q", "--noconftest", "-c", "/dev/null", "--rootdir", tmp_path]
    command += ["-p", "no:cacheprovider", REPOSITORY / "tests" / "unit" / "workers"]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": str(REPOSITORY), "PYTHONDONTWRITEBYTECODE": "1"}
    ended = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert " passed" in ended.stdout
