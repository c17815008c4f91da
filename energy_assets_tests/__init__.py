"""Tests, in the tree of what they test."""

import os

# As `energy` sets it before NumPy is loaded: workers that each start a thread per core wait for one another.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
