"""Flags of a comparison; each mistake is one sentence."""

import pytest

from orchestrator.console import flags
from orchestrator.errors import SpecError
from orchestrator.records.run_folder import Until


def test_pairs_are_added_or_counted():
    assert (flags.pairs("auto"), flags.pairs("10")) == (None, 10)


def test_precision_and_budget_say_when_pairs_are_enough():
    assert flags.until("3%", "") == Until(precision=0.03)
    assert flags.until("0.5 %", "20m") == Until(precision=0.005, budget_seconds=1200)
    assert flags.until("3%", "1.5h") == Until(precision=0.03, budget_seconds=5400)


@pytest.mark.parametrize("text", ["", "3", "0%", "x%", "-1%", "100%", "3%%"])
def test_a_precision_that_is_no_share_is_refused(text):
    with pytest.raises(SpecError, match=r"--precision is .* for example 3%"):
        flags.until(text, "")


@pytest.mark.parametrize("text", ["20", "0m", "m", "-5m", "20 m", "1e3s"])
def test_a_budget_that_is_no_duration_is_refused(text):
    with pytest.raises(SpecError, match=r"--budget is .* 90s, 20m, 1.5h"):
        flags.until("3%", text)


def test_a_gate_without_a_margin_is_refused():
    with pytest.raises(SpecError, match=r"--allow is ''; it takes per cent below 100"):
        flags.margin("")
    assert flags.margin("0%") == 0.0


def test_pairs_that_are_named_without_a_number_are_refused():
    with pytest.raises(SpecError, match=r"--pairs is ''"):
        flags.pairs("")


def test_a_number_of_pairs_is_one():
    with pytest.raises(SpecError, match="--pairs is 'many'"):
        flags.pairs("many")


@pytest.mark.parametrize("text", [",", "a", "1,1", "-1", "1.5"])
def test_seeds_that_are_no_numbers_are_refused(text):
    with pytest.raises(SpecError, match=r"--seeds is .* whole numbers, each once"):
        flags.seeds(text)


def test_nobody_is_asked_where_there_is_no_terminal():
    with pytest.raises(SpecError, match="Remove it\\? Nobody can be asked here; say --yes"):
        flags.confirmed("Remove it?")
