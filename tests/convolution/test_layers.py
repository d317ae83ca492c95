"""The layers against PyTorch, step after step, and against central differences."""

import numpy as np
import pytest
import torch

from coursepkg.convolution import layers
from coursepkg.convolution.dropout import dropout
from coursepkg.convolution.layers import BatchNorm2d, Conv2d, Dropout, Flatten, Pad2d
from coursepkg.testing import assert_close, assert_gradient

SETTINGS = [
    {},
    {"stride": 2},
    {"padding": (1, 2)},
    {"dilation": (2, 1)},
    {"groups": 2},
    {"padding": "same"},
    {"stride": (2, 3), "padding": 2, "dilation": 2, "groups": 2},
]


def weights(dtype="float64", groups=1, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(4, 4 // groups, 3, 5)).astype(dtype), rng.normal(size=4).astype(dtype)


def images(seed, dtype="float64"):
    return np.random.default_rng(seed).normal(size=(3, 4, 7, 9)).astype(dtype)


def ours(layer, input):
    output = layer.forward(input)
    grad_input = layer.backward(np.cos(output))  # the gradient of sum(sin(output))
    return output, grad_input, layer.grad_weight, layer.grad_bias


def theirs(weight, bias, input, settings):
    x, w, b = (torch.tensor(a, requires_grad=True) for a in (input, weight, bias))
    output = torch.nn.functional.conv2d(x, w, b, **settings)
    torch.sin(output).sum().backward()
    return tuple(t.detach().numpy() for t in (output, x.grad, w.grad, b.grad))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_output_and_gradients_are_pytorchs_in_every_step(settings, dtype):
    weight, bias = weights(dtype, settings.get("groups", 1))
    layer = Conv2d(weight, bias, **settings)
    for seed in (1, 2):
        input = images(seed, dtype)
        assert_close(ours(layer, input), theirs(weight, bias, input, settings))


def test_gradients_are_those_of_central_differences():
    weight, bias = weights()
    input = images(1)[:1]

    def loss(**changed):
        values = {"weight": weight, "bias": bias, "input": input} | changed
        layer = Conv2d(values["weight"], values["bias"], stride=2, padding=1)
        return float(np.sin(layer.forward(values["input"])).sum())

    layer = Conv2d(weight, bias, stride=2, padding=1)
    _, grad_input, grad_weight, grad_bias = ours(layer, input)
    assert_gradient(lambda w: loss(weight=w), weight, grad_weight)
    assert_gradient(lambda b: loss(bias=b), bias, grad_bias)
    assert_gradient(lambda x: loss(input=x), input, grad_input)


def test_without_bias_there_is_no_gradient_for_it():
    weight, bias = weights()
    layer = Conv2d(weight)
    output, grad_input, grad_weight, grad_bias = ours(layer, images(1))
    assert grad_bias is None
    zero = theirs(weight, np.zeros_like(bias), images(1), {})
    assert_close((output, grad_input, grad_weight), zero[:3])


def test_weights_and_arguments_are_left_alone():
    weight, bias = weights()
    input = images(1)
    before = [a.copy() for a in (weight, bias, input)]
    layer = Conv2d(weight, bias)
    ours(layer, input)
    assert layer.weight is weight
    assert layer.bias is bias
    assert_close([weight, bias, input], before)


def test_a_step_against_the_gradient_lowers_the_loss():
    layer = Conv2d(*weights(), padding=1)
    input, losses = images(1), []
    for _ in range(20):
        output = layer.forward(input)
        losses.append(float(np.mean(output**2)))
        layer.backward(2 * output / output.size)
        layer.weight = layer.weight - 0.1 * layer.grad_weight
        layer.bias = layer.bias - 0.1 * layer.grad_bias
    assert losses[-1] < losses[0] / 2
    assert losses == sorted(losses, reverse=True)


def test_gradients_are_none_before_backward():
    layer = Conv2d(*weights())
    layer.forward(images(1))
    assert layer.grad_weight is None
    assert layer.grad_bias is None


def test_backward_before_forward_says_what_to_do():
    with pytest.raises(RuntimeError, match=r"call forward\(input\) first"):
        Conv2d(*weights()).backward(images(1))


def test_a_gradient_of_another_shape_is_refused():
    layer = Conv2d(*weights())
    layer.forward(images(1))
    with pytest.raises(ValueError, match="grad has shape"):
        layer.backward(images(1))


def test_a_refused_forward_leaves_the_one_before():
    layer, input = Conv2d(*weights()), images(1)
    grad = np.cos(layer.forward(input))
    expected = layer.backward(grad)
    with pytest.raises(ValueError, match="input has 3 channels"):
        layer.forward(input[:, :3])
    assert_close(layer.backward(grad), expected)


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="stride=0"):
        Conv2d(*weights(), stride=0).forward(images(1))


def values(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


#: Layer: (arguments, shape of the input). Their names and arguments are those of torch.nn, but
#: that arrays of weights come first: here they are the shapes of those.
TABLE = [
    ("Conv2d", [(4, 3, 3, 2), (4,)], {"stride": (2, 1), "padding": 1}, (2, 3, 7, 6)),
    ("Conv2d", [(4, 3, 3, 2)], {}, (2, 3, 7, 6)),
    ("Conv1d", [(4, 3, 2), (4,)], {"stride": 2, "padding": 1}, (2, 3, 7)),
    ("Conv1d", [(4, 2, 3), (4,)], {"dilation": (2,), "groups": 2}, (2, 4, 9)),
    ("Conv1d", [(4, 3, 3)], {"padding": "same"}, (2, 3, 7)),
    ("ConvTranspose2d", [(4, 3, 3, 2), (3,)], {"stride": 2, "padding": 1}, (2, 4, 5, 6)),
    ("ConvTranspose2d", [(4, 2, 3, 2)], {"groups": 2, "dilation": (1, 2)}, (2, 4, 5, 6)),
    (
        "ConvTranspose2d",
        [(4, 3, 3, 2), (3,)],
        {"stride": (3, 2), "output_padding": (2, 1)},
        (2, 4, 3, 4),
    ),
    ("Linear", [(4, 6), (4,)], {}, (3, 6)),
    ("Linear", [(4, 6)], {}, (3, 6)),
    ("BatchNorm2d", [(3,), (3,)], {}, (2, 3, 5, 4)),
    ("BatchNorm2d", [(3,), (3,)], {"eps": 0.1, "momentum": 0.3}, (2, 3, 5, 4)),
    ("MaxPool2d", [], {"kernel_size": 2}, (2, 3, 7, 6)),
    (
        "MaxPool2d",
        [],
        {
            "kernel_size": (3, 2),
            "stride": (2, 1),
            "padding": (1, 0),
            "dilation": (1, 2),
            "ceil_mode": True,
        },
        (2, 3, 8, 7),
    ),
    ("AvgPool2d", [], {"kernel_size": 2}, (2, 3, 7, 6)),
    (
        "AvgPool2d",
        [],
        {
            "kernel_size": (3, 2),
            "stride": 2,
            "padding": 1,
            "ceil_mode": True,
            "count_include_pad": False,
        },
        (2, 3, 8, 7),
    ),
    ("AdaptiveMaxPool2d", [], {"output_size": 1}, (2, 3, 7, 6)),
    ("AdaptiveMaxPool2d", [], {"output_size": (3, 4)}, (2, 3, 7, 6)),
    ("AdaptiveAvgPool2d", [], {"output_size": 1}, (2, 3, 7, 6)),
    ("AdaptiveAvgPool2d", [], {"output_size": (3, 4)}, (2, 3, 7, 6)),
    ("Flatten", [], {}, (2, 3, 4, 5)),
    ("ReLU", [], {}, (2, 3, 4, 5)),
    ("Sigmoid", [], {}, (2, 3, 4, 5)),
    ("Tanh", [], {}, (2, 5)),
    ("Softmax", [], {"dim": 1}, (3, 5)),
    ("Softmax", [], {"dim": -2}, (3, 5)),
    ("LocalResponseNorm", [], {"size": 3}, (2, 5, 3, 4)),
    ("LocalResponseNorm", [], {"size": 4, "alpha": 0.5, "beta": 0.6, "k": 2.0}, (2, 5, 3, 4)),
]


def in_numpy(name, shapes, settings, dtype):
    weights = [values(k, *shape).astype(dtype) for k, shape in enumerate(shapes)]
    return getattr(layers, name)(*weights, **settings)


def in_torch(name, shapes, settings, dtype):
    """Make the layer of PyTorch with equal weights: (out, in) first, but (in, out) transposed."""
    sizes = {}
    if name in ("Conv1d", "Conv2d", "ConvTranspose2d", "Linear"):
        weight, groups = shapes[0], settings.get("groups", 1)
        ahead = "features" if name == "Linear" else "channels"
        one, other = ("in", "out") if name == "ConvTranspose2d" else ("out", "in")
        sizes = {f"{one}_{ahead}": weight[0], f"{other}_{ahead}": weight[1] * groups}
        sizes["bias"] = len(shapes) == 2
        if name != "Linear":
            sizes["kernel_size"] = weight[2:]
    elif name == "BatchNorm2d":
        sizes = {"num_features": shapes[0][0]}
    module = getattr(torch.nn, name)(**sizes, **settings)
    module = module.to(getattr(torch, dtype))
    with torch.no_grad():
        for k, (parameter, shape) in enumerate(zip(module.parameters(), shapes, strict=True)):
            parameter.copy_(torch.tensor(values(k, *shape)))
    return module


def state(layer, names):
    """Return those of the attributes that the layer has and that are not None, as arrays."""
    found = {name: getattr(layer, name, None) for name in names}
    return {name: np.asarray(v) for name, v in found.items() if v is not None}


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]} {row[2]}")
def test_each_layer_is_pytorchs_step_after_step(row, dtype):
    *arguments, shape = row
    ours, theirs = in_numpy(*arguments, dtype), in_torch(*arguments, dtype)
    for seed in (11, 12):
        x = values(seed, *shape).astype(dtype)
        tensor = torch.tensor(x, requires_grad=True)
        expected = theirs(tensor)
        grad = values(seed + 10, *expected.shape).astype(dtype)
        theirs.zero_grad()
        expected.backward(torch.tensor(grad))
        assert_close(ours.forward(x), expected.detach().numpy(), "output")
        assert_close(ours.backward(grad), tensor.grad.numpy(), "grad_input")
        grads = {f"grad_{n}": p.grad.numpy() for n, p in theirs.named_parameters()}
        assert_close(state(ours, ["grad_weight", "grad_bias"]), grads)
        running = ["running_mean", "running_var"]
        assert_close(state(ours, running), state(theirs, running))


@pytest.mark.parametrize("mode", ["constant", "reflect", "replicate", "circular"])
def test_padding_is_pytorchs(mode):
    x, sides = values(1, 2, 3, 5, 4), (1, 2, 0, 3)
    tensor = torch.tensor(x, requires_grad=True)
    expected = torch.nn.functional.pad(tensor, sides, mode)
    grad = values(2, *expected.shape)
    expected.backward(torch.tensor(grad))
    layer = Pad2d(sides, mode)
    assert_close(layer.forward(x), expected.detach().numpy())
    assert_close(layer.backward(grad), tensor.grad.numpy())


def test_padding_adds_its_value():
    assert_close(Pad2d(1, value=7).forward(np.zeros((1, 1, 1, 1)))[0, 0, 0], np.full(3, 7.0))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]} {row[2]}")
def test_gradients_of_each_layer_are_those_of_central_differences(row):
    *arguments, shape = row
    layer, x = in_numpy(*arguments, "float64"), values(3, *shape)
    factors = values(4, *layer.forward(x).shape)
    grad_input = layer.backward(factors)

    def loss(v):
        return float(np.sum(factors * in_numpy(*arguments, "float64").forward(v)))

    assert_gradient(loss, x, grad_input, rtol=1e-6)


def test_batch_norm_after_training_is_pytorchs():
    arguments = ("BatchNorm2d", [(3,), (3,)], {})
    ours, theirs = in_numpy(*arguments, "float64"), in_torch(*arguments, "float64")
    x, grad = values(1, 2, 3, 5, 4), values(2, 2, 3, 5, 4)
    ours.forward(x)
    theirs(torch.tensor(x))
    ours.training = False
    theirs.eval()
    tensor = torch.tensor(x + 1, requires_grad=True)
    expected = theirs(tensor)
    expected.backward(torch.tensor(grad))
    before = ours.running_mean.copy()
    assert_close(ours.forward(x + 1), expected.detach().numpy())
    assert_close(ours.backward(grad), tensor.grad.numpy())
    assert_close(ours.grad_weight, theirs.weight.grad.numpy())
    assert_close(ours.running_mean, before)


@pytest.mark.parametrize("weights", [(None, None), ([1.0], np.zeros(1)), (np.ones(1), None)])
def test_batch_norm_wants_both_of_its_weights(weights):
    with pytest.raises(ValueError, match=r"^(weight|bias) is a \w+; pass a NumPy array"):
        BatchNorm2d(*weights)


def test_backward_of_batch_norm_belongs_to_the_mode_of_its_forward():
    layer, other = (BatchNorm2d(np.array([2.0]), np.array([1.0])) for _ in range(2))
    x, grad = values(1, 4, 1), values(2, 4, 1)
    for one in (layer, other):
        one.forward(x)
    layer.training = False
    assert_close(layer.backward(grad), other.backward(grad))


def test_running_statistics_stay_the_same_arrays():
    layer = BatchNorm2d(np.ones(2, np.float32), np.zeros(2, np.float32))
    mean, var = layer.running_mean, layer.running_var
    assert_close((mean, var), (np.zeros(2, np.float32), np.ones(2, np.float32)))
    layer.forward(values(1, 4, 2).astype(np.float32))
    assert layer.running_mean is mean
    assert layer.running_var is var
    assert (mean != 0).all()


def test_dropout_drops_while_training_and_only_then():
    layer, x = Dropout(0.3, seed=5), values(1, 6, 7)
    rng = np.random.default_rng(5)
    for _ in range(2):
        output, mask = dropout(x, 0.3, rng)
        assert_close(layer.forward(x), output)
        assert_close(layer.backward(np.ones_like(x)), mask)
    layer.training = False
    assert_close(layer.forward(x), x)
    assert_close(layer.backward(x), x)
    layer.training = True
    assert_close(layer.forward(x), dropout(x, 0.3, rng)[0])  # the pause drew no numbers


def test_dropout_has_pytorchs_default():
    assert Dropout().p == torch.nn.Dropout().p


def test_without_a_seed_each_dropout_has_random_numbers_of_its_own():
    one, two = (Dropout().forward(np.ones(200)) for _ in range(2))  # equal once in 2**200
    assert (one != two).any()


def test_dropout_after_training_refuses_what_it_refuses_while_training():
    for wrong, sentence in [([1.0], "input is a list"), (np.ones(3, int), "input has dtype int64")]:
        layer = Dropout()
        for layer.training in (True, False):
            with pytest.raises(ValueError, match=sentence):
                layer.forward(wrong)
            assert layer.mask is None
    layer = Dropout(p=2)
    layer.training = False
    with pytest.raises(ValueError, match="p=2 is out of range; use 0 <= p < 1"):
        layer.forward(np.ones(3))


def test_layers_with_two_modes_start_in_training():
    assert Dropout().training
    assert BatchNorm2d(np.ones(1), np.zeros(1)).training


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]} {row[2]}")
def test_no_layer_goes_back_before_it_went_forward(row):
    *arguments, _ = row
    layer = in_numpy(*arguments, "float64")
    assert state(layer, ["grad_weight", "grad_bias"]) == {}
    with pytest.raises(RuntimeError, match=r"backward before forward; call forward\(input\) first"):
        layer.backward(np.ones((2, 3)))
    with pytest.raises(RuntimeError, match="backward before forward"):
        Dropout().backward(np.ones(3))


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]} {row[2]}")
def test_an_input_that_is_refused_leaves_each_layer_as_it_was(row):
    *arguments, shape = row
    layer, x = in_numpy(*arguments, "float64"), values(1, *shape)
    grad = values(2, *layer.forward(x).shape)
    expected = layer.backward(grad)
    for wrong, sentence in [(x.astype(np.uint8), "input has dtype"), (x.tolist(), "is a list")]:
        with pytest.raises(ValueError, match=sentence):
            layer.forward(wrong)
    assert_close(layer.backward(grad), expected)


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]} {row[2]}")
def test_no_layer_changes_its_arguments(row):
    *arguments, shape = row
    layer, x = in_numpy(*arguments, "float64"), values(1, *shape)
    before = state(layer, ["weight", "bias"])
    kept = {name: array.copy() for name, array in before.items()}
    grad = values(2, *layer.forward(x).shape)
    output = layer.forward(x).copy()
    layer.backward(grad)
    assert_close((x, grad), (values(1, *shape), values(2, *output.shape)))
    assert_close(state(layer, ["weight", "bias"]), kept)
    assert all(getattr(layer, name) is array for name, array in before.items())


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row[0]} {row[2]}")
def test_a_gradient_that_does_not_fit_is_refused_by_each_layer(row):
    *arguments, shape = row
    layer = in_numpy(*arguments, "float64")
    output = layer.forward(values(1, *shape))
    with pytest.raises(ValueError, match=r"grad has shape .*; pass"):
        layer.backward(np.ones((*output.shape[:-1], output.shape[-1] + 1)))
    with pytest.raises(ValueError, match="grad is float32"):
        layer.backward(np.ones(output.shape, np.float32))


@pytest.mark.parametrize("shape", [(1, 120), (60, 2), (120,), (2, 3, 4, 5)])
def test_a_gradient_is_not_squeezed_into_the_shape_of_the_input(shape):
    layer = Flatten()
    layer.forward(np.zeros((2, 3, 4, 5)))
    with pytest.raises(ValueError, match=r"grad has shape .* where \(2, 60\) is needed; pass"):
        layer.backward(np.zeros(shape))


def test_a_single_number_has_no_batch_to_keep():
    with pytest.raises(ValueError, match=r"input has shape \(\); pass at least 1 axes"):
        Flatten().forward(np.array(1.0))


def test_softmax_goes_along_axis_1_unless_told():
    z = values(1, 3, 5)
    assert_close(layers.Softmax().forward(z), layers.Softmax(dim=1).forward(z))


def test_an_empty_batch_is_flattened():
    layer = Flatten()
    assert layer.forward(np.zeros((0, 3, 4, 5))).shape == (0, 60)
    assert layer.backward(np.zeros((0, 60))).shape == (0, 3, 4, 5)


def test_every_layer_is_in_the_table():
    elsewhere = {"Pad2d", "Dropout"}
    assert {row[0] for row in TABLE} | elsewhere == set(layers.__all__)
