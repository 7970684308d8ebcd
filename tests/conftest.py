"""One math thread, as in a worker: on a busy machine several wait for each other most of the time."""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
