"""The same photo several times: copies by content, and copies that were re-encoded, cut or mirrored.

Two photos are near duplicates when their faces are nearly the same vector and their thumbnails, which
show the face and a little around it whatever was cut off the photo, have nearly the same perceptual
hash (pHash, 256 bits; Zauner 2010), one of them mirrored perhaps.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps

from transforms.neighbours import undirected

_SIDE = 16
BITS = _SIDE * _SIDE
_NEIGHBOURS = 10


@dataclass(frozen=True)
class DuplicateLimits:
    """Pairs of the least cosine and the most of 256 bits that may differ, either of which is enough: much
    alike as pictures, or much alike as faces. Learnt as `identities.Limits` is."""

    steps: tuple[tuple[float, int], ...] = ((0.85, 50), (0.95, 110))

    @property
    def similarity(self) -> float:
        """The least cosine of all."""
        return min(similarity for similarity, _ in self.steps)

    def hold(self, similarity: float, bits: int) -> bool:
        """Whether a pair is one photo."""
        return any(similarity >= least and bits <= most for least, most in self.steps)


@dataclass(frozen=True)
class Duplicate:
    """Two rows that are one photo; `mirrored` if one is the other's mirror image. `score` 0 to 1."""

    left: int
    right: int
    score: float
    bits: int
    similarity: float
    mirrored: bool


def candidates(vectors: np.ndarray, least: float) -> list[tuple[int, int, float]]:
    """Pairs of rows of float32[n, d] unit vectors with a cosine of at least `least`, among the ten
    nearest of each."""
    from transforms.blocked_search import search  # on use: compiles

    graph = undirected(len(vectors), search(vectors, _NEIGHBOURS, least=least))
    return list(zip(graph.left.tolist(), graph.right.tolist(), graph.similarity.tolist(), strict=True))


def hashes(jpeg: bytes) -> tuple[np.ndarray, np.ndarray] | None:
    """The perceptual hash of a picture and of its mirror image, bool[256] each; None where it can't be
    decoded."""
    import imagehash

    try:
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
            picture = image.convert("L")
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    both = (picture, ImageOps.mirror(picture))
    plain, mirrored = (imagehash.phash(p, hash_size=_SIDE).hash.reshape(-1) for p in both)
    return plain, mirrored


def near_duplicates(
    pairs: Sequence[tuple[int, int, float]],
    thumbs: Mapping[int, bytes],
    limits: DuplicateLimits = DuplicateLimits(),
) -> list[Duplicate]:
    """Which candidate pairs are one photo, the clearest first; `thumbs` are JPEG files by row."""
    found = []
    known: dict[int, tuple[np.ndarray, np.ndarray] | None] = {}
    for left, right, similarity in pairs:
        if similarity < limits.similarity:
            continue
        for row in (left, right):
            if row not in known:
                known[row] = hashes(thumbs[row]) if row in thumbs else None
        a, b = known[left], known[right]
        if a is None or b is None:
            continue
        plain, mirrored = int((a[0] != b[0]).sum()), int((a[0] != b[1]).sum())
        bits = min(plain, mirrored)
        if limits.hold(similarity, bits):
            score = round(min(similarity, 1.0) * (1 - bits / BITS), 4)
            found.append(Duplicate(left, right, score, bits, similarity, mirrored < plain))
    return sorted(found, key=lambda d: (-d.score, d.left, d.right))


def photo_groups(pairs: Sequence[Duplicate]) -> list[list[int]]:
    """Rows that are one photo, through whatever chain of pairs."""
    parent: dict[int, int] = {}

    def root(row: int) -> int:
        while parent.setdefault(row, row) != row:
            parent[row] = parent[parent[row]]
            row = parent[row]
        return row

    for pair in pairs:
        parent[root(pair.left)] = root(pair.right)
    groups: dict[int, list[int]] = {}
    for row in parent:
        groups.setdefault(root(row), []).append(row)
    return sorted(sorted(g) for g in groups.values())
