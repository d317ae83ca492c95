r"""Put gates into a residual network, and look at what they do.

`add_gates` sets a squeeze-and-excitation block at the end of every branch of a `DeepCNN`, just
before the sum: the place that Hu et al. chose. So one network can be trained with and without.
`channel_gates` reads the factors that such blocks compute for given images.

References
----------
Hu, Shen & Sun, *Squeeze-and-Excitation Networks* (2018), figure 3 and section 6.4.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from coursepkg.architectures.deeper import DeepBlock, DeepCNN
from coursepkg.architectures.squeeze_excitation import SqueezeExcitation
from coursepkg.training import mode
from coursepkg.validation import integer

__all__ = ["add_gates", "channel_gates"]


def add_gates(model: DeepCNN, reduction: int = 4) -> None:
    r"""Let every block of a network end its branch with squeeze-and-excitation.

    All other weights stay as they are, so a network with gates and one without can start from the
    same ones.

    Parameters
    ----------
    model : DeepCNN
        Changed in place.
    reduction : int
        The layer in the middle of a gate has `reduction` times fewer channels, but at least one.

    Raises
    ------
    ValueError
        If `reduction` is no integer of at least 1.

    Examples
    --------
    >>> model = DeepCNN(8)
    >>> before = sum(p.numel() for p in model.parameters())
    >>> add_gates(model)
    >>> sum(p.numel() for p in model.parameters()) - before  # 2*C*C/4 + C/4 + C for 8, 16, 32
    742
    """
    integer("reduction", reduction, 1)
    for block in [module for module in model.modules() if isinstance(module, DeepBlock)]:
        channels = block.conv2.out_channels
        gate = SqueezeExcitation(channels, max(1, channels // reduction))
        block.norm2 = nn.Sequential(block.norm2, gate)


def channel_gates(model: nn.Module, input: Tensor) -> dict[str, Tensor]:
    r"""Return the factors by which a network multiplies its channels, for each image.

    Parameters
    ----------
    model : Module
        Run in evaluation mode, and left as it was.
    input : tensor
        A batch of N images.

    Returns
    -------
    dict of str to (N, C) tensor
        One entry for each `SqueezeExcitation` of the model, by name, in the order of the model.

    Raises
    ------
    ValueError
        If the model has none.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), SqueezeExcitation(4, 2))
    >>> gates = channel_gates(model, torch.rand(5, 1, 8, 8))["1"]
    >>> gates.shape, bool(gates.min() > 0), bool(gates.max() < 1)
    (torch.Size([5, 4]), True, True)
    """
    found = {n: m for n, m in model.named_modules() if isinstance(m, SqueezeExcitation)}
    if not found:
        raise ValueError(
            f"model is a {type(model).__name__} without SqueezeExcitation; put gates in first"
        )
    gates: dict[str, Tensor] = {}

    def note(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def hook(module: nn.Module, args: Any, output: Tensor) -> None:
            gates[name] = output.flatten(1).clone()  # (N, C)

        return hook

    hooks = [m.scale_activation.register_forward_hook(note(n)) for n, m in found.items()]
    try:
        with mode(model, training=False), torch.no_grad():
            model(input)
    finally:
        for hook in hooks:
            hook.remove()
    return {name: gates[name] for name in found}
