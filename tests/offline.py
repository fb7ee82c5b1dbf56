"""Tests that fetch packages outside of an engine: without a network they are skipped, with the reason."""

import pytest

UNREACHED = ("after connection broken by", "index that it asks could not be reached", "error sending request for url")
"""What pip, waymark and uv say."""


def skip_offline(log: str) -> None:
    """Skip the test if what it ran failed, by its words, because no package index could be reached."""
    if any(words in log for words in UNREACHED):
        pytest.skip(f"the package index cannot be reached: {log.strip().splitlines()[-1].strip()}")
