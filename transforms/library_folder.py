"""The folder of a library and its file ``library.json``: what every part of a `Library` stands on."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from transforms import storage
from transforms.table_files import LibraryError

FORMAT_VERSION = 1
INFO = "library.json"


@dataclass(frozen=True)
class LibraryInfo:
    """What ``library.json`` says: the archives by name, and how the vectors were made."""

    roots: dict[str, str]
    fingerprint: str | None = None
    settings: dict[str, object] | None = None


class LibraryFolder:
    """One folder. Cheap to make; reads and writes only when asked to."""

    def __init__(self, path: str) -> None:
        self.path = storage.absolute(path)

    def file(self, *parts: str) -> str:
        """The path of something inside the library."""
        return storage.join(self.path, *parts)

    def info(self) -> LibraryInfo:
        """Reads ``library.json``. Raises LibraryError where it is damaged or from a newer version."""
        path = self.file(INFO)
        try:
            data = json.loads(storage.read_bytes(path))
            version = data["format"]
            if version != FORMAT_VERSION:
                raise LibraryError(
                    f"{path} has format {version!r}; this version of Albumen reads format {FORMAT_VERSION}: "
                    "use the version that wrote it, or begin a new library"
                )
            roots = {str(k): str(v) for k, v in data["roots"].items()}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise LibraryError(f"{path} is damaged ({error}): restore it from a backup") from error
        return LibraryInfo(roots, data.get("fingerprint"), data.get("settings"))

    def save_info(self, info: LibraryInfo) -> None:
        """Writes ``library.json`` whole."""
        data = {
            "format": FORMAT_VERSION,
            "roots": info.roots,
            "fingerprint": info.fingerprint,
            "settings": info.settings,
        }
        # Bytes of a root that are not UTF-8 are surrogates in text: escaped, they survive JSON.
        storage.write_bytes(self.file(INFO), json.dumps(data, indent=2).encode("ascii"))

    def use_fingerprint(self, fingerprint: str, settings: dict[str, object]) -> None:
        """Declares how vectors are about to be made; the first to do so decides for the library.

        Raises LibraryError where the library holds vectors made in another way.
        """
        info = self.info()
        if info.fingerprint is None:
            self.save_info(replace(info, fingerprint=fingerprint, settings=settings))
        elif info.fingerprint != fingerprint:
            raise LibraryError(
                f"{self.path} was indexed as {info.fingerprint}, but the options given mean {fingerprint}. "
                "Vectors of two kinds can't be compared: give the options it was indexed with "
                f"({json.dumps(info.settings)}), or index into a new library"
            )

    def partial_files(self) -> list[str]:
        """Paths of what interrupted writes have left anywhere in the library, or running ones are at."""
        if storage.is_url(self.path):
            return []
        outer = [self.file(name) for name in storage.folder_names(self.path)]
        inner = [storage.join(folder, name) for folder in outer for name in storage.folder_names(folder)]
        return [path for folder in (self.path, *outer, *inner) for path in storage.partial_files(folder)]

    def remove_partial_files(self) -> None:
        """Removes what interrupted writes left behind. Only for the holder of the lease."""
        for path in self.partial_files():
            storage.remove(path)
