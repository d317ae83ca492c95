r"""Interactive figures: their scripts compute, Python hands over what to start from."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from coursepkg.convolution.filters import FILTERS, box
from coursepkg.convolution.reference import conv2d
from coursepkg.explorer import Explorer, number, table
from coursepkg.validation import integer

__all__ = ["CAT_EYE", "convolution2d"]

#: The left eye of the cat in `skimage.data.chelsea`, rows 84-146 and columns 138-200: means of
#: 9 x 9 pixels, stretched to 0..9. Channels red, green, blue.
CAT_EYE = [
    [
        [5, 5, 5, 4, 5, 6, 9],
        [4, 7, 7, 4, 1, 2, 4],
        [7, 8, 7, 1, 2, 4, 5],
        [6, 7, 5, 0, 1, 5, 6],
        [5, 7, 6, 1, 2, 6, 6],
        [8, 6, 8, 6, 6, 7, 4],
        [8, 9, 6, 5, 5, 3, 3],
    ],
    [
        [3, 3, 3, 2, 3, 4, 7],
        [3, 5, 5, 3, 1, 2, 3],
        [5, 6, 6, 1, 1, 3, 3],
        [5, 6, 4, 0, 1, 4, 4],
        [3, 6, 5, 1, 2, 4, 4],
        [6, 4, 6, 5, 5, 6, 3],
        [6, 6, 4, 4, 3, 2, 1],
    ],
    [
        [2, 1, 1, 1, 1, 2, 5],
        [1, 3, 3, 3, 1, 0, 1],
        [2, 3, 5, 1, 1, 1, 1],
        [2, 3, 2, 0, 1, 2, 1],
        [1, 3, 2, 0, 1, 2, 2],
        [4, 2, 3, 2, 2, 2, 2],
        [3, 4, 2, 1, 1, 1, 1],
    ],
]

# What the figure can hold and stay legible on a phone.
_LIMITS = {"size": 12, "channels": 4, "kernel": 5, "stride": 4, "padding": 3, "dilation": 3}
_LARGEST = 9999


# Named kernels, each in the sizes that the figure offers, 3 x 3 first.
_KERNELS = {"box": [box(size).tolist() for size in (3, 2, 4, 5)]} | {
    name: [kernel.tolist()] for name, kernel in FILTERS.items() if kernel.shape == (3, 3)
}


def convolution2d(
    input: ArrayLike | None = None,
    kernel: str | ArrayLike = "sobel_x",
    bias: float = 0,
    stride: int = 1,
    padding: int = 0,
    dilation: int = 1,
) -> Explorer:
    r"""Step through a 2-D convolution: move the window, watch the products, grow the output.

    It shows what `conv2d` computes for one filter: the products of kernel and window, their
    sum per channel, the bias and the total. The reader changes every setting in place.

    Parameters
    ----------
    input : (H, W) or (C, H, W) array of numbers, optional
        At most 4 channels of 12 x 12; `CAT_EYE` if not given.
    kernel : str or (kh, kw) or (C, kh, kw) array of numbers
        `"box"`, the name of a 3 x 3 kernel in `coursepkg.convolution.filters.FILTERS`, or values
        of at most 5 x 5. A single matrix serves all channels.
    bias : float
        Added to every output.
    stride, padding, dilation : int
        As in `conv2d`; at most 4, 3 and 3.

    Returns
    -------
    Explorer
        A figure that notebooks and pages show as HTML.

    Raises
    ------
    ValueError
        If an argument has the wrong rank or size, is not finite or is out of range, or if the
        window does not fit into the padded input.

    Examples
    --------
    >>> convolution2d(kernel="sharpen", stride=2)
    <Step through a 2-D convolution: input 3 × 7 × 7, kernel 3 × 3, output 3 × 3>
    """
    image = _planes("input", CAT_EYE if input is None else input, _LIMITS["size"])  # (C, H, W)
    weight = _kernel(kernel, len(image))  # (C, kh, kw)
    offset = _numbers("bias", bias, axes=(0,))
    settings = {
        "stride": _setting("stride", stride, 1),
        "padding": _setting("padding", padding, 0),
        "dilation": _setting("dilation", dilation, 1),
    }
    output = conv2d(
        image[None].astype(np.float64),  # (1, C, H, W)
        weight[None].astype(np.float64),  # (1, C, kh, kw)
        offset.reshape(1).astype(np.float64),
        **settings,
    )[0, 0]  # (H', W')
    shapes = (image.shape, weight.shape[1:], output.shape)
    return Explorer(
        package="coursepkg.convolution",
        name="convolution2d",
        title="Step through a 2-D convolution",
        start="input {}, kernel {}, output {}".format(*map(_times, shapes)),
        settings={
            "input": image.tolist(),
            "kernel": weight.tolist(),
            "bias": offset.item(),
            **settings,
            "kernels": _KERNELS,
            "limits": _LIMITS,
        },
        fallback=_tables(image, weight, output, {**settings, "bias": offset.item()}),
    )


def _tables(
    image: NDArray[Any], weight: NDArray[Any], output: NDArray[Any], settings: dict[str, float]
) -> str:
    words = ", ".join(f"{name} {number(value)}" for name, value in settings.items())
    tables = [table(plane, f"Input, channel {c + 1}") for c, plane in enumerate(image)]
    tables += [table(plane, f"Kernel, channel {c + 1}") for c, plane in enumerate(weight)]
    tables += [table(output, f"Output with {words}")]
    return f'<div class="ce-static">{"".join(tables)}</div>'


def _kernel(kernel: str | ArrayLike, channels: int) -> NDArray[Any]:
    if isinstance(kernel, str):
        if kernel not in _KERNELS:
            raise ValueError(f"kernel={kernel!r} is unknown; use one of {', '.join(_KERNELS)}")
        kernel = _KERNELS[kernel][0]
    planes = _planes("kernel", kernel, _LIMITS["kernel"])
    if np.ndim(kernel) == 2:
        planes = np.repeat(planes, channels, axis=0)  # (C, kh, kw)
    if len(planes) != channels:
        raise ValueError(
            f"kernel has {len(planes)} channels but input has {channels}; "
            f"pass one matrix for all channels or {channels} of them"
        )
    return planes


def _planes(name: str, value: ArrayLike, longest: int) -> NDArray[Any]:
    array = _numbers(name, value, axes=(2, 3))
    planes = array[None] if array.ndim == 2 else array  # (C, H, W)
    channels, height, width = planes.shape
    if not (1 <= height <= longest and 1 <= width <= longest):
        raise ValueError(
            f"{name} is {height} x {width}; crop or shrink it to between 1 x 1 "
            f"and {longest} x {longest}, which still fits a phone"
        )
    if not 1 <= channels <= _LIMITS["channels"]:
        raise ValueError(
            f"{name} has {channels} channels; use 1 to {_LIMITS['channels']}, as (C, H, W)"
        )
    return planes


def _numbers(name: str, value: ArrayLike, axes: tuple[int, ...]) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ValueError(f"{name} is ragged; give its rows equal lengths") from error
    if array.dtype.kind not in "iuf":
        raise ValueError(f"{name} has dtype {array.dtype}; pass integers or floats")
    if array.ndim not in axes:
        ranks = " or ".join({0: "a number", 2: "(H, W)", 3: "(C, H, W)"}[axis] for axis in axes)
        raise ValueError(f"{name} has shape {array.shape}; reshape it to {ranks}")
    wrong = array[~(np.abs(array.astype(float)) <= _LARGEST)]
    if wrong.size:
        raise ValueError(
            f"{name} contains {wrong.flat[0]}; replace or scale its values so that they lie "
            f"between -{_LARGEST} and {_LARGEST}"
        )
    return array


def _setting(name: str, value: int, minimum: int) -> int:
    if integer(name, value, minimum) > _LIMITS[name]:
        raise ValueError(f"{name}={value} is too large to draw; use at most {_LIMITS[name]}")
    return int(value)


def _times(shape: tuple[int, ...]) -> str:
    return " × ".join(map(str, shape))
