"""``albumen bench synthetic``: are synthetic faces as hard to tell apart as real ones?

Learns the statistics of faces from one half of LFW's people (``--fit``), and compares the distances
of a synthetic library with those of LFW, in a picture and in figures.
"""

from __future__ import annotations

import io
import json

import numpy as np

from models.face_statistics import FaceStatistics, fitted, shipped_statistics, statistics_file_name
from pipeline.evaluate import in_learning_half
from pipeline.faces_to_group import calibration
from pipeline.labelled import labelled_photos
from transforms import storage
from transforms.library import Library, LibraryError
from transforms.people import WeakLimits
from transforms.synthetic_faces import synthetic_faces
from transforms.tables import EMBEDDING, FACE_SIZE, PATH_BYTES, PHOTO_ID, SCORE, SHARPNESS, matrix
from transforms.verification import centred, limit_per_person, pair_distances

_FARS = (1e-3, 1e-4, 1e-5, 1e-6)
_SYNTHETIC_FACES = 120_000
_MOST_COMPARED = 10_000
_DRAWS = 4
_MOST_PHOTOS = 20
_QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)


def fit(library: Library, out: str) -> tuple[list[str], dict[str, object]]:
    """Learns the statistics of faces from the learning half of LFW, indexed in `library`."""
    vectors, people, learnt = _labelled(library)
    found = fitted(
        vectors[learnt], people[learnt], _weak(library), "LFW, people with an even SHA-256 of the name"
    )
    path = storage.join(out, statistics_file_name())
    storage.write_bytes(path, found.to_bytes())
    facts = {"file": path, "look_alikes": found.look_alikes, "faces": int(learnt.sum())}
    return [f"{learnt.sum():,} faces; look-alikes {found.look_alikes}", f"written to {path}"], facts


def _labelled(library: Library) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(centred vectors, people, in the learning half) of the labelled faces."""
    labelled = labelled_photos(library, embeddings=True)
    found = labelled.face >= 0
    names = [p.rpartition("/")[0] for p, ok in zip(labelled.paths, found, strict=True) if ok]
    centre = calibration(library, labelled.embeddings).centre
    vectors = centred(labelled.embeddings[labelled.face[found]], centre)
    return vectors, labelled.people[found], np.array([in_learning_half(n) for n in names], bool)


def _weak(library: Library) -> np.ndarray:
    """Centred vectors of tiny, blurred and doubtful faces in photos of the learning half."""
    limits = WeakLimits()
    photos = library.read_photos([PATH_BYTES, PHOTO_ID])
    names = [p.decode("utf-8", "surrogateescape").rpartition("/")[0] for p in photos[PATH_BYTES].to_pylist()]
    learnt = {
        p for p, n in zip(photos[PHOTO_ID].to_pylist(), names, strict=True) if in_learning_half(n)
    }  # fmt: skip
    faces = library.read_faces([PHOTO_ID, FACE_SIZE, SCORE, SHARPNESS, EMBEDDING])
    embeddings = matrix(faces[EMBEDDING])
    weak = (
        (faces[FACE_SIZE].to_numpy() < limits.size)
        | (faces[SCORE].to_numpy() < limits.score)
        | (faces[SHARPNESS].to_numpy() < limits.sharpness)
    )
    weak &= np.array([p in learnt for p in faces[PHOTO_ID].to_pylist()], bool)
    if not weak.any():
        raise LibraryError(f"{library.path} holds no weak faces to learn from: index all of LFW")
    return centred(embeddings[weak], calibration(library, embeddings).centre)


def compare(library: Library, out: str, *, seed: int = 0) -> tuple[list[str], dict[str, object]]:
    """Writes ``synthetic_faces.svg`` and ``.json`` into the folder `out`: LFW beside synthetic faces."""
    vectors, people, learnt = _labelled(library)
    few = limit_per_person(people, _MOST_PHOTOS)
    held_out = few & ~learnt
    draws = [pair_distances(*_comparable(shipped_statistics(), seed + number)) for number in range(_DRAWS)]
    pairs = {
        "LFW": pair_distances(vectors[few], people[few]),
        "LFW, held out": pair_distances(vectors[held_out], people[held_out]),
        "synthetic": (np.concatenate([d[0] for d in draws]), np.concatenate([d[1] for d in draws])),
    }
    lines = [
        f"{int(few.sum()):,} faces of LFW (people with at most {_MOST_PHOTOS} photos), {_DRAWS} synthetic "
        f"libraries of {_MOST_COMPARED:,} faces chosen likewise; squared L2 distances, centred"
    ]
    rows = [_at_far(pairs, far) for far in _FARS]
    for far, row in zip(_FARS, rows, strict=True):
        said = "; ".join(f"{n} FAR {row[f'{n}: FAR']:.2e}, VAL {row[f'{n}: VAL']:.3f}" for n in pairs)
        lines.append(f"at LFW's distance {row['distance']:.3f} for FAR {far:.0e}: {said}")
    quantiles = {n: [float(q) for q in np.quantile(same, _QUANTILES)] for n, (same, _) in pairs.items()}
    for name, values in quantiles.items():
        said = ", ".join(f"{v:.3f}" for v in values)
        lines.append(f"distances of one person, quantiles {_QUANTILES}: {name} {said}")
    facts: dict[str, object] = {"seed": seed, "at": rows, "genuine_quantiles": quantiles, "lines": lines}
    picture, figures = (storage.join(out, f"synthetic_faces.{kind}") for kind in ("svg", "json"))
    storage.write_bytes(picture, _picture(pairs))
    storage.write_bytes(figures, json.dumps(facts, indent=2).encode())
    return [*lines, f"written to {picture} and {figures}"], facts


def _at_far(pairs: dict[str, tuple[np.ndarray, np.ndarray]], far: float) -> dict[str, float]:
    level = float(np.quantile(pairs["LFW"][1], far))
    row = {"far": far, "distance": level}
    for name, (same, different) in pairs.items():
        row[f"{name}: FAR"] = float((different <= level).mean())
        row[f"{name}: VAL"] = float((same <= level).mean())
    return row


def _comparable(statistics: FaceStatistics, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """(vectors, people) of synthetic faces chosen as LFW's are: clear ones, of at most 20 photos a
    person, and one shot of each burst; of people drawn at random."""
    vectors, people, limits = [], [], WeakLimits()
    generator = np.random.default_rng(seed)
    for part in synthetic_faces(statistics, faces=_SYNTHETIC_FACES, seed=seed):
        clear = (
            (part.size >= limits.size) & (part.score >= limits.score) & (part.sharpness >= limits.sharpness)
        )
        chosen = generator.permutation(np.flatnonzero(clear))
        chosen = chosen[np.unique(part.burst[chosen], return_index=True)[1]]
        chosen = generator.permutation(chosen)
        by_person = chosen[np.argsort(part.person[chosen], kind="stable")]
        person = part.person[by_person]
        kept = by_person[np.arange(len(person)) - np.searchsorted(person, person) < _MOST_PHOTOS]
        vectors.append(part.vectors[kept])
        people.append(part.person[kept])
    together, who = np.concatenate(vectors), np.concatenate(people)
    at_random = generator.permutation(int(who.max()) + 1)[who].argsort(kind="stable")[:_MOST_COMPARED]
    return together[at_random], who[at_random]


def _picture(pairs: dict[str, tuple[np.ndarray, np.ndarray]]) -> bytes:
    """An SVG: the distances of one person's faces, and the tail of two people's."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "albumen", "svg.fonttype": "none"})
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for name, (same, different) in pairs.items():
        density, edges = np.histogram(same, bins=60, range=(0, 2.4), density=True)
        left.plot((edges[1:] + edges[:-1]) / 2, density, label=name)
        levels = np.quantile(different, np.logspace(-6.3, -1, 60))
        right.semilogy(levels, np.logspace(-6.3, -1, 60), label=name)
    left.set(xlabel="squared L2 distance", ylabel="density", title="two faces of one person")
    right.set(xlabel="squared L2 distance", ylabel="FAR", title="two people: share at this distance or less")
    right.grid(which="major", alpha=0.3)
    left.legend()
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    pyplot.close(figure)
    return buffer.getvalue()
