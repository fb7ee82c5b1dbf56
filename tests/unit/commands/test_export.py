"""A row's environment as a folder for plain `docker build`."""

import re

import pytest

from orchestrator.commands.export import export_env, plain_dockerfile
from orchestrator.console.progress import Console
from orchestrator.errors import SpecError
from orchestrator.home import REPOSITORY
from orchestrator.planning.catalogue import Catalogue

CATALOGUE = Catalogue.load(REPOSITORY / "docker")
ROWS = [row for row in CATALOGUE.rows() if not row.retired and "SDISTS" not in row.args]


def exported(row):
    return plain_dockerfile(row, {"OMP_NUM_THREADS": "2"})


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_the_last_stage_is_the_rows_and_knows_its_pins(row):
    lines = exported(row).splitlines()
    assert [line for line in lines if line.startswith("FROM ")][-1].endswith(f" AS {row.stage}")
    assert f'ARG REQUIREMENTS="{row.requirements}"' in lines
    assert f'ARG PYTHON="{row.python}"' in lines
    assert lines[-1] == 'ENV OMP_NUM_THREADS="2"'


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.slug)
def test_every_argument_of_the_row_is_a_default(row):
    defaults = dict(re.findall(r'^ARG (\w+)="(.*)"$', exported(row), re.MULTILINE))
    assert {name: defaults[name] for name in row.args if name in defaults}.keys() >= {
        name for name in row.args if re.search(rf"^ARG {name}", exported(row), re.MULTILINE)
    }


def test_a_folder_holds_all_that_the_dockerfile_copies(tmp_path):
    row = CATALOGUE.resolve("neon", "cpu", "2.6-mkl")
    export_env(row, tmp_path / "neon", Console())
    names = {str(path.relative_to(tmp_path / "neon")) for path in (tmp_path / "neon").rglob("*") if path.is_file()}
    assert names == {"Dockerfile", "finish.sh", "requirements/pip.txt", f"requirements/{row.requirements}"}


def test_a_folder_that_holds_something_is_not_written_to(tmp_path):
    (tmp_path / "mine").write_text("")
    with pytest.raises(SpecError, match="exists and is not empty; name a new folder"):
        export_env(CATALOGUE.resolve("mxnet", "cpu", "1.5"), tmp_path, Console())
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_a_row_that_a_dockerfile_cannot_hold_is_refused(tmp_path):
    row = next(row for row in CATALOGUE.rows() if "SDISTS" in row.args and not row.retired)
    with pytest.raises(SpecError, match=r"several lines \(SDISTS\).* invoke build-images --device=gpu"):
        export_env(row, tmp_path / "new", Console())
    assert not (tmp_path / "new").exists()


def test_quotes_and_dollars_stay_what_they_are():
    row = CATALOGUE.resolve("mxnet", "cpu", "1.5")
    assert plain_dockerfile(row, {"A": 'x"$HOME\\'}).endswith('ENV A="x\\"\\$HOME\\\\"\n')
