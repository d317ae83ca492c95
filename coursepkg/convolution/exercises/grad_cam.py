r"""Where do the feature maps speak for a class?

Write `class_activation_map`, the heart of Grad-CAM. You are given the feature maps of a layer,
`activation`, and the gradient of a class score with respect to them, `gradient`: two tensors of one
shape, (N, C', H', W').

1. The weight of a channel is the mean of its gradient over all places. It says how much the score
   would gain if the whole map grew. It may be negative.
2. Multiply each map by its weight, and add up over the channels.
3. Set what is negative to 0.

The result is a tensor (N, H', W'), a map for each image, with the dtype of the maps. Leave it in
this size and scale: enlarging it to the size of the image comes later. If the two tensors differ in
shape, raise a `ValueError`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution.visualize import class_activation_map
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"weights": 2, "channels": 1, "rectified": 1, "batch": 1, "dtypes": 1, "errors": 1}
environment = "torch"
seconds = 5.0
reference = class_activation_map
FORBID = ("captum", "torchvision", "skimage", "sklearn", "cv2", "tensorflow", "jax")


def driver(Answer, activation, gradient):
    import torch

    result = Answer(torch.from_numpy(activation), torch.from_numpy(gradient))
    yield "map", result.detach().numpy() if isinstance(result, torch.Tensor) else result


def oracle(activation: NDArray[Any], gradient: NDArray[Any]) -> dict[str, Any]:
    r"""Add up pixel by pixel, in plain Python."""
    if activation.shape != gradient.shape:
        raise ValueError(f"{activation.shape} and {gradient.shape} differ")
    images, channels, height, width = activation.shape
    result = np.zeros((images, height, width), activation.dtype)
    for n, i, j in np.ndindex(result.shape):
        total = 0.0
        for k in range(channels):
            weight = sum(gradient[n, k].ravel().tolist()) / (height * width)
            total += weight * activation[n, k, i, j]
        result[n, i, j] = max(0.0, total)
    return {"map": result}


def _maps(*rows: list[list[float]]) -> NDArray[Any]:
    return np.array([rows], dtype=np.float64)


ONE = _maps([[1, 0], [2, 3]])
TWO = _maps([[1, 0], [2, 3]], [[1, 1], [0, 4]])
GRADIENT = _maps([[4, 0], [4, 0]], [[-1, -1], [-1, -1]])

PUBLIC = (
    Case(
        "weights", {"activation": ONE, "gradient": ONE}, {"map": np.array([[[1.5, 0], [3, 4.5]]])}
    ),
    Case(
        "channels",
        {"activation": TWO, "gradient": abs(GRADIENT)},
        {"map": np.array([[[3.0, 1], [4, 10]]])},
    ),
    Case(
        "rectified",
        {"activation": TWO, "gradient": GRADIENT},
        {"map": np.array([[[1.0, 0], [4, 2]]])},
    ),
    Case(
        "batch",
        {"activation": np.concatenate([ONE, ONE]), "gradient": np.concatenate([ONE, 2 * ONE])},
        {"map": np.array([[[1.5, 0], [3, 4.5]], [[3, 0], [6, 9]]])},
    ),
    Case(
        "dtypes",
        {"activation": ONE.astype(np.float32), "gradient": ONE.astype(np.float32)},
        {"map": np.array([[[1.5, 0], [3, 4.5]]], np.float32)},
    ),
    Case("errors", {"activation": TWO, "gradient": ONE}, ValueError),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield maps of odd and non-square sizes, as after a ReLU; in one group of either sign."""
    for group, (images, channels) in {
        "weights": (1, 1),
        "channels": (1, 4),
        "rectified": (1, 5),
        "batch": (3, 4),
        "dtypes": (2, 3),
    }.items():
        for _ in range(3):
            height, width = (int(n) for n in rng.choice(np.arange(2, 7), 2, replace=False))
            shape = (images, channels, height, width)
            activation = np.maximum(rng.normal(size=shape), 0)
            gradient = rng.normal(size=shape) - 0.2
            if group in ("weights", "channels"):
                gradient = abs(gradient)
            if group == "rectified":
                activation = rng.normal(size=shape)
            dtype = "float32" if group == "dtypes" else "float64"
            inputs = {"activation": activation.astype(dtype), "gradient": gradient.astype(dtype)}
            yield Case(group, inputs, oracle(**inputs))
    one = rng.normal(size=(1, 3, 4, 5))
    yield Case("errors", {"activation": one, "gradient": one[:, :, :1, :1]}, ValueError)


def _check(activation, gradient):
    if activation.shape != gradient.shape:
        raise ValueError("shapes differ")


def _weighted(activation, gradient, axes=(2, 3)):
    _check(activation, gradient)
    return gradient.mean(axes, keepdim=True) * activation


def weights_summed(activation, gradient):
    """Your weights are sums over the places. They are means: divide by H' * W'."""
    _check(activation, gradient)
    return (gradient.sum((2, 3), keepdim=True) * activation).sum(dim=1).relu()


def gradient_place_by_place(activation, gradient):
    """You multiply the gradient and the maps place by place. Average the gradient of a channel over
    all places first; the channel has *one* weight.
    """
    _check(activation, gradient)
    return (gradient * activation).sum(dim=1).relu()


def weights_rectified(activation, gradient):
    """You set negative weights or gradients to 0. A channel may speak against the class; only the
    *sum* over the channels is cut off at 0.
    """
    _check(activation, gradient)
    return (gradient.mean((2, 3), keepdim=True).relu() * activation).sum(dim=1)


def gradient_rectified(activation, gradient):
    """You set negative gradients to 0 before you average. Average all of them; only the sum over
    the channels is cut off at 0.
    """
    _check(activation, gradient)
    return (gradient.relu().mean((2, 3), keepdim=True) * activation).sum(dim=1).relu()


def each_map_rectified(activation, gradient):
    """You cut off each weighted map at 0 before you add them up. Channels that speak against the
    class must be subtracted: first the sum, then the cut.
    """
    return _weighted(activation, gradient).relu().sum(dim=1)


def not_rectified(activation, gradient):
    """Your map has negative places. Set them to 0 after adding up: `.relu()` or `.clamp(min=0)`."""
    return _weighted(activation, gradient).sum(dim=1)


def absolute_value(activation, gradient):
    """You take the absolute value. What is negative speaks *against* the class: set it to 0."""
    return _weighted(activation, gradient).sum(dim=1).abs()


def channels_averaged(activation, gradient):
    """You average over the channels. Add them up."""
    return _weighted(activation, gradient).mean(dim=1).relu()


def weights_ignored(activation, gradient):
    """You add up the maps as they are. Multiply each by its weight, the mean of its gradient."""
    _check(activation, gradient)
    return activation.sum(dim=1).relu()


def roles_exchanged(activation, gradient):
    """You average the maps and weight the gradients with that. It is the other way round."""
    return _weighted(gradient, activation).sum(dim=1).relu()


def one_weight_for_all(activation, gradient):
    """You average the gradient over the channels too. Each channel has a weight of its own: average
    over the last two axes only.
    """
    return _weighted(activation, gradient, (1, 2, 3)).sum(dim=1).relu()


def averaged_over_the_batch(activation, gradient):
    """You average the gradient over the images. Each image has weights of its own."""
    return _weighted(activation, gradient, (0, 2, 3)).sum(dim=1).relu()


def first_image_only(activation, gradient):
    """You treat only the first image of the batch. The result has a map for each."""
    return _weighted(activation, gradient).sum(dim=1).relu()[:1]


def batch_axis_lost(activation, gradient):
    """Your map for a batch of one is (H', W'). Keep the axis of the batch, also where it is 1."""
    result = _weighted(activation, gradient).sum(dim=1).relu()
    return result[0] if len(result) == 1 else result


def channel_axis_kept(activation, gradient):
    """Your result has four axes. The sum over the channels takes its axis away: (N, H', W')."""
    return _weighted(activation, gradient).sum(dim=1, keepdim=True).relu()


def scaled_to_one(activation, gradient):
    """You divide the map by its largest value. That is for drawing; leave the scale as it is."""
    result = _weighted(activation, gradient).sum(dim=1).relu()
    largest = result.amax((1, 2), keepdim=True)
    return result / largest.where(largest > 0, largest.new_ones(()))


def float64_returned(activation, gradient):
    """The numbers are right, but not their dtype: float32 maps give a float32 result. Do not
    convert, and make new tensors with `torch.zeros_like`.
    """
    return _weighted(activation, gradient).sum(dim=1).relu().double()


def array_returned(activation, gradient):
    """You return a list or a NumPy array. Return a tensor."""
    return _weighted(activation, gradient).sum(dim=1).relu().tolist()


def nothing_checked(activation, gradient):
    """Tensors of different shape go through, since PyTorch stretches axes of length 1. Compare the
    shapes first and raise a `ValueError`.
    """
    return (gradient.mean((2, 3), keepdim=True) * activation).sum(dim=1).relu()


WRONG = (
    weights_summed,
    gradient_place_by_place,
    weights_rectified,
    gradient_rectified,
    each_map_rectified,
    not_rectified,
    absolute_value,
    channels_averaged,
    weights_ignored,
    roles_exchanged,
    one_weight_for_all,
    averaged_over_the_batch,
    first_image_only,
    batch_axis_lost,
    channel_axis_kept,
    scaled_to_one,
    float64_returned,
    array_returned,
    nothing_checked,
)
