"""The commands ``albumen compare``, ``find`` and ``recognise``: questions about a few photographs."""

from __future__ import annotations

import click

from pipeline import commands
from pipeline.cli_base import (
    FOLDER,
    library_argument,
    output_options,
    print_result,
    reported,
    without_beam_notices,
)
from pipeline.labelled import Workplace

_embedder = click.option(
    "--embedder", metavar="NAME", help="facenet-casia, facenet-vggface2 or onnx:FILE. Default: facenet-casia."
)
_photo = click.Path(exists=True, dir_okay=False)


@click.command("compare")
@click.argument("first", metavar="A", type=_photo)
@click.argument("second", metavar="B", type=_photo)
@_embedder
@click.option("--mirror", is_flag=True, help="Embed each face and its mirror image.")
@output_options
@reported
def compare_command(first, second, embedder, mirror, as_json, quiet) -> None:
    """Is it the same person? Every face of photo A with every face of photo B.

    Prints the squared L2 distance with the verdict at the paper's 1.1, and at the threshold that was
    calibrated for the embedder.

    \b
    albumen compare passport.jpg party.jpg
    """
    without_beam_notices()
    from pipeline.compare import compare

    print_result(commands.Result(*compare(first, second, embedder=embedder, mirror=mirror)), as_json, quiet)


@click.command("find")
@library_argument
@click.argument("photo", type=_photo)
@_embedder
@click.option(
    "--count",
    type=click.IntRange(1, 40),
    default=5,
    show_default=True,
    help="People, and faces, to list for each face.",
)
@output_options
@reported
def find_command(library, photo, embedder, count, as_json, quiet) -> None:
    """Who is it? The people and faces of LIBRARY that are nearest to the faces in PHOTO.

    PHOTO is not added to the library.

    \b
    albumen find ~/Photos-albumen stranger.jpg
    """
    without_beam_notices()
    from pipeline.find import find

    print_result(commands.Result(*find(library, photo, embedder=embedder, count=count)), as_json, quiet)


@click.command("recognise")
@click.argument("gallery", type=click.Path(exists=True))
@click.argument("photos", type=click.Path(exists=True))
@click.option(
    "--out", default="recognised", show_default=True, type=FOLDER, help="Where the results are written."
)
@click.option(
    "--classifier",
    type=click.Choice(["knn", "svm"]),
    default="knn",
    show_default=True,
    help="The nearest faces, or linear support vector machines.",
)
@click.option("--neighbours", type=click.IntRange(1), default=5, show_default=True, help="Faces that vote.")
@click.option(
    "--threshold",
    type=click.FloatRange(-1, 1),
    help="Least similarity (cosine) to be somebody. Default: as grouping has it for so many faces.",
)
@_embedder
@output_options
@reported
def recognise_command(
    gallery, photos, out, classifier, neighbours, threshold, embedder, as_json, quiet
) -> None:
    """Name the faces in PHOTOS by the people in GALLERY, a folder for each person.

    PHOTOS is a photo, a folder or an indexed library; GALLERY may also be an indexed library, or the
    gallery.npz of an earlier call. Whoever is like nobody in the gallery stays unknown.

    \b
    albumen recognise people/ party-photos/ --out recognised
    """
    without_beam_notices()
    from pipeline.recognise import recognise

    work = Workplace(out, "albumen recognise GALLERY PHOTOS", embedder, quiet)
    result = recognise(
        gallery, photos, work, classifier=classifier, neighbours=neighbours, threshold=threshold
    )
    print_result(commands.Result(*result), as_json, quiet)


PEOPLE_COMMANDS = (compare_command, find_command, recognise_command)
