"""Several runs on one page: of this home, and published ones."""

import io
import re
import shutil
import sys

import pytest
from rich.console import Console as Terminal

from orchestrator.commands.collections import join_runs, join_shards, write_index
from orchestrator.commands.publication import publish_run
from orchestrator.console.progress import Console
from orchestrator.errors import SpecError, StoreError
from orchestrator.home import Home
from orchestrator.records.run_folder import Shard
from orchestrator.records.store import Store
from tests import fake_run as fake

ONE, TWO = "20261121-120000-one", "20261122-120000-two"


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)


@pytest.fixture
def home(tmp_path):
    """A home with two runs."""
    home = Home(tmp_path / "home")
    for at, run_id in enumerate((ONE, TWO)):
        facts = fake.run_facts(run_id, started_unix=1_795_262_400.0 + at)
        fake.write_run(home.runs, facts, fake.some_jobs(run_id))
    with Store.open(home.store_url) as store:
        store.rebuild(home.runs, lambda line: None)
    return home


def links(page):
    return set(re.findall(r'href="([^"#]+index\.html)"', page.read_text()))


def test_a_joined_page_links_the_report_of_each_run(home, tmp_path):
    page = join_runs([ONE, TWO], home, tmp_path / "reports", Console())
    assert links(page) == {f"../{ONE}/index.html", f"../{TWO}/index.html"}
    assert all((page.parent / link).is_file() for link in links(page))


def test_an_unknown_run_is_not_joined(home, tmp_path):
    with pytest.raises(StoreError, match="has no run 'nothing'"):
        join_runs([ONE, "nothing"], home, tmp_path / "reports", Console())


@pytest.fixture
def published(home, tmp_path):
    """A folder of published runs, one as a folder and one as an archive."""
    folder = tmp_path / "published"
    folder.mkdir()
    publish_run(ONE, folder / "one", home, Console())
    publish_run(TWO, folder / "two.zip", home, Console())
    return folder


def test_a_site_has_a_page_of_every_published_run(published, tmp_path):
    page = write_index(published, tmp_path / "site", Home(tmp_path / "home"), Console())
    assert links(page) == {f"{ONE}/index.html", f"{TWO}/index.html"}
    assert all((page.parent / link).is_file() for link in links(page))


def test_a_page_that_came_with_a_run_is_not_hosted(published, tmp_path):
    """It could hold scripts of whoever published it."""
    report = published / "one" / "report" / "index.html"
    report.write_text("<script>alert(1)</script>")
    sums = (published / "one" / "SHA256SUMS").read_text().splitlines()
    import hashlib

    changed = hashlib.sha256(report.read_bytes()).hexdigest()
    sums = [f"{changed}  report/index.html" if line.endswith(" report/index.html") else line for line in sums]
    (published / "one" / "SHA256SUMS").write_text("\n".join(sums) + "\n")
    page = write_index(published, tmp_path / "site", Home(tmp_path / "home"), Console())
    assert "<script>alert(1)" not in (page.parent / ONE / "index.html").read_text()


@pytest.mark.parametrize("fault", ["changed", "twice", "none"])
def test_nothing_is_left_of_a_site_that_cannot_be_made(published, tmp_path, fault):
    if fault == "changed":
        (published / "one" / "report" / "results.csv").write_text("x")
    elif fault == "twice":
        shutil.copytree(published / "one", published / "again")
    else:
        shutil.rmtree(published)
    before = sorted(path.name for path in tmp_path.iterdir())
    with pytest.raises((StoreError, SpecError)):
        write_index(published, tmp_path / "site", Home(tmp_path / "home"), Console())
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_site_replaces_nothing(published, tmp_path):
    with pytest.raises(SpecError, match="which exists; name a new folder"):
        write_index(published, tmp_path, Home(tmp_path / "home"), Console())


def shard(number, count=2, plan="p"):
    return Shard(number=number, count=count, spec_sha256=plan * 64)


@pytest.fixture
def sharded(tmp_path):
    """sharded(shard, ...) -> a home with these runs, a day apart, and their ids; None for a run that is no shard."""

    def sharded(*shards):
        home = Home(tmp_path / "shards")
        for at, one in enumerate(shards):
            run_id = f"2026112{at}-120000-part"
            facts = fake.run_facts(run_id, started_unix=1_795_262_400.0 + 86_400 * at, shard=one)
            fake.write_run(home.runs, facts, fake.some_jobs(run_id))
        with Store.open(home.store_url) as store:
            store.rebuild(home.runs, lambda line: None)
        return home, [f"2026112{at}-120000-part" for at in range(len(shards))]

    return sharded


def joined(sharded, tmp_path, *shards):
    home, run_ids = sharded(*shards)
    said = io.StringIO()
    result = join_shards(run_ids, home, tmp_path / "reports", Console(Terminal(file=said, width=300)))
    return result, result.page.read_text(), said.getvalue()


def test_all_shards_of_a_plan_are_one_page(sharded, tmp_path):
    _, page, said = joined(sharded, tmp_path, shard(2), shard(1))
    assert "2 of 2 shards" in page
    assert "missing" not in said


def test_a_missing_shard_is_said(sharded, tmp_path):
    result, page, said = joined(sharded, tmp_path, shard(1, 3), shard(3, 3))
    assert not result.is_whole
    for text in (page, said):
        assert "no run of shard 2 of 3 was named; it is missing here" in text


def test_a_shard_that_ran_twice_is_counted_once(sharded, tmp_path):
    _, page, said = joined(sharded, tmp_path, shard(1), shard(2), shard(1))
    assert "shard 1 of 2 was run 2 times" in said
    assert "20261120-120000-part" in page
    assert ">20261122-120000-part<" not in page


def test_a_page_of_shards_links_to_the_reports_that_are_there(sharded, tmp_path):
    report = tmp_path / "reports" / "20261121-120000-part" / "index.html"
    report.parent.mkdir(parents=True)
    report.touch()
    _, page, _ = joined(sharded, tmp_path, shard(1), shard(2))
    assert links_of(page) == {"../20261121-120000-part/index.html"}


def test_no_run_is_a_sentence(sharded, tmp_path):
    with pytest.raises(SpecError, match="names no run"):
        joined(sharded, tmp_path)


def test_of_shards_that_have_not_ended_one_is_counted(sharded, tmp_path):
    _, _, said = joined(sharded, tmp_path, shard(1), shard(2), shard(2))
    assert "is counted, not 20261122-120000-part" in said


def links_of(page):
    return set(re.findall(r'href="([^"#]+index\.html)"', page))


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ((None,), "is no shard of a sweep"),
        ((shard(2, 3),), "not of one plan"),
        ((shard(2, 2, "q"),), "of one plan"),
    ],
)
def test_runs_that_are_no_shards_of_one_plan_are_refused(sharded, tmp_path, others, words):
    with pytest.raises(SpecError, match=words):
        joined(sharded, tmp_path, shard(1), *others)
