"""A Beam filesystem that lives in this process's memory, for tests of libraries and archives on URLs.

Importing this module registers the scheme ``testmem://``. It behaves as object stores do: no real
folders, a file appears when it is closed, listing is by prefix. Always import it as
``tests.memory_filesystem``: under a second name Beam would find the scheme twice and refuse it.
"""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from typing import BinaryIO, ClassVar

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem

SCHEME = "testmem"


class MemoryFileSystem(FileSystem):
    """Files are ``{url: (content, seconds since 1970)}``; `failures` raise on any use of their URL."""

    files: ClassVar[dict[str, tuple[bytes, float]]] = {}
    failures: ClassVar[dict[str, OSError]] = {}

    @classmethod
    def clear(cls) -> None:
        """Forgets all files and failures; call it before or after each test."""
        cls.files.clear()
        cls.failures.clear()

    @classmethod
    def put(cls, url: str, content: bytes = b"", *, modified: float | None = None) -> None:
        """Places a file without going through Beam."""
        cls.files[url] = (content, time.time() if modified is None else modified)

    @classmethod
    def scheme(cls) -> str:
        return SCHEME

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *(p.strip("/") for p in paths)])

    def split(self, path: str) -> tuple[str, str]:
        head, _, tail = path.rpartition("/")
        return head, tail

    def mkdirs(self, path: str) -> None:
        """Folders need no making."""

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        self._fail(dir_or_prefix)
        for url in sorted(self.files):
            if url.startswith(dir_or_prefix):
                yield self.metadata(url)

    def create(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        self._fail(path)
        return _Upload(path)

    def open(
        self,
        path: str,
        mime_type: str = "application/octet-stream",
        compression_type: str = CompressionTypes.AUTO,
    ) -> BinaryIO:
        return io.BytesIO(self._file(path)[0])

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, destination in zip(source_file_names, destination_file_names, strict=True):
            self._fail(destination)
            self.put(destination, self._file(source)[0])

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def exists(self, path: str) -> bool:
        self._fail(path)
        return path in self.files

    def size(self, path: str) -> int:
        return len(self._file(path)[0])

    def last_updated(self, path: str) -> float:
        return self._file(path)[1]

    def metadata(self, path: str) -> FileMetadata:
        content, modified = self._file(path)
        return FileMetadata(path, len(content), modified)

    def delete(self, paths: list[str]) -> None:
        """Deletes files, and all below a path that is a folder; fails for paths that are neither."""
        missing = {}
        for path in paths:
            self._fail(path)
            below = [url for url in self.files if url == path or url.startswith(path.rstrip("/") + "/")]
            if not below:
                missing[path] = FileNotFoundError(path)
            for url in below:
                del self.files[url]
        if missing:
            raise BeamIOError("Delete operation failed", missing)

    def _fail(self, path: str) -> None:
        if path in self.failures:
            raise self.failures[path]

    def _file(self, path: str) -> tuple[bytes, float]:
        self._fail(path)
        try:
            return self.files[path]
        except KeyError:
            raise FileNotFoundError(path) from None


class _Upload(io.BytesIO):
    def __init__(self, url: str) -> None:
        super().__init__()
        self._url = url

    def close(self) -> None:
        if not self.closed:
            MemoryFileSystem.put(self._url, self.getvalue())
        super().close()
