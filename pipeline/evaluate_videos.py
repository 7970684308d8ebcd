"""``albumen evaluate videos``: the paper's section 5.7, clips of people as in YouTube Faces.

The distance of two clips is the mean over all pairs of their first frames in which a face is found; accuracy
is over ten folds, each at the threshold of the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from models.embedder import fingerprint
from pipeline.clip_vectors import ClipVectors, list_clips
from pipeline.evaluation_page import EvaluationPage, Section, Table, percent, write_page
from pipeline.labelled import Workplace
from pipeline.options import UsageError
from pipeline.progress import ProgressLine
from transforms.clips import ClipPair, drawn_clip_pairs, mean_pair_distance, read_clip_pairs
from transforms.roc import area_under_curve, equal_error_rate
from transforms.verification import fold_accuracy

_FOLDS, _MOST_PAIRS = 10, 2500
_FARTHEST = 4.0
# FaceNet, section 5.7: accuracy on YouTube Faces by the number of frames, percent.
_PAPER = {100: "95.12 ± 0.39", 1000: "95.18"}


@dataclass(frozen=True)
class VideoFigures:
    """Accuracy with the first `frames` frames of each clip."""

    frames: int
    accuracy: float
    standard_error: float
    threshold: float
    auc: float
    eer: float


def videos(
    folder: str,
    work: Workplace,
    *,
    pairs_file: str | None = None,
    limits: Sequence[int] = (100,),
    seed: int = 0,
) -> tuple[list[str], dict[str, object]]:
    """Runs the experiment on a folder for each person with clips, and writes its page."""
    clips = list_clips(folder)
    pairs = _pairs(list(clips), pairs_file, seed)
    limits = sorted(set(limits))
    vectors = ClipVectors(work, limits)
    wanted = sorted({name for p in pairs for name in (p.first, p.second)})
    unknown = [name for name in wanted if name not in clips]
    if unknown:
        raise UsageError(
            f"{pairs_file} names {unknown[0]!r}, which {folder} does not hold: expected person/clip"
        )
    means, counts = {}, {}
    with ProgressLine(len(wanted), quiet=work.quiet) as line:
        for number, name in enumerate(wanted, start=1):
            means[name], counts[name] = vectors.of(name, clips[name])
            line.update(done=number, faces=int(sum(c[-1] for c in counts.values())), errors=0)
    empty = [name for name in wanted if not counts[name][-1]]
    rows = [measured(pairs, means, counts, number, limit) for number, limit in enumerate(limits)]
    frames = int(sum(c[-1] for c in counts.values()))
    same = sum(p.same for p in pairs)
    lines = [f"{len(wanted):,} clips, {frames:,} frames with a face; {same:,} pairs of one person, "
             f"{len(pairs) - same:,} of two", *(described(r) for r in rows)]  # fmt: skip
    if empty:
        lines.append(f"{len(empty):,} clips have no face in any frame, {empty[0]!r} the first")
    spec, detector = vectors.reader.spec, vectors.reader.detector
    page = EvaluationPage(
        name="videos",
        title="Video clips",
        data=f"{len(wanted):,} clips, {frames:,} frames with a face, {len(empty):,} clips without any; "
        f"{same:,} pairs of one person and {len(pairs) - same:,} of two, "
        + ("as given" if pairs_file else "drawn at random, each person in one fold only"),
        model=spec.name,
        fingerprint=fingerprint(detector.describe(), spec.describe()),
        sections=[_section(rows)],
        facts={"rows": [asdict(r) for r in rows], "clips": len(wanted), "without_face": len(empty)},
    )
    return lines + write_page(page, work), dict(page.facts)


def _pairs(clips: list[str], pairs_file: str | None, seed: int) -> list[ClipPair]:
    try:
        if pairs_file is not None:
            return read_clip_pairs(Path(pairs_file).read_text(encoding="utf-8"))
        return drawn_clip_pairs(clips, folds=_FOLDS, most=_MOST_PAIRS, seed=seed)
    except ValueError as error:
        raise UsageError(f"{pairs_file or 'the clips'}: {error}") from error


def measured(
    pairs: Sequence[ClipPair],
    means: dict[str, np.ndarray],
    counts: dict[str, np.ndarray],
    number: int,
    limit: int,
) -> VideoFigures:
    """The figures at the limit `number`; a clip without a face is as far from others as can be."""
    distances = np.array(
        [
            mean_pair_distance(means[p.first][number], means[p.second][number])
            if counts[p.first][number] and counts[p.second][number]
            else _FARTHEST
            for p in pairs
        ]
    )
    same, folds = np.array([p.same for p in pairs]), np.array([p.fold for p in pairs])
    if len(np.unique(folds)) < 2:
        raise UsageError(
            "there is one fold only: no threshold can be learnt on others. Give clips of more people"
        )
    found = fold_accuracy(distances, same, folds)
    return VideoFigures(
        frames=limit,
        accuracy=found.mean,
        standard_error=found.standard_error,
        threshold=found.threshold,
        auc=area_under_curve(distances, same),
        eer=equal_error_rate(distances, same)[0],
    )


def described(r: VideoFigures) -> str:
    """As a line."""
    return (
        f"first {r.frames:,} frames: accuracy {r.accuracy:.4f} ± {r.standard_error:.4f}, threshold "
        f"{r.threshold:.3f}, AUC {r.auc:.4f}, EER {r.eer:.4f}"
    )


def _section(rows: Sequence[VideoFigures]) -> Section:
    table = [
        [f"{r.frames:,}", f"{100 * r.accuracy:.2f} ± {100 * r.standard_error:.2f}", f"{r.threshold:.3f}",
         f"{r.auc:.4f}", percent(r.eer), _PAPER.get(r.frames, "")]
        for r in rows
    ]  # fmt: skip
    columns = ["first frames", "accuracy", "threshold", "AUC", "EER", "the paper on YouTube Faces"]
    note = (
        "Accuracy in percent with the standard error over folds. The mean over all pairs of frames, of "
        "squared L2 distances of vectors that are not centred. The paper's numbers are for YouTube Faces "
        "and its own pairs."
    )
    return Section("Accuracy", tables=[Table(columns, table, note)])
