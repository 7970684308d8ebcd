"""Who converts, when several need a network that nobody has converted yet."""

from __future__ import annotations

import fcntl
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from models import converted
from models.mtcnn_weights import ONET, PNET, RNET
from models.weights import WeightsError


class Converter:
    """Writes something for each network, and notes who was at work at the same time."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.most_at_once = 0
        self._working = 0
        self._other = threading.Event()

    def run(self, names: Sequence[str], work: str) -> None:
        self.calls.append(list(names))
        self._working += 1
        self.most_at_once = max(self.most_at_once, self._working)
        if self._working > 1:
            self._other.set()
        self._other.wait(0.3)  # a second one comes at once, or not at all
        for name in names:
            folder = Path(work, name)
            folder.mkdir()
            (folder / "model.xml").write_text(name)
        self._working -= 1


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Converter:
    monkeypatch.setenv("ALBUMEN_CACHE", str(tmp_path / "cache"))
    converter = Converter()
    monkeypatch.setattr(converted, "_run_converter", converter.run)
    return converter


def all_at_once(wanted: Sequence[Sequence[str]]) -> None:
    with ThreadPoolExecutor(len(wanted)) as pool:
        list(pool.map(converted.convert, wanted))


def test_several_that_start_together_convert_once(converter: Converter) -> None:
    all_at_once([[PNET, RNET, ONET]] * 4)
    assert converter.calls == [[PNET, RNET, ONET]]
    assert converted.converted(RNET).read_text() == RNET
    assert len(converter.calls) == 1


def test_different_networks_are_converted_one_after_the_other(converter: Converter) -> None:
    all_at_once([[PNET], [RNET], [ONET]])
    assert sorted(converter.calls) == [[ONET], [PNET], [RNET]]
    assert converter.most_at_once == 1


def test_one_that_fails_lets_the_next_convert(converter: Converter, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(names: Sequence[str], work: str) -> None:
        raise WeightsError("no room")

    with monkeypatch.context() as patch:
        patch.setattr(converted, "_run_converter", fail)
        with pytest.raises(WeightsError, match="no room"):
            converted.convert([PNET])
    assert converted.converted(PNET).read_text() == PNET


def test_a_drive_without_locks_is_good_enough(converter: Converter, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(file: object, operation: int) -> None:
        raise OSError(37, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert converted.converted(PNET).read_text() == PNET


def test_a_cache_that_can_not_be_written_is_named_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("ALBUMEN_CACHE", str(tmp_path / "file"))
    with pytest.raises(WeightsError, match=r"file can't be used.*ALBUMEN_CACHE"):
        converted.convert([PNET])
