"""Arrays on their way to the device that torch works on."""

from __future__ import annotations

import numpy as np
import torch

from models.engine import CUDA


def on_device(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """The array as a tensor on `device`.

    To a graphics card it goes through pinned memory, without waiting: the card copies it while it
    works on the batch before, and the processor makes the next one ready.
    """
    tensor = torch.from_numpy(np.ascontiguousarray(array))
    if device.type == CUDA:
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
