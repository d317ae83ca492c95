"""What is compared between our networks and the reference libraries', in one place for both sides.

`tests/oracle/make_networks.py` measures the reference and stores it, `tests/architectures/
test_oracle.py` measures ours and compares. Neither library is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from oracle_weights import fill, images
from torch import Tensor, nn

from coursepkg.testing import TOLERANCES, difference

__all__ = [
    "CASES",
    "REFERENCES",
    "STORE",
    "Case",
    "describe",
    "digest",
    "disagreement",
    "measure",
    "outputs",
    "read",
    "train",
    "write",
]

DIGESTS = ("initial", "gradients", "buffers")
RELATIVE, _ = TOLERANCES["float32"]
STORE = Path(__file__).parent / "oracle" / "networks"
#: Our name of each network and the name in its library.
REFERENCES = {
    "torchvision": {
        name: name
        for name in [
            "alexnet",
            *(f"vgg{depth}{bn}" for bn in ("", "_bn") for depth in (11, 13, 16, 19)),
            "googlenet",
            "inception_v3",
            "squeezenet1_1",
            *(f"resnet{depth}" for depth in (18, 34, 50, 101, 152)),
            "resnext50_32x4d",
            "wide_resnet50_2",
            *(f"densenet{depth}" for depth in (121, 161, 169, 201)),
            "mobilenet_v2",
            "mobilenet_v3_small",
            "mobilenet_v3_large",
            *(f"efficientnet_b{scale}" for scale in range(8)),
            "convnext_tiny",
            "vit_b_16",
        ]
    },
    "timm": {
        "seresnet50": "seresnet50",
        "xception": "legacy_xception",
        "mobilenet_v1": "mobilenetv1_100",
        **{name: name for name in (f"resnetv2_{depth}" for depth in (50, 101, 152))},
    },
}
#: Sides of the square images where 64 pixels do not do: the poolings of AlexNet and Inception v3
#: leave nothing, the auxiliary head of Inception v3 needs 299, and the position embedding of
#: ViT-B/16 is for 224.
SIZES = {
    "alexnet": 96,
    "inception_v3": 299,
    "inception_v3 aux_logits=False": 96,
    "vit_b_16": 224,
}


@dataclass(frozen=True)
class Case:
    """A network with the arguments that it is built with, and where its record is stored."""

    name: str
    library: str
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """A name that tells the cases apart: "googlenet aux_logits=False"."""
        return " ".join([self.name, *(f"{k}={v}" for k, v in self.settings.items())])

    @property
    def stem(self) -> str:
        """The title as a file name."""
        return self.title.replace(" ", "-").replace("=", "-").lower()

    @property
    def input(self) -> Tensor:
        """Two small images."""
        size = SIZES.get(self.title, 64)
        return images(self.name, (2, 3, size, size))


CASES = [
    *(Case(name, library) for library, names in REFERENCES.items() for name in names),
    *(Case(name, "torchvision", {"aux_logits": False}) for name in ("googlenet", "inception_v3")),
]


def describe(model: nn.Module) -> dict[str, Any]:
    """Everything about a network that is no number of a tensor, for JSON.

    Parameters
    ----------
    model : Module
        It may be on the meta device.

    Returns
    -------
    dict
        "parameters": how many there are; "state": names and shapes of the state_dict in order,
        with the dtype where it is not float32; "normalizations": eps and momentum by name;
        "convolutions": stride, padding, dilation, groups by name; "dropout" and
        "stochastic depth": rates above 0 in the order of the modules.
    """
    named = list(model.named_modules())
    return {
        "parameters": sum(p.numel() for p in model.parameters()),
        "state": [_entry(name, tensor) for name, tensor in model.state_dict().items()],
        "normalizations": {
            name: [m.eps, getattr(m, "momentum", None)]
            for name, m in named
            if isinstance(m, nn.BatchNorm2d | nn.LayerNorm)
        },
        "convolutions": {
            name: [list(m.stride), list(m.padding), list(m.dilation), m.groups]
            for name, m in named
            if isinstance(m, nn.Conv2d)
        },
        "dropout": [m.p for _, m in named if isinstance(m, nn.Dropout) and m.p > 0],
        "stochastic depth": [
            m.p for _, m in named if type(m).__name__ == "StochasticDepth" and m.p > 0
        ],
    }


def _drops(module: nn.Module) -> bool:
    return isinstance(module, nn.Dropout) or type(module).__name__ == "StochasticDepth"


def _entry(name: str, tensor: Tensor) -> str:
    kind = [] if tensor.dtype == torch.float32 else [str(tensor.dtype).removeprefix("torch.")]
    return " ".join([name, *kind, "x".join(map(str, tensor.shape))]).rstrip()


def outputs(result: Tensor | tuple[Tensor | None, ...]) -> dict[str, Tensor]:
    """Name the outputs of a network: the field's names of a named tuple, or "logits"."""
    if isinstance(result, Tensor):
        return {"logits": result}
    return {k: v for k, v in zip(result._fields, result, strict=True) if v is not None}


def train(model: nn.Module, input: Tensor) -> dict[str, Tensor]:
    """Run a training step without its end: outputs under a seed, gradients in the parameters.

    The loss is the inner product of all outputs with fixed random numbers, so that each class and
    each auxiliary head takes part. The running statistics of `model` are updated once.
    """
    model.train()
    model.zero_grad()
    torch.manual_seed(1)
    out = outputs(model(input))
    directions = [images(name, tuple(o.shape)).to(o.dtype) for name, o in out.items()]
    torch.autograd.backward(list(out.values()), directions)
    return {name: o.detach() for name, o in out.items()}


def measure(model: nn.Module, case: Case) -> dict[str, NDArray[np.float32]]:
    """Run a network with the weights of `fill` and return what its record holds.

    It runs in float64: in training mode at this size, rounding in float32 grows so much on its way
    through a deep network that two processors agree in two digits of a gradient only. It trains
    with all rates of dropout and stochastic depth at 0, since PyTorch draws what to drop from
    another random stream on each kind of processor. `describe` holds the rates.

    Parameters
    ----------
    model : Module
        As it was built under the seed 0. Its weights are replaced, and its rates set to 0.
    case : Case
        Says on which images.

    Returns
    -------
    dict of str to float32 array
        "initial", "gradients" and "buffers" (see `digest`), "eval" and "train LOGITS".
    """
    result = {"initial": digest(model.parameters())}
    model.load_state_dict(fill(model.state_dict()), assign=True)
    model.double()
    with torch.no_grad():
        result["eval"] = model.eval()(case.input.double()).float().numpy()
    for module in model.modules():
        if _drops(module):
            module.p = 0.0
    for name, value in train(model, case.input.double()).items():
        result[f"train {name}"] = value.float().numpy()
    result["gradients"] = digest(p.grad for p in model.parameters() if p.grad is not None)
    result["buffers"] = digest(b for b in model.buffers() if b.is_floating_point())
    return result


def digest(tensors: Iterable[Tensor]) -> NDArray[np.float32]:
    """Mean, root of the mean square and first value of each tensor. Returns (number, 3)."""
    rows = [
        (float(t.mean()), float(t.square().mean().sqrt()), float(t.flatten()[0]))
        for t in (t.detach() for t in tensors)
    ]
    return np.array(rows, np.float32).reshape(-1, 3)


def disagreement(got: Mapping[str, NDArray[Any]], stored: Mapping[str, NDArray[Any]]) -> list[str]:
    """Say which parts of a record differ by more than rounding.

    Outputs are compared with the tolerance of float32, relative to the largest. So is each row of
    a digest, relative to its own root mean square, but for gradients that are 0 but for rounding:
    those of a bias before a normalization.
    """
    if list(got) != list(stored):
        return [f"the record has {list(got)}, expected {list(stored)}"]
    sentences = []
    for part, expected in stored.items():
        scale = np.float32(1)
        if part in DIGESTS and got[part].shape == expected.shape:
            size = expected[:, 1:2]
            scale = np.maximum(size, RELATIVE * size.max(initial=0))
            scale[scale == 0] = 1
        sentences.append(difference(got[part] / scale, expected / scale, part))
    return [sentence for sentence in sentences if sentence is not None]


def write(case: Case, described: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> None:
    """Store a record as `STEM.json` and `STEM.npz`."""
    lines = (f"{json.dumps(key)}: {_compact(value)}" for key, value in described.items())
    (STORE / f"{case.stem}.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    np.savez_compressed(STORE / f"{case.stem}.npz", **arrays)


def _compact(value: Any) -> str:
    if isinstance(value, list) and value and isinstance(value[0], str):
        return "[\n" + ",\n".join(map(json.dumps, value)) + "\n]"
    return json.dumps(value)


def read(case: Case) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return what `write` stored."""
    described = json.loads((STORE / f"{case.stem}.json").read_text())
    with np.load(STORE / f"{case.stem}.npz", allow_pickle=False) as file:
        return described, dict(file)
