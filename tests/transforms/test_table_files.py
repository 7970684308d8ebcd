from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from transforms.table_files import LibraryError, arrow_file, iter_table, read_table, write_table

TABLE = pa.table({"a": list(range(10)), "b": [str(i) for i in range(10)]})
READ = """
import sys
from transforms.table_files import iter_table, read_table
read_table(sys.argv[1])
list(iter_table(sys.argv[1], ["a"], rows=3))
"""


def test_tables_in_a_folder_whose_name_is_no_text_are_read(tmp_path: Path) -> None:
    folder = os.fsdecode(os.fsencode(tmp_path) + b"/\xff")
    try:
        os.mkdir(folder)
    except OSError:
        pytest.skip("this file system takes no such name")
    path = f"{folder}/table.parquet"
    write_table(path, TABLE)
    assert read_table(path, ["b"]) == TABLE.select(["b"])
    assert pa.concat_tables(iter_table(path, ["a"], rows=3)) == TABLE.select(["a"])


def test_what_is_missing_or_damaged_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_table(str(tmp_path / "none.parquet"))
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 no more")
    for read in (read_table, lambda path: list(iter_table(path, ["a"], rows=1))):
        with pytest.raises(LibraryError, match=r"bad\.parquet"):
            read(str(tmp_path / "bad.parquet"))


def test_arrow_holds_no_file_of_pythons(tmp_path: Path) -> None:
    """One that a thread of Arrow's let go of while Python was ending aborted many a short command."""
    path = str(tmp_path / "table.parquet")
    write_table(path, TABLE)
    with arrow_file(path) as file:
        assert type(file) is pa.OSFile
    here = str(Path(__file__).parents[2])
    runs = [
        subprocess.Popen([sys.executable, "-c", READ, path], env={**os.environ, "PYTHONPATH": here})
        for _ in range(4)
    ]
    assert [run.wait(timeout=60) for run in runs] == [0, 0, 0, 0]
