r"""A small AlexNet for digits, to change one thing at a time.

Five convolutions, the first two followed by normalisation and pooling, and two fully connected
layers. What may be changed is what AlexNet's paper and its successors changed: the activation
function, the normalisation, and how the weights begin.
"""

from __future__ import annotations

from torch import Tensor, nn

from coursepkg.architectures.deeper import ACTIVATIONS, INITS
from coursepkg.architectures.lrn import local_response_norm
from coursepkg.validation import choice

__all__ = ["NORMS", "SmallAlexNet"]

NORMS = ("none", "local", "batch")


class SmallAlexNet(nn.Module):
    r"""AlexNet in small: 23,146 weights and biases for digits of 28 x 28, without normalisation.

    Parameters
    ----------
    activation : str
        A key of `coursepkg.architectures.deeper.ACTIVATIONS`, such as "relu" or "tanh".
    norm : str
        "none"; "local" puts local response normalisation *behind* the activation of the first two
        layers, as AlexNet does; "batch" puts batch normalisation *before* the activation of all
        five convolutions, as Ioffe & Szegedy (2015) do.
    init : str
        A key of `coursepkg.architectures.deeper.INITS`; "small" is the standard deviation of
        AlexNet's paper. Biases begin at zero.
    dropout : float
        Before the last layer.

    Attributes
    ----------
    features, classifier : Sequential
        The two parts.

    Raises
    ------
    ValueError
        If there is no such activation, normalisation or initialisation.

    Examples
    --------
    >>> sum(p.numel() for p in SmallAlexNet().parameters())
    23146
    """

    def __init__(
        self,
        activation: str = "relu",
        norm: str = "none",
        init: str = "he",
        dropout: float = 0.0,
    ) -> None:
        r"""Make the layers, then draw the weights."""
        super().__init__()
        active = ACTIVATIONS[choice("activation", activation, ACTIVATIONS)]
        draw = INITS[choice("init", init, INITS)]
        choice("norm", norm, NORMS)
        layers: list[nn.Module] = []
        channels = 1
        for number, (width, kernel) in enumerate(((8, 5), (16, 3), (24, 3), (24, 3), (16, 3))):
            layers.append(nn.Conv2d(channels, width, kernel, padding=kernel // 2))
            if norm == "batch":
                layers.append(nn.BatchNorm2d(width))
            layers.append(active())
            if norm == "local" and number < 2:
                layers.append(local_response_norm())
            if number in (0, 1, 4):
                layers.append(nn.MaxPool2d(3, stride=2))
            channels = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Flatten(),
            nn.Linear(channels * 2 * 2, 128),
            active(),
            nn.Dropout(dropout),
            nn.Linear(128, 10),
        )
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                draw(layer.weight)
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, 1, 28, 28) -> (N, 10) scores."""
        scores: Tensor = self.classifier(self.features(input))
        return scores
