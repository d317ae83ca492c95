"""What happens to a trained network when blocks are taken out of it?

After Veit, Wilber & Belongie (2016, sections 4.1 and 4.2), who took single layers out of a VGG
network and single or several blocks out of a residual network of 110 layers. Here a plain and a
residual network of 26 layers, with the same first weights and the same batches, learn real digits
of 28 x 28 pixels. Then blocks are replaced by the identity, without any further training: every
block by itself, and several at a time, drawn at random, the same for both networks. Blocks that
change the shape stay, since in a plain network the identity does not fit there. In the residual
network the identity is what remains of a block when its branch is gone, since the input of a
block is not negative. Batch norms keep their running statistics. Measured: the error on all test
digits.

The depth and the number of digits and epochs were chosen so that all seeds take a few minutes,
and the learning rate (0.1 rather than 0.03) as the one with which both networks err least on
1,000 held-out training digits, with seed 100. Momentum and weight decay are those of He et al.
(2016).
"""

import copy

import numpy as np
import torch
from torch import nn

from coursepkg.architectures.deeper import DeepBlock, DeepCNN
from coursepkg.data.digits import load_digits
from coursepkg.training import Batches, evaluate, fit, seed_everything

SETTINGS = {
    "depth": 26,
    "digits": 3000,
    "epochs": 5,
    "batch_size": 50,
    "learning_rate": 0.1,
    "momentum": 0.9,
    "weight_decay": 1e-4,
    "removed": [2, 3, 4, 5],
    "draws": 5,
}


def run(seed: int) -> dict:
    """Train both networks; return their errors, whole and with blocks taken out."""
    return {kind: lesions(train(kind == "residual", seed), seed) for kind in ("plain", "residual")}


def train(residual: bool, seed: int) -> DeepCNN:
    """Train one network; its learning rate falls along a cosine."""
    digits, n = load_digits(), SETTINGS["digits"]
    seed_everything(seed)
    model = DeepCNN(SETTINGS["depth"], residual=residual)
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=SETTINGS["learning_rate"],
        momentum=SETTINGS["momentum"],
        weight_decay=SETTINGS["weight_decay"],
    )
    fit(
        model,
        optimizer,
        Batches(digits.train_images[:n], digits.train_labels[:n], SETTINGS["batch_size"], seed),
        epochs=SETTINGS["epochs"],
        scheduler=torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, SETTINGS["epochs"]),
    )
    return model


def lesions(model: DeepCNN, seed: int) -> dict:
    """Measure the error of the whole network, without each block, and without several."""
    names, rng = removable(model), np.random.default_rng((seed, 1))
    several = []
    for count in SETTINGS["removed"]:
        drawn = [rng.choice(names, count, replace=False) for _ in range(SETTINGS["draws"])]
        several.append(float(np.mean([error(without(model, blocks)) for blocks in drawn])))
    return {
        "whole": error(model),
        "one": [error(without(model, [name])) for name in names],
        "several": several,
    }


def removable(model: nn.Module) -> list[str]:
    """Return the names of the blocks that keep the shape of their maps."""
    blocks = [(name, m) for name, m in model.named_modules() if isinstance(m, DeepBlock)]
    return [name for name, block in blocks if block.stride == 1 and block.new_channels == 0]


def without(model: nn.Module, names) -> nn.Module:
    """Return a copy in which the identity stands for some blocks."""
    model = copy.deepcopy(model)
    for name in names:
        model.set_submodule(str(name), nn.Identity())
    return model


def error(model: nn.Module) -> float:
    """Return the share of the test digits that the model gets wrong."""
    digits = load_digits()
    test = Batches(digits.test_images, digits.test_labels, 500, seed=None)
    return 1 - evaluate(model, test)["accuracy"]
