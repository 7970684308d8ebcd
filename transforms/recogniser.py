"""Whose face is it, of a gallery of known people? By the nearest faces or by linear support vector machines.

FaceNet, section 1: "recognition becomes a k-NN classification problem". Whoever is like nobody in the gallery
is unknown: a face is accepted only where it is near enough to some face of the person it was taken for.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from models.calibration import Cohort

NEAREST, SVM = "knn", "svm"
CLASSIFIERS = (NEAREST, SVM)
UNKNOWN = -1

_CLOSEST = 3
# Similarity of one person's faces varies by about so much from photo to photo.
_CONFIDENCE_SCALE = 0.05
_FORMAT = "albumen gallery 2"


@dataclass(frozen=True)
class Gallery:
    """Known people, and how their faces are told apart.

    `names` of p people; `vectors` float32[n, d], centred unit vectors, and `person` int64[n] whose they
    are; `threshold` on similarity, and `slope`, by how much it grows with the decimal logarithm of the number
    of faces compared (see `for_faces`); `centre` float32[d] that was taken away; `fingerprint` of how
    vectors are made; `neighbours` asked; for support vector machines `weights` float32[p, d] and `bias`
    float32[p]; `cohort` of typical strangers where one is known: then similarity is the cosine minus half of
    each face's bias towards strangers, as in grouping, else the cosine.
    """

    names: Sequence[str]
    vectors: np.ndarray
    person: np.ndarray
    threshold: float
    centre: np.ndarray
    fingerprint: str
    classifier: str = NEAREST
    neighbours: int = 5
    slope: float = 0.0
    weights: np.ndarray | None = None
    bias: np.ndarray | None = None
    cohort: Cohort | None = None

    def trained(self) -> Gallery:
        """With support vector machines fitted, where they are asked for and there are two people."""
        if self.classifier != SVM or len(np.unique(self.person)) < 2:
            return replace(self, classifier=NEAREST, weights=None, bias=None)
        from sklearn.svm import LinearSVC

        machine = LinearSVC(C=1.0, class_weight="balanced", random_state=0).fit(self.vectors, self.person)
        weights = np.full((len(self.names), self.vectors.shape[1]), 0, np.float32)
        bias = np.full(len(self.names), -np.inf, np.float32)  # people without faces are never taken
        if len(machine.classes_) == 2:  # one machine for two people
            weights[machine.classes_] = [-machine.coef_[0], machine.coef_[0]]
            bias[machine.classes_] = [-machine.intercept_[0], machine.intercept_[0]]
        else:
            weights[machine.classes_], bias[machine.classes_] = machine.coef_, machine.intercept_
        return replace(self, weights=weights, bias=bias)

    def for_faces(self, count: int) -> Gallery:
        """With the threshold for asking about `count` faces.

        The more pairs of strangers there are, the more alike some of them are by chance. Grouping n faces
        compares n²/2 pairs, asking a gallery of m faces about n compares m·n: as many as grouping √(2·m·n).
        The threshold is never below that for the gallery's own size.
        """
        grow = math.log10(max(2 * count / max(1, len(self.person)), 1)) / 2
        return replace(self, threshold=min(self.threshold + self.slope * grow, 1.0), slope=0.0)

    def recognise(self, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(int64[m] person or `UNKNOWN`, float32[m] similarity, int64[m] the person it is most like).

        `vectors` are float32[m, d], centred, of unit length. The similarity is that to the nearest face of
        the person that it is most like.
        """
        if not len(vectors):
            return np.zeros(0, np.int64), np.zeros(0, np.float32), np.zeros(0, np.int64)
        similarity = alike(vectors, self.vectors, self.cohort)
        if self.weights is not None and self.bias is not None:
            taken = np.argmax(vectors @ self.weights.T + self.bias, axis=1)
        else:
            taken = _vote(similarity, self.person, self.neighbours, len(self.names))
        own = np.where(self.person[None, :] == taken[:, None], similarity, -2.0).max(axis=1)
        return np.where(own >= self.threshold, taken, UNKNOWN), own.astype(np.float32), taken

    def to_bytes(self) -> bytes:
        """A NumPy archive without pickled objects."""
        file, none = io.BytesIO(), np.zeros(0, np.float32)
        np.savez_compressed(
            file,
            format=np.array(_FORMAT),
            names=np.array(self.names, np.str_),
            vectors=self.vectors,
            person=self.person,
            threshold=np.array(self.threshold),
            centre=self.centre,
            fingerprint=np.array(self.fingerprint),
            classifier=np.array(self.classifier),
            neighbours=np.array(self.neighbours),
            slope=np.array(self.slope),
            weights=none if self.weights is None else self.weights,
            bias=none if self.bias is None else self.bias,
            cohort=none if self.cohort is None else self.cohort.vectors,
            usually=np.array(0.0 if self.cohort is None else self.cohort.usually),
        )
        return file.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> Gallery:
        """Reads what `to_bytes` wrote, and runs nothing. Raises ValueError for anything else."""
        if not data.startswith(b"PK"):  # else NumPy takes it for a pickle, and says how to run that
            raise ValueError("it is no NumPy archive")
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as file:
                if str(file["format"]) != _FORMAT:
                    raise ValueError(f"its format is {str(file['format'])[:40]!r}")
                gallery = cls(
                    names=[str(n) for n in file["names"]],
                    vectors=file["vectors"].astype(np.float32, casting="same_kind"),
                    person=file["person"].astype(np.int64, casting="same_kind"),
                    threshold=float(file["threshold"]),
                    centre=file["centre"].astype(np.float32, casting="same_kind"),
                    fingerprint=str(file["fingerprint"]),
                    classifier=str(file["classifier"]),
                    neighbours=int(file["neighbours"]),
                    slope=float(file["slope"]),
                    weights=file["weights"] if file["weights"].size else None,
                    bias=file["bias"] if file["bias"].size else None,
                    cohort=Cohort(file["cohort"], float(file["usually"])) if file["cohort"].size else None,
                )
        except ValueError:
            raise
        except Exception as error:  # zip files fail in many ways
            raise ValueError(f"{type(error).__name__}: {error}") from error
        gallery._check()
        return gallery

    def _check(self) -> None:
        count, d = len(self.person), len(self.centre)
        people = len(self.names)
        fits = self.vectors.shape == (count, d) and count > 0
        fits = fits and math.isfinite(self.threshold) and math.isfinite(self.slope)
        fits = fits and self.person.min() >= 0 and self.person.max() < people and self.neighbours > 0
        if self.weights is not None:
            fits = fits and self.weights.shape == (people, d) and self.bias is not None
            fits = fits and self.bias is not None and self.bias.shape == (people,)
        if self.cohort is not None:
            fits = fits and self.cohort.vectors.ndim == 2 and self.cohort.vectors.shape[1] == d
        if not fits or self.classifier not in CLASSIFIERS:
            raise ValueError("its parts do not fit together")


def alike(faces: np.ndarray, others: np.ndarray, cohort: Cohort | None) -> np.ndarray:
    """float32[n, m]: how alike float32[n, d] and float32[m, d] centred unit vectors are."""
    cosine = faces @ others.T
    if cohort is None:
        return cosine
    return cosine - cohort.bias(faces)[:, None] / 2 - cohort.bias(others)[None, :] / 2


def _vote(similarity: np.ndarray, person: np.ndarray, k: int, people: int) -> np.ndarray:
    """int64[m]: the person that the k nearest faces speak for; each weighs its similarity."""
    k = min(k, similarity.shape[1])
    top = np.argsort(-similarity, axis=1, kind="stable")[:, :k]
    votes = np.zeros((len(similarity), people), np.float32)
    rows = np.repeat(np.arange(len(similarity)), k)
    weight = np.maximum(np.take_along_axis(similarity, top, axis=1), 1e-6).ravel()
    np.add.at(votes, (rows, person[top].ravel()), weight)
    return votes.argmax(axis=1)


@dataclass(frozen=True)
class CrossValidation:
    """What happened to faces that a gallery without them was asked about, as shares.

    Faces of known people were named `right`ly, `wrong`ly, or called `unknown`; those of strangers were
    `accepted` as somebody. nan where nobody could be asked.
    """

    right: float
    wrong: float
    unknown: float
    accepted: float
    asked: int
    strangers: int


def cross_validate(gallery: Gallery, *, folds: int = 5, seed: int = 0) -> CrossValidation:
    """Asks the gallery about its own faces: each fold's faces of people who have others in it, then each
    fold's people as strangers."""
    random = np.random.default_rng(seed)
    count = len(gallery.person)
    fold = np.zeros(count, np.int64)
    for members in (np.flatnonzero(gallery.person == p) for p in range(len(gallery.names))):
        order = random.permutation(members)
        # Who has one face only is never asked about: fold -1.
        fold[order] = np.arange(len(order)) % folds if len(order) > 1 else -1
    person_fold = random.permutation(len(gallery.names)) % folds
    named: list[tuple[np.ndarray, np.ndarray]] = []
    strangers: list[np.ndarray] = []
    for number in range(folds):
        asked = fold == number
        if asked.any() and (~asked).any():
            found, _, _ = _without(gallery, asked).recognise(gallery.vectors[asked])
            named.append((found, gallery.person[asked]))
        others = person_fold[gallery.person] == number
        if others.any() and (~others).any():
            found, _, _ = _without(gallery, others).recognise(gallery.vectors[others])
            strangers.append(found)
    found = np.concatenate([np.zeros(0, np.int64), *(f for f, _ in named)])
    truth = np.concatenate([np.zeros(0, np.int64), *(t for _, t in named)])
    accepted = np.concatenate([np.zeros(0, np.int64), *strangers]) != UNKNOWN
    return CrossValidation(
        right=_share(found == truth),
        wrong=_share((found != truth) & (found != UNKNOWN)),
        unknown=_share(found == UNKNOWN),
        accepted=_share(accepted),
        asked=len(found),
        strangers=len(accepted),
    )


def _without(gallery: Gallery, rows: np.ndarray) -> Gallery:
    rest = replace(gallery, vectors=gallery.vectors[~rows], person=gallery.person[~rows])
    return rest.trained() if gallery.classifier == SVM else rest


def _share(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else float("nan")


def person_fits(neighbours: Sequence[tuple[str | None, float]]) -> list[tuple[str, float]]:
    """(person, fit), best first: the mean similarity of a person's closest three among the neighbours,
    which come as (person or None, similarity), best first."""
    closest: dict[str, list[float]] = {}
    for person, similarity in neighbours:
        if person is not None and len(closest.setdefault(person, [])) < _CLOSEST:
            closest[person].append(similarity)
    return sorted(((p, sum(v) / len(v)) for p, v in closest.items()), key=lambda item: (-item[1], item[0]))


def fit_confidence(similarity: float, threshold: float) -> float:
    """0 to 1: one half at the threshold, as grouping has it."""
    return 1 / (1 + math.exp(-(similarity - threshold) / _CONFIDENCE_SCALE))
