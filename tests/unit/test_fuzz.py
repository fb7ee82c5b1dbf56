"""Random and half-right input: whatever a file or an address holds, the answer is a value or one sentence."""

import io
import json
import os
import zipfile

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator.console import flags
from orchestrator.data.archive import ZipFiles
from orchestrator.data.gtsrb import pictures_to_test, pictures_to_train
from orchestrator.data.source import ZIPS
from orchestrator.errors import WaymarkError
from orchestrator.home import REPOSITORY
from orchestrator.planning.catalogue import Catalogue, index_mirrors, local_clones
from orchestrator.planning.spec import load_spec, recorded_spec
from orchestrator.records.database import Database
from orchestrator.records.event import parse
from orchestrator.records.run_folder import JobFolder, RunFolder
from orchestrator.records.sample import read_samples
from orchestrator.records.timeline import read_timeline
from tests import fake_run as fake

COUNT = int(os.environ.get("WAYMARK_FUZZ") or 40)
"""Inputs for each test; `make fuzz` takes 2,000, which are over 20,000 in all."""

fuzz = settings(
    max_examples=COUNT,
    deadline=None,
    derandomize="WAYMARK_FUZZ" not in os.environ,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)

ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(["", "\0", "../..", "/etc/passwd", "a" * 5000, "1e999", "\u202e", "=1+1", "<script>"]),
)
VALUES = st.recursive(
    ODD, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
)
SPEC = json.loads((REPOSITORY / "experiments/build-flags.json").read_text(encoding="utf-8"))
RUN = json.loads(fake.run_facts().model_dump_json())
RECORD = json.loads(fake.trial_record().model_dump_json())
EVENTS = [json.loads(one.model_dump_json()) for one in fake.training()]
TABLE = (REPOSITORY / "docker/mxnet/images.toml").read_text(encoding="utf-8")


def places(value, path=()):
    """Paths to everything inside a JSON value."""
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, one in inner:
        yield from places(one, (*path, key))


@st.composite
def changed(draw, whole):
    """`whole` with one to three of its parts replaced, removed or joined by something odd."""
    value = json.loads(json.dumps(whole))
    for _ in range(draw(st.integers(1, 3))):
        path = draw(st.sampled_from(list(places(value))))
        if not path:
            return draw(VALUES) if draw(st.booleans()) else value
        holder = value
        for key in path[:-1]:
            holder = holder[key]
        kind = draw(st.sampled_from(["replace", "remove", "add"]))
        if kind == "replace":
            holder[path[-1]] = draw(VALUES)
        elif kind == "remove" and isinstance(holder, dict):
            del holder[path[-1]]
        elif isinstance(holder, dict):
            holder[draw(st.text(max_size=10))] = draw(VALUES)
    return value


@st.composite
def torn(draw, text):
    """`text` with a few bytes changed, cut or doubled."""
    content = bytearray(text.encode())
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, max(0, len(content) - 1)))
        content[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=4))
    return bytes(content[: draw(st.integers(len(content) // 2, len(content)))] if draw(st.booleans()) else content)


def answered(work):
    """Do `work`; what it raises must be one of our sentences, short and without another library's address."""
    try:
        work()
    except WaymarkError as error:
        said = str(error)
        assert said
        assert len(said) < 2000
        assert "pydantic.dev" not in said
        assert "Traceback" not in said


@pytest.fixture
def file(tmp_path):
    return tmp_path / "input"


@fuzz
@given(raw=changed(SPEC))
def test_any_object_as_a_spec(file, raw):
    file.write_text(json.dumps(raw), encoding="utf-8")
    answered(lambda: load_spec(file, ("mxnet", "neon", "tensorflow", "cntk", "pytorch")))
    answered(lambda: recorded_spec(raw, "run.json"))


@fuzz
@given(content=torn(json.dumps(SPEC)))
@example(content=b'{"a":' + b"1" * 5000 + b"}")
@example(content=b"[" * 100_000)
def test_any_text_as_a_spec(file, content):
    file.write_bytes(content)
    answered(lambda: load_spec(file, ("mxnet",)))


@fuzz
@given(content=torn(TABLE))
@example(content=TABLE.replace("why = ", "when = 2020-01-01\nwhy = ", 1).encode())
@example(content=TABLE.replace("disk_mb = ", "disk_mb = nan # ", 1).encode())
@example(content=TABLE.replace("env = {", 'env = { "A=B" = "1", ', 1).encode())
@example(content=TABLE.replace("env = {", 'env = { A = "\\u0000", ', 1).encode())
def test_any_text_as_a_catalogue(tmp_path, content):
    folder = tmp_path / "docker" / "mxnet"
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "requirements").symlink_to(REPOSITORY / "docker/mxnet/requirements")
        (folder / "Dockerfile").symlink_to(REPOSITORY / "docker/mxnet/Dockerfile")
    (folder / "images.toml").write_bytes(content)
    answered(lambda: Catalogue.load(folder.parent))


@fuzz
@given(raw=changed(RUN))
def test_any_object_as_a_run(tmp_path, raw):
    folder = tmp_path / RUN["run_id"]
    folder.mkdir(exist_ok=True)
    (folder / "run.json").write_text(json.dumps(raw), encoding="utf-8")
    answered(lambda: RunFolder(folder).facts())


@fuzz
@given(raw=changed(RECORD), content=torn(json.dumps(RECORD)))
def test_any_record_of_a_job(tmp_path, raw, content):
    job = tmp_path / RUN["run_id"] / "0001-job"
    job.mkdir(parents=True, exist_ok=True)
    for text in (json.dumps(raw).encode(), content):
        (job / "record.json").write_bytes(text)
        jobs, refused = RunFolder(job.parent).jobs()
        assert len(jobs) + len(refused) == 1
        assert all(len(sentence) < 2000 for sentence in refused)


@fuzz
@given(raw=changed(EVENTS), content=torn("".join(json.dumps(one) + "\n" for one in EVENTS)))
def test_any_events_of_a_job(tmp_path, raw, content):
    lines = raw if isinstance(raw, list) else [raw]
    for text in ("".join(json.dumps(one) + "\n" for one in lines).encode(), content):
        (tmp_path / "events.jsonl").write_bytes(text)
        read_timeline(JobFolder(tmp_path).events())


@fuzz
@given(line=st.text() | st.binary().map(lambda one: one.decode("latin-1")))
def test_any_line_as_an_event_or_a_sample(line):
    parse(line)
    read_samples(line)


NAMES = ["a.csv", "b/c.ppm", "../x", "/y", "GT-final_test.csv"]


@st.composite
def archive(draw):
    """A small zip, damaged."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as made:
        for name in draw(
            st.lists(st.sampled_from(["a.csv", "b/c.ppm", "../x", "/y", "GT-final_test.csv"]), max_size=3)
        ):
            made.writestr(name, draw(st.binary(max_size=60)))
    content = bytearray(file.getvalue())
    for _ in range(draw(st.integers(0, 5))):
        content[draw(st.integers(0, len(content) - 1))] = draw(st.integers(0, 255))
    return bytes(content)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@fuzz
@given(content=archive() | st.binary(max_size=100))
def test_any_bytes_as_an_archive(file, content):
    file.write_bytes(content)

    def read():
        found = ZipFiles(file)
        try:
            for name in found.names:
                found.read(name)
        finally:
            found.close()

    answered(read)


class Table:
    """An archive whose every file is the same text."""

    names = ("GTSRB/Final_Training/Images/00000/GT-00000.csv", "GT-final_test.csv", "00000/00000_00000.ppm")

    def __init__(self, content):
        self._content = content

    def read(self, name):
        return self._content

    def where(self, name):
        return f"archive: {name}"


CSV = "Filename;Width;Height;Roi.X1;Roi.Y1;Roi.X2;Roi.Y2;ClassId\n00000_00000.ppm;29;30;5;6;24;25;0\n"


@fuzz
@given(content=torn(CSV) | st.binary(max_size=200))
def test_any_bytes_as_a_table_of_pictures(content):
    answered(lambda: pictures_to_train(Table(content)))
    answered(lambda: pictures_to_test(Table(content), Table(content)))


@fuzz
@given(
    url=st.text(max_size=60)
    | torn("postgresql://user:word@127.0.0.1:9/name?sslmode=off").map(lambda one: one.decode("latin-1"))
)
def test_any_text_as_the_address_of_a_store(url, tmp_path):
    if not url.startswith("sqlite"):  # it would make a file of that name
        answered(lambda: Database(url, 1.0).close())


@fuzz
@given(text=st.text(max_size=30) | st.sampled_from(ZIPS))
def test_any_text_as_a_flag(text):
    for read in (flags.gpus, flags.sizes, flags.device, flags.resumed, lambda one: flags.number("--epochs", one)):
        answered(lambda read=read: read(text))
    for read_all in (flags.variants, flags.images, local_clones, index_mirrors):
        answered(lambda read_all=read_all: read_all([text]))
    answered(lambda: flags.compared(text, text))
