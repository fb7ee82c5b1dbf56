"""The folder of a small catalogue."""

import pytest

from tests.fake_catalogue import TABLE


@pytest.fixture
def folder(tmp_path):
    """docker/ with one framework, mxnet, of two variants."""
    (tmp_path / "mxnet" / "requirements").mkdir(parents=True)
    (tmp_path / "mxnet" / "requirements" / "pins.txt").write_text("mxnet==1.5.0\n")
    (tmp_path / "mxnet" / "Dockerfile").write_text("FROM scratch AS cpu\n")
    (tmp_path / "mxnet" / "images.toml").write_text(TABLE)
    return tmp_path
