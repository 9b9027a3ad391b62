"""Optimal Brain Surgeon: what deleting a weight costs if all the others are adjusted to it, and that adjustment.

OBD keeps the diagonal of the Hessian, OBS all of it; both stop at second order and take the gradient for zero.  With
the Lagrangian 1/2 du^T H du + m (e_q^T du + u_q), the cheapest change that deletes u_q, and its cost, are

    du = -u_q / [H^-1]_qq  H^-1 e_q,        s_q = u_q^2 / (2 [H^-1]_qq),

for a set Q of weights at once, with M = [H^-1]_QQ,

    du = -H^-1_:Q M^-1 u_Q,                 s_Q = 1/2 u_Q^T M^-1 u_Q,

and what is left of H when its rows and columns Q go has the inverse  H^-1 - H^-1_:Q M^-1 H^-1_Q:  (rows and columns
Q are zero now).  Without this downdate the next adjustment would bring the deleted weights back.

Everywhere u (K,) holds all parameters of a net, biases too, in definition order, and ``Hinv`` (K, K) is the inverse of
their Hessian, zero in the rows and columns of deleted weights.  Biases are adjusted, and deleted only if named.

Hassibi and Stork 1993, "Second order derivatives for network pruning: Optimal Brain Surgeon"; named on the slide
"Methods for pruning".
"""

import operator
from collections.abc import Iterable, Mapping

import numpy as np

from nn.backend import Array, asarray, diagonal, get_array_module, to_numpy
from nn.curvature.matrix import alive, invert, join, split, vector
from nn.module import Module, check_net
from pruning import masks
from pruning.schedules import check_sparsity


def saliency(net: Module, Hinv: Array, names: Iterable[str] | None = None) -> dict[str, Array]:
    """Return s_q = u_q^2 / (2 [H^-1]_qq) of every prunable weight; 0 for one that is deleted already.

    Never above OBD's h_qq u_q^2 / 2 with the same H: [H^-1]_qq >= 1 / h_qq.

    Parameters
    ----------
    net : trained.
    Hinv : (K, K), of `nn.curvature.matrix.inverse`, `inverse_by_sweep` or `invert`.
    names : parameters to score; None is every W of the affine layers.

    Raises
    ------
    TypeError
        If Hinv is no array.
    ValueError
        If Hinv does not fit the parameters of the net, or its zeros the masks; also as `saliencies`.
    """
    _check(net, Hinv)
    chosen = masks.prunable(net, names)
    pieces = split(net, saliencies(vector(net), Hinv))
    return {name: pieces[name] for name in chosen}


def prune(net: Module, Hinv: Array, sparsity: float, names: Iterable[str] | None = None) -> tuple[Array, float]:
    """Delete the cheapest weight, adjust all others and H^-1, and again, until `sparsity` is reached; `net` changes.

    H is taken once: a net that has moved far needs a new one.

    Parameters
    ----------
    net, Hinv, names : as for `saliency`.
    sparsity : share of zeros among the prunable weights, those deleted before included.

    Returns
    -------
    The downdated Hinv, and the predicted increase of E: the sum of the saliencies, each at its deletion.

    Raises
    ------
    ValueError
        As `saliency`; for a sparsity outside [0, 1], or one that is exceeded already.  The net is unchanged then.
    """
    check_sparsity(sparsity)
    _check(net, Hinv)
    chosen = masks.prunable(net, names)
    left, total = masks.counts(net, chosen)
    count = round(sparsity * total) - (total - left)
    if count < 0:
        raise ValueError(f"{total - left} of {total} weights are deleted already, more than {sparsity} of them")
    xp = get_array_module(Hinv)
    ones = {name: xp.ones_like(p.data) * float(name in chosen) for name, p in net.named_parameters()}
    deletable = alive(net) * join(list(ones.values()))
    u, predicted = vector(net), 0.0
    for _ in range(count):
        s = xp.where(deletable > 0, saliencies(u, Hinv), float("inf"))
        q = int(xp.argmin(s))
        predicted += float(s[q])
        u, Hinv = delete(u, Hinv, [q])
        deletable[q] = 0
    _write(net, u, {name: mask for name, mask in split(net, deletable).items() if name in chosen})
    return Hinv, predicted


def apply(net: Module, Hinv: Array, keep: Mapping[str, Array]) -> tuple[Array, float]:
    """Apply masks that another score chose, and adjust all other weights to it; `net` changes.

    Parameters
    ----------
    net, Hinv : as for `saliency`.
    keep : parameter name -> 0/1, as for `pruning.masks.apply`; what is deleted already stays so.

    Returns
    -------
    The downdated Hinv, and the predicted increase of E, s_Q.

    Raises
    ------
    ValueError
        As `saliency`, `delete` and `pruning.masks.apply`; the net is unchanged then.
    """
    _check(net, Hinv)
    chosen = masks.fitted(net, keep)
    before = alive(net)
    xp = get_array_module(before)
    after = before * join([chosen.get(name, xp.ones_like(p.data)) for name, p in net.named_parameters()])
    Q = np.flatnonzero(to_numpy(before - after)).tolist()
    predicted = block_saliency(vector(net), Hinv, Q)
    u, Hinv = delete(vector(net), Hinv, Q)
    _write(net, u, {name: mask for name, mask in split(net, after).items() if name in chosen})
    return Hinv, predicted


def saliencies(u: Array, Hinv: Array) -> Array:
    """Return u_q^2 / (2 [H^-1]_qq) (K,), and 0 where H^-1 is zero: what is deleted costs nothing.

    Raises
    ------
    TypeError, ValueError
        If these are no arrays (K,), (K, K), or [H^-1]_qq is not above 0 for a u_q that is not 0, or so small or so
        large that the quotient is no number.
    """
    _check_shapes(u, Hinv)
    xp, h = get_array_module(u, Hinv), _diagonal(Hinv)
    s = u * u / (2 * xp.where(h > 0, h, 1.0))  # a deleted u_q is 0
    _check_numbers(s, u, h)
    return s


def block_saliency(u: Array, Hinv: Array, indices: Iterable[int]) -> float:
    """Return 1/2 u_Q^T ([H^-1]_QQ)^-1 u_Q, the cost of deleting all of `indices`; errors as `delete`.

    Parameters
    ----------
    u, Hinv : (K,) parameters, (K, K) inverse of the Hessian.
    """
    xp, Q = get_array_module(u, Hinv), _indices(u, Hinv, indices)
    if Q.shape[0] == 0:
        return 0.0
    u_Q, M = xp.take(u, Q, axis=0), xp.take(xp.take(Hinv, Q, axis=0), Q, axis=1)
    return float(u_Q @ _solve(M, u_Q[:, None])[:, 0]) / 2


def delete(u: Array, Hinv: Array, indices: Iterable[int]) -> tuple[Array, Array]:
    """Return u + du and the inverse of what is left of H, after deleting all of `indices`.

    Parameters
    ----------
    u : (K,).  Hinv : (K, K), symmetric.  Neither is changed.
    indices : Q, in any order; one after the other gives the same as all at once.

    Raises
    ------
    TypeError
        If u or Hinv is no array, or an index no integer.
    ValueError
        If an index is out of range, occurs twice or is deleted already, there are more than weights left, the shapes
        do not fit, or [H^-1]_QQ is singular.
    """
    xp, Q = get_array_module(u, Hinv), _indices(u, Hinv, indices)
    if Q.shape[0] == 0:
        return u, Hinv
    rows = xp.take(Hinv, Q, axis=0)  # H^-1_Q:
    solved = _solve(xp.take(rows, Q, axis=1), rows)  # M^-1 H^-1_Q:
    u = u - xp.take(u, Q, axis=0) @ solved  # du = -H^-1_:Q M^-1 u_Q
    Hinv = Hinv - rows.T @ solved  # H^-1 - H^-1_:Q M^-1 H^-1_Q:
    for q in to_numpy(Q).tolist():  # zero but for rounding
        u[q], Hinv[q, :], Hinv[:, q] = 0.0, 0.0, 0.0
    return u, Hinv


def prune_layer(W: Array, x: Array, mask: Array, damping: float = 0.0) -> Array:
    """Return the W' that is zero where `mask` is and minimises ||W x - W' x||^2: OBS on one layer a = W x.

    Rows of W do not interact and all have the Hessian H = 2/N x x^T, so one inverse serves all of them.  E is a
    parabola here and OBS exact: the surviving weights of each row are the least-squares refit on its surviving inputs.
    If W itself is the least-squares fit of targets t, then W' is their refit too.

    Parameters
    ----------
    W : (O, I).  x : (I, N) inputs of the layer; a row of ones in x stands for the bias.
    mask : (O, I) zeros and ones; a column of zeros removes an input.
    damping : as for `nn.curvature.matrix.invert`, needed where inputs are linearly dependent.

    Raises
    ------
    TypeError
        If W, x or mask is no array.
    ValueError
        If shapes do not fit, x has no patterns, the mask other numbers, or as `nn.curvature.matrix.invert`.
    """
    get_array_module(W, x, mask)
    if W.ndim != 2 or x.ndim != 2 or tuple(mask.shape) != tuple(W.shape) or W.shape[1] != x.shape[0]:
        shapes = [tuple(each.shape) for each in (W, x, mask)]
        raise ValueError("expected W (O, I), x (I, N), mask (O, I), got shapes {}, {}, {}".format(*shapes))
    keep = to_numpy(mask)
    if x.shape[1] == 0 or not np.all((keep == 0) | (keep == 1)):
        raise ValueError(f"expected a mask of zeros and ones and at least one pattern, got {x.shape[1]} patterns")
    Hinv = invert(2 / x.shape[1] * (x @ x.T), damping)
    Qs = [np.flatnonzero(row == 0).tolist() for row in keep]
    return get_array_module(W).concat([delete(W[i, :], Hinv, Q)[0][None, :] for i, Q in enumerate(Qs)], axis=0)


def _indices(u: Array, Hinv: Array, indices: Iterable[int]) -> Array:
    _check_shapes(u, Hinv)
    try:
        Q = [operator.index(q) for q in indices]
    except TypeError:
        raise TypeError(f"expected the indices of weights, got {indices!r}") from None
    h = to_numpy(_diagonal(Hinv))
    left = int(np.sum(h > 0))
    if len(Q) > left:
        raise ValueError(f"expected at most {left} weights to delete, as many as are left, got {len(Q)}")
    if len(set(Q)) < len(Q) or not all(0 <= q < len(h) and h[q] > 0 for q in Q):
        raise ValueError(f"expected different indices below {len(h)} of weights that are not deleted yet, got {Q}")
    return asarray(Q, like=Hinv, dtype=get_array_module(Hinv).int64)


def _solve(M: Array, right: Array) -> Array:
    # A block on the diagonal of an inverse Hessian has an inverse, unless that Hessian was none to take an inverse of.
    xp = get_array_module(M, right)
    try:
        solved = xp.linalg.solve(M, right)
    except (ValueError, RuntimeError):  # LinAlgError of NumPy and of torch; CuPy returns NaN
        solved = float("nan") * right
    if not bool(xp.all(xp.isfinite(solved))):
        raise ValueError(
            f"expected an inverse of a positive definite Hessian, got a singular block of {M.shape[0]} weights"
        )
    return solved


def _diagonal(Hinv: Array) -> Array:
    return diagonal(Hinv[:, :, None])[:, 0]


def _check_shapes(u: Array, Hinv: Array) -> None:
    get_array_module(u, Hinv)
    if u.ndim != 1 or tuple(Hinv.shape) != 2 * tuple(u.shape):
        raise ValueError(f"expected u (K,) and Hinv (K, K), got shapes {tuple(u.shape)} and {tuple(Hinv.shape)}")


def _check_numbers(s: Array, u: Array, h: Array) -> None:
    unsound = ~to_numpy(get_array_module(s).isfinite(s) & ((h > 0) & (h < float("inf")) | (u == 0)))
    if unsound.any():
        q = int(np.flatnonzero(unsound)[0])
        raise ValueError(
            f"expected an inverse of a positive definite Hessian, got {float(h[q]):.3g} on its diagonal"
            f" where a weight is {float(u[q]):.3g}"
        )


def _check(net: Module, Hinv: Array) -> None:
    check_net(net)
    live, xp = to_numpy(alive(net)), get_array_module(Hinv)
    if tuple(Hinv.shape) != (len(live), len(live)):
        raise ValueError(f"expected an inverse Hessian of shape {(len(live),) * 2}, got {tuple(Hinv.shape)}")
    if not np.array_equal(live > 0, to_numpy(_diagonal(Hinv)) > 0):
        raise ValueError("expected an inverse Hessian that is zero exactly where the masks are, got one of other masks")
    if not bool(xp.all(xp.isfinite(Hinv))):
        raise ValueError("expected an inverse Hessian of finite numbers, got NaN or infinity")


def _write(net: Module, u: Array, keep: Mapping[str, Array]) -> None:
    for (_, parameter), piece in zip(net.named_parameters(), split(net, u).values()):
        parameter.data = piece
    masks.apply(net, keep)
