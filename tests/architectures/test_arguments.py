"""One law for every network and block: an integer that makes no sense is refused by name."""

import importlib
import inspect
import pkgutil
import re
import types
import typing

import pytest
from torch import nn

import coursepkg.architectures
from coursepkg.architectures.checkpoints import skeleton
from coursepkg.architectures.convnext import ConvNeXt
from coursepkg.architectures.deform_conv import DeformConv2d
from coursepkg.architectures.efficientnet import EfficientNet
from coursepkg.architectures.mobilenetv3 import SMALL, BlockSettings
from coursepkg.architectures.resnet import BasicBlock, Bottleneck, ResNet, projection, stage
from coursepkg.architectures.vgg import CONFIGURATIONS
from coursepkg.architectures.xception import XceptionBlock

UNIONS = (types.UnionType, typing.Union)
BAD = (0, -1, "3", True, 2.5)

#: Arguments that build each class which cannot do without; those not given keep their defaults.
#: Two networks go without auxiliary heads, which would check the number of classes for them.
VALID = {
    "conv_norm_activation.ConvNormActivation": {"in_channels": 8, "out_channels": 8},
    "convnext.CNBlock": {"channels": 8},
    "deeper.DeepBlock": {"in_channels": 8, "out_channels": 8},
    "deeper.DeepCNN": {"depth": 8},
    "deform_conv.DeformConv2d": {"in_channels": 8, "out_channels": 8, "kernel_size": 3},
    "densenet.DenseBlock": {"layers": 2, "in_channels": 8, "growth_rate": 4},
    "densenet.DenseLayer": {"in_channels": 8, "growth_rate": 4},
    "densenet.DenseNet": {"growth_rate": 4, "block_config": (1, 1)},
    "densenet.Transition": {"in_channels": 8, "out_channels": 4},
    "efficientnet.EfficientNet": {"channels": (8,) * 8, "repeats": (1,) * 7},
    "efficientnet.MBConv": {
        "in_channels": 8,
        "out_channels": 8,
        "kernel_size": 3,
        "stride": 1,
        "expand_ratio": 2,
    },
    "googlenet.AuxiliaryHead": {"in_channels": 8, "num_classes": 3},
    "googlenet.BasicConv2d": {"in_channels": 8, "out_channels": 8, "kernel_size": 3},
    "googlenet.GoogLeNet": {"aux_logits": False},
    "googlenet.Inception": {
        "in_channels": 8,
        "width1": 8,
        "width3": (4, 8),
        "width5": (4, 8),
        "pool": 8,
    },
    "googlenet.NaiveInception": {"in_channels": 8, "width1": 8, "width3": 8, "width5": 8},
    "googlenet.PlainConv2d": {"in_channels": 8, "out_channels": 8, "kernel_size": 3},
    "inception.AuxiliaryHead": {"in_channels": 8, "num_classes": 3},
    "inception.InceptionA": {"in_channels": 8, "pool_features": 8},
    "inception.InceptionB": {"in_channels": 8},
    "inception.InceptionC": {"in_channels": 8, "channels_7x7": 8},
    "inception.InceptionD": {"in_channels": 8},
    "inception.InceptionE": {"in_channels": 8},
    "inception.InceptionV3": {"aux_logits": False},
    "lenet.SparseConv2d": {"seen": ((0, 1), (1,)), "in_channels": 2, "kernel_size": 3},
    "lenet.SubSampling": {"channels": 8},
    "mobilenetv2.InvertedResidual": {
        "in_channels": 8,
        "out_channels": 8,
        "stride": 1,
        "expand_ratio": 2,
    },
    "mobilenetv3.InvertedResidual": {
        "in_channels": 8,
        "settings": BlockSettings(3, 16, 8, True, True, 1),
    },
    "mobilenetv3.MobileNetV3": {"blocks": SMALL[:2], "hidden": 8},
    "resnet.BasicBlock": {"in_channels": 8, "channels": 8},
    "resnet.Bottleneck": {"in_channels": 8, "channels": 8},
    "resnet.ResNet": {"block": BasicBlock, "layers": (1, 1, 1, 1)},
    "resnetv2.PreActBottleneck": {"in_channels": 32, "channels": 8},
    "resnetv2.ResNetV2": {"layers": (1, 1, 1, 1)},
    "senet.SEBottleneck": {"in_channels": 32, "channels": 8},
    "separable.DepthwiseSeparableConv2d": {"in_channels": 8, "out_channels": 8},
    "squeeze_excitation.SqueezeExcitation": {"input_channels": 8, "squeeze_channels": 2},
    "squeezenet.Fire": {"in_channels": 8, "squeeze": 2, "expand": 4},
    "vgg.VGG": {"configuration": CONFIGURATIONS["A"]},
    "vit.Encoder": {"length": 4, "depth": 1, "dim": 8, "num_heads": 2, "hidden_dim": 8},
    "vit.EncoderBlock": {"dim": 8, "num_heads": 2, "hidden_dim": 8},
    "vit.VisionTransformer": {"depth": 1, "dim": 8, "num_heads": 2, "hidden_dim": 8},
    "xception.SeparableConv2d": {"in_channels": 8, "out_channels": 8},
    "xception.XceptionBlock": {"channels": (8, 8)},
}
#: Arguments that may be 0.
ZERO = {"padding"}
#: Widths that the convolutions of a block check: the message has the convolution's name for them.
WIDTHS = {"width1", "width3", "width5", "pool", "pool_features", "channels_7x7"}
#: Integers of another kind: axes, which may be 0 or negative.
AXES = {"convnext.Permute"}


def public_modules():
    """Yield (name, class) of all public modules that the package itself defines."""
    for found in pkgutil.iter_modules(coursepkg.architectures.__path__):
        if found.ispkg:
            continue
        home = importlib.import_module(f"coursepkg.architectures.{found.name}")
        for name in getattr(home, "__all__", ()):
            thing = getattr(home, name)
            defined = isinstance(thing, type) and thing.__module__ == home.__name__
            if defined and issubclass(thing, nn.Module):
                yield f"{found.name}.{name}", thing


CLASSES = dict(public_modules())


def hints(cls):
    """Return the arguments of a class that are integers, or pairs of them, with their hints."""
    if cls.__init__.__module__.startswith("torch."):
        return {}
    return {
        name: hint
        for name, hint in typing.get_type_hints(cls.__init__).items()
        if hint is int or (typing.get_origin(hint) in UNIONS and int in typing.get_args(hint))
    }


def build(cls, settings):
    """Build a module without numbers; entries for ``*name`` are given by position."""
    star = [
        p.name for p in inspect.signature(cls).parameters.values() if p.kind is p.VAR_POSITIONAL
    ]
    positional = [number for name in star for number in settings.get(name, ())]
    return skeleton(
        lambda: cls(*positional, **{k: v for k, v in settings.items() if k not in star})
    )


def valid(name):
    needed = [
        p.name
        for p in inspect.signature(CLASSES[name]).parameters.values()
        if p.default is p.empty and p.kind is not p.VAR_KEYWORD
    ]
    settings = VALID.get(name, {})
    missing = [argument for argument in needed if argument not in settings]
    assert not missing, f"{name} needs {missing}; add valid arguments to VALID of this file"
    return settings


CHECKED = [name for name, cls in CLASSES.items() if name not in AXES and hints(cls)]
ARGUMENTS = [(name, argument) for name in CHECKED for argument in hints(CLASSES[name])]


def attempts(name, argument):
    """Yield settings in which one argument is bad, with the number that is."""
    settings, hint = valid(name), hints(CLASSES[name])[argument]
    for bad in BAD:
        if bad == 0 and argument in ZERO:
            continue
        if isinstance(settings.get(argument), tuple):  # numbers given by position
            values = [(bad, *settings[argument][1:]), (*settings[argument][:-1], bad)]
        else:
            values = [bad] if hint is int else [bad, (bad, 3), (3, bad)]
        for value in values:
            yield settings | {argument: value}, bad


def test_the_tables_speak_of_what_there_is():
    assert set(VALID) <= set(CHECKED)
    assert set(CLASSES) >= AXES
    assert {argument for _, argument in ARGUMENTS} >= ZERO | WIDTHS
    assert {"resnet.ResNet", "vgg.VGG", "vit.VisionTransformer"} <= set(CHECKED)


@pytest.mark.parametrize("name", CHECKED)
def test_the_valid_arguments_are_valid(name):
    settings = valid(name)
    zeros = {argument: 0 for argument in hints(CLASSES[name]) if argument in ZERO}
    assert isinstance(build(CLASSES[name], settings), CLASSES[name])
    assert isinstance(build(CLASSES[name], settings | zeros), CLASSES[name])


@pytest.mark.parametrize(("name", "argument"), ARGUMENTS)
def test_integers_that_make_no_sense_are_refused_by_name(name, argument):
    named = "(in|out)_channels" if argument in WIDTHS else argument
    for settings, bad in attempts(name, argument):
        with pytest.raises(ValueError, match=f"^{named}={re.escape(repr(bad))} is .*; use"):
            build(CLASSES[name], settings)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BasicBlock(8, 8, groups=2), "groups=2 and width_per_group=64 do not fit"),
        (lambda: Bottleneck(8, 1, width_per_group=32), r"channels \* width_per_group // 64=0 is"),
        (lambda: ResNet(BasicBlock, (1, 1, 1, True)), "layers=True is not an integer"),
        (lambda: ConvNeXt((8, 8), (0, 1)), "repeats=0 is too small"),
        (lambda: ConvNeXt((8, -1), (1, 1)), "channels=-1 is too small"),
        (lambda: EfficientNet(repeats=[1, -1, 1, 1, 1, 1, 1]), "repeats=-1 is too small"),
        (lambda: EfficientNet(channels=[8] * 7 + ["8"]), "channels='8' is not an integer"),
        (lambda: projection(0, 8, 1), "in_channels=0 is too small"),
        (lambda: projection(8, -1, 1), "out_channels=-1 is too small"),
        (lambda: projection(8, 8, 0), "stride=0 is too small"),
        (lambda: stage(Bottleneck, 8, "3", 1), "channels='3' is not an integer"),
        (lambda: stage(Bottleneck, 8, 2, 0), "count=0 is too small"),
        (lambda: XceptionBlock(), r"channels=\(\) makes no convolution; give two"),
        (lambda: XceptionBlock(8, stride=2), r"channels=\(8,\) makes no convolution; give two"),
        (lambda: DeformConv2d(4, 6, 3, groups=3), "groups=3 does not divide the 4 channels"),
        (lambda: DeformConv2d(6, 4, 3, groups=3), "groups=3 does not divide the 4 channels"),
        (lambda: DeformConv2d(4, 4, 3, offset_groups=3), "offset_groups=3 does not divide the 4"),
    ],
)
def test_integers_that_do_not_fit_together_are_refused(make, message):
    with pytest.raises(ValueError, match=f"^{message}"):
        make()
