r"""Figures of the course: each helper draws into the axes that it is given and returns them.

Figures are white cards with dark ink, so that they read well on light and on dark pages. No
setting of matplotlib is changed, and nothing is shown: the page or the notebook does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "COLOURS",
    "CYCLE",
    "FILLS",
    "FONT",
    "cell_axes",
    "cell_figure",
    "gallery",
    "show_boxes",
    "show_cells",
    "show_image",
    "show_keypoints",
    "show_mask",
    "show_signed",
]

#: Eight colours that remain distinct for colour-blind readers (Okabe and Ito, 2008).
COLOURS = {
    "black": "#000000",
    "orange": "#E69F00",
    "sky blue": "#56B4E9",
    "green": "#009E73",
    "yellow": "#F0E442",
    "blue": "#0072B2",
    "vermilion": "#D55E00",
    "purple": "#CC79A7",
}
#: The order for lines and boxes; black and yellow, weak on pictures, come last.
CYCLE = tuple(
    COLOURS[name]
    for name in (
        *("vermilion", "blue", "green", "orange"),
        *("purple", "sky blue", "yellow", "black"),
    )
)
#: Light grounds for cells of numbers, by what the cells are.
FILLS = {"plain": "#ffffff", "window": "#ffd9a0", "filter": "#c9dcf5", "result": "#bfe3c0"}
#: Size of text in points: in a figure 6 inches wide, shown 375 pixels wide, letters of 11 pixels.
FONT = 13


def show_image(image: ArrayLike, ax: Axes, title: str | None = None) -> Axes:
    r"""Show a picture without ticks.

    Parameters
    ----------
    image : array_like
        ``(H, W)`` or ``(1, H, W)`` grey, ``(H, W, 3)`` or ``(3, H, W)`` colour. Integers count
        from 0 to 255, floats from 0 to 1; values outside are clipped. Pixels stay square, and
        no pixel is blended with its neighbours.
    ax : Axes
    title : str, optional

    Returns
    -------
    Axes
        The same `ax`.

    Raises
    ------
    ValueError
        The shape is none of those.
    """
    pixels = _pixels(image)
    ax.imshow(pixels, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    return _bare(ax, title)


def _pixels(image: ArrayLike) -> NDArray[Any]:
    """Any accepted picture -> ``(H, W)`` or ``(H, W, 3)`` in [0, 1]."""
    array = np.asarray(image)
    scale = 255 if np.issubdtype(array.dtype, np.integer) else 1
    if array.ndim == 3 and array.shape[2] != 3 and array.shape[0] in (1, 3):
        array = np.moveaxis(array, 0, -1)  # (C, H, W) -> (H, W, C)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim != 2 and array.shape[2:] != (3,):
        raise ValueError(
            f"image of shape {np.shape(image)} is no picture; give one image of 1 or 3 channels"
        )
    return np.clip(array / scale, 0, 1)


def _bare(ax: Axes, title: str | None) -> Axes:
    ax.set_xticks([])
    ax.set_yticks([])
    if title is not None:
        ax.set_title(title, fontsize=FONT)
    return ax


def cell_axes(ax: Axes, width: float, height: float) -> Axes:
    r"""Make room for `width` x `height` square cells, row 0 on top, without ticks or frame.

    Parameters
    ----------
    ax : Axes
    width, height : float
        Cells across and down.

    Returns
    -------
    Axes
        The same `ax`; one unit is one cell.
    """
    ax.set(xlim=(-0.05, width + 0.05), ylim=(height + 0.05, -0.05), aspect="equal")
    ax.axis("off")
    return ax


def cell_figure(width: float, height: float, scale: float) -> Axes:
    r"""Make a figure filled by `width` x `height` square cells, each `scale` inches wide.

    Parameters
    ----------
    width, height : float
        Cells across and down.
    scale : float
        Inches.

    Returns
    -------
    Axes
        As `cell_axes` leaves them, in a new figure of pyplot, which a notebook shows.
    """
    import matplotlib.pyplot as plt

    figure = plt.figure(figsize=(width * scale, height * scale), dpi=200)
    return cell_axes(figure.add_axes((0, 0, 1, 1)), width, height)


def show_cells(
    matrix: ArrayLike,
    ax: Axes,
    left: float = 0,
    top: float = 0,
    fill: Any = FILLS["plain"],
    texts: Any = None,
    fontsize: float = 9,
) -> Axes:
    r"""Draw a matrix as a table of square cells with its numbers in them.

    Parameters
    ----------
    matrix : array_like
        ``(rows, columns)`` of numbers.
    ax : Axes
        One unit is one cell, and y points down, as `cell_axes` makes them.
    left, top : float
        Where the upper left corner of the table lies.
    fill : colour or array of colours
        The ground of the cells; an array is broadcast to the matrix. Numbers are black on
        light grounds and white on dark ones.
    texts : nested sequence of str, optional
        What stands in the cells instead of the numbers.
    fontsize : float
        In points.

    Returns
    -------
    Axes
        The same `ax`.

    Raises
    ------
    ValueError
        If `matrix` does not have two axes.
    """
    values = _matrix(matrix)
    fills: Any = np.broadcast_to(np.asarray(fill, object), values.shape)
    for (i, j), value in np.ndenumerate(values):
        x, y = left + j, top + i
        ax.add_patch(
            Rectangle((x, y), 1, 1, facecolor=fills[i, j], edgecolor="0.45", linewidth=0.8)
        )
        text = f"{value:g}" if texts is None else texts[i][j]
        ink = "black" if _is_light(*to_rgb(fills[i, j])) else "white"
        ax.text(
            x + 0.5,
            y + 0.5,
            text.replace("-", "\N{MINUS SIGN}"),
            ha="center",
            va="center",
            fontsize=fontsize,
            color=ink,
        )
    return ax


def show_signed(
    matrix: ArrayLike, ax: Axes, fmt: str | None = None, title: str | None = None
) -> Axes:
    r"""Show a matrix with red above zero, blue below, white at zero, in one symmetric scale.

    Parameters
    ----------
    matrix : array_like
        ``(rows, columns)`` of numbers.
    ax : Axes
    fmt : str, optional
        If given, the numbers are written into the cells in this form.
    title : str, optional

    Returns
    -------
    Axes
        The same `ax`.
    """
    values = _matrix(matrix)
    limit = np.abs(values).max() or 1
    ax.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    if fmt is not None:
        _write(ax, values, fmt)
    return _bare(ax, title)


def _matrix(matrix: ArrayLike) -> NDArray[Any]:
    values = np.asarray(matrix)
    if values.ndim != 2 or values.size == 0:
        raise ValueError(f"matrix of shape {values.shape} has no rows and columns; give two axes")
    return values


def _write(ax: Axes, values: NDArray[Any], fmt: str) -> None:
    """Numbers into the cells of the last image: black on light cells, white on dark ones."""
    shown = ax.images[-1]
    red, green, blue, _ = np.moveaxis(shown.to_rgba(np.asarray(shown.get_array())), -1, 0)
    light = _is_light(red, green, blue)
    for (row, column), value in np.ndenumerate(values):
        ax.text(
            column,
            row,
            fmt.format(value),
            ha="center",
            va="center",
            fontsize=FONT,
            color="black" if light[row, column] else "white",
        )


def _is_light(red: Any, green: Any, blue: Any) -> Any:
    """Whether black reads better than white on these colours, by their relative luminance."""
    return 0.2126 * red**2.2 + 0.7152 * green**2.2 + 0.0722 * blue**2.2 > 0.18


def _frame(x: float, y: float, width: float, height: float, colour: str) -> Rectangle:
    return Rectangle((x, y), width, height, fill=False, edgecolor=colour, linewidth=3)


def gallery(
    images: Sequence[ArrayLike],
    titles: Sequence[str] | None = None,
    columns: int = 4,
    width: float = 6.0,
) -> tuple[Figure, NDArray[Any]]:
    r"""Show pictures in a grid.

    Parameters
    ----------
    images : sequence of array_like
        Each as for :func:`show_image`.
    titles : sequence of str, optional
        One for each image.
    columns : int
        Pictures in a row.
    width : float
        Width of the figure in inches; the height follows from the first picture.

    Returns
    -------
    figure : Figure
        Made without pyplot: show it by leaving it as the last value of a cell.
    axes : ndarray of Axes
        ``(rows, columns)``; those without a picture are switched off.

    Raises
    ------
    ValueError
        There is no image, or titles are not as many as images.
    """
    if len(images) == 0 or (titles is not None and len(titles) != len(images)):
        raise ValueError(
            f"images={len(images)} with titles={len(titles or ())} make no gallery; "
            "give at least one image and as many titles, or none"
        )
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height, across = _pixels(images[0]).shape[:2]
    cell = width / columns
    figure = Figure(
        figsize=(width, rows * (cell * height / across + (0.35 if titles else 0.05))),
        layout="constrained",
        facecolor="white",
    )
    axes = figure.subplots(rows, columns, squeeze=False)
    for ax in axes.flat[len(images) :]:
        ax.set_axis_off()
    for k, image in enumerate(images):
        show_image(image, axes.flat[k], titles[k] if titles else None)
    return figure, axes


def show_boxes(boxes: ArrayLike, ax: Axes, names: Sequence[str] = ()) -> Axes:
    r"""Draw boxes over a picture that `ax` already shows.

    Parameters
    ----------
    boxes : array_like
        ``(n, 4)``: ``x0, y0, x1, y1``, where pixel ``(row, column)`` covers ``column ... column +
        1`` by ``row ... row + 1``.
    ax : Axes
    names : sequence of str
        Written into the upper left corners, if given.

    Returns
    -------
    Axes
        The same `ax`.
    """
    for k, (x0, y0, x1, y1) in enumerate(np.asarray(boxes, dtype=float).reshape(-1, 4)):
        colour = CYCLE[k % len(CYCLE)]
        ax.add_patch(_frame(x0 - 0.5, y0 - 0.5, x1 - x0, y1 - y0, colour))
        if names:
            label = {"facecolor": "white", "edgecolor": colour, "pad": 1.5}
            ax.text(x0, y0, names[k], fontsize=FONT - 2, va="top", color="black", bbox=label)
    return ax


def show_mask(mask: ArrayLike, ax: Axes, alpha: float = 0.6) -> Axes:
    r"""Lay a label map over a picture: 0 is clear, every other value has a colour.

    Parameters
    ----------
    mask : array_like
        ``(H, W)`` of integers or booleans.
    ax : Axes
    alpha : float
        1 hides the picture.

    Returns
    -------
    Axes
        The same `ax`.
    """
    labels = _matrix(mask).astype(int)
    palette = np.array([(*to_rgb(colour), alpha) for colour in CYCLE])
    layer = palette[(labels - 1) % len(CYCLE)]  # (H, W, 4)
    layer[labels == 0] = 0
    ax.imshow(layer, interpolation="nearest")
    return _bare(ax, None)


def show_keypoints(points: ArrayLike, ax: Axes, visible: ArrayLike | None = None) -> Axes:
    r"""Mark keypoints over a picture: filled where visible, hollow where hidden.

    Parameters
    ----------
    points : array_like
        ``(n, K, 2)`` of ``(x, y)`` in pixels, with the convention of :func:`show_boxes`.
    ax : Axes
    visible : array_like, optional
        ``(n, K)`` of booleans; by default all are visible.

    Returns
    -------
    Axes
        The same `ax`.
    """
    marks = np.asarray(points, dtype=float)
    shown = np.ones(marks.shape[:2], bool) if visible is None else np.asarray(visible, dtype=bool)
    for k, (where, seen) in enumerate(zip(marks, shown, strict=True)):
        colour = CYCLE[k % len(CYCLE)]
        face = [colour if flag else "none" for flag in seen]
        x, y = where.T - 0.5
        for edge, line in (("white", 3.0), (colour, 1.5)):
            ax.scatter(x, y, s=60, c=face, edgecolors=edge, linewidths=line)
    return ax
