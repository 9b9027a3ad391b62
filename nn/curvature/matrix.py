"""The Hessian of a net as one matrix over all its parameters, and its inverse over those that are left.

For small nets: K parameters need K^2 numbers and K^3 steps.
"""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from nn.arguments import nonnegative, number
from nn.backend import Array, asarray, diagonal_matrices, get_array_module, to_numpy, zeros
from nn.batches import batches, check_data, evaluating
from nn.module import Module

LARGEST = 2**14
"""Parameters of the largest net whose matrix is made: 2 GB in float64."""


def inverse(net: Module, loss: Any, x: Array, t: Array, weight_decay: float = 0.0, damping: float = 0.0) -> Array:
    """Return the inverse of `gauss_newton` + damping I over the weights that are left; arguments as for these two."""
    return invert(gauss_newton(net, loss, x, t, weight_decay), damping, alive(net))


def invert(H: Array, damping: float = 0.0, alive: Array | None = None) -> Array:
    """Return (H + damping I)^-1 by the eigenvalues of H: V diag(1 / (h + damping)) V^T.

    Parameters
    ----------
    H : (K, K), symmetric: of `gauss_newton`, or the exact Hessian (`nn.gradcheck.hessian_by_differences`).
    damping : added to the diagonal.  H is singular wherever an input is dead or weights are redundant, and indefinite
        away from a minimum; neither has a cheapest adjustment.
    alive : (K,) ones, and zeros for deleted weights, whose rows and columns are left out and zero in the result.

    Raises
    ------
    ValueError
        If H is not square, symmetric and finite, the damping no finite number of 0 or more, `alive` not of K zeros and
        ones, or H + damping I not positive definite.
    """
    xp = get_array_module(H)
    if H.ndim != 2 or H.shape[0] != H.shape[1] or H.shape[0] == 0:
        raise ValueError(f"expected a square Hessian, got shape {tuple(H.shape)}")
    K, damping = H.shape[0], nonnegative(damping, "damping")
    largest = float(xp.max(xp.abs(H)))
    if not float(xp.max(xp.abs(H - H.T))) <= 1e-6 * largest < math.inf:
        raise ValueError("expected a symmetric Hessian of finite numbers, got another matrix")
    live = np.arange(K) if alive is None else _places_of_ones(alive, K)
    if len(live) == 0:
        return xp.zeros_like(H)
    Q = _integers(live, H)
    h, V = xp.linalg.eigh(xp.take(xp.take(H, Q, axis=0), Q, axis=1))
    smallest, largest = float(h[0]), float(h[-1])
    rounding = len(live) * float(xp.finfo(H.dtype).eps)
    if not smallest + damping > rounding * (largest + damping):
        raise ValueError(
            f"expected a positive definite Hessian, got eigenvalues from {smallest + damping:.3g} to"
            f" {largest + damping:.3g}; a damping well above {max(rounding * largest - smallest, 0):.3g} makes it so"
        )
    return _scatter(V / (h + damping) @ V.T, live, K)


def gauss_newton(net: Module, loss: Any, x: Array, t: Array, weight_decay: float = 0.0, batch_size: int = 100) -> Array:
    """Return G = sum_n J_n B_n J_n^T + weight_decay I (K, K), over all parameters, in eval mode.

    J_n = dy_n/du (K, O) holds the gradients of the O outputs for pattern n, B_n = d2E/dy_n2 (O, O).  The exact Hessian
    has sum_n sum_k dE/dy_kn d2y_kn/du2 besides, which is small where the net fits.

    Parameters
    ----------
    net, loss, x, t, weight_decay : as for `nn.curvature.hess_diag`.  Cost: N O backward sweeps and N O K^2 products.
    batch_size : patterns whose gradients are held at once, K O batch_size numbers.

    Raises
    ------
    ValueError
        For data that `nn.batches.check_data` refuses, a negative weight decay, or a net too large for a matrix.
    """
    check_data(net, x, t)
    G = nonnegative(weight_decay, "weight decay") * _identity(_checked_vector(net))
    for x_batch, t_batch, weight in batches(x, t, batch_size):
        patterns = list(_patterns(net, loss, x_batch, t_batch))
        J = get_array_module(x).concat([J for J, _ in patterns], axis=1)
        JB = get_array_module(x).concat([J @ B for J, B in patterns], axis=1)
        G = G + weight * (J @ JB.T)
    return G


def inverse_by_sweep(
    net: Module, loss: Any, x: Array, t: Array, weight_decay: float = 0.0, damping: float = 0.0
) -> Array:
    """Return what `inverse` returns, without ever holding H: one Sherman-Morrison step a pattern.

    From H_0 = (weight_decay + damping) I, pattern after pattern, with P = H^-1 J and S = J^T H^-1 J:

        (H + J B J^T)^-1 = H^-1 - P B (I + S B)^-1 P^T.

    For one output this is Sherman and Morrison's formula, H^-1 - b P P^T / (1 + b S), Hassibi and Stork's recursion;
    for O outputs (Woodbury) it is O of these steps at once, K^2 O products a pattern.

    Raises
    ------
    ValueError
        As `gauss_newton`, and if weight_decay + damping is not positive: nothing can be added to the inverse of 0.
    """
    check_data(net, x, t)
    ridge, damping = nonnegative(weight_decay, "weight decay"), number(damping, "the damping")
    if not 0 <= damping < math.inf or ridge + damping == 0:
        raise ValueError(f"expected a positive damping to start from, got {damping} (and weight decay {weight_decay})")
    _checked_vector(net)
    live = alive(net)
    _places_of_ones(live, live.shape[0])
    Hinv = diagonal_matrices(live[:, None])[:, :, 0] / (ridge + damping)
    for J, B in _patterns(net, loss, x, t):
        P = Hinv @ J  # zero in the rows of deleted weights, for Hinv is
        xp, I = get_array_module(J), _identity(B[:, 0])
        Hinv = Hinv - P @ B @ xp.linalg.solve(I + J.T @ P @ B, P.T)
    return Hinv


def vector(net: Module) -> Array:
    """Return u (K,), all parameters of the net."""
    return join([parameter.data for parameter in net.parameters()])


def alive(net: Module) -> Array:
    """Return (K,) zeros for the weights that masks have deleted, ones for all others."""
    return join([get_array_module(p.data).ones_like(p.data) if p.mask is None else p.mask for p in net.parameters()])


def join(parts: list[Array]) -> Array:
    """Return the arrays as one vector.

    Parameters
    ----------
    parts : arrays of any shapes, in order.
    """
    xp = get_array_module(*parts)
    return xp.concat([xp.reshape(part, (-1,)) for part in parts])


def split(net: Module, v: Array) -> dict[str, Array]:
    """Return a vector (K,) as one array for each parameter, by name.

    Parameters
    ----------
    v : one number for each parameter, in definition order.
    """
    pieces, start = {}, 0
    for name, parameter in net.named_parameters():
        stop = start + math.prod(parameter.shape)
        pieces[name] = get_array_module(v).reshape(v[start:stop], parameter.shape)
        start = stop
    return pieces


def _patterns(net: Module, loss: Any, x: Array, t: Array) -> Iterator[tuple[Array, Array]]:
    """Yield J = dy/du (K, O), by one backward sweep an output, and B = d2E/dy2 (O, O), pattern by pattern."""
    with evaluating(net):
        loss.forward(net.forward(x), t)
        B = loss.hessian()
        I, parameters = _identity(B[:, 0, 0]), net.parameters()
        for n in range(x.shape[-1]):
            net.forward(x[..., n : n + 1])
            columns = []
            for k in range(I.shape[0]):
                net.backward_parameters(I[:, k : k + 1])
                columns.append(join([parameter.grad for parameter in parameters])[:, None])
            yield get_array_module(x).concat(columns, axis=1), B[:, :, n]


def _identity(like: Array) -> Array:
    return diagonal_matrices(get_array_module(like).ones_like(like)[:, None])[:, :, 0]


def _scatter(inverse: Array, live: np.ndarray, K: int) -> Array:
    """Return (K, K) with `inverse` in the rows and columns `live` and zeros elsewhere."""
    xp, L = get_array_module(inverse), len(live)
    padded = zeros((L + 1, L + 1), like=inverse)
    padded[:L, :L] = inverse
    places = np.full(K, L)
    places[live] = np.arange(L)
    Q = _integers(places, inverse)
    return xp.take(xp.take(padded, Q, axis=0), Q, axis=1)


def _integers(values: np.ndarray, like: Array) -> Array:
    return asarray(values, like=like, dtype=get_array_module(like).int64)


def _places_of_ones(alive: Array, K: int) -> np.ndarray:
    ones = to_numpy(alive)
    if ones.shape != (K,) or not np.all((ones == 0) | (ones == 1)):
        raise ValueError(f"expected alive to be {K} zeros and ones, got shape {ones.shape} or other numbers")
    return np.flatnonzero(ones)


def _checked_vector(net: Module) -> Array:
    K = sum(math.prod(parameter.shape) for parameter in net.parameters())
    if K > LARGEST:
        raise ValueError(f"expected a net of at most {LARGEST} parameters (the matrix has their square), got {K}")
    return vector(net)
