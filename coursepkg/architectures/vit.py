r"""Vision transformer, ViT-B/16: an image as a sequence of patches that look at one another.

Dosovitskiy et al. (2021). No convolution but the first, which cuts the image into patches of
16 × 16 pixels and writes each as a vector, a token. One more token, for the class, is put before
them, and a position embedding is added. Then twelve blocks alternate between self-attention, which
mixes tokens, and two fully connected layers, which work on each token alone.

Names and numbers follow torchvision. The paper's pre-training head has a hidden layer
(section 3.1); here the class token goes to one fully connected layer, as in its fine-tuning.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import ClassVar

import torch
from torch import Tensor, nn

from coursepkg.architectures.registry import register
from coursepkg.validation import integer

__all__ = ["Encoder", "EncoderBlock", "VisionTransformer", "mlp", "vit_b_16"]


def mlp(dim: int, hidden_dim: int, dropout: float = 0.0) -> nn.Sequential:
    r"""Return the two fully connected layers of a block, with GELU between them.

    Parameters
    ----------
    dim, hidden_dim : int
        Length of a token, and units in between.
    dropout : float
        After each layer.

    References
    ----------
    Dosovitskiy et al. (2021), section 3.1. Weights start as in Glorot & Bengio (2010), biases with
    standard deviation 1e-6, as in the released code.

    Examples
    --------
    >>> mlp(8, 32)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """
    layers = nn.Sequential(
        nn.Linear(integer("dim", dim, 1), integer("hidden_dim", hidden_dim, 1)),
        nn.GELU(),
        nn.Dropout(dropout),
        nn.Linear(hidden_dim, dim),
        nn.Dropout(dropout),
    )
    for layer in layers:
        if isinstance(layer, nn.Linear):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.normal_(layer.bias, std=1e-6)
    return layers


class EncoderBlock(nn.Module):
    r"""Self-attention between the tokens, then two layers on each token; both are residual.

    .. math::

        z' = z + \mathrm{MSA}(\mathrm{LN}(z)), \qquad z'' = z' + \mathrm{MLP}(\mathrm{LN}(z')).

    Parameters
    ----------
    dim : int
        Length of a token.
    num_heads : int
        Parts of a token that attend on their own.
    hidden_dim : int
        Of the two layers.
    dropout : float
        After attention and after each of the two layers.

    Raises
    ------
    ValueError
        If a size is no integer of at least 1, or `num_heads` does not divide `dim`.

    References
    ----------
    Dosovitskiy et al. (2021), equations 2 and 3, figure 1.

    Examples
    --------
    >>> EncoderBlock(8, 2, 32)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, dim: int, num_heads: int, hidden_dim: int, dropout: float = 0.0) -> None:
        super().__init__()
        if integer("dim", dim, 1) % integer("num_heads", num_heads, 1):
            raise ValueError(f"num_heads={num_heads} does not divide dim={dim}; use a divisor")
        self.ln_1 = nn.LayerNorm(dim, eps=1e-6)
        self.self_attention = nn.MultiheadAttention(dim, num_heads, batch_first=True)
        self.dropout = nn.Dropout(dropout)
        self.ln_2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = mlp(dim, hidden_dim, dropout)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, L, D) -> (N, L, D)."""
        tokens = self.ln_1(input)
        mixed, _ = self.self_attention(tokens, tokens, tokens, need_weights=False)
        mixed = self.dropout(mixed) + input  # (N, L, D)
        return mixed + self.mlp(self.ln_2(mixed))  # type: ignore[no-any-return]


class Encoder(nn.Module):
    r"""Add the position embedding, run the blocks, normalise.

    Parameters
    ----------
    length : int
        Number of tokens.
    depth : int
        Number of blocks.
    dim, num_heads, hidden_dim, dropout
        As in `EncoderBlock`.

    References
    ----------
    Dosovitskiy et al. (2021), section 3.1; figure 1 and equation 4 for the last normalisation. The
    embedding starts with standard deviation 0.02.

    Examples
    --------
    >>> Encoder(5, 2, 8, 2, 32)(torch.zeros(2, 5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(
        self,
        length: int,
        depth: int,
        dim: int,
        num_heads: int,
        hidden_dim: int,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.pos_embedding = nn.Parameter(
            torch.empty(1, integer("length", length, 1), integer("dim", dim, 1)).normal_(std=0.02)
        )
        self.dropout = nn.Dropout(dropout)
        self.layers = nn.Sequential(
            OrderedDict(
                (f"encoder_layer_{i}", EncoderBlock(dim, num_heads, hidden_dim, dropout))
                for i in range(integer("depth", depth, 1))
            )
        )
        self.ln = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, L, D) -> (N, L, D)."""
        return self.ln(self.layers(self.dropout(input + self.pos_embedding)))  # type: ignore[no-any-return]


class VisionTransformer(nn.Module):
    r"""Patches to tokens, an encoder, and a classifier that reads the class token.

    Parameters
    ----------
    image_size : int
        Height and width of the images. The position embedding fixes it.
    patch_size : int
        A divisor of it.
    depth, dim, num_heads, hidden_dim, dropout
        As in `Encoder`.
    num_classes : int

    Attributes
    ----------
    class_token : (1, 1, D) Parameter
    conv_proj : Conv2d
        Patches to tokens: a convolution whose stride is its kernel.
    encoder : Encoder
    heads : Sequential
        One layer, `head`.

    Raises
    ------
    ValueError
        If a size is no integer of at least 1 or does not divide what it has to divide; in
        `forward`, if the images have another size.

    References
    ----------
    Dosovitskiy et al. (2021), section 3.1 and table 1. The classifier starts with zeros, as for
    fine-tuning (their section 3.2), so an untrained model gives equal scores to all classes.

    Examples
    --------
    >>> model = VisionTransformer(image_size=32, patch_size=8, depth=1, dim=8, num_heads=2)
    >>> model.forward_features(torch.zeros(2, 3, 32, 32)).shape
    torch.Size([2, 17, 8])
    """

    head_names: ClassVar[tuple[str, ...]] = ("heads.head",)

    def __init__(
        self,
        image_size: int = 224,
        patch_size: int = 16,
        depth: int = 12,
        dim: int = 768,
        num_heads: int = 12,
        hidden_dim: int = 3072,
        num_classes: int = 1000,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if integer("image_size", image_size, 1) % integer("patch_size", patch_size, 1):
            raise ValueError(
                f"patch_size={patch_size} does not divide image_size={image_size}; use a divisor"
            )
        self.image_size = image_size
        self.conv_proj = nn.Conv2d(3, integer("dim", dim, 1), patch_size, patch_size)
        self.class_token = nn.Parameter(torch.zeros(1, 1, dim))
        length = 1 + (image_size // patch_size) ** 2
        self.encoder = Encoder(length, depth, dim, num_heads, hidden_dim, dropout)
        self.heads = nn.Sequential(
            OrderedDict(head=nn.Linear(dim, integer("num_classes", num_classes, 1)))
        )
        self._initialise()

    def _initialise(self) -> None:
        fan_in = self.conv_proj.weight[0].numel()
        nn.init.trunc_normal_(self.conv_proj.weight, std=fan_in**-0.5)
        head = self.get_submodule("heads.head")
        for parameter in (self.conv_proj.bias, *head.parameters()):
            assert parameter is not None
            nn.init.zeros_(parameter)

    def forward_features(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, 1 + L, D): the tokens after the last block, the class first."""
        if tuple(input.shape[-2:]) != (self.image_size, self.image_size):
            raise ValueError(
                f"input has {tuple(input.shape[-2:])} pixels but the position embedding is made "
                f"for {self.image_size} x {self.image_size}; resize the images"
            )
        patches = self.conv_proj(input).flatten(2).transpose(1, 2)  # (N, L, D)
        classes = self.class_token.expand(len(patches), -1, -1)  # (N, 1, D)
        return self.encoder(torch.cat([classes, patches], dim=1))  # type: ignore[no-any-return]

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 3, H, W) -> (N, num_classes) scores."""
        tokens = self.forward_features(input)  # (N, 1 + L, D)
        return self.heads(tokens[:, 0])  # type: ignore[no-any-return]


@register("vit")
def vit_b_16(*, num_classes: int = 1000) -> VisionTransformer:
    r"""ViT-B/16: 86,567,656 parameters.

    Parameters
    ----------
    num_classes : int

    References
    ----------
    Dosovitskiy et al. (2021), table 1.
    """
    return VisionTransformer(num_classes=num_classes)
