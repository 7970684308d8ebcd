"""``albumen evaluate grouping``: every way of grouping on libraries of very different make-up.

LFW as it is, its halves, small samples of its people, people with many photos, and all of it hidden
among synthetic strangers; each method with its frozen settings, and the default without each of its
parts. The tables are Markdown, the plot of confidence SVG.
"""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from models.calibration import Calibration
from pipeline.calibrate import assigned_right
from pipeline.evaluate import in_learning_half
from pipeline.faces_to_group import read_face_set, threshold_line
from pipeline.labelled import labelled_photos
from pipeline.options import UsageError, cores
from pipeline.search_neighbours import EXACT_FACES, SearchSettings, search_neighbours
from transforms.clustering_scores import ClusteringScores, clustering_scores
from transforms.grouping import DEFAULT, KMEANS, METHODS, REACH
from transforms.grouping_samples import LabelledFaces, of_share, with_many_photos
from transforms.library import Library, LibraryError
from transforms.neighbours import NEIGHBOURS
from transforms.people import Assignment, FaceSet, Rules, WeakLimits, assign
from transforms.tables import PATH_BYTES, PHOTO_ID
from transforms.vector_file import write_vectors

_TABLE, _PLOT = "grouping_tables.md", "confidence.svg"
_EVERYONE = WeakLimits(size=0, score=0, yaw=360, sharpness=0)
# An ablation's threshold is moved by what suits it best on the learning half.
_SHIFTS = np.round(np.arange(-0.04, 0.041, 0.02), 2)
_BINS = 10
_HEAD = (
    "| | BCubed F | P | R | pairwise F | P | R | groups / people | largest |\n"
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"
)


@dataclass(frozen=True)
class Variant:
    """A way of grouping: `rules`, whether the `cohort` is used, and how far the threshold is moved."""

    method: str = DEFAULT
    rules: Rules = Rules()
    cohort: bool = True
    shift: float = 0.0


ABLATIONS = {
    "default": Variant(),
    "without the cohort": Variant(cohort=False),
    "without merging by means": Variant(rules=Rules(merge=False)),
    "without the same-photo rule": Variant(rules=Rules(same_photo=False)),
    "weak faces group as clear ones": Variant(rules=Rules(limits=_EVERYONE)),
    "without the runner-up margin": Variant(rules=Rules(margin=-2)),
}


def evaluate_grouping(
    library: Library, *, out: str | None, distractors: tuple[int, ...], synthetic: int
) -> tuple[list[str], dict[str, object]]:
    """Scores all methods and ablations, these also on so many `synthetic` faces; with `out`, writes tables
    and plot there."""
    if out and not importlib.util.find_spec("matplotlib"):
        raise UsageError("--out draws a plot, which needs matplotlib: pip install matplotlib")
    everything, names, known = read_labelled(library)
    learnt = np.array([in_learning_half(name) for name in names])
    samples = _samples(everything, names, learnt)
    facts: dict[str, object] = {}
    lines: list[str] = []
    for method in METHODS:
        rows = {name: _scored(sample, Variant(method), known) for name, sample in samples.items()}
        lines += _section(f"Method {method}", rows, facts)
    found = _grouped(everything.faces, Variant(), known)
    rows = {"all LFW, held-out people": everything.scores(found.group, ~learnt)}
    rows |= dict(_ablations(samples["learning half"], samples["held-out half"], known))
    lines += _section("The default without its parts, on the held-out half", rows, facts)
    if synthetic:
        rows = _synthetic_ablations(synthetic, known)
        lines += _section(f"The default without its parts, on {synthetic:,} synthetic faces", rows, facts)
    if distractors:
        hidden = {f"{n:,} strangers": _among(everything, known, n) for n in (0, *distractors)}
        lines += _hidden_section(hidden, facts)
    curve = confidence_bins(everything, found, ~learnt)
    lines += _confidence_section(curve, facts)
    if out:
        Path(out).mkdir(parents=True, exist_ok=True)
        Path(out, _TABLE).write_text("\n".join(lines) + "\n", encoding="utf-8")
        plot_confidence(curve, Path(out, _PLOT))
    return lines, facts


def read_labelled(library: Library) -> tuple[LabelledFaces, np.ndarray, Calibration]:
    """The faces of a labelled library, the name str[p] of each photo's person, and the calibration."""
    labelled = labelled_photos(library)
    table, faces, known = read_face_set(library)
    if not len(table):
        raise LibraryError(f"{library.path} holds no faces: index a labelled archive first")
    names = np.array([path.rpartition("/")[0] for path in labelled.paths])
    # Photos are numbered as the labels are, also those in which no face is.
    place = {path: row for row, path in enumerate(labelled.paths)}
    photos = library.read_photos([PATH_BYTES, PHOTO_ID])
    paths = (path.decode("utf-8", "surrogateescape") for path in photos[PATH_BYTES].to_pylist())
    row_of = dict(zip(photos[PHOTO_ID].to_pylist(), (place.get(path, -1) for path in paths), strict=True))
    photo = np.array([row_of.get(photo_id, -1) for photo_id in table[PHOTO_ID].to_pylist()])
    if (photo < 0).any():
        raise LibraryError(f"{library.path} holds faces of photos that it does not list: index it again")
    return LabelledFaces(replace(faces, photo=photo), labelled.people, labelled.face), names, known


def _samples(everything: LabelledFaces, names: np.ndarray, learnt: np.ndarray) -> dict[str, LabelledFaces]:
    chosen = {
        "learning half": learnt,
        "held-out half": ~learnt,
        "all LFW": learnt | True,
        "10 % of the people": of_share(names, 0.1),
        "10 % of the people, others": of_share(names, 0.1, repeat=1),
        "1 % of the people": of_share(names, 0.01),
        "1 % of the people, others": of_share(names, 0.01, repeat=1),
        "people with 10 to 30 photos": with_many_photos(everything.people),
        "those of the held-out half": with_many_photos(everything.people) & ~learnt,
    }
    return {name: everything.of_photos(photos) for name, photos in chosen.items() if photos.any()}


def _grouped(faces: FaceSet, variant: Variant, known: Calibration, people: int | None = None) -> Assignment:
    """The faces as a library of their own, with the settings that are shipped; `people` for k-means."""
    faces = faces if variant.cohort else replace(faces, bias=None)
    clear = ~faces.weak(variant.rules.limits)
    threshold = threshold_line(known, variant.method).at(int(clear.sum())) + variant.shift
    grouped = partial(
        assign, faces, method=variant.method, threshold=threshold, seed=0, rules=variant.rules,
        curve=known.confidence, people=people if variant.method == KMEANS else None,
    )  # fmt: skip
    if len(faces.vectors) <= EXACT_FACES:
        return grouped()
    with tempfile.TemporaryDirectory(prefix="albumen-evaluate-") as work:
        count, dimensions = faces.vectors.shape
        everything = [[(np.arange(count), faces.vectors)]]
        vectors = write_vectors(f"{work}/vectors", count, dimensions, everything)
        settings = SearchSettings(threads=cores())
        graph = search_neighbours(
            vectors, work, k=NEIGHBOURS, least=threshold - REACH, bias=faces.bias, unsure=~clear,
            settings=settings,
        )  # fmt: skip
        return grouped(graph=graph, attach_along=graph)


def _scored(sample: LabelledFaces, variant: Variant, known: Calibration) -> ClusteringScores:
    people = len(np.unique(sample.people))
    return sample.scores(_grouped(sample.faces, variant, known, people).group)


def _ablations(
    learning: LabelledFaces, held_out: LabelledFaces, known: Calibration
) -> Iterator[tuple[str, ClusteringScores]]:
    for name, variant in ABLATIONS.items():
        shifts: Iterable[float] = _SHIFTS if name != "default" else (0.0,)
        tried = [replace(variant, shift=float(s)) for s in shifts]
        best = max(tried, key=lambda v: _scored(learning, v, known).bcubed_f)
        label = name if not best.shift else f"{name} (threshold {best.shift:+.2f})"
        yield label, _scored(held_out, best, known)


def _among(everything: LabelledFaces, known: Calibration, count: int) -> tuple[float, float, float]:
    """(BCubed F, P, R) of LFW's faces among `count` synthetic strangers' faces."""
    hidden = everything.among(synthetic_faces_of(count, known, seed=1)[0]) if count else everything
    return hidden.bcubed_among(_grouped(hidden.faces, Variant(), known).group)


def _synthetic_ablations(count: int, known: Calibration) -> dict[str, ClusteringScores]:
    """On faces of whom all are labelled, the weak ones and several in a photo too; all at the shipped
    threshold."""
    faces, person = synthetic_faces_of(count, known, seed=2)
    scores = {}
    for name, variant in ABLATIONS.items():
        group = _grouped(faces, variant, known).group
        alone = int(group.max(initial=0)) + 1 + np.arange(len(group))
        scores[name] = clustering_scores(person, np.where(group < 0, alone, group))
    return scores


def synthetic_faces_of(count: int, known: Calibration, *, seed: int) -> tuple[FaceSet, np.ndarray]:
    """Faces of people who never lived, photos numbered from 0, and int[n] who they are."""
    from models.face_statistics import shipped_statistics
    from transforms.synthetic_faces import synthetic_faces

    parts = list(synthetic_faces(shipped_statistics(), faces=count, seed=seed))

    def all_of(name: str) -> np.ndarray:
        return np.concatenate([getattr(part, name) for part in parts])

    vectors = all_of("vectors")
    bias = known.cohort.bias(vectors) if known.cohort else None
    photo, size, score, yaw, sharpness = (
        all_of(name) for name in ("photo", "size", "score", "yaw", "sharpness")
    )
    return FaceSet(vectors, photo, size, score, yaw, sharpness, bias), all_of("person")


def confidence_bins(
    everything: LabelledFaces, found: Assignment, part: np.ndarray
) -> list[tuple[int, float, float]]:
    """(faces, mean confidence, share that is right) by tenths of confidence, of photos bool[p] `part`."""
    labelled = everything.face >= 0
    sure = np.where(labelled, found.confidence[everything.face], 0)
    right = assigned_right(everything.labels_of(found.group), everything.people)
    size = np.bincount(everything.labels_of(found.group))[everything.labels_of(found.group)]
    chosen = part & labelled & (sure > 0) & (size > 1)  # whose group holds another labelled face
    place = np.minimum((sure[chosen] * _BINS).astype(int), _BINS - 1)
    return [
        (int(mine.sum()), float(sure[chosen][mine].mean()), float(right[chosen][mine].mean()))
        for mine in (place == b for b in range(_BINS))
        if mine.any()
    ]


def plot_confidence(bins: list[tuple[int, float, float]], path: Path) -> None:
    """Draws confidence against the share that is right."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.5, 4.5), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="0.7", linewidth=1)
    axes.plot([b[1] for b in bins], [b[2] for b in bins], color="C0", linewidth=1)
    areas = [8 + 60 * np.sqrt(b[0] / max(1, max(x[0] for x in bins))) for b in bins]
    axes.scatter([b[1] for b in bins], [b[2] for b in bins], s=areas, color="C0")
    axes.set(xlabel="confidence", ylabel="share of assignments that are right", xlim=(0, 1), ylim=(0, 1.02))
    axes.set_title("LFW, people that nothing was learnt from", fontsize=10)
    figure.savefig(path, metadata={"Date": None})


def _section(title: str, rows, facts: dict[str, object]) -> list[str]:
    rows = dict(rows)
    facts[title] = {name: scores.as_dict() for name, scores in rows.items()}
    return ["", f"### {title}", "", _HEAD, *(_row(name, scores) for name, scores in rows.items())]


def _row(name: str, s: ClusteringScores) -> str:
    bcubed = (s.bcubed_f, s.bcubed_precision, s.bcubed_recall)
    figures = (*bcubed, s.pairwise_f, s.pairwise_precision, s.pairwise_recall)
    shown = " | ".join(f"{x:.4f}" for x in figures)
    return f"| {name} | {shown} | {s.groups:,} / {s.people:,} | {s.largest_group:,} |"


def _hidden_section(hidden: dict[str, tuple[float, float, float]], facts: dict[str, object]) -> list[str]:
    facts["hidden"] = hidden
    head = "| all LFW among | BCubed F | P | R |\n| --- | --- | --- | --- |"
    rows = [f"| {name} | {f:.4f} | {p:.4f} | {r:.4f} |" for name, (f, p, r) in hidden.items()]
    return ["", "### Hidden among synthetic strangers", "", head, *rows]


def _confidence_section(bins: list[tuple[int, float, float]], facts: dict[str, object]) -> list[str]:
    facts["confidence"] = bins
    faces = sum(count for count, _, _ in bins)
    error = sum(count * abs(sure - right) for count, sure, right in bins) / max(faces, 1)
    facts["expected_calibration_error"] = error
    head = "| faces | mean confidence | share right |\n| --- | --- | --- |"
    rows = [f"| {count:,} | {sure:.3f} | {right:.3f} |" for count, sure, right in bins]
    note = f"Expected calibration error {error:.3f} over {faces:,} grouped faces of the held-out people."
    return ["", "### Confidence", "", head, *rows, "", note]
