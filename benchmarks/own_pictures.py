"""Preparation of a user's own folder: pictures a second beside a plain OpenCV loop, and memory over their number.

    python benchmarks/own_pictures.py                       # 4,000 JPEG pictures of 320 x 240, at 64 x 64
    python benchmarks/own_pictures.py --memory=10000,100000 # peak memory of small pictures, by their number

ours:  `data.prepare` of a registered folder: reads, decodes, resizes, writes the arrays and their checksums.
plain: cv2.imread, cv2.resize and a transpose into one array, which numpy.save writes; on as many threads as processors.

Rounds are interleaved in rotating order. Prints one JSON object; `ratio` is seconds of plain over seconds of ours,
paired within a round, so 1.0 is as fast; the aim is 0.9. Needs an idle machine.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from orchestrator import data
from orchestrator.dataset import Dataset
from orchestrator.home import Home
from orchestrator.networks import InputSize

import cv2  # isort: skip - after orchestrator.data, which bounds the size of its pictures
import numpy as np

SIDE, ROUNDS, CLASSES = 64, 5, 10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=4000)
    parser.add_argument("--memory", default="", help="numbers of small pictures, comma-separated")
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.child:
        child(asked.child)
    elif asked.memory:
        print(json.dumps({count: memory(int(count)) for count in asked.memory.split(",")}, indent=1))
    else:
        print(json.dumps(speeds(asked.count), indent=1))


def written(folder: Path, count: int, height: int, width: int) -> None:
    """`count` JPEG pictures in ten classes, a fifth of them to test."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (64, height // 8, width // 8, 3)).astype(np.uint8)
    for number in range(count):
        part = "test" if number % 5 == 0 else "train"
        path = folder / part / str(number % CLASSES) / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        picture = cv2.resize(coarse[number % 64], (width, height), interpolation=cv2.INTER_CUBIC)
        picture[number % height] = number % 256  # no two are the same
        cv2.imwrite(str(path), picture)


def ours(home: Home) -> float:
    begun = time.perf_counter()
    dataset = Dataset(name="mine", filters=())
    (entry,) = data.prepare(dataset, [InputSize.square(SIDE)], home, lambda done, total: None).values()
    seconds = time.perf_counter() - begun
    for path in entry.path.iterdir():
        path.unlink()
    entry.path.rmdir()
    return seconds


def plain(folder: Path, target: Path) -> float:
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    begun = time.perf_counter()
    paths = [str(path) for path in sorted(folder.rglob("*.jpg"))]
    prepared = np.empty((len(paths), 3, SIDE, SIDE), np.uint8)

    def one(number: int) -> None:
        picture = cv2.resize(cv2.imread(paths[number]), (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        prepared[number] = picture.transpose(2, 0, 1)

    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(one, range(len(paths))))
    np.save(target, prepared)
    seconds = time.perf_counter() - begun
    cv2.setNumThreads(threads)
    return seconds


def speeds(count: int) -> dict[str, object]:
    with tempfile.TemporaryDirectory() as root:
        folder, home = Path(root) / "set", Home(Path(root) / "home")
        written(folder, count, 240, 320)
        begun = time.perf_counter()
        data.register("mine", folder, home)
        register_seconds = time.perf_counter() - begun
        clocks = {"ours": lambda: ours(home), "plain": lambda: plain(folder, Path(root) / "plain.npy")}
        for clock in clocks.values():
            clock()
        rounds = []
        for number in range(ROUNDS):
            order = list(clocks)[:: 1 if number % 2 == 0 else -1]
            rounds.append({name: clocks[name]() for name in order})
    ratios = [round_["plain"] / round_["ours"] for round_ in rounds]
    return {
        "pictures": count,
        "threads": len(os.sched_getaffinity(0)),
        **{f"{name}_per_second": round(count / statistics.median(each[name] for each in rounds)) for name in clocks},
        "ratios": [round(ratio, 3) for ratio in ratios],
        "ratio": round(statistics.median(ratios), 3),
        "register_seconds": round(register_seconds, 2),
    }


def memory(count: int) -> dict[str, float]:
    """Peak MiB of a process that registers and prepares so many pictures of 32 x 32."""
    with tempfile.TemporaryDirectory() as root:
        written(Path(root) / "set", count, 32, 32)
        said = subprocess.run([sys.executable, __file__, "--child", root], check=True, stdout=subprocess.PIPE)
        result: dict[str, float] = json.loads(said.stdout)
        return result


def child(root: Path) -> None:
    def peak() -> float:
        return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)

    home, found = Home(root / "home"), {"start_mib": peak()}
    for name, work in (
        ("register", lambda: data.register("mine", root / "set", home)),
        ("prepare", lambda: ours(home)),
    ):
        begun = time.perf_counter()
        work()
        found |= {f"{name}_mib": peak(), f"{name}_seconds": round(time.perf_counter() - begun, 1)}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
