from __future__ import annotations

import json
from pathlib import Path

import pytest

from pipeline.group import group_library
from pipeline.group_parameters import parameters
from tests.labelled_library import PEOPLE, labelled_library
from transforms import density, merging
from transforms.grouping import KMEANS, METHODS
from transforms.neighbours import NEIGHBOURS
from transforms.people import Rules


@pytest.mark.parametrize("method", METHODS)
def test_a_revision_says_all_parameters_of_its_method(tmp_path: Path, method: str) -> None:
    library = labelled_library(tmp_path)
    number = PEOPLE if method == KMEANS else None
    made = library.read_grouping(group_library(library, method=method, seed=0, number=number).revision)
    said = made["parameters"]
    assert isinstance(said, dict)
    assert said == json.loads(json.dumps(parameters(method, Rules(), number)))
    assert said["neighbours"] == NEIGHBOURS == 48
    assert set(METHODS) & set(said) == {method}
    wanted = {
        "default": {
            "finer": 0.01,
            "coarser": -0.05,
            "passes": 8,
            "rounds": 2,
            "sharpening": merging.SHARPENING,
        },
        "hdbscan": {"min_cluster_size": 2, "min_samples": 1, "too_near": density.TOO_NEAR},
        "kmeans": {"people": PEOPLE},
    }.get(method, {})
    assert said[method].items() >= wanted.items()


def test_an_unknown_method_has_none() -> None:
    with pytest.raises(ValueError, match="unknown method 'other'"):
        parameters("other", Rules())
