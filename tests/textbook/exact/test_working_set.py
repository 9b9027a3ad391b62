"""The fast lasso: optimality conditions written out, every sign pattern, the slide's loop, extremes of all kinds."""

import os

import fuzz_lasso
import numpy as np
import pytest
from benchmarks.regression_problems import lasso_problem
from referees.lasso_by_signs import lasso_by_signs, regression, relative

import nn
from textbook import lasso, lasso_coordinate_descent, lasso_gap, lasso_lambda_max
from textbook.exact.sign_fixed import Restriction, newton

REAL = os.environ.get("PRUNING_DATA")
SMALL = {"a": (900, 20), "b": (400, 60), "c": (50, 50), "d": (40, 300), "f": (60, 120)}


def data(n=11, p=19, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, p)), rng.standard_normal(n)


def violation(X, y, beta, lam):
    """x_j^T r / n = lam sign(beta_j), or in [-lam, lam] where beta_j = 0."""
    c = X.T @ (y - X @ beta) / len(y)
    return max(abs(c[j] - lam * np.sign(b)) if b else max(abs(c[j]) - lam, 0.0) for j, b in enumerate(beta))


@pytest.mark.parametrize("n,p", [(11, 19), (19, 11), (300, 40), (60, 300)])
@pytest.mark.parametrize("share", [0.9, 0.1, 0.01])
def test_the_optimality_conditions_hold_to_rounding(n, p, share):
    X, y = data(n, p)
    lam = share * lasso_lambda_max(X, y)
    solution = lasso(X, y, lam)
    assert violation(X, y, solution.beta, lam) <= 1e-12 * lam
    assert 0 <= solution.gap <= 1e-14 * (y @ y) / n
    assert np.count_nonzero(solution.beta) > 0
    assert violation(X, y, solution.beta, 2 * lam) > 0.1 * lam  # another lam is another problem


def test_the_ends_of_the_path():
    X, y = data(19, 11)
    for sign in (1, -1):  # with all correlations of one sign too
        np.testing.assert_array_equal(lasso(np.abs(X), sign * np.abs(100 * y), np.inf).beta, 0)
    np.testing.assert_array_equal(lasso(X, y, np.inf).beta, 0)
    np.testing.assert_array_equal(lasso(X, y, 1.001 * lasso_lambda_max(X, y)).beta, 0)
    assert np.count_nonzero(lasso(X, y, 0.999 * lasso_lambda_max(X, y)).beta) == 1
    np.testing.assert_allclose(lasso(X, y, 0).beta, np.linalg.lstsq(X, y)[0], rtol=1e-10)


def test_the_intercept_is_an_unpenalised_constant():
    X, y = data(19, 11)
    y = y + 5
    solution = lasso(X, y, 0.05, intercept=True)
    r = y - X @ solution.beta - solution.intercept
    assert abs(r.mean()) <= 1e-14
    assert violation(X, y - solution.intercept, solution.beta, 0.05) <= 1e-13


@pytest.mark.parametrize("share", [0.1, 0.01])
@pytest.mark.parametrize("name", SMALL)
def test_the_problems_of_the_benchmark_at_small_size(name, share):
    X, y = lasso_problem(name, SMALL[name])
    lam = share * lasso_lambda_max(X, y)
    fast = lasso(X, y, lam)
    assert violation(X, y, fast.beta, lam) <= 1e-12 * lam
    assert 0 <= fast.gap <= 1e-14 * (y @ y) / len(y) and fast.kkt <= 1e-12 * lam


@pytest.mark.parametrize("name", SMALL)
def test_the_loop_of_the_slide_comes_to_the_same(name):
    X, y = lasso_problem(name, (30, 20) if name != "a" else (300, 10))
    lam = 0.1 * lasso_lambda_max(X, y)
    fast, loop = lasso(X, y, lam), lasso_coordinate_descent(X, y, lam, tol=0, max_sweeps=400)
    assert relative(X @ fast.beta, X @ loop.beta) <= 1e-9 and relative(fast.beta, loop.beta) <= 1e-9


@pytest.mark.skipif(REAL is None, reason="$PRUNING_DATA is not set")
@pytest.mark.parametrize("share", [0.1, 0.01])
def test_diabetes(share):
    X, y = nn.data.load("diabetes", root=REAL).train
    X, y = X - X.mean(axis=0), y - y.mean()
    X = X / np.linalg.norm(X, axis=0)
    lam = share * lasso_lambda_max(X, y)
    fast = lasso(X, y, lam)
    assert violation(X, y, fast.beta, lam) <= 1e-12 * lam and fast.gap <= 1e-14 * (y @ y) / len(y)
    loop = lasso_coordinate_descent(X, y, lam, tol=0, max_sweeps=1500)
    assert relative(X @ fast.beta, X @ loop.beta) <= 1e-9


@pytest.mark.parametrize("seed", range(12))
def test_every_pattern_of_signs_gives_the_same(seed):
    X, y = regression(seed, 9, 6)
    lam = 10.0 ** (-seed / 4) * lasso_lambda_max(X, y) * 0.9
    solution, expected = lasso(X, y, lam), lasso_by_signs(X, y, lam)
    np.testing.assert_allclose(solution.beta, expected, rtol=1e-9, atol=1e-13)
    assert np.array_equal(solution.beta == 0, expected == 0)
    # The slide leaves out the 1/2n: the same lam is another problem there.
    assert relative(lasso(X, y, lam / (2 * len(y))).beta, expected) > 0.01


def test_a_step_of_newton_lands_on_the_minimum_where_no_sign_changes():
    X, y = regression(1, 12, 4)
    L = 12 * 0.05
    expected = lasso_by_signs(X, y, 0.05)
    w = expected * [1.5, 0.7, 1.2, 0.9]
    problem = Restriction(X, y, X.T @ X, w.copy(), X.T @ (y - X @ w))
    newton(problem, L, 1e-12 * L, steps=1)
    np.testing.assert_allclose(problem.w, expected, rtol=1e-10)
    np.testing.assert_allclose(problem.g, X.T @ (y - X @ expected), atol=1e-12)


@pytest.mark.parametrize("distance", [1e-4, 1e-6, 1e-8, 1e-10])
@pytest.mark.parametrize("n", [13, 60])
def test_near_duplicates(distance, n):
    """Twins at a small distance, where the Gram matrix has lost the digits, and coordinate descent stands still."""
    X, y = data(n, 20)
    twins = X[:, ::-1] + distance * data(n, 20, seed=1)[0]
    X = np.concatenate([X, twins, -X[:, :3]], axis=1)
    y = y + X[:, :20] @ (np.arange(20) % 3 == 0) - twins[:, 5]
    for share in (0.3, 0.01, 1e-4):
        lam = share * lasso_lambda_max(X, y)
        solution = lasso(X, y, lam)
        assert solution.gap <= 1e-11 * (y @ y) / n
        assert violation(X, y, solution.beta, lam) <= 1e-8 * lasso_lambda_max(X, y)


def test_where_rounding_allows_no_progress_it_ends():
    """The Hilbert matrix, cond(X) beyond the digits there are: the conditions cannot be met to 1e-13."""
    X = 1 / (1.0 + np.arange(60)[:, None] + np.arange(60))
    rng = np.random.default_rng(1)
    y = X @ (rng.standard_normal(60) * (rng.random(60) < 0.2)) + 0.1 * rng.standard_normal(60)
    lam = 1e-6 * lasso_lambda_max(X, y)
    solution = lasso(X, y, lam)
    assert 1e-13 * lam < solution.kkt < 1e-5 * lam and solution.gap <= 1e-8 * (y @ y) / 60
    assert solution.n_iter <= 20


@pytest.mark.parametrize(("a", "b"), [(200, 0), (-200, 0), (0, 200), (0, -200), (150, -100), (-150, -150), (140, 140)])
def test_scales_of_1e200(a, b):
    X, y = data()
    unit = lasso(X, y, lam := 0.1 * lasso_lambda_max(X, y))
    solution = lasso(10.0**a * X, 10.0**b * y, lam * 10.0**a * 10.0**b)
    np.testing.assert_allclose(solution.beta * 10.0**a / 10.0**b, unit.beta, rtol=1e-9)
    rough = lasso(10.0**a * X, 10.0**b * y, lam * 10.0**a * 10.0**b, tol=0.1)
    assert rough.kkt / 10.0**a / 10.0**b == pytest.approx(
        violation(X, y, lasso(X, y, lam, tol=0.1).beta, lam), rel=1e-6
    )
    assert rough.kkt / 10.0**a / 10.0**b > 1e-4 * lam
    if abs(b) < 150:  # the objective is in the units of y^2
        assert solution.gap <= 1e-12 * (y @ y) / len(y) * 10.0 ** (2 * b)
        assert solution.objective == pytest.approx(unit.objective * 10.0 ** (2 * b), rel=1e-10)


def test_columns_of_all_scales_at_once():
    """Of x_j^T r eps ||x_j|| ||r|| is not known: at the last lam that is 1e-6 lam for the largest columns.

    The residual, shrunk by as much, leaves 1e-12 to 1e-9 of ||y||^2 / n, whichever way the kernels round.  Moved by the
    shortest w with X_A^T w = n (c_A - lam s_A) it leaves ||w||^2 / 2n.  In units in which columns have length 1, that
    is e^T G_AA^-1 e / 2n with |e_j| <= eps ||r||: |A| eps^2 cond(G_AA) ||r||^2 / 2n, 1e-29 of ||y||^2 / n here; so what
    remains is what is not worth moving, 1e-13.
    """
    X, y = data(60, 20)
    units = 10.0 ** np.linspace(-8, 8, 20)
    for share in (0.5, 1e-3, 1e-9):
        lam = share * lasso_lambda_max(units * X, y)
        solution = lasso(units * X, y, lam)
        assert violation(units * X, y, solution.beta, lam) <= 1e-13 * lasso_lambda_max(units * X, y)
        assert solution.gap <= 1e-12 * (y @ y) / 60


def test_the_order_in_memory_and_the_order_of_the_columns_do_not_matter():
    X, y = lasso_problem("d", SMALL["d"])
    lam = 0.05 * lasso_lambda_max(X, y)
    beta = lasso(X, y, lam).beta
    np.testing.assert_allclose(lasso(np.ascontiguousarray(X), y, lam).beta, beta, rtol=1e-9, atol=1e-14)
    order = np.random.default_rng(0).permutation(X.shape[1])
    np.testing.assert_allclose(lasso(X[:, order], y, lam).beta, beta[order], rtol=1e-9, atol=1e-14)
    np.testing.assert_allclose(lasso(-X, y, lam).beta, -beta, rtol=1e-9, atol=1e-14)


def test_the_strongest_columns_come_first():
    X, y = lasso_problem("d", (60, 600))
    assert lasso(X, y, 0.1 * lasso_lambda_max(X, y)).n_iter <= 4  # 12 with the weakest first


def test_tol_stops_early_with_a_gap_below_it():
    X, y = lasso_problem("d", SMALL["d"])
    lam, unit = 0.02 * lasso_lambda_max(X, y), y @ y / len(y)
    solutions = [lasso(X, y, lam, tol=tol) for tol in (0, 1e-3, 1e-1)]
    assert [s.n_iter for s in solutions] == sorted((s.n_iter for s in solutions), reverse=True)
    assert solutions[0].n_iter > solutions[2].n_iter
    assert solutions[1].gap <= 1e-3 * unit and 1e-10 * unit < solutions[2].gap <= 1e-1 * unit


@pytest.mark.parametrize(("n", "p"), [(19, 11), (11, 30)])
def test_the_intercept_does_not_depend_on_the_means(n, p):
    X, y = data(n, p)
    plain = lasso(X - X.mean(axis=0), y - y.mean(), 0.05)
    moved = lasso(X + np.arange(p), y + 3, 0.05, intercept=True)
    np.testing.assert_allclose(moved.beta, plain.beta, rtol=1e-9, atol=1e-12)
    assert moved.intercept == pytest.approx(y.mean() + 3 - (X.mean(axis=0) + np.arange(p)) @ moved.beta, abs=1e-11)
    assert plain.intercept == 0 and moved.gap <= 1e-12
    without = lasso(X + np.arange(p), y + 3, 0.05)
    assert without.intercept == 0 and relative(without.beta, plain.beta) > 1e-3


def test_float32_is_computed_in_float64_and_inputs_stay():
    X, y = (a.astype(np.float32) for a in data())
    before = X.copy(), y.copy()
    solution = lasso(X, y, 0.05)
    assert solution.beta.dtype == np.float32
    assert solution.gap <= 1e-6 * (y @ y) / len(y)
    wide = [a.astype(np.float64) for a in (X, y, solution.beta)]  # certified is what is returned, not what it is near
    assert solution.gap == pytest.approx(lasso_gap(*wide, 0.05), rel=1e-9) and solution.gap > 1e-12
    assert solution.kkt == pytest.approx(violation(*wide, 0.05), rel=1e-6)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


def test_zero_and_equal_columns():
    X, y = data()
    X[:, 3] = 0
    X[:, 5] = X[:, 4]
    X[:, 6] = -X[:, 4]
    lam = 0.1 * lasso_lambda_max(X, y)
    solution = lasso(X, y, lam)
    assert solution.beta[3] == 0
    assert violation(X, y, solution.beta, lam) <= 1e-12 * lam


@pytest.mark.parametrize("number", range(104))
def test_fuzz(number):
    _, _, gap = fuzz_lasso.check(number)
    assert gap <= fuzz_lasso.LARGEST_GAP
