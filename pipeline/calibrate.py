"""``albumen evaluate calibrate``: learns what grouping needs to know of an embedder beforehand.

From LFW, or any archive with a folder per person, and from one half of its people alone (even
SHA-256 of the name): the centring vector, the cohort of typical strangers, for each method how its
best threshold grows with the number of faces, and how sure an assignment is. The other half is for
judging.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from models.calibration import USUAL_CONFIDENCE, Calibration, Cohort, Curve, Line, calibration_key
from pipeline.evaluate import in_learning_half
from pipeline.labelled import labelled_photos
from transforms.clustering_scores import clustering_scores
from transforms.grouping import DEFAULT, THRESHOLD_METHODS, StrongFaces, group_strong
from transforms.grouping_samples import of_share
from transforms.library import Library, LibraryError
from transforms.people import own_likeness, strong_faces
from transforms.verification import centred

# Shares of the learning half's people whose faces are grouped as libraries of their own.
_SHARES = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
_REPEATS = 3
_LEAST_FACES = 20
_THRESHOLDS = np.round(np.arange(0.36, 0.73, 0.02), 2)
# Thresholds whose BCubed F lies this close to the best are as good; the middle of them is taken.
_AS_GOOD = 0.005
_LOST = 0.03
# Means of some eleven people each; of fewer than four people a mean would be too much of one.
_COHORT, _PEOPLE_EACH, _LEAST_EACH = 256, 11, 4
_LEAST_COHORT = 32
_CURVE_POINTS = 16


def calibrate(library: Library, out: str) -> tuple[list[str], dict[str, object]]:
    """Writes the calibration of the library's embedder into the folder `out`."""
    embedder = (library.info().settings or {}).get("embedder")
    if not isinstance(embedder, dict):
        raise LibraryError(f"{library.path} is not indexed yet: albumen index ARCHIVE {library.path}")
    labelled = labelled_photos(library, embeddings=True)
    names = np.array([path.rpartition("/")[0] for path in labelled.paths])
    mine = np.array([in_learning_half(name) for name in names]) & (labelled.face >= 0)
    embeddings, people = labelled.embeddings[labelled.face[mine]], labelled.people[mine]
    if not len(embeddings):
        raise LibraryError(f"{library.path} holds no faces of the learning half")
    centre = embeddings.mean(axis=0)
    vectors = centred(embeddings, centre)
    cohort = learnt_cohort(vectors, people)
    bias = cohort.bias(vectors) if cohort else np.zeros(len(vectors), np.float32)
    lines = [f"{len(people):,} faces of the learning half"]
    samples = _samples(names[mine])
    thresholds = {
        method: _learnt_line(method, vectors, bias, people, samples, lines) for method in THRESHOLD_METHODS
    }
    confidence = _learnt_confidence(vectors, bias, people, samples, thresholds[DEFAULT])
    source = "LFW, people with an even SHA-256 of the name"
    learnt = Calibration(centre, thresholds, source, cohort, confidence)
    path = Path(out, calibration_key(embedder))
    path.write_text(learnt.to_json(), encoding="utf-8")
    lines.append(f"written to {path}")
    return lines, {"file": str(path), "thresholds": json.loads(learnt.to_json())["thresholds"]}


def learnt_cohort(vectors: np.ndarray, people: np.ndarray) -> Cohort | None:
    """Typical strangers from float32[n, d] faces of int[n] people: means of people who are alike.

    One face a person; None where they are too few for means of several.
    """
    faces = vectors[np.unique(people, return_index=True)[1]]
    count = min(_COHORT, len(faces) // _PEOPLE_EACH)
    if count < _LEAST_COHORT:
        return None
    from sklearn.cluster import KMeans

    fitted = KMeans(count, n_init=2, random_state=0).fit(faces)
    means = fitted.cluster_centers_[np.bincount(fitted.labels_, minlength=count) >= _LEAST_EACH]
    means = (means / np.linalg.norm(means, axis=1, keepdims=True)).astype(np.float32)
    return Cohort(means, float(Cohort(means, 0).bias(vectors).mean()))


def _samples(names: np.ndarray) -> list[np.ndarray]:
    """int[k] each: faces of shares of the people."""
    samples = []
    for share in _SHARES:
        for repeat in range(_REPEATS if share <= 0.25 else 1):
            chosen = np.flatnonzero(of_share(names, share, repeat=repeat))
            if len(chosen) >= _LEAST_FACES:
                samples.append(chosen)
    return samples


def _learnt_line(
    method: str, vectors: np.ndarray, bias: np.ndarray, people: np.ndarray, samples: list[np.ndarray],
    lines: list[str],
) -> Line:  # fmt: skip
    points = []
    for chosen in samples:
        best, score = best_threshold(vectors[chosen], people[chosen], method=method, bias=bias[chosen])
        points.append((len(chosen), best))
        lines.append(f"{method:16} {len(chosen):6,} faces: threshold {best:.3f}, BCubed F {score:.4f}")
    if len({size for size, _ in points}) < 2:
        raise LibraryError("too few faces of the learning half to learn from: index all of LFW")
    sizes, best_ones = np.array(points).T
    slope, intercept = np.polyfit(np.log10(sizes), best_ones, 1)
    lines.append(f"{method:16} threshold = {intercept:.4f} + {slope:.4f} · log10(faces)")
    return Line(round(float(intercept), 4), round(float(slope), 4))


def best_threshold(
    vectors: np.ndarray, people: np.ndarray, *, method: str, bias: np.ndarray | None = None
) -> tuple[float, float]:
    """(threshold, BCubed F): the middle of the thresholds that group these faces as well as the best."""
    faces = _strong(vectors, bias, float(_THRESHOLDS[0]))
    scores: dict[float, float] = {}
    for threshold in _THRESHOLDS[::-1].tolist():
        labels = group_strong(faces, method=method, threshold=threshold, seed=0).labels
        scores[threshold] = clustering_scores(people, labels).bcubed_f
        # Below the best, scores only fall, and the exact methods grow slow on large components.
        if scores[threshold] < max(scores.values()) - _LOST:
            break
    best = max(scores.values())
    good = [threshold for threshold, score in scores.items() if score >= best - _AS_GOOD]
    return (min(good) + max(good)) / 2, best


def _strong(vectors: np.ndarray, bias: np.ndarray | None, threshold: float) -> StrongFaces:
    bias = np.zeros(len(vectors), np.float32) if bias is None else bias
    return strong_faces(vectors, bias, np.arange(len(vectors)), threshold)


def _learnt_confidence(
    vectors: np.ndarray, bias: np.ndarray, people: np.ndarray, samples: list[np.ndarray], line: Line
) -> Curve:
    """How often an assignment is right, by how far the likeness lies beyond the threshold."""
    beyond, right = [], []
    for chosen in samples:
        threshold = line.at(len(chosen))
        labels = group_strong(
            _strong(vectors[chosen], bias[chosen], threshold), method=DEFAULT, threshold=threshold, seed=0
        ).labels
        grouped = np.bincount(labels)[labels] > 1
        likeness = own_likeness(vectors[chosen], labels, bias[chosen]) - threshold
        beyond.append(likeness[grouped])
        right.append(assigned_right(labels, people[chosen])[grouped])
    return confidence_curve(np.concatenate(beyond), np.concatenate(right))


def assigned_right(labels: np.ndarray, people: np.ndarray) -> np.ndarray:
    """bool[n]: whether at least half of the other faces of each face's group show the same person.

    False for who is alone. `labels`, `people` int[n], not negative.
    """
    size = np.bincount(labels)[labels]
    pair = labels.astype(np.int64) * (int(people.max(initial=0)) + 1) + people
    _, inverse, counts = np.unique(pair, return_inverse=True, return_counts=True)
    return (size > 1) & (2 * (counts[inverse] - 1) >= size - 1)


def confidence_curve(beyond: np.ndarray, right: np.ndarray) -> Curve:
    """A rising curve through float[n] likeness beyond the threshold and bool[n] whether that was right."""
    if len(beyond) < 10 * _CURVE_POINTS or right.all():
        return USUAL_CONFIDENCE
    from sklearn.isotonic import IsotonicRegression

    fitted = IsotonicRegression(out_of_bounds="clip").fit(beyond, right)
    # Closer together below, where confidence changes.
    places = np.unique(np.quantile(beyond, np.linspace(0, 1, _CURVE_POINTS) ** 2).round(3))
    values = np.clip(_smoothed(fitted, places), 0.02, 0.999)
    return Curve(tuple(places.tolist()), tuple(values.astype(float).round(3).tolist()))


def _smoothed(fitted, places: np.ndarray) -> np.ndarray:
    """The curve's mean around each place: isotonic regression goes in steps."""
    steps = np.linspace(-0.02, 0.02, 9)
    return fitted.predict((places[:, None] + steps).ravel()).reshape(len(places), -1).mean(axis=1)
