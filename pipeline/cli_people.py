"""The commands about people that last: ``correct``, ``migrate``, ``stats``, and their evaluations."""

from __future__ import annotations

from collections.abc import Callable

import click

from pipeline.cli_base import OrderedGroup, library_argument
from transforms.corrections import KINDS, RENAME, UNDO
from transforms.corrections import NAME as GIVE_NAME

_HELP = {
    "name": "WHO is called NAME.",
    "rename": "WHO is called NAME from now on, whatever was said before.",
    "merge": "The people WHO and OTHERS are one person; the first one's name stays.",
    "split": "The faces OTHERS are not the person WHO, but one other person together.",
    "same": "WHO and OTHERS, faces or people, are one person.",
    "different": "WHO and OTHERS, faces or people, are all different people.",
    "not-this-person": "The face WHO is not the person OTHERS (left out: the one it is with now).",
    "not-a-face": "What was found at WHO is no face: a statue, a pattern.",
    "ignore-person": "Leave the person WHO out of reports: a stranger in the background.",
    "same-photo-allowed": "Faces of the photo WHO, or the faces WHO and OTHERS of one photo, may be one "
    "person: a mirror, a collage.",
    "undo": "Take back corrections by their ids, which `albumen correct LIBRARY` lists.",
}
_EXAMPLES = {
    "name": 'name p-50b2e1dca0 "Anna Weiss"',
    "rename": 'rename "Anna Weiss" "Anna Kern"',
    "merge": 'merge "Anna Weiss" p-1744c1049e',
    "split": 'split "Anna Weiss" "picnic/IMG_1.jpg#2" "picnic/IMG_4.jpg"',
    "same": 'same "Anna Weiss" "picnic/IMG_1.jpg#2"',
    "different": "different p-50b2e1dca0 p-1744c1049e",
    "not-this-person": 'not-this-person "picnic/IMG_1.jpg#2" "Anna Weiss"',
    "not-a-face": 'not-a-face "picnic/IMG_1.jpg#3"',
    "ignore-person": "ignore-person p-1744c1049e",
    "same-photo-allowed": 'same-photo-allowed "picnic/mirror.jpg"',
    "undo": "undo c-90eb0fc1",
}
_OTHERS = {UNDO: "[ID]...", "merge": "OTHERS...", "same": "OTHERS...", "different": "OTHERS...",
           "split": "OTHERS..."}  # fmt: skip
_WHO = "A person is an id (p-…) or a name, a face its id or photo#place from the left."


def correct_group(wrap: Callable, output: Callable, show: Callable) -> click.Group:
    """The command; `wrap` reports errors, `output` adds the options of all commands, `show` prints."""

    @click.group("correct", cls=OrderedGroup, invoke_without_command=True)
    @library_argument
    @output
    @click.pass_context
    @wrap
    def correct(ctx: click.Context, library: str, as_json: bool, quiet: bool) -> None:
        """Say what is wrong with the people of LIBRARY; without a kind: list what was said.

        A person is given by id (p-…) or name; a face by its id or by its photo's path and its place from
        the left, as holiday/IMG_1.jpg#2. Corrections are lines of LIBRARY/corrections.csv, which you can
        also edit in a spreadsheet. They hold from the next `albumen group` or `run` on, and for ever.

        \b
        albumen correct ~/Photos-albumen name p-50b2e1dca0 "Anna Weiss"
        albumen correct ~/Photos-albumen merge --help
        """
        ctx.obj = library
        if ctx.invoked_subcommand is None:
            from pipeline import commands

            show(commands.review_corrections(library), as_json, quiet)

    for kind in KINDS:
        correct.add_command(_kind_command(kind, wrap, output, show))
    return correct


def _kind_command(kind: str, wrap: Callable, output: Callable, show: Callable) -> click.Command:
    named = kind in (GIVE_NAME, RENAME)

    @wrap
    def run(who: str, others: tuple[str, ...], note: str, as_json: bool, quiet: bool, name: str = "") -> None:
        from pipeline import commands

        library = click.get_current_context().obj
        show(commands.correct(library, kind, (who, *others), name=name, note=note), as_json, quiet)

    def command(**kwargs) -> None:
        run(**{"others": (), **kwargs})

    command = output(command)
    command = click.option("--note", default="", help="Words of your own, kept with the correction.")(command)
    if named:
        command = click.argument("name")(command)
    else:
        command = click.argument("others", nargs=-1, metavar=_OTHERS.get(kind))(command)
    command = click.argument("who", metavar="ID" if kind == UNDO else "WHO")(command)
    who = "" if kind == UNDO else f"{_WHO}\n\n"
    text = f"{_HELP[kind]}\n\n{who}\b\nalbumen correct ~/Photos-albumen {_EXAMPLES[kind]}"
    return click.command(kind, help=text)(command)


def migrate_command(wrap: Callable, output: Callable, show: Callable) -> click.Command:
    """``albumen migrate``."""

    @click.command("migrate")
    @library_argument
    @click.option(
        "--embedder", required=True, metavar="NAME", help="facenet-casia, facenet-vggface2 or onnx:FILE."
    )
    @click.option("--mirror", is_flag=True, help="Embed each face and its mirror image.")
    @click.option("--without-missing", is_flag=True, help="Leave out faces whose photos are not there.")
    @output
    @wrap
    def command(
        library: str, embedder: str, mirror: bool, without_missing: bool, as_json: bool, quiet: bool
    ) -> None:
        """Embed the faces of LIBRARY anew with another embedder; people keep their ids and names.

        The photos must be where they were. The library works as before until all faces are done; stopped,
        the same command goes on.

        \b
        albumen migrate ~/Photos-albumen --embedder onnx:arcface.onnx
        """
        from pipeline import commands

        result = commands.migrate(
            library, embedder=embedder, mirror=mirror, without_missing=without_missing, quiet=quiet
        )
        show(result, as_json, quiet)

    return command


def stats_command(wrap: Callable, output: Callable, show: Callable) -> click.Command:
    """``albumen stats``."""

    @click.command("stats")
    @library_argument
    @click.option(
        "--ask",
        is_flag=True,
        help="List the questions whose answers would help most, each with what to type.",
    )
    @click.option(
        "--count", type=click.IntRange(1), default=20, show_default=True, help="Questions that --ask lists."
    )
    @output
    @wrap
    def command(library: str, ask: bool, count: int, as_json: bool, quiet: bool) -> None:
        """Say what LIBRARY holds, and what its owner could best tell it.

        Photos by state, when they were taken, the commonest errors, faces, people, exports on record, and
        bytes on disk.

        \b
        albumen stats ~/Photos-albumen
        albumen stats ~/Photos-albumen --ask --count 5
        """
        from pipeline import commands

        show(commands.stats(library, ask=ask, count=count), as_json, quiet)

    return command
