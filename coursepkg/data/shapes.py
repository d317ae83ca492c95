r"""The ten things that appear in the scenes: how each is drawn, and where its keypoints lie.

Every builder takes a random generator and returns one individual of its class: no two cars
have the same roof, no two birds hold the wing alike. Coordinates are ``(x, y)`` with ``y``
downwards, roughly within -1 ... 1; :mod:`coursepkg.data.scenes` turns, scales and places them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "Kind", "Shape"]

Points = NDArray[np.float64]
Random = np.random.Generator


class Shape(NamedTuple):
    r"""One individual: painted parts from back to front, and its keypoints.

    Attributes
    ----------
    parts : list of (paint, outline)
        ``paint`` names a colour; ``outline`` is a closed polygon, ``(k, 2)`` float64.
    keypoints : ndarray
        ``(5, 2)`` float64, in the order of :attr:`Kind.keypoints`.
    """

    parts: list[tuple[str, Points]]
    keypoints: Points


@dataclass(frozen=True)
class Kind:
    r"""A class of things: its builder, its keypoint names and the poses it may take.

    Attributes
    ----------
    build : callable
        ``build(rng) -> Shape``.
    keypoints : tuple of str
        Five names; the order is that of :attr:`Shape.keypoints`.
    tilt : float
        Largest rotation to either side, in degrees.
    mirrored : bool
        True when the thing has a facing direction and may look left or right.
    plural : str
        The word for several.
    colours : tuple of str
        Names of the colours that it comes in.
    described : str
        How a caption joins colour and name.
    """

    build: Callable[[Random], Shape]
    keypoints: tuple[str, str, str, str, str]
    tilt: float
    mirrored: bool
    plural: str
    colours: tuple[str, ...] = ("red", "orange", "yellow", "green", "blue", "purple", "white")
    described: str = "{colour} {name}"


# -- outlines ---------------------------------------------------------------------------------

_TURN = np.linspace(0, 2 * np.pi, 20, endpoint=False)
_CIRCLE = np.stack([np.cos(_TURN), np.sin(_TURN)], axis=1)  # (20, 2)
_CATMULL_ROM = np.array([[0, 2, 0, 0], [-1, 0, 1, 0], [2, -5, 4, -1], [-1, 3, -3, 1]]) / 2


def _polygon(*numbers: float) -> Points:
    return np.array(numbers, dtype=np.float64).reshape(-1, 2)


def _box(x0: float, y0: float, x1: float, y1: float) -> Points:
    return _polygon(x0, y0, x1, y0, x1, y1, x0, y1)


def _oval(x: float, y: float, rx: float, ry: float) -> Points:
    return _CIRCLE * (rx, ry) + (x, y)


@cache
def _spline(k: int) -> Points:
    """The matrix (4k, k) from k points to four times as many on a closed Catmull-Rom curve."""
    t = np.arange(4)[:, None] / 4
    weights = np.hstack([t**0, t, t**2, t**3]) @ _CATMULL_ROM  # (4 steps, 4 neighbours)
    matrix = np.zeros((k, 4, k))
    for shift in range(4):
        matrix[np.arange(k), :, (np.arange(k) + shift - 1) % k] += weights[:, shift]
    return matrix.reshape(4 * k, k)


def _smooth(*numbers: float) -> Points:
    """A closed smooth curve through the points: (k, 2) -> (4k, 2)."""
    points = _polygon(*numbers)
    curve: Points = _spline(len(points)) @ points
    return curve


def _turn(points: Points, angle: float, x: float, y: float) -> Points:
    """Rotate by ``angle`` (radians) about the origin, then move to (x, y)."""
    c, s = np.cos(angle), np.sin(angle)
    turned: Points = points @ np.array([[c, s], [-s, c]]) + (x, y)
    return turned


def _limb(path: Sequence[Sequence[float]], width: float) -> Points:
    """A band of constant width along a path of points."""
    p = np.asarray(path, dtype=np.float64)
    ahead = np.concatenate([p[1:], p[-1:]]) - np.concatenate([p[:1], p[:-1]])
    side = ahead[:, ::-1] * (-width / 2, width / 2) / np.hypot(*ahead.T)[:, None]
    return np.concatenate([p + side, (p - side)[::-1]])


def _polar(x: float, y: float, radius: float, angle: float) -> tuple[float, float]:
    return x + radius * np.cos(angle), y + radius * np.sin(angle)


# -- things -----------------------------------------------------------------------------------


def _bird(rng: Random) -> Shape:
    lift, head, tail, plump = rng.uniform((-0.9, -0.5, -0.3, 0.3), (0.7, -0.3, 0.15, 0.44))
    hx, hy = 0.55, head
    wing = _smooth(0.28, -0.02, 0.05, -0.22, -0.45, -0.30, -0.85, -0.16, -0.45, 0.10, 0, 0.16)
    wing = _turn(wing, lift, 0.02, -0.02)
    parts = [
        ("accent", _polygon(-0.45, -0.08, -1.0, tail - 0.12, -0.92, tail + 0.2, -0.4, 0.2)),
        ("dark", _limb([(-0.05, plump), (-0.08, plump + 0.3), (0.06, plump + 0.32)], 0.07)),
        ("dark", _limb([(0.15, plump - 0.05), (0.16, plump + 0.27), (0.3, plump + 0.28)], 0.07)),
        ("beak", _polygon(hx + 0.18, hy - 0.1, hx + 0.5, hy + 0.04, hx + 0.16, hy + 0.12)),
        (
            "main",
            _smooth(hx, hy - 0.2, 0.6, 0.1, 0.2, plump, -0.3, plump * 0.8, -0.62, 0.02, 0, -0.26),
        ),
        ("main", _oval(hx, hy, 0.26, 0.25)),
        ("light", _smooth(0.5, 0.1, 0.2, plump - 0.06, -0.1, plump - 0.05, 0.15, 0.15)),
        ("accent", wing),
        ("dark", _oval(hx + 0.09, hy - 0.05, 0.06, 0.06)),
    ]
    points = _polygon(
        hx + 0.34, hy + 0.03, hx + 0.09, hy - 0.05, 0, 0, -0.8, tail + 0.02, 0.3, 0.12
    )
    points[2] = 0.3 * wing.mean(axis=0) + 0.7 * wing[12]
    return Shape(parts, points)


def _boat(rng: Random) -> Shape:
    mast, depth, belly, rake = rng.uniform((-0.95, 0.3, 0.45, 0.15), (-0.7, 0.42, 0.7, 0.4))
    parts = [
        ("wood", _box(-0.08, mast, 0.02, 0.4)),
        (
            "light",
            _smooth(0.06, mast + 0.1, belly, 0.0, belly + 0.12, 0.22, 0.06, 0.22, 0.05, -0.1),
        ),
        ("accent", _polygon(-0.12, mast + 0.15, -0.14, 0.22, -0.3 - belly * 0.6, 0.22)),
        ("main", _polygon(0.04, mast - 0.02, 0.04, mast + 0.16, 0.3, mast + 0.07)),
        ("main", _polygon(-0.95, 0.3, 0.98, 0.26, 1 - rake, 0.3 + depth, rake - 0.9, 0.3 + depth)),
        ("light", _polygon(-0.93, 0.34, 0.95, 0.30, 0.92, 0.39, -0.9, 0.42)),
    ]
    return Shape(
        parts,
        _polygon(0.8, 0.4, -0.78, 0.42, -0.03, mast + 0.06, 0.25, 0.08, 0, 0.3 + 0.7 * depth),
    )


def _butterfly(rng: Random) -> Shape:
    flap, upper, lower, reach = rng.uniform((0.55, 0.6, 0.5, 0.05), (1.0, 0.85, 0.75, 0.35))
    fore = _smooth(0.05, 0.05, 0.2, -0.5, reach + 0.5, -upper, 0.98, -0.6, 0.8, -0.05, 0.35, 0.1)
    hind = _smooth(0.05, 0.0, 0.5, 0.05, 0.78, 0.3, 0.55, lower, 0.25, 0.55, 0.1, 0.3)
    spot, rim = _oval(0.66, -0.45, 0.16, 0.14), _oval(0.46, 0.34, 0.13, 0.14)
    parts: list[tuple[str, Points]] = []
    for side in (-flap, flap):
        stretch = np.array([side, 1.0])
        parts += [
            ("accent", hind * stretch),
            ("main", fore * stretch),
            ("light", spot * stretch),
            ("main", rim * stretch),
            ("dark", _limb([(0.02, -0.3), (0.12 * side, -0.6), (0.3 * side, -0.8)], 0.04)),
        ]
    parts += [("dark", _oval(0, 0.1, 0.1, 0.48)), ("dark", _oval(0, -0.36, 0.13, 0.13))]
    x, y = 0.6 * flap, 0.4 * flap
    return Shape(parts, _polygon(0, -0.36, -x, -0.3, x, -0.3, -y, 0.3, y, 0.3))


def _car(rng: Random) -> Shape:
    back, top, nose, wheel = rng.uniform((-0.92, -0.52, -0.16, 0.18), (-0.5, -0.4, 0.02, 0.23))
    cabin = _polygon(back, -0.05, back + 0.14, top, 0.22, top, 0.52, -0.08)
    rear = _polygon(back + 0.12, -0.08, back + 0.21, top + 0.08, -0.16, top + 0.08, -0.16, -0.08)
    front = _polygon(-0.08, -0.08, -0.08, top + 0.08, 0.18, top + 0.08, 0.40, -0.08)
    body = _smooth(-0.98, 0.2, -0.98, -0.05, -0.6, -0.1, 0.4, -0.12, 0.9, nose, 1.0, 0.2, 0, 0.26)
    parts = [("main", cabin), ("main", body), ("glass", rear), ("glass", front)]
    parts += [("accent", _box(-0.95, 0.06, 0.94, 0.13)), ("light", _oval(0.9, 0.06, 0.08, 0.08))]
    for x in (-0.55, 0.58):
        parts += [("dark", _oval(x, 0.26, wheel, wheel)), ("metal", _oval(x, 0.26, 0.1, 0.1))]
    return Shape(
        parts, _polygon(0.58, 0.26, -0.55, 0.26, -0.1, top + 0.06, 0.88, 0.08, -0.88, 0.06)
    )


def _cup(rng: Random) -> Shape:
    width, foot, height, bulge = rng.uniform((0.5, 0.3, 0.5, 0.2), (0.68, 0.5, 0.75, 0.34))
    angles = np.linspace(-1.5, 1.5, 8)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    centre = np.array([(width + foot) / 2, -0.05])
    bend = ring * (bulge, 0.34) + centre
    grip = np.concatenate([bend, (ring * (bulge - 0.13, 0.2) + centre)[::-1]])
    parts = [
        ("main", grip),
        (
            "main",
            _smooth(
                -width,
                -height,
                -foot - 0.04,
                height * 0.6,
                -foot * 0.6,
                height + 0.06,
                foot * 0.6,
                height + 0.06,
                foot + 0.04,
                height * 0.6,
                width,
                -height,
            ),
        ),
        (
            "accent",
            _polygon(
                -width + 0.02, -0.25, width - 0.02, -0.25, width - 0.08, 0.02, 0.08 - width, 0.02
            ),
        ),
        ("light", _oval(0, -height, width, 0.16)),
        ("wood", _oval(0, -height + 0.02, width - 0.1, 0.10)),
    ]
    handle = (grip[3] + grip[12]) / 2
    points = _polygon(
        *handle,
        width - 0.06,
        -height,
        0.06 - width,
        -height,
        foot - 0.12,
        height * 0.7,
        0.12 - foot,
        height * 0.7,
    )
    return Shape(parts, points)


def _fish(rng: Random) -> Shape:
    bend, deep, fork, stripes = rng.uniform((-0.35, 0.28, 0.25, 0), (0.35, 0.5, 0.5, 3))
    body = _smooth(
        0.95,
        0,
        0.55,
        -deep * 0.85,
        0.05,
        -deep,
        -0.45,
        -0.16,
        -0.62,
        0,
        -0.45,
        0.16,
        0.05,
        deep,
        0.55,
        deep * 0.8,
    )
    parts = [
        ("accent", _polygon(-0.5, -0.02, -0.98, -fork, -0.84, 0.02, -0.98, fork, -0.5, 0.06)),
        ("accent", _polygon(0.4, -deep * 0.8, 0.0, -deep - 0.24, -0.34, -deep * 0.6)),
        ("accent", _polygon(0.2, deep * 0.8, -0.1, deep + 0.2, -0.2, deep * 0.7)),
        ("main", body),
    ]
    for x in 0.35 - 0.28 * np.arange(int(stripes)):
        h = deep * (0.72 + 0.6 * min(x, 0))
        parts.append(
            ("light", _smooth(x, -h, x + 0.12, 0, x, h, x - 0.1, h, x + 0.02, 0, x - 0.1, -h))
        )
    parts += [
        ("accent", _polygon(0.3, 0.06, -0.06, 0.0, -0.02, 0.24)),
        ("light", _oval(0.64, -0.1, 0.11, 0.11)),
        ("dark", _oval(0.66, -0.1, 0.06, 0.06)),
    ]
    points = _polygon(0.86, 0, 0.66, -0.1, 0, -deep - 0.02, -0.8, 0.01, 0.05, deep - 0.1)
    for outline in [points, *(outline for _, outline in parts)]:
        outline[:, 1] += bend * np.minimum(outline[:, 0] - 0.1, 0) ** 2  # the tail swings
    return Shape(parts, points)


def _flower(rng: Random) -> Shape:
    petals, sway, slim = int(rng.integers(5, 9)), rng.uniform(-0.3, 0.3), rng.uniform(0.15, 0.21)
    reach, start = rng.uniform(0.28, 0.34), rng.uniform(0, 6.28)
    stem = _limb([(0, -0.4), (sway * 0.3, 0.2), (sway, 0.95)], 0.1)
    leaf = _smooth(0, 0, 0.28, -0.18, 0.6, -0.12, 0.32, 0.08)
    parts = [
        ("leaf", stem),
        ("leaf", _turn(leaf, -0.2, sway * 0.4, 0.5)),
        ("leaf", _turn(leaf * (-1, 1), 0.2, sway * 0.4, 0.42)),
    ]
    for angle in start + np.arange(petals) * 2 * np.pi / petals:
        petal = _oval(0, 0, reach, slim * 9 / (petals + 2))
        parts.append(("main", _turn(petal, angle, *_polar(0, -0.4, reach, angle))))
    parts.append(("accent", _oval(0, -0.4, 0.2, 0.2)))
    x = sway * 0.4
    return Shape(
        parts, _polygon(0, -0.4, sway * 0.15, 0.1, x - 0.3, 0.36, x + 0.3, 0.41, sway * 0.95, 0.88)
    )


def _house(rng: Random) -> Shape:
    wide, eaves, over, door = rng.uniform((0.5, -0.3, 0.1, -0.35), (0.78, 0.0, 0.24, 0.05))
    chimney = rng.uniform(0.15, 0.5) * wide
    peak, floor = -0.95, 0.8
    parts = [
        ("brick", _box(chimney, -0.98, chimney + 0.18, eaves)),
        ("main", _box(-wide, eaves - 0.05, wide, floor)),
        ("accent", _polygon(-wide - over, eaves, 0, peak, wide + over, eaves)),
        ("wood", _box(door, 0.25, door + 0.28, floor)),
    ]
    for x in (-wide + 0.06, wide - 0.30):
        parts.append(("glass", _box(x, eaves + 0.08, x + 0.24, eaves + 0.30)))
    return Shape(
        parts,
        _polygon(
            0,
            peak + 0.12,
            -wide - over * 0.3,
            eaves - 0.06,
            wide + over * 0.3,
            eaves - 0.06,
            0.06 - wide,
            floor - 0.06,
            wide - 0.06,
            floor - 0.06,
        ),
    )


def _person(rng: Random) -> Shape:
    arms, legs = rng.uniform(0.3, 2.6, 2), rng.uniform(0.05, 0.5, 2)
    elbows, knees = rng.uniform(-0.2, 0.9, 2), rng.uniform(-0.3, 0.1, 2)
    parts: list[tuple[str, Points]] = []
    hands, feet = [], []
    for side, leg, knee in zip((-1, 1), legs, knees, strict=True):
        hip = (0.11 * side, 0.2)
        joint = _polar(*hip, 0.36, np.pi / 2 - side * leg)
        foot = _polar(*joint, 0.36, np.pi / 2 - side * (leg + knee))
        parts += [("trousers", _limb([hip, joint, foot], 0.17))]
        parts += [("dark", _oval(foot[0] + 0.03 * side, foot[1], 0.13, 0.08))]
        feet.append(foot)
    for side, arm, elbow in zip((-1, 1), arms, elbows, strict=True):
        shoulder = (0.2 * side, -0.36)
        joint = _polar(*shoulder, 0.28, np.pi / 2 - side * arm)
        hand = _polar(*joint, 0.26, np.pi / 2 - side * (arm + elbow))
        parts += [
            ("main", _limb([shoulder, joint, hand], 0.13)),
            ("skin", _oval(*hand, 0.08, 0.08)),
        ]
        hands.append(hand)
    parts += [
        (
            "main",
            _smooth(-0.25, -0.44, 0.25, -0.44, 0.21, 0.0, 0.22, 0.26, -0.22, 0.26, -0.21, 0.0),
        ),
        ("skin", _box(-0.07, -0.55, 0.07, -0.42)),
        ("hair", _oval(0, -0.74, 0.21, 0.21)),
        ("skin", _oval(0, -0.69, 0.17, 0.18)),
        ("dark", _oval(-0.07, -0.7, 0.02, 0.03)),
        ("dark", _oval(0.07, -0.7, 0.02, 0.03)),
    ]
    return Shape(parts, np.array([(0, -0.69), *hands, *feet]))


def _tree(rng: Random) -> Shape:
    crown = (_fir, _oak)[int(rng.integers(2))]
    wide, low = rng.uniform(0.5, 0.8), rng.uniform(0.15, 0.35)
    lean = rng.uniform(-0.12, 0.12)
    parts = [("wood", _polygon(lean - 0.1, 0, lean + 0.1, 0, 0.14, 0.95, -0.14, 0.95))]
    parts += crown(rng, wide, low)
    return Shape(
        parts,
        _polygon(0, -0.7, 0, -0.25, -0.4 * wide, low - 0.2, 0.4 * wide, low - 0.2, 0, 0.85),
    )


def _oak(rng: Random, wide: float, low: float) -> list[tuple[str, Points]]:
    middle, tall = (low - 0.92) / 2, (low + 0.92) / 2
    lobes, start = rng.integers(6, 10), rng.uniform(0, np.pi)
    t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    radius = 0.86 + 0.14 * np.abs(np.sin(lobes * t / 2 + start))
    outline = np.stack([np.cos(t), np.sin(t)], axis=1) * radius[:, None]
    parts = [("main", outline * (wide, tall) + (0, middle))]
    for x, y in ((-0.35, -0.3), (0.3, -0.1), (-0.15, 0.35)):
        parts.append(
            ("sunlit", outline * (0.28 * wide, 0.22 * tall) + (x * wide, middle + y * tall))
        )
    return parts


def _fir(rng: Random, wide: float, low: float) -> list[tuple[str, Points]]:
    tiers = int(rng.integers(2, 5))
    step = (low + 0.95) / (tiers + 1)
    parts: list[tuple[str, Points]] = []
    for k in range(tiers, 0, -1):
        base, half = -0.95 + (k + 1) * step, wide * (0.45 + 0.55 * k / tiers)
        parts.append(
            ("main", _polygon(0, base - 2 * step, half, base, 0, base + 0.07, -half, base))
        )
        parts.append(
            ("sunlit", _polygon(0, base - 2 * step, -half * 0.2, base, -half * 0.85, base))
        )
    return parts


#: Every kind of thing, by its name.
KINDS: dict[str, Kind] = {
    "bird": Kind(_bird, ("beak", "eye", "wing", "tail", "breast"), 25, True, "birds"),
    "boat": Kind(_boat, ("bow", "stern", "mast", "sail", "hull"), 12, True, "boats"),
    "butterfly": Kind(
        _butterfly,
        ("head", "left_forewing", "right_forewing", "left_hindwing", "right_hindwing"),
        60,
        False,
        "butterflies",
    ),
    "car": Kind(_car, ("front_wheel", "rear_wheel", "roof", "headlight", "boot"), 15, True, "cars"),
    "cup": Kind(_cup, ("handle", "near_rim", "far_rim", "near_base", "far_base"), 20, True, "cups"),
    "fish": Kind(_fish, ("mouth", "eye", "back", "tail", "belly"), 40, True, "fish"),
    "flower": Kind(
        _flower,
        ("heart", "stem", "left_leaf", "right_leaf", "foot"),
        20,
        False,
        "flowers",
        ("red", "orange", "yellow", "blue", "purple", "white"),
    ),
    "house": Kind(
        _house,
        ("ridge", "left_eave", "right_eave", "left_corner", "right_corner"),
        8,
        False,
        "houses",
    ),
    "person": Kind(
        _person,
        ("head", "left_hand", "right_hand", "left_foot", "right_foot"),
        15,
        False,
        "people",
        described="person in {colour}",
    ),
    "tree": Kind(
        _tree,
        ("top", "crown", "left_edge", "right_edge", "root"),
        8,
        False,
        "trees",
        ("green", "orange", "yellow"),
    ),
}
