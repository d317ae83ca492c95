r"""Read between the pixels

A deformable convolution reads its input at points that need not be pixels. Write
`bilinear_points`, which tells what stands there.

`image` has the shape (H, W). `points` has the shape (P, 2): a row and a column for each point,
where (0, 0) is the centre of the first pixel, and (H − 1, W − 1) that of the last. The result has
the shape (P,), as float64.

A point takes something from each of the four pixels around it. From the pixel (i, j) the point
(y, x) takes the share

$$
(1 - |y - i|) \, (1 - |x - j|).
$$

1. In the group `pixels` all points lie on pixels, and read just these.
2. In `between` they lie between pixels of the image.
3. Outside of the image everything is zero. In `edge` the points are less than a pixel away from
   the image: some of the four pixels exist, the others count as zeros.
4. In `outside` they are further away, perhaps very far.

For the image `[[0, 10], [20, 30]]`: the point (0.5, 0.5) reads 15; the point (0, 0.2) reads 2; the
point (1, 1.5) reads 15, half of 30 and half of nothing; the point (1, 2) reads 0.

You need not check the arguments.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.architectures.bilinear import bilinear_points
from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"pixels": 1, "between": 3, "edge": 3, "outside": 1}
environment = "numpy"
seconds = 2.0
reference = bilinear_points


def oracle(image: NDArray[Any], points: NDArray[Any]) -> NDArray[np.float64]:
    r"""Sum over all pixels, as equations 3 and 4 of Dai et al. (2017) say."""
    rows, columns = (np.arange(n) for n in image.shape)
    share_y = (1 - abs(points[:, :1] - rows)).clip(min=0)  # (P, H)
    share_x = (1 - abs(points[:, 1:] - columns)).clip(min=0)  # (P, W)
    return np.einsum("pi,pj,ij->p", share_y, share_x, image)


SMALL = np.array([[0.0, 10.0], [20.0, 30.0]])
WIDE = np.array([[1.0, 2.0, 4.0], [-8.0, 16.0, -32.0]])


def _public(group: str, image: NDArray[Any], at: list[list[float]], values: list[float]) -> Case:
    return Case(group, {"image": image, "points": np.array(at, float)}, np.array(values, float))


PUBLIC = (
    _public("pixels", SMALL, [[0, 0], [0, 1], [1, 0], [1, 1]], [0, 10, 20, 30]),
    _public("pixels", WIDE, [[1, 2], [0, 2], [1, 0]], [-32, 4, -8]),
    _public("between", SMALL, [[0.5, 0.5], [0, 0.25], [0.75, 0]], [15, 2.5, 15]),
    _public("between", WIDE, [[0.5, 1.75], [0.25, 0.5]], [-8.25, 2.125]),
    _public("edge", SMALL, [[1, 1.5], [-0.25, 1], [1.5, 1.5]], [15, 7.5, 7.5]),
    _public("edge", WIDE, [[-0.5, 2], [0.5, -0.75], [1.25, 1.5]], [2, -0.875, -6]),
    _public("outside", SMALL, [[1, 2], [-1, 0], [-7.5, 0.5], [0.5, 60]], [0, 0, 0, 0]),
    _public("outside", WIDE, [[2, 0], [0, 3], [1, -40.25]], [0, 0, 0]),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield random images and points of each group."""
    for group in ("pixels", "between", "edge", "outside"):
        for _ in range(4):
            height, width = rng.permutation([3, 4, 6])[:2]
            image = rng.normal(size=(height, width)).round(2)
            far = np.array([height, width])
            at = {
                "pixels": lambda far=far: rng.integers(0, far, size=(9, 2)).astype(float),
                "between": lambda far=far: rng.uniform(0, far - 1, size=(9, 2)),
                "edge": lambda far=far: _edge(rng, far),
                "outside": lambda far=far: _outside(rng, far),
            }[group]().round(3)
            yield Case(group, {"image": image, "points": at}, oracle(image, at))


def _edge(rng: np.random.Generator, far: NDArray[Any]) -> NDArray[np.float64]:
    at = rng.uniform(0, far - 1, size=(12, 2))
    at[:3, 0] = rng.uniform(-0.9, -0.1, 3)
    at[3:6, 1] = rng.uniform(-0.9, -0.1, 3)
    at[6:9, 0] = far[0] - 1 + rng.uniform(0.1, 0.9, 3)
    at[8:, 1] = far[1] - 1 + rng.uniform(0.1, 0.9, 4)
    return at


def _outside(rng: np.random.Generator, far: NDArray[Any]) -> NDArray[np.float64]:
    at = rng.uniform(0, far - 1, size=(8, 2))
    at[:2, 0] = rng.choice([-1.0, -1.25, -30.5], 2)
    at[2:4, 1] = rng.choice([-1.0, -1.5, -40.25], 2)
    at[4:6, 0] = far[0] + rng.choice([0.0, 0.75, 50.5], 2)
    at[6:, 1] = far[1] + rng.choice([0.0, 0.25, 90.0], 2)
    return at


def _corners(points):
    r"""Yield row and column of the four pixels around each point, and the point's share of them."""
    y, x = points[..., 0], points[..., 1]
    for i in (np.floor(y), np.floor(y) + 1):
        for j in (np.floor(x), np.floor(x) + 1):
            yield i, j, (1 - abs(y - i)) * (1 - abs(x - j))


def _read(image, i, j):
    r"""Return the pixels (i, j), zeros outside."""
    height, width = image.shape
    inside = (i >= 0) & (i < height) & (j >= 0) & (j < width)
    row, column = np.where(inside, [i, j], 0).astype(int)
    return np.where(inside, image[row, column], 0)


def nearest_pixel(image, points):
    """You read the nearest pixel. Take a share of each of the four pixels around the point."""
    return _read(image, *np.round(np.moveaxis(points, -1, 0)))


def pixel_at_the_top_left(image, points):
    """You round down and read one pixel. Take a share of all four pixels around the point."""
    return _read(image, *np.floor(np.moveaxis(points, -1, 0)))


def mean_of_four(image, points):
    """All four pixels have the same share in your answer. The nearer one is, the more it counts:
    its share is the product given in the prompt.
    """
    return sum(_read(image, i, j) for i, j, _ in _corners(points)) / 4


def shares_turned_round(image, points):
    """In your answer a pixel counts the more, the further away it is. Its share is one minus the
    distance, for rows and for columns.
    """
    y, x = np.moveaxis(points, -1, 0)
    return sum(abs(y - i) * abs(x - j) * _read(image, i, j) for i, j, _ in _corners(points))


def coordinates_swapped(image, points):
    """You take the first coordinate for the column. Points are (row, column), as indices are."""
    return bilinear_points(image, points[..., ::-1])


def rows_only(image, points):
    """You mix two pixels, above and below, and round the column. Do the same across: four pixels,
    each with a product of two shares.
    """
    return bilinear_points(image, points * [1, 0] + np.floor(points) * [0, 1])


def columns_only(image, points):
    """You mix two pixels, left and right, and round the row. Do the same up and down: four pixels,
    each with a product of two shares.
    """
    return bilinear_points(image, points * [0, 1] + np.floor(points) * [1, 0])


def border_repeated(image, points):
    """Outside of the image you read its border once more, as clipped points or indices do. There
    everything is zero: leave out those of the four pixels that do not exist.
    """
    return bilinear_points(image, points.clip(0, np.array(image.shape) - 1))


def negative_indices(image, points):
    """Left of the image and above it you read pixels of the other end: -1 is a valid index in
    Python. Check that no index is negative.
    """
    height, width = image.shape
    result = 0
    for i, j, share in _corners(points):
        i = np.where((i < 0) & (i >= -height), i + height, i)
        j = np.where((j < 0) & (j >= -width), j + width, j)
        result = result + share * _read(image, i, j)
    return result


def periodic(image, points):
    """Where the image ends you go on at its other side, as `%` does. Outside everything is zero."""
    height, width = image.shape
    return sum(share * _read(image, i % height, j % width) for i, j, share in _corners(points))


def zero_beyond_the_centres(image, points):
    """A point outside the outermost centres reads zero in your answer. It is less than a pixel away
    from them, so it still takes a share of those pixels that exist.
    """
    inside = ((points >= 0) & (points <= np.array(image.shape) - 1)).all(axis=-1)
    return np.where(inside, bilinear_points(image, points), 0)


def zero_above_and_to_the_left(image, points):
    """Points with a negative coordinate read zero in your answer. Above -1 they are less than a
    pixel away from the image, and take a share of its first row or column.
    """
    return np.where((points >= 0).all(axis=-1), bilinear_points(image, points), 0)


def zero_below_and_to_the_right(image, points):
    """Points behind the last row or column read zero in your answer. Up to H and W they are less
    than a pixel away from the image, and take a share of its last pixels.
    """
    ends = np.array(image.shape) - 1
    return np.where((points <= ends).all(axis=-1), bilinear_points(image, points), 0)


def shares_made_whole(image, points):
    """At the edge you divide by the sum of the shares of those pixels that exist. The others count
    as zeros, so the value fades out.
    """
    weight = bilinear_points(np.ones(image.shape), points)
    return bilinear_points(image, points) / np.where(weight > 0, weight, 1)


def truncated(image, points):
    """`int` and `astype(int)` cut off the fraction, towards zero: from -0.25 they make 0, where the
    pixel before the point is -1. Use `np.floor`.
    """
    y, x = np.moveaxis(points, -1, 0)
    top, left = np.trunc(y), np.trunc(x)
    below, after = y - top, x - left
    return (
        (1 - below) * (1 - after) * _read(image, top, left)
        + (1 - below) * after * _read(image, top, left + 1)
        + below * (1 - after) * _read(image, top + 1, left)
        + below * after * _read(image, top + 1, left + 1)
    )


def last_pixels_left_out(image, points):
    """The last row and the last column count as outside in your answer. Their indices are H - 1 and
    W - 1, and those still exist.
    """
    inner = image.copy()
    inner[-1], inner[:, -1] = 0, 0
    return bilinear_points(inner, points)


def centres_half_a_pixel_off(image, points):
    """You take (0.5, 0.5) for the centre of the first pixel. Here it is (0, 0)."""
    return bilinear_points(image, points - 0.5)


def rounded(image, points):
    """You return integers. What lies between two pixels is a fraction: compute in float64."""
    return bilinear_points(image, points).astype(int)


def one_column(image, points):
    """You return a column of shape (P, 1). The result has one axis, (P,)."""
    return bilinear_points(image, points)[:, None]


def _around(image, points, other, share):
    r"""Add up shares of the pixels between `floor` and another one, in loops."""
    height, width = image.shape
    result = np.zeros(len(points))
    for p, (y, x) in enumerate(points):
        rows, columns = (math.floor(y), other(y)), (math.floor(x), other(x))
        for i, up in zip(rows, rows[::-1], strict=True):
            for j, left in zip(columns, columns[::-1], strict=True):
                if 0 <= i < height and 0 <= j < width:
                    result[p] += share(y, i, up) * share(x, j, left) * image[i, j]
    return result


def counted_twice(image, points):
    """On a row or column of pixels `floor` and `ceil` are the same, and you count that one twice.
    The second pixel is `floor + 1`; its share is 0 there.
    """
    return _around(image, points, math.ceil, lambda y, i, other: 1 - abs(y - i))


def lost_on_pixels(image, points):
    """On a row or column of pixels `floor` and `ceil` are the same, so that all of your shares are
    0. The second pixel is `floor + 1`.
    """
    return _around(image, points, math.ceil, lambda y, i, other: abs(y - other))


def nothing_checked(image, points):
    """You read pixels that do not exist: the second of two neighbours may lie behind the last row
    or column. Read only where `0 <= i < H` and `0 <= j < W`; the others count as zeros.
    """
    return sum(share * image[i.astype(int), j.astype(int)] for i, j, share in _corners(points))


def all_pixels(image, points):
    """Pixels further away than the four around the point count in your answer, and with negative
    shares. Where a distance is more than 1, the share is 0.
    """
    rows, columns = (np.arange(n) for n in image.shape)
    share_y, share_x = 1 - abs(points[:, :1] - rows), 1 - abs(points[:, 1:] - columns)
    return np.einsum("pi,pj,ij->p", share_y, share_x, image)


WRONG = (
    nearest_pixel,
    pixel_at_the_top_left,
    mean_of_four,
    shares_turned_round,
    coordinates_swapped,
    rows_only,
    columns_only,
    border_repeated,
    negative_indices,
    periodic,
    zero_beyond_the_centres,
    zero_above_and_to_the_left,
    zero_below_and_to_the_right,
    shares_made_whole,
    truncated,
    last_pixels_left_out,
    centres_half_a_pixel_off,
    rounded,
    one_column,
    counted_twice,
    lost_on_pixels,
    nothing_checked,
    all_pixels,
)
