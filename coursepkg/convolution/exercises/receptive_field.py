r"""How much of the image does a unit see?

A unit deep in a network sees the image through all the layers below it. Write `receptive_field`,
which follows one axis of a stack of layers, from the image upwards, and returns three integers as
a tuple `(size, jump, start)`:

- `size`: how many pixels across one unit of the last layer sees;
- `jump`: how many pixels further on its neighbour looks;
- `start`: the first pixel that unit 0 sees. It is negative where it lies in the padding.

`windows` is a list with one entry for each layer. An entry has the integers `window.kernel`,
`window.stride`, `window.padding` and `window.dilation`; the cases write them in this order, such as
`(3, 2, 0, 1)`. Without any layer a unit is a pixel: `(1, 1, 0)`.

Draw the first cases on squared paper, with the image as the lowest row:

- one kernel of 3 sees 3 pixels, and its neighbours lie 1 apart;
- a second kernel of 3 on top of it sees three units of the first layer. The fields of those three
  overlap, so that it sees 5 pixels, not 6 or 9;
- if the *first* layer has stride 2, the three units look 2 pixels apart, and the second layer sees
  7 pixels. If the *second* has it, that changes nothing about what it sees, only about how far
  its units lie apart.

Each of the three results gives points by itself.
"""

from __future__ import annotations

from collections import namedtuple
from collections.abc import Iterator

import numpy as np

from coursepkg.convolution.arithmetic import receptive_field
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"size": 3, "jump": 1, "start": 2}
environment = "numpy"
seconds = 2.0
reference = receptive_field
FORBID = ("torch", "tensorflow", "jax")

Layers = tuple[tuple[int, ...], ...]
STRIDE, PADDING, DILATION = (4, 1, 2), (2, 4, 2), (2, 1, 4)  # the bounds of what varies


def driver(Answer, layers):
    Window = namedtuple("Window", "kernel stride padding dilation")
    size, jump, start = Answer([Window(*layer) for layer in layers])
    yield "size", size
    yield "jump", jump
    yield "start", start


def oracle(layers: Layers) -> dict[str, int]:
    r"""Collect the very pixels: go from unit 0 and unit 1 back to all that they are made of."""
    seen = [{0}, {1}]
    for kernel, stride, padding, dilation in reversed(layers):
        taps = [a * dilation - padding for a in range(kernel)]
        seen = [{i * stride + tap for i in units for tap in taps} for units in seen]
    first, second = map(min, seen)
    return {"size": max(seen[0]) - first + 1, "jump": second - first, "start": first}


def _case(layers: Layers, size: int, jump: int, start: int) -> Case:
    return Case("", {"layers": layers}, {"size": size, "jump": jump, "start": start})


PUBLIC = (
    _case((), 1, 1, 0),
    _case(((3, 1, 0, 1),), 3, 1, 0),
    _case(((3, 1, 0, 1), (3, 1, 0, 1)), 5, 1, 0),
    _case(((3, 2, 0, 1), (3, 1, 0, 1)), 7, 2, 0),
    _case(((3, 1, 0, 1), (3, 2, 0, 1)), 5, 2, 0),
    _case(((2, 2, 0, 1), (2, 3, 0, 1), (2, 1, 0, 1)), 10, 6, 0),
    _case(((3, 1, 0, 2),), 5, 1, 0),
    _case(((3, 1, 1, 1),), 3, 1, -1),
    _case(((2, 2, 0, 1), (3, 1, 1, 1)), 6, 2, -2),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield stacks of one to four layers, each option alone and all together."""
    for options in (STRIDE, PADDING, DILATION, (4, 4, 4)):
        for depth in (1, 2, 3, 4):
            layers = tuple(_layer(rng, options) for _ in range(depth))
            yield Case("", {"layers": layers}, oracle(layers))


def _layer(rng: np.random.Generator, below: tuple[int, ...]) -> tuple[int, ...]:
    settings = rng.integers((2, 1, 0, 1), (6, *below))
    return tuple(settings.tolist())


def _reach(window):
    return window.dilation * (window.kernel - 1)


def _walk(windows, wider=None, earlier=None, jump=1):
    r"""Follow a stack; `wider` and `earlier` say by how much a layer changes size and start."""
    size, start = 1, 0
    for window in windows:
        size += wider(window, jump) if wider else _reach(window) * jump
        start += earlier(window, jump) if earlier else -window.padding * jump
        jump *= window.stride
    return size, jump, start


def kernels_added(windows):
    """You add up the sizes of the kernels. Two kernels of 3 see 5 pixels, not 6, since the fields
    overlap: start with `size = 1`, and let a layer add only what is new, `kernel - 1` steps.
    """
    size, jump, start = _walk(windows, lambda window, jump: (_reach(window) + 1) * jump)
    return size - 1 if windows else 1, jump, start


def kernels_multiplied(windows):
    """You multiply the sizes of the kernels. Neighbouring windows overlap: a layer adds
    `kernel - 1` steps to what a unit sees.
    """
    _, jump, start = _walk(windows)
    return int(np.prod([_reach(window) + 1 for window in windows], dtype=int)), jump, start


def stride_ignored(windows):
    """Your size does not depend on the strides. After a layer with stride 2, neighbouring units
    look 2 pixels apart, and a kernel over them reaches twice as far: multiply by the jump.
    """
    return _walk(windows, lambda window, jump: _reach(window))


def own_stride_counted(windows):
    """You multiply the jump by the stride of a layer too early. The stride says how far the *units
    of this layer* lie apart; its kernel runs over those of the layer below. Update the jump last.
    """
    return _walk(windows, lambda window, jump: _reach(window) * jump * window.stride)


def only_own_stride(windows):
    """You multiply by the stride of the layer itself. What counts is how far apart the units below
    look: the product of all strides before this layer, without its own.
    """
    return _walk(windows, lambda window, jump: _reach(window) * window.stride)


def only_stride_below(windows):
    """You multiply by the stride of the layer just below. Strides multiply up: take the product of
    all that come before.
    """
    size = 1
    for window, below in zip(windows, [1, *(w.stride for w in windows)], strict=False):
        size += _reach(window) * below
    return size, *_walk(windows)[1:]


def strides_added(windows):
    """You add up the strides. Two layers of stride 3 make a jump of 9, not of 6: multiply."""
    size, jump, start = 1, 1, 0
    for window in windows:
        size += _reach(window) * jump
        start -= window.padding * jump
        jump += window.stride - 1
    return size, jump, start


def from_the_top(windows):
    """You go through the layers from the last to the first, with the rule for going from the first
    to the last. The first entry lies on the image: begin there.
    """
    return _walk(windows[::-1])


def dilation_ignored(windows):
    """Your size does not depend on `dilation`. The taps lie `dilation` units apart, so that
    `kernel - 1` gaps are `dilation` times as wide.
    """
    return _walk(windows, lambda window, jump: (window.kernel - 1) * jump)


def dilation_times_kernel(windows):
    """A dilated kernel does not reach across `dilation * kernel` units. It has `kernel - 1` gaps,
    each `dilation` wide, and one unit more.
    """
    return _walk(windows, lambda window, jump: (window.dilation * window.kernel - 1) * jump)


def padding_widens(windows):
    """Padding makes your field larger or smaller. It moves the field and leaves its size alone."""
    return _walk(windows, lambda window, jump: (_reach(window) + 2 * window.padding) * jump)


def padding_added(windows):
    """Your start has the wrong sign. Padding lets unit 0 begin before the image, so that its first
    pixel has a negative number: subtract.
    """
    return _walk(windows, earlier=lambda window, jump: window.padding * jump)


def padding_not_scaled(windows):
    """You subtract the padding of every layer as if it were pixels of the image. It is made of
    units of the layer below, which look `jump` pixels apart: multiply by that.
    """
    return _walk(windows, earlier=lambda window, jump: -window.padding)


def padding_scaled_too_far(windows):
    """You multiply the padding by a jump that already holds the stride of its own layer. Padding
    lies around the input of the layer: use the jump from before.
    """
    return _walk(windows, earlier=lambda window, jump: -window.padding * jump * window.stride)


def padding_ignored(windows):
    """Your start is 0 whatever the padding is. A layer with padding 1 lets its unit 0 begin one
    unit of the layer below before the first.
    """
    return *_walk(windows)[:2], 0


def padding_of_first_layer(windows):
    """You use the padding of one layer only. Every layer that pads moves the start further back."""
    return *_walk(windows)[:2], _walk(windows[:1])[2]


def centre_returned(windows):
    """You return the centre of the first field. `start` is its first pixel, half a field before."""
    size, jump, start = _walk(windows)
    return size, jump, start + size // 2


def jump_of_last_layer(windows):
    """Your jump is the stride of the last layer. Those below it count as well: return the product
    of all strides.
    """
    size, _, start = _walk(windows)
    return size, windows[-1].stride if windows else 1, start


def jump_below_last_layer(windows):
    """Your jump lacks the stride of the last layer. The size needs the product of the strides
    *below* a layer, but what you return belongs to the units of the last one.
    """
    size, _, start = _walk(windows)
    return size, _walk(windows[:-1])[1], start


def size_and_jump_swapped(windows):
    """You return the right numbers in another order. The tuple is `(size, jump, start)`."""
    size, jump, start = _walk(windows)
    return jump, size, start


def start_missing(windows):
    """You return two numbers. All three are wanted: `return size, jump, start`."""
    return _walk(windows)[:2]


def floats_returned(windows):
    """Your numbers are floats. Pixels are counted in integers: use `//` where you divide, and begin
    with `1` and `0`, not with `1.0` and `0.0`.
    """
    return tuple(float(number) for number in _walk(windows))


def empty_stack_refused(windows):
    """Your answer fails on a stack without layers. There a unit is a pixel: `(1, 1, 0)`."""
    return _walk(windows, jump=windows[0].stride // windows[0].stride)


WRONG = (
    kernels_added,
    kernels_multiplied,
    stride_ignored,
    own_stride_counted,
    only_own_stride,
    only_stride_below,
    strides_added,
    from_the_top,
    dilation_ignored,
    dilation_times_kernel,
    padding_widens,
    padding_added,
    padding_not_scaled,
    padding_scaled_too_far,
    padding_ignored,
    padding_of_first_layer,
    centre_returned,
    jump_of_last_layer,
    jump_below_last_layer,
    size_and_jump_swapped,
    start_missing,
    floats_returned,
    empty_stack_refused,
)
