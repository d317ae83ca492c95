r"""Miniatures to see what depth does: layers with and without shortcuts, and norms by depth.

`DeepCNN` is the network with which He et al. compare plain and residual stacks on CIFAR-10, small
enough for digits. `deep_stack` is a stack of fully connected layers, on which one sees how the
size of signals and gradients changes from layer to layer. `signal_norms` and `gradient_norms`
measure both, in any model.

References
----------
He, Zhang, Ren & Sun, *Deep Residual Learning for Image Recognition* (2016), section 4.2.
Glorot & Bengio, *Understanding the difficulty of training deep feedforward neural networks*
(2010). He, Zhang, Ren & Sun, *Delving Deep into Rectifiers* (2015), section 2.2.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from coursepkg.validation import choice, integer

__all__ = [
    "ACTIVATIONS",
    "INITS",
    "DeepBlock",
    "DeepCNN",
    "WithHeads",
    "auxiliary_loss",
    "deep_stack",
    "gradient_norms",
    "signal_norms",
]

#: What may stand between the layers of `deep_stack`.
ACTIVATIONS: dict[str, type[nn.Module]] = {
    "linear": nn.Identity,
    "sigmoid": nn.Sigmoid,
    "tanh": nn.Tanh,
    "relu": nn.ReLU,
}
#: How the weights of `deep_stack` may begin: standard deviation 0.01; the square root of
#: 2/(fan-in + fan-out); of 2/fan-in.
INITS: dict[str, Callable[[Tensor], Tensor]] = {
    "small": lambda weight: nn.init.normal_(weight, std=0.01),
    "xavier": nn.init.xavier_normal_,
    "he": nn.init.kaiming_normal_,
}


class DeepBlock(nn.Module):
    r"""Two 3 x 3 convolutions, with a shortcut around them or without.

    Parameters
    ----------
    in_channels, out_channels : int
        The shortcut, which has no weights, fills new channels with zeros; there can be no fewer.
    stride : int
        Of the first convolution. The shortcut takes every `stride`-th row and column.
    residual : bool
        Whether there is a shortcut.
    batch_norm : bool
        Whether each convolution is followed by batch normalisation. Otherwise it has a bias.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1, or a shortcut would have to drop channels.

    References
    ----------
    He et al. (2016), figure 2 and section 3.3, option A.

    Examples
    --------
    >>> DeepBlock(8, 16, stride=2)(torch.zeros(1, 8, 14, 14)).shape
    torch.Size([1, 16, 7, 7])
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        stride: int = 1,
        *,
        residual: bool = True,
        batch_norm: bool = True,
    ) -> None:
        r"""Make the layers."""
        super().__init__()
        self.stride = integer("stride", stride, 1)
        self.new_channels = integer("out_channels", out_channels, 1) - integer(
            "in_channels", in_channels, 1
        )
        if residual and self.new_channels < 0:
            raise ValueError(
                f"out_channels={out_channels} is less than in_channels={in_channels}; "
                "a shortcut without weights adds channels of zeros but drops none"
            )
        self.residual = bool(residual)
        self.conv1, self.norm1 = _conv(in_channels, out_channels, stride, batch_norm)
        self.conv2, self.norm2 = _conv(out_channels, out_channels, 1, batch_norm)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, C', H', W')."""
        x = F.relu(self.norm1(self.conv1(input)))
        x = self.norm2(self.conv2(x))
        return F.relu(x + self.shortcut(input)) if self.residual else F.relu(x)

    def shortcut(self, input: Tensor) -> Tensor:
        r"""Hand the maps on: (N, C, H, W) -> (N, C', H', W'), the new channels all zero."""
        fewer = input[:, :, :: self.stride, :: self.stride]  # (N, C, H', W')
        return F.pad(fewer, (0, 0, 0, 0, 0, self.new_channels))  # (N, C', H', W')


class DeepCNN(nn.Module):
    r"""A plain or residual network of 6n + 2 layers: both have exactly the same weights.

    A convolution, three stages of n blocks of two convolutions, global average pooling, and a
    fully connected layer. The first block of the second and of the third stage halves the maps.

    Parameters
    ----------
    depth : int
        Layers with weights: 8, 14, 20, ..., 56, ...
    residual : bool
        Whether each block has a shortcut. It changes neither the weights nor how they are drawn.
    batch_norm : bool
        Whether batch normalisation follows each convolution.
    widths : sequence of three int
        Channels of the stages; the paper has (16, 32, 64).
    in_channels, num_classes : int
        3 and 10 in the paper.

    Raises
    ------
    ValueError
        If `depth` is not 6n + 2, `widths` has not three entries, or a number is too small.

    References
    ----------
    He et al. (2016), section 4.2. Weights begin as there (He et al. 2015, equation 10), the last
    layer's too; biases begin at 0.

    Examples
    --------
    >>> plain, residual = (DeepCNN(20, residual=r, in_channels=3, widths=(16, 32, 64))
    ...                    for r in (False, True))
    >>> [sum(p.numel() for p in model.parameters()) for model in (plain, residual)]
    [269722, 269722]
    """

    def __init__(
        self,
        depth: int,
        *,
        residual: bool = True,
        batch_norm: bool = True,
        widths: Sequence[int] = (8, 16, 32),
        in_channels: int = 1,
        num_classes: int = 10,
    ) -> None:
        r"""Make the layers and draw their weights."""
        super().__init__()
        blocks, rest = divmod(integer("depth", depth, 8) - 2, 6)
        if rest:
            raise ValueError(f"depth={depth} is not 6n + 2; use 8, 14, 20, 26, ...")
        if len(widths) != 3:
            raise ValueError(
                f"widths={widths!r} has {len(widths)} entries; use three, as (8, 16, 32)"
            )
        channels = integer("in_channels", in_channels, 1)
        self.conv, self.norm = _conv(channels, integer("widths", widths[0], 1), 1, batch_norm)
        self.stages = nn.Sequential()
        before, kind = widths[0], {"residual": residual, "batch_norm": batch_norm}
        for stride, width in zip((1, 2, 2), widths, strict=True):
            first = DeepBlock(before, width, stride, **kind)
            others = (DeepBlock(width, width, **kind) for _ in range(blocks - 1))
            self.stages.append(nn.Sequential(first, *others))
            before = width
        self.fc = nn.Linear(before, integer("num_classes", num_classes, 1))
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)

    def forward(self, input: Tensor) -> Tensor:
        r"""(N, C, H, W) -> (N, K) scores."""
        x = F.relu(self.norm(self.conv(input)))
        x = self.stages(x)  # (N, widths[2], H/4, W/4)
        return self.fc(x.mean(dim=(2, 3)))  # type: ignore[no-any-return]


class WithHeads(nn.Module):
    r"""A `DeepCNN` with two auxiliary classifiers, behind its first and its second stage.

    Parameters
    ----------
    model : DeepCNN
        Becomes a part of this one.

    Attributes
    ----------
    aux1, aux2 : Linear
        The heads: a fully connected layer behind global average pooling. Those of GoogLeNet have
        a convolution, two fully connected layers and dropout.

    References
    ----------
    Szegedy et al., *Going Deeper with Convolutions* (2015), section 5.

    Examples
    --------
    >>> model = WithHeads(DeepCNN(8))
    >>> [scores.shape for scores in model(torch.zeros(5, 1, 14, 14))]
    [torch.Size([5, 10]), torch.Size([5, 10]), torch.Size([5, 10])]
    >>> model.eval()(torch.zeros(5, 1, 14, 14)).shape
    torch.Size([5, 10])
    """

    def __init__(self, model: DeepCNN) -> None:
        r"""Add the heads; their weights begin as the last layer's."""
        super().__init__()
        self.model = model
        heads, stages = [], cast("Any", model.stages)
        for stage in stages[:2]:
            heads.append(nn.Linear(stage[-1].conv2.out_channels, model.fc.out_features))
            nn.init.kaiming_normal_(heads[-1].weight)
            nn.init.zeros_(heads[-1].bias)
        self.aux1, self.aux2 = heads

    def forward(self, input: Tensor) -> Tensor | tuple[Tensor, Tensor, Tensor]:
        r"""(N, C, H, W) -> (N, K) scores; in training with those of aux2 and of aux1."""
        if not self.training:
            return self.model(input)  # type: ignore[no-any-return]
        model = self.model
        first = model.stages[0](F.relu(model.norm(model.conv(input))))  # (N, widths[0], H, W)
        second = model.stages[1](first)  # (N, widths[1], H/2, W/2)
        last = model.stages[2](second)  # (N, widths[2], H/4, W/4)
        scores, aux2, aux1 = (
            layer(x.mean(dim=(2, 3)))
            for layer, x in ((model.fc, last), (self.aux2, second), (self.aux1, first))
        )
        return scores, aux2, aux1


def auxiliary_loss(
    output: Tensor | Sequence[Tensor], target: Tensor, weight: float = 0.3
) -> Tensor:
    r"""Add the losses of auxiliary heads, each times a weight, to the loss of the main one.

    .. math:: L = L_{\text{main}} + w \sum_a L_a

    Parameters
    ----------
    output : (N, K) tensor, or sequence of such
        Scores. In a sequence those of the main head come first, as from `WithHeads` and from
        GoogLeNet in training. A tensor alone has no auxiliary heads.
    target : (N,) integer tensor
        The right classes.
    weight : float
        0.3 in GoogLeNet.

    Returns
    -------
    tensor with one number
        Sum of cross-entropies, each a mean over the batch.

    References
    ----------
    Szegedy et al., *Going Deeper with Convolutions* (2015), section 5.

    Examples
    --------
    >>> even = torch.zeros(4, 2)
    >>> target = torch.tensor([0, 1, 1, 0])
    >>> [round(auxiliary_loss(output, target).item(), 3) for output in (even, (even, even, even))]
    [0.693, 1.109]
    """
    main, *heads = (output,) if isinstance(output, Tensor) else output
    loss = F.cross_entropy(main, target)
    for scores in heads:
        loss = loss + weight * F.cross_entropy(scores, target)
    return loss


def _conv(into: int, out: int, stride: int, batch_norm: bool) -> tuple[nn.Conv2d, nn.Module]:
    conv = nn.Conv2d(into, out, 3, stride, padding=1, bias=not batch_norm)
    return conv, nn.BatchNorm2d(out) if batch_norm else nn.Identity()


def deep_stack(
    depth: int,
    width: int = 100,
    *,
    activation: str = "relu",
    init: str = "he",
    in_features: int = 784,
    num_classes: int = 10,
) -> nn.Sequential:
    r"""Stack fully connected layers of one width, with an activation between them.

    Parameters
    ----------
    depth : int
        Fully connected layers, the last one, which gives the scores, included.
    width : int
        Units of each but the last.
    activation : str
        A key of `ACTIVATIONS`.
    init : str
        A key of `INITS`. Biases begin at 0.
    in_features, num_classes : int
        Numbers in and out. The input is flattened first.

    Raises
    ------
    ValueError
        If a number is too small or a name unknown.

    References
    ----------
    Glorot & Bengio (2010), section 4.2.1; He et al. (2015), section 2.2.

    Examples
    --------
    >>> deep_stack(3, 20, activation="tanh", init="xavier")
    Sequential(
      (0): Flatten(start_dim=1, end_dim=-1)
      (1): Linear(in_features=784, out_features=20, bias=True)
      (2): Tanh()
      (3): Linear(in_features=20, out_features=20, bias=True)
      (4): Tanh()
      (5): Linear(in_features=20, out_features=10, bias=True)
    )
    """
    between = ACTIVATIONS[choice("activation", activation, ACTIVATIONS)]
    start = INITS[choice("init", init, INITS)]
    hidden = [integer("width", width, 1)] * (integer("depth", depth, 1) - 1)
    sizes = [
        integer("in_features", in_features, 1),
        *hidden,
        integer("num_classes", num_classes, 1),
    ]
    layers: list[nn.Module] = [nn.Flatten()]
    for before, after in pairwise(sizes):
        linear = nn.Linear(before, after)
        start(linear.weight)
        nn.init.zeros_(linear.bias)
        layers += [linear, between()]
    return nn.Sequential(*layers[:-1])


def signal_norms(model: nn.Module, input: Tensor) -> dict[str, float]:
    r"""Measure the size of what each layer with weights puts out.

    Parameters
    ----------
    model : Module
        Run in its present mode, and left as it was.
    input : tensor
        A batch.

    Returns
    -------
    dict of str to float
        Root mean square of the output, before normalisation and activation, of each convolution
        and fully connected layer, by name, in the order in which they first run.

    Raises
    ------
    ValueError
        If the model has no such layer.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(1, 2, bias=False), nn.Linear(2, 1, bias=False))
    >>> for layer in model:
    ...     _ = nn.init.constant_(layer.weight, 3.0)
    >>> signal_norms(model, torch.ones(5, 1))
    {'0': 3.0, '1': 18.0}
    """
    with torch.no_grad():
        _, outputs = _outputs(copy.deepcopy(model), input)
    return {name: _rms(torch.cat([x.flatten() for x in xs])) for name, xs in outputs.items()}


def gradient_norms(
    model: nn.Module,
    input: Tensor,
    target: Tensor,
    *,
    of: str = "weight",
    loss: Callable[[Any, Any], Tensor] = F.cross_entropy,
) -> dict[str, float]:
    r"""Measure the gradient that arrives at each layer with weights.

    Parameters
    ----------
    model : Module
        Run in its present mode, and left as it was.
    input, target : tensor
        A batch.
    of : str
        "weight": the derivative of the loss with respect to the layer's weights.
        "output": with respect to what the layer puts out.
    loss : callable
        Takes (output, target) and returns a tensor with one number.

    Returns
    -------
    dict of str to float
        Euclidean norm of the gradient for each convolution and fully connected layer, by name, in
        the order in which they first run.

    Raises
    ------
    ValueError
        If `of` is neither, or the model has no such layer.

    Examples
    --------
    >>> model = nn.Sequential(nn.Linear(1, 1, bias=False), nn.Linear(1, 1, bias=False))
    >>> for layer, weight in zip(model, (2.0, 5.0), strict=True):
    ...     _ = nn.init.constant_(layer.weight, weight)
    >>> gradient_norms(model, torch.ones(1, 1), torch.zeros(1, 1), loss=F.l1_loss)
    {'0': 5.0, '1': 2.0}
    >>> gradient_norms(model, torch.ones(1, 1), torch.zeros(1, 1), of="output", loss=F.l1_loss)
    {'0': 5.0, '1': 1.0}
    """
    choice("of", of, ("weight", "output"))
    model = copy.deepcopy(model).requires_grad_()
    with torch.enable_grad():
        scores, outputs = _outputs(model, input)
        value = loss(scores, target)
    layers = dict(model.named_modules())
    tensors = {n: [layers[n].weight] if of == "weight" else xs for n, xs in outputs.items()}
    gradients = iter(torch.autograd.grad(value, [x for xs in tensors.values() for x in xs]))
    return {
        name: torch.cat([next(gradients).flatten() for _ in xs]).norm().item()
        for name, xs in tensors.items()
    }


def _outputs(model: nn.Module, input: Tensor) -> tuple[Tensor, dict[str, list[Tensor]]]:
    r"""Run a model; return its output, and those of its layers with weights by name.

    The model goes on with copies, so that layers that work in place do no harm.
    """
    seen: dict[str, list[Tensor]] = {}

    def note(name: str) -> Callable[[nn.Module, Any, Tensor], Tensor]:
        def hook(module: nn.Module, args: Any, output: Tensor) -> Tensor:
            seen.setdefault(name, []).append(output)
            return output.clone()

        return hook

    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(note(name))
    output = model(input)
    if not seen:
        raise ValueError(
            f"model is a {type(model).__name__} without Conv2d and Linear; "
            "pass one with such layers as modules"
        )
    return output, seen


def _rms(x: Tensor) -> float:
    return x.square().mean().sqrt().item()
