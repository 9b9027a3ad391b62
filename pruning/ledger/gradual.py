"""A few at a time: two schedules for single weights, and a threshold for groups that grows while a net trains."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import nn
from pruning import schedules
from pruning.ledger.core import Form, Formula
from pruning.penalties import group_lasso
from pruning.penalties.gradual_thresholds import GradualThresholds
from pruning.pipeline.gradual import Gradual
from pruning.scores import magnitude

Array = np.ndarray


# ---- D194, D195: schedules -------------------------------------------------------------------------------------------
LAST, EVERY, POWER = 10, 2, 1.5


def _draw_moving(rng: np.random.Generator) -> dict[str, Array]:
    """Eighty weights, and how they move in each of fourteen steps."""
    return {"u": rng.standard_normal((20, 4)), "moves": 0.5 * rng.standard_normal((14, 20, 4))}


def _gradual(u: Array, moves: Array) -> Array:
    layer = nn.Linear(4, 20, None, bias=False)
    layer.W.data = u.copy()
    net = nn.Sequential(layer)
    companion, seen = Gradual(net, magnitude.saliency, 8, LAST, EVERY, power=POWER), []
    for step, move in enumerate(moves, 1):
        layer.W.data = layer.W.data + move if layer.W.mask is None else (layer.W.data + move) * layer.W.mask
        companion.after_step(step)
        seen.append(layer.W.data)
    return np.stack(seen)


def _sorted_out(
    left: Callable[[float], float] = lambda r: 8 * 10 ** ((1 - r) ** POWER),
    back: bool = False,
    every: int = EVERY,
    highest: int = -1,
) -> Callable[..., Array]:
    """`left` is how many of 80 weights stay when the share r is over."""

    def form(u: Array, moves: Array) -> Array:
        u, gone, seen = u.copy(), np.zeros(u.shape, bool), []
        for step, move in enumerate(moves, 1):
            u = np.where(gone, 0, u + move)
            if step % every == 0:
                n = round(left(min(1, step / LAST)))
                ranks = sorted(np.ndindex(u.shape), key=lambda place: highest * abs(u[place]))
                u = np.where([[(i, j) in ranks[:n] for j in range(4)] for i in range(20)], u, 0)
                gone = (u == 0) & (not back)
            seen.append(u)
        return np.stack(seen)

    return form


def _draw_sparsities(rng: np.random.Generator) -> dict[str, Any]:
    return {
        "initial": float(rng.uniform(0.05, 0.3)),
        "final": float(rng.uniform(0.8, 0.95)),
        "rounds": int(rng.integers(5, 9)),
    }


def _cubic(initial: float, final: float, rounds: int) -> Array:
    return np.array(schedules.cubic(final, rounds, initial))


def _differences(initial: float, final: float, rounds: int) -> Array:
    """What is missing to the final sparsity is in proportion to j^3 with j rounds to go, in whole numbers.

    j^3 = C(j, 1) + 6 C(j, 2) + 6 C(j, 3).
    """
    cubes = [j + 6 * (j * (j - 1) // 2) + 6 * (j * (j - 1) * (j - 2) // 6) for j in range(rounds + 1)]
    return np.array([final - (final - initial) * cubes[rounds - i] / cubes[rounds] for i in range(1, rounds + 1)])


def _schedule(at: Callable[[float, float, float], float]) -> Callable[..., Array]:
    """`at` of (initial, final, share of the rounds that are over)."""

    def form(initial: float, final: float, rounds: int) -> Array:
        return np.array([at(initial, final, i / rounds) for i in range(1, rounds + 1)])

    return form


# ---- D200: thresholds that grow --------------------------------------------------------------------------------------
def _draw_growing(rng: np.random.Generator) -> dict[str, Array]:
    """A convolution whose columns are of all sizes, and how training moves it in each of ten steps."""
    W = rng.standard_normal((4, 3, 2, 2)) * rng.permutation(np.linspace(0.05, 1, 12)).reshape(3, 2, 2)
    return {"W": W, "moves": 0.15 * rng.standard_normal((10, 4, 3, 2, 2))}


def _thresholded(W: Array, moves: Array, slope: float = 0.2, every: int = 2) -> Array:
    conv = nn.Conv2d(3, 4, 2, None)
    conv.W.data = W.copy()
    net, seen = nn.Sequential(conv), []
    companion = GradualThresholds(net, [group_lasso.columns(net, "0.W", 0.0)], lambda step: slope * step, every)
    for step, move in enumerate(moves, 1):
        conv.W.data = conv.W.data + move if conv.W.mask is None else (conv.W.data + move) * conv.W.mask
        companion.after_step(step)
        seen.append(conv.W.data)
    return np.stack(seen)


def _by_loops(
    size: Callable[[Any], float] = lambda column: math.hypot(*column),
    tau: Callable[[int], float] = lambda step: 0.2 * step,
    back: bool = False,
    rows: bool = False,
    every: int = 2,
) -> Callable[..., Array]:
    def form(W: Array, moves: Array) -> Array:
        W, seen = W.reshape(4, -1).copy(), []
        dead: set[int] = set()
        for step, move in enumerate(moves.reshape(len(moves), 4, -1), 1):
            W = W + move
            W[:, sorted(dead)] *= float(rows or back)
            groups = W if rows else W.T
            if step % every == 0:
                sizes = [size(group.tolist()) for group in groups]
                below = [k for k, each in enumerate(sizes) if each <= tau(step) and each < max(sizes)]
                groups[below] = 0  # a view of W
                dead |= set() if rows else set(below)
            seen.append(W.reshape(4, 3, 2, 2).copy())
        return np.stack(seen)

    return form


STATEMENTS = (
    Formula(
        id="D194",
        title="a few weights at a time, for good",
        printed=r"\ln n=\ln n_f+(\ln n_i-\ln n_f)(1-r)^a,\qquad r=\min(1,\,t/T)",
        verdict="lost",
        remark="A schedule of the logarithm of what is left; that of Zhu and Gupta 2017 is one of the sparsity.",
        where="derived here",
        code="pruning.pipeline.gradual.Gradual, pruning.schedules.weights_left",
        notebook="15, section 7",
        draw=_draw_moving,
        draws=2,
        right=_gradual,
        referees=(Form("sorted, step by step", _sorted_out()),),
        wrong=(
            Form(
                "cubic sparsity",
                _sorted_out(lambda r: 80 * (1 - 0.9 * (1 - (1 - r) ** 3))),
                "That is the schedule of Zhu and Gupta, which here deletes less at first and more in the middle.",
            ),
            Form("linear", _sorted_out(lambda r: 80 - 72 * r), "The last steps would delete most of what is left."),
            Form("no power", _sorted_out(lambda r: 8 * 10 ** (1 - r)), "The power makes the first deletions larger."),
            Form("comes back", _sorted_out(back=True), "What is deleted stays at zero while the rest trains."),
            Form("every step", _sorted_out(every=1), "Between two deletions the weights have time to answer."),
        ),
    ),
    Formula(
        id="D195",
        title="the cubic schedule",
        printed=r"s_t=s_f+(s_i-s_f)\Big(1-\frac{t-t_0}{n\Delta t}\Big)^3",
        verdict="right",
        remark="The share of all weights, not of those that are left; it begins at s_i and ends at s_f with no slope.",
        where="Zhu and Gupta 2017",
        code="pruning.schedules.cubic",
        notebook="15, section 7",
        draw=_draw_sparsities,
        right=_cubic,
        referees=(Form("cubes in whole numbers", _differences),),
        wrong=(
            Form("linear", _schedule(lambda i, f, r: f + (i - f) * (1 - r)), "The exponent is three."),
            Form(
                "cube of what is over",
                _schedule(lambda i, f, r: i + (f - i) * r**3),
                "This is slow at first and fastest at the end, when the net has no weight to spare.",
            ),
            Form("from nothing", _schedule(lambda i, f, r: f * (1 - (1 - r) ** 3)), "It begins at the sparsity s_i."),
            Form(
                "of what is left",
                _schedule(lambda i, f, r: 1 - (1 - f) * ((1 - i) / (1 - f)) ** (1 - r)),
                "An equal share of the survivors is the geometric schedule.",
            ),
        ),
    ),
    Formula(
        id="D200",
        title="groups below a threshold that grows",
        printed=r"\|W^{(g)}\|_2\le\tau(k)\ \Rightarrow\ W^{(g)}=0\text{ from step }k\text{ on}",
        verdict="right if",
        remark="The largest group of a layer stays whatever the threshold; columns are the paper's groups.",
        where="Lebedev and Lempitsky 2016",
        code="pruning.penalties.gradual_thresholds.GradualThresholds",
        notebook="12, section 3.1",
        draw=_draw_growing,
        draws=3,
        right=_thresholded,
        referees=(Form("columns, by loops", _by_loops()),),
        wrong=(
            Form("comes back", _by_loops(back=True), "A group that is gone stays at zero while the rest trains."),
            Form("squared norms", _by_loops(lambda c: sum(w * w for w in c)), "The norm is the root of the squares."),
            Form("largest weight", _by_loops(lambda c: max(map(abs, c))), "That is another norm, and a smaller one."),
            Form("the last threshold at once", _by_loops(tau=lambda _: 2.0), "It grows, so that the rest can answer."),
            Form("rows", _by_loops(rows=True), "A column is one position of all filters."),
            Form("every step", _by_loops(every=1), "Between two looks the net trains."),
        ),
    ),
)
