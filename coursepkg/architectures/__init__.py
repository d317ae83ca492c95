r"""Networks that made history, each in one file, with the names of the reference libraries.

Where a file has the name of its network, as `alexnet.py`, the package offers the function of that
name, as torchvision does; ``from coursepkg.architectures.alexnet import AlexNet`` reaches into the
file.
"""

from coursepkg.architectures.alexnet import alexnet
from coursepkg.architectures.checkpoints import load_checkpoint
from coursepkg.architectures.convnext import convnext_tiny
from coursepkg.architectures.densenet import densenet121, densenet161, densenet169, densenet201
from coursepkg.architectures.efficientnet import (
    efficientnet_b0,
    efficientnet_b1,
    efficientnet_b2,
    efficientnet_b3,
    efficientnet_b4,
    efficientnet_b5,
    efficientnet_b6,
    efficientnet_b7,
)
from coursepkg.architectures.googlenet import googlenet
from coursepkg.architectures.inception import inception_v3
from coursepkg.architectures.lenet import lenet5
from coursepkg.architectures.mobilenetv1 import mobilenet_v1
from coursepkg.architectures.mobilenetv2 import mobilenet_v2
from coursepkg.architectures.mobilenetv3 import mobilenet_v3_large, mobilenet_v3_small
from coursepkg.architectures.registry import (
    cut_head,
    features_only,
    get_model,
    list_models,
    replace_head,
)
from coursepkg.architectures.resnet import (
    resnet18,
    resnet34,
    resnet50,
    resnet101,
    resnet152,
    resnext50_32x4d,
    wide_resnet50_2,
)
from coursepkg.architectures.resnetv2 import resnetv2_50, resnetv2_101, resnetv2_152
from coursepkg.architectures.senet import seresnet50
from coursepkg.architectures.squeezenet import squeezenet1_1
from coursepkg.architectures.summary import summary
from coursepkg.architectures.vgg import (
    vgg11,
    vgg11_bn,
    vgg13,
    vgg13_bn,
    vgg16,
    vgg16_bn,
    vgg19,
    vgg19_bn,
)
from coursepkg.architectures.vit import vit_b_16
from coursepkg.architectures.xception import xception

__all__ = [
    "alexnet",
    "convnext_tiny",
    "cut_head",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "features_only",
    "get_model",
    "googlenet",
    "inception_v3",
    "lenet5",
    "list_models",
    "load_checkpoint",
    "mobilenet_v1",
    "mobilenet_v2",
    "mobilenet_v3_large",
    "mobilenet_v3_small",
    "replace_head",
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnetv2_50",
    "resnetv2_101",
    "resnetv2_152",
    "resnext50_32x4d",
    "seresnet50",
    "squeezenet1_1",
    "summary",
    "vgg11",
    "vgg11_bn",
    "vgg13",
    "vgg13_bn",
    "vgg16",
    "vgg16_bn",
    "vgg19",
    "vgg19_bn",
    "vit_b_16",
    "wide_resnet50_2",
    "xception",
]
