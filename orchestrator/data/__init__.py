"""Reads the archives of a data set and prepares arrays with checksums. The only user of cv2.

`datasets` lists the data sets. `register` or `download` finds the pictures, `prepare` makes or finds the arrays,
`verify` checks them, `split` divides them, and `facts` describes them for a trial's record.
"""

import os

# OpenCV reads it as it is loaded: a small file may promise a picture of gigabytes. 8192 x 8192 pixels take 192 MiB.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(8192 * 8192)

from orchestrator.data import datasets
from orchestrator.data.cache import Manifest, Prepared, prepare, verify
from orchestrator.data.fetch import download
from orchestrator.data.partition import Split, facts, split
from orchestrator.data.source import Source, register, registered

__all__ = [
    "Manifest",
    "Prepared",
    "Source",
    "Split",
    "datasets",
    "download",
    "facts",
    "prepare",
    "register",
    "registered",
    "split",
    "verify",
]
