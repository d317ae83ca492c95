"""Plots of a class: what is drawn is what was given, and the file is the same each time."""

import xml.etree.ElementTree as ElementTree

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
from matplotlib.figure import Figure

from coursepkg.grading.report.plots import show_distribution, show_shares, svg


@pytest.fixture
def ax():
    return Figure().subplots()


def heights(ax):
    return {
        round(bar.get_x() + bar.get_width() / 2, 6): bar.get_height()
        for bar in ax.patches
        if bar.get_height()
    }


def test_each_number_of_points_has_a_bar_as_high_as_the_learners(ax):
    assert show_distribution([0, 3, 3, 2, 3], 3, ax) is ax
    assert heights(ax) == {0: 1, 2: 1, 3: 3}


def test_halves_and_points_beyond_the_possible_are_counted(ax):
    show_distribution([2.5, 4, -1], 3, ax)
    assert sum(heights(ax).values()) == 3


def test_many_points_are_drawn_as_a_histogram_of_all_learners(ax):
    show_distribution(range(101), 100, ax)
    assert len(ax.patches) == 20
    assert sum(heights(ax).values()) == 101


def test_a_class_without_points_can_be_drawn(ax):
    show_distribution([], 0, ax)
    assert heights(ax) == {}


def test_shares_are_drawn_from_the_top_with_their_per_cents(ax):
    assert show_shares({"kernel": 1.0, "stride $x$": 0.25}, ax) is ax
    assert [text.get_text() for text in ax.texts] == ["100 %", "25 %"]
    assert [label.get_text() for label in ax.get_yticklabels()] == ["kernel", "stride $x$"]
    assert [bar.get_width() for bar in ax.patches] == [100, 100, 100, 25]
    assert ax.yaxis_inverted()


def test_a_drawing_is_the_same_each_time_and_tells_no_date():
    draw = lambda ax: show_distribution([1, 2], 3, ax)  # noqa: E731
    assert svg(draw) == svg(draw)
    assert "date" not in svg(draw).lower()
    assert mpl.__version__ not in svg(draw)


def test_a_drawing_is_well_formed_and_keeps_text_as_text():
    root = ElementTree.fromstring(svg(lambda ax: show_shares({"<b> & $x$": 0.5}, ax)))
    assert "<b> & $x$" in [
        element.text for element in root.iter("{http://www.w3.org/2000/svg}text")
    ]


def test_no_setting_is_left_changed_and_no_figure_open():
    before = dict(mpl.rcParams)
    svg(lambda ax: show_distribution([1], 1, ax))
    assert dict(mpl.rcParams) == before
    assert plt.get_fignums() == []
