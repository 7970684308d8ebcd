from __future__ import annotations

import re

import numpy as np
import pytest

from tests.face_library import face_jpeg, read_page
from transforms.embedding_map import MapFace, layout, map_page

EVIL = "</style><script>alert(1)</script>\"'>&\u202e"


def grouped(each: int = 20) -> np.ndarray:
    random = np.random.default_rng(0)
    middles = np.eye(3, 10)
    vectors = np.repeat(middles, each, axis=0) + 0.05 * random.normal(size=(3 * each, 10))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_people_lie_apart_and_the_same_seed_gives_the_same_map() -> None:
    points = layout(grouped(), method="tsne", seed=3)
    assert points.min() >= 0 and points.max() <= 1
    middles = points.reshape(3, 20, 2).mean(axis=1)
    spread = np.linalg.norm(points.reshape(3, 20, 2) - middles[:, None], axis=2).max()
    apart = min(np.linalg.norm(middles[i] - middles[j]) for i, j in ((0, 1), (0, 2), (1, 2)))
    assert apart > 2 * spread
    np.testing.assert_array_equal(points, layout(grouped(), method="tsne", seed=3))


@pytest.mark.parametrize("count", [0, 1, 3])
def test_a_few_faces_have_a_map_too(count: int) -> None:
    points = layout(grouped()[:count], method="tsne", seed=0)
    assert points.shape == (count, 2)
    assert np.isfinite(points).all()


def test_an_unknown_method_is_refused() -> None:
    with pytest.raises(ValueError, match="choose one of tsne, umap"):
        layout(grouped(), method="pca", seed=0)


def page(*faces: MapFace) -> bytes:
    points = np.linspace(0, 1, 2 * len(faces)).reshape(-1, 2)
    return map_page(faces, points, title=EVIL, facts=[EVIL])


def test_everything_is_escaped_and_nothing_is_loaded_from_outside() -> None:
    html = page(
        MapFace(EVIL, EVIL, face_jpeg(1)),
        MapFace(EVIL, "b", b"<svg onload=alert(1)>"),
        MapFace(None, "", None),
    )
    parsed = read_page(html)
    tags = [tag for tag, _ in parsed.tags]
    assert "script" not in tags and "svg" not in tags
    assert tags.count("style") == 1
    assert all(source.startswith("data:image/jpeg;base64,") for source in parsed.values("src"))
    assert tags.count("img") == 1, "what is no JPEG is not shown"
    assert not any(name.startswith("on") for _, attributes in parsed.tags for name in attributes)
    assert not parsed.values("href") and not parsed.values("style")
    assert b"http:" not in html and b"https:" not in html
    (policy,) = (a["content"] for _, a in parsed.tags if a.get("http-equiv"))
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy


def test_the_largest_people_have_colours_of_their_own() -> None:
    faces = [MapFace("Ann", "a", None)] * 3 + [MapFace("Bob", "b", None)] * 2 + [MapFace("Once", "c", None)]
    parsed = read_page(page(*faces, MapFace(None, "d", None)))
    kinds = [c.split()[1] for c in parsed.values("class") if c.startswith("dot ")]
    assert kinds == ["c0"] * 3 + ["c1"] * 2 + ["co", "cn"]
    assert [t for t in parsed.texts if t in ("Ann", "Bob")][:2] == ["Ann", "Bob"]


def test_every_dot_has_its_place_in_the_style_sheet() -> None:
    html = page(*[MapFace("A", "p", None)] * 5).decode()
    assert re.findall(r"#f(\d)\{left:[\d.]+%;top:[\d.]+%\}", html) == ["0", "1", "2", "3", "4"]
