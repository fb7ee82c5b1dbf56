"""Whether a folder lies on a file system that other machines see, too."""

from pathlib import Path

MOUNTS = Path("/proc/self/mounts")
LOCAL = (
    *("ext2", "ext3", "ext4", "xfs", "btrfs", "zfs", "f2fs", "jfs", "reiserfs", "bcachefs", "vfat", "exfat", "ntfs3"),
    *("tmpfs", "ramfs", "overlay", "aufs", "squashfs", "erofs", "apfs", "hfsplus"),
)
"""Of one machine's own disks and memory."""


def file_system_of(folder: Path) -> str:
    """The kind of file system that holds `folder`, as the kernel calls it: 'nfs4', 'ext4'; '' if it does not tell."""
    try:
        lines = MOUNTS.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    folder, found, kind = folder.absolute().resolve(), -1, ""
    for line in lines:
        _, place, kind_here = (*line.split(" "), "", "", "")[:3]
        path = Path(place.replace("\\040", " ").replace("\\011", "\t").replace("\\134", "\\"))
        if (folder == path or folder.is_relative_to(path)) and len(path.parts) >= found:
            found, kind = len(path.parts), kind_here
    return kind


def is_local(folder: Path) -> bool:
    """Whether only this machine sees it, as far as its file system tells."""
    return file_system_of(folder) in LOCAL
