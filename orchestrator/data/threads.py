"""Threads for work on pictures: OpenCV, zlib, hashlib and numpy release the interpreter lock."""

import contextlib
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import cv2


@contextlib.contextmanager
def threads() -> Iterator[ThreadPoolExecutor]:
    """One thread for each processor that this process may use; after an error pending work is dropped."""
    pool = ThreadPoolExecutor(len(os.sched_getaffinity(0)))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)


@contextlib.contextmanager
def one_opencv_thread() -> Iterator[None]:
    """OpenCV uses one thread: its own threads would compete with ours, which work on whole blocks."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)
