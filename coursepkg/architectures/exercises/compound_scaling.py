r"""Scale a network up

Write `compound_scaling`: it makes a network deeper, wider, and its images larger, all by one
exponent `phi`. It is given the widths of the parts of a network, `channels`, the number of blocks
in each stage, `repeats`, and the size of the images, `resolution`, and returns all three anew.

The factors are `alpha**phi` for the depth, `beta**phi` for the widths, and `gamma**phi` for the
images. Products are seldom whole, so there are three rules:

- **Depth.** The number of blocks is rounded up. A stage of 1 block, times 1.1, has 2.
- **Width.** The number of channels becomes the *nearest* multiple of 8, and exactly between two
  the larger one. But it never falls below 90 % of the product: then take the multiple above. And
  it is never smaller than 8. So 33 becomes 32, 36 becomes 40, and 10 becomes 16, since 8 would be
  less than 9.
- **Resolution.** Height and width are rounded to the nearest integer.

Do one by hand: with `phi=1`, `alpha=1.2` and `beta=1.1` a stage of 4 blocks and 32 channels gets
`4 * 1.2 = 4.8`, so 5 blocks, and `32 * 1.1 = 35.2`, so 32 channels.

Return a list of channels, a list of repeats, and the resolution, all of them of `int`. A negative
`phi`, a factor that is not greater than 0, and a width, number of blocks or resolution that is no
integer of at least 1, is a mistake of the caller: raise a `ValueError` that would help you to mend
it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np

from coursepkg.architectures.efficientnet import compound_scaling
from coursepkg.architectures.mobilenetv2 import make_divisible
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "hidden", "oracle", "reference", "shown"]

points = {"depth": 2, "width": 3, "resolution": 1, "phi": 2, "together": 1, "errors": 1}
environment = "numpy"
seconds = 2.0
reference = compound_scaling
shown = (make_divisible,)
FORBID = ("torch", "torchvision", "timm", "tensorflow", "jax")


def oracle(
    channels: list[int],
    repeats: list[int],
    resolution: int,
    *,
    phi: float = 1.0,
    alpha: float = 1.2,
    beta: float = 1.1,
    gamma: float = 1.15,
) -> tuple[list[int], list[int], int]:
    r"""Try integers one after another, and compare fractions."""
    numbers = (*channels, *repeats, resolution)
    if phi < 0 or min(alpha, beta, gamma) <= 0 or any(type(n) is not int or n < 1 for n in numbers):
        raise ValueError("these are no settings of a network")
    depth, width, scale = (Fraction(base**phi) for base in (alpha, beta, gamma))
    whole = range(1, 10_000)
    wide = []
    for exact in (n * width for n in channels):
        allowed = [8 * k for k in whole[:1000] if 80 * k >= 9 * exact]
        wide.append(min(allowed, key=lambda w, exact=exact: (abs(w - exact), -w)))
    deep = [next(k for k in whole if k >= n * depth) for n in repeats]
    return wide, deep, min(whole, key=lambda k: abs(k - resolution * scale))


UP = {"alpha": 1.0, "beta": 1.0, "gamma": 1.0}  # change nothing, so that each can be tried alone

PUBLIC = (
    Case(
        "depth",
        {"channels": [32, 16], "repeats": [1, 2, 4], "resolution": 224, **UP, "alpha": 1.2},
        ([32, 16], [2, 3, 5], 224),
    ),
    Case(
        "depth",
        {"channels": [32, 16], "repeats": [1, 3], "resolution": 224, **UP, "alpha": 2.0},
        ([32, 16], [2, 6], 224),
    ),
    Case(
        "width",
        {"channels": [32, 30, 80], "repeats": [1, 2], "resolution": 224, **UP, "beta": 1.1},
        ([32, 32, 88], [1, 2], 224),
    ),
    Case(
        "width",
        {"channels": [4, 68, 36, 10], "repeats": [1], "resolution": 224, **UP},
        ([8, 72, 40, 16], [1], 224),
    ),
    Case(
        "width",
        {"channels": [8, 14], "repeats": [1], "resolution": 224, **UP, "beta": 1.3},
        ([16, 24], [1], 224),
    ),
    Case(
        "resolution",
        {"channels": [32], "repeats": [1], "resolution": 224, **UP, "gamma": 1.15},
        ([32], [1], 258),
    ),
    Case(
        "resolution",
        {"channels": [32], "repeats": [1], "resolution": 100, **UP, "gamma": 1.234},
        ([32], [1], 123),
    ),
    Case(
        "phi",
        {"channels": [40], "repeats": [3], "resolution": 200, "phi": 0},
        ([40], [3], 200),
    ),
    Case(
        "phi",
        {
            **{"channels": [24], "repeats": [3], "resolution": 200, "phi": 3},
            **{"alpha": 2.0, "beta": 1.5, "gamma": 1.2},
        },
        ([80], [24], 346),
    ),
    Case(
        "together",
        {"channels": [32, 16, 24, 40], "repeats": [1, 2, 2], "resolution": 224},
        ([32, 16, 24, 48], [2, 3, 3], 258),
    ),
    Case("errors", {"channels": [8], "repeats": [1], "resolution": 224, "phi": -1}, ValueError),
    Case("errors", {"channels": [8], "repeats": [1], "resolution": 224, "beta": 0}, ValueError),
    Case("errors", {"channels": [8], "repeats": [0], "resolution": 224}, ValueError),
    Case("errors", {"channels": [8.5], "repeats": [1], "resolution": 224}, ValueError),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield networks of up to eight stages: each factor alone, then with other exponents."""
    for group in ("depth", "width", "resolution", "phi", "together"):
        for _ in range(6):
            inputs = _settings(rng, group)
            yield Case(group, inputs, oracle(**inputs))
    for bad in ({"alpha": 0}, {"gamma": -1.0}, {"phi": -0.5}, {"resolution": 0}, {"channels": [0]}):
        yield Case("errors", _settings(rng, "together") | bad, ValueError)


def _settings(rng: np.random.Generator, group: str) -> dict[str, Any]:
    r"""Draw settings until no product is so near a limit that floats could fall on either side."""
    while True:
        inputs = _drawn(rng, group)
        phi = inputs.get("phi", 1.0)
        depth, width, scale = (inputs[name] ** phi for name in UP)
        limits = [n * depth for n in inputs["repeats"]] if depth != 1 else []
        if width != 1:
            products = [n * width for n in inputs["channels"]]
            limits += [m for w in products for m in (w / 8 + 0.5, 0.9 * w / 8)]
        limits += [inputs["resolution"] * scale + 0.5]
        if all(abs(limit - round(limit)) > 1e-6 for limit in limits):
            return inputs


def _drawn(rng: np.random.Generator, group: str) -> dict[str, Any]:
    stages = int(rng.integers(4, 8))
    inputs: dict[str, Any] = {
        "channels": [int(n) for n in rng.integers(8, 400, stages + 1)],
        "repeats": [int(n) for n in rng.integers(1, 9, stages)],
        "resolution": int(rng.integers(100, 400)),
    }
    if group in ("phi", "together"):
        inputs["phi"] = float(rng.choice([0.5, 1.7, 2, 3, 4]))
    names = {"depth": "alpha", "width": "beta", "resolution": "gamma"}
    changed = {names[group]} if group in names else set(UP)
    drawn = {name: round(float(rng.uniform(1.02, 1.4)), 2) for name in UP}
    return inputs | {name: drawn[name] if name in changed else 1.0 for name in UP}


def _scaled(
    channels, repeats, resolution, depth, width, scale, deep=math.ceil, wide=make_divisible
):
    r"""Apply three factors, with these rules of rounding."""
    return (
        [wide(width * n) for n in channels],
        [deep(depth * n) for n in repeats],
        round(scale * resolution),
    )


def _checked(channels, repeats, resolution, phi, alpha, beta, gamma):
    r"""Return the three factors, after all checks."""
    compound_scaling(channels, repeats, resolution, phi=phi, alpha=alpha, beta=beta, gamma=gamma)
    return alpha**phi, beta**phi, gamma**phi


def depth_rounded_down(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You cut off what is behind the point of the depth, so that a stage of 1 block stays at 1.
    Blocks are rounded up: `math.ceil`.
    """
    factors = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(channels, repeats, resolution, *factors, deep=int)


def depth_rounded(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You round the number of blocks to the nearest integer. It is rounded up, also 2.2 to 3:
    `math.ceil`.
    """
    factors = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(channels, repeats, resolution, *factors, deep=round)


def one_block_more(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You add a block even where the product is whole already: 3 blocks times 2 are 6, not 7. Use
    `math.ceil` instead of `int(...) + 1`.
    """
    factors = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(channels, repeats, resolution, *factors, deep=lambda n: int(n) + 1)


def depth_as_float(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """The numbers of blocks are right, but they are floats: `np.ceil` returns one. Use `math.ceil`,
    or wrap it in `int`.
    """
    factors = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(channels, repeats, resolution, *factors, deep=np.ceil)


def width_not_in_eights(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You round the widths to whole numbers. They have to be multiples of 8."""
    factors = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(channels, repeats, resolution, *factors, wide=round)


def _down(n):
    return max(8, int(n) // 8 * 8)


def width_rounded_down(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You take the multiple of 8 below each width, but the nearest one is wanted. Add 4 before you
    divide by 8 with `//`.
    """
    factors = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(channels, repeats, resolution, *factors, wide=_down)


def width_rounded_up(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You take the multiple of 8 above each width, but the nearest one is wanted: 35.2 becomes 32.
    Go up only if less than 90 % would be left.
    """
    factors = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(channels, repeats, resolution, *factors, wide=lambda n: 8 * math.ceil(n / 8))


def ninety_per_cent_forgotten(
    channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15
):
    """The nearest multiple of 8 may be more than 10 % too small: 10 would become 8. Where it is
    below 90 % of the product, take the next multiple.
    """
    factors = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(
        channels, repeats, resolution, *factors, wide=lambda n: max(8, int(n + 4) // 8 * 8)
    )


def ninety_per_cent_of_the_old(
    channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15
):
    """You compare the rounded width with 90 % of the width before scaling. Compare it with 90 % of
    the product.
    """
    depth, width, scale = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    wide = [max(8, int(width * n + 4) // 8 * 8) for n in channels]
    wide = [w if w >= 0.9 * n else w + 8 for w, n in zip(wide, channels, strict=True)]
    return wide, *_scaled([], repeats, resolution, depth, width, scale)[1:]


def ties_to_even(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """Python's `round` takes the even one of two equally near integers: `8 * round(68 / 8)` is 64.
    Exactly between two multiples the larger one is wanted: `int(n + 4) // 8 * 8`.
    """
    factors = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(channels, repeats, resolution, *factors, wide=_even)


def _even(n):
    near = max(8, 8 * round(n / 8))
    return near if near >= 0.9 * n else near + 8


def resolution_in_eights(
    channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15
):
    """You round the resolution to a multiple of 8, as the widths. It is only rounded to the nearest
    integer.
    """
    depth, width, scale = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return *_scaled(channels, repeats, 1, depth, width, 1)[:2], make_divisible(scale * resolution)


def resolution_cut_off(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You cut off what is behind the point of the resolution. Round it to the nearest integer:
    224 times 1.15 is 257.6, so 258.
    """
    depth, width, scale = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return *_scaled(channels, repeats, 1, depth, width, 1)[:2], int(scale * resolution)


def resolution_rounded_up(
    channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15
):
    """You round the resolution up. Only the number of blocks is; the resolution goes to the nearest
    integer.
    """
    depth, width, scale = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return *_scaled(channels, repeats, 1, depth, width, 1)[:2], math.ceil(scale * resolution)


def _near(n):
    near = max(8, int(n + 4) // 8 * 8)
    return near if near >= 0.9 * n else near + 8


def times_phi(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You multiply by `phi`, but it is an exponent: `alpha**phi`. With 0, nothing changes."""
    _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    factors = alpha * phi, beta * phi, gamma * phi
    return _scaled(channels, repeats, resolution, *factors, wide=_near)


def phi_ignored(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """Your answer does not depend on `phi`. It is the exponent of all three factors."""
    _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(channels, repeats, resolution, alpha, beta, gamma)


def rounded_at_every_step(
    channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15
):
    """You scale `phi` times in a row and round each time, so that the roundings add up. Raise the
    factors to the power `phi` and round once.
    """
    _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    for _ in range(int(phi)):
        channels, repeats, resolution = _scaled(channels, repeats, resolution, alpha, beta, gamma)
    rest = phi - int(phi)
    return _scaled(channels, repeats, resolution, alpha**rest, beta**rest, gamma**rest)


def alpha_and_beta_exchanged(
    channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15
):
    """You widen by `alpha` and deepen by `beta`. It is the other way round: alpha for the depth,
    beta for the widths.
    """
    depth, width, scale = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(channels, repeats, resolution, width, depth, scale)


def squares_applied(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You square the factors of width and resolution. The squares stand in the formula of the
    *cost*; widths and images grow by the plain factors.
    """
    depth, width, scale = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(channels, repeats, resolution, depth, width**2, scale**2)


def first_width_left_alone(
    channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15
):
    """You leave the first width as it is, perhaps since it belongs to the stem. All of them are
    scaled.
    """
    factors = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    wide, *rest = _scaled(channels[1:], repeats, resolution, *factors)
    return [*channels[:1], *wide], *rest


def order_exchanged(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You return the numbers of blocks first. The order is that of the arguments: channels,
    repeats, resolution.
    """
    factors = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    wide, deep, size = _scaled(channels, repeats, resolution, *factors)
    return deep, wide, size


def arrays_returned(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You return NumPy arrays. Lists of `int` are wanted: call `.tolist()`, or use no arrays."""
    factors = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    wide, deep, size = _scaled(channels, repeats, resolution, *factors)
    return np.array(wide), np.array(deep), size


def nothing_checked(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You return something whatever the arguments are. Raise a `ValueError` for a negative `phi`,
    for a factor of 0 or less, and for sizes that are no integers of at least 1.
    """
    depth, width, scale = (float(base) ** phi for base in (alpha, beta, gamma))
    return _scaled(channels, repeats, resolution, depth, width, scale, wide=_near)


def sizes_not_checked(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You check `phi` and the factors, but not the sizes. Widths, numbers of blocks and the
    resolution have to be integers of at least 1: raise a `ValueError` otherwise.
    """
    _checked([8], [1], 1, phi, alpha, beta, gamma)
    return nothing_checked(
        channels, repeats, resolution, phi=phi, alpha=alpha, beta=beta, gamma=gamma
    )


def fractions_accepted(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """You take a width such as 8.5. There is no half a channel: raise a `ValueError` for whatever
    is not an `int`.
    """
    whole = [math.floor(n) for n in channels]
    factors = _checked(whole, repeats, resolution, phi, alpha, beta, gamma)
    return _scaled(channels, repeats, resolution, *factors)


def resolution_as_float(channels, repeats, resolution, *, phi=1.0, alpha=1.2, beta=1.1, gamma=1.15):
    """The resolution is right, but it is a float: `np.round` returns one. Python's `round` returns
    an `int`.
    """
    depth, width, scale = _checked(channels, repeats, resolution, phi, alpha, beta, gamma)
    *rest, _ = _scaled(channels, repeats, resolution, depth, width, scale)
    return *rest, np.round(scale * resolution)


WRONG = (
    depth_rounded_down,
    depth_rounded,
    one_block_more,
    depth_as_float,
    width_not_in_eights,
    width_rounded_down,
    width_rounded_up,
    ninety_per_cent_forgotten,
    ninety_per_cent_of_the_old,
    ties_to_even,
    resolution_in_eights,
    resolution_cut_off,
    resolution_rounded_up,
    times_phi,
    phi_ignored,
    rounded_at_every_step,
    alpha_and_beta_exchanged,
    squares_applied,
    first_width_left_alone,
    order_exchanged,
    arrays_returned,
    nothing_checked,
    sizes_not_checked,
    fractions_accepted,
    resolution_as_float,
)
