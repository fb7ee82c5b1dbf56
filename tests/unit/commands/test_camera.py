"""The truth of a drawn video, as `invoke watch` reads it."""

import os

import pytest

from orchestrator.commands import camera
from orchestrator.errors import DataError


@pytest.mark.timeout(20)
@pytest.mark.parametrize("content", ["[" * 100_000, "{}", '{"frame": 1, "signs": 5}', "\xff", None])
def test_what_is_no_truth_is_refused_in_a_sentence(tmp_path, content):
    path = tmp_path / "drive.truth.jsonl"
    if content is None:
        os.mkfifo(path)
    else:
        path.write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match="does not hold the signs of a drawn video"):
        camera._read_truth(path)
