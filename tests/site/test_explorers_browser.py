"""The explorers in a real browser: their numbers, their controls, their looks, their manners."""

import itertools
import re

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

from coursepkg.convolution.arithmetic import output_size
from coursepkg.convolution.explorers import CAT_EYE, convolution2d
from coursepkg.convolution.filters import FILTERS
from coursepkg.convolution.reference import conv2d
from coursepkg.explorer import number
from coursepkg.testing import assert_close

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Explorers</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="margin: 1rem"><main><h1>Explorers</h1>{}</main></body></html>"""
IMAGE = np.array(CAT_EYE)
SIDE = 30  # of a cell, in the units of the drawing
KERNEL = np.array([[-1, 0, 2], [3, 1, 0], [0, -2, 1]])
LARGEST = {"input": np.full((4, 12, 12), -999), "kernel": np.eye(5), "padding": 3, "bias": -1.25}


class Figure:
    """What a reader sees and does on one explorer."""

    def __init__(self, root):
        self.root = root
        self.canvas = root.get_by_role("application")

    def control(self, name):
        roles = ("combobox", "spinbutton", "checkbox")
        first, *rest = (self.root.get_by_role(r, name=name, exact=True) for r in roles)
        return first.or_(rest[0]).or_(rest[1])

    def button(self, name):
        return self.root.get_by_role("button", name=name, exact=True)

    def press(self, *keys):
        for key in keys:
            self.canvas.press(key)

    @property
    def sentence(self):
        return self.root.locator("[aria-live]").inner_text()

    @property
    def place(self):
        return tuple(map(int, re.match(r"Row (\d+), column (\d+)", self.sentence).groups()))

    def numbers(self, part):
        """Read the cells of `.ce-<part>` in order of reading; None where one is empty."""
        texts = self.root.locator(f".ce-{part} .ce-cell text").all_text_contents()
        return [float(text.replace("−", "-")) if text else None for text in texts]

    @property
    def outlined(self):
        """Where the outline of the output stands, as (row, column), counted from 1."""
        box = self.root.locator(".ce-output .ce-tap")
        return tuple(int(box.get_attribute(axis)) // SIDE + 1 for axis in "yx")

    def drag(self, start, end):
        """Drag from one cell (row, column) of the padded input to another."""
        mouse = self.root.page.mouse
        mouse.move(*self.centre(start))
        mouse.down()
        mouse.move(*self.centre(end), steps=5)
        mouse.up()

    def centre(self, cell):
        columns = int(self.canvas.get_attribute("width")) / SIDE
        box = self.canvas.bounding_box()
        side = box["width"] / columns
        return box["x"] + (cell[1] + 0.55) * side, box["y"] + (cell[0] + 0.55) * side


@pytest.fixture
def show(open_page, tmp_path):
    """Put explorers on one page and open it from the disk: `show(*explorers, **context)`."""

    def show(*explorers, **context):
        path = tmp_path / "explorers.html"
        path.write_text(PAGE.format("\n".join(e._repr_html_() for e in explorers)), "utf-8")
        page = open_page(path.as_uri(), **context)
        figures = [Figure(root) for root in page.locator(".course-explorer").all()]
        assert len(figures) == len(explorers)
        return figures[0] if len(figures) == 1 else figures

    return show


def rounded(values):
    return [float(number(value).replace("−", "-")) for value in np.ravel(values)]


# ---- numbers

SHAPES = [((1, 6, 6), (1, 1)), ((1, 7, 8), (2, 3)), ((3, 7, 7), (3, 3)), ((2, 9, 6), (5, 2))]
SETTINGS = list(itertools.product((1, 2, 3), (0, 1, 2), (1, 2, 3)))  # stride, padding, dilation


def spans(kernel, padding, dilation, image):
    return all(dilation * (k - 1) < n + 2 * padding for k, n in zip(kernel, image, strict=True))


@pytest.mark.parametrize("dtype", [np.int64, np.float64])
@pytest.mark.parametrize(("image", "kernel"), SHAPES, ids=str)
def test_the_script_computes_what_conv2d_and_pytorch_compute(show, image, kernel, dtype):
    rng = np.random.default_rng(0)
    x, w = (
        rng.integers(-9, 10, shape) if dtype == np.int64 else rng.normal(size=shape)
        for shape in (image, (image[0], *kernel))
    )
    bias = np.array([3], dtype)
    table = [s for s in SETTINGS if spans(kernel, s[1], s[2], image[1:])]
    assert len(table) >= 18
    results = show(convolution2d()).root.page.evaluate(
        """([x, w, bias, table]) => table.map(([stride, padding, dilation]) =>
             CourseExplorer.convolution2d.conv2d(x, w, bias, { stride, padding, dilation }))""",
        [x.tolist(), w.tolist(), 3, table],
    )
    for result, arguments in zip(results, table, strict=True):
        ours = conv2d(x[None], w[None], bias, *arguments)[0, 0]
        theirs = torch.nn.functional.conv2d(
            torch.from_numpy(x[None]), torch.from_numpy(w[None]), torch.from_numpy(bias), *arguments
        )[0, 0].numpy()
        assert_close(np.array(result, dtype), ours, f"the script at {arguments}")
        assert_close(np.array(result, dtype), theirs, f"the script at {arguments}")


def test_the_size_shown_is_output_size_over_the_whole_table(show):
    figure = show(convolution2d(np.arange(63).reshape(7, 9), KERNEL))
    table = list(itertools.product(range(1, 6), range(1, 5), range(4), range(1, 4)))
    texts = figure.root.evaluate(
        """(root, table) => table.map((values) => {
             const selects = [...root.querySelectorAll("select")].slice(1);
             values.forEach((value, i) => {
               selects[i].value = i ? value : `${value} × ${value}`;
               selects[i].dispatchEvent(new Event("change"));
             });
             return [".ce-formula", ".ce-sentence"].map((p) => root.querySelector(p).innerText);
           })""",
        table,
    )
    misfits = 0
    for (k, s, p, d), (formula, sentence) in zip(table, texts, strict=True):
        shown = re.findall(r"^(height|width) = .* = (−?\d+)$", formula, re.M)
        try:
            expected = [output_size(7, k, s, p, d), output_size(9, k, s, p, d)]
        except ValueError:
            misfits += 1
            assert "does not fit" in sentence
            assert any(value == "0" or value.startswith("−") for _, value in shown)
            continue
        assert shown == [("height", str(expected[0])), ("width", str(expected[1]))]
        room = 7 + 2 * p - d * (k - 1) - 1
        assert f"height = ⌊(7 + 2·{p} − {d}·({k} − 1) − 1) / {s}⌋ + 1 = ⌊{room} / {s}⌋" in formula
        assert sentence.startswith("Row ")
    assert 0 < misfits < len(table) / 2


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (3, 3, 2)])
def test_everything_drawn_agrees_with_conv2d(show, stride, padding, dilation):
    figure = show(convolution2d(None, KERNEL, 2, stride, padding, dilation))
    padded = np.pad(IMAGE, ((0, 0), (padding, padding), (padding, padding)))
    weight = np.broadcast_to(KERNEL, (1, 3, 3, 3))
    expected = conv2d(IMAGE[None], weight, np.array([2]), stride, padding, dilation)[0, 0]
    rows, columns = expected.shape
    figure.button("Last").click()
    figure.button("Show all").click()
    assert figure.numbers("output") == expected.ravel().tolist()
    assert figure.numbers("input") == padded[0].ravel().tolist()

    corner = [(n - 1) * stride for n in expected.shape]
    taps = [slice(at, at + 2 * dilation + 1, dilation) for at in corner]
    products = padded[:, *taps] * KERNEL
    sums = [str(number(total)) for total in products.sum(axis=(1, 2))]
    assert figure.numbers("products") == products[0].ravel().tolist()
    ledger = figure.root.locator(".ce-ledger span:nth-child(even)").all_text_contents()
    assert ledger == [*sums, "2", number(expected[-1, -1])]
    assert figure.sentence.startswith(f"Row {rows}, column {columns}, channel 1: (−1)·")
    assert figure.sentence.endswith(f"+ bias 2 = {number(expected[-1, -1])}")


def test_the_sentence_spells_out_one_sum(show):
    figure = show(convolution2d([[3, 5], [-1, 2]], [[-1, 0], [4, 1.5]]))
    assert figure.sentence == "Row 1, column 1: (−1)·3 + 0·5 + 4·(−1) + 1.5·2 = −4"


def test_scripts_and_python_write_numbers_alike(show):
    values = [0, -0.0, 7, -14, 2.5, -0.125, 0.004, -0.004, 1 / 9, -1 / 3, 9999, 0.1 + 0.2]
    shown = show(convolution2d([values], [[1]])).root.locator(".ce-input text")
    assert shown.all_text_contents() == [number(value) for value in values]


# ---- keyboard, pointer, buttons


def test_arrow_keys_move_by_one_stride_and_stop_at_the_border(show):
    figure = show(convolution2d(stride=2))  # 3 × 3 places
    figure.press("ArrowRight")
    assert figure.place == figure.outlined == (1, 2)
    transform = figure.root.locator(".ce-window").get_attribute("style")
    assert f"translate({2 * SIDE}px, 0px)" in transform
    figure.press("ArrowDown", "ArrowDown", "ArrowDown", "ArrowLeft", "ArrowLeft")
    assert figure.place == figure.outlined == (3, 1)
    figure.press("ArrowUp")
    assert figure.place == (2, 1)
    figure.press("End")
    assert figure.place == (3, 3)
    figure.press("Home")
    assert figure.place == (1, 1)


def test_keys_do_not_reach_the_page_around(show):
    figure = show(convolution2d())
    figure.root.page.evaluate(
        "() => { document.onkeydown = (event) => { window.heard = event.key } }"
    )
    figure.press("ArrowRight")
    figure.button("Next").press("ArrowRight")
    assert figure.root.page.evaluate("window.heard") is None
    assert figure.place == (1, 2)


def test_the_output_grows_as_one_steps(show):
    figure = show(convolution2d())
    first = conv2d(IMAGE[None], np.broadcast_to(FILTERS["sobel_x"], (1, 3, 3, 3)).astype(int))
    expected = first.ravel().tolist()
    assert figure.numbers("output") == [expected[0]] + [None] * 24
    figure.press("ArrowRight", "ArrowDown")
    shown = {0: expected[0], 1: expected[1], 6: expected[6]}
    assert figure.numbers("output") == [shown.get(i) for i in range(25)]
    figure.button("Clear").click()
    assert figure.numbers("output") == [expected[0]] + [None] * 24
    figure.button("Show all").click()
    assert figure.numbers("output") == expected
    figure.control("stride").select_option("2")  # another grid: nothing is known of it
    assert figure.numbers("output").count(None) == 8


def test_buttons_step_through_all_places(show):
    figure = show(convolution2d(stride=4))  # 2 × 2 places
    seen = [figure.place]
    for _ in range(4):
        figure.button("Next").click()
        seen.append(figure.place)
    assert seen == [(1, 1), (1, 2), (2, 1), (2, 2), (2, 2)]
    figure.button("Previous").click()
    assert figure.place == (2, 1)
    figure.button("First").click()
    assert figure.place == (1, 1)
    figure.button("Last").click()
    assert figure.place == (2, 2)


@pytest.mark.parametrize("width", [1000, 375])
def test_the_window_follows_the_mouse(show, width):
    figure = show(convolution2d(padding=1), viewport={"width": width, "height": 800})
    figure.drag((1, 1), (3, 4))  # gripped in its middle cell
    assert figure.place == figure.outlined == (3, 4)
    figure.drag((2, 3), (4, 2))  # gripped in its upper left cell
    assert figure.place == (5, 3)
    figure.drag((4, 2), (20, 20))  # beyond the border
    assert figure.place == (7, 7)
    figure.root.page.mouse.click(*figure.centre((4, 2)))  # a click brings its middle there
    assert figure.place == (4, 2)
    figure.root.page.mouse.move(*figure.centre((1, 1)))  # no button is down
    assert figure.place == (4, 2)


def test_the_window_follows_a_finger_and_does_not_scroll_the_page(show):
    figure = show(
        convolution2d(padding=1),
        has_touch=True,
        is_mobile=True,
        viewport={"width": 375, "height": 500},
    )
    figure.canvas.scroll_into_view_if_needed()
    page = figure.root.page
    session = page.context.new_cdp_session(page)
    before = page.evaluate("scrollY")
    path = [figure.centre((row, 1)) for row in (1, 2, 3, 4)]
    for kind, points in [("touchStart", path[:1]), *(("touchMove", [p]) for p in path[1:])]:
        touches = [{"x": x, "y": y} for x, y in points]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": touches})
    session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
    assert figure.place == (4, 1)
    assert page.evaluate("scrollY") == before


def test_play_runs_to_the_end_and_can_be_paused(show):
    figure = show(convolution2d(stride=4))
    clock = figure.root.page.clock
    clock.install()
    live = figure.root.locator("[aria-live]")
    expect(live).to_have_attribute("aria-live", "polite")
    figure.button("Play").click()
    expect(live).to_have_attribute("aria-live", "off")  # no flood of announcements
    clock.run_for(750)
    assert figure.place == (1, 2)
    figure.button("Pause").click()
    clock.run_for(3000)
    assert figure.place == (1, 2)
    figure.press(" ")  # the space bar resumes
    clock.run_for(3000)
    assert figure.place == (2, 2)
    assert None not in figure.numbers("output")
    expect(figure.button("Play")).to_be_visible()
    expect(live).to_have_attribute("aria-live", "polite")
    figure.press(" ")  # and starts over at the end
    assert figure.place == (1, 1)
    assert figure.numbers("output").count(None) == 3
    figure.drag((1, 1), (5, 1))  # taking the window stops it
    clock.run_for(3000)
    assert figure.place == (2, 1)


@pytest.mark.parametrize(("preference", "duration"), [("no-preference", "0.15s"), ("reduce", "0s")])
def test_the_window_glides_only_where_motion_is_welcome(show, preference, duration):
    figure = show(convolution2d(), reduced_motion=preference)
    assert (
        figure.root.locator(".ce-window").evaluate(
            "(node) => getComputedStyle(node).transitionDuration"
        )
        == duration
    )


# ---- settings


def test_kernels_by_name_and_size(show):
    figure = show(convolution2d(IMAGE[0], "identity"))
    for name, kernel in FILTERS.items():
        if kernel.shape == (3, 3):
            figure.control("kernel").select_option(name)
            figure.button("Show all").click()
            expected = conv2d(IMAGE[:1][None].astype(float), kernel[None, None])
            assert figure.numbers("output") == rounded(expected)
    figure.control("kernel").select_option("box")
    figure.control("size").select_option("5 × 5")
    assert figure.control("kernel").input_value() == "box"
    assert figure.control("Kernel row 5, column 5").input_value() == "0.04"
    figure.control("kernel").select_option("sharpen")
    assert figure.control("size").input_value() == "3 × 3"
    figure.control("size").select_option("4 × 4")  # no name for this: zeros around it
    assert figure.control("kernel").input_value() == "custom"
    inputs = figure.root.get_by_role("group", name="Kernel").get_by_role("spinbutton").all()
    values = [float(node.input_value()) for node in inputs]
    assert values == np.pad(FILTERS["sharpen"], (0, 1)).ravel().tolist()
    figure.control("size").select_option("1 × 1")
    assert figure.control("Kernel row 1, column 1").input_value() == "5"


def test_editing_a_kernel_value_changes_one_channel(show):
    figure = show(convolution2d(kernel=KERNEL))
    figure.control("kernel").select_option("sharpen")
    weight = np.array([FILTERS["sharpen"]] * 3)
    figure.button("Show all").click()
    figure.control("channel").select_option("2")
    figure.control("Kernel row 2, column 3").fill("-2.5")
    weight[1, 1, 2] = -2.5
    expected = conv2d(IMAGE[None].astype(float), weight[None])
    assert figure.numbers("output") == rounded(expected)
    assert figure.control("kernel").input_value() == "custom"
    figure.control("channel").select_option("1")
    assert figure.control("Kernel row 2, column 3").input_value() == "-1"
    figure.control("kernel").select_option("sharpen")  # the named kernel itself is unharmed
    assert figure.numbers("output") == rounded(
        conv2d(IMAGE[None].astype(float), np.array([[FILTERS["sharpen"]] * 3]))
    )


def test_a_field_that_is_no_number_changes_nothing(show):
    figure = show(convolution2d(kernel=KERNEL, bias=4))
    for name, value in [("Kernel row 1, column 1", "-1"), ("bias", "4")]:
        field, before = figure.control(name), figure.sentence
        field.fill("")
        expect(field).to_have_attribute("aria-invalid", "true")
        assert figure.sentence == before
        field.blur()
        expect(field).to_have_value(value)
        expect(field).not_to_have_attribute("aria-invalid", "true")


def test_typing_is_not_interrupted(show):
    figure = show(convolution2d(kernel=KERNEL))
    field = figure.control("Kernel row 1, column 1")
    field.press("ControlOrMeta+a")
    field.press_sequentially("-1.254")
    expect(field).to_have_value("-1.254")
    field.blur()
    expect(field).to_have_value("-1.254")
    assert figure.sentence.startswith("Row 1, column 1, channel 1: (−1.25)·5 + 0·5")


def test_channels_one_by_one_and_their_sum(show):
    figure = show(convolution2d(kernel=KERNEL, bias=1))
    figure.button("Show all").click()
    figure.control("channel").select_option("3")
    assert figure.numbers("input") == IMAGE[2].ravel().tolist()
    figure.control("sum over channels").uncheck()
    alone = conv2d(IMAGE[2][None, None], KERNEL[None, None], np.array([1]))
    assert figure.numbers("output") == alone.ravel().tolist()
    assert len(figure.root.locator(".ce-ledger span").all()) == 2 * 3
    figure.control("sum over channels").check()
    together = conv2d(IMAGE[None], np.array([[KERNEL] * 3]), np.array([1]))
    assert figure.numbers("output") == together.ravel().tolist()
    figure.control("bias").fill("-3")
    assert figure.numbers("output") == (together - 4).ravel().tolist()


def test_one_channel_needs_no_choice_of_channels(show):
    figure = show(convolution2d(IMAGE[0]))
    assert figure.control("channel").count() == figure.control("sum over channels").count() == 0
    assert "channel" not in figure.root.inner_text()


def test_dilation_outlines_only_the_cells_touched(show):
    figure = show(convolution2d(kernel=KERNEL))
    figure.control("dilation").select_option("3")
    taps = figure.root.locator(".ce-window .ce-tap").all()
    corners = [tuple(int(tap.get_attribute(axis)) // SIDE for axis in "yx") for tap in taps]
    assert corners == list(itertools.product((0, 3, 6), repeat=2))
    assert figure.root.locator(".ce-window .ce-reach").get_attribute("width") == str(7 * SIDE)
    products = IMAGE[0, ::3, ::3] * KERNEL
    assert figure.numbers("products") == products.ravel().tolist()


def test_padding_and_unread_cells_look_different(show):
    figure = show(convolution2d(IMAGE[:, :, :6], kernel=KERNEL, padding=1, stride=4))
    assert figure.root.locator(".ce-pad").count() == 9 * 8 - 7 * 6
    # 9 × 8 padded: windows end at row 7 and column 7, so 2 rows and 1 column are left over.
    assert figure.root.locator(".ce-unread").count() == 9 * 8 - 7 * 7
    expect(figure.root).to_contain_text("rows at the bottom 2, columns at the right 1")
    figure.control("stride").select_option("1")
    assert figure.root.locator(".ce-unread").count() == 0
    expect(figure.root).not_to_contain_text("hatched")


def test_a_kernel_that_does_not_fit_is_explained_and_survived(show, serious_findings):
    figure = show(convolution2d(kernel=KERNEL))
    figure.control("size").select_option("5 × 5")
    figure.control("dilation").select_option("2")
    assert figure.sentence == (
        "The kernel does not fit: with dilation 2 it is 9 cells high, but the padded input has 7. "
        "Add padding, or choose a smaller kernel or dilation."
    )
    expect(figure.root).to_contain_text("Output: none")
    for part in (".ce-window", ".ce-output", ".ce-products", ".ce-ledger"):
        expect(figure.root.locator(part)).to_be_hidden()
    expect(figure.button("Next")).to_be_disabled()
    figure.press("ArrowRight", " ", "End")
    figure.drag((1, 1), (3, 3))
    assert serious_findings(figure.root.page) == []
    figure.control("padding").select_option("1")
    assert figure.place == (1, 1)
    expect(figure.button("Next")).to_be_enabled()
    assert len(figure.numbers("output")) == 1


# ---- manners


def test_two_explorers_on_a_page_are_independent(show):
    first, second = show(convolution2d(padding=1), convolution2d(IMAGE[0], "box", stride=2))
    before = second.root.inner_text(), second.numbers("output")
    first.press("ArrowRight", "ArrowDown")
    first.control("stride").select_option("3")
    first.control("Kernel row 1, column 1").fill("8")
    first.button("Show all").click()
    assert (second.root.inner_text(), second.numbers("output")) == before
    second.press("End")
    assert (first.place, second.place) == ((2, 2), (3, 3))
    page = first.root.page
    assert page.locator("[id]").count() == 0
    assert page.get_by_role("application").count() == 2


def test_it_comes_to_life_in_a_notebook_too(show):
    """Notebooks set innerHTML, which runs no script, and then put in fresh script elements."""
    figure = show(convolution2d())
    figure.press("End")
    page = figure.root.page
    page.evaluate(
        """(html) => {
             const output = document.createElement("div");
             output.innerHTML = html;
             for (const old of output.querySelectorAll("script")) {
               const script = document.createElement("script");
               script.textContent = old.textContent;
               old.replaceWith(script);
             }
             document.querySelector("main").append(output);
           }""",
        convolution2d(stride=2)._repr_html_(),
    )
    added = Figure(page.locator(".course-explorer").nth(1))
    added.press("End")
    assert (figure.place, added.place) == ((5, 5), (3, 3))  # the first one was left alone
    assert page.get_by_role("application").count() == 2


def test_without_scripts_the_tables_stay(show):
    figure = show(convolution2d(), java_script_enabled=False)
    expect(figure.root.get_by_role("table")).to_have_count(7)
    expect(figure.root.get_by_role("table").last).to_contain_text("Output with stride 1")
    expect(figure.root.get_by_role("button")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(show, serious_findings, scheme):
    figure, _ = show(
        convolution2d(padding=1, stride=4, kernel=KERNEL),
        convolution2d(**LARGEST),
        color_scheme=scheme,
    )
    figure.press("ArrowRight")
    assert serious_findings(figure.root.page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_in_cells_have_contrast(show, scheme):
    """Axe does not look into SVG: WCAG 2.1, 1.4.3 by hand, on every cell of every grid."""
    figure = show(convolution2d(padding=1, stride=4), color_scheme=scheme)
    figure.button("Show all").click()
    pairs = figure.root.evaluate(
        """(root) => {
             const canvas = document.createElement("canvas").getContext("2d");
             const rgb = (colour) => {
               canvas.clearRect(0, 0, 1, 1);
               canvas.fillStyle = colour;
               canvas.fillRect(0, 0, 1, 1);
               return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
             };
             const card = getComputedStyle(root).backgroundColor;
             return [...root.querySelectorAll(".ce-cell")].map((cell) => {
               const [rect, text] = ["rect", "text"].map((name) =>
                 getComputedStyle(cell.querySelector(name)).fill);
               return [rgb(rect === "none" ? card : rect), rgb(text)];
             });
           }"""
    )
    colours = np.array(pairs) / 255  # (cells, 2, 3)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = np.sort(linear @ [0.2126, 0.7152, 0.0722])  # (cells, 2), dark first
    ratios = (luminance[:, 1] + 0.05) / (luminance[:, 0] + 0.05)
    assert len(np.unique(colours[:, 0], axis=0)) > 5  # the shades are there
    assert ratios.min() >= 4.5


@pytest.mark.parametrize("system", ["light", "dark"])
@pytest.mark.parametrize(
    ("script", "scheme"),
    [
        ("", None),
        ("document.documentElement.dataset.theme = 'dark'", "dark"),
        ("document.documentElement.dataset.theme = 'light'", "light"),
        ("document.body.dataset.jpThemeLight = 'false'", "dark"),
        ("document.body.dataset.jpThemeLight = 'true'", "light"),
        ("document.body.className = 'vscode-dark'", "dark"),
    ],
)
def test_colours_follow_the_page_and_else_the_system(show, system, script, scheme):
    root = show(convolution2d(), color_scheme=system).root
    root.page.evaluate(script or "null")
    colour = {"light": "rgb(255, 255, 255)", "dark": "rgb(28, 32, 38)"}[scheme or system]
    expect(root).to_have_css("background-color", colour)


@pytest.mark.parametrize(
    "figure", [{}, {"padding": 3}, LARGEST], ids=["plain", "padded", "largest"]
)
def test_a_phone_shows_it_without_sideways_scrolling(show, figure):
    root = show(convolution2d(**figure), viewport={"width": 375, "height": 800}).root
    root.get_by_role("button", name="Show all").click()
    assert root.page.evaluate("document.documentElement.scrollWidth") == 375
    right = root.evaluate(
        """(root) => Math.max(...Array.from(root.querySelectorAll("*"),
             (node) => node.getBoundingClientRect().right))"""
    )
    assert right <= 375


@pytest.mark.parametrize("figure", [{"kernel": "box"}, LARGEST], ids=["decimals", "largest"])
def test_numbers_stay_inside_their_cells(show, figure):
    root = show(convolution2d(**figure)).root
    root.get_by_role("button", name="Show all").click()
    widths = root.evaluate(
        """(root) => [...root.querySelectorAll(".ce-cell")].map((cell) =>
             ["text", "rect"].map((name) => cell.querySelector(name).getBBox().width))"""
    )
    assert max(text for text, _ in widths) > 15
    assert [text for text, cell in widths if text > cell] == []
