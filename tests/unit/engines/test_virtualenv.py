"""A virtualenv is complete only if its pins are in it."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from orchestrator.engines.virtualenv import lacking_pins

PINS = """--only-binary :all:

NumPy==2.4.6 \\
    --hash=sha256:00
typing_extensions==4.1
"""


@pytest.fixture
def row(tmp_path):
    (tmp_path / "pins.txt").write_text(PINS)
    return SimpleNamespace(requirements_path=tmp_path / "pins.txt")


def installed(folder: Path, name, version):
    info = folder / "lib" / "python3.11" / "site-packages" / f"{name}-{version}.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")


def test_an_empty_one_lacks_its_first_pin(row, tmp_path):
    assert lacking_pins(row, tmp_path / "empty") == "NumPy==2.4.6"


def test_another_version_is_lacking_too(row, tmp_path):
    installed(tmp_path, "numpy", "2.4.5")
    assert lacking_pins(row, tmp_path) == "NumPy==2.4.6"


def test_names_are_compared_as_pip_does(row, tmp_path):
    installed(tmp_path, "numpy", "2.4.6")
    installed(tmp_path, "Typing-Extensions", "4.1")
    assert lacking_pins(row, tmp_path) == ""
