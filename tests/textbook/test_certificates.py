"""Gap and KKT violation, against plain loops, the dual problem solved from outside, and minima known exactly."""

import itertools
import math

import numpy as np
import pytest
from referees.lasso_by_signs import lasso_by_signs, regression

from textbook import (
    group_lasso,
    group_lasso_gap,
    group_lasso_kkt,
    group_lasso_lambda_max,
    lasso,
    lasso_gap,
    lasso_kkt,
    lasso_lambda_max,
)
from textbook.certificates import (
    group_lasso_certificates,
    group_lasso_objective,
    lasso_certificates,
    lasso_objective,
    lasso_path_certificates,
)

GROUPS = [np.array([0, 3]), np.array([1]), np.array([2, 4, 5])]
WEIGHTS = np.array([1.0, 0.4, 1.7])


def problem(n=11, p=6, seed=0):
    X, y = regression(seed, n, p)
    return X, y, np.random.default_rng(seed).standard_normal(p) * (np.arange(p) != 1)


def primal(X, y, beta, lam):
    """(1/2n) sum_i (y_i - sum_j x_ij beta_j)^2 + lam sum_j |beta_j|, term by term."""
    n, p = X.shape
    squares = sum((y[i] - sum(X[i, j] * beta[j] for j in range(p))) ** 2 for i in range(n))
    return squares / (2 * n) + lam * sum(abs(b) for b in beta)


def grouped_primal(X, y, beta, lam):
    penalty = sum(w * math.sqrt(sum(beta[j] ** 2 for j in g)) for g, w in zip(GROUPS, WEIGHTS))
    return primal(X, y, beta, 0) + lam * penalty


def dual(y, nu):
    """(||y||^2 - ||y - nu||^2) / 2n, below the minimum for every nu in the dual's set."""
    return (y @ y - (y - nu) @ (y - nu)) / (2 * len(y))


@pytest.mark.parametrize("lam", [0.02, 0.3, 5.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_gap_is_primal_less_dual_at_the_residual_scaled_into_the_duals_set(lam, seed):
    X, y, beta = problem(seed=seed)
    r = y - X @ beta
    s = min(1.0, *(len(y) * lam / abs(x @ r) for x in X.T))
    expected = primal(X, y, beta, lam) - dual(y, s * r)
    assert lasso_gap(X, y, beta, lam) == pytest.approx(expected, rel=1e-12)
    assert lasso_objective(X, y, beta, lam) == pytest.approx(primal(X, y, beta, lam), rel=1e-13)


@pytest.mark.parametrize("lam", [0.02, 0.3, 5.0])
@pytest.mark.parametrize("seed", range(5))
def test_the_gap_of_the_group_lasso(lam, seed):
    X, y, beta = problem(seed=seed)
    r = y - X @ beta
    s = min(1.0, *(len(y) * lam * w / np.linalg.norm(X[:, g].T @ r) for g, w in zip(GROUPS, WEIGHTS)))
    expected = grouped_primal(X, y, beta, lam) - dual(y, s * r)
    assert group_lasso_gap(X, y, beta, GROUPS, lam, WEIGHTS) == pytest.approx(expected, rel=1e-12)
    objective = group_lasso_objective(X, y, beta, GROUPS, lam, WEIGHTS)
    assert objective == pytest.approx(grouped_primal(X, y, beta, lam), rel=1e-13)


@pytest.mark.parametrize("seed", range(10))
def test_no_point_is_below_its_objective_less_its_gap(seed):
    X, y, beta = problem(seed=seed)
    lam = 0.2 * np.abs(X.T @ y).max() / len(y)
    minimum = primal(X, y, lasso_by_signs(X, y, lam), lam)
    for t in (0.0, 0.5, 1.0, 3.0):
        excess = primal(X, y, t * beta, lam) - minimum
        assert excess <= lasso_gap(X, y, t * beta, lam) * (1 + 1e-12)


def test_both_are_zero_at_the_minimum_and_nowhere_near_it():
    X, y, _ = problem()
    lam = 0.1
    beta = lasso_by_signs(X, y, lam)
    assert 0 < np.count_nonzero(beta) < 6
    assert 0 <= lasso_gap(X, y, beta, lam) <= 1e-15
    assert 0 <= lasso_kkt(X, y, beta, lam) <= 1e-14
    for wrong in (1.001 * beta, -beta, np.zeros(6)):
        assert lasso_gap(X, y, wrong, lam) > 1e-8 and lasso_kkt(X, y, wrong, lam) > 1e-5
    for other in (2 * lam, lam / 2, 2 * len(y) * lam):
        assert lasso_gap(X, y, beta, other) > 1e-3 and lasso_kkt(X, y, beta, other) > 1e-3


def test_near_the_minimum_the_gap_falls_with_the_distance():
    X, y, direction = problem(seed=2)
    beta = lasso_by_signs(X, y, 0.1)
    moved = np.where(beta != 0, direction, 0)
    gaps = [lasso_gap(X, y, beta + 10.0**-k * moved, 0.1) for k in range(1, 7)]
    assert all(small < large for large, small in itertools.pairwise(gaps))
    assert gaps[-1] > 1e-13  # and no rounding error yet


@pytest.mark.parametrize("seed", range(5))
def test_the_kkt_violation_by_a_loop(seed):
    X, y, beta = problem(seed=seed)
    lam, n = 0.3, len(y)
    c = [sum(X[i, j] * (y[i] - X[i] @ beta) for i in range(n)) / n for j in range(6)]
    by_loop = [abs(c[j] - lam * math.copysign(1, b)) if b else max(abs(c[j]) - lam, 0) for j, b in enumerate(beta)]
    assert lasso_kkt(X, y, beta, lam) == pytest.approx(max(by_loop), rel=1e-12)
    blocks = []
    for g, w in zip(GROUPS, WEIGHTS):
        size = np.linalg.norm(beta[g])
        target = lam * w * beta[g] / size if size else np.zeros(len(g))
        violation = np.linalg.norm(np.array(c)[g] - target)
        blocks.append(violation if size else max(violation - lam * w, 0))
    assert group_lasso_kkt(X, y, beta, GROUPS, lam, WEIGHTS) == pytest.approx(max(blocks), rel=1e-12)


def test_a_zero_coefficient_within_its_bounds_violates_nothing():
    X, y, _ = problem()
    largest = np.abs(X.T @ y).max() / len(y)
    assert lasso_kkt(X, y, np.zeros(6), largest) <= 1e-16
    assert lasso_kkt(X, y, np.zeros(6), 0.75 * largest) == pytest.approx(0.25 * largest)
    assert lasso_gap(X, y, np.zeros(6), 1.1 * largest) == 0


@pytest.mark.parametrize("columns", [np.ones(4), np.array([1, 1e-17, 1e8, 1e-100])])
def test_without_a_penalty_the_gap_is_what_least_squares_would_gain(columns):
    X, y, beta = problem(19, 4)
    minimum = np.linalg.lstsq(X, y)[0]
    excess = primal(X, y, beta, 0) - primal(X, y, minimum, 0)
    assert lasso_gap(columns * X, y, beta / columns, 0) == pytest.approx(excess, rel=1e-9)
    assert lasso_gap(columns * X, y, minimum / columns, 0) <= 1e-28
    assert lasso(columns * X, y, 0).gap <= 1e-28
    assert group_lasso(columns * X, y, [[0, 1], [2], [3]], 0).gap <= 1e-28
    both = np.stack([beta / columns, minimum / columns], axis=1)
    gaps, _ = lasso_path_certificates(columns * X, y, both, np.zeros(2), columns * X)
    np.testing.assert_allclose(gaps, [excess, 0], rtol=1e-9, atol=1e-28)


def test_groups_of_one_column_are_the_lasso():
    X, y, beta = problem()
    ones = [np.array([j]) for j in range(6)]
    for lam in (0.05, 1.0):
        arguments = X, y, beta, ones, lam, np.ones(6)
        assert group_lasso_gap(*arguments) == pytest.approx(lasso_gap(X, y, beta, lam), rel=1e-13)
        assert group_lasso_kkt(*arguments) == pytest.approx(lasso_kkt(X, y, beta, lam), rel=1e-13)


def test_with_r_and_c_known_they_are_the_same():
    X, y, beta = problem()
    r = y - X @ beta
    c = X.T @ r / len(y)
    expected = lasso_objective(X, y, beta, 0.3), lasso_gap(X, y, beta, 0.3), lasso_kkt(X, y, beta, 0.3)
    assert lasso_certificates(X, r, c, beta, 0.3) == expected
    arguments = X, y, beta, GROUPS, 0.3, WEIGHTS
    expected = group_lasso_objective(*arguments), group_lasso_gap(*arguments), group_lasso_kkt(*arguments)
    assert group_lasso_certificates(X, r, c, beta, GROUPS, 0.3, WEIGHTS) == pytest.approx(expected, rel=1e-13)
    lams = np.array([2.0, 0.3, 0.02, 0.0])
    gaps, kkts = lasso_path_certificates(X, y, np.stack([beta, 0 * beta, -beta, beta], axis=1), lams, X)
    for gap, kkt, b, lam in zip(gaps, kkts, (beta, 0 * beta, -beta, beta), lams):
        assert gap == pytest.approx(lasso_gap(X, y, b, lam), rel=1e-12)
        assert kkt == pytest.approx(lasso_kkt(X, y, b, lam), rel=1e-12)


def test_an_infinite_lam():
    X, y, beta = problem()
    assert lasso_gap(X, y, np.zeros(6), math.inf) == 0 and lasso_kkt(X, y, np.zeros(6), math.inf) == 0
    assert lasso_objective(X, y, np.zeros(6), math.inf) == pytest.approx(y @ y / 22)
    assert lasso_objective(X, y, beta, math.inf) == lasso_gap(X, y, beta, math.inf) == math.inf


def test_lambda_max_is_where_the_first_coefficient_enters():
    X, y, _ = problem()
    largest = lasso_lambda_max(X, y)
    assert largest == pytest.approx(max(abs(sum(X[i, j] * y[i] for i in range(11))) for j in range(6)) / 11, rel=1e-14)
    assert not np.any(lasso_by_signs(X, y, 1.001 * largest)) and np.any(lasso_by_signs(X, y, 0.999 * largest))
    # The slide's ||y - X beta||^2 + lam_slide ||beta||_1 has its own scale: 2 ||X^T y||_inf there.
    assert 2 * len(y) * largest == pytest.approx(2 * np.abs(X.T @ y).max())
    grouped = max(np.linalg.norm(X[:, g].T @ y) / (11 * w) for g, w in zip(GROUPS, WEIGHTS))
    assert group_lasso_lambda_max(X, y, GROUPS, WEIGHTS) == pytest.approx(grouped, rel=1e-14)
    assert group_lasso_lambda_max(X, y, GROUPS, 2 * WEIGHTS) == pytest.approx(grouped / 2, rel=1e-14)


@pytest.mark.parametrize(("a", "b"), [(1e160, 1e100), (1e-160, 1e-100), (1e300, 1e-300), (1e-250, 1e250), (1e-200, 1)])
def test_lambda_max_at_any_scale(a, b):
    X, y, _ = problem()
    assert lasso_lambda_max(a * X, b * y) == pytest.approx(lasso_lambda_max(X, y) * a * b, rel=1e-12)
    expected = group_lasso_lambda_max(X, y, GROUPS, WEIGHTS) * a * b
    assert group_lasso_lambda_max(a * X, b * y, GROUPS, WEIGHTS) == pytest.approx(expected, rel=1e-12)
    assert lasso_lambda_max(1e200 * X, 1e200 * y) == math.inf and lasso_lambda_max(1e-200 * X, 1e-200 * y) == 0


def test_all_libraries_agree(library):
    X, y, beta = problem()
    given = [library.xp.asarray(a) for a in (X, y, beta)]
    assert lasso_gap(*given, 0.3) == pytest.approx(lasso_gap(X, y, beta, 0.3), rel=1e-12)
    assert lasso_gap(*given, 0) == pytest.approx(lasso_gap(X, y, beta, 0), rel=1e-12)
    assert lasso_kkt(*given, 0.3) == pytest.approx(lasso_kkt(X, y, beta, 0.3), rel=1e-12)
    assert lasso_lambda_max(*given[:2]) == pytest.approx(lasso_lambda_max(X, y), rel=1e-12)
    grouped = group_lasso_gap(X, y, beta, GROUPS, 0.3, WEIGHTS)
    assert group_lasso_gap(*given, GROUPS, 0.3, WEIGHTS) == pytest.approx(grouped, rel=1e-12)
    assert group_lasso_lambda_max(*given[:2], GROUPS) == pytest.approx(group_lasso_lambda_max(X, y, GROUPS), rel=1e-12)
