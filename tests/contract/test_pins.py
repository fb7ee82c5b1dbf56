"""What is pinned can still be had: each file of a lock is on the package index, under its hash. By metadata alone."""

import re
import subprocess
import sys

import pytest

from orchestrator.home import REPOSITORY
from orchestrator.planning.catalogue import Catalogue

ROWS = Catalogue.load(REPOSITORY / "docker").rows()
LOCKS = {f"{row.framework}/{row.requirements}": row for row in ROWS}
SDISTS = {row.slug: row for row in ROWS if "SDISTS" in row.args}
PIN = re.compile(r"^([A-Za-z0-9._-]+==\S+)((?:\s+--hash=sha256:[0-9a-f]{64})+)$", re.MULTILINE)


def pins(text):
    """'numpy==2.4.6' -> its hashes."""
    found = {name: set(re.findall(r"[0-9a-f]{64}", hashes)) for name, hashes in PIN.findall(text.replace("\\\n", ""))}
    assert found
    return found


def unheard_of(text, python, folder, *options):
    """Pins whose files the index no longer has: name and version -> hashes that it does not know.

    A pin with a '+' is not looked for: such builds are on an index of their framework's own.
    """
    pinned = {name: hashes for name, hashes in pins(text).items() if "+" not in name}
    (folder / "asked.in").write_text("\n".join(pinned))
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--no-deps", "--generate-hashes", "--no-header"]
    platform = ["--no-annotate", "--python-version", python, "--python-platform", "x86_64-manylinux_2_28"]
    asked = [*command, *platform, "--allow-unsafe", *options, str(folder / "asked.in")]
    done = subprocess.run(asked, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    known = pins(done.stdout)
    assert known.keys() == pinned.keys()
    return {name: hashes - known[name] for name, hashes in pinned.items() if hashes - known[name]}


@pytest.mark.index
@pytest.mark.parametrize("lock", LOCKS)
def test_every_wheel_of_a_lock_is_on_the_index(lock, tmp_path):
    row = LOCKS[lock]
    text = row.requirements_path.read_text()
    assert unheard_of(text, row.python, tmp_path, "--only-binary", ":all:") == {}


@pytest.mark.index
@pytest.mark.parametrize("slug", SDISTS)
def test_every_source_that_a_row_compiles_is_on_the_index(slug, tmp_path):
    row = SDISTS[slug]
    assert unheard_of(row.args["SDISTS"], row.python, tmp_path) == {}
