"""Networks in OpenVINO's format, converted from the torch modules once and kept in the user's cache.

Converting needs torch, which takes seconds to load and a gigabyte to work. It happens in a process of
its own, so that the processes that detect and embed all night never load it; and in one at a time, for
which the others that need it wait.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from models import facenet_weights
from models.facenet_weights import FACENET_CASIA, FACENET_VGGFACE2
from models.mtcnn_weights import WEIGHTS as MTCNN_WEIGHTS
from models.weights import WeightsError

# Changes whenever the conversion does.
_VERSION = "1"
_MODEL, _SUMS, _LOCK = "model.xml", "SHA256", ".lock"
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
    if not _missing(names):
        return
    cache = cache_folder()
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with _alone(cache):
            missing = _missing(names)
            if not missing:
                return  # done while this process waited
            _convert(missing, cache)
    except OSError as error:
        raise WeightsError(
            f"{cache} can't be used for the converted networks ({error}): make it writable, or set "
            "ALBUMEN_CACHE to a folder that is"
        ) from error


def _missing(names: Sequence[str]) -> list[str]:
    return [name for name in names if not _whole(_folder(name))]


@contextmanager
def _alone(cache: Path) -> Iterator[None]:
    """Waits until no other process converts into `cache`; one that dies lets go of its lock.

    Some network drives know no locks: there several convert at once, which costs memory and no more.
    """
    # Opened for reading: a cache that several users share may hold another's.
    lock = os.open(cache / _LOCK, os.O_RDONLY | os.O_CREAT, 0o666)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
        except OSError:
            pass
        yield
    finally:
        os.close(lock)


def _convert(names: Sequence[str], cache: Path) -> None:
    with tempfile.TemporaryDirectory(dir=cache, prefix=".converting-") as work:
        _run_converter(names, work)
        for name in names:
            _install(Path(work, name), _folder(name))


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
            return  # another process was faster, on a drive without locks
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
