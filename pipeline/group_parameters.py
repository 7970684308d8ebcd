"""The settings behind a grouping, by name: what ``grouping.json`` and the report say beside the threshold."""

from __future__ import annotations

from transforms import attaching, grouping
from transforms.density import SMALLEST, TOO_NEAR
from transforms.enforcement import MEETING
from transforms.grouping import AGGLOMERATIVE, CHINESE_WHISPERS, DEFAULT, HDBSCAN, KMEANS
from transforms.increments import RENEWAL
from transforms.merging import SEEN_TOGETHER, SHARPENING, SURENESS
from transforms.neighbours import NEIGHBOURS
from transforms.people import IDENTICAL, Rules


def parameters(method: str, rules: Rules, number: int | None = None) -> dict[str, object]:
    """All settings that shaped the groups, besides those of the library's calibration; `number` is how many
    people k-means was asked for."""
    from transforms.bursts import BURST  # on use: compiles

    return {
        "neighbours": NEIGHBOURS,
        "bursts_from": BURST,
        "same_photo": {"apart": rules.same_photo, "but_from": IDENTICAL, "meeting": MEETING},
        "attaching": {
            "closest": attaching.CLOSEST,
            "neighbours": attaching.ATTACH_NEIGHBOURS,
            "margin": rules.margin,
            "far": attaching.FAR,
        },
        "renewal": RENEWAL,
        method: _of_method(method, rules, number),
    }


def _of_method(method: str, rules: Rules, number: int | None) -> dict[str, object]:
    if method == DEFAULT:
        levels = {"finer": grouping.FINER, "coarser": grouping.COARSER}
        times = {"passes": grouping.PASSES, "rounds": grouping.ROUNDS}
        means = {"sharpening": SHARPENING, "sureness": SURENESS, "seen_together": SEEN_TOGETHER}
        return {"merge": rules.merge, **levels, **times, **means, "least_weight": grouping.LEAST_WEIGHT}
    if method == HDBSCAN:
        return {**SMALLEST, "too_near": TOO_NEAR, "all_distances_up_to": grouping.EXACT_LIMIT}
    if method == AGGLOMERATIVE:
        return {"linkage": "average", "all_distances_up_to": grouping.EXACT_LIMIT}
    if method == CHINESE_WHISPERS:
        return {"least_weight": grouping.LEAST_WEIGHT}
    if method == KMEANS:
        return {"people": number, "in_batches_from": grouping.KMEANS_LIMIT}
    raise ValueError(f"unknown method {method!r}")
