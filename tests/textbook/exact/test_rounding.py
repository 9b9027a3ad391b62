"""The gap where lam is within the rounding errors of X^T r: above the true excess, and as small as beta is exact."""

from fractions import Fraction

import numpy as np
import pytest
from referees.exact_path import dot, exact_path, rationals, sum_of_squares
from referees.nist import DATA, powers

from textbook import lasso, lasso_lambda_max
from textbook.certificates import lasso_gap, lasso_kkt
from textbook.exact.rounding import gap_to_rounding


def sine(degree, low, high, n):
    x = np.linspace(low, high, n)
    return powers(x, degree), np.sin(3 * (x - low) / (high - low)) + 0.1 * np.random.default_rng(5).standard_normal(n)


PROBLEMS = {"pontius": DATA["pontius"], "degree 5": sine(5, 0, 20, 25), "degree 10": sine(10, 1, 3, 18)}


def excess(X, y, beta, lam):
    """By how much the objective is above the minimum, relative to it: lam below the last kink, in rational numbers."""
    L, (last, b) = Fraction(lam) * len(y), exact_path(X, y)[-2]
    assert 0 < L < last
    end = exact_path(X, y)[-1][1]
    best = {j: end.get(j, 0) + L / last * (b.get(j, 0) - end.get(j, 0)) for j in {*b, *end}}
    columns, r = rationals(X), rationals(y[:, None])[0]
    for j, value in best.items():
        r = [t - value * x for t, x in zip(r, columns[j])]
    least = dot(r, r) / 2 + L * sum(abs(value) for value in best.values())
    ours = sum_of_squares(X, y, beta) / 2 + L * sum(abs(Fraction(float(value))) for value in beta)
    return float(ours / least - 1), float(least) / len(y)


@pytest.mark.parametrize(
    ("name", "lam"),
    [("pontius", 1e-14), ("pontius", 1e-11), ("degree 5", 1e-14), ("degree 5", 1e-11), ("degree 10", 1e-14)],
)
def test_the_gap_of_an_exact_solution_is_small_for_the_smallest_lam(name, lam):
    """X^T r is known to 1e-9 at best: the residual, shrunk until |X^T r| <= n lam, would leave the whole objective."""
    X, y = PROBLEMS[name]
    solution = lasso(X, y, lam)
    above, least = excess(X, y, solution.beta, lam)
    c = X.T @ (y - X @ solution.beta) / len(y)
    assert lam < 0.2 * np.abs(c).max()
    assert 0 <= above <= 1e-12
    for gap in (solution.gap, lasso_gap(X, y, solution.beta, lam)):  # all columns are in use
        assert above - 1e-13 <= gap / least <= 1e-12  # r itself is a rounded difference of numbers of 1e6


def gap(X, y, beta, lam, known=np.inf):
    r = y - X @ beta
    return gap_to_rounding(X, y, r, X.T @ r / len(y), beta, lam, known, lasso_kkt(X, y, beta, lam))


def test_it_is_a_bound_where_some_columns_are_zero():
    """Columns that exceed lam once the others are right join A; what is left of it shrinks the residual."""
    X, y = sine(10, 1, 3, 18)
    rng = np.random.default_rng(0)
    for L in (3e-5, 1.2e-7):
        solution = lasso(X, y, L / 18)
        for size in (0, 1e-13, 1e-12):
            beta = solution.beta * (1 + size * rng.standard_normal(11))
            above = float(objective(X, y, beta, L) - objective(X, y, solution.beta, L)) / 18
            bound = gap(X, y, beta, L / 18)
            assert above <= bound * (1 + 1e-6) + 1e-17
        assert gap(X, y, solution.beta, L / 18) <= 1e-12 * solution.objective
        assert lasso_gap(X, y, solution.beta, L / 18) > 1e-9 * solution.objective


def objective(X, y, beta, L):
    return sum_of_squares(X, y, beta) / 2 + Fraction(L) * sum(abs(Fraction(float(b))) for b in beta)


def test_by_hand():
    """X = [[2], [0]], y = (3, 1): c = 3 - 2 beta; at beta = 1.25, lam = 0.4: e = 0.1, w = (0.1, 0), gap 0.01 / 4."""
    X, y = np.array([[2.0], [0.0]]), np.array([3.0, 1.0])
    r = y - X @ [1.25]
    assert gap_to_rounding(X, y, r, X.T @ r / 2, np.array([1.25]), 0.4, np.inf, 0.0) == pytest.approx(
        0.01 / 4, rel=1e-12
    )


@pytest.mark.parametrize("sign", [1, -1])
def test_by_hand_with_a_column_that_joins(sign):
    """X = 2 I, y = (3, 1.2): c = y - 2 beta = (0.5, 1.2) at beta = (1.25, 0); w = (0.1, 0.8) with both columns.

    With the first alone the second allows t = 1/3 of the residual only.
    """
    X, r, beta = 2 * np.eye(2), np.array([0.5, sign * 1.2]), np.array([1.25, 0.0])
    y = r + X @ beta
    assert gap_to_rounding(X, y, r, r, beta, 0.4, np.inf, 0.0) == pytest.approx((0.01 + 0.64) / 4, rel=1e-12)
    X[1, 0] = X[1, 1]  # now they depend on each other: the first only
    X[0, 1] = X[0, 0]
    moved = np.array([0.5, sign * 1.2]) - 0.1
    t = 0.4 / max(abs(moved[1]), 0.4)
    shrunk = (1 - t) * np.linalg.norm(r) + t * np.linalg.norm(2 * 0.1 * X[:, 0] / np.sum(X[:, 0] ** 2))
    expected = shrunk**2 / 4 + (1 - t) * 0.4 * 1.25
    assert gap_to_rounding(X, y, r, r, beta, 0.4, np.inf, 0.0) == pytest.approx(expected, rel=1e-12)


def test_another_gap_stays_where_this_one_is_no_better_or_does_not_apply():
    X, y = PROBLEMS["degree 5"]
    beta, lam = lasso(X, y, 1e-11).beta, 1e-11
    assert gap(X, y, beta, lam) < 1e-15
    assert gap(X, y, beta, lam, known=1e-30) == 1e-30
    assert gap(X, y, beta, 0.0) == np.inf
    assert gap(X, y, beta * (1 + 1e-6), lam) == np.inf  # the conditions do not hold to rounding
    twice = np.column_stack([X, X[:, 3]])
    assert gap(twice, y, np.append(beta, 0.0), lam) < 1e-15  # of equal columns one is in use
    halves = np.append(beta, beta[3] / 2)
    halves[3] /= 2
    assert gap(twice, y, halves, lam) == np.inf


def test_where_lam_is_large_the_gap_is_that_of_the_certificates():
    X, y = PROBLEMS["degree 5"]
    for share in (0.9, 0.1):
        solution = lasso(X, y, share * lasso_lambda_max(X, y))
        assert solution.gap == pytest.approx(lasso_gap(X, y, solution.beta, solution.lam), abs=1e-16)
