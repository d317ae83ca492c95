"""Does the training error rise with depth, and do shortcuts change that?

A miniature of He et al. (2016), section 4.2: plain and residual networks of 20 and of 56 layers
with batch normalisation, on real digits of 14 x 14 pixels (means of 2 x 2). All four see the same
batches in the same order; plain and residual networks of one depth begin with the same weights.
Measured: loss and error on the training digits, epoch by epoch, as the means over the batches of
the epoch; loss and error on all training and test digits after the last epoch, in evaluation
mode; and the norm of the loss's gradient with respect to the weights of each layer, before the
first step and after the last, on one batch of 200 training digits in training mode.

Settings. Widths, number of digits and epochs were chosen so that all seeds take a few minutes.
The learning rate was chosen with seed 100 and without a look at the test digits: of 0.005, 0.01,
0.02 and 0.1 it is the one with which the plain network of 56 layers came furthest, which favours
that network. Weight decay and momentum are those of the paper. The learning rate stays constant,
and there is no augmentation. The paper takes more than 100 times as many steps.
"""

import torch
import torch.nn.functional as F

from coursepkg.architectures.deeper import DeepCNN, gradient_norms
from coursepkg.data.digits import load_digits
from coursepkg.training import Batches, evaluate, fit, seed_everything

SETTINGS = {
    "depths": [20, 56],
    "widths": [8, 16, 32],
    "digits": 1000,
    "epochs": 24,
    "batch_size": 50,
    "learning_rate": 0.005,
    "momentum": 0.9,
    "weight_decay": 1e-4,
}


def run(seed: int) -> dict:
    """Train the four networks; return what was measured by kind and depth."""
    return {
        kind: {str(depth): train(depth, kind == "residual", seed) for depth in SETTINGS["depths"]}
        for kind in ("plain", "residual")
    }


def train(depth: int, residual: bool, seed: int) -> dict:
    """Train one network."""
    digits = load_digits()
    images, labels = small(digits.train_images)[: SETTINGS["digits"]], digits.train_labels
    labels = labels[: SETTINGS["digits"]]
    seed_everything(seed)
    model = DeepCNN(depth, residual=residual, widths=SETTINGS["widths"])
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=SETTINGS["learning_rate"],
        momentum=SETTINGS["momentum"],
        weight_decay=SETTINGS["weight_decay"],
    )
    few = images[:200], torch.from_numpy(labels[:200])
    first = list(gradient_norms(model, *few).values())
    batches = Batches(images, labels, SETTINGS["batch_size"], seed=seed)
    history = fit(model, optimizer, batches, epochs=SETTINGS["epochs"])
    last = list(gradient_norms(model, *few).values())
    test = Batches(small(digits.test_images), digits.test_labels, 500, seed=None)
    return {
        "epochs": {
            "loss": history.train["loss"],
            "error": [1 - share for share in history.train["accuracy"]],
        },
        "train": figures(model, Batches(images, labels, 500, seed=None)),
        "test": figures(model, test),
        "gradients": {"first": first, "last": last},
    }


def small(images) -> torch.Tensor:
    """Halve the digits: (N, 1, 28, 28) -> (N, 1, 14, 14)."""
    return F.avg_pool2d(torch.from_numpy(images), 2)


def figures(model: DeepCNN, batches: Batches) -> dict:
    """Return loss and error on all digits."""
    found = evaluate(model, batches)
    return {"loss": found["loss"], "error": 1 - found["accuracy"]}
