"""Raw archives in, prepared arrays with checksums out. The only user of cv2.

`datasets` says which there are. `register` or `download` says where the pictures are, `prepare` makes or finds the
arrays, `verify` reads them again, `split` divides them, `facts` is what a trial's record says of them.
"""

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
