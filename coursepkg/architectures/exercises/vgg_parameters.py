r"""The parameters of a VGG

A network can be counted without being built. Write `vgg_parameters`: it is given the filters of the
convolutions, stage by stage, and returns a tuple of two integers, how many numbers the convolutions
learn and how many the classifier learns.

- Every convolution has kernels of 3 × 3 and one bias for each filter. The first one sees the 3
  channels of the image, every other one the filters of the convolution before it, also across
  stages. A stage ends with max pooling, which learns nothing.
- With `batch_norm=True` each convolution keeps its bias and is followed by batch norm, which learns
  a weight and a bias for each channel. (Its running mean and variance are kept, but not learned.)
- The classifier gets the last maps, averaged to 7 × 7 and laid out in one row. It has three linear
  layers with biases, of 4096, 4096 and `num_classes` outputs.

Do a small one by hand: with `configuration=[[2], [4]]` the convolutions have
`2 * (3 * 9 + 1) = 56` and `4 * (2 * 9 + 1) = 76` numbers, 132 together. The classifier's first
layer has `4 * 7 * 7 = 196` inputs.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from coursepkg.architectures.vgg import CONFIGURATIONS, vgg_parameters
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"one stage": 2, "stages": 2, "batch norm": 2, "classes": 1, "published": 2}
environment = "numpy"
seconds = 2.0
reference = vgg_parameters
FORBID = ("torch", "torchvision", "timm", "tensorflow", "jax")


def oracle(
    configuration: Any, batch_norm: bool = False, num_classes: int = 1000
) -> tuple[int, int]:
    r"""Write down the shape of every array that is learned, and add up their sizes."""
    widths = [width for stage in configuration for width in stage]
    convolutions: list[tuple[int, ...]] = []
    for before, after in zip([3, *widths], widths, strict=False):
        convolutions += [(after, before, 3, 3), (after,)]
        convolutions += [(after,), (after,)] if batch_norm else []
    outputs = (4096, 4096, num_classes)
    linear: list[tuple[int, ...]] = []
    for before, after in zip((49 * widths[-1], 4096, 4096), outputs, strict=True):
        linear += [(after, before), (after,)]
    features, classifier = (
        sum(int(np.prod(shape)) for shape in shapes) for shapes in (convolutions, linear)
    )
    return features, classifier


def _case(group: str, configuration: Any, **settings: Any) -> Case:
    inputs = {"configuration": configuration, **settings}
    return Case(group, inputs, oracle(**inputs))


VGG16 = [list(stage) for stage in CONFIGURATIONS["D"]]

PUBLIC = (
    Case("one stage", {"configuration": [[2]]}, (56, 21_283_816)),
    Case("one stage", {"configuration": [[2, 5]]}, (151, 21_885_928)),
    Case("stages", {"configuration": [[2], [4]]}, (132, 21_685_224)),
    Case("batch norm", {"configuration": [[2], [4]], "batch_norm": True}, (144, 21_685_224)),
    Case("classes", {"configuration": [[2]], "num_classes": 10}, (56, 17_227_786)),
    Case("published", {"configuration": VGG16}, (14_714_688, 123_642_856)),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield networks of random widths, and the other configurations of the paper."""

    def stage(n: int) -> list[int]:
        return [int(w) for w in rng.choice(np.arange(2, 40), n, replace=False)]

    for _ in range(3):
        yield _case("one stage", [stage(3)])
        yield _case("stages", [stage(1), stage(2), stage(3)])
        yield _case("batch norm", [stage(2), stage(2)], batch_norm=True)
        yield _case("classes", [stage(2)], num_classes=int(rng.integers(2, 500)))
    for letter in "ABE":
        stages = [list(widths) for widths in CONFIGURATIONS[letter]]
        yield _case("published", stages, batch_norm=bool(rng.integers(2)))


def _features(configuration, kernel=9, bias=1, extra=0, first=3):
    total, channels = 0, first
    for stage in configuration:
        for width in stage:
            total += width * (channels * kernel + bias + extra)
            channels = width
    return total


def _classifier(channels, num_classes, places=49, bias=1, hidden=(4096, 4096)):
    sizes = (channels * places, *hidden, num_classes)
    return sum((a + bias) * b for a, b in pairwise(sizes))


def convolution_biases_forgotten(configuration, batch_norm=False, num_classes=1000):
    """Your convolutions have no biases. Each filter has one, with batch norm or without."""
    features = _features(configuration, bias=0, extra=2 * batch_norm)
    return features, _classifier(configuration[-1][-1], num_classes)


def two_numbers_with_batch_norm(configuration, batch_norm=False, num_classes=1000):
    """With batch norm you count two numbers besides a filter's weights. There are three: the bias
    of the convolution, which VGG keeps although it does nothing, and the norm's weight and bias.
    """
    features = _features(configuration, bias=1 - batch_norm, extra=2 * batch_norm)
    return features, _classifier(configuration[-1][-1], num_classes)


def batch_norm_ignored(configuration, batch_norm=False, num_classes=1000):
    """Your count is the same with batch norm as without. It learns a weight and a bias for each
    channel.
    """
    return vgg_parameters(configuration, False, num_classes)


def running_statistics_counted(configuration, batch_norm=False, num_classes=1000):
    """You count four numbers for each channel of a batch norm. Two of them, the running mean and
    variance, are kept but not learned.
    """
    features = _features(configuration, extra=4 * batch_norm)
    return features, _classifier(configuration[-1][-1], num_classes)


def input_channels_of_the_stage(configuration, batch_norm=False, num_classes=1000):
    """All convolutions of your stages see what enters the stage. Only the first does; every other
    one sees the filters of the convolution before it.
    """
    features, channels = 0, 3
    for stage in configuration:
        features += sum(width * (channels * 9 + 1 + 2 * batch_norm) for width in stage)
        channels = stage[-1]
    return features, _classifier(channels, num_classes)


def every_stage_sees_the_image(configuration, batch_norm=False, num_classes=1000):
    """The first convolution of each of your stages sees 3 channels. Only that of the first stage
    sees the image.
    """
    features = sum(_features([stage], extra=2 * batch_norm) for stage in configuration)
    return features, _classifier(configuration[-1][-1], num_classes)


def grey_images(configuration, batch_norm=False, num_classes=1000):
    """Your first convolution sees one channel. The images are in colour and have 3."""
    features = _features(configuration, extra=2 * batch_norm, first=1)
    return features, _classifier(configuration[-1][-1], num_classes)


def kernels_without_channels(configuration, batch_norm=False, num_classes=1000):
    """Each of your filters has 9 weights in all. A filter has a kernel of 3 × 3 for every channel
    that it sees.
    """
    widths = [width for stage in configuration for width in stage]
    features = sum(width * (9 + 1 + 2 * batch_norm) for width in widths)
    return features, _classifier(widths[-1], num_classes)


def places_forgotten(configuration, batch_norm=False, num_classes=1000):
    """The first linear layer has one input for each map in your count. The maps are laid out whole:
    7 × 7 numbers for each.
    """
    features = _features(configuration, extra=2 * batch_norm)
    return features, _classifier(configuration[-1][-1], num_classes, places=1)


def one_hidden_layer(configuration, batch_norm=False, num_classes=1000):
    """Your classifier lacks a layer. There are three: 4096, 4096 and `num_classes` outputs."""
    features = _features(configuration, extra=2 * batch_norm)
    return features, _classifier(configuration[-1][-1], num_classes, hidden=(4096,))


def linear_biases_forgotten(configuration, batch_norm=False, num_classes=1000):
    """Your linear layers have no biases. Each has one for every output."""
    features = _features(configuration, extra=2 * batch_norm)
    return features, _classifier(configuration[-1][-1], num_classes, bias=0)


def always_1000_classes(configuration, batch_norm=False, num_classes=1000):
    """Your classifier always gives 1000 scores. Its last layer has `num_classes` outputs."""
    return vgg_parameters(configuration, batch_norm)


def in_the_other_order(configuration, batch_norm=False, num_classes=1000):
    """You return the classifier first. The order is convolutions, classifier."""
    return vgg_parameters(configuration, batch_norm, num_classes)[::-1]


def one_sum(configuration, batch_norm=False, num_classes=1000):
    """You return the sum of both parts. Return them one by one, as a tuple, since it is worth
    seeing where the parameters lie.
    """
    return sum(vgg_parameters(configuration, batch_norm, num_classes))


def last_layer_forgotten(configuration, batch_norm=False, num_classes=1000):
    """Your classifier ends with its second layer. A third one takes the 4096 numbers to
    `num_classes` scores.
    """
    features = _features(configuration, extra=2 * batch_norm)
    return features, _classifier(configuration[-1][-1], 4096, hidden=(4096,))


def batch_norm_in_the_classifier(configuration, batch_norm=False, num_classes=1000):
    """You count batch norm in the classifier, too. It follows the convolutions alone; the linear
    layers have none.
    """
    features, classifier = vgg_parameters(configuration, batch_norm, num_classes)
    return features, classifier + 2 * (4096 + 4096) * batch_norm


def side_of_the_maps(configuration, batch_norm=False, num_classes=1000):
    """The first linear layer has 7 inputs for each map in your count. A map of 7 × 7 has 49
    numbers.
    """
    features = _features(configuration, extra=2 * batch_norm)
    return features, _classifier(configuration[-1][-1], num_classes, places=7)


def one_bias_for_all_filters(configuration, batch_norm=False, num_classes=1000):
    """Each of your convolutions has one bias for all of its filters. Every filter has a bias of its
    own.
    """
    widths = [width for stage in configuration for width in stage]
    features = _features(configuration, bias=0, extra=2 * batch_norm) + len(widths)
    return features, _classifier(widths[-1], num_classes)


WRONG = (
    convolution_biases_forgotten,
    two_numbers_with_batch_norm,
    batch_norm_ignored,
    running_statistics_counted,
    input_channels_of_the_stage,
    every_stage_sees_the_image,
    grey_images,
    kernels_without_channels,
    places_forgotten,
    one_hidden_layer,
    last_layer_forgotten,
    batch_norm_in_the_classifier,
    linear_biases_forgotten,
    always_1000_classes,
    in_the_other_order,
    one_sum,
    side_of_the_maps,
    one_bias_for_all_filters,
)
