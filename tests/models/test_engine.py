from __future__ import annotations

import builtins
import io
import platform
from collections.abc import Iterator

import pytest
import torch

from models import engine
from models.engine import Engine, choose_engine, cpu_has_bfloat16, default_device


@pytest.fixture(autouse=True)
def _forget_the_processor() -> Iterator[None]:
    cpu_has_bfloat16.cache_clear()
    yield
    cpu_has_bfloat16.cache_clear()


def pretend(monkeypatch: pytest.MonkeyPatch, machine: str, cpuinfo: str | None) -> None:
    def opened(*args: object, **options: object) -> io.StringIO:
        if cpuinfo is None:
            raise FileNotFoundError("/proc/cpuinfo")
        return io.StringIO(cpuinfo)

    monkeypatch.setattr(platform, "machine", lambda: machine)
    monkeypatch.setattr(builtins, "open", opened)


@pytest.mark.parametrize(
    ("machine", "cpuinfo", "expected"),
    [
        ("x86_64", "processor: 0\nflags\t\t: fpu avx2 avx512_bf16 amx_tile\n", True),
        ("x86_64", "flags\t\t: fpu amx_bf16\n", True),
        ("x86_64", "flags\t\t: fpu avx2 avx512f not_avx512_bf16x\n", False),
        ("x86_64", "nothing known\n", False),
        ("x86_64", None, False),
        ("arm64", "flags : avx512_bf16\n", False),
    ],
)
def test_bfloat16_is_for_processors_that_multiply_in_it(
    monkeypatch: pytest.MonkeyPatch, machine: str, cpuinfo: str | None, expected: bool
) -> None:
    pretend(monkeypatch, machine, cpuinfo)
    assert cpu_has_bfloat16() is expected
    assert choose_engine().precision == ("bfloat16" if expected else "float32")


def test_auto_is_half_precision_on_cuda_and_single_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "cpu_has_bfloat16", lambda: True)
    assert choose_engine(device="cuda") == Engine("torch", "cuda", "float16")
    assert choose_engine(device="mps").precision == "float32"


@pytest.mark.parametrize("name", ["float32", "bfloat16", "float16"])
def test_a_precision_that_is_asked_for_is_taken(name: str) -> None:
    assert choose_engine(precision=name).precision == name


@pytest.mark.parametrize("name", ["float64", "", "load"])
def test_an_unknown_precision_is_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(ValueError, match="choose one of auto, float32, bfloat16, float16"):
        choose_engine(precision=name)


def test_an_unknown_backend_is_refused_with_those_there_are() -> None:
    with pytest.raises(ValueError, match="choose one of auto, openvino, torch"):
        choose_engine(backend="tensorflow")


def test_processors_get_openvino_where_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_engine().backend == "openvino"
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    assert choose_engine().backend == "torch"


def test_openvino_on_a_graphics_card_is_refused() -> None:
    with pytest.raises(ValueError, match="runs on the processor"):
        choose_engine(backend="openvino", device="cuda")


@pytest.mark.parametrize("available", [True, False])
def test_a_graphics_card_is_used_where_there_is_one(monkeypatch: pytest.MonkeyPatch, available: bool) -> None:
    monkeypatch.setattr(engine, "_cuda_driver", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: available)
    assert default_device() == ("cuda" if available else "cpu")


def test_without_a_driver_torch_is_not_even_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine, "_cuda_driver", lambda: False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: pytest.fail("asked"))
    assert default_device() == "cpu"
