"""One math thread, as in a worker: on a busy machine several wait for each other most of the time."""

from __future__ import annotations

import os

from hypothesis import settings

os.environ["OMP_NUM_THREADS"] = "1"
# How long an example takes says something about the machine: the first one compiles, others wait.
settings.register_profile("albumen", deadline=None)
settings.load_profile("albumen")
