from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.memory_filesystem import MemoryFileSystem
from transforms import manifest, tables
from transforms.manifest import Chunk, ManifestError, ManifestWriter, read_chunk
from transforms.records import FileEntry

RUN = "20261122T021700Z-3f2a"
CHUNK = Chunk(RUN, "00012", 5, 0, 128)

entries = st.builds(
    FileEntry,
    root=st.sampled_from(["main", "ältere Fotos", ""]),
    path=st.binary(max_size=20),
    size=st.integers(0, 2**63 - 1),
    mtime_us=st.integers(-(2**63), 2**63 - 1),
)


def numbered(count: int) -> list[FileEntry]:
    return [FileEntry("main", b"%d.jpg" % n, n, n) for n in range(count)]


def write(
    folder: Path | str, files: list[FileEntry], *, chunk_size: int, groups_per_part: int
) -> list[Chunk]:
    writer = ManifestWriter(str(folder), RUN, chunk_size=chunk_size, groups_per_part=groups_per_part)
    for entry in files:
        writer.add(entry)
    return writer.close()


# -- writing and reading -----------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(files=st.lists(entries, max_size=30), chunk_size=st.integers(1, 8), groups=st.integers(1, 4))
@example(files=[FileEntry("main", b"\xff\n[1]\x00.jpg", 0, -1)], chunk_size=1, groups=1)
def test_every_file_comes_back_once_in_order(files: list[FileEntry], chunk_size: int, groups: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        chunks = write(folder, files, chunk_size=chunk_size, groups_per_part=groups)
        assert [e for chunk in chunks for e in read_chunk(folder, chunk)] == files
        assert [chunk.size for chunk in chunks] == [len(read_chunk(folder, chunk)) for chunk in chunks]
        assert len({chunk.name for chunk in chunks}) == len(chunks)
        assert all(chunk.size == chunk_size for chunk in chunks[:-1])


def test_a_part_holds_one_row_group_per_chunk_in_the_librarys_columns(tmp_path: Path) -> None:
    chunks = write(tmp_path, numbered(7), chunk_size=2, groups_per_part=3)
    assert [chunk.name for chunk in chunks] == [
        f"{RUN}-00000-00000", f"{RUN}-00000-00001", f"{RUN}-00000-00002", f"{RUN}-00001-00000",
    ]  # fmt: skip
    parts = sorted((tmp_path / RUN).iterdir())
    assert [p.name for p in parts] == ["part-00000.parquet", "part-00001.parquet"]
    assert [pq.ParquetFile(p).num_row_groups for p in parts] == [3, 1]
    expected = [tables.ROOT, tables.PATH_BYTES, tables.SIZE, tables.MTIME]
    assert pq.ParquetFile(parts[0]).schema_arrow.names == expected


def test_a_part_is_written_as_soon_as_it_is_full(tmp_path: Path) -> None:
    writer = ManifestWriter(str(tmp_path), RUN, chunk_size=2, groups_per_part=2)
    for entry in numbered(4):
        assert not (tmp_path / RUN).exists()
        writer.add(entry)
    assert (tmp_path / RUN / "part-00000.parquet").exists()


def test_damage_to_one_chunk_does_not_reach_the_others(tmp_path: Path) -> None:
    chunks = write(tmp_path, numbered(9), chunk_size=3, groups_per_part=3)
    path = tmp_path / RUN / "part-00000.parquet"
    column = pq.ParquetFile(path).metadata.row_group(0).column(1)
    content = bytearray(path.read_bytes())
    start = column.data_page_offset
    content[start : start + column.total_compressed_size] = bytes(column.total_compressed_size)
    path.write_bytes(content)
    assert read_chunk(str(tmp_path), chunks[1]) == numbered(9)[3:6]
    with pytest.raises(ManifestError, match="can't be read"):
        read_chunk(str(tmp_path), chunks[0])


def test_no_files_make_no_chunks_and_no_parts(tmp_path: Path) -> None:
    assert write(tmp_path, [], chunk_size=2, groups_per_part=2) == []
    assert list(tmp_path.iterdir()) == []


def test_a_manifest_may_lie_on_a_url() -> None:
    MemoryFileSystem.clear()
    folder = "testmem://bucket/library/manifests"
    chunks = write(folder, numbered(5), chunk_size=2, groups_per_part=2)
    assert [e for chunk in chunks for e in read_chunk(folder, chunk)] == numbered(5)
    with pytest.raises(ManifestError):
        read_chunk(folder, replace(chunks[0], run="other"))
    MemoryFileSystem.clear()


@pytest.mark.parametrize("sizes", [(0, 1), (1, 0)])
def test_a_chunk_of_nothing_is_refused(tmp_path: Path, sizes: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        ManifestWriter(str(tmp_path), RUN, chunk_size=sizes[0], groups_per_part=sizes[1])


# -- faults ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("content", [None, b"", b"PAR1", b"PAR1 no table PAR1" * 10])
def test_a_missing_or_damaged_part_names_file_and_remedy(tmp_path: Path, content: bytes | None) -> None:
    [chunk] = write(tmp_path, numbered(1), chunk_size=2, groups_per_part=2)
    path = tmp_path / RUN / "part-00000.parquet"
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ManifestError, match=r"part-00000\.parquet.*lists the archive anew"):
        read_chunk(str(tmp_path), chunk)


@pytest.mark.parametrize(("group", "start", "stop"), [(1, 0, 2), (0, 0, 3), (0, 2, 3)])
def test_rows_that_a_part_lacks_are_an_error_rather_than_missing(
    tmp_path: Path, group: int, start: int, stop: int
) -> None:
    [chunk] = write(tmp_path, numbered(2), chunk_size=2, groups_per_part=2)
    with pytest.raises(ManifestError, match="does not hold chunk"):
        read_chunk(str(tmp_path), replace(chunk, group=group, start=start, stop=stop))


def test_a_drive_that_fails_is_told_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: str) -> None:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(manifest.storage, "open_input", fail)
    with pytest.raises(ManifestError, match=r"part-00012\.parquet.*Input/output"):
        read_chunk(str(tmp_path), CHUNK)


# -- chunks ------------------------------------------------------------------------------------------


def test_names_tell_chunks_and_pieces_apart() -> None:
    assert CHUNK.name == f"{RUN}-00012-00005"
    first, second = CHUNK.halves()
    assert first.name == f"{RUN}-00012-00005-0000-0064"
    assert second.name == f"{RUN}-00012-00005-0064-0128"


@given(size=st.integers(1, 140))
def test_halving_to_the_end_leaves_every_file_alone_once(size: int) -> None:
    pieces, singles, names = [replace(CHUNK, stop=size, crashes=2)], [], set()
    while pieces:
        piece = pieces.pop()
        assert piece.name not in names
        names.add(piece.name)
        if piece.size == 1:
            singles.append(piece.start)
        else:
            halves = piece.halves()
            assert [half.crashes for half in halves] == [0, 0]
            assert abs(halves[0].size - halves[1].size) <= 1
            pieces.extend(halves)
    assert sorted(singles) == list(range(size))


def test_a_piece_reads_its_files_alone(tmp_path: Path) -> None:
    [chunk] = write(tmp_path, numbered(5), chunk_size=8, groups_per_part=1)
    first, second = chunk.halves()
    assert read_chunk(str(tmp_path), first) == numbered(5)[:2]
    assert read_chunk(str(tmp_path), second) == numbered(5)[2:]


def test_a_single_file_cant_be_halved() -> None:
    with pytest.raises(ValueError, match="can't be halved"):
        replace(CHUNK, stop=1).halves()


def test_a_chunk_survives_its_json() -> None:
    for chunk in (CHUNK, replace(CHUNK.halves()[1], crashes=3)):
        assert Chunk.from_json(chunk.to_json()) == chunk


@pytest.mark.parametrize("text", ["", "{}", "[]", "3", '{"run": "x", "unknown": 1}'])
def test_text_that_is_no_chunk_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        Chunk.from_json(text)
