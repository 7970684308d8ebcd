from __future__ import annotations

import numpy as np

from transforms.dimensions import learn_codec, learn_projection, unit_rows


def vectors(count: int = 200, d: int = 16, *, seed: int = 0) -> np.ndarray:
    random = np.random.default_rng(seed)
    return unit_rows(random.normal(size=(count, d)) * np.linspace(2, 0.01, d))


def test_all_directions_keep_every_distance_from_the_mean() -> None:
    learnt = learn_projection(vectors())
    sample = vectors(seed=1)
    kept = (sample - learnt.mean) @ learnt.directions.T
    np.testing.assert_allclose(
        np.linalg.norm(kept, axis=1), np.linalg.norm(sample - learnt.mean, axis=1), atol=1e-5
    )


def test_the_first_directions_are_those_with_the_largest_spread() -> None:
    learnt = learn_projection(vectors())
    spread = ((vectors() - learnt.mean) @ learnt.directions.T).std(axis=0)
    assert (np.diff(spread) <= 1e-6).all()
    short = learn_projection(vectors()).apply(vectors(seed=1), 4)
    assert short.shape == (200, 4)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)


def test_a_byte_a_dimension_moves_no_vector_by_more_than_its_step() -> None:
    sample = vectors()
    codec = learn_codec(sample)
    codes = codec.encode(sample)
    assert codes.dtype == np.int8
    inside = np.abs(sample) <= 127 * codec.step
    assert np.abs(codes * codec.step - sample)[inside].max() <= codec.step / 2 + 1e-7
    np.testing.assert_allclose(codec.decode(codes), sample, atol=2 * codec.step)


def test_values_out_of_range_become_the_largest() -> None:
    codec = learn_codec(np.full((4, 4), 0.5, np.float32))
    assert codec.encode(np.array([[9.0, -9.0]])).tolist() == [[127, -127]]


def test_vectors_of_zeros_stay_so() -> None:
    codec = learn_codec(np.zeros((3, 2), np.float32))
    assert (codec.decode(codec.encode(np.zeros((3, 2), np.float32))) == 0).all()
