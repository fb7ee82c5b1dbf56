"""Arrays in an .npz file, which may be damaged."""

import struct
import zipfile
import zlib

import numpy


def read(path):
    """All arrays of an .npz file: name -> array. Raises ValueError, a sentence without the path, for another file."""
    try:
        with open(path, "rb") as file, numpy.load(file) as arrays:
            return {name: arrays[name] for name in arrays.files}
    # What numpy and zipfile raise for a damaged file.
    except (OSError, ValueError, KeyError, EOFError, struct.error, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"it cannot be read as arrays ({error or type(error).__name__})") from error
    except (AttributeError, TypeError) as error:
        raise ValueError("it holds one array, not several by name") from error
