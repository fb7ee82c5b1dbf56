"""Binary PPM (P6, 8 bits a channel), the format of GTSRB, decoded exactly.

About one GTSRB picture in seven was written in text mode: its header ends its lines with CR LF, and each byte 10 of its
pixels became 13 10. `cv2.imdecode` takes the LF after '255 CR' for the first pixel, which shifts every colour by one
channel (red stop signs turn green), so it is not used.
"""

import re

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

_BETWEEN = rb"(?:\s|#[^\n]*\n)+"
_HEADER = re.compile(rb"P6" + _BETWEEN + rb"(\d{1,5})" + _BETWEEN + rb"(\d{1,5})" + _BETWEEN + rb"(\d{1,5})(?:\r\n|\s)")


def decode_ppm(content: bytes) -> Pixels:
    """The picture, RGB (height, width, 3), read-only.

    Raises ValueError, with the reason, for anything but a P6 picture whose pixels have exactly the declared number of
    bytes, as they are or after undoing text mode.
    """
    header = _HEADER.match(content)
    if header is None:
        raise ValueError("it does not begin with a P6 header")
    width, height, maximum = (int(number) for number in header.groups())
    if maximum != 255:
        raise ValueError(f"its channels go to {maximum}, not to 255")
    declared = width * height * 3
    if declared == 0:
        raise ValueError(f"it is {width} x {height} pixels")
    start = header.end()
    if len(content) - start != declared:
        content, start = content[start:].replace(b"\r\n", b"\n"), 0
    if len(content) - start != declared:
        raise ValueError(f"{width} x {height} pixels need {declared} bytes, it has {len(content) - start}")
    return np.frombuffer(content, np.uint8, declared, start).reshape(height, width, 3)
