"""The architecture explorer in a real browser: its numbers, controls, looks and manners."""

import json
import re
from html import unescape

import numpy as np
import pytest
import torch
from playwright.sync_api import expect

from coursepkg.architectures.explorers import NETWORKS, architecture
from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.summary import summary

PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Explorers</title>
<meta name="viewport" content="width=device-width, initial-scale=1"></head>
<body style="margin: 1rem"><main><h1>Explorers</h1>{}</main></body></html>"""


class Figure:
    """What a reader sees and does on one explorer."""

    def __init__(self, root):
        self.root = root
        self.blocks = root.locator(".ce-flow button")
        self.parts = root.locator(".ce-inside button")

    def press(self, *keys):
        for key in keys:
            self.root.page.keyboard.press(key)

    def pick(self, name):
        self.root.get_by_role("combobox", name="network").select_option(name)

    @property
    def sentence(self):
        return self.root.locator("[aria-live]").inner_text()

    @property
    def chosen(self):
        """The name that the sentence begins with."""
        return self.sentence.partition(":")[0]

    @property
    def focused(self):
        return self.root.page.evaluate("document.activeElement.className")

    @property
    def trail(self):
        return self.root.locator(".ce-path > *").all_inner_texts()


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


# ---- numbers


def lines(figure):
    """Read the static table of an explorer, which Python has computed."""
    body = figure.fallback.split("<tbody>")[1]
    rows = [re.findall(r"<td>(.*?)</td>", row) for row in body.split("</tr>")[:-1]]
    return [[unescape(cell) for cell in row] for row in rows]


SHOWN = """(root) => [...root.querySelectorAll(".ce-flow button")].map((block) => {
  if (!block.hasAttribute("aria-current")) block.click();
  const texts = (selector) => [...root.querySelectorAll(selector)].map((node) => node.textContent);
  return { title: texts(".ce-title > *"), values: texts(".ce-value"), sees: texts(".ce-sees b") };
})"""


@pytest.mark.parametrize("name", [*NETWORKS, "inception_v3", "vit_b_16"])
def test_what_is_shown_of_each_block_is_what_python_computes(show, name):
    figure = architecture(name, models=[])
    *expected, _ = lines(figure)
    shown = show(figure).root.evaluate(SHOWN)
    for block, (_, labels, output, parameters, macs, memory, field) in zip(
        shown, expected, strict=True
    ):
        assert block["title"][0] == labels
        assert block["title"][1].split(" → ")[-1] == output
        assert block["values"] == [parameters, macs, f"{memory} B"]
        sides = field if "×" in field else f"{field} × {field}"
        whole = {"all": "the whole image", "": None}
        assert block["sees"] == [x for x in [whole.get(field, f"{sides} pixels")] if x is not None]


@pytest.mark.parametrize("name", ["resnet50", "densenet121", "googlenet", "efficientnet_b0"])
def test_a_block_has_what_the_summary_says_of_its_layers(show, name):
    with torch.device("meta"):
        rows = summary(MODELS[name].factory(), MODELS[name].input_size).layers
    explorer = architecture(name, models=[])
    settings = json.loads(json.dumps(explorer.settings))
    boxes = show(explorer).root.page.evaluate(
        "([settings, name]) => CourseExplorer.architecture.network(settings, name).boxes",
        [settings, name],
    )
    blocks = [box for box in boxes if box["boxes"]]
    assert len(blocks) >= 7
    for box in blocks:
        own = [row for row in rows if f"{row.name}.".startswith(f"{box['name']}.")]
        for cost in ("parameters", "macs", "memory"):
            assert box[cost] == sum(getattr(row, cost) for row in own) > 0
        fields = [row.receptive_field[0] for row in own]
        assert box["field"] == (0 if None in fields else max(fields))


def test_the_sums_and_shares(show):
    figure = show(architecture("vgg16"))
    assert figure.root.locator(".ce-totals dd").all_inner_texts() == ["138 M", "15.5 G", "57.6 MiB"]
    figure.root.get_by_role("button", name="classifier.0, ").click()
    assert figure.sentence == (
        "classifier.0: linear · ReLU · Dropout, output 4096, 102,764,544 parameters (74.3 %), "
        "102,760,448 multiply-adds (0.7 %), 16,384 B of activations (< 0.1 %), "
        "one unit sees the whole image."
    )
    bars = figure.root.locator(".ce-shares .ce-parameters")
    shares = [float(re.search(r"--share: (\S+)", b.get_attribute("style"))[1]) for b in bars.all()]
    assert max(shares) == shares[19] == 1
    assert shares[21] == pytest.approx(4_097_000 / 102_764_544)


def test_slabs_are_as_high_as_the_maps_and_as_thick_as_the_channels(show):
    figure = show(architecture("vgg16"))
    sizes = figure.root.evaluate(
        """(root) => [...root.querySelectorAll("button .ce-front")].map((face) => {
             const { width, height } = face.getBBox();
             return [width, height];
           })"""
    )
    widths, heights = np.array(sizes).T
    shapes = [line[2].split(" × ") for line in lines(architecture("vgg16"))[:-1]]
    channels = np.sqrt([int(shape[0]) for shape in shapes])
    sides = np.sqrt([int(shape[-1]) if len(shape) > 1 else 1 for shape in shapes])
    for drawn, meant in ((widths, channels), (heights, sides)):
        slope, offset = np.polyfit(meant, drawn, 1)
        assert slope > 0
        assert np.allclose(drawn, slope * meant + offset, atol=1e-3)


# ---- keyboard and mouse


def test_arrow_keys_move_along_the_flow_and_stop_at_its_ends(show):
    figure = show(architecture("resnet18"))
    figure.blocks.first.focus()
    assert figure.chosen == "conv1"
    figure.press("ArrowRight", "ArrowRight")
    assert figure.chosen == "layer1.0"
    expect(figure.blocks.nth(2)).to_be_focused()
    figure.press("ArrowLeft", "ArrowLeft", "ArrowLeft", "ArrowLeft")
    assert figure.chosen == "conv1"
    figure.press("End", "ArrowRight")
    assert figure.chosen == "fc"
    figure.press("Home")
    assert figure.chosen == "conv1"
    stops = figure.root.locator(".ce-flow [tabindex='0']")
    expect(stops).to_have_count(1)


def test_enter_steps_inside_and_escape_back_out(show):
    figure = show(architecture("efficientnet_b0"))
    figure.blocks.nth(2).focus()
    figure.press("Enter")
    assert figure.chosen == "features.2.0"
    expect(figure.blocks.nth(2)).to_be_focused()
    figure.press("Enter")
    assert figure.chosen == "features.2.0.block.0.0"
    expect(figure.parts.first).to_be_focused()
    figure.press("ArrowDown", "ArrowDown")
    assert figure.chosen == "features.2.0.block.2"
    assert figure.trail == ["efficientnet_b0", "features.2.0", "block.2"]
    figure.press("Enter")
    assert figure.chosen == "features.2.0.block.2.avgpool"
    assert figure.trail[-2:] == ["block.2", "avgpool"]
    figure.press("End")
    assert figure.sentence.startswith("×: ×, output 96 × 56 × 56")
    figure.press("Escape")
    assert figure.chosen == "features.2.0.block.2"
    expect(figure.parts.nth(2)).to_be_focused()
    figure.press("Home", "ArrowUp")
    assert figure.chosen == "features.2.0"
    expect(figure.blocks.nth(2)).to_be_focused()


def test_arrow_keys_move_between_branches(show):
    figure = show(architecture("googlenet"))
    figure.blocks.nth(5).click()
    figure.press("ArrowDown")
    labels = "conv 1 × 1 · BN · ReLU"
    seen = [figure.chosen]
    for key in ("ArrowRight", "ArrowDown", "ArrowRight", "ArrowRight", "ArrowUp", "ArrowDown"):
        figure.press(key)
        seen.append(figure.chosen)
    module, branches = "inception3a", ("1", "2.0", "2.1", "3.1", "4.1", "4.0", "4.1")
    names = [f"{module}.branch{branch}" for branch in branches]
    assert [name.removesuffix(".conv") for name in seen] == names
    assert labels in figure.sentence
    figure.press("ArrowDown")
    assert figure.chosen == "concatenation"
    assert figure.root.locator(".ce-title span").inner_text() == (
        "64 × 28 × 28 and 128 × 28 × 28 and 32 × 28 × 28 → 256 × 28 × 28"
    )


def test_the_mouse_chooses_then_opens(show):
    figure = show(architecture("densenet121"))
    figure.blocks.nth(4).click()
    assert figure.chosen == "features.denseblock2"
    expect(figure.parts).to_have_count(12 + 1)
    figure.parts.nth(2).click()
    assert figure.chosen == "features.denseblock2.denselayer3"
    assert "192 × 28 × 28 → 32 × 28 × 28" in figure.root.locator(".ce-title").inner_text()
    figure.root.get_by_role("button", name="Open its 3 parts").click()
    assert figure.trail == ["densenet121", "features.denseblock2", "denselayer3", "norm1"]
    expect(figure.parts).to_have_count(3)
    figure.root.get_by_role("button", name="denselayer3", exact=True).click()
    assert figure.chosen == "features.denseblock2.denselayer3"
    figure.parts.nth(2).click()
    expect(figure.parts).to_have_count(3)
    figure.root.get_by_role("button", name="features.denseblock2", exact=True).click()
    assert figure.chosen == "features.denseblock2"
    expect(figure.blocks.nth(4)).to_be_focused()
    figure.blocks.nth(4).click()
    assert figure.chosen == "features.denseblock2.denselayer1"


def test_the_edges_at_the_chosen_part_are_marked(show):
    figure = show(architecture("densenet121"))
    figure.blocks.nth(2).click()
    edges, near = (figure.root.locator(f".ce-edges path{x}") for x in ("", ".ce-near"))
    expect(edges).to_have_count(1 + 2 + 3 + 4 + 5 + 6 + 7)
    expect(near).to_have_count(0)
    figure.parts.nth(1).click()
    expect(near).to_have_count(2 + 5)  # reads two, and five read it


def test_a_step_has_no_inside(show):
    figure = show(architecture("alexnet"))
    figure.blocks.first.click()
    expect(figure.root.locator(".ce-inside")).to_be_hidden()
    assert figure.chosen == "features.0"
    figure.press("Enter", "ArrowDown")
    assert figure.chosen == "features.0"
    rows = figure.root.locator("tbody tr")
    expect(rows).to_have_count(2)
    assert rows.first.locator("td").all_inner_texts() == [
        "features.0",
        "Conv2d 11 × 11, stride 4, padding 2",
        "64 × 55 × 55",
        "23,296",
        "70,276,800",
        "774,400",
        "11 × 11",
    ]


def test_another_network(show):
    figure = show(architecture("resnet50"))
    figure.blocks.nth(4).click()
    figure.press("Enter")
    for name in NETWORKS:
        figure.pick(name)
        expect(figure.blocks).to_have_count(len(lines(architecture(name))) - 1)
        assert figure.trail[0] == name
        expect(figure.blocks.first).to_have_attribute("aria-current", "true")


def test_what_only_trains_is_said_to(show):
    figure = show(architecture("googlenet"))
    figure.blocks.last.click()
    assert "does not" not in figure.sentence
    assert "in training only" in figure.sentence
    assert "sees" not in figure.sentence
    expect(figure.root.locator(".ce-level").last).to_contain_text("in training only")


def test_keys_do_not_reach_the_page_around(show):
    figure = show(architecture("resnet18"))
    figure.root.page.evaluate(
        "() => { document.onkeydown = (event) => { window.heard = event.key } }"
    )
    figure.blocks.nth(2).click()
    figure.press("ArrowRight", "ArrowDown", "Escape")
    assert figure.root.page.evaluate("window.heard") is None


def test_two_on_one_page_leave_one_another_alone(show):
    first, second = show(architecture("vgg16"), architecture("resnet18", models=["resnet18"]))
    before = first.root.inner_text()
    second.blocks.nth(3).click()
    second.press("Enter")
    assert second.chosen == "layer1.1.conv1"
    assert first.root.inner_text() == before
    assert second.root.get_by_role("option").all_inner_texts() == ["resnet18"]


def test_without_scripts_the_table_stays(show):
    root = show(architecture(), java_script_enabled=False).root
    expect(root.get_by_role("table")).to_have_count(1)
    expect(root.get_by_role("table")).to_contain_text("25,557,032")
    expect(root.get_by_role("button")).to_have_count(0)


# ---- looks

GRAPHS = """(root) => {
  const found = [];
  const boxes = () => [...root.querySelectorAll(".ce-part, .ce-input")].map((node) => {
    const { left, top, right, bottom } = node.getBoundingClientRect();
    const graph = node.closest(".ce-graph").getBoundingClientRect();
    return { text: node.innerText, left, top, right, bottom, graph: graph.right,
      spills: node.scrollWidth > node.clientWidth || node.scrollHeight > node.clientHeight };
  });
  for (const block of root.querySelectorAll(".ce-flow button")) {
    if (!block.hasAttribute("aria-current")) block.click();
    if (!root.querySelector(".ce-part")) continue;
    found.push(boxes());
    const count = root.querySelectorAll(".ce-part").length;
    for (let i = 0; i < Math.min(count, 4); i += 1) {
      block.click();
      root.querySelectorAll(".ce-part")[i].click();
      const deeper = root.querySelector(".ce-title button");
      if (!deeper) continue;
      deeper.click();
      found.push(boxes());
    }
  }
  return found;
}"""


@pytest.mark.parametrize("width", [1000, 375])
@pytest.mark.parametrize(
    "name", ["googlenet", "resnet18", "densenet121", "efficientnet_b0", "inception_v3", "vit_b_16"]
)
def test_parts_do_not_overlap_and_hold_their_words(show, name, width):
    figure = show(architecture(name, models=[]), viewport={"width": width, "height": 800})
    graphs = figure.root.evaluate(GRAPHS)
    assert len(graphs) >= 4
    for boxes in graphs:
        assert [box["text"] for box in boxes if box["spills"]] == []
        assert all(box["right"] <= box["graph"] + 1 for box in boxes)
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                apart = (
                    a["left"] >= b["right"]
                    or b["left"] >= a["right"]
                    or a["top"] >= b["bottom"]
                    or b["top"] >= a["bottom"]
                )
                assert apart, (a["text"], b["text"])


@pytest.mark.parametrize("name", [*NETWORKS, "resnet152", "inception_v3"])
def test_a_phone_shows_it_without_sideways_scrolling(show, name):
    figure = show(architecture(name, models=[]), viewport={"width": 375, "height": 800})
    for i in range(figure.blocks.count()):
        figure.blocks.nth(i).evaluate("(block) => block.click()")
    assert figure.root.page.evaluate("document.documentElement.scrollWidth") == 375
    right = figure.root.evaluate(
        """(root) => Math.max(...Array.from(root.querySelectorAll("*"))
             .filter((node) => !node.parentElement.closest(".ce-inside, .ce-scroll"))
             .map((node) => node.getBoundingClientRect().right))"""
    )
    assert right <= 375
    smallest = figure.blocks.evaluate_all(
        "(nodes) => Math.min(...nodes.map((node) => node.getBoundingClientRect().width))"
    )
    assert smallest >= 24  # a finger can hit it: WCAG 2.2, 2.5.8


@pytest.mark.parametrize("width", [1000, 375])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(show, serious_findings, scheme, width):
    figures = show(
        architecture("googlenet"),
        architecture("densenet121", models=[]),
        architecture("lenet5", models=[]),
        color_scheme=scheme,
        viewport={"width": width, "height": 800},
    )
    figures[0].blocks.nth(5).click()
    figures[0].press("Enter")
    figures[1].blocks.nth(4).click()
    figures[1].parts.nth(2).click()
    assert serious_findings(figures[0].root.page) == []


CONTRASTS = """(root) => {
  const canvas = document.createElement("canvas").getContext("2d");
  const rgb = (...colours) => {
    canvas.clearRect(0, 0, 1, 1);
    for (const colour of colours) {
      canvas.fillStyle = colour;
      canvas.fillRect(0, 0, 1, 1);
    }
    return [...canvas.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  };
  const card = getComputedStyle(root).backgroundColor;
  const nodes = ".ce-part b, .ce-part span, .ce-input, .ce-channels, .ce-size, .ce-legend span";
  return [...root.querySelectorAll(nodes)].filter((node) => node.textContent.trim()).map((node) => {
    const box = getComputedStyle(node.closest(".ce-part, .ce-input, .ce-block") ?? root);
    return [rgb(card, box.backgroundColor), rgb(card, getComputedStyle(node).color)];
  });
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "block"), [("googlenet", 5), ("efficientnet_b0", 3)])
def test_words_on_colours_have_contrast(show, name, block, scheme):
    """Axe cannot judge mixed colours: WCAG 2.1, 1.4.3 by hand."""
    figure = show(architecture(name, models=[]), color_scheme=scheme)
    figure.blocks.nth(block).click()
    colours = np.array(figure.root.evaluate(CONTRASTS)) / 255  # (words, 2, 3)
    linear = np.where(colours <= 0.04045, colours / 12.92, ((colours + 0.055) / 1.055) ** 2.4)
    luminance = np.sort(linear @ [0.2126, 0.7152, 0.0722])  # (words, 2), dark first
    assert len(luminance) > 20
    assert len(np.unique(colours[:, 0], axis=0)) >= 4  # the colours are there
    assert ((luminance[:, 1] + 0.05) / (luminance[:, 0] + 0.05)).min() >= 4.5
