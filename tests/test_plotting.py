"""The figure helpers: they draw what they claim, into the axes given, and change no setting."""

import subprocess
import sys

import matplotlib as mpl
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_hex, to_rgba
from matplotlib.figure import Figure

from coursepkg.plotting import (
    COLOURS,
    CYCLE,
    FONT,
    cell_axes,
    cell_figure,
    gallery,
    show_boxes,
    show_cells,
    show_image,
    show_keypoints,
    show_mask,
    show_signed,
)


@pytest.fixture
def ax():
    return Figure(figsize=(4, 4)).subplots()


def drawn(ax):
    """What the last image of the axes looks like: (H, W, 4) in [0, 1]."""
    image = ax.images[-1]
    return image.to_rgba(image.get_array(), bytes=False)


CALLS = {
    "show_image": lambda ax: show_image(np.zeros((4, 4)), ax, "title"),
    "cell_axes": lambda ax: cell_axes(ax, 3, 3),
    "show_cells": lambda ax: show_cells(np.eye(3), ax),
    "show_signed": lambda ax: show_signed(np.eye(3), ax, "{:.0f}"),
    "show_boxes": lambda ax: show_boxes([[0, 0, 2, 2]], ax, ["car"]),
    "show_mask": lambda ax: show_mask(np.eye(3, dtype=int), ax),
    "show_keypoints": lambda ax: show_keypoints(np.ones((1, 5, 2)), ax),
}


@pytest.mark.parametrize("name", CALLS)
def test_the_axes_come_back(name, ax):
    assert CALLS[name](ax) is ax


@pytest.mark.parametrize("name", CALLS)
def test_no_setting_is_changed(name, ax):
    before = dict(mpl.rcParams)
    CALLS[name](ax)
    gallery([np.zeros((2, 2))])
    assert dict(mpl.rcParams) == before


def test_import_changes_no_setting_and_brings_no_pyplot():
    code = (
        "import sys, matplotlib as m; before = m.rcParams.copy(); import coursepkg.plotting;"
        "assert m.rcParams.copy() == before; assert 'matplotlib.pyplot' not in sys.modules;"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("shape", [(5, 7), (1, 5, 7), (5, 7, 3), (3, 5, 7), (5, 7, 1)])
def test_pictures_of_every_layout(shape, ax):
    picture = np.random.default_rng(0).random(shape)
    show_image(picture, ax)
    channels = picture.reshape(5, 7, -1) if shape[0] == 5 else np.moveaxis(picture, 0, -1)
    if len(shape) == 2:
        channels = picture[..., None]
    expected = np.broadcast_to(channels, (5, 7, 3))
    np.testing.assert_allclose(drawn(ax)[..., :3], expected, atol=1 / 255)


def test_integers_count_to_255_and_values_outside_are_clipped(ax):
    show_image(np.array([[0, 51, 255, 300]]), ax)
    np.testing.assert_allclose(drawn(ax)[0, :, 0], [0, 0.2, 1, 1], atol=1 / 255)
    show_image(np.array([[-1.0, 0.2, 1.0, 7.0]]), ax)
    np.testing.assert_allclose(drawn(ax)[0, :, 0], [0, 0.2, 1, 1], atol=1 / 255)


def test_a_flat_picture_keeps_its_brightness(ax):
    show_image(np.full((3, 3), 0.25), ax)
    np.testing.assert_allclose(drawn(ax)[..., 0], 0.25, atol=1 / 255)


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4, 4), (5, 5, 2), (4, 5, 5)])
def test_no_picture(shape, ax):
    with pytest.raises(ValueError, match=r"image of shape .* give one image"):
        show_image(np.zeros(shape), ax)


def test_a_picture_has_a_title_and_no_ticks(ax):
    show_image(np.zeros((2, 2)), ax, "Input")
    assert ax.get_title() == "Input"
    assert len(ax.get_xticks()) == len(ax.get_yticks()) == 0


def test_numbers_stand_in_their_cells(ax):
    matrix = np.array([[1.5, -2, 3], [4, 5, 60]])
    show_cells(matrix, ax, left=2, top=1)
    for text, cell, ((i, j), value) in zip(
        ax.texts, ax.patches, np.ndenumerate(matrix), strict=True
    ):
        assert text.get_text() == f"{value:g}".replace("-", "\N{MINUS SIGN}")
        assert text.get_position() == (2.5 + j, 1.5 + i)
        assert cell.get_bbox().bounds == (2 + j, 1 + i, 1, 1)


def test_cells_take_other_texts_grounds_and_sizes(ax):
    fill = np.array(["#ffffff", "#000000"], object)
    show_cells(np.zeros((2, 2)), ax, fill=fill, texts=[["a", "b"], ["c", "d"]], fontsize=7)
    assert [text.get_text() for text in ax.texts] == list("abcd")
    assert [to_hex(cell.get_facecolor()) for cell in ax.patches] == ["#ffffff", "#000000"] * 2
    assert [text.get_color() for text in ax.texts] == ["black", "white"] * 2
    assert {text.get_fontsize() for text in ax.texts} == {7}


def test_cell_figure_has_the_size_of_its_cells_and_no_margin():
    ax = cell_figure(6, 4, 0.5)
    assert tuple(ax.figure.get_size_inches()) == (3.0, 2.0)
    assert ax.get_position(original=True).bounds == (0, 0, 1, 1)
    plt.close(ax.figure)


def test_cell_axes_hold_all_cells_with_row_0_on_top(ax):
    cell_axes(ax, 4, 3)
    (left, right), (bottom, top) = ax.get_xlim(), ax.get_ylim()
    assert left < 0 < 4 < right
    assert top < 0 < 3 < bottom
    assert ax.get_aspect() == 1
    assert not ax.axison


def luminance(colour):
    rgb = np.array(to_rgba(colour)[:3])
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    return linear @ (0.2126, 0.7152, 0.0722)


def test_numbers_contrast_with_their_cells(ax):
    """WCAG 2.2, success criterion 1.4.3: at least 4.5 to 1."""
    matrix = np.arange(-12, 13).reshape(5, 5)
    show_signed(matrix, ax, "{}")
    cells = drawn(ax)
    for text in ax.texts:
        column, row = text.get_position()
        light, dark = sorted((luminance(text.get_color()), luminance(cells[row, column])))[::-1]
        assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_signed_maps_are_white_at_zero_and_symmetric(ax):
    show_signed(np.array([[-2.0, 0.0, 1.0, 2.0]]), ax)
    low, zero, half, high = drawn(ax)[0, :, :3]
    assert zero.min() > 0.95
    assert low[2] > low[0]  # blue below zero
    assert high[0] > high[2]  # red above
    assert half[0] > half[2]
    assert ax.images[0].get_clim() == (-2, 2)


def test_a_map_of_zeros_is_white(ax):
    show_signed(np.zeros((2, 2)), ax)
    assert drawn(ax)[..., :3].min() > 0.95


@pytest.mark.parametrize("show", [show_cells, show_signed, show_mask])
@pytest.mark.parametrize("shape", [(3,), (0, 3), (2, 2, 2)])
def test_no_matrix(show, shape, ax):
    with pytest.raises(ValueError, match=r"matrix of shape .* give two axes"):
        show(np.zeros(shape), ax)


@pytest.mark.parametrize(("n", "columns", "grid"), [(1, 4, (1, 1)), (5, 3, (2, 3)), (4, 4, (1, 4))])
def test_gallery(n, columns, grid):
    pictures = [np.full((4, 6), k / n) for k in range(n)]
    figure, axes = gallery(pictures, [str(k) for k in range(n)], columns)
    assert axes.shape == grid
    assert [ax.get_title() for ax in axes.flat[:n]] == [str(k) for k in range(n)]
    assert all(not ax.axison for ax in axes.flat[n:])
    for k, ax in enumerate(axes.flat[:n]):
        np.testing.assert_allclose(drawn(ax)[..., 0], k / n, atol=1 / 255)
    assert to_hex(figure.get_facecolor()) == "#ffffff"


def test_gallery_refuses_what_does_not_match():
    with pytest.raises(ValueError, match="images=0"):
        gallery([])
    with pytest.raises(ValueError, match="images=1 with titles=2"):
        gallery([np.zeros((2, 2))], ["a", "b"])


def test_boxes_enclose_their_pixels(ax):
    show_image(np.zeros((8, 8)), ax)
    show_boxes([[1, 2, 4, 7], [0, 0, 1, 1]], ax, ["cup", "car"])
    assert [patch.get_bbox().extents.tolist() for patch in ax.patches] == [
        [0.5, 1.5, 3.5, 6.5],
        [-0.5, -0.5, 0.5, 0.5],
    ]
    assert [text.get_text() for text in ax.texts] == ["cup", "car"]
    assert show_boxes(np.empty((0, 4)), ax) is ax


def test_masks_are_clear_at_zero_and_coloured_elsewhere(ax):
    show_mask(np.array([[0, 1], [2, 9]]), ax, alpha=0.5)
    layer = drawn(ax)
    assert layer[0, 0, 3] == 0
    np.testing.assert_allclose(layer[0, 1], to_rgba(CYCLE[0], 0.5))
    np.testing.assert_allclose(layer[1, 0], to_rgba(CYCLE[1], 0.5))
    np.testing.assert_allclose(layer[1, 1], to_rgba(CYCLE[0], 0.5))  # the ninth begins again
    show_mask(np.array([[True, False]]), ax)
    assert drawn(ax)[0, :, 3].tolist() == [0.6, 0]


def test_hidden_keypoints_are_hollow(ax):
    show_keypoints([[[1, 2], [3, 4]]], ax, [[True, False]])
    marks = ax.collections[-1]
    np.testing.assert_array_equal(marks.get_offsets(), [[0.5, 1.5], [2.5, 3.5]])
    assert marks.get_facecolor()[:, 3].tolist() == [1, 0]


def test_the_palette_is_that_of_okabe_and_ito():
    """Okabe and Ito (2008), Color Universal Design, RGB 0 to 255."""
    published = {
        "black": (0, 0, 0),
        "orange": (230, 159, 0),
        "sky blue": (86, 180, 233),
        "green": (0, 158, 115),
        "yellow": (240, 228, 66),
        "blue": (0, 114, 178),
        "vermilion": (213, 94, 0),
        "purple": (204, 121, 167),
    }
    rgb = {name: tuple(round(255 * c) for c in to_rgba(c)[:3]) for name, c in COLOURS.items()}
    assert rgb == published
    assert sorted(CYCLE) == sorted(COLOURS.values())


def test_letters_are_legible_on_a_telephone():
    """A figure 6 inches wide, shown 375 pixels wide, has letters of 10 pixels or more."""
    figure, _ = gallery([np.zeros((4, 4))], ["title"])
    assert FONT / 72 * 375 / figure.get_figwidth() >= 10
