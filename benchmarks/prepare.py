"""Throughput of `invoke data`, compared side by side with the OpenCV calls that it makes.

    python benchmarks/prepare.py --from FOLDER        # the three GTSRB archives

ours:    opens the archives, checks every row and file, reads, decodes, prepares at three sizes, saves and hashes.
bare:    every picture is in memory already; imdecode, resize, cvtColor, CLAHE and a transpose; results are discarded.
reading: the same calls, on pictures read by `zipfile`, as a plain script does it.

All three use as many threads as there are processors. Rounds are interleaved in rotating order, and each of ours writes
to a new folder. Prints one JSON object; ratios are seconds of the other over seconds of ours, paired within a round, so
1.0 is as fast, and the aim is 0.8 of `bare`. Needs an idle machine: on a busy one threads share cores.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from orchestrator import data
from orchestrator.dataset import Dataset
from orchestrator.home import Home
from orchestrator.networks import InputSize

SIZES = (32, 48, 64)
ROUNDS = 5
BLOCK = 32


Picture = tuple[Callable[[], bytes], tuple[int, ...]]
"""A function for its bytes, and the corners of its sign."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--from", dest="folder", type=Path, required=True, help="folder of the three GTSRB archives")
    folder = parser.parse_args().folder
    packed = pictures_of(folder)
    in_memory = [(partial(bytes, read()), corners) for read, corners in packed]
    clocks = {"ours": lambda: ours(folder), "bare": lambda: bare(in_memory), "reading": lambda: bare(packed)}
    for clock in clocks.values():  # warm-up of caches, for all
        clock()
    rounds = []
    for number in range(ROUNDS):
        order = list(clocks)[:: 1 if number % 2 == 0 else -1]
        rounds.append({name: clocks[name]() for name in order})
    seconds = {name: [round_[name]["seconds"] for round_ in rounds] for name in clocks}
    ratios = {
        f"ratio_to_{name}": [other / mine for other, mine in zip(seconds[name], seconds["ours"], strict=True)]
        for name in ("bare", "reading")
    }
    result = {
        "pictures": len(packed),
        "sizes": SIZES,
        "threads": len(os.sched_getaffinity(0)),
        "opencv": cv2.__version__,
        "load_before": os.getloadavg()[0],
        **{f"{name}_seconds": [round(second, 3) for second in seconds[name]] for name in clocks},
        **{f"{name}_pictures_per_second": round(len(packed) / statistics.median(seconds[name])) for name in clocks},
        **{f"{name}s": [round(ratio, 3) for ratio in values] for name, values in ratios.items()},
        **{name: round(statistics.median(values), 3) for name, values in ratios.items()},
        "register_seconds": round(statistics.median(round_["ours"]["register_seconds"] for round_ in rounds), 3),
        "found_in_cache_seconds": round(statistics.median(round_["ours"]["found_seconds"] for round_ in rounds), 3),
    }
    print(json.dumps(result, indent=1))


def ours(folder: Path) -> dict[str, float]:
    """Seconds to prepare all sizes, to register before, and to find everything again after."""
    with tempfile.TemporaryDirectory() as root:
        home, dataset = Home(Path(root)), Dataset()
        begun = time.perf_counter()
        data.register("gtsrb", folder, home)
        registered = time.perf_counter()
        data.prepare(dataset, [InputSize.square(side) for side in SIZES], home, lambda done, total: None)
        prepared = time.perf_counter()
        data.register("gtsrb", folder, home)
        data.prepare(dataset, [InputSize.square(side) for side in SIZES], home, lambda done, total: None)
        found = time.perf_counter()
    return {
        "register_seconds": registered - begun,
        "seconds": prepared - registered,
        "found_seconds": found - prepared,
    }


def bare(pictures: list[Picture]) -> dict[str, float]:
    """Seconds of only the OpenCV calls."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    begun = time.perf_counter()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(bare_block, (pictures[at : at + BLOCK] for at in range(0, len(pictures), BLOCK))):
            pass
    seconds = time.perf_counter() - begun
    cv2.setNumThreads(threads)
    return {"seconds": seconds}


def bare_block(pictures: list[Picture]) -> None:
    equaliser = cv2.createCLAHE(2.0, (4, 4))
    for read, (left, top, right, bottom) in pictures:
        sign = cv2.imdecode(np.frombuffer(read(), np.uint8), cv2.IMREAD_COLOR)[top:bottom, left:right]
        for size in SIZES:
            how = cv2.INTER_LINEAR if min(sign.shape[:2]) < size else cv2.INTER_AREA
            ycrcb = cv2.cvtColor(cv2.resize(sign, (size, size), interpolation=how), cv2.COLOR_BGR2YCrCb)
            cv2.insertChannel(equaliser.apply(cv2.extractChannel(ycrcb, 0)), ycrcb, 0)
            np.ascontiguousarray(cv2.cvtColor(ycrcb, cv2.COLOR_YCrCb2BGR).transpose(2, 0, 1))


def pictures_of(folder: Path) -> list[Picture]:
    """Every picture of the archives, to be read by `zipfile`."""
    pictures: list[Picture] = []
    for archive_name, truth_name in (
        ("GTSRB_Final_Training_Images.zip", "GTSRB_Final_Training_Images.zip"),
        ("GTSRB_Final_Test_Images.zip", "GTSRB_Final_Test_GT.zip"),
    ):
        archive, truth = zipfile.ZipFile(folder / archive_name), zipfile.ZipFile(folder / truth_name)
        for table in (name for name in truth.namelist() if name.endswith(".csv")):
            beside = table.rpartition("/")[0] or "GTSRB/Final_Test/Images"
            for row in truth.read(table).decode().splitlines()[1:]:
                name, _, _, *corners, _ = row.split(";")
                pictures.append((partial(archive.read, f"{beside}/{name}"), tuple(map(int, corners))))
    return pictures


if __name__ == "__main__":
    main()
