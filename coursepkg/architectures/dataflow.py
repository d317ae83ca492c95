r"""What flows where in a network: its blocks, their branches and joints, found by running it.

A network is run once on an input without values. Every module that runs and every function that
it calls is noted, with the tensors that it reads; from them follows which part feeds which. Parts
are then put together as people draw them:

- `nn.Sequential` and a module that is a row of boxes, most of them blocks, are opened in place;
- what works on the numbers of a map without a window or a matrix (normalisation, activation,
  dropout) belongs to the step before it: convolution, batch normalisation and ReLU are one step;
- a concatenation that one block alone reads belongs to that block;
- a module that holds a single step is that step;
- every other module with modules inside is a block, with parts of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from coursepkg.architectures.summary import tensors
from coursepkg.training import mode
from coursepkg.validation import integer, pair

__all__ = ["INPUT", "Node", "Run", "Share", "dataflow"]

#: A module by its name, and the number of times that it had run before.
Run = tuple[str, int]

#: Among the sources of a node: the input of the network, or of the block that the node is in.
INPUT = -1

_SHORT = {
    "AdaptiveAvgPool2d": "average of all",
    "AdaptiveMaxPool2d": "largest of all",
    "AvgPool2d": "average pool",
    "BatchNorm2d": "BN",
    "LayerNorm": "LN",
    "LayerNorm2d": "LN",
    "Linear": "linear",
    "LocalResponseNorm": "LRN",
    "MaxPool2d": "max pool",
    "MultiheadAttention": "attention",
    "NonDynamicallyQuantizableLinear": "linear",
    "adaptive_avg_pool2d": "average of all",
    "add": "+",
    "avg_pool2d": "average pool",
    "cat": "concatenation",
    "dropout": "Dropout",
    "gelu": "GELU",
    "iadd": "+",
    "imul": "×",
    "max_pool2d": "max pool",
    "mean": "average of all",
    "mul": "×",
    "relu": "ReLU",
    "relu_": "ReLU",
    "sigmoid": "Sigmoid",
    "silu": "SiLU",
    "sub": "−",
    "tanh": "Tanh",
}

# Functions that hand on or rearrange a tensor; a drawing leaves them out.
_REARRANGE = """
    chunk clone contiguous expand flatten get getitem movedim permute repeat reshape split squeeze
    to transpose unbind unflatten unsqueeze view
    """
# What layers with a window, a matrix or a fixed output have, and those that work on each number
# of a map have not.
_MIXING = ("kernel_size", "output_size", "in_features", "embed_dim")
# The same of functions, by parts of their names.
_MIXERS = ("pool", "conv", "linear", "matmul", "attention", "mean")


class Share(NamedTuple):
    r"""What a node has of the functions that a module around it calls.

    Attributes
    ----------
    name : str
    turn : int
        Together, the `Run` of the module.
    number : int
        How many nodes before this one have a share in them.
    memory : int
        Bytes of the new tensors that those functions make which are drawn in the node.
    """

    name: str
    turn: int
    number: int
    memory: int


@dataclass(frozen=True)
class Node:
    r"""One box of a drawing: a step of one or a few layers, a joint, or a block with parts.

    Attributes
    ----------
    name : str
        Dotted, as in `named_modules`; of a step, that of its first layer; empty for functions.
    labels : tuple of str
        What it is: ("conv 3 × 3 / 2", "BN", "ReLU"), ("+", "ReLU"), ("Bottleneck",).
    layers : tuple of (str, int)
        The modules that ran in it, each with the number of times that it had run before.
    around : tuple of Share
        Of modules that have no box of their own: layers that only pass on or rearrange what this
        node makes, and modules opened in place or around the drawing, whose functions run here.
    read, shape : tuple of int
        Of the first tensor that comes in, and of the output; without the batch.
    sources : tuple of int
        The places of the nodes that it reads in the list that it is in; `INPUT` for the input.
    parts : tuple of Node
        What a block is made of; empty for steps and joints.
    """

    name: str
    labels: tuple[str, ...]
    layers: tuple[Run, ...]
    around: tuple[Share, ...]
    read: tuple[int, ...]
    shape: tuple[int, ...]
    sources: tuple[int, ...]
    parts: tuple[Node, ...] = ()


def dataflow(model: nn.Module, input_size: Sequence[int]) -> tuple[Node, ...]:
    r"""Return the boxes of a drawing of the network, from the image to the scores.

    Parameters
    ----------
    model : Module
        Run once in evaluation mode and without gradients; left as it was. On the device "meta" it
        costs no memory.
    input_size : sequence of int
        Without the batch: (C, H, W) for images.

    Returns
    -------
    tuple of Node
        In the order in which they run.

    Raises
    ------
    ValueError
        If `input_size` has an entry that is no integer of at least 1, or the model calls no
        module.

    Examples
    --------
    >>> net = nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 5))
    >>> for node in dataflow(net, (3, 7, 7)):
    ...     print(node.name, node.labels, node.shape, node.sources)
    0 ('conv 3 × 3 / 2', 'ReLU') (8, 3, 3) (-1,)
    3 ('linear',) (5,) (0,)
    """
    size = [integer("input_size", n, 1) for n in input_size]
    like = next(model.parameters(), torch.empty(0))
    recorder = _Recorder(model)
    with recorder.listening(), mode(model, training=False), torch.no_grad():
        input = torch.empty(1, *size, dtype=like.dtype, device=like.device)
        recorder.made_by[id(input)] = INPUT
        with recorder:
            model(input)
    (root,) = recorder.root.parts
    if root.is_layer:
        raise ValueError(f"model {type(model).__name__} runs no module; pass one made of modules")
    return _nodes(root, _sources(root, recorder.reads))


@dataclass(eq=False)
class _Call:
    r"""A module that ran, or a function that was called; `parts` are the calls in it."""

    name: str
    turn: int
    what: nn.Module | str
    before: tuple[int, ...] = ()  # shape of the first tensor that it read
    shape: tuple[int, ...] = ()
    memory: int = 0  # bytes that a function makes anew
    functions: range = range(0)  # the numbers of the functions that were called in it
    parts: list[_Call] = field(default_factory=list)

    @property
    def is_layer(self) -> bool:
        r"""Whether no module ran in it."""
        return all(isinstance(part.what, str) for part in self.parts)

    @property
    def kind(self) -> str:
        r"""The name of the class or of the function."""
        return self.what if isinstance(self.what, str) else type(self.what).__name__


class _Recorder(TorchFunctionMode):
    r"""Note which modules run, which functions they call, and whose results these read.

    Functions that read something that comes from the input are numbered as they are called;
    `reads[i]` are the numbers of those whose results the function i reads.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.names = {module: name for name, module in model.named_modules()}
        self.turns = dict.fromkeys(self.names, 0)
        self.root = _Call("", 0, "")
        self.running = [self.root]
        self.made_by: dict[int, int] = {}  # number of the function, by id of the tensor
        self.alive: list[Tensor] = []  # so that no id is given twice
        self.reads: list[tuple[int, ...]] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        r"""Call a function of PyTorch and note it."""
        output = func(*args, **(kwargs or {}))
        read = [t for t in tensors((args, kwargs)) if id(t) in self.made_by]
        made = list(tensors(output))
        if read and made:
            number = len(self.reads)
            self.reads.append(tuple(dict.fromkeys(self.made_by[id(t)] for t in read)))
            self.made_by.update((id(t), number) for t in made)
            self.alive += made
            shapes = tuple(read[0].shape[1:]), tuple(made[0].shape[1:])
            functions = range(number, number + 1)
            held = {t.untyped_storage()._cdata for t in tensors((args, kwargs))}
            new = [t for t in made if t.untyped_storage()._cdata not in held]
            memory = sum(t.numel() * t.element_size() for t in new)
            call = _Call("", 0, func.__name__.strip("_"), *shapes, memory, functions)
            self.running[-1].parts.append(call)
        return output

    @contextmanager
    def listening(self) -> Iterator[None]:
        r"""Hear of every module that begins and ends."""
        handles = [module.register_forward_pre_hook(self._begin) for module in self.names]
        handles += [module.register_forward_hook(self._end) for module in self.names]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _begin(self, module: nn.Module, input: Any) -> None:
        call = _Call(self.names[module], self.turns[module], module)
        call.before = next((tuple(t.shape[1:]) for t in tensors(input)), ())
        call.functions = range(len(self.reads), len(self.reads))
        self.turns[module] += 1
        self.running[-1].parts.append(call)
        self.running.append(call)

    def _end(self, module: nn.Module, input: Any, output: Any) -> None:
        call = self.running.pop()
        call.shape = next((tuple(t.shape[1:]) for t in tensors(output)), ())
        call.functions = range(call.functions.start, len(self.reads))


def _sources(root: _Call, reads: Sequence[tuple[int, ...]]) -> list[set[int]]:
    r"""Return by number of a function whose results it reads, behind all rearranging."""
    hidden = {i for call in _calls(root) if _only_rearranges(call) for i in call.functions}
    sources: list[set[int]] = []
    for before in reads:
        sources.append(set().union(*(sources[i] if i in hidden else {i} for i in before)))
    return sources


def _calls(call: _Call) -> Iterator[_Call]:
    r"""Yield a call and, of those in it, modules and what is called between modules."""
    yield call
    if not call.is_layer:
        for part in call.parts:
            yield from _calls(part)


def _only_rearranges(call: _Call) -> bool:
    if isinstance(call.what, str):
        return call.kind in _REARRANGE.split()
    return call.is_layer and all(_only_rearranges(part) for part in call.parts)


def _nodes(call: _Call, sources: list[set[int]]) -> tuple[Node, ...]:
    r"""Return the boxes of the drawing of one module."""
    steps = _steps(call, sources)
    read = _read(steps, sources)
    nodes = [
        Node(
            name=next((part.name for part in step if part.name), ""),
            labels=(_label(step[0]), *(_short(part.kind) for part in step[1:])),
            layers=tuple(inside),
            around=tuple(around),
            read=step[0].before,
            shape=step[-1].shape,
            sources=tuple(sorted(read[i])),
            parts=() if step[0].is_layer else _nodes(step[0], sources),
        )
        for i, (step, (inside, around)) in enumerate(
            zip(steps, _shared_out(call, steps), strict=True)
        )
    ]
    return tuple(_joined(nodes))


def _joined(nodes: list[Node]) -> list[Node]:
    r"""Let a concatenation that a single block reads, and it alone, be part of that block.

    Each layer of a dense block then reads all layers before it.
    """
    for i, block in enumerate(nodes):
        readers = [node for node in nodes if block.sources and block.sources[0] in node.sources]
        if not block.parts or len(block.sources) != 1 or readers != [block]:
            continue
        (at,) = block.sources
        if at == INPUT or nodes[at].labels != ("concatenation",):
            continue
        nodes[i] = replace(
            block,
            layers=nodes[at].layers + block.layers,
            around=nodes[at].around + block.around,
            sources=nodes[at].sources,
        )
        renumbered = [n for n in range(len(nodes)) if n != at]
        moved = {INPUT: INPUT} | {n: k for k, n in enumerate(renumbered)}
        nodes = [nodes[n] for n in renumbered]
        nodes = [replace(node, sources=tuple(moved[n] for n in node.sources)) for node in nodes]
        return _joined(nodes)
    return nodes


def _steps(call: _Call, sources: list[set[int]]) -> list[list[_Call]]:
    r"""Return the boxes as lists of calls: layers and functions in a row, or one block."""
    single = [[part] for part in _drawn(call, sources)]
    read = _read(single, sources)
    readers = Counter(i for each in read for i in each)
    steps: list[list[_Call]] = []
    ends: dict[int, list[_Call]] = {}  # by place of the last call of a step
    for i, (part,) in enumerate(single):
        (before,) = read[i] if len(read[i]) == 1 else (INPUT,)
        step = ends.get(before)
        if step and readers[before] == 1 and step[0].is_layer and _works_on_each_number(part):
            step.append(part)
        else:
            step = [part]
            steps.append(step)
        ends[i] = step
    return steps


def _drawn(call: _Call, sources: list[set[int]]) -> Iterator[_Call]:
    r"""Yield the parts of a module, those of what is opened in place among them."""
    for part in call.parts:
        if _only_rearranges(part):
            continue
        if not part.is_layer and _opens(part, sources):
            yield from _drawn(part, sources)
        else:
            yield part


def _opens(call: _Call, sources: list[set[int]]) -> bool:
    r"""Whether a module with modules inside is drawn as its parts."""
    if type(call.what) is nn.Sequential:
        return True
    steps = _steps(call, sources)
    in_a_row = all(each <= {i - 1} for i, each in enumerate(_read(steps, sources)))
    blocks = sum(not step[0].is_layer for step in steps)
    return len(steps) == 1 or (in_a_row and 2 * blocks > len(steps))


def _works_on_each_number(call: _Call) -> bool:
    if not call.is_layer or call.before != call.shape:
        return False
    if isinstance(call.what, str):
        return not any(mixer in call.kind for mixer in _MIXERS)
    return not any(hasattr(call.what, name) for name in _MIXING)


def _read(steps: Sequence[Sequence[_Call]], sources: list[set[int]]) -> list[set[int]]:
    r"""Return for each box the places of those that it reads."""
    owner = {i: at for at, step in enumerate(steps) for part in step for i in part.functions}
    return [
        {owner.get(i, INPUT) for part in step for f in part.functions for i in sources[f]} - {at}
        for at, step in enumerate(steps)
    ]


def _shared_out(
    call: _Call, steps: Sequence[Sequence[_Call]]
) -> Iterator[tuple[list[Run], list[Share]]]:
    r"""Yield for each box the modules that ran in it, and its shares of those around it."""
    place = {id(each): at for at, step in enumerate(steps) for part in step for each in _all(part)}
    inside: list[list[Run]] = [[] for _ in steps]
    around: list[list[Share]] = [[] for _ in steps]
    at = 0
    for each in _all(call):
        run = (each.name, each.turn)
        if id(each) in place:
            at = place[id(each)]
            if not isinstance(each.what, str):
                inside[at].append(run)
        elif not isinstance(each.what, str):
            boxes = {place[id(part)] for part in _all(each) if id(part) in place} or {at}
            memory = Counter({max(boxes): 0})
            for part in each.parts:
                if isinstance(part.what, str) and id(part) in place:
                    memory[place[id(part)]] += part.memory
            for number, box in enumerate(sorted(memory)):
                around[box].append(Share(*run, number, memory[box]))
    return zip(inside, around, strict=True)


def _all(call: _Call) -> Iterator[_Call]:
    yield call
    for part in call.parts:
        yield from _all(part)


def _label(call: _Call) -> str:
    r"""Say what a call is: "conv 3 × 3 / 2" has a stride of 2."""
    if isinstance(call.what, str):
        return _short(call.kind)
    if not call.is_layer:
        return call.kind.lstrip("_")
    layer: Any = call.what
    if isinstance(layer, nn.Conv2d):
        depthwise = layer.groups == layer.in_channels > 1
        name = "depthwise" if depthwise else "conv"
    else:
        name = _short(call.kind)
    if not hasattr(layer, "kernel_size"):
        return name
    kernel = pair("kernel_size", layer.kernel_size, 1)
    stride = pair("stride", layer.stride or kernel, 1)
    window = f"{name} {kernel[0]} × {kernel[1]}"
    return window if max(stride) == 1 else f"{window} / {max(stride)}"


def _short(kind: str) -> str:
    return _SHORT.get(kind, kind.lstrip("_"))
