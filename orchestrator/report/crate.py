"""What makes a folder of records a research object: its metadata, bills of materials, and a hash for every file.

RO-Crate 1.x (Soiland-Reyes et al. 2022) by `rocrate`; CycloneDX 1.6 by `cyclonedx-python-lib`.
"""

import hashlib
import json
import re
import uuid
from datetime import UTC, datetime
from pathlib import Path

from orchestrator.environment import Environment
from orchestrator.errors import StoreError
from orchestrator.files import write_atomically
from orchestrator.records.run_folder import RunFacts

SUMS, METADATA = "SHA256SUMS", "ro-crate-metadata.json"
_LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")
_NAMESPACE = uuid.UUID("8a3f6a0e-6f0b-5d53-9d6c-0c8a2a6c6a11")  # of the serial numbers of our bills of materials


def require_libraries() -> None:
    """Raises StoreError if the extra that publishing needs is not installed."""
    try:
        import cyclonedx.model.bom  # noqa: F401
        import rocrate.rocrate  # noqa: F401
    except ImportError:
        raise StoreError("Publishing needs an extra: pip install -e '.[publish]' in the clone.") from None


def bill_of_materials(environment: Environment) -> str:
    """The packages of one environment, as CycloneDX JSON; the same environment gives the same text."""
    from cyclonedx.model.bom import Bom
    from cyclonedx.model.component import Component, ComponentType
    from cyclonedx.output.json import JsonV1Dot6
    from packageurl import PackageURL

    bill = Bom(serial_number=uuid.uuid5(_NAMESPACE, environment.identity))
    subject = f"{environment.framework}:{environment.variant} {environment.device}"
    bill.metadata.component = Component(name=subject, type=ComponentType.PLATFORM, bom_ref=environment.identity)
    bill.metadata.timestamp = None  # type: ignore[assignment]  # that of the run is in its record
    for line in environment.freeze:
        name, _, version = line.partition("==")
        url = PackageURL("pypi", None, name, version or None) if name else None  # a broken distribution has no name
        bill.components.add(
            Component(
                name=name or "without a name",
                version=version or None,
                type=ComponentType.LIBRARY,
                purl=url,
                bom_ref=str(url or line),
            )
        )
    bill.register_dependency(bill.metadata.component, bill.components)
    return str(JsonV1Dot6(bill).output_as_string(indent=1)) + "\n"


def write_metadata(folder: Path, facts: RunFacts) -> None:
    """ro-crate-metadata.json of all files that are in the folder."""
    from rocrate.rocrate import ROCrate

    crate = ROCrate(folder, init=True)
    crate.name = f"waymark run {facts.run_id}"
    crate.description = "A comparison of deep-learning frameworks: records, environments and report of one run."
    crate.datePublished = datetime.fromtimestamp(facts.started_unix, UTC)
    crate.license = "not stated: ask who published it"  # the format wants one, and only they can give it
    crate.root_dataset["identifier"] = facts.run_id
    crate.root_dataset["softwareVersion"] = facts.waymark_version
    write_atomically(folder / METADATA, json.dumps(crate.metadata.generate(), indent=1, default=str) + "\n")


def sums_text(folder: Path) -> str:
    """A line for each file below the folder, as `sha256sum --check` reads it."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return "".join(f"{_sha256((folder / name).read_bytes())}  {name}\n" for name in names if name != SUMS)


class Sums:
    """The hashes that SHA256SUMS lists. where: the folder or archive, for messages.

    Every method raises StoreError with the name of the file: one that was changed, is missing or is not listed.
    """

    def __init__(self, where: str, content: bytes) -> None:
        self._where = where
        self._asked: dict[str, str] = {}
        text = content.decode("utf-8", "replace")
        if "\r\n" in text:
            raise StoreError(
                f"{where}: the line ends of {SUMS} were converted to those of Windows on their way, as git's "
                "core.autocrlf does, so no hash can agree. Get the files again unconverted: as a .zip, or by "
                "`git clone -c core.autocrlf=false`."
            )
        for line in text.removesuffix("\n").split("\n"):  # splitlines would end a line at other characters, too
            match = _LINE.fullmatch(line)
            if not match or match[2] in self._asked:
                raise StoreError(
                    f"{where}: {SUMS} has a line that is no hash and name, or a name twice: {line[:80]!r}."
                )
            self._asked[match[2]] = match[1]

    def check(self, name: str, content: bytes) -> None:
        """That this is the content of this file; each file once."""
        if name not in self._asked:
            raise StoreError(f"{self._where}: {name} is not listed in {SUMS}, so nobody vouches for it.")
        if _sha256(content) != self._asked.pop(name):
            raise StoreError(f"{self._where}: {name} is not what {SUMS} says: it was changed, or damaged on its way.")

    def end(self) -> None:
        """That every file that is listed was checked."""
        if self._asked:
            raise StoreError(f"{self._where}: {next(iter(self._asked))} is listed in {SUMS} and is not there.")


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
