"""images.toml: what a row says, what it may not say, and how far its hashes reach."""

import re
from pathlib import Path
from types import SimpleNamespace

import pytest

import workers
from orchestrator.errors import CatalogueError
from orchestrator.home import REPOSITORY
from orchestrator.planning.catalogue import Catalogue, index_mirrors
from orchestrator.planning.image_row import pins_sha256, recipe_sha256, resolve_env, resolve_expects, version_numbers
from tests.fake_catalogue import ROW, rewrite, why

CORES = SimpleNamespace(physical_cores=4, logical_cores=8)


def test_a_row_is_found_by_framework_device_and_variant(folder):
    assert Catalogue.load(folder).resolve("mxnet", "cpu", "1.5-mkl").label == "mxnet:1.5-mkl cpu"


def test_no_variant_means_the_default_one(folder):
    assert Catalogue.load(folder).resolve("mxnet", "cpu").variant == "1.5"


def test_a_misspelt_variant_is_answered_with_the_nearest(folder):
    with pytest.raises(CatalogueError) as caught:
        Catalogue.load(folder).resolve("mxnet", "cpu", "1.5-mlk")
    assert str(caught.value) == (
        "docker/mxnet/images.toml has no variant '1.5-mlk' for cpu. Known: 1.5, 1.5-mkl. Did you mean '1.5-mkl'?"
    )


def test_a_misspelt_framework_is_answered_with_the_nearest(folder):
    with pytest.raises(CatalogueError, match=r"Known frameworks: mxnet\. Did you mean 'mxnet'\?"):
        Catalogue.load(folder).rows(frameworks=("mxnt",))


def test_rows_keeps_only_what_fits_all_that_is_given(folder):
    catalogue = Catalogue.load(folder)
    assert [row.variant for row in catalogue.rows(device="cpu", variant="1.5-mkl")] == ["1.5-mkl"]


def test_a_device_that_no_row_has_gives_no_rows(folder):
    assert Catalogue.load(folder).rows(device="gpu") == ()


CUDA = 'cuda = { version = "11.2", driver = "450.80.02", capability = ["5.0", "8.9"], source = "wheels" }\n'


def add_gpu_row(folder, cuda):
    with (folder / "mxnet" / "images.toml").open("a") as file:
        file.write(f'["1.9".gpu]\n{ROW}{cuda}')


def test_a_gpu_row_says_which_cards_and_drivers_run_it(folder):
    add_gpu_row(folder, CUDA)
    cuda = Catalogue.load(folder).resolve("mxnet", "gpu", "1.9").cuda
    assert (cuda.version, cuda.driver, cuda.capability, cuda.ptx) == ("11.2", "450.80.02", ("5.0", "8.9"), None)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (CUDA, "", "1.9.gpu.cuda: each gpu row has it, and no cpu row"),
        ('"11.2"', '"11"', "1.9.gpu.cuda.version: String should match"),
        ('"450.80.02"', '"any"', "1.9.gpu.cuda.driver: String should match"),
        ('["5.0", "8.9"]', '["8.9", "5.0"]', "1.9.gpu.cuda: Value error, capability is the lowest, then the highest"),
        ('["5.0", "8.9"]', '["10.0", "9.0"]', "1.9.gpu.cuda: Value error, capability is the lowest, then the highest"),
        ('["5.0", "8.9"]', '["sm_50", "sm_89"]', "1.9.gpu.cuda.capability.0: String should match"),
        (', source = "wheels"', "", "1.9.gpu.cuda.source: Field required"),
    ],
)
def test_a_gpu_row_that_says_it_badly_is_refused(folder, old, new, said):
    add_gpu_row(folder, CUDA.replace(old, new))
    assert said in why(folder)


def test_a_cpu_row_has_no_cuda(folder):
    rewrite(folder, "disk_mb = 1\n", f"disk_mb = 1\n{CUDA}")
    assert "1.5.cpu.cuda: each gpu row has it, and no cpu row" in why(folder)


def test_versions_are_compared_as_numbers():
    assert version_numbers("418.39") < version_numbers("418.87.00") < version_numbers("450.80.02")
    assert version_numbers("9.0") < version_numbers("12.1")


def test_a_card_may_have_another_default(folder):
    add_gpu_row(folder, CUDA)
    rewrite(folder, 'default = "1.5"', 'default = "1.5"\ngpu_default = "1.9"')
    catalogue = Catalogue.load(folder)
    assert [catalogue.resolve("mxnet", device).variant for device in ("cpu", "gpu")] == ["1.5", "1.9"]


def test_an_empty_folder_is_no_catalogue(tmp_path):
    with pytest.raises(CatalogueError, match=r"holds no \*/images\.toml"):
        Catalogue.load(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('default = "1.5"', 'default = "1.6"', "default is '1.6'; it must be a variant of this file: 1.5, 1.5-mkl."),
        ('default = "1.5"\n', "", "default is None"),
        ('default = "1.5"', 'default = "1.5"\ngpu_default = "2"', "gpu_default is '2'; it must be a variant of this"),
        ("disk_mb = 1", 'disk_mb = "1"', "1.5.cpu.disk_mb: Input should be a valid integer, seen '1'"),
        ("disk_mb = 1", "disk_mb = 1\nmemory = 2", "1.5.cpu.memory: Extra inputs are not permitted"),
        ("disk_mb = 1\n", "", "1.5.cpu.disk_mb: Field required"),
        ('"pins.txt"', '"../pins.txt"', "1.5.cpu.requirements: String should match"),
        ('"pins.txt"', '"other.txt"', "1.5.cpu.requirements needs"),
        ('["1.5".cpu]', '["1.5".tpu]', "1.5.tpu: Input should be 'cpu' or 'gpu', seen 'tpu'"),
        ('["1.5".cpu]', '["1:5".cpu]', "the variant: String should match"),
        ("{physical_cores}", "{cores}", "1.5-mkl.cpu.env.OMP_NUM_THREADS has {cores}; allowed are {physical_cores}"),
        ('default = "1.5"', "default =", "does not read: Invalid value"),
        ("disk_mb = 1", "disk_mb = 1\noptions = { since = 2020-01-01 }", "1.5.cpu.options.since"),
        ("disk_mb = 1", "disk_mb = 1\noptions = { rate = nan }", "1.5.cpu.options.rate"),
        ("disk_mb = 1", 'disk_mb = 1\nargs = { "A=B" = "1" }', "1.5.cpu.args.A=B: String should match"),
        ("OMP_NUM_THREADS =", '"A=B" =', "1.5-mkl.cpu.env.A=B: String should match"),
        ("{physical_cores}", "\\u0000", "1.5-mkl.cpu.env.OMP_NUM_THREADS: String should match"),
        ("disk_mb = 1", f"disk_mb = {'9' * 5000}", "images.toml"),
        ("disk_mb = 1", f"disk_mb = 1\n{'k' * 100_000} = 1", "Extra inputs are not permitted"),
    ],
)
def test_a_bad_table_is_one_sentence_with_file_and_key(folder, old, new, said):
    rewrite(folder, old, new)
    message = why(folder)
    assert message.startswith("docker/mxnet/images.toml")
    assert said in message
    assert len(message) < 300


def test_a_missing_dockerfile_is_named(folder):
    (folder / "mxnet" / "Dockerfile").unlink()
    assert "mxnet/Dockerfile, which is not there" in why(folder)


def test_placeholders_become_this_machines_cores(folder):
    row = Catalogue.load(folder).resolve("mxnet", "cpu", "1.5-mkl")
    assert resolve_env(row, CORES, "/environment") == {"OMP_NUM_THREADS": "4"}


def test_what_a_row_expects_of_threads_is_this_machines_number(folder):
    rewrite(
        folder, "env = {", 'expects = { omp_threads = "{physical_cores}", mkldnn = true, library = "{odd}" }\nenv = {'
    )
    row = Catalogue.load(folder).resolve("mxnet", "cpu", "1.5-mkl")
    assert resolve_expects(row, CORES) == {"omp_threads": 4, "mkldnn": True, "library": "{odd}"}


def test_a_variable_may_name_a_folder_of_the_environment(folder):
    rewrite(folder, "{physical_cores}", "{environment}/lib")
    row = Catalogue.load(folder).resolve("mxnet", "cpu", "1.5-mkl")
    assert resolve_env(row, CORES, "/environment") == {"OMP_NUM_THREADS": "/environment/lib"}


@pytest.mark.parametrize("changed", ["Dockerfile", "requirements/pins.txt"])
def test_one_byte_of_an_images_inputs_changes_its_recipe(folder, changed):
    before = recipe_sha256(Catalogue.load(folder).resolve("mxnet", "cpu"))
    with (folder / "mxnet" / changed).open("a") as file:
        file.write("#")
    assert recipe_sha256(Catalogue.load(folder).resolve("mxnet", "cpu")) != before


@pytest.mark.parametrize(
    ("old", "new"), [('"cpu"', '"tuned"'), ('"3.11"', '"3.9"'), ("disk_mb", 'args.A = "1"\ndisk_mb')]
)
def test_stage_python_and_args_are_part_of_the_recipe(folder, old, new):
    before = recipe_sha256(Catalogue.load(folder).resolve("mxnet", "cpu"))
    rewrite(folder, old, new)
    assert recipe_sha256(Catalogue.load(folder).resolve("mxnet", "cpu")) != before


def test_variables_are_not_in_the_image(folder):
    catalogue = Catalogue.load(folder)
    stock, tuned = (catalogue.resolve("mxnet", "cpu", variant) for variant in ("1.5", "1.5-mkl"))
    assert stock.env != tuned.env
    assert recipe_sha256(stock) == recipe_sha256(tuned)


def test_a_comment_in_the_dockerfile_keeps_the_virtualenv(folder):
    before = pins_sha256(Catalogue.load(folder).resolve("mxnet", "cpu"))
    (folder / "mxnet" / "Dockerfile").write_text("# another\nFROM scratch AS cpu\n")
    assert pins_sha256(Catalogue.load(folder).resolve("mxnet", "cpu")) == before


def test_the_address_of_an_index_is_no_part_of_recipe_and_pins(folder):
    before = Catalogue.load(folder).resolve("mxnet", "cpu")
    rewrite(folder, "disk_mb", 'index = "https://mirror.test/whl"\ndisk_mb')
    after = Catalogue.load(folder).resolve("mxnet", "cpu")
    assert after.index == "https://mirror.test/whl"
    assert (recipe_sha256(after), pins_sha256(after)) == (recipe_sha256(before), pins_sha256(before))


@pytest.mark.parametrize("url", ["mirror.test/whl", "ftp://mirror.test", "file:///srv/whl", "https://", "https://a b"])
def test_an_index_is_a_web_address(folder, url):
    rewrite(folder, "disk_mb", f'index = "{url}"\ndisk_mb')
    assert "docker/mxnet/images.toml: 1.5.cpu.index: " in why(folder)


def test_a_mirror_replaces_the_index_of_rows_that_name_one(catalogue):
    mirrored = catalogue.with_indexes(index_mirrors(["pytorch=http://127.0.0.1:8123/whl/cpu"]))
    assert mirrored.resolve("pytorch", "cpu", "2.13").index == "http://127.0.0.1:8123/whl/cpu"
    assert mirrored.resolve("pytorch", "cpu", "1.3").index is None


@pytest.mark.parametrize(
    "text", ["pytorch", "pytorch=", "=https://mirror.test", "pytorch=mirror.test/whl", "pytorch=/srv"]
)
def test_a_miswritten_mirror_is_answered_with_an_example(text):
    with pytest.raises(CatalogueError) as caught:
        index_mirrors([text])
    assert str(caught.value).startswith(f"WAYMARK_INDEX holds '{text}'; write framework=URL, for example pytorch=https")


def test_a_mirror_of_an_index_that_no_row_names_is_refused(catalogue):
    with pytest.raises(CatalogueError, match="no row of tensorflow names an index of its publisher's"):
        catalogue.with_indexes({"tensorflow": "https://mirror.test"})


@pytest.mark.parametrize("row", Catalogue.load(REPOSITORY / "docker").rows(), ids=lambda row: row.slug)
def test_a_row_names_an_index_if_a_pin_has_a_local_version(row):
    pins = re.findall(r"^\S+==\S+", row.requirements_path.read_text(), re.MULTILINE)
    assert bool(row.index) == any("+" in pin for pin in pins)
    assert not row.index or "\nARG PUBLISHER_INDEX\n" in (row.folder / "Dockerfile").read_text()


def test_every_framework_has_its_twin():
    adapters = {path.parent.name for path in Path(workers.__file__).parent.glob("frameworks/*/adapter.py")}
    assert adapters == set(Catalogue.load(REPOSITORY / "docker").frameworks)


def test_dockerfiles_on_a_python_image_install_alike():
    stages = {path: path.read_text().split("\nFROM ") for path in (REPOSITORY / "docker").glob("*/Dockerfile")}
    on_python = {
        stage[1] for stage in stages.values() if stage[1].startswith("python:${PYTHON}-slim-${DEBIAN} AS install")
    }
    assert len(on_python) == 1


@pytest.mark.parametrize("row", Catalogue.load(REPOSITORY / "docker").rows(), ids=lambda row: row.slug)
def test_every_requirement_is_pinned_and_hashed(row):
    text = row.requirements_path.read_text().replace("\\\n", " ")
    pins = [line for line in text.splitlines() if line.strip() and not line.startswith(("#", "--"))]
    assert pins
    assert all("==" in pin and "--hash=sha256:" in pin for pin in pins)


@pytest.mark.parametrize("row", Catalogue.load(REPOSITORY / "docker").rows(), ids=lambda row: row.slug)
def test_what_was_asked_for_is_what_was_pinned(row):
    assert row.packages
    assert all(f"\n{asked} \\\n" in row.requirements_path.read_text() for asked in row.packages)


@pytest.mark.parametrize("row", Catalogue.load(REPOSITORY / "docker").rows(), ids=lambda row: row.slug)
def test_every_recipe_suits_both_builders_and_is_unprivileged(row):
    lines = (row.folder / "Dockerfile").read_text().splitlines(keepends=True)
    dockerfile = "".join(line for line in lines if not line.startswith("#"))
    assert not any(word in dockerfile for word in ("--mount", "<<", ":latest"))
    assert f" AS {row.stage}\n" in dockerfile
    assert all(
        part.startswith("65532:65532\n") for part in dockerfile.split("\nUSER ")[1:] if not part.startswith("root\n")
    )
    assert not dockerfile.rpartition("\nUSER ")[2].startswith("root")


@pytest.mark.parametrize("row", Catalogue.load(REPOSITORY / "docker").rows(), ids=lambda row: row.slug)
def test_every_image_stands_on_python_or_debian(row):
    stages = re.findall(r"^FROM (\S+) AS (\S+)$", (row.folder / "Dockerfile").read_text(), re.MULTILINE)
    bases = {base for base, _ in stages} - {name for _, name in stages}
    assert bases
    assert all(re.fullmatch(r"(python:\$\{PYTHON\}|debian:\$\{DEBIAN\})-slim\S*", base) for base in bases)


@pytest.mark.parametrize("row", Catalogue.load(REPOSITORY / "docker").rows(), ids=lambda row: row.slug)
def test_every_download_of_a_row_has_its_hash(row):
    for name in (name for name in row.args if name.endswith("_URL")):
        assert row.args[name].startswith("https://")
        assert re.fullmatch(r"[0-9a-f]{64}", row.args[name.replace("_URL", "_SHA256")])


@pytest.mark.parametrize(
    "row",
    [row for row in Catalogue.load(REPOSITORY / "docker").rows(device="gpu") if "deterministic" not in row.variant],
    ids=lambda row: row.slug,
)
def test_the_guide_to_the_frameworks_tells_the_same_of_a_card(row):
    (line,) = [
        line
        for line in (REPOSITORY / "docs" / "frameworks.md").read_text().splitlines()
        if line.startswith(f"| `{row.subject}` |") and row.cuda.driver in line
    ]
    assert " to ".join(row.cuda.capability) in line
    assert row.cuda.version in line
    assert (f"by PTX {row.cuda.ptx}" in line) if row.cuda.ptx else ("PTX" not in line)


def test_settings_may_be_put_on_what_is_installed(catalogue):
    row = catalogue.installed().resolve("pytorch", "gpu", "host_nhwc_cudnn-benchmark")
    assert row.options == {"memory_format": "channels_last", "cudnn_benchmark": True}
    assert (row.base, row.expects) == ("host", {"cudnn_benchmark": True})


def test_a_setting_of_the_cpu_is_not_put_on_a_card(catalogue):
    with pytest.raises(CatalogueError, match="has no setting 'bound' for host"):
        catalogue.installed().resolve("pytorch", "gpu", "host_bound")
