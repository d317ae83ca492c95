"""Weights that follow from names and shapes alone, the same in every library.

A network and its reference get the same numbers without a file in between. They are drawn so that
signals neither die nor explode in deep networks, and no two rows of a matrix are alike. They mean
nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

__all__ = ["fill", "images"]

#: Standard deviation of a weight times the root of its fan-in; more in depthwise convolutions,
#: whose networks lose half of the signal in every squeeze-and-excitation gate.
GAIN, DEPTHWISE_GAIN = 1.25, 2.0
#: So many numbers are drawn for a tensor at most, and repeated: a prime, so that no two rows of a
#: matrix start at the same one.
PERIOD = 65_537


def fill(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Give every entry of a state_dict a value that depends on its name and shape alone.

    Weights of convolutions and linear layers are normal with variance gain²/fan-in, scales of
    normalizations 0.9 to 1.1, running variances 0.5 to 1.5, and all else (biases, means, tokens,
    layer scales) -0.1 to 0.1. Counters of batches are 0.

    Parameters
    ----------
    state : mapping of str to Tensor
        A state_dict; its tensors may be on the meta device. It is not changed.

    Returns
    -------
    dict of str to Tensor
        The same keys in the same order, on the CPU, float32 (int64 for counters).
    """
    return {name: _values(name, tuple(entry.shape)) for name, entry in state.items()}


def images(name: str, shape: tuple[int, ...]) -> Tensor:
    """Draw images, normal with unit variance, that follow from a name and a shape."""
    values = np.random.default_rng(crc32(name.encode())).standard_normal(shape, dtype=np.float32)
    return torch.from_numpy(values)


def _values(name: str, shape: tuple[int, ...]) -> Tensor:
    leaf = name.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return torch.zeros(shape, dtype=torch.int64)
    rng = np.random.default_rng(crc32(name.encode()))
    count = math.prod(shape)
    if len(shape) in (2, 4):
        drawn = rng.standard_normal(min(count, PERIOD), dtype=np.float32)
        gain = DEPTHWISE_GAIN if len(shape) == 4 and shape[1] == 1 else GAIN
        drawn *= np.float32(gain / math.sqrt(math.prod(shape[1:])))
    else:
        drawn = rng.random(min(count, PERIOD), dtype=np.float32)
        if leaf == "running_var":
            drawn += np.float32(0.5)
        elif leaf == "weight" and len(shape) == 1:
            drawn = np.float32(0.9) + np.float32(0.2) * drawn
        else:
            drawn = np.float32(0.2) * drawn - np.float32(0.1)
    return torch.from_numpy(np.resize(drawn, shape))
