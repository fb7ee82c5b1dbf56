"""A worker works in its job folder; in these tests that is this process, so each ends where it began."""

import os

import pytest

ROOT = os.getcwd()


@pytest.fixture(autouse=True)
def where_we_were():
    """Go back after the test."""
    yield
    os.chdir(ROOT)
