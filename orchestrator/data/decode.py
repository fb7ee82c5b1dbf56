"""Pictures of any usual format, decoded to RGB with 8 bits a channel.

Grey and palette pictures become RGB, transparency is dropped, CMYK is converted, 16 bits are cut to the upper 8, and a
picture is turned as its EXIF orientation says.
"""

import cv2
import numpy as np

from orchestrator.data.ppm import Pixels, decode_ppm

SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".bmp", ".pgm", ".tif", ".tiff", ".webp")
"""Of files that are taken for pictures, as torchvision's ImageFolder does (torchvision.datasets.folder)."""

MOST_PIXELS = 8192 * 8192
"""Of one picture; orchestrator/data/__init__.py tells OpenCV."""


_PNG = b"\x89PNG\r\n\x1a\n"


def is_picture(name: str) -> bool:
    """Whether a file of that name is taken for a picture."""
    return name.lower().endswith(SUFFIXES)


def decode(content: bytes) -> Pixels:
    """The picture, RGB (height, width, 3).

    Raises ValueError, with the reason, for what is no picture, is cut short, or has more than MOST_PIXELS.
    """
    if not content:
        raise ValueError("it is empty")
    if content.startswith(b"P6"):
        return decode_ppm(content)
    if content.startswith(_PNG):
        _require_chunks(content)
    try:
        rgb = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    except cv2.error as error:
        if "CV_IO_MAX_IMAGE" in str(error):
            raise ValueError(f"it has more than {MOST_PIXELS:,} pixels") from None
        rgb = None
    if rgb is None:
        raise ValueError("it does not read as JPEG, PNG, PPM, BMP, WebP or TIFF: another format, damaged or cut short")
    if rgb.dtype != np.uint8 or rgb.ndim != 3:
        raise ValueError(f"its pixels are {rgb.dtype} {rgb.shape}")
    return np.asarray(rgb, np.uint8)


def _require_chunks(content: bytes) -> None:
    """Raises ValueError for a PNG that promises a chunk beyond its end: OpenCV 5 takes memory for it, up to 4 GiB."""
    at = len(_PNG)
    while at + 8 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4], "big"), content[at + 4 : at + 8]
        at += 12 + length
        if at > len(content):
            raise ValueError("it is cut short, or damaged")
        if kind == b"IEND":
            return
