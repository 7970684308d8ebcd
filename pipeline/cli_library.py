"""Commands that look after a library: ``albumen audit`` and ``forget``; ``albumen completion``."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import asdict

import click

from pipeline.cli_base import FOLDER, library_argument
from pipeline.commands import Result
from pipeline.options import UsageError
from transforms.library import Library


def register(main: click.Group, reported: Callable, output_options: Callable, show: Callable) -> None:
    """Adds the commands to ``albumen``."""

    @main.command("audit")
    @library_argument
    @click.option("--fix", is_flag=True, help="Mend what can be mended.")
    @output_options
    @reported
    def audit_command(library, fix, as_json, quiet) -> None:
        """Check that LIBRARY is whole.

        Looked for are damaged files, tables of another schema, leftovers of interrupted runs, doubled rows,
        vectors that are not of unit length, groupings that are not complete, and originals that are gone.
        With --fix leftovers and doubled rows go, and photos whose rows can't be trusted are taken out, so
        that the next run indexes them again (only while the archive is there). Nothing of the archive is
        touched. Exit code 1 where something is wrong (or left).

        \b
        albumen audit ~/Photos-albumen --fix && albumen index ~/Photos ~/Photos-albumen
        """
        from pipeline.audit import audit

        summary = audit(Library.open(library), fix=fix)
        show(Result(summary.lines(), summary.facts()), as_json, quiet)
        if summary.left if summary.fixed else summary.findings:
            sys.exit(1)

    @main.command("forget")
    @library_argument
    @click.option(
        "--person",
        "people",
        multiple=True,
        metavar="NAME",
        help="A person's name or id; several times for several.",
    )
    @click.option(
        "--photo",
        "photos",
        multiple=True,
        metavar="PATH",
        help="A photo's path or id; several times for several.",
    )
    @click.option(
        "--all", "all_of_it", is_flag=True, help="Everything: the library then takes nothing in any more."
    )
    @click.option("--yes", is_flag=True, help="Don't ask.")
    @output_options
    @reported
    def forget_command(library, people, photos, all_of_it, yes, as_json, quiet) -> None:
        """Remove people, photos or everything from LIBRARY for good.

        Vectors, boxes, thumbnails, names and corrections are removed from every file, those of earlier
        groupings as well; the report, the neighbour graph and all exports on record are removed whole and
        can be made again. What was forgotten does not come back: content hash, place and box of each face
        are kept, and the next run obeys them. Photos are never touched. Backups, snapshots and copies that
        you made yourself are yours to clear. Interrupted, the same command finishes the work.

        \b
        albumen forget ~/Photos-albumen --person "Anna Weiss"
        albumen forget ~/Photos-albumen --photo 2019/picnic/IMG_0042.jpg --yes
        """
        from pipeline.forget import forget_command as forget

        if not (people or photos or all_of_it):
            raise UsageError("say what to forget: --person, --photo or --all")
        what = "everything" if all_of_it else ", ".join([*people, *photos])
        if not yes and not click.confirm(f"Forget {what} for good?", err=True):
            raise UsageError("nothing was forgotten (--yes answers the question)")
        removed = forget(Library.open(library), people=people, photos=photos, all_of_it=all_of_it)
        show(Result(forget_lines(removed, all_of_it), {"forget": asdict(removed)}), as_json, quiet)

    @main.command("dedupe")
    @library_argument
    @click.option(
        "--out",
        type=FOLDER,
        required=True,
        help="A new or empty folder, or an earlier one of this command.",
    )
    @click.option(
        "--labels",
        type=click.Path(exists=True, dir_okay=False),
        metavar="CSV",
        help="Whose photos are whose: columns path and identity. Default: each folder is an identity.",
    )
    @output_options
    @reported
    def dedupe_command(library, out, labels, as_json, quiet) -> None:
        """Find what is wrong with a crawl.

        In a crawl each folder of the archive in LIBRARY names an identity. Found are identities that are
        the same person, photos filed under the wrong identity, identities that mix people, and photos
        that are there several times: copied, re-encoded, cut or mirrored. FOLDER gets pages with the
        faces side by side, and findings.csv. Look through it, change its column action where you disagree
        (merge, move, leave-out, keep), then write the cleaned crawl:

        \b
        albumen dedupe crawl-albumen --out findings
        albumen export crawl-albumen --to folders --dedupe findings --link copy --out clean
        """
        from pipeline.dedupe import dedupe

        summary = dedupe(Library.open(library), out=out, labels=labels)
        show(Result(dedupe_lines(summary), {"dedupe": asdict(summary)}), as_json, quiet)

    @main.command("completion")
    @click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
    @reported
    def completion_command(shell) -> None:
        """Print a shell's completion script.

        It completes albumen's commands, options, their values, files and folders, and is put where SHELL
        reads it (for zsh below the line with compinit; bash from 4.4 on):

        \b
        bash    albumen completion bash >> ~/.bashrc
        zsh     albumen completion zsh >> ~/.zshrc
        fish    albumen completion fish > ~/.config/fish/completions/albumen.fish
        """
        from click.shell_completion import get_completion_class

        kind = get_completion_class(shell)
        assert kind is not None
        click.echo(kind(main, {}, "albumen", "_ALBUMEN_COMPLETE").source())


def dedupe_lines(summary) -> list[str]:
    """What was found in a crawl, for a person."""
    from transforms.pages import counted

    texts = {
        "same-person": ("identity that is another one's person", "identities that are another one's person"),
        "misfiled": ("photo under the wrong identity", "photos under the wrong identity"),
        "mixed": (
            "photo of another person in a mixed identity", "photos of another person in a mixed identity"
        ),
        "near-copy": ("near copy", "near copies"),
        "exact-copy": ("exact copy", "exact copies"),
    }  # fmt: skip
    lines = [
        f"{counted(summary.photos, 'photo', 'photos')} of "
        f"{counted(summary.identities, 'identity', 'identities')}, {summary.without_face:,} without a face."
    ]
    lines += [counted(summary.found.get(kind, 0), *text) for kind, text in texts.items()]
    if summary.without_thumbnail:
        lines.append(
            f"{summary.without_thumbnail:,} photos may be near copies, but have no thumbnails to compare: "
            "index them without --no-thumbs"
        )
    return [*lines, f"Pictures: {summary.folder}/index.html; the list to edit: {summary.folder}/findings.csv"]


def forget_lines(removed, all_of_it: bool) -> list[str]:
    """What was forgotten, for a person."""
    from transforms.pages import counted

    if all_of_it:
        lines = ["Everything was forgotten. The library folder can be removed."]
    else:
        lines = [
            f"Forgotten: {counted(removed.faces, 'face', 'faces')}, "
            f"{counted(removed.photos, 'photo', 'photos')}, {counted(removed.people, 'person', 'people')}; "
            f"{counted(removed.files, 'file', 'files')} written anew. Report and exports were removed: "
            "make them again."
        ]
    return lines + [f"Look at this yourself: {name}" for name in removed.left]
