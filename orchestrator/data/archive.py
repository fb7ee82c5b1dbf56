"""Files of a zip or tar archive or of a folder, read into memory under limits; no member is ever written to disk.

The limits of a published set are far above what GTSRB needs (its largest picture has 187 kB, its largest archive 276 MB
and 39,300 members), and all are far below what would exhaust a machine.
"""

import gzip
import os
import re
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from orchestrator.errors import DataError

MAX_FILE_BYTES = 4 << 20
MAX_RATIO = 100  # unpacked to packed, over a whole archive; photographs reach 1.5


class Limits(NamedTuple):
    """What is read at most: bytes of an archive, its files, bytes of one of them, and of all unpacked."""

    archive_bytes: int = 2 << 30
    files: int = 100_000
    file_bytes: int = MAX_FILE_BYTES
    total_bytes: int = 4 << 30


PUBLISHED = Limits()
"""Of a published set of small pictures, and of a published run."""

OWN = Limits(archive_bytes=1 << 38, files=1_000_000, file_bytes=64 << 20, total_bytes=1 << 39)
"""Of a user's own pictures."""

LINK_TO_FOLDER = "a link to a folder"
"""Why one is not read."""

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
    """Named files that can be read from several threads at once.

    names: of all files, with / between folders. folders: those that hold no file, and others that are known.
    refused: name -> why it is not read, of what is no file or leads elsewhere.
    """

    names: tuple[str, ...]
    folders: tuple[str, ...]
    refused: dict[str, str]

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

    def __init__(self, path: Path, limits: Limits = PUBLISHED) -> None:
        """Raises DataError for an archive that is not a zip, is encrypted, or declares names or sizes out of bounds."""
        self.path = path
        members = _checked_directory(path, limits)
        named = {plain(member.filename): member for member in members}
        self._members = {name: member for name, member in named.items() if not (name.endswith("/") or is_debris(name))}
        self.names = tuple(self._members)
        self.folders = tuple(name.rstrip("/") for name in named if name.endswith("/") and not is_debris(name))
        self.refused: dict[str, str] = {}
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


def _checked_directory(path: Path, limits: Limits) -> list[zipfile.ZipInfo]:
    packed = _packed_bytes(path, limits)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError, struct.error) as error:
        raise DataError(
            f"{path} is not a whole zip archive ({error}): it may have been cut short. Fetch it again."
        ) from error
    if len(members) > limits.files:
        raise DataError(f"{path} holds {len(members)} files; at most {limits.files} are read.")
    seen: set[str] = set()
    for member in members:
        _check_member(path, member, packed, limits.file_bytes)
        name = plain(member.filename)
        if name in seen:
            raise DataError(f"{path}: {name} is there twice, and nothing tells which one is meant; pack it once.")
        seen.add(name)
    total = sum(member.file_size for member in members)
    if total > min(limits.total_bytes, MAX_RATIO * packed):
        raise DataError(
            f"{path} has {packed} bytes and declares to unpack to {total}; at most {limits.total_bytes} bytes and "
            f"{MAX_RATIO} times its size are read."
        )
    if sum(member.compress_size for member in members) > packed:
        raise DataError(f"{path} has members that overlap: together they are larger than the archive.")
    return members


def _packed_bytes(path: Path, limits: Limits) -> int:
    packed = path.stat().st_size
    if packed > limits.archive_bytes:
        raise DataError(f"{path} has {packed} bytes; at most {limits.archive_bytes} are read.")
    return packed


def _check_member(path: Path, member: zipfile.ZipInfo, packed: int, file_bytes: int) -> None:
    if not 0 <= member.header_offset < packed:
        raise DataError(f"{path}: {member.filename} lies outside of the archive; it is damaged, fetch it again.")
    if _HOSTILE_NAME.search(member.orig_filename.replace("\\", "/")):
        raise DataError(f"{path}: the name {member.orig_filename!r} leads out of the archive; do not trust this file.")
    if member.flag_bits & _ENCRYPTED:
        raise DataError(f"{path}: {member.filename} is encrypted; pack it without a password.")
    if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise DataError(
            f"{path}: {member.filename} is packed by method {member.compress_type}; known: 0 (stored), 8 (deflated)."
        )
    if member.file_size > file_bytes:
        raise DataError(
            f"{path}: {member.filename} declares {member.file_size} bytes; a file may have at most {file_bytes}."
        )


class TarFiles:
    """Files of a tar archive, packed by gzip or not.

    One packed by gzip can only be read from its beginning: it is unpacked as a whole, still a tar, into a file without
    a name in `scratch`, which the kernel removes with the process.
    """

    def __init__(self, path: Path, scratch: Path, limits: Limits = PUBLISHED) -> None:
        """Raises DataError for what is no tar archive, and for names or sizes out of bounds."""
        self.path = path
        packed = _packed_bytes(path, limits)
        self._file = _unpacked(path, packed, scratch, limits)
        self._members: dict[str, tuple[int, int]] = {}
        self._folders: list[str] = []
        self.refused: dict[str, str] = {}
        try:
            self._read_directory(limits)
        except (tarfile.TarError, OSError, ValueError, EOFError, OverflowError) as error:
            self._file.close()
            raise DataError(f"{path} is not a whole tar archive ({error}). Fetch it again.") from None
        except DataError:
            self._file.close()
            raise
        self.names = tuple(self._members)
        self.folders = tuple(self._folders)

    def _read_directory(self, limits: Limits) -> None:
        size_bytes = os.fstat(self._file.fileno()).st_size
        self._file.seek(0)
        with tarfile.open(fileobj=self._file, mode="r:", errorlevel=2) as archive:
            for count, member in enumerate(archive):
                if count >= limits.files:
                    raise DataError(f"{self.path} holds more than {limits.files} files; no more are read.")
                archive.members = []  # type: ignore[attr-defined] # it would keep each: 1 kB a file
                self._take(member, size_bytes, limits.file_bytes)

    def _take(self, member: tarfile.TarInfo, size_bytes: int, file_bytes: int) -> None:
        if _HOSTILE_NAME.search(member.name.replace("\\", "/")):
            raise DataError(f"{self.path}: the name {member.name!r} leads out of the archive; do not trust this file.")
        name = plain(member.name)
        if is_debris(name):
            return
        if member.isdir():
            self._folders.append(name.rstrip("/"))
        elif not member.isreg() or member.issparse():
            self.refused[name] = "it is a link or a device, not a file"
        elif name in self._members:
            raise DataError(f"{self.path}: {name} is there twice, and nothing tells which one is meant; pack it once.")
        elif member.size > file_bytes:
            raise DataError(f"{self.path}: {name} has {member.size} bytes; a file may have at most {file_bytes}.")
        elif member.offset_data + member.size > size_bytes:
            raise DataError(f"{self.path}: {name} ends after the archive does; it was cut short, fetch it again.")
        else:
            self._members[name] = (member.offset_data, member.size)

    def where(self, name: str) -> str:
        return f"{self.path}: {name}"

    def read(self, name: str) -> bytes:
        start, size_bytes = self._members[name]
        content = os.pread(self._file.fileno(), size_bytes, start)
        if len(content) != size_bytes:
            raise DataError(f"{self.where(name)} is cut short; fetch the archive again.")
        return content

    def close(self) -> None:
        self._file.close()


def _unpacked(path: Path, packed: int, scratch: Path, limits: Limits) -> BinaryIO:
    """The tar archive at `path`, as a file that can be read anywhere."""
    file = path.open("rb")
    if file.read(2) != b"\x1f\x8b":
        return file
    file.close()
    most = min(limits.total_bytes, MAX_RATIO * packed)
    scratch.mkdir(parents=True, exist_ok=True)
    whole = tempfile.TemporaryFile(dir=scratch)  # noqa: SIM115 - closed by `close`
    try:
        with gzip.open(path) as packed_file:
            while chunk := packed_file.read(1 << 20):
                whole.write(chunk)
                if whole.tell() > most:
                    raise DataError(
                        f"{path} has {packed} bytes and unpacks to more than {most}; at most {limits.total_bytes} "
                        f"bytes and {MAX_RATIO} times its size are read."
                    )
    except (OSError, EOFError, zlib.error) as error:
        whole.close()
        raise DataError(f"{path} does not unpack ({error}); fetch it again.") from None
    except DataError:
        whole.close()
        raise
    whole.flush()
    return whole


class FolderFiles:
    """Files below a folder, by their paths relative to it."""

    def __init__(self, path: Path, names: tuple[str, ...], limits: Limits = PUBLISHED) -> None:
        self.path = path
        self.names = tuple(name for name in names if not is_debris(name))
        self.folders: tuple[str, ...] = ()
        self.refused: dict[str, str] = {}
        self._file_bytes, self._root = limits.file_bytes, os.fspath(path)

    @classmethod
    def below(cls, path: Path, limits: Limits) -> "FolderFiles":
        """All of a folder. Links to folders are not followed, and what leads out of `path` is refused by name.

        Raises DataError for more files than may be read.
        """
        names: list[str] = []
        folders: list[str] = []
        refused: dict[str, str] = {}
        root = os.fspath(path)
        for folder, below, here in os.walk(root):
            within = "" if folder == root else folder[len(root) :].strip("/") + "/"
            folders += [within + name for name in below]
            refused |= {within + name: LINK_TO_FOLDER for name in below if Path(f"{folder}/{name}").is_symlink()}
            for name in here:
                reason = _why_refused(f"{folder}/{name}", root)
                if reason:
                    refused[within + name] = reason
                else:
                    names.append(within + name)
            if len(names) > limits.files:
                raise DataError(f"{path} holds more than {limits.files} files; no more are read.")
        found = cls(path, tuple(names), limits)
        found.folders = tuple(name for name in folders if name not in refused)
        found.refused = {name: why for name, why in refused.items() if not is_debris(name)}
        return found

    def where(self, name: str) -> str:
        return str(self.path / name)

    def read(self, name: str) -> bytes:
        try:
            # A FIFO would block; links are allowed, as the user may keep pictures elsewhere.
            descriptor = os.open(f"{self._root}/{name}", os.O_RDONLY | os.O_NONBLOCK)
            try:
                seen = os.fstat(descriptor)
                if not stat.S_ISREG(seen.st_mode):
                    raise DataError(f"{self.where(name)} is no regular file.")
                if seen.st_size > self._file_bytes:
                    raise DataError(f"{self.where(name)} is larger than the {self._file_bytes} bytes a file may have.")
                content = os.read(descriptor, seen.st_size)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise DataError(f"{self.where(name)} cannot be read ({error.strerror}).") from None
        if len(content) < seen.st_size:
            raise DataError(f"{self.where(name)} became shorter while it was read; try again.")
        return content

    def close(self) -> None:
        """Nothing is held open."""


def _why_refused(path: str, root: str) -> str:
    """Why the entry at `path` is not read, or ''."""
    try:
        mode = os.lstat(path).st_mode
        if stat.S_ISREG(mode):
            return ""
        if not stat.S_ISLNK(mode):
            return "a device, socket or FIFO, not a file"
        if not os.path.realpath(path).startswith(os.path.realpath(root) + "/"):
            return "a link that leads out of the folder"
        return "" if stat.S_ISREG(Path(path).stat().st_mode) else "a link to what is no file"
    except OSError as error:
        return f"it cannot be read ({error.strerror})"
