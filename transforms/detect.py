"""Photos to aligned faces: reads, decodes ahead in threads, finds faces, cuts them out."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import apache_beam as beam
import numpy as np

from models.crop import roll_degrees, yaw_degrees
from models.detector import Detections, Detector, MtcnnSettings, load_detector
from models.embedder import EmbedderSpec
from models.engine import CPU, Engine
from models.weights import WeightsError
from transforms import progress_pipe, storage
from transforms.align import sharpness, side_for_crops, thumbnail, warp
from transforms.archive import ArchiveError, read_file
from transforms.decode import (
    NotAPhoto,
    Photo,
    PhotoInfo,
    UnreadablePhoto,
    kind_by_name,
    prepare_pillow,
    read_info,
    read_photo,
)
from transforms.index_config import IndexConfig
from transforms.known_content import KNOWN_CONTENT, KnownContent, content_id
from transforms.library import Library, LibraryError
from transforms.manifest import Chunk, read_chunk
from transforms.records import ERROR, NO_FACE, OK, SKIPPED, FaceRow, FaceSlice, FileEntry, PhotoRow
from transforms.tombstones import FORGOTTEN, Tombstones

T = TypeVar("T")

# Photos are searched some at a time: so many decoded bytes, and so many pixels at the working size
# (some 60 MB while their pyramids are searched). While one group is searched the next is decoded.
_GROUP_BYTES, _GROUP_PIXELS, _GROUP_PHOTOS = 48_000_000, 4_000_000, 32
# Files are read ahead of that: so many, or so many bytes.
_READ_FILES, _READ_BYTES = 32, 24_000_000
_SLICE_CROPS = 256
# Photos are decoded with at least so many pixels on the longer side, so that most small faces have
# enough for their crops: for a camera's photo that costs less than decoding it twice.
DECODED_SIDE = 2700
# Disk images and the like under names that say nothing: read whole, they would fill the memory.
_FILE_BYTES = 1_000_000_000


@dataclass(frozen=True)
class _Opened:
    """A file after reading: its row, and unless that is settled already its content and header."""

    row: PhotoRow
    data: bytes = b""
    info: PhotoInfo | None = None


@dataclass(frozen=True)
class _Decoded:
    """A photo to be searched, or a file whose row is settled."""

    row: PhotoRow
    data: bytes = b""
    photo: Photo | None = None


def search_cost(info: PhotoInfo, working_side: int) -> tuple[int, int]:
    """What a photo takes: bytes while it is decoded, pixels while it is searched at the working size."""
    full, longer = info.width * info.height, max(info.width, info.height)
    # JPEG is decoded at less than twice the wanted side; the others in full before they are reduced.
    reducible = info.format in ("JPEG", "MPO")
    decoded = full * min(1.0, 2 * max(DECODED_SIDE, working_side) / longer) ** 2 if reducible else full
    return int(3 * decoded), int(full * min(1.0, working_side / longer) ** 2)


def searched_together(files: Iterable[T], cost: Callable[[T], tuple[int, int]]) -> Iterator[list[T]]:
    """Files in groups that are searched at a time: one photo, or several whose costs (`search_cost`) are
    within the limits together."""
    group: list[T] = []
    held = pixels = 0
    for one in files:
        size, searched = cost(one)
        full = held + size > _GROUP_BYTES or pixels + searched > _GROUP_PIXELS
        if group and (full or len(group) >= _GROUP_PHOTOS):
            yield group
            group, held, pixels = [], 0, 0
        group.append(one)
        held, pixels = held + size, pixels + searched
    if group:
        yield group


class ChunkDetector:
    """Finds the faces of chunks of files. Holds the detector; made once a process."""

    def __init__(
        self,
        config: IndexConfig,
        detector: Detector,
        spec: EmbedderSpec,
        known: KnownContent,
        forgotten: Tombstones | None = None,
    ) -> None:
        self._config, self._detector, self._spec, self._known = config, detector, spec, known
        self._forgotten = forgotten or Tombstones()

    def slices(self, chunk: Chunk, entries: Sequence[FileEntry]) -> Iterator[FaceSlice]:
        """The faces of a chunk's photos, in slices bounded in crops; the last one says so.

        Raises ArchiveError where the root has gone: then nothing can be said of its files.
        """
        open_slice = FaceSlice(chunk.name, last=False, photos=[])
        crops: list[np.ndarray] = []
        for group in self._decoded(entries):
            found = len(crops)
            for row, faces in self._detect(group):
                open_slice.photos.append(row)
                for face, crop, thumb in faces:
                    open_slice.faces.append(face)
                    crops.append(crop)
                    if thumb:
                        open_slice.thumbs.append(thumb)
            progress_pipe.report(
                self._config.progress_fd,
                progress_pipe.PHOTOS,
                chunk=chunk.name,
                count=len(group),
                faces=len(crops) - found,
            )
            while len(crops) >= _SLICE_CROPS:
                # Whole batches for the embedder: the rest waits for the next slice.
                full, open_slice = _cut(open_slice, _SLICE_CROPS)
                yield replace(full, crops=np.stack(crops[:_SLICE_CROPS]))
                crops = crops[_SLICE_CROPS:]
        yield replace(open_slice, last=True, crops=self._stack(crops))

    def _stack(self, crops: list[np.ndarray]) -> np.ndarray:
        size = self._spec.size
        return np.stack(crops) if crops else np.zeros((0, size, size, 3), np.uint8)

    # -- reading -----------------------------------------------------------------------------

    def _decoded(self, entries: Sequence[FileEntry]) -> Iterator[list[_Decoded]]:
        """The files in groups, in their order; the next group is decoded while one is searched."""
        threads = ThreadPoolExecutor(self._config.decode_threads, thread_name_prefix="decode")
        try:
            ahead: list[Future[_Decoded]] = []
            opened = self._opened(entries, threads)
            for group in searched_together(opened, self._cost):
                begun = [threads.submit(self._decode, one) for one in group]
                if ahead:
                    yield [future.result() for future in ahead]
                ahead = begun
            if ahead:
                yield [future.result() for future in ahead]
        finally:
            threads.shutdown(wait=False, cancel_futures=True)

    def _opened(self, entries: Sequence[FileEntry], threads: ThreadPoolExecutor) -> Iterator[_Opened]:
        """The files in their order, read a bounded way ahead."""
        waiting: deque[tuple[int, Future[_Opened]]] = deque()
        held = 0
        for entry in entries:
            while waiting and (len(waiting) >= _READ_FILES or held + entry.size > _READ_BYTES):
                size, future = waiting.popleft()
                held -= size
                yield future.result()
            held += entry.size
            waiting.append((entry.size, threads.submit(self._open, entry)))
        yield from (future.result() for _, future in waiting)

    def _cost(self, one: _Opened) -> tuple[int, int]:
        return search_cost(one.info, self._config.detector.working_side) if one.info else (0, 0)

    @property
    def _decoded_side(self) -> int:
        return max(DECODED_SIDE, self._config.detector.working_side)

    def _open(self, entry: FileEntry) -> _Opened:
        reason = kind_by_name(entry.path)
        if not reason and entry.size > _FILE_BYTES:
            reason = (
                f"{entry.size / 1e9:.1f} GB: too large for a photograph (limit {_FILE_BYTES / 1e9:.0f} GB)"
            )
        if reason:
            return _Opened(PhotoRow(entry, SKIPPED, reason))
        try:
            data = read_file(self._config.location, entry.path)
        except FileNotFoundError:
            self._config.guard.check()
            return _Opened(PhotoRow(entry, ERROR, "vanished between listing and reading"))
        except OSError as error:
            self._config.guard.check()
            return _Opened(PhotoRow(entry, ERROR, f"can't be read: {error.strerror or error}"))
        photo_id = content_id(data)
        row = PhotoRow(entry, OK, photo_id=photo_id)
        if self._forgotten.photo(photo_id, entry):
            return _Opened(replace(row, status=SKIPPED, reason=FORGOTTEN))
        try:
            info = read_info(data, name=entry.path, max_pixels=self._config.max_pixels)
        except NotAPhoto as error:
            return _Opened(replace(row, status=SKIPPED, reason=str(error)))
        except UnreadablePhoto as error:
            return _Opened(replace(row, status=ERROR, reason=str(error)))
        row = _described(row, info)
        known = self._known.status(photo_id)
        if known:
            return _Opened(replace(row, status=known, reason=None if known == OK else _NO_FACE_REASON))
        return _Opened(row, data, info)

    def _decode(self, one: _Opened) -> _Decoded:
        if one.info is None:
            return _Decoded(one.row)
        try:
            return _Decoded(one.row, one.data, self._read_photo(one.row, one.data, self._decoded_side))
        except NotAPhoto as error:
            return _Decoded(replace(one.row, status=SKIPPED, reason=str(error)))
        except UnreadablePhoto as error:
            return _Decoded(replace(one.row, status=ERROR, reason=str(error)))

    def _read_photo(self, row: PhotoRow, data: bytes, side: int) -> Photo:
        return read_photo(
            data,
            name=row.file.path,
            max_pixels=self._config.max_pixels,
            long_side=side,
            # A graphics card is fed by many threads; a core by its own.
            alone=self._config.device == CPU,
        )

    # -- detecting ---------------------------------------------------------------------------

    def _detect(self, group: Sequence[_Decoded]) -> Iterator[tuple[PhotoRow, list]]:
        with_photo = [p for p in group if p.photo is not None]
        yield from ((p.row, []) for p in group if p.photo is None)
        found: Sequence[Detections | None]
        try:
            found = self._detector.detect([p.photo.pixels for p in with_photo if p.photo])
        except Exception:
            # One photo that the network can't take must not cost the others.
            found = [None] * len(with_photo)
        for one, faces in zip(with_photo, found, strict=True):
            yield self._settle(one, faces)

    def _settle(self, one: _Decoded, found: Detections | None) -> tuple[PhotoRow, list]:
        """The row and faces of a photo, searched by itself where that is still to do.

        What goes wrong, be it for want of memory, is that photo's error. Raises ArchiveError and
        LibraryError, which no other photo would survive either.
        """
        assert one.photo is not None
        step = "detection"
        try:
            if found is None:
                found = self._detector.detect([one.photo.pixels])[0]
            step = "cropping"
            return self._finish(one, found)
        except (ArchiveError, LibraryError):
            raise
        except Exception as error:
            reason = f"{step} failed: {type(error).__name__}: {str(error)[:200]}"
            return replace(one.row, status=ERROR, reason=reason), []

    def _finish(self, one: _Decoded, found: Detections) -> tuple[PhotoRow, list]:
        if not len(found.boxes):
            return replace(one.row, status=NO_FACE, reason=_NO_FACE_REASON), []
        photo = one.photo
        assert photo is not None and one.row.photo_id is not None
        info = photo.info
        full = np.array([info.width / photo.pixels.shape[1], info.height / photo.pixels.shape[0]], np.float32)
        boxes, landmarks = found.boxes * np.tile(full, 2), found.landmarks * full
        forgotten = self._forgotten.faces(one.row.photo_id, one.row.file, boxes)
        if forgotten.all():
            return replace(one.row, status=NO_FACE, reason=_NO_FACE_REASON), []
        pixels = self._pixels_for_crops(one, boxes)
        part = np.array([pixels.shape[1] / info.width, pixels.shape[0] / info.height], np.float32)
        faces = []
        # From left to right, so that "the third face" means the same to a person and to the next run.
        for number, k in enumerate(np.argsort(boxes[:, 0], kind="stable")):
            if forgotten[k]:
                continue
            box, points = boxes[k], landmarks[k]
            matrix = self._spec.geometry.matrix(box * np.tile(part, 2), points * part, self._spec.size)
            crop = warp(pixels, matrix, self._spec.size)
            face = FaceRow(
                face_id=f"{one.row.photo_id}:{number}",
                photo_id=one.row.photo_id,
                box=box,
                landmarks=points,
                score=float(found.scores[k]),
                size=float(min(box[2] - box[0], box[3] - box[1])),
                sharpness=sharpness(crop),
                roll=roll_degrees(points),
                yaw=yaw_degrees(points),
            )
            thumb = thumbnail(pixels, box * np.tile(part, 2)) if self._config.thumbs else b""
            faces.append((face, crop, thumb))
        return one.row, faces

    def _pixels_for_crops(self, one: _Decoded, boxes: np.ndarray) -> np.ndarray:
        """The photo with enough pixels for the smallest face's crop, decoded again if need be.

        What comes back is bounded by `align.CROP_PIXELS`. Only JPEG is decoded within that bound: the other
        formats can't be decoded but in full, and are reduced then.
        """
        photo = one.photo
        assert photo is not None
        side = side_for_crops(photo.info.width, photo.info.height, boxes, size=self._spec.size)
        if side <= max(photo.pixels.shape[:2]) * 1.01:
            return photo.pixels
        try:
            larger = self._read_photo(one.row, one.data, side)
        except (NotAPhoto, UnreadablePhoto):
            return photo.pixels
        return larger.pixels


_NO_FACE_REASON = "no face found"


def _cut(part: FaceSlice, faces: int) -> tuple[FaceSlice, FaceSlice]:
    """The slice with its photos and so many of its faces, and one with the others."""
    full = replace(part, faces=part.faces[:faces], thumbs=part.thumbs[:faces])
    return full, replace(part, photos=[], faces=part.faces[faces:], thumbs=part.thumbs[faces:])


def _described(row: PhotoRow, info: PhotoInfo) -> PhotoRow:
    return replace(
        row,
        width=info.width,
        height=info.height,
        format=info.format,
        taken_at=info.taken_at,
        utc_offset=info.utc_offset,
    )


@lru_cache(maxsize=1)
def _shared_detector(settings: MtcnnSettings, engine: Engine) -> Detector:
    return load_detector(settings, engine=engine)


@beam.typehints.with_input_types(Chunk)
@beam.typehints.with_output_types(FaceSlice)
class DetectFaces(beam.DoFn):
    """Chunk → FaceSlice with crops. No chunk is begun after the run's end time."""

    def __init__(self, config: IndexConfig) -> None:
        self._config = config

    def setup(self) -> None:
        prepare_pillow()
        config = self._config
        known = KnownContent.load(storage.join(config.manifests, config.run, KNOWN_CONTENT))
        with progress_pipe.fatal(config.progress_fd, WeightsError):
            detector = _shared_detector(config.detector, config.engine())
        forgotten = Tombstones.of(Library(config.library))
        self._chunks = ChunkDetector(config, detector, config.embedder_spec(), known, forgotten)

    def process(self, chunk: Chunk) -> Iterator[FaceSlice]:
        """See `ChunkDetector.slices`."""
        config = self._config
        if config.until is not None and time.time() >= config.until:
            progress_pipe.report(config.progress_fd, progress_pipe.LATE, chunk=chunk.name)
            return
        progress_pipe.report(config.progress_fd, progress_pipe.BEGIN, chunk=chunk.name)
        started = time.monotonic()
        with progress_pipe.fatal(config.progress_fd, ArchiveError, LibraryError):
            yield from self._chunks.slices(chunk, read_chunk(config.manifests, chunk))
        beam.metrics.Metrics.counter("albumen", "detect_msec").inc(int((time.monotonic() - started) * 1000))
