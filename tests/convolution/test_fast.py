r"""`fast` and `reference` against PyTorch over a table; then laws, blocks and bad input."""

import re
import tracemalloc
from itertools import product

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from coursepkg.convolution import fast, reference
from coursepkg.testing import assert_close, assert_gradient

NAMES = ("output", "grad_input", "grad_weight", "grad_bias")

# input (N, C_in, H, W), weight (C_out, C_in/groups, kh, kw), groups
SHAPES = [
    ((2, 2, 7, 7), (3, 2, 3, 3), 1),
    ((1, 3, 9, 6), (2, 3, 2, 3), 1),
    ((2, 4, 6, 9), (6, 2, 3, 2), 2),
    ((1, 3, 8, 7), (6, 1, 3, 3), 3),  # depthwise, two filters per channel
]
SETTINGS = [
    {"stride": stride, "padding": padding, "dilation": dilation}
    for stride, padding, dilation in product((1, 2, (2, 3)), (0, 1, (2, 1)), (1, 2, (2, 1)))
]
NAMED_PADDING = [
    ((2, 2, 7, 8), (3, 2, *kernel), {"padding": padding, "dilation": dilation})
    for kernel, padding, dilation in product(
        ((3, 3), (2, 4), (5, 2)), ("same", "valid"), (1, (1, 2))
    )
]
TABLE = [
    (x_shape, w_shape, {**settings, "groups": groups})
    for (x_shape, w_shape, groups), settings in product(SHAPES, SETTINGS)
] + NAMED_PADDING
SPECIAL = [
    ((2, 3, 5, 4), (4, 3, 1, 1), {}),  # a matrix product of its own
    ((2, 3, 5, 4), (4, 3, 1, 1), {"stride": 2, "padding": 1}),
    ((1, 2, 5, 4), (3, 2, 5, 4), {}),  # one place only
    ((1, 1, 1, 1), (1, 1, 1, 1), {}),
    ((1, 1, 2, 3), (1, 1, 1, 2), {"padding": (3, 4), "stride": (2, 3)}),  # windows of zeros only
]

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def arrays(x_shape, w_shape, dtype="float64"):
    r"""Return input, weight and bias; whole numbers if `dtype` is int64."""
    rng = np.random.default_rng((*x_shape, *w_shape))
    shapes = (x_shape, w_shape, w_shape[:1])
    return [(9 * rng.standard_normal(shape)).astype(dtype) for shape in shapes]


def gradient_like(output):
    r"""Return some gradient that may arrive at this output."""
    rng = np.random.default_rng(output.shape)
    return (9 * rng.standard_normal(output.shape)).astype(output.dtype)


def run(module, x, w, b, settings):
    r"""Return output and the three gradients by one of our two modules."""
    output = module.conv2d(x, w, b, **settings)
    return output, *module.conv2d_backward(gradient_like(output), x, w, **settings)


def run_torch(x, w, b, settings):
    r"""Return the same four by PyTorch."""
    leaves = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    output = F.conv2d(*leaves, **settings)
    grad = torch.from_numpy(gradient_like(output.detach().numpy()))
    return tuple(t.detach().numpy() for t in (output, *torch.autograd.grad(output, leaves, grad)))


def assert_all_close(got, expected):
    for name, one, other in zip(NAMES, got, expected, strict=True):
        assert_close(one, other, name)


def integers(*shape):
    r"""Hypothesis strategy: an int64 array, so that laws hold exactly."""
    size = int(np.prod(shape))
    entries = st.lists(st.integers(-20, 20), min_size=size, max_size=size)
    return entries.map(lambda e: np.array(e, np.int64).reshape(shape))


# --- three implementations, one table ---------------------------------------------------


@pytest.mark.parametrize(("x_shape", "w_shape", "settings"), TABLE + SPECIAL)
def test_reference_fast_and_torch_agree(x_shape, w_shape, settings):
    case = *arrays(x_shape, w_shape), settings
    expected = run_torch(*case)
    assert_all_close(run(fast, *case), expected)
    assert_all_close(run(reference, *case), expected)


@pytest.mark.parametrize(("x_shape", "w_shape", "settings"), TABLE + SPECIAL)
def test_fast_and_torch_agree_in_float32(x_shape, w_shape, settings):
    case = *arrays(x_shape, w_shape, "float32"), settings
    assert_all_close(run(fast, *case), run_torch(*case))


@pytest.mark.parametrize(("x_shape", "w_shape", "settings"), TABLE[::9] + SPECIAL)
def test_integers_stay_exact_integers(x_shape, w_shape, settings):
    case = *arrays(x_shape, w_shape, "int64"), settings
    got = run(fast, *case)
    assert {a.dtype for a in got} == {np.dtype(np.int64)}
    assert_all_close(got, run(reference, *case))


def test_a_layer_of_real_size_agrees_with_torch():
    case = *arrays((5, 16, 28, 27), (32, 16, 3, 3), "float32"), {"padding": 1}
    assert_all_close(run(fast, *case), run_torch(*case))


def test_bias_is_optional():
    x, w, _ = arrays((2, 2, 5, 4), (3, 2, 3, 2))
    assert_close(fast.conv2d(x, w), F.conv2d(torch.from_numpy(x), torch.from_numpy(w)).numpy())


@pytest.mark.parametrize(("x_shape", "w_shape", "settings"), TABLE[::5])
def test_gradients_match_central_differences(x_shape, w_shape, settings):
    x, w, b = arrays(x_shape, w_shape)
    grad = gradient_like(fast.conv2d(x, w, b, **settings))
    grad_x, grad_w, grad_b = fast.conv2d_backward(grad, x, w, **settings)

    def loss(x=x, w=w, b=b):
        return float(np.sum(grad * fast.conv2d(x, w, b, **settings)))

    assert_gradient(lambda v: loss(x=v), x, grad_x, "grad_input")
    assert_gradient(lambda v: loss(w=v), w, grad_w, "grad_weight")
    assert_gradient(lambda v: loss(b=v), b, grad_b, "grad_bias")


# --- im2col and col2im -------------------------------------------------------------------

WINDOWS = [
    ((2, 3, 7, 6), {"kernel": (3, 2)}),
    ((1, 2, 9, 8), {"kernel": 3, "stride": (2, 3)}),
    ((2, 1, 9, 10), {"kernel": (2, 3), "dilation": (3, 2), "stride": (1, 2)}),
    ((1, 2, 3, 4), {"kernel": 1}),
    ((0, 2, 3, 4), {"kernel": 2}),
]


@pytest.mark.parametrize(("shape", "window"), WINDOWS)
def test_im2col_and_col2im_are_unfold_and_fold(shape, window):
    names = {"kernel": "kernel_size", "stride": "stride", "dilation": "dilation"}
    torch_window = {names[k]: v for k, v in window.items()}
    x, _, _ = arrays(shape, (1,))
    expected = F.unfold(torch.from_numpy(x), **torch_window)
    cols = fast.im2col(x, **window)
    assert_close(cols, expected.numpy())
    folded = F.fold(expected, shape[2:], **torch_window)
    assert_close(fast.col2im(cols, shape[2:], **window), folded.numpy())


@pytest.mark.parametrize("dtype", ["float32", "int64"])
def test_im2col_and_col2im_keep_the_dtype(dtype):
    cols = fast.im2col(np.ones((1, 2, 4, 5), dtype), kernel=2)
    assert cols.dtype == fast.col2im(cols, (4, 5), kernel=2).dtype == dtype


@pytest.mark.parametrize(("shape", "window"), WINDOWS)
def test_im2col_copies(shape, window):
    x, _, _ = arrays(shape, (1,))
    assert not np.shares_memory(fast.im2col(x, **window), x)


@given(integers(1, 2, 5, 6), st.data())
def test_col2im_is_the_transpose_of_im2col(x, data):
    window = {
        "kernel": data.draw(st.tuples(st.integers(1, 2), st.integers(1, 3))),
        "stride": data.draw(st.integers(1, 3)),
        "dilation": data.draw(st.integers(1, 2)),
    }
    cols = fast.im2col(x, **window)
    y = data.draw(integers(*cols.shape))
    assert np.sum(cols * y) == np.sum(x * fast.col2im(y, x.shape[2:], **window))


# --- laws --------------------------------------------------------------------------------

settings_strategy = st.fixed_dictionaries(
    {
        "stride": st.sampled_from([1, 2, (1, 3)]),
        "padding": st.sampled_from([0, 1, (0, 2)]),
        "dilation": st.sampled_from([1, (1, 2)]),
        "groups": st.sampled_from([1, 2]),
    }
)


def weights(settings, c_out=4, c_in=2):
    return integers(c_out, c_in // settings["groups"], 2, 3)


@given(settings_strategy, integers(1, 2, 4, 6), integers(1, 2, 4, 6), st.data())
def test_linear_in_the_input(settings, x, y, data):
    w = data.draw(weights(settings))
    together = fast.conv2d(3 * x - 2 * y, w, **settings)
    apart = 3 * fast.conv2d(x, w, **settings) - 2 * fast.conv2d(y, w, **settings)
    assert_close(together, apart)


@given(settings_strategy, integers(1, 2, 4, 6), st.data())
def test_linear_in_the_weight(settings, x, data):
    v, w = data.draw(weights(settings)), data.draw(weights(settings))
    together = fast.conv2d(x, 3 * v - 2 * w, **settings)
    apart = 3 * fast.conv2d(x, v, **settings) - 2 * fast.conv2d(x, w, **settings)
    assert_close(together, apart)


@given(integers(1, 1, 7, 9), integers(2, 1, 2, 3), st.integers(0, 2), st.integers(0, 2))
def test_shifting_the_input_shifts_the_output(x, w, down, right):
    stride = (2, 3)
    shifted = x[:, :, 2 * down :, 3 * right :]
    whole = fast.conv2d(x, w, stride=stride)
    assert_close(fast.conv2d(shifted, w, stride=stride), whole[:, :, down:, right:])


@given(settings_strategy, integers(2, 2, 4, 6), integers(4), st.data())
def test_backward_is_the_transpose_of_forward(settings, x, b, data):
    w = data.draw(weights(settings))
    product = fast.conv2d(x, w, **settings)  # linear in x and in w
    y = data.draw(integers(*product.shape))
    grad_x, grad_w, grad_b = fast.conv2d_backward(y, x, w, **settings)
    assert np.sum(product * y) == np.sum(x * grad_x) == np.sum(w * grad_w)
    assert np.sum(fast.conv2d(x, w, b, **settings) * y) == np.sum(product * y) + np.sum(b * grad_b)


# --- blocks of the batch ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("images", "blocks"), [(0.5, [1] * 5), (1, [1] * 5), (2.5, [2, 2, 1]), (5, [5]), (99, [5])]
)
def test_blocks_hold_as_many_images_as_fit(monkeypatch, images, blocks):
    x, w, b = arrays((5, 4, 6, 7), (6, 2, 3, 2))
    settings = {"groups": 2, "stride": (1, 2), "padding": 1}
    expected = run_torch(x, w, b, settings)
    columns_of_an_image = x.itemsize * (4 * 3 * 2) * (6 * 4)  # C*kh*kw rows, H'*W' columns
    seen = []

    def recording_im2col(block, *window):
        seen.append(len(block))
        return im2col(block, *window)

    im2col = fast.im2col
    monkeypatch.setattr(fast, "im2col", recording_im2col)
    monkeypatch.setattr(fast, "BLOCK", int(images * columns_of_an_image))
    assert_all_close(run(fast, x, w, b, settings), expected)
    assert seen == 2 * blocks  # forward, then backward


def test_the_columns_of_the_batch_are_never_all_in_memory():
    x, w, b = arrays((64, 4, 24, 24), (2, 4, 5, 5), "float32")
    all_columns = x.itemsize * 64 * (4 * 5 * 5) * (20 * 20)
    tracemalloc.start()
    run(fast, x, w, b, {})
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < all_columns / 2


@pytest.mark.parametrize("module", [fast, reference])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_empty_batch(module, dtype):
    x, w, b = arrays((0, 4, 5, 6), (6, 2, 3, 2), dtype)
    got = run(module, x, w, b, {"groups": 2, "stride": 2})
    shapes = (0, 6, 2, 3), x.shape, w.shape, b.shape
    assert_all_close(got, [np.zeros(shape, dtype) for shape in shapes])


# --- the arguments -------------------------------------------------------------------------


def test_arguments_are_not_written_to():
    x, w, b = arrays((2, 3, 5, 4), (4, 3, 1, 1))
    for kernel in (w, np.tile(w, (1, 1, 3, 2))):
        copies = [a.copy() for a in (x, kernel, b)]
        results = run(fast, x, kernel, b, {})
        for argument, copy in zip((x, kernel, b), copies, strict=True):
            assert_close(argument, copy)
            assert not any(np.shares_memory(argument, result) for result in results)


def test_read_only_arguments_are_accepted():
    x, w, b = arrays((2, 3, 5, 4), (4, 3, 3, 2))
    expected = run(fast, x, w, b, {"padding": 1})
    for argument in (x, w, b):
        argument.flags.writeable = False
    assert_all_close(run(fast, x, w, b, {"padding": 1}), expected)


LAYOUTS = {
    "transposed": lambda a: a.T.copy().T,
    "channels last": lambda a: np.moveaxis(np.moveaxis(a, 1, -1).copy(), -1, 1),
    "every other": lambda a: np.repeat(a, 2, axis=-1)[..., ::2],
    "backwards": lambda a: a[..., ::-1].copy()[..., ::-1],
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout_does_not_matter(layout):
    x, w, b = arrays((3, 4, 6, 5), (6, 2, 3, 2))
    settings = {"groups": 2, "padding": 1, "stride": (1, 2)}
    output, *gradients = run(fast, x, w, b, settings)
    scattered = LAYOUTS[layout]
    x_, w_, grad = scattered(x), scattered(w), scattered(gradient_like(output))
    assert not x_.flags.c_contiguous
    assert not grad.flags.c_contiguous
    assert_close(fast.conv2d(x_, w_, np.repeat(b, 2)[::2], **settings), output)
    assert_all_close(
        (output, *fast.conv2d_backward(grad, x_, w_, **settings)), (output, *gradients)
    )


X, W, B = np.ones((2, 4, 5, 6)), np.ones((6, 2, 3, 3)), np.ones(6)
BAD = [
    ({"input": X[0]}, "input has shape (4, 5, 6)"),
    ({"weight": W[0]}, "weight has shape (2, 3, 3)"),
    ({"input": X[:, :3]}, "input has 3 channels"),
    ({"groups": 1}, "input has 4 channels"),
    ({"weight": W[:5], "bias": B[:5]}, "groups=2 does not divide"),
    ({"groups": 0}, "groups=0 "),
    ({"weight": np.ones((6, 2, 7, 3))}, "kernel=7 with dilation=1 spans 7 "),
    ({"dilation": (1, 3)}, "kernel=3 with dilation=3 spans 7 "),
    ({"dilation": 0}, "dilation=0 "),
    ({"stride": 0}, "stride=0 "),
    ({"stride": (1, -2)}, "stride=-2 "),
    ({"stride": 1.5}, "stride=1.5 "),
    ({"stride": (1, 2, 3)}, "stride=(1, 2, 3) "),
    ({"padding": -1}, "padding=-1 "),
    ({"padding": "full"}, "padding='full' "),
    ({"padding": "same", "stride": 2}, "padding='same' needs stride=1 "),
    ({"input": X.astype("float16")}, "input has dtype float16"),
    ({"weight": W.astype("float32")}, "weight is float32 but input is float64"),
    ({"input": X.tolist()}, "input is a list"),
]
BAD_BIAS = [
    ({"bias": B[:5]}, "bias has shape (5,)"),
    ({"bias": B.astype("float32")}, "bias is float32"),
]
BAD_GRAD = [
    ({"grad": np.ones((2, 6, 3, 3))}, "grad has shape (2, 6, 3, 3)"),
    ({"grad": np.ones((2, 6, 12))}, "grad has shape (2, 6, 12)"),
    ({"grad": np.ones((2, 6, 3, 4), "float32")}, "grad is float32"),
]


@pytest.mark.parametrize(("change", "message"), BAD + BAD_BIAS)
def test_forward_refuses_bad_arguments(change, message):
    arguments = {"input": X, "weight": W, "bias": B, "groups": 2} | change
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        fast.conv2d(**arguments)


@pytest.mark.parametrize(("change", "message"), BAD + BAD_GRAD)
def test_backward_refuses_bad_arguments(change, message):
    change = {k: v for k, v in change.items() if k != "bias"}
    arguments = {"grad": np.ones((2, 6, 3, 4)), "input": X, "weight": W, "groups": 2} | change
    with pytest.raises(ValueError, match=f"^{re.escape(message)}"):
        fast.conv2d_backward(**arguments)


@pytest.mark.parametrize(
    ("function", "arguments", "message"),
    [
        (
            fast.im2col,
            {"input": X[0], "kernel": 2},
            "input has shape (4, 5, 6); pass an array with the axes (N, C, H, W)",
        ),
        (
            fast.im2col,
            {"input": X, "kernel": (2, 7)},
            "kernel=7 with dilation=1 spans 7 but the padded input has 6; "
            "add padding or shrink the kernel",
        ),
        (
            fast.im2col,
            {"input": X, "kernel": 0},
            "kernel=0 is too small; use an integer of at least 1",
        ),
        (
            fast.col2im,
            {"cols": np.ones((2, 6, 8)), "size": (3, 5), "kernel": (1, 2)},
            "cols has shape (2, 6, 8) but a 1 by 2 kernel has 12 places in size=(3, 5); "
            "pass shape (N, C*2, 12)",
        ),
        (
            fast.col2im,
            {"cols": np.ones((2, 7, 12)), "size": (3, 5), "kernel": (1, 2)},
            "cols has shape (2, 7, 12) but a 1 by 2 kernel has 12 places in size=(3, 5); "
            "pass shape (N, C*2, 12)",
        ),
        (
            fast.col2im,
            {"cols": np.ones((6, 12)), "size": (3, 5), "kernel": (1, 2)},
            "cols has shape (6, 12); pass an array with the axes (N, C*kh*kw, H'*W')",
        ),
        (
            fast.im2col,
            {"input": [[1]], "kernel": 2},
            "input is a list; pass a NumPy array (np.asarray)",
        ),
        (
            fast.im2col,
            {"input": X.astype("uint8"), "kernel": 2},
            "input has dtype uint8, in which sums overflow or round badly; "
            "convert it with .astype to one of float32, float64, int64",
        ),
        (
            fast.col2im,
            {"cols": [[1]], "size": (3, 5), "kernel": (1, 2)},
            "cols is a list; pass a NumPy array (np.asarray)",
        ),
        (
            fast.col2im,
            {"cols": np.ones((2, 6, 12)), "size": (2, 3, 5), "kernel": (1, 2)},
            "size=(2, 3, 5) has 3 entries; use an integer or (height, width)",
        ),
        (
            fast.col2im,
            {"cols": np.ones((2, 6, 12)), "size": (0, 5), "kernel": (1, 2)},
            "size=0 is too small; use an integer of at least 1",
        ),
    ],
)
def test_im2col_and_col2im_refuse_bad_arguments(function, arguments, message):
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        function(**arguments)


# --- one axis ---------------------------------------------------------------------------

SETTINGS_1D = [*product((1, 2, 3), (0, 2), (1, 2), (1, 2)), (1, "same", 1, 1), (1, "valid", 2, 2)]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", SETTINGS_1D, ids=str)
def test_conv1d_and_its_gradients_equal_torch(settings, dtype):
    x, w, b = (
        gradient_like(np.empty(shape, dtype)) + i
        for i, shape in enumerate([(2, 4, 9), (6, 4 // settings[3], 3), (6,)])
    )
    tensors = [torch.tensor(a, requires_grad=True) for a in (x, w, b)]
    output = F.conv1d(*tensors, *settings)
    grad = gradient_like(output.detach().numpy())
    output.backward(torch.from_numpy(grad))
    assert_close(fast.conv1d(x, w, b, *settings), output.detach().numpy())
    assert_close(fast.conv1d(x, w, b, *settings), reference.conv1d(x, w, b, *settings))
    gradients = fast.conv1d_backward(grad, x, w, *settings)
    assert_close(gradients, tuple(t.grad.numpy() for t in tensors))


@pytest.mark.parametrize("name", ["grad", "input", "weight"])
def test_conv1d_wants_three_axes(name):
    arguments = {key: np.ones((1, 1, 3)) for key in ("grad", "input", "weight")}
    arguments |= {"grad": np.ones((1, 1, 1)), name: np.ones((3, 3))}
    with pytest.raises(
        ValueError, match=rf"^{name} has shape \(3, 3\); pass an array with the axes"
    ):
        fast.conv1d_backward(**arguments)
    if name != "grad":
        del arguments["grad"]
        with pytest.raises(ValueError, match=rf"^{name} has shape \(3, 3\); pass an array"):
            fast.conv1d(**arguments)


def test_conv1d_names_the_setting_that_is_wrong():
    x = np.ones((1, 1, 4))
    with pytest.raises(ValueError, match=r"^stride=0 is too small"):
        fast.conv1d(x, x, stride=0)
    with pytest.raises(ValueError, match=r"^grad has shape"):
        fast.conv1d_backward(x, x, x)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        (
            {"weight": np.ones((4, 3, 3))},
            "input has 2 channels but weight (4, 3, 3) with groups=1 expects 3; "
            "change the input's channels, the weight or groups",
        ),
        (
            {"weight": np.ones((4, 0, 3))},
            "weight has shape (4, 0, 3); it needs at least one channel",
        ),
        (
            {"input": np.ones((1, 2, 0))},
            "input has shape (1, 2, 0); give it a length of at least 1",
        ),
        ({"groups": 1.5}, "groups=1.5 is not an integer; use an integer of at least 1"),
        ({"stride": (1, 2)}, "stride=(1, 2) is not an integer; use an integer of at least 1"),
    ],
)
def test_messages_of_conv1d_speak_of_one_axis(changed, message):
    arguments = {"input": np.ones((1, 2, 5)), "weight": np.ones((4, 2, 3))} | changed
    for function in (fast.conv1d, reference.conv1d):
        with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
            function(**arguments)
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        fast.conv1d_backward(np.ones((1, 4, 3)), **arguments)


def test_a_gradient_of_conv1d_is_compared_along_one_axis():
    message = r"^grad has shape \(1, 4, 5\) where \(1, 4, 3\) is needed; pass the gradient of the"
    with pytest.raises(ValueError, match=message):
        fast.conv1d_backward(np.ones((1, 4, 5)), np.ones((1, 2, 5)), np.ones((4, 2, 3)))


def test_conv1d_takes_tuples_of_one_as_torch_does():
    x, w, _ = arrays((2, 3, 9), (4, 3, 2))
    settings = {"stride": (2,), "padding": (1,), "dilation": (3,)}
    expected = F.conv1d(torch.from_numpy(x), torch.from_numpy(w), **settings).numpy()
    assert_close(fast.conv1d(x, w, **settings), expected)
    assert_close(reference.conv1d(x, w, **settings), expected)
