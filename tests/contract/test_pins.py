"""What is pinned can still be had: each file of a lock is on the package index, under its hash. By metadata alone."""

import re
import subprocess
import sys

import pytest

from orchestrator.commands.images import catalogue_with

ROWS = catalogue_with().rows()
LOCKS = {f"{row.framework}/{row.requirements}": row for row in ROWS}
SDISTS = {row.slug: row for row in ROWS if "SDISTS" in row.args}
INDEXES = {name: row for name, row in LOCKS.items() if row.index}
UNREACHED = "error sending request for url"  # uv's words; an answer that is an error reads otherwise
PIN = re.compile(r"^([A-Za-z0-9._-]+==\S+)((?:\s+--hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


def pins(text):
    """'numpy==2.4.6' -> its hashes."""
    found = {name: set(re.findall(r"[0-9a-f]{64}", hashes)) for name, hashes in PIN.findall(text.replace("\\\n", ""))}
    assert found
    return found


def on_general_index(pinned):
    """The pins without a '+': builds with one are on their publisher's own index."""
    return {name: hashes for name, hashes in pinned.items() if "+" not in name}


def unheard_of(pinned, python, folder, *options):
    """Pins whose files the index no longer has: name and version -> hashes that it does not know.

    The test is skipped where the index is out of reach.
    """
    (folder / "asked.in").write_text("\n".join(pinned))
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps", "--generate-hashes", "--no-header"]
    platform = ["--no-annotate", "--python-version", python, "--python-platform", "x86_64-manylinux_2_28"]
    asked = [*command, *platform, "--allow-unsafe", *options, str(folder / "asked.in")]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=300)
    if UNREACHED in done.stderr:
        pytest.skip("the package index cannot be reached: uv says " + " ".join(done.stderr.split())[:200])
    assert done.returncode == 0, done.stderr[-2000:]
    known = pins(done.stdout)
    assert known.keys() == pinned.keys()
    return {name: hashes - known[name] for name, hashes in pinned.items() if hashes - known[name]}


@pytest.mark.index
@pytest.mark.parametrize("lock", LOCKS)
def test_every_wheel_of_a_lock_is_on_the_index(lock, tmp_path):
    row = LOCKS[lock]
    pinned = on_general_index(pins(row.requirements_path.read_text()))
    assert unheard_of(pinned, row.python, tmp_path, "--only-binary", ":all:") == {}


@pytest.mark.index
@pytest.mark.parametrize("lock", INDEXES)
def test_every_other_wheel_of_a_lock_is_on_its_publishers_index(lock, tmp_path):
    row = INDEXES[lock]
    pinned = pins(row.requirements_path.read_text())
    pinned = {name: pinned[name] for name in pinned.keys() - on_general_index(pinned).keys()}
    assert unheard_of(pinned, row.python, tmp_path, "--only-binary", ":all:", "--default-index", row.index) == {}


@pytest.mark.index
@pytest.mark.parametrize("slug", SDISTS)
def test_every_source_that_a_row_compiles_is_on_the_index(slug, tmp_path):
    row = SDISTS[slug]
    assert unheard_of(on_general_index(pins(row.args["SDISTS"])), row.python, tmp_path) == {}
