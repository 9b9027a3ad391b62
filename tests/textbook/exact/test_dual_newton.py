"""The dual Newton method: its point and derivative by their definitions, and the problems that it is for."""

import fuzz_group_lasso as fuzz
import numpy as np
import pytest

from textbook import group_lasso, group_lasso_lambda_max, lasso
from textbook.exact import dual_newton
from textbook.exact.block_newton import Columns, Gram, violation
from textbook.exact.blocks import Blocks


def copies(seed, n=100, rank=10, times=40):
    """`times` copies of the same columns, each with a random sign."""
    rng = np.random.default_rng(seed)
    B = rng.standard_normal((n, rank))
    X = np.column_stack([B] * times) * rng.choice([-1.0, 1.0], rank * times)
    return X, B @ rng.standard_normal(rank) + rng.standard_normal(n), rng


def in_order(p, size):
    return [np.arange(p)[i : i + size] for i in range(0, p, size)]


@pytest.mark.parametrize("share", [0.1, 1e-2, 1e-4])
@pytest.mark.parametrize("seed", range(5))
def test_forty_copies_of_ten_columns(seed, share):
    """The primal method took 2 to 9 seconds and ended at gaps of 1e-10 to 5e-6."""
    X, y, _ = copies(seed)
    groups = in_order(400, 3)
    lam = share * group_lasso_lambda_max(X, y, groups)
    solution = group_lasso(X, y, groups, lam)
    assert fuzz.relative_gap(X, y, groups, lam, None, solution.beta) <= 1e-13
    assert solution.kkt <= 1e-9 * lam and solution.n_iter <= 12


KINDS = {
    "one copy": lambda B, times, rng: np.column_stack([B] * times),
    "signs": lambda B, times, rng: np.column_stack([B] * times) * rng.choice([-1.0, 1.0], B.shape[1] * times),
    "scaled": lambda B, times, rng: np.column_stack([B] * times) * rng.uniform(0.1, 10, B.shape[1] * times),
    "scales": lambda B, times, rng: np.column_stack([B] * times) * 10 ** rng.uniform(-4, 4, B.shape[1] * times),
    "combinations": lambda B, times, rng: B @ rng.standard_normal((B.shape[1], B.shape[1] * times)),
    "integers": lambda B, times, rng: np.round(np.column_stack([B] * times)),
}


@pytest.mark.parametrize("shape", [(30, 3, 40), (60, 20, 8), (90, 1, 50), (20, 15, 10)], ids=str)
@pytest.mark.parametrize("kind", KINDS)
def test_copies_of_all_kinds_in_groups_of_all_sizes(kind, shape):
    n, rank, times = shape
    rng = np.random.default_rng(rank)
    B = rng.standard_normal((n, rank))
    X, y = KINDS[kind](B, times, rng), B @ rng.standard_normal(rank) + rng.standard_normal(n)
    p = rank * times
    for size in (1, 4, p):
        groups = np.split(rng.permutation(p), range(size, p, size))
        weights = np.sqrt([len(g) for g in groups])
        for share in (0.3, 1e-2, 1e-5):
            lam = share * group_lasso_lambda_max(X, y, groups, weights)
            beta = group_lasso(X, y, groups, lam, weights).beta
            assert fuzz.relative_gap(X, y, groups, lam, weights, beta) <= 1e-12, (size, share)


@pytest.mark.parametrize("share", [0.1, 1e-2, 1e-4, 1e-6])
def test_the_lasso_of_many_copies_is_exact_and_that_of_groups_of_one(share):
    X, y, _ = copies(1)
    groups = in_order(400, 1)
    lam = share * group_lasso_lambda_max(X, y, groups)
    single, grouped = lasso(X, y, lam), group_lasso(X, y, groups, lam)
    assert fuzz.relative_gap(X, y, groups, lam, None, single.beta) <= 1e-14
    assert single.n_iter <= 10
    np.testing.assert_allclose(X @ grouped.beta, X @ single.beta, atol=1e-7)


@pytest.fixture
def problem():
    """Z^T (12, 5), b, three groups of which one is zero, w0 and w, and steps."""
    rng = np.random.default_rng(3)
    ZT, blocks = rng.standard_normal((12, 5)), Blocks(np.array([5, 3, 4]), np.array([0.5, 40.0, 0.1]))
    return ZT, rng.standard_normal(5), blocks, *rng.standard_normal((2, 12)), np.array([0.3, 0.1, 0.6])


def residual(ZT, b, blocks, w0, v, steps, u):
    """F(u), and the w of its definition, group by group."""
    w = np.zeros_like(v)
    for start, size, lam, step in zip(blocks.starts, blocks.sizes, blocks.lam, steps):
        g = slice(start, start + size)
        z = v[g] + step * ZT[g] @ u
        w[g] = max(0.0, 1 - step * lam / np.linalg.norm(z)) * z
    return u - b + (w - w0) @ ZT, w


def test_the_proximal_point_solves_its_equation(problem):
    ZT, b, blocks, w0, v, steps = problem
    for factor in (1e-2, 1.0, 1e3):
        u, w = dual_newton._proximal_point(ZT, b, blocks, w0, v, np.zeros(5), factor * steps)
        F, expected = residual(ZT, b, blocks, w0, v, factor * steps, u)
        np.testing.assert_allclose(F, 0, atol=1e-13 * max(1, factor))
        np.testing.assert_allclose(w, expected, atol=1e-13 * max(1, factor))
        # It minimises (1/2) ||b - Z (w - w0)||^2 + sum lam ||w_g|| + sum ||w_g - v_g||^2 / (2 step_g).
        g = -ZT @ (b - (w - w0) @ ZT) + (w - v) / blocks.spread(factor * steps)
        for start, size, lam in zip(blocks.starts, blocks.sizes, blocks.lam):
            part, at = g[start : start + size], w[start : start + size]
            norm = np.linalg.norm(at)
            off = np.linalg.norm(part + lam * at / norm) if norm else max(0.0, np.linalg.norm(part) - lam)
            assert off <= 1e-12


def test_the_direction_is_that_of_newton(problem):
    ZT, b, blocks, w0, v, steps = problem
    u, h = np.random.default_rng(0).standard_normal(5), 1e-6
    F = residual(ZT, b, blocks, w0, v, steps, u)[0]
    sides = [[residual(ZT, b, blocks, w0, v, steps, u + s * h * e)[0] for e in np.eye(5)] for s in (1, -1)]
    derivative = (np.array(sides[0]) - np.array(sides[1])).T / (2 * h)
    z = v + blocks.spread(steps) * (ZT @ u)
    shrunk = np.minimum(1.0, steps * blocks.lam / blocks.norms(z))
    assert 0 < np.count_nonzero(shrunk < 1) < 3
    d = dual_newton._direction(ZT, blocks, z, shrunk, steps, F)
    np.testing.assert_allclose(derivative @ d, -F, atol=1e-7)
    np.testing.assert_allclose(dual_newton._direction(ZT, blocks, z, np.ones(3), steps, F), -F, rtol=1e-15)


def test_few_newton_steps_are_enough(problem, monkeypatch):
    ZT, b, blocks, w0, v, steps = problem
    count, original = [], dual_newton._direction
    monkeypatch.setattr(dual_newton, "_direction", lambda *a: (count.append(1), original(*a))[1])
    for factor in (1.0, 1e4):
        dual_newton._proximal_point(ZT, b, blocks, w0, v, 100 * b, factor * steps)
    assert len(count) <= 30


@pytest.mark.parametrize("rank", [4, 9])
@pytest.mark.parametrize("scales", [0, 5, 9])
def test_the_root_is_a_root_with_as_many_rows_as_the_rank(rank, scales):
    rng = np.random.default_rng(rank)
    X = rng.standard_normal((9, rank)) @ rng.standard_normal((rank, 14)) * 10 ** rng.uniform(-scales, scales, 14)
    X[:, 5] = 0
    c = X.T @ rng.standard_normal(9) / 9
    G, nothing = X.T @ X / 9, np.zeros(14)
    size = np.sqrt(np.diagonal(G)) + (np.diagonal(G) == 0)
    for quadratic in (Gram(G, nothing, c), Columns(np.ascontiguousarray(X.T), nothing, c)):
        ZT, b = quadratic.root()
        assert ZT.shape == (14, rank)
        np.testing.assert_allclose(ZT @ ZT.T / np.outer(size, size), G / np.outer(size, size), atol=1e-13)
        np.testing.assert_allclose((ZT @ b - c) / size, 0, atol=1e-12)


def test_from_any_start_it_reaches_the_target(problem):
    ZT, b, blocks, w0, _, _ = problem
    f = Gram(ZT @ ZT.T, w0, ZT @ b)
    for size in (0.0, 1.0, 1e6):
        w = dual_newton.minimise(ZT, b, blocks, w0, size * np.ones(12), lambda w: violation(f, blocks, w), 1e-10)
        assert violation(f, blocks, w) <= 1e-10
