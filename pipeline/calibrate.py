"""``albumen evaluate calibrate``: learns what grouping needs to know of an embedder beforehand.

From LFW, or any archive with a folder per person, and from one half of its people alone (even
SHA-256 of the name): the centring vector, and for each method how its best threshold grows with the
number of faces. The other half is for judging.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np

from models.calibration import Calibration, Line, calibration_key
from pipeline.evaluate import in_learning_half, labelled_faces
from transforms.clustering_scores import clustering_scores
from transforms.grouping import METHODS, group_strong
from transforms.library import Library, LibraryError
from transforms.neighbours import neighbour_graph
from transforms.people import NEIGHBOURS
from transforms.verification import centred

# Shares of the learning half's people whose faces are grouped as libraries of their own.
_SHARES = (0.03, 0.06, 0.12, 0.25, 0.5, 1.0)
_REPEATS = 3
_LEAST_FACES = 20
_THRESHOLDS = np.arange(0.34, 0.75, 0.02)
# Thresholds whose BCubed F lies this close to the best are as good; the middle of them is taken.
_AS_GOOD = 0.005


def calibrate(library: Library, out: str) -> tuple[list[str], dict[str, object]]:
    """Writes the calibration of the library's embedder into the folder `out`."""
    embedder = (library.info().settings or {}).get("embedder")
    if not isinstance(embedder, dict):
        raise LibraryError(f"{library.path} is not indexed yet: albumen index ARCHIVE {library.path}")
    labelled = labelled_faces(library, embeddings=True)
    assert labelled.embeddings is not None
    names = np.array([path.rpartition("/")[0] for path in labelled.paths])
    mine = np.array([in_learning_half(name) for name in names]) & (labelled.face >= 0)
    embeddings, people = labelled.embeddings[labelled.face[mine]], labelled.people[mine]
    centre = embeddings.mean(axis=0)
    vectors = centred(embeddings, centre)
    rank = _hash_rank(names[mine])
    lines, thresholds = [f"{len(people):,} faces of the learning half"], {}
    for method in METHODS:
        points = []
        for share in _SHARES:
            repeats = _REPEATS if share <= 0.25 else 1
            for repeat in range(repeats):
                chosen = (rank + repeat * 0.31) % 1.0 < share
                size = int(chosen.sum())
                if size < _LEAST_FACES:
                    continue
                best, score = best_threshold(vectors[chosen], people[chosen], method=method)
                points.append((size, best))
                lines.append(f"{method:14} {size:6,} faces: threshold {best:.3f}, BCubed F {score:.4f}")
        if len(points) < 2:
            raise LibraryError(
                f"{library.path} holds {len(people)} faces of the learning half: too few to learn from"
            )
        sizes, best_ones = np.array(points).T
        slope, intercept = np.polyfit(np.log10(sizes), best_ones, 1)
        thresholds[method] = Line(round(float(intercept), 4), round(float(slope), 4))
        lines.append(f"{method:14} threshold = {intercept:.4f} + {slope:.4f} · log10(faces)")
    learnt = Calibration(centre, thresholds, "LFW, people with an even SHA-256 of the name")
    path = Path(out, calibration_key(embedder))
    path.write_text(learnt.to_json(), encoding="utf-8")
    lines.append(f"written to {path}")
    return lines, {"file": str(path), "thresholds": json.loads(learnt.to_json())["thresholds"]}


def _hash_rank(names: np.ndarray) -> np.ndarray:
    """float64[n] in 0 to 1: people in an order that has nothing to do with their names."""
    ranks = {n: int(hashlib.sha256(n.encode()).hexdigest()[:12], 16) / 16**12 for n in set(names.tolist())}
    return np.array([ranks[n] for n in names])


def best_threshold(vectors: np.ndarray, people: np.ndarray, *, method: str) -> tuple[float, float]:
    """(threshold, BCubed F): the middle of the thresholds that group these faces as well as the best."""
    graph = neighbour_graph(vectors, k=NEIGHBOURS, least=float(_THRESHOLDS[0]))
    scores = []
    for threshold in _THRESHOLDS:
        cut = graph.filter(graph.similarity >= threshold)
        labels = group_strong(vectors, cut, method=method, threshold=float(threshold), seed=0)
        scores.append(clustering_scores(people, labels).bcubed_f)
    good = np.flatnonzero(np.array(scores) >= max(scores) - _AS_GOOD)
    return float((_THRESHOLDS[good[0]] + _THRESHOLDS[good[-1]]) / 2), max(scores)
