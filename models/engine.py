"""What runs the networks: a backend, a device, and the number format that is fastest there.

torch is the reference, and runs on CUDA. On processors OpenVINO runs the same networks several times
faster, in a third of the memory. Results agree within a cosine of 0.999, so a library may be made
with one and continued with the other.
"""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec

AUTO, OPENVINO, TORCH = "auto", "openvino", "torch"
BACKENDS = (AUTO, OPENVINO, TORCH)
EXACT = "float32"  # the precision that the others are rounded from
PRECISIONS = (AUTO, EXACT, "bfloat16", "float16")
CPU, CUDA = "cpu", "cuda"


@dataclass(frozen=True)
class Engine:
    """`backend` is openvino or torch; `device` cpu or cuda; `precision`, of convolutions, float32,
    bfloat16 or float16."""

    backend: str
    device: str
    precision: str


def choose_engine(*, backend: str = AUTO, device: str = CPU, precision: str = AUTO) -> Engine:
    """The engine for a device, with what is left to it decided by what the machine can do.

    Precision ``auto`` is float16 on CUDA, bfloat16 where the processor multiplies in it natively
    (elsewhere it is emulated, and slower than float32), else float32.
    Raises ValueError for names that are none, and for OpenVINO on CUDA.
    """
    for value, known in ((backend, BACKENDS), (precision, PRECISIONS)):
        if value not in known:
            raise ValueError(f"unknown engine or precision {value!r}: choose one of {', '.join(known)}")
    if backend == AUTO:
        backend = OPENVINO if device == CPU and find_spec("openvino") else TORCH
    elif backend == OPENVINO and device != CPU:
        raise ValueError(f"the engine openvino runs on the processor, not on {device}")
    if precision == AUTO:
        if device == CUDA:
            precision = "float16"
        else:
            precision = "bfloat16" if device == CPU and cpu_has_bfloat16() else "float32"
    return Engine(backend, device, precision)


@lru_cache(maxsize=1)
def cpu_has_bfloat16() -> bool:
    """Whether the processor has instructions for products of bfloat16 (AVX512-BF16 or AMX)."""
    if platform.machine() not in ("x86_64", "AMD64"):
        return False
    try:
        with open("/proc/cpuinfo", encoding="ascii", errors="replace") as file:
            flags = next((line for line in file if line.startswith("flags")), "")
    except OSError:
        return False
    return bool({"avx512_bf16", "amx_bf16"} & set(flags.split()))


def default_device(backend: str = AUTO) -> str:
    """``cuda`` where there is one that torch can use and the backend runs on it, else ``cpu``."""
    if backend == OPENVINO or not _cuda_driver():
        return CPU
    import torch  # seconds to load: not where there is no driver anyway

    return CUDA if torch.cuda.is_available() else CPU


def _cuda_driver() -> bool:
    name = ctypes.util.find_library("cuda") or "libcuda.so.1"
    try:
        ctypes.CDLL(name)
    except OSError:
        return False
    return True
