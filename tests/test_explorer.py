"""The shared part of the interactive figures: what ends up in the HTML, and that it is escaped."""

import re
from html.parser import HTMLParser

import pytest

from coursepkg.explorer import Explorer, number, static, table

NASTY = "</div><script>alert('1')</script>\" onload=\"x & y"


class Elements(HTMLParser):
    """All start tags with their attributes."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))


def explorer(**changes):
    given = {
        "package": "coursepkg.convolution",
        "name": "convolution2d",
        "title": "A figure",
        "start": "at zero",
        "settings": {},
        "fallback": "<p>static</p>",
    }
    return Explorer(**given | changes)


def test_text_in_attributes_is_escaped_and_comes_back_whole():
    html = explorer(title=NASTY, settings={NASTY: [NASTY]})._repr_html_()
    elements = Elements(html).found
    assert [tag for tag, _ in elements] == ["div", "p", "style", "script"]
    assert elements[0][1]["aria-label"] == NASTY
    assert set(elements[0][1]) == {
        "class",
        "role",
        "aria-label",
        "data-explorer",
        "data-settings",
        "data-lm-suppress-shortcuts",
    }


def test_settings_that_are_no_numbers_are_refused():
    with pytest.raises(ValueError, match="not JSON compliant"):
        explorer(settings={"x": float("nan")})._repr_html_()


def test_the_text_of_an_output_repeats():
    assert repr(explorer()) == repr(explorer()) == "<A figure: at zero>"
    assert explorer()._repr_html_() == explorer()._repr_html_()


def test_shared_and_own_assets_are_inlined_in_this_order():
    html = explorer()._repr_html_()
    assert 0 < html.index("--ce-accent:") < html.index(".ce-window {")
    assert 0 < html.index("function define(") < html.index('define("convolution2d"')
    assert html.count("</script") == html.count("</style") == 1


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (7, "7"),
        (-14, "−14"),
        (2.5, "2.5"),
        (-0.125, "−0.13"),
        (0.004, "0"),
        (-0.004, "0"),
        (10, "10"),
        (1 / 9, "0.11"),
        (9999, "9999"),
        (float("inf"), "∞"),
        (-float("inf"), "−∞"),
    ],
)
def test_numbers_are_short_and_have_a_true_minus(value, text):
    assert number(value) == text


def test_the_first_state_is_a_row_of_tables():
    html = static([table([[1]], "one"), table([[2]], "two")])
    assert Elements(html).found[0] == ("div", {"class": "ce-static"})
    assert re.findall(r"<caption>(.*?)</caption>", html) == ["one", "two"]


def test_a_table_of_numbers_and_words_can_have_a_head():
    html = table([["a < b", -1]], caption="c", head=["d & e", "f"])
    assert re.findall(r'<th scope="col">(.*?)</th>', html) == ["d &amp; e", "f"]
    assert re.findall(r"<td>(.*?)</td>", html) == ["a &lt; b", "−1"]
    assert "<thead>" not in table([[1]], "c")


def test_a_table_has_a_caption_and_a_cell_for_each_number():
    html = table([[1, 2.5], [-3, 0]], caption="a < b & c")
    assert re.findall(r"<td>(.*?)</td>", html) == ["1", "2.5", "−3", "0"]
    assert html.count("<tr>") == 2
    assert "<caption>a &lt; b &amp; c</caption>" in html
