"""What does a network gain when two of its layers may choose where they read?

Scenes of 48 x 48 pixels show one thing each, of ten classes, in many sizes and poses. Four small
networks learn to name it. All have two convolutions with stride 2, then two layers of 3 x 3 with 32
channels, a global average and a linear layer. The two layers are ordinary ones ("plain"), ordinary
ones with dilation 3 ("dilated"), which see further but do not choose, or deformable ones of version
1 ("deformable"). A deformable layer costs several times the time of an ordinary one, so the plain
network is also trained for four times as many epochs ("plain, longer").

Measured: loss and accuracy on training and test scenes; and, on the test scenes, which share of
the points that each deformable layer reads falls on the thing (its visible pixels): for the points
of the trained layer ("own"), for the regular grid ("grid"), and for the regular grid plus the
offsets that the layer predicted for the next test scene ("other"). The last tells what is owed to
the offsets being large, and what to their following this image. Shares are taken over all places,
over those whose centre lies on the thing ("on"), and over the rest ("off"). A point outside the
image misses the thing.

Settings. Size, number of scenes, width and epochs were chosen on scenes of other seeds (100 and
101), so that all seeds take a few minutes. The learning rate was chosen there among 0.001, 0.003
and 0.01, for the plain network: 0.01 was far behind after 12 epochs, 0.003 best after 20.
"""

import torch
from torch import Tensor, nn

from coursepkg.architectures.deform_conv import DeformConv2d, sampling_positions
from coursepkg.data.scenes import scenes, stack
from coursepkg.training import Batches, evaluate, fit, seed_everything

SETTINGS = {
    "size": 48,
    "train": 1000,
    "test": 400,
    "width": 32,
    "epochs": 20,
    "longer": 80,
    "batch_size": 32,
    "learning_rate": 0.003,
}
KINDS = {
    "plain": ("plain", "epochs"),
    "plain, longer": ("plain", "longer"),
    "dilated": ("dilated", "epochs"),
    "deformable": ("deformable", "epochs"),
}


def run(seed: int) -> dict:
    """Train the four networks on scenes of this seed; return what was measured by kind."""
    train = drawn(SETTINGS["train"], 2 * seed)
    test = drawn(SETTINGS["test"], 2 * seed + 1)
    result = {}
    for name, (kind, epochs) in KINDS.items():
        seed_everything(seed)
        model = network(kind)
        learn(model, train, SETTINGS[epochs], seed)
        batches = {"train": train, "test": test}
        result[name] = {
            part: evaluate(model, Batches(b.images, b.labels, 100, seed=None))
            for part, b in batches.items()
        }
    things = torch.from_numpy(test.semantic) > 0
    result["points"] = points(model.eval(), torch.from_numpy(test.images), things)
    return result


def drawn(number: int, seed: int):
    """Draw scenes with one thing each."""
    return stack(scenes(number, seed=seed, size=SETTINGS["size"], objects=1))


def network(kind: str, width: int = SETTINGS["width"]) -> nn.Sequential:
    """Return a network of one kind; its maps have a quarter of the height and width."""
    layers = [*step(3, width // 2, stride=2), *step(width // 2, width, stride=2)]
    for _ in range(2):
        if kind == "plain":
            layers += step(width, width)
        elif kind == "dilated":
            layers += step(width, width, padding=3, dilation=3)
        else:
            conv = DeformConv2d(width, width, 3, padding=1, bias=False)
            layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 10))


def step(before: int, after: int, stride: int = 1, padding: int = 1, dilation: int = 1) -> list:
    """Return a convolution of 3 x 3 with normalisation and activation."""
    conv = nn.Conv2d(before, after, 3, stride, padding, dilation, bias=False)
    return [conv, nn.BatchNorm2d(after), nn.ReLU()]


def learn(model: nn.Sequential, train, epochs: int, seed: int) -> None:
    """Train on scenes, in an order that depends on the seed."""
    optimizer = torch.optim.Adam(model.parameters(), SETTINGS["learning_rate"])
    batches = Batches(train.images, train.labels, SETTINGS["batch_size"], seed=seed)
    fit(model, optimizer, batches, epochs=epochs)


def points(model: nn.Sequential, images: Tensor, things: Tensor) -> dict:
    """Return, by layer, how often the points of its kernel fall on the thing."""
    shares, x = {}, images
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, DeformConv2d):
                shares[str(len(shares) + 1)] = layer_shares(layer, x, things)
            x = layer(x)
    return shares


def layer_shares(layer: DeformConv2d, maps: Tensor, things: Tensor) -> dict:
    """Return the shares of one layer, and how far its offsets reach on average, in map pixels."""
    offset, _ = layer.offsets(maps)
    own = layer.sampling_positions(maps)[..., 0, :]  # (N, H', W', 9, 2)
    grid = sampling_positions(torch.zeros_like(offset), 3, padding=1)[..., 0, :]
    centre = things[:, ::4, ::4]
    shares = {}
    for name, at in {"own": own, "grid": grid, "other": grid + (own - grid).roll(-1, 0)}.items():
        hit = on_thing(at, things).float().mean(-1)  # (N, H', W')
        shares[name] = {
            "all": hit.mean().item(),
            "on": hit[centre].mean().item(),
            "off": hit[~centre].mean().item(),
        }
    return shares | {"reach": (own - grid).norm(dim=-1).mean().item()}


def on_thing(at: Tensor, things: Tensor) -> Tensor:
    """Say which points fall on the thing: pixel 4i of the image is the middle of map pixel i."""
    pixel = (4 * at).round().long()  # (N, H', W', 9, 2)
    inside = ((pixel >= 0) & (pixel < things.shape[1])).all(-1)
    row, column = pixel.clamp(0, things.shape[1] - 1).unbind(-1)
    image = torch.arange(len(things))[:, None, None, None]
    return things[image, row, column] & inside
