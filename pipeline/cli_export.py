"""Commands that carry people to other programs and back: ``albumen export`` and ``import``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from datetime import date, datetime, time, timedelta

import click
from click.core import ParameterSource

from pipeline.cli_base import FOLDER, OrderedGroup, library_argument
from pipeline.commands import Result
from pipeline.options import UsageError
from transforms.library import Library

_FORMATS = (
    "csv", "json", "parquet", "folders", "contact-sheets", "xmp", "coco", "labelstudio", "cvat", "fiftyone",
)  # fmt: skip
_OPTIONS_OF = {
    "link": "folders", "pages": "contact-sheets", "beside": "xmp", "stem": "xmp", "embeddings": "parquet",
    "image_prefix": "labelstudio",
}  # fmt: skip


def register(main: click.Group, reported: Callable, output_options: Callable, show: Callable) -> None:
    """Adds the commands to ``albumen``."""

    @main.command("export")
    @library_argument
    @click.option("--to", "to", type=click.Choice(_FORMATS), required=True, help="The format.")
    @click.option(
        "--out",
        type=FOLDER,
        help="A new or empty folder, or an earlier export. Default: LIBRARY/export/FORMAT.",
    )
    @click.option(
        "--person",
        "people",
        multiple=True,
        metavar="NAME",
        help="A person's name or id; several times for several.",
    )
    @click.option("--since", metavar="DATE", help="Photos taken on this day or later, as 2009-12-24.")
    @click.option("--until", "until", metavar="DATE", help="Photos taken on this day or before.")
    @click.option(
        "--min-confidence",
        type=click.FloatRange(0, 1),
        default=0.0,
        show_default=True,
        help="Only faces that are at least so surely the person's, from 0 to 1.",
    )
    @click.option(
        "--only-named", is_flag=True, help="Only people who have a name. Sidecars always are of those."
    )
    @click.option(
        "--at-least",
        type=click.IntRange(1),
        default=1,
        show_default=True,
        help="Only people with at least so many faces.",
    )
    @click.option(
        "--most",
        type=click.IntRange(1),
        metavar="N",
        help="At most N faces a person, drawn at random by --seed.",
    )
    @click.option("--balanced", is_flag=True, help="Of each person as many faces as of the one with fewest.")
    @click.option("--seed", type=int, default=0, show_default=True, help="Same library and seed, same faces.")
    @click.option(
        "--ungrouped", is_flag=True, help="Faces of nobody as well; in sidecars also people without a name."
    )
    @click.option(
        "--link",
        type=click.Choice(["symbolic", "hard", "copy"]),
        default="symbolic",
        show_default=True,
        help="folders: how photos get there. A hard link is the original: who edits it edits that.",
    )
    @click.option(
        "--pages",
        type=click.Choice(["jpeg", "pdf"]),
        default="jpeg",
        show_default=True,
        help="contact-sheets: as pictures or PDF files.",
    )
    @click.option("--beside", is_flag=True, help="xmp: write sidecars beside the photos, into the archive.")
    @click.option(
        "--stem", is_flag=True, help="xmp: name sidecars photo.xmp, as Adobe does, not photo.jpg.xmp."
    )
    @click.option("--embeddings", is_flag=True, help="parquet: the vectors as well.")
    @click.option(
        "--image-prefix",
        default="/data/local-files/?d=",
        show_default=True,
        metavar="TEXT",
        help="labelstudio: what stands before a photo's path in its address.",
    )
    @click.option(
        "--dedupe",
        "crawl",
        type=FOLDER,
        help="A folder that albumen dedupe wrote: its identities are exported, as its findings.csv says.",
    )
    @output_options
    @reported
    def export_command(library, as_json, quiet, since, until, people, **kwargs) -> None:
        """Write the people of LIBRARY for other programs.

        An export into the same folder replaces the one before. What Albumen did not make there is never
        removed, and originals are never touched. docs/exports.md says what each format holds.

        \b
        csv, json, parquet  tables, one row a face; the columns are explained beside them
        folders             a folder a person with links to the photos, or copies
        contact-sheets      pages of faces, as JPEG or PDF
        xmp                 sidecars with face regions: digiKam, Lightroom, Immich, Windows
        coco                annotations.json with the person as the category
        labelstudio, cvat   tasks with the faces drawn; `albumen import` takes the results back
        fiftyone            a FiftyOneImageDetectionDataset

        \b
        albumen export ~/Photos-albumen --to folders --only-named --link copy --out ~/By-person
        albumen export ~/Photos-albumen --to xmp --beside
        albumen export ~/Photos-albumen --to coco --person Anna --person Bo --since 2009-01-01
        albumen export ~/Photos-albumen --to parquet --at-least 20 --balanced --seed 1 --embeddings
        """
        from pipeline.export import ExportOptions, export
        from transforms.selected import Selection

        _check_options(kwargs["to"], click.get_current_context())
        if kwargs["beside"] and kwargs["out"]:
            raise UsageError("--beside writes into the archive: leave --out away")
        names = ("min_confidence", "only_named", "at_least", "most", "balanced", "seed", "ungrouped")
        first, last = _days(since, until)
        selection = Selection(
            people=people,
            since=first,
            until=last,
            **{name: kwargs.pop(name) for name in names},
        )
        summary = export(Library.open(library), ExportOptions(selection=selection, **kwargs))
        show(Result(export_lines(summary), {"export": asdict(summary)}), as_json, quiet)

    _register_import(main, reported, output_options, show)


def _register_import(main: click.Group, reported: Callable, output_options: Callable, show: Callable) -> None:
    @main.group("import", cls=OrderedGroup)
    def import_group() -> None:
        """Take over names from other programs.

        Each region with a name that lies on a face of LIBRARY names that face, as a correction. The names
        hold from the next `albumen group` on.

        \b
        albumen import xmp ~/Photos-albumen
        albumen import labelstudio ~/Photos-albumen project-1.json
        albumen import cvat ~/Photos-albumen annotations.xml
        """

    @import_group.command("xmp")
    @library_argument
    @click.option("--stem", is_flag=True, help="Look for photo.xmp before photo.jpg.xmp.")
    @click.option("--sidecars-only", is_flag=True, help="Don't look into the photos themselves.")
    @output_options
    @reported
    def import_xmp_command(library, stem, sidecars_only, as_json, quiet) -> None:
        """Names from face regions in XMP, beside the photos of LIBRARY or inside them.

        digiKam, Lightroom, Picasa, Windows and others write such regions.
        """
        from pipeline.import_names import import_xmp

        summary = import_xmp(Library.open(library), stem=stem, embedded=not sidecars_only)
        show(Result(import_lines(summary), {"import": asdict(summary)}), as_json, quiet)

    @import_group.command("labelstudio")
    @library_argument
    @click.argument("file", type=click.Path(exists=True, dir_okay=False))
    @output_options
    @reported
    def import_labelstudio_command(library, file, as_json, quiet) -> None:
        """Names from FILE, a project that `albumen export --to labelstudio` began, exported as JSON."""
        from pipeline.import_names import import_labelstudio

        summary = import_labelstudio(Library.open(library), file)
        show(Result(import_lines(summary), {"import": asdict(summary)}), as_json, quiet)

    @import_group.command("cvat")
    @library_argument
    @click.argument("file", type=click.Path(exists=True, dir_okay=False))
    @output_options
    @reported
    def import_cvat_command(library, file, as_json, quiet) -> None:
        """Names from FILE, annotations.xml of an export as "CVAT for images 1.1"."""
        from pipeline.import_names import import_cvat

        summary = import_cvat(Library.open(library), file)
        show(Result(import_lines(summary), {"import": asdict(summary)}), as_json, quiet)


def import_lines(summary) -> list[str]:
    """What an import did, for a person."""
    lines = [
        f"{summary.named:,} named regions in {summary.photos:,} photos: {summary.matched:,} lie on faces of "
        f"the library; {summary.people:,} names came to {summary.corrections:,} new corrections."
    ]
    lines += [f"Not read: {name}: {reason}" for name, reason in summary.problems[:10]]
    if len(summary.problems) > 10:
        lines.append(f"... and {len(summary.problems) - 10:,} more.")
    return lines


def export_lines(summary) -> list[str]:
    """What an export did, for a person."""
    from transforms.pages import counted

    kept = f", {summary.kept:,} were there already" if summary.kept else ""
    lines = [
        f"{counted(summary.faces, 'face', 'faces')} of {counted(summary.people, 'person', 'people')} in "
        f"{counted(summary.photos, 'photo', 'photos')}: "
        f"{counted(summary.files, 'file', 'files')} ({summary.bytes / 1e6:.1f} MB) written "
        f"{'beside the photos' if summary.beside else f'to {summary.folder}'}{kept}."
    ]
    if not summary.faces and summary.to == "xmp":
        lines.append("Sidecars are of people with names, and nobody selected has one: albumen correct --help")
    elif not summary.faces:
        lines.append("No face is left by this selection: give fewer limits, or look at `albumen stats`.")
    lines += [f"Left as it is, since it was changed: {name}" for name in summary.changed[:10]]
    lines += [f"Not exported: {name}: {reason}" for name, reason in summary.problems[:10]]
    if len(summary.problems) > 10:
        lines.append(f"... and {len(summary.problems) - 10:,} more.")
    return lines


def _check_options(to: str, context: click.Context) -> None:
    """Raises UsageError for an option that another format has: it would do nothing."""
    for name, of in _OPTIONS_OF.items():
        if of != to and context.get_parameter_source(name) == ParameterSource.COMMANDLINE:
            raise UsageError(f"--{name.replace('_', '-')} is for --to {of}")


def _days(since: str | None, until: str | None) -> tuple[datetime | None, datetime | None]:
    """From the beginning of the first day to the end of the last."""
    first, last = _day("--since", since), _day("--until", until)
    if first and last and first > last:
        raise UsageError(f"--since {since} is after --until {until}")
    return first, last + timedelta(days=1) if last else None


def _day(option: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return datetime.combine(date.fromisoformat(text), time())
    except ValueError as error:
        raise UsageError(f"{option} {text}: give a date such as 2009-12-24") from error
