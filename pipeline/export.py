"""``albumen export``: people → other programs."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timezone
from urllib.parse import quote

from transforms import storage
from transforms.export_coco import coco_parts
from transforms.export_cvat import cvat_parts, labels_json
from transforms.export_fiftyone import label_parts, media_parts
from transforms.export_folder import ExportFolder
from transforms.export_labelstudio import MOST_CHOICES, label_config, task_parts
from transforms.export_records import record_export
from transforms.export_table import columns_csv, csv_lines, json_parts, write_parquet
from transforms.lease import Lease
from transforms.library import Library, LibraryError
from transforms.selected import Grouping, SelectedFace, Selection, current_grouping
from transforms.selection import Selected
from transforms.tables import EMBEDDING

LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio addresses files below its LOCAL_FILES_DOCUMENT_ROOT (here: the root of the disk)."""


@dataclass(frozen=True)
class ExportOptions:
    """How to export. `link` and `pages` are for folders and contact sheets; `beside` and `stem` for
    sidecars: among the originals, and named ``photo.xmp`` rather than ``photo.jpg.xmp``; `embeddings`
    for parquet; `image_prefix` for Label Studio; `crawl` is a folder that ``albumen dedupe`` wrote."""

    to: str
    out: str | None = None
    selection: Selection = Selection()
    link: str = "symbolic"
    pages: str = "jpeg"
    beside: bool = False
    stem: bool = False
    embeddings: bool = False
    image_prefix: str = LOCAL_FILES
    crawl: str | None = None


@dataclass
class ExportSummary:
    """What was written to `folder`, or `beside` the photos. `kept` files were there already as they should
    be; `problems` (file, reason); `changed` files of the export before that somebody has changed since, and
    that stay."""

    folder: str
    to: str
    faces: int = 0
    people: int = 0
    photos: int = 0
    beside: bool = False
    files: int = 0
    kept: int = 0
    bytes: int = 0
    changed: list[str] = field(default_factory=list)
    problems: list[tuple[str, str]] = field(default_factory=list)


def export(library: Library, options: ExportOptions) -> ExportSummary:
    """Writes what is selected from the library's people in one format.

    Raises LibraryError where there are no people, or where it can't be written.
    """
    import duckdb

    from pipeline.export_originals import write_contact_sheets, write_folders, write_sidecars

    writers: dict[str, Callable[[ExportFolder, Selected, _Job], list[tuple[str, str]]]] = {
        "csv": _write_csv, "json": _write_json, "parquet": _write_parquet, "coco": _write_coco,
        "labelstudio": _write_labelstudio, "cvat": _write_cvat, "fiftyone": _write_fiftyone,
        "folders": write_folders, "contact-sheets": write_contact_sheets, "xmp": write_sidecars,
    }  # fmt: skip
    with Lease(library.path):
        job = _Job(library, options, library.info().roots)
        grouping = job.grouping()
        folder = job.open_folder()
        try:
            with folder, Selected(library, job.selection(), folder=folder.spill, grouping=grouping) as s:
                problems = writers[options.to](folder, s, job)
                people = len(s.people)
                summary = ExportSummary(job.target, options.to, s.faces, people, s.photos, options.beside)
        except storage.WriteFailed as error:
            raise LibraryError(f"{error}; or give another folder with --out") from error
        except duckdb.Error as error:
            raise LibraryError(
                f"the tables can't be joined in {folder.spill} ({error}): check that its drive has room, or "
                "give another folder with --out"
            ) from error
    summary.files, summary.kept, summary.bytes = folder.files, folder.kept, folder.bytes
    summary.problems, summary.changed = [*grouping.left, *problems], folder.changed
    return summary


@dataclass(frozen=True)
class _Job:
    """What the writers of all formats need."""

    library: Library
    options: ExportOptions
    roots: dict[str, str]

    @property
    def target(self) -> str:
        """The folder that the export goes to; of sidecars beside the photos, that of their list."""
        if self.options.beside:
            return self.library.file("exports", "sidecars")
        return self.options.out or self.library.file("export", self.options.to)

    def open_folder(self) -> ExportFolder:
        from pipeline.export_originals import retire_sidecar

        target = storage.absolute(self.target)
        for location in (*self.roots.values(), self.library.path):
            if os.path.realpath(location) == os.path.realpath(target):
                raise LibraryError(f"{target} is an archive or the library itself: give a folder of its own")
        retire = retire_sidecar if self.options.beside else None
        folder = ExportFolder(target, self.about(), retire=retire)
        record_export(self.library, kind=self.options.to, folder=target, base="/" if retire else None)
        return folder

    def selection(self) -> Selection:
        from dataclasses import replace

        chosen = self.options.selection
        # A name that a grouping made up means nothing to other programs.
        named = chosen.only_named or (self.options.to == "xmp" and not chosen.ungrouped)
        return replace(chosen, only_named=named)

    def grouping(self) -> Grouping:
        if self.options.crawl is not None:
            from transforms.findings import crawl_grouping

            return crawl_grouping(self.options.crawl)
        return current_grouping(self.library)

    def about(self) -> dict[str, object]:
        """What a file says of itself."""
        chosen = vars(self.options.selection)
        return {
            "made_by": "Albumen",
            "made_at": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "library": self.library.path,
            "revision": self.library.current_revision(),
            "format": self.options.to,
            "selection": {k: str(v) for k, v in chosen.items() if v != getattr(Selection(), k)},
        }

    def original(self, face: SelectedFace) -> str:
        """Where a face's photo lies."""
        location = self.roots.get(face.root, face.root)
        return storage.join(location, os.fsdecode(face.path_bytes))


def _write_csv(folder: ExportFolder, selected: Selected, job: _Job) -> list[tuple[str, str]]:
    folder.write("faces.csv", csv_lines(selected.batches()))
    folder.write("columns.csv", [columns_csv()])
    return []


def _write_json(folder: ExportFolder, selected: Selected, job: _Job) -> list[tuple[str, str]]:
    folder.write("people.json", json_parts(selected.batches(), job.about()))
    return []


def _write_parquet(folder: ExportFolder, selected: Selected, job: _Job) -> list[tuple[str, str]]:
    if job.options.embeddings:
        from transforms.tables import FACE_ID

        selected.attach(EMBEDDING, job.library.iter_stored_faces([FACE_ID, EMBEDDING]))
    batches = selected.batches(EMBEDDING if job.options.embeddings else None)
    with folder.writing("faces.parquet") as file:
        write_parquet(batches, file, about=job.about())
    return []


def _write_coco(folder: ExportFolder, selected: Selected, job: _Job) -> list[tuple[str, str]]:
    nobody = job.options.selection.ungrouped
    folder.write(
        "annotations.json",
        coco_parts(selected.by_photo, selected.people, about=job.about(), nobody=nobody),
    )
    return []


def _write_labelstudio(folder: ExportFolder, selected: Selected, job: _Job) -> list[tuple[str, str]]:
    def url(face: SelectedFace) -> str:
        original = job.original(face)
        if storage.is_url(original):
            return original
        return job.options.image_prefix + quote(os.fsencode(original).lstrip(b"/"))

    choices = frozenset(p.label for p in selected.people[:MOST_CHOICES])
    tasks = task_parts(
        selected.by_photo(), choices=choices, url=url, model=f"albumen {job.about()['revision']}"
    )
    folder.write("tasks.json", tasks)
    folder.write("label_config.xml", [label_config(selected.people)])
    return []


def _write_cvat(folder: ExportFolder, selected: Selected, job: _Job) -> list[tuple[str, str]]:
    def name(face: SelectedFace) -> str:
        # Two archives may have photos of one path: in CVAT each is then a folder.
        return face.path if len(job.roots) == 1 else f"{face.root}/{face.path}"

    folder.write("annotations.xml", cvat_parts(selected.by_photo(), count=selected.photos, name_of=name))
    folder.write("labels.json", [labels_json()])
    return []


def _write_fiftyone(folder: ExportFolder, selected: Selected, job: _Job) -> list[tuple[str, str]]:
    problems: list[tuple[str, str]] = []

    def media() -> Iterator[bytes]:
        yield from media_parts(selected.by_photo(), lambda face: job.original(face))

    folder.write(
        "labels.json",
        label_parts(selected.by_photo(), selected.people, nobody=job.options.selection.ungrouped),
    )
    folder.write("data.json", media())
    return problems
