"""Pages and folders of reports of a run that never ran."""

import base64
import hashlib
import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from altair.utils.schemapi import validate_jsonschema
from altair.vegalite.v6.schema.core import load_schema

from orchestrator.analysis.noise import Noise, NoiseFloors
from orchestrator.analysis.scatter import Scatter
from orchestrator.home import REPOSITORY, Home
from orchestrator.records.stored import StoredRun
from orchestrator.report import figures, html, inline
from orchestrator.report.studies import study_sections
from orchestrator.trial import Exit
from tests import fake_run as fake
from tests.fake_stored import NO_MEMORY, answered, checked, run, skip, timed, watched

HOSTILE = "<script>alert('x')</script> | =cmd() \x1b[31mred\x1b[0m \u202e"


class Balance(HTMLParser):
    """Keeps the elements left open and the ends that close nothing."""

    def __init__(self):
        super().__init__()
        self.open, self.stray = [], []

    def handle_starttag(self, tag, attrs):
        if tag not in ("meta", "img", "br", "input"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if self.open[-1:] == [tag]:
            self.open.pop()
        else:
            self.stray.append(tag)


@pytest.fixture
def no_altair(monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)


@pytest.fixture
def page(tmp_path, no_altair):
    """Renders a run without figures, which take their time, and gives the text of its page."""

    def rendered(stored):
        return html.render(stored, tmp_path / "report").read_text()

    return rendered


def test_what_the_machine_did_is_a_section_of_the_page(page):
    text = page(run(watched(throttled=("software power cap",))))
    seen = ('id="telemetry"', "card J/epoch", "software power cap 100 %", "GPU 0 (NVIDIA H200), capability 9.0")
    assert [word in text for word in seen] == [True] * 4


def test_a_run_that_nobody_watched_has_no_such_section(page):
    assert 'id="telemetry"' not in page(run(timed(others=None)))


def test_a_page_with_telemetry_is_well_formed(page):
    parser = Balance()
    parser.feed(page(run(watched(), timed(ordinal=2))))
    assert (parser.open, parser.stray) == ([], [])


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Folder of the report of a run that was watched, with its figures."""
    folder = tmp_path_factory.mktemp("drawn")
    html.render(run(watched()), folder)
    return folder


def test_each_quantity_that_was_watched_is_a_figure(drawn):
    figures = {path.stem for path in drawn.glob("*.svg")} - {"accuracy", "epochs"}
    assert figures == {"cpu-percent", "machine-memory-gib", "card-percent", "card-mhz", "card-watts", "card-celsius"}


def test_every_chart_is_as_the_schema_of_vega_lite_asks():
    """Drawing leaves this out, because it takes longer than all else."""
    rank = {"cell": "ResNet-20@32 cpu", "subject": "pytorch:2.13", "rank_low": 1, "rank_high": 1}
    epoch = {"network": "ResNet-20", "input_size": 48, "device": "cpu", "epoch_s": 1.0, "epoch_paper_s": 2.0}
    limit = {"cell": "ResNet-20@32 cpu", "subject": "pytorch:2.13", "peak_gflops": 100.0, "copy_gb_per_second": 10.0}
    studies = {
        "ranks": [rank],
        "study-epochs": [{**epoch, "subject": name} for name in ("pytorch:2.13", "mxnet:1.9")],
        "limit": [{**limit, "intensity": 5.0, "gflops": 40.0}],
    }
    found = figures.draw(run(watched(), *(timed(fake.trial(repeat=at), at + 2) for at in range(6))), studies)()
    names = {"ranks", "study-epochs", "roofline", "accuracy", "epochs", "drift", "card-watts"}
    assert names <= {figure.name for figure in found}
    for chart in (*(figure.chart for figure in found), *figures.panel_charts().values()):
        validate_jsonschema(chart, load_schema())


def test_every_chart_of_an_inference_is_as_the_schema_asks():
    trials = [
        answered("ncnn", ordinal=1),
        answered("ncnn", ordinal=2, scenario="offline", batch=1),
        answered("ncnn", ordinal=3, scenario="offline", batch=64),
        answered("jax", ordinal=4, model=fake.IDSIA, input_size=48),
    ]
    stored = run(*trials)
    studies = {table.name: table.rows for section in study_sections(stored, NoiseFloors()) for table in section.tables}
    found = {figure.name: figure.chart for figure in figures.draw(stored, studies)()}
    assert {"latencies", "throughput", "pareto"} <= found.keys()
    for chart in found.values():
        validate_jsonschema(chart, load_schema())


def test_the_page_of_an_inference_tells_what_was_asked(page):
    text = unescape(page(run(answered("ncnn", scenario="server", rate=400.0))))
    assert "5 s of queries of 1, after 1 s of warm-up; latencies below 15 ms; weights ffffffffffff" in text
    assert "trained with" in text


def test_each_epochs_end_is_a_dot_on_the_course(drawn):
    marks = ET.parse(drawn / "card-watts.svg").getroot().iter("{http://www.w3.org/2000/svg}path")
    dots = [mark for mark in marks if mark.get("aria-roledescription") == "point"]
    assert len(dots) == 2


def test_markdown_shows_no_markup_of_the_record(tmp_path):
    host = fake.host(governor="<img src=x onerror=alert(1)> [a](b) `c`")
    html.render(run(timed(fake.trial("numpy_ref", "1.0")), checks=[checked()], host=host), tmp_path)
    text = (tmp_path / "results.md").read_text()
    assert r"\<img src=x onerror=alert(1)\> \[a\](b) \`c\`" in text


def test_a_report_is_a_folder_of_page_tables_and_figures(tmp_path):
    html.render(run(timed(fake.trial("numpy_ref", "1.0"), others=None), checks=[checked()]), tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    figures = {"accuracy.svg", "accuracy.png", "epochs.svg", "epochs.png"}
    tables = {f"results.{ending}" for ending in ("csv", "json", "md", "parquet", "tex")} | {"parity.csv"}
    assert names == {"index.html", "spec.json", *tables, *figures}


def test_a_page_loads_nothing_from_anywhere(page):
    text = page(run(timed()))
    assert re.findall(r"<(?:script src|link|iframe)|(?:src|srcset|poster)=\"(?!data:)|@import|url\(", text) == []


def test_a_browser_may_run_the_pages_own_scripts_only(drawn):
    text = (drawn / "index.html").read_text()
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    scripts = re.findall(r"<script>(.*?)</script>", text, re.DOTALL)
    hashes = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    allowed = re.findall(r"sha256-([\w+/=]+)", unescape(policy).partition("script-src")[2])
    assert (len(scripts), allowed) == (2, hashes)
    assert "unsafe" not in policy


def test_the_data_of_a_page_cannot_become_markup():
    hostile = {"reason": "</script><b>&\u2028"}
    text = inline.data(hostile)
    assert json.loads(text) == hostile
    assert not set("<>&\u2028") & set(text)


def test_a_page_holds_its_trials_as_data(page):
    text = page(run(timed(), timed(ordinal=2, outcome=NO_MEMORY)))
    (found,) = re.findall(r'<script type="application/json" id="trial-data">(.*?)</script>', text)
    block = json.loads(found)
    assert [one["status"] for one in block["trials"]] == ["ok", "out_of_memory"]
    assert dict(zip(block["names"], block["trials"][0]["numbers"], strict=True))["step_ms"] == 100.0


def test_numbers_lead_to_the_trials_behind_them(page):
    text = page(run(timed(), skips=(skip(),)))
    (found,) = re.findall(r'<script type="application/json" id="row-data">(.*?)</script>', text)
    rows = json.loads(found)
    (at,) = {int(number) for number in re.findall(r'href="#row(\d+)"', text)}
    assert (rows[at]["title"], rows[at]["trials"]) == ("pytorch:2.13 ResNet-20@32 cpu", [0])


def test_a_page_is_well_formed(page):
    parser = Balance()
    parser.feed(page(run(timed(), timed(ordinal=2, outcome=NO_MEMORY), checks=[checked()], skips=(skip(),))))
    assert (parser.open, parser.stray) == ([], [])


@pytest.mark.parametrize(
    "stored",
    [
        run(timed(outcome=NO_MEMORY.model_copy(update={"reason": HOSTILE}))),
        run(timed(outcome=NO_MEMORY, exit_=Exit(code=1, log_tail=HOSTILE, launched_unix=0.0, wall_seconds=1.0))),
        run(skips=(skip(reason=HOSTILE),)),
        run(timed(framework=HOSTILE, version=HOSTILE)),
        run(timed(), checks=[checked(figures={HOSTILE: 1.0})]),
        run(timed(), spec={"name": HOSTILE}, host=fake.host(cpu_model=HOSTILE, governor=HOSTILE), argv=(HOSTILE,)),
    ],
    ids=["reason", "log", "skip", "hello", "figure", "facts"],
)
def test_what_strangers_wrote_is_only_text(page, stored):
    text = page(stored)
    assert not re.search("<script>alert|\x1b|\u202e", text)


def test_every_status_is_on_the_page(page):
    text = page(run(timed(), timed(fake.trial(model=fake.IDSIA, input_size=48), 2, NO_MEMORY), skips=(skip(),)))
    assert [word in text for word in (">ok<", ">out_of_memory<", ">skipped<", NO_MEMORY.reason, "no row for it")] == [
        True
    ] * 5


def test_a_run_of_nothing_has_a_page(tmp_path):
    assert "No trial has data for a figure." in html.render(run(), tmp_path).read_text()


def test_a_page_without_altair_says_how_to_get_figures(page):
    assert "pip install -e &#39;.[report]&#39;" in page(run(timed()))


def test_a_report_without_altair_has_no_figures(tmp_path, no_altair):
    html.render(run(timed()), tmp_path)
    assert list(tmp_path.glob("*.svg")) == []


def test_figures_are_svg(drawn):
    tags = {ET.parse(path).getroot().tag for path in drawn.glob("*.svg")}
    assert tags == {"{http://www.w3.org/2000/svg}svg"}


def test_a_report_names_no_folder_of_this_machine(tmp_path, no_altair, monkeypatch):
    monkeypatch.setenv("HOME", "/users/ada")
    home = Home(Path("/big/waymark"))
    record = {"environment": fake.environment(location="/big/waymark/virtualenvs/1/bin/python")}
    stored = run(timed(record=record), argv=("sweep", "--spec=/users/ada/spec.json"))
    text = html.render(stored, tmp_path, home).read_text()
    assert "$WAYMARK_HOME/virtualenvs/1/bin/python" in text
    assert "--spec=~/spec.json" in text


def test_rendering_again_replaces_the_page(page):
    page(run(timed(), run_id="an-old-run"))
    assert "an-old-run" not in page(run(timed()))


def compared(*outcomes):
    pairs = [
        timed(fake.trial(variant=variant, repeat=repeat), ordinal, outcome, step_seconds=seconds)
        for ordinal, (repeat, outcome) in enumerate(enumerate(outcomes))
        for variant, seconds in (("2.13", 0.1), ("1.3", 0.2))
    ]
    return StoredRun(fake.run_facts(compared=("pytorch:2.13", "pytorch:1.3")), tuple(pairs), ())


def test_a_run_that_was_made_to_compare_shows_its_verdicts(tmp_path, no_altair):
    floors = NoiseFloors({("pytorch", "cpu"): Noise((Scatter(0.0009, 9.0),), ("control",))})
    text = html.render(compared(*[fake.OK] * 6), tmp_path, floors=floors).read_text()
    assert "2.00x slower [2.00, 2.00]" in text
    assert "Scatter of the pairs of a build on this machine: pytorch cpu 3.0 % (1 comparison on record)." in text


def test_a_comparison_without_earlier_ones_says_so(page):
    assert "pytorch cpu not known yet" in page(compared(*[fake.OK] * 6))


def test_a_comparison_that_failed_says_why(page):
    assert "ended out_of_memory" in page(compared(fake.OK, NO_MEMORY))


def test_a_run_that_compares_nothing_has_no_such_section(page):
    assert 'id="comparison"' not in page(run(timed()))


def test_charts_that_leave_out_cells_say_so(tmp_path, monkeypatch):
    monkeypatch.setattr(figures, "MOST_CELLS", 1)
    stored = run(timed(), timed(fake.trial(model=fake.IDSIA, input_size=48), 2))
    text = html.render(stored, tmp_path).read_text()
    assert "Charts of trials show the first 1 of 2 cells; results.csv has all." in text


LIMITED = """
import resource, sys
from pathlib import Path
from orchestrator.home import REPOSITORY, Home
from orchestrator.records.store import Store
from orchestrator.report import write_report
from tests import fake_run as fake
resource.setrlimit(resource.RLIMIT_AS, (3 * 2**30, 3 * 2**30))
home = Home(Path(sys.argv[1]))
with Store.open(home.store_url) as store:
    fake.add_all(store, fake.run_facts(), fake.some_jobs())
    print(write_report(store, fake.run_facts().run_id, home, home.root).page)
"""


def test_where_addresses_are_limited_a_page_has_no_charts(tmp_path):
    ended = subprocess.run(
        [sys.executable, "-c", LIMITED, tmp_path], cwd=REPOSITORY, capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    page = Path(ended.stdout.strip()).read_text(encoding="utf-8")
    assert "The library that draws charts ended by itself (" in page
    assert "`ulimit -v` allows 3 GiB of addresses" in page
    assert list(tmp_path.rglob("*.svg")) == []
