"""Settings that are put on a variant, and what `best` stands for."""

import pytest

from orchestrator.engines.images import reference
from orchestrator.errors import CatalogueError, StoreError
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.image_row import pins_sha256, recipe_sha256
from orchestrator.planning.tuned import Tried, best_here, keep_tuned, read_tuned
from tests.fake_catalogue import rewrite, tuned, why

SETTINGS = """
[settings.amd]
env = { MKL_DEBUG_CPU_TYPE = "5" }
expects = { mkl_cpu_type = 5 }
of = ["1.5-mkl"]
why = "the AVX2 path"

[settings.one-thread]
env = { OMP_NUM_THREADS = "1" }
why = "one thread"
"""


@pytest.fixture
def catalogue(folder):
    path = folder / "mxnet" / "images.toml"
    path.write_text(path.read_text() + SETTINGS)
    return Catalogue.load(folder)


def test_a_setting_changes_variables_and_expectations_alone(catalogue):
    row, base = (catalogue.resolve("mxnet", "cpu", variant) for variant in ("1.5-mkl_amd", "1.5-mkl"))
    assert (row.variant, row.env, row.expects) == (
        "1.5-mkl_amd",
        {"OMP_NUM_THREADS": "{physical_cores}", "MKL_DEBUG_CPU_TYPE": "5"},
        {"mkl_cpu_type": 5},
    )
    assert (recipe_sha256(row), pins_sha256(row), reference(row)) == (
        recipe_sha256(base),
        pins_sha256(base),
        reference(base),
    )


def test_settings_have_one_order_however_they_are_asked_for(catalogue):
    asked = [catalogue.resolve("mxnet", "cpu", f"1.5-mkl_{names}") for names in ("amd_one-thread", "one-thread_amd")]
    assert asked[0] == asked[1]
    assert asked[0].variant == "1.5-mkl_amd_one-thread"


@pytest.mark.parametrize(
    ("variant", "said"),
    [
        ("1.5_amd", "has no setting 'amd' for 1.5. Known: one-thread."),
        ("1.5-mkl_amt", "has no setting 'amt' for 1.5-mkl. Known: amd, one-thread. Did you mean 'amd'?"),
        ("1.6_amd", "has no variant '1.6_amd' for cpu."),
    ],
)
def test_a_setting_that_does_not_fit_is_one_sentence(catalogue, variant, said):
    with pytest.raises(CatalogueError) as caught:
        catalogue.resolve("mxnet", "cpu", variant)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('default = "1.5"', 'default = "1.5"\nbest = "1.6"', "best is '1.6'; it must be a variant of this file: 1.5"),
        ('"1.5-mkl"', '"1.5_mkl"', "1.5_mkl has a _, which stands before a setting; use a -."),
        ('of = ["1.5-mkl"]', 'of = ["1.5-mlk"]', "settings.amd.of names '1.5-mlk'; it must be a variant of this file"),
        ('"5" }', '"{cores}" }', "settings.amd.env.MKL_DEBUG_CPU_TYPE has {cores}; allowed are {physical_cores}"),
        ('why = "one thread"', "", "settings.one-thread.why: Field required"),
        ("[settings.amd]", "[settings.AMD]", "settings.AMD"),
    ],
)
def test_a_mistake_in_a_setting_is_one_sentence(catalogue, folder, old, new, said):
    rewrite(folder, old, new)
    assert said in why(folder)


# ---- best


def test_best_is_the_default_where_nothing_else_is_named(catalogue):
    assert catalogue.resolve("mxnet", "cpu", "best").variant == "1.5"


def test_best_is_what_the_catalogue_names(catalogue, folder):
    rewrite(folder, 'default = "1.5"', 'default = "1.5"\nbest = "1.5-mkl"')
    assert Catalogue.load(folder).resolve("mxnet", "cpu", "best").variant == "1.5-mkl"


def test_best_is_what_was_tuned_on_this_machine(catalogue):
    here = best_here([tuned(), tuned(machine="elsewhere", variant="1.5")], ["here"])
    assert catalogue.with_best(here).resolve("mxnet", "cpu", "best").variant == "1.5-mkl_amd"


def test_a_winner_that_was_not_confirmed_leaves_best_as_it_was(catalogue):
    open_one = tuned(variant="1.5", ratio=None, low=None, high=None, confirmed_by="20261121-120000-compare")
    assert best_here([open_one], ["here"]) == {}
    assert best_here([open_one.model_copy(update={"confirmed_by": ""})], ["here"]) == {"mxnet": {"cpu": "1.5"}}


@pytest.mark.parametrize("gone", ["1.6", "1.5-mkl_avx", "1.6_amd"])
def test_what_the_catalogue_no_longer_has_is_not_best(catalogue, gone):
    here = catalogue.with_best({"mxnet": {"cpu": gone}})
    assert here.resolve("mxnet", "cpu", "best").variant == "1.5"


def test_tuned_toml_gives_back_what_was_kept(home):
    tried = Tried(round=1, variant="1.5-mkl_amd", ratio=1.0, is_kept=True, run_id="20261121-120000-tune")
    first, second = tuned(path=(tried,), open=("round 4 was left out.",)), tuned(framework="neon", variant="2.6")
    keep_tuned(home.tuned, first)
    keep_tuned(home.tuned, second)
    assert read_tuned(home.tuned) == (first, second)


def test_a_second_tuning_replaces_the_first_of_its_machine(home):
    for one in (tuned(), tuned(machine="elsewhere"), tuned(variant="1.5", ratio=None, low=None, high=None)):
        keep_tuned(home.tuned, one)
    assert [(one.machine, one.variant) for one in read_tuned(home.tuned)] == [
        ("elsewhere", "1.5-mkl_amd"),
        ("here", "1.5"),
    ]


def test_no_file_is_nothing_tuned(home):
    assert read_tuned(home.tuned) == ()


@pytest.mark.parametrize("text", ["no TOML [", "[[tuned]]\nmachine = 1\n", "tuned = 3\n", "\x00"])
def test_a_damaged_tuned_toml_is_one_sentence(home, text):
    home.root.mkdir()
    home.tuned.write_text(text)
    with pytest.raises(StoreError, match=r"tuned\.toml does not read: .*\. Remove it, and measure again\."):
        read_tuned(home.tuned)
