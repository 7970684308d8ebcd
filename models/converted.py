"""Networks in OpenVINO's format, converted from the torch modules once and kept in the user's cache.

Converting needs torch, which takes seconds to load and hundreds of megabytes to hold. It happens in a
process of its own, so that the processes that detect and embed all night never load it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from models import facenet_weights
from models.facenet_weights import FACENET_CASIA, FACENET_VGGFACE2
from models.mtcnn_weights import WEIGHTS as MTCNN_WEIGHTS
from models.weights import WeightsError

# Changes whenever the conversion does.
_VERSION = "1"
_MODEL, _SUMS = "model.xml", "SHA256"
_PACKAGES = Path(__file__).resolve().parent.parent


def cache_folder() -> Path:
    """Where converted networks are kept: $ALBUMEN_CACHE, else the user's cache folder."""
    chosen = os.environ.get("ALBUMEN_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "albumen")


def converted(name: str) -> Path:
    """The network's model.xml, converted first where that has not been done yet.

    `name` is pnet, rnet, onet, facenet-casia or facenet-vggface2. Raises WeightsError.
    """
    folder = _folder(name)
    if not _whole(folder):
        convert([name])
    return folder / _MODEL


def convert(names: Sequence[str]) -> None:
    """Converts those networks that are not in the cache, or are damaged there. Raises WeightsError."""
    missing = [name for name in names if not _whole(_folder(name))]
    if not missing:
        return
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix=".converting-") as work:
            _run_converter(missing, work)
            for name in missing:
                _install(Path(work, name), _folder(name))
    except OSError as error:
        raise WeightsError(
            f"{cache} can't be used for the converted networks ({error}): make it writable, or set "
            "ALBUMEN_CACHE to a folder that is"
        ) from error


def _run_converter(names: Sequence[str], work: str) -> None:
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join([str(_PACKAGES), *filter(None, sys.path)]))
    command = [sys.executable, "-m", "models.conversion", work, *names]
    done = subprocess.run(
        command, cwd=work, env=environment, capture_output=True, text=True, errors="replace", check=False
    )
    if done.returncode:
        lines = done.stderr.strip().splitlines()[-5:] or [f"exit code {done.returncode}"]
        raise WeightsError(
            "the networks can't be converted for the engine openvino (--engine torch does without):\n"
            + "\n".join(lines)
        )


def _install(made: Path, folder: Path) -> None:
    """Puts a finished folder in its place, whole or not at all."""
    sums = "".join(f"{_sha256(path)}  {path.name}\n" for path in sorted(made.iterdir()))
    (made / _SUMS).write_text(sums)
    if folder.exists():
        if _whole(folder):
            return  # another process was faster
        shutil.rmtree(folder)
    try:
        os.rename(made, folder)
    except OSError:
        if not _whole(folder):
            raise


def _folder(name: str) -> Path:
    return cache_folder() / f"{name}-{_weights(name)[:16]}-{_VERSION}"


def _weights(name: str) -> str:
    if name == FACENET_CASIA:
        return facenet_weights.CASIA.sha256
    if name == FACENET_VGGFACE2:
        return facenet_weights.vggface2_sha256()
    return MTCNN_WEIGHTS[name].sha256


def _whole(folder: Path) -> bool:
    """Whether a converted network lies there, as it was written."""
    try:
        sums = (folder / _SUMS).read_text().splitlines()
        return bool(sums) and all(
            _sha256(folder / line.split()[1]) == line.split()[0] for line in sums if line
        )
    except (OSError, IndexError, UnicodeDecodeError):
        return False


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
