r"""Interactive figures: networks as they flow, with what each block makes, costs and sees."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from coursepkg.architectures.dataflow import INPUT, Node, Run, Share, dataflow
from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.summary import ModelSummary, Row, summary
from coursepkg.explorer import Explorer, static, table
from coursepkg.validation import integer, pair

__all__ = ["NETWORKS", "architecture"]

# Height and width; None for the whole image.
_Field = tuple[int | None, int | None]
# Of functions with windows of their own, which the summary has no row for.
_UNKNOWN: _Field = (-1, -1)
_JOINTS = ("+", "−", "×", "concatenation")

#: What the explorer offers if it is not told.
NETWORKS = (
    "lenet5",
    "alexnet",
    "vgg16",
    "googlenet",
    "resnet18",
    "resnet50",
    "densenet121",
    "mobilenet_v2",
    "efficientnet_b0",
)


def architecture(
    name: str = "resnet50",
    models: Sequence[str] | None = None,
    input_size: Sequence[int] | None = None,
) -> Explorer:
    r"""Walk through a network, from the image to the scores, and open its blocks.

    Each block is drawn as the maps that it makes: as high as they are, as thick as they are many.
    Bars below say which share of the network's parameters, multiply-adds and activation memory
    it has. The reader picks networks, chooses blocks and opens them; branches, shortcuts and
    concatenations inside are drawn as they run.

    Parameters
    ----------
    name : str
        The network shown first, as in `list_models()`.
    models : sequence of str, optional
        Those that the reader can choose from; `NETWORKS` if not given. `name` is one of them in
        any case.
    input_size : sequence of int, optional
        (C, H, W) of the image for all of them; if not given, what each network was made for.

    Returns
    -------
    Explorer
        A figure that notebooks and pages show as HTML.

    Raises
    ------
    ValueError
        If a name is unknown, or a network cannot take images of `input_size`.

    Notes
    -----
    What is a block is found by `coursepkg.architectures.dataflow.dataflow`, numbers are those of
    `coursepkg.architectures.summary.summary`; nothing is written down by hand. A network runs as
    in evaluation. What runs in training only, such as auxiliary heads, stands apart.

    Examples
    --------
    >>> architecture("alexnet", models=["vgg16"])
    <Blocks of a network: alexnet, 12 blocks, 61,100,840 parameters, 714,188,480 multiply-adds>
    """
    offered = list(dict.fromkeys([*(NETWORKS if models is None else models), name]))
    size = None if input_size is None else _image(input_size)
    networks = {each: _network(each, size) for each in offered}
    shown = networks[name]
    sums = shown.summary
    return Explorer(
        package="coursepkg.architectures",
        name="architecture",
        title="Blocks of a network",
        start=f"{name}, {len(shown.nodes)} blocks, {sums.parameters:,} parameters, "
        f"{sums.macs:,} multiply-adds",
        settings={"model": name, **_packed(networks)},
        fallback=static([table(_lines(shown), f"{name}: {shown.about}", head=_HEAD)]),
    )


@dataclass(frozen=True)
class _Network:
    r"""A network as it is drawn.

    `rows` are those of its summary. Where several boxes have a share in one row, the row stands
    there once for each, with what falls to it. `places` says where the rows of a module are, in
    the order of its shares; `whats` says of each row what it is.
    """

    about: str
    input_size: tuple[int, ...]
    summary: ModelSummary
    nodes: list[Node]
    rows: list[Row]
    whats: list[str]
    places: dict[Run, list[int]]

    def inside(self, node: Node) -> list[int]:
        r"""Return the places of the rows of what ran in a node."""
        return sorted(at for run in node.layers for at in self.places.get(run, []))

    def around(self, node: Node) -> list[int]:
        r"""Return the places of its shares of what is around it."""
        shares = (share for share in node.around if share[:2] in self.places)
        return sorted(self.places[share[:2]][share.number] for share in shares)


def _image(input_size: Sequence[int]) -> tuple[int, ...]:
    if isinstance(input_size, (str, int)) or len(input_size) != 3:
        raise ValueError(f"input_size={input_size!r} is no image; use (C, H, W)")
    return tuple(integer("input_size", n, 1) for n in input_size)


@cache
def _network(name: str, input_size: tuple[int, ...] | None) -> _Network:
    if name not in MODELS:
        raise ValueError(f"{name!r} is no network of the course; use one of {', '.join(MODELS)}")
    entry = MODELS[name]
    size = input_size or entry.input_size
    with torch.device("meta"):
        model = entry.factory()
    try:
        found = summary(model, size)
        nodes = list(dataflow(model, size))
    except RuntimeError as error:
        raise ValueError(
            f"input_size={size} does not suit {name}: {error}; leave it out for "
            f"{entry.input_size}, for which {name} was made"
        ) from error
    nodes += [
        Node(row.name, (row.kind,), ((row.name, 0),), (), (), (), ())
        for row in found.layers
        if not row.shape  # it did not run
    ]
    rows, places = _dealt(found.layers, nodes)
    about = (inspect.getdoc(entry.factory) or "").partition("\n")[0].replace("`", "")
    whats = [_what(model.get_submodule(row.name)) for row in rows]
    return _Network(about, size, found, nodes, rows, whats, places)


def _dealt(layers: Sequence[Row], nodes: Sequence[Node]) -> tuple[list[Row], dict[Run, list[int]]]:
    r"""Deal the rows of modules around the boxes out to those that have a share in them.

    Memory goes to where it is made; the rest, such as parameters, goes to the last one.
    """
    turns: Counter[str] = Counter()
    ran: dict[Run, Row] = {}
    for row in layers:
        ran[row.name, turns[row.name]] = row
        turns[row.name] += 1
    shares: dict[Run, list[tuple[Share, Node, _Field]]] = {run: [] for run in ran}
    for node, sees in _with_fields(nodes, ran, (1, 1)):
        for share in node.around:
            shares.get(share[:2], []).append((share, node, sees))
    rows: list[Row] = []
    places: dict[Run, list[int]] = {}
    for run, row in ran.items():
        others = sorted(shares[run], key=lambda each: each[0].number)[:-1]
        parts = [
            Row(row.name, row.kind, node.shape, 0, 0, share.memory, sees)
            for share, node, sees in others
        ]
        rest = row.memory - sum(part.memory for part in parts)
        assert rest >= 0, f"the shares of {row.name} hold more bytes than its row"
        places[run] = list(range(len(rows), len(rows) + len(parts) + 1))
        rows += [*parts, row._replace(memory=rest)]
    return rows, places


def _with_fields(
    nodes: Sequence[Node], ran: Mapping[Run, Row], before: _Field
) -> Iterator[tuple[Node, _Field]]:
    r"""Yield all nodes with what their units see; `before` is what those of the input see."""
    fields: list[_Field] = []
    for node in nodes:
        known = [ran[run].receptive_field for run in node.layers if run in ran]
        read = _widest([before if i == INPUT else fields[i] for i in node.sources])
        if not known and node.labels[0] in _JOINTS:
            known = [read]
        elif not known:
            known = [(None, None) if node.labels[0] == "average of all" else _UNKNOWN]
        fields.append(_widest(known))
        yield node, fields[-1]
        yield from _with_fields(node.parts, ran, read)


def _widest(fields: Sequence[_Field]) -> _Field:
    r"""Return the largest of some receptive fields, of those that are known."""
    sides = zip(*(_UNKNOWN, *fields), strict=True)
    height, width = (None if None in side else max(n or 0 for n in side) for side in sides)
    return height, width


def _what(layer: Any) -> str:
    r"""Say what a layer is, with the settings that matter: "Conv2d 3 × 3, stride 2"."""
    kind = type(layer).__name__
    if list(layer.children()):
        return f"functions of {kind}"
    if not hasattr(layer, "kernel_size"):
        return kind
    settings = {"stride": 1, "padding": 0, "dilation": 1, "groups": 1}
    words = ["{} × {}".format(*pair("kernel_size", layer.kernel_size, 1))]
    for name, default in settings.items():
        value = getattr(layer, name, None)
        value = default if value is None else value
        height, width = value if isinstance(value, tuple) else (value, value)
        if (height, width) != (default, default):
            words.append(f"{name} {height}" if height == width else f"{name} {height} × {width}")
    return f"{kind} {', '.join(words)}"


# ---- the static picture
_HEAD = ["block", "is", "output", "parameters", "multiply-adds", "bytes", "sees"]


def _lines(network: _Network) -> Iterator[list[str]]:
    r"""Yield one line for each block, and the sums."""
    for node in network.nodes:
        inside, around = (
            [network.rows[at] for at in places]
            for places in (network.inside(node), network.around(node))
        )
        output = " × ".join(map(str, node.shape)) or "in training only"
        numbers = _numbers(inside + around)
        yield [node.name, " · ".join(node.labels), output, *numbers, _sees(inside or around)]
    yield ["sum", "", "", *_numbers(network.summary.layers), ""]


def _numbers(rows: Sequence[Row]) -> list[str]:
    costs = ((row.parameters, row.macs, row.memory) for row in rows)
    return [f"{sum(column):,}" for column in zip(*costs, strict=True)] or ["0", "0", "0"]


def _sees(rows: Sequence[Row]) -> str:
    r"""Write the receptive field of a block: the largest of its layers'."""
    field = _widest([row.receptive_field for row in rows if row.shape])
    height, width = ("all" if n is None else str(n) for n in field)
    return "" if field == _UNKNOWN else height if height == width else f"{height} × {width}"


# ---- the data for the script, in few characters: what repeats is said once
@dataclass
class _Table:
    r"""A list of different values; `at` gives the place of one."""

    values: list[Any] = field(default_factory=list)
    places: dict[str, int] = field(default_factory=dict)

    def at(self, value: Any) -> int:
        place = self.places.setdefault(repr(value), len(self.values))
        if place == len(self.values):
            self.values.append(value)
        return place


def _packed(networks: dict[str, _Network]) -> dict[str, Any]:
    r"""Return what the script unpacks.

    - words: texts; shapes: of outputs
    - kinds: [word, shape, parameters, macs, memory] of a layer
    - drawings: lists of boxes [words, shape, name, rows, around, sources], and of blocks also
      [..., drawing, shape that it reads]. Names and rows count from those of the block that the
      drawing is of; rows are pairs of first and last plus 1.
    - networks: names of the layers, each with the number of letters that it shares with the one
      before; layers: [kind, field, kind, field, ...]
    """
    tables = {name: _Table() for name in ("words", "shapes", "kinds", "drawings")}
    packed = {}
    for name, network in networks.items():
        layers: list[Any] = []
        for row, what in zip(network.rows, network.whats, strict=True):
            shape = tables["shapes"].at(list(row.shape))
            kind = [tables["words"].at(what), shape, row.parameters, row.macs, row.memory]
            layers += [tables["kinds"].at(kind), _field(row)]
        packed[name] = {
            "about": network.about,
            "input": list(network.input_size),
            "names": " ".join(_shortened(row.name for row in network.rows)),
            "layers": layers,
            "drawing": _drawing(network, network.nodes, "", 0, tables),
        }
    return {"networks": packed, **{name: each.values for name, each in tables.items()}}


def _field(row: Row) -> int | list[int]:
    r"""Return a receptive field, as one number if it is square; 0 stands for the whole image."""
    height, width = (n or 0 for n in row.receptive_field)
    return height if height == width else [height, width]


def _shortened(names: Iterable[str]) -> Iterator[str]:
    r"""Write names as what they share with the one before, by length, and the rest.

    bn1 bn2 conv3 -> 0:bn1 2:2 0:conv3
    """
    before = ""
    for name in names:
        pairs = enumerate(zip(before, name, strict=False))
        shared = min(len(before), len(name))
        shared = next((i for i, (a, b) in pairs if a != b), shared)
        yield f"{shared}:{name[shared:]}"
        before = name


def _drawing(
    network: _Network, nodes: Sequence[Node], name: str, first: int, tables: dict[str, _Table]
) -> int:
    r"""Enter the drawing of a block, whose first row is `first`, and return its place."""
    boxes = []
    for node in nodes:
        inside, around = network.inside(node), network.around(node)
        box = [
            [tables["words"].at(label) for label in node.labels],
            tables["shapes"].at(list(node.shape)),
            tables["words"].at(node.name.removeprefix(name).lstrip(".")),
            _ranges(at - first for at in inside),
            _ranges(at - first for at in around),
            list(node.sources),
        ]
        if node.parts:
            drawing = _drawing(network, node.parts, node.name, inside[0], tables)
            box += [drawing, tables["shapes"].at(list(node.read))]
        boxes.append(box)
    return tables["drawings"].at(boxes)


def _ranges(numbers: Iterable[int]) -> list[int]:
    r"""Return [first, last + 1, first, last + 1, ...] of rising numbers."""
    ranges: list[int] = []
    for n in numbers:
        if ranges and ranges[-1] == n:
            ranges[-1] += 1
        else:
            ranges += [n, n + 1]
    return ranges
