"""``albumen bench …``: what a run costs on this machine."""

from __future__ import annotations

import click

from models.engine import BACKENDS
from pipeline import commands
from pipeline.cli_base import (
    FOLDER,
    OrderedGroup,
    library_argument,
    output_options,
    print_result,
    reported,
    search_options,
    search_settings,
)
from pipeline.options import IndexOptions, cores
from transforms.library import Library


@click.group("bench", cls=OrderedGroup)
def bench() -> None:
    """Measure what a run costs on this machine.

    \b
    albumen bench index ~/Photos --count 50
    albumen bench group --faces 100000
    """


@bench.command("index")
@click.argument("folders", nargs=-1, required=True, type=click.Path(exists=True, file_okay=False))
@click.option("--count", type=click.IntRange(3), default=24, show_default=True, help="Photos of each folder.")
@click.option("--turns", type=click.IntRange(1), default=3, show_default=True, help="Runs of each loop.")
@click.option(
    "--passes", type=click.IntRange(1), default=4, show_default=True,
    help="How often Albumen goes through the photos in a run, so that its start doesn't weigh.",
)  # fmt: skip
@click.option(
    "--stages-only", is_flag=True, help="Only each of Albumen's stages by itself, without the loops."
)
@click.option(
    "--engine", type=click.Choice(BACKENDS), default="auto", show_default=True,
    help="What runs Albumen's networks on the processor.",
)  # fmt: skip
@click.option(
    "--precision",
    type=click.Choice(["auto", "float32", "bfloat16"]),
    default="auto",
    show_default=True,
    help="Number format of Albumen's convolutions; the reference is float32.",
)
@click.option("--workers", type=click.IntRange(1), help="Processes. Default: as many as cores.")
@click.option(
    "--boxes", nargs=2, metavar="PHOTOS BOXES",
    help="Also which faces are found in photos with labelled boxes, such as WIDER FACE.",
)  # fmt: skip
@click.option(
    "--pairs", nargs=2, metavar="LIBRARY PAIRS",
    help="Also LFW's pairs, by vectors of this precision and of float32; LFW is indexed in LIBRARY.",
)  # fmt: skip
@output_options
@reported
def bench_index(folders, workers, as_json, quiet, **how) -> None:
    """Speed of indexing the photos in FOLDERS, beside facenet-pytorch's own loop.

    The loop runs as its README shows it, on full photos and on photos reduced to 1280 pixels, in
    turns with Albumen, on one core and on all. --boxes and --pairs show what speed must not cost.
    """
    print_result(commands.bench_index(folders, workers=workers or cores(), **how), as_json, quiet)


@bench.command("camera")
@click.argument("out", type=FOLDER)
@click.option(
    "--portraits", required=True, type=click.Path(exists=True, file_okay=False),
    help="Photos with a face in the middle, such as LFW.",
)  # fmt: skip
@click.option(
    "--crowds", required=True, type=click.Path(exists=True, file_okay=False),
    help="Photos with labelled faces, such as WIDER FACE.",
)  # fmt: skip
@click.option(
    "--boxes", required=True, type=click.Path(exists=True, dir_okay=False), help="The labels of CROWDS."
)
@click.option("--count", type=click.IntRange(1), default=24, show_default=True, help="Photographs.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same photographs.")
@output_options
@reported
def bench_camera(out, portraits, crowds, boxes, count, seed, as_json, quiet) -> None:
    """Write photographs like a camera's into OUT, for `bench index`.

    They have 12 megapixels and 1 to 5 faces of 20 to 400 pixels.
    """
    result = commands.bench_camera(out, portraits, crowds, boxes, count=count, seed=seed)
    print_result(result, as_json, quiet)


@bench.command("memory")
@click.argument("photos", type=click.Path(exists=True, file_okay=False))
@click.option("--count", type=click.IntRange(1), default=5000, show_default=True, help="Photos to index.")
@click.option("--chunk-size", type=click.IntRange(1, 10_000), default=IndexOptions().chunk_size,
              show_default=True, help="Photos that are committed together.")  # fmt: skip
@output_options
@reported
def bench_memory(photos, count, chunk_size, as_json, quiet) -> None:
    """Resident memory of a worker while it indexes COUNT links to the files of PHOTOS."""
    print_result(commands.bench_memory(photos, count=count, chunk_size=chunk_size), as_json, quiet)


@bench.command("synthetic")
@library_argument
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    default="docs",
    show_default=True,
    help="Where the page is written.",
)
@click.option("--fit", is_flag=True, help="Learn the statistics of faces anew, and write them into OUT.")
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same faces.")
@output_options
@reported
def bench_synthetic(library, out, fit, seed, as_json, quiet) -> None:
    """Compare synthetic faces with LFW's, indexed in LIBRARY: distances and impostors' tail."""
    from pipeline.bench_synthetic import compare
    from pipeline.bench_synthetic import fit as learn

    opened = Library.open(library)
    found = learn(opened, out) if fit else compare(opened, out, seed=seed)
    print_result(commands.Result(*found), as_json, quiet)


@bench.command("group")
@click.option(
    "--faces", type=click.IntRange(1000), multiple=True, default=(10_000, 100_000, 1_000_000),
    show_default=True, help="Faces of a library; may be given several times.",
)  # fmt: skip
@click.option(
    "--family", is_flag=True, help="Also 20 people of 20,000 faces each among 100,000 of strangers."
)
@click.option("--club", is_flag=True, help="Also 2,500 people of 200 faces each.")
@click.option(
    "--out",
    type=click.Path(file_okay=False),
    default="docs",
    show_default=True,
    help="Where the page is written.",
)
@click.option(
    "--work",
    type=click.Path(exists=True, file_okay=False),
    help="Where the libraries lie meanwhile. Default: a temporary folder.",
)
@click.option(
    "--turns", type=click.IntRange(1), default=1, show_default=True,
    help="Runs of each library, in turns; their median counts.",
)  # fmt: skip
@click.option("--method", default="default", show_default=True, metavar="NAME",
              help="As `albumen group` has it.")  # fmt: skip
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same faces.")
@search_options
@output_options
@reported
def bench_group(faces, family, club, out, work, turns, method, as_json, quiet, **search) -> None:
    """Time and memory of grouping synthetic libraries, and what it finds."""
    from pipeline.bench_group import CLUB, FAMILY
    from pipeline.bench_group import bench as measure

    settings = search_settings(search)
    shapes = [FAMILY] * family + [CLUB] * club
    found = measure(list(faces), out, work=work, method=method, settings=settings, shapes=shapes, turns=turns)
    print_result(commands.Result(*found), as_json, quiet)


@bench.command("growth")
@click.option(
    "--faces",
    type=click.IntRange(1000),
    default=200_000,
    show_default=True,
    help="Faces of the library at the end.",
)
@click.option(
    "--steps", type=click.IntRange(2), default=10, show_default=True, help="Equal parts of the photos."
)
@click.option(
    "--add",
    type=click.FloatRange(0, 1, min_open=True),
    help="Two parts instead: the last adds this share to FACES.",
)
@click.option(
    "--folder", type=click.Path(file_okay=False), help="Keep the synthetic faces here, for another time."
)
@click.option(
    "--work",
    type=click.Path(exists=True, file_okay=False),
    help="Where the library lies meanwhile. Default: a temporary folder.",
)
@click.option(
    "--out", type=click.Path(file_okay=False), default="docs", show_default=True, help="For the page."
)
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same faces.")
@search_options
@output_options
@reported
def bench_growth(faces, steps, add, folder, work, out, as_json, quiet, **search) -> None:
    """Time and people of a synthetic library that grows, beside one grouping of all of it."""
    from pipeline.bench_growth import bench as measure

    shares, count = [1 / steps] * steps, faces
    if add is not None:
        shares, count = [1 / (1 + add), add / (1 + add)], round(faces * (1 + add))
    found = measure(
        count, shares=shares, folder=folder, work=work, settings=search_settings(search), out=out,
        show=lambda line: None if quiet else click.echo(line),
    )  # fmt: skip
    print_result(commands.Result(*found), as_json, quiet)
