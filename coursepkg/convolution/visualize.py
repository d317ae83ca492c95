r"""What does a network see? Feature maps, and six questions put to a trained model.

Every function takes any `torch.nn.Module`, and a layer by its dotted name (as `named_modules`
lists it) or as the module itself. The model runs in evaluation mode and is given back as it
came: mode, weights and the `.grad` of its parameters are untouched.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from coursepkg.convolution.arguments import number
from coursepkg.convolution.arithmetic import output_size
from coursepkg.training import mode
from coursepkg.validation import integer, pair

__all__ = [
    "EmpiricalField",
    "activation_maximisation",
    "class_activation_map",
    "empirical_receptive_field",
    "feature_maps",
    "grad_cam",
    "linearised",
    "normalise_filters",
    "occlusion",
    "saliency",
    "score_gradient",
]

Layer = str | nn.Module
Target = int | Sequence[int] | Tensor | None


class EmpiricalField(NamedTuple):
    r"""The pixels that move one unit.

    Attributes
    ----------
    gradient : (H, W) tensor
        Absolute value of the unit's derivative with respect to each pixel, summed over channels.
    rows, columns : tuple of int, or None
        First and last row and column where it is not zero; None if it is zero everywhere.
    """

    gradient: Tensor
    rows: tuple[int, int] | None
    columns: tuple[int, int] | None


def normalise_filters(weight: Tensor) -> Tensor:
    r"""Scale each filter to [0, 1] for drawing, with 0 at mid-grey.

    .. math:: \frac12 + \frac{w}{2 \max |w|}

    Parameters
    ----------
    weight : (C_out, C_in, kh, kw) tensor

    Returns
    -------
    (C_out, C_in, kh, kw) tensor
        Each filter has a scale of its own. One of zeros becomes grey.

    Raises
    ------
    ValueError
        If `weight` is not a tensor of floats with four axes.

    Examples
    --------
    >>> normalise_filters(torch.tensor([[[[-2.0, 0.0, 1.0]]]]))
    tensor([[[[0.0000, 0.5000, 0.7500]]]])
    """
    _check_tensor("weight", weight, "(C_out, C_in, kh, kw)")
    largest = weight.detach().abs().amax((1, 2, 3), keepdim=True)  # (C_out, 1, 1, 1)
    return 0.5 + weight.detach() / (2 * torch.where(largest > 0, largest, 1))


def feature_maps(model: nn.Module, input: Tensor, layer: Layer) -> Tensor:
    r"""Return what a layer makes of an input.

    Parameters
    ----------
    model : Module
    input : (N, C, H, W) tensor
    layer : str or Module
        A name from ``model.named_modules()`` or one of its modules.

    Returns
    -------
    (N, C', H', W') tensor
        Or of whatever shape the layer returns; a copy, without a graph.

    Raises
    ------
    ValueError
        If `input` has other axes or is not of floats, if the model has no such layer, or if the
        layer runs not at all or more than once in a pass.

    Examples
    --------
    >>> model = nn.Sequential(nn.ReLU(), nn.Flatten())
    >>> feature_maps(model, torch.tensor([[[[-1.0, 2.0]]]]), "0")
    tensor([[[[0., 2.]]]])
    """
    with _recorded(model, input, layer, graph=False) as (_, _, activation):
        return activation


def score_gradient(model: nn.Module, input: Tensor, target: Target = None) -> Tensor:
    r"""Return the gradient of a class score with respect to every pixel.

    Parameters
    ----------
    model : Module
        Returns scores, (N, K).
    input : (N, C, H, W) tensor
    target : int, (N,) tensor or sequence of int, optional
        The class, one for all images or one for each; by default the class that wins.

    Returns
    -------
    (N, C, H, W) tensor

    Raises
    ------
    ValueError
        If `input` has other axes or is not of floats, the model returns no (N, K) tensor, or
        `target` is not among its classes.

    Examples
    --------
    >>> model = nn.Sequential(nn.Flatten(), nn.Linear(2, 3, bias=False))
    >>> gradient = score_gradient(model, torch.zeros(1, 1, 1, 2), target=1)
    >>> torch.equal(gradient.flatten(), model[1].weight[1])
    True
    """
    with _recorded(model, input) as (pixels, scores, _):
        return _gradient(_chosen(scores, target).sum(), pixels)


def saliency(model: nn.Module, input: Tensor, target: Target = None) -> Tensor:
    r"""Return the saliency map: how strongly each pixel can move the score of a class.

    .. math:: M_{ij} = \max_c \left| \frac{\partial S}{\partial x_{cij}} \right|

    Parameters
    ----------
    model, input, target
        As in `score_gradient`.

    Returns
    -------
    (N, H, W) tensor

    Raises
    ------
    ValueError
        As `score_gradient`.

    References
    ----------
    Simonyan, Vedaldi & Zisserman (2014), section 3.1. The score is the network's output before
    softmax, as there.

    Examples
    --------
    >>> saliency(nn.Flatten(), torch.ones(1, 1, 1, 3), target=2)
    tensor([[[0., 0., 1.]]])
    """
    return score_gradient(model, input, target).abs().amax(dim=1)


def occlusion(
    model: nn.Module,
    input: Tensor,
    target: Target = None,
    size: int | tuple[int, int] = 8,
    stride: int | tuple[int, int] = 4,
    value: float = 0.0,
    batch_size: int = 64,
) -> Tensor:
    r"""Cover one window after the other, and return how far the score of a class drops.

    Parameters
    ----------
    model, input, target
        As in `score_gradient`. The class that wins is the one that wins before covering.
    size, stride : int or tuple of int
        Height and width of the cover, and its steps.
    value : float
        What the cover shows in every channel.
    batch_size : int
        Covered copies that go through the model together; it changes time and memory only.

    Returns
    -------
    (N, H', W') tensor
        Score of the whole image minus that of the covered one, per place of the window; the
        places are those of a convolution without padding. Negative where covering helps.

    Raises
    ------
    ValueError
        As `score_gradient`, and if the cover does not fit on the image or has no finite value.

    References
    ----------
    Zeiler & Fergus (2014), section 4.2. They draw the probability itself under a grey square;
    here it is the drop, of whatever `model` returns.

    Examples
    --------
    >>> occlusion(nn.Flatten(), torch.tensor([[[[5.0, 6.0, 7.0]]]]), target=1, size=1, stride=1)
    tensor([[[0., 6., 0.]]])
    """
    value = number("value", value, lambda v: True, "use a finite number")
    batch_size = integer("batch_size", batch_size, 1)
    window, steps = pair("size", size, 1), pair("stride", stride, 1)
    with _recorded(model, input) as (_, scores, _), torch.no_grad():
        classes = _targets(scores, target)
        tops, lefts = (
            [step * i for i in range(output_size(length, side, step))]
            for length, side, step in zip(input.shape[2:], window, steps, strict=True)
        )
        places = list(product(tops, lefts))
        batches = [places[k : k + batch_size] for k in range(0, len(places), batch_size)]
        covered = [
            model(image.masked_fill(_covers(image, batch, window), value))[:, chosen]
            for image, chosen in zip(input, classes, strict=True)
            for batch in batches
        ]
        after = torch.cat([scores[:0, 0], *covered]).reshape(len(input), len(tops), len(lefts))
        return _chosen(scores, classes)[:, None, None] - after


def class_activation_map(activation: Tensor, gradient: Tensor) -> Tensor:
    r"""Weight each feature map by its mean gradient, add them up, and keep what is positive.

    .. math::
        \alpha_k = \frac{1}{H'W'} \sum_{i,j} \frac{\partial S}{\partial A_{kij}}, \qquad
        L_{ij} = \max\Bigl(0, \sum_k \alpha_k A_{kij}\Bigr)

    Parameters
    ----------
    activation : (N, C', H', W') tensor
        Feature maps A of a layer.
    gradient : (N, C', H', W') tensor
        Gradient of the class score S with respect to them.

    Returns
    -------
    (N, H', W') tensor

    Raises
    ------
    ValueError
        If the two are not tensors of floats of one shape with four axes.

    References
    ----------
    Selvaraju and others (2017), equations 1 and 2.

    Examples
    --------
    >>> maps = torch.tensor([[[[1.0, 2.0]], [[3.0, 0.0]]]])
    >>> gradient = torch.tensor([[[[2.0, 4.0]], [[-1.0, -1.0]]]])
    >>> class_activation_map(maps, gradient)  # weights 3 and -1
    tensor([[[0., 6.]]])
    """
    _check_tensor("activation", activation, "(N, C', H', W')")
    _check_tensor("gradient", gradient, "(N, C', H', W')")
    if activation.shape != gradient.shape:
        raise ValueError(
            f"gradient has shape {tuple(gradient.shape)} but activation "
            f"{tuple(activation.shape)}; pass the gradient with respect to that activation"
        )
    alpha = gradient.mean((2, 3), keepdim=True)  # (N, C', 1, 1)
    return (alpha * activation).sum(dim=1).relu()


def grad_cam(model: nn.Module, input: Tensor, layer: Layer, target: Target = None) -> Tensor:
    r"""Return the Grad-CAM of a class: where a layer's feature maps speak for it.

    Parameters
    ----------
    model, input, target
        As in `score_gradient`.
    layer : str or Module
        A layer with feature maps, often the last before they are flattened or averaged.

    Returns
    -------
    (N, H, W) tensor
        `class_activation_map`, brought to the size of the input by bilinear interpolation; in
        units of the score, not scaled to [0, 1].

    Raises
    ------
    ValueError
        As `score_gradient` and `feature_maps`, and if the layer has no feature maps.

    References
    ----------
    Selvaraju and others (2017), section 3.

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(36, 2))
    >>> grad_cam(model, torch.ones(1, 3, 5, 5), layer="1").shape
    torch.Size([1, 5, 5])
    """
    with _recorded(model, input, layer) as (_, scores, activation):
        _check_tensor(f"the output of layer {layer!r}", activation, "(N, C', H', W')")
        gradient = _gradient(_chosen(scores, target).sum(), activation)
    small = class_activation_map(activation.detach(), gradient).unsqueeze(1)  # (N, 1, H', W')
    return functional.interpolate(small, input.shape[2:], mode="bilinear").squeeze(1)


def activation_maximisation(
    model: nn.Module,
    size: tuple[int, int, int],
    unit: int,
    layer: Layer | None = None,
    steps: int = 200,
    lr: float = 0.1,
    decay: float = 0.1,
    smoothness: float = 0.1,
    seed: int = 0,
) -> Tensor:
    r"""Look for the image that a unit answers to most, by gradient ascent from faint noise.

    .. math::
        \max_x \; S(x) - \lambda \sum x^2 - \mu \sum (\text{differences of neighbours})^2

    Parameters
    ----------
    model : Module
    size : (C, H, W)
        Of the image.
    unit : int
        The class k, S being its score; with `layer`, the channel, S being its mean over places.
    layer : str or Module, optional
        Where the unit is; by default the output of the model.
    steps, lr
        Number and factor of the steps ``x += lr * gradient``.
    decay, smoothness : float
        The :math:`\lambda` and :math:`\mu` above. Without them the score grows without bound
        in a network of linear pieces.
    seed : int
        Of the normal noise, of standard deviation 0.01, to start from.

    Returns
    -------
    (C, H, W) tensor
        With pixels of either sign, not clipped.

    Raises
    ------
    ValueError
        If an argument is out of range or there is no such unit or layer.
    FloatingPointError
        If the steps are so long that the image leaves the range of floats.

    References
    ----------
    Simonyan, Vedaldi & Zisserman (2014), section 2, with :math:`\lambda`; the penalty on
    differences, after Mahendran & Vedaldi (2015), section 2, is an addition.

    Examples
    --------
    >>> linear = nn.Sequential(nn.Flatten(), nn.Linear(2, 1))
    >>> image = activation_maximisation(linear, (1, 1, 2), 0, decay=0.5, smoothness=0)
    >>> torch.allclose(image.flatten(), linear[1].weight[0])  # w / (2 * decay)
    True
    """
    if not isinstance(size, (tuple, list)) or len(size) != 3:
        raise ValueError(f"size={size!r} is no shape; pass (channels, height, width)")
    shape = (1, *(integer("size", n, 1) for n in size))
    steps, unit = integer("steps", steps, 1), integer("unit", unit, 0)
    lr, decay, smoothness = (
        number(name, value, lambda v: v >= 0, "use a finite number of at least 0")
        for name, value in (("lr", lr), ("decay", decay), ("smoothness", smoothness))
    )
    like = next(model.parameters(), torch.empty(0))
    generator = torch.Generator().manual_seed(integer("seed", seed, 0))
    noise = torch.randn(shape, generator=generator)
    image = (0.01 * noise).to(like)  # (1, C, H, W)
    for step in range(1, steps + 1):
        with _recorded(model, image, layer) as (pixels, _, activation):
            penalty = decay * pixels.square().sum() + smoothness * _roughness(pixels)
            image = image + lr * _gradient(_mean_of(activation, unit) - penalty, pixels)
        if not image.isfinite().all():
            raise FloatingPointError(f"the image is not finite after step {step}; lower lr={lr}")
    return image[0]


def empirical_receptive_field(
    model: nn.Module,
    input: Tensor,
    layer: Layer | None = None,
    unit: tuple[int, ...] | None = None,
) -> EmpiricalField:
    r"""Return the pixels that a small change of would move one unit.

    Parameters
    ----------
    model : Module
    input : (1, C, H, W) tensor
        One image.
    layer : str or Module, optional
        Where the unit is; by default the output of the model.
    unit : tuple of int, optional
        Its index in the layer's output, such as (channel, row, column); by default the middle
        of every axis.

    Returns
    -------
    EmpiricalField

    Raises
    ------
    ValueError
        If `input` is not one image of floats, or there is no such layer or unit.

    Notes
    -----
    The field that `arithmetic.receptive_field` computes is what a unit *can* see. The gradient
    shows what it does see at this input. It is smaller where a maximum lies elsewhere or a ReLU
    is off. On `linearised` networks the two agree, but for units whose field reaches into the
    padding of a layer other than the first: padding sees nothing, and the field may be smaller.

    References
    ----------
    Luo and others (2016), section 2, who average it over inputs.

    Examples
    --------
    >>> stack = linearised(nn.Sequential(nn.Conv2d(1, 1, 3), nn.MaxPool2d(2)))
    >>> field = empirical_receptive_field(stack, torch.ones(1, 1, 8, 8, dtype=torch.float64))
    >>> field.rows, field.columns  # 3 + 2 - 1 = 4 pixels
    ((2, 5), (2, 5))
    """
    with _recorded(model, input, layer) as (pixels, _, activation):
        if len(input) != 1:
            raise ValueError(f"input has {len(input)} images; pass one, such as input[:1]")
        gradient = _gradient(_unit(activation[0], unit), pixels)[0].abs().sum(dim=0)  # (H, W)
    return EmpiricalField(gradient, _extent(gradient.sum(dim=1)), _extent(gradient.sum(dim=0)))


def linearised(model: nn.Module) -> nn.Module:
    r"""Return a copy of a model in which every path from a pixel to a unit counts.

    Weights become positive and equal within a filter, biases 0; maximum pooling becomes average
    pooling; PyTorch's smooth and piecewise linear activations, normalisation and dropout let
    everything pass; softmax stays as it is. So, in a network of these layers, the gradient of a
    unit is positive on its whole receptive field, as far as that lies on the image.

    Parameters
    ----------
    model : Module
        Its layers are modules: what it calls as a function, such as
        `torch.nn.functional.max_pool2d`, stays as it is.

    Returns
    -------
    Module
        In float64, so that products of many small weights do not vanish.

    Raises
    ------
    ValueError
        If maximum pooling is dilated: average pooling cannot be.

    Examples
    --------
    >>> linearised(nn.Sequential(nn.MaxPool2d(3, 2), nn.ReLU()))
    Sequential(
      (0): AvgPool2d(kernel_size=3, stride=2, padding=0)
      (1): Identity()
    )
    """
    whole = nn.ModuleList([copy.deepcopy(model).double()])
    for parent in list(whole.modules()):
        for name, child in parent._modules.items():
            kind = next((k for k in _LINEAR if isinstance(child, k)), None)
            if kind is not None:
                parent._modules[name] = _LINEAR[kind](child)
    with torch.no_grad():
        for parameter in whole.parameters():
            parameter.fill_(1 / parameter[0].numel() if parameter.ndim > 1 else 0)
    (copied,) = whole
    return copied


def _covers(image: Tensor, places: Sequence[tuple[int, int]], size: tuple[int, int]) -> Tensor:
    r"""Return for each (top, left) of a window which pixels lie under it: (n, 1, H, W)."""
    height, width = size
    covers = image.new_zeros(len(places), 1, *image.shape[1:], dtype=torch.bool)
    for cover, (top, left) in zip(covers, places, strict=True):
        cover[:, top : top + height, left : left + width] = True
    return covers


def _average_pool(layer: Any) -> nn.Module:
    if pair("dilation", layer.dilation, 1) != (1, 1):
        raise ValueError(
            f"MaxPool2d with dilation={layer.dilation} has no average counterpart; use dilation=1"
        )
    return nn.AvgPool2d(layer.kernel_size, layer.stride, layer.padding, layer.ceil_mode)


def _pass(layer: Any) -> nn.Module:
    return nn.Identity()


#: What stands in a linearised model for a layer of each kind. `_NormBase` is batch and instance
#: normalisation, `_DropoutNd` every dropout, and ReLU6 is a kind of Hardtanh.
_LINEAR: dict[type[nn.Module], Callable[[Any], nn.Module]] = {
    nn.MaxPool2d: _average_pool,
    nn.AdaptiveMaxPool2d: lambda layer: nn.AdaptiveAvgPool2d(layer.output_size),
    **dict.fromkeys((nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.RReLU, nn.ELU, nn.SELU, nn.CELU), _pass),
    **dict.fromkeys((nn.GELU, nn.SiLU, nn.Mish, nn.Hardswish, nn.Softplus, nn.LogSigmoid), _pass),
    **dict.fromkeys((nn.Sigmoid, nn.Tanh, nn.Softsign, nn.Hardsigmoid, nn.Hardtanh), _pass),
    **dict.fromkeys((nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm), _pass),
    **dict.fromkeys((nn.RMSNorm, nn.LocalResponseNorm), _pass),
    nn.modules.dropout._DropoutNd: _pass,
}


@contextmanager
def _recorded(
    model: nn.Module, input: Tensor, layer: Layer | None = None, graph: bool = True
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    r"""Run the model in evaluation mode; yield pixels, output and the layer's activation.

    With `graph`, gradients flow between the three. The model goes on with copies, so that in-place
    layers do no harm. Modes come back when the `with` block ends.
    """
    _check_tensor("input", input, "(N, C, H, W)")
    found, seen = _find(model, layer), []

    def record(module: nn.Module, args: Any, output: Tensor) -> Tensor:
        seen.append(output)
        return output.clone()

    with mode(model, training=False), torch.set_grad_enabled(graph):
        pixels = input.detach().clone().requires_grad_(graph)
        with found.register_forward_hook(record):
            output = model(pixels.clone())
        if len(seen) != 1:
            raise ValueError(
                f"layer={layer!r} runs {len(seen)} times in one pass; "
                "choose one that runs once, or give each place a module of its own"
            )
        yield pixels, output, seen[0]


def _find(model: nn.Module, layer: Layer | None) -> nn.Module:
    r"""Return a layer of the model by its name; the model itself for None."""
    if layer is None:
        return model
    modules: dict[str, nn.Module] = dict(model.named_modules())
    if isinstance(layer, nn.Module) and any(layer is module for module in modules.values()):
        return layer
    if isinstance(layer, str) and modules.get(layer, model) is not model:
        return modules[layer]
    names = ", ".join(name for name in modules if name)
    raise ValueError(f"layer={layer!r} is not in this model; its layers are {names}")


def _check_tensor(name: str, tensor: Any, axes: str) -> None:
    if not isinstance(tensor, Tensor):
        raise ValueError(f"{name} is a {type(tensor).__name__}; pass a tensor (torch.as_tensor)")
    if tensor.ndim != len(axes.split(",")) or 0 in tensor.shape[1:]:
        raise ValueError(f"{name} has shape {tuple(tensor.shape)}; it needs the axes {axes}")
    if not tensor.is_floating_point():
        raise ValueError(f"{name} is of {tensor.dtype}, which has no gradient; use .float()")


def _targets(scores: Tensor, target: Target) -> Tensor:
    r"""Return one class for each image: (N,)."""
    _check_tensor("the output of the model", scores, "(N, K)")
    n, k = scores.shape
    if target is None:
        return scores.argmax(dim=1)
    try:
        classes = torch.as_tensor(target, device=scores.device)
    except (TypeError, ValueError, RuntimeError):
        classes = torch.empty(0, 0)  # no classes at all
    kind = classes.dtype
    if kind.is_floating_point or kind == torch.bool or classes.shape not in ((), (n,)):
        raise ValueError(f"target={target!r} names no class for each of {n} images; use integers")
    if ((classes < 0) | (classes >= k)).any():
        raise ValueError(f"target={target!r} is not among the {k} classes 0 to {k - 1}")
    return classes.long().expand(n)


def _chosen(scores: Tensor, target: Target) -> Tensor:
    r"""Return the score of its class for each image: (N, K) -> (N,)."""
    return scores.gather(1, _targets(scores, target).unsqueeze(1)).squeeze(1)


def _gradient(value: Tensor, at: Tensor) -> Tensor:
    (gradient,) = torch.autograd.grad(value, at, materialize_grads=True)
    return gradient


def _roughness(image: Tensor) -> Tensor:
    r"""Return the sum of the squared differences of neighbours, down and across."""
    return image.diff(dim=2).square().sum() + image.diff(dim=3).square().sum()


def _mean_of(activation: Tensor, channel: int) -> Tensor:
    if channel >= activation.shape[1]:
        raise ValueError(f"unit={channel} is not among the {activation.shape[1]} of this layer")
    return activation[:, channel].mean()


def _unit(activation: Tensor, unit: tuple[int, ...] | None) -> Tensor:
    r"""Return one number of an activation without batch axis."""
    shape = tuple(activation.shape)
    index = tuple(n // 2 for n in shape) if unit is None else tuple(unit)
    if len(index) != len(shape) or not all(0 <= i < n for i, n in zip(index, shape, strict=True)):
        raise ValueError(f"unit={unit!r} is no index into one output of shape {shape}")
    return activation[index]


def _extent(line: Tensor) -> tuple[int, int] | None:
    r"""Return the first and last place where a line is not zero."""
    places = line.nonzero().flatten().tolist()
    return (places[0], places[-1]) if places else None
