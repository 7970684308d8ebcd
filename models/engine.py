"""What the machine can do: devices, and the number format that is fastest without changing results."""

from __future__ import annotations

import platform
from functools import lru_cache

import torch

PRECISIONS = ("auto", "float32", "bfloat16", "float16")


def choose_precision(precision: str, device: torch.device) -> torch.dtype:
    """The number format for convolutions. ``auto``: float16 on CUDA, bfloat16 where the processor
    multiplies in it natively (elsewhere it is emulated, and slower than float32), else float32."""
    if precision not in PRECISIONS:
        raise ValueError(f"unknown precision {precision!r}: choose one of {', '.join(PRECISIONS)}")
    if precision != "auto":
        return getattr(torch, precision)
    if device.type == "cuda":
        return torch.float16
    return torch.bfloat16 if device.type == "cpu" and cpu_has_bfloat16() else torch.float32


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


def default_device() -> str:
    """``cuda`` where there is one, else ``cpu``."""
    return "cuda" if torch.cuda.is_available() else "cpu"
