"""A run that travels: published, taken in elsewhere, and what is refused on the way."""

import hashlib
import json
import shutil
import stat
import sys
import zipfile

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PrivateFormat, PublicFormat
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from rocrate.rocrate import ROCrate

from orchestrator.commands import publication
from orchestrator.commands.publication import ingest_publication, publish_run, rendered, unpacked
from orchestrator.console.progress import Console
from orchestrator.errors import DataError, LockedError, SpecError, StoreError
from orchestrator.execution.locks import exclusive_run
from orchestrator.home import REPOSITORY, Home
from orchestrator.networks import Model
from orchestrator.records.run_folder import JobFolder, RunFolder
from orchestrator.records.store import Store
from orchestrator.report.crate import SUMS, sums_text
from orchestrator.report.signature import SIGNATURE
from tests import fake_run as fake

EXAMPLE = REPOSITORY / "reports" / "example"
RUN, OLD = fake.run_facts().run_id, "20261120-120000-check"


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """Tables are what must be the same; figures take their time."""
    monkeypatch.setitem(sys.modules, "altair", None)


def a_home(root, **facts):
    """A home with a run of two trials whose selfcheck was made in an earlier run, beside a check that nobody needs."""
    home = Home(root)
    checks = [
        (fake.check_record(run_id=OLD, ordinal=at, framework=name), fake.ENDED, fake.OK, fake.checking())
        for at, name in ((1, "pytorch"), (2, "mxnet"))
    ]
    fake.write_run(home.runs, fake.run_facts(OLD, kind="check", started_unix=1.0), checks)
    fake.write_run(home.runs, fake.run_facts(**facts), fake.some_jobs()[:2])
    with Store.open(home.store_url) as store:
        store.rebuild(home.runs, lambda line: None)
    return home


@pytest.fixture
def home(tmp_path):
    return a_home(tmp_path / "home")


@pytest.fixture
def published(home, tmp_path):
    """The run as a folder."""
    publish_run(RUN, tmp_path / "crate", home, Console())
    return tmp_path / "crate"


def taken_in(path, tmp_path):
    """(exit code, home) of another user who ingests it."""
    home = Home(tmp_path / "elsewhere")
    return ingest_publication(path, home, Console()), home


@pytest.mark.parametrize("name", ["crate", "crate.zip"])
def test_a_run_is_the_same_tables_elsewhere(home, tmp_path, name):
    publish_run(RUN, tmp_path / name, home, Console())
    shutil.rmtree(home.root)
    code, elsewhere = taken_in(tmp_path / name, tmp_path)
    kept, rendered = (elsewhere.published / RUN / name for name in ("report", "rendered"))
    names = sorted(path.name for path in kept.glob("*.csv"))
    assert (code, {"parity.csv", "results.csv"} <= set(names)) == (0, True)
    assert [(rendered / one).read_bytes() for one in names] == [(kept / one).read_bytes() for one in names]


def test_the_report_needs_no_run_that_is_not_in_it(published):
    jobs = {path.parent.name: path.name for path in published.glob("runs/*/*/record.json") for path in [path.parent]}
    assert set(jobs) == {RUN, OLD}
    assert [record.check.framework for _, record in RunFolder(published / "runs" / OLD).jobs()[0].values()] == [
        "pytorch"
    ]


def test_the_same_run_gives_the_same_archive(home, tmp_path):
    for name in ("one.zip", "two.zip"):
        publish_run(RUN, tmp_path / name, home, Console())
    with zipfile.ZipFile(tmp_path / "one.zip") as one, zipfile.ZipFile(tmp_path / "two.zip") as two:
        assert one.read(SUMS) == two.read(SUMS)


def test_a_published_run_names_no_folder_of_this_machine(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/users/ada")
    home = a_home(
        tmp_path / "home",
        argv=("sweep", "--spec=/users/ada/spec.json", "--spec=/srv/ada/mine.json"),
        engine=f"host:{tmp_path}/home/x",
    )
    publish_run(RUN, tmp_path / "crate", home, Console())
    text = "".join(path.read_text() for path in (tmp_path / "crate").rglob("*.json"))
    assert ("/users/ada" in text, f"{tmp_path}/home" in text) == (False, False)
    assert RunFolder(tmp_path / "crate" / "runs" / RUN).facts().argv[1:] == ("--spec=~/spec.json", "--spec=mine.json")


def test_bills_of_materials_are_valid_and_name_every_package(published):
    (path,) = (published / "bom").glob("*.json")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(path.read_text()) is None
    said = {one["name"] for one in json.loads(path.read_text())["components"]}
    assert said == {line.partition("==")[0] for line in fake.environment().freeze}


def test_the_metadata_is_read_back_by_rocrate(published):
    crate = ROCrate(published)
    files = {entity.id for entity in crate.data_entities if entity.type == "File"}
    assert crate.root_dataset["identifier"] == RUN
    assert {f"runs/{RUN}/run.json", "report/results.csv", "report/index.html"} <= files


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    """name -> (private, public): files with the keys of two people."""
    made = {}
    for name in ("ada", "eve"):
        private, folder = Ed25519PrivateKey.generate(), tmp_path_factory.mktemp(name)
        plain = serialization.NoEncryption()
        (folder / "key").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, plain))
        (folder / "pub").write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
        made[name] = (folder / "key", folder / "pub")
    return made


def ingested(path, tmp_path, key=None):
    return ingest_publication(path, Home(tmp_path / "elsewhere"), Console(), key)


@pytest.mark.parametrize("name", ["crate", "crate.zip"])
def test_a_signed_run_is_taken_from_who_signed_it(home, tmp_path, keys, name, capsys):
    publish_run(RUN, tmp_path / name, home, Console(), keys["ada"][0])
    assert ingested(tmp_path / name, tmp_path, keys["ada"][1]) == 0
    assert "it is signed with" in capsys.readouterr().err.replace("\n", " ")


def test_a_run_that_somebody_else_signed_is_refused(home, tmp_path, keys):
    publish_run(RUN, tmp_path / "crate", home, Console(), keys["eve"][0])
    with pytest.raises(StoreError, match="is not signed with"):
        ingested(tmp_path / "crate", tmp_path, keys["ada"][1])


def test_new_hashes_below_an_old_signature_are_refused(home, tmp_path, keys):
    publish_run(RUN, tmp_path / "crate", home, Console(), keys["ada"][0])
    (tmp_path / "crate" / "report" / "results.csv").write_text("step_ms\n1\n")
    (tmp_path / "crate" / SIGNATURE).rename(tmp_path / "kept")
    (tmp_path / "crate" / SUMS).write_text(sums_text(tmp_path / "crate"))
    (tmp_path / "kept").rename(tmp_path / "crate" / SIGNATURE)
    with pytest.raises(StoreError, match="is about something else than its SHA256SUMS"):
        ingested(tmp_path / "crate", tmp_path, keys["ada"][1])


@pytest.mark.parametrize("content", ["", "{}", "[1]", '{"payload": "e30=", "payloadType": "x", "signatures": []}'])
def test_a_signature_that_is_none_is_refused(home, tmp_path, keys, content):
    publish_run(RUN, tmp_path / "crate", home, Console(), keys["ada"][0])
    (tmp_path / "crate" / SIGNATURE).write_text(content)
    with pytest.raises(StoreError, match="is not signed with"):
        ingested(tmp_path / "crate", tmp_path, keys["ada"][1])


def test_a_run_that_is_not_signed_has_no_signer(published, tmp_path, keys):
    with pytest.raises(StoreError, match=r"is not signed: it has no SHA256SUMS\.intoto\.json"):
        ingested(published, tmp_path, keys["ada"][1])


ODD_KEYS = {
    "Ed448": ed448.Ed448PrivateKey.generate,
    "X25519": x25519.X25519PrivateKey.generate,
    "DSA": lambda: dsa.generate_private_key(1024),
    "secp256k1": lambda: ec.generate_private_key(ec.SECP256K1()),
    "RSA of 1024 bits": lambda: rsa.generate_private_key(65537, 1024),
}


@pytest.mark.parametrize("kind", ODD_KEYS)
def test_a_key_of_a_kind_that_signs_no_run_is_refused(home, keys, tmp_path, kind):
    private = ODD_KEYS[kind]()
    key, public = tmp_path / "odd", tmp_path / "odd.pub"
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, serialization.NoEncryption()))
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(SpecError, match="a kind of key that signs no run; those that do are Ed25519"):
        publish_run(RUN, tmp_path / "signed", home, Console(), key)
    publish_run(RUN, tmp_path / "signed", home, Console(), keys["ada"][0])
    with pytest.raises(SpecError, match="a kind of key that signs no run"):
        ingested(tmp_path / "signed", tmp_path, public)


@pytest.mark.parametrize("content", ["[" * 100_000, '{"payload":' * 100_000])
def test_a_signature_nested_without_end_is_refused(home, tmp_path, keys, content):
    publish_run(RUN, tmp_path / "crate", home, Console(), keys["ada"][0])
    (tmp_path / "crate" / SIGNATURE).write_text(content)
    with pytest.raises(StoreError, match="is not signed with"):
        ingested(tmp_path / "crate", tmp_path, keys["ada"][1])


@pytest.mark.parametrize("line", ["", "==1.0", "a b==", "\u202e==1", "x" * 5000])
def test_a_package_without_a_usual_name_is_published(tmp_path, line):
    record = fake.trial_record()
    record = record.model_copy(update={"environment": record.environment.model_copy(update={"freeze": (line,)})})
    home = Home(tmp_path / "home")
    fake.write_run(home.runs, fake.run_facts(), [(record, fake.ENDED, fake.OK, fake.training())])
    with Store.open(home.store_url) as store:
        store.rebuild(home.runs, lambda line: None)
    publish_run(RUN, tmp_path / "crate", home, Console())
    (path,) = (tmp_path / "crate" / "bom").glob("*.json")
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(path.read_text()) is None


def test_an_installed_python_is_published_without_its_folder(tmp_path):
    record = fake.trial_record()
    here = {
        "engine": "host",
        "location": "/srv/ada/bin/python",
        "env": {"LD_LIBRARY_PATH": "/srv/ada/lib:/srv/eve/lib", "OMP": "2"},
    }
    record = record.model_copy(update={"environment": record.environment.model_copy(update=here)})
    home = Home(tmp_path / "home")
    facts = fake.run_facts(engine="host:/srv/ada/bin/python", argv=("sweep", "--engine=host:/srv/ada/bin/python"))
    fake.write_run(home.runs, facts, [(record, fake.ENDED, fake.OK, fake.training())])
    with Store.open(home.store_url) as store:
        store.rebuild(home.runs, lambda line: None)
    publish_run(RUN, tmp_path / "crate", home, Console())
    text = "".join(path.read_text(errors="replace") for path in (tmp_path / "crate").rglob("*") if path.is_file())
    assert "/srv/" not in text
    assert RunFolder(tmp_path / "crate" / "runs" / RUN).facts().engine == "host:python"
    assert taken_in(tmp_path / "crate", tmp_path)[0] == 0


BOUNDS = {
    "a large record": ("_JSON_BYTES", 1000, "record.json is larger than"),
    "a large file": ("_FILE_BYTES", 2**20, "is larger than"),
    "many bytes": ("_ALL_BYTES", 2**20, "is larger than the 1 MiB"),
    "many lines": ("_MOST_LINES", 10, "holds more than the 10 events and samples"),
    "many jobs": ("_MOST_JOBS", 1, "at most 1 jobs are taken in"),
}


@pytest.mark.parametrize("what", BOUNDS)
def test_a_publication_that_would_take_too_much_is_refused(published, tmp_path, monkeypatch, what):
    name, limit, says = BOUNDS[what]
    if what in ("a large file", "many bytes"):
        (published / "report" / "large.csv").write_bytes(bytes(2**20 + 1))
        (published / SUMS).write_text(sums_text(published))
    monkeypatch.setattr(publication, name, limit)
    with pytest.raises(StoreError, match=says):
        taken_in(published, tmp_path)
    assert list((tmp_path / "elsewhere" / "published").iterdir()) == []


NAMES = [
    "report/" + "a/" * 2000 + "b",
    "report/" + "a" * 300,
    "report/a\nb",
    "report/\x1b[2J",
    "runs/x/y/z/record.json",
]


@pytest.mark.parametrize("name", NAMES, ids=["deep", "long", "two lines", "escape", "too deep"])
def test_a_name_that_no_publication_has_is_refused(published, tmp_path, name):
    names = [(one, (published / one).read_bytes()) for one in every_file(published) if one != SUMS]
    sums = (published / SUMS).read_text() + f"{hashlib.sha256(b'x').hexdigest()}  {name}\n"
    path = packed(tmp_path / "odd.zip", [*names, (name, b"x"), (SUMS, sums)])
    with pytest.raises(StoreError) as refused:
        taken_in(path, tmp_path)
    assert "is no file of a published run" in str(refused.value) or "has a line that is no hash" in str(refused.value)
    assert list((tmp_path / "elsewhere" / "published").iterdir()) == []


def test_an_archive_with_an_empty_name_is_refused(published, tmp_path):
    names = [(one, (published / one).read_bytes()) for one in every_file(published)]
    with pytest.raises((StoreError, DataError)):
        taken_in(packed(tmp_path / "odd.zip", [*names, ("", b"x")]), tmp_path)


@pytest.mark.parametrize(("which", "says"), [(1, "holds no private key in PEM"), (None, "cannot be read")])
def test_what_is_no_key_signs_nothing(home, tmp_path, keys, which, says):
    key = keys["ada"][which] if which else tmp_path / "nowhere"
    with pytest.raises(SpecError, match=says):
        publish_run(RUN, tmp_path / "crate", home, Console(), key)
    assert not (tmp_path / "crate").exists()


def test_a_private_key_verifies_nothing(home, tmp_path, keys):
    publish_run(RUN, tmp_path / "crate", home, Console(), keys["ada"][0])
    with pytest.raises(SpecError, match="holds no public key in PEM"):
        ingested(tmp_path / "crate", tmp_path, keys["ada"][0])


def test_the_example_that_is_shipped_is_whole(tmp_path):
    run_id = unpacked(EXAMPLE, Home(tmp_path / "example"))
    frameworks = {one.name.split("-")[1] for one in (EXAMPLE / "runs" / run_id).glob("*-r0")}
    assert frameworks == {"cntk", "mxnet", "neon", "pytorch", "tensorflow"}
    assert not [path for path in EXAMPLE.rglob("*") if path.suffix in (".npy", ".npz", ".ppm", ".jpg")]


def every_file(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_changed_byte_in_any_file_is_refused_with_its_name(published, tmp_path):
    for name in every_file(published):
        path = published / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]) if content else b"x")
        with pytest.raises(StoreError) as refused:
            taken_in(published, tmp_path)
        assert name == SUMS or f"{name} is " in str(refused.value)
        path.write_bytes(content)
    assert taken_in(published, tmp_path)[0] == 0


def test_nothing_is_kept_of_what_was_refused(published, tmp_path):
    (published / "report" / "results.csv").write_text("other")
    with pytest.raises(StoreError, match="it was changed"):
        taken_in(published, tmp_path)
    assert list((tmp_path / "elsewhere" / "published").iterdir()) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda folder: (folder / "more.txt").write_text("x"), "more.txt is not listed in SHA256SUMS"),
        (lambda folder: (folder / "report" / "results.csv").unlink(), "results.csv is listed in SHA256SUMS and is not"),
        (lambda folder: (folder / SUMS).unlink(), "it has no SHA256SUMS"),
        (lambda folder: (folder / "RUN").unlink(), "it has no RUN"),
        (lambda folder: (folder / "link").symlink_to("/etc/passwd"), "link cannot be read (it is a link)"),
        (lambda folder: (folder / SUMS).write_text("no hash\n"), "no hash and name"),
    ],
    ids=["more", "less", "no sums", "no run", "link", "sums"],
)
def test_a_folder_that_is_not_whole_is_refused(published, tmp_path, change, says):
    change(published)
    with pytest.raises(StoreError) as refused:
        taken_in(published, tmp_path)
    assert says in str(refused.value)


def test_a_run_that_is_named_and_not_there_is_refused(published, tmp_path):
    (published / "RUN").write_text("../../etc\n")
    (published / SUMS).write_text(sums_text(published))
    with pytest.raises(StoreError, match="RUN names no run that is in it"):
        taken_in(published, tmp_path)


def test_tables_that_differ_are_named(published, tmp_path, capsys):
    (published / "report" / "results.csv").write_text("step_ms\n1\n")
    (published / SUMS).write_text(sums_text(published))
    assert taken_in(published, tmp_path)[0] == 1
    assert "1 of 4 tables differ" in capsys.readouterr().err.replace("\n", " ")


def packed(path, names, **member):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in names:
            one = zipfile.ZipInfo(name)
            one.compress_type = zipfile.ZIP_DEFLATED
            for key, value in member.items():
                setattr(one, key, value)
            archive.writestr(one, content)
    return path


@pytest.mark.parametrize(
    ("names", "says"),
    [
        ([("../outside", b"x")], "leads out of the archive"),
        ([("/etc/outside", b"x")], "leads out of the archive"),
        ([("SHA256SUMS", b"x"), ("bomb", bytes(2**24))], "times its size are read"),
    ],
    ids=["traversal", "absolute", "bomb"],
)
def test_a_hostile_archive_is_refused(tmp_path, names, says):
    with pytest.raises(DataError, match=says):
        taken_in(packed(tmp_path / "hostile.zip", names), tmp_path)
    assert not (tmp_path / "outside").exists()


def test_a_link_in_an_archive_is_only_a_file(published, tmp_path):
    (published / "report" / "link").write_text("/etc/passwd")
    (published / SUMS).write_text(sums_text(published))
    names = [(name, (published / name).read_bytes()) for name in every_file(published)]
    path = packed(tmp_path / "link.zip", names, external_attr=(stat.S_IFLNK | 0o777) << 16)
    _, home = taken_in(path, tmp_path)
    assert not (home.published / RUN / "report" / "link").is_symlink()


def test_a_name_that_is_taken_is_not_written_to(home, tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(SpecError, match=r"which exists; name a new folder or \.zip file"):
        publish_run(RUN, tmp_path / "mine", home, Console())


def test_what_nobody_could_take_in_is_not_published(home, tmp_path, monkeypatch):
    monkeypatch.setattr(publication, "_MOST_LINES", 10)
    with pytest.raises(StoreError, match="holds more than the 10 events and samples"):
        publish_run(RUN, tmp_path / "crate", home, Console())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_a_run_that_is_going_on_is_not_published(home, tmp_path):
    with exclusive_run(home), pytest.raises(LockedError, match="another run is going on"):
        publish_run(RUN, tmp_path / "crate", home, Console())


def test_a_run_that_was_killed_is_published_as_a_part(home, tmp_path, capsys):
    publish_run(RUN, tmp_path / "crate", home, Console())
    assert f"note: {RUN} has not ended" in capsys.readouterr().err.replace("\n", " ")


def test_a_run_that_has_ended_is_published_beside_another(tmp_path, capsys):
    home = a_home(tmp_path / "home", host=fake.host(load_after=fake.load()))
    with exclusive_run(home):
        publish_run(RUN, tmp_path / "crate", home, Console())
    assert "has not ended" not in capsys.readouterr().err


def test_a_damaged_record_is_not_published(home, tmp_path):
    (JobFolder(next((home.runs / RUN).glob("0001-*"))).path / "record.json").write_text("{")
    with pytest.raises(StoreError, match="whose record is not whole is not published"):
        publish_run(RUN, tmp_path / "crate", home, Console())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["home"]


def test_what_is_not_there_is_not_ingested(tmp_path):
    with pytest.raises(StoreError, match=r"is not there; it takes a folder or a \.zip file"):
        taken_in(tmp_path / "nowhere.zip", tmp_path)


def test_without_its_extra_publishing_says_how_to_get_it(home, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "rocrate.rocrate", None)
    with pytest.raises(StoreError, match=r"pip install -e '.\[publish\]' in the clone"):
        publish_run(RUN, tmp_path / "crate", home, Console())
    assert not (tmp_path / "crate").exists()


def test_a_folder_that_is_not_there_is_named(home, tmp_path):
    with pytest.raises(SpecError, match=r"--to is .*, and .*nowhere is no folder"):
        publish_run(RUN, tmp_path / "nowhere" / "crate.zip", home, Console())


def test_a_publication_replaces_no_report_of_this_home(home, published, tmp_path):
    reports = tmp_path / "reports"
    (reports / RUN).mkdir(parents=True)
    (reports / RUN / "index.html").write_text("mine")
    ingest_publication(published, home, Console())
    assert (reports / RUN / "index.html").read_text() == "mine"
    assert (home.published / RUN / "rendered" / "index.html").is_file()


def packed_again(published, to, rename):
    """The published run packed by another program."""
    with zipfile.ZipFile(to, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(path for path in published.rglob("*") if path.is_file()):
            member = zipfile.ZipInfo(name := rename(path.relative_to(published).as_posix()))
            member.filename = name  # ZipInfo itself would turn backslashes
            archive.writestr(member, path.read_bytes())
    return to


@pytest.mark.parametrize(
    "rename",
    [lambda name: f"run/{name}", lambda name: name.replace("/", "\\"), lambda name: f"a/b/{name}"],
    ids=["a folder around all", "backslashes", "two folders"],
)
def test_a_run_that_was_packed_again_is_taken_in(published, tmp_path, rename):
    assert taken_in(packed_again(published, tmp_path / "again.zip", rename), tmp_path)[0] == 0


def test_what_file_managers_leave_in_an_archive_is_passed_over(published, tmp_path):
    path = packed_again(published, tmp_path / "again.zip", lambda name: f"run/{name}")
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("__MACOSX/run/._RUN", "run/.DS_Store", ".DS_Store"):
            archive.writestr(name, b"\0\5\x16\7")
    assert taken_in(path, tmp_path)[0] == 0


def test_a_file_beside_the_folder_of_the_hashes_is_refused(published, tmp_path):
    path = packed_again(published, tmp_path / "again.zip", lambda name: f"run/{name}")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("setup.sh", b"")
    with pytest.raises(StoreError, match=r"SHA256SUMS lies in run/, and setup\.sh beside that"):
        taken_in(path, tmp_path)


def test_an_archive_in_an_archive_is_named(published, tmp_path):
    inner = packed_again(published, tmp_path / "run.zip", str)
    with zipfile.ZipFile(tmp_path / "artifact.zip", "w") as archive:
        archive.write(inner, "run.zip")
    with pytest.raises(StoreError, match=r"holds run.zip: an archive in an archive. Unpack it"):
        taken_in(tmp_path / "artifact.zip", tmp_path)


def test_line_ends_that_were_converted_are_named_as_such(published, tmp_path):
    sums = published / SUMS
    sums.write_bytes(sums.read_bytes().replace(b"\n", b"\r\n"))
    with pytest.raises(StoreError, match="were converted to those of Windows on their way"):
        taken_in(published, tmp_path)


def test_an_own_network_gives_the_same_tables_elsewhere(tmp_path):
    """Its name is recorded; the label that the tables show would else be that of the file."""
    home = Home(tmp_path / "home")
    mine = fake.trial(model=Model(name="mynet"))
    fake.write_run(
        home.runs,
        fake.run_facts(labels={"mynet": "MyNet"}),
        [(fake.trial_record(mine), fake.ENDED, fake.OK, fake.training())],
    )
    with Store.open(home.store_url) as store:
        store.rebuild(home.runs, lambda line: None)
    publish_run(RUN, tmp_path / "crate", home, Console())
    assert "MyNet@32" in (tmp_path / "crate" / "report" / "results.csv").read_text()
    assert taken_in(tmp_path / "crate", tmp_path)[0] == 0


def test_differing_tables_name_the_version_that_made_them(published, tmp_path, capsys):
    path = published / "report" / "results.csv"
    path.write_text(path.read_text().replace("pytorch", "pyt0rch"))
    (published / SUMS).write_text(sums_text(published))
    assert taken_in(published, tmp_path)[0] == 1
    assert "published by waymark 0.1.0" in " ".join(capsys.readouterr().err.split())


def with_file(published, name, content="theirs"):
    """The published run with one file more, which its hashes list."""
    (published / name).parent.mkdir(parents=True, exist_ok=True)
    (published / name).write_text(content)
    (published / SUMS).write_text(sums_text(published))
    return published


@pytest.mark.parametrize(
    "name",
    [
        "rendered/index.html",
        "Rendered/index.html",
        "setup.sh",
        "bom/run.sh",
        f"runs/{RUN}/page.html",
        f"runs/{RUN}/0001-x/weights.npz",
        "runs/page.html",
        "store.sqlite",
    ],
)
def test_a_file_that_no_published_run_has_is_refused(published, tmp_path, name):
    with pytest.raises(StoreError, match=f"{name} is no file of a published run"):
        taken_in(with_file(published, name), tmp_path)
    assert list((tmp_path / "elsewhere" / "published").iterdir()) == []


def test_a_report_is_not_moved_into_a_folder_that_is_there(published, tmp_path):
    crate = Home(tmp_path / "draft")
    run_id = unpacked(published, crate)
    (crate.root / "rendered").mkdir()
    with pytest.raises(FileExistsError):
        rendered(crate, run_id, crate.root / "rendered", Console())


def test_tables_that_were_not_published_are_not_compared(published, tmp_path, capsys):
    for path in (published / "report").glob("*.csv"):
        path.unlink()
    (published / SUMS).write_text(sums_text(published))
    assert taken_in(published, tmp_path)[0] == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "every hash agrees" in said
    assert "4 tables that were made here are not in it, so nothing was compared with them" in said
    assert "byte for byte" not in said


def test_the_same_publication_is_taken_in_twice(published, tmp_path):
    assert [taken_in(published, tmp_path)[0] for _ in range(2)] == [0, 0]


def test_another_publication_does_not_replace_the_one_kept(home, published, tmp_path, keys):
    publish_run(RUN, tmp_path / "signed", home, Console(), keys["ada"][0])
    ingested(tmp_path / "signed", tmp_path, keys["ada"][1])
    kept = tmp_path / "elsewhere" / "published" / RUN
    with pytest.raises(StoreError, match="without the signature of the one that is kept"):
        ingested(published, tmp_path)
    with_file(published, "report/results.csv", "step_ms\n1\n")
    with pytest.raises(StoreError, match=f"run {RUN} is kept already, with other hashes"):
        ingested(published, tmp_path)
    assert (kept / SIGNATURE).read_bytes() == (tmp_path / "signed" / SIGNATURE).read_bytes()
    assert (kept / SUMS).read_bytes() == (tmp_path / "signed" / SUMS).read_bytes()
