r"""Squeeze and excite

Write squeeze-and-excitation as a module: a class `SqueezeExcitation` that multiplies each channel
of its input by a number between 0 and 1. That number depends on what the channels of the same image
look like as a whole.

1. **Squeeze.** Take the mean of each map. An image with C channels becomes C numbers.
2. **Excitation.** A fully connected layer makes `squeeze_channels` numbers of them, then comes a
   ReLU. A second one makes C numbers again, then comes a sigmoid. Both layers have a bias.
3. **Scale.** Multiply each map of the input by its number.

`SqueezeExcitation(input_channels, squeeze_channels)` makes both layers, the first one first. They
may be `nn.Linear`, or `nn.Conv2d` of size 1, which is the same on maps of one pixel. Leave the
other two arguments out, or keep them as they are: the cases do not use them.

The cases do just this with your class:

```python
model = SqueezeExcitation(input_channels, squeeze_channels)
numbers = [p.numel() for p in model.parameters()]
torch.nn.utils.vector_to_parameters(weights, model.parameters())
output = model(input)
(output * grad).sum().backward()
gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
```

where `weights` holds all numbers of all parameters in one row. Then they look at `numbers`,
`output`, `gradients`, and at `input.grad`: the input has two ways to the output.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from coursepkg.architectures.squeeze_excitation import SqueezeExcitation
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {
    "numbers": 2,
    "output": 3,
    "gradients": 1,
    "input gradient": 1,
    "reduction": 1,
    "batch": 1,
}
environment = "torch"
seconds = 10.0
reference = SqueezeExcitation
FORBID = ("torchvision", "timm", "tensorflow", "keras", "jax")


def driver(Answer, weights, input, grad, input_channels, squeeze_channels):
    model = Answer(input_channels, squeeze_channels)
    parameters = list(model.parameters())
    yield "numbers", [p.numel() for p in parameters]
    if sum(p.numel() for p in parameters) != len(weights):
        raise ValueError("the parameters are not as many as the weights of this case")
    torch.nn.utils.vector_to_parameters(torch.from_numpy(weights), parameters)
    input = torch.from_numpy(input).requires_grad_()
    output = model(input)
    yield "output", output.detach().numpy()
    (output * torch.from_numpy(grad)).sum().backward()
    yield "gradients", torch.cat([p.grad.flatten() for p in parameters]).numpy()
    yield "input gradient", input.grad.numpy()


def oracle(
    weights: NDArray[Any],
    input: NDArray[Any],
    grad: NDArray[Any],
    input_channels: int,
    squeeze_channels: int,
) -> dict[str, Any]:
    r"""Write the block and its gradients out in NumPy."""
    c, s = input_channels, squeeze_channels
    numbers = [s * c, s, c * s, c]
    w1, b1, w2, b2 = np.split(weights.astype(np.float64), np.cumsum(numbers)[:-1])
    w1, w2 = w1.reshape(s, c), w2.reshape(c, s)
    x, g = input.astype(np.float64), grad.astype(np.float64)
    z = x.mean((2, 3))  # (N, C)
    h = np.maximum(z @ w1.T + b1, 0)  # (N, S)
    gates = 1 / (1 + np.exp(-(h @ w2.T + b2)))  # (N, C)
    d_scores = (g * x).sum((2, 3)) * gates * (1 - gates)  # (N, C)
    d_hidden = d_scores @ w2 * (h > 0)  # (N, S)
    d_means = (d_hidden @ w1)[:, :, None, None] / x[0, 0].size
    parts = [d_hidden.T @ z, d_hidden.sum(0), d_scores.T @ h, d_scores.sum(0)]
    return {
        "numbers": numbers,
        "output": (x * gates[:, :, None, None]).astype(input.dtype),
        "gradients": np.concatenate([part.ravel() for part in parts]).astype(input.dtype),
        "input gradient": (g * gates[:, :, None, None] + d_means).astype(input.dtype),
    }


def _row(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


def _maps(*channels: list[float]) -> NDArray[np.float32]:
    r"""Return one image whose channels are single rows."""
    return np.array([[[row] for row in channels]], np.float32)


T = float(np.log(3))  # its sigmoid is 3/4, that of -T is 1/4

BY_HAND = {
    "weights": _row(1, -1, -3, T, -T, 0, 0),
    "input": _maps([1, 3], [0, -4]),
    "grad": _maps([1, 0], [0, 1]),
    "input_channels": 2,
    "squeeze_channels": 1,
}

EXPECTED = {
    "numbers": [2, 1, 2, 2],
    "output": _maps([0.75, 2.25], [0, -1]),
    "gradients": _row(
        *(1.875 * T, -1.875 * T, 0.9375 * T),  # of the first layer
        *(0.1875, -0.75, 0.1875, -0.75),  # of the second
    ),
    "input gradient": _maps([0.75 + 0.46875 * T, 0.46875 * T], [-0.46875 * T, 0.25 - 0.46875 * T]),
}

PUBLIC = (
    Case("", BY_HAND, EXPECTED),
    Case(
        "",
        BY_HAND | {"input": _maps([1, 3], [0, 0]), "grad": _maps([0, 0], [0, 1])},
        EXPECTED
        | {
            "output": _maps([0.5, 1.5], [0, 0]),
            "gradients": _row(*[0] * 7),
            "input gradient": _maps([0, 0], [0, 0.5]),
        },
    ),
    Case(
        "reduction",
        {
            "weights": _row(1, 2, -1, -5, T, 7, 0),
            "input": _maps([3, 1]),
            "grad": _maps([1, 0]),
            "input_channels": 1,
            "squeeze_channels": 2,
        },
        {
            "numbers": [2, 2, 2, 1],
            "output": _maps([0.75 * 3, 0.75]),
            "gradients": _row(1.125 * T, 0, 0.5625 * T, 0, 0.5625, 0, 0.5625),
            "input gradient": _maps([0.75 + 0.28125 * T, 0.28125 * T]),
        },
    ),
    Case(
        "batch",
        BY_HAND
        | {
            "input": np.concatenate([_maps([1, 3], [0, -4]), _maps([1, 3], [0, 0])]),
            "grad": np.concatenate([_maps([1, 0], [0, 1]), _maps([0, 0], [0, 1])]),
        },
        EXPECTED
        | {
            "output": np.concatenate([EXPECTED["output"], _maps([0.5, 1.5], [0, 0])]),
            "input gradient": np.concatenate([EXPECTED["input gradient"], _maps([0, 0], [0, 0.5])]),
        },
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield blocks with random weights: small ones, then wider ones, then larger batches."""
    for group, n, channels, squeeze in (
        *[("", 1, 4, 2)] * 3,
        ("reduction", 1, 6, 1),
        ("reduction", 1, 8, 3),
        ("reduction", 1, 3, 5),
        ("batch", 2, 4, 2),
        ("batch", 5, 6, 2),
    ):
        yield _case(rng, group, n, channels, squeeze)


def _case(rng: np.random.Generator, group: str, n: int, channels: int, squeeze: int) -> Case:
    shape = (n, channels, *(int(k) for k in rng.integers(2, 6, 2)))
    numbers = 2 * channels * squeeze + squeeze + channels
    inputs = {
        "weights": rng.normal(size=numbers).astype(np.float32),
        "input": rng.normal(rng.normal(size=(n, channels, 1, 1)), size=shape).astype(np.float32),
        "grad": rng.normal(size=shape).astype(np.float32),
        "input_channels": channels,
        "squeeze_channels": squeeze,
    }
    return Case(group, inputs, oracle(**inputs))


class one_layer_only(nn.Module):
    """Your excitation is one fully connected layer. There are two, with few numbers in the middle
    and a ReLU between them; one alone from C to C would have many more weights.
    """

    def __init__(self, input_channels, squeeze_channels):
        super().__init__()
        self.fc = nn.Conv2d(input_channels, input_channels, 1)

    def forward(self, input):
        return input * self.fc(input.mean((2, 3), keepdim=True)).sigmoid()


class no_relu_between(SqueezeExcitation):
    """There is no ReLU between your two layers, and two linear layers in a row are only one. Put
    `nn.ReLU()` between them.
    """

    def scale(self, input):
        return self.fc2(self.fc1(self.avgpool(input))).sigmoid()


class sigmoid_between(SqueezeExcitation):
    """Between your two layers stands a sigmoid. The first layer is followed by a ReLU, and only the
    second one by a sigmoid.
    """

    def scale(self, input):
        return self.fc2(self.fc1(self.avgpool(input)).sigmoid()).sigmoid()


class no_sigmoid(SqueezeExcitation):
    """You multiply by the plain scores, which may be negative or large. A sigmoid behind the second
    layer turns them into numbers between 0 and 1.
    """

    def scale(self, input):
        return self.fc2(self.fc1(self.avgpool(input)).relu())


class relu_at_the_end(SqueezeExcitation):
    """Behind your second layer stands a ReLU, so factors can be larger than 1. It has to be a
    sigmoid: the ReLU stands between the layers.
    """

    def scale(self, input):
        return self.fc2(self.fc1(self.avgpool(input)).relu()).relu()


class tanh_at_the_end(SqueezeExcitation):
    """Your factors go from -1 to 1, as those of a tanh do, and can turn the sign of a channel. Use
    a sigmoid, which stays between 0 and 1.
    """

    def scale(self, input):
        return self.fc2(self.fc1(self.avgpool(input)).relu()).tanh()


class softmax_at_the_end(SqueezeExcitation):
    """Your factors add up to 1 over the channels, as those of a softmax do: where one channel
    counts, the others cannot. A sigmoid weighs each channel by itself.
    """

    def scale(self, input):
        return self.fc2(self.fc1(self.avgpool(input)).relu()).softmax(1)


class largest_instead_of_mean(SqueezeExcitation):
    """You squeeze by taking the largest number of each map. Take the mean: `input.mean((2, 3))`."""

    def scale(self, input):
        return self.fc2(self.fc1(input.amax((2, 3), keepdim=True)).relu()).sigmoid()


class sum_instead_of_mean(SqueezeExcitation):
    """You squeeze by adding up each map, so that larger images give larger numbers. Divide by the
    number of pixels: take the mean.
    """

    def scale(self, input):
        return self.fc2(self.fc1(input.sum((2, 3), keepdim=True)).relu()).sigmoid()


class mean_over_the_batch(SqueezeExcitation):
    """You take the mean over the images of the batch, too, so that they all get the same factors.
    Each image has its own: keep axis 0.
    """

    def scale(self, input):
        return self.fc2(self.fc1(input.mean((0, 2, 3), keepdim=True)).relu()).sigmoid()


class no_squeeze(SqueezeExcitation):
    """You give the layers the maps themselves, so that every pixel gets a factor of its own.
    Squeeze first: one mean for each map.
    """

    def scale(self, input):
        return self.fc2(self.fc1(input).relu()).sigmoid()


class added_instead_of_multiplied(SqueezeExcitation):
    """You add the factors to the channels. They are factors: multiply by them."""

    def forward(self, input):
        return input + self.scale(input)


class input_added_again(SqueezeExcitation):
    """You add the input once more, as a shortcut would do. The block only multiplies; a shortcut,
    if there is one, belongs to the block around it.
    """

    def forward(self, input):
        return input + input * self.scale(input)


class one_minus_the_factors(SqueezeExcitation):
    """You multiply by one minus the factors, so that what should stay is damped most. Multiply by
    the factors as the sigmoid gives them.
    """

    def forward(self, input):
        return input * (1 - self.scale(input))


class factors_returned(SqueezeExcitation):
    """You return the factors themselves. Multiply the input by them, and return that."""

    def forward(self, input):
        return self.scale(input)


class means_multiplied(SqueezeExcitation):
    """You multiply the squeezed means by the factors, and the maps are gone. Multiply the whole
    input: keep it under a name of its own.
    """

    def forward(self, input):
        return self.avgpool(input) * self.scale(input)


class not_reduced(SqueezeExcitation):
    """The middle of your excitation is as wide as the input. It has `squeeze_channels` numbers."""

    def __init__(self, input_channels, squeeze_channels):
        super().__init__(input_channels, input_channels)


class taken_for_a_ratio(SqueezeExcitation):
    """You divide `input_channels` by `squeeze_channels`. It is no ratio here: it says how many
    numbers there are in the middle.
    """

    def __init__(self, input_channels, squeeze_channels):
        super().__init__(input_channels, max(1, input_channels // squeeze_channels))


class no_biases(SqueezeExcitation):
    """Your layers have no bias. Leave `bias` at its default, True."""

    def __init__(self, input_channels, squeeze_channels):
        super().__init__(input_channels, squeeze_channels)
        self.fc1.bias = self.fc2.bias = None


class second_layer_made_first(SqueezeExcitation):
    """You make the second layer before the first one, so its parameters are listed first. Make them
    in the order in which they are used.
    """

    def __init__(self, input_channels, squeeze_channels):
        super().__init__(input_channels, squeeze_channels)
        first = self.fc1
        del self.fc1
        self.fc1 = first


class squeeze_cut_off(SqueezeExcitation):
    """The output is right, but no gradient flows back through the squeeze: `detach`, `.data` or
    `torch.no_grad()` cuts the way. The input matters twice, as what is scaled and for the factors.
    """

    def scale(self, input):
        return super().scale(input.detach())


class factors_cut_off(SqueezeExcitation):
    """The output is right, but no gradient arrives at the two layers, so they would never learn:
    leave out `detach`, `.data` and `torch.no_grad()`.
    """

    def forward(self, input):
        return input * (super().scale(input).detach() + 0 * self.scale(input))


class layers_in_a_list(SqueezeExcitation):
    """Your layers lie in a plain Python list, where PyTorch does not look: their parameters would
    never be trained. Use attributes, `nn.Sequential` or `nn.ModuleList`.
    """

    def __init__(self, input_channels, squeeze_channels):
        super().__init__(input_channels, squeeze_channels)
        layers = [self.fc1, self.fc2]
        del self.fc1, self.fc2
        self.layers = layers

    def scale(self, input):
        first, second = self.layers
        return second(first(self.avgpool(input)).relu()).sigmoid()


class parent_not_initialised(SqueezeExcitation):
    """PyTorch has nowhere to keep your layers yet. Begin `__init__` with `super().__init__()`."""

    def __init__(self, input_channels, squeeze_channels):
        self.fc1 = nn.Conv2d(input_channels, squeeze_channels, 1)


class nothing_returned(SqueezeExcitation):
    """Your `forward` returns nothing. End it with `return` and the scaled maps."""

    def forward(self, input):
        super().forward(input)


class factors_without_places(SqueezeExcitation):
    """Your factors have the shape (N, C) when you multiply, so they meet the axes of the places and
    not the channels. Give them two more axes: `factors[:, :, None, None]`.
    """

    def forward(self, input):
        return input * self.scale(input)[:, :, 0, 0]


class linear_on_maps(nn.Module):
    """Your linear layer does not get C numbers for each image. It looks at the last axis alone, so
    hand it the means in the shape (N, C), as `input.mean((2, 3))` gives them.
    """

    def __init__(self, input_channels, squeeze_channels):
        super().__init__()
        self.fc1 = nn.Linear(input_channels, squeeze_channels)
        self.fc2 = nn.Linear(squeeze_channels, input_channels)

    def forward(self, input):
        means = input.mean((2, 3), keepdim=True)
        return input * self.fc2(self.fc1(means).relu()).sigmoid()


class input_overwritten(SqueezeExcitation):
    """You multiply the input in place, as `*=` does. It is needed for the gradients, and the caller
    may need it, too: return a new tensor.
    """

    def forward(self, input):
        input *= self.scale(input)
        return input


class convolutions_without_places(SqueezeExcitation):
    """Your convolutions get the means in the shape (N, C), and a convolution needs the axes of the
    places, too. Keep them, each of length 1: `input.mean((2, 3), keepdim=True)`.
    """

    def scale(self, input):
        return self.fc2(self.fc1(input.mean((2, 3))).relu()).sigmoid()


WRONG = (
    one_layer_only,
    no_relu_between,
    sigmoid_between,
    no_sigmoid,
    relu_at_the_end,
    tanh_at_the_end,
    softmax_at_the_end,
    largest_instead_of_mean,
    sum_instead_of_mean,
    mean_over_the_batch,
    no_squeeze,
    added_instead_of_multiplied,
    input_added_again,
    one_minus_the_factors,
    factors_returned,
    means_multiplied,
    not_reduced,
    taken_for_a_ratio,
    no_biases,
    second_layer_made_first,
    squeeze_cut_off,
    factors_cut_off,
    layers_in_a_list,
    parent_not_initialised,
    nothing_returned,
    factors_without_places,
    linear_on_maps,
    input_overwritten,
    convolutions_without_places,
)
