"""Builds the networks of the reference libraries."""

from __future__ import annotations

import timm
import torchvision
from oracle_networks import REFERENCES, Case
from torch import nn

__all__ = ["reference"]


def reference(case: Case) -> nn.Module:
    """Build the reference of a network, without official weights and with its own first weights."""
    name = REFERENCES[case.library][case.name]
    settings = dict(case.settings)
    if case.library == "timm":
        if case.name == "mobilenet_v1":
            # It has no such layers, but timm draws the weights of one, which it throws away.
            settings["se_layer"] = nn.Identity
        return timm.create_model(name, pretrained=False, **settings)
    if case.name in ("googlenet", "inception_v3"):
        settings["init_weights"] = True  # the default, which warns unless it is asked for
    return torchvision.models.get_model(name, weights=None, **settings)
