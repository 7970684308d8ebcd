"""``albumen migrate``: a library goes over to another embedder, and keeps its people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import pyarrow as pa
import pyarrow.compute as pc

from models.embedder import embedder_spec, fingerprint, load_embedder
from models.engine import choose_engine, default_device
from pipeline.options import UsageError
from pipeline.progress import ProgressLine
from transforms.decode import prepare_pillow
from transforms.lease import Lease
from transforms.library import Library, LibraryError
from transforms.reembed import Original, originals_of, reembed
from transforms.tables import EMBEDDING, FACE_ID, PATH_BYTES, PHOTO_ID, ROOT, faces_schema

_NAMED = 20  # missing originals that are listed by name


@dataclass(frozen=True)
class Migrated:
    """What a migration did: `faces` with new vectors, photos whose originals are `missing` (some by
    path), and whether the library uses the new vectors now (`complete`)."""

    fingerprint: str
    faces: int
    missing: int
    missing_paths: tuple[str, ...]
    complete: bool


def migrate(
    library: Library, lease: Lease, *, embedder: str, mirror: bool, without_missing: bool, quiet: bool
) -> Migrated:
    """Embeds every face anew beside its old vector, and then has the library use the new ones.

    Until then the library works as before; stopped midway, the next migration goes on chunk by chunk.
    Where originals are missing it stays with the old vectors, unless `without_missing` leaves these
    faces out. The caller holds the lease. Raises LibraryError, UsageError, WeightsError.
    """
    info = library.info()
    if info.fingerprint is None or info.settings is None:
        raise LibraryError(f"{library.path} holds no photos yet: albumen index ARCHIVE {library.path}")
    detector = info.settings.get("detector")
    assert isinstance(detector, dict)
    spec = embedder_spec(embedder, mirror=mirror)
    target = fingerprint(detector, spec.describe())
    if target == info.fingerprint:
        raise UsageError(f"{library.path} has the vectors of {embedder} already: there is nothing to do")
    library.remove_other_faces([info.fingerprint, target])
    prepare_pillow()
    photos = library.read_photos([ROOT, PATH_BYTES, PHOTO_ID])
    originals = originals_of(photos, info.roots)
    rows = dict(library.face_rows())
    columns = [c for c in faces_schema(1).names if c != EMBEDDING]
    missing = _without_original(library, originals)
    if missing and not without_missing:  # said before hours of work, not after
        return Migrated(target, 0, len(missing), _paths(photos, missing[:_NAMED]), False)
    loaded = load_embedder(embedder, mirror=mirror, engine=choose_engine(device=default_device()))
    missing, done = [], 0
    with ProgressLine(len(originals), quiet=quiet) as line:
        seen = 0
        for name in rows:
            lease.check()
            faces = library.read_chunk_faces(name, columns)
            keep = rows[name]
            if faces is None:
                continue
            faces = faces if keep is None else faces.filter(pa.array(keep))
            if library.face_ids(target, name) == set(faces[FACE_ID].to_pylist()):
                done += len(faces)  # by a migration that was stopped, with nothing left out
            else:
                found = reembed(
                    faces, originals, loaded, spec, working_side=int(detector.get("working_side", 1280))
                )
                missing += found.missing
                if found.faces is not None and (without_missing or not found.missing):
                    lease.check()
                    library.write_chunk_faces(target, name, found.faces)
                done += len(found.faces) if found.faces is not None else 0
            seen += len(set(faces[PHOTO_ID].to_pylist()))
            line.update(done=seen, faces=done, errors=len(missing))
    complete = without_missing or not missing
    if complete:
        lease.check()
        settings: dict[str, object] = {"detector": detector, "embedder": spec.describe()}
        library.save_info(replace(info, fingerprint=target, settings=settings))
        library.remove_other_faces([target])
    return Migrated(target, done, len(missing), _paths(photos, missing[:_NAMED]), complete)


def _without_original(library: Library, originals: Mapping[str, Original]) -> list[str]:
    """Photos with faces that lie nowhere any more, going by their paths alone."""
    photos = pc.unique(library.read_faces([PHOTO_ID])[PHOTO_ID]).to_pylist()
    return [p for p in photos if p not in originals or not originals[p].is_there()]


def _paths(photos: pa.Table, missing: list[str]) -> tuple[str, ...]:
    wanted = set(missing)
    pairs = zip(photos[PHOTO_ID].to_pylist(), photos[PATH_BYTES].to_pylist(), strict=True)
    return tuple(path.decode("utf-8", "backslashreplace") for photo, path in pairs if photo in wanted)
