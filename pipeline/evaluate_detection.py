"""``albumen evaluate detection``: which labelled faces are found, beside facenet-pytorch's own loop."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

from models.detector import MtcnnSettings, load_detector
from models.engine import AUTO, choose_engine
from pipeline.evaluation_page import EvaluationPage, Section, Table, percent, with_interval, write_page
from pipeline.labelled import Workplace
from pipeline.options import UsageError
from transforms.contact_sheet import draw_boxes
from transforms.decode import NotAPhoto, UnreadablePhoto, prepare_pillow, read_photo
from transforms.detection_scores import DetectionScores, PhotoFinds, Truth, detection_scores, precision_at
from transforms.index_config import DEFAULT_MAX_PIXELS

SCORED_FROM = 40
HEIGHTS = (40, 80, 160, np.inf)
_BLUR = ("sharp", "a little blurred", "blurred")
_OCCLUSION = ("whole", "partly hidden", "mostly hidden")
_PROPERTIES = (("blur", _BLUR), ("occlusion", _OCCLUSION))
_DRAWN = 24
_GREEN, _RED, _ORANGE = "#22aa44", "#dd2222", "#ff9900"
# float[n, 4] boxes and float[n] scores, best first; None where the detector failed on the photo.
Found = tuple[np.ndarray, np.ndarray] | None


@dataclass(frozen=True)
class Detected:
    """What one detector found in all photos, its failures and its processor time in seconds."""

    name: str
    photos: dict[str, PhotoFinds]
    failures: int
    seconds: float


def read_boxes(path: str) -> dict[str, Truth]:
    """Labelled boxes by photo, from ``{photo: [{box: [x, y, w, h], invalid, blur, occlusion}]}``.

    Faces marked invalid or lower than 40 px do not score, neither as missed nor as false finds.
    Raises UsageError for a file of another kind.
    """
    truths = {}
    try:
        for photo, faces in json.loads(Path(path).read_text(encoding="utf-8")).items():
            boxes = np.array([f["box"] for f in faces], np.float32).reshape(-1, 4)
            valid = np.array([not f.get("invalid") for f in faces], bool)
            properties = {
                name: np.array([int(f.get(name, 0)) for f in faces], int) for name, _ in _PROPERTIES
            }
            corners = np.concatenate([boxes[:, :2], boxes[:, :2] + boxes[:, 2:]], axis=1)
            truths[photo] = Truth(corners, valid & (boxes[:, 3] >= SCORED_FROM), properties)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{path} can't be read ({type(error).__name__}: {error}): expected JSON, for each photo a list "
            "of faces with box [x, y, width, height], and perhaps invalid, blur, occlusion"
        ) from error
    return truths


def detection(
    photos: str, boxes: str, work: Workplace, *, reference: bool = True
) -> tuple[list[str], dict[str, object]]:
    """Scores the detector on the photos that `boxes` names, beside facenet-pytorch's with `reference`."""
    truths = read_boxes(boxes)
    _refuse_namesakes(truths, boxes)
    ways: list[tuple[str, Callable[[np.ndarray], Found]]] = [("albumen", albumen_detector())]
    if reference:
        ways.append(("facenet-pytorch", reference_detector()))
    detected = [detect_all(name, detect, photos, truths) for name, detect in ways]
    labelled = sum(int(t.scored.sum()) for t in truths.values())
    lines = [f"{len(truths)} photos, {labelled:,} faces from {SCORED_FROM} px"]
    subsets = {d.name: subset_scores(d) for d in detected}
    for d in detected:
        overall = subsets[d.name]["all"]
        lines.append(
            f"{d.name:16} recall {with_interval(overall.recall, overall.recall_interval)}, precision "
            f"{percent(overall.precision)}, average precision {percent(overall.average_precision)}, "
            f"{d.failures} photos failed, {d.seconds:.0f} s of processor time"
        )
    common = min(subsets[d.name]["all"].recall for d in detected)
    alike = {d.name: precision_at(list(d.photos.values()), common, lowest=SCORED_FROM) for d in detected}
    if len(alike) > 1:
        told = ", ".join(f"{name} {percent(value)}" for name, value in alike.items())
        lines.append(
            f"precision where the score is such that both have a recall of {percent(common)}: {told}"
        )
    settings = MtcnnSettings()
    page = EvaluationPage(
        name="detection",
        title="Finding faces",
        data=f"{len(truths):,} photos with {labelled:,} labelled faces of at least {SCORED_FROM} px that "
        "are not marked invalid",
        model=settings.name,
        fingerprint=_fingerprint(settings),
        sections=[
            _overall(detected, subsets, common, alike),
            *(_by_subset(d.name, subsets[d.name]) for d in detected),
        ],
        facts={
            d.name: {
                "subsets": {k: asdict(v) for k, v in subsets[d.name].items()},
                "failures": d.failures,
                "seconds": d.seconds,
                "precision_at_common_recall": alike[d.name],
            }
            for d in detected
        },
        pictures=_pictures(photos, detected[0]),
    )
    return lines + write_page(page, work), dict(page.facts)


def detect_all(
    name: str, detect: Callable[[np.ndarray], Found], folder: str, truths: Mapping[str, Truth]
) -> Detected:
    """Runs a detector over all photos, one thread. Raises UsageError where a photo can't be read."""
    import torch

    torch.set_num_threads(1)
    prepare_pillow()
    results, failures = {}, 0
    started = time.process_time()
    for photo in sorted(truths):
        found = detect(_pixels(folder, photo))
        failures += found is None
        boxes, scores = found if found is not None else (np.zeros((0, 4), np.float32), np.zeros(0))
        results[photo] = PhotoFinds.of(truths[photo], boxes, scores)
    return Detected(name, results, failures, time.process_time() - started)


def _refuse_namesakes(photos: Iterable[str], boxes: str) -> None:
    """Raises UsageError where two photos would be looked for under one name."""
    first: dict[str, str] = {}
    for photo in photos:
        if (other := first.setdefault(Path(photo).name, photo)) != photo:
            raise UsageError(
                f"{boxes} names {other} and {photo}: photos are found by their names, so each needs its own"
            )


def _pixels(folder: str, photo: str) -> np.ndarray:
    # By name alone: a file of labels must not lead out of the folder.
    path = Path(folder, Path(photo).name)
    try:
        return read_photo(path.read_bytes(), name=path.name.encode(), max_pixels=DEFAULT_MAX_PIXELS).pixels
    except (OSError, NotAPhoto, UnreadablePhoto) as error:
        raise UsageError(f"{path} can't be read ({error}): the boxes are of a photo of this name") from error


def subset_scores(d: Detected) -> dict[str, DetectionScores]:
    """Scores of all faces, then by height, blur and occlusion."""
    photos = list(d.photos.values())
    result = {"all": detection_scores(photos, lowest=SCORED_FROM)}
    for low, high in pairwise(HEIGHTS):
        name = f"{low:.0f} to {high:.0f} px" if np.isfinite(high) else f"from {low:.0f} px"
        result[name] = detection_scores(photos, lowest=low, highest=high)
    for kind, names in _PROPERTIES:
        for value, name in enumerate(names):
            result[name] = detection_scores(photos, lowest=SCORED_FROM, having={kind: value})
    return result


def _fingerprint(settings: MtcnnSettings) -> str:
    text = json.dumps(settings.describe(), sort_keys=True)
    return f"{settings.name}-{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _row(name: str, s: DetectionScores) -> list[str]:
    recall = with_interval(s.recall, s.recall_interval)
    return [name, f"{s.labelled:,}", recall, percent(s.precision), percent(s.average_precision)]


_COLUMNS = ("", "labelled", "recall", "precision", "average precision")


def _overall(
    detected: list[Detected],
    subsets: dict[str, dict[str, DetectionScores]],
    common: float,
    alike: dict[str, float],
) -> Section:
    rows = [
        [*_row(d.name, subsets[d.name]["all"]), percent(alike[d.name]), str(d.failures), f"{d.seconds:.0f} s"]
        for d in detected
    ]
    text = (
        "A find counts from an intersection over union of one half. Average precision is the area under "
        "precision over recall as the score falls, down to the scores that the detector reports at all "
        "(0.7 at its last stage), so it can't exceed the recall. Intervals: 95 %, over drawings of photos "
        "(of few photos, Wilson's where that is wider). "
        "facenet-pytorch is its MTCNN(keep_all=True) on the same upright photos. In the pictures found faces "
        "are green, missed ones red, false finds orange."
    )
    columns = [
        *_COLUMNS,
        f"precision at a recall of {percent(common)}",
        "photos that failed",
        "processor time",
    ]
    return Section("All faces", [text], [Table(columns, rows)])


def _by_subset(name: str, scores: Mapping[str, DetectionScores]) -> Section:
    rows = [_row(subset, s) for subset, s in scores.items() if s.labelled]
    note = (
        "By height, false finds of that height count. By blur and occlusion every false find counts, since "
        "it has neither: precision and average precision of rare kinds are low for that reason alone, as "
        "in WIDER FACE's own levels."
    )
    return Section(f"By height, blur and occlusion: {name}", tables=[Table(_COLUMNS, rows, note)])


def _pictures(folder: str, d: Detected) -> dict[str, bytes]:
    """The photos with most mistakes: found faces green, missed ones red, false finds orange."""

    def mistakes(photo: PhotoFinds) -> int:
        return len(photo.missed()) + len(photo.false_finds(least_height=SCORED_FROM))

    worst = sorted(d.photos, key=lambda name: (-mistakes(d.photos[name]), name))[:_DRAWN]
    drawn = {}
    for number, name in enumerate(worst, start=1):
        photo = d.photos[name]
        if not mistakes(photo):
            break
        boxes = [(photo.boxes[k], _GREEN) for k in np.flatnonzero(photo.taken >= 0)]
        boxes += [(photo.truth.boxes[k], _RED) for k in photo.missed()]
        boxes += [(photo.boxes[k], _ORANGE) for k in photo.false_finds(least_height=SCORED_FROM)]
        drawn[f"detection-{number:02d}.jpg"] = draw_boxes(_pixels(folder, name), boxes, long_side=1024)
    return drawn


def albumen_detector(*, precision: str = AUTO) -> Callable[[np.ndarray], Found]:
    """Albumen's detector with its defaults, best finds first."""
    detector = load_detector(MtcnnSettings(), engine=choose_engine(precision=precision))

    def detect(pixels: np.ndarray) -> Found:
        found = detector.detect([pixels])[0]
        return found.boxes, found.scores

    return detect


def reference_detector(*, long_side: int | None = None) -> Callable[[np.ndarray], Found]:
    """facenet-pytorch's ``MTCNN(keep_all=True)``, on photos reduced to `long_side` where given."""
    from facenet_pytorch import MTCNN
    from PIL import Image

    mtcnn = MTCNN(keep_all=True)

    def detect(pixels: np.ndarray) -> Found:
        image = Image.fromarray(pixels)
        if long_side is not None:
            image.thumbnail((long_side, long_side))
        try:
            boxes, scores = mtcnn.detect(image)
        except Exception:  # its crashes are part of what is measured
            return None
        if boxes is None:
            return np.zeros((0, 4), np.float32), np.zeros(0)
        order = np.argsort(-np.asarray(scores, float), kind="stable")
        scale = max(pixels.shape) / max(image.size)
        return np.asarray(boxes, np.float32)[order] * np.float32(scale), np.asarray(scores, float)[order]

    return detect
