r"""Cover a part, and ask again

Which part of an image does a network need for its answer? Cover a part and see how far the score
falls. Write `occlusion`, which does that at every place of a window and returns the drops as a map.

- `model` is a PyTorch module in evaluation mode. It turns images, a tensor (N, C, H, W), into
  scores (N, K). You need not know what is inside.
- The cover is a rectangle of `size` pixels, an integer or a pair (height, width). It moves by
  `stride` pixels, like a convolution without padding, and stays on the image.
- What lies under it shows `value`, in all channels.
- The result at a place is the score of class `target` for the whole image *minus* the score
  for the covered one. It is large where the network needs the pixels, and negative where it does
  better without them.
- `target` is an integer, for all images of the batch. Without a target, take for each image the
  class that wins before anything is covered.
- The result is a tensor (N, H', W'): a map for each image. Leave the input as it is.

Start with a batch of one and with `size=1, stride=1`. `batch_size` says how many covered copies go
through the model together, for speed; you may leave it aside and take one after the other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from coursepkg.convolution import fast
from coursepkg.convolution.visualize import occlusion
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {"drop": 2, "stride": 1, "size": 1, "value": 1, "channels": 1, "network": 1, "batch": 1}
points |= {"no target": 1}
environment = "torch"
seconds = 5.0
reference = occlusion
FORBID = ("captum", "torchvision", "skimage", "sklearn", "cv2", "tensorflow", "jax")


def driver(Answer, input, weight, kernel=None, **options):
    import torch

    class Scorer(torch.nn.Module):
        def forward(self, x):
            if kernel is not None:
                x = torch.nn.functional.conv2d(x, torch.from_numpy(kernel)).relu()
            return x.flatten(1) @ torch.from_numpy(weight).T  # (N, K)

    drops = Answer(Scorer().eval(), torch.from_numpy(input), **options)
    yield "drops", drops.detach().numpy() if isinstance(drops, torch.Tensor) else drops


def oracle(
    input: NDArray[Any],
    weight: NDArray[Any],
    kernel: NDArray[Any] | None = None,
    target: int | None = None,
    size: Any = 8,
    stride: Any = 4,
    value: float = 0.0,
) -> dict[str, NDArray[Any]]:
    r"""Multiply each image by a frame of ones with a hole, and score it in NumPy."""

    def scores(images: NDArray[Any]) -> NDArray[Any]:
        maps = images if kernel is None else np.maximum(fast.conv2d(images, kernel), 0)
        return maps.reshape(len(images), -1) @ weight.T

    _, _, height, width = input.shape
    (kh, kw), (sh, sw) = np.broadcast_to(size, 2), np.broadcast_to(stride, 2)
    tops, lefts = range(0, height - kh + 1, sh), range(0, width - kw + 1, sw)
    whole = scores(input)  # (N, K)
    chosen = whole.argmax(axis=1) if target is None else np.full(len(input), target)
    images = np.arange(len(input))
    drops = np.empty((len(input), len(tops), len(lefts)))
    for i, top in enumerate(tops):
        for j, left in enumerate(lefts):
            rows, columns = np.arange(height) - top, np.arange(width) - left
            inside = np.outer((rows >= 0) & (rows < kh), (columns >= 0) & (columns < kw))
            covered = scores(np.where(inside, value, input))
            drops[:, i, j] = whole[images, chosen] - covered[images, chosen]
    return {"drops": drops}


ROW = np.array([[[[1.0, 2.0, 3.0, 4.0]]]])
SQUARE = np.arange(1.0, 10.0).reshape(1, 1, 3, 3)
FIRST_AND_LAST = np.array([[1.0, 0.0, 0.0, -2.0], [0.0, 1.0, 1.0, 0.0]])
ONE = {"size": 1, "stride": 1, "target": 0}

PUBLIC = (
    Case(
        "drop",
        {"input": ROW, "weight": FIRST_AND_LAST} | ONE,
        {"drops": np.array([[[1.0, 0, 0, -8]]])},
    ),
    Case(
        "drop",
        {"input": ROW, "weight": FIRST_AND_LAST} | ONE | {"target": 1},
        {"drops": np.array([[[0.0, 2, 3, 0]]])},
    ),
    Case(
        "drop",
        {"input": SQUARE, "weight": np.ones((1, 9))} | ONE | {"size": 2},
        {"drops": np.array([[[12.0, 16], [24, 28]]])},
    ),
    Case(
        "stride",
        {"input": SQUARE, "weight": np.ones((1, 9))} | ONE | {"stride": 2},
        {"drops": np.array([[[1.0, 3], [7, 9]]])},
    ),
    Case(
        "size",
        {"input": SQUARE, "weight": np.ones((1, 9))} | ONE | {"size": (1, 3)},
        {"drops": np.array([[[6.0], [15], [24]]])},
    ),
    Case(
        "value",
        {"input": ROW, "weight": FIRST_AND_LAST} | ONE | {"value": 3.0},
        {"drops": np.array([[[-2.0, 0, 0, -2]]])},
    ),
    Case(
        "channels",
        {"input": np.array([[[[1.0, 2.0]], [[3.0, 4.0]]]]), "weight": np.ones((1, 4))} | ONE,
        {"drops": np.array([[[4.0, 6]]])},
    ),
    Case(
        "network",
        {"input": ROW, "kernel": np.array([[[[-1.0, 1.0]]]]), "weight": np.ones((1, 3))} | ONE,
        {"drops": np.array([[[-1.0, -1, -2, 1]]])},
    ),
    Case(
        "batch",
        {"input": np.concatenate([ROW, 2 * ROW]), "weight": FIRST_AND_LAST} | ONE | {"target": 1},
        {"drops": np.array([[[0.0, 2, 3, 0]], [[0.0, 4, 6, 0]]])},
    ),
    Case(
        "no target",
        {"input": ROW, "weight": FIRST_AND_LAST, "size": 1, "stride": 1},
        {"drops": np.array([[[0.0, 2, 3, 0]]])},
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield odd and non-square images, scored by random linear models and small networks."""
    kinds: dict[str, dict[str, Any]] = {
        "drop": {"size": 2},
        "stride": {"size": 2, "stride": 3},
        "size": {"size": (2, 3), "stride": (3, 2)},
        "value": {"size": 2, "value": 0.5},
        "channels": {"channels": 3, "size": 2},
        "network": {"channels": 2, "size": 3, "network": True},
        "batch": {"images": 3, "channels": 2, "size": 2, "stride": 2},
        "no target": {"images": 4, "size": 3, "target": None},
    }
    for group, options in kinds.items():
        for _ in range(3):
            inputs = _inputs(rng, **{"stride": 1} | options)
            yield Case(group, inputs, oracle(**inputs))


def _inputs(rng, images=1, channels=1, network=False, **options):
    height, width = (int(n) for n in rng.choice(np.arange(4, 9), 2, replace=False))
    inputs = {"input": rng.normal(size=(images, channels, height, width))}
    units = channels * height * width
    if network:
        inputs["kernel"] = rng.normal(size=(2, channels, 2, 2))
        units = 2 * (height - 1) * (width - 1)
    inputs["weight"] = rng.normal(size=(4, units))
    return inputs | {"target": int(rng.integers(4))} | options


def _cover(images, top, left, height, width, value):
    covered = images.clone()
    covered[:, :, top : top + height, left : left + width] = value
    return covered


def _drop(before, after):
    return before - after


def _winners(scores, target):
    return scores.argmax(dim=1) if target is None else torch.full((len(scores),), target)


def _answer(cover=_cover, drop=_drop, winners=_winners):
    r"""Return `occlusion` in loops, of the parts that are given."""

    def answer(model, input, target=None, size=8, stride=4, value=0.0, batch_size=64):
        (height, width), (down, right) = np.broadcast_to(size, 2), np.broadcast_to(stride, 2)
        whole = model(input)
        chosen = winners(whole, target)[:, None]
        drops = [
            drop(
                whole.gather(1, chosen),
                model(cover(input, top, left, height, width, value)).gather(1, chosen),
            )
            for top in range(0, input.shape[2] - height + 1, down)
            for left in range(0, input.shape[3] - width + 1, right)
        ]
        rows = (input.shape[2] - height) // down + 1
        return torch.cat(drops, dim=1).reshape(len(input), rows, -1)

    return answer


def score_after(*args, **options):
    """You return the score of the covered image. Wanted is the drop: the score of the whole image
    minus that.
    """
    return _answer(drop=lambda before, after: after)(*args, **options)


def sign_reversed(*args, **options):
    """Your map has the wrong sign: it is whole minus covered, so that a place that the network
    needs is positive.
    """
    return _answer(drop=lambda before, after: after - before)(*args, **options)


def absolute_drop(*args, **options):
    """You drop the sign. Where covering *raises* the score, the result is negative, and that is
    worth seeing.
    """
    return _answer(drop=lambda before, after: (before - after).abs())(*args, **options)


def negative_cut_off(*args, **options):
    """You cut off what is below 0. A cover may also raise the score; keep the negative drops."""
    return _answer(drop=lambda before, after: (before - after).clamp(min=0))(*args, **options)


def relative_drop(*args, **options):
    """You divide by the score of the whole image. Wanted is the plain difference; a score may well
    be 0 or negative.
    """
    return _answer(drop=lambda before, after: (before - after) / before)(*args, **options)


def probabilities_compared(model, *args, **options):
    """You turn scores into probabilities first. `model` returns what is to be compared; leave its
    scores as they are.
    """
    return occlusion(torch.nn.Sequential(model, torch.nn.Softmax(dim=1)), *args, **options)


def all_but_the_cover(*args, **options):
    """You show the window and cover the rest. It is the other way round: only the pixels under the
    window are replaced.
    """

    def cover(images, top, left, height, width, value):
        shown = torch.full_like(images, value)
        window = (..., slice(top, top + height), slice(left, left + width))
        shown[window] = images[window]
        return shown

    return _answer(cover)(*args, **options)


def covers_pile_up(*args, **options):
    """Your covers pile up: what was covered at one place is still covered at the next. Start each
    time from a copy of the whole image, `input.clone()`.
    """
    copies = {}

    def cover(images, top, left, height, width, value):
        kept = copies.setdefault("images", images.clone())
        kept[:, :, top : top + height, left : left + width] = value
        return kept

    return _answer(cover)(*args, **options)


def first_channel_covered(*args, **options):
    """You cover only one channel. The cover hides all of them: `x[:, :, top:..., left:...]`."""

    def cover(images, top, left, height, width, value):
        covered = images.clone()
        covered[:, 0, top : top + height, left : left + width] = value
        return covered

    return _answer(cover)(*args, **options)


def value_ignored(*args, **options):
    """Your cover is always 0. It shows `value`."""
    return occlusion(*args, **options | {"value": 0.0})


def value_added(*args, **options):
    """You add `value` to the pixels under the cover. It *replaces* them."""

    def cover(images, top, left, height, width, value):
        covered = images.clone()
        covered[:, :, top : top + height, left : left + width] += value
        return covered

    return _answer(cover)(*args, **options)


def stride_ignored(*args, **options):
    """Your cover moves by one pixel whatever `stride` is. Place (i, j) begins at pixel
    (i * stride, j * stride).
    """
    return occlusion(*args, **options | {"stride": 1})


def stride_for_size(*args, **options):
    """Your cover moves by its own size. It moves by `stride`, so that covers may overlap."""
    return occlusion(*args, **options | {"stride": options["size"]})


def place_for_pixel(*args, **options):
    """The map has the right shape, but the cover lies in the wrong place where the stride is not 1.
    Place (i, j) begins at pixel (i * stride, j * stride), not at pixel (i, j).
    """
    right = occlusion(*args, **options)
    close = occlusion(*args, **options | {"stride": 1})
    return close[:, : right.shape[1], : right.shape[2]]


def last_place_dropped(*args, **options):
    """The last row and the last column of places are missing: `range(H - height)` has one too few.
    A window fits `(H - height) // stride + 1` times.
    """
    return occlusion(*args, **options)[:, :-1, :-1]


def pair_not_understood(*args, **options):
    """You use one number of a pair for both sides. `size` and `stride` may be (height, width)."""
    firsts = {name: int(np.broadcast_to(options[name], 2)[0]) for name in ("size", "stride")}
    return occlusion(*args, **options | firsts)


def height_and_width_swapped(*args, **options):
    """You take pairs for (width, height). Height comes first, as in the shape of an image."""
    turned = {name: tuple(np.broadcast_to(options[name], 2)[::-1]) for name in ("size", "stride")}
    return occlusion(*args, **options | turned)


def rows_and_columns_swapped(*args, **options):
    """Your map lies on its side: rows and columns are exchanged. Go through the places row by row
    before you reshape.
    """
    return occlusion(*args, **options).transpose(1, 2)


def first_image_only(model, input, *args, **options):
    """You treat only the first image of the batch. The result has a map for each."""
    return occlusion(model, input[:1], *args, **options)


def averaged_over_images(*args, **options):
    """You average over the batch. Each image has a map of its own: (N, H', W')."""
    maps = occlusion(*args, **options)
    return maps.mean(dim=0, keepdim=True).expand_as(maps)


def batch_axis_lost(*args, **options):
    """Your result for one image is (H', W'). Keep the axis of the batch, also where it is 1."""
    maps = occlusion(*args, **options)
    return maps[0] if len(maps) == 1 else maps


def target_ignored(*args, **options):
    """You always follow the class that wins. If `target` is given, that is the class to follow,
    whether it wins or not.
    """
    return occlusion(*args, **options | {"target": None})


def target_zero_ignored(*args, **options):
    """`target=0` is treated as no target: `if target` and `target or ...` take 0 for False. Ask
    `if target is None`.
    """
    return occlusion(*args, **options | {"target": options.get("target") or None})


def no_target_is_class_zero(*args, **options):
    """Without a target you follow class 0. Take the class with the highest score, image by
    image.
    """
    return occlusion(*args, **options | {"target": options.get("target") or 0})


def winner_of_first_image(model, input, target=None, **options):
    """You take the class that wins in the first image for all of them. Each image of the batch has
    a winner of its own.
    """
    target = int(model(input)[0].argmax()) if target is None else target
    return occlusion(model, input, target, **options)


def best_of_all_scores(*args, **options):
    """Without a target you compare the highest score before with the highest score after, which may
    belong to another class. Follow the class that wins *before*.
    """
    model, input = args
    if options.get("target") is not None:
        return occlusion(*args, **options)

    class Highest(torch.nn.Module):
        def forward(self, x):
            return model(x).amax(dim=1, keepdim=True)

    return occlusion(Highest(), input, **options)


def float32_returned(*args, **options):
    """The numbers are right, but float32 where the scores are float64: `torch.zeros` makes float32
    unless told otherwise. Pass it `dtype=input.dtype`, or stack the scores themselves.
    """
    return occlusion(*args, **options).float()


def array_returned(*args, **options):
    """You return a NumPy array or a list. Return a tensor."""
    return occlusion(*args, **options).tolist()


def input_changed(model, input, *args, **options):
    """You paint the cover into the image that you were given. The caller may still need it: paint
    into `input.clone()`.
    """
    drops = occlusion(model, input, *args, **options)
    input[:, :, -1, -1] = options.get("value", 0.0)
    return drops


WRONG = (
    score_after,
    sign_reversed,
    absolute_drop,
    negative_cut_off,
    relative_drop,
    probabilities_compared,
    all_but_the_cover,
    covers_pile_up,
    first_channel_covered,
    value_ignored,
    value_added,
    stride_ignored,
    stride_for_size,
    place_for_pixel,
    last_place_dropped,
    pair_not_understood,
    height_and_width_swapped,
    rows_and_columns_swapped,
    first_image_only,
    averaged_over_images,
    batch_axis_lost,
    target_ignored,
    target_zero_ignored,
    no_target_is_class_zero,
    winner_of_first_image,
    best_of_all_scores,
    float32_returned,
    array_returned,
    input_changed,
)
