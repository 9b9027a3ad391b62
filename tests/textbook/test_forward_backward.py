"""ISTA and FISTA against all sign patterns, against their proved rates, and against their own formulas typed again."""

import itertools
import math

import numpy as np
import pytest
from referees.lasso_by_signs import lambda_max, lasso_by_signs, regression, relative

import nn.backend
from textbook.certificates import lasso_gap
from textbook.coordinate_descent import lasso_coordinate_descent
from textbook.forward_backward import accelerated_proximal_gradient, fista, ista, proximal_gradient
from textbook.proximal import project_l1_ball, soft_threshold

SHAPES = [(11, 5), (19, 4), (4, 6)]  # the last is wide


def pieces(X, y, lam):
    """Objective, gradient, prox and Lipschitz constant, typed from their definitions."""
    n = len(y)
    return (
        lambda b: 0.5 * np.mean((y - X @ b) ** 2) + lam * np.abs(b).sum(),
        lambda b: -X.T @ (y - X @ b) / n,
        lambda v, step: soft_threshold(v, lam * step),
        np.linalg.norm(X, 2) ** 2 / n,
    )


def take(iterates, count):
    return list(itertools.islice(iterates, count))


@pytest.mark.parametrize("method", [ista, fista])
@pytest.mark.parametrize("fraction", [0.5, 0.1, 0.02])
@pytest.mark.parametrize("shape", SHAPES)
def test_they_find_the_minimum(method, shape, fraction):
    X, y = regression(sum(shape), *shape)
    lam = fraction * lambda_max(X, y)
    solution = method(X, y, lam, tol=1e-15)
    assert relative(solution.beta, lasso_by_signs(X, y, lam)) <= 1e-7
    assert solution.gap <= 1e-15 * np.mean(y**2) and solution.kkt <= 1e-6 * lam


@pytest.mark.parametrize("method", [ista, fista])
def test_lam_zero_is_least_squares_and_a_large_lam_is_zero(method):
    X, y = regression(0, 11, 4)
    assert relative(method(X, y, 0, tol=1e-20).beta, np.linalg.lstsq(X, y, rcond=None)[0]) <= 1e-8
    for lam in (1.001 * lambda_max(X, y), math.inf):
        solution = method(X, y, lam)
        assert not solution.beta.any() and solution.lam == lam and solution.gap == 0 == solution.kkt


def test_ista_falls_and_stays_below_its_bound():
    X, y = regression(1, 19, 5)
    lam = 0.05 * lambda_max(X, y)
    F, gradient, prox, L = pieces(X, y, lam)
    best = lasso_by_signs(X, y, lam)
    values = [F(np.zeros(5))] + [F(b) for b in take(proximal_gradient(gradient, prox, np.zeros(5), 1 / L), 300)]
    assert np.all(np.diff(values) <= 1e-15 * values[0])
    k = np.arange(1, 301)
    excess = np.array(values[1:]) - F(best)
    assert np.all(excess <= L * (best @ best) / (2 * k) + 1e-15)


def test_fista_stays_below_its_bound_where_ista_does_not():
    rng = np.random.default_rng(2)
    p = 200  # Nesterov's hard problem: least squares with the differences of neighbours
    X = math.sqrt(p) * (np.eye(p) - np.eye(p, k=1))
    y = math.sqrt(p) * np.r_[np.zeros(p - 1), 1.0] + 1e-3 * rng.standard_normal(p)
    F, gradient, prox, L = pieces(X, y, 0.0)
    best = np.linalg.solve(X, y)
    k = np.arange(1, 1001)
    bound = 2 * L * (best @ best) / (k + 1) ** 2
    excess = {}
    for name, iterates in {
        "fista": accelerated_proximal_gradient(gradient, prox, np.zeros(p), 1 / L, restart=False),
        "ista": proximal_gradient(gradient, prox, np.zeros(p), 1 / L),
    }.items():
        excess[name] = np.array([F(b) for b in take(iterates, 1000)]) - F(best)
    assert np.all(excess["fista"] <= bound) and np.any(excess["fista"] > 0.02 * bound)
    assert np.any(excess["ista"] > bound)
    assert np.all(excess["ista"] <= L * (best @ best) / (2 * k))


def test_steps_up_to_two_over_L_converge_and_beyond_they_diverge():
    X, y = regression(3, 19, 5)
    lam = 0.1 * lambda_max(X, y)
    F, gradient, prox, L = pieces(X, y, lam)
    best = lasso_by_signs(X, y, lam)
    *_, last = take(proximal_gradient(gradient, prox, np.zeros(5), 1.95 / L), 3000)
    assert relative(last, best) <= 1e-9
    # Beyond 2/L the direction of the largest curvature grows, unless the threshold keeps it at zero.
    F, gradient, prox, L = pieces(X, y, 0.0)
    *_, last = take(proximal_gradient(gradient, prox, np.zeros(5), 2.05 / L), 1000)
    assert F(last) > 1e20 * F(np.zeros(5))


def test_fista_is_its_three_lines():
    X, y = regression(4, 11, 4)
    lam = 0.1 * lambda_max(X, y)
    _, gradient, _, L = pieces(X, y, lam)
    t, now, before, momentum = [1.0], np.zeros(4), np.zeros(4), 0.0
    for x in take(accelerated_proximal_gradient(gradient, lambda v, step: soft_threshold(v, lam * step),
                                                np.zeros(4), 1 / L, restart=False), 50):  # fmt: skip
        v = now + momentum * (now - before)
        w = v + X.T @ (y - X @ v) / (len(y) * L)
        before, now = now, np.sign(w) * np.maximum(np.abs(w) - lam / L, 0)
        np.testing.assert_allclose(x, now, rtol=0, atol=1e-13)
        t.append(0.5 + math.sqrt(0.25 + t[-1] ** 2))
        momentum = (t[-2] - 1) / t[-1]


def test_restart_is_where_the_momentum_points_uphill_and_it_pays():
    X, y = regression(5, 19, 5)
    X[:, 0] *= 5  # ill-conditioned
    lam = 0.01 * lambda_max(X, y)
    F, gradient, prox, L = pieces(X, y, lam)
    best = F(lasso_by_signs(X, y, lam))

    def first_below(restart):
        excess = np.array([F(b) - best for b in take(accelerated_proximal_gradient(
            gradient, prox, np.zeros(5), 1 / L, restart), 2500)])  # fmt: skip
        return np.flatnonzero(excess < 1e-12 * best)[0], np.sum(np.diff(excess) > 1e-12 * best)

    (with_restart, rises), (without, rises_without) = first_below(True), first_below(False)
    assert 2 * with_restart < without
    assert rises < rises_without


def test_another_prox_is_another_problem():
    X, y = regression(6, 11, 4)
    _, gradient, _, L = pieces(X, y, 0.0)
    *_, beta = take(proximal_gradient(gradient, lambda v, _: project_l1_ball(v, 0.5), np.zeros(4), 1 / L), 3000)
    c = -gradient(beta)  # on the ball's surface, c is lam times a subgradient of the l1 norm
    lam = np.abs(c).max()
    assert abs(np.abs(beta).sum() - 0.5) <= 1e-12
    np.testing.assert_allclose(c[beta != 0], lam * np.sign(beta[beta != 0]), rtol=1e-9)


def test_it_stops_at_the_gap_or_at_the_last_iteration():
    X, y = regression(7, 11, 5)
    lam = 0.05 * lambda_max(X, y)
    seen, counts = [], []
    solution = ista(X, y, lam, tol=1e-6, callback=lambda k, beta: seen.append(beta) or counts.append(k))
    assert counts == list(range(1, solution.n_iter + 1)) and solution.n_iter % 10 == 0
    np.testing.assert_array_equal(seen[-1], solution.beta)
    enough = 1e-6 * np.mean(y**2)
    assert lasso_gap(X, y, seen[-1], lam) <= enough < lasso_gap(X, y, seen[-11], lam)
    assert solution.gap == pytest.approx(lasso_gap(X, y, solution.beta, lam), rel=1e-9)
    short = ista(X, y, lam, max_iter=3)
    assert short.n_iter == 3 and short.gap > enough
    np.testing.assert_array_equal(short.beta, seen[2])
    fast = []
    short = fista(X, y, lam, max_iter=7, callback=lambda k, beta: fast.append(beta))
    assert short.n_iter == len(fast) == 7 and fista(X, y, lam).n_iter > 7
    assert enough < short.gap < 1 and relative(fast[6], seen[6]) > 1e-3
    assert ista(X, y, lam, tol=0, max_iter=5000).n_iter == 5000  # 0 means all


@pytest.mark.parametrize("method", [ista, fista, lasso_coordinate_descent])
def test_it_ends_where_more_iterations_bring_nothing(method):
    """Columns whose units are 1e100 apart, and lam that belongs to the small ones: they would take 1e200 steps."""
    X, y = regression(7, 11, 5)
    units = np.array([1e200, 1e100, 1.0, 1e-30, 1e-100])
    solution = method(X * units, y, 1e-3)
    assert solution.n_iter <= 3000 and 0 < solution.gap < math.inf
    seen = []
    method(X * units, y, 0, callback=lambda k, beta: seen.append(k))
    assert len(seen) <= 3000


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("method", [ista, fista])
def test_every_library(method, shape, library):
    X, y = regression(8, *shape)
    lam = 0.1 * lambda_max(X, y)
    there = method(library.xp.asarray(X), library.xp.asarray(y), lam, tol=1e-12)
    here = method(X, y, lam, tol=1e-12)
    assert type(there.beta) is type(library.xp.asarray(X))
    np.testing.assert_allclose(nn.backend.to_numpy(there.beta), here.beta, rtol=1e-12, atol=1e-13)
    assert there.n_iter == here.n_iter and there.objective == pytest.approx(here.objective, rel=1e-12)


@pytest.mark.parametrize("method", [ista, fista])
@pytest.mark.parametrize(
    ("X", "arguments", "error", "message"),
    [
        (None, {"lam": -1.0}, ValueError, "lam of at least 0, got -1.0"),
        (None, {"lam": math.nan}, ValueError, "lam of at least 0, got nan"),
        (None, {"lam": "1"}, TypeError, "lam to be a real number, got str"),
        (None, {"tol": -1e-3}, ValueError, "tol of at least 0, got -0.001"),
        (None, {"max_iter": 0}, ValueError, "max_iter of at least 1, got 0"),
        (None, {"max_iter": 2.5}, TypeError, "max_iter to be an integer, got float"),
        (np.ones(3), {}, ValueError, r"X of shape \(n, p\), got shape \(3,\)"),
        (np.full((3, 2), np.nan), {}, ValueError, r"finite numbers, got nan at X\[0, 0\]"),
        (np.ones((4, 2)), {}, ValueError, "as many values of y as rows of X, got 3 and 4"),
    ],
)
def test_bad_arguments(method, X, arguments, error, message):
    with pytest.raises(error, match=message):
        method(np.ones((3, 2)) if X is None else X, np.ones(3), **{"lam": 0.1, **arguments})


@pytest.mark.parametrize("iterates", [proximal_gradient, accelerated_proximal_gradient])
@pytest.mark.parametrize(
    ("gradient", "prox", "x", "error", "message"),
    [
        (None, lambda v, _: v, np.ones(2), TypeError, "gradient to be a function x -> array, got NoneType"),
        (abs, 0.1, np.ones(2), TypeError, r"prox to be a function \(v, step\) -> array, got float"),
        (abs, lambda v, _: v, None, TypeError, "x to be an array, got NoneType"),
        (abs, lambda v, _: v, [1.0, math.nan], ValueError, r"got nan at x\[1\]"),
    ],
)
def test_bad_starts(iterates, gradient, prox, x, error, message):
    with pytest.raises(error, match=message):
        next(iterates(gradient, prox, x, 0.1))


@pytest.mark.parametrize("iterates", [proximal_gradient, accelerated_proximal_gradient])
@pytest.mark.parametrize("step", [0, -0.1, math.nan, math.inf])
def test_bad_steps(iterates, step):
    with pytest.raises(ValueError, match="expected step"):
        next(iterates(lambda x: x, lambda v, _: v, np.ones(2), step))
