r"""Weights of networks: fetch the official files, and load files that need not be trusted.

The table `WEIGHTS` says for each network which weights its reference library publishes, where they
lie, how images have to be prepared for them, and how good they are by the library's own account.
A file is fetched once, checked against the digits of its SHA-256 that its name carries, and kept.

`load_checkpoint` takes a file from anywhere. It runs no code from it, and either all of it fits
or the model stays as it was.
"""

from __future__ import annotations

import io
import pickletools
import re
import reprlib
import warnings
import zipfile
from collections import Counter, deque
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from coursepkg.data.downloads import cache_folder, fetch

__all__ = [
    "WEIGHTS",
    "Weights",
    "load_checkpoint",
    "official_weights",
    "pretrained",
    "skeleton",
]

Model = TypeVar("Model", bound=nn.Module)

#: What the pickle of a plain state_dict names.
TENSORS = re.compile(
    r"collections\.(OrderedDict|Counter)|torch\.\w+\._(rebuild\w+|get_layout)"
    r"|torch\.(\w+\.)*(\w*Storage|\w*Tensor|Parameter|Size)|torch\.(device|bool|[a-z]+\d+\w*)"
)

#: Formats of numbers, and those whose every number they hold.
HELD = {
    torch.float32: (torch.float16, torch.bfloat16),
    torch.float64: (torch.float16, torch.bfloat16, torch.float32),
}

MEAN, STD, HALF = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), (0.5, 0.5, 0.5)


@dataclass(frozen=True)
class Weights:
    r"""Official weights for 1000 classes of ImageNet, and how to prepare images for them.

    Attributes
    ----------
    url : str
        The file, whose name ends with the first digits of its SHA-256.
    mebibytes : float
        Its size, in MiB (1024² bytes); for timm's files that of the tensors.
    top1, top5 : float
        Per cent of the ImageNet validation images that are recognised, as `source` says; not
        measured here.
    resize, crop : int
        Pixels of the shorter side after resizing, and of the square cut out of its middle.
    interpolation : str
        "bilinear" or "bicubic", in either case averaging over the pixels that are left out.
    mean, std : tuple of float
        What is taken off the channels of an image in [0, 1], and what they are divided by.
    auxiliary : tuple of str
        Attributes of the auxiliary heads whose weights the file holds as well.
    auxiliary_trained : bool
        Whether these heads were trained.
    source : str
        Who publishes the file and the numbers.
    """

    url: str
    mebibytes: float
    top1: float
    top5: float
    resize: int = 256
    crop: int = 224
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    auxiliary: tuple[str, ...] = ()
    auxiliary_trained: bool = True
    source: str = "torchvision 0.29.1"

    @property
    def sha256(self) -> str:
        r"""The first digits of the file's SHA-256, as its name gives them."""
        return re.split(r"[-.]", self.url)[-2]

    def preprocess(self, image: NDArray[np.uint8] | Tensor) -> Tensor:
        r"""Resize, cut out the middle and normalise, as in the evaluation of these weights.

        Parameters
        ----------
        image : (H, W, 3) uint8 array, or (3, H, W) or (N, 3, H, W) uint8 tensor

        Returns
        -------
        (N, 3, crop, crop) float32 tensor
            With N = 1 for one image.

        Raises
        ------
        ValueError
            If `image` is neither.

        Notes
        -----
        These are the numbers of torchvision's presets for tensors, rounded to bytes after
        resizing as there. Pillow, which the presets use for its own images, resizes in fixed-point
        arithmetic; a byte may then differ by one or two.

        The weights of GoogLeNet and Inception v3 come from TensorFlow and expect
        :math:`(x - 0.5)/0.5`. torchvision prepares images as for all its networks and has the
        network undo it (`transform_input`). Here `mean` and `std` belong to the weights, and the
        network takes its input as it is.

        Examples
        --------
        >>> weights = official_weights("resnet18")
        >>> weights.preprocess(np.zeros((300, 500, 3), np.uint8)).shape
        torch.Size([1, 3, 224, 224])
        """
        pixels = _pixels(image).float()  # (N, 3, H, W)
        short = min(pixels.shape[2:])
        size = [int(self.resize * n / short) for n in pixels.shape[2:]]
        pixels = F.interpolate(pixels, size, mode=self.interpolation, antialias=True)
        pixels = pixels.clamp(0, 255).round() / 255
        top, left = (round((n - self.crop) / 2) for n in size)
        pixels = pixels[:, :, top : top + self.crop, left : left + self.crop]
        mean, std = torch.tensor(self.mean).view(3, 1, 1), torch.tensor(self.std).view(3, 1, 1)
        return (pixels - mean) / std


def _pixels(image: Any) -> Tensor:
    r"""Return an image, or a batch of them, as (N, 3, H, W) bytes."""
    if isinstance(image, np.ndarray) and image.ndim == 3 and image.shape[2] == 3:
        image = torch.from_numpy(image.transpose(2, 0, 1).copy())
    if not isinstance(image, Tensor) or image.ndim not in (3, 4) or image.shape[-3] != 3:
        shape = getattr(image, "shape", type(image).__name__)
        raise ValueError(f"image={shape} is none; pass an (H, W, 3) array or a (3, H, W) tensor")
    if image.dtype != torch.uint8:
        raise ValueError(f"image is of {image.dtype}; pass bytes (uint8) from 0 to 255")
    return image if image.ndim == 4 else image.unsqueeze(0)


def _torchvision(file: str, mebibytes: float, top1: float, top5: float, **settings: Any) -> Weights:
    url = f"https://download.pytorch.org/models/{file}"
    return Weights(url, mebibytes, top1, top5, **settings)


def _timm(file: str, mebibytes: float, top1: float, top5: float, **settings: Any) -> Weights:
    url = f"https://github.com/rwightman/pytorch-image-models/releases/download/{file}"
    source = "timm 1.0.31, results/results-imagenet.csv"
    settings |= {"interpolation": "bicubic", "source": source}
    return Weights(url, mebibytes, top1, top5, **settings)


#: Official weights by network and name; the last of each network is its "DEFAULT". torchvision also
#: has IMAGENET1K_FEATURES for vgg16 and SWAG weights for vit_b_16, which are not listed.
WEIGHTS: dict[str, dict[str, Weights]] = {
    "alexnet": {"IMAGENET1K_V1": _torchvision("alexnet-owt-7be5be79.pth", 233.1, 56.522, 79.066)},
    "vgg11": {"IMAGENET1K_V1": _torchvision("vgg11-8a719046.pth", 506.8, 69.02, 88.628)},
    "vgg13": {"IMAGENET1K_V1": _torchvision("vgg13-19584684.pth", 507.5, 69.928, 89.246)},
    "vgg16": {"IMAGENET1K_V1": _torchvision("vgg16-397923af.pth", 527.8, 71.592, 90.382)},
    "vgg19": {"IMAGENET1K_V1": _torchvision("vgg19-dcbb9e9d.pth", 548.1, 72.376, 90.876)},
    "vgg11_bn": {"IMAGENET1K_V1": _torchvision("vgg11_bn-6002323d.pth", 506.9, 70.37, 89.81)},
    "vgg13_bn": {"IMAGENET1K_V1": _torchvision("vgg13_bn-abd245e5.pth", 507.6, 71.586, 90.374)},
    "vgg16_bn": {"IMAGENET1K_V1": _torchvision("vgg16_bn-6c64b313.pth", 527.9, 73.36, 91.516)},
    "vgg19_bn": {"IMAGENET1K_V1": _torchvision("vgg19_bn-c79401a0.pth", 548.1, 74.218, 91.842)},
    "googlenet": {
        "IMAGENET1K_V1": _torchvision(
            "googlenet-1378be20.pth",
            49.7,
            69.778,
            89.53,
            mean=HALF,
            std=HALF,
            auxiliary=("aux1", "aux2"),
            auxiliary_trained=False,
        )
    },
    "inception_v3": {
        "IMAGENET1K_V1": _torchvision(
            "inception_v3_google-0cc3c7bd.pth",
            103.9,
            77.294,
            93.45,
            resize=342,
            crop=299,
            mean=HALF,
            std=HALF,
            auxiliary=("AuxLogits",),
        )
    },
    "resnet18": {"IMAGENET1K_V1": _torchvision("resnet18-f37072fd.pth", 44.7, 69.758, 89.078)},
    "resnet34": {"IMAGENET1K_V1": _torchvision("resnet34-b627a593.pth", 83.3, 73.314, 91.42)},
    "resnet50": {
        "IMAGENET1K_V1": _torchvision("resnet50-0676ba61.pth", 97.8, 76.13, 92.862),
        "IMAGENET1K_V2": _torchvision("resnet50-11ad3fa6.pth", 97.8, 80.858, 95.434, resize=232),
    },
    "resnet101": {
        "IMAGENET1K_V1": _torchvision("resnet101-63fe2227.pth", 170.5, 77.374, 93.546),
        "IMAGENET1K_V2": _torchvision("resnet101-cd907fc2.pth", 170.5, 81.886, 95.78, resize=232),
    },
    "resnet152": {
        "IMAGENET1K_V1": _torchvision("resnet152-394f9c45.pth", 230.4, 78.312, 94.046),
        "IMAGENET1K_V2": _torchvision("resnet152-f82ba261.pth", 230.5, 82.284, 96.002, resize=232),
    },
    "resnext50_32x4d": {
        "IMAGENET1K_V1": _torchvision("resnext50_32x4d-7cdf4587.pth", 95.8, 77.618, 93.698),
        "IMAGENET1K_V2": _torchvision(
            "resnext50_32x4d-1a0047aa.pth", 95.8, 81.198, 95.34, resize=232
        ),
    },
    "wide_resnet50_2": {
        "IMAGENET1K_V1": _torchvision("wide_resnet50_2-95faca4d.pth", 131.8, 78.468, 94.086),
        "IMAGENET1K_V2": _torchvision(
            "wide_resnet50_2-9ba9bcbe.pth", 263.1, 81.602, 95.758, resize=232
        ),
    },
    "densenet121": {
        "IMAGENET1K_V1": _torchvision("densenet121-a639ec97.pth", 30.8, 74.434, 91.972)
    },
    "densenet161": {
        "IMAGENET1K_V1": _torchvision("densenet161-8d451a50.pth", 110.4, 77.138, 93.56)
    },
    "densenet169": {"IMAGENET1K_V1": _torchvision("densenet169-b2777c0a.pth", 54.7, 75.6, 92.806)},
    "densenet201": {"IMAGENET1K_V1": _torchvision("densenet201-c1103571.pth", 77.4, 76.896, 93.37)},
    "mobilenet_v2": {
        "IMAGENET1K_V1": _torchvision("mobilenet_v2-b0353104.pth", 13.6, 71.878, 90.286),
        "IMAGENET1K_V2": _torchvision(
            "mobilenet_v2-7ebf99e0.pth", 13.6, 72.154, 90.822, resize=232
        ),
    },
    "mobilenet_v3_small": {
        "IMAGENET1K_V1": _torchvision("mobilenet_v3_small-047dcff4.pth", 9.8, 67.668, 87.402)
    },
    "mobilenet_v3_large": {
        "IMAGENET1K_V1": _torchvision("mobilenet_v3_large-8738ca79.pth", 21.1, 74.042, 91.34),
        "IMAGENET1K_V2": _torchvision(
            "mobilenet_v3_large-5c1a4163.pth", 21.1, 75.274, 92.566, resize=232
        ),
    },
    "squeezenet1_1": {
        "IMAGENET1K_V1": _torchvision("squeezenet1_1-b8a52dc0.pth", 4.7, 58.178, 80.624)
    },
    "efficientnet_b0": {
        "IMAGENET1K_V1": _torchvision(
            "efficientnet_b0_rwightman-7f5810bc.pth", 20.5, 77.692, 93.532, interpolation="bicubic"
        )
    },
    "efficientnet_b1": {
        "IMAGENET1K_V1": _torchvision(
            "efficientnet_b1_rwightman-bac287d4.pth",
            30.1,
            78.642,
            94.186,
            crop=240,
            interpolation="bicubic",
        ),
        "IMAGENET1K_V2": _torchvision(
            "efficientnet_b1-c27df63c.pth", 30.1, 79.838, 94.934, resize=255, crop=240
        ),
    },
    "efficientnet_b2": {
        "IMAGENET1K_V1": _torchvision(
            "efficientnet_b2_rwightman-c35c1473.pth",
            35.2,
            80.608,
            95.31,
            resize=288,
            crop=288,
            interpolation="bicubic",
        )
    },
    "efficientnet_b3": {
        "IMAGENET1K_V1": _torchvision(
            "efficientnet_b3_rwightman-b3899882.pth",
            47.2,
            82.008,
            96.054,
            resize=320,
            crop=300,
            interpolation="bicubic",
        )
    },
    "efficientnet_b4": {
        "IMAGENET1K_V1": _torchvision(
            "efficientnet_b4_rwightman-23ab8bcd.pth",
            74.5,
            83.384,
            96.594,
            resize=384,
            crop=380,
            interpolation="bicubic",
        )
    },
    "efficientnet_b5": {
        "IMAGENET1K_V1": _torchvision(
            "efficientnet_b5_lukemelas-1a07897c.pth",
            116.9,
            83.444,
            96.628,
            resize=456,
            crop=456,
            interpolation="bicubic",
        )
    },
    "efficientnet_b6": {
        "IMAGENET1K_V1": _torchvision(
            "efficientnet_b6_lukemelas-24a108a5.pth",
            165.4,
            84.008,
            96.916,
            resize=528,
            crop=528,
            interpolation="bicubic",
        )
    },
    "efficientnet_b7": {
        "IMAGENET1K_V1": _torchvision(
            "efficientnet_b7_lukemelas-c5b4e57e.pth",
            254.7,
            84.122,
            96.908,
            resize=600,
            crop=600,
            interpolation="bicubic",
        )
    },
    "convnext_tiny": {
        "IMAGENET1K_V1": _torchvision(
            "convnext_tiny-983f1562.pth", 109.1, 82.52, 96.146, resize=236
        )
    },
    "vit_b_16": {"IMAGENET1K_V1": _torchvision("vit_b_16-c867db91.pth", 330.3, 81.072, 95.318)},
    "seresnet50": {
        "RA2_IN1K": _timm("v0.1-weights/seresnet50_ra_224-8efdb4bb.pth", 107.4, 80.26, 95.068)
    },
    "xception": {
        "TF_IN1K": _timm(
            "v0.1-cadene/xception-43020ad28.pth",
            87.4,
            79.058,
            94.396,
            resize=333,
            crop=299,
            mean=HALF,
            std=HALF,
        )
    },
}


def official_weights(name: str, weights: str = "DEFAULT") -> Weights:
    r"""Return an entry of `WEIGHTS`.

    Parameters
    ----------
    name : str
        Of the network.
    weights : str
        Of its weights, such as "IMAGENET1K_V1", or "DEFAULT" for the newest.

    Raises
    ------
    ValueError
        If there are none of that name; the message lists those that there are.

    Examples
    --------
    >>> official_weights("resnet50", "IMAGENET1K_V1").top1
    76.13
    """
    known = WEIGHTS.get(name)
    if not known:
        raise ValueError(f"weights={weights!r}: none are published for {name}; use weights=None")
    chosen = [*known][-1] if weights == "DEFAULT" else weights
    if chosen not in known:
        raise ValueError(
            f"weights={weights!r} is none of {name}; use DEFAULT or {' or '.join(known)}"
        )
    return known[chosen]


def pretrained(
    name: str, weights: str, build: Callable[..., Model], settings: Mapping[str, Any]
) -> Model:
    r"""Build a network and load official weights into it, after fetching them if need be.

    The network is built first, so that a wrong setting costs no download, as a `skeleton`, so that
    no time goes into random weights.

    Parameters
    ----------
    name : str
        Of the network.
    weights : str
        As in `official_weights`.
    build : callable
        Builds the network.
    settings : mapping
        Its arguments. As in torchvision, a network whose file holds auxiliary heads has them only
        if `aux_logits` says so or they were trained: GoogLeNet's were not, those of Inception v3
        were.

    Returns
    -------
    Module
        In training mode, as every new model.

    Raises
    ------
    ValueError
        If there are no such weights, `num_classes` is not 1000, `variant` is not "torchvision", or
        the settings make a network that they do not fit.
    ConnectionError
        If they cannot be fetched.
    """
    chosen, settings = official_weights(name, weights), dict(settings)
    if settings.get("num_classes", 1000) != 1000:
        raise ValueError(
            f"num_classes={settings['num_classes']} with weights={weights!r}, which tell apart "
            f"1000 classes; use replace_head(model, {settings['num_classes']}) afterwards"
        )
    if not chosen.auxiliary_trained:
        settings.setdefault("aux_logits", False)
    model = skeleton(build, **settings)
    if settings.get("variant", "torchvision") != "torchvision":
        raise ValueError(
            f"variant={settings['variant']!r} with weights={weights!r}, which were trained in "
            "another form; use variant='torchvision', or weights=None"
        )
    path = fetch(chosen.url, chosen.sha256, cache_folder() / "weights")
    absent = tuple(f"{part}." for part in chosen.auxiliary if getattr(model, part) is None)
    state = _read(path)
    _fill(model, {k: v for k, v in state.items() if not k.startswith(absent)}, path)
    return model


def skeleton(build: Callable[..., Model], **settings: Any) -> Model:
    r"""Build a network of shapes without numbers, for weights that follow.

    The meta device takes no memory. But PyTorch draws on it, in Python and for nothing, and for a
    network of many small layers that takes longer than real numbers do. So nothing is drawn.

    Parameters
    ----------
    build : callable
        Builds the network.
    **settings
        Its arguments.

    Returns
    -------
    Module
        All of it is on the meta device; `load_checkpoint` brings it down.

    Examples
    --------
    >>> skeleton(nn.Linear, in_features=3, out_features=2).weight.device
    device(type='meta')
    """
    with torch.device("meta"), _Undrawn():
        return build(**settings)


class _Undrawn(TorchFunctionMode):
    r"""Leave out the functions by which layers draw their first weights."""

    DRAWS = (
        Tensor.normal_,
        Tensor.uniform_,
        nn.init.normal_,
        nn.init.uniform_,
        nn.init.kaiming_uniform_,
    )

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Collection[type],
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        settings = kwargs or {}
        if func in self.DRAWS:
            return args[0] if args else settings["tensor"]
        return func(*args, **settings)


def load_checkpoint(model: Model, path: Path | str) -> Model:
    r"""Load weights from a file, which may come from anywhere, into a model.

    Parameters
    ----------
    model : Module
        Any; changed in place if everything fits, and not at all otherwise. The numbers are copied
        to where the model has its own. What it has on the meta device gets memory on the CPU,
        each name for itself; buffers that are not part of the state stay there.
    path : Path or str
        A file that ends in ``.safetensors``, ``.pth`` or ``.pt``. It holds a dictionary of
        tensors with the names of ``model.state_dict()``, or has it under the key ``state_dict``
        or ``model`` beside other things, which are ignored. If all names begin with ``module.``,
        as those of `torch.nn.DataParallel`, and those of the model do not, that is taken off. Old
        names of official files are understood if the model has none such: ``norm.1`` of DenseNet,
        ``linear_1`` of ViT. Files older than PyTorch 0.4.1 have no ``num_batches_tracked`` of
        batch normalisation at all; then it counts from 0. Numbers in half precision fit a model in
        single precision, which holds them exactly, but not the reverse.

    Returns
    -------
    Module
        The same model.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    ValueError
        If the file ends in something else, is no checkpoint, contains code, or does not fit. The
        message then lists the keys that are missing, surplus, given twice under an old and a new
        name, or of another shape or dtype.

    Notes
    -----
    ``.pth`` files are pickles, which can contain calls of any function. They are read with
    ``weights_only=True``, which knows tensors and plain containers and refuses everything else.
    What is refused is then searched for the names of functions, without running it.
    ``.safetensors`` have no place for code.

    Examples
    --------
    >>> model = nn.Linear(2, 1)
    >>> load_checkpoint(model, "linear.bin")
    Traceback (most recent call last):
    ValueError: linear.bin ends in '.bin'; pass a .safetensors, .pth or .pt file
    """
    path = Path(path)
    _fill(model, _read(path), path)
    return model


def _read(path: Path) -> dict[str, Tensor]:
    r"""Return the tensors of a file by their names."""
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise ValueError(f"{path} ends in {path.suffix!r}; pass a .safetensors, .pth or .pt file")
    if not path.is_file():
        raise FileNotFoundError(f"{path} is no file; look at the name and the folder")
    state = _read_safetensors(path) if path.suffix == ".safetensors" else _read_pickle(path)
    for wrapper in ("state_dict", "model"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not state:
        raise ValueError(
            f"{path} is no checkpoint: it holds a {type(state).__name__}, not names "
            "with tensors; save model.state_dict()"
        )
    for name, value in state.items():
        if not isinstance(name, str) or not _is_plain(value):
            kind = Tensor.type(value) if isinstance(value, Tensor) else type(value).__name__
            raise ValueError(
                f"{path} is no checkpoint: {_short(name)} is a {kind}, no plain tensor with a "
                "name; save model.state_dict() of a model on the CPU"
            )
    return dict(state)


def _is_plain(value: Any) -> bool:
    r"""Whether a value is a tensor with a number in memory for each of its places."""
    return (
        isinstance(value, Tensor)
        and value.device.type == "cpu"
        and value.layout == torch.strided
        and not (value.is_nested or value.is_quantized)
    )


def _short(name: Any) -> str:
    r"""Return a name as Python writes it, which no terminal obeys, cut if it is long."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    return short.repr(name)


def _read_pickle(path: Path) -> Any:
    try:
        with warnings.catch_warnings(action="ignore"):  # of protocols other than 2
            return torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # a hostile pickle can raise anything
        code = [name for name in _globals(path) if not TENSORS.fullmatch(name)]
    if code:
        raise ValueError(
            f"{path} contains code: it would call {_short(code[0])[1:-1]} while it is read, and "
            "has not been run; get the weights as .safetensors, or as a plain state_dict"
        )
    raise ValueError(
        f"{path} is no checkpoint: it is damaged, or not what torch.save writes of tensors by "
        "default; get it again, or save model.state_dict()"
    )


def _globals(path: Path) -> Iterator[str]:
    r"""Yield the functions and classes that the pickles of a file name, without running them."""
    content = path.read_bytes()
    with suppress(Exception):  # what is no pickle, or behind the last one
        for stream in map(io.BytesIO, _pickles(content)):
            while stream.tell() < len(stream.getvalue()):
                yield from _named(stream)


def _pickles(content: bytes) -> Iterator[bytes]:
    r"""Yield the bytes with pickles: all of them, or the ``.pkl`` files of a zip archive."""
    if not content.startswith(b"PK\3\4"):
        yield content
        return
    archive = zipfile.ZipFile(io.BytesIO(content))
    for name in archive.namelist():
        if name.endswith(".pkl"):
            yield archive.open(name).read(len(content))  # not packed, it is no longer than that


def _named(stream: io.BytesIO) -> Iterator[str]:
    r"""Yield the functions and classes that the next pickle names."""
    memo: dict[Any, str] = {}
    pushed = deque(["?", "?"], maxlen=2)  # the last strings on the stack
    for opcode, argument, _ in pickletools.genops(stream):
        if opcode.name in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif opcode.name == "STACK_GLOBAL":
            yield ".".join(pushed)
        elif opcode.name == "MEMOIZE":
            memo[len(memo)] = pushed[-1]
        elif opcode.name.endswith("PUT"):
            memo[argument] = pushed[-1]
        elif opcode.name.endswith("GET"):
            pushed.append(memo.get(argument, "?"))
        elif isinstance(argument, str):
            pushed.append(argument)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return load_file(path)
    except SafetensorError as error:
        raise ValueError(
            f"{path} is no checkpoint: it is damaged, or not in the format of safetensors "
            f"({_short(str(error))}); get it again"
        ) from None


def _renamed(name: str, own: Collection[str]) -> str:
    r"""Return what an old name is called today, unless it is one of the model's own.

    DenseNet's first files have a dot before the number, which PyTorch 0.4 forbade in names of
    modules; ViT's call the layers of a block's perceptron ``linear_1`` and ``linear_2``.
    """
    if name in own:
        return name
    name = re.sub(r"(denselayer\d+\.(?:norm|conv))\.([12])\.", r"\1\2.", name)
    return name.replace(".mlp.linear_1.", ".mlp.0.").replace(".mlp.linear_2.", ".mlp.3.")


def _prefix(names: Collection[str]) -> str:
    r"""Return the prefix of `torch.nn.DataParallel` if all names have it."""
    return "module." if all(name.startswith("module.") for name in names) else ""


def _fill(model: nn.Module, found: Mapping[str, Tensor], path: Path) -> None:
    r"""Put the tensors into the model if they fit it, each and all."""
    own = model.state_dict()
    surplus_prefix = _prefix(found).removeprefix(_prefix(own))
    names = [_renamed(name.removeprefix(surplus_prefix), own) for name in found]
    state = dict(zip(names, found.values(), strict=True))
    if not any(name.endswith("num_batches_tracked") for name in names):
        state |= {
            name: torch.zeros_like(value, device="cpu")
            for name, value in own.items()
            if name.endswith("num_batches_tracked")
        }
    problems = [
        *_counted("missing", [_short(name) for name in own if name not in state]),
        *_counted("surplus", [_short(name) for name in state if name not in own]),
        *_counted("given twice", [_short(k) for k, count in Counter(names).items() if count > 1]),
        *_counted(
            "different",
            [
                f"{_short(name)}: {_described(state[name])} instead of {_described(value)}"
                for name, value in own.items()
                if name in state and not _fits(state[name], value)
            ],
        ),
    ]
    if problems:
        raise ValueError(
            f"{path} does not fit {type(model).__name__}, which stays as it was; of its "
            f"{len(own)} keys and the {len(found)} of the file, {'; '.join(problems)}"
        )
    memory = {k: torch.empty_like(v, device="cpu") for k, v in own.items() if v.is_meta}
    model.load_state_dict(memory, strict=False, assign=True)
    with torch.no_grad():
        for name, value in model.state_dict().items():
            value.copy_(state[name])


def _counted(what: str, items: list[str], shown: int = 3) -> list[str]:
    r"""Return "2 are missing (a, b)", or nothing if there is no item."""
    if not items:
        return []
    more = ", …" if len(items) > shown else ""
    verb = "is" if len(items) == 1 else "are"
    return [f"{len(items)} {verb} {what} ({', '.join(items[:shown])}{more})"]


def _fits(found: Tensor, own: Tensor) -> bool:
    r"""Whether a tensor has the right shape, and a dtype that the right one holds exactly."""
    return found.shape == own.shape and found.dtype in (own.dtype, *HELD.get(own.dtype, ()))


def _described(tensor: Tensor) -> str:
    return f"{tuple(tensor.shape)} {str(tensor.dtype).removeprefix('torch.')}"
