"""The layer against PyTorch, step after step, and against central differences."""

import numpy as np
import pytest
import torch

from coursepkg.convolution.layers import Conv2d
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
