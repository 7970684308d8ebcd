"""What a library already knows: files that have not changed, and content under whatever name."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms import storage
from transforms.library import Library
from transforms.records import ERROR, NO_FACE, OK, FileEntry
from transforms.tables import MTIME, PATH_BYTES, PHOTO_ID, ROOT, SIZE, STATUS

KNOWN_CONTENT = "known.npy"  # in a run's folder of manifests

_DIGEST = 16
_ROW = np.dtype(f"S{_DIGEST + 1}")
_NO_FACE, _FACE = 1, 2
_HEX_DIGITS = b"0123456789abcdef"


class KnownFiles:
    """The files of one root that are settled, and which of the root's paths a listing has seen.

    Settled are all rows but those whose content could not be read, which are tried again, and with
    `retry_errors` all other errors. Memory: 40 bytes a file.
    """

    def __init__(self, library: Library, root: str, *, retry_errors: bool = False) -> None:
        table = library.read_photos([ROOT, PATH_BYTES, SIZE, MTIME, STATUS, PHOTO_ID])
        table = table.filter(pc.equal(table[ROOT], root))
        unread = pc.equal(table[STATUS], ERROR)
        if not retry_errors:
            unread = pc.and_(unread, pc.is_null(table[PHOTO_ID]))
        self.paths = table[PATH_BYTES].combine_chunks()
        sizes = table[SIZE].to_numpy()
        times = table[MTIME].cast(pa.int64()).to_numpy()
        keys = [
            _key(p.as_py(), s, t) for p, s, t in zip(self.paths, sizes.tolist(), times.tolist(), strict=True)
        ]
        settled = ~unread.to_numpy()
        self._settled = np.sort(np.array(keys, f"S{_DIGEST}")[settled])
        paths = np.array([_key(p.as_py()) for p in self.paths], f"S{_DIGEST}")
        self._order = np.argsort(paths)
        self._paths = paths[self._order]
        self._seen = np.zeros(len(paths), bool)

    def __len__(self) -> int:
        return len(self._paths)

    def unchanged(self, entries: Sequence[FileEntry]) -> np.ndarray:
        """bool[n]: which files are settled with this size and time. Marks their paths as seen."""
        keys = np.array([_key(e.path, e.size, e.mtime_us) for e in entries], f"S{_DIGEST}")
        paths = np.array([_key(e.path) for e in entries], f"S{_DIGEST}")
        place, found = _find(self._paths, paths)
        self._seen[self._order[place[found]]] = True
        return _find(self._settled, keys)[1]

    def unseen(self) -> pa.Array:
        """Paths (bytes) that the library holds and no listing has seen."""
        return self.paths.filter(pa.array(~self._seen))


class KnownContent:
    """Content that is indexed already, by photo_id: it costs a hash, not a detection.

    Sorted rows of 17 bytes: a photo_id's 16, and whether it has a face. A file of them on a local drive is
    mapped, so that all workers of a machine share its pages, and hold those that they look at.
    """

    def __init__(self, photo_ids: np.ndarray, with_face: np.ndarray) -> None:
        """Of photo_ids, S32[n], and bool[n]. Of an id that is there twice the first counts, and what is no
        photo_id (see `content_id`), none: no file has it."""
        raw, valid = _from_hex(photo_ids)
        ids, first = np.unique(raw[valid].view(f"S{_DIGEST}"), return_index=True)
        rows = np.empty((len(ids), _DIGEST + 1), np.uint8)
        rows[:, :_DIGEST] = ids.view(np.uint8).reshape(-1, _DIGEST)
        rows[:, _DIGEST] = np.where(with_face[valid][first], _FACE, _NO_FACE)
        self._rows = rows.reshape(-1).view(_ROW)

    @classmethod
    def of(cls, library: Library) -> KnownContent:
        """All content of a library in which faces were looked for."""
        table = library.read_photos([PHOTO_ID, STATUS])
        table = table.filter(pc.is_in(table[STATUS], value_set=pa.array([OK, NO_FACE])))
        table = table.filter(pc.equal(pc.binary_length(table[PHOTO_ID]), 2 * _DIGEST))
        return cls(_as_numpy(table[PHOTO_ID]), pc.equal(table[STATUS], OK).to_numpy())

    def save(self, path: str) -> None:
        """Writes a file that `load` reads, whole or not at all. Raises WriteFailed."""
        with storage.open_output(path) as file:
            np.save(file, self._rows, allow_pickle=False)

    @classmethod
    def load(cls, path: str) -> KnownContent:
        """Opens what `save` wrote. Raises FileNotFoundError, OSError."""
        known = cls(np.zeros(0, "S32"), np.zeros(0, bool))
        if storage.is_url(path):
            with storage.open_input(path) as file:
                known._rows = np.load(file, allow_pickle=False)
        else:
            known._rows = np.load(path, mmap_mode="r", allow_pickle=False)
        return known

    def status(self, photo_id: str) -> str | None:
        """``ok`` or ``no_face`` for known content, else None."""
        try:
            raw = bytes.fromhex(photo_id)
        except ValueError:
            return None
        # The last byte of every row is more than zero: the id's own row, if any, is the first from here.
        place = int(np.searchsorted(self._rows, np.array(raw, _ROW)))
        row = bytes(self._rows[place]) if place < len(self._rows) else b""
        if row[:_DIGEST] != raw:
            return None
        return OK if row[_DIGEST] == _FACE else NO_FACE


def content_id(data: bytes) -> str:
    """The photo_id of a file's content: 128 bits of BLAKE2b, as 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=_DIGEST).hexdigest()


def _as_numpy(ids: pa.ChunkedArray) -> np.ndarray:
    """S32[n] of texts of 32 bytes."""
    # Of a fixed size before they are one: that much text may be more than Arrow can address.
    fixed = ids.cast(pa.binary()).cast(pa.binary(2 * _DIGEST)).combine_chunks()
    if not len(fixed):
        return np.zeros(0, "S32")
    return np.frombuffer(fixed.buffers()[1], "S32", count=len(fixed), offset=fixed.offset * 2 * _DIGEST)


def _from_hex(ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8[n, 16] of hexadecimal digits S32[n], and bool[n]: whether they are such."""
    values = np.full(256, 255, np.uint8)
    values[np.frombuffer(_HEX_DIGITS, np.uint8)] = np.arange(16)
    digits = values[ids.astype("S32", copy=False).view(np.uint8).reshape(-1, 2 * _DIGEST)]
    valid: np.ndarray = np.all(digits < 16, axis=1)
    return digits[:, ::2] << 4 | digits[:, 1::2] & 15, valid


def _key(path: bytes, size: int | None = None, mtime_us: int = 0) -> bytes:
    digest = hashlib.blake2b(path, digest_size=_DIGEST)
    if size is not None:
        digest.update(b"\0%d %d" % (size, mtime_us))
    return digest.digest()


def _find(ordered: np.ndarray, wanted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where each of `wanted` lies in `ordered` (int[n]), and whether it does (bool[n])."""
    if not len(ordered):
        return np.zeros(len(wanted), np.int64), np.zeros(len(wanted), bool)
    place = np.minimum(np.searchsorted(ordered, wanted), len(ordered) - 1)
    return place, ordered[place] == wanted
