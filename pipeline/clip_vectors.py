"""Clips to vectors: the mean of the embeddings of a clip's first frames in which a face is found."""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from pipeline.labelled import Workplace
from pipeline.options import UsageError
from pipeline.photo_faces import PhotoReader
from transforms import storage
from transforms.decode import NotAPhoto, UnreadablePhoto, read_photo
from transforms.index_config import DEFAULT_MAX_PIXELS

VIDEO_SUFFIXES = (".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg")
_BATCH = 32
_FOLDER = "clips"


def list_clips(folder: str) -> dict[str, Path]:
    """``person/clip`` → a folder of frames or a video file, two levels below `folder`; video files by their
    names without the suffix. Raises UsageError where there are none."""
    clips = {}
    for person in sorted(p for p in Path(folder).iterdir() if p.is_dir()):
        for clip in sorted(person.iterdir()):
            if clip.is_dir() or clip.suffix.lower() in VIDEO_SUFFIXES:
                name = clip.name if clip.is_dir() else clip.stem
                clips[f"{person.name}/{name}"] = clip
    if not clips:
        raise UsageError(
            f"{folder} holds no clips: expected a folder for each person, in it a folder of frames or a "
            "video file for each clip"
        )
    return clips


class ClipVectors:
    """Embeds clips, and keeps what it found in ``OUT/clips``."""

    def __init__(self, work: Workplace, limits: Sequence[int]) -> None:
        self._work, self._limits = work, sorted(limits)
        self.reader = PhotoReader.default(work.embedder)

    def of(self, name: str, clip: Path) -> tuple[np.ndarray, np.ndarray]:
        """(float32[l, d] means over the first frames with a face, for each limit; int64[l], of how many)."""
        path = self._path(clip)
        if storage.exists(path):
            with np.load(io.BytesIO(storage.read_bytes(path)), allow_pickle=False) as file:
                return file["means"], file["counts"]
        vectors = self._vectors(clip)
        kept = [vectors[:limit] for limit in self._limits]
        means = np.stack([v.mean(axis=0) if len(v) else np.zeros(v.shape[1], np.float32) for v in kept])
        counts = np.array([len(v) for v in kept], np.int64)
        file = io.BytesIO()
        np.savez(file, means=means, counts=counts)
        storage.write_bytes(path, file.getvalue())
        return means, counts

    def _path(self, clip: Path) -> str:
        status = clip.stat()
        what = [str(clip.resolve()), status.st_size, status.st_mtime_ns, self._limits]
        how = [self.reader.spec.describe(), self.reader.detector.describe()]
        name = hashlib.sha256(json.dumps([what, how], sort_keys=True).encode()).hexdigest()[:32]
        return storage.join(self._work.out, _FOLDER, f"{name}.npz")

    def _vectors(self, clip: Path) -> np.ndarray:
        """float32[n, d]: one vector for each frame with a face, of the one that it is about."""
        crops: list[np.ndarray] = []
        parts: list[np.ndarray] = []
        for pixels in frames(clip):
            crop = self.reader.main_crop(pixels)
            if crop is not None:
                crops.append(crop)
            if len(crops) == _BATCH:
                parts.append(self.reader.embed(np.stack(crops)))
                crops = []
            if len(crops) + _BATCH * len(parts) >= self._limits[-1]:
                break
        if crops:
            parts.append(self.reader.embed(np.stack(crops)))
        nothing = np.zeros((0, self.reader.dimensions), np.float32)
        return np.concatenate([nothing, *parts])[: self._limits[-1]]


def frames(clip: Path) -> Iterator[np.ndarray]:
    """The frames of a video file, or of a folder in order of their numbers: uint8[h, w, 3] each.

    Frames that can't be read are left out. Raises UsageError for a video that can't be opened.
    """
    if not clip.is_dir():
        yield from _video_frames(clip)
        return
    for path in sorted(clip.iterdir(), key=lambda p: (len(p.name), p.name)):
        try:
            name = os.fsencode(path.name)
            yield read_photo(path.read_bytes(), name=name, max_pixels=DEFAULT_MAX_PIXELS).pixels
        except (NotAPhoto, UnreadablePhoto, OSError):
            continue


def _video_frames(path: Path) -> Iterator[np.ndarray]:
    try:
        import av
    except ImportError as error:
        raise UsageError(f"{path.name} is a video: pip install 'albumen[videos]', or give frames") from error
    try:
        with av.open(str(path)) as container:
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except (av.FFmpegError, IndexError, ValueError) as error:
        raise UsageError(f"{path} can't be read as a video ({error}): convert it, or give frames") from error
