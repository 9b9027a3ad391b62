"""ADMM for networks: the weights follow the loss, a pruned copy of them follows the constraint, and both must agree.

    min_W f(W)  subject to  W_i in P_i,   as   min f(W) + sum_i g_i(Y_i)  subject to  W_i = Y_i,

with g_i zero on the constraint set P_i and infinite outside.  The scaled augmented Lagrangian is

    L(W, Y, U) = f(W) + sum_i g_i(Y_i) + sum_i (rho_i/2) ||W_i - Y_i + U_i||^2 - sum_i (rho_i/2) ||U_i||^2,

and the three steps minimise it over W, then over Y, and climb it in U:

    W <- steps of the optimizer on f(W) + sum_i (rho_i/2) ||W_i - Y_i + U_i||^2
    Y <- projection of W + U on P
    U <- U + W - Y.

The sets are not convex and W is found by a few steps only, so nothing promises convergence; W is never exactly sparse,
Y is.  What remains is to set W to its projection and to train what survived (`project`).

The weights stand as matrices, a row for a filter (GEMM view, `textbook.proximal`).  W, Y, U here are x, z, u in
`textbook.splitting`.

Notes
-----
Zhang et al. 2018, A systematic DNN weight pruning framework using ADMM.  The P-RM paper (Ma et al. 2020) prints the Y
step with a variable Z that nothing else updates (its equation 6), the constraint on W instead of Y (3), and the
penalised objective in the place of L (4).
"""

import math
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from nn.backend import Array, get_array_module
from nn.module import Module
from pruning import masks
from textbook.proximal import keep_largest, keep_largest_columns, keep_largest_rows

Projection: TypeAlias = Callable[[Array], Array]
"""V, a weight of any shape -> the nearest point of the set, of the same shape."""


def matrix(w: Array) -> Array:
    """Return a weight (out, ...) as its matrix (out, K)."""
    return get_array_module(w).reshape(w, (w.shape[0], -1))


def weights(k: int) -> Projection:
    """Return the projection on at most k nonzero weights."""
    _at_least_one(k)
    return lambda v: keep_largest(v, k)


def largest_of_all(values: Mapping[str, Array], k: int) -> dict[str, Projection]:
    """Return sets whose projections keep, of these values, the k largest of all layers together: one budget.

    How many of them each layer has is read off here, so that W + U wants its sets anew before every `ADMM.update`, and
    W before `ADMM.project`.

    Raises
    ------
    ValueError
        If k is not at least one for each layer and at most the number of weights, or a layer has none of the largest.
    """
    sizes = {name: math.prod(v.shape) for name, v in values.items()}
    if not len(sizes) <= k <= sum(sizes.values()):
        raise ValueError(f"expected to keep {len(sizes)} to {sum(sizes.values())} weights of these layers, got {k}")
    scores = {name: v * v for name, v in values.items()}
    kept = masks.smallest(scores, 1 - k / sum(sizes.values()))
    each = {name: int(get_array_module(mask).sum(mask)) for name, mask in kept.items()}
    empty = [name for name, n in each.items() if n == 0]
    if empty:
        raise ValueError(f"{empty[0]} has none of the {k} largest weights: a layer without weights cuts the net in two")
    return {name: weights(n) for name, n in each.items()}


def filters(k: int) -> Projection:
    """Return the projection on at most k nonzero filters, the rows of the matrix."""
    _at_least_one(k)
    return lambda v: _like(keep_largest_rows(matrix(v), k), v)


def columns(k: int) -> Projection:
    """Return the projection on at most k nonzero columns of the matrix, positions (channel, i, j) of all filters."""
    _at_least_one(k)
    return lambda v: _like(keep_largest_columns(matrix(v), k), v)


def channels(k: int) -> Projection:
    """Return the projection on at most k nonzero input channels W[:, c], blocks of columns of the matrix.

    Not for a linear layer behind a flatten, where W[:, c] is one of the H*W columns of a channel, and not for a
    convolution that lost columns (`pruning.surgery.remove_columns`), where it is one of those that are left.
    """
    _at_least_one(k)

    def project(v: Array) -> Array:
        if len(v.shape) < 2:
            raise ValueError(f"expected a weight with input channels, (out, in, ...), got shape {tuple(v.shape)}")
        xp = get_array_module(v)
        C = v.shape[1]
        blocks = xp.reshape(matrix(v), (v.shape[0], C, -1))
        by_channel = xp.reshape(xp.permute_dims(blocks, (1, 0, 2)), (C, -1))
        kept = xp.reshape(keep_largest_rows(by_channel, k), (C, v.shape[0], -1))
        return _like(xp.permute_dims(kept, (1, 0, 2)), v)

    return project


def filters_and_columns(rows: int, cols: int) -> Projection:
    """Return a map to matrices with at most `rows` nonzero rows and `cols` nonzero columns, near the nearest one.

    The nearest one is a choice of rows and columns together, one of binomial(R, rows) x binomial(C, cols).  Rows first
    and columns first are both tried, each then improved in turns (the best columns for these rows, the best rows for
    those columns) until nothing changes, and the one that keeps more energy is taken.
    """
    _at_least_one(rows)
    _at_least_one(cols)

    def project(v: Array) -> Array:
        V = matrix(v)
        xp = get_array_module(V)
        found = [
            _improved(V, rows, cols, start) for start in (keep_largest_rows(V, rows), keep_largest_columns(V, cols))
        ]
        energies = [float(xp.sum(f * f)) for f in found]
        return _like(found[energies.index(max(energies))], v)

    return project


def _improved(V: Array, rows: int, cols: int, start: Array) -> Array:
    xp = get_array_module(V)
    kept, energy = start, -1.0
    while True:
        kept_columns = xp.any(keep_largest_columns(kept, cols) != 0, axis=0)
        by_rows = keep_largest_rows(xp.where(kept_columns[None, :], V, xp.zeros_like(V)), rows)
        kept_rows = xp.any(by_rows != 0, axis=1)
        kept = xp.where(kept_rows[:, None], V, xp.zeros_like(V))
        found = xp.where(kept_columns[None, :], by_rows, xp.zeros_like(V))
        now = float(xp.sum(found * found))
        if now <= energy:
            return found
        energy = now


def _at_least_one(k: int) -> None:
    if k < 1:
        raise ValueError(f"expected to keep at least one, got {k}: a layer without weights cuts the net in two")


def _like(values: Array, v: Array) -> Array:
    return get_array_module(values).reshape(values, v.shape)


class ADMM:
    """Y and U of the constrained weights of a net, whose W steps are ordinary training.

    Pass `add_gradient` to `nn.training.train` as ``after_backward`` and call `update` between epochs or every so many
    steps.  U starts at zero and Y at the projection of W: Y = 0 would erase the net first.  After the last update
    comes `project`, and training of what is left.  Surgery makes a new net, and that wants an ADMM of its own.

    Parameters
    ----------
    net : trained.
    sets : weight name -> projection.
    rho : one number, or one for each name; in units of the curvature of the loss.

    Attributes
    ----------
    Y, U : name -> array of the weight's shape.
    history : one dict an update: "primal" ||W - Y||, "dual" rho ||Y - previous Y||, each over all constrained weights,
        and "relative" ||W - Y|| / ||W||.

    Raises
    ------
    ValueError
        If a name is no weight of the net, there is no set, a rho is not positive, or a projection refuses the weight
        (more rows asked for than there are, for instance).

    Examples
    --------
    >>> split = ADMM(net, {"0.W": filters(5), "2.W": columns(60)}, rho=0.02)
    >>> for rho in (0.02, 0.05, 0.1, 0.2):
    ...     split.set_rho(rho)
    ...     nn.training.train(net, loss, optimizer, x, t, epochs=1, batch_size=128, rng=rng,
    ...                       after_backward=split.add_gradient)
    ...     split.update()
    >>> split.project()
    >>> nn.training.train(net, loss, optimizer, x, t, epochs=5, batch_size=128, rng=rng)
    """

    def __init__(self, net: Module, sets: Mapping[str, Projection], rho: float | Mapping[str, float]):
        self.net, self.sets, self.rho = net, dict(sets), _by_name(rho, sets)
        self.parameters = masks.prunable(net, list(sets))
        self.Y = {name: self._project(name, u.data) for name, u in self.parameters.items()}
        self.U = {name: get_array_module(u.data).zeros_like(u.data) for name, u in self.parameters.items()}
        self.history: list[dict[str, float]] = []

    def _project(self, name: str, v: Array) -> Array:
        try:
            return self.sets[name](v)
        except (ValueError, TypeError) as error:
            raise ValueError(f"the set of {name}, a weight of shape {tuple(v.shape)}: {error}") from None

    def add_gradient(self) -> None:
        """Add d/dW (rho/2) ||W - Y + U||^2 = rho (W - Y + U) to the gradients; a ValueError if there are none yet."""
        for name, W in self.parameters.items():
            if W.grad is None:
                raise ValueError(f"{name} has no gradient to add to: this belongs after the backward sweep")
            W.grad = W.grad + self.rho[name] * (W.data - self.Y[name] + self.U[name])

    def update(self) -> None:
        """Y <- projection of W + U,  U <- U + W - Y; record the residuals."""
        primal = dual = size = 0.0
        for name, W in self.parameters.items():
            previous = self.Y[name]
            self.Y[name] = self._project(name, W.data + self.U[name])
            self.U[name] = self.U[name] + W.data - self.Y[name]
            primal += _square(W.data - self.Y[name])
            dual += self.rho[name] ** 2 * _square(self.Y[name] - previous)
            size += _square(W.data)
        relative = math.sqrt(primal / size) if size else 0.0
        self.history.append({"primal": math.sqrt(primal), "dual": math.sqrt(dual), "relative": relative})

    def set_rho(self, rho: float | Mapping[str, float]) -> None:
        """Change rho; the multiplier is rho U and must not jump, so U <- U rho_old / rho_new."""
        new = _by_name(rho, self.sets)
        for name in self.sets:
            self.U[name] = self.U[name] * (self.rho[name] / new[name])
        self.rho = new

    def project(self) -> dict[str, Array]:
        """Set the weights to their projections, for good: masks hold what was cut at zero.  Return the masks.

        What is projected is W, not W + U: U was there to pull W towards the set, and W is what the net computes with.
        A weight that is exactly zero counts as cut, so that masks which were there before stay.

        Raises
        ------
        ValueError
            If all weights of a layer would be cut; the net is unchanged then.
        """
        cut = {}
        for name, W in self.parameters.items():
            xp = get_array_module(W.data)
            kept = self._project(name, W.data) != 0
            if not bool(xp.any(kept)):
                raise ValueError(f"the projection of {name} is zero, which cuts the net in two")
            cut[name] = xp.astype(kept, W.data.dtype)
        masks.apply(self.net, cut)
        return cut


def _by_name(rho: float | Mapping[str, float], sets: Mapping[str, Any]) -> dict[str, float]:
    if not sets:
        raise ValueError("expected a constraint set for at least one weight, got none")
    values = dict(rho) if isinstance(rho, Mapping) else dict.fromkeys(sets, rho)
    if values.keys() != sets.keys():
        raise ValueError(f"expected a rho for each of {', '.join(sets)}; got one for {', '.join(values) or 'none'}")
    for name, value in values.items():
        if not (math.isfinite(value) and value > 0):
            raise ValueError(f"expected a positive rho for {name}, got {value}")
    return values


def _square(array: Array) -> float:
    return float(get_array_module(array).sum(array * array))
