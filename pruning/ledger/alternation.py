"""Channels by lasso and refit in turns: a circle at one lambda, and what the selection and the refit are worth."""

from collections.abc import Iterator
from itertools import combinations

import numpy as np

import textbook
from pruning.ledger.core import Claim, Measured, Statement, relative
from pruning.reconstruction import approximation

Array = np.ndarray
WHERE = 'S1, the slides "Channel Pruning"'


def _moments(rows: Array) -> Array:
    A: Array = rows.T @ rows / len(rows)
    return A


def _channels(rng: np.random.Generator, c: int = 8, k: int = 3, n: int = 4, N: int = 60) -> tuple[Array, Array, Array]:
    """Rows X (N, c k) of channels that resemble each other, W (n, c k) and outputs Y (N, n)."""
    X = rng.standard_normal((N, c)) @ rng.standard_normal((c, c * k)) + 0.5 * rng.standard_normal((N, c * k))
    W = rng.standard_normal((n, c * k)) * np.repeat(10 ** rng.uniform(-0.7, 0.3, c), k)
    return X, W, X @ W.T


def _lasso_rows(X: Array, W: Array, c: int) -> Array:
    """Z_i = X_i W_i^T of every channel, written one below the other: (N n, c)."""
    blocks = zip(np.split(X, c, axis=1), np.split(W, c, axis=1))
    return np.stack([(Xi @ Wi.T).reshape(-1) for Xi, Wi in blocks], axis=1)


def _each(beta: Array, X: Array) -> Array:
    """A factor for each column of X, from one for each channel."""
    return np.repeat(beta, X.shape[1] // len(beta))


def _norms(W: Array, c: int) -> Array:
    return np.linalg.norm(np.reshape(W, (len(W), c, -1)), axis=(0, 2))


def _round(X: Array, Y: Array, W: Array, W0: Array, lam: float, c: int) -> tuple[Array, list[Array]]:
    """(i), (ii) and the rescaling from W; the beta of (i), and (beta, W) after (ii) and after the rescaling."""
    beta = textbook.lasso(_lasso_rows(X, W, c), Y.reshape(-1), lam / Y.shape[1]).beta
    used = approximation.on_channels(W0, np.flatnonzero(beta).tolist(), c, _moments(X))
    divided = used / _each(np.where(beta == 0, 1.0, beta), X)
    norms = _norms(used, c)
    unit = used / _each(np.where(norms == 0, 1.0, norms), X)
    return beta, [beta, divided, norms, unit]


def _objective(X: Array, Y: Array, beta: Array, W: Array, lam: float) -> float:
    loss = np.sum((Y - X @ (W * _each(beta, X)).T) ** 2) / (2 * len(X))
    return float(loss + lam * np.sum(np.abs(beta)))


def _alternation(rng: np.random.Generator) -> Iterator[Measured]:
    c = 8
    for _ in range(3):
        X, W0, Y = _channels(rng, c)
        unit = W0 / np.repeat(_norms(W0, c), 3)
        lam = 0.2 * textbook.lasso_lambda_max(_lasso_rows(X, unit, c), Y.reshape(-1)) * Y.shape[1]
        rounds = [_round(X, Y, unit, W0, lam, c)]
        while len(rounds) < c + 2:
            rounds.append(_round(X, Y, rounds[-1][1][3], W0, lam, c))
        last, before = rounds[-1][1], rounds[-2][1]
        yield Measured("a round more, once the set repeats", max(relative(*pair) for pair in zip(last, before)))
        kept = np.flatnonzero(_each(last[0], X))
        fitted = np.linalg.lstsq(X[:, kept], Y, rcond=None)[0].T
        product = last[3] * _each(last[2], X)
        yield Measured("(ii), against least squares on the rows", relative(product[:, kept], fitted))
        rise = _objective(X, Y, last[2], last[3], lam) / _objective(X, Y, last[0], last[1], lam) - 1
        message = "The rescaling moves no output, but makes beta larger and with it the penalty: (2) rises."
        yield Measured("the objective never rises", max(rise, 0.0), wrong=True, message=message)
        again = _round(X, Y, last[1], W0, lam, c)[1]
        message = "Then W grows and beta shrinks, round after round, towards a penalty of nothing."
        yield Measured("no rescaling", relative(again[0], last[0]), wrong=True, message=message)


def _quality(rng: np.random.Generator) -> Iterator[Measured]:
    c, k, draws = 8, 3, 12
    optimal, ratios = {"the lasso's set": 0, "the largest weights": 0}, []
    for _ in range(draws):
        X, W, Y = _channels(rng, c)
        A = _moments(X)
        after: dict[tuple[int, ...], float] = {}
        for each in combinations(range(c), 4):
            after[tuple(each)] = approximation.change(W, approximation.on_channels(W, each, c, A), A)
        Z = _lasso_rows(X, W, c)
        beta = textbook.lasso_at_most(Z, Y.reshape(-1), 4).beta
        lasso = np.flatnonzero(beta).tolist()
        rows = [k * i + j for i in lasso for j in range(k)]
        residual = Y - X[:, rows] @ np.linalg.lstsq(X[:, rows], Y, rcond=None)[0]
        yield Measured(
            "the refit's error against the outputs", relative(after[tuple(lasso)], np.sum(residual**2) / len(X))
        )
        best = min(after.values())
        largest = approximation.largest_channels(W, c, 4)
        for name, kept in (("the lasso's set", lasso), ("the largest weights", largest)):
            optimal[name] += after[tuple(kept)] <= best * (1 + 1e-9)
        ratios.append(np.sum((Y.reshape(-1) - Z @ beta) ** 2) / len(X) / after[tuple(lasso)])
    message = "The lasso minimises the error before the refit: after it, often another set of four is the best."
    yield Measured("the lasso finds the best set", 1 - optimal["the lasso's set"] / draws, wrong=True, message=message)
    message = "The weights alone know nothing of the inputs, nor that channels resemble each other."
    share = 1 - optimal["the largest weights"] / draws
    yield Measured("the largest weights are the best set", share, wrong=True, message=message)
    message = "The coefficients of the lasso are shrunk, and nothing makes up for the channels that went."
    yield Measured("no refit", float(np.median(ratios)) - 1, wrong=True, message=message)


STATEMENTS: tuple[Statement, ...] = (
    Claim(
        id="D11",
        title="(i), (ii) and the rescaling at one lambda: a circle",
        printed=r"(\beta,W)\to\mathrm{(i)}\to\mathrm{(ii)}\to(\beta_i\|W_i\|_F,\ W_i/\|W_i\|_F)\to\cdots",
        verdict="lost",
        remark="After (ii) all depends on the set alone: once it repeats, so does the round, and (2) rises in it.",
        where=WHERE + ", below (4)",
        code="textbook.lasso, pruning.reconstruction.approximation.on_channels",
        notebook="16, section 5",
        tolerance=1e-9,
        measure=_alternation,
        referee="the round before",
    ),
    Claim(
        id="D12",
        title="four of eight channels: selection and refit",
        printed=r"\min_{|S|=4}\ \min_{W'_S}\|Y-X_SW_S'^\top\|_F^2",
        verdict="lost",
        remark="The lasso's set is often not the best of all 70 after the refit; without it, its error is far larger.",
        where=WHERE,
        code="textbook.lasso_at_most, pruning.reconstruction.approximation.on_channels",
        notebook="16, section 7",
        tolerance=1e-10,
        measure=_quality,
        referee="least squares on the rows; all sets",
    ),
)  # fmt: skip
