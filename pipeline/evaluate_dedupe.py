"""``albumen evaluate dedupe``: how much of what is wrong with a crawl is found, with planted faults.

The crawl is a labelled archive with a folder a person, such as LFW. What it holds in faults of its own
(LFW has some) counts as found wrongly.
"""

from __future__ import annotations

import io
import os
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from itertools import product

import numpy as np
from PIL import Image, ImageOps

from models.detector import MtcnnSettings
from pipeline.dedupe import candidate_pairs, centre_of, find, thumbs_of
from pipeline.evaluate import in_learning_half
from pipeline.index import index
from pipeline.options import IndexOptions
from transforms.crawl import CrawlPhotos, read_crawl
from transforms.duplicates import Duplicate, DuplicateLimits, near_duplicates
from transforms.findings import MISFILED, MIXED, NEAR_COPY
from transforms.identities import Limits, judge
from transforms.lease import Lease
from transforms.library import Library, LibraryError
from transforms.planted_faults import Count, Planted, count_findings, majorities, plant

ENCODED, SMALLER, CUT, MIRRORED = "re-encoded", "smaller", "cut", "mirrored"
KINDS = (ENCODED, SMALLER, CUT, MIRRORED)
_EXACT = 100
_GRID_LINK = (0.2, 0.25, 0.3, 0.35, 0.4)
_GRID_BELONGS = (0.5, 0.55, 0.6, 0.65)
_GRID_SAME = tuple(np.round(np.arange(0.5, 0.9, 0.02), 2).tolist())
_GRID_ALIKE = tuple(product((0.7, 0.75, 0.8, 0.85), (30, 40, 50, 60, 70)))
_GRID_SAME_FACE = tuple(product((0.9, 0.92, 0.94, 0.95, 0.96, 0.97), (70, 80, 90, 100, 110, 120, 130)))
_WIDEST = DuplicateLimits(((0.7, 130),))


def evaluate_dedupe(
    library: Library, *, copies: int, seed: int, learn: bool
) -> tuple[list[str], dict[str, object]]:
    """Plants faults, looks for them, and counts; with `learn` also tries other limits on the learning
    half (people whose name's SHA-256 is even). Raises LibraryError where the photos are not there."""
    with tempfile.TemporaryDirectory(prefix="albumen-dedupe-") as folder:
        photos, people, copy_of, kinds, thumbs = _crawl(library, folder, copies, seed)
    truth = plant(people, copy_of, seed=seed)
    photos = photos.labelled(truth.labels)
    pairs = candidate_pairs(photos, _WIDEST)
    limits, duplicate_limits = Limits(), DuplicateLimits()
    lines = [
        f"{len(photos):,} photos, {len(set(truth.labels)):,} identities; planted: "
        f"{len(truth.split):,} people split, {len(truth.merged):,} pairs merged, "
        f"{len(truth.shuffled):,} photos shuffled, "
        f"{len(copy_of):,} copies; seed {seed}"
    ]
    if learn:
        limits, duplicate_limits = _learn(photos, truth, pairs, thumbs)
        lines.append(f"learnt on the even half: {limits}, {duplicate_limits}")
    found = find(photos, near_duplicates(pairs, thumbs, duplicate_limits), limits)
    facts: dict[str, object] = {}
    for half, belongs in (("learnt on (even)", in_learning_half), ("held out (odd)", _held_out)):
        counts = count_findings(photos, found.rows, truth, belongs)
        lines += [f"{half:17} {kind:29} {_said(c)}" for kind, c in counts.items()]
        facts[half] = {
            kind: vars(c) | {"precision": c.precision, "recall": c.recall} for kind, c in counts.items()
        }
    lines += _by_kind(photos, found.rows, truth, kinds)
    return lines, facts


def _held_out(person: str) -> bool:
    return not in_learning_half(person)


def _said(c: Count) -> str:
    return (
        f"precision {c.precision:.3f} ({c.right:,} of {c.found:,} found), "
        f"recall {c.recall:.3f} ({c.hit:,} of {c.planted:,} planted)"
    )


def _by_kind(photos, rows, truth: Planted, kinds: dict[int, str]) -> list[str]:
    """Recall of near copies by how they were made, on the half that was held out."""
    place = {(photos.root[i], photos.path[i]): i for i in range(len(photos))}
    by_path = {path: i for i, path in enumerate(photos.path)}
    pairs = [(place[r.root, r.path], by_path[r.other_path]) for r in rows if r.finding == NEAR_COPY]
    told = {
        c
        for pair in pairs
        for c in pair
        if c in kinds and truth.copy_of[c] in {truth.copy_of.get(p, p) for p in pair if p != c}
    }
    lines = []
    for kind in KINDS:
        mine = [c for c, k in kinds.items() if k == kind and _held_out(truth.people[c])]
        if mine:
            hit = sum(c in told for c in mine)
            lines.append(
                f"held out, {kind:10} copies found: {hit:,} of {len(mine):,} ({hit / len(mine):.3f})"
            )
    return lines


# -- the crawl with copies -----------------------------------------------------------------------


def _crawl(library: Library, folder: str, copies: int, seed: int):
    """(photos with copies at the end, whom each shows, row → original, row → kind of copy, thumbnails)."""
    centre = centre_of(library)
    photos = read_crawl(library, centre)
    people = list(photos.label)
    random = np.random.default_rng(seed)
    seen = np.flatnonzero(photos.face >= 0)
    originals = random.choice(seen, min(len(seen), copies + _EXACT), replace=False).tolist()
    parts, copy_of, kinds = [photos], dict[int, int](), dict[int, str]()
    exact = originals[copies:]
    parts.append(_rows(photos, exact, "copy of "))
    for i, original in enumerate(exact):
        copy_of[len(photos) + i] = original
    made = originals[:copies]
    thumbs_parts = []
    if made:
        other = _index_copies(library, photos, made, folder, random)
        found = read_crawl(other, centre)
        base = len(photos) + len(exact)
        for i, path in enumerate(found.path):
            kind, _, name = path.partition("/")
            copy_of[base + i] = made[int(name.partition(".")[0])]
            kinds[base + i] = kind
        parts.append(found)
        thumbs_parts.append((base, thumbs_of(other, found, set(range(len(found))))))
    whole = _joined(parts)
    people += [people[copy_of[row]] for row in range(len(photos), len(whole))]
    thumbs = thumbs_of(library, photos, set(range(len(photos))))
    thumbs |= {len(photos) + i: thumbs[o] for i, o in enumerate(exact) if o in thumbs}
    for base, some in thumbs_parts:
        thumbs |= {base + row: jpeg for row, jpeg in some.items()}
    return whole, people, copy_of, kinds, thumbs


def _index_copies(library: Library, photos: CrawlPhotos, made: Sequence[int], folder: str, random) -> Library:
    """A library of copies, ``<kind>/<number>.jpg``, indexed as `library` is."""
    roots, settings = library.info().roots, library.info().settings or {}
    archive = os.path.join(folder, "copies")
    for number, row in enumerate(made):
        path = os.path.join(os.fsencode(roots[photos.root[row]]), photos.path_bytes[row])
        try:
            with Image.open(path) as image:
                data = _copy(image.convert("RGB"), KINDS[number % len(KINDS)], random)
        except OSError as error:
            raise LibraryError(
                f"{os.fsdecode(path)} can't be read ({error}): the photos must be there"
            ) from error
        target = os.path.join(archive, KINDS[number % len(KINDS)], f"{number}.jpg")
        os.makedirs(os.path.dirname(target), exist_ok=True)
        with open(target, "wb") as file:
            file.write(data)
    detector, embedder = settings["detector"], settings["embedder"]
    assert isinstance(detector, dict) and isinstance(embedder, dict)
    options = IndexOptions(
        detector=MtcnnSettings(min_face=detector["min_face"], working_side=detector["working_side"]),
        embedder=str(embedder["name"]),
        mirror=bool(embedder.get("mirror")),
        workers=1,
    )
    place = os.path.join(folder, "library")
    with Lease(place) as lease:
        other = Library.create(place)
        index(other, lease, archive, options, quiet=True)
    return other


def _copy(image: Image.Image, kind: str, random) -> bytes:
    if kind == SMALLER:
        image = image.resize((int(image.width * 0.7), int(image.height * 0.7)), Image.Resampling.LANCZOS)
    elif kind == CUT:
        left, top, right, bottom = random.uniform(0, 0.15, 4)
        w, h = image.size
        image = image.crop((int(left * w), int(top * h), int(w - right * w), int(h - bottom * h)))
    elif kind == MIRRORED:
        image = ImageOps.mirror(image)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=50 if kind == ENCODED else 85)
    return buffer.getvalue()


def _rows(photos: CrawlPhotos, rows: Sequence[int], prefix: str) -> CrawlPhotos:
    """Some rows again, under other paths."""

    def picked(values: list) -> list:
        return [values[r] for r in rows]

    index_of = np.array(rows, np.int64)
    return CrawlPhotos(
        picked(photos.root), [prefix + p for p in picked(photos.path)],
        [prefix.encode() + p for p in picked(photos.path_bytes)], picked(photos.photo_id),
        picked(photos.label), photos.pixels[index_of], photos.bytes[index_of], np.arange(len(rows)),
        [photos.face_ids[photos.face[r]] for r in rows], photos.vectors[photos.face[index_of]],
    )  # fmt: skip


def _joined(parts: Sequence[CrawlPhotos]) -> CrawlPhotos:
    first, *rest = parts
    for part in rest:
        shift = len(first.face_ids)
        first = CrawlPhotos(
            first.root + part.root, first.path + part.path, first.path_bytes + part.path_bytes,
            first.photo_id + part.photo_id, first.label + part.label,
            np.concatenate([first.pixels, part.pixels]), np.concatenate([first.bytes, part.bytes]),
            np.concatenate([first.face, np.where(part.face >= 0, part.face + shift, -1)]),
            first.face_ids + part.face_ids, np.concatenate([first.vectors, part.vectors]),
        )  # fmt: skip
    return first


# -- learning ------------------------------------------------------------------------------------


def _learn(photos, truth: Planted, pairs, thumbs) -> tuple[Limits, DuplicateLimits]:
    """The limits with the best F of each finding on the learning half, one after the other."""

    def score(limits: Limits, kinds: Sequence[str]) -> float:
        counts = count_findings(photos, find(photos, [], limits).rows, truth, in_learning_half)
        return sum(counts[k].f for k in kinds)

    best = max(
        (Limits(link, belongs) for link, belongs in product(_GRID_LINK, _GRID_BELONGS)),
        key=lambda limits: score(limits, (MISFILED, MIXED)),
    )
    best = replace(best, same=_learn_same(photos, truth, best))

    return best, _learn_duplicates(near_duplicates(pairs, thumbs, _WIDEST), truth)


def _learn_duplicates(pairs: Sequence[Duplicate], truth: Planted) -> DuplicateLimits:
    """The two steps with the best F: precision over pairs, recall over copies."""

    def origin(row: int) -> int:
        return truth.copy_of.get(row, row)

    mine = [
        p for p in pairs if in_learning_half(truth.people[p.left]) or in_learning_half(truth.people[p.right])
    ]
    right = np.array([origin(p.left) == origin(p.right) for p in mine])
    similarity, bits = np.array([p.similarity for p in mine]), np.array([p.bits for p in mine])
    copies = [{row for row in (p.left, p.right) if row in truth.copy_of} for p in mine]

    def f(steps: tuple[tuple[float, int], ...]) -> float:
        kept = np.zeros(len(mine), bool)
        for least, most in steps:
            kept |= (similarity >= least) & (bits <= most)
        good = np.flatnonzero(kept & right)
        found = len(set().union(*(copies[i] for i in good))) if len(good) else 0
        wanted = len(set().union(*(c for c, r in zip(copies, right, strict=True) if r)))
        precision, recall = len(good) / max(int(kept.sum()), 1), found / max(wanted, 1)
        return 2 * precision * recall / max(precision + recall, 1e-9)

    return DuplicateLimits(max(product(_GRID_ALIKE, _GRID_SAME_FACE), key=f))


def _learn_same(photos: CrawlPhotos, truth: Planted, limits: Limits) -> tuple[float, float, float]:
    """For each size of the smaller identity the limit with the best F."""
    low = min(_GRID_SAME)
    crawl = photos.crawl()
    found = judge(crawl, replace(limits, same=(low, low, low))).same
    counts = np.bincount(crawl.identity[crawl.face >= 0], minlength=len(crawl.names))
    majority = majorities(truth)
    chosen = []
    for least, most in ((1, 1), (2, 3), (4, 1 << 30)):
        mine = [
            (p.score, majority[crawl.names[p.identity]] == majority[crawl.names[p.other]])
            for p in found
            if least <= counts[p.identity] <= most and in_learning_half(crawl.names[p.identity])
        ]
        right = sum(r for _, r in mine)

        def f(limit: float, mine=mine, right=right) -> float:
            kept = [r for s, r in mine if s >= limit]
            return 2 * sum(kept) / max(len(kept) + right, 1)

        chosen.append(max(_GRID_SAME, key=f))
    return chosen[0], chosen[1], chosen[2]
