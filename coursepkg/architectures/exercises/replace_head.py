r"""A new head

A network tells 1000 classes of ImageNet apart, and you need it for `num_classes` others. Write
`replace_head`: it puts new last layers in, and leaves everything else as it is.

1. `model.head_names` lists the layers that give class scores, by their dotted names: `"fc"`, or
   `"classifier.2"`, which is layer 2 of the part `classifier`. The main head comes first; those of
   auxiliary heads, such as `"aux.fc"`, come after it and are replaced, too. An auxiliary head may
   have been left out; then the first attribute of its name is `None`, and you skip it.
2. Each of these layers is an `nn.Linear` or an `nn.Conv2d` of 1 × 1. The new one is of the same
   kind, takes as many inputs, and has `num_classes` outputs. It has a bias where the old one has
   one, and the dtype of the old one.
3. Its weights are fresh: as PyTorch draws them. All other weights keep their values and whether
   they are trained. The new ones are trained.
4. The model is changed in place and returned.

`model.get_submodule(name)` finds a layer by its dotted name, and `model.set_submodule(name, layer)`
puts another one in its place.

A model without `head_names`, and a `num_classes` below 1, are mistakes of the caller: raise a
`ValueError` that would help you to mend it.

The cases build a small network of the form `kind`, call your function, and let the network run in
training mode, where it returns the scores of all of its heads.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import nn

from coursepkg.architectures.registry import replace_head
from coursepkg.convolution.exercises.nested_cnn import FORBID
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"layers": 2, "scores": 1, "kept": 1, "fresh": 1, "trained": 1, "same": 1}
points |= {"nested": 1, "convolution": 1, "auxiliary": 2, "left out": 1, "bias": 1, "dtype": 1}
points |= {"errors": 1}
environment = "torch"
seconds = 5.0
reference = replace_head


class _Network(nn.Module):
    def __init__(self, kind, inputs):
        super().__init__()
        self.kind = kind
        self.conv = nn.Conv2d(1, inputs, 1)
        self.aux = None
        if kind == "nested":
            self.classifier = nn.Sequential(nn.Linear(inputs, 8), nn.ReLU(), nn.Linear(8, 10))
        elif kind == "convolution":
            self.classifier = nn.Sequential(nn.Dropout(0), nn.Conv2d(inputs, 10, 1))
        else:
            self.fc = nn.Linear(inputs, 10, bias=kind != "no bias")
        if kind == "auxiliary":
            self.aux = nn.Sequential()
            self.aux.fc = nn.Linear(inputs, 10)

    def forward(self, input):
        maps = self.conv(input)
        features = maps.mean((2, 3))
        if self.kind == "convolution":
            scores = self.classifier(maps).mean((2, 3))
        elif self.kind == "nested":
            scores = self.classifier(features)
        else:
            scores = self.fc(features)
        return [scores] if self.aux is None else [scores, self.aux.fc(features)]


def driver(answer, kind, num_classes, inputs=6, dtype="float32", frozen=False):
    names = {"nested": ["classifier.2"], "convolution": ["classifier.1"]}
    heads = names.get(kind, ["fc", "aux.fc"])
    torch.manual_seed(0)
    model = _Network(kind, inputs).to(getattr(torch, dtype)).requires_grad_(not frozen)
    if kind != "no names":
        model.head_names = tuple(heads)
    before = {n: (p.detach().clone(), p.requires_grad) for n, p in model.named_parameters()}
    result = answer(model, num_classes)
    heads = [name for name in heads if not (name == "aux.fc" and model.aux is None)]
    layers = [model.get_submodule(name) for name in heads]
    yield (
        "layers",
        [
            [type(m).__name__, list(m.weight.shape), m.bias is not None, str(m.weight.dtype)]
            for m in layers
        ],
    )
    images = torch.ones(2, 1, 3, 3, dtype=getattr(torch, dtype))
    yield "scores", [list(scores.shape) for scores in model(images)]
    mine = tuple(f"{name}." for name in heads)
    yield (
        "kept",
        [
            name
            for name, p in model.named_parameters()
            if not name.startswith(mine)
            and name in before
            and torch.equal(p, before[name][0])
            and p.requires_grad == before[name][1]
        ],
    )
    fresh, trained = [], []
    for name, layer in zip(heads, layers, strict=True):
        for part, p in layer.named_parameters():
            old = before.get(f"{name}.{part}", (p.detach() + 1, True))[0]
            rows, bound = min(len(old), len(p)), (8 if kind == "nested" else inputs) ** -0.5
            trained.append(p.requires_grad)
            if not p.any():
                fresh.append("zero")
            elif torch.equal(p[:rows], old[:rows]):
                fresh.append("as before")
            else:
                fresh.append("drawn" if p.abs().max() <= bound + 1e-6 else "too large")
    yield "fresh", fresh
    yield "trained", trained
    yield "same", result is model


def oracle(
    kind: str, num_classes: int, inputs: int = 6, dtype: str = "float32", frozen: bool = False
) -> dict[str, Any]:
    r"""Say what the network must look like."""
    if num_classes < 1 or kind == "no names":
        raise ValueError("there is nothing to replace")
    width, tail = (8 if kind == "nested" else inputs), ([1, 1] if kind == "convolution" else [])
    layer = [
        "Conv2d" if tail else "Linear",
        [num_classes, width, *tail],
        kind != "no bias",
        f"torch.{dtype}",
    ]
    heads = 2 if kind == "auxiliary" else 1
    parts = heads * (1 if kind == "no bias" else 2)
    others = ["classifier.0.weight", "classifier.0.bias"] if kind == "nested" else []
    return {
        "layers": [layer] * heads,
        "scores": [[2, num_classes]] * heads,
        "kept": ["conv.weight", "conv.bias", *others],
        "fresh": ["drawn"] * parts,
        "trained": [True] * parts,
        "same": True,
    }


def _case(group: str, kind: str, num_classes: int, **settings: Any) -> Case:
    inputs = {"kind": kind, "num_classes": num_classes, **settings}
    return Case(group, inputs, oracle(**inputs))


PUBLIC = (
    _case("", "plain", 3),
    _case("nested", "nested", 4),
    _case("convolution", "convolution", 2),
    _case("auxiliary", "auxiliary", 3),
    _case("left out", "left out", 5, frozen=True),
    _case("bias", "no bias", 3),
    _case("dtype", "plain", 3, dtype="float64"),
    Case("errors", {"kind": "plain", "num_classes": 0}, ValueError),
    Case("errors", {"kind": "no names", "num_classes": 2}, ValueError),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield each form with other numbers, trained and frozen."""
    kinds = {"": "plain", "nested": "nested", "convolution": "convolution"}
    kinds |= {"auxiliary": "auxiliary", "left out": "left out", "bias": "no bias", "dtype": "plain"}
    for group, kind in kinds.items():
        for frozen in (False, True):
            settings: dict[str, Any] = {"frozen": frozen, "inputs": int(rng.integers(5, 9))}
            if group == "dtype":
                settings["dtype"] = "float64"
            yield _case(group, kind, int(rng.integers(2, 9)), **settings)
    yield Case("errors", {"kind": "nested", "num_classes": -1}, ValueError)
    yield Case("errors", {"kind": "no names", "num_classes": 3}, ValueError)


def _each(model, num_classes, change=None, skip=True, which=slice(None)):
    r"""Replace heads; `change(new, old)` spoils each."""
    if num_classes < 1 or not hasattr(model, "head_names"):
        raise ValueError("there is nothing to replace")
    for name in model.head_names[which]:
        if skip and getattr(model, name.split(".")[0]) is None:
            continue
        old = model.get_submodule(name)
        options = {"bias": old.bias is not None, "dtype": old.weight.dtype}
        if isinstance(old, nn.Linear):
            new = nn.Linear(old.in_features, num_classes, **options)
        else:
            new = nn.Conv2d(old.in_channels, num_classes, 1, **options)
        model.set_submodule(name, change(new, old) if change else new)
    return model


def _unchecked(model, num_classes):
    r"""Replace the main head, whatever `num_classes` is."""
    with warnings.catch_warnings(action="ignore"):  # of a layer without outputs
        model.set_submodule(model.head_names[0], nn.Linear(6, num_classes))
    return model


def linear_everywhere(model, num_classes):
    """Your new head is always a linear layer. Where the old one is a convolution of 1 x 1, it works
    on maps, and so must the new one.
    """
    return _each(
        model,
        num_classes,
        lambda new, old: nn.Linear(
            old.weight.shape[1], num_classes, old.bias is not None, dtype=old.weight.dtype
        ),
    )


def auxiliary_forgotten(model, num_classes):
    """You replace the main head only. The auxiliary heads still give scores for the old classes, so
    training would fail: go through all of `model.head_names`.
    """
    return _each(model, num_classes, which=slice(1))


def left_out_not_skipped(model, num_classes):
    """You look for a head that has been left out. Where the first attribute of its name is `None`,
    as `model.aux` is then, go on with the next one.
    """
    return _each(model, num_classes, skip=False)


def dtype_forgotten(model, num_classes):
    """Your new layer has float32 weights whatever the old one has, and the two do not go together
    in one network. Give it `dtype=old.weight.dtype`.
    """
    return _each(model, num_classes, lambda new, old: new.float())


def bias_always(model, num_classes):
    """Your new layer has a bias although the old one has none. Ask `old.bias is not None`."""

    def with_bias(new, old):
        new.bias = nn.Parameter(torch.full((num_classes,), 0.1, dtype=old.weight.dtype))
        return new

    return _each(model, num_classes, with_bias)


def bias_never(model, num_classes):
    """Your new layer has no bias although the old one has. Leave `bias` at its default where there
    was one.
    """

    def without(new, old):
        new.bias = None
        return new

    return _each(model, num_classes, without)


def dotted_attribute(model, num_classes):
    """You set an attribute whose name has a dot in it. That is a new attribute of the model and not
    the layer within its part: use `model.set_submodule`.
    """
    if num_classes < 1 or not hasattr(model, "head_names"):
        raise ValueError("there is nothing to replace")
    changed = _each(copy.deepcopy(model), num_classes)
    for name in model.head_names:
        if getattr(model, name.split(".")[0]) is not None:
            setattr(model, name, changed.get_submodule(name))
    return model


def whole_part_replaced(model, num_classes):
    """You put the new layer in the place of the whole part, so the hidden layers before it are
    gone. Replace the layer that is named, and it alone.
    """
    name = getattr(model, "head_names", ("",))[0]
    if name not in ("classifier.2", "classifier.1"):
        return _each(model, num_classes)
    old = model.get_submodule(name)
    model = _each(model, num_classes)
    model.classifier = nn.Sequential(*[nn.Identity()] * int(name[-1]), model.get_submodule(name))
    assert old is not None
    return model


def put_behind(model, num_classes):
    """You keep the old head and put a layer behind it. The 1000 scores of the old classes are a
    poor description of an image: the new layer takes what the old one took.
    """

    def behind(new, old):
        width = old.weight.shape[0]
        if isinstance(old, nn.Linear):
            after = nn.Linear(width, num_classes, dtype=old.weight.dtype)
        else:
            after = nn.Conv2d(width, num_classes, 1, dtype=old.weight.dtype)
        chain = nn.Sequential(old, after)
        chain.weight, chain.bias = after.weight, after.bias
        return chain

    return _each(model, num_classes, behind)


def zeros(model, num_classes):
    """Your new weights are zero. Leave them as PyTorch draws them: there is no need to set any."""

    def zeroed(new, old):
        for p in new.parameters():
            nn.init.zeros_(p)
        return new

    return _each(model, num_classes, zeroed)


def old_rows_kept(model, num_classes):
    """Your new head begins with the weights of the old one, cut off. The first of the old classes
    have nothing to do with the new ones: let PyTorch draw fresh weights.
    """

    def cut(new, old):
        rows = min(num_classes, len(old.weight))
        with torch.no_grad():
            for p, q in zip(new.parameters(), old.parameters(), strict=True):
                p[:rows] = q[:rows]
        return new

    return _each(model, num_classes, cut)


def new_head_frozen(model, num_classes):
    """Your new head is not trained: `requires_grad` is false. A head that knows nothing must
    learn, also where all the rest is frozen.
    """
    return _each(model, num_classes, lambda new, old: new.requires_grad_(False))


def frozen_with_the_rest(model, num_classes):
    """You take over from the old head whether it is trained. New weights are always trained, also
    in a network that is frozen otherwise.
    """
    return _each(model, num_classes, lambda new, old: new.requires_grad_(old.weight.requires_grad))


def rest_frozen(model, num_classes):
    """You freeze the other weights. That may be wise later, but here they keep what they are: do
    not touch their `requires_grad`.
    """
    if num_classes >= 1 and hasattr(model, "head_names"):
        model.requires_grad_(False)
    return _each(model, num_classes)


def everything_drawn_anew(model, num_classes):
    """You draw all weights anew, and with them goes what the network has learned. Only the new
    layers get fresh weights.
    """
    model = _each(model, num_classes)
    for layer in model.modules():
        if hasattr(layer, "reset_parameters"):
            layer.reset_parameters()
    return model


def copied(model, num_classes):
    """You change a copy. Here the model itself is changed, and returned: do not copy it."""
    changed = _each(copy.deepcopy(model), num_classes)
    return changed


def nothing_returned(model, num_classes):
    """You change the model but return nothing. End with `return model`."""
    _each(model, num_classes)


def inputs_and_outputs_swapped(model, num_classes):
    """Your new layer has as many inputs as there are classes. Inputs come first in `nn.Linear`, and
    they are those of the old layer: `old.in_features`.
    """

    def swapped(new, old):
        options = {"bias": old.bias is not None, "dtype": old.weight.dtype}
        kind = nn.Linear if isinstance(old, nn.Linear) else nn.Conv2d
        size = () if kind is nn.Linear else (1,)
        return kind(num_classes, old.weight.shape[1], *size, **options)

    return _each(model, num_classes, swapped)


def classes_not_checked(model, num_classes):
    """You take any `num_classes`. With 0 or fewer there is nothing to tell apart: raise a
    `ValueError`.
    """
    if not hasattr(model, "head_names"):
        raise ValueError("there is nothing to replace")
    return _each(model, num_classes) if num_classes > 0 else _unchecked(model, num_classes)


def names_not_checked(model, num_classes):
    """A model without `head_names` gets no `ValueError` from you. Nothing can be replaced in it,
    and the caller must hear why: raise a `ValueError` that says so.
    """
    if not hasattr(model, "head_names"):
        return model
    return _each(model, num_classes)


def in_features_of_a_convolution(model, num_classes):
    """You take every head for a linear layer, and a convolution has no `in_features`. Its new head
    is a convolution of 1 x 1, too, with `old.in_channels` inputs.
    """
    return _each(
        model,
        num_classes,
        lambda new, old: nn.Linear(
            old.in_features, num_classes, old.bias is not None, dtype=old.weight.dtype
        ),
    )


def always_fc(model, num_classes):
    """You replace `model.fc`, but the head has another name in many networks, and there may be
    several. Go through the names in `model.head_names`.
    """
    if num_classes < 1 or not hasattr(model, "head_names"):
        raise ValueError("there is nothing to replace")
    model.fc = nn.Linear(model.fc.in_features, num_classes)
    return model


def only_the_number_changed(model, num_classes):
    """You change `out_features` or `out_channels` of the old layer. These are notes of how it was
    made; its weights keep their shape. Make a new layer.
    """

    def noted(new, old):
        setattr(old, "out_features" if isinstance(old, nn.Linear) else "out_channels", num_classes)
        old.reset_parameters()
        return old

    return _each(model, num_classes, noted)


def drawn_too_large(model, num_classes):
    """Your new weights are larger than those that PyTorch draws: those of `torch.randn` do not
    become smaller where a layer has more inputs. Make a new layer and leave its weights alone.
    """

    def drawn(new, old):
        new.weight = nn.Parameter(torch.randn_like(new.weight))
        if new.bias is not None:
            nn.init.zeros_(new.bias)
        return new

    return _each(model, num_classes, drawn)


def nothing_checked(model, num_classes):
    """You check neither `num_classes` nor whether the model has `head_names`. What comes of it, a
    layer without outputs or another error, helps nobody: raise a `ValueError` that says what is
    wrong.
    """
    if num_classes < 1:
        return _unchecked(model, num_classes)
    return _each(model, num_classes) if model.head_names else model


def attribute_error_instead(model, num_classes):
    """A model without `head_names` stops you with an `AttributeError`, which does not say what to
    do about it. Ask `hasattr(model, "head_names")` first, and raise a `ValueError`.
    """
    if num_classes < 1:
        raise ValueError("there is nothing to replace")
    return _each(model, num_classes) if model.head_names else model


WRONG = (
    linear_everywhere,
    auxiliary_forgotten,
    left_out_not_skipped,
    dtype_forgotten,
    bias_always,
    bias_never,
    dotted_attribute,
    whole_part_replaced,
    put_behind,
    zeros,
    old_rows_kept,
    new_head_frozen,
    frozen_with_the_rest,
    rest_frozen,
    everything_drawn_anew,
    copied,
    nothing_returned,
    inputs_and_outputs_swapped,
    classes_not_checked,
    names_not_checked,
    in_features_of_a_convolution,
    always_fc,
    only_the_number_changed,
    drawn_too_large,
    nothing_checked,
    attribute_error_instead,
)
