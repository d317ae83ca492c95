r"""What a layer costs

Before anybody trains a network, two numbers say what it will cost: how many numbers its layers
learn, and how many times they multiply. Write `conv2d_cost`, which returns both for one
convolution layer, as a tuple of two integers `(parameters, macs)`.

- **Parameters**: all weights, and with `bias=True` one bias for each filter.
- **Multiply-adds** (macs), for one image: at every place of the output each filter multiplies as
  often as it has weights. Adding the bias is not counted, and a multiply-add counts once.

Do this one first: 3 channels, six filters of 5 × 5, an output of 28 × 28. A filter has
3 · 25 = 75 weights, so there are 6 · 75 = 450 of them and 6 biases: 456 parameters. The output has
28 · 28 = 784 places: 450 · 784 = 352,800 multiply-adds.

`kernel_size` and `output_size` are integers or pairs (height, width). With `groups`, the input
channels fall into so many equal parts, and a filter sees only one of them. If `groups` does not
divide `in_channels` and `out_channels`, raise a `ValueError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from coursepkg.convolution.arithmetic import conv2d_cost
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"one filter": 1, "many filters": 2, "pairs": 1, "no bias": 1, "groups": 1, "errors": 1}
environment = "numpy"
seconds = 2.0
reference = conv2d_cost
FORBID = ("torch", "tensorflow", "jax")


def oracle(
    in_channels: int,
    out_channels: int,
    kernel_size: Any,
    output_size: Any,
    groups: int = 1,
    bias: bool = True,
) -> tuple[int, int]:
    r"""Make the arrays and count: each filter with its biases, each place with its products."""
    if in_channels % groups or out_channels % groups:
        raise ValueError(f"groups={groups} does not divide the channels")
    kernel, places = np.broadcast_to(kernel_size, 2), np.broadcast_to(output_size, 2)
    filters = [np.zeros((in_channels // groups, *kernel)) for _ in range(out_channels)]
    parameters = sum(f.size + (1 if bias else 0) for f in filters)
    macs = sum(f.size for f in filters for _ in np.ndindex(*places))
    return int(parameters), int(macs)


def _layer(c_in: int, c_out: int, kernel: Any, output: Any, **options: Any) -> dict[str, Any]:
    sizes = {"kernel_size": kernel, "output_size": output}
    return {"in_channels": c_in, "out_channels": c_out, **sizes, **options}


PUBLIC = (
    Case("one filter", _layer(1, 1, 3, 4), (10, 144)),
    Case("one filter", _layer(3, 1, 2, 5), (13, 300)),
    Case("many filters", _layer(3, 6, 5, 28), (456, 352_800)),
    Case("many filters", _layer(1, 2, 1, 1), (4, 2)),
    Case("pairs", _layer(2, 3, (1, 5), (4, 7)), (33, 840)),
    Case("no bias", _layer(2, 3, 3, 2, bias=False), (54, 216)),
    Case("groups", _layer(4, 6, 3, 2, groups=2), (114, 432)),
    Case("groups", _layer(3, 3, 3, 2, groups=3), (30, 108)),
    Case("errors", _layer(4, 6, 3, 2, groups=4), ValueError),
    Case("errors", _layer(3, 4, 3, 2, groups=2), ValueError),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield layers of up to 8 channels per group, each option alone and all together."""

    def drawn(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    def two() -> tuple[int, int]:
        a, b = (int(n) for n in rng.choice(np.arange(2, 8), 2, replace=False))
        return a, b

    for _ in range(3):
        c_in, c_out, kernel, output = drawn(2, 8), drawn(2, 8), drawn(2, 6), drawn(2, 9)
        groups = drawn(2, 5)
        grouped = c_in * groups, c_out * groups
        layers = (
            ("one filter", _layer(c_in, 1, kernel, output)),
            ("many filters", _layer(c_in, c_out + 1, kernel, output)),
            ("pairs", _layer(c_in, c_out, two(), two())),
            ("no bias", _layer(c_in, c_out, kernel, output, bias=False)),
            ("groups", _layer(*grouped, two(), two(), groups=groups, bias=False)),
            ("groups", _layer(groups, groups, kernel, output, groups=groups)),
        )
        for group, inputs in layers:
            yield Case(group, inputs, oracle(**inputs))
        yield Case("errors", _layer(grouped[0] + 1, grouped[1], 3, 4, groups=groups), ValueError)
        yield Case("errors", _layer(grouped[0], grouped[1] + 1, 3, 4, groups=groups), ValueError)


def _numbers(in_channels, out_channels, kernel_size, output_size, groups=1, bias=True):
    r"""Return filters, channels that each sees, taps, places and biases, after all checks."""
    conv2d_cost(in_channels, out_channels, kernel_size, output_size, groups, bias)
    taps, places = (int(np.prod(np.broadcast_to(n, 2))) for n in (kernel_size, output_size))
    return out_channels, in_channels // groups, taps, places, out_channels if bias else 0


def biases_forgotten(**layer):
    """Your parameters lack the biases: one for each filter, unless `bias=False`."""
    filters, channels, taps, places, _ = _numbers(**layer)
    return filters * channels * taps, filters * channels * taps * places


def biases_always(**layer):
    """You count biases where there are none. With `bias=False` a layer learns its weights only."""
    filters, channels, taps, places, _ = _numbers(**layer)
    return filters * (channels * taps + 1), filters * channels * taps * places


def one_bias_for_all(**layer):
    """You count one bias for the whole layer. Each filter has its own: there are `out_channels` of
    them.
    """
    filters, channels, taps, places, biases = _numbers(**layer)
    return filters * channels * taps + (biases > 0), filters * channels * taps * places


def bias_per_kernel(**layer):
    """You count one bias for each kernel. A filter adds up what its kernels give and then adds
    *one* bias: count filters, not kernels.
    """
    filters, channels, taps, places, biases = _numbers(**layer)
    return filters * channels * taps + biases * channels, filters * channels * taps * places


def bias_per_input_channel(**layer):
    """Your number of biases is that of the input channels. A bias belongs to an output channel, so
    there are `out_channels` of them.
    """
    filters, channels, taps, places, biases = _numbers(**layer)
    biases = layer["in_channels"] if biases else 0
    return filters * channels * taps + biases, filters * channels * taps * places


def bias_per_place(**layer):
    """You count a bias for each place of the output. A filter uses the same bias at all places, as
    it uses the same weights.
    """
    filters, channels, taps, places, biases = _numbers(**layer)
    return filters * channels * taps + biases * places, filters * channels * taps * places


def one_kernel_per_filter(**layer):
    """You give each filter one kernel. It has one for each input channel (of its group), so
    multiply by those.
    """
    filters, _, taps, places, biases = _numbers(**layer)
    return filters * taps + biases, filters * taps * places


def one_filter_only(**layer):
    """You count a single filter. A layer has `out_channels` of them, each with weights and a bias
    of its own.
    """
    _, channels, taps, places, biases = _numbers(**layer)
    return channels * taps + (biases > 0), channels * taps * places


def side_for_area(**layer):
    """You multiply by `kernel_size` once. A kernel has a height *and* a width: 5 means 5 × 5 = 25
    weights.
    """
    filters, channels, _, places, biases = _numbers(**layer)
    side = int(np.broadcast_to(layer["kernel_size"], 2)[0])
    return filters * channels * side + biases, filters * channels * side * places


def places_along_one_side(**layer):
    """Your multiply-adds count the places along one side of the output. There are height times
    width of them.
    """
    filters, channels, taps, _, biases = _numbers(**layer)
    side = int(np.broadcast_to(layer["output_size"], 2)[0])
    return filters * channels * taps + biases, filters * channels * taps * side


def squares_assumed(**layer):
    """You square the first number of a pair. Height and width may differ: multiply the one by the
    other.
    """
    sizes = {n: int(np.broadcast_to(layer[n], 2)[0]) for n in ("kernel_size", "output_size")}
    return conv2d_cost(**layer | sizes)


def groups_ignored(**layer):
    """Your numbers do not depend on `groups`. With groups a filter sees only `in_channels //
    groups` channels, and has no kernels for the others.
    """
    filters, _, taps, places, biases = _numbers(**layer)
    weights = filters * layer["in_channels"] * taps
    return weights + biases, weights * places


def groups_ignored_in_macs(**layer):
    """Your parameters are right, but the multiply-adds do not depend on `groups`. Each filter
    multiplies as often as it *has* weights.
    """
    return conv2d_cost(**layer)[0], groups_ignored(**layer)[1]


def groups_twice(**layer):
    """You divide both numbers of channels by `groups` and take one group's part for the whole
    layer. All `out_channels` filters exist; only what each of them sees is divided.
    """
    filters, channels, taps, places, biases = _numbers(**layer)
    weights = filters // layer.get("groups", 1) * channels * taps
    return weights + biases, weights * places


def groups_multiplied(**layer):
    """More groups make your layer more expensive. They make it cheaper: a filter sees fewer
    channels, so divide.
    """
    filters, _, taps, places, biases = _numbers(**layer)
    weights = filters * layer["in_channels"] * layer.get("groups", 1) * taps
    return weights + biases, weights * places


def biases_in_macs(**layer):
    """Your multiply-adds include the biases. Adding a bias multiplies nothing and is not counted
    here: weights times places.
    """
    parameters, _ = conv2d_cost(**layer)
    return parameters, parameters * _numbers(**layer)[3]


def counted_twice(**layer):
    """Your second number is twice too large: you count multiplication and addition each. Here the
    two together count once.
    """
    parameters, macs = conv2d_cost(**layer)
    return parameters, 2 * macs


def weights_at_every_place(**layer):
    """You count the weights once for each place. But a filter takes its weights along: the number
    of parameters does not depend on the size of the image.
    """
    filters, channels, taps, places, biases = _numbers(**layer)
    macs = filters * channels * taps * places
    return macs + biases, macs


def places_forgotten(**layer):
    """Your multiply-adds are those of a single place. The window stands at height times width
    places of the output, and multiplies at each of them.
    """
    filters, channels, taps, _, biases = _numbers(**layer)
    return filters * channels * taps + biases, filters * channels * taps


def order_swapped(**layer):
    """Both numbers are right, but in the wrong order: parameters first, multiply-adds second."""
    return conv2d_cost(**layer)[::-1]


def parameters_only(**layer):
    """You return one number. Return both, as a tuple: `return parameters, macs`."""
    return conv2d_cost(**layer)[0]


def list_returned(**layer):
    """The numbers are right, but in a list. Return a tuple: `return parameters, macs`."""
    return list(conv2d_cost(**layer))


def floats_returned(**layer):
    """The numbers are right but not integers: `/` makes floats. Divide by the groups with `//`."""
    return tuple(float(number) for number in conv2d_cost(**layer))


def numpy_integers_returned(**layer):
    """The numbers are right, but they are NumPy's integers, which `np.prod` returns. Convert them
    with `int`, or use `math.prod`.
    """
    return tuple(np.int64(number) for number in conv2d_cost(**layer))


def groups_not_checked(**layer):
    """You take any number of groups. The parts must be equal: raise a `ValueError` if `groups` does
    not divide `in_channels` and `out_channels`.
    """
    groups = layer.get("groups", 1)
    rest = layer["in_channels"] % groups, layer["out_channels"] % groups
    c_in, c_out = layer["in_channels"] - rest[0], layer["out_channels"] - rest[1]
    return conv2d_cost(**layer | {"in_channels": c_in, "out_channels": max(c_out, groups)})


def outputs_not_checked(**layer):
    """You check that `groups` divides the input channels, but not the output channels. The filters
    are shared out as well.
    """
    if layer["in_channels"] % layer.get("groups", 1):
        raise ValueError("groups does not divide in_channels")
    return groups_not_checked(**layer)


def inputs_not_checked(**layer):
    """You check that `groups` divides the output channels, but not the input channels. Both are
    shared out in equal parts.
    """
    if layer["out_channels"] % layer.get("groups", 1):
        raise ValueError("groups does not divide out_channels")
    return groups_not_checked(**layer)


WRONG = (
    biases_forgotten,
    biases_always,
    one_bias_for_all,
    bias_per_kernel,
    bias_per_input_channel,
    bias_per_place,
    one_kernel_per_filter,
    one_filter_only,
    side_for_area,
    places_along_one_side,
    squares_assumed,
    groups_ignored,
    groups_ignored_in_macs,
    groups_twice,
    groups_multiplied,
    biases_in_macs,
    counted_twice,
    weights_at_every_place,
    places_forgotten,
    order_swapped,
    parameters_only,
    list_returned,
    floats_returned,
    numpy_integers_returned,
    groups_not_checked,
    outputs_not_checked,
    inputs_not_checked,
)
