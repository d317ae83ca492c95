r"""Interactive figures: their scripts compute, Python hands over what to start from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coursepkg.convolution import arithmetic
from coursepkg.convolution.arithmetic import Window, conv2d_parameters
from coursepkg.convolution.fast import conv2d
from coursepkg.convolution.filters import FILTERS, box
from coursepkg.convolution.padding import PaddingMode, pad
from coursepkg.convolution.pooling import max_pool2d
from coursepkg.explorer import Explorer, number, static, table
from coursepkg.validation import choice, integer

__all__ = ["CAT_EYE", "Stack", "conv_layer", "convolution2d", "receptive_field"]

#: The left eye of the cat in `skimage.data.chelsea`, rows 84-146 and columns 138-200: means of
#: 9 x 9 pixels, stretched to 0..9. Channels red, green, blue.
CAT_EYE = [
    [
        [5, 5, 5, 4, 5, 6, 9],
        [4, 7, 7, 4, 1, 2, 4],
        [7, 8, 7, 1, 2, 4, 5],
        [6, 7, 5, 0, 1, 5, 6],
        [5, 7, 6, 1, 2, 6, 6],
        [8, 6, 8, 6, 6, 7, 4],
        [8, 9, 6, 5, 5, 3, 3],
    ],
    [
        [3, 3, 3, 2, 3, 4, 7],
        [3, 5, 5, 3, 1, 2, 3],
        [5, 6, 6, 1, 1, 3, 3],
        [5, 6, 4, 0, 1, 4, 4],
        [3, 6, 5, 1, 2, 4, 4],
        [6, 4, 6, 5, 5, 6, 3],
        [6, 6, 4, 4, 3, 2, 1],
    ],
    [
        [2, 1, 1, 1, 1, 2, 5],
        [1, 3, 3, 3, 1, 0, 1],
        [2, 3, 5, 1, 1, 1, 1],
        [2, 3, 2, 0, 1, 2, 1],
        [1, 3, 2, 0, 1, 2, 2],
        [4, 2, 3, 2, 2, 2, 2],
        [3, 4, 2, 1, 1, 1, 1],
    ],
]

# What the figure can hold and stay legible on a phone.
_LIMITS = {"size": 12, "channels": 4, "kernel": 5, "stride": 4, "padding": 3, "dilation": 3}
_LARGEST = 9999


# Named kernels, each in the sizes that the figure offers, 3 x 3 first.
_KERNELS = {"box": [box(size).tolist() for size in (3, 2, 4, 5)]} | {
    name: [kernel.tolist()] for name, kernel in FILTERS.items() if kernel.shape == (3, 3)
}


def convolution2d(
    input: ArrayLike | None = None,
    kernel: str | ArrayLike = "sobel_x",
    bias: float = 0,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Explorer:
    r"""Step through a 2-D convolution: move the window, watch the products, grow the output.

    It shows what `conv2d` computes for one filter: the products of kernel and window, their
    sum per channel, the bias and the total. The reader changes every setting in place.

    Parameters
    ----------
    input : (H, W) or (C, H, W) array of numbers, optional
        At most 4 channels of 12 x 12; `CAT_EYE` if not given.
    kernel : str or (kh, kw) or (C, kh, kw) array of numbers
        `"box"`, the name of a 3 x 3 kernel in `coursepkg.convolution.filters.FILTERS`, or values
        of at most 5 x 5. A single matrix serves all channels.
    bias : float
        Added to every output.
    stride, padding, dilation : int
        As in `conv2d`; at most 4, 3 and 3.

    Returns
    -------
    Explorer
        A figure that notebooks and pages show as HTML.

    Raises
    ------
    ValueError
        If an argument has the wrong rank or size, is not finite or is out of range, or if the
        window does not fit into the padded input.

    Examples
    --------
    >>> convolution2d(kernel="sharpen", stride=2)
    <Step through a 2-D convolution: input 3 × 7 × 7, kernel 3 × 3, output 3 × 3>
    """
    image = _planes("input", CAT_EYE if input is None else input, _LIMITS["size"])  # (C, H, W)
    weight = _kernel(kernel, len(image))  # (C, kh, kw)
    offset = _numbers("bias", bias, axes=(0,))
    settings = {
        "stride": _setting("stride", stride, 1),
        "padding": _setting("padding", padding, 0),
        "dilation": _setting("dilation", dilation, 1),
    }
    output = conv2d(
        image[None].astype(np.float64),  # (1, C, H, W)
        weight[None].astype(np.float64),  # (1, C, kh, kw)
        offset.reshape(1).astype(np.float64),
        **settings,
    )[0, 0]  # (H', W')
    shapes = (image.shape, weight.shape[1:], output.shape)
    return Explorer(
        package="coursepkg.convolution",
        name="convolution2d",
        title="Step through a 2-D convolution",
        start="input {}, kernel {}, output {}".format(*map(_times, shapes)),
        settings={
            "input": image.tolist(),
            "kernel": weight.tolist(),
            "bias": offset.item(),
            **settings,
            "kernels": _KERNELS,
            "limits": _LIMITS,
        },
        fallback=_tables(image, weight, output, {**settings, "bias": offset.item()}),
    )


def _tables(
    image: NDArray[Any], weight: NDArray[Any], output: NDArray[Any], settings: dict[str, float]
) -> str:
    words = ", ".join(f"{name} {number(value)}" for name, value in settings.items())
    tables = [table(plane, f"Input, channel {c + 1}") for c, plane in enumerate(image)]
    tables += [table(plane, f"Kernel, channel {c + 1}") for c, plane in enumerate(weight)]
    tables += [table(output, f"Output with {words}")]
    return static(tables)


def _kernel(kernel: str | ArrayLike, channels: int) -> NDArray[Any]:
    if isinstance(kernel, str):
        kernel = _KERNELS[choice("kernel", kernel, _KERNELS)][0]
    planes = _planes("kernel", kernel, _LIMITS["kernel"])
    if np.ndim(kernel) == 2:
        planes = np.repeat(planes, channels, axis=0)  # (C, kh, kw)
    if len(planes) != channels:
        raise ValueError(
            f"kernel has {len(planes)} channels but input has {channels}; "
            f"pass one matrix for all channels or {channels} of them"
        )
    return planes


def _planes(name: str, value: ArrayLike, longest: int) -> NDArray[Any]:
    array = _numbers(name, value, axes=(2, 3))
    planes = array[None] if array.ndim == 2 else array  # (C, H, W)
    channels, height, width = planes.shape
    if not (1 <= height <= longest and 1 <= width <= longest):
        raise ValueError(
            f"{name} is {height} x {width}; crop or shrink it to between 1 x 1 "
            f"and {longest} x {longest}, which still fits a phone"
        )
    if not 1 <= channels <= _LIMITS["channels"]:
        raise ValueError(
            f"{name} has {channels} channels; use 1 to {_LIMITS['channels']}, as (C, H, W)"
        )
    return planes


def _numbers(name: str, value: ArrayLike, axes: tuple[int, ...]) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is ragged; give its rows equal lengths") from error
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} has dtype {array.dtype}; pass integers or floats")
    if array.ndim not in axes:
        ranks = " or ".join({0: "a number", 2: "(H, W)", 3: "(C, H, W)"}[axis] for axis in axes)
        raise ValueError(f"{name} has shape {array.shape}; reshape it to {ranks}")
    wrong = array[~(np.abs(array.astype(float)) <= _LARGEST)]
    if wrong.size:
        raise ValueError(
            f"{name} contains {wrong.flat[0]}; replace or scale its values so that they lie "
            f"between -{_LARGEST} and {_LARGEST}"
        )
    return array


def _setting(name: str, value: int, minimum: int) -> int:
    return _at_most(name, integer(name, value, minimum), _LIMITS)


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))


# PyTorch's padding modes, and their names in `pad`.
_MODES: dict[str, PaddingMode] = {
    "zeros": "constant",
    "reflect": "reflect",
    "replicate": "replicate",
    "circular": "circular",
}

# What the figure of a layer offers, and where it starts: PyTorch's defaults, where it has them.
_CHOICES: dict[str, dict[str, list[Any]]] = {
    "Conv2d": {
        "in_channels": [1, 2, 3, 4],
        "out_channels": [1, 2, 3, 4],
        "kernel_size": [1, 2, 3, 4, 5],
        "stride": [1, 2, 3, 4],
        "padding": [0, 1, 2, 3],
        "dilation": [1, 2, 3],
        "groups": [1, 2, 3, 4],
        "padding_mode": list(_MODES),
        "bias": [True, False],
    },
    "MaxPool2d": {
        "kernel_size": [1, 2, 3, 4, 5],
        "stride": [None, 1, 2, 3, 4],
        "padding": [0, 1, 2, 3],
        "dilation": [1, 2, 3],
        "ceil_mode": [False, True],
    },
}
_START: dict[str, dict[str, Any]] = {
    layer: {name: choices[0] for name, choices in table.items()}
    for layer, table in _CHOICES.items()
}
_START["Conv2d"] |= {"out_channels": 4, "kernel_size": 3}
_START["MaxPool2d"] |= {"kernel_size": 2}

# The filters of the figure, for every size: the kernel on channel c is mix[c] times the outer
# product of a column and a row. Edges from left to right, edges downwards, red against blue, and
# corners in which green differs from red and blue.
_ONES = [[1], [1, 1], [1, 1, 1], [1, 1, 1, 1], [1, 1, 1, 1, 1]]
_STEP = [[1], [-1, 1], [-1, 0, 1], [-1, -1, 1, 1], [-1, -1, 0, 1, 1]]
_BANK: list[dict[str, Any]] = [
    {"mix": [1, 1, 1, 1], "down": _ONES, "across": _STEP, "bias": 0},
    {"mix": [1, 2, 1, 1], "down": _STEP, "across": _ONES, "bias": 1},
    {"mix": [1, 0, -1, 0], "down": _ONES, "across": _ONES, "bias": -5},
    {"mix": [1, -2, 1, -1], "down": _STEP, "across": _STEP, "bias": 2},
]


def conv_layer(
    layer: str = "Conv2d", input: ArrayLike | None = None, **settings: int | str | bool | None
) -> Explorer:
    r"""Change the settings of `torch.nn.Conv2d` or `torch.nn.MaxPool2d` and see what they do.

    It shows the input maps, the filters with a kernel for each channel that they see, the output
    maps, the window and the filter behind the chosen output, all shapes, the numbers of
    parameters and of multiply-adds, and the line of PyTorch that makes this layer.

    Parameters
    ----------
    layer : str
        "Conv2d" or "MaxPool2d"; the reader can change to the other one.
    input : (H, W) or (C, H, W) array of numbers, optional
        The maps that come in, at most 4 of 12 x 12; `CAT_EYE` if not given.
    **settings
        What the layer is set to at first, by PyTorch's names. For Conv2d: `in_channels` (the
        first maps of `input`; all if not given), `out_channels` (4 if not given), `kernel_size`
        (3), `stride`, `padding`, `dilation`, `groups`, `padding_mode` and `bias`. For MaxPool2d:
        `kernel_size` (2), `stride` (None is the kernel), `padding`, `dilation` and `ceil_mode`.
        At most 4 channels, a kernel of 5, a stride of 4, a padding of 3 and a dilation of 3.

    Returns
    -------
    Explorer
        A figure that notebooks and pages show as HTML.

    Raises
    ------
    ValueError
        If a name or a value is not offered, or if the settings do not fit one another.

    Notes
    -----
    Windows are square, and the weights are not random as in a new layer of PyTorch: small
    integers, so that sums can be checked by hand.

    Examples
    --------
    >>> conv_layer(kernel_size=5, stride=2, padding=2)
    <Settings of a layer: nn.Conv2d, input 3 × 7 × 7, output 4 × 4 × 4>
    >>> conv_layer("MaxPool2d", ceil_mode=True)
    <Settings of a layer: nn.MaxPool2d, input 3 × 7 × 7, output 3 × 4 × 4>
    """
    maps = _planes("input", CAT_EYE if input is None else input, _LIMITS["size"])  # (C, H, W)
    choices = _CHOICES | {
        "Conv2d": _CHOICES["Conv2d"] | {"in_channels": list(range(1, len(maps) + 1))}
    }
    start = {name: dict(table) for name, table in _START.items()}
    start["Conv2d"]["in_channels"] = len(maps)
    _choice("layer", layer, list(choices))
    for name, value in settings.items():
        if name not in choices[layer]:
            raise ValueError(f"{layer} has no {name}={value!r}; set {', '.join(choices[layer])}")
        start[layer][name] = _choice(name, value, choices[layer][name])
    tables, output = _LAYERS[layer](maps.astype(np.float64), **start[layer])
    shapes = maps[: start[layer].get("in_channels")].shape, output.shape
    return Explorer(
        package="coursepkg.convolution",
        name="conv_layer",
        title="Settings of a layer",
        start="nn.{}, input {}, output {}".format(layer, *map(_times, shapes)),
        settings={
            "layer": layer,
            "input": maps.tolist(),
            "bank": _BANK,
            "settings": start,
            "defaults": _START,
            "choices": choices,
        },
        fallback=static(tables),
    )


def _choice(name: str, value: object, choices: list[Any]) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    for known in choices:
        if type(known) is type(value) and known == value:
            return known
    raise ValueError(
        f"{name}={value!r} cannot be chosen; use one of {', '.join(map(repr, choices))}"
    )


def _conv(
    maps: NDArray[Any],
    in_channels: int,
    out_channels: int,
    kernel_size: int,
    stride: int,
    padding: int,
    dilation: int,
    groups: int,
    padding_mode: str,
    bias: bool,
) -> tuple[list[str], NDArray[Any]]:
    r"""Return the tables of a convolution layer, and its output."""
    conv2d_parameters(in_channels, out_channels, kernel_size, groups)  # refuses wrong groups
    input, parts = maps[:in_channels], _BANK[:out_channels]
    weight = np.stack([_filter(p, in_channels // groups, kernel_size) for p in parts])
    biases = np.array([p["bias"] * bias for p in parts], np.float64)
    padded = pad(input[None], padding, _MODES[padding_mode])  # (1, C_in, H+2p, W+2p)
    output = conv2d(padded, weight, biases, stride, 0, dilation, groups)[0]  # (C_out, H', W')
    tables = [
        *_named("Input map", input),
        *chain(*(_named(f"Filter {o}, kernel", f) for o, f in enumerate(weight, start=1))),
        table([biases], "Bias of each filter"),
        *_named("Output map", output),
    ]
    return tables, output


def _filter(parts: dict[str, Any], channels: int, size: int) -> NDArray[Any]:
    plane = np.outer(parts["down"][size - 1], parts["across"][size - 1])  # (k, k)
    mix = np.array(parts["mix"][:channels], np.float64)  # (C,)
    return mix[:, None, None] * plane


def _pool(maps: NDArray[Any], **settings: Any) -> tuple[list[str], NDArray[Any]]:
    r"""Return the tables of a pooling layer, and its output."""
    output = max_pool2d(maps[None], **settings)[0]  # (C, H', W')
    return [*_named("Input map", maps), *_named("Output map", output)], output


def _named(name: str, planes: NDArray[Any]) -> list[str]:
    return [table(plane, f"{name} {i}") for i, plane in enumerate(planes, start=1)]


_LAYERS: dict[str, Callable[..., tuple[list[str], NDArray[Any]]]] = {
    "Conv2d": _conv,
    "MaxPool2d": _pool,
}

#: Layers from the input on, each "conv" or "pool" with its window.
Stack = Sequence[tuple[str, Window]]

# Named stacks, each with the size of its input.
_STACKS: dict[str, tuple[int, Stack]] = {
    "small CNN": (
        32,
        [
            ("conv", Window(3, padding=1)),
            ("pool", Window(2, stride=2)),
            ("conv", Window(3, padding=1)),
            ("pool", Window(2, stride=2)),
            ("conv", Window(3, padding=1)),
        ],
    ),
    "one conv and one pool": (28, [("conv", Window(5)), ("pool", Window(2, stride=2))]),
    "three 3 × 3": (16, [("conv", Window(3))] * 3),
    "one 7 × 7": (16, [("conv", Window(7))]),
    "dilations 1, 2, 4": (
        32,
        [("conv", Window(3, padding=d, dilation=d)) for d in (1, 2, 4)],
    ),
    "dilations 2, 2, 2": (32, [("conv", Window(3, padding=2, dilation=2))] * 3),
    "AlexNet to pool5": (
        224,
        [
            ("conv", Window(11, stride=4, padding=2)),
            ("pool", Window(3, stride=2)),
            ("conv", Window(5, padding=2)),
            ("pool", Window(3, stride=2)),
            *[("conv", Window(3, padding=1))] * 3,
            ("pool", Window(3, stride=2)),
        ],
    ),
}
# What the reader can set.
_STACK_LIMITS = {"size": 256, "layers": 10, "kernel": 11, "stride": 4, "padding": 5, "dilation": 8}
_OUTPUT_SIZES: dict[str, Callable[..., int]] = {
    "conv": arithmetic.output_size,
    "pool": arithmetic.pool_output_size,
}


def receptive_field(layers: str | Stack = "small CNN", size: int | None = None) -> Explorer:
    r"""Stack layers and see what each unit sees, in every layer below it and in the input.

    It shows one axis; the other one is alike. The reader moves from unit to unit, changes, adds
    and removes layers, and reads the number of units, and the size, jump and start of
    `coursepkg.convolution.arithmetic.receptive_field`, after each layer.

    Parameters
    ----------
    layers : str or sequence of (str, Window)
        The name of a stack ("small CNN", "one conv and one pool", "three 3 × 3", "one 7 × 7",
        "dilations 1, 2, 4", "dilations 2, 2, 2" or "AlexNet to pool5"), or at most 10 layers from
        the input on, each "conv" or "pool" with its window: at most a kernel of 11, a stride of 4,
        a padding of 5 and a dilation of 8.
    size : int, optional
        Pixels of the input, at most 256; if not given, that of the named stack, or 32.

    Returns
    -------
    Explorer
        A figure that notebooks and pages show as HTML.

    Raises
    ------
    ValueError
        If a name is unknown, a number is out of range, or a window does not fit.

    Examples
    --------
    >>> receptive_field()
    <Receptive fields of a stack: 5 layers on 32 pixels, size 18, jump 4, start -7>
    >>> receptive_field([("conv", Window(5)), ("pool", Window(2, stride=2))], size=12)
    <Receptive fields of a stack: 2 layers on 12 pixels, size 6, jump 2, start 0>
    """
    length, stack = _stack(layers)
    length = _at_most("size", integer("size", length if size is None else size, 1), _STACK_LIMITS)
    rows = _rows(length, stack)
    size, jump, start = rows[-1][-3:]
    return Explorer(
        package="coursepkg.convolution",
        name="receptive_field",
        title="Receptive fields of a stack",
        start=f"{len(stack)} layers on {length} pixels, size {size}, jump {jump}, start {start}",
        settings={
            "size": length,
            "layers": _settings(stack),
            "stacks": {
                name: {"size": n, "layers": _settings(layers)}
                for name, (n, layers) in _STACKS.items()
            },
            "limits": _STACK_LIMITS,
        },
        fallback=static([table(rows, f"Receptive fields on {length} pixels", head=_HEAD)]),
    )


_HEAD = ["layer", "kernel", "stride", "padding", "dilation", "units", "size", "jump", "start"]


def _stack(layers: str | Stack) -> tuple[int, Stack]:
    if not isinstance(layers, str):
        return 32, _checked(layers)
    return _STACKS[choice("layers", layers, _STACKS)]


def _checked(layers: Stack) -> Stack:
    if not isinstance(layers, Sequence):
        raise ValueError(f"layers={layers!r} is no sequence; pass a name or a list of layers")
    _at_most("layers", len(layers), _STACK_LIMITS)
    for i, layer in enumerate(layers, start=1):
        match layer:
            case (str(kind), Window() as window):
                _choice("layer", kind, list(_OUTPUT_SIZES))
                for name, value in asdict(window).items():
                    _at_most(name, value, _STACK_LIMITS)
            case _:
                raise ValueError(f'layer {i} is {layer!r}; pass a pair such as ("conv", Window(3))')
    return layers


def _settings(layers: Stack) -> list[dict[str, Any]]:
    return [{"kind": kind, **asdict(window)} for kind, window in layers]


def _rows(size: int, layers: Stack) -> list[list[Any]]:
    r"""Return one row for the input and one for each layer, under `_HEAD`."""
    rows: list[list[Any]] = [["input", "", "", "", "", size, 1, 1, 0]]
    windows = [window for _, window in layers]
    for i, (kind, window) in enumerate(layers, start=1):
        numbers = asdict(window).values()
        try:
            size = _OUTPUT_SIZES[kind](size, *numbers)
        except ValueError as error:
            raise ValueError(f"layer {i}: {error}") from error
        field = arithmetic.receptive_field(windows[:i])
        rows.append([f"{kind} {i}", *numbers, size, *field])
    return rows


def _at_most(name: str, value: int, limits: dict[str, int]) -> int:
    if value > limits[name]:
        raise ValueError(f"{name}={value} is too large to draw; use at most {limits[name]}")
    return value
