r"""The largest batch that fits

Write `largest_batch_size`: how many images can one step of training take at once in `memory`
bytes? Three things have to be there together:

- the network's `parameters`, each a number of `itemsize` bytes, and for each of them its gradient;
- what the optimiser keeps for each parameter: nothing with `"sgd"`, one more number with
  `"momentum"` (the velocity), two with `"adam"` (the averages of gradients and of their squares);
- for *each image* of the batch `activations` bytes, kept for the backward pass.

Return the number of images, an `int`. Do one by hand: 10 parameters of 4 bytes with momentum take
10 · 4 · 3 = 120 bytes; of 1000 bytes 880 are left, and with 100 bytes for each image that makes 8.

If not even one image fits, if a number is below 1, or if the optimiser is none of the three, raise
a `ValueError` that would help you to mend it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from coursepkg.architectures.comparison import OPTIMIZER_STATES, largest_batch_size
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference"]

points = {"sgd": 2, "momentum": 1, "adam": 1, "itemsize": 1, "exact": 1, "errors": 1}
environment = "numpy"
seconds = 2.0
reference = largest_batch_size
FORBID = ("torch", "torchvision", "timm", "tensorflow", "jax")


def oracle(
    memory: int, parameters: int, activations: int, optimizer: str = "sgd", itemsize: int = 4
) -> int:
    r"""Fill the memory piece by piece."""
    states = {"sgd": [], "momentum": ["v"], "adam": ["m", "v"]}
    if optimizer not in states or min(memory, parameters, activations, itemsize) < 1:
        raise ValueError("a setting is wrong")
    left = memory
    for _ in ["weights", "gradients", *states[optimizer]]:
        left -= parameters * itemsize
    images = 0
    while left >= activations:
        left, images = left - activations, images + 1
    if not images:
        raise ValueError("nothing fits")
    return images


def _settings(memory: int, parameters: int, activations: int, **options: Any) -> dict[str, Any]:
    return {"memory": memory, "parameters": parameters, "activations": activations, **options}


PUBLIC = (
    Case("sgd", _settings(1000, 10, 100), 9),
    Case("sgd", _settings(999, 50, 50, optimizer="sgd"), 11),
    Case("momentum", _settings(1000, 10, 100, optimizer="momentum"), 8),
    Case("adam", _settings(1000, 10, 100, optimizer="adam"), 8),
    Case("adam", _settings(2000, 60, 100, optimizer="adam"), 10),
    Case("itemsize", _settings(1000, 10, 90, itemsize=2), 10),
    Case("itemsize", _settings(1000, 10, 90, itemsize=8), 9),
    Case("exact", _settings(480, 10, 100), 4),
    Case("exact", _settings(180, 10, 100), 1),
    Case("errors", _settings(179, 10, 100), ValueError),
    Case("errors", _settings(1000, 10, 100, optimizer="adamw"), ValueError),
    Case("errors", _settings(1000, 10, 0), ValueError),
    Case("errors", _settings(1000, 0, 10), ValueError),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield networks of different proportions, each optimiser alone, memory filled to the byte."""
    for group, options in {
        **{name: {"optimizer": name} for name in OPTIMIZER_STATES},
        "itemsize": {"itemsize": 2},
    }.items():
        for _ in range(4):
            parameters, activations = (int(n) for n in rng.integers(100, 1000, 2))
            memory = 16 * parameters + int(rng.integers(4, 30)) * activations + 37
            inputs = _settings(memory, parameters, activations, **options)
            yield Case(group, inputs, oracle(**inputs))
    for images in (1, 2, 7):
        parameters, activations = (int(n) for n in rng.integers(100, 1000, 2))
        inputs = _settings(8 * parameters + images * activations, parameters, activations)
        yield Case("exact", inputs, images)
        short = _settings(8 * parameters + activations - images, parameters, activations)
        yield Case("errors", short, ValueError)
    yield Case("errors", _settings(1000, 10, 100, optimizer="lion"), ValueError)
    yield Case("errors", _settings(1000, 10, -5), ValueError)
    yield Case("errors", _settings(1000, -10, 5), ValueError)


def _images(memory, parameters, activations, optimizer, itemsize, copies=None, each=None):
    r"""Return the batch after all checks, with other numbers of copies or bytes."""
    largest_batch_size(memory, parameters, activations, optimizer, itemsize)
    copies = 2 + OPTIMIZER_STATES[optimizer] if copies is None else copies
    return (memory - copies * parameters * itemsize) // (each or activations)


def _number(memory, parameters, activations, optimizer, itemsize):
    r"""Return the batch without any check."""
    copies = 2 + OPTIMIZER_STATES[optimizer]
    return (memory - copies * parameters * itemsize) // activations


def _fitting(*settings):
    r"""Return the batch, and check that there is one."""
    if (images := _number(*settings)) < 1:
        raise ValueError("nothing fits")
    return images


def gradients_forgotten(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You count the parameters, but not their gradients. There is one gradient for each parameter,
    of the same size.
    """
    copies = 1 + OPTIMIZER_STATES.get(optimizer, 0)
    return _images(memory, parameters, activations, optimizer, itemsize, copies)


def parameters_forgotten(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You divide the whole memory among the images. Parameters, gradients and the states of the
    optimiser have to be in it as well.
    """
    return _images(memory, parameters, activations, optimizer, itemsize, copies=0)


def optimizer_forgotten(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """Your answer does not depend on the optimiser. Momentum keeps one number for each parameter,
    Adam two.
    """
    return _images(memory, parameters, activations, optimizer, itemsize, copies=2)


def adam_keeps_one(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You give Adam one number for each parameter. It keeps two averages: of the gradients, and of
    their squares.
    """
    copies = 2 + min(OPTIMIZER_STATES.get(optimizer, 0), 1)
    return _images(memory, parameters, activations, optimizer, itemsize, copies)


def sgd_has_a_velocity(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You let plain SGD keep a velocity. It needs nothing beside the gradients; only momentum
    does.
    """
    copies = 2 + max(OPTIMIZER_STATES.get(optimizer, 0), 1)
    return _images(memory, parameters, activations, optimizer, itemsize, copies)


def bytes_forgotten(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You take parameters off from bytes as if each were one byte. Multiply their number by
    `itemsize`.
    """
    copies = 2 + OPTIMIZER_STATES.get(optimizer, 0)
    largest_batch_size(memory, parameters, activations, optimizer, itemsize)
    return (memory - copies * parameters) // activations


def always_four_bytes(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You count 4 bytes for each number whatever `itemsize` says. In half precision there are 2."""
    largest_batch_size(memory, parameters, activations, optimizer, itemsize)
    copies = 2 + OPTIMIZER_STATES[optimizer]
    return max((memory - copies * parameters * 4) // activations, 0)


def activations_as_numbers(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You multiply `activations` by `itemsize`. They are given in bytes already."""
    each = activations * itemsize
    return _images(memory, parameters, activations, optimizer, itemsize, each=each)


def parameters_for_each_image(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You count parameters anew for each image. All images of a batch share them; only activations
    grow with the batch.
    """
    largest_batch_size(memory, parameters, activations, optimizer, itemsize)
    copies = 2 + OPTIMIZER_STATES[optimizer]
    return memory // (copies * parameters * itemsize + activations)


def rounded_up(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """Your batch is one image too large: the last one fits only in part. Round down, with `//`."""
    largest_batch_size(memory, parameters, activations, optimizer, itemsize)
    copies = 2 + OPTIMIZER_STATES[optimizer]
    return -(-(memory - copies * parameters * itemsize) // activations)


def one_byte_spared(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """Where the images fill the memory to the last byte, your batch is one too small. They fit: the
    sum may be equal to `memory`.
    """
    largest_batch_size(memory, parameters, activations, optimizer, itemsize)
    return _number(memory - 1, parameters, activations, optimizer, itemsize)


def float_returned(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """The number is right, but it is a float, as `/` and `math.floor` of NumPy make it. Divide with
    `//`, which keeps integers.
    """
    return float(largest_batch_size(memory, parameters, activations, optimizer, itemsize))


def zero_returned(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You return 0 or less where nothing fits. Whoever called you goes on with an empty batch:
    raise a `ValueError` that says so.
    """
    if optimizer not in OPTIMIZER_STATES or min(parameters, activations) < 1:
        raise ValueError("a setting is wrong")
    copies = 2 + OPTIMIZER_STATES[optimizer]
    return (memory - copies * parameters * itemsize) // activations


def optimizer_not_checked(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You take any name of an optimiser. One that you do not know needs an unknown number of
    states: raise a `ValueError`.
    """
    known = optimizer if optimizer in OPTIMIZER_STATES else "adam"
    return largest_batch_size(memory, parameters, activations, known, itemsize)


def numbers_not_checked(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You take numbers below 1. A network without parameters, or images that take no memory, are
    mistakes of the caller: raise a `ValueError`.
    """
    if optimizer not in OPTIMIZER_STATES:
        raise ValueError("there is no such optimiser")
    return _fitting(memory, parameters, activations, optimizer, itemsize)


def nothing_checked(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You check nothing, so the caller gets a batch of 0 images or an error that does not say what
    is wrong. Raise a `ValueError` where nothing fits, for numbers below 1 and for other optimisers.
    """
    return _number(memory, parameters, activations, optimizer, itemsize)


def only_the_result_checked(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You check whether an image fits, but not what you are given. Raise a `ValueError` for numbers
    below 1 and for an optimiser that is none of the three, too.
    """
    return _fitting(memory, parameters, activations, optimizer, itemsize)


def key_error_instead(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """An optimiser that you do not know stops you with a `KeyError`, which does not say which there
    are. Ask first, and raise a `ValueError` that names the three.
    """
    if min(memory, parameters, activations, itemsize) < 1:
        raise ValueError("a number is below 1")
    return _fitting(memory, parameters, activations, optimizer, itemsize)


def activations_counted_twice(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You count activations twice, perhaps for their gradients. What is kept for each image is
    `activations` bytes; the prompt has gradients for the parameters alone.
    """
    return _images(memory, parameters, activations, optimizer, itemsize, each=2 * activations)


def rounded(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You round to the nearest number, and the last image may fit only in part. Round down, with
    `//`.
    """
    largest_batch_size(memory, parameters, activations, optimizer, itemsize)
    copies = 2 + OPTIMIZER_STATES[optimizer]
    return round((memory - copies * parameters * itemsize) / activations)


def zeros_accepted(memory, parameters, activations, optimizer="sgd", itemsize=4):
    """You refuse negative numbers, but not 0. A network without parameters, or images that take no
    memory, are mistakes of the caller as well.
    """
    if optimizer not in OPTIMIZER_STATES or min(memory, parameters, activations, itemsize) < 0:
        raise ValueError("a setting is wrong")
    return _fitting(memory, parameters, activations, optimizer, itemsize)


WRONG = (
    gradients_forgotten,
    parameters_forgotten,
    optimizer_forgotten,
    adam_keeps_one,
    sgd_has_a_velocity,
    bytes_forgotten,
    always_four_bytes,
    activations_as_numbers,
    parameters_for_each_image,
    rounded_up,
    one_byte_spared,
    float_returned,
    zero_returned,
    optimizer_not_checked,
    numbers_not_checked,
    nothing_checked,
    only_the_result_checked,
    key_error_instead,
    activations_counted_twice,
    rounded,
    zeros_accepted,
)
