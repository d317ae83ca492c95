r"""Layers: functions that remember, between forward and backward, what the gradients need."""

from __future__ import annotations

from coursepkg.convolution.arguments import Array, IntPair, Padding
from coursepkg.convolution.fast import conv2d, conv2d_backward

__all__ = ["Conv2d"]


class Conv2d:
    r"""A convolution with its weights, which learns by `forward`, then `backward`.

    Parameters
    ----------
    weight : (C_out, C_in/groups, kh, kw) array
        One filter per output channel.
    bias : (C_out,) array, optional
        One number per filter.
    stride, padding, dilation, groups
        As in `coursepkg.convolution.reference.conv2d`.

    Attributes
    ----------
    weight, bias : array, array or None
        As given, neither copied nor changed; whoever trains the layer updates them.
    grad_weight, grad_bias : array or None
        Gradients of the loss from the latest `backward`, with the shapes of `weight` and
        `bias`. None before it, and `grad_bias` also for a layer without bias.

    Notes
    -----
    `backward` replaces the gradients of the call before. PyTorch adds to them instead, and
    needs `zero_grad`.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Conv2d(np.ones((1, 1, 1, 2)), bias=np.zeros(1))
    >>> layer.forward(np.array([[[[1.0, 2.0, 3.0]]]]))
    array([[[[3., 5.]]]])
    >>> layer.backward(np.array([[[[1.0, 1.0]]]]))
    array([[[[1., 2., 1.]]]])
    >>> layer.grad_weight, layer.grad_bias
    (array([[[[3., 5.]]]]), array([2.]))
    """

    def __init__(
        self,
        weight: Array,
        bias: Array | None = None,
        stride: IntPair = 1,
        padding: Padding = 0,
        dilation: IntPair = 1,
        groups: int = 1,
    ) -> None:
        r"""Keep the weights and the settings."""
        self.weight, self.bias = weight, bias
        self.settings = (stride, padding, dilation, groups)
        self.input: Array | None = None
        self.grad_weight: Array | None = None
        self.grad_bias: Array | None = None

    def forward(self, input: Array) -> Array:
        r"""Convolve, and remember the input.

        Parameters
        ----------
        input : (N, C_in, H, W) array

        Returns
        -------
        (N, C_out, H', W') array

        Raises
        ------
        ValueError
            As `coursepkg.convolution.reference.conv2d`.
        """
        output = conv2d(input, self.weight, self.bias, *self.settings)
        self.input = input  # after the checks: an input that is refused leaves the one before
        return output

    def backward(self, grad: Array) -> Array:
        r"""Send a gradient back through the latest `forward`; keep those of the weights.

        Parameters
        ----------
        grad : (N, C_out, H', W') array
            Gradient of the loss with respect to what `forward` returned.

        Returns
        -------
        (N, C_in, H, W) array
            Gradient of the loss with respect to the input.

        Raises
        ------
        RuntimeError
            If there was no `forward`.
        ValueError
            If `grad` does not have the output's shape and dtype.
        """
        if self.input is None:
            raise RuntimeError("backward before forward; call forward(input) first")
        grad_input, self.grad_weight, grad_bias = conv2d_backward(
            grad, self.input, self.weight, *self.settings
        )
        self.grad_bias = None if self.bias is None else grad_bias
        return grad_input
