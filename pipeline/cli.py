"""The command ``albumen``."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from functools import wraps

import click

from pipeline import cli_bench, commands
from pipeline.options import IndexOptions, parse_until

_FAILED, _WRONG_USE = 1, 2


class _Group(click.Group):
    """Lists commands in the order in which they are used."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="albumen")
def main() -> None:
    """Indexes a photo archive and groups the faces in it by person. Everything stays on this machine."""


def _reported(command: Callable) -> Callable:
    """Turns the errors that a person can do something about into a line and an exit code."""

    @wraps(command)
    def run(*args, **kwargs):
        try:
            command(*args, **kwargs)
        except commands.WRONG_USE as error:
            _fail(error, _WRONG_USE)
        except commands.FAILURES as error:
            _fail(error, _FAILED)
        except KeyboardInterrupt:
            click.echo("\nstopped; what is committed stays, and the next run continues", err=True)
            sys.exit(130)

    return run


def _fail(error: Exception, code: int) -> None:
    click.echo(f"albumen: {error}", err=True)
    sys.exit(code)


def _options(*decorators: Callable) -> Callable:
    def decorate(command: Callable) -> Callable:
        for decorator in reversed(decorators):
            command = decorator(command)
        return command

    return decorate


_output_options = _options(
    click.option("--json", "as_json", is_flag=True, help="Print the summary as one line of JSON at the end."),
    click.option("--quiet", is_flag=True, help="Print errors only."),
)

_index_options = _options(
    click.option(
        "--workers",
        type=click.IntRange(1),
        help="Processes. Default: what cores and free memory allow, about 1.6 GB each; one a GPU.",
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
        "--precision",
        type=click.Choice(["auto", "float32", "bfloat16", "float16"]),
        default="auto",
        show_default=True,
        help="Number format of the embedder's convolutions.",
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
@_group_options
@_output_options
@_reported
def group_command(library, method, people, seed, as_json, quiet) -> None:
    """Group the faces of LIBRARY by person: faces → people."""
    _print(commands.group(library, method=method, number=people, seed=seed, quiet=quiet), as_json, quiet)


@main.command("report")
@_library
@click.option("--out", metavar="FOLDER", help="Write the pages here instead of into LIBRARY/report.")
@_output_options
@_reported
def report_command(library, out, as_json, quiet) -> None:
    """Write the people of LIBRARY as web pages that open from disk."""
    _print(commands.report(library, out=out, quiet=quiet), as_json, quiet)


@main.group("evaluate", cls=_Group)
def evaluate() -> None:
    """Measure how well faces are found, told apart and grouped."""


@evaluate.command("lfw")
@_library
@click.argument("pairs", type=click.Path(exists=True, dir_okay=False))
@_output_options
@_reported
def evaluate_lfw(library, pairs, as_json, quiet) -> None:
    """Verification on LFW, indexed in LIBRARY: accuracy over the PAIRS file, VAL at FAR over all pairs."""
    _print(commands.evaluate_lfw(library, pairs), as_json, quiet)


@evaluate.command("clusters")
@_library
@_output_options
@_reported
def evaluate_clusters(library, as_json, quiet) -> None:
    """Score the people of LIBRARY against its archive's folders, one a person (as in LFW).

    The labelled face of a photo is the one that covers its centre. Ungrouped faces count as people
    of their own.
    """
    _print(commands.evaluate_clusters(library), as_json, quiet)


@evaluate.command("calibrate")
@_library
@click.argument("out", type=click.Path(exists=True, file_okay=False))
@_output_options
@_reported
def evaluate_calibrate(library, out, as_json, quiet) -> None:
    """Learn centre and thresholds of an embedder from one half of LFW's people, indexed in LIBRARY.

    The result is a file in the folder OUT.
    """
    _print(commands.calibrate(library, out), as_json, quiet)


@evaluate.command("grouping")
@_library
@click.option("--out", type=click.Path(file_okay=False), help="Write the tables and the plot here.")
@click.option("--distractors", type=click.IntRange(0), multiple=True, metavar="N",
              help="Hide the people among N synthetic faces; may be given several times.")  # fmt: skip
@_output_options
@_reported
def evaluate_grouping(library, out, distractors, as_json, quiet) -> None:
    """Score every way of grouping on samples of LFW, indexed in LIBRARY, with all settings frozen."""
    _print(commands.evaluate_grouping(library, out=out, distractors=distractors), as_json, quiet)


@evaluate.command("detection")
@click.argument("photos", type=click.Path(exists=True, file_okay=False))
@click.argument("boxes", type=click.Path(exists=True, dir_okay=False))
@_output_options
@_reported
def evaluate_detection(photos, boxes, as_json, quiet) -> None:
    """Recall and precision on labelled boxes (WIDER FACE), beside facenet-pytorch's own MTCNN."""
    _print(commands.evaluate_detection(photos, boxes), as_json, quiet)


@main.group("bench", cls=_Group)
def bench() -> None:
    """Measure what a run costs on this machine."""


@bench.command("memory")
@click.argument("photos", type=click.Path(exists=True, file_okay=False))
@click.option("--count", type=click.IntRange(1), default=5000, show_default=True, help="Photos to index.")
@click.option("--chunk-size", type=click.IntRange(1, 10_000), default=128, show_default=True)
@_output_options
@_reported
def bench_memory(photos, count, chunk_size, as_json, quiet) -> None:
    """Resident memory of a worker while it indexes COUNT links to the files of PHOTOS."""
    _print(commands.bench_memory(photos, count=count, chunk_size=chunk_size), as_json, quiet)


cli_bench.register(bench, _reported, _output_options, lambda *result: _print(*result))


@main.command("demo")
@click.argument("folder")
@_reported
def demo_command(folder) -> None:
    """Write a small demonstration archive into FOLDER, from photographs that installed packages ship."""
    click.echo(commands.demo(folder))


def _print(result: commands.Result, as_json: bool, quiet: bool) -> None:
    if not quiet:
        for line in result.lines:
            click.echo(line)
    if as_json:
        click.echo(json.dumps(result.facts, default=str))
