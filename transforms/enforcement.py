"""Groups made to keep what the user decided, with as little else changed as that takes.

The neighbour graph is guided beforehand (`guided_by`), so that a correction also teaches about the
neighbours of its faces. What the graph then still has otherwise is put right (`enforce`): people that
belong together are joined; a group that holds two people is divided around them by seeded region growing
(Adams & Bischof 1994): the face that is closest to one of the sides joins it, and so on, so that the
neighbours of a face which is said to be another person leave with it, and nobody else.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import combinations

import numpy as np

from transforms.constraints import Constraints, Tie
from transforms.edge_files import Edges, chosen_edges
from transforms.names import Claim
from transforms.neighbours import NeighbourGraph, pair_keys

# Two groups whose faces are, on average, less alike than this share of the threshold are not made one
# person because the user said that a face of one shows the same person as a face of the other: then one
# of the two faces was in the wrong group, and moves alone. Strangers' groups lie near 0.
_PLAUSIBLE = 0.5
# Nor when they meet in this share of the smaller one's photos.
MEETING = 0.1
# A face is as close to a side as to the closest three of its faces there. Of 102 strangers whom a grouping
# of LFW had put among others' faces, 0.4 % of the others' left with them (with k-means from the same seeds
# 2.2 %, and half of the largest person); of the stranger's other faces there half did.
_CLOSEST = 3
# Large groups grow by several faces at a time.
_STEPS = 500


def guided_by(
    graph: NeighbourGraph, constraints: Constraints, *, folder: str | None = None
) -> NeighbourGraph:
    """The neighbour graph with tied faces joined and others parted; constraints are on the graph's faces.
    Its arrays lie in files where a local `folder` is given."""
    if not constraints.ties and not len(constraints.apart):
        return graph
    between = [_ring(t.faces) for t in constraints.ties if len(t.faces) > 1]
    empty = np.zeros(0, np.int64)
    tied = pair_keys(
        np.concatenate([empty, *(b[0] for b in between)]),
        np.concatenate([empty, *(b[1] for b in between)]), graph.faces,
    )  # fmt: skip
    parted = pair_keys(constraints.apart[:, 0], constraints.apart[:, 1], graph.faces)
    tied = np.setdiff1d(tied, parted)
    # The graph may have a hundred million edges: only those between faces that are spoken of are compared.
    spoken_of = np.zeros(graph.faces, bool)
    spoken_of[constraints.faces] = True

    def choose(left: np.ndarray, right: np.ndarray, similarity: np.ndarray) -> Edges:
        concerned = np.flatnonzero(spoken_of[left] & spoken_of[right])
        keys = pair_keys(left[concerned], right[concerned], graph.faces)
        kept = np.ones(len(left), bool)
        kept[concerned[np.isin(keys, tied) | np.isin(keys, parted)]] = False
        return left[kept], right[kept], similarity[kept]

    ends = ((tied // graph.faces).astype(np.int32), (tied % graph.faces).astype(np.int32))
    joined = (*ends, np.ones(len(tied), np.float32))
    return chosen_edges(graph, choose, more=[joined], folder=folder)


def _ring(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Edges between all pairs of a few faces, or around a ring of many."""
    if len(faces) <= 20:
        left, right = np.triu_indices(len(faces), k=1)
        return faces[left], faces[right]
    return faces, np.roll(faces, -1)


def freed_photos(photo: np.ndarray, constraints: Constraints) -> np.ndarray:
    """`photo` int64[n] with numbers of their own for faces that may be one person with another face of
    their photo: then the rule that two faces in a photo are two people does not hold for them."""
    result = photo.astype(np.int64).copy()
    next_number = int(photo.max(initial=-1)) + 1
    tied = [pair for faces in _bundles(constraints) for pair in _doubles(faces, photo)]
    for face in sorted({max(a, b) for a, b in [*constraints.same_photo.tolist(), *tied]}):
        result[face] = next_number
        next_number += 1
    return result


def _doubles(faces: np.ndarray, photo: np.ndarray) -> Iterator[tuple[int, int]]:
    first: dict[int, int] = {}
    for face in faces.tolist():
        number = int(photo[face])
        if number in first:
            yield first[number], face
        first.setdefault(number, face)


def enforce(
    group: np.ndarray, vectors: np.ndarray, photo: np.ndarray, constraints: Constraints,
    *, threshold: float, identical: float,
) -> np.ndarray:  # fmt: skip
    """int64[n]: `group` (-1: ungrouped) with every constraint kept; groups are numbered from 0.

    `vectors` float32[n, d] centred unit vectors; `photo` int[n] as `freed_photos` makes it; two faces of
    a photo with a cosine of `identical` are one face twice.
    """
    faces = constraints.faces
    if not len(faces):
        return group
    result = group.astype(np.int64).copy()
    result[constraints.absent] = -1
    bundles = _bundles(constraints)
    changed = _join(result, vectors, photo, constraints, bundles, threshold)
    _one_a_photo(result, vectors, photo, faces, changed, identical)
    _divide(result, vectors, constraints, bundles)
    _drop_singles(result, constraints)
    return _numbered(result)


def violations(group: np.ndarray, constraints: Constraints) -> list[str]:
    """What in `group` goes against the constraints; nothing after `enforce`."""
    found = [f"face {f} is in a group, but is no face" for f in constraints.absent if group[f] >= 0]
    found += [f"faces {t.faces} are not together" for t in constraints.ties if not _together(group, t)]
    both = (group[constraints.apart] >= 0).all(axis=1)
    same = both & (group[constraints.apart[:, 0]] == group[constraints.apart[:, 1]])
    found += [f"faces {pair} are together" for pair in constraints.apart[same].tolist()]
    names: dict[int, str] = {}
    for claim in constraints.claims:
        for number in set(group[claim.faces].tolist()) - {-1}:
            if names.setdefault(number, claim.name) != claim.name:
                found.append(f"{claim.name} and {names[number]} are one person")
    return found


def _together(group: np.ndarray, tie: Tie) -> bool:
    numbers = set(group[tie.faces].tolist())
    return len(tie.faces) < 2 or (len(numbers) == 1 and -1 not in numbers)


def _bundles(constraints: Constraints) -> list[np.ndarray]:
    """The faces that ties put together, each int64[m], transitively."""
    parent: dict[int, int] = {}
    for tie in constraints.ties:
        for face in tie.faces.tolist():
            _union(parent, face, int(tie.faces[0]))
    members: dict[int, list[int]] = {}
    for face in sorted(parent):
        members.setdefault(_root(parent, face), []).append(face)
    return [np.array(m, np.int64) for m in members.values()]


def _root(parent: dict[int, int], item: int) -> int:
    parent.setdefault(item, item)
    while parent[item] != item:
        parent[item] = parent[parent[item]]
        item = parent[item]
    return item


def _union(parent: dict[int, int], a: int, b: int) -> None:
    a, b = _root(parent, a), _root(parent, b)
    parent[max(a, b)] = min(a, b)


def _join(
    group: np.ndarray, vectors: np.ndarray, photo: np.ndarray, constraints: Constraints,
    bundles: list[np.ndarray], threshold: float,
) -> set[int]:  # fmt: skip
    """Puts every bundle into one group, in place; returns the groups that this changed."""
    wholes: dict[int, list[np.ndarray]] = {}
    number_of = {face: i for i, bundle in enumerate(bundles) for face in bundle.tolist()}
    for tie in constraints.ties:
        if len(tie.faces):
            wholes.setdefault(number_of[int(tie.faces[0])], []).extend(tie.wholes)
    order = np.argsort(group, kind="stable")
    next_number = int(group.max(initial=-1)) + 1
    sorted_groups = group[order]
    changed: set[int] = set()

    def members(number: int) -> np.ndarray:
        if number in changed:
            return np.flatnonzero(group == number)
        low, high = np.searchsorted(sorted_groups, [number, number + 1])
        rows = order[low:high]
        return rows[group[rows] == number]

    for i, bundle in enumerate(bundles):
        held = [n for n in np.unique(group[bundle]).tolist() if n >= 0]
        if len(held) == 1 and (group[bundle] == held[0]).all():
            continue
        whole = {_most_common(group[side]) for side in wholes.get(i, [])} - {-1}
        if not whole and held:
            whole = {_best_fit(bundle, group, vectors, members)}
        target = min(whole) if whole else next_number
        next_number += target == next_number
        for number in held:
            if number == target:
                continue
            rows = members(number)
            if number in whole or _plausible(rows, members(target), vectors, photo, threshold):
                group[rows] = target
            changed.add(number)
        group[bundle] = target
        changed.add(target)
    return changed


def _most_common(numbers: np.ndarray) -> int:
    values, counts = np.unique(numbers[numbers >= 0], return_counts=True)
    return int(values[counts.argmax()]) if len(values) else -1


def _best_fit(
    bundle: np.ndarray, group: np.ndarray, vectors: np.ndarray, members: Callable[[int], np.ndarray]
) -> int:
    """The group that one of the faces fits best: where another fits worse, it may be a stranger there."""
    best, best_fit = -1, -2.0
    for face in bundle[group[bundle] >= 0].tolist():
        others = members(int(group[face]))
        others = others[others != face]
        fit = float((vectors[others] @ vectors[face]).mean()) if len(others) else -1.0
        if fit > best_fit:
            best, best_fit = int(group[face]), fit
    return best


def _plausible(
    rows: np.ndarray, others: np.ndarray, vectors: np.ndarray, photo: np.ndarray, threshold: float
) -> bool:
    """Whether two groups may be one person, going by their looks and by whether they meet in photos."""
    if not len(rows) or not len(others):
        return True
    alike = float(vectors[rows].mean(axis=0) @ vectors[others].mean(axis=0))
    meeting = len(np.intersect1d(photo[rows], photo[others]))
    return alike >= _PLAUSIBLE * threshold and meeting <= MEETING * min(len(rows), len(others))


def _one_a_photo(
    group: np.ndarray, vectors: np.ndarray, photo: np.ndarray, fixed: np.ndarray, changed: set[int],
    identical: float,
) -> None:  # fmt: skip
    """In the groups that joining has changed: of two faces in a photo one stays, in place.

    A face that the user spoke of stays before one that is nearer to the group's mean.
    """
    spoken_of = np.zeros(len(group), bool)
    spoken_of[fixed] = True
    for number in sorted(changed):
        rows = np.flatnonzero(group == number)
        numbers, inverse = np.unique(photo[rows], return_inverse=True)
        if len(numbers) == len(rows):
            continue
        nearness = vectors[rows] @ vectors[rows].mean(axis=0)
        order = np.lexsort([-nearness, ~spoken_of[rows], inverse])
        first = np.concatenate([[True], inverse[order][1:] != inverse[order][:-1]])
        kept = rows[order[np.maximum.accumulate(np.where(first, np.arange(len(order)), 0))]]
        alike = np.einsum("ij,ij->i", vectors[rows[order]], vectors[kept])
        extra = rows[order[~first & (alike < identical)]]
        group[extra[~spoken_of[extra]]] = -1


def _divide(
    group: np.ndarray, vectors: np.ndarray, constraints: Constraints, bundles: list[np.ndarray]
) -> None:
    """Divides the groups that hold two people, in place."""
    atom = {face: i for i, bundle in enumerate(bundles) for face in bundle.tolist()}
    conflicts: dict[int, list[tuple[int, int]]] = {}
    a, b = constraints.apart[:, 0], constraints.apart[:, 1]
    for left, right in constraints.apart[(group[a] == group[b]) & (group[a] >= 0)].tolist():
        conflicts.setdefault(int(group[left]), []).append((left, right))
    named: dict[int, list[Claim]] = {}
    for claim in constraints.claims:
        if group[claim.faces[0]] >= 0:
            named.setdefault(int(group[claim.faces[0]]), []).append(claim)
    for number, claims in named.items():
        pairs = [(int(c.faces[0]), int(d.faces[0])) for c, d in combinations(claims, 2) if c.name != d.name]
        if pairs:
            conflicts.setdefault(number, []).extend(pairs)
    next_number = int(group.max(initial=-1)) + 1
    for number, pairs in sorted(conflicts.items()):
        rows = np.flatnonzero(group == number)
        part = _parts(rows, vectors, pairs, atom)
        largest = int(np.bincount(part).argmax())
        for other in range(part.max() + 1):
            if other != largest:
                group[rows[part == other]] = next_number
                next_number += 1


def _parts(
    rows: np.ndarray, vectors: np.ndarray, pairs: list[tuple[int, int]], atom: dict[int, int]
) -> np.ndarray:
    """int64[n]: which part each of a group's faces goes to. Faces of one bundle stay together."""
    place = {int(face): i for i, face in enumerate(rows)}
    unit = np.array([atom.get(f, -1 - i) for i, f in enumerate(rows.tolist())])
    unit = np.unique(unit, return_inverse=True)[1]
    count = int(unit.max()) + 1
    size = np.bincount(unit, minlength=count)
    sums = np.zeros((count, vectors.shape[1]), np.float64)
    np.add.at(sums, unit, vectors[rows])
    enemies: dict[int, set[int]] = {}
    for f, g in pairs:
        enemies.setdefault(int(unit[place[f]]), set()).add(int(unit[place[g]]))
        enemies.setdefault(int(unit[place[g]]), set()).add(int(unit[place[f]]))
    seeds = _seed_parts(enemies, sums / size[:, None])
    part = np.full(count, -1)
    part[list(seeds)] = list(seeds.values())
    return _grown(vectors[rows], unit, part)[unit]


def _grown(vectors: np.ndarray, unit: np.ndarray, part: np.ndarray) -> np.ndarray:
    """int64[u]: a part for every unit of faces, grown from those that have one (-1: none yet)."""
    part, size = part.copy(), np.bincount(unit)
    parts = int(part.max()) + 1
    closest = np.full((len(vectors), parts, _CLOSEST), -1.0, np.float32)
    fresh = part >= 0
    while True:
        for c in range(parts):
            added = np.flatnonzero((fresh & (part == c))[unit])
            likeness = np.concatenate([closest[:, c], vectors @ vectors[added].T], axis=1)
            closest[:, c] = np.partition(likeness, -_CLOSEST, axis=1)[:, -_CLOSEST:]
        left = np.flatnonzero(part < 0)
        if not len(left):
            return part
        members = np.bincount(part[unit][part[unit] >= 0], minlength=parts)
        score = np.empty((len(part), parts))
        for c in range(parts):
            near = np.sort(closest[:, c], axis=1)[:, -min(_CLOSEST, int(members[c])) :].mean(axis=1)
            score[:, c] = np.bincount(unit, near) / size
        best = score[left].max(axis=1)
        chosen = left[np.argsort(-best, kind="stable")[: max(1, len(vectors) // _STEPS)]]
        part[chosen] = score[chosen].argmax(axis=1)
        fresh = np.isin(np.arange(len(part)), chosen)


def _seed_parts(enemies: dict[int, set[int]], means: np.ndarray) -> dict[int, int]:
    """A part for each unit that has enemies: with those most like it, in few parts."""
    part: dict[int, int] = {}
    members: list[list[int]] = []
    for unit in sorted(enemies, key=lambda u: (-len(enemies[u]), u)):
        free = [i for i, m in enumerate(members) if not enemies[unit] & set(m)]
        if free:
            best = max(free, key=lambda i: float(means[members[i]].mean(axis=0) @ means[unit]))
        else:
            best = len(members)
            members.append([])
        part[unit] = best
        members[best].append(unit)
    return part


def _drop_singles(group: np.ndarray, constraints: Constraints) -> None:
    """Who is alone is ungrouped, but for a face that was given a name; in place."""
    for claim in constraints.claims:
        if claim.exact and (group[claim.faces] < 0).any():
            group[claim.faces] = int(group.max(initial=-1)) + 1
    counts = np.bincount(group[group >= 0], minlength=1)
    alone = (group >= 0) & (counts[np.maximum(group, 0)] == 1)
    alone[[f for c in constraints.claims if c.exact for f in c.faces]] = False
    group[alone] = -1


def _numbered(group: np.ndarray) -> np.ndarray:
    """The same groups, numbered from 0 in the order of their first faces."""
    grouped = np.flatnonzero(group >= 0)
    _, first, inverse = np.unique(group[grouped], return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    result = np.full(len(group), -1, np.int64)
    result[grouped] = rank[inverse]
    return result
