r"""A network of blocks

Write the network of this page as a module made of modules. Its class `NestedCNN` is told how
many channels each block puts out, and how large the images are; you work out the rest.

1. A block is a convolution that keeps the size of the maps, a ReLU, and max pooling over 2 x 2.
   There is one block for each number in `channels`. The first sees `in_channels`, every other
   one what the block before puts out.
2. After the blocks the maps are flattened, image by image. A linear layer makes `hidden` numbers
   of them, then comes a ReLU, then a linear layer that makes `classes` scores. How many numbers
   enter the first one? Pooling halves the size and rounds down: three blocks make 3 of 28.
3. The scores are the result: the softmax belongs to the loss.

All layers have a bias. PyTorch lists the parameters in the order in which you make the layers, so
make them in the order in which they are used. You need not set `map_shape`, nor call the two
parts as we do, nor check the arguments. `size` is an integer or a pair (height, width), and
kernels are of odd size.

The cases do just this with your class:

```python
model = NestedCNN(**settings)
shapes = [tuple(p.shape) for p in model.parameters()]
torch.nn.utils.vector_to_parameters(weights, model.parameters())
output = model(input)
(output * grad).sum().backward()
gradients = torch.cat([p.grad.flatten() for p in model.parameters()])
```

where `weights` holds all numbers of all parameters in one row. Then they look at `shapes`,
`output` and `gradients`.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import prod
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from coursepkg.convolution.torch_models import ConvBlock, NestedCNN
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"shapes": 2, "output": 3, "gradients": 2, "kernel": 1, "channels": 1, "size": 1}
points |= {"head": 1}
environment = "torch"
seconds = 10.0
reference = NestedCNN
FORBID = ("torchvision", "timm", "tensorflow", "keras", "jax")


def driver(Answer, weights, input, grad, **settings):
    model = Answer(**settings)
    parameters = list(model.parameters())
    yield "shapes", [tuple(p.shape) for p in parameters]
    if sum(p.numel() for p in parameters) != len(weights):
        raise ValueError("the parameters are not as many as the weights of this case")
    torch.nn.utils.vector_to_parameters(torch.from_numpy(weights), parameters)
    output = model(torch.from_numpy(input))
    yield "output", output.detach().numpy()
    (output * torch.from_numpy(grad)).sum().backward()
    yield "gradients", torch.cat([p.grad.flatten() for p in parameters]).numpy()


def _shapes(channels, kernel_size=5, in_channels=1, size=28, hidden=64, classes=10):
    r"""Return the shape of each parameter."""
    maps = np.broadcast_to(size, 2) // 2 ** len(channels)
    blocks = zip((in_channels, *channels), channels, strict=False)
    convs = [(after, before, kernel_size, kernel_size) for before, after in blocks]
    weights = [*convs, (hidden, channels[-1] * int(maps.prod())), (classes, hidden)]
    return [shape for weight in weights for shape in (weight, weight[:1])]


def oracle(
    weights: NDArray[Any], input: NDArray[Any], grad: NDArray[Any], **settings: Any
) -> dict[str, Any]:
    r"""Compute the network as a function of one long vector."""
    shapes = _shapes(**settings)
    vector = torch.from_numpy(weights).requires_grad_()
    parts = [p.reshape(s) for p, s in zip(vector.split([*map(prod, shapes)]), shapes, strict=True)]
    *convs, (v, c), (u, d) = zip(parts[::2], parts[1::2], strict=True)
    x = torch.from_numpy(input)
    for w, b in convs:
        x = F.max_pool2d(F.conv2d(x, w, b, padding=w.shape[-1] // 2).clamp(min=0), 2)
    output = (x.reshape(len(x), -1) @ v.T + c).clamp(min=0) @ u.T + d
    (output * torch.from_numpy(grad)).sum().backward()
    found = {"output": output.detach().numpy(), "gradients": vector.grad.numpy()}
    return {"shapes": shapes, **found}


def _row(*numbers: float) -> NDArray[np.float32]:
    return np.array(numbers, np.float32)


def _image(*rows: list[float]) -> NDArray[np.float32]:
    return np.array([[rows]], np.float32)


ONE = {"channels": (1,), "kernel_size": 1, "size": 2, "hidden": 1, "classes": 2}
BY_HAND = ONE | {
    "weights": _row(2, -1, 1, -2, 1, -1, 0, 0.5),
    "input": _image([1, 2], [3, -4]),
    "grad": _row(1, 10)[None],
}
SHAPES = [(1, 1, 1, 1), (1,), (1, 1), (1,), (2, 1), (2,)]

PUBLIC = (
    Case(
        "",
        BY_HAND,
        {
            "shapes": SHAPES,
            "output": _row(3, -2.5)[None],
            "gradients": _row(-27, -9, -45, -9, 3, 30, 1, 10),
        },
    ),
    Case(
        "kernel",
        BY_HAND
        | {"kernel_size": 3, "weights": _row(1, 0, 0, 0, 2, 0, 0, 0, 0, -1, 1, -2, 1, -1, 0, 0.5)},
        {
            "shapes": [(1, 1, 3, 3), *SHAPES[1:]],
            "output": _row(3, -2.5)[None],
            "gradients": _row(0, -9, -18, 0, -27, 36, 0, 0, 0, -9, -45, -9, 3, 30, 1, 10),
        },
    ),
    Case(
        "channels",
        BY_HAND
        | {
            "in_channels": 2,
            "weights": _row(2, 1, -1, 1, -2, 1, -1, 0, 0.5),
            "input": np.array([[[[1, 2], [3, -4]], [[0, 0], [1, 0]]]], np.float32),
        },
        {
            "shapes": [(1, 2, 1, 1), *SHAPES[1:]],
            "output": _row(4, -3.5)[None],
            "gradients": _row(-27, -9, -9, -54, -9, 4, 40, 1, 10),
        },
    ),
    Case(
        "size",
        BY_HAND | {"size": (3, 2), "input": _image([1, 2], [3, -4], [9, 9])},
        {
            "shapes": SHAPES,
            "output": _row(3, -2.5)[None],
            "gradients": _row(-27, -9, -45, -9, 3, 30, 1, 10),
        },
    ),
    Case(
        "head",
        BY_HAND
        | {
            "hidden": 2,
            "classes": 1,
            "weights": _row(2, -1, 1, -1, -2, 6, 1, -1, 0.5),
            "grad": _row(10)[None],
        },
        {
            "shapes": [*SHAPES[:2], (2, 1), (2,), (1, 2), (1,)],
            "output": _row(2.5)[None],
            "gradients": _row(60, 20, 50, -50, 10, -10, 30, 10, 10),
        },
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield small networks with random weights: plain ones, then each setting by itself."""
    plain: dict[str, Any] = {"channels": (2, 3), "kernel_size": 3, "size": 8, "hidden": 5}
    kinds: dict[str, dict[str, Any]] = {
        "": {},
        "kernel": {"kernel_size": 5},
        "channels": {"channels": (3, 2, 4), "in_channels": 3},
        "size": {"size": (9, 14)},
        "head": {"hidden": 7, "classes": 3},
    }
    for group, settings in kinds.items():
        for n in (1, 3):
            yield _case(rng, group, n, {"classes": 10} | plain | settings)


def _case(rng: np.random.Generator, group: str, n: int, settings: dict[str, Any]) -> Case:
    height, width = np.broadcast_to(settings["size"], 2)
    numbers = sum(map(prod, _shapes(**settings)))
    inputs = settings | {
        "weights": rng.normal(size=numbers).astype(np.float32),
        "input": rng.normal(size=(n, settings.get("in_channels", 1), height, width)),
        "grad": rng.normal(size=(n, settings["classes"])).astype(np.float32),
    }
    inputs["input"] = inputs["input"].astype(np.float32)
    return Case(group, inputs, oracle(**inputs))


class _Blocks(NestedCNN):
    r"""The network with other blocks: `block(before, after, kernel_size)` makes one."""

    def __init__(self, channels=(8, 32), kernel_size=5, in_channels=1, *settings, **named):
        super().__init__(channels, kernel_size, in_channels, *settings, **named)
        pairs = zip((in_channels, *channels), channels, strict=False)
        self.features = nn.Sequential(*(self.block(*pair, kernel_size) for pair in pairs))


class no_relu_in_the_blocks(_Blocks):
    """Your blocks have no ReLU. Without it two convolutions in a row are only one convolution with
    a larger kernel: put `nn.ReLU()` after each.
    """

    def block(self, before, after, size):
        return nn.Sequential(nn.Conv2d(before, after, size, padding="same"), nn.MaxPool2d(2))


class average_pooling(_Blocks):
    """You take the average of each 2 x 2 window. Here the blocks keep its largest number: use
    `nn.MaxPool2d(2)`.
    """

    def block(self, before, after, size):
        conv = nn.Conv2d(before, after, size, padding="same")
        return nn.Sequential(conv, nn.ReLU(), nn.AvgPool2d(2))


class pooling_first(_Blocks):
    """You pool before you convolve, so that the convolution sees maps of half the size. The order
    in a block is convolution, ReLU, pooling.
    """

    def block(self, before, after, size):
        conv = nn.Conv2d(before, after, size, padding="same")
        return nn.Sequential(nn.MaxPool2d(2), conv, nn.ReLU())


class padding_forgotten(_Blocks):
    """Your convolutions shrink the maps, as they have no padding. Use `padding="same"`, or half of
    the kernel's size on every side.
    """

    def block(self, before, after, size):
        return nn.Sequential(nn.Conv2d(before, after, size), nn.ReLU(), nn.MaxPool2d(2))


class padding_always_one(_Blocks):
    """`padding=1` keeps the size of the maps only with 3 x 3 kernels. Use `padding="same"`, or
    `kernel_size // 2`.
    """

    def block(self, before, after, size):
        conv = nn.Conv2d(before, after, size, padding=1)
        return nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2))


class border_repeated(_Blocks):
    """You pad with copies of the border or with a mirror image. Here the padding is zeros: leave
    `padding_mode` as it is.
    """

    def block(self, before, after, size):
        conv = nn.Conv2d(before, after, size, padding=size // 2, padding_mode="replicate")
        return nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2))


class overlapping_pooling(_Blocks):
    """You pool with a stride of 1, so the maps hardly shrink. `nn.MaxPool2d(2)` moves by 2, for the
    stride is the window unless told otherwise.
    """

    def block(self, before, after, size):
        conv = nn.Conv2d(before, after, size, padding="same")
        return nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2, stride=1))


class rounded_up(_Blocks):
    """Your maps are one larger than they should be where the size is odd: pooling rounds down here.
    Leave `ceil_mode` at False, and work out sizes with `//`.
    """

    def __init__(self, channels=(8, 32), kernel_size=5, in_channels=1, size=28, *rest, **named):
        step = 2 ** len(channels)
        up = tuple(-(-int(n) // step) * step for n in np.broadcast_to(size, 2))
        super().__init__(channels, kernel_size, in_channels, up, *rest, **named)

    def block(self, before, after, size):
        conv = nn.Conv2d(before, after, size, padding="same")
        return nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2, ceil_mode=True))


class no_bias_in_the_blocks(_Blocks):
    """Your convolutions have no bias: there is one tensor too few for every block. Leave `bias` at
    its default, True.
    """

    def block(self, before, after, size):
        conv = nn.Conv2d(before, after, size, padding="same", bias=False)
        return nn.Sequential(conv, nn.ReLU(), nn.MaxPool2d(2))


class kernel_always_five(_Blocks):
    """Your kernels have the same size whatever `kernel_size` says. Hand it to every convolution."""

    def block(self, before, after, size):
        return ConvBlock(before, after, 5)


class one_input_channel_for_all(NestedCNN):
    """Each of your blocks expects the channels of the image. Only the first sees the image; every
    other one sees what the block before it puts out.
    """

    def __init__(self, channels=(8, 32), kernel_size=5, in_channels=1, *settings, **named):
        super().__init__(channels, kernel_size, in_channels, *settings, **named)
        self.features = nn.Sequential(*(ConvBlock(in_channels, c, kernel_size) for c in channels))


class grey_images_only(NestedCNN):
    """Your first block always expects one channel. It is told how many there are: `in_channels`, 3
    for a colour photograph.
    """

    def __init__(self, channels=(8, 32), kernel_size=5, in_channels=1, *settings, **named):
        super().__init__(channels, kernel_size, 1, *settings, **named)


class digits_only(NestedCNN):
    """Your first linear layer expects the maps of a 28 x 28 image. Work out how many numbers there
    are from `size`, halved once for each block, times the channels of the last block.
    """

    def __init__(self, *args, size=28, **named):
        super().__init__(*args, size=28, **named)


class square_images_only(NestedCNN):
    """You take the image for a square. `size` may be a pair (height, width); the maps then have
    a height and a width of their own.
    """

    def __init__(self, *args, size=28, **named):
        super().__init__(*args, size=size if isinstance(size, int) else size[0], **named)


class size_not_halved(NestedCNN):
    """Your first linear layer expects maps as large as the image. Every block halves height and
    width: divide by `2 ** len(channels)`.
    """

    def __init__(self, channels=(8, 32), kernel_size=5, in_channels=1, size=28, *rest, **named):
        whole = tuple(int(n) * 2 ** len(channels) for n in np.broadcast_to(size, 2))
        super().__init__(channels, kernel_size, in_channels, whole, *rest, **named)


class hidden_always_64(NestedCNN):
    """Your hidden layer has 64 units whatever `hidden` says. Hand it to both linear layers."""

    def __init__(self, *args, hidden=64, **named):
        super().__init__(*args, hidden=64, **named)


class classes_always_ten(NestedCNN):
    """Your network always gives ten scores. The last linear layer has `classes` outputs."""

    def __init__(self, *args, classes=10, **named):
        super().__init__(*args, classes=10, **named)


class no_relu_in_the_head(NestedCNN):
    """There is no ReLU between your two linear layers, and two linear layers in a row are only one.
    Put `nn.ReLU()` between them.
    """

    def forward(self, input):
        flatten, first, _, last = self.classifier
        return last(first(flatten(self.features(input))))


class relu_at_the_end(NestedCNN):
    """You cut off the negative scores: after the last linear layer comes nothing, no ReLU."""

    def forward(self, input):
        return super().forward(input).relu()


class softmax_at_the_end(NestedCNN):
    """Your network ends with a softmax. `F.cross_entropy` has one inside and expects plain scores;
    twice is once too often. Return what the last linear layer gives.
    """

    def forward(self, input):
        return super().forward(input).softmax(dim=1)


class log_softmax_at_the_end(NestedCNN):
    """Your network ends with a logarithm of the softmax. That is a part of `F.cross_entropy`;
    return the scores as the last linear layer gives them.
    """

    def forward(self, input):
        return super().forward(input).log_softmax(dim=1)


class sigmoid_instead_of_relu(NestedCNN):
    """You squash the numbers with a sigmoid or a tanh. Between the layers here stands a ReLU: the
    larger of the number and zero.
    """

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        self.classifier[2] = nn.Sigmoid()
        for block in self.features:
            block.relu = nn.Sigmoid()


class flattened_with_the_batch(NestedCNN):
    """You flatten the batch as well, so that all images become one long row. Keep axis 0: use
    `x.flatten(1)` or `nn.Flatten()`.
    """

    def forward(self, input):
        return self.classifier[1:](self.features(input).flatten())


class channels_last(NestedCNN):
    """You flatten with the channels last, as TensorFlow does. Flatten the maps as they lie, (C, H,
    W): all of channel 0 comes first.
    """

    def forward(self, input):
        maps = self.features(input)
        return self.classifier[1:](maps.permute(0, 2, 3, 1).flatten(1))


class blocks_in_a_list(NestedCNN):
    """Your blocks lie in a plain Python list, where PyTorch does not look: their parameters would
    never be trained. Use `nn.Sequential` or `nn.ModuleList`.
    """

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        blocks = list(self.features)
        del self.features
        self.features = lambda x: nn.Sequential(*blocks)(x)


class head_made_first(NestedCNN):
    """You make the linear layers before the blocks, so their parameters are listed first. Make the
    layers in the order in which they are used.
    """

    def __init__(self, *args, **named):
        super().__init__(*args, **named)
        features = self.features
        del self.features
        self.features = features


class parent_not_initialised(NestedCNN):
    """PyTorch has nowhere to keep your layers yet. Begin `__init__` with `super().__init__()`."""

    def __init__(self, *args, **named):
        self.conv = nn.Conv2d(1, 8, 5)


class nothing_returned(NestedCNN):
    """Your `forward` returns nothing. End it with `return` and the scores."""

    def forward(self, input):
        super().forward(input)


class cut_off_from_its_history(NestedCNN):
    """The scores are right, but no gradient arrives at the weights: `detach`, `.data`, `.numpy()`
    or `torch.no_grad()` in `forward` cuts the way back. Leave them out.
    """

    def forward(self, input):
        return super().forward(input).detach()


class features_cut_off(NestedCNN):
    """The head learns, but no gradient arrives at the blocks: something between the two parts cuts
    the way back, such as `detach`, `.data` or `torch.no_grad()`.
    """

    def forward(self, input):
        return self.classifier(self.features(input).detach())


WRONG = (
    no_relu_in_the_blocks,
    average_pooling,
    pooling_first,
    padding_forgotten,
    padding_always_one,
    border_repeated,
    overlapping_pooling,
    rounded_up,
    no_bias_in_the_blocks,
    kernel_always_five,
    one_input_channel_for_all,
    grey_images_only,
    digits_only,
    square_images_only,
    size_not_halved,
    hidden_always_64,
    classes_always_ten,
    no_relu_in_the_head,
    relu_at_the_end,
    softmax_at_the_end,
    log_softmax_at_the_end,
    sigmoid_instead_of_relu,
    flattened_with_the_batch,
    channels_last,
    blocks_in_a_list,
    head_made_first,
    parent_not_initialised,
    nothing_returned,
    cut_off_from_its_history,
    features_cut_off,
)
