r"""Stochastic depth: during training, a residual block is skipped now and then.

A residual network still works without one of its blocks, since the shortcut carries the input past
it. Training uses that: for every image, each block is left out with some probability. So training
sees shallower networks, and the whole network at the end acts like an average of them.
"""

from __future__ import annotations

from torch import Tensor, nn

__all__ = ["StochasticDepth"]


class StochasticDepth(nn.Module):
    r"""While training, set each image's maps to zero with probability p, else divide them by 1 - p.

    It stands at the end of a block, before the shortcut is added:

    .. math:: y = x + \frac{b}{1-p} f(x),

    with b = 0 with probability p and 1 otherwise, drawn for each image of the batch. The mean over
    b is :math:`x + f(x)`, which is what evaluation mode computes.

    Parameters
    ----------
    p : float
        The probability to drop, from 0 to 1.

    Raises
    ------
    ValueError
        If `p` is outside of these limits.

    References
    ----------
    Huang et al. (2016), section 3. They draw one b for the whole batch, and multiply by 1 - p in
    evaluation instead of dividing in training. Here each image has its own draw, as in mode "row"
    of torchvision's operator; one seed gives the same draws in both.

    Examples
    --------
    >>> import torch
    >>> block = StochasticDepth(0.5)
    >>> block(torch.ones(600, 1)).unique()
    tensor([0., 2.])
    >>> block.eval()(torch.ones(6, 1)).flatten()
    tensor([1., 1., 1., 1., 1., 1.])
    """

    def __init__(self, p: float) -> None:
        super().__init__()
        if not 0 <= p <= 1:
            raise ValueError(f"p={p} is no probability; use a number from 0 to 1")
        self.p = p

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, ...) -> (N, ...)."""
        if not self.training or self.p == 0:
            return input
        keep = 1 - self.p
        kept = input.new_empty(len(input), *[1] * (input.ndim - 1)).bernoulli_(keep)  # (N, 1, ...)
        return input * kept if keep == 0 else input * kept.div_(keep)

    def extra_repr(self) -> str:
        r"""Show p where the module is printed."""
        return f"p={self.p}"
