r"""What each layer of a network makes, costs and sees, found by running it without computing.

The network runs on PyTorch's *meta* device, where tensors have shapes but no values, so that the
largest takes no memory and a second at most. Every operation that it calls is noted, whether a
module calls it or a plain function does: products of matrices and convolutions for the
multiply-adds, new tensors for the memory, and what each unit sees of the input for the receptive
field, which goes along with the tensors through branches, sums and reshapes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from math import prod
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.weak import WeakTensorKeyDictionary

from coursepkg.convolution.arithmetic import (
    ReceptiveField,
    Window,
    activation_bytes,
    receptive_field,
)
from coursepkg.convolution.torch_models import Summary, table
from coursepkg.training import mode
from coursepkg.validation import integer

__all__ = ["ModelSummary", "Row", "summary", "tensors"]

aten = torch.ops.aten

#: Of an axis, the factors (label, size) that it is made of.
Axis = tuple[tuple[str, int], ...]
Fields = dict[str, ReceptiveField | None]
Rule = Callable[["_Seen", Any, Tensor], "_Seen | None"]


class Row(NamedTuple):
    r"""One row of a `ModelSummary`; shape, multiply-adds and memory are for one input.

    Attributes
    ----------
    name, kind : str
        As the model calls the layer, and its class.
    shape : tuple of int
        Of the output, without the batch; empty for what did not run.
    parameters : int
        Numbers that the layer learns. A layer or a weight used again counts once.
    macs : int
        Multiply-adds of convolutions, linear layers and other products of matrices.
    memory : int
        Bytes of the new tensors that the layer makes.
    receptive_field : tuple of (int or None)
        Height and width in pixels of what one unit of the output sees; None for the whole input.
    """

    name: str
    kind: str
    shape: tuple[int, ...]
    parameters: int
    macs: int
    memory: int
    receptive_field: tuple[int | None, int | None]


@dataclass(frozen=True)
class ModelSummary(Summary):
    r"""What each layer of a network does with one input; printed, it is a table.

    Attributes
    ----------
    layers : tuple of Row
        In the order in which they ended.
    parameters, macs, memory : int
        The sums.
    """

    layers: tuple[Row, ...]  # type: ignore[assignment]

    def __str__(self) -> str:
        """Lay the rows out, with a line of sums below."""
        head = ("layer", "", "output", "parameters", "multiply-adds", "bytes", "sees")
        return table(
            [
                head,
                *(
                    (x.name, x.kind, _shape(x), *map("{:,}".format, x[3:6]), _seen(x))
                    for x in self.layers
                ),
                ("sum", "", "", *map("{:,}".format, (self.parameters, self.macs, self.memory)), ""),
            ]
        )


def _shape(row: Row) -> str:
    return str(row.shape) if row.shape else "not run"


def _seen(row: Row) -> str:
    if not row.shape:
        return ""
    height, width = ("all" if n is None else str(n) for n in row.receptive_field)
    return height if height == width else f"{height} x {width}"


def summary(model: nn.Module, input_size: Sequence[int], depth: int | None = None) -> ModelSummary:
    r"""Say what each layer of a network makes of one input, what it costs and what it sees.

    Rows are the modules without modules inside, and the others as far as they do something
    themselves: the sum at the end of a residual block is no module, but it is work. Parameters
    that the run does not touch, such as those of auxiliary heads, have rows at the end.

    Parameters
    ----------
    model : Module
        On any device; neither changed nor computed. It runs in evaluation mode.
    input_size : sequence of int
        Without the batch: (C, H, W) for images.
    depth : int, optional
        Fold into one row what lies deeper than so many modules inside one another: 0 is one row
        for the whole network, 1 its parts.

    Returns
    -------
    ModelSummary

    Raises
    ------
    ValueError
        If `input_size` has an entry that is no integer of at least 1, or `depth` is negative.
    RuntimeError
        If the model cannot take such an input, in PyTorch's words.

    Notes
    -----
    **Multiply-adds** are those of convolutions, linear layers and products of matrices, with
    those inside attention (queries with keys, and weights with values). Adding a bias, scaling,
    normalising, activations and pooling are not counted. Papers often call this number FLOPs.

    **Memory** is that of every new tensor of the forward pass; a view such as `Flatten` and a
    result written in place are none. Training keeps most of them for the backward pass.
    Attention counts with its matrix of weights, which some implementations never hold at once.

    **Receptive fields** follow Araujo, Norris & Sim (2019): each window makes the field larger by
    what `arithmetic.receptive_field` says, and where branches meet the field is the smallest that
    holds all of theirs. It may reach over the edges of the image. An average over the map, a
    linear layer on flattened maps, and attention see the whole input; so does all that comes
    after. A gate computed from the whole map, as in squeeze-and-excitation, also counts. Behind
    windows of unequal size and where maps grow (upsampling, transposed convolution) fields are
    not followed and count as whole, too.

    References
    ----------
    Araujo, Norris & Sim (2019), "Computing receptive fields of convolutional neural networks".

    Examples
    --------
    >>> print(summary(nn.Sequential(nn.Conv2d(1, 8, 5), nn.ReLU()), (1, 28, 28)))
    layer          output       parameters  multiply-adds   bytes  sees
    -------------------------------------------------------------------
    0      Conv2d  (8, 24, 24)         208        115,200  18,432     5
    1      ReLU    (8, 24, 24)           0              0  18,432     5
    -------------------------------------------------------------------
    sum                                208        115,200  36,864
    """
    shape = [integer("input_size", n, 1) for n in input_size]
    depth = None if depth is None else integer("depth", depth, 0)
    parameters = {name: p.to("meta") for name, p in model.named_parameters()}
    buffers = {name: b.to("meta") for name, b in model.named_buffers()}
    like = next(iter(parameters.values()), torch.empty(0))
    input = torch.zeros(1, *shape, dtype=like.dtype, device="meta")
    trace = _Trace(parameters, depth)
    with mode(model, training=False), torch.no_grad(), torch.device("meta"):
        trace.enter(input)
        with _calls(model, trace), trace:
            functional_call(model, parameters | buffers, (input,))
    return ModelSummary((*trace.rows, *_not_run(model, trace)))


@dataclass
class _Call:
    r"""A module while it runs, and what it has done itself so far."""

    name: str
    kind: str
    leaf: bool
    parameters: int = 0
    macs: int = 0
    memory: int = 0


@dataclass
class _Seen:
    r"""What the units of a tensor see.

    `axes` says of each axis along which axes of the image its places lie: it is made of factors
    (label, size) with a label of "", "h", "w" or "hw". `fields` are those of one unit along the
    height and the width, None for the whole input.
    """

    axes: tuple[Axis, ...]
    fields: Fields

    def blurred(self, axes: Sequence[int]) -> Fields:
        r"""Return the fields of a unit that sees all places along some axes."""
        mixed = {letter for k in axes for label, n in self.axes[k] if n > 1 for letter in label}
        return {key: None if key in mixed else value for key, value in self.fields.items()}


class _Trace(TorchDispatchMode):  # type: ignore[no-untyped-call]
    r"""Note each operation and carry along what the units see."""

    def __init__(self, parameters: dict[str, Tensor], depth: int | None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.depth = depth
        self.names = {id(p): name for name, p in parameters.items()}
        self.sizes = {name: p.numel() for name, p in parameters.items()}
        self.seen: Any = WeakTensorKeyDictionary()  # Tensor -> _Seen
        self.stack: list[_Call] = []
        self.rows: list[Row] = []
        self.called: set[str] = set()

    def enter(self, input: Tensor) -> None:
        r"""Let every pixel of the input see itself."""
        labels = ("", "", "h", "w") if input.ndim == 4 else ("",) * input.ndim
        axes = tuple(((label, n),) for label, n in zip(labels, input.shape, strict=True))
        pixel = receptive_field([]) if input.ndim == 4 else None
        self.seen[input] = _Seen(axes, {"h": pixel, "w": pixel})

    def open(self, call: _Call) -> None:
        r"""Begin a module."""
        if self.stack:
            self.stack[-1].leaf = False
        self.stack.append(call)
        self.called.add(call.name)

    def close(self, output: Any) -> None:
        r"""End a module: give it a row, or add it to the module that it is folded into."""
        call, level = self.stack.pop(), len(self.stack)
        own = call.parameters, call.macs, call.memory
        if self.depth is not None and level > self.depth:
            above = self.stack[-1]
            above.parameters += call.parameters
            above.macs += call.macs
            above.memory += call.memory
        elif call.leaf or any(own) or level == self.depth:
            first = next(tensors(output))
            seen = self.seen.get(first, _Seen((), {"h": None, "w": None}))
            height, width = (f and f.size for f in (seen.fields["h"], seen.fields["w"]))
            row = Row(call.name, call.kind, tuple(first.shape[1:]), *own, (height, width))
            self.rows.append(row)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        r"""Run an operation and note it."""
        out = func(*args, **(kwargs or {}))
        call, count = self.stack[-1], _MACS.get(func.overloadpacket)
        for name in {self.names.get(id(t), "") for t in tensors(args)}:
            call.parameters += self.sizes.pop(name, 0)
        call.macs += count(args, out) if count else 0
        call.memory += _new_bytes(func, out)
        if any(t in self.seen for t in tensors(args)):
            for tensor in tensors(out):
                self.seen[tensor] = self._follow(func, args, tensor)
        return out

    def _follow(self, func: Any, args: tuple[Any, ...], out: Tensor) -> _Seen:
        r"""Return what the units of a result see, given what those of the arguments see."""
        operation, known = func.overloadpacket, [self.seen.get(t) for t in tensors(args)]
        if operation in _PRODUCTS:
            found = _product(known[-2], known[-1], out)
        elif operation in _RULES and known[0]:
            found = _RULES[operation](known[0], args, out)
        elif torch.Tag.pointwise in func.tags or operation in _ALIKE:
            found = _alike([seen for seen in known if seen], out)
        elif operation is aten.cat:
            found = _joined([seen for seen in known if seen], args, out)
        else:
            found = None
        return found or _Seen(tuple((("", n),) for n in out.shape), {"h": None, "w": None})


@contextmanager
def _calls(model: nn.Module, trace: _Trace) -> Iterator[None]:
    r"""Tell the trace when modules begin and end."""

    def begin(name: str, kind: str) -> Callable[..., None]:
        return lambda module, inputs: trace.open(_Call(name, kind, leaf=True))

    handles = []
    for name, module in model.named_modules():
        kind = type(module).__name__
        handles.append(module.register_forward_pre_hook(begin(name, kind)))
        handles.append(
            module.register_forward_hook(lambda module, inputs, output: trace.close(output))
        )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def tensors(value: Any) -> Iterator[Tensor]:
    r"""Yield the tensors in nested tuples, lists and dictionaries.

    Examples
    --------
    >>> sum(int(tensor) for tensor in tensors([torch.tensor(1), {"a": (torch.tensor(2), 5)}]))
    3
    """
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (tuple, list)):
        for part in value:
            yield from tensors(part)
    elif isinstance(value, dict):
        yield from tensors(tuple(value.values()))


def _new_bytes(func: Any, out: Any) -> int:
    r"""Return the bytes of the results that share memory with no argument.

    The places of the largest numbers, which max pooling returns as well, are not counted, nor are
    the empty tensors and statistics that batch normalisation has for training.
    """
    if func.overloadpacket in (aten._unsafe_view, aten._reshape_alias):
        return 0
    first = func._schema.returns[:1]
    if not first or first[0].alias_info is not None:
        return 0
    results = list(tensors(out))
    if len(func._schema.returns) > 1:
        results = results[:1]
    return sum(activation_bytes(t.shape, t.dtype.itemsize) for t in results)


def _not_run(model: nn.Module, trace: _Trace) -> Iterator[Row]:
    r"""Yield a row for each part of the model whose parameters the run did not touch."""
    reached = {
        ".".join(parts[:k])
        for n in trace.called
        for parts in [n.split(".")]
        for k in range(len(parts) + 1)
    }
    left: dict[str, int] = {}
    for name, size in trace.sizes.items():
        parts = name.split(".")[:-1]
        prefixes = [".".join(parts[:k]) for k in range(1, len(parts) + 1)]
        part = next((p for p in prefixes if p not in reached), ".".join(parts))
        left[part] = left.get(part, 0) + size
    for name, size in left.items():
        yield Row(name, type(model.get_submodule(name)).__name__, (), size, 0, 0, (None, None))


def _convolution_macs(args: Any, out: Tensor) -> int:
    r"""Every output uses its filter's weights once; in a transposed convolution every input."""
    input, weight, transposed = args[0], args[1], args[6]
    uses: int = (input if transposed else out).numel()
    return uses * int(prod(weight.shape[1:]))


#: How often an operation multiplies and adds: functions of (arguments, result).
_MACS: dict[Any, Callable[[Any, Tensor], int]] = {
    aten.convolution: _convolution_macs,
    aten.mm: lambda args, out: out.numel() * args[0].shape[-1],
    aten.bmm: lambda args, out: out.numel() * args[0].shape[-1],
    aten.addmm: lambda args, out: out.numel() * args[1].shape[-1],
    aten.baddbmm: lambda args, out: out.numel() * args[1].shape[-1],
}
_PRODUCTS = (aten.mm, aten.bmm, aten.addmm, aten.baddbmm)


#: Operations whose units see what those at their places see, beside those that PyTorch itself
#: marks as pointwise.
_ALIKE = (aten.hardswish, aten.hardswish_, aten.detach, aten.alias, aten._to_copy)


def _plain(axes: Sequence[Axis], out: Tensor) -> tuple[Axis, ...]:
    r"""Let axes that nothing is known of be without labels."""
    return tuple(axis or (("", n),) for axis, n in zip(axes, out.shape, strict=True))


def _label(axis: Axis) -> str:
    return "".join(sorted({letter for label, _ in axis for letter in label}))


def _product(left: _Seen | None, right: _Seen | None, out: Tensor) -> _Seen | None:
    r"""A product of what comes from the input with what does not, such as a linear layer."""
    if (left is None) == (right is None):
        return None
    seen, kept, summed = (left, -2, -1) if left else (right, -1, -2)
    assert seen is not None
    axes: list[Axis] = [*seen.axes[:-2], (), ()]
    axes[kept] = seen.axes[kept]
    return _Seen(_plain(axes, out), seen.blurred([summed]))


def _alike(known: Sequence[_Seen], out: Tensor) -> _Seen | None:
    r"""Each unit sees what the units at its place in the arguments see."""
    axes: list[Axis] = []
    for k in range(-out.ndim, 0):
        there = {seen.axes[k] for seen in known if -k <= len(seen.axes) and _label(seen.axes[k])}
        if len(there) > 1:
            return None
        axes.append(there.pop() if there else ())
    return _Seen(_plain(axes, out), _union(known))


def _joined(known: Sequence[_Seen], args: Any, out: Tensor) -> _Seen | None:
    r"""Concatenate along one axis."""
    along = (args[1] if len(args) > 1 else 0) % out.ndim
    labels = {_label(seen.axes[along]) for seen in known}
    cut = [_Seen((*s.axes[:along], (), *s.axes[along + 1 :]), s.fields) for s in known]
    found = _alike(cut, out)
    if found is None or len(labels) > 1:
        return None
    axes = list(found.axes)
    axes[along] = ((labels.pop(), out.shape[along]),)
    return _Seen(tuple(axes), found.fields)


def _union(known: Sequence[_Seen]) -> Fields:
    r"""Return the smallest fields that hold all of these."""
    fields: Fields = {}
    for key in "hw":
        parts = [seen.fields[key] for seen in known]
        finite = [part for part in parts if part]
        fields[key] = None
        if len(finite) == len(parts) and len({part.jump for part in finite}) == 1:
            start = min(part.start for part in finite)
            end = max(part.start + part.size for part in finite)
            fields[key] = ReceptiveField(end - start, finite[0].jump, start)
    return fields


def _behind(first: ReceptiveField | None, then: ReceptiveField) -> ReceptiveField | None:
    r"""Return the field of a layer that sees `then` of units that see `first`."""
    if first is None:
        return None
    return ReceptiveField(
        first.size + (then.size - 1) * first.jump,
        first.jump * then.jump,
        first.start + then.start * first.jump,
    )


def _slide(seen: _Seen, windows: Sequence[ReceptiveField], out: Tensor) -> _Seen | None:
    r"""Let each unit see a window of units along the last axes; `windows` are their fields."""
    axes, fields = list(seen.axes), dict(seen.fields)
    for k, window in enumerate(windows, out.ndim - len(windows)):
        label = _label(axes[k])
        if len(label) > 1 or (label and len(axes[k]) > 1):
            return None
        if label:
            fields[label] = _behind(fields[label], window)
        axes[k] = ((label, out.shape[k]),)
    return _Seen(tuple(axes), fields)


def _windows(n: int, *settings: Any) -> list[ReceptiveField]:
    r"""Return the field of each of `n` axes, from settings for all of them or one for each."""
    each = [[*s] * n if len(s) == 1 else [*s] for s in settings]
    return [receptive_field([Window(*one)]) for one in zip(*each, strict=True)]


def _given(args: Any, *defaults: Any) -> list[Any]:
    r"""Return the arguments with defaults for the last ones, which may have been left out."""
    return [*args, *defaults[len(args) - 1 :]][1:]


def _convolution(seen: _Seen, args: Any, out: Tensor) -> _Seen | None:
    _, weight, _, stride, padding, dilation, transposed = args[:7]
    windows = _windows(out.ndim - 2, weight.shape[2:], stride, padding, dilation)
    mixed = _Seen((seen.axes[0], (("", out.shape[1]),), *seen.axes[2:]), seen.blurred([1]))
    return None if transposed else _slide(mixed, windows, out)


def _pool(seen: _Seen, args: Any, out: Tensor, *dilation: Any) -> _Seen | None:
    kernel, stride, padding = _given(args, None, (), (0,))[:3]
    windows = _windows(out.ndim - 2, kernel, stride or kernel, padding, *dilation)
    return _slide(seen, windows, out)


def _max_pool(seen: _Seen, args: Any, out: Tensor) -> _Seen | None:
    return _pool(seen, args, out, _given(args, None, (), (0,), (1,))[3])


def _adaptive_pool(seen: _Seen, args: Any, out: Tensor) -> _Seen | None:
    r"""Windows of equal size if they divide the map; a single one sees the whole input."""
    before, after = args[0].shape[2:], out.shape[2:]
    if any(n % m for n, m in zip(before, after, strict=True)):
        return None
    kernel = [n // m for n, m in zip(before, after, strict=True)]
    found = _slide(seen, _windows(len(kernel), kernel, kernel), out)
    whole = seen.blurred([k for k in range(2, out.ndim) if out.shape[k] == 1])
    return found and _Seen(found.axes, {k: whole[k] and found.fields[k] for k in whole})


def _reduce(seen: _Seen, args: Any, out: Tensor) -> _Seen:
    r"""Take a mean, sum or maximum over some axes, or all."""
    n = len(seen.axes)
    given = args[1] if len(args) > 1 and args[1] is not None else range(n)
    over = {k % n for k in (given if isinstance(given, Sequence) else [given])}
    axes: list[Axis] = [() if k in over else axis for k, axis in enumerate(seen.axes)]
    if out.ndim < n:
        axes = [axis for k, axis in enumerate(seen.axes) if k not in over]
    return _Seen(_plain(axes, out), seen.blurred(sorted(over)))


def _normalise(axes: Callable[[Any, int], Sequence[int]]) -> Rule:
    r"""Let each unit see all along some axes, functions of (arguments, number of axes)."""
    return lambda seen, args, out: (
        _Seen(seen.axes, seen.blurred(axes(args, out.ndim))) if len(seen.axes) == out.ndim else None
    )


def _reshape(seen: _Seen, args: Any, out: Tensor) -> _Seen | None:
    r"""Deal the factors of all axes out to the new axes, in their order."""
    factors = deque(f for axis in seen.axes for f in axis if f[1] > 1)
    axes: list[Axis] = []
    for size in out.shape:
        group, have = [], 1
        while have < size:
            label, n = factors.popleft()
            part = min(n, size // have)
            if size % have or n % part or (label and part < n):
                return None
            if part < n:
                factors.appendleft((label, n // part))
            group.append((label, part))
            have *= part
        axes.append(tuple(group))
    return _Seen(_plain(axes, out), seen.fields)


def _permute(seen: _Seen, args: Any, out: Tensor) -> _Seen:
    return _Seen(tuple(seen.axes[k] for k in args[1]), seen.fields)


def _transpose(seen: _Seen, args: Any, out: Tensor) -> _Seen:
    axes = list(seen.axes)
    j, k = args[1:] or (0, 1)
    axes[j], axes[k] = axes[k], axes[j]
    return _Seen(tuple(axes), seen.fields)


def _drop(seen: _Seen, args: Any, out: Tensor) -> _Seen:
    r"""Take one place of an axis."""
    k = (args[1] if len(args) > 1 else 0) % len(seen.axes)
    return _Seen((*seen.axes[:k], *seen.axes[k + 1 :]), seen.fields)


def _expand(seen: _Seen, args: Any, out: Tensor) -> _Seen:
    axes: list[Axis] = [() for _ in out.shape]
    for k in range(-len(seen.axes), 0):
        axes[k] = seen.axes[k] if _label(seen.axes[k]) else ()
    return _Seen(_plain(axes, out), seen.fields)


def _move(seen: _Seen, out: Tensor, axis: int, step: int, first: int) -> _Seen | None:
    r"""Take every `step`-th place from `first` on, along one axis."""
    axes, fields, label = list(seen.axes), dict(seen.fields), _label(seen.axes[axis])
    if label in fields:
        fields[label] = _behind(fields[label], ReceptiveField(1, step, first))
    axes[axis] = ((label, out.shape[axis]),)
    return _Seen(tuple(axes), fields)


def _slice(seen: _Seen, args: Any, out: Tensor) -> _Seen | None:
    axis, first, _, step = _given(args, 0, None, None, 1)
    if out.shape == args[0].shape:
        return seen
    first = range(args[0].shape[axis])[slice(first, None)].start
    return _move(seen, out, axis, step, first)


def _split(seen: _Seen, args: Any, out: Tensor) -> _Seen | None:
    r"""Cut an axis into parts; of those of the image itself, the place is forgotten."""
    axis = args[2] if len(args) > 2 else 0
    return None if _label(seen.axes[axis]) else _move(seen, out, axis, 1, 0)


def _pad(seen: _Seen, args: Any, out: Tensor) -> _Seen | None:
    for k, before in enumerate(args[1][::2], 1):
        moved = _move(seen, out, -k, 1, -before)
        if moved is None:
            return None
        seen = moved
    return seen


#: What the units of a result see: functions of (what those of the first argument see, arguments,
#: result). None stands for the whole input.
_RULES: dict[Any, Rule] = {
    aten.convolution: _convolution,
    aten.max_pool2d_with_indices: _max_pool,
    **dict.fromkeys((aten.avg_pool2d, aten.avg_pool3d), _pool),
    **dict.fromkeys((aten._adaptive_avg_pool2d, aten.adaptive_max_pool2d), _adaptive_pool),
    **dict.fromkeys((aten.mean, aten.sum, aten.amax, aten.amin, aten.max, aten.var), _reduce),
    **dict.fromkeys((aten._softmax, aten._safe_softmax), _normalise(lambda args, n: [args[1]])),
    aten.native_layer_norm: _normalise(lambda args, n: range(-len(args[1]), 0)),
    aten.native_group_norm: _normalise(lambda args, n: range(1, n)),
    aten.native_batch_norm: _normalise(lambda args, n: range(2, n) if args[5] else ()),
    **dict.fromkeys((aten.view, aten._unsafe_view), _reshape),
    **dict.fromkeys((aten.squeeze, aten.unsqueeze), _reshape),
    **dict.fromkeys((aten.transpose, aten.t), _transpose),
    **dict.fromkeys((aten.select, aten.unbind), _drop),
    **dict.fromkeys((aten.split, aten.split_with_sizes), _split),
    aten.permute: _permute,
    aten.expand: _expand,
    aten.slice: _slice,
    aten.constant_pad_nd: _pad,
}
