"""Random and half-right input: whatever a file or an address holds, the answer is a value or one sentence."""

import hashlib
import io
import json
import os
import shutil
import sqlite3
import sys
import tarfile
import zipfile

import cv2
import numpy as np
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from orchestrator.commands.publication import ingest_publication, publish_run
from orchestrator.console import flags
from orchestrator.console.progress import Console
from orchestrator.data import datasets, video
from orchestrator.data.archive import ZipFiles
from orchestrator.data.gtsrb import pictures_to_test, pictures_to_train
from orchestrator.data.gtsrb_archives import ZIPS
from orchestrator.data.source import Reading
from orchestrator.errors import WaymarkError
from orchestrator.home import REPOSITORY, Home
from orchestrator.planning.catalogue import Catalogue, index_mirrors, local_clones
from orchestrator.planning.spec import load_spec, recorded_spec
from orchestrator.records.database import Database
from orchestrator.records.event import parse
from orchestrator.records.run_folder import JobFolder, RunFolder
from orchestrator.records.sample import read_samples
from orchestrator.records.store import Store
from orchestrator.records.timeline import read_timeline
from orchestrator.report.crate import SUMS
from orchestrator.report.signature import SIGNATURE, signed, verify
from tests import fake_run as fake
from tests.unit.data.own_pictures import encoded, picture

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


PICTURES = {f"{label}/{number}.png": encoded(picture(number)) for label in "ab" for number in range(3)}
LABELS = "path,class,x1,y1,x2,y2\n" + "".join(f"{name},{name[0]},1,1,8,9\n" for name in PICTURES)


@st.composite
def pictures_archive(draw):
    """(ending, content) of an archive of pictures with one file, its name or some bytes of all changed."""
    files = {**PICTURES, "train.csv": LABELS.encode()} if draw(st.booleans()) else dict(PICTURES)
    name = draw(st.sampled_from(sorted(files)))
    content = files.pop(name)
    files[draw(st.sampled_from([name, "../x.png", "/x.png", "a/\u202e.png", "c/" + "x" * 90 + ".png"]))] = draw(
        torn(content.decode("latin-1")) if name.endswith("csv") else st.just(content) | st.binary(max_size=30)
    )
    file, end = io.BytesIO(), draw(st.sampled_from([".zip", ".tar", ".tar.gz"]))
    if end == ".zip":
        with zipfile.ZipFile(file, "w", draw(st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]))) as made:
            for one, inside in files.items():
                made.writestr(one, inside)
    else:
        with tarfile.open(fileobj=file, mode="w:gz" if end == ".tar.gz" else "w") as made:
            for one, inside in files.items():
                info = tarfile.TarInfo(one)
                info.size = len(inside)
                made.addfile(info, io.BytesIO(inside))
    packed = bytearray(file.getvalue())
    for _ in range(draw(st.integers(0, 4))):
        packed[draw(st.integers(0, len(packed) - 1))] = draw(st.integers(0, 255))
    return end, bytes(packed)


@fuzz
@given(made=pictures_archive(), skips=st.booleans())
def test_any_archive_of_ones_own_pictures(tmp_path, home, made, skips):
    path = tmp_path / f"set{made[0]}"
    path.write_bytes(made[1])
    answered(lambda: datasets.register("mine", path, home, Reading(skips_broken=skips)))


@fuzz
@given(content=torn(LABELS) | st.binary(max_size=200), skips=st.booleans())
def test_any_bytes_as_a_table_of_ones_own(tmp_path, home, content, skips):
    folder = tmp_path / "set"
    for name, inside in PICTURES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(inside)
    (folder / "labels.csv").write_bytes(content)
    answered(lambda: datasets.register("mine", folder / "labels.csv", home, Reading(skips_broken=skips)))


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


few = settings(fuzz, max_examples=max(10, COUNT // 2))


@pytest.fixture(scope="module")
def crate(tmp_path_factory):
    """The files of a published run, by name; and a private and a public key, whose owner signed it."""
    folder = tmp_path_factory.mktemp("crate")
    home = Home(folder / "home")
    fake.write_run(home.runs, fake.run_facts(), fake.some_jobs())
    with Store.open(home.store_url) as store:
        store.rebuild(home.runs, lambda line: None)
    private, plain = Ed25519PrivateKey.generate(), serialization.NoEncryption()
    (folder / "key").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, plain))
    (folder / "pub").write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "altair", None)  # figures take their time
        publish_run(fake.run_facts().run_id, folder / "crate", home, Console(), folder / "key")
        found = (path for path in sorted((folder / "crate").rglob("*")) if path.is_file())
        yield {path.relative_to(folder / "crate").as_posix(): path.read_bytes() for path in found}, folder


@st.composite
def files_of(draw, known):
    """Files of a published run, one of them changed in its content or its name; their hashes agree."""
    found = dict(known)
    name = draw(
        st.sampled_from([name for name in found if name.endswith((".json", ".jsonl", "RUN")) or draw(one_in_4)])
    )
    content = found.pop(name)
    how = draw(st.sampled_from(["value", "bytes", "name", "gone"]))
    if how == "value" and name.endswith(".json"):
        found[name] = json.dumps(draw(changed(json.loads(content)))).encode()
    elif how == "name":
        found[draw(st.text(min_size=1, max_size=30) | st.sampled_from(["../x", "/y", "runs", "a/" * 900 + "b"]))] = (
            content
        )
    elif how != "gone":
        found[name] = draw(torn(content.decode("utf-8", "replace")))
    lines = (f"{hashlib.sha256(one).hexdigest()}  {name}\n" for name, one in found.items() if name != SUMS)
    return {**found, SUMS: "".join(lines).encode("utf-8", "surrogatepass")}


one_in_4 = st.integers(0, 3).map(lambda one: one == 0)


@pytest.mark.filterwarnings("ignore:Duplicate name")
@few
@given(data=st.data())
def test_any_file_of_a_published_run(crate, tmp_path, data):
    known, _ = crate
    found = data.draw(files_of(known))
    with zipfile.ZipFile(tmp_path / "crate.zip", "w", zipfile.ZIP_DEFLATED) as packed:
        for name, content in found.items():
            packed.writestr(name.encode("utf-8", "replace").decode(), content)
    answered(lambda: ingest_publication(tmp_path / "crate.zip", Home(tmp_path / "elsewhere"), Console()))
    shutil.rmtree(tmp_path / "elsewhere")


@fuzz
@given(data=st.data())
@example(data=None)
def test_any_signature_and_any_key(crate, tmp_path, data):
    known, folder = crate
    envelope, sums = known[SIGNATURE], known[SUMS]
    if data is not None:
        envelope = data.draw(
            torn(envelope.decode()) | changed(json.loads(envelope)).map(lambda one: json.dumps(one).encode())
        )
        for name in ("key", "pub"):
            (tmp_path / name).write_bytes(data.draw(torn((folder / name).read_text())))
        answered(lambda: signed(sums, fake.run_facts(), tmp_path / "key"))
        answered(lambda: verify(known[SIGNATURE], sums, tmp_path / "pub", "here"))
    answered(lambda: verify(envelope, sums, folder / "pub", "here"))


@fuzz
@given(name=st.text(max_size=30) | st.integers(0, 10**30).map(str))
def test_any_name_of_a_video(name, tmp_path):
    path = name if name.isascii() and name.isdigit() and len(name) > 4 else f"{tmp_path}/{name}"  # no camera of ours
    answered(lambda: video.Source(path, 30.0).close())


PICTURE = cv2.imencode(".png", np.zeros((8, 8, 3), np.uint8))[1].tobytes()


@fuzz
@given(content=torn(PICTURE.decode("latin-1")) | st.binary(max_size=200), kind=st.sampled_from(video.SUFFIXES))
def test_any_bytes_as_a_frame(tmp_path, content, kind):
    path = tmp_path / f"frame{kind}"
    path.write_bytes(content)
    source = video.Source(str(tmp_path), 5.0)
    source.grab()
    answered(source.picture)
    path.unlink()


@pytest.fixture(scope="module")
def store_bytes(tmp_path_factory):
    """A store with a run, as the bytes of its one file."""
    path = tmp_path_factory.mktemp("store") / "store.sqlite"
    with Store.open(f"sqlite:///{path}") as store:
        fake.add_all(store, fake.run_facts(), fake.some_jobs())
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = DELETE")
    connection.close()
    return path.read_bytes()


@fuzz
@given(data=st.data())
def test_any_bytes_as_a_store(store_bytes, tmp_path, data):
    content = bytearray(store_bytes)
    for _ in range(data.draw(st.integers(1, 20))):
        at = data.draw(st.integers(0, len(content) - 1))
        piece = data.draw(st.binary(min_size=1, max_size=4))
        content[at : at + len(piece)] = piece
    if data.draw(one_in_4):
        del content[data.draw(st.integers(0, len(content))) :]
    path = tmp_path / "store.sqlite"
    path.write_bytes(content)

    def read():
        with Store.open(f"sqlite:///{path}", busy_seconds=0.1) as store:
            store.runs()
            store.trial_counts()
            store.ended_checks()
            for run in (fake.run_facts().run_id, *(facts.run_id for facts in store.runs())):
                store.run(run)
            store.add(*fake.some_jobs()[0])

    try:
        answered(read)
    finally:
        for one in tmp_path.glob("store.sqlite*"):
            one.unlink()
