"""``albumen evaluate album``: the paper's experiment on personal photographs, sections 4.2, 5.2 and 5.8.

All pairs of the labelled faces decide VAL and FAR at every threshold, as in figure 5; then the people
that grouping makes of the same photographs are scored, and one of them is shown, as in figure 7.
"""

from __future__ import annotations

import io
from dataclasses import dataclass

import numpy as np
from PIL import Image

from pipeline.evaluation_page import (
    INTERVALS,
    EvaluationPage,
    Line,
    Plot,
    Section,
    Table,
    deciding,
    line_plot,
    percent,
    with_interval,
    write_page,
)
from pipeline.faces_to_group import calibration
from pipeline.group import group_library, is_current
from pipeline.labelled import (
    LabelledFaces,
    Workplace,
    is_library,
    labelled_faces,
    opened_library,
    require_pairs,
    spec_of,
)
from transforms.all_pairs import AllPairs, all_pairs
from transforms.bootstrap import Interval, val_intervals
from transforms.clustering_scores import ClusteringScores, clustering_scores
from transforms.contact_sheet import contact_sheet
from transforms.grouping import DEFAULT
from transforms.lease import Lease
from transforms.library import Library, LibraryError
from transforms.tables import FACE_ID, JPEG, PERSON_ID
from transforms.verification import centred, has_pairs, limit_per_person

FARS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_MOST_PHOTOS = 20
_SHOWN = 96
# FaceNet, table 3: VAL at FAR 1e-3 of the architectures on the hold-out set, percent.
_PAPER = "NN1 87.9 ± 1.9, NN2 89.4 ± 1.6, NN3 (160×160 pixels, the nearest to this one) 88.3 ± 1.7"


@dataclass(frozen=True)
class Verified:
    """All pairs of some faces, and the intervals of VAL."""

    name: str
    pairs: AllPairs
    intervals: dict[float, Interval]


def album(source: str, work: Workplace, *, labels: str | None = None) -> tuple[list[str], dict[str, object]]:
    """Runs the experiment on a folder or an indexed library of labelled photographs, and writes its page."""
    library = opened_library(source, work)
    faces = labelled_faces(library, labels)
    revision = _grouped(library, reads_only=is_library(source))
    centre = calibration(library, faces.vectors).centre
    vectors = centred(faces.vectors, centre)
    few = limit_per_person(faces.person, _MOST_PHOTOS)
    require_pairs(faces.person, source)
    measured = [verified("all people", vectors, faces.person)]
    if not few.all() and has_pairs(faces.person[few]):
        measured.append(
            verified(f"people with at most {_MOST_PHOTOS} photos", vectors[few], faces.person[few])
        )
    groups = groups_of(faces, library, revision)
    scores = clustering_scores(
        np.concatenate([faces.person, _missing_people(faces)]),
        np.concatenate([groups, groups.max() + 1 + np.arange(len(faces.missing))]),
    )
    lines = [faces.counted, *(described(v) for v in measured), scored(scores)]
    page = EvaluationPage(
        name="album",
        title="Personal photographs: verification and clustering",
        data=faces.counted,
        model=spec_of(library, work.embedder).name,
        fingerprint=str(library.info().fingerprint),
        sections=[_verification(measured, len(faces.missing)), _clustering(scores, library, revision)],
        facts={
            "verification": {v.name: _facts(v) for v in measured},
            "clustering": scores.as_dict(),
            "grouping": library.read_grouping(revision).get("method"),
        },
        pictures={"album-cluster.png": _one_cluster(faces, groups, library)},
    )
    return lines + write_page(page, work), dict(page.facts)


def verified(name: str, vectors: np.ndarray, person: np.ndarray) -> Verified:
    """VAL at every FAR with its interval. Raises ValueError without pairs of both kinds."""
    pairs = all_pairs(vectors, person, fars=FARS)
    return Verified(name, pairs, val_intervals(pairs))


def groups_of(faces: LabelledFaces, library: Library, revision: str) -> np.ndarray:
    """int64[n]: the group of each labelled face; who is ungrouped has a group of their own."""
    table = library.read_assignments(revision)
    person = dict(zip(table[FACE_ID].to_pylist(), table[PERSON_ID].to_pylist(), strict=True))
    names = [person.get(face) or f"\0{row}" for row, face in enumerate(faces.face_ids)]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _missing_people(faces: LabelledFaces) -> np.ndarray:
    number = {name: i for i, name in enumerate(faces.names)}
    return np.array([number.setdefault(label.person, len(number)) for label in faces.missing], np.int64)


def _grouped(library: Library, *, reads_only: bool) -> str:
    """The revision to be scored; made first where the library is this experiment's own."""
    if not reads_only and not is_current(library, method=DEFAULT, seed=0):
        with Lease(library.path):
            group_library(library, method=DEFAULT, seed=0)
    revision = library.current_revision()
    if revision is None:
        raise LibraryError(f"{library.path} is not grouped yet: albumen group {library.path}")
    return revision


def described(v: Verified) -> str:
    """VAL as a line."""
    values = ", ".join(
        f"{far:.0e}: {with_interval(p.val, v.intervals[far], 1)}" for far, p in v.pairs.at.items()
    )
    return f"{v.name}: {len(v.pairs.same):,} and {v.pairs.different:,} pairs; VAL at FAR {values}"


def scored(s: ClusteringScores) -> str:
    """The clustering as a line."""
    return (
        f"clusters: BCubed F {s.bcubed_f:.4f}, pairwise F {s.pairwise_f:.4f}, V {s.v_measure:.4f}, purity "
        f"{s.purity:.4f}; {s.groups:,} groups over {s.people:,} people, largest {s.largest_group:,}, "
        f"{s.single_groups:,} of one face"
    )


def _facts(v: Verified) -> dict[str, object]:
    distance, val, far = v.pairs.curve()
    kept = np.unique(np.linspace(0, len(distance) - 1, 801).astype(int))
    return {
        "pairs_of_one_person": len(v.pairs.same),
        "pairs_of_two_people": v.pairs.different,
        "at": [
            {"far": f, "val": p.val, "interval": v.intervals[f], "distance": p.distance}
            for f, p in v.pairs.at.items()
        ],
        "curve": {"distance": distance[kept], "val": val[kept], "far": far[kept]},
    }


def _verification(measured: list[Verified], missing: int) -> Section:
    rows = []
    for far in FARS:
        row = [f"{far:.0e}"]
        for v in measured:
            point, few = v.pairs.at[far], deciding(far, v.pairs.different)
            val = with_interval(point.val, v.intervals[far])
            row += [f"{val}, {few}" if few else val, f"{point.distance:.3f}"]
        rows.append(row)
    columns = ["FAR"] + [c for v in measured for c in (f"VAL, {v.name}", "distance")]
    pairs = "; ".join(
        f"{v.name}: {len(v.pairs.same):,} pairs of one person, {v.pairs.different:,} of two" for v in measured
    )
    note = (
        f"With {INTERVALS}. The paper's VAL at FAR 1e-3, on its own hold-out set, percent: {_PAPER}; for its "
        "personal photographs it draws figure 5 and gives no number."
    )
    text = f"Squared L2 distance between centred vectors. {pairs}."
    if missing:
        text += f" The {missing:,} labelled faces that were not found are in none of the pairs."
    return Section(
        "Verification over all pairs",
        [text],
        [Table(columns, rows, note)],
        [
            Plot("album-roc.svg", "VAL over FAR, as the paper's figure 5", _roc(measured)),
            Plot("album-thresholds.svg", "VAL and FAR at every threshold", _thresholds(measured[0])),
        ],
    )


def _roc(measured: list[Verified]) -> bytes:
    lines = []
    for v in measured:
        _, val, far = v.pairs.curve()
        inside = np.flatnonzero(far > 0)
        lines.append(Line(v.name, far[inside].tolist(), val[inside].tolist()))
    return line_plot(lines, x="FAR", y="VAL", log_x=True, x_range=(1e-6, 1), y_range=(0, 1.01))


def _thresholds(v: Verified) -> bytes:
    distance, val, far = v.pairs.curve()
    kept = slice(None, None, 50)
    lines = [Line(n, distance[kept].tolist(), y[kept].tolist()) for n, y in (("VAL", val), ("FAR", far))]
    return line_plot(lines, x="squared L2 distance", y="share of pairs accepted")


def _clustering(s: ClusteringScores, library: Library, revision: str) -> Section:
    rows = [
        ["pairwise", percent(s.pairwise_precision), percent(s.pairwise_recall), percent(s.pairwise_f)],
        ["BCubed", percent(s.bcubed_precision), percent(s.bcubed_recall), percent(s.bcubed_f)],
    ]
    made = library.read_grouping(revision)
    text = (
        f"Grouped by the method {made.get('method')!s} at a similarity of "
        f"{float(str(made.get('threshold'))):.3f}; faces left ungrouped, and labelled faces that were not "
        f"found, count as groups of one. V-measure {s.v_measure:.4f}, purity {percent(s.purity)}; "
        f"{s.groups:,} groups over {s.people:,} people; the largest group has {s.largest_group:,} faces, "
        f"{s.single_groups:,} groups have one. The paper shows one cluster (figure 7) and gives no score."
    )
    if made.get("corrections"):
        text += (
            f" {made['corrections']} corrections of the library's user were in force: these groups are not "
            "the method's alone."
        )
    return Section("Clustering of the same faces", [text], [Table(["", "precision", "recall", "F"], rows)])


def _one_cluster(faces: LabelledFaces, groups: np.ndarray, library: Library) -> bytes:
    """The largest group, as a sheet of thumbnails with the labelled names."""
    largest = int(np.bincount(groups).argmax())
    rows = np.flatnonzero(groups == largest)
    rows = rows[np.linspace(0, len(rows) - 1, min(_SHOWN, len(rows))).astype(int)]
    thumbs = thumbnails(library, {faces.face_ids[r] for r in rows})
    names = [faces.names[faces.person[r]].replace("_", " ") for r in rows]
    tiles = [
        ((thumbs[faces.face_ids[r]],), name)
        for r, name in zip(rows, names, strict=True)
        if faces.face_ids[r] in thumbs
    ]
    return contact_sheet(tiles, columns=12)


def thumbnails(library: Library, wanted: set[str]) -> dict[str, np.ndarray]:
    """Decoded thumbnails, uint8[h, w, 3], of some faces; without those that are missing or damaged."""
    found: dict[str, np.ndarray] = {}
    for table in library.iter_thumbs():
        for face, jpeg in zip(table[FACE_ID].to_pylist(), table[JPEG].to_pylist(), strict=True):
            if face in wanted and face not in found:
                try:
                    found[face] = np.asarray(Image.open(io.BytesIO(jpeg), formats=["JPEG"]).convert("RGB"))
                except (OSError, ValueError, SyntaxError):
                    continue
    return found
