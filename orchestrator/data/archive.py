"""Files of a zip archive or of a folder, read into memory under limits; nothing is ever unpacked to disk.

The limits are far above what GTSRB needs (its largest picture has 187 kB, its largest archive 276 MB and 39,300
members) and far below what would exhaust a machine.
"""

import os
import re
import stat
import struct
import zipfile
import zlib
from pathlib import Path
from typing import Protocol

from orchestrator.errors import DataError

MAX_ARCHIVE_BYTES = 2 << 30
MAX_FILES = 100_000
MAX_FILE_BYTES = 4 << 20
MAX_TOTAL_BYTES = 4 << 30
MAX_RATIO = 100  # unpacked to packed, over a whole archive; photographs reach 1.5

_LOCAL_HEADER = struct.Struct("<4s22xHH")  # signature, lengths of name and extra field
_HOSTILE_NAME = re.compile(r"^/|^[A-Za-z]:|\0|(^|/)\.\.(/|$)")
_DEBRIS = re.compile(r"(?:^|/)(?:__MACOSX/|(?:\._[^/]*|\.DS_Store|Thumbs\.db|desktop\.ini)$)")
_ENCRYPTED = 0x1


def plain(name: str) -> str:
    """The name of a member with / between its folders, without ./ at its beginning.

    Windows' PowerShell 5 writes backslashes.
    """
    return name.replace("\\", "/").removeprefix("./")


def is_debris(name: str) -> bool:
    """Whether a file manager left this beside the files that a person sees, as Finder and Explorer do."""
    return _DEBRIS.search(name) is not None


class Files(Protocol):
    """Named files that can be read from several threads at once."""

    names: tuple[str, ...]

    def read(self, name: str) -> bytes:
        """The whole file. Raises DataError if it is damaged or too large."""
        ...

    def where(self, name: str) -> str:
        """The name of this file in messages."""
        ...

    def close(self) -> None:
        """Close open files."""
        ...


class ZipFiles:
    """Members of a zip archive; all that its directory declares is checked before any is read.

    `zipfile` only reads the directory: its file object has one position and one lock for all threads, and it does
    not stop at the declared size.
    """

    def __init__(self, path: Path, file_bytes: int = MAX_FILE_BYTES) -> None:
        """Raises DataError for an archive that is not a zip, is encrypted, or declares names or sizes out of bounds.

        file_bytes: as many as one file may have.
        """
        self.path = path
        members = _checked_directory(path, file_bytes)
        named = {plain(member.filename): member for member in members}
        self._members = {name: member for name, member in named.items() if not (name.endswith("/") or is_debris(name))}
        self.names = tuple(self._members)
        self._file = os.open(path, os.O_RDONLY)

    def where(self, name: str) -> str:
        return f"{self.path}: {name}"

    def read(self, name: str) -> bytes:
        member = self._members[name]
        header = os.pread(self._file, _LOCAL_HEADER.size, member.header_offset)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(b"PK\3\4"):
            raise DataError(f"{self.where(name)} is not where the archive's directory says; fetch the archive again.")
        _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
        start = member.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes
        content = os.pread(self._file, member.compress_size, start)
        if member.compress_type == zipfile.ZIP_DEFLATED:
            try:
                # One byte more than declared is enough to detect a wrong size.
                content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, member.file_size + 1)
            except zlib.error as error:
                raise DataError(f"{self.where(name)} does not unpack ({error}); fetch the archive again.") from error
        if len(content) != member.file_size:
            seen = "more" if len(content) > member.file_size else f"{len(content)}"
            raise DataError(
                f"{self.where(name)} unpacks to {seen} bytes, the archive declares {member.file_size}; it is damaged "
                "or malicious, fetch the archive again."
            )
        if zlib.crc32(content) != member.CRC:
            raise DataError(f"{self.where(name)} fails its checksum; fetch the archive again.")
        return content

    def close(self) -> None:
        os.close(self._file)


def _checked_directory(path: Path, file_bytes: int) -> list[zipfile.ZipInfo]:
    packed = path.stat().st_size
    if packed > MAX_ARCHIVE_BYTES:
        raise DataError(f"{path} has {packed} bytes; at most {MAX_ARCHIVE_BYTES} are read.")
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error) as error:
        raise DataError(
            f"{path} is not a whole zip archive ({error}): it may have been cut short. Fetch it again."
        ) from error
    if len(members) > MAX_FILES:
        raise DataError(f"{path} holds {len(members)} files; at most {MAX_FILES} are read.")
    seen: set[str] = set()
    for member in members:
        _check_member(path, member, packed, file_bytes)
        name = plain(member.filename)
        if name in seen:
            raise DataError(f"{path}: {name} is there twice; an official archive has it once.")
        seen.add(name)
    total = sum(member.file_size for member in members)
    if total > min(MAX_TOTAL_BYTES, MAX_RATIO * packed):
        raise DataError(
            f"{path} has {packed} bytes and declares to unpack to {total}; at most {MAX_TOTAL_BYTES} bytes and "
            f"{MAX_RATIO} times its size are read."
        )
    if sum(member.compress_size for member in members) > packed:
        raise DataError(f"{path} has members that overlap: together they are larger than the archive.")
    return members


def _check_member(path: Path, member: zipfile.ZipInfo, packed: int, file_bytes: int) -> None:
    if not 0 <= member.header_offset < packed:
        raise DataError(f"{path}: {member.filename} lies outside of the archive; it is damaged, fetch it again.")
    if _HOSTILE_NAME.search(member.orig_filename.replace("\\", "/")):
        raise DataError(f"{path}: the name {member.orig_filename!r} leads out of the archive; do not trust this file.")
    if member.flag_bits & _ENCRYPTED:
        raise DataError(f"{path}: {member.filename} is encrypted; the official archives are not.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{path}: {member.filename} is packed by method {member.compress_type}; known: 0 (stored), 8 (deflated)."
        )
    if member.file_size > file_bytes:
        raise DataError(
            f"{path}: {member.filename} declares {member.file_size} bytes; a file may have at most {file_bytes}."
        )


class FolderFiles:
    """Files below a folder, by their paths relative to it."""

    def __init__(self, path: Path, names: tuple[str, ...]) -> None:
        self.path = path
        self.names = tuple(name for name in names if not is_debris(name))

    def where(self, name: str) -> str:
        return str(self.path / name)

    def read(self, name: str) -> bytes:
        try:
            # A FIFO would block; links are allowed, as the user may keep pictures elsewhere.
            with open(os.open(self.path / name, os.O_RDONLY | os.O_NONBLOCK), "rb") as file:  # noqa: PTH123
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise DataError(f"{self.where(name)} is no regular file.")
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            raise DataError(f"{self.where(name)} cannot be read ({error.strerror}).") from None
        if len(content) > MAX_FILE_BYTES:
            raise DataError(f"{self.where(name)} is larger than the {MAX_FILE_BYTES} bytes a file may have.")
        return content

    def close(self) -> None:
        """Nothing is held open."""
