"""Which native libraries this process has loaded, and their settings in force; it loads no library itself.

Environment variables say only what was requested. Here one sees whether it took effect: for example a preloaded
allocator that the loader did not find, or an OpenMP that does not read KMP_AFFINITY.
"""

import contextlib
import ctypes
import os
import re
import resource

_OPENMP = re.compile(r"lib(g|i|)omp")
_ALLOCATOR = re.compile(r"lib(tcmalloc|jemalloc|mimalloc)")
_OPENBLAS = re.compile(r"lib(scipy_)?openblas")
_MKL = re.compile(r"libmkl(ml_intel|ml_gnu|_core)\.so")

# How builds of OpenBLAS name a function: plain, with a suffix for 64-bit integers, with the prefix of its wheels.
_OPENBLAS_NAMES = ("openblas_%s", "openblas_%s64_", "scipy_openblas_%s", "scipy_openblas_%s64_")

# The values of omp_get_proc_bind. Source: OpenMP 5.2, 18.1.1; 5 is Intel's own, for KMP_AFFINITY (its kmp.h).
_BINDINGS = ("false", "true", "primary", "close", "spread", "intel")


def describe():
    """A flat dict of JSON values.

    openmp_*:     library, its threads and whether it binds them; of several libraries joined by commas, in one order.
    allocator:    'libc', or the library that is preloaded in its place.
    mkl_cpu_type: MKL's processor type: 0 is its slow path, the default on processors that are not Intel's; 5 is AVX2.
                  None where MKL is not loaded, or has no such function.
    blas_threads: of OpenBLAS, which numpy uses for products; of several copies joined by commas.
    """
    paths = loaded()
    openmp = [name for name in sorted(paths) if _OPENMP.match(name)]
    libraries = [ctypes.CDLL(paths[name]) for name in openmp]
    return {
        "openmp_library": _joined(openmp),
        "openmp_threads": _joined([library.omp_get_max_threads() for library in libraries]),
        "openmp_binding": _joined([_binding(library) for library in libraries]),
        "allocator": next((_ALLOCATOR.match(name).group(1) for name in paths if _ALLOCATOR.match(name)), "libc"),
        "mkl_cpu_type": _mkl_cpu_type(paths),
        "blas_threads": _joined([library("get_num_threads")() for library in _openblas(paths)]),
    }


def has_vnni(cpuinfo="/proc/cpuinfo"):
    """Whether this processor multiplies 8-bit numbers four at a time (AVX-512 VNNI or AVX-VNNI); None if unknown."""
    try:
        with open(cpuinfo, encoding="utf-8", errors="replace") as file:
            flags = next(line.split(":", 1)[1].split() for line in file if line.startswith("flags"))
    except (OSError, StopIteration):
        return None
    return "avx512_vnni" in flags or "avx_vnni" in flags


def peak_rss_bytes():
    """The most memory that this process alone has had in use at once (VmHWM)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def throttled_periods(root="/sys/fs/cgroup", own="/proc/self/cgroup"):
    """How often a CPU quota has stopped this process's cgroup so far; None where none is counted.

    Source: cgroups(7), cpu.stat: nr_throttled, of version 1 and 2. A container may see its own cgroup as the root.
    """
    try:
        with open(own, encoding="utf-8") as file:
            groups = [line.rstrip("\n").split(":", 2)[1:] for line in file if line.count(":") >= 2]
    except OSError:
        return None
    folders = []
    for controllers, path in groups:
        if not controllers:
            folders += [path, "unified" + path, ""]
        elif "cpu" in controllers.split(","):
            folders += [controllers + path, "cpu" + path, controllers, "cpu"]
    for folder in folders:
        try:
            with open(os.path.join(root, folder.lstrip("/"), "cpu.stat"), encoding="utf-8") as file:
                return int(dict(line.split() for line in file)["nr_throttled"])
        except (OSError, ValueError, KeyError):
            continue
    return None


@contextlib.contextmanager
def one_blas_thread():
    """A context in which numpy's products use one thread: more are slower when the machine does other work too."""
    libraries = _openblas(loaded())
    before = [library("get_num_threads")() for library in libraries]
    for library in libraries:
        library("set_num_threads")(1)
    try:
        yield
    finally:
        for library, threads in zip(libraries, before):
            library("set_num_threads")(threads)


def loaded():
    """Name -> path of the shared libraries of this process; {} where the kernel does not list them."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = [line.split(None, 5)[-1].rstrip("\n") for line in maps if ".so" in line]
    except OSError:
        return {}
    return {os.path.basename(path): path for path in paths}


def _openblas(paths):
    """For each OpenBLAS of this process: function(name) -> its function of that name."""
    functions = []
    for name in sorted(paths):
        if _OPENBLAS.match(name):
            library = ctypes.CDLL(paths[name])
            spelled = [form for form in _OPENBLAS_NAMES if hasattr(library, form % "get_num_threads")]
            if spelled:
                functions.append(lambda wanted, library=library, form=spelled[0]: getattr(library, form % wanted))
    return functions


def _binding(library):
    try:
        return _BINDINGS[library.omp_get_proc_bind()]
    except (AttributeError, IndexError):  # an OpenMP before 4.0, or a value of its own
        return "unknown"


def _mkl_cpu_type(paths):
    for name in sorted(paths):
        if _MKL.match(name):
            try:
                return ctypes.CDLL(paths[name]).mkl_serv_cpu_detect()
            except AttributeError:  # this function is not part of MKL's documented interface
                continue
    return None


def _joined(values):
    """None, the one value, or all as text."""
    if len(values) < 2:
        return values[0] if values else None
    return ", ".join(map(str, values))
