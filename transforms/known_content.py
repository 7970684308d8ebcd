"""What a library already knows: files that have not changed, and content under whatever name."""

from __future__ import annotations

import hashlib
import io
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
    """Content that is indexed already, by photo_id: it costs a hash, not a detection."""

    def __init__(self, photo_ids: np.ndarray, with_face: np.ndarray) -> None:
        self._ids = photo_ids
        self._with_face = with_face

    @classmethod
    def of(cls, library: Library) -> KnownContent:
        """All content of a library in which faces were looked for."""
        table = library.read_photos([PHOTO_ID, STATUS])
        table = table.filter(pc.is_in(table[STATUS], value_set=pa.array([OK, NO_FACE])))
        ids = np.array(table[PHOTO_ID].to_pylist(), "S32")
        ids, first = np.unique(ids, return_index=True)
        return cls(ids, pc.equal(table[STATUS], OK).to_numpy()[first])

    def save(self, path: str) -> None:
        """Writes a file that `load` reads."""
        buffer = io.BytesIO()
        np.save(buffer, self._ids, allow_pickle=False)
        np.save(buffer, self._with_face, allow_pickle=False)
        storage.write_bytes(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str) -> KnownContent:
        """Reads what `save` wrote."""
        buffer = io.BytesIO(storage.read_bytes(path))
        return cls(np.load(buffer, allow_pickle=False), np.load(buffer, allow_pickle=False))

    def status(self, photo_id: str) -> str | None:
        """``ok`` or ``no_face`` for known content, else None."""
        place, found = _find(self._ids, np.array([photo_id], "S32"))
        if not found[0]:
            return None
        return OK if self._with_face[place[0]] else NO_FACE


def content_id(data: bytes) -> str:
    """The photo_id of a file's content: 128 bits of BLAKE2b, as 32 hexadecimal digits."""
    return hashlib.blake2b(data, digest_size=_DIGEST).hexdigest()


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
