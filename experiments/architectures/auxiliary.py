"""Do auxiliary classifiers help a deep plain network to learn?

Szegedy et al. (2015, section 5) hang auxiliary classifiers on the middle of GoogLeNet, against
vanishing gradients; later work (Szegedy et al. 2016, section 4) finds that they do not help early
in training. Here plain networks of 20 and of 56 layers, those of the experiment on degradation,
learn real digits of 14 x 14 pixels with two heads behind the first and the second stage and
without. Both begin with the same weights and see the same batches. The losses of the heads count
0.3 each, as in GoogLeNet. Measured of the main head: loss and error on the training digits, epoch
by epoch, as the means over the batches of the epoch; loss and error on all training and test
digits after the last epoch, in evaluation mode; and before the first step the norm of the
gradient of all losses with respect to the weights of each layer, on 200 training digits in
training mode. The heads' own weights are left out there.

Settings are those of the experiment on degradation; nothing was chosen for this one.
"""

import torch
import torch.nn.functional as F

from coursepkg.architectures.deeper import DeepCNN, WithHeads, auxiliary_loss, gradient_norms
from coursepkg.data.digits import load_digits
from coursepkg.training import Batches, accuracy, evaluate, fit, seed_everything

SETTINGS = {
    "depths": [20, 56],
    "widths": [8, 16, 32],
    "weights": {"without": 0.0, "with": 0.3},
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
        kind: {str(depth): train(depth, weight, seed) for depth in SETTINGS["depths"]}
        for kind, weight in SETTINGS["weights"].items()
    }


def train(depth: int, weight: float, seed: int) -> dict:
    """Train one network; with a weight of 0 the heads have no influence on it."""
    digits = load_digits()
    labels = digits.train_labels[: SETTINGS["digits"]]
    images = small(digits.train_images)[: SETTINGS["digits"]]
    seed_everything(seed)
    model = WithHeads(DeepCNN(depth, residual=False, widths=SETTINGS["widths"]))
    optimizer = torch.optim.SGD(
        model.parameters(),
        lr=SETTINGS["learning_rate"],
        momentum=SETTINGS["momentum"],
        weight_decay=SETTINGS["weight_decay"],
    )

    def loss(output, target):
        return auxiliary_loss(output, target, weight)

    few = images[:200], torch.from_numpy(labels[:200])
    norms = gradient_norms(model, *few, loss=loss)
    history = fit(
        model,
        optimizer,
        Batches(images, labels, SETTINGS["batch_size"], seed=seed),
        epochs=SETTINGS["epochs"],
        loss=loss,
        metrics={
            "main": lambda output, target: F.cross_entropy(output[0], target),
            "accuracy": lambda output, target: accuracy(output[0], target),
        },
    )
    test = Batches(small(digits.test_images), digits.test_labels, 500, seed=None)
    return {
        "epochs": {
            "loss": history.train["main"],
            "error": [1 - share for share in history.train["accuracy"]],
        },
        "train": figures(model, Batches(images, labels, 500, seed=None)),
        "test": figures(model, test),
        "gradients": [norm for name, norm in norms.items() if "aux" not in name],
    }


def small(images) -> torch.Tensor:
    """Halve the digits: (N, 1, 28, 28) -> (N, 1, 14, 14)."""
    return F.avg_pool2d(torch.from_numpy(images), 2)


def figures(model: WithHeads, batches: Batches) -> dict:
    """Return loss and error of the main head on all digits."""
    found = evaluate(model, batches)
    return {"loss": found["loss"], "error": 1 - found["accuracy"]}
