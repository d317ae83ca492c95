r"""Networks by name: list them, build them, cut off their heads and give them new ones.

A file of this package describes a network and says, with `register`, by which names it is built.
Whoever builds one by its name or imports its factory gets the same function.

The class of each network says in `head_names` which of its layers give class scores: dotted names
of linear layers or 1 x 1 convolutions, the main one first, those of auxiliary heads after it.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from torch import Tensor, nn

from coursepkg.architectures.checkpoints import pretrained
from coursepkg.validation import integer

__all__ = [
    "MODELS",
    "Entry",
    "Features",
    "cut_head",
    "features_only",
    "get_model",
    "list_models",
    "register",
    "replace_head",
]

Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Entry:
    r"""A network that can be built by name.

    Attributes
    ----------
    name, family : str
        "resnet50" and "resnet".
    factory : callable
        Takes keyword arguments only, `weights` and `num_classes` among them, and returns a Module.
    input_size : tuple of int
        (C, H, W) of the images that it was made for.
    reference : str
        The library whose names and numbers it has: "torchvision 0.29.1", "timm 1.0.31", or "".
    """

    name: str
    family: str
    factory: Callable[..., nn.Module]
    input_size: tuple[int, int, int]
    reference: str


#: Every network, by its name.
MODELS: dict[str, Entry] = {}


def register(
    family: str,
    input_size: tuple[int, int, int] = (3, 224, 224),
    reference: str = "torchvision 0.29.1",
) -> Callable[[Callable[..., Model]], Callable[..., Model]]:
    r"""Enter a builder into `MODELS` under its own name, and give it the argument `weights`.

    The factory that results takes, by keyword only,

    - `weights`: None for random ones, which is the default, "DEFAULT", or a name such as
      "IMAGENET1K_V1" of what is to be downloaded and loaded;
    - `num_classes`, which it checks;
    - the other arguments of the builder.

    So torchvision's arguments that a builder here has not, such as `progress`, `dropout` or
    `norm_layer`, raise a TypeError. The class of a network, such as
    `coursepkg.architectures.vgg.VGG`, takes more settings than its builders.

    Parameters
    ----------
    family, input_size, reference
        As in `Entry`.

    Returns
    -------
    callable
        A decorator of builders, which take keyword arguments only.

    Raises
    ------
    ValueError
        If the name is taken.
    """

    def enter(build: Callable[..., Model]) -> Callable[..., Model]:
        name = build.__name__

        @functools.wraps(build)
        def factory(*, weights: str | None = None, **settings: Any) -> Model:
            if "num_classes" in settings:
                settings["num_classes"] = integer("num_classes", settings["num_classes"], 1)
            if weights is None:
                return build(**settings)
            return pretrained(name, weights, build, settings)

        if name in MODELS:
            raise ValueError(f"{name} is registered already; use another name")
        given = inspect.signature(build)
        extra = inspect.Parameter(
            "weights", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="str | None"
        )
        factory.__signature__ = given.replace(  # type: ignore[attr-defined]
            parameters=[extra, *given.parameters.values()]
        )
        MODELS[name] = Entry(name, family, factory, input_size, reference)
        return factory

    return enter


def list_models(family: str | None = None) -> list[str]:
    r"""Return the names of all networks, or of one family.

    Parameters
    ----------
    family : str, optional
        Such as "resnet".

    Returns
    -------
    list of str
        In alphabetical order.

    Raises
    ------
    ValueError
        If there is no such family; the message lists them all.

    Examples
    --------
    >>> list_models("densenet")
    ['densenet121', 'densenet161', 'densenet169', 'densenet201']
    """
    families = sorted({entry.family for entry in MODELS.values()})
    if family is not None and family not in families:
        raise ValueError(f"family={family!r} is none of {', '.join(families)}")
    return sorted(name for name, e in MODELS.items() if family in (None, e.family))


def get_model(name: str, weights: str | None = None, **settings: Any) -> nn.Module:
    r"""Build a network by its name.

    Parameters
    ----------
    name : str
        As from `list_models`.
    weights : str, optional
        Such as "IMAGENET1K_V1" or "DEFAULT": download these and load them. By default the weights
        are random.
    **settings
        What the builder takes, such as ``num_classes=10``.

    Returns
    -------
    Module

    Raises
    ------
    ValueError
        If there is no such network, or no such weights, or `num_classes` is no integer of at
        least 1.
    TypeError
        If the builder knows no such setting.

    Examples
    --------
    >>> import torch
    >>> get_model("lenet5", num_classes=7)(torch.zeros(1, 1, 32, 32)).shape
    torch.Size([1, 7])
    """
    if not isinstance(name, str) or name not in MODELS:
        advice = _nearest(name, MODELS) or "see list_models()"
        raise ValueError(f"name={name!r} is no network here; {advice}")
    return MODELS[name].factory(weights=weights, **settings)


def cut_head(model: Model) -> Model:
    r"""Replace the layer that gives class scores by nothing, so that the model returns features.

    Of AlexNet and VGG that leaves the 4096 numbers before the last layer, of the others the
    average of the last maps, or what the network makes of it. For maps see `features_only`.

    Parameters
    ----------
    model : Module
        A network of this package. Changed in place, as the head is usually thrown away.

    Returns
    -------
    Module
        The same model: (N, C, H, W) -> (N, F). Its auxiliary heads are gone (their attributes are
        None), so that it returns one tensor in training, too.

    Raises
    ------
    ValueError
        If the class of the model names no heads, or its head is not there any more.

    Examples
    --------
    >>> import torch
    >>> from coursepkg.architectures import lenet5
    >>> cut_head(lenet5())(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 84])
    """
    main, *auxiliary = _heads(model)
    model.set_submodule(main, nn.Identity())
    for name in auxiliary:
        setattr(model, name.split(".")[0], None)
    return model


def replace_head(model: Model, num_classes: int) -> Model:
    r"""Give a network new last layers for other classes; all other weights stay.

    Parameters
    ----------
    model : Module
        A network of this package. Changed in place.
    num_classes : int
        How many classes to tell apart.

    Returns
    -------
    Module
        The same model. Its main and its auxiliary heads have new layers of the kind, device and
        dtype of the old ones, which begin as PyTorch begins such layers.

    Raises
    ------
    ValueError
        If the class of the model names no heads, `num_classes` is no integer of at least 1, or a
        head has been cut off or replaced by something else. The model is unchanged then.

    Examples
    --------
    >>> import torch
    >>> from coursepkg.architectures import lenet5
    >>> replace_head(lenet5(), 3)(torch.zeros(2, 1, 32, 32)).shape
    torch.Size([2, 3])
    """
    num_classes = integer("num_classes", num_classes, 1)
    layers = {name: _fresh(name, model.get_submodule(name), num_classes) for name in _heads(model)}
    for name, layer in layers.items():
        model.set_submodule(name, layer)
    return model


class Features(nn.Module):
    r"""What `features_only` returns: a network that ends where its maps end.

    Parameters
    ----------
    model : Module
        Not copied.
    layers : sequence of str, optional
        Dotted names of layers whose outputs to return.
    """

    def __init__(self, model: nn.Module, layers: Sequence[str] | None = None) -> None:
        r"""Keep the model and check the names."""
        super().__init__()
        if not hasattr(model, "forward_features"):
            raise ValueError(
                f"model is a {type(model).__name__} without forward_features; "
                "pass a network of this package, or use hooks of your own"
            )
        if isinstance(layers, str):
            raise ValueError(f"layers={layers!r} is one name; pass [{layers!r}]")
        names = [name for name, _ in model.named_modules() if name]
        for name in layers or ():
            if name not in names:
                advice = _nearest(name, names) or "see model.named_modules()"
                raise ValueError(f"layers: {name!r} is not in this model; {advice}")
        self.model, self.layers = model, layers

    def forward(self, input: Tensor) -> Any:
        r"""(N, C, H, W) -> the last maps, or {name: output} of the layers, in their order."""
        maps: Callable[[Tensor], Tensor] = self.model.forward_features  # type: ignore[assignment]
        if self.layers is None:
            return maps(input)
        seen: dict[str, Tensor] = {}

        def keep(name: str) -> Callable[..., None]:
            return lambda module, inputs, output: seen.update({name: output.clone()})

        handles = [
            self.model.get_submodule(name).register_forward_hook(keep(name)) for name in self.layers
        ]
        try:
            maps(input)
        finally:
            for handle in handles:
                handle.remove()
        if missing := [name for name in self.layers if name not in seen]:
            raise ValueError(f"layers: {missing[0]!r} does not run before the head; leave it out")
        return {name: seen[name] for name in self.layers}


def features_only(model: nn.Module, layers: Sequence[str] | None = None) -> Features:
    r"""Return a network that ends where its maps end, or that returns maps on the way.

    Parameters
    ----------
    model : Module
        A network of this package. It is not copied: both share their weights.
    layers : sequence of str, optional
        Dotted names, as from ``model.named_modules()``, of layers before the head.

    Returns
    -------
    Module
        Without `layers`: (N, C, H, W) -> (N, C', H', W'), the maps of the last stage; of `vit_b_16`
        the tokens, (N, 1 + L, D). With `layers`: -> {name: output}, in the order of `layers`. The
        outputs are copies, so that a ReLU that works in place does not change them; gradients
        flow through them.

    Raises
    ------
    ValueError
        If the model has no `forward_features` or no such layer, or `layers` is a string; when it
        runs, if a layer does not run before the head.

    Examples
    --------
    >>> import torch
    >>> from coursepkg.architectures import resnet18
    >>> trunk = features_only(resnet18(), ["layer1", "layer3"])
    >>> for name, maps in trunk(torch.zeros(1, 3, 64, 64)).items():
    ...     print(name, tuple(maps.shape))
    layer1 (1, 64, 16, 16)
    layer3 (1, 256, 4, 4)
    """
    return Features(model, layers)


def _heads(model: nn.Module) -> list[str]:
    r"""Return the names of the heads that the model has."""
    names: tuple[str, ...] = getattr(model, "head_names", ())
    if not names:
        raise ValueError(
            f"model is a {type(model).__name__}, whose class names no heads; pass a network of "
            "this package, or set the layer yourself, as in model.fc = nn.Linear(...)"
        )
    there = [name for name in names if getattr(model, name.split(".")[0]) is not None]
    layers = dict(model.named_modules(remove_duplicate=False))
    if missing := [name for name in there if name not in layers]:
        raise ValueError(f"this model has no layer {missing[0]} any more; build the model anew")
    if isinstance(layers[there[0]], nn.Identity):
        raise ValueError(f"the head of this model, {there[0]}, is cut off; build the model anew")
    return there


def _nearest(name: object, known: Iterable[str]) -> str:
    r"""Return a question that names what is written nearly so, or nothing."""
    near = difflib.get_close_matches(str(name), known)
    return f"did you mean {' or '.join(near)}?" if near else ""


def _fresh(name: str, layer: Any, num_classes: int) -> nn.Module:
    r"""Return a new layer like a linear layer or a convolution, with other outputs."""
    if not isinstance(layer, nn.Linear | nn.Conv2d):
        raise ValueError(
            f"the head {name} is a {type(layer).__name__}; only linear layers and convolutions "
            f"are replaced, so set it yourself, as in model.{name} = nn.Linear(...)"
        )
    like: dict[str, Any] = {"bias": layer.bias is not None}
    like |= {"device": layer.weight.device, "dtype": layer.weight.dtype}
    if isinstance(layer, nn.Linear):
        return nn.Linear(layer.in_features, num_classes, **like)
    height, width = layer.kernel_size
    return nn.Conv2d(layer.in_channels, num_classes, (height, width), **like)
