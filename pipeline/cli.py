"""The command ``albumen``."""

from __future__ import annotations

from datetime import datetime

import click

from pipeline import cli_export, cli_library, commands
from pipeline.cli_base import OrderedGroup as _Group
from pipeline.cli_base import option_set as _options
from pipeline.cli_base import output_options as _output_options
from pipeline.cli_base import print_result as _print
from pipeline.cli_base import reported as _reported
from pipeline.cli_base import search_options, search_settings
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
    """Indexes a photo archive and groups the faces in it by person. Everything stays on this machine."""


_index_options = _options(
    click.option(
        "--workers",
        type=click.IntRange(1),
        help="Processes. Default: what cores and free memory allow, about 1 GB each; one a GPU.",
    ),
    click.option(
        "--min-face",
        type=click.FloatRange(12),
        default=24,
        show_default=True,
        help="Smallest face in pixels, at the working size.",
    ),
    click.option(
        "--working-size",
        type=click.IntRange(160),
        default=1280,
        show_default=True,
        help="Photos are searched for faces at this longer side at most.",
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
        default="facenet-casia",
        show_default=True,
        help="facenet-casia, facenet-vggface2 or onnx:FILE.",
    ),
    click.option(
        "--mirror",
        is_flag=True,
        help="Embed each face and its mirror image: twice the time, a little better.",
    ),
    click.option(
        "--engine",
        type=click.Choice(["auto", "openvino", "torch"]),
        default="auto",
        show_default=True,
        help="What runs the networks. auto: torch on a GPU, OpenVINO on processors.",
    ),
    click.option(
        "--precision",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        default="auto",
        show_default=True,
        help="Number format of convolutions. auto: bfloat16 where the processor has it.",
    ),
    click.option(
        "--max-pixels",
        type=click.IntRange(1),
        default=250_000_000,
        show_default=True,
        help="Larger photos are recorded as errors: guards against decompression bombs.",
    ),
    click.option("--no-thumbs", is_flag=True, help="Store no thumbnails: reports then show no faces."),
    click.option(
        "--chunk-size",
        type=click.IntRange(1, 10_000),
        default=128,
        show_default=True,
        help="Photos that are committed together.",
    ),
    click.option("--until", metavar="TIME", help="Stop cleanly at 07:00, or at a date with time."),
    click.option("--retry-errors", is_flag=True, help="Look again at photos that ended in an error."),
    click.option("--prune", is_flag=True, help="Forget photos that are no longer in the archive."),
    click.option("--yes", is_flag=True, help="Prune even where that forgets more than 5 % of the archive."),
    click.option(
        "--relocate", metavar="ROOT", help="The archive that the library knows as ROOT now lies at ARCHIVE."
    ),
    click.option(
        "--runner",
        help="Beam runner. Default: worker processes on this machine. Beam's own options follow after --.",
    ),
)

_group_options = _options(
    click.option(
        "--method",
        type=click.Choice(["default", "hdbscan", "agglomerative", "chinese-whispers", "kmeans"]),
        default="default",
        show_default=True,
        help="How faces are grouped.",
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


_archive = click.argument("archive")
_library = click.argument("library")
_beam = click.argument("beam_options", nargs=-1, type=click.UNPROCESSED)


@main.command("run")
@_archive
@_library
@_beam
@_index_options
@_group_options
@_output_options
@_reported
def run_command(archive, library, method, people, seed, as_json, quiet, **kwargs) -> None:
    """Index, group and report: the main job.

    ARCHIVE is a folder of photographs (or a URL that Beam can list); LIBRARY the folder for what is
    found. Run it again at any time: it does only what is missing.
    """
    options = _index_settings(kwargs)
    result = commands.run(archive, library, options, method=method, number=people, seed=seed, quiet=quiet)
    _print(result, as_json, quiet)


@main.command("index")
@_archive
@_library
@_beam
@_index_options
@_output_options
@_reported
def index_command(archive, library, as_json, quiet, **kwargs) -> None:
    """Find and embed the faces in ARCHIVE: photos → faces."""
    _print(commands.index(archive, library, _index_settings(kwargs), quiet=quiet), as_json, quiet)


@main.command("group")
@_library
@_beam
@click.option("--runner", help="Beam runner for large libraries. Beam's own options follow after --.")
@_group_options
@click.option(
    "--full", is_flag=True, help="Group all faces anew, not only what is new and what that touches."
)
@search_options
@_output_options
@_reported
def group_command(library, method, people, full, as_json, quiet, **search) -> None:
    """Group the faces of LIBRARY by person: faces → people."""
    settings = search_settings(search)
    result = commands.group(library, method=method, number=people, settings=settings, full=full, quiet=quiet)
    _print(result, as_json, quiet)


@main.command("report")
@_library
@click.option("--out", metavar="FOLDER", help="Write the pages here instead of into LIBRARY/report.")
@_output_options
@_reported
def report_command(library, out, as_json, quiet) -> None:
    """Write the people of LIBRARY as web pages that open from disk."""
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
@click.argument("folder")
@_reported
def demo_command(folder) -> None:
    """Write a small demonstration archive into FOLDER, from photographs that installed packages ship."""
    click.echo(commands.demo(folder))
