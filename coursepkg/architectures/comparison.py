r"""Networks side by side: what they cost, how long they take here, how good they are said to be.

Parameters, multiply-adds and memory are counted, the time is measured on the machine that runs
the page, and the accuracy is cited from those who published the weights: nobody can measure it
without the images.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import torch
from matplotlib.axes import Axes
from torch import Tensor, nn
from torch.func import functional_call

from coursepkg.architectures.checkpoints import WEIGHTS, skeleton
from coursepkg.architectures.registry import MODELS
from coursepkg.architectures.summary import summary
from coursepkg.training import mode
from coursepkg.validation import choice, integer

__all__ = [
    "OPTIMIZER_STATES",
    "Comparison",
    "bubble_chart",
    "compare",
    "kept_for_backward",
    "largest_batch_size",
    "latency",
]

#: How many numbers an optimiser keeps for each parameter, beside the gradient.
OPTIMIZER_STATES = {"sgd": 0, "momentum": 1, "adam": 2}

#: Of discs that need not be told apart.
GREY = "0.7"


class Comparison(NamedTuple):
    r"""One network among others; costs are for one image of its own size.

    Attributes
    ----------
    name, family : str
    size : int
        Height and width of its images.
    parameters, macs, memory : int
        As from `summary`: numbers, multiply-adds, bytes of new tensors.
    top1 : float
        Per cent of the ImageNet validation images, as published.
    weights : str
        Of which weights that is said.
    source : str
        By whom.
    """

    name: str
    family: str
    size: int
    parameters: int
    macs: int
    memory: int
    top1: float
    weights: str
    source: str


def compare(names: Iterable[str]) -> list[Comparison]:
    r"""Count what networks cost, and look up how good their first official weights are.

    Of several official weights the first are taken. Those of ResNet and VGG were trained much as in
    the papers. Those of SE-ResNet, EfficientNet, ConvNeXt and ViT were not, and owe a part of their
    numbers to newer recipes.

    Parameters
    ----------
    names : iterable of str
        From `list_models`, of networks with official weights.

    Returns
    -------
    list of Comparison
        Costs are those of evaluation, so without auxiliary heads.

    Raises
    ------
    ValueError
        If there is no such network, or there are no official weights for it.

    Examples
    --------
    >>> (row,) = compare(["squeezenet1_1"])
    >>> row.parameters, row.macs, row.top1
    (1235496, 349151936, 58.178)
    """
    rows = []
    for name in names:
        if name not in WEIGHTS:
            raise ValueError(f"name={name!r} has no official weights; use names of WEIGHTS")
        entry, (weights, published) = MODELS[name], next(iter(WEIGHTS[name].items()))
        whole = summary(skeleton(entry.factory), entry.input_size, depth=0).layers[0]
        costs = whole.parameters, whole.macs, whole.memory
        cited = published.top1, weights, published.source
        rows.append(Comparison(name, entry.family, entry.input_size[1], *costs, *cited))
    return rows


def kept_for_backward(model: nn.Module, input_size: Sequence[int]) -> int:
    r"""Return the bytes that one image adds to what training keeps for the backward pass.

    That is every tensor that an operation saves to compute its gradient, each storage once;
    parameters and buffers, which are there in any case, are not counted.

    Parameters
    ----------
    model : Module
        On any device; neither changed nor computed. It runs in training mode, with two images,
        as batch normalisation needs.
    input_size : sequence of int
        (C, H, W).

    Examples
    --------
    A convolution keeps its input, a ReLU its output, whether or not it works in place.

    >>> kept_for_backward(nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU()), (1, 6, 6))
    272
    """
    shape = [integer("input_size", n, 1) for n in input_size]
    parameters = {n: p.detach().to("meta").requires_grad_() for n, p in model.named_parameters()}
    buffers = {n: b.to("meta") for n, b in model.named_buffers()}
    given = {_storage(tensor) for tensor in (parameters | buffers).values()}
    kept: dict[int, Tensor] = {}

    def save(tensor: Tensor) -> Tensor:
        if _storage(tensor) not in given:
            kept.setdefault(_storage(tensor), tensor)
        return tensor

    like = next(iter(parameters.values()))
    input = torch.zeros(2, *shape, dtype=like.dtype, device="meta")
    hooks = torch.autograd.graph.saved_tensors_hooks(save, lambda tensor: tensor)
    with mode(model, training=True), torch.device("meta"), hooks:
        functional_call(model, parameters | buffers, (input,))
    return sum(tensor.untyped_storage().nbytes() for tensor in kept.values()) // 2


def _storage(tensor: Tensor) -> int:
    address: int = tensor.untyped_storage()._cdata
    return address


def largest_batch_size(
    memory: int, parameters: int, activations: int, optimizer: str = "sgd", itemsize: int = 4
) -> int:
    r"""Return how many images fit into memory in one training step.

    There are the parameters, as many gradients, and the states of the optimiser; what is left is
    for the activations.

    .. math::
        \left\lfloor \frac{M - (2 + k) \, P \, b}{A} \right\rfloor

    Parameters
    ----------
    memory : int
        M, in bytes.
    parameters : int
        P, of the network.
    activations : int
        A, the bytes that one image adds.
    optimizer : str
        "sgd", "momentum" or "adam", which keep k = 0, 1 or 2 numbers for each parameter.
    itemsize : int
        b, the bytes of one number.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        If not even one image fits, a number is no integer of at least 1, or the optimiser is
        unknown.

    Notes
    -----
    A lower bound of what is needed: libraries also take working space, and memory breaks into
    pieces.

    References
    ----------
    Rajbhandari et al. (2020), section 3, who count the same for numbers in half precision.

    Examples
    --------
    >>> largest_batch_size(8 * 2**30, 25_557_032, 90 * 2**20, "momentum")
    87
    """
    memory, each = integer("memory", memory, 1), integer("activations", activations, 1)
    copies = 2 + OPTIMIZER_STATES[choice("optimizer", optimizer, OPTIMIZER_STATES)]
    fixed = copies * integer("parameters", parameters, 1) * integer("itemsize", itemsize, 1)
    images = (memory - fixed) // each
    if images < 1:
        raise ValueError(
            f"memory={memory} is too small for one image, which takes {fixed + each} bytes with "
            "the parameters; use a smaller network or smaller images"
        )
    return images


def latency(
    model: nn.Module, input_size: Sequence[int], batch_size: int = 1, repeats: int = 7
) -> float:
    r"""Return the seconds of a forward pass on this machine, with one thread: the median.

    Parameters
    ----------
    model : Module
        Left in the mode that it came in.
    input_size : sequence of int
        (C, H, W).
    batch_size : int
        Images at once.
    repeats : int
        How often to measure, after one pass to warm up.

    Raises
    ------
    ValueError
        If a number is no integer of at least 1.

    Examples
    --------
    >>> latency(nn.Conv2d(1, 1, 3), (1, 8, 8)) > 0
    True
    """
    shape = [integer("input_size", n, 1) for n in input_size]
    input = torch.zeros(integer("batch_size", batch_size, 1), *shape)
    times = []
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with mode(model, training=False), torch.inference_mode():
            for _ in range(1 + integer("repeats", repeats, 1)):
                start = time.perf_counter()
                model(input)
                times.append(time.perf_counter() - start)
    finally:
        torch.set_num_threads(threads)
    return statistics.median(times[1:])


def bubble_chart(
    rows: Sequence[Comparison],
    ax: Axes,
    labels: Mapping[str, tuple[float, float]] | None = None,
    colours: Mapping[str, str] | None = None,
) -> Axes:
    r"""Draw published accuracy over multiply-adds, with discs as large as the parameters.

    Parameters
    ----------
    rows : sequence of Comparison
    ax : Axes
        Its horizontal axis becomes logarithmic.
    labels : mapping of str to pair of float, optional
        Which networks to name, and by how many points to the right and up from the middle of the
        disc; by default all, beside it.
    colours : mapping of str to str, optional
        Of families, such as `{"vgg": "green"}`; discs of all others are grey.

    Returns
    -------
    Axes
        The same `ax`. The area of a disc is 3 square points for each million parameters.
    """
    for row in sorted(rows, key=lambda row: -row.parameters):
        place = row.macs / 1e9, row.top1
        colour = (colours or {}).get(row.family, GREY)
        ax.scatter(*place, s=3e-6 * row.parameters, color=colour, alpha=0.6, ec="0.2", lw=0.5)
    names = dict.fromkeys((row.name for row in rows), (4.0, 3.0)) if labels is None else labels
    for row in rows:
        if row.name in names:
            place, shift = (row.macs / 1e9, row.top1), names[row.name]
            ax.annotate(row.name, place, shift, textcoords="offset points", fontsize=9)
    ax.set(xscale="log", xlabel="giga multiply-adds", ylabel="top-1 accuracy, per cent")
    ax.spines[["top", "right"]].set_visible(False)
    return ax
