"""Files of a library, on a local disk or behind a Beam filesystem.

Every function takes a path as text: an ordinary path, or a URL such as ``gs://bucket/library``
that one of Beam's filesystems knows. A file appears whole or not at all: locally it is written
under a temporary name, synced and renamed; on an object store a single put does the same.
"""

from __future__ import annotations

import errno
import os
import re
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, cast

TEMPORARY_SUFFIX = ".partial"

_URL = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]+://")


_REMEDIES = {
    errno.ENOSPC: "make room on its drive",
    errno.EDQUOT: "make room on its drive, or raise the quota",
    errno.EROFS: "its drive is mounted read-only; make it writable",
    errno.EACCES: "let this user write there",
    errno.EPERM: "let this user write there",
    errno.ENOTDIR: "give a folder, not a file",
}


class WriteFailed(OSError):
    """A file can't be written; the message, its only argument, names it, why, and the remedy."""


@contextmanager
def writing(path: str) -> Iterator[None]:
    """Turns errors of the drive into WriteFailed, which names `path`."""
    try:
        yield
    except WriteFailed:
        raise
    except OSError as error:
        # Object stores raise errors without a number.
        reason = error.strerror or str(error) or type(error).__name__
        remedy = _REMEDIES.get(error.errno or 0, "see that its drive is mounted and sound")
        failed = WriteFailed(
            f"{path} can't be written ({reason}): {remedy}, then run again; what is committed stays"
        )
        failed.errno = error.errno
        raise failed from error


def is_url(path: str) -> bool:
    """Whether `path` is for one of Beam's filesystems rather than for the local disk."""
    return bool(_URL.match(path))


def join(folder: str, *parts: str) -> str:
    """`folder` and `parts` as one path."""
    if is_url(folder):
        return "/".join([folder.rstrip("/"), *parts])
    return os.path.join(folder, *parts)


def _filesystems():
    # Imported on use: Beam takes a second to import and local libraries don't need it.
    from apache_beam.io.filesystems import FileSystems

    return FileSystems


def absolute(path: str) -> str:
    """`path` as any process can use it, whatever folder it runs in."""
    return path if is_url(path) else os.path.abspath(path)


def lies_inside(inner: str, outer: str) -> bool:
    """Whether the folder `inner` lies below the folder `outer`, through whatever links."""
    if is_url(inner) or is_url(outer):
        return inner.rstrip("/").startswith(outer.rstrip("/") + "/")
    return os.path.realpath(inner).startswith(os.path.join(os.path.realpath(outer), ""))


def write_bytes(path: str, data: bytes | memoryview, *, durable: bool = True) -> None:
    """Writes a file whole: after a crash there is the old content, the new, or no file. Where it isn't
    `durable`, which spares the wait for the drive, that doesn't hold when the system itself goes down: for
    what nobody looks for after that.

    Raises WriteFailed where the disk is full, the folder is read-only or the share has gone;
    nothing but a ``*.partial`` file can be left behind then.
    """
    with writing(path):
        _write_bytes(path, data, durable)


def _write_bytes(path: str, data: bytes | memoryview, durable: bool) -> None:
    with open_output(path, durable=durable) as file:
        file.write(bytes(data) if is_url(path) else data)


@contextmanager
def open_output(path: str, *, durable: bool = True) -> Iterator[BinaryIO]:
    """A file that is written bit by bit and appears whole, as with `write_bytes`, when the block ends.

    Raises WriteFailed where that fails; what else goes wrong in the block, such as reading what is to be
    written, passes as it is. After an exception there is no new file (behind a URL: as its filesystem
    has it).
    """
    if is_url(path):
        from apache_beam.io.filesystem import CompressionTypes

        create, plain = _filesystems().create, CompressionTypes.UNCOMPRESSED
        with writing(path):
            file = create(path, mime_type="application/octet-stream", compression_type=plain)
        with _closing(path, file):
            yield cast(BinaryIO, _Named(path, file))
        return
    folder = os.path.dirname(path) or "."
    temporary = os.path.join(folder, f".{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    with writing(path):
        os.makedirs(folder, exist_ok=True)
        file = open(temporary, "xb")  # noqa: SIM115 (closed by _closing)
    try:
        with _closing(path, file):
            yield cast(BinaryIO, _Named(path, file))
            with writing(path):
                file.flush()
                if durable:
                    os.fsync(file.fileno())
        with writing(path):
            os.replace(temporary, path)
    except BaseException:
        try:
            os.unlink(temporary)
        except OSError:
            pass
        raise
    if durable:
        _sync_folder(folder)


@contextmanager
def _closing(path: str, file: BinaryIO) -> Iterator[None]:
    """Closes a file that is being written, which may write the last of it."""
    try:
        yield
    except BaseException:
        try:
            file.close()
        except OSError:
            pass  # what went wrong first says more
        raise
    with writing(path):
        file.close()


class _Named:
    """A file that is being written: its errors name the path that it will have."""

    def __init__(self, path: str, file: BinaryIO) -> None:
        self._path, self._file = path, file

    def write(self, data: bytes | memoryview) -> int:
        with writing(self._path):
            return self._file.write(data)

    def flush(self) -> None:
        with writing(self._path):
            self._file.flush()

    def __getattr__(self, name: str) -> object:
        return getattr(self._file, name)


def _sync_folder(folder: str) -> None:
    # A rename is durable once its folder is synced. Some network drives refuse that: then
    # their own server decides, and there is nothing more to do here.
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        return
    try:
        os.fsync(descriptor)
    except OSError:
        pass
    finally:
        os.close(descriptor)


def open_input(path: str) -> BinaryIO:
    """Opens a file for reading, seekable. Raises FileNotFoundError, OSError."""
    if is_url(path):
        from apache_beam.io.filesystem import CompressionTypes

        return _filesystems().open(path, compression_type=CompressionTypes.UNCOMPRESSED)
    return open(path, "rb")


def read_bytes(path: str) -> bytes:
    """The whole content of a file. Raises FileNotFoundError, OSError."""
    with open_input(path) as file:
        return file.read()


def exists(path: str) -> bool:
    """Whether there is a file (or, locally, a folder) at `path`."""
    return _filesystems().exists(path) if is_url(path) else os.path.exists(path)


def file_names(folder: str, *, suffix: str = "") -> list[str]:
    """Names of the files directly in `folder` that end in `suffix`, sorted; [] without a folder.

    Files being written are left out.
    """
    if is_url(folder):
        return sorted(n for n in _names_below(folder) if n.endswith(suffix) and "/" not in n)
    try:
        with os.scandir(folder) as entries:
            return sorted(
                entry.name
                for entry in entries
                if entry.name.endswith(suffix)
                and not entry.name.endswith(TEMPORARY_SUFFIX)
                and entry.is_file()
            )
    except FileNotFoundError:
        return []


def folder_names(folder: str) -> list[str]:
    """Names of the folders directly in `folder`, sorted; [] where it does not exist."""
    if is_url(folder):
        return sorted({n.split("/")[0] for n in _names_below(folder) if "/" in n})
    try:
        with os.scandir(folder) as entries:
            return sorted(entry.name for entry in entries if entry.is_dir())
    except FileNotFoundError:
        return []


def _names_below(folder: str) -> list[str]:
    """What lies below a URL at any depth, relative to it."""
    base = folder.rstrip("/") + "/"
    # match() has no way to quote its special characters, but ? matches them as it does any other.
    pattern = re.sub(r"[\[*?]", "?", base) + "**"
    found = _filesystems().match([pattern])[0].metadata_list
    return [entry.path[len(base) :] for entry in found if entry.path.startswith(base)]


def size(path: str) -> int:
    """Bytes of a file."""
    return _filesystems().get_filesystem(path).size(path) if is_url(path) else os.path.getsize(path)


def remove(path: str) -> None:
    """Removes a file; one that is gone already is no error."""
    if is_url(path):
        if _filesystems().exists(path):
            _filesystems().delete([path])
        return
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def remove_folder(folder: str) -> None:
    """Removes a folder with all that is in it; one that is gone already is no error."""
    if is_url(folder):
        found = [join(folder, name) for name in _names_below(folder)]
        if found:
            _filesystems().delete(found)
        return
    shutil.rmtree(folder, ignore_errors=True)


def remove_partial_files(folder: str) -> int:
    """Removes what an interrupted `write_bytes` left in `folder`; returns how many files."""
    partial = partial_files(folder)
    for path in partial:
        remove(path)
    return len(partial)


def partial_files(folder: str) -> list[str]:
    """Paths of what an interrupted `write_bytes` left in `folder`; behind a URL there is no such thing."""
    if is_url(folder):
        return []
    try:
        with os.scandir(folder) as entries:
            return [e.path for e in entries if e.name.endswith(TEMPORARY_SUFFIX)]
    except FileNotFoundError:
        return []
