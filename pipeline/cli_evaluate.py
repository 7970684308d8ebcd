"""The commands ``albumen evaluate …``: the paper's experiments, and how faces are found and grouped."""

from __future__ import annotations

import click
from click.core import ParameterSource

from pipeline import commands
from pipeline.cli_base import (
    FOLDER,
    OrderedGroup,
    library_argument,
    option_set,
    output_options,
    print_result,
    reported,
    without_beam_notices,
)
from pipeline.labelled import Workplace, is_library
from transforms.library import Library

_page_options = option_set(
    click.option(
        "--out",
        default="evaluation",
        show_default=True,
        type=FOLDER,
        help="Where pages and what they need are written.",
    ),
    click.option(
        "--embedder",
        metavar="NAME",
        help="facenet-casia, facenet-vggface2 or onnx:FILE. Default: the library's, else facenet-casia.",
    ),
    output_options,
)
_UNSHOWN = ("quiet", "as_json")
_folder = click.argument("folder", type=click.Path(exists=True, file_okay=False))
_labels = click.option(
    "--labels",
    type=click.Path(exists=True, dir_okay=False),
    metavar="CSV",
    help="photo,person[,x,y]: whose face is where. Default: a folder for each person.",
)


@click.group("evaluate", cls=OrderedGroup)
def evaluate() -> None:
    """Measure how well faces are found, told apart and grouped.

    Where a FOLDER of photographs is asked for, a library that is indexed already does as well, and saves
    the time of indexing. Results are pages in the folder --out.

    \b
    albumen evaluate lfw lfw/ pairs.txt
    albumen evaluate album ~/Labelled --labels who.csv
    albumen evaluate dedupe lfw-albumen
    """


def _work(out: str, embedder: str | None, quiet: bool) -> Workplace:
    return Workplace(out, shown_command(click.get_current_context()), embedder, quiet)


def shown_command(context: click.Context) -> str:
    """The command line with the names of its arguments in place of this machine's files and folders."""
    words = ["albumen " + context.command_path.partition(" ")[2]]
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        if isinstance(parameter, click.Argument):
            if value is not None:
                words.append("LIBRARY" if is_library(str(value)) else name.upper())
        elif context.get_parameter_source(name) == ParameterSource.COMMANDLINE and name not in _UNSHOWN:
            for one in value if isinstance(value, tuple) else (value,):
                words.append(parameter.opts[0])
                if one is not True:
                    words.append(_shown_value(parameter, str(one)))
    return " ".join(words)


def _shown_value(parameter: click.Parameter, value: str) -> str:
    name = parameter.name or ""
    if isinstance(parameter.type, click.Path) or name == "out":
        return name.upper()
    return "onnx:FILE" if value.startswith("onnx:") else value


@evaluate.command("lfw")
@click.argument("photos", type=click.Path(exists=True, file_okay=False))
@click.argument("pairs", type=click.Path(exists=True, dir_okay=False))
@click.option(
    "--crop",
    type=click.Choice(["both", "centre", "detector"]),
    default="both",
    show_default=True,
    help="A fixed part of each photo, around the detected face, or one after the other.",
)
@_page_options
@reported
def evaluate_lfw(photos, pairs, crop, out, embedder, as_json, quiet) -> None:
    """Verification on LFW (section 5.6): accuracy over the ten folds of the PAIRS file, VAL at FAR."""
    from pipeline.evaluate_lfw import CROPS, lfw

    crops = CROPS if crop == "both" else (crop,)
    result = lfw(photos, pairs, _work(out, embedder, quiet), crops=crops)
    print_result(commands.Result(*result), as_json, quiet)


@evaluate.command("album")
@_folder
@_labels
@_page_options
@reported
def evaluate_album(folder, labels, out, embedder, as_json, quiet) -> None:
    """Personal photographs (sections 4.2, 5.2 and 5.8): VAL and FAR over all pairs, then the clusters."""
    from pipeline.evaluate_album import album

    result = album(folder, _work(out, embedder, quiet), labels=labels)
    print_result(commands.Result(*result), as_json, quiet)


@evaluate.command("quality")
@_folder
@_labels
@click.option(
    "--faces", "most", type=click.IntRange(10), default=2000, show_default=True, help="Faces in the sample."
)
@_page_options
@reported
def evaluate_quality(folder, labels, most, out, embedder, as_json, quiet) -> None:
    """VAL against JPEG quality and size of the face (table 4), on a sample of people."""
    from pipeline.evaluate_quality import quality

    result = quality(folder, _work(out, embedder, quiet), labels=labels, most=most)
    print_result(commands.Result(*result), as_json, quiet)


@evaluate.command("dims")
@_folder
@_labels
@_page_options
@reported
def evaluate_dims(folder, labels, out, embedder, as_json, quiet) -> None:
    """VAL against dimensions and bytes of a face (table 5)."""
    from pipeline.evaluate_dims import dims

    result = dims(folder, _work(out, embedder, quiet), labels=labels)
    print_result(commands.Result(*result), as_json, quiet)


@evaluate.command("clusters")
@library_argument
@click.argument("labels", type=click.Path(exists=True), required=False)
@output_options
@reported
def evaluate_clusters(library, labels, as_json, quiet) -> None:
    """Score the people of LIBRARY against LABELS, or else its archive's folders, one a person (as in LFW).

    LABELS is a CSV file with the columns photo (the path below the archive's folder), person, and perhaps
    x and y, a point in the face in pixels of the upright photo; faces of one photo have a line each, with
    their points. Or it is a folder tree with copies of LIBRARY's photos, byte for byte: the last folder's
    name is the person, so 2019/Anna and 2020/Anna are one; a photo that lies in folders of several people
    is left out.

    Without a point the labelled face is the photo's only one, or the one that covers its centre.
    Ungrouped faces, and labelled ones that were not found, count as people of their own.
    """
    print_result(commands.evaluate_clusters(library, labels), as_json, quiet)


@evaluate.command("calibrate")
@library_argument
@click.argument("out", type=click.Path(exists=True, file_okay=False))
@output_options
@reported
def evaluate_calibrate(library, out, as_json, quiet) -> None:
    """Learn centre and thresholds of an embedder from one half of LFW's people, indexed in LIBRARY.

    The result is a file in the folder OUT.
    """
    print_result(commands.calibrate(library, out), as_json, quiet)


@evaluate.command("groups")
@_folder
@click.argument("labels", type=click.Path(exists=True, dir_okay=False), required=False)
@click.option("--measured", is_flag=True, help="Split by size, sharpness and turn of the faces as well.")
@_page_options
@reported
def evaluate_groups(folder, labels, measured, out, embedder, as_json, quiet) -> None:
    """VAL and FAR at one threshold for each group: by every further column of LABELS.

    LABELS is a CSV file with photo, person, and columns such as age, sex or year.
    """
    from pipeline.evaluate_groups import groups

    result = groups(folder, labels, _work(out, embedder, quiet), measured=measured)
    print_result(commands.Result(*result), as_json, quiet)


@evaluate.command("videos")
@_folder
@click.option(
    "--pairs",
    type=click.Path(exists=True, dir_okay=False),
    metavar="FILE",
    help="Pairs of clips as YouTube Faces has them. Default: drawn at random.",
)
@click.option(
    "--frames",
    type=click.IntRange(1),
    multiple=True,
    default=(100,),
    show_default=True,
    help="Frames with a face that are used of each clip; may be given several times.",
)
@_page_options
@reported
def evaluate_videos(folder, pairs, frames, out, embedder, as_json, quiet) -> None:
    """Video clips (section 5.7): a folder for each person, in it a video or a folder of frames a clip."""
    without_beam_notices()
    from pipeline.evaluate_videos import videos

    result = videos(folder, _work(out, embedder, quiet), pairs_file=pairs, limits=frames)
    print_result(commands.Result(*result), as_json, quiet)


@evaluate.command("show")
@library_argument
@click.option(
    "--method",
    type=click.Choice(["tsne", "umap"]),
    default="tsne",
    show_default=True,
    help="How the map is laid out.",
)
@click.option(
    "--faces",
    "most",
    type=click.IntRange(1, 20_000),
    default=3000,
    show_default=True,
    help="Faces on the map, drawn by --seed.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Same library and seed, same map.")
@_page_options
@reported
def evaluate_show(library, method, most, seed, out, embedder, as_json, quiet) -> None:
    """A map of LIBRARY's faces, coloured by person: one HTML page with the faces on hover."""
    from pipeline.evaluate_show import show

    result = show(library, _work(out, embedder, quiet), method=method, most=most, seed=seed)
    print_result(commands.Result(*result), as_json, quiet)


@evaluate.command("threshold")
@_folder
@click.argument("target", type=click.Path(exists=True, file_okay=False))
@_page_options
@reported
def evaluate_threshold(folder, target, out, embedder, as_json, quiet) -> None:
    """Learn how far apart two faces of one person may be, from one half of the people in FOLDER.

    The result is a file in the folder TARGET; `compare` uses the ones that Albumen ships.
    """
    from pipeline.evaluate_threshold import threshold

    result = threshold(folder, target, _work(out, embedder, quiet))
    print_result(commands.Result(*result), as_json, quiet)


@evaluate.command("detection")
@click.argument("photos", type=click.Path(exists=True, file_okay=False))
@click.argument("boxes", type=click.Path(exists=True, dir_okay=False))
@click.option("--no-reference", is_flag=True, help="Leave facenet-pytorch's own MTCNN out.")
@_page_options
@reported
def evaluate_detection(photos, boxes, no_reference, out, embedder, as_json, quiet) -> None:
    """Recall, precision and average precision on labelled BOXES (as WIDER FACE has them)."""
    from pipeline.evaluate_detection import detection

    result = detection(photos, boxes, _work(out, embedder, quiet), reference=not no_reference)
    print_result(commands.Result(*result), as_json, quiet)


@evaluate.command("dedupe")
@library_argument
@click.option(
    "--copies",
    type=click.IntRange(0),
    default=600,
    show_default=True,
    help="Changed copies to plant: re-encoded, smaller, cut, mirrored.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Decides what is planted where.")
@click.option("--learn", is_flag=True, help="Learn the limits anew, on one half of the people.")
@output_options
@reported
def evaluate_dedupe(library, copies, seed, learn, as_json, quiet) -> None:
    """Find planted faults in a crawl (LFW) that is indexed in LIBRARY: precision and recall."""
    print_result(commands.evaluate_dedupe(library, copies=copies, seed=seed, learn=learn), as_json, quiet)


@evaluate.command("grouping")
@library_argument
@click.option("--out", type=click.Path(file_okay=False), help="Write the tables and the plot here.")
@click.option("--distractors", type=click.IntRange(0), multiple=True, metavar="N",
              help="Hide the people among N synthetic faces; may be given several times.")  # fmt: skip
@click.option("--synthetic", type=click.IntRange(0), default=50_000, show_default=True, metavar="N",
              help="Leave out parts of the default method on N synthetic faces too.")  # fmt: skip
@output_options
@reported
def evaluate_grouping(library, as_json, quiet, **how) -> None:
    """Score every way of grouping on samples of LFW, indexed in LIBRARY, with all settings frozen."""
    print_result(commands.evaluate_grouping(library, **how), as_json, quiet)


_method = click.option(
    "--method", default="default", show_default=True, metavar="NAME", help="As `albumen group` has it."
)


@evaluate.command("growth")
@library_argument
@click.option("--steps", type=click.IntRange(1), default=10, show_default=True, help="Parts of the archive.")
@_method
@click.option("--seed", type=int, default=0, show_default=True, help="Same library and seed, same parts.")
@_page_options
@reported
def evaluate_growth(library, steps, method, seed, out, embedder, as_json, quiet) -> None:
    """Group a labelled LIBRARY whose photos come in parts, and all of it at once: scores and cost."""
    from pipeline.evaluate_growth import growth

    work = _work(out, embedder, quiet)
    result = growth(Library.open(library), steps=steps, method=method, seed=seed, work=work)
    print_result(commands.Result(*result), as_json, quiet)


@evaluate.command("corrections")
@library_argument
@click.option("--count", type=click.IntRange(10), default=100, show_default=True, help="Questions answered.")
@_method
@click.option("--seed", type=int, default=0, show_default=True, help="Same seed, same questions.")
@click.option("--held-out", is_flag=True, help="Only LFW's people from whom nothing was learnt.")
@_page_options
@reported
def evaluate_corrections(library, out, embedder, as_json, quiet, **how) -> None:
    """Simulate users of a labelled LIBRARY who answer the most useful questions, or random ones."""
    from pipeline.evaluate_corrections import corrections

    result = corrections(Library.open(library), work=_work(out, embedder, quiet), **how)
    print_result(commands.Result(*result), as_json, quiet)
