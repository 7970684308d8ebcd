"""From torch modules to OpenVINO's format: ``python -m models.conversion FOLDER NAME…``.

A process of its own, started by `models.converted`. OpenVINO's converter tool is not used, only its
reader of traced modules: the tool reports its use to its makers (see `models.openvino_runtime`).
"""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch

from models import facenet_weights
from models.engine import CPU, TORCH, Engine
from models.facenet import FaceNet
from models.facenet_weights import FACENET_CASIA, FACENET_VGGFACE2
from models.mtcnn_torch import network
from models.mtcnn_weights import ONET, PNET, RNET
from models.openvino_runtime import silent_openvino


class _FaceNetGraph(torch.nn.Module):
    """uint8[n, 160, 160, 3] crops to float32[n, 512] unit vectors, for tracing."""

    def __init__(self, facenet: FaceNet) -> None:
        super().__init__()
        self._facenet = facenet

    def forward(self, crops: torch.Tensor) -> torch.Tensor:
        return self._facenet.vectors(crops)


def _module(name: str) -> tuple[torch.nn.Module, torch.Tensor]:
    """The network called `name`, and an input to trace it with."""
    if name in (FACENET_CASIA, FACENET_VGGFACE2):
        load = {
            FACENET_CASIA: facenet_weights.load_casia,
            FACENET_VGGFACE2: facenet_weights.load_vggface2,
        }[name]
        facenet = FaceNet(load(), engine=Engine(TORCH, CPU, "float32"))
        return _FaceNetGraph(facenet), torch.zeros((2, 160, 160, 3), dtype=torch.uint8)
    side = {PNET: 64, RNET: 24, ONET: 48}[name]
    return network(name), torch.zeros((2, 3, side, side))


def convert(name: str, folder: Path) -> None:
    """Writes model.xml and model.bin of the network into `folder`."""
    openvino = silent_openvino()
    from openvino.frontend import FrontEndManager
    from openvino.frontend.pytorch.ts_decoder import TorchScriptPythonDecoder

    module, example = _module(name)
    with torch.inference_mode():
        decoder = TorchScriptPythonDecoder(module.eval(), example_input=example)
    frontend = FrontEndManager().load_by_framework("pytorch")
    folder.mkdir()
    openvino.save_model(
        frontend.convert(frontend.load(decoder)), folder / "model.xml", compress_to_fp16=False
    )


if __name__ == "__main__":
    warnings.filterwarnings("ignore")
    for wanted in sys.argv[2:]:
        convert(wanted, Path(sys.argv[1], wanted))
