"""The FaceNet embedder: InceptionResnetV1 on 160 × 160 crops, 512-D vectors on the unit sphere.

Schroff et al. 2015, section 3: f(x) lives on the hypersphere, and squared L2 distance between two
vectors measures how unlike two faces are. The network's architecture is facenet-pytorch's.
"""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from facenet_pytorch import InceptionResnetV1
from facenet_pytorch.models.inception_resnet_v1 import BasicConv2d
from torch.nn.functional import normalize
from torch.nn.utils.fusion import fuse_conv_bn_eval

from models.engine import CPU, CUDA, Engine
from models.torch_transfer import on_device

# The most at a time. A graphics card gets a slice of faces (256 and a few, see `transforms.detect`) whole.
_BATCH = {CPU: 32, CUDA: 512}


class FaceNet:
    """InceptionResnetV1 with given weights, on torch."""

    dimensions = 512

    def __init__(self, state: dict[str, torch.Tensor], *, engine: Engine) -> None:
        self.device = torch.device(engine.device)
        self.dtype = getattr(torch, engine.precision)
        network = InceptionResnetV1(pretrained=None, classify=False)
        network.load_state_dict(state)
        network.eval().requires_grad_(False)
        # The last layer and the normalisation stay float32: half precision is for the convolutions.
        self._linear = copy.deepcopy(network.last_linear).float().to(self.device)
        self._norm = copy.deepcopy(network.last_bn).float().to(self.device)
        network.last_linear = network.last_bn = torch.nn.Identity()
        trunk: Any = fused(network)
        # bfloat16 has eight bits: of a dark, blurred face it loses what tells it from a flat one. Vectors of
        # such faces came with a cosine of 0.999 to those in float32; with the first two convolutions exact
        # all are within 0.9998.
        self._exact = torch.float32 if self.dtype == torch.bfloat16 else self.dtype
        stem = torch.nn.Sequential(trunk.conv2d_1a, trunk.conv2d_2a)
        trunk.conv2d_1a = trunk.conv2d_2a = torch.nn.Identity()
        self._stem = stem.to(self.device, self._exact).to(memory_format=torch.channels_last)
        self._trunk = trunk.to(self.device, self.dtype).to(memory_format=torch.channels_last)
        self._batch = _BATCH.get(self.device.type, 128)

    @torch.inference_mode()
    def embed(self, crops: np.ndarray) -> np.ndarray:
        """uint8[n, 160, 160, 3] RGB crops to float32[n, 512] vectors of unit length."""
        batches = -(-len(crops) // self._batch)
        if not batches:
            return np.zeros((0, self.dimensions), np.float32)
        parts = np.array_split(crops, batches)
        return np.concatenate([self.vectors(on_device(part, self.device)).cpu().numpy() for part in parts])

    def vectors(self, crops: torch.Tensor) -> torch.Tensor:
        """uint8[n, 160, 160, 3] on this device to float32[n, 512]; what engines trace."""
        # uint8 NHWC seen as NCHW already is channels_last: no copy but the change of type.
        pixels = (crops.permute(0, 3, 1, 2).to(torch.float32) - 127.5) / 128.0
        stem = self._stem(pixels.to(self._exact))
        return normalize(self._norm(self._linear(self._features(stem.to(self.dtype)))), dim=1)

    def _features(self, x: torch.Tensor) -> torch.Tensor:
        n = self._trunk
        x = n.conv2d_4a(n.conv2d_3b(n.maxpool_3a(n.conv2d_2b(x))))
        x = n.repeat_2(n.mixed_6a(n.repeat_1(n.conv2d_4b(x))))
        x = n.block8(n.repeat_3(n.mixed_7a(x)))
        return x.float().mean((2, 3))


def fused(network: torch.nn.Module) -> torch.nn.Module:
    """Folds every batch norm that follows a convolution into it: fewer passes over memory."""
    for module in network.modules():
        if isinstance(module, BasicConv2d):
            module.conv = fuse_conv_bn_eval(module.conv, module.bn)
            module.bn = torch.nn.Identity()
    return network
