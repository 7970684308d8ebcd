from __future__ import annotations

import tempfile
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms import thumb_sort
from transforms.tables import THUMBS_SCHEMA
from transforms.thumb_sort import MAX_THUMB_BYTES, Placements, ThumbSort, bucket_pages


def thumbs(rows: Sequence[tuple[str, bytes | None]]) -> pa.Table:
    return pa.table([[face for face, _ in rows], [jpeg for _, jpeg in rows]], schema=THUMBS_SCHEMA)


def sort(
    tables: list[pa.Table], faces: list[str], pairs: list[tuple[int, int]], pages: int
) -> list[tuple[int, dict[int, bytes]]]:
    placements = Placements(
        np.array([f for f, _ in pairs], np.int64), np.array([p for _, p in pairs], np.int64)
    )
    with tempfile.TemporaryDirectory() as folder:
        sorting = ThumbSort(folder, pa.array(faces, pa.large_string()), placements, pages=pages)
        for found in sorting.read(tables):
            assert found == sorting.found
        return list(sorting.pages())


@given(data=st.data(), bucket=st.integers(1, 7))
def test_every_page_gets_the_first_thumbnail_of_each_of_its_faces(data: st.DataObject, bucket: int) -> None:
    count = data.draw(st.integers(1, 12))
    pages = data.draw(st.integers(1, 6))
    pairs = data.draw(st.sets(st.tuples(st.integers(0, count - 1), st.integers(0, pages - 1))))
    stored = data.draw(st.lists(st.tuples(st.integers(0, count + 2), st.binary(max_size=4)), max_size=20))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stored)), max_size=3)))
    rows = [(f"face{i}", jpeg) for i, jpeg in stored]
    tables = [thumbs(rows[a:b]) for a, b in zip([0, *cuts], [*cuts, len(rows)], strict=True)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(thumb_sort, "BUCKET_FACES", bucket)
        found = sort(tables, [f"face{i}" for i in range(count)], sorted(pairs), pages)

    first = dict(reversed(stored))
    assert found == [
        (page, {f: first[f] for f, p in sorted(pairs) if p == page and f in first}) for page in range(pages)
    ]


def test_what_is_too_large_or_nothing_is_no_thumbnail() -> None:
    table = thumbs([("a", b"x" * (MAX_THUMB_BYTES + 1)), ("b", None), ("c", b"jpeg")])
    pairs = [(0, 0), (1, 0), (2, 0)]
    assert sort([table], ["a", "b", "c"], pairs, 1) == [(0, {2: b"jpeg"})]


@given(st.lists(st.integers(0, 300_000), min_size=1, max_size=400))
def test_buckets_are_runs_of_pages_of_bounded_number(faces: list[int]) -> None:
    buckets = bucket_pages(np.array(faces))
    assert len(buckets) == len(faces)
    assert buckets[0] == 0
    assert set(np.diff(buckets)) <= {0, 1}
    assert buckets[-1] < thumb_sort.MAX_BUCKETS


def test_a_bucket_holds_what_memory_should() -> None:
    faces = np.full(5000, 200)
    held = np.bincount(bucket_pages(faces), weights=faces)
    assert len(held) == 31
    assert held.max() <= thumb_sort.BUCKET_FACES + 200
