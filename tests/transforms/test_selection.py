from __future__ import annotations

from collections import Counter
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.export_library import Exported, make_library
from transforms.library import LibraryError
from transforms.selected import SelectedFace, Selection, current_grouping
from transforms.selection import Selected
from transforms.tables import SELECTED_SCHEMA

ANNA, BELLO, NAMELESS = "p-anna", "p-bello", "p-none"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return make_library(tmp_path_factory.mktemp("selection"))


def select(made: Exported, folder: Path, **options) -> list[SelectedFace]:
    with Selected(
        made.library, Selection(**options), folder=str(folder), grouping=current_grouping(made.library)
    ) as selected:
        faces = list(selected.by_person())
        assert selected.faces == len(faces)
        assert selected.photos == len({f.photo_id for f in faces})
        assert sum(p.faces for p in selected.people) == sum(f.person_id is not None for f in faces)
        rows = [row for batch in selected.batches() for row in batch.to_pylist()]
        assert [row["face_id"] for row in rows] == [f.face_id for f in faces]
    assert not list(folder.glob("selection*")), "the staged faces are gone"
    return faces


def test_everybody_once_with_photo_and_person(made: Exported, tmp_path: Path) -> None:
    faces = select(made, tmp_path)
    assert Counter(f.person_id for f in faces) == {ANNA: 10, BELLO: 5, NAMELESS: 2}
    assert [f.person_id for f in faces] == [ANNA] * 10 + [BELLO] * 5 + [NAMELESS] * 2, "largest first"
    anna = [f.taken_at for f in faces if f.person_id == ANNA]
    assert anna == sorted(anna)
    first = next(f for f in faces if f.path_bytes == b"not text \xff.jpg")
    assert (first.root, first.path, first.name) == ("main", r"not text \xff.jpg", "Bello / Böse")
    assert first.box == (12, 8, 36, 40)


def test_each_limit_does_what_it_says(made: Exported, tmp_path: Path) -> None:
    assert {f.person_id for f in select(made, tmp_path, people=("Bello / Böse", NAMELESS))} == {
        BELLO,
        NAMELESS,
    }
    assert {f.person_id for f in select(made, tmp_path, only_named=True)} == {ANNA, BELLO}
    late = select(made, tmp_path, since=datetime(2001, 1, 3), until=datetime(2001, 1, 5))
    assert [f.taken_at.day for f in late if f.taken_at] == [3, 4]
    assert all(
        f.confidence is not None and f.confidence >= 0.6 for f in select(made, tmp_path, min_confidence=0.6)
    )
    assert {f.person_id for f in select(made, tmp_path, at_least=3)} == {ANNA, BELLO}
    assert Counter(f.person_id for f in select(made, tmp_path, most=3)) == {ANNA: 3, BELLO: 3, NAMELESS: 2}
    assert set(Counter(f.person_id for f in select(made, tmp_path, balanced=True)).values()) == {2}
    five = select(made, tmp_path, balanced=True, at_least=3)
    assert Counter(f.person_id for f in five) == {ANNA: 5, BELLO: 5}
    assert [f.person_id for f in select(made, tmp_path, ungrouped=True)][-1] is None
    with pytest.raises(LibraryError, match="'Nobody Known'"):
        select(made, tmp_path, people=("Nobody Known",))


def test_the_seed_decides_who_is_drawn(made: Exported, tmp_path: Path) -> None:
    def drawn(seed: int) -> list[str]:
        return [f.face_id for f in select(made, tmp_path, most=2, seed=seed)]

    assert drawn(1) == drawn(1)
    assert len({tuple(drawn(seed)) for seed in range(6)}) > 1


def test_photos_come_with_all_their_selected_faces_and_every_copy(made: Exported, tmp_path: Path) -> None:
    with Selected(
        made.library, Selection(), folder=str(tmp_path), grouping=current_grouping(made.library)
    ) as selected:
        once, every = list(selected.by_photo()), list(selected.by_photo(copies=True))
    assert len(once) == 15
    assert {p.first.path_bytes for p in every} - {p.first.path_bytes for p in once} == {b"pair1.jpg"}
    copies = [p for p in every if p.first.path_bytes in (b"copy.jpg", b"pair1.jpg")]
    assert [[f.person_id for f in p.faces] for p in copies] == [[NAMELESS, ANNA]] * 2


def test_rows_that_a_crash_has_doubled_count_once(tmp_path: Path) -> None:
    made = make_library(tmp_path / "twice")
    made.library.replace_chunks([], "chunk2", made.library.read_chunk("chunk"))
    assert len(select(made, tmp_path)) == 17


@settings(max_examples=10, deadline=None)
@given(most=st.integers(1, 12), least=st.integers(1, 12), balanced=st.booleans(), seed=st.integers(0, 99))
def test_limits_hold_together(made, tmp_path_factory, most, least, balanced, seed) -> None:
    folder = tmp_path_factory.mktemp("s")
    faces = select(made, folder, most=most, at_least=least, balanced=balanced, seed=seed)
    counts = Counter(f.person_id for f in faces)
    everyone = {ANNA: 10, BELLO: 5, NAMELESS: 2}
    assert set(counts) == {p for p, n in everyone.items() if n >= least}
    assert all(n <= most for n in counts.values())
    if balanced:
        assert len(set(counts.values())) <= 1
    else:
        assert all(counts[p] == min(most, everyone[p]) for p in counts)


def test_an_empty_library_selects_nothing(tmp_path: Path) -> None:
    made = make_library(tmp_path / "none")
    made.library.remove_chunk("chunk")
    assert select(made, tmp_path) == []
    assert SELECTED_SCHEMA.names[0] == "face_id"
