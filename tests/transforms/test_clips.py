from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from transforms.clips import ClipPair, drawn_clip_pairs, mean_pair_distance, read_clip_pairs


def test_the_distance_is_the_mean_over_all_pairs_of_frames() -> None:
    random = np.random.default_rng(0)
    a, b = (random.normal(size=(n, 8)) for n in (5, 9))
    a, b = (v / np.linalg.norm(v, axis=1, keepdims=True) for v in (a, b))
    every = [float(((x - y) ** 2).sum()) for x in a for y in b]
    assert mean_pair_distance(a.mean(axis=0), b.mean(axis=0)) == pytest.approx(np.mean(every))


def test_pairs_are_read_as_youtube_faces_has_them() -> None:
    text = "split number, first name, second name, is same\n1, Ann/0, Ann/1, 1\n\n2, Ann/0, Bob/3, 0.4, 0\n"
    assert read_clip_pairs(text) == [
        ClipPair(1, "Ann/0", "Ann/1", True),
        ClipPair(2, "Ann/0", "Bob/3", False),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1, a\n", "line 1"),
        ("x\n1, a, b, 2\n", "line 2"),
        ("", "names no pairs"),
        ("1, a, b, 1\n2, c, d, 1\n", "all of one kind"),
    ],
)
def test_a_wrong_line_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_clip_pairs(text)


CLIPS = [f"P{p}/{c}" for p in range(12) for c in range(3)]


def test_drawn_pairs_keep_people_to_one_fold() -> None:
    pairs = drawn_clip_pairs(CLIPS, folds=4, most=1000, seed=1)
    assert pairs == drawn_clip_pairs(CLIPS[::-1], folds=4, most=1000, seed=1)
    fold_of: dict[str, set[int]] = {}
    for pair in pairs:
        people = [clip.split("/")[0] for clip in (pair.first, pair.second)]
        assert (people[0] == people[1]) == pair.same
        for person in people:
            fold_of.setdefault(person, set()).add(pair.fold)
    assert all(len(folds) == 1 for folds in fold_of.values())
    kinds = Counter(pair.same for pair in pairs)
    assert kinds[True] == 12 * 3
    assert 0.5 * kinds[True] <= kinds[False] <= kinds[True]
    assert len(set(pairs)) == len(pairs)


def test_drawn_pairs_are_limited_and_need_people() -> None:
    assert sum(p.same for p in drawn_clip_pairs(CLIPS, folds=4, most=8, seed=0)) == 8
    for clips in (["A/0", "A/1"], ["A/0", "B/0"]):
        with pytest.raises(ValueError, match="two clips of some person"):
            drawn_clip_pairs(clips, folds=10, most=10, seed=0)
