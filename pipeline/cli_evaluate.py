"""The commands ``albumen evaluate …``: the paper's experiments, and how faces are found and grouped."""

from __future__ import annotations

import click

from pipeline import commands
from pipeline.cli_base import OrderedGroup, option_set, output_options, print_result, reported
from pipeline.labelled import Workplace

_page_options = option_set(
    click.option(
        "--out",
        default="evaluation",
        show_default=True,
        metavar="FOLDER",
        help="Where pages and what they need are written.",
    ),
    click.option(
        "--embedder",
        metavar="NAME",
        help="facenet-casia, facenet-vggface2 or onnx:FILE. Default: the library's, else facenet-casia.",
    ),
    output_options,
)
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
    """


def _work(out: str, embedder: str | None, quiet: bool) -> Workplace:
    return Workplace(out, shown_command(click.get_current_context()), embedder, quiet)


def shown_command(context: click.Context) -> str:
    """The command line with the names of its arguments in place of this machine's files and folders."""
    words = [context.command_path.split(" ", 1)[-1]]
    words[0] = f"albumen {words[0]}"
    for parameter in context.command.params:
        name = parameter.name or ""
        value = context.params.get(name)
        if isinstance(parameter, click.Argument):
            words.append(parameter.human_readable_name.upper())
        elif name not in ("quiet", "as_json") and context.get_parameter_source(name) is not None:
            if context.get_parameter_source(name) != click.core.ParameterSource.COMMANDLINE:
                continue
            shown = f"onnx:{'FILE'}" if name == "embedder" and str(value).startswith("onnx:") else str(value)
            if isinstance(parameter.type, click.Path) or name == "out":
                shown = str(parameter.metavar or name.upper())
            words += (
                [parameter.opts[0]] if getattr(parameter, "is_flag", False) else [parameter.opts[0], shown]
            )
    return " ".join(words)


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
    """Personal photographs (sections 4.2, 5.8): VAL and FAR over all pairs, then the clusters."""
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
@click.argument("library")
@output_options
@reported
def evaluate_clusters(library, as_json, quiet) -> None:
    """Score the people of LIBRARY against its archive's folders, one a person (as in LFW).

    The labelled face of a photo is the one that covers its centre. Ungrouped faces count as people
    of their own.
    """
    print_result(commands.evaluate_clusters(library), as_json, quiet)


@evaluate.command("calibrate")
@click.argument("library")
@click.argument("out", type=click.Path(exists=True, file_okay=False))
@output_options
@reported
def evaluate_calibrate(library, out, as_json, quiet) -> None:
    """Learn centre and thresholds of an embedder from one half of LFW's people, indexed in LIBRARY.

    The result is a file in the folder OUT.
    """
    print_result(commands.calibrate(library, out), as_json, quiet)


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
