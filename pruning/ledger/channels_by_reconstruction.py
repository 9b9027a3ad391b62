"""Which channels stay: ThiNet and each of its steps, and the three errors of a set with the order among them."""

from collections.abc import Callable
from typing import Any

import numpy as np

from pruning.ledger.core import Form, Formula, Statement
from pruning.ledger.lasso_channels import draw_layer, moments_of, parts
from pruning.reconstruction import thinet

Array = np.ndarray
C, KEPT = 6, 3


def _draw(rng: np.random.Generator) -> dict[str, Array]:
    return draw_layer(rng, c=C)


def _energy(rows: Array) -> float:
    """E ||.||^2, sample by sample."""
    return sum(sum(float(value) ** 2 for value in row) for row in rows) / len(rows)


# ---- S0-A3: ThiNet, three of six channels, and then one factor each --------------------------------------------------
def _thinet(X: Array, W: Array, Y: Array) -> tuple[Array, Array, float]:
    made = moments_of(X, W, X @ W.T, C)
    gone, errors = thinet.order(made)
    kept, factors = thinet.choose(made, KEPT), np.zeros(C)
    factors[kept] = made.factors(kept)
    return np.array(gone[: C - KEPT]), factors, float(errors[C - KEPT - 1])


def _greedy(cost: Callable[[Array, list[int], int], float], fitted: bool = True) -> Callable[..., Any]:
    """The channel of the least cost(Z, T, i) goes, again and again; then least squares on the rows."""

    def form(X: Array, W: Array, Y: Array) -> tuple[Array, Array, float]:
        Z, gone = parts(X, W, C), list[int]()
        while len(gone) < C - KEPT:
            left = [i for i in range(C) if i not in gone]
            gone.append(min(left, key=lambda i: cost(Z, gone, i)))
        kept, factors = [i for i in range(C) if i not in gone], np.zeros(C)
        rows = Z[kept].reshape(KEPT, -1).T
        factors[kept] = np.linalg.lstsq(rows, Z.sum(axis=0).reshape(-1), rcond=None)[0] if fitted else 1.0
        return np.array(gone), factors, _energy(Z[gone].sum(axis=0))

    return form


def _sum_removed(Z: Array, gone: list[int], i: int) -> float:
    return _energy(Z[[*gone, i]].sum(axis=0))


def _sizes(Z: Array, gone: list[int], i: int) -> float:
    return _energy(Z[i])


def _largest(Z: Array, gone: list[int], i: int) -> float:
    return -_sum_removed(Z, gone, i)


def _distance(Z: Array, gone: list[int], i: int) -> float:
    return float(np.mean(Z[[*gone, i]].sum(axis=0)) ** 2)


def _draw_greedy(rng: np.random.Generator) -> dict[str, Array]:
    """Draw until no other rule removes the same channels."""
    while True:
        drawn = draw_layer(rng, c=C, N=8)
        sets = [set(_greedy(cost)(**drawn)[0].tolist()) for cost in (_sum_removed, _sizes, _largest, _distance)]
        if sets[0] not in sets[1:]:
            return drawn


# ---- D40: the three errors of a set ----------------------------------------------------------------------------------
Five = tuple[float, float, float, float, float]


def _draw_set(rng: np.random.Generator) -> dict[str, Array]:
    return {**_draw(rng), "kept": np.sort(rng.choice(C, KEPT, replace=False))}


def _three(X: Array, W: Array, Y: Array, kept: Array) -> Five:
    made, some = moments_of(X, W, Y, C), kept.tolist()
    e1, e2, e3 = made.selection_error(some), made.scaling_error(some), made.refit_error(some)
    return e1, e2, e3, e1 - e2, e2 - e3


def _residuals(X: Array, W: Array, Y: Array, kept: Array, bias: float = 0.0, own: bool = False) -> Five:
    Z = parts(X, W, C)
    Y, some = (Z.sum(axis=0) if own else Y) + bias, Z[kept].reshape(KEPT, -1).T
    columns = X[:, [2 * i + j for i in kept for j in (0, 1)]]
    scaled = some @ np.linalg.lstsq(some, Y.reshape(-1), rcond=None)[0]
    refitted = columns @ np.linalg.lstsq(columns, Y, rcond=None)[0]
    made = Z[kept].sum(axis=0), scaled.reshape(Y.shape), refitted
    e1, e2, e3 = (_energy(Y - each) for each in made)
    return e1, e2, e3, _energy(made[0] - made[1]), _energy(made[1] - made[2])


def _closed(slip: str) -> Callable[..., Five]:
    """The five, with a slip in the closed form of one of them."""

    def form(X: Array, W: Array, Y: Array, kept: Array) -> Five:
        right, Z, N = _residuals(X, W, Y, kept), parts(X, W, C), len(X)
        G, q = (np.array([[np.sum(a * b) for a in Z] for b in others]) / N for others in (Z, [Y]))
        some, q, energy = G[np.ix_(kept, kept)], q[0][kept], _energy(Y)
        columns = [2 * i + j for i in kept for j in (0, 1)]
        A, R = X.T @ X / N, Y.T @ X[:, columns] / N
        slips = {
            "without the 2": (0, energy - q.sum() + some.sum()),
            "without pairs": (0, energy - 2 * q.sum() + np.trace(some)),
            "one by one": (1, energy - np.sum(q**2 / np.diag(some))),
            "block of G^-1": (1, energy - q @ np.linalg.inv(G)[np.ix_(kept, kept)] @ q),
            "block of A^-1": (2, energy - np.sum(R @ np.linalg.inv(A)[np.ix_(columns, columns)] * R)),
            "A = I": (2, energy - np.sum(R * R)),
            "sizes of the factors": (3, np.sum((1 - np.linalg.solve(some, q)) ** 2)),
        }
        found = list(right)
        found[slips[slip][0]] = float(slips[slip][1])
        return found[0], found[1], found[2], found[3], found[4]

    return form


# ---- D41: what one more channel adds ---------------------------------------------------------------------------------
def _steps(X: Array, W: Array, Y: Array) -> tuple[Array, Array]:
    """What each removal adds: for the layer's own output, and for another target."""
    found = []
    for target in (X @ W.T, Y):
        made = moments_of(X, W, target, C)
        gone, errors = thinet.order(made)
        found.append(np.array([gone, np.diff(errors, prepend=made.selection_error(range(C)))]))
    return found[0], found[1]


def _by_sums(X: Array, W: Array, Y: Array) -> tuple[Array, Array]:
    Z = parts(X, W, C)
    found = []
    for target in (Z.sum(axis=0), Y):
        gone, added, error = list[int](), [], _energy(target - Z.sum(axis=0))
        while len(gone) < C:
            left = [i for i in range(C) if i not in gone]
            errors = {i: _energy(target - Z[[j for j in left if j != i]].sum(axis=0)) for i in left}
            gone.append(min(left, key=lambda i: errors[i]))
            added.append(errors[gone[-1]] - error)
            error = errors[gone[-1]]
        found.append(np.array([gone, added]))
    return found[0], found[1]


def _through_G(two: float = 2.0, own: float = 1.0, forward: bool = False) -> Callable[..., tuple[Array, Array]]:
    """Greedy through G and q with a slip; `forward` lets the best in, and reads the order backwards."""

    def form(X: Array, W: Array, Y: Array) -> tuple[Array, Array]:
        Z, found = parts(X, W, C), []
        G = np.array([[np.sum(a * b) for a in Z] for b in Z]) / len(X)
        for target in (Z.sum(axis=0), Y):
            q, chosen, added = np.array([np.sum(a * target) for a in Z]) / len(X), list[int](), []
            while len(chosen) < C:
                left = [i for i in range(C) if i not in chosen]
                inside = chosen if forward else left
                slope = G[:, inside].sum(axis=1) - q
                costs = {i: (1 if forward else -1) * two * slope[i] + own * G[i, i] for i in left}
                chosen.append(min(left, key=lambda i: costs[i]))
                added.append(costs[chosen[-1]])
            found.append(np.array([chosen[::-1], [-a for a in added[::-1]]] if forward else [chosen, added]))
        return found[0], found[1]

    return form


def _draw_steps(rng: np.random.Generator) -> dict[str, Array]:
    """Draw until letting in one by one is not the same way backwards, as it can be."""
    while True:
        drawn = _draw(rng)
        forward, backward = _through_G(forward=True)(**drawn), _through_G()(**drawn)
        if any(np.any(one[0] != other[0]) for one, other in zip(forward, backward)):
            return drawn


STATEMENTS: tuple[Statement, ...] = (
    Formula(
        id="S0-A3",
        title="ThiNet: three of six channels",
        printed=r"\min_{T}\ \sum_n\Big(\sum_{c\in T}\hat x_{n,c}\Big)^2,\quad T\text{ is removed, greedily};\qquad"
        r"\min_{\beta}\ \Big\|Y-\sum_{i\notin T}\beta_iZ_i\Big\|^2",
        verdict="lost",
        remark="The slide has words only: of the channels left, the one goes after which the removed sum is least.",
        where="S0, ThiNet",
        code="pruning.reconstruction.thinet.order, pruning.reconstruction.thinet.choose",
        notebook="16, section 4",
        draw=_draw_greedy,
        draws=3,
        right=_thinet,
        referees=(Form("sums over samples, least squares on the rows", _greedy(_sum_removed)),),
        wrong=(
            Form("sum of squares", _greedy(_sizes), "The square is that of the sum: what is removed may cancel."),
            Form("the largest sum", _greedy(_largest), "T is what goes, and it should be missed least."),
            Form("square of the mean", _greedy(_distance), "Each sample and output has a square of its own."),
            Form("no factors", _greedy(_sum_removed, fitted=False), "The second step is a least-squares fit."),
        ),
    ),
    Formula(
        id="D40",
        title="the error of a set: as it is, with one factor a channel, refitted",
        printed=r"E-2\,1^\top q_S+1^\top G_{SS}1\ \ge\ E-q_S^\top G_{SS}^{+}q_S\ \ge\ "
        r"E-\mathrm{tr}(C_SA_{SS}^{+}C_S^\top)",
        verdict="lost",
        remark="The differences are the E ||.||^2 between the outputs of the three fits: squares, hence the order.",
        where="He et al. 2017, (1) to (4); Luo et al. 2017, 3.2",
        code="pruning.reconstruction.moments.Moments",
        notebook="16, section 2",
        tolerance=1e-10,
        draw=_draw_set,
        right=_three,
        referees=(Form("residuals on the samples, least squares", _residuals),),
        wrong=(
            Form("selection without the 2", _closed("without the 2"), "It is a square: Y and Y' meet twice."),
            Form("selection without pairs", _closed("without pairs"), "Channels add up before the square."),
            Form("factors one by one", _closed("one by one"), "Channels that resemble each other share a factor."),
            Form("a block of G^-1", _closed("block of G^-1"), "The channels that went may not help any more."),
            Form("a block of A^-1", _closed("block of A^-1"), "Invert what is left: the rest may not answer."),
            Form("A = I", _closed("A = I"), "The columns have sizes and correlations."),
            Form("steps by factors alone", _closed("sizes of the factors"),
                 "It is the outputs that differ: by (1 - beta) G (1 - beta)."),
            Form("bias left in Y", lambda **drawn: _residuals(**drawn, bias=1.5), "The bias stays in the layer."),
            Form("q = G 1", lambda **drawn: _residuals(**drawn, own=True), "The target is that of the dense net."),
        ),
    ),
    Formula(
        id="D41",
        title="ThiNet's greedy step",
        printed=r"1_{T+i}^\top G1_{T+i}-1_T^\top G1_T=2(G1_T)_i+G_{ii};\qquad\text{for a target }Y:\ "
        r"2q_i-2(G1_S)_i+G_{ii}",
        verdict="lost",
        remark="Every step in the order of removal, for the layer's own output and for another target.",
        where="Luo et al. 2017, 3.2",
        code="pruning.reconstruction.thinet.order",
        notebook="16, section 4",
        tolerance=1e-11,
        draw=_draw_steps,
        right=_steps,
        referees=(Form("errors of the sums on the samples", _by_sums),),
        wrong=(
            Form("without the 2", _through_G(two=1.0), "A pair of channels stands in G twice."),
            Form("without G_ii", _through_G(own=0.0), "The channel meets itself as well."),
            Form("greedy on the kept", _through_G(forward=True),
                 "To let the best in one by one is another way, and ends in other sets."),
        ),
    ),
)  # fmt: skip
