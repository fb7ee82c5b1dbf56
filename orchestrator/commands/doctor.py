"""What a sweep needs of this machine, checked one by one; each finding says what to do about it."""

from collections.abc import Iterator
from contextlib import closing
from typing import Literal

from orchestrator import data
from orchestrator.commands.reap import leftovers
from orchestrator.engines import find_python, images, open_builder, open_engine, package_index
from orchestrator.environment import Frozen
from orchestrator.errors import DataError, EngineError
from orchestrator.home import Home, default_reports
from orchestrator.host import GIB, free_disk_bytes, load_warnings, read_host, read_load
from orchestrator.planning.catalogue import Catalogue
from orchestrator.planning.gpu_fit import unfit
from orchestrator.planning.image_row import ImageRow
from orchestrator.records.host_facts import HostFacts

NEEDED_DISK_GIB = 10  # the images or virtualenvs of PyTorch and TensorFlow with their layers
FAST_FLAGS = ("avx2", "fma", "avx512f")


class Finding(Frozen):
    """One thing looked at. state: 'ok', 'note' (a sweep runs, less well or less wide) or 'broken'."""

    check: str
    state: Literal["ok", "note", "broken"]
    seen: str
    advice: str = ""


def examine(home: Home, catalogue: Catalogue) -> list[Finding]:
    """All findings, in the order a sweep would meet them; changes nothing."""
    host = read_host()
    return [
        _docker(home, host),
        *_pythons(catalogue),
        *indexes(catalogue),
        *bases(home, catalogue),
        _disk(home),
        _processor(host),
        _load(host),
        *cards(host, catalogue),
        _pictures(home),
        _leftovers(home),
        Finding(check="home", state="ok", seen=str(home.root), advice="Set WAYMARK_HOME to keep it elsewhere."),
    ]


def can_sweep(findings: list[Finding]) -> bool:
    """Whether nothing is broken, and at least one engine can work."""
    is_whole = all(finding.state != "broken" for finding in findings)
    return is_whole and any(f.state == "ok" and f.check.startswith(("Docker", "CPython")) for f in findings)


def _docker(home: Home, host: HostFacts) -> Finding:
    try:
        open_engine("docker", home, host).close()
    except EngineError as error:
        return Finding(check="Docker", state="note", seen="no engine answers", advice=str(error))
    return Finding(check="Docker", state="ok", seen="the engine answers")


def _pythons(catalogue: Catalogue) -> Iterator[Finding]:
    for wanted in sorted({row.python for row in catalogue.rows()}):
        used_by = ", ".join(sorted({row.framework for row in catalogue.rows() if row.python == wanted}))
        python = find_python(wanted)
        if python is None:
            advice = f"Needed by the virtualenv engine for {used_by}; `uv python install {wanted}` or pyenv brings it."
            yield Finding(check=f"CPython {wanted}", state="note", seen="not found", advice=advice)
        else:
            yield Finding(check=f"CPython {wanted}", state="ok", seen=f"{python} ({used_by})")


def indexes(catalogue: Catalogue) -> Iterator[Finding]:
    """Each package index that rows name besides the user's own, and whether it answers."""
    users: dict[str, list[ImageRow]] = {}
    for row in catalogue.rows():
        if row.index:
            users.setdefault(row.index, []).append(row)
    for url, why in package_index.silences(users).items():
        rows = ", ".join(row.label for row in users[url])
        yield Finding(
            check=f"index of {users[url][0].framework}",
            state="note" if why else "ok",
            seen=f"{package_index.shown(url)} {f'does not answer ({why})' if why else 'answers'}; for {rows}",
            advice=f"Asked only for what your own indexes lack. {package_index.remedy(users[url][0])}" if why else "",
        )


def bases(home: Home, catalogue: Catalogue) -> Iterator[Finding]:
    """Each base image that rows lack and no registry gives; nothing where no daemon answers."""
    try:
        builder = open_builder()
    except EngineError:
        return
    with closing(builder):
        absent = images.absent_bases(builder, catalogue.rows(), home)
    for base, (why, rows) in absent.items():
        labels = [row.label for row in rows]
        more = f" and {len(labels) - 4} more" if len(labels) > 4 else ""
        yield Finding(
            check=f"base image {base}",
            state="note",
            seen=f"not here, and not to be pulled ({why}); for {', '.join(labels[:4])}{more}",
            advice=images.base_advice(base),
        )


def _disk(home: Home) -> Finding:
    free = free_disk_bytes(home.root) / GIB
    seen = f"{free:.0f} GiB free for {home.root}"
    if free >= NEEDED_DISK_GIB:
        return Finding(check="disk", state="ok", seen=seen)
    return Finding(check="disk", state="broken", seen=seen, advice=f"Environments and data need {NEEDED_DISK_GIB} GiB.")


def _processor(host: HostFacts) -> Finding:
    flags = [flag for flag in FAST_FLAGS if flag in host.cpu_flags]
    seen = (
        f"{host.cpu_model}, {host.physical_cores} cores, {len(host.cpus)} processors, {', '.join(flags) or 'no AVX2'}"
    )
    if "avx2" in host.cpu_flags or host.machine != "x86_64":
        return Finding(check="processor", state="ok", seen=seen)
    return Finding(check="processor", state="note", seen=seen, advice="Some wheels need AVX2.")


def _load(host: HostFacts) -> Finding:
    load = read_load()
    seen = f"load {load.load_1min:.2f}, steal {load.steal_percent:.1f} %"
    warnings = load_warnings(host, load)
    return Finding(check="load", state="note" if warnings else "ok", seen=seen, advice=" ".join(warnings))


def cards(host: HostFacts, catalogue: Catalogue) -> Iterator[Finding]:
    """Each card, with the GPU rows that it cannot run; or that there is none."""
    if host.gpu_note:
        yield Finding(check="card", state="note", seen=host.gpu_note)
    rows = catalogue.rows(device="gpu")
    for card in host.gpus:
        faults = [f"{row.subject}: {fault}" for row in rows if (fault := unfit(row.cuda, card))]
        seen = f"{card.label}, {card.memory_bytes / GIB:.0f} GiB, capability {card.capability}, driver {card.driver}"
        yield Finding(
            check="card",
            state="ok" if len(faults) < len(rows) else "note",
            seen=f"{seen}; {len(rows) - len(faults)} of {len(rows)} GPU rows run on it",
            advice="; ".join(faults),
        )


def _leftovers(home: Home) -> Finding:
    paths = leftovers(home, default_reports())
    if not paths:
        return Finding(check="left behind", state="ok", seen="nothing of processes that were killed")
    seen = f"{len(paths)} files and folders of processes that were killed, {paths[0]} among them"
    return Finding(check="left behind", state="note", seen=seen, advice="`invoke reap` removes them; no run may go on.")


def _pictures(home: Home) -> Finding:
    try:
        source = data.recorded("gtsrb", home)
    except DataError as error:
        return Finding(check="GTSRB", state="note", seen="its register is damaged", advice=str(error))
    if source is None:
        advice = "`invoke data --from PATH` or `invoke data --download`; pictures of your own need a --name."
        return Finding(check="GTSRB", state="note", seen="no pictures registered", advice=advice)
    return Finding(check="GTSRB", state="ok", seen=f"{source.recognised}: {source.path}")
