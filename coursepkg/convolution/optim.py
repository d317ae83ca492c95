r"""Optimisers: what to do with gradients, once they are known.

Both change the arrays that they were given in place, so that the layers which hold these arrays
see every step. Their steps are those of `torch.optim`, but for rounding.

References
----------
Polyak, *Some methods of speeding up the convergence of iteration methods* (1964), momentum.
Sutskever et al., *On the importance of initialization and momentum in deep learning* (2013),
section 2, Nesterov's momentum; both are scaled as PyTorch does. Kingma & Ba, *Adam: a method
for stochastic optimization* (2015), algorithm 1.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from coursepkg.convolution.arguments import Array, check_floats, check_shape, number

__all__ = ["SGD", "Adam"]


class SGD:
    r"""Stochastic gradient descent, with momentum if wanted.

    With gradient :math:`g`, velocity :math:`v` (zero at first) and parameter :math:`p`:

    .. math::
        v \leftarrow \mu v + g, \qquad p \leftarrow p - \eta v

    Parameters
    ----------
    parameters : dict of str to float32 or float64 array
        The arrays to change, by name.
    lr : float
        The learning rate :math:`\eta`.
    momentum : float
        The :math:`\mu` above. 0 gives plain gradient descent.
    weight_decay : float
        This multiple of each parameter is added to its gradient.
    nesterov : bool
        Go on by :math:`g + \mu v` instead of :math:`v`.

    Raises
    ------
    ValueError
        If there is no parameter, one is no array that can be changed, two share memory, or a
        setting is out of range.

    Notes
    -----
    PyTorch has one more setting, `dampening`, between `momentum` and `weight_decay`. Here it is
    always 0, and the settings after its place go by name only.

    Examples
    --------
    >>> parameters = {"weight": np.array([1.0, 2.0])}
    >>> optimizer = SGD(parameters, lr=0.1, momentum=0.5)
    >>> optimizer.step({"weight": np.array([1.0, 0.0])})
    >>> optimizer.step({"weight": np.array([1.0, 0.0])})
    >>> parameters["weight"]
    array([0.75, 2.  ])
    """

    def __init__(
        self,
        parameters: Mapping[str, Array],
        lr: float = 1e-3,
        momentum: float = 0.0,
        *,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        r"""Keep the arrays and the settings; every velocity is zero."""
        if nesterov and not momentum:
            raise ValueError("nesterov=True needs a velocity to look along; set momentum > 0")
        self.parameters = _checked(parameters)
        self.lr = _at_least_zero("lr", lr)
        self.momentum = _at_least_zero("momentum", momentum)
        self.weight_decay = _at_least_zero("weight_decay", weight_decay)
        self.nesterov = nesterov
        self.velocities = _zeros(self.parameters)

    def step(self, gradients: Mapping[str, Array]) -> None:
        r"""Change every parameter once, in place.

        Parameters
        ----------
        gradients : dict of str to array
            One for each parameter, of its shape and dtype.

        Raises
        ------
        ValueError
            If names, shapes or dtypes are not those of the parameters. Nothing is changed then.
        """
        _check_gradients(gradients, self.parameters)
        for name, parameter in self.parameters.items():
            gradient = gradients[name] + self.weight_decay * parameter
            velocity = self.velocities[name]
            velocity *= self.momentum
            velocity += gradient
            direction = gradient + self.momentum * velocity if self.nesterov else velocity
            parameter -= self.lr * direction


class Adam:
    r"""Steps of about one learning rate, whatever the scale of the gradient.

    With gradient :math:`g` in step :math:`t`, running means :math:`m` and :math:`v` (zero at
    first) and parameter :math:`p`:

    .. math::
        m \leftarrow \beta_1 m + (1 - \beta_1) g, \qquad
        v \leftarrow \beta_2 v + (1 - \beta_2) g^2, \qquad
        p \leftarrow p - \eta \,
        \frac{m / (1 - \beta_1^t)}{\sqrt{v / (1 - \beta_2^t)} + \varepsilon}

    Parameters
    ----------
    parameters : dict of str to float32 or float64 array
        The arrays to change, by name.
    lr : float
        The learning rate :math:`\eta`.
    betas : tuple of float
        :math:`(\beta_1, \beta_2)`, each at least 0 and below 1.
    eps : float
        The :math:`\varepsilon` above.
    weight_decay : float
        This multiple of each parameter is added to its gradient.

    Raises
    ------
    ValueError
        If there is no parameter, one is no array that can be changed, two share memory, or a
        setting is out of range.

    Examples
    --------
    >>> parameters = {"weight": np.array([1.0, 2.0])}
    >>> Adam(parameters, lr=0.5).step({"weight": np.array([1000.0, -0.001])})
    >>> parameters["weight"].round(4)
    array([0.5, 2.5])
    """

    def __init__(
        self,
        parameters: Mapping[str, Array],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        r"""Keep the arrays and the settings; every running mean is zero."""
        self.parameters = _checked(parameters)
        self.lr = _at_least_zero("lr", lr)
        self.betas = _two_below_one(betas)
        self.eps = _at_least_zero("eps", eps)
        self.weight_decay = _at_least_zero("weight_decay", weight_decay)
        self.means = _zeros(self.parameters)
        self.squares = _zeros(self.parameters)
        self.steps = 0

    def step(self, gradients: Mapping[str, Array]) -> None:
        r"""Change every parameter once, in place.

        Parameters
        ----------
        gradients : dict of str to array
            One for each parameter, of its shape and dtype.

        Raises
        ------
        ValueError
            If names, shapes or dtypes are not those of the parameters. Nothing is changed then.
        """
        _check_gradients(gradients, self.parameters)
        self.steps += 1
        beta1, beta2 = self.betas
        rate = self.lr / (1 - beta1**self.steps)
        scale = math.sqrt(1 - beta2**self.steps)
        for name, parameter in self.parameters.items():
            gradient = gradients[name] + self.weight_decay * parameter
            mean, square = self.means[name], self.squares[name]
            mean *= beta1
            mean += (1 - beta1) * gradient
            square *= beta2
            square += (1 - beta2) * gradient * gradient
            parameter -= rate * mean / (np.sqrt(square) / scale + self.eps)


def _checked(parameters: Mapping[str, Array]) -> dict[str, Array]:
    if not isinstance(parameters, Mapping):
        raise ValueError(
            f"parameters is a {type(parameters).__name__}; pass a dict of arrays by name, such as "
            "network.parameters()"
        )
    if not parameters:
        raise ValueError("parameters is empty; pass those of a network: network.parameters()")
    checked: dict[str, Array] = {}
    for name, array in parameters.items():
        check_floats(f"parameters[{name!r}]", array)
        if not array.flags.writeable:
            raise ValueError(f"parameters[{name!r}] is read-only; pass a copy that can be changed")
        for other in checked:
            if np.shares_memory(array, checked[other]):
                raise ValueError(
                    f"parameters[{name!r}] shares memory with parameters[{other!r}]; "
                    "a step would change it twice, so pass it under one name"
                )
        checked[name] = array
    return checked


def _at_least_zero(name: str, value: float) -> float:
    return number(name, value, lambda v: v >= 0, "use a finite number of at least 0")


def _two_below_one(betas: tuple[float, float]) -> tuple[float, float]:
    remedy = "use two numbers from 0 to below 1"
    if not isinstance(betas, (tuple, list)) or len(betas) != 2:
        raise ValueError(f"betas={betas!r} is no pair; {remedy}")
    first, second = (number("betas", beta, lambda b: 0 <= b < 1, remedy) for beta in betas)
    return first, second


def _zeros(parameters: Mapping[str, Array]) -> dict[str, Array]:
    return {name: np.zeros_like(array) for name, array in parameters.items()}


def _check_gradients(gradients: Mapping[str, Array], parameters: Mapping[str, Array]) -> None:
    if gradients.keys() != parameters.keys():
        odd = sorted(gradients.keys() ^ parameters.keys())
        raise ValueError(f"gradients and parameters differ in {odd}; pass one for each parameter")
    for name, parameter in parameters.items():
        remedy = "pass the gradient with respect to the parameter of this name"
        check_shape(
            f"gradients[{name!r}]", gradients[name], parameter.shape, parameter.dtype, remedy
        )
