"""`invoke export-env`: a row's environment as a folder that `docker build` makes an image from, without waymark."""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path

from orchestrator.console.progress import Console
from orchestrator.engines.images import row_args
from orchestrator.errors import SpecError
from orchestrator.host import read_host
from orchestrator.planning.image_row import DOCKERFILE, REQUIREMENTS, ImageRow, resolve_env

ENVIRONMENT = "/environment"
"""The prefix of every image of the catalogue."""


def export_env(row: ImageRow, folder: Path, console: Console) -> None:
    """Write Dockerfile, pins and, if there is one, finish.sh into a new folder. Variables that name a number of cores
    get this machine's. Raises SpecError if the folder holds something, or if a Dockerfile alone cannot make the row."""
    if row.image or row.retired:
        why = f"is the image {row.image}" if row.image else f"is retired: {row.retired}"
        raise SpecError(f"{row.label} {why}; there is no recipe to export.")
    long = [name for name, value in row.args.items() if "\n" in value]
    if long:
        raise SpecError(
            f"{row.label} has an argument of several lines ({', '.join(long)}), which a Dockerfile cannot hold; "
            f"build it with: invoke build-images --device={row.device} --variant={row.framework}={row.variant}"
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise SpecError(f"--to is {folder}, which exists and is not empty; name a new folder.")
    text = plain_dockerfile(row, resolve_env(row, read_host(), ENVIRONMENT))
    (folder / REQUIREMENTS).mkdir(parents=True)
    for path in (row.requirements_path, row.pip_path):
        if path:
            shutil.copyfile(path, folder / REQUIREMENTS / path.name)
    if row.finish_path:
        shutil.copyfile(row.finish_path, folder / row.finish_path.name)
    (folder / DOCKERFILE).write_text(text, encoding="utf-8")
    console.say(f"{row.label}: {folder}. Build it with: docker build -t {row.framework}:{row.variant} {folder}")


def plain_dockerfile(row: ImageRow, env: Mapping[str, str]) -> str:
    """The row's Dockerfile up to its stage, with its ARGs as defaults and its variables as ENV."""
    args = row_args(row)
    lines = _up_to(row.stage, (row.folder / DOCKERFILE).read_text(encoding="utf-8").splitlines())
    head = f"# The environment of {row.label}, as `invoke export-env` wrote it: {row.why}"
    body = [_with_default(line, args) for line in lines]
    variables = [f"ENV {name}={_quoted(value)}" for name, value in env.items()]
    return "\n".join([head, *body, *variables]) + "\n"


def _up_to(stage: str, lines: list[str]) -> list[str]:
    """The lines to the end of that stage, without the comments of the next one."""
    begins = [at for at, line in enumerate(lines) if line.startswith("FROM ")]
    mine = next(at for at in begins if lines[at].endswith(f" AS {stage}"))
    kept = lines[: next((at for at in begins if at > mine), len(lines))]
    while kept and (not kept[-1].strip() or kept[-1].startswith("#")):
        kept.pop()
    return kept


def _with_default(line: str, args: Mapping[str, str]) -> str:
    """'ARG PYTHON=3.9' with the row's value; an ARG that the row does not set, and all other lines, as they are."""
    match = re.fullmatch(r"ARG (\w+)(=.*)?", line)
    return f"ARG {match[1]}={_quoted(args[match[1]])}" if match and match[1] in args else line


def _quoted(value: str) -> str:
    return '"' + re.sub(r'(["\\$])', r"\\\1", value) + '"'
