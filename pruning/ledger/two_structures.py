"""Filters and columns pruned together: one set, and the nearest point of it, which no order of two steps finds."""

import itertools
from collections.abc import Callable, Iterator

import numpy as np

import nn
import textbook
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.penalties import admm, projections
from textbook.splitting import least_squares_prox

# S3-F1: two structures.


def _draw_block(rng: np.random.Generator) -> dict[str, np.ndarray]:
    X = rng.standard_normal((60, 5))
    w = 0.2 * rng.uniform(-1, 1, (4, 5))
    w[:2, :3] = rng.choice([-1.0, 1.0], (2, 3)) * rng.uniform(1, 2, (2, 3))
    return {"X": X, "Y": X @ w[rng.permutation(4)][:, rng.permutation(5)].T}


def _split(projection: admm.Projection) -> Callable[[np.ndarray, np.ndarray], np.ndarray]:
    def form(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
        steps = [least_squares_prox(X, y) for y in Y.T]
        net = nn.Sequential(nn.Linear(5, 4, np.random.default_rng(0), bias=False))
        W = dict(net.named_parameters())["0.W"]
        W.data = np.linalg.lstsq(X, Y, rcond=None)[0].T
        split = admm.ADMM(net, {"0.W": projection}, rho=1.0)
        for _ in range(45):
            V = split.Y["0.W"] - split.U["0.W"]
            W.data = np.array([step(v, 1.0) for step, v in zip(steps, V)])
            split.update()
        return np.asarray(split.Y["0.W"])

    return form


def _two_structures_by_trying(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    # Every three columns, fitted by least squares; for each the two filters that gain most.
    best, gain = np.zeros((4, 5)), 0.0
    for kept in itertools.combinations(range(5), 3):
        fit = np.linalg.lstsq(X[:, kept], Y, rcond=None)[0]
        gains = np.sum((X[:, kept] @ fit) ** 2, axis=0)
        rows = np.argsort(gains)[2:]
        if gains[rows].sum() > gain:
            best, gain = np.zeros((4, 5)), float(gains[rows].sum())
            best[rows[:, None], kept] = fit.T[rows]
    return best


def _pruned_once(X: np.ndarray, Y: np.ndarray) -> np.ndarray:
    return np.asarray(projections.filters_and_columns(2, 3)(np.linalg.lstsq(X, Y, rcond=None)[0].T))


# D13: rows and columns together.


def _best_block(V: np.ndarray, rows: int, cols: int) -> np.ndarray:
    # The energy of every choice of rows with every choice of columns.
    R, C = (
        np.array([np.isin(range(n), kept) for kept in itertools.combinations(range(n), k)], dtype=float)
        for n, k in zip(V.shape, (rows, cols))
    )
    i, j = divmod(int(np.argmax(R @ V**2 @ C.T)), len(C))
    return V * np.outer(R[i], C[j])


def _rows_first(V: np.ndarray, rows: int, cols: int) -> np.ndarray:
    return np.asarray(textbook.keep_largest_columns(textbook.keep_largest_rows(V, rows), cols))


def _columns_first(V: np.ndarray, rows: int, cols: int) -> np.ndarray:
    return _rows_first(V.T, cols, rows).T


def _independent(V: np.ndarray, rows: int, cols: int) -> np.ndarray:
    both = (textbook.keep_largest_rows(V, rows) != 0) & (textbook.keep_largest_columns(V, cols) != 0)
    return np.where(both, V, 0.0)


def _draw_decoys(rng: np.random.Generator) -> np.ndarray:
    V = 0.05 * rng.uniform(-1, 1, (9, 9))
    V[:3, :3] = rng.uniform(1.2, 1.5, (3, 3))  # the best 3 x 3 block
    V[3, 3:] = V[3:, 3] = 1.15  # a row and a column with more energy than those of the block, and outside of it
    V = V * rng.choice([-1.0, 1.0], V.shape)
    return V[rng.permutation(9)][:, rng.permutation(9)]


SHORT_CUTS: tuple[tuple[str, Callable[[np.ndarray, int, int], np.ndarray], str], ...] = (
    ("rows, then columns", _rows_first, "The rows are chosen by what stands in columns that go afterwards."),
    ("columns, then rows", _columns_first, "The columns are chosen by what stands in rows that go afterwards."),
    ("top rows and top columns, apart", _independent, "Rows and columns are chosen as if none of the others went."),
)


def _draw_trap(rng: np.random.Generator) -> np.ndarray:
    V = np.zeros((9, 9))
    V[:3, :3], V[3:6, 3:6] = 1.0, rng.uniform(1.1, 1.2, (3, 3))  # the second block is the better one
    V[:3, 6:] = V[6:, :3] = 0.8  # and both starts are led to the first
    V = V * rng.choice([-1.0, 1.0], V.shape)
    return V[rng.permutation(9)][:, rng.permutation(9)]


def _joint(rng: np.random.Generator) -> Iterator[Measured]:
    in_turns = projections.filters_and_columns(3, 3)
    message = (
        "A block can be best for its rows and best for its columns, and not best of all: near the nearest, no more."
    )
    for _ in range(3):
        V = _draw_decoys(rng)
        best = _best_block(V, 3, 3)
        yield Measured("with decoys", relative(in_turns(V), best))
        for name, short_cut, why in SHORT_CUTS:
            yield Measured(name, relative(short_cut(V, 3, 3), best), wrong=True, message=why)
        V = _draw_trap(rng)
        yield Measured(
            "in turns, called exact", relative(in_turns(V), _best_block(V, 3, 3)), wrong=True, message=message
        )
    for _ in range(10):
        V = rng.standard_normal((6, 8))
        found, nearest = _distance(V, in_turns(V)), _distance(V, _best_block(V, 3, 3))
        orders = min(_distance(V, _rows_first(V, 3, 3)), _distance(V, _columns_first(V, 3, 3)))
        yield Measured("no nearer than the nearest", max(1 - found / nearest, 0.0))
        yield Measured("no farther than one after the other", max(found / orders - 1, 0.0))


def _distance(V: np.ndarray, Y: np.ndarray) -> float:
    return float(np.linalg.norm(V - Y))


STATEMENTS = (
    Formula(
        id="S3-F1",
        title="the problem: filters and columns",
        printed=r"\min_{\{W_i\}}f(\{W_i\}_{i=1}^N)\quad\text{subject to}\quad W_i\in\mathcal P_i,\;W_i\in\mathcal Q_i",
        verdict="slip",
        remark="The paper does not say what Q is; filters and columns together are one set, with one Y.",
        where="S3, equation (1)",
        code="pruning.penalties.projections.filters_and_columns, pruning.penalties.admm.ADMM",
        notebook="14, section 1",
        tolerance=1e-8,
        draw=_draw_block,
        draws=2,
        right=_split(projections.filters_and_columns(2, 3)),
        referees=(Form("all supports, least squares", _two_structures_by_trying),),
        wrong=(
            Form("P alone", _split(projections.filters(2)), "Two filters are left, with all of their columns."),
            Form("Q alone", _split(projections.columns(3)), "Three columns are left, in all of the filters."),
            Form("projected once", _pruned_once, "The least-squares weights were cut, and those left not refitted."),
        ),
    ),
    Claim(
        id="D13",
        title="rows and columns: no projection in turns",
        printed=r"\min_{Y\in\mathcal P\cap\mathcal Q}\|V-Y\|_F^2=\|V\|_F^2-\max_{|R|\le a,\,|C|\le b}"
        r"\sum_{j\in R}\sum_{k\in C}V_{jk}^2",
        verdict="lost",
        remark="The nearest point is a choice of rows and columns together; the package improves two starts in turns.",
        where="S3, section 2, the last paragraph and figure 1 (c)",
        code="pruning.penalties.projections.filters_and_columns",
        notebook="14, section 2.2",
        measure=_joint,
        referee="all rows with all columns",
    ),
)
