"""The library on disk: its folders, its tables, and all reading and writing of them.

Nothing else in the project spells the name of a folder of the library; its columns are spelled in
`transforms.tables` alone. A `Library` is made of four parts: `chunk_files` (photos, faces, thumbnails as they
are committed), `present_rows` (what of them counts), `revision_files` (the people) and `decision_files` (what
the user decided).
"""

from __future__ import annotations

from transforms import storage
from transforms.decision_files import CORRECTIONS, DecisionFiles
from transforms.library_folder import INFO, LibraryInfo
from transforms.present_rows import PresentRows
from transforms.revision_files import RevisionFiles
from transforms.table_files import LibraryError

__all__ = ["CORRECTIONS", "LOGS", "MANIFESTS", "REPORT", "Library", "LibraryError", "LibraryInfo"]

MANIFESTS, LOGS, REPORT = "manifests", "logs", "report"


class Library(PresentRows, RevisionFiles, DecisionFiles):
    """One library folder. Cheap to make; reads and writes only when asked to."""

    @classmethod
    def create(cls, path: str) -> Library:
        """Opens the library at `path`, or begins one in a new or empty folder.

        Raises LibraryError where the folder holds other things.
        """
        library = cls(path)
        if storage.exists(library.file(INFO)):
            library.info()
            return library
        try:
            foreign = [n for n in storage.file_names(path) if not n.startswith(".") and n != "lease.json"]
            foreign += [n for n in storage.folder_names(path) if n not in (MANIFESTS, LOGS)]
        except NotADirectoryError as error:
            raise LibraryError(f"{path} is not a folder: give a new or empty one for the library") from error
        if foreign:
            raise LibraryError(
                f"{path} is not an Albumen library (no {INFO}) and is not empty (it holds "
                f"{foreign[0]!r}): give a new or empty folder for the library"
            )
        library.save_info(LibraryInfo(roots={}))
        return library

    @classmethod
    def open(cls, path: str) -> Library:
        """Opens an existing library. Raises LibraryError where there is none."""
        library = cls(path)
        if not storage.exists(library.file(INFO)):
            raise LibraryError(
                f"{path} is not an Albumen library (no {INFO}): index photographs first, "
                f"albumen index ARCHIVE {path}"
            )
        library.info()
        return library
