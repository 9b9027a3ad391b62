"""Optimal Brain Damage: a weight is worth the increase of E that deleting it is predicted to cause.

E(u + du) = E + sum_i g_i du_i + 1/2 sum_i h_ii du_i^2 + 1/2 sum_{i != j} h_ij du_i du_j + O(|du|^3).
OBD keeps the second sum: "diagonal" drops the h_ij, "extremal" the g_i (zero at a minimum), "quadratic" the rest.
Deleting u_k is du_k = -u_k.

LeCun, Denker, Solla 1990; slides "Optimal brain damage", "Computing the second derivative", "OBD".
"""

from collections.abc import Iterable, Mapping
from typing import Any

from nn.backend import Array, get_array_module
from nn.curvature import hess_diag
from nn.module import Module, Parameter
from pruning.masks import check_arrays, fitted, prunable


def saliency(
    net: Module,
    loss: Any,
    x: Array,
    t: Array,
    rule: str = "obd",
    weight_decay: float = 0.0,
    batch_size: int | None = None,
    names: Iterable[str] | None = None,
) -> dict[str, Array]:
    """Return s_k = max(h_kk, 0) u_k^2 / 2 of every prunable weight.

    Parameters
    ----------
    net, loss, x, t, rule, weight_decay, batch_size : as for `nn.curvature.hess_diag`.
    names : parameters to score; None is every W of the affine layers.

    Notes
    -----
    The policy for h_kk < 0.  Away from a minimum the curvature of some weights is negative.  The parabola then promises
    that deleting them lowers E, the more the larger they are, and a plain ascending sort would delete the most negative
    first; but there the gradient is not zero either, and the promised number is wrong by a multiple.  Such a weight
    counts as s_k = 0 here, free but no better than free.  `count_negative` says how many; ``rule="lm"`` has none.

    Examples
    --------
    A large weight on a small input is worth less than a small one on a large input:

    >>> import numpy as np
    >>> import nn
    >>> import pruning
    >>> net = nn.Sequential(nn.Linear(2, 1, np.random.default_rng(0), bias=False))
    >>> net.layers[0].W.data = np.array([[3.0, 1.0]])
    >>> x, t = np.array([[0.1], [2.0]]), np.array([[2.3]])
    >>> s = pruning.scores.obd.saliency(net, nn.SquaredError(), x, t)
    >>> bool(np.allclose(s["0.W"], [[0.1**2 * 3**2, 2**2 * 1**2]]))  # h = 2 x^2, s = h u^2 / 2
    True
    """
    chosen = prunable(net, names)
    h = hess_diag(net, loss, x, t, rule, weight_decay, batch_size)
    return {name: get_array_module(h[name]).maximum(h[name], 0) * u.data * u.data / 2 for name, u in chosen.items()}


def count_negative(h: Mapping[str, Array], net: Module, names: Iterable[str] | None = None) -> int:
    """Return how many live prunable weights have h_kk < 0, h as `nn.curvature.hess_diag` returned it.

    Raises
    ------
    TypeError, ValueError
        If h is not of arrays by name, or has none of the shape of one of these weights.
    """
    count, chosen = 0, prunable(net, names)
    _check_fit("curvature", h, chosen)
    for name, u in chosen.items():
        xp = get_array_module(h[name])
        negative = xp.astype(h[name] < 0, h[name].dtype)
        count += int(xp.sum(negative if u.mask is None else negative * u.mask))
    return count


def predicted_change(
    net: Module, masks: Mapping[str, Array], h: Mapping[str, Array], g: Mapping[str, Array] | None = None
) -> float:
    """Return the change of E that the diagonal model predicts for applying `masks`:  sum_k -g_k u_k + 1/2 h_kk u_k^2.

    Parameters
    ----------
    net : before the masks are applied.
    masks : parameter name -> 0/1; what is 0 there and not yet 0 in the net is deleted.
    h : the curvature, as `nn.curvature.hess_diag` returned it, negative entries included.
    g : the gradient, as `nn.curvature.gradient` returned it; None is OBD's own model, which takes it for zero.

    Raises
    ------
    TypeError, ValueError
        As `pruning.masks.fitted`, and as `count_negative` for h and g.
    """
    total, keep = 0.0, fitted(net, masks)
    parameters = prunable(net, keep)
    _check_fit("curvature", h, parameters)
    if g is not None:
        _check_fit("gradient", g, parameters)
    for name, parameter in parameters.items():
        u = parameter.data * (1 - keep[name])
        change = h[name] * u * u / 2
        total += float(get_array_module(u).sum(change if g is None else change - g[name] * u))
    return total


def _check_fit(what: str, arrays: Mapping[str, Array], parameters: Mapping[str, Parameter]) -> None:
    check_arrays(what, arrays)
    for name, parameter in parameters.items():
        shape = tuple(arrays[name].shape) if name in arrays else None
        if shape != parameter.shape:
            raise ValueError(f"expected a {what} of shape {parameter.shape} for {name}, got {shape or 'none'}")
