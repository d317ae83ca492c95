r"""A convolution that learns: forward and backward

To learn, a layer must know how the loss changes with each of its numbers. Write the class
`Conv2d`: it is given its weights, `forward` convolves, and `backward` takes the gradient of
the loss with respect to the output and turns it into three others.

All three follow from one sentence: *the output is a sum of products of a pixel and a weight, and
a product hands the gradient that it receives to each factor, multiplied by the other.*

1. `forward(input)` returns the output, (N, C_out, H', W'), and remembers what `backward` needs.
2. `backward(grad)` returns the gradient with respect to the input. A pixel under several
   windows adds up what each of them hands it. What falls on the padding is thrown away.
3. It also sets `grad_weight`. A weight is used at every place of every image: add up over all.
4. And it sets `grad_bias`, with one number for each filter; None if the layer has no bias.

Each of the four gives points by itself, with stride 1 and no padding; stride, padding, dilation
and groups come in cases of their own. `stride`, `padding` and `dilation` are integers here.
A second round of `forward` and `backward` starts afresh: its gradients replace the first ones.
Neither the weights nor the arguments are changed.

The cases do with your class just this:

```python
layer = Conv2d(weight, bias, **options)
if twice:
    layer.forward(2 * input)
    layer.backward(grad)
output = layer.forward(input)
grad_input = layer.backward(grad)
```

and look at `output`, `grad_input`, `layer.grad_weight` and `layer.grad_bias`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from coursepkg.convolution import fast
from coursepkg.convolution import reference as loops
from coursepkg.convolution.exercises.conv2d import FORBID
from coursepkg.convolution.exercises.conv2d import oracle as convolved
from coursepkg.convolution.layers import Conv2d
from coursepkg.grading import Case

__all__ = ["FORBID", "PUBLIC", "WRONG", "driver", "hidden", "oracle", "reference"]

points = {
    "output": 1,
    "grad_input": 3,
    "grad_weight": 2,
    "grad_bias": 1,
    "stride": 1,
    "padding": 1,
    "dilation": 1,
    "groups": 1,
    "twice": 1,
    "float32": 1,
}
environment = "numpy"
seconds = 5.0
reference = Conv2d
shown = (loops.conv2d_backward,)  # the loops, where the solution calls the fast version


def driver(Answer, weight, bias, input, grad, twice=False, **options):
    layer = Answer(weight, bias, **options)
    if twice:
        layer.forward(2 * input)
        layer.backward(grad)
    yield "output", layer.forward(input)
    yield "grad_input", layer.backward(grad)
    yield "grad_weight", layer.grad_weight
    yield "grad_bias", layer.grad_bias


def oracle(
    weight: NDArray[Any],
    bias: NDArray[Any] | None,
    input: NDArray[Any],
    grad: NDArray[Any],
    twice: bool = False,
    **options: Any,
) -> dict[str, Any]:
    r"""Differentiate by definition: the output is linear in each pixel and in each weight.

    So its derivative with respect to one of them is the convolution of a unit image, or with a
    unit filter.
    """
    images = np.eye(input[0].size, dtype=input.dtype).reshape(-1, *input.shape[1:])
    filters = np.eye(weight.size, dtype=weight.dtype).reshape(-1, *weight.shape)
    by_pixel = convolved(images, weight, **options)  # (C*H*W, C_out, H', W')
    by_weight = [convolved(input, unit, **options) for unit in filters]  # each (N, C_out, H', W')
    return {
        "output": convolved(input, weight, bias, **options),
        "grad_input": np.tensordot(grad, by_pixel, [(1, 2, 3)] * 2).reshape(input.shape),
        "grad_weight": np.array([np.sum(grad * d) for d in by_weight]).reshape(weight.shape),
        "grad_bias": None if bias is None else np.einsum("nohw->o", grad),
    }


def _image(*rows: list[float]) -> NDArray[Any]:
    return np.array([[rows]], dtype=np.float64)


ROW = {
    "weight": _image([1, 10]),
    "bias": np.array([0.5]),
    "input": _image([1, 2, 3]),
    "grad": _image([1, 2]),
}
ROW_RESULTS = {
    "output": _image([21.5, 32.5]),
    "grad_input": _image([1, 12, 20]),
    "grad_weight": _image([5, 8]),
    "grad_bias": np.array([3.0]),
}

PUBLIC = (
    Case("", ROW, ROW_RESULTS),
    Case("", ROW | {"bias": None}, ROW_RESULTS | {"output": _image([21, 32]), "grad_bias": None}),
    Case(
        "stride",
        ROW | {"input": _image([1, 2, 3, 4]), "stride": 2},
        {
            "output": _image([21.5, 43.5]),
            "grad_input": _image([1, 10, 2, 20]),
            "grad_weight": _image([7, 10]),
            "grad_bias": np.array([3.0]),
        },
    ),
    Case(
        "padding",
        ROW | {"input": _image([5]), "grad": _image([1, 2], [3, 4], [5, 6]), "padding": 1},
        {
            "output": _image([0.5, 0.5], [50.5, 5.5], [0.5, 0.5]),
            "grad_input": _image([34]),
            "grad_weight": _image([20, 15]),
            "grad_bias": np.array([21.0]),
        },
    ),
    Case(
        "dilation",
        ROW | {"grad": _image([2]), "dilation": 2},
        {
            "output": _image([31.5]),
            "grad_input": _image([2, 0, 20]),
            "grad_weight": _image([2, 6]),
            "grad_bias": np.array([2.0]),
        },
    ),
    Case(
        "groups",
        {
            "weight": np.array([[[[1.0]]], [[[10.0]]]]),
            "bias": np.array([0.5, 0.0]),
            "input": np.array([[[[3.0]], [[4.0]]]]),
            "grad": np.array([[[[1.0]], [[2.0]]]]),
            "groups": 2,
        },
        {
            "output": np.array([[[[3.5]], [[40.0]]]]),
            "grad_input": np.array([[[[1.0]], [[20.0]]]]),
            "grad_weight": np.array([[[[3.0]]], [[[8.0]]]]),
            "grad_bias": np.array([1.0, 2.0]),
        },
    ),
    Case("twice", ROW | {"twice": True}, ROW_RESULTS),
    Case(
        "float32",
        {name: value.astype(np.float32) for name, value in ROW.items()},
        {name: value.astype(np.float32) for name, value in ROW_RESULTS.items()},
    ),
)


def hidden(rng: np.random.Generator) -> Iterator[Case]:
    r"""Yield batches of small images of odd shapes, with integer values: every sum is exact."""
    for group in ("", "stride", "padding", "dilation", "groups", "twice", "float32"):
        for _ in range(4):
            inputs = _inputs(rng, group)
            yield Case(group, inputs, oracle(**inputs))


def _inputs(rng: np.random.Generator, group: str) -> dict[str, Any]:
    options: dict[str, Any] = {}
    if group in ("stride", "padding", "dilation", "groups"):
        options[group] = int(rng.integers(1 if group == "padding" else 2, 4))
    groups = options.get("groups", 1)
    n, c, o = (int(v) for v in rng.integers(2, 4, 3))
    kernel = rng.integers(1, 4, 2)
    size = options.get("dilation", 1) * (kernel - 1) + 1 + rng.integers(1, 4, 2)

    def values(*shape: int) -> NDArray[Any]:
        return rng.integers(-5, 6, shape).astype("float32" if group == "float32" else "float64")

    weight, input = values(groups * o, c, *kernel), values(n, groups * c, *size)
    grad = values(*convolved(input, weight, **options).shape)
    inputs = {"weight": weight, "bias": values(groups * o), "input": input, "grad": grad}
    return inputs | options | ({"twice": True} if group == "twice" else {})


class output_without_bias(Conv2d):
    """Your `forward` forgets the bias: add `bias[o]` to all of output channel o."""

    def forward(self, input):
        self.input = input
        return fast.conv2d(input, self.weight, None, *self.settings)


class kernel_flipped(Conv2d):
    """Your `forward` flips the kernel, which deep learning does not do: the first tap lies on
    the first pixel of the window.
    """

    def forward(self, input):
        self.input = input
        return fast.conv2d(input, self.weight[:, :, ::-1, ::-1], self.bias, *self.settings)


class nothing_returned(Conv2d):
    """Your `backward` keeps its result to itself. It returns the gradient with respect to the
    input; the layer below needs it.
    """

    def backward(self, grad):
        super().backward(grad)


class all_three_returned(Conv2d):
    """Your `backward` returns a tuple. It returns the gradient with respect to the input alone
    and sets the others as `self.grad_weight` and `self.grad_bias`.
    """

    def backward(self, grad):
        return super().backward(grad), self.grad_weight, self.grad_bias


class input_gradient_with_flipped_kernel(Conv2d):
    """In your gradient with respect to the input each pixel meets the wrong weight: the kernel is
    turned by 180 degrees. In a loop over the windows, add grad * weight as it lies; if you
    convolve `grad` with the kernel instead, turn the kernel once.
    """

    def backward(self, grad):
        super().backward(grad)
        turned = self.weight[:, :, ::-1, ::-1]
        return fast.conv2d_backward(grad, self.input, turned, *self.settings)[0]


class overlaps_overwritten(Conv2d):
    """Where windows overlap, a pixel gets a share from each of them. Yours keeps only the last:
    use `+=`, not `=`.
    """

    def backward(self, grad):
        super().backward(grad)
        grad_input = np.zeros_like(self.input)
        for place in np.ndindex(grad.shape):
            one = np.zeros_like(grad)
            one[place] = 1
            share = _input_gradient(self, one)
            touched = _input_gradient(self, one, np.ones_like(self.weight)) != 0
            grad_input[touched] = grad[place] * share[touched]
        return grad_input


class input_gradient_from_first_filter(Conv2d):
    """Your gradient with respect to the input comes from one filter alone. Every filter has seen
    the pixel: add up over the output channels.
    """

    def backward(self, grad):
        super().backward(grad)
        return _input_gradient(self, grad * (np.arange(grad.shape[1]) == 0)[:, None, None])


class padding_not_cropped(Conv2d):
    """Your gradient with respect to the input has the shape of the padded image. Cut off what
    fell on the padding.
    """

    def backward(self, grad):
        super().backward(grad)
        stride, padding, dilation, groups = self.settings
        padded = np.pad(self.input, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        return fast.conv2d_backward(grad, padded, self.weight, stride, 0, dilation, groups)[0]


class padding_cropped_at_one_end(Conv2d):
    """You cut the padding off at the wrong end, or all of it at one end: the image begins
    `padding` pixels below the top and right of the left edge.
    """

    def backward(self, grad):
        super().backward(grad)
        stride, padding, dilation, groups = self.settings
        padded = np.pad(self.input, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
        whole = fast.conv2d_backward(grad, padded, self.weight, stride, 0, dilation, groups)[0]
        height, width = self.input.shape[2:]
        return whole[:, :, :height, :width]


class stride_forgotten_in_backward(Conv2d):
    """Your `forward` moves by `stride`, but `backward` puts the gradients back as if the stride
    were 1. Output row i belongs to the window that begins at row i * stride.
    """

    def backward(self, grad):
        super().backward(grad)
        _, padding, dilation, groups = self.settings
        every = fast.conv2d(self.input, self.weight, None, 1, padding, dilation, groups)
        spread = np.zeros_like(every)
        spread[:, :, : grad.shape[2], : grad.shape[3]] = grad
        grad_input, self.grad_weight, _ = fast.conv2d_backward(
            spread, self.input, self.weight, 1, padding, dilation, groups
        )
        return grad_input


class weight_gradient_flipped(Conv2d):
    """Your gradient with respect to the weight is turned by 180 degrees. Tap (a, b) has met the
    pixel a rows and b columns into each window; nothing is flipped.
    """

    def backward(self, grad):
        grad_input = super().backward(grad)
        self.grad_weight = self.grad_weight[:, :, ::-1, ::-1]
        return grad_input


class weight_gradient_averaged(Conv2d):
    """You divide the gradient with respect to the weight by the size of the batch. If the loss is
    a mean, `grad` has been divided already: add up.
    """

    def backward(self, grad):
        grad_input = super().backward(grad)
        self.grad_weight = self.grad_weight / len(grad)
        return grad_input


class last_image_only(Conv2d):
    """Your gradient with respect to the weight comes from the last image alone: `=` where it must
    be `+=`. Every image has used the weight.
    """

    def backward(self, grad):
        grad_input = super().backward(grad)
        last = fast.conv2d_backward(grad[-1:], self.input[-1:], self.weight, *self.settings)
        self.grad_weight = last[1]
        return grad_input


class bias_gradient_missing(Conv2d):
    """`grad_bias` is still None, though the layer has a bias. It is added to every place of its
    channel, so its gradient is the sum of `grad` there, over the batch too.
    """

    def backward(self, grad):
        grad_input = super().backward(grad)
        self.grad_bias = None
        return grad_input


class bias_gradient_averaged(Conv2d):
    """You average the gradient of the bias over places or images. It is a sum: the bias has been
    added at every one of them.
    """

    def backward(self, grad):
        grad_input = super().backward(grad)
        self.grad_bias = None if self.bias is None else grad.mean(axis=(0, 2, 3))
        return grad_input


class bias_gradient_of_each_image(Conv2d):
    """Your `grad_bias` has a row for each image. One bias serves the whole batch: add up over
    axis 0 as well.
    """

    def backward(self, grad):
        grad_input = super().backward(grad)
        self.grad_bias = None if self.bias is None else grad.sum(axis=(2, 3))
        return grad_input


class bias_gradient_of_each_place(Conv2d):
    """Your `grad_bias` has one number for each place. One bias serves all rows and columns: add up
    over axes 0, 2 and 3.
    """

    def backward(self, grad):
        grad_input = super().backward(grad)
        self.grad_bias = None if self.bias is None else grad.sum(axis=0)
        return grad_input


class bias_gradient_without_bias(Conv2d):
    """A layer without bias has no gradient for it: leave `grad_bias` at None there."""

    def backward(self, grad):
        grad_input = super().backward(grad)
        self.grad_bias = grad.sum(axis=(0, 2, 3))
        return grad_input


class gradients_accumulated(Conv2d):
    """Your second `backward` adds to the gradients of the first. PyTorch does that too; here each
    call starts afresh, from zeros.
    """

    def backward(self, grad):
        before = self.grad_weight, self.grad_bias
        grad_input = super().backward(grad)
        if before[0] is not None:
            self.grad_weight = self.grad_weight + before[0]
            self.grad_bias = self.grad_bias + before[1]
        return grad_input


class first_input_remembered(Conv2d):
    """Your layer keeps the input of its first `forward` for ever. `backward` belongs to the latest
    one.
    """

    def forward(self, input):
        first = input if self.input is None else self.input
        output = super().forward(input)
        self.input = first
        return output


class weight_updated(Conv2d):
    """You change the weights inside `backward`. It only computes gradients; what to do with them
    is the optimiser's business.
    """

    def backward(self, grad):
        grad_input = super().backward(grad)
        self.weight -= 0.1 * self.grad_weight
        return grad_input


class grad_scaled_in_place(Conv2d):
    """You change the array `grad` that you were given: `*=`, `/=` and `+=` write into it. The
    caller may still need it; make a new array.
    """

    def backward(self, grad):
        grad_input = super().backward(grad)
        grad *= 2
        return grad_input


class float64_gradients(Conv2d):
    """Your gradients are float64 where the input is float32: `np.zeros` gives float64 unless told
    otherwise. `np.zeros_like` keeps shape and dtype.
    """

    def backward(self, grad):
        grad_input = super().backward(grad).astype(np.float64)
        self.grad_weight = self.grad_weight.astype(np.float64)
        return grad_input


def _input_gradient(layer, grad, weight=None):
    weight = layer.weight if weight is None else weight
    return fast.conv2d_backward(grad, layer.input, weight, *layer.settings)[0]


WRONG = (
    output_without_bias,
    kernel_flipped,
    nothing_returned,
    all_three_returned,
    input_gradient_with_flipped_kernel,
    overlaps_overwritten,
    input_gradient_from_first_filter,
    padding_not_cropped,
    padding_cropped_at_one_end,
    stride_forgotten_in_backward,
    weight_gradient_flipped,
    weight_gradient_averaged,
    last_image_only,
    bias_gradient_missing,
    bias_gradient_averaged,
    bias_gradient_of_each_image,
    bias_gradient_of_each_place,
    bias_gradient_without_bias,
    gradients_accumulated,
    first_input_remembered,
    weight_updated,
    grad_scaled_in_place,
    float64_gradients,
)
