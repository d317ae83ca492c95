"""The explorers in a real browser: their numbers, their controls, their looks, their manners."""

import itertools
import json
import re
from collections import Counter
from dataclasses import astuple
from html import unescape

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

from coursepkg.convolution import arithmetic
from coursepkg.convolution.arithmetic import Window, conv2d_macs, output_size
from coursepkg.convolution.explorers import CAT_EYE, conv_layer, convolution2d, receptive_field
from coursepkg.convolution.filters import FILTERS
from coursepkg.convolution.padding import pad
from coursepkg.convolution.reference import conv2d
from coursepkg.explorer import number
from coursepkg.testing import assert_close

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Explorers</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="margin: 1rem"><main><h1>Explorers</h1>{}</main></body></html>"""
IMAGE = np.array(CAT_EYE)
KERNELS, OUTPUTS = ".ce-kernel-of svg", ".ce-outputs .ce-panel > svg"  # of a layer
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

    @property
    def unit(self):
        """The chosen unit of a layer: output map, row and column, counted from 1."""
        words = r"Output map (\d+), row (\d+), column (\d+): "
        return tuple(map(int, re.match(words, self.sentence).groups()))

    @property
    def chosen(self):
        """Where the frame around the chosen unit stands, as `unit`."""
        panels = self.root.locator(".ce-outputs > .ce-panel")
        (index,) = [
            i for i, p in enumerate(panels.all()) if "ce-chosen" in p.get_attribute("class")
        ]
        style = panels.nth(index).locator(".ce-tap").get_attribute("style")
        x, y = map(int, re.search(r"translate\((\d+)px, (\d+)px\)", style).groups())
        return index + 1, y // SIDE + 1, x // SIDE + 1

    def drawings(self, selector):
        """Read the cells of each drawing, in order of reading."""
        return [
            [float(x.replace("−", "-")) for x in svg.locator("text").all_text_contents()]
            for svg in self.root.locator(selector).all()
        ]

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


# ---- settings of a layer

MAPS = np.random.default_rng(0).integers(0, 10, (4, 5, 8))  # four maps that are not square
MODES = ("zeros", "reflect", "replicate", "circular")
COUNTS, SIZES, BOTH = range(1, 5), range(1, 6), (True, False)


def crossed(**choices):
    """Return the settings of every combination of choices."""
    return [
        dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())
    ]


def conv_settings(**choices):
    start = {"in_channels": [2], "out_channels": [4], "kernel_size": [2], "stride": [1]}
    start |= {"padding": [0], "dilation": [1], "groups": [1], "padding_mode": ["zeros"]}
    return crossed(**start | {"bias": [True]} | choices)


LAYER_TABLES = {
    "Conv2d": [
        *conv_settings(in_channels=COUNTS, out_channels=COUNTS, groups=COUNTS, bias=BOTH),
        *conv_settings(
            kernel_size=SIZES,
            stride=(1, 2, 4),
            padding=range(4),
            dilation=(1, 3),
            groups=(1, 2),
            padding_mode=MODES,
        ),
    ],
    "MaxPool2d": crossed(
        kernel_size=SIZES,
        stride=(None, *COUNTS),
        padding=range(4),
        dilation=(1, 2, 3),
        ceil_mode=BOTH,
    ),
}


def bank_of(explorer):
    return json.loads(unescape(re.search(r'data-settings="(.*?)"', explorer._repr_html_())[1]))[
        "bank"
    ]


def pytorch(layer, maps, settings, result):
    """Return what PyTorch's layer computes, with the weights of the figure."""
    module = getattr(torch.nn, layer)(**settings)
    if layer == "Conv2d":
        module = module.double()
        maps = maps[: settings["in_channels"]]
        state = {"weight": result["filters"], "bias": result["bias"]}
        module.load_state_dict({k: torch.tensor(state[k]) for k in module.state_dict()})
    with torch.no_grad():
        return module(torch.tensor(maps, dtype=torch.float64)[None])[0].numpy()


def error_of(layer, maps, settings):
    try:
        conv_layer(layer, maps, **settings)
    except ValueError as error:
        return str(error)
    return None


@pytest.mark.parametrize("layer", LAYER_TABLES)
@pytest.mark.parametrize("maps", [MAPS, MAPS[:, :2, :3]], ids=["5 x 8", "2 x 3"])
def test_the_script_computes_what_pytorchs_layers_compute(show, maps, layer):
    table = LAYER_TABLES[layer]
    figure = conv_layer()
    results = show(figure).root.page.evaluate(
        """([layer, maps, table, bank]) => table.map((settings) =>
             CourseExplorer.conv_layer[layer](maps, settings, bank))""",
        [layer, maps.tolist(), table, bank_of(figure)],
    )
    problems = 0
    for result, settings in zip(results, table, strict=True):
        problem = error_of(layer, maps, settings)
        assert result.get("problem") == problem, settings
        problems += problem is not None
        if problem is None:
            expected = pytorch(layer, maps, settings, result)
            assert np.array_equal(np.array(result["output"], float), expected), settings
    assert 0 < problems < 0.9 * len(table)


def set_layer(figure, layer, settings):
    """Set the controls of a figure as a reader would; those of other values stay."""
    figure.control("layer").select_option(layer)
    for name, value in settings.items():
        if isinstance(value, bool):
            figure.control(name).set_checked(value)
        else:
            figure.control(name).select_option(str(value))


CHANGES = [
    ("Conv2d", {"kernel_size": 5, "padding": 2, "padding_mode": "reflect"}),
    ("Conv2d", {"kernel_size": 1, "out_channels": 2, "in_channels": 1}),
    ("Conv2d", {"kernel_size": 2, "out_channels": 3, "groups": 3, "dilation": 3}),
    ("Conv2d", {"kernel_size": 4, "in_channels": 2, "groups": 2, "stride": 3, "bias": False}),
    ("MaxPool2d", {"kernel_size": 3, "stride": 2, "padding": 1, "ceil_mode": True}),
    ("MaxPool2d", {"kernel_size": 5, "stride": None}),
]


@pytest.mark.parametrize(("layer", "settings"), CHANGES)
def test_a_layer_set_by_hand_shows_what_python_starts_with(show, layer, settings):
    changed, started = show(conv_layer(), conv_layer(layer, **settings))
    set_layer(changed, layer, settings)
    assert changed.root.inner_text() == started.root.inner_text()
    tables = re.findall(
        r"<caption>(\w+).*?</caption>(.*?)</table>", conv_layer(layer, **settings).fallback
    )
    for kind, drawings in [("Filter", KERNELS), ("Output", OUTPUTS)]:
        expected = [
            [float(x.replace("−", "-")) for x in re.findall("<td>(.*?)</td>", body)]
            for name, body in tables
            if name == kind
        ]
        assert changed.drawings(drawings) == expected
        assert bool(expected) == (kind == "Output" or layer == "Conv2d")


@pytest.mark.parametrize(("layer", "settings"), CHANGES)
def test_line_shapes_and_counts_are_pytorchs(show, layer, settings):
    figure = show(conv_layer(layer, **settings))
    line = figure.root.locator("code").inner_text()
    module = eval(line, {"nn": torch.nn})  # the line is ours, and short
    channels = {"in_channels": 3} | settings
    fill = {"in_channels": 3, "out_channels": 4, "kernel_size": 3} if layer == "Conv2d" else {}
    assert repr(module) == repr(getattr(torch.nn, layer)(**fill | settings))
    x = torch.zeros(1, channels["in_channels"] if layer == "Conv2d" else 3, 7, 7)
    output = module(x)
    facts = figure.root.locator(".ce-formula").inner_text()
    assert f"input {tuple(x.shape)} → output {tuple(output.shape)}" in facts
    parameters = sum(p.numel() for p in module.parameters())
    assert f"{parameters} parameters" in facts
    if layer == "Conv2d":
        assert f"weight {tuple(module.weight.shape)}" in facts
        assert ("bias" in facts) == (module.bias is not None)
        size = (
            module.in_channels,
            module.out_channels,
            module.kernel_size,
            tuple(output.shape[2:]),
        )
        assert f"{conv2d_macs(*size, module.groups)} multiply-adds" in facts


def test_the_line_is_as_short_as_one_writes_it(show):
    figure = show(conv_layer(stride=2, padding=1))
    assert figure.root.locator("code").inner_text() == "nn.Conv2d(3, 4, 3, stride=2, padding=1)"
    set_layer(figure, "MaxPool2d", {"kernel_size": 3})
    assert figure.root.locator("code").inner_text() == "nn.MaxPool2d(3)"


def test_the_formula_ends_in_pytorchs_size_with_ceil_mode_too(show):
    figure = show(conv_layer("MaxPool2d", MAPS))
    sentences = set()
    for settings in crossed(
        kernel_size=(1, 2, 3), stride=(1, 3, 4), padding=(0, 1), ceil_mode=BOTH
    ):
        set_layer(figure, "MaxPool2d", settings)
        if error_of("MaxPool2d", MAPS, settings):
            continue
        height, width = torch.nn.MaxPool2d(**settings)(torch.zeros(1, 5, 8)).shape[1:]
        facts = figure.root.locator(".ce-formula").inner_text()
        for name, size in [("height", height), ("width", width)]:
            line = re.search(rf"^(height = width|{name}) = (.*)$", facts, re.M)[2]
            assert line.endswith(f" {size}"), settings
            assert ("⌈" in line) == settings["ceil_mode"]
            sentences.add("but the last one would start" in line)
    assert sentences == {True, False}


def test_the_arrow_keys_move_the_unit_and_its_window(show):
    figure = show(conv_layer(stride=2))  # 3 × 3 units
    assert figure.unit == (1, 1, 1)
    figure.press("ArrowRight", "ArrowDown", "ArrowDown", "ArrowDown", "PageDown", "PageDown")
    assert figure.unit == figure.chosen == (3, 3, 2)
    windows = figure.root.locator(".ce-inputs g:has(> .ce-reach)")
    expect(windows).to_have_count(3)
    for window in windows.all():
        assert f"translate({2 * SIDE}px, {4 * SIDE}px)" in window.get_attribute("style")
    figure.press("End", "PageDown", "PageDown")
    assert figure.unit == figure.chosen == (4, 3, 3)
    figure.press("Home", "PageUp", "ArrowUp", "ArrowLeft")
    assert figure.unit == figure.chosen == (3, 1, 1)


@pytest.mark.parametrize("width", [1000, 375])
def test_the_pointer_chooses_a_unit(show, width):
    figure = show(conv_layer(padding=1), viewport={"width": width, "height": 900})
    maps = figure.root.locator(OUTPUTS)
    for o, row, column in [(1, 0, 0), (3, 6, 6), (0, 2, 5)]:
        target = maps.nth(o).locator(".ce-cell").nth(7 * row + column)
        target.hover(force=True)
        assert figure.unit == figure.chosen == (o + 1, row + 1, column + 1)


def test_the_sentence_adds_up_the_maps_and_the_bias(show):
    figure = show(conv_layer(padding=1))
    for keys in [(), ("PageDown", "End"), ("ArrowUp", "PageDown"), ("PageDown",)]:
        figure.press(*keys)
        o, row, column = figure.unit
        parts = figure.sentence.replace("−", "-").replace("(", "").replace(")", "")
        sums = [
            int(x)
            for x in re.findall(r"(-?\d+) from|bias (-?\d+)|= (-?\d+)$", parts)
            for x in x
            if x
        ]
        shown = figure.drawings(OUTPUTS)[o - 1][7 * (row - 1) + column - 1]
        assert len(sums) == 5
        assert sum(sums[:4]) == sums[4] == shown


def test_groups_show_which_maps_a_filter_sees(show):
    figure = show(conv_layer(in_channels=2, groups=2))
    windows = figure.root.locator(".ce-inputs g:has(> .ce-reach)")
    for seen in (0, 0, 1, 1):
        expect(windows.nth(seen)).to_be_visible()
        expect(windows.nth(1 - seen)).to_be_hidden()
        chosen = figure.root.locator(".ce-chosen")
        expect(chosen.get_by_text(f"on map {seen + 1}")).to_have_count(1)
        assert f"on input map {seen + 1}: " in figure.sentence
        figure.press("PageDown")


def test_pooling_marks_the_first_of_the_largest(show):
    maps = [[[1, 5, 0, 5], [5, 2, 0, 1], [3, 3, 1, 1]]]
    figure = show(conv_layer("MaxPool2d", maps, kernel_size=2, dilation=2, stride=1))
    assert figure.sentence.endswith("the largest of 1, 0, 3, 1 on input map 1 is 3")
    best = figure.root.locator(".ce-best")
    assert f"translate({0 * SIDE}px, {2 * SIDE}px)" in best.get_attribute("style")
    figure.press("ArrowRight")
    assert figure.sentence.endswith("the largest of 5, 5, 3, 1 on input map 1 is 5")
    assert "translate(0px, 0px)" in best.get_attribute("style")


def test_padding_of_each_mode_is_drawn(show):
    figure = show(conv_layer(padding=2))
    for mode in MODES:
        figure.control("padding_mode").select_option(mode)
        name = {"zeros": "constant"}.get(mode, mode)
        expected = pad(np.array([CAT_EYE], float), 2, name).ravel().tolist()
        assert figure.numbers("inputs") == expected
    set_layer(figure, "MaxPool2d", {"padding": 1})
    texts = figure.root.locator(".ce-pad text").all_text_contents()
    assert texts == ["−∞"] * 3 * (81 - 49)


def test_settings_that_do_not_fit_are_explained_and_survived(show, serious_findings):
    figure = show(conv_layer())
    figure.press("End")
    figure.control("groups").select_option("2")
    message = error_of("Conv2d", CAT_EYE, {"groups": 2})
    assert figure.sentence == f"This does not fit: {message}"
    expect(figure.root.locator("svg")).to_have_count(0)
    figure.press("ArrowLeft", "PageDown", "Home", "End")
    assert serious_findings(figure.root.page) == []
    assert figure.root.locator("code").inner_text() == "nn.Conv2d(3, 4, 3, groups=2)"
    figure.control("groups").select_option("1")
    assert figure.unit == (1, 5, 5)


def test_each_layer_keeps_its_settings(show):
    figure = show(conv_layer(padding=2))
    set_layer(figure, "MaxPool2d", {"kernel_size": 4})
    assert figure.control("groups").count() == 0
    figure.control("layer").select_option("Conv2d")
    assert figure.control("padding").input_value() == "2"
    assert figure.control("ceil_mode").count() == 0
    figure.control("layer").select_option("MaxPool2d")
    assert figure.root.locator("code").inner_text() == "nn.MaxPool2d(4)"


# ---- receptive fields

OUTPUT_SIZES = {"conv": output_size, "pool": arithmetic.pool_output_size}
AXIS = ["kernel", "stride", "padding", "dilation"]


def stacks(count):
    """Return random stacks of one to five layers, as the script takes them, with an input size."""
    rng = np.random.default_rng(0)
    for _ in range(count):
        layers = [
            {
                "kind": str(rng.choice(["conv", "pool"])),
                "kernel": int(rng.integers(1, 6)),
                "stride": int(rng.integers(1, 4)),
                "padding": int(rng.integers(0, 4)),
                "dilation": int(rng.integers(1, 4)),
            }
            for _ in range(rng.integers(1, 6))
        ]
        yield int(rng.integers(1, 60)), layers


def as_python(layers):
    return [(layer["kind"], Window(*(layer[name] for name in AXIS))) for layer in layers]


def test_the_fields_are_those_of_arithmetic(show):
    table = list(stacks(400))
    levels = show(receptive_field()).root.page.evaluate(
        "(table) => table.map((stack) => CourseExplorer.receptive_field.fields(...stack))", table
    )
    fitting = 0
    for (size, layers), got in zip(table, levels, strict=True):
        windows = [window for _, window in as_python(layers)]
        units = [size]
        for kind, window in as_python(layers):
            try:
                units.append(OUTPUT_SIZES[kind](units[-1], *astuple(window)))
            except ValueError:
                break
        expected = [
            {"units": n, **arithmetic.receptive_field(windows[:i])._asdict()}
            for i, n in enumerate(units)
        ]
        assert got == expected
        fitting += len(units) == len(layers) + 1
    assert 50 < fitting < 350


def test_the_pixels_read_are_those_with_a_gradient(show):
    """Convolutions with positive weights: a pixel has a gradient if and only if it is read."""
    table = [(n, layers) for n, layers in stacks(150) if error_of_stack(n, layers) is None]
    assert len(table) > 20
    found = show(receptive_field()).root.page.evaluate(
        """(table) => table.map(([size, layers]) => {
             const { fields, sources } = CourseExplorer.receptive_field;
             const levels = fields(size, layers);
             return Array.from({ length: levels.at(-1).units }, (_, unit) =>
               sources(levels, layers, layers.length, unit)[0]);
           })""",
        table,
    )
    for (size, layers), units in zip(table, found, strict=True):
        x = torch.zeros(1, 1, size, requires_grad=True, dtype=torch.float64)
        y = x
        for layer in layers:
            k, *rest = (layer[name] for name in AXIS)
            y = torch.nn.functional.conv1d(y, torch.ones(1, 1, k, dtype=y.dtype), None, *rest)
        for unit, pixels in enumerate(units):
            (grad,) = torch.autograd.grad(y[0, 0, unit], x, retain_graph=True)
            inside = [pixel for pixel in pixels if 0 <= pixel < size]
            assert inside == grad[0, 0].nonzero().ravel().tolist()


def error_of_stack(size, layers):
    try:
        receptive_field(as_python(layers), size)
    except ValueError as error:
        return str(error)
    return None


def lit(figure):
    """Return how many units are lit in each level, from the last layer down to the input."""
    tops = figure.root.locator(".ce-unit.ce-lit").evaluate_all(
        "(nodes) => nodes.map((node) => Number(node.getAttribute('y')))"
    )
    return [count for _, count in sorted(Counter(tops).items())]


def results(figure):
    """Return the numbers behind each layer of the list: units, size, jump, start."""
    return [
        [int(x.replace("−", "-")) for x in re.findall(r"−?\d+", row)]
        for row in figure.root.locator(".ce-results").all_text_contents()
    ]


@pytest.mark.parametrize("name", ["small CNN", "dilations 2, 2, 2", "AlexNet to pool5"])
def test_a_named_stack_shows_the_numbers_of_the_static_table(show, name):
    figure = show(receptive_field())
    figure.control("stack").select_option(name)
    body = receptive_field(name).fallback.split("<tbody>")[1]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in body.split("</tr>")[1:-1]]
    assert results(figure) == [[int(x.replace("−", "-")) for x in row[5:]] for row in rows]
    for i, row in enumerate(rows, start=1):
        shown = [figure.control(f"{key} of layer {i}").input_value() for key in ["kind", *AXIS]]
        assert shown == [row[0].split()[0], *row[1:5]]
    assert figure.control("stack").input_value() == name


def test_arrow_keys_move_in_a_layer_and_between_layers(show):
    figure = show(receptive_field("small CNN"))
    assert figure.sentence == (
        "Layer 5 (conv), unit 3 of 0 to 7, sees 18 pixels: "
        "from start + 3·jump = −7 + 3·4 = 5 to 22."
    )
    assert lit(figure) == [1, 3, 6, 8, 16, 18]
    figure.press("ArrowRight")
    assert "unit 4 of 0 to 7" in figure.sentence
    figure.press("Home", "ArrowLeft")
    assert "= −7 + 0·4 = −7 to 10; 7 outside the image." in figure.sentence
    assert lit(figure)[-1] == 11
    figure.press("End", "ArrowRight")
    assert "unit 7 of 0 to 7" in figure.sentence
    figure.press("ArrowDown", "ArrowDown")
    assert figure.sentence.startswith("Layer 3 (conv), unit 15 of 0 to 15, sees 8 pixels")
    figure.press("ArrowUp", "ArrowUp", "ArrowUp")
    assert figure.sentence.startswith("Layer 5 (conv), unit 7")
    figure.press(*["ArrowDown"] * 9, "Home", "ArrowRight")
    assert figure.sentence == "Pixel 1 of the input, which has 0 to 31."
    assert lit(figure) == [1]


@pytest.mark.parametrize("width", [1000, 375])
@pytest.mark.parametrize("name", ["small CNN", "AlexNet to pool5"])
def test_the_pointer_chooses_the_unit_below_it(show, name, width):
    figure = show(receptive_field(name), viewport={"width": width, "height": 900})
    count = figure.root.locator(".ce-layers > li").count()
    units = figure.root.locator(".ce-unit")
    tops = units.evaluate_all("(nodes) => nodes.map((node) => node.getAttribute('y'))")
    for level in range(count + 1):
        row = [i for i, top in enumerate(tops) if int(top) == 44 * (count - level) + 20]
        for unit in (0, len(row) // 3, len(row) - 1):
            units.nth(row[unit]).hover(force=True)
            words = f"Layer {level} " if level else f"Pixel {unit} of the input"
            assert figure.sentence.startswith(words)
            assert re.search(rf"(unit|Pixel) {unit} of", figure.sentence)


def test_each_unit_stands_over_the_middle_of_what_it_sees(show):
    figure = show(receptive_field("AlexNet to pool5"))
    middles = figure.root.locator(".ce-unit").evaluate_all(
        """(nodes) => nodes.map((node) =>
             Number(node.getAttribute("x")) + node.getAttribute("width") / 2)"""
    )
    expected = [
        start + unit * jump + size / 2
        for units, size, jump, start in [[224, 1, 1, 0], *results(figure)]
        for unit in range(units)
    ]
    assert np.allclose(middles, expected)
    # Two pixels and two units of layer 2 at each end, one of layers 4, 5 and 6.
    expect(figure.root.locator(".ce-outside")).to_have_count(2 * (2 + 2 + 1 + 1 + 1))
    expect(figure.root.locator(".ce-outside.ce-lit")).to_have_count(2)
    (path,) = figure.root.locator(".ce-cone").all()
    reached = [float(x) for x in re.findall(r"[ML](\S+) ", path.get_attribute("d"))]
    assert min(reached) == -2  # the field of the unit in the middle: -2 to 192
    assert max(reached) == 193


def test_gaps_of_dilated_layers_are_told_and_shown(show):
    figure = show(receptive_field("dilations 2, 2, 2"))
    assert "sees 13 pixels" in figure.sentence
    assert "it reads 7 of the 13 inside" in figure.sentence
    assert lit(figure) == [1, 3, 5, 7]
    expect(figure.root).to_contain_text("layer 2: 13, 15, 17; layer 1: 11, 13, 15, 17, 19")
    figure.control("stack").select_option("dilations 1, 2, 4")
    assert "sees 15 pixels" in figure.sentence
    assert "it reads" not in figure.sentence


def test_what_lies_in_the_padding_alone_is_read_from_nothing(show):
    past = [("conv", Window(1))] * 2 + [("conv", Window(2, padding=5, dilation=8))]
    figure = show(receptive_field(past, size=3))
    figure.press("Home")
    assert figure.sentence.endswith("−5 to 3; 6 outside the image; it reads 0 of the 3 inside.")
    expect(figure.root).to_contain_text("It reads layer 2: −5, 3; layer 1: none.")
    assert lit(figure) == [1]
    figure = show(receptive_field([("conv", Window(1, padding=5))], size=3))
    figure.press("Home")
    assert figure.sentence.endswith("−5 to −5; 1 outside the image.")
    figure.press("End")
    assert figure.sentence.endswith("= 7 to 7; 1 outside the image.")


def test_layers_are_changed_added_and_removed(show):
    figure = show(receptive_field("three 3 × 3"))
    assert results(figure)[-1] == [10, 7, 1, 0]
    figure.control("stride of layer 1").select_option("2")
    assert figure.control("stack").input_value() == "custom"
    assert results(figure)[-1] == [3, 11, 2, 0]
    figure.button("Add pool").click()
    assert results(figure)[-1] == [1, 13, 4, 0]
    assert figure.sentence.startswith("Layer 4 (pool), unit 0 of 0 to 0")
    figure.button("remove of layer 1").click()
    expect(figure.button("remove of layer 1")).to_be_focused()
    assert results(figure)[-1] == [6, 6, 2, 0]
    figure.button("remove of layer 3").click()
    expect(figure.button("remove of layer 2")).to_be_focused()
    figure.control("input pixels").fill("20")
    assert results(figure)[-1] == [16, 5, 1, 0]
    figure.control("input pixels").fill("999")
    figure.control("input pixels").blur()
    expect(figure.control("input pixels")).to_have_value("256")
    for _ in range(8):
        figure.button("Add conv").click()
    expect(figure.button("Add conv")).to_be_disabled()
    expect(figure.button("Add pool")).to_be_disabled()
    assert results(figure)[-1] == [236, 21, 1, 0]
    for i in range(10, 0, -1):
        figure.button(f"remove of layer {i}").click()
    assert figure.sentence == "Pixel 127 of the input, which has 0 to 255."
    expect(figure.button("Add conv")).to_be_focused()


def test_changing_a_layer_below_keeps_the_unit_that_one_looks_at(show):
    figure = show(receptive_field("small CNN"))
    figure.press("ArrowDown", "ArrowDown", "Home", "ArrowRight")
    assert figure.sentence.startswith("Layer 3 (conv), unit 1 of")
    figure.control("kernel of layer 1").select_option("5")
    assert figure.sentence.startswith("Layer 3 (conv), unit 1 of")
    assert "sees 10 pixels" in figure.sentence


def test_a_layer_that_does_not_fit_is_explained_and_survived(show, serious_findings):
    figure = show(receptive_field("three 3 × 3"))
    for name, value in [("kernel of layer 2", "11"), ("dilation of layer 2", "2")]:
        figure.control(name).select_option(value)
    layers = [
        {"kind": "conv", "kernel": k, "stride": 1, "padding": 0, "dilation": d}
        for k, d in [(3, 1), (11, 2), (3, 1)]
    ]
    message = error_of_stack(16, layers).replace("layer 2: ", "Layer 2 does not fit: ")
    assert figure.sentence.startswith(f"{message}. Layer 1 (conv), unit")
    assert [len(row) for row in results(figure)] == [4, 0, 0]
    figure.press("ArrowUp", "End", "ArrowDown", "ArrowLeft")
    assert serious_findings(figure.root.page) == []
    figure.control("kind of layer 2").select_option("pool")
    figure.control("padding of layer 2").select_option("5")
    assert "does not fit" not in figure.sentence
    figure.control("kernel of layer 2").select_option("9")
    layers[1] |= {"kind": "pool", "kernel": 9, "padding": 5}
    message = error_of_stack(16, layers).replace("layer 2: ", "Layer 2 does not fit: ")
    assert figure.sentence.startswith(message)


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


ALL = [convolution2d, conv_layer, receptive_field]


def test_all_explorers_on_one_page_look_as_they_do_alone(show, open_page, tmp_path):
    """Each brings its style sheet and the shared one; none may bend the figures before it."""
    computed = """(root) => Array.from(root.querySelectorAll("*"), (node) => {
      const { fill, stroke, display, padding, margin, width, opacity } = getComputedStyle(node);
      return [node.tagName, fill, stroke, display, padding, margin, width, opacity];
    })"""
    together = show(*(explorer() for explorer in [*ALL, *ALL]))
    looks = [figure.root.evaluate(computed) for figure in together]
    for explorer, first, second in zip(ALL, looks[:3], looks[3:], strict=True):
        alone = show(explorer()).root.evaluate(computed)
        assert len(alone) > 100
        assert first == second == alone


def test_explorers_of_three_kinds_leave_one_another_alone(show):
    step, layer, stack = show(*(explorer() for explorer in ALL))
    before = [figure.root.inner_text() for figure in (step, stack)]
    layer.press("PageDown", "End")
    layer.control("stride").select_option("2")
    assert [figure.root.inner_text() for figure in (step, stack)] == before
    assert layer.unit == (2, 3, 3)
    stack.press("ArrowDown")
    step.press("End")
    assert (layer.unit, step.place) == ((2, 3, 3), (5, 5))
    assert stack.sentence.startswith("Layer 4")


@pytest.mark.parametrize(
    ("explorer", "tables", "words"),
    [
        (convolution2d, 7, "Output with stride 1"),
        (conv_layer, 3 + 12 + 1 + 4, "Output map 4"),
        (receptive_field, 1, "conv 5"),
    ],
)
def test_without_scripts_the_tables_stay(show, explorer, tables, words):
    root = show(explorer(), java_script_enabled=False).root
    expect(root.get_by_role("table")).to_have_count(tables)
    expect(root.get_by_role("table").last).to_contain_text(words)
    expect(root.get_by_role("button")).to_have_count(0)
    expect(root.get_by_role("combobox")).to_have_count(0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(show, serious_findings, scheme):
    figures = show(
        convolution2d(padding=1, stride=4, kernel=KERNEL),
        convolution2d(**LARGEST),
        conv_layer(padding=1, groups=3, out_channels=3),
        conv_layer("MaxPool2d", padding=1, ceil_mode=True),
        receptive_field(),
        receptive_field("AlexNet to pool5"),
        color_scheme=scheme,
    )
    for figure in figures:
        figure.press("ArrowRight")
    assert serious_findings(figures[0].root.page) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_in_cells_have_contrast(show, scheme):
    """Axe does not look into SVG: WCAG 2.1, 1.4.3 by hand, on every cell of every grid."""
    figure, *others = show(
        convolution2d(padding=1, stride=4),
        conv_layer(padding=1),
        conv_layer("MaxPool2d", padding=1),
        color_scheme=scheme,
    )
    figure.button("Show all").click()
    for each in (figure, *others):
        assert contrasts(each.root).min() >= 4.5


def contrasts(root):
    """Return the contrast ratio of the text of each cell."""
    pairs = root.evaluate(
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
    return ratios


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
    ("explorer", "settings"),
    [
        (convolution2d, {}),
        (convolution2d, {"padding": 3}),
        (convolution2d, LARGEST),
        (conv_layer, {}),
        (conv_layer, {"input": LARGEST["input"], "kernel_size": 5, "padding": 3}),
        (conv_layer, {"layer": "MaxPool2d", "input": LARGEST["input"]}),
        (receptive_field, {}),
        (receptive_field, {"layers": "AlexNet to pool5"}),
        (receptive_field, {"layers": [("conv", Window(11, 4, 5))] * 3, "size": 256}),
    ],
)
def test_a_phone_shows_it_without_sideways_scrolling(show, explorer, settings):
    root = show(explorer(**settings), viewport={"width": 375, "height": 800}).root
    if explorer is convolution2d:
        root.get_by_role("button", name="Show all").click()
    assert root.page.evaluate("document.documentElement.scrollWidth") == 375
    right = root.evaluate(
        """(root) => Math.max(...Array.from(root.querySelectorAll("*"),
             (node) => node.getBoundingClientRect().right))"""
    )
    assert right <= 375


@pytest.mark.parametrize(
    ("explorer", "settings"),
    [
        (convolution2d, {"kernel": "box"}),
        (convolution2d, LARGEST),
        (conv_layer, {"input": LARGEST["input"] * 9, "kernel_size": 5, "padding": 3}),
        (conv_layer, {"input": LARGEST["input"] / 7}),
    ],
)
def test_numbers_stay_inside_their_cells(show, explorer, settings):
    root = show(explorer(**settings)).root
    if explorer is convolution2d:
        root.get_by_role("button", name="Show all").click()
    widths = root.evaluate(
        """(root) => [...root.querySelectorAll(".ce-cell")].map((cell) =>
             ["text", "rect"].map((name) => cell.querySelector(name).getBBox().width))"""
    )
    assert max(text for text, _ in widths) > 15
    assert [text for text, cell in widths if text > cell] == []
