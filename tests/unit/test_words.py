"""Words that were given up for plainer ones stay out of code, messages and documentation.

docs/adr and CHANGELOG.md tell of the past and are not searched. ALLOWED lists where old records are read by old words.
"""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from orchestrator.home import REPOSITORY

SEARCHED = ("orchestrator", "workers", "benchmarks", "docs", "tasks.py", "README.md", "CONTRIBUTING.md")
SUFFIXES = (".py", ".md", ".html")
PAST = REPOSITORY / "docs" / "adr"

RETIRED = {  # word in use now -> the words that it replaces
    "trial runner": r"\bCourse\b|(?<!of )\bcourse\b",
    "comparison, commands/compare": r"\bcontest\b",
    "spec_errors": r"\brefusals?\b",
    "caveat": r"\b[Dd]oubts?\b",
    "machine_warnings, load_warnings": r"\blook_around\b|\bworr(y|ies)\b",
    "record_final_load": r"\blook_back\b",
    "exclusive_run": r"\balone\(",
    "oversubscribed": r"\bcrowded\b",
    "JobContext": r"\bBench\b|(?<!-)\bbench\b",
    "Console": r"\bView\b",
    "TrialProgress": r"\b[Pp]ace\b",
    "require_settings": r"\binsists?\b",
    "reference_check": r"\bwitness\b",
    "compared": r"\barms\b",
    "is_mig": r"\bis_divided\b",
    "is_local": r"\bis_here\b",
    "check_row": r"\bCheckRow\b",
    "NoiseFloors": r"\bFloors?\b",
    "EventPayload": r"\b_Said\b",
    "misconfigured (the status)": r"""status["']?\s*(==|!=|=|:|in)\s*\(?["']environment["']|^\| `environment` \|""",
}

ALLOWED = {  # file -> what may stand in it, because old records hold that word, or something has that name
    "docs/architecture.md": ("| `environment` |",),
    "docs/onnx.md": ("Floor",),  # an operator
    "orchestrator/environment.py": ("is_divided",),
    "orchestrator/trial.py": ('status == "environment"',),
    "orchestrator/records/run_folder.py": ("arms",),
    "orchestrator/records/migrations/versions/0003_misconfigured.py": ('"environment"',),
}


def searched_files() -> Iterator[Path]:
    for name in SEARCHED:
        path = REPOSITORY / name
        found = [path] if path.is_file() else sorted(path.rglob("*"))
        yield from (one for one in found if one.suffix in SUFFIXES and PAST not in one.parents)


def uses(pattern: str) -> Iterator[tuple[str, int, str]]:
    """(file, line number, the word) of each use that is not allowed."""
    for path in searched_files():
        name = path.relative_to(REPOSITORY).as_posix()
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            for match in re.finditer(pattern, line):
                if not any(one in match[0] or match[0] in one for one in ALLOWED.get(name, ())):
                    yield name, number, match[0]


@pytest.mark.parametrize("now", RETIRED)
def test_a_retired_word_is_used_nowhere(now):
    found = [f"{name}:{number}: '{word}'; say: {now}" for name, number, word in uses(RETIRED[now])]
    assert not found, "\n".join(found)


@pytest.mark.parametrize("name", ALLOWED)
def test_what_is_allowed_is_still_needed(name):
    text = (REPOSITORY / name).read_text(encoding="utf-8")
    assert all(word in text for word in ALLOWED[name])
