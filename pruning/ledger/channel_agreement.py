"""Channels: the surgeon on blocks of A, the target of the dense net, and the data for which all methods agree."""

from collections.abc import Callable
from typing import Any

import numpy as np

import nn
from pruning.ledger.core import Form, Formula, Statement
from pruning.ledger.lasso_channels import draw_layer, moments_of, parts
from pruning.reconstruction import elimination, enumeration, lasso_channels, moments, thinet

Array = np.ndarray
C, KEPT = 6, 3


# ---- D42: the surgeon on blocks --------------------------------------------------------------------------------------
def _surgeon(X: Array, W: Array, Y: Array) -> tuple[Array, Array, Array]:
    made = moments_of(X, W, Y, 5)
    found = elimination.eliminate(made)
    return np.array(found.order), found.costs, elimination.errors(made, found)


def _fit(X: Array, Y: Array, left: list[int]) -> float:
    columns = X[:, [2 * i + j for i in left for j in (0, 1)]]
    return float(np.sum((Y - columns @ np.linalg.lstsq(columns, Y, rcond=None)[0]) ** 2) / len(X))


def _by_fits(X: Array, W: Array, Y: Array, least: bool = True) -> tuple[Array, Array, Array]:
    """Every channel that is left is tried: without it, all weights are fitted anew on the samples."""
    left, order, errors = list(range(5)), [], [_fit(X, Y, list(range(5)))]
    while left:
        after = {i: _fit(X, Y, [j for j in left if j != i]) for i in left}
        order.append((min if least else max)(left, key=lambda i: after[i]))
        left.remove(order[-1])
        errors.append(after[order[-1]])
    return np.array(order), np.diff(errors), np.array(errors)


def _slipped(slip: str) -> Callable[..., tuple[Array, Array, Array]]:
    """The surgeon by inverses of A, with a slip."""

    def form(X: Array, W: Array, Y: Array) -> tuple[Array, Array, Array]:
        A, R = X.T @ X / len(X), Y.T @ X / len(X)
        left, order, costs, fixed = list(range(5)), [], [], np.linalg.inv(A)
        while left:
            columns = [2 * i + j for i in left for j in (0, 1)]
            inverse = np.linalg.inv(A[np.ix_(columns, columns)])
            own = R @ fixed if slip == "weights" else np.zeros_like(R)
            own[:, columns] = own[:, columns] if slip == "weights" else R[:, columns] @ inverse
            cost = {}
            for place, i in enumerate(left):
                block, here = [2 * i, 2 * i + 1], slice(2 * place, 2 * place + 2)
                inner = fixed[np.ix_(block, block)] if slip == "downdate" else inverse[here, here]
                S = A[np.ix_(block, block)] if slip == "inverse of the block" else np.linalg.inv(inner)
                S = np.diag(1 / np.diag(inner)) if slip == "single weights" else S
                cost[i] = float(np.sum(own[:, block] @ S * own[:, block]))
            order.append(min(left, key=lambda i: cost[i]))
            left.remove(order[-1])
            costs.append(cost[order[-1]])
        return np.array(order), np.array(costs), _fit(X, Y, list(range(5))) + np.append(0.0, np.cumsum(costs))

    return form


# ---- D43 and D44: where all choose the same --------------------------------------------------------------------------
def _mask(kept: Any) -> Array:
    mask = np.zeros(C, dtype=int)
    mask[list(kept)] = 1
    return mask


def _largest(sizes: Any) -> Array:
    return _mask(np.argsort(-np.asarray(sizes))[:KEPT])


def _choices(X: Array, W: Array) -> list[Array]:
    made = moments_of(X, W, X @ W.T, C)
    choices = (lasso_channels.choose, thinet.choose, thinet.forward)
    return [_mask(choose(made, KEPT)) for choose in choices]


def _all_choices(X: Array, W: Array, F: Array) -> Array:
    made = moments_of(X, W, X @ W.T, C)
    errors = (moments.Moments.selection_error, moments.Moments.scaling_error, moments.Moments.refit_error)
    best = [_mask(enumeration.choose(made, KEPT, error)) for error in errors]
    return np.array([*_choices(X, W), _mask(elimination.choose(made, KEPT)), *best])


def _blocks(W: Array) -> list[Array]:
    return np.split(W, C, axis=1)


def _repeated(rows: int, sizes: Callable[..., Any]) -> Callable[..., Array]:
    return lambda **drawn: np.tile(_largest(sizes(**drawn)), (rows, 1))


def _consumer(X: Array, W: Array, **rest: Array) -> list[float]:
    return [sum(float(w) ** 2 for w in block.flat) for block in _blocks(W)]


def _producer(X: Array, W: Array, F: Array) -> Array:
    return np.linalg.norm(F, axis=1)


def _sized(X: Array, W: Array, F: Array) -> list[float]:
    """The channels of a layer whose inputs have sizes: A is diagonal, but no multiple of I."""
    return [float(np.sum((block * size) ** 2)) for block, size in zip(_blocks(W), np.linalg.norm(F, axis=1))]


def _draw_until(rng: np.random.Generator, draw: Callable[..., dict[str, Array]], rules: Any) -> dict[str, Array]:
    """Draw until the first rule chooses other channels than each of the rest."""
    while True:
        drawn = draw(rng)
        masks = [_largest(rule(**drawn)) for rule in rules]
        if all(np.any(masks[0] != other) for other in masks[1:]):
            return drawn


def _white(rng: np.random.Generator) -> dict[str, Array]:
    """X with X^T X / N = 0.49 I, the consumer's W, and the filters F (c, 5) that make the channels."""
    X = 0.7 * np.sqrt(20) * np.linalg.qr(rng.standard_normal((20, 2 * C)))[0]
    W = rng.standard_normal((4, 2 * C)) * np.repeat(10 ** rng.uniform(-0.3, 0.3, C), 2)
    return {"X": X, "W": W, "F": rng.standard_normal((C, 5)) * 10 ** rng.uniform(-0.3, 0.3, (C, 1))}


def _draw_white(rng: np.random.Generator) -> dict[str, Array]:
    return _draw_until(rng, _white, (_consumer, _producer, _sized))


def _diagonal(rng: np.random.Generator) -> dict[str, Array]:
    """Correlated inputs of several sizes; each channel has an output direction of its own, so that G is diagonal."""
    X = (rng.standard_normal((30, 2 * C)) + rng.standard_normal((30, 1))) * 10 ** rng.uniform(-0.3, 0.3, 2 * C)
    W = np.kron(np.eye(C), np.ones((1, 2))) * rng.uniform(0.5, 2, (1, 2 * C)) * rng.choice([-1, 1], 2 * C)
    return {"X": X, "W": np.linalg.qr(rng.standard_normal((C, C)))[0] @ W}


def _outputs(X: Array, W: Array) -> list[float]:
    return [sum(float(value) ** 2 for value in Z.flat) for Z in parts(X, W, C)]


def _inputs(X: Array, W: Array) -> list[float]:
    return [float(np.sum(block**2)) for block in _blocks(X)]


def _means(X: Array, W: Array) -> list[float]:
    return [float(np.sum(Z.mean(axis=0) ** 2)) for Z in parts(X, W, C)]


def _refits(X: Array, W: Array) -> Array:
    """The surgeon's three: here A is not diagonal, so that the kept channels can answer."""
    Y, left = X @ W.T, list(range(C))
    while len(left) > KEPT:
        left.remove(min(left, key=lambda i: _fit(X, Y, [j for j in left if j != i])))
    return _mask(left)


def _draw_diagonal(rng: np.random.Generator) -> dict[str, Array]:
    return _draw_until(rng, _diagonal, (_outputs, _inputs, _consumer, _means, _refits))


# ---- D45: the target of the dense net --------------------------------------------------------------------------------
def _draw_nets(rng: np.random.Generator) -> dict[str, Array]:
    """Images x, filters F0 of the dense net and F of the one that is being pruned, consumers W0 and W, and its bias."""
    F0, W0 = rng.standard_normal((3, 2, 2, 2)), rng.standard_normal((2, 3, 2, 2))
    F, W = F0 + 0.4 * rng.standard_normal(F0.shape), W0 + 0.2 * rng.standard_normal(W0.shape)
    return {"x": rng.standard_normal((2, 4, 4, 8)), "F0": F0, "F": F, "W0": W0, "W": W, "b": rng.uniform(1, 2, 2)}


Four = tuple[Array, Array, Array, float]


def _net(F: Array, W: Array, b: Array) -> nn.Sequential:
    rng = np.random.default_rng(0)  # every number it draws is replaced
    net = nn.Sequential(nn.Conv2d(2, 3, 2, rng, bias=False), nn.ReLU(), nn.Conv2d(3, 2, 2, rng))
    for name, value in (("0.W", F), ("2.W", W), ("2.b", b)):
        parameter = dict(net.named_parameters())[name]
        parameter.data = value.reshape(parameter.shape).copy()
    return net


def _collected(x: Array, F0: Array, F: Array, W0: Array, W: Array, b: Array) -> Four:
    made = moments.collect(_net(F, W, b), "2.W", x, _net(F0, W0, b))
    return made.C, W0.reshape(len(W0), -1) @ made.B.T, made.q, made.energy


def _patches(x: Array) -> Array:
    """Return (rows, c kh kw): one row for each place of each image."""
    h, w = x.shape[1] - 1, x.shape[2] - 1
    places = [(slice(i, i + 2), slice(j, j + 2), n) for i in range(h) for j in range(w) for n in range(x.shape[3])]
    return np.array([[x[c, i, j, n].ravel() for c in range(len(x))] for i, j, n in places]).reshape(len(places), -1)


def _read(x: Array, F: Array) -> Array:
    """Return what the second layer reads, patch by patch, after a first layer (3, 2, 2, 2) and a ReLU."""
    made = np.maximum(_patches(x) @ F.reshape(len(F), -1).T, 0.0)
    return _patches(made.T.reshape(len(F), x.shape[1] - 1, x.shape[2] - 1, x.shape[3]))


def _by_places(x: Array, F0: Array, F: Array, W0: Array, W: Array, b: Array, slip: str = "") -> Four:
    now, before = _read(x, F), _read(x, F0)
    flat, flat0 = W.reshape(len(W), -1), W0.reshape(len(W0), -1)
    Y = (now if slip in ("A", "q") else before) @ (flat if slip in ("q", "W") else flat0).T
    Y = Y + b if slip == "bias" else Y
    C = np.sum([np.outer(y, row) for y, row in zip(Y, now)], axis=0) / len(now)
    Z = [now[:, i * 4 : i * 4 + 4] @ flat[:, i * 4 : i * 4 + 4].T for i in range(3)]
    return C, C, np.array([np.sum(each * Y) for each in Z]) / len(now), float(np.sum(Y**2) / len(now))


def _slip(name: str) -> Callable[..., Four]:
    return lambda **drawn: _by_places(**drawn, slip=name)


STATEMENTS: tuple[Statement, ...] = (
    Formula(
        id="D42",
        title="the surgeon on blocks: costs, downdate and refit",
        printed=r"L_i=\mathrm{tr}\big(W'_i([A^{-1}]_{ii})^{-1}W_i'^\top\big),\quad A^{-1}\leftarrow A^{-1}-"
        r"[A^{-1}]_{:i}([A^{-1}]_{ii})^{-1}[A^{-1}]_{i:},\quad\sum L=\Delta E",
        verdict="lost",
        remark="Each cost is what the least-squares fit loses with the channel, so their sum is the refitted error.",
        where="Hassibi and Stork 1993, with blocks",
        code="pruning.reconstruction.elimination.eliminate, pruning.reconstruction.elimination.errors",
        notebook="16, section 6",
        tolerance=1e-10,
        draw=lambda rng: draw_layer(rng, c=5, N=40),
        right=_surgeon,
        referees=(Form("a fit on the samples for every channel that could go", _by_fits),),
        wrong=(
            Form("no downdate", _slipped("downdate"), "A^-1 of what is left is no block of the A^-1 before."),
            Form("inverse of the block", _slipped("inverse of the block"),
                 "The inverse of the block of A^-1 is not A_ii: the others answer."),
            Form("costs not refitted", _slipped("weights"), "The weights that are left have moved since."),
            Form("single weights", _slipped("single weights"), "A channel's weights go together, as a block."),
            Form("the dearest first", lambda **drawn: _by_fits(**drawn, least=False), "The cheapest goes."),
        ),
    ),
    Formula(
        id="D43",
        title="A = a I: all choose the same channels",
        printed=r"A=aI:\quad S=\text{the channels of largest }\|W_i\|_F\text{ of the next layer}",
        verdict="lost",
        remark="Three of six: the lasso, both ThiNets, the surgeon, and the best set for each of the three errors.",
        where="He et al. 2017; Luo et al. 2017",
        code="pruning.reconstruction.lasso_channels.choose, pruning.reconstruction.thinet.choose, "
        "pruning.reconstruction.thinet.forward, pruning.reconstruction.elimination.choose, "
        "pruning.reconstruction.enumeration.choose",
        notebook="16, section 7",
        tolerance=0,
        draw=_draw_white,
        right=_all_choices,
        referees=(Form("sums of squares of the consumer's weights", _repeated(7, _consumer)),),
        wrong=(
            Form("the producer's norms", _repeated(7, _producer), "The filters that make the channels do not count."),
            Form("the smallest norms", _repeated(7, lambda **drawn: -np.array(_consumer(**drawn))),
                 "These are the ones that go."),
            Form("sizes of the inputs too", _repeated(7, _sized), "With A = a I all inputs have the same."),
        ),
    ),
    Formula(
        id="D44",
        title="G diagonal: the lasso and both ThiNets choose alike",
        printed=r"G_{ij}=0\ (i\ne j),\ Y=\sum_iZ_i:\quad S=\text{the channels of largest }G_{ii}=E\|Z_i\|^2",
        verdict="lost",
        remark="Three of six; A is not diagonal, and the surgeon, which refits, can choose others.",
        where="He et al. 2017; Luo et al. 2017",
        code="pruning.reconstruction.lasso_channels.choose, pruning.reconstruction.thinet.choose, "
        "pruning.reconstruction.thinet.forward",
        notebook="16, section 7",
        tolerance=0,
        draw=_draw_diagonal,
        right=lambda X, W: np.array(_choices(X, W)),
        referees=(Form("sums over samples of ||Z_i||^2", _repeated(3, _outputs)),),
        wrong=(
            Form("the inputs' energy", _repeated(3, _inputs), "What counts is what the next layer makes of them."),
            Form("the consumer's norms", _repeated(3, _consumer), "The same only where all inputs have one size."),
            Form("||E Z_i||", _repeated(3, _means), "The mean of the square is not the square of the mean."),
            Form("the surgeon too", _repeated(3, _refits), "It minimises the error after the refit, through A."),
        ),
    ),
    Formula(
        id="D45",
        title="the target of the dense net",
        printed=r"C=E[Yx^\top]=W_0B^\top,\quad B=E[xx_0^\top],\quad q_i=E\langle Z_i,Y\rangle,\quad Y=W_0x_0",
        verdict="lost",
        remark="x is read in the net whose earlier layer has changed, x0 in the dense one; the bias is in neither.",
        where="He et al. 2017, section 3.2",
        code="pruning.reconstruction.moments.collect",
        notebook="16, section 9",
        draw=_draw_nets,
        right=_collected,
        referees=(Form("patches by loops, a sum over places", _by_places),),
        wrong=(
            Form("A for B", _slip("A"), "Then the target is made of inputs that have lost something already."),
            Form("q from the cut inputs", _slip("q"), "Row sums of G ask for the output of the net as it is."),
            Form("W for W0", _slip("W"), "The weights of the target are those of the dense net."),
            Form("bias left in Y", _slip("bias"), "It stays in the layer, and no channel has to make it."),
        ),
    ),
)  # fmt: skip
