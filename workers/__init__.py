"""waymark's worker: one process trains one network once, in one environment (CPython 3.6+, numpy)."""

import time

# The first line of our code in a worker process: t = 0 of its events, and the wall clock at that time.
BEGAN = time.perf_counter()
BEGAN_UNIX = time.time()
