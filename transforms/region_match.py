"""Which face a region of another program means."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from transforms.region import Region
from transforms.selected import SelectedFace
from transforms.xmp_regions import overlap

LEAST_OVERLAP = 0.25
"""Programs draw faces from chin to brow or with all of the hair: a face and its region then share as
little as that. Two faces of one photo never come near it."""


def match_regions(faces: Sequence[SelectedFace], regions: Sequence[Region]) -> list[tuple[int, int]]:
    """Pairs (face, region) of one photo: by Albumen's own id where the region kept it, else by the
    greatest overlap in sum (each at least `LEAST_OVERLAP`), every face and region once at most."""
    from scipy.optimize import linear_sum_assignment

    if not faces or not regions:
        return []
    number = {face.face_id: i for i, face in enumerate(faces)}
    pairs: list[tuple[int, int]] = []
    for j, region in enumerate(regions):
        i = number.pop(region.face_id, None) if region.face_id else None
        if i is not None and overlap(faces[i].inside(), _pixels(region, faces[i])) >= LEAST_OVERLAP:
            pairs.append((i, j))
    free_faces = sorted(set(range(len(faces))) - {i for i, _ in pairs})
    free_regions = sorted(set(range(len(regions))) - {j for _, j in pairs})
    shared = np.array(
        [
            [overlap(faces[i].inside(), _pixels(regions[j], faces[i])) for j in free_regions]
            for i in free_faces
        ]
    ).reshape(len(free_faces), len(free_regions))
    shared[shared < LEAST_OVERLAP] = 0
    for a, b in zip(*linear_sum_assignment(-shared), strict=True):
        if shared[a, b] > 0:
            pairs.append((free_faces[a], free_regions[b]))
    return sorted(pairs)


def _pixels(region: Region, face: SelectedFace) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = region.box
    w, h = (face.width, face.height) if region.relative else (1, 1)
    return x0 * w, y0 * h, x1 * w, y1 * h
