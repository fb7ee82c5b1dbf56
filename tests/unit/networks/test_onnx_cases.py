"""ONNX's own tests: each case that is read gives what ONNX says, in the oracle; and the table that says so."""

import re
from collections import Counter

import pytest

from orchestrator.home import REPOSITORY
from tests.unit.networks.onnx_cases import of_operators, of_pytorch, read

PAGE = REPOSITORY / "docs" / "onnx.md"


@pytest.mark.parametrize("source", [of_operators, of_pytorch])
def test_every_case_that_is_read_agrees(source):
    assert read(source).wrong == []


@pytest.mark.parametrize(("source", "place"), [(of_operators, 0), (of_pytorch, 2)])
def test_the_table_counts_the_cases_as_they_are(source, place):
    found, counts = read(source), {}
    for name, *cells in re.findall(
        r"^\| (\w+) \| (\d+) \| (\d+) \| (\d+) \| (\d+) \|$", PAGE.read_text(), re.MULTILINE
    ):
        counts[name] = int(cells[place]), int(cells[place + 1])
    wanted = {name: (found.claimed[name], found.refused[name]) for name in counts}
    assert counts == wanted
    assert sum(Counter(found.claimed).values()) == sum(claimed for claimed, _ in counts.values())
