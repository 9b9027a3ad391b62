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

The weights stand as matrices, a row for a filter; the sets are those of `pruning.penalties.projections`, which are
reached from here too.  W, Y, U here are x, z, u in `textbook.splitting`.

Notes
-----
Zhang et al. 2018, A systematic DNN weight pruning framework using ADMM.  The P-RM paper (Ma et al. 2019) prints the Y
step with a variable Z that nothing else updates (its equation 6), the constraint on W instead of Y (3), and the
penalised objective in the place of L (4).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from nn.arguments import number, whole
from nn.backend import Array, asarray, get_array_module, to_numpy
from nn.companions import Companion, State, is_array
from nn.module import Module
from nn.run_state import kind_of
from pruning import masks
from pruning.penalties.projections import (
    Projection,
    channels,
    columns,
    filters,
    filters_and_columns,
    largest_of_all,
    matrix,
    weights,
)

__all__ = [
    "ADMM",
    "OneBudget",
    "Projection",
    "channels",
    "columns",
    "filters",
    "filters_and_columns",
    "largest_of_all",
    "matrix",
    "weights",
]


class ADMM(Companion):
    """Y and U of the constrained weights of a net, whose W steps are ordinary training.

    A companion of `nn.training.train`, which calls `update` every so many steps; or call it between runs.  U starts
    at zero and Y at the projection of W: Y = 0 would erase the net first.  After the last update comes `project`, and
    training of what is left.  Surgery makes a new net, and that wants an ADMM of its own.

    Parameters
    ----------
    net : trained.
    sets : weight name -> projection.
    rho : one number, or one for each name; in units of the curvature of the loss.  Or the number of updates so far ->
        one of these, for a rho that grows in the course of training.
    every : steps of the optimizer between two updates; None leaves calling `update` to you.

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
    TypeError
        If the sets are no mapping, or a rho is no number.

    Examples
    --------
    Training with ADMM pulls the rows of W to three; projecting leaves no more, and training goes on with the masks:

    >>> import numpy as np
    >>> import nn
    >>> from pruning.penalties import admm
    >>> rng, data = np.random.default_rng(0), nn.data.load("digits")
    >>> net, loss = nn.models.mlp((64, 8, 10), rng), nn.SoftmaxCrossEntropy()
    >>> settings = {"batch_size": 128, "rng": rng, "progress": False}
    >>> optimizer = nn.SGD(net.parameters(), learning_rate=0.1, momentum=0.9)
    >>> split = admm.ADMM(net, {"1.W": admm.filters(3)}, rho=lambda updates: 0.02 * 1.3**updates, every=4)
    >>> history = nn.training.train(net, loss, optimizer, *data.train, epochs=2, companions=[split], **settings)
    >>> masks = split.project()
    >>> history = nn.training.train(net, loss, optimizer, *data.train, epochs=1, **settings)
    >>> int(net.layers[1].W.data.any(axis=1).sum())
    3
    """

    def __init__(
        self,
        net: Module,
        sets: Mapping[str, Projection],
        rho: float | Mapping[str, float] | Callable[[int], float | Mapping[str, float]],
        every: int | None = None,
    ):
        if not isinstance(sets, Mapping):
            raise TypeError(f"expected sets as a mapping, weight name -> projection, got a {type(sets).__name__}")
        self.net, self.sets = net, dict(sets)
        self.every = None if every is None else whole(every, "number of steps between two updates", 1)
        self.schedule = rho if callable(rho) else None
        self.rho = _by_name(rho(0) if callable(rho) else rho, sets)
        self.parameters = masks.prunable(net, list(sets))
        self.Y = {name: self._project(name, u.data) for name, u in self.parameters.items()}
        self.U = {name: get_array_module(u.data).zeros_like(u.data) for name, u in self.parameters.items()}
        self.history: list[dict[str, float]] = []

    def _project(self, name: str, v: Array) -> Array:
        try:
            y = asarray(self.sets[name](v), like=v)  # in its dtype too: a float64 point would make the weights float64
            if tuple(y.shape) != tuple(v.shape):
                raise ValueError(f"its projection has the shape {tuple(y.shape)}")
        except (ValueError, TypeError) as error:
            raise ValueError(f"the set of {name}, a weight of shape {tuple(v.shape)}: {error}") from None
        return y

    def after_backward(self, step: int) -> None:
        """Add the gradient of the penalty."""
        self.add_gradient()

    def add_gradient(self) -> None:
        """Add d/dW (rho/2) ||W - Y + U||^2 = rho (W - Y + U) to the gradients; a ValueError if there are none yet."""
        for name, W in self.parameters.items():
            if W.grad is None:
                raise ValueError(f"{name} has no gradient to add to: this belongs after the backward sweep")
        for name, W in self.parameters.items():
            W.grad = W.grad + self.rho[name] * (W.data - self.Y[name] + self.U[name])

    def after_step(self, step: int) -> None:
        """Update Y and U, and rho if it grows, every so many steps."""
        if self.every is not None and step % self.every == 0:
            self.update()
            if self.schedule is not None:
                self.set_rho(self.schedule(len(self.history)))

    def penalty(self) -> float:
        """Return sum_i (rho_i/2) ||W_i - Y_i + U_i||^2, whose gradient the loss's is joined by."""
        squares = {name: _square(W.data - self.Y[name] + self.U[name]) for name, W in self.parameters.items()}
        return sum(self.rho[name] / 2 * square for name, square in squares.items())

    def update(self) -> None:
        """Y <- projection of W + U,  U <- U + W - Y; record the residuals.  If a projection fails nothing changes."""
        primal = dual = size = 0.0
        Y = {name: self._project(name, W.data + self.U[name]) for name, W in self.parameters.items()}
        for name, W in self.parameters.items():
            self.U[name] = self.U[name] + W.data - Y[name]
            primal += _square(W.data - Y[name])
            dual += self.rho[name] ** 2 * _square(Y[name] - self.Y[name])
            size += _square(W.data)
        self.Y = Y
        relative = math.sqrt(primal / size) if size else 0.0
        self.history.append({"primal": math.sqrt(primal), "dual": math.sqrt(dual), "relative": relative})

    def state(self) -> State:
        """Return Y, U, rho and the history."""
        arrays = {f"{letter}/{name}": a for letter in "YU" for name, a in getattr(self, letter).items()}
        return {**arrays, "rho": dict(self.rho), "history": list(self.history)}

    def load(self, state: State) -> None:
        """Take up a state; a ValueError if it is not of these weights."""
        rho, history = _by_name(state.get("rho", {}), self.sets), state.get("history")
        like = {f"{letter}/{name}": W.data for letter in "YU" for name, W in self.parameters.items()}
        if state.keys() != like.keys() | {"rho", "history"} or not isinstance(history, list):
            raise ValueError(f"expected Y and U of {', '.join(self.sets)}, got {', '.join(state)}")
        for key, w in like.items():
            _check_like(key, state[key], w)
        found = {key: asarray(state[key], like=w) for key, w in like.items()}
        self.Y, self.U = ({name: found[f"{letter}/{name}"] for name in self.parameters} for letter in "YU")
        self.rho, self.history = rho, list(history)

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


class OneBudget(ADMM):
    """ADMM on the k largest weights of several layers together: how many each layer has is decided at every update.

    Parameters
    ----------
    net, rho, every : as for `ADMM`.
    names : the weights that share the budget.
    k : how many of them may be nonzero; `largest_of_all` says which k it refuses.
    """

    def __init__(
        self,
        net: Module,
        names: Sequence[str],
        k: int,
        rho: float | Mapping[str, float] | Callable[[int], float | Mapping[str, float]],
        every: int | None = None,
    ):
        self.k = k
        values = {name: W.data for name, W in masks.prunable(net, list(names)).items()}
        super().__init__(net, largest_of_all(values, k), rho, every)

    def update(self) -> None:
        """Do as `ADMM.update`, with the sets in which the projection of W + U on the budget lies."""
        self.sets = largest_of_all({name: W.data + self.U[name] for name, W in self.parameters.items()}, self.k)
        super().update()

    def project(self) -> dict[str, Array]:
        """Do as `ADMM.project`, with the sets in which the projection of W on the budget lies."""
        self.sets = largest_of_all({name: W.data for name, W in self.parameters.items()}, self.k)
        return super().project()


def _by_name(rho: float | Mapping[str, float], sets: Mapping[str, Any]) -> dict[str, float]:
    if not sets:
        raise ValueError("expected a constraint set for at least one weight, got none")
    values = dict(rho) if isinstance(rho, Mapping) else dict.fromkeys(sets, rho)
    if values.keys() != sets.keys():
        raise ValueError(f"expected a rho for each of {', '.join(sets)}; got one for {', '.join(values) or 'none'}")
    for name, value in values.items():
        values[name] = number(value, f"the rho of {name}")
        if not (math.isfinite(values[name]) and values[name] > 0):
            raise ValueError(f"expected a positive rho for {name}, got {value}")
    return values


def _check_like(key: str, array: Any, w: Array) -> None:
    shape, dtype = kind_of(w)
    if not is_array(array) or kind_of(array) != (shape, dtype) or not np.all(np.isfinite(to_numpy(array))):
        got = f"{kind_of(array)[1]} {kind_of(array)[0]}" if is_array(array) else repr(array)
        raise ValueError(f"expected finite {key} of {dtype} {shape}, got {got}")


def _square(array: Array) -> float:
    return float(get_array_module(array).sum(array * array))
