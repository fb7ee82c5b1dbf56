"""What a process says of its own libraries."""

import ctypes

import numpy
import pytest

from workers import native


def test_a_process_names_its_libraries_by_path():
    paths = native.loaded()
    assert any(name.startswith("libc") and path.endswith(name) for name, path in paths.items())


def test_nothing_is_said_of_libraries_that_are_not_loaded(monkeypatch):
    monkeypatch.setattr(native, "loaded", dict)
    assert native.describe() == {
        "openmp_library": None,
        "openmp_threads": None,
        "openmp_binding": None,
        "allocator": "libc",
        "mkl_cpu_type": None,
        "blas_threads": None,
    }


def test_two_openmp_libraries_are_both_named(monkeypatch):
    class Library(object):
        def __init__(self, path):
            self.threads, self.binding = {"/a": (2, 0), "/b": (4, 5)}[path]

        def omp_get_max_threads(self):
            return self.threads

        def omp_get_proc_bind(self):
            return self.binding

    monkeypatch.setattr(native, "loaded", lambda: {"libgomp.so.1": "/a", "libiomp5.so": "/b"})
    monkeypatch.setattr(ctypes, "CDLL", Library)
    said = native.describe()
    assert said["openmp_library"] == "libgomp.so.1, libiomp5.so"
    assert said["openmp_threads"] == "2, 4"
    assert said["openmp_binding"] == "false, intel"


def test_numpy_computes_with_one_thread_within_one_blas_thread():
    numpy.ones((2, 2)) @ numpy.ones((2, 2))
    libraries = native._openblas(native.loaded())
    if not libraries:
        pytest.skip("this numpy has no OpenBLAS")

    def threads():
        return {library("get_num_threads")() for library in libraries}

    (before,) = threads()
    for library in libraries:
        library("set_num_threads")(2)
    try:
        with native.one_blas_thread():
            within = threads()
        after = threads()
    finally:
        for library in libraries:
            library("set_num_threads")(before)
    assert (within, after) == ({1}, {2})


def test_a_preloaded_allocator_is_named_by_its_kind(monkeypatch):
    monkeypatch.setattr(native, "loaded", lambda: {"libtcmalloc_minimal.so.4.5.9": "/lib/libtcmalloc_minimal.so.4.5.9"})
    assert native.describe()["allocator"] == "tcmalloc"


def test_a_quota_that_stopped_the_process_is_counted(tmp_path):
    own = tmp_path / "cgroup"
    own.write_text("12:cpuset:/old\n0::/user/job\n")
    (tmp_path / "user" / "job").mkdir(parents=True)
    (tmp_path / "user" / "job" / "cpu.stat").write_text("usage_usec 9\nnr_periods 40\nnr_throttled 7\n")
    assert native.throttled_periods(str(tmp_path), str(own)) == 7


@pytest.mark.parametrize("text", ["", "1:cpu:/old\n", "0::/gone\n"])
def test_without_a_count_of_a_quota_there_is_none(tmp_path, text):
    own = tmp_path / "cgroup"
    own.write_text(text)
    assert native.throttled_periods(str(tmp_path), str(own)) is None


@pytest.mark.parametrize(
    ("own", "folder"),
    [
        ("0::/job\n", "job"),
        ("0::/elsewhere/on/the/host\n", ""),
        ("3:cpu,cpuacct:/job\n1:name=systemd:/\n", "cpu,cpuacct/job"),
        ("2:cpu:/docker/ab\n0::/\n", "cpu"),
    ],
    ids=["v2", "v2 in a container", "v1", "v1 in a container"],
)
def test_periods_in_which_a_quota_stopped_the_group_are_counted(tmp_path, own, folder):
    (tmp_path / "own").write_text(own)
    (tmp_path / "root" / folder).mkdir(parents=True)
    (tmp_path / "root" / folder / "cpu.stat").write_text("nr_periods 9\nnr_throttled 4\n")
    assert native.throttled_periods(str(tmp_path / "root"), str(tmp_path / "own")) == 4


def test_without_a_quota_no_periods_are_known(tmp_path):
    (tmp_path / "own").write_text("0::/\n")
    assert native.throttled_periods(str(tmp_path), str(tmp_path / "own")) is None
