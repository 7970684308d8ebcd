from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from transforms.storage import WriteFailed
from transforms.vector_file import new_mapped, write_vectors


def test_a_mapped_file_is_zeros_and_keeps_what_is_written(tmp_path: Path) -> None:
    path = str(tmp_path / "array")
    array = new_mapped(path, np.dtype("<f4"), (5, 3))
    assert not array.any()
    array[2] = 7
    array.flush()
    assert np.fromfile(path, "<f4").reshape(5, 3).tolist()[2] == [7, 7, 7]
    # No holes: the drive can't run out of room later.
    assert os.stat(path).st_blocks * 512 >= 5 * 3 * 4


def test_a_drive_without_room_is_named_before_anything_is_mapped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full, raising=False)
    with pytest.raises(WriteFailed, match=r"vectors can't be written .*make room on its drive"):
        write_vectors(str(tmp_path / "vectors"), 10, 4, [[(np.arange(10), np.ones((10, 4), np.float32))]])


def test_where_room_can_not_be_reserved_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(os, "posix_fallocate", raising=False)
    assert new_mapped(str(tmp_path / "array"), np.dtype("<i4"), (1000,)).tolist() == [0] * 1000
