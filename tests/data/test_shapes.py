"""The things: every individual is drawable, varied, and has its keypoints where it is."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.path import Path

from coursepkg.data.shapes import KINDS

kinds = st.sampled_from(sorted(KINDS))
seeds = st.integers(0, 10_000)


@given(kinds, seeds)
def test_every_individual_is_drawable(name, seed):
    parts, keypoints = KINDS[name].build(np.random.default_rng(seed))
    for _, outline in parts:
        assert outline.ndim == 2
        assert outline.shape[1] == 2
        assert len(outline) >= 3
        assert np.isfinite(outline).all()
        assert np.abs(outline).max() < 1.6
    assert keypoints.shape == (5, 2)


@given(kinds, seeds)
def test_keypoints_lie_on_the_thing(name, seed):
    parts, keypoints = KINDS[name].build(np.random.default_rng(seed))
    inside = np.zeros(5, dtype=bool)
    for _, outline in parts:
        for orientation in (outline, outline[::-1]):
            inside |= Path(orientation, closed=False).contains_points(keypoints, radius=0.02)
    assert inside.all(), np.array(KINDS[name].keypoints)[~inside]


@given(kinds, seeds)
def test_the_same_seed_gives_the_same_individual_and_another_does_not(name, seed):
    def outlines(seed):
        parts, _ = KINDS[name].build(np.random.default_rng(seed))
        return np.concatenate([outline for _, outline in parts])

    np.testing.assert_array_equal(outlines(seed), outlines(seed))
    assert not np.array_equal(outlines(seed), outlines(seed + 1))


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_is_described(name):
    kind = KINDS[name]
    assert len(set(kind.keypoints)) == 5
    assert kind.plural
    assert kind.described.format(colour="red", name=name) != name
    assert 0 < kind.tilt <= 90


def test_left_is_left_where_names_say_so():
    """Things without a facing direction keep left and right."""
    for kind in KINDS.values():
        _, keypoints = kind.build(np.random.default_rng(0))
        where = dict(zip(kind.keypoints, keypoints, strict=True))
        for name, (x, _) in where.items():
            if name.startswith("left_"):
                assert not kind.mirrored
                assert x < where[name.replace("left_", "right_")][0]
