"""MTCNN's networks on torch: facenet-pytorch's modules with its weights. The reference, and for CUDA."""

from __future__ import annotations

import io

import numpy as np
import torch
from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

from models.mtcnn_weights import ONET, PNET, RNET, WEIGHTS

_KINDS = {PNET: PNet, RNET: RNet, ONET: ONet}
_TILES, _WINDOWS = 16, 512  # how many at a time


def network(name: str) -> torch.nn.Module:
    """P-Net, R-Net or O-Net, trained. Raises WeightsError."""
    module = _KINDS[name](pretrained=False)
    state = torch.load(io.BytesIO(WEIGHTS[name].read()), map_location="cpu", weights_only=True)
    module.load_state_dict(state)
    return module.eval().requires_grad_(False)


class TorchMtcnnNetworks:
    """See `models.mtcnn.MtcnnNetworks`."""

    tile_side = 524

    def __init__(self, *, device: str = "cpu") -> None:
        self.device = torch.device(device)
        self._pnet, self._rnet, self._onet = (
            network(name).to(self.device).to(memory_format=torch.channels_last) for name in _KINDS
        )

    def propose(self, tiles: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """See `MtcnnNetworks.propose`."""
        offset, probability = self._run(self._pnet, tiles, _TILES)
        return offset, probability[:, 1]

    def refine(self, pixels: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
        """See `MtcnnNetworks.refine`."""
        offset, probability = self._run(self._rnet, pixels, _WINDOWS)
        return offset, probability[:, 1]

    def output(self, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """See `MtcnnNetworks.output`."""
        offset, points, probability = self._run(self._onet, pixels, _WINDOWS)
        return offset, points, probability[:, 1]

    @torch.inference_mode()
    def _run(self, module: torch.nn.Module, pixels: np.ndarray, batch: int) -> list[np.ndarray]:
        parts = []
        for start in range(0, len(pixels), batch):
            part = torch.from_numpy(pixels[start : start + batch]).to(self.device)
            result = module(part.contiguous(memory_format=torch.channels_last))
            parts.append([r.float().cpu().numpy() for r in result])
        return [np.concatenate(column) for column in zip(*parts, strict=True)]
