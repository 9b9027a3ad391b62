"""Derivatives by differences: the referees that need no second implementation.

The complex step  f'(u) = Im f(u + i h) / h  with h = 1e-30 subtracts nothing, so it is right to the last digit; it
needs code that computes with complex numbers, which all of nn/ does.  Central differences lose about six of sixteen
digits and are here to show that.  NumPy only; the cost is one forward pass (or sweep) per parameter: small nets.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Real
from typing import Any

import numpy as np

from nn.backend import get_array_module
from nn.module import Module, Parameter, check_net

COMPLEX_STEP = 1e-30


def complex_step(f: Callable[[np.ndarray], Any], u: np.ndarray) -> np.ndarray:
    """Return df/du by the complex step; f maps an array of the shape of u to a number or to an array.

    For an array-valued f of shape S the result has shape (*u.shape, *S).

    Raises
    ------
    TypeError
        If u is no array.
    ValueError
        If u is empty or complex itself: the step would be lost beside its imaginary part.
    """
    if np.iscomplexobj(u):
        raise ValueError(f"expected real numbers to take the complex step from, got {u.dtype}")
    return np.stack([np.imag(f(u + COMPLEX_STEP * 1j * e)) / COMPLEX_STEP for e in _directions(u)]).reshape(
        *u.shape, *np.shape(f(u))
    )


def central_difference(f: Callable[[np.ndarray], Any], u: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """Return df/du by (f(u + eps) - f(u - eps)) / (2 eps); shapes as `complex_step`.

    Raises
    ------
    TypeError
        If u is no array.
    ValueError
        If u is empty, or the step is not above 0 or too small to move every entry of u.
    """
    eps = _step(eps, u)
    return np.stack([(f(u + eps * e) - f(u - eps * e)) / (2 * eps) for e in _directions(u)]).reshape(
        *u.shape, *np.shape(f(u))
    )


def second_differences(E: Callable[[], Any], u: Any, eps: float = 1e-3) -> Any:
    """Return d2E/du_k2 by (E(u_k + eps) - 2 E + E(u_k - eps)) / eps^2 for every entry of u.

    E takes no argument: it reads u, which is changed in place meanwhile and is as before afterwards.  Forward passes
    only, six digits or so; for parameters of nets that are too large for `hessian_by_differences`.

    Raises
    ------
    TypeError
        If u is no array.
    ValueError
        If u holds no real floating-point numbers, or as `central_difference`.
    """
    if not get_array_module(u).isdtype(u.dtype, "real floating"):
        raise ValueError(f"expected real floating-point numbers, to which a step can be added, got {u.dtype}")
    eps = _step(eps, u)
    middle, h = float(E()), 0 * u
    for k in np.ndindex(*u.shape):
        value, around = float(u[k]), 0.0
        try:
            for u[k] in (value + eps, value - eps):
                around += float(E())
        finally:
            u[k] = value
        h[k] = (around - 2 * middle) / eps**2
    return h


def _directions(u: np.ndarray) -> np.ndarray:
    if not isinstance(u, np.ndarray | np.generic):
        raise TypeError(f"expected a NumPy array, got {type(u).__name__}")
    if u.size == 0:
        raise ValueError(f"expected at least one number to differentiate by, got shape {u.shape}")
    return np.eye(u.size, dtype=u.dtype).reshape(u.size, *u.shape)


def _step(eps: float, u: Any) -> float:
    # A float: a NumPy scalar would take the differences of float32 numbers in float64.
    if not (isinstance(eps, Real) and 0 < eps < math.inf):
        raise ValueError(f"expected a step above 0, got {eps!r}")
    eps, xp = float(eps), get_array_module(u)
    if bool(xp.any(u + eps == u)):
        raise ValueError(f"expected a step that moves every entry, got {eps}, which some are too large for")
    return eps


def flat(net: Module, what: str = "data") -> np.ndarray:
    """Return one attribute ("data", "grad", "hess_diag") of all parameters as one vector, in definition order.

    Parameters
    ----------
    what : the attribute that is wanted.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If the net has no parameters, or one of them nothing of the name, as before a sweep.
    """
    parts: dict[str, Any] = {name: getattr(parameter, str(what), None) for name, parameter in _parameters(net).items()}
    for name, part in parts.items():
        if part is None:
            raise ValueError(f"expected data, or what a sweep has left (grad, hess_diag); {name} has no {what}")
    return np.concatenate([np.reshape(part, -1) for part in parts.values()])


def set_flat(net: Module, u: np.ndarray) -> None:
    """Set the data of all parameters from one vector; its dtype is taken over (complex for a complex step).

    Raises
    ------
    TypeError
        If this is no net, or u no NumPy array.
    ValueError
        If u is no vector of as many real or complex floating-point numbers as the net has parameters.
    """
    parameters = list(_parameters(net).values())
    if not isinstance(u, np.ndarray):
        raise TypeError(f"expected a NumPy array, got {type(u).__name__}")
    ends = np.cumsum([math.prod(parameter.shape) for parameter in parameters])
    if u.shape != (ends[-1],):
        got = len(u) if u.ndim == 1 else f"shape {u.shape}"
        raise ValueError(f"expected a vector of {ends[-1]} numbers for this net, got {got}")
    if not np.issubdtype(u.dtype, np.inexact):
        raise ValueError(f"expected floating-point numbers, got {u.dtype}")
    for parameter, piece in zip(parameters, np.split(u, ends[:-1])):
        parameter.data = np.reshape(piece.copy(), parameter.shape)


def _parameters(net: Module) -> dict[str, Parameter]:
    check_net(net)
    parameters = dict(net.named_parameters())
    if not parameters:
        raise ValueError("expected a net with parameters, got one without")
    return parameters


@contextmanager
def _left_as_it_was(net: Module) -> Iterator[None]:
    # A net that was stopped on the way would be complex, or off by a step.
    parameters = [(p, p.data, p.grad) for p in _parameters(net).values()]
    buffers = [(module, name, getattr(module, name)) for module in net.modules() for name in module.buffers]
    try:
        yield
    finally:
        for parameter, data, grad in parameters:
            parameter.data, parameter.grad = data, grad
        for module, name, array in buffers:
            setattr(module, name, array)


def energy(net: Module, loss: Any, x: np.ndarray, t: np.ndarray, u: np.ndarray) -> Any:
    """Return E(u), the loss of the net with the parameter vector u; the net keeps u."""
    set_flat(net, u)
    return loss.forward(net.forward(x), t)


def gradient(net: Module, loss: Any, x: np.ndarray, t: np.ndarray, u: np.ndarray) -> np.ndarray:
    """Return dE/du at the parameter vector u by the net's own backprop; the net keeps u."""
    energy(net, loss, x, t, u)
    net.backward(loss.backward())
    return flat(net, "grad")


def gradient_by_differences(
    net: Module, loss: Any, x: np.ndarray, t: np.ndarray, method: Callable[..., np.ndarray] = complex_step
) -> tuple[np.ndarray, np.ndarray]:
    """Return (dE/du, dE/dx) by `complex_step` or `central_difference` of the loss; u is all parameters, flat.

    The net is afterwards as before, also after an error; only the inputs that its layers remember are not.

    Parameters
    ----------
    method : `complex_step` or `central_difference`.
    """
    with _left_as_it_was(net):
        gu = method(lambda v: energy(net, loss, x, t, v), flat(net))
    with _left_as_it_was(net):
        gx = method(lambda z: loss.forward(net.forward(z), t), x)
    return gu, gx


def hessian_by_differences(
    net: Module, loss: Any, x: np.ndarray, t: np.ndarray, method: Callable[..., np.ndarray] = complex_step
) -> np.ndarray:
    """Return the full Hessian d2E/du2 by differences of the net's own gradient; it takes that gradient on trust.

    The net is afterwards as before, also after an error; only the inputs that its layers remember are not.

    Parameters
    ----------
    method : `complex_step` or `central_difference`.
    """
    with _left_as_it_was(net):
        return method(lambda v: gradient(net, loss, x, t, v), flat(net))


def relative_error(ours: np.ndarray, reference: np.ndarray) -> float:
    """Return ||ours - reference|| / ||reference||, over the whole arrays; 0 if both are zero.

    Raises
    ------
    ValueError
        If the shapes differ: broadcasting would compare other numbers.
    """
    if np.shape(ours) != np.shape(reference):
        raise ValueError(f"expected two arrays of one shape, got {np.shape(ours)} and {np.shape(reference)}")
    ours, reference = 1.0 * np.asarray(ours), 1.0 * np.asarray(reference)  # unsigned integers would wrap
    difference, norm = float(np.linalg.norm(ours - reference)), float(np.linalg.norm(reference))
    return difference / norm if norm > 0 else (0.0 if difference == 0 else float("inf"))
