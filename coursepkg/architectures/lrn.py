r"""Local response normalisation with AlexNet's constants, for the networks that have it."""

from __future__ import annotations

from torch import nn

__all__ = ["local_response_norm"]


def local_response_norm() -> nn.LocalResponseNorm:
    r"""Return AlexNet's normalisation with its constants: n = 5, alpha = 1e-4, beta = 0.75, k = 2.

    PyTorch divides by n inside, so it is given n times the paper's alpha. The operator itself is
    written in `coursepkg.convolution.normalization`.

    References
    ----------
    Krizhevsky, Sutskever & Hinton (2012), section 3.3.

    Examples
    --------
    >>> import torch
    >>> local_response_norm()(torch.ones(1, 1, 1, 1)).item() < 2**-0.75
    True
    """
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)
