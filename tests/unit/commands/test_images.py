"""Building images: what is built, what is left alone, what is remembered, how a failure reads. A fake daemon builds."""

import functools
import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from orchestrator.commands import images as commands
from orchestrator.engines import images, process
from orchestrator.engines.images import ImageFacts
from orchestrator.engines.virtualenv import VirtualenvEngine
from orchestrator.errors import CatalogueError, EngineError
from orchestrator.host import read_host
from orchestrator.planning.catalogue import Catalogue, chosen
from orchestrator.planning.image_row import recipe_sha256

ROW = 'stage = "cpu"\npython = "3.11"\nrequirements = "pins.txt"\ndisk_mb = 1\n'
OWN = "sha256:" + "ab" * 32
INDEX = "http://127.0.0.1:9/whl/cpu"
LACKING = "ERROR: No matching distribution found for torch==2.13.0+cpu"


class FakeDaemon:
    """Keeps images by name; `output` is what a build prints, `why` what it fails with."""

    folder = None

    def __init__(self):
        self.images = {}
        self.recipes = []
        self.output, self.why, self.pruned = ["Step 1/2 : FROM scratch", " ---> 0123"], "", 0

    def image(self, reference):
        return self.images.get(reference)

    def pull(self, reference):
        self.pulled = [*getattr(self, "pulled", []), reference]
        if reference == "far/away:1":
            self.images[reference] = ImageFacts(OWN, 10**7, "2026-11-22T01:02:03Z", {}, ())
            self.images[OWN] = self.images[reference]

    def why_absent(self, reference):
        return "" if reference in self.images else "no connection"

    def share(self, label, reference, ids):
        known = [facts for facts in self.images.values() if facts.id in ids]
        found = [facts for facts in known if label in (f"{k}={v}" for k, v in facts.labels.items())]
        if found:
            self.images[reference] = found[0]
        return bool(found)

    def build(self, recipe, log, limit_seconds, on_line):
        self.recipes.append(recipe)
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("\n".join(self.output))
        for line in self.output:
            on_line(line)
        if not self.why:
            name = f"sha256:{len(self.recipes):064d}"
            self.images[recipe.reference] = ImageFacts(name, 10**7, "2026-11-22T01:02:03Z", recipe.labels, ())
        return self.why

    def prune_stages(self):
        self.pruned += 1

    def close(self):
        pass


@pytest.fixture
def rows(tmp_path):
    for framework in ("alpha", "beta"):
        folder = tmp_path / "docker" / framework
        (folder / "requirements").mkdir(parents=True)
        (folder / "requirements" / "pins.txt").write_text("numpy==2.4.6\n")
        (folder / "Dockerfile").write_text(f"# {framework}\nFROM scratch AS cpu\n")
        (folder / "images.toml").write_text(f'default = "1"\n["1".cpu]\n{ROW}')
    return Catalogue.load(tmp_path / "docker").rows()


@functools.cache
def listing_of_pip(argv):
    """What `pip config list` prints here; it takes a third of a second, so it is asked once."""
    return process.output(argv)


@pytest.fixture
def daemon(monkeypatch):
    fake = FakeDaemon()
    monkeypatch.setattr(images, "process", SimpleNamespace(output=listing_of_pip, tail=process.tail))
    monkeypatch.setattr(commands, "open_builder", lambda: fake)
    return fake


def test_what_is_missing_is_built(rows, home, daemon):
    commands.build_images(rows, home, print)
    assert sorted(daemon.images) == ["waymark/alpha:1-cpu", "waymark/beta:1-cpu"]


def test_what_a_failed_build_leaves_is_removed(rows, home, daemon):
    """Its layers hold the build's arguments, and with them the credentials of a package index."""
    daemon.why = "the build failed"
    with pytest.raises(EngineError, match="the build failed"):
        images.ensure(daemon, rows[0], home, print)
    assert daemon.pruned == 1


def refuse_to_prune():
    raise EngineError("Docker was asked to prune and refused: a prune operation is already running.")


def test_a_refused_prune_changes_nothing_about_a_build(rows, home, daemon):
    daemon.prune_stages, said = refuse_to_prune, []
    commands.build_images(rows[:1], home, said.append)
    assert list(daemon.images) == ["waymark/alpha:1-cpu"]
    assert any(line.startswith("note: what first stages of builds left could not be removed") for line in said)


def test_a_refused_prune_does_not_hide_why_a_build_failed(rows, home, daemon):
    daemon.prune_stages, daemon.why = refuse_to_prune, "the build failed"
    with pytest.raises(EngineError, match="the build failed"):
        images.ensure(daemon, rows[0], home, print)


def on_base(row):
    (row.folder / "Dockerfile").write_text(
        "ARG PYTHON=3.6\nFROM python:${PYTHON}-slim AS install\nFROM install AS cpu\n"
    )
    return row


def test_a_build_whose_base_cannot_be_pulled_says_what_to_do(rows, home, daemon):
    daemon.why, daemon.output = "the build failed", ["pull access denied"]
    with pytest.raises(EngineError) as caught:
        images.ensure(daemon, on_base(rows[0]), home, print)
    assert str(caught.value).startswith(
        "alpha:1 cpu stands on python:3.11-slim, which is not here and could not be pulled (pull access denied). Bring "
    )
    assert all(word in str(caught.value) for word in ("docker load", "mirror", "--engine=virtualenv"))


def test_bases_that_nobody_has_are_known_before_a_build(rows, home, daemon):
    on_base(rows[0])
    assert images.absent_bases(daemon, rows, home) == {"python:3.11-slim": ("no connection", [rows[0]])}
    daemon.images["python:3.11-slim"] = ImageFacts(OWN, 1, "2026-11-22T01:02:03Z", {}, ())
    assert images.absent_bases(daemon, rows, home) == {}


def test_a_plan_that_is_only_shown_pulls_no_image(rows, daemon):
    with pytest.raises(EngineError, match=r"far/away:1 is not here, and --dry-run pulls nothing"):
        images.found(daemon, "far/away:1", print, pulls=False)
    assert not hasattr(daemon, "pulled")


def test_an_own_image_that_is_not_named_is_asked_for(rows):
    with pytest.raises(
        CatalogueError, match=r"'alpha:image' stands for an image of your own; name it with --image=alpha="
    ):
        Catalogue.load(rows[0].folder.parent).resolve("alpha", "cpu", "image")


def test_nothing_changed_means_nothing_built(rows, home, daemon):
    commands.build_images(rows, home, print)
    commands.build_images(rows, home, print)
    assert len(daemon.recipes) == 2


def test_a_changed_recipe_is_built_again(rows, home, daemon):
    commands.build_images(rows, home, print)
    (rows[0].folder / "Dockerfile").write_text("FROM scratch AS cpu\nUSER 1\n")
    commands.build_images(rows, home, print)
    assert [recipe.reference for recipe in daemon.recipes[2:]] == ["waymark/alpha:1-cpu"]


def test_variants_of_one_recipe_share_its_image(rows, home, daemon):
    commands.build_images((rows[0], replace(rows[0], variant="1-tuned", env={"OMP_NUM_THREADS": "2"})), home, print)
    assert len(daemon.recipes) == 1
    assert daemon.images["waymark/alpha:1-tuned-cpu"] == daemon.images["waymark/alpha:1-cpu"]


def test_the_recipe_is_told_python_and_pins(rows, home, daemon):
    commands.build_images(rows[:1], home, print)
    args = {key: value for key, value in daemon.recipes[0].args.items() if not key.startswith("PIP_")}
    assert args == {"PYTHON": "3.11", "REQUIREMENTS": "pins.txt"}


def test_the_lock_remembers_what_each_row_became(rows, home, daemon):
    commands.build_images(rows, home, print)
    lock = json.loads((rows[0].folder.parent / "lock.json").read_text())
    assert {row: entry["image"] for row, entry in lock.items()} == {
        row.label: daemon.images[images.reference(row)].id for row in rows
    }


def test_progress_is_the_builders_steps_without_its_noise(rows, home, daemon):
    said = []
    commands.build_images(rows[:1], home, said.append)
    assert "alpha:1 cpu: Step 1/2 : FROM scratch" in said
    assert not any("--->" in line for line in said)


def test_a_failed_build_names_row_and_log_and_quotes_the_end(rows, home, daemon):
    daemon.why, daemon.output = "the build failed", ["Step 1/2 : RUN false", "it returned a non-zero code: 1"]
    with pytest.raises(EngineError) as caught:
        commands.build_images(rows[:1], home, print)
    log = home.logs / "alpha-1-cpu.image.log"
    assert str(caught.value) == (
        f"alpha:1 cpu: the build failed. The whole log is {log}; it ends:\n"
        "  Step 1/2 : RUN false\n  it returned a non-zero code: 1"
    )


def test_the_publishers_index_is_given_to_the_build(rows, home, daemon):
    commands.build_images([replace(rows[0], index=INDEX)], home, print)
    assert daemon.recipes[0].args["PUBLISHER_INDEX"] == INDEX


def test_another_address_of_the_index_asks_for_no_build(rows, home, daemon):
    commands.build_images([replace(rows[0], index=INDEX)], home, print)
    commands.build_images([replace(rows[0], index="https://mirror.test/whl/cpu")], home, print)
    assert len(daemon.recipes) == 1


def test_a_build_that_lacks_a_wheel_names_the_index_and_the_fix(rows, home, daemon):
    daemon.why, daemon.output = (
        "the build failed",
        [LACKING, "The command '/bin/sh' returned a non-zero code: 1"],
    )
    with pytest.raises(EngineError) as caught:
        commands.build_images([replace(rows[0], index=INDEX)], home, print)
    assert str(caught.value).startswith(
        "alpha:1 cpu: pip found no torch==2.13.0+cpu on your own indexes, and its publisher's, "
        f"{INDEX}, does not answer (no connection). Name a mirror of it, WAYMARK_INDEX=alpha=URL, or "
    )


def test_without_an_index_a_lacking_wheel_is_told_by_the_log(rows, home, daemon):
    daemon.why, daemon.output = "the build failed", [LACKING]
    with pytest.raises(EngineError, match=r"the build failed\. The whole log is"):
        commands.build_images(rows[:1], home, print)


def test_the_other_rows_are_built_when_one_fails(rows, home, daemon):
    broken = replace(rows[0], disk_mb=10**12)
    daemon.folder = rows[0].folder
    with pytest.raises(EngineError, match=r"alpha:1 cpu needs 1000000000\.0 GB free"):
        commands.build_images((broken, rows[1]), home, print)
    assert list(daemon.images) == ["waymark/beta:1-cpu"]


def test_variants_are_chosen_by_framework(rows, tmp_path):
    rows = chosen(Catalogue.load(tmp_path / "docker"), ("alpha", "beta"), "cpu", {"alpha": ["1"]})
    assert [row.subject for row in rows] == ["alpha:1", "beta:1"]


def test_the_listing_tells_what_is_not_built(rows, home, daemon, tmp_path):
    assert {row["state"] for row in commands.listing(Catalogue.load(tmp_path / "docker"), home)} == {"not built"}


def proofs(tmp_path, home):
    return [row["proof"] for row in commands.listing(Catalogue.load(tmp_path / "docker"), home)]


def labelled(row, content="aa"):
    """An image that says that it is of the row's recipe."""
    return ImageFacts(f"sha256:{content * 32}", 1, "2026-11-22T01:02:03Z", {images.RECIPE: recipe_sha256(row)}, ())


def test_an_image_that_only_says_it_is_of_a_recipe_is_not_taken(rows, home, daemon, tmp_path):
    daemon.images["waymark/alpha:1-cpu"] = forged = labelled(rows[0])
    assert commands.listing(Catalogue.load(tmp_path / "docker"), home)[0]["state"] == "not built by this home"
    assert proofs(tmp_path, home)[0] == "unproven: never built here"
    said = []
    assert images.ensure(daemon, rows[0], home, said.append).id != forged.id
    assert "was not built by this home" in said[0]
    assert daemon.recipes[0].reference == "waymark/alpha:1-cpu"


def test_an_image_made_from_ours_is_not_shared(rows, home, daemon):
    commands.build_images(rows[:1], home, print)
    ours = daemon.images.pop("waymark/alpha:1-cpu")
    daemon.images = {"derived:1": labelled(rows[0]), "waymark/kept:1": ours}
    assert images.ensure(daemon, rows[0], home, print).id == ours.id


def test_a_user_may_vouch_for_an_image(rows, home, daemon, tmp_path):
    daemon.images["waymark/alpha:1-cpu"] = loaded = labelled(rows[0])
    said = []
    built = commands.build_images(rows, home, said.append, adopts=True)
    assert [image.facts.id for image in built if image.row == rows[0]] == [loaded.id]
    assert said[0] == f"alpha:1 cpu: took waymark/alpha:1-cpu as it is, {loaded.id}"
    assert len(daemon.recipes) == 1  # of beta, which nobody had


def test_an_image_of_another_recipe_is_not_taken_over(rows, home, daemon):
    daemon.images["waymark/alpha:1-cpu"] = labelled(rows[1])
    commands.build_images(rows[:1], home, print, adopts=True)
    assert len(daemon.recipes) == 1


def test_a_row_that_was_built_here_is_proven_and_says_when(rows, home, daemon, tmp_path):
    commands.build_images(rows[:1], home, print)
    assert proofs(tmp_path, home) == ["proven 2026-11-22", "unproven: never built here"]


def test_the_lock_proves_a_row_whose_image_is_gone(rows, home, daemon, tmp_path):
    commands.build_images(rows[:1], home, print)
    daemon.images.clear()
    assert proofs(tmp_path, home)[0] == "proven 2026-11-22"


def test_another_recipe_proves_nothing(rows, home, daemon, tmp_path):
    commands.build_images(rows[:1], home, print)
    (rows[0].folder / "Dockerfile").write_text("FROM scratch AS cpu\nUSER 1\n")
    assert proofs(tmp_path, home)[0] == "unproven: never built here"


def test_a_variant_is_proven_by_another_of_the_same_recipe(rows, home, daemon):
    commands.build_images(rows[:1], home, print)
    (listed,) = commands.outlook([replace(rows[0], variant="1-tuned", env={"OMP_NUM_THREADS": "2"})], home)
    assert (listed["state"], listed["proof"]) == ("not built", "proven 2026-11-22")


def test_an_unproven_row_may_say_why(rows, home, daemon):
    (listed,) = commands.outlook([replace(rows[0], unproven="its archive could not be reached")], home)
    assert listed["proof"] == "unproven: never built here; its archive could not be reached"


def test_a_retired_row_is_listed_with_evidence_and_not_built(rows, home, daemon):
    row = replace(rows[0], retired="its wheel was deleted from the index in 2025")
    (listed,) = commands.outlook([row], home)
    assert listed["proof"] == "retired: its wheel was deleted from the index in 2025"
    with pytest.raises(EngineError, match=r"alpha:1 cpu is retired: its wheel was deleted from the index in 2025\."):
        commands.build_images([row], home, print)
    assert daemon.recipes == []


def test_a_retired_row_makes_no_virtualenv(rows, home):
    row = replace(rows[0], retired="its wheel was deleted from the index in 2025")
    with pytest.raises(EngineError, match="is retired"):
        VirtualenvEngine(home, read_host()).prepare(row, print)


def test_rows_are_listed_where_no_daemon_answers(rows, home, monkeypatch):
    def no_daemon():
        raise EngineError("Docker does not answer at unix:///nowhere.")

    monkeypatch.setattr(commands, "open_builder", no_daemon)
    assert [(row["row"], row["state"]) for row in commands.outlook(rows, home)] == [
        ("alpha:1 cpu", "unknown: Docker does not answer"),
        ("beta:1 cpu", "unknown: Docker does not answer"),
    ]


@pytest.mark.parametrize(
    ("listing", "args"),
    [
        ("global.index-url='https://mirror.test/simple'", {"PIP_INDEX_URL": "https://mirror.test/simple"}),
        (
            "global.extra-index-url='https://a.test/x\\nhttps://b.test/y'",
            {"PIP_EXTRA_INDEX_URL": "https://a.test/x https://b.test/y"},
        ),
        (":env:.trusted-host='mirror.test'", {"PIP_TRUSTED_HOST": "mirror.test"}),
        ("global.extra-index-url='file:///srv/simple'\nglobal.find-links='/srv/wheels'\nglobal.cert='/a.pem'", {}),
        ("", {}),
    ],
    ids=["index", "two more", "from a variable", "folders stay here", "none"],
)
def test_the_users_indexes_reach_the_build(listing, args):
    assert images.pip_args(listing) == args


def own(daemon, tmp_path, name="mine:tuned"):
    daemon.images.setdefault(name, ImageFacts(OWN, 10**7, "2026-11-22T01:02:03Z", {}, ()))
    daemon.images[OWN] = daemon.images[name]
    return commands.with_images(Catalogue.load(tmp_path / "docker"), {"alpha": name}, "cpu", print)


def test_a_users_image_is_a_variant_named_by_its_digest(rows, daemon, tmp_path):
    catalogue, (row,) = own(daemon, tmp_path)
    assert row.subject == "alpha:image-abababababab"
    assert catalogue.resolve("alpha", "cpu", row.variant) == row


def test_a_users_image_is_run_as_it_is(rows, home, daemon, tmp_path):
    _, (row,) = own(daemon, tmp_path)
    assert images.ensure(daemon, row, home, print).id == OWN
    assert (row.env, row.options, daemon.recipes) == ({}, {}, [])


def test_a_users_image_that_is_not_here_is_pulled(rows, daemon, tmp_path):
    commands.with_images(Catalogue.load(tmp_path / "docker"), {"alpha": "far/away:1"}, "cpu", print)
    assert daemon.pulled == ["far/away:1"]


def test_an_image_that_nobody_has_is_named(rows, daemon, tmp_path):
    with pytest.raises(EngineError, match="there is no image 'nowhere:1' here"):
        commands.with_images(Catalogue.load(tmp_path / "docker"), {"alpha": "nowhere:1"}, "cpu", print)


def test_an_image_for_an_unknown_framework_is_refused(rows, daemon, tmp_path):
    daemon.images["mine:tuned"] = ImageFacts(OWN, 1, "2026-11-22", {}, ())
    with pytest.raises(CatalogueError, match="Known frameworks: alpha, beta"):
        commands.with_images(Catalogue.load(tmp_path / "docker"), {"gamma": "mine:tuned"}, "cpu", print)


def test_the_virtualenv_engine_does_not_run_an_image(rows, home, daemon, tmp_path):
    _, (row,) = own(daemon, tmp_path)
    with pytest.raises(EngineError, match="runs with --engine=docker"):
        VirtualenvEngine(home, read_host()).prepare(row, print)
