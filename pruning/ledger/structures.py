"""Structures of a weight tensor: its groups, where they overlap, the penalties of a net, what a small matrix saves."""

import math
from collections.abc import Callable, Iterator
from typing import TypeAlias

import numpy as np

import nn
from nn import gradcheck
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.penalties import group_lasso
from pruning.sparse import Compact

Norms: TypeAlias = tuple[np.ndarray, ...]


def _draw_weight(rng: np.random.Generator) -> dict[str, np.ndarray]:
    return {"W": rng.standard_normal((4, 4, 2, 3))}  # as many filters as channels: no shape gives a slip away


def _net(W: np.ndarray) -> nn.Sequential:
    layer = nn.Conv2d(W.shape[1], W.shape[0], (W.shape[2], W.shape[3]), np.random.default_rng(0), bias=False)
    layer.W.data = W
    return nn.Sequential(layer)


def _group_norms(W: np.ndarray) -> Norms:
    net, families = _net(W), (group_lasso.filters, group_lasso.channels, group_lasso.columns, group_lasso.layer)
    return tuple(group_lasso.norms({"0.W": W}, family(net, "0.W", 1.0)) for family in families)


def _group_norms_by_loops(W: np.ndarray) -> Norms:
    O, C, KH, KW = W.shape
    filters, channels, shapes = ([0.0] * n for n in (O, C, C * KH * KW))
    for o, c, i, j in np.ndindex(O, C, KH, KW):
        square = float(W[o, c, i, j]) ** 2
        filters[o] += square
        channels[c] += square
        shapes[(c * KH + i) * KW + j] += square
    depth = math.sqrt(sum(filters))
    return np.sqrt(filters), np.sqrt(channels), np.sqrt(shapes).reshape(C, KH, KW), np.array(depth)


def _of(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[np.ndarray], Norms]:
    return lambda W: _group_norms(change(W).reshape(W.shape))


def _draw_overlap(rng: np.random.Generator) -> dict[str, np.ndarray]:
    # Two short filters and a short column, which end at zero; the others are far from it.
    W = rng.choice([-1.0, 1.0], (6, 8, 1, 1)) * rng.uniform(0.5, 1.5, (6, 8, 1, 1))
    W[:2] *= 0.1
    W[:, 0] *= 0.1
    return {"W": W}


def _both(W: np.ndarray) -> list[group_lasso.Family]:
    net = _net(W)
    return [group_lasso.filters(net, "0.W", 0.8), group_lasso.columns(net, "0.W", 0.8)]


def _prox(W: np.ndarray) -> np.ndarray:
    V: np.ndarray = group_lasso.shrink_by_splitting({"0.W": W}, _both(W), 1.0, iterations=200)["0.W"]
    return V


def _prox_reweighted(W: np.ndarray) -> np.ndarray:
    # ||v|| <= ||v||^2 / (2 t) + t / 2, with equality at t = ||v||: squares, minimised entry by entry, with new t's.
    V = W
    for _ in range(400):
        rows, columns = (np.maximum(np.sqrt(np.sum(V * V, axis=axis, keepdims=True)), 1e-30) for axis in ((1, 2, 3), 0))
        V = W / (1 + 0.8 / rows + 0.8 / columns)
    return V


def _one_after_the_other(order: int) -> Callable[[np.ndarray], np.ndarray]:
    return lambda W: group_lasso.shrink_one_after_the_other({"0.W": W}, _both(W)[::order], 1.0)["0.W"]


# S1-F24.  One step of plain SGD on two layers, divided by its length, is the slope of the whole objective.

LAM, LAM_GROUPS, RATE = 0.3, 0.2, 0.1


def _draw_two_layers(rng: np.random.Generator) -> dict[str, np.ndarray]:
    draw = rng.standard_normal
    return {"W": draw((4, 3)), "V": draw((2, 4)), "x": draw((3, 7)), "t": draw((2, 7))}


def _stepped(W: np.ndarray, V: np.ndarray, x: np.ndarray, t: np.ndarray) -> Norms:
    first, last = (nn.Linear(w.shape[1], w.shape[0], np.random.default_rng(0), bias=False) for w in (W, V))
    first.W.data, last.W.data = W.copy(), V.copy()
    net = nn.Sequential(first, nn.Tanh(), last)
    optimizer = nn.SGD(net.parameters(), RATE, weight_decay=LAM)
    families = [group_lasso.filters(net, name, LAM_GROUPS) for name in ("0.W", "2.W")]
    nn.training.training_step(
        net, nn.SquaredError(), optimizer, x, t, [group_lasso.Subgradients(net, families, threshold=0)]
    )
    return (W - first.W.data) / RATE, (V - last.W.data) / RATE


def _slopes(
    R: Callable[[np.ndarray], np.ndarray] = lambda w: np.sum(w * w) / 2, groups: tuple[float, float] = (1, 1)
) -> Callable[..., Norms]:
    # The complex step of E_D + lam R + lam_g R_g; `groups` are factors of R_g in the two layers.
    def form(W: np.ndarray, V: np.ndarray, x: np.ndarray, t: np.ndarray) -> Norms:
        def E(W: np.ndarray, V: np.ndarray) -> np.ndarray:
            data = np.sum((t - V @ np.tanh(W @ x)) ** 2) / x.shape[1]
            norms = [np.sum(np.sqrt(np.sum(w * w, axis=1))) for w in (W, V)]
            return data + LAM * R(np.append(W, V)) + LAM_GROUPS * (groups[0] * norms[0] + groups[1] * norms[1])

        return gradcheck.complex_step(lambda w: E(w, V), W), gradcheck.complex_step(lambda v: E(W, v), V)

    return form


def _cut(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    # conv2_1 of AlexNet, W (128, 1200), with so many rows and columns at zero.
    W = rng.standard_normal((128, 1200))
    W[rng.permutation(128)[:rows]] = 0
    W[:, rng.permutation(1200)[:columns]] = 0
    return W


def _saved(rng: np.random.Generator) -> Iterator[Measured]:
    """What is left of the matrices of the slide when empty rows and columns are taken out."""
    W, X = _cut(rng, 28, 903), rng.standard_normal((1200, 5))
    small = Compact.of(W)
    full = np.zeros((128, 5))
    full[small.rows] = small.product(X)
    yield Measured("the smaller product is W X", relative(full, W @ X))
    speedup = W.size / small.values.size
    exact = 1 / ((1 - 28 / 128) * (1 - 903 / 1200))
    yield Measured("structured: 1 / ((1 - r)(1 - c))", abs(speedup / exact - 1))
    yield Measured("5.17 as printed, to two digits", abs(round(speedup, 2) - 5.17))
    free = _cut(rng, 25, 104)  # 19.5 % and 8.7 %
    alive = np.flatnonzero(free)
    free.ravel()[rng.permutation(alive)[: alive.size - round(0.054 * free.size)]] = 0
    without = free.size / Compact.of(free).values.size
    yield Measured("not structured: 1.36", abs(round(without, 2) - 1.36))
    for name, claimed, found, message in (
        ("elements, structured", 1 / (1 - 0.915), speedup, "Zeros inside the kept rows and columns are multiplied."),
        ("columns alone", 1 / (1 - 0.752), speedup, "Empty rows are left out as well, and the two factors multiply."),
        ("elements, not structured", 1 / (1 - 0.946), without, "Scattered zeros leave hardly a row or column empty."),
    ):
        yield Measured(name, abs(claimed / found - 1), wrong=True, message=message)


STATEMENTS = (
    Formula(
        id="S1-F25a",
        title="groups: filters, channels, shapes, depth",
        printed=r"W_{n,:,:,:},\quad W_{:,c,:,:},\quad W_{:,c,i,j},\quad W",
        verdict="lost",
        remark="The slide has a figure: groups are rows, blocks of columns, single columns, and the matrix of a layer.",
        where="S1, Group Lasso Regularization (ways of splitting groups)",
        code="pruning.penalties.group_lasso.filters, pruning.penalties.group_lasso.channels,"
        " pruning.penalties.group_lasso.columns, pruning.penalties.group_lasso.layer",
        notebook="12, section 1",
        draw=_draw_weight,
        right=_group_norms,
        referees=(Form("loops over all weights", _group_norms_by_loops),),
        wrong=(
            Form("filters for channels", _of(lambda W: W.swapaxes(0, 1)), "The first axis of W numbers the filters."),
            Form(
                "channels as W.reshape(C, -1)",
                lambda W: (_group_norms(W)[0], np.linalg.norm(W.reshape(4, -1), axis=1), *_group_norms(W)[2:]),
                "Rows of the matrix are filters; a channel is a block of its columns.",
            ),
            Form(
                "columns numbered (kh, kw, c)",
                _of(lambda W: W.transpose(0, 2, 3, 1)),
                "The columns are numbered (c, kh, kw).",
            ),
        ),
    ),
    Formula(
        id="S1-F25b",
        title="rows and columns overlap: the prox of a sum",
        printed=r"\arg\min_V\tfrac12\|V-W\|^2+\lambda\sum_n\|V_{n,:}\|+\lambda\sum_k\|V_{:,k}\|",
        verdict="lost",
        remark="Where a weight is in two groups, one block threshold after the other is not the prox of the sum.",
        where="S1, Group Lasso Regularization (ways of splitting groups)",
        code="pruning.penalties.group_lasso.shrink_by_splitting",
        notebook="12, section 5",
        tolerance=1e-9,
        draws=2,
        draw=_draw_overlap,
        right=_prox,
        referees=(Form("shrinkage, reweighted", _prox_reweighted),),
        wrong=(
            Form(
                "rows, then columns",
                _one_after_the_other(1),
                "The second threshold changes the directions of the rows that the first had shrunk.",
            ),
            Form("columns, then rows", _one_after_the_other(-1), "The other order is as wrong, with another result."),
            Form(
                "rows alone",
                lambda W: group_lasso.shrink({"0.W": W}, _both(W)[0], 1.0)["0.W"],
                "Both families of groups are in the penalty.",
            ),
        ),
    ),
    Formula(
        id="S1-F24",
        title="the whole objective: data, all weights, groups",
        printed=r"E(W)=E_D(W)+\lambda R(W)+\lambda_g\sum_{l=1}^LR_g(W^{(l)})",
        verdict="lost",
        remark="The slide names the three terms, and our text has lost their sum; R is half the sum of squares here.",
        where="S1, Group Lasso Regularization",
        code="pruning.penalties.group_lasso.Subgradients, nn.SGD, nn.training.training_step",
        notebook="12, section 1",
        draw=_draw_two_layers,
        right=_stepped,
        referees=(Form("complex step of the sum", _slopes()),),
        wrong=(
            Form(
                "R left out", _slopes(lambda w: 0 * w[0]), "The groups' norms do not replace the decay of all weights."
            ),
            Form(
                "R without the half",
                _slopes(lambda w: np.sum(w * w)),
                "Weight decay adds lambda w to the gradient, the slope of half the square.",
            ),
            Form(
                "R = ||W||, not squared",
                _slopes(lambda w: np.sqrt(np.sum(w * w))),
                "Then all weights of the net would be one group more.",
            ),
            Form("groups of the last layer alone", _slopes(groups=(0, 1)), "The sum runs over all layers."),
            Form(
                "R_g averaged over the layers", _slopes(groups=(0.5, 0.5)), "It is a sum over the layers, not a mean."
            ),
        ),
    ),
    Claim(
        id="S1-F22",
        title="conv2_1: 5.17 times faster is a smaller dense product",
        printed=r"\text{col: }75.2\%,\ \text{row: }21.9\%,\ \text{elem: }91.5\%,\quad5.17\times\text{ speedup}",
        verdict="right",
        remark="The printed shares give 1/((1 - .752)(1 - .219)) = 5.163; 28 of 128 rows and 903 of 1200 columns 5.17.",
        where="S1, Structural Sparsity (conv2_1)",
        code="pruning.sparse.Compact",
        notebook="13, section 6",
        measure=_saved,
        referee="shares of empty rows and columns",
    ),
)
