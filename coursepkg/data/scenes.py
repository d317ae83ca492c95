r"""Seeded pictures of things, with every label that the course needs, from one call.

A scene shows a few things from :mod:`coursepkg.data.shapes` over a crop of a real photograph.
The same scene serves classification, detection, segmentation, keypoints and captioning, so that
the tasks can be compared.

Three properties hold, and are tested:

- Scene ``i`` of a seed depends on the seed, on ``i`` and on the settings, on nothing else.
- The layout is drawn apart from the rendering: another ``domain``, ``size`` or ``clutter`` shows
  *the same* things in the same places.
- Labels follow from the rendered masks: boxes are tight around what is visible, the semantic
  mask is the class of the instance mask, a keypoint is visible where its thing is.

Examples
--------
>>> scene = scenes(1, seed=3, size=48, objects=2)[0]
>>> scene.image.shape, scene.image.dtype
((48, 48, 3), dtype('uint8'))
>>> scene.labels.shape, scene.boxes.shape, scene.keypoints.shape
((2,), (2, 4), (2, 5, 2))
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import accumulate, pairwise
from numbers import Real
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFilter

from coursepkg.data.photos import photo
from coursepkg.data.shapes import KINDS, Points, Random
from coursepkg.validation import integer, pair

__all__ = [
    "CLASSES",
    "DOMAINS",
    "KEYPOINTS",
    "Batch",
    "Domain",
    "Scene",
    "Settings",
    "scenes",
    "stack",
]

#: The names of the classes; a label is an index into them.
CLASSES = tuple(KINDS)
#: The names of the keypoints of each class.
KEYPOINTS = {name: kind.keypoints for name, kind in KINDS.items()}

Colour = tuple[float, float, float]
Ink = tuple[int, ...]
Inks = tuple[Ink, Ink | None]  # of a part: its fill and its line

# Colours that name a thing ("a red car"), and those of its parts, RGB in 0 ... 1.
_NAMED: dict[str, Colour] = {
    "red": (0.80, 0.16, 0.14),
    "orange": (0.92, 0.50, 0.12),
    "yellow": (0.94, 0.78, 0.18),
    "green": (0.24, 0.56, 0.24),
    "blue": (0.16, 0.40, 0.76),
    "purple": (0.50, 0.26, 0.62),
    "white": (0.90, 0.89, 0.86),
}
_PARTS: dict[str, Colour] = {
    "dark": (0.13, 0.13, 0.15),
    "light": (0.95, 0.93, 0.87),
    "metal": (0.68, 0.70, 0.73),
    "glass": (0.62, 0.80, 0.88),
    "wood": (0.42, 0.27, 0.15),
    "brick": (0.62, 0.30, 0.22),
    "leaf": (0.28, 0.58, 0.22),
    "beak": (0.93, 0.62, 0.14),
    "trousers": (0.22, 0.26, 0.38),
}
_SKINS = ((0.96, 0.80, 0.68), (0.85, 0.63, 0.45), (0.62, 0.42, 0.28), (0.40, 0.26, 0.18))
_HAIRS = ((0.12, 0.09, 0.08), (0.36, 0.22, 0.12), (0.78, 0.58, 0.28), (0.55, 0.55, 0.55))


class _Ground(NamedTuple):
    """A real texture: where it is cut from, the colour given to it, how far to zoom."""

    photo: str
    cut: tuple[float, float, float, float]  # left, top, right, bottom, as fractions
    tint: Colour  # multiplies the pixels; brings colour to the grey photographs
    zoom: tuple[float, float]  # the visible part, as fractions of the cut's shorter side


_GROUNDS: dict[str, _Ground] = {
    "on grass": _Ground("grass", (0, 0, 1, 1), (0.72, 1.05, 0.45), (0.25, 0.6)),
    "on bricks": _Ground("brick", (0, 0, 1, 1), (1.35, 0.92, 0.74), (0.3, 0.7)),
    "on gravel": _Ground("gravel", (0, 0, 1, 1), (1.12, 1.04, 0.92), (0.25, 0.6)),
    "on water": _Ground("cell", (0, 0, 1.0, 0.38), (1.0, 2.2, 3.2), (0.5, 1.0)),
    "on wood": _Ground("coffee", (0.81, 0.0, 1.0, 1.0), (0.95, 1.0, 1.0), (0.7, 1.0)),
    "in front of leaves": _Ground("flower", (0, 0, 0.27, 1.0), (1.5, 1.5, 1.2), (0.6, 1.0)),
    "in front of bushes": _Ground("china", (0.55, 0.72, 1.0, 1.0), (1.35, 1.5, 1.2), (0.6, 1.0)),
    "in the sky": _Ground("china", (0.42, 0.0, 1.0, 0.36), (0.80, 0.93, 1.05), (0.6, 1.0)),
    "among stars": _Ground("hubble", (0, 0, 1, 1), (1.1, 1.1, 1.3), (0.3, 0.7)),
}
_FABRICS = ("grass", "gravel")  # photographs that give surfaces their grain


@dataclass(frozen=True)
class Domain:
    r"""How a layout is rendered.

    Attributes
    ----------
    exposure : (float, float)
        Range of the factor by which the finished image is multiplied.
    noise : float
        Standard deviation of the sensor noise, where white is 1.
    cast : float
        Largest part by which red, green and blue may each be strengthened or weakened.
    drawn : bool
        True for ink on paper: outlines only, no colour, no photograph behind.
    """

    exposure: tuple[float, float]
    noise: float
    cast: float = 0.06
    drawn: bool = False


DOMAINS = {
    "normal": Domain((0.85, 1.1), 0.015),
    "bright": Domain((1.35, 1.7), 0.01),
    "dark": Domain((0.18, 0.35), 0.02),
    "sketch": Domain((0.95, 1.02), 0.01, cast=0.0, drawn=True),
}


@dataclass(frozen=True)
class Settings:
    r"""What the scenes show.

    Parameters
    ----------
    size : int or (int, int)
        Height and width in pixels, 16 or more.
    classes : tuple of str
        The classes to draw from; a label is an index into this tuple.
    domain : str
        A key of :data:`DOMAINS`.
    objects : int or (int, int)
        Things per scene, a number or an inclusive range, 0 to 9.
    occlusion : float
        The largest part of a thing's box that something in front may cover, 0 to 0.8.
        With 0 every thing is seen whole.
    clutter : int
        Unlabelled pieces lying about behind the things.
    """

    size: int | tuple[int, int] = 64
    classes: tuple[str, ...] = CLASSES
    domain: str = "normal"
    objects: int | tuple[int, int] = (1, 4)
    occlusion: float = 0.4
    clutter: int = 3

    def __post_init__(self) -> None:
        _ = self.shape, integer("clutter", self.clutter, 0)  # refuses what is no integer
        for argument, holds, remedy in self._rules():
            if not holds:
                value = getattr(self, argument)
                raise ValueError(f"{argument}={value!r} cannot be drawn; {remedy}")

    def _rules(self) -> list[tuple[str, bool, str]]:
        few, many = self.range
        fraction = isinstance(self.occlusion, Real)
        known = bool(self.classes) and set(self.classes) <= set(CLASSES)
        return [
            (
                "classes",
                known and len(set(self.classes)) == len(self.classes),
                f"choose different ones from {', '.join(CLASSES)}",
            ),
            ("domain", self.domain in list(DOMAINS), f"choose from {', '.join(DOMAINS)}"),
            ("objects", few <= many <= 9, "give a number or a rising range within 0 ... 9"),
            ("occlusion", fraction and 0 <= self.occlusion <= 0.8, "give a fraction from 0 to 0.8"),
        ]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        return pair("size", self.size, 16)

    @property
    def range(self) -> tuple[int, int]:
        """Least and greatest number of things."""
        return pair("objects", self.objects, 0, "(least, most)")


@dataclass(frozen=True, eq=False)
class Scene:
    r"""An image and all that is known about it; ``n`` things, from back to front.

    Attributes
    ----------
    image : ndarray
        ``(H, W, 3)`` uint8.
    classes : tuple of str
        What the labels point into.
    labels : ndarray
        ``(n,)`` int64.
    instances : ndarray
        ``(H, W)`` uint8; 0 is background, ``k + 1`` the visible pixels of thing ``k``.
    amodal : ndarray
        ``(n, H, W)`` bool; the whole of each thing, hidden pixels included.
    keypoints : ndarray
        ``(n, 5, 2)`` float32, ``(x, y)`` in pixels, where pixel ``(row, column)`` covers
        ``column <= x < column + 1`` and ``row <= y < row + 1``; named by :data:`KEYPOINTS`.
    colours : tuple of str
        The colour that names each thing; empty in a sketch.
    place : str
        What is behind, for example ``"on grass"``; empty in a sketch.
    """

    image: NDArray[np.uint8]
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    instances: NDArray[np.uint8]
    amodal: NDArray[np.bool_]
    keypoints: NDArray[np.float32]
    colours: tuple[str, ...]
    place: str

    @property
    def names(self) -> tuple[str, ...]:
        """The class name of each thing."""
        return tuple(self.classes[label] for label in self.labels)

    @cached_property
    def semantic(self) -> NDArray[np.int64]:
        """``(H, W)`` int64; 0 is background, ``label + 1`` the class of a visible thing."""
        return np.concatenate([[0], self.labels + 1])[self.instances]

    @cached_property
    def boxes(self) -> NDArray[np.int64]:
        """``(n, 4)`` int64, ``x0, y0, x1, y1``: visible pixels lie in ``[y0:y1, x0:x1]``."""
        return np.array(
            [_box(self.instances == k + 1) for k in range(len(self.labels))], dtype=np.int64
        ).reshape(-1, 4)

    @cached_property
    def visible(self) -> NDArray[np.bool_]:
        """``(n, 5)`` bool; a keypoint is visible where the instance mask shows its thing."""
        column, row = np.moveaxis(self.keypoints.astype(np.int64), -1, 0)  # (n, 5) each
        numbers = np.arange(1, len(self.labels) + 1)[:, None]
        shown: NDArray[np.bool_] = self.instances[row, column] == numbers
        return shown

    @cached_property
    def visibility(self) -> NDArray[np.float64]:
        """``(n,)`` float64; the part of each thing's pixels that can be seen."""
        seen = np.bincount(self.instances.ravel(), minlength=len(self.labels) + 1)[1:]
        part: NDArray[np.float64] = seen / self.amodal.sum(axis=(1, 2))
        return part

    @cached_property
    def caption(self) -> str:
        """One phrase: what is there, how two things lie to each other, and where.

        One thing has its colour; two have colours and a relation, ``"left of"`` or ``"above"``,
        along the axis on which the middles of their boxes differ more; more things are counted.
        """
        nouns = [
            KINDS[name].described.format(colour=colour, name=name) if colour else name
            for colour, name in zip(self.colours, self.names, strict=True)
        ]
        what = _related(nouns, self.boxes) if len(nouns) < 3 else _counted(self.names)
        return " ".join(filter(None, [what, self.place]))


_NUMBERS = ("no", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")


def _related(nouns: list[str], boxes: NDArray[np.int64]) -> str:
    """``[] -> nothing``, ``[red car] -> a red car``, ``[.., ..] -> a .. above a ..``."""
    middles = boxes[:, :2] + boxes[:, 2:]
    axis = int(np.ptp(middles, axis=0).argmax()) if len(nouns) else 0
    order = np.argsort(middles[:, axis], kind="stable")
    phrases = [f"{'an' if nouns[k][0] in 'aeiou' else 'a'} {nouns[k]}" for k in order]
    return (" left of ", " above ")[axis].join(phrases) or "nothing"


def _counted(names: Sequence[str]) -> str:
    """``car, fish, car -> two cars and one fish``, in alphabetical order."""
    counts = sorted(Counter(names).items())
    phrases = [f"{_NUMBERS[n]} {name if n == 1 else KINDS[name].plural}" for name, n in counts]
    return " and ".join([", ".join(phrases[:-1]), phrases[-1]] if phrases[1:] else phrases)


def _box(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return columns[0], rows[0], columns[-1] + 1, rows[-1] + 1


def scenes(n: int, seed: int = 0, *, start: int = 0, **settings: Any) -> list[Scene]:
    r"""Scenes ``start ... start + n - 1`` of a seed.

    Parameters
    ----------
    n, seed, start : int
        How many, of which world, from which index on. Training and test sets are two seeds,
        or two ranges of one.
    **settings
        The fields of :class:`Settings`: ``size, classes, domain, objects, occlusion, clutter``.

    Returns
    -------
    list of Scene

    Raises
    ------
    ValueError
        An argument is no integer or out of range; the message names it.
    TypeError
        There is no setting of that name.

    Examples
    --------
    >>> whole = scenes(4, seed=1, objects=1)
    >>> (scenes(1, seed=1, start=3, objects=1)[0].image == whole[3].image).all()
    np.True_
    """
    n, seed, start = integer("n", n, 0), integer("seed", seed, 0), integer("start", start, 0)
    chosen = Settings(**settings)
    return [_scene(chosen, seed, index) for index in range(start, start + n)]


class Batch(NamedTuple):
    r"""Arrays for a network, one row per scene.

    Attributes
    ----------
    images : ndarray
        ``(N, 3, H, W)`` float32 in [0, 1].
    present : ndarray
        ``(N, classes)`` int64; how many things of each class the scene shows.
    semantic : ndarray
        ``(N, H, W)`` int64; 0 is background, ``label + 1`` a class.
    """

    images: NDArray[np.float32]
    present: NDArray[np.int64]
    semantic: NDArray[np.int64]

    @property
    def labels(self) -> NDArray[np.int64]:
        """``(N,)`` int64, the class of the single thing in each scene."""
        if (self.present.sum(axis=1) != 1).any():
            raise ValueError("labels need one thing in each scene; draw them with objects=1")
        labels: NDArray[np.int64] = self.present.argmax(axis=1)
        return labels


def stack(drawn: Sequence[Scene]) -> Batch:
    r"""Scenes of one size and one tuple of classes -> :class:`Batch`.

    Raises
    ------
    ValueError
        There is no scene, or they differ in size or classes.
    """
    kinds = {(scene.image.shape, scene.classes) for scene in drawn}
    if len(kinds) != 1:
        raise ValueError(
            f"{len(drawn)} scenes of {len(kinds)} kinds; give scenes of one size and classes"
        )
    images = np.stack([scene.image for scene in drawn]).transpose(0, 3, 1, 2)  # (N, 3, H, W)
    width = len(drawn[0].classes)
    present = np.stack([np.bincount(scene.labels, minlength=width) for scene in drawn])
    pixels = np.ascontiguousarray(images, dtype=np.float32) / np.float32(255)
    return Batch(pixels, present, np.stack([scene.semantic for scene in drawn]))


# -- layout: what lies where, in units of the shorter side --------------------------------------


class _Thing(NamedTuple):
    """A thing, or the clutter: polygons to paint, from back to front."""

    label: int  # -1 for clutter
    colour: str
    inks: list[Inks]  # of each part
    points: Points  # keypoints, then the outlines of all parts
    cuts: list[int]  # part k is points[cuts[k]:cuts[k + 1]]
    box: NDArray[np.float64]  # x0, y0, x1, y1
    line: float  # width of the lines


def _scene(settings: Settings, seed: int, index: int) -> Scene:
    layout, mess, pixels = (
        np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(index, k))) for k in range(3)
    )
    height, width = settings.shape
    frame = np.array([width, height]) / min(height, width)
    place = list(_GROUNDS)[layout.integers(len(_GROUNDS))]
    litter = _pieces(mess, mess.uniform((0, 0, 0.08), (*frame, 0.3), (settings.clutter, 3)))
    things, hidden = _arrange(layout, settings, frame)
    covers = _pieces(layout, _corners(layout, things, hidden, settings.occlusion))
    canvas = _Canvas(settings.shape, DOMAINS[settings.domain], place, pixels)
    canvas.paint(litter, 0)
    for number, thing in enumerate(things, start=1):
        canvas.paint(thing, number)
    canvas.paint(covers, 0)
    return _labelled(settings, canvas, things, place)


def _arrange(
    rng: Random, settings: Settings, frame: NDArray[np.float64]
) -> tuple[list[_Thing], NDArray[np.float64]]:
    """Things from back to front, and the part of each box that later boxes cover."""
    few, many = settings.range
    n = int(rng.integers(few, many + 1))
    things: list[_Thing] = []
    hidden = np.zeros(0)
    for _ in range(n):
        label = int(rng.integers(len(settings.classes)))
        scale = 0.95 / max(n, 1.3) ** 0.5 * rng.uniform(0.6, 1)
        thing = _individual(rng, settings.classes[label], label)
        boxes = np.array([other.box for other in things]).reshape(-1, 4)
        placed, extra = _place(rng, thing, boxes, settings.occlusion - hidden, frame, scale)
        things.append(placed)
        hidden = np.append(hidden + extra, 0)
    return things, hidden


def _individual(rng: Random, name: str, label: int) -> _Thing:
    """One thing of a class, posed, its longer side 1, its middle at the origin."""
    kind = KINDS[name]
    parts, keypoints = kind.build(rng)
    outlines = [outline for _, outline in parts]
    angle, squeeze, shear = rng.uniform((-kind.tilt, 0.85, -0.15), (kind.tilt, 1.15, 0.15))
    flip = -1.0 if kind.mirrored and rng.random() < 0.5 else 1.0
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    pose = np.array([[c, -s], [s, c]]) @ [[flip * squeeze, shear], [0, 1 / squeeze]]
    points = np.concatenate([keypoints, *outlines]) @ pose.T
    low, high = points.min(axis=0), points.max(axis=0)
    side = (high - low).max() * (1 + _LINE)
    half = (high - low) / side / 2 + _LINE / 2
    colour = kind.colours[rng.integers(len(kind.colours))]
    paints = _paints(rng, colour)
    return _Thing(
        label,
        colour,
        [paints[paint] for paint, _ in parts],
        (points - (low + high) / 2) / side,
        [*accumulate(map(len, outlines), initial=len(keypoints))],
        np.concatenate([-half, half]),
        _LINE,
    )


def _paints(rng: Random, colour: str) -> dict[str, Inks]:
    """Every paint of one individual, a little off its nominal colour, with its darker line."""
    accent, skin, hair = rng.random(3)
    others = [shade for name, shade in _NAMED.items() if name != colour]
    table = {
        **_PARTS,
        "main": _NAMED[colour],
        "sunlit": _NAMED[colour],
        "accent": others[int(accent * len(others))],
        "skin": _SKINS[int(skin * len(_SKINS))],
        "hair": _HAIRS[int(hair * len(_HAIRS))],
    }
    nominal = np.array(list(table.values())) + rng.uniform(-0.06, 0.06, (len(table), 3))
    shades = (np.clip(nominal, 0, 1) * 255).astype(int)
    lines = (shades * 5 // 8).tolist()
    inks: dict[str, Inks] = {
        name: (tuple(f), tuple(e)) for name, f, e in zip(table, shades.tolist(), lines, strict=True)
    }
    bright = (0.75 * shades[list(table).index("main")] + (60, 58, 30)).astype(int)
    inks["sunlit"] = (tuple(bright.tolist()), None)
    return inks


def _place(
    rng: Random,
    thing: _Thing,
    boxes: Points,
    budget: NDArray[np.float64],
    frame: NDArray[np.float64],
    scale: float,
) -> tuple[_Thing, NDArray[np.float64]]:
    """Try places, ever smaller, until no earlier box is covered beyond its budget."""
    while True:
        half = thing.box[2:] * scale + _GAP
        for at in rng.uniform(half, frame - half, (8, 2)):
            box = np.concatenate([at - half, at + half])
            covered = _covered(boxes, box)
            if (covered <= budget).all():
                moved = thing.points * scale + at
                return thing._replace(points=moved, box=box, line=thing.line * scale), covered
        scale *= 0.9


def _covered(boxes: Points, box: NDArray[np.float64]) -> NDArray[np.float64]:
    """The part of each of ``boxes`` (n, 4) that lies under ``box`` (4,)."""
    low, high = np.maximum(boxes[:, :2], box[:2]), np.minimum(boxes[:, 2:], box[2:])
    shared, whole = np.maximum(high - low, 0), boxes[:, 2:] - boxes[:, :2]  # (n, 2) each
    covered: Points = shared[:, 0] * shared[:, 1] / (whole[:, 0] * whole[:, 1])
    return covered


def _corners(
    rng: Random, things: list[_Thing], hidden: NDArray[np.float64], occlusion: float
) -> Points:
    """Discs (x, y, radius) over corners of some things, within what may still be hidden."""
    boxes = np.array([thing.box for thing in things]).reshape(-1, 4)
    discs = []
    for k in np.flatnonzero(rng.random(len(things)) < occlusion):
        low, high = boxes[k, :2], boxes[k, 2:]
        at = np.where(rng.random(2) < 0.5, low, high)
        radius = (max(occlusion - hidden[k], 0) * (high - low).prod()) ** 0.5
        covered = _covered(boxes, np.concatenate([at - radius, at + radius]))
        if radius > _GAP and (hidden + covered <= occlusion + 1e-9).all():
            discs.append([*at, radius])
            hidden = hidden + covered
    return np.array(discs).reshape(-1, 3)


def _pieces(rng: Random, discs: Points) -> _Thing:
    """Clutter: in each disc (x, y, radius) a crooked polygon of some colour."""
    outlines: list[Points] = [np.empty((0, 2))]
    inks: list[Inks] = []
    for x, y, radius in discs:
        corners = int(rng.integers(4, 8))
        turns = (np.arange(corners) + rng.uniform(0, 0.7, corners)) * 2 * np.pi / corners
        reach = radius * rng.uniform(0.6, 1.0, (corners, 1)) * rng.uniform(0.4, 1.0, 2)
        outlines.append(np.stack([np.cos(turns), np.sin(turns)], axis=1) * reach + (x, y))
        shade = np.array(list(_NAMED.values())[rng.integers(len(_NAMED))])
        fill = (255 * np.clip(shade + rng.uniform(-0.1, 0.1, 3), 0, 1)).astype(int)
        inks.append((tuple(fill.tolist()), tuple((fill * 5 // 8).tolist())))
    points = np.concatenate(outlines)
    box = np.concatenate([points.min(axis=0, initial=9), points.max(axis=0, initial=-9)])
    return _Thing(-1, "", inks, points, [*accumulate(map(len, outlines))], box, _LINE / 4)


# -- rendering ----------------------------------------------------------------------------------

_FINE = 4  # outlines are drawn this many times finer, then averaged: smooth edges
_LINE = 0.024  # width of a line, as part of the longer side of the thing
_GAP = 0.02  # kept free around a thing, in units of the image's shorter side
_PAPER, _INK = (244, 244, 244), (45, 45, 45)


@cache
def _texture(name: str) -> Image.Image:
    """The tinted cut of a photograph behind a place."""
    ground = _GROUNDS[name]
    pixels = photo(ground.photo)
    h, w = pixels.shape[:2]
    left, top, right, bottom = (round(f * e) for f, e in zip(ground.cut, (w, h, w, h), strict=True))
    tinted = np.clip(pixels[top:bottom, left:right] * np.array(ground.tint), 0, 255)
    return Image.fromarray(tinted.astype(np.uint8))


@cache
def _fabric(name: str, side: int) -> NDArray[np.float32]:
    """The grain of a photograph: (side, side) float32, mean 1, standard deviation 0.13."""
    grey = photo(name, size=(side, side), grey=True).astype(np.float32)
    grain: NDArray[np.float32] = 1 + np.float32(0.13) * (grey - grey.mean()) / grey.std()
    return grain


def _crop(
    source: Image.Image, rng: Random, zoom: tuple[float, float], width: int, height: int
) -> NDArray[np.float32]:
    """A random window of a photograph -> (3, height, width) float32 in [0, 1]."""
    share, x, y = rng.uniform((zoom[0], 0, 0), (zoom[1], 1, 1))
    side = min(source.size[0] / width, source.size[1] / height) * share
    w, h = side * width, side * height
    x, y = x * (source.size[0] - w), y * (source.size[1] - h)
    part = source.resize((width, height), Image.Resampling.BILINEAR, (x, y, x + w, y + h), 2.0)
    return _planes(part)


def _planes(image: Image.Image) -> NDArray[np.float32]:
    """Channels first, which makes painting fast: (h, w, c) uint8 -> (c, h, w) in [0, 1]."""
    return np.ascontiguousarray(np.asarray(image).transpose(2, 0, 1)) * np.float32(1 / 255)


class _Canvas:
    """The image while it is painted, with its masks."""

    def __init__(self, shape: tuple[int, int], domain: Domain, place: str, rng: Random) -> None:
        self.shape, self.domain, self.rng = shape, domain, rng
        height, width = shape
        self.unit = min(shape)
        self.pixels = (
            np.full((3, height, width), _PAPER[0] / 255, dtype=np.float32)
            if domain.drawn
            else _crop(_texture(place), rng, _GROUNDS[place].zoom, width, height)
        )
        self.light = rng.uniform(-1, 1, 2)  # where the light comes from: right, below
        self.instances = np.zeros(shape, dtype=np.uint8)
        self.amodal: list[NDArray[np.bool_]] = []

    def paint(self, thing: _Thing, number: int) -> None:
        """Lay a thing over the image; ``number`` is 0 for clutter, else its instance."""
        x0, y0, x1, y1 = (thing.box * self.unit).astype(int).tolist()
        x0, y0 = max(x0 - 1, 0), max(y0 - 1, 0)
        x1, y1 = min(x1 + 2, self.shape[1]), min(y1 + 2, self.shape[0])
        if not thing.inks:
            return
        window = np.s_[y0:y1, x0:x1]
        layer = _drawn(thing, self.unit, (x0, y0, x1, y1), self.domain.drawn)  # (4, h, w)
        cover = layer[3]
        solid = cover > 0.5
        self.instances[window][solid] = number
        if number:
            self.amodal.append(np.zeros(self.shape, dtype=bool))
            self.amodal[-1][window] = solid
        if not self.domain.drawn:
            self._shadow(cover, x0, y0)
            layer[:3] *= self._lit(*cover.shape)
        part = self.pixels[:, y0:y1, x0:x1]
        part *= 1 - cover
        part += layer[:3]

    def _lit(self, height: int, width: int) -> NDArray[np.float32]:
        """Grain from a photograph, and light that falls from one side: (h, w)."""
        side = 4 * max(self.shape)
        kind, *corner = self.rng.integers((len(_FABRICS), side - height, side - width)).tolist()
        y, x = corner
        grain = _fabric(_FABRICS[kind], side)[y : y + height, x : x + width]
        return grain + _ramp(height, width, 0.18 * self.light)

    def _shadow(self, cover: NDArray[np.float32], x0: int, y0: int) -> None:
        """A soft shadow, away from the light, on all that was painted before."""
        mask = Image.fromarray((cover * 128).astype(np.uint8))
        soft = np.asarray(mask.filter(ImageFilter.BoxBlur(self.unit / 40)))
        dx, dy = np.round(-self.light * self.unit / 32).astype(int).tolist()
        x, y = max(x0 + dx, 0), max(y0 + dy, 0)
        part = self.pixels[:, y : y0 + dy + len(soft), x : x0 + dx + soft.shape[1]]
        h, w = part.shape[1:]
        soft = soft[y - y0 - dy :, x - x0 - dx :][:h, :w]
        part *= 1 - soft * np.float32(1 / 255)

    def develop(self) -> NDArray[np.uint8]:
        """Light over the whole scene, colour cast, exposure and sensor noise -> uint8."""
        domain, rng = self.domain, self.rng
        exposure, slope = rng.uniform((domain.exposure[0], 0), (domain.exposure[1], 0.2))
        tone = exposure * (1 + domain.cast * rng.uniform(-1, 1, (3, 1, 1)))
        light = 1 + _ramp(*self.shape, slope * self.light)
        noise = rng.standard_normal(self.shape, dtype=np.float32)
        image = self.pixels * (tone.astype(np.float32) * light)
        image += noise * np.float32(domain.noise)
        pixels = (image.clip(0, 1) * 255 + np.float32(0.5)).astype(np.uint8)
        return np.ascontiguousarray(pixels.transpose(1, 2, 0))  # (H, W, 3)


def _ramp(height: int, width: int, slope: NDArray[np.float64]) -> NDArray[np.float32]:
    """A plane over (height, width) that rises from -slope to slope along x and y."""
    x = np.arange(1 - width, width, 2, dtype=np.float32) * np.float32(slope[0] / width)
    y = np.arange(1 - height, height, 2, dtype=np.float32) * np.float32(slope[1] / height)
    return x + y[:, None]


def _drawn(
    thing: _Thing, unit: int, window: tuple[int, int, int, int], paper: bool
) -> NDArray[np.float32]:
    """Parts from back to front -> (4, h, w) float32: colour times coverage, coverage."""
    x0, y0, x1, y1 = window
    image = Image.new("RGBX", ((x1 - x0) * _FINE, (y1 - y0) * _FINE))
    pen = ImageDraw.Draw(image)
    flat = ((thing.points * unit - (x0, y0)) * _FINE).ravel().tolist()
    width = max(2, round(thing.line * unit * _FINE))
    for (start, stop), (fill, line) in zip(pairwise(thing.cuts), thing.inks, strict=True):
        outline = flat[2 * start : 2 * stop]
        pen.polygon(outline, fill=_PAPER if paper else fill)
        if line:
            pen.line(outline + outline[:4], fill=_INK if paper else line, width=width)
    return _planes(image.reduce(_FINE))


# -- labels -------------------------------------------------------------------------------------


def _labelled(settings: Settings, canvas: _Canvas, things: list[_Thing], place: str) -> Scene:
    """The finished scene; a thing without a visible pixel is not part of it."""
    seen = np.flatnonzero(np.bincount(canvas.instances.ravel(), minlength=len(things) + 1)[1:])
    number = np.zeros(len(things) + 1, dtype=np.uint8)
    number[seen + 1] = np.arange(1, len(seen) + 1)
    shown, paper = [things[k] for k in seen], canvas.domain.drawn
    keypoints = np.array([thing.points[: thing.cuts[0]] for thing in shown]) * canvas.unit
    amodal = np.array([canvas.amodal[k] for k in seen], dtype=bool)
    return Scene(
        image=canvas.develop(),
        classes=tuple(settings.classes),
        labels=np.array([thing.label for thing in shown], dtype=np.int64),
        instances=number[canvas.instances],
        amodal=amodal.reshape(-1, *settings.shape),
        keypoints=keypoints.astype(np.float32).reshape(-1, 5, 2),
        colours=tuple("" if paper else thing.colour for thing in shown),
        place="" if paper else place,
    )
