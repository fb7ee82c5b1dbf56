"""Reads the archives of a data set and prepares arrays with checksums. The only user of cv2.

`datasets` lists the data sets. `register` or `download` finds the pictures, `prepare` makes or finds the arrays,
`verify` checks them, `split` divides them, and `facts` describes them for a trial's record.
"""

import os

# OpenCV reads both as it is loaded. A small file may promise a picture of gigabytes; 8192 x 8192 pixels take 192 MiB.
os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(8192 * 8192)
os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")  # what it says of a damaged picture, waymark says with its name

from orchestrator.data import datasets
from orchestrator.data.cache import Manifest, Prepared, prepare, scale_of, verify
from orchestrator.data.datasets import register
from orchestrator.data.fetch import download
from orchestrator.data.partition import Split, facts, split
from orchestrator.data.source import Reading, Source, recorded

__all__ = [
    "Manifest",
    "Prepared",
    "Reading",
    "Source",
    "Split",
    "datasets",
    "download",
    "facts",
    "prepare",
    "recorded",
    "register",
    "scale_of",
    "split",
    "verify",
]
