"""MTCNN's networks on torch: facenet-pytorch's modules with its weights. The reference, and for CUDA.

See `models.mtcnn_screening` for what half precision is trusted with.
"""

from __future__ import annotations

import io

import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

from models.engine import EXACT
from models.mtcnn_screening import ScreenedNetworks
from models.mtcnn_weights import ONET, PNET, RNET, WEIGHTS
from models.torch_transfer import on_device

_KINDS = {PNET: PNet, RNET: RNet, ONET: ONet}
_SIDE = 524
_TILES, _WINDOWS, _PNET_WINDOWS = 16, 512, 4096  # how many at a time


def network(name: str) -> torch.nn.Module:
    """P-Net, R-Net or O-Net, trained. Raises WeightsError."""
    module = _KINDS[name](pretrained=False)
    state = torch.load(io.BytesIO(WEIGHTS[name].read()), map_location="cpu", weights_only=True)
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)


class TorchMtcnnNetworks(ScreenedNetworks):
    """See `models.mtcnn.MtcnnNetworks`. Raises WeightsError."""

    def __init__(self, *, device: str = "cpu", precision: str = EXACT) -> None:
        screens = precision != EXACT
        super().__init__(
            tile_side=_SIDE,
            pnet=_TorchNetwork(PNET, _TILES, device, precision),
            rnet=_TorchNetwork(RNET, _WINDOWS, device, precision),
            onet=_TorchNetwork(ONET, _WINDOWS, device, EXACT),
            exact_pnet=_TorchNetwork(PNET, _PNET_WINDOWS, device, EXACT) if screens else None,
            exact_rnet=_TorchNetwork(RNET, _WINDOWS, device, EXACT) if screens else None,
        )


class _TorchNetwork:
    """A network on a device in one precision, which is given `batch` inputs at a time."""

    def __init__(self, name: str, batch: int, device: str, precision: str) -> None:
        self._device, self._dtype, self._batch = torch.device(device), getattr(torch, precision), batch
        module = network(name).to(self._device, self._dtype)
        self._module = module.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, pixels: np.ndarray) -> list[np.ndarray]:
        """float32[n, …] outputs for float32[n, 3, s, s]."""
        parts = []
        # By default torch has cuDNN round float32 to the ten bits of TF32: no more than float16 has.
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            for start in range(0, len(pixels), self._batch):
                part = on_device(pixels[start : start + self._batch], self._device).to(self._dtype)
                parts.append(self._module(part.contiguous(memory_format=torch.channels_last)))
        # Outputs are fetched at the end: fetching waits for the card.
        return [torch.cat(column).float().cpu().numpy() for column in zip(*parts, strict=True)]
