"""Derivatives by differences: the referees that need no second implementation.

The complex step  f'(u) = Im f(u + i h) / h  with h = 1e-30 subtracts nothing, so it is right to the last digit; it
needs code that computes with complex numbers, which all of nn/ does.  Central differences lose half of the digits and
are here to show that.  NumPy only; the cost is one forward pass (or sweep) per parameter: small nets.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from nn.module import Module

COMPLEX_STEP = 1e-30


def complex_step(f: Callable[[np.ndarray], Any], u: np.ndarray) -> np.ndarray:
    """Return df/du by the complex step; f maps an array of the shape of u to a number or to an array.

    For an array-valued f of shape S the result has shape (*u.shape, *S).
    """
    return np.stack([np.imag(f(u + COMPLEX_STEP * 1j * e)) / COMPLEX_STEP for e in _directions(u)]).reshape(
        *u.shape, *np.shape(f(u))
    )


def central_difference(f: Callable[[np.ndarray], Any], u: np.ndarray, eps: float = 1e-5) -> np.ndarray:
    """Return df/du by (f(u + eps) - f(u - eps)) / (2 eps); shapes as `complex_step`."""
    return np.stack([(f(u + eps * e) - f(u - eps * e)) / (2 * eps) for e in _directions(u)]).reshape(
        *u.shape, *np.shape(f(u))
    )


def second_differences(E: Callable[[], Any], u: Any, eps: float = 1e-3) -> Any:
    """Return d2E/du_k2 by (E(u_k + eps) - 2 E + E(u_k - eps)) / eps^2 for every entry of u.

    E takes no argument: it reads u, which is changed in place meanwhile and is as before afterwards.  Forward passes
    only, six digits or so; for parameters of nets that are too large for `hessian_by_differences`.
    """
    middle, h = float(E()), 0 * u
    for k in np.ndindex(*u.shape):
        value = float(u[k])
        around = 0.0
        for u[k] in (value + eps, value - eps):
            around += float(E())
        u[k] = value
        h[k] = (around - 2 * middle) / eps**2
    return h


def _directions(u: np.ndarray) -> np.ndarray:
    return np.eye(u.size, dtype=u.dtype).reshape(u.size, *u.shape)


def flat(net: Module, what: str = "data") -> np.ndarray:
    """Return one attribute ("data", "grad", "hess_diag") of all parameters as one vector, in definition order."""
    return np.concatenate([np.reshape(getattr(parameter, what), -1) for parameter in net.parameters()])


def set_flat(net: Module, u: np.ndarray) -> None:
    """Set the data of all parameters from one vector; its dtype is taken over (complex for a complex step)."""
    parameters = net.parameters()
    ends = np.cumsum([int(np.prod(parameter.shape)) for parameter in parameters])
    if len(u) != ends[-1]:
        raise ValueError(f"expected a vector of {ends[-1]} numbers for this net, got {len(u)}")
    for parameter, piece in zip(parameters, np.split(u, ends[:-1])):
        parameter.data = np.reshape(piece.copy(), parameter.shape)


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
    """Return (dE/du, dE/dx) by `complex_step` or `central_difference` of the loss; u is all parameters, flat."""
    u = flat(net)
    gu = method(lambda v: energy(net, loss, x, t, v), u)
    set_flat(net, u)
    gx = method(lambda z: loss.forward(net.forward(z), t), x)
    return gu, gx


def hessian_by_differences(
    net: Module, loss: Any, x: np.ndarray, t: np.ndarray, method: Callable[..., np.ndarray] = complex_step
) -> np.ndarray:
    """Return the full Hessian d2E/du2 by differences of the net's own gradient; it takes that gradient on trust."""
    u = flat(net)
    H = method(lambda v: gradient(net, loss, x, t, v), u)
    set_flat(net, u)
    return H


def relative_error(ours: np.ndarray, reference: np.ndarray) -> float:
    """Return ||ours - reference|| / ||reference||, over the whole arrays; 0 if both are zero.

    Raises
    ------
    ValueError
        If the shapes differ: broadcasting would compare other numbers.
    """
    if np.shape(ours) != np.shape(reference):
        raise ValueError(f"expected two arrays of one shape, got {np.shape(ours)} and {np.shape(reference)}")
    difference, norm = float(np.linalg.norm(ours - reference)), float(np.linalg.norm(reference))
    return difference / norm if norm > 0 else (0.0 if difference == 0 else float("inf"))
