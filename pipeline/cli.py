"""The command ``albumen``."""

from __future__ import annotations

from datetime import datetime

import click

from models.engine import BACKENDS, PRECISIONS
from pipeline import cli_export, cli_library, commands
from pipeline.cli_base import FOLDER, library_argument, name_values, search_options, search_settings
from pipeline.cli_base import OrderedGroup as _Group
from pipeline.cli_base import option_set as _options
from pipeline.cli_base import output_options as _output_options
from pipeline.cli_base import print_result as _print
from pipeline.cli_base import reported as _reported
from pipeline.cli_bench import bench
from pipeline.cli_evaluate import evaluate
from pipeline.cli_people import (
    correct_group,
    migrate_command,
    stats_command,
)
from pipeline.cli_recognise import PEOPLE_COMMANDS
from pipeline.options import IndexOptions, parse_until


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="albumen")
def main() -> None:
    """Indexes a photo archive and groups the faces in it by person. Everything stays on this machine.

    \b
    albumen run ~/Photos ~/Photos-albumen     the main job; then open ~/Photos-albumen/report/index.html
    albumen COMMAND --help                    what a command does, and its options

    Exit codes: 0 when it is done, 1 when it failed, 2 for wrong use.
    """


_index_options = _options(
    click.option(
        "--workers",
        type=click.IntRange(1),
        help="Worker processes. Default: what cores and free memory allow, about 1 GB each; one a GPU.",
    ),
    click.option(
        "--min-face",
        type=click.FloatRange(12),
        default=24,
        show_default=True,
        metavar="PIXELS",
        help="Smallest face to look for, in the photo as --working-size reduces it.",
    ),
    click.option(
        "--working-size",
        type=click.IntRange(160),
        default=1280,
        show_default=True,
        metavar="PIXELS",
        help="Photos are reduced to this longer side to look for faces. Larger finds smaller faces, and "
        "takes longer.",
    ),
    click.option(
        "--detector",
        type=click.Choice(["mtcnn"]),
        default="mtcnn",
        show_default=True,
        help="What finds the faces.",
    ),
    click.option(
        "--embedder",
        show_default="the library's own, facenet-casia for a new one",
        metavar="NAME",
        help="What makes vectors of faces: facenet-casia, facenet-vggface2 (downloaded once) or onnx:FILE.",
    ),
    click.option(
        "--mirror",
        is_flag=True,
        help="Embed each face and its mirror image: twice the time, a little better.",
    ),
    click.option(
        "--engine",
        type=click.Choice(BACKENDS),
        default="auto",
        show_default=True,
        help="What runs the networks. auto: torch on a GPU, OpenVINO on processors.",
    ),
    click.option(
        "--precision",
        type=click.Choice(PRECISIONS),
        default="auto",
        show_default=True,
        help="Number format of convolutions. auto: bfloat16 where the processor has it.",
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(1),
        default=250_000_000,
        show_default=True,
        metavar="PIXELS",
        help="Photos of more pixels are recorded as errors: a guard against decompression bombs.",
    ),
    click.option("--no-thumbs", is_flag=True, help="Store no thumbnails: reports then show no faces."),
    click.option(
        "--chunk-size",
        type=click.IntRange(1, 10_000),
        default=IndexOptions().chunk_size,
        show_default=True,
        help="Photos that are committed together: what a crash of a worker costs at most.",
    ),
    click.option("--until", metavar="TIME", help="Stop cleanly then: 07:00, or 2026-01-31T07:00."),
    click.option("--retry-errors", is_flag=True, help="Look again at photos that ended in an error."),
    click.option("--prune", is_flag=True, help="Forget photos that are no longer in the archive."),
    click.option("--yes", is_flag=True, help="Prune even where that forgets more than 5 % of the archive."),
    click.option(
        "--relocate",
        metavar="ROOT",
        help="The archive that the library calls ROOT (`albumen stats` lists them) now lies at ARCHIVE.",
    ),
    click.option(
        "--runner",
        metavar="NAME",
        help="Beam runner, such as FlinkRunner. Default: worker processes on this machine. Beam's own "
        "options follow after --.",
    ),
)

_group_options = _options(
    click.option(
        "--method",
        type=click.Choice(["default", "hdbscan", "agglomerative", "chinese-whispers", "kmeans"]),
        default="default",
        show_default=True,
        help="default: the map equation, which measures best; hdbscan and agglomerative: as FaceNet's paper "
        "and users of it do; chinese-whispers; kmeans: into as many as --people says.",
    ),
    click.option("--people", type=click.IntRange(1), help="How many people there are, for kmeans alone."),
    click.option(
        "--seed", type=int, default=0, show_default=True, help="Same library and seed, same people."
    ),
)


def _index_settings(kwargs: dict) -> IndexOptions:
    from models.detector import MtcnnSettings

    until = kwargs.pop("until")
    kwargs.pop("detector")  # the only one so far; its settings are options of their own
    return IndexOptions(
        detector=MtcnnSettings(min_face=kwargs.pop("min_face"), working_side=kwargs.pop("working_size")),
        thumbs=not kwargs.pop("no_thumbs"),
        until=parse_until(until, datetime.now().astimezone()) if until else None,
        **kwargs,
    )


_archive = click.argument("archive", type=FOLDER)
_beam = click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)


@main.command("run")
@_archive
@library_argument
@_beam
@_index_options
@_group_options
@_output_options
@_reported
def run_command(archive, library, method, people, seed, as_json, quiet, **kwargs) -> None:
    """Index, group and report: the main job.

    ARCHIVE is a folder of photographs (or a URL that Beam can list), which is only read; LIBRARY the folder
    for what is found, made where there is none. Run it again at any time: it does only what is missing.
    Ctrl-C stops it cleanly.

    \b
    albumen run ~/Photos ~/Photos-albumen
    albumen run /mnt/nas/photos ~/Photos-albumen --until 07:00 --workers 4
    """
    options = _index_settings(kwargs)
    result = commands.run(archive, library, options, method=method, number=people, seed=seed, quiet=quiet)
    _print(result, as_json, quiet)


@main.command("index")
@_archive
@library_argument
@_beam
@_index_options
@_output_options
@_reported
def index_command(archive, library, as_json, quiet, **kwargs) -> None:
    """Find and embed the faces in ARCHIVE: photos → faces.

    The first part of `albumen run`, with the same ARCHIVE and LIBRARY. Several archives may go into one
    library, one call each.

    \b
    albumen index ~/Photos ~/Photos-albumen
    albumen index s3://bucket/photos s3://bucket/library --runner FlinkRunner -- --flink_master=HOST:8081
    """
    _print(commands.index(archive, library, _index_settings(kwargs), quiet=quiet), as_json, quiet)


@main.command("group")
@library_argument
@_beam
@click.option("--runner", metavar="NAME",
              help="Beam runner for large libraries. Beam's own options follow after --.")  # fmt: skip
@_group_options
@click.option(
    "--full", is_flag=True, help="Group all faces anew, not only what is new and what that touches."
)
@search_options
@_output_options
@_reported
def group_command(library, method, people, full, as_json, quiet, **search) -> None:
    """Group the faces of LIBRARY by person: faces → people.

    People keep their ids and names, and what was corrected holds. Where only some photos are new, these are
    grouped, with the people they are like.

    \b
    albumen group ~/Photos-albumen
    albumen group ~/Photos-albumen --full --method kmeans --people 40
    """
    settings = search_settings(search)
    result = commands.group(library, method=method, number=people, settings=settings, full=full, quiet=quiet)
    _print(result, as_json, quiet)


@main.command("report")
@library_argument
@click.option("--out", type=FOLDER, help="Write the pages here instead of into LIBRARY/report.")
@_output_options
@_reported
def report_command(library, out, as_json, quiet) -> None:
    """Write the people of LIBRARY as web pages that open from disk.

    Open LIBRARY/report/index.html. The pages hold the faces, run no script and reach for nothing outside.
    """
    _print(commands.report(library, out=out, quiet=quiet), as_json, quiet)


main.add_command(correct_group(_reported, _output_options, _print))
main.add_command(stats_command(_reported, _output_options, _print))
for _command in PEOPLE_COMMANDS:
    main.add_command(_command)
cli_export.register(main, _reported, _output_options, _print)
cli_library.register(main, _reported, _output_options, _print)
main.add_command(migrate_command(_reported, _output_options, _print))
main.add_command(evaluate)
main.add_command(bench)


@main.command("demo")
@click.argument("folder", type=FOLDER)
@_reported
def demo_command(folder) -> None:
    """Write a small demonstration archive into FOLDER, from photographs that installed packages ship.

    \b
    albumen demo demo && albumen run demo demo-albumen
    """
    click.echo(commands.demo(folder))


name_values(main)
