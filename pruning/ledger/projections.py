"""The sets that ADMM prunes to: what lies in them, and the nearest point."""

import itertools
from collections.abc import Callable

import numpy as np

import nn
import textbook
from pruning.ledger.core import Form, Formula
from pruning.penalties import admm, projections

SHAPE = (3, 3, 2, 1)  # filters, channels, kernel
ENTRIES = np.arange(18).reshape(SHAPE)
GROUPS = (ENTRIES, ENTRIES // 6, ENTRIES % 6, ENTRIES % 6 // 2)  # every entry's weight, filter, column and channel
Points = tuple[np.ndarray, ...]


# S3-F2: what lies in the set.

ALLOWED = (9, 2, 4, 2)  # weights, filters, columns, channels


def _draw_supports(rng: np.random.Generator) -> dict[str, np.ndarray]:
    w = rng.standard_normal((12, *SHAPE))
    w *= rng.random(w.shape) < rng.uniform(0.2, 1, (12, 1, 1, 1, 1))
    w *= rng.random((12, 3, 1, 1, 1)) < 0.7
    w *= rng.random((12, 1, 3, 2, 1)) < 0.7
    w[0] = 100.0 * (ENTRIES == rng.integers(18))  # a single weight, and a large one
    w[1] = 1 + rng.random(SHAPE)
    w[2], w[3] = w[1] * (GROUPS[1] < 2), w[1] * (GROUPS[3] < 2)  # two whole filters, two whole channels
    return {"w": w}


def _in_the_sets(w: np.ndarray) -> np.ndarray:
    # A point lies in a set if it is its own projection.
    sets = (projections.weights, projections.filters, projections.columns, projections.channels)
    return np.array([[float(np.array_equal(s(k)(each), each)) for each in w] for s, k in zip(sets, ALLOWED)])


def _memberships(inside: Callable[[np.ndarray, int, int], bool]) -> Callable[[np.ndarray], np.ndarray]:
    return lambda w: np.array([[float(inside(each, i, ALLOWED[i])) for each in w] for i in range(4)])


def _supports(w: np.ndarray, structure: int) -> int:
    return len({int(group) for group in GROUPS[structure][w != 0]})


# S3-F3: the indicator function.


def _draw_indicator(rng: np.random.Generator) -> dict[str, np.ndarray | float]:
    w, u = rng.choice([-1.0, 1.0], (2, 2, 4)) * rng.uniform([[[1.5]], [[0.1]]], [[[2.5]], [[1.0]]], (2, 2, 4))
    return {"w": w, "u": u, "rho": float(rng.choice([0.05, 50.0]))}


def _y_step(w: np.ndarray, u: np.ndarray, rho: float) -> np.ndarray:
    net = nn.Sequential(nn.Linear(4, 2, np.random.default_rng(0), bias=False))
    split = admm.ADMM(net, {"0.W": admm.weights(3)}, rho)
    split.parameters["0.W"].data, split.U = w, {"0.W": u}
    split.update()
    y: np.ndarray = split.Y["0.W"]
    return y


def _y_step_by_trying(w: np.ndarray, u: np.ndarray, rho: float) -> np.ndarray:
    # g + (rho/2) ||Y - W - U||^2 over all 2^8 supports: g is infinite where more than 3 weights are left.
    kept = np.array(list(itertools.product((0.0, 1.0), repeat=8))).reshape(-1, 2, 4)
    g = np.where(kept.sum(axis=(1, 2)) <= 3, 0.0, np.inf)
    cost = g + rho / 2 * np.sum((kept * (w + u) - (w + u)) ** 2, axis=(1, 2))
    return kept[np.argmin(cost)] * (w + u)


def _finite_price(w: np.ndarray, u: np.ndarray, rho: float, price: float = 100.0) -> np.ndarray:
    kept = np.abs(w + u) >= np.sort(np.abs(w + u), axis=None)[-3]
    return np.where(kept, 1.0, rho / (rho + price)) * (w + u)


# S3-F9: the projection.


def _draw_groups(rng: np.random.Generator) -> dict[str, np.ndarray]:
    w = np.array([[4.0, *[0.1] * 5], [1.25] * 6, [1.6, *[0.9] * 5]])  # norms 4.0, 3.1 and 2.6
    w *= rng.choice([-1.0, 1.0], w.shape) * rng.uniform(0.98, 1.02, w.shape)
    return {"w": w[rng.permutation(3)][:, rng.permutation(6)].reshape(SHAPE)}


def _projected(w: np.ndarray) -> Points:
    sets = (projections.weights, projections.filters, projections.columns, projections.channels)
    return tuple(np.asarray(s(2)(w)) for s in sets)


def _projected_by_trying(w: np.ndarray) -> Points:
    found = []
    for group in GROUPS:
        choices = [np.isin(group, kept) for kept in itertools.combinations(range(int(group.max()) + 1), 2)]
        found.append(min((np.where(kept, w, 0.0) for kept in choices), key=lambda y: float(np.sum((w - y) ** 2))))
    return tuple(found)


def _ranked(worth: Callable[[np.ndarray], float]) -> Callable[[np.ndarray], Points]:
    def form(w: np.ndarray) -> Points:
        found = []
        for group in GROUPS:
            order = sorted(range(int(group.max()) + 1), key=lambda g: -worth(w[group == g]))
            found.append(np.where(np.isin(group, order[:2]), w, 0.0))
        return tuple(found)

    return form


def _shrunk(w: np.ndarray) -> Points:
    kept = _projected(w)
    blocks = [textbook.group_soft_threshold(row, 1.0) for row in kept[1].reshape(3, 6)]
    return kept[0], np.reshape(np.array(blocks), SHAPE), kept[2], kept[3]


STATEMENTS = (
    Formula(
        id="S3-F2",
        title="the set: at most alpha nonzeros",
        printed=r"\mathcal P_i=\{W_i\mid\mathrm{card}(\mathrm{supp}(W_i))\le\alpha_i\}",
        verdict="right",
        remark="For filters, columns and channels card counts the groups that are not all zero.",
        where="S3, section 2, below equation (1)",
        code="pruning.penalties.projections.weights, pruning.penalties.projections.filters,"
        " pruning.penalties.projections.columns, pruning.penalties.projections.channels",
        notebook="14, section 2.1",
        draw=_draw_supports,
        right=_in_the_sets,
        referees=(Form("counting", _memberships(lambda w, i, k: _supports(w, i) <= k)),),
        wrong=(
            Form(
                "exactly alpha",
                _memberships(lambda w, i, k: _supports(w, i) == k),
                "A weight with fewer nonzeros lies in the set too.",
            ),
            Form(
                "sum of |w| for card",
                _memberships(lambda w, i, k: float(np.abs(w).sum()) <= k),
                "That is the l1 ball, in which one large weight does not lie.",
            ),
            Form(
                "weights for groups",
                _memberships(lambda w, i, k: _supports(w, 0) <= k),
                "Two filters have more than two weights.",
            ),
            Form(
                "columns for channels",
                _memberships(lambda w, i, k: _supports(w, min(i, 2)) <= k),
                "A channel is a block of columns, one for each position of the kernel.",
            ),
        ),
    ),
    Formula(
        id="S3-F3",
        title="the indicator function",
        printed=r"g_i(W_i)=\begin{cases}0&\text{if }W_i\in\mathcal P_i\\+\infty&\text{otherwise}\end{cases}",
        verdict="right",
        remark="So the step in Y is a projection, the same one for every rho.",
        where="S3, equation (2)",
        code="pruning.penalties.admm.ADMM.update",
        notebook="14, section 1",
        draw=_draw_indicator,
        right=_y_step,
        referees=(Form("all supports, g infinite outside", _y_step_by_trying),),
        wrong=(
            Form(
                "card(supp) as a penalty",
                lambda w, u, rho: textbook.hard_threshold(w + u, 1 / rho),
                "A price of one for each weight: how many are left depends on rho.",
            ),
            Form(
                "l1 as a penalty",
                lambda w, u, rho: textbook.soft_threshold(w + u, 1 / rho),
                "This is the step of the lasso, which shrinks what is left.",
            ),
            Form(
                "a finite price", _finite_price, "Outside the set the cost must be infinite, or nothing becomes zero."
            ),
            Form(
                "projection of W + U/rho",
                lambda w, u, rho: textbook.keep_largest(w + u / rho, 3),
                "U is the multiplier over rho already.",
            ),
        ),
    ),
    Formula(
        id="S3-F9",
        title="the projection: the largest groups",
        printed=r"\text{`solved optimally and analytically via Euclidean projection'}",
        verdict="right if",
        remark="It is right for one structure: the groups of the largest norms stay; two at once have no such rule.",
        where="S3, section 1, on ADMM",
        code="pruning.penalties.projections.weights, pruning.penalties.projections.filters,"
        " pruning.penalties.projections.columns, pruning.penalties.projections.channels",
        notebook="14, section 2.1",
        draw=_draw_groups,
        draws=3,
        right=_projected,
        referees=(Form("all choices of groups", _projected_by_trying),),
        wrong=(
            Form(
                "ranked by the l1 norm",
                _ranked(lambda v: float(np.abs(v).sum())),
                "What a cut costs is the sum of squares of what is cut.",
            ),
            Form(
                "ranked by the largest weight",
                _ranked(lambda v: float(np.abs(v).max())),
                "One large weight does not outweigh five that are not small.",
            ),
            Form("smallest kept", _ranked(lambda v: -float(np.sum(v**2))), "This is the farthest of these points."),
            Form("shrunk as well", _shrunk, "A group soft threshold also shortens the filters that it keeps."),
        ),
    ),
)
