"""waymark's worker: one process trains one network once, in one environment (CPython 3.6+, numpy)."""

import time

# The first of our lines that a worker process runs: t = 0 of its events, and what the wall clock said then.
BEGAN = time.perf_counter()
BEGAN_UNIX = time.time()
