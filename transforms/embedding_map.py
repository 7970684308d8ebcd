"""A map of faces: their vectors laid out on a plane, and the page that shows it.

One HTML page with everything in it: no script, and a content security policy that allows nothing but its own
style sheet and pictures, since names and thumbnails come from untrusted photographs. A face's picture and
name appear when the pointer is over its dot, by the style sheet alone.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass

import jinja2
import numpy as np
from markupsafe import Markup

from transforms.pages import data_uri, plain

TSNE, UMAP = "tsne", "umap"
METHODS = (TSNE, UMAP)
# Distinct on white and for the colour-blind (Okabe & Ito 2008, and four more), for the largest people.
COLOURS = (
    "#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9",
    "#7a5230", "#6a3d9a", "#b2182b", "#4d9221", "#c7a500", "#01665e",
)  # fmt: skip
OTHER, NOBODY = "#8a8a8a", "#d0d0d0"


@dataclass(frozen=True)
class MapFace:
    """One dot: whose face it is (None: nobody's), where it is from, its thumbnail."""

    person: str | None
    path: str
    jpeg: bytes | None

    @property
    def image(self) -> Markup | None:
        """For an attribute; None for what is no JPEG."""
        return data_uri(self.jpeg)


def layout(vectors: np.ndarray, *, method: str, seed: int) -> np.ndarray:
    """float64[n, 2] in 0 to 1: similar vectors of float32[n, d] lie near each other.

    t-SNE (van der Maaten & Hinton 2008) or UMAP (McInnes et al. 2018), both by cosine. The same seed gives
    the same map. Raises ImportError where umap-learn is not installed, ValueError for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}: choose one of {', '.join(METHODS)}")
    if len(vectors) < 4:
        return _spread(np.stack([np.arange(len(vectors)), np.zeros(len(vectors))], axis=1).astype(float))
    if method == UMAP:
        import umap

        neighbours = min(15, len(vectors) - 1)
        found = umap.UMAP(n_neighbors=neighbours, metric="cosine", random_state=seed, n_jobs=1)
        return _spread(found.fit_transform(vectors))
    from sklearn.manifold import TSNE as Tsne

    perplexity = min(30.0, (len(vectors) - 1) / 3)
    found = Tsne(perplexity=perplexity, metric="cosine", init="random", random_state=seed)
    return _spread(found.fit_transform(vectors))


def _spread(points: np.ndarray) -> np.ndarray:
    low, high = points.min(axis=0, initial=np.inf), points.max(axis=0, initial=-np.inf)
    extent = max(float(np.max(high - low, initial=0)), 1e-9)
    return (points - low) / extent + (1 - (high - low) / extent) / 2


def map_page(faces: Sequence[MapFace], points: np.ndarray, *, title: str, facts: Sequence[str]) -> bytes:
    """The page: float[n, 2] points in 0 to 1, coloured by person, the largest people named in the legend."""
    people: dict[str, int] = {}
    for face in faces:
        if face.person is not None:
            people[face.person] = people.get(face.person, 0) + 1
    largest = sorted((p for p in people if people[p] > 1), key=lambda p: (-people[p], p))[: len(COLOURS)]
    number = {person: k for k, person in enumerate(largest)}
    dots = [
        {
            "face": face,
            "name": plain(face.person) if face.person is not None else "nobody",
            "path": plain(face.path),
            "kind": f"c{number[face.person]}" if face.person in number else ("co" if face.person else "cn"),
            "side": ("r" if points[k, 0] > 0.5 else "l") + ("b" if points[k, 1] > 0.5 else "t"),
        }
        for k, face in enumerate(faces)
    ]
    legend = [(f"c{k}", plain(person), people[person]) for k, person in enumerate(largest)]
    style = _style(points)
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates")
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    )
    text = templates.get_template("map.html").render(
        title=plain(title), facts=facts, dots=dots, legend=legend, style=Markup(style), policy=Markup(policy)
    )
    return text.encode("utf-8", "backslashreplace")


def _style(points: np.ndarray) -> str:
    """The style sheet, with a rule for the place of every dot: an attribute would need a looser policy."""
    with open(
        os.path.join(os.path.dirname(os.path.abspath(__file__)), "templates", "map.css"), encoding="utf-8"
    ) as file:
        rules = [file.read().strip()]
    rules += [f".c{k} i{{background:{colour}}}" for k, colour in enumerate(COLOURS)]
    rules += [f".co i{{background:{OTHER}}}", f".cn i{{background:{NOBODY}}}"]
    rules += [f"#f{k}{{left:{100 * x:.2f}%;top:{100 * y:.2f}%}}" for k, (x, y) in enumerate(points)]
    return "\n".join(rules)
