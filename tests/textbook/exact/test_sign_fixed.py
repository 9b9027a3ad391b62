"""The steps on a working set, one by one: what they solve, what they leave out, and where along a ray they stop."""

from itertools import pairwise

import numpy as np
import pytest
from referees.lasso_by_signs import lasso_by_signs, regression

from textbook.exact.sign_fixed import Restriction, _change, _independent, _lowest_point, _ray, newton


def restriction(X, y, w):
    return Restriction(X, y, X.T @ X, w.copy(), X.T @ (y - X @ w))


def objective(X, y, w, L):
    return 0.5 * np.sum((y - X @ w) ** 2) + L * np.abs(w).sum()


@pytest.mark.parametrize("seed", range(8))
def test_from_zero_it_ends_at_the_minimum_over_all_signs(seed):
    X, y = regression(seed, 12, 6)
    lam = 10.0 ** (-seed / 4) * np.abs(X.T @ y).max() / 12
    problem = restriction(X, y, np.zeros(6))
    newton(problem, 12 * lam, 1e-12 * lam, steps=50)
    np.testing.assert_allclose(problem.w, lasso_by_signs(X, y, lam), rtol=1e-9, atol=1e-12)


def test_the_objective_falls_with_every_step():
    X, y = regression(1, 12, 6)
    problem, L = restriction(X, y, np.array([3.0, -2.0, 1.0, -1.0, 0.5, 0.0])), 12 * 0.05
    values = [objective(X, y, problem.w, L)]
    for _ in range(6):
        newton(problem, L, 1e-12 * L, steps=1)
        values.append(objective(X, y, problem.w, L))
    assert all(b <= a * (1 + 1e-14) for a, b in pairwise(values)) and values[-1] < 0.9 * values[0]


@pytest.mark.parametrize("seed", range(5))
def test_the_change_is_the_difference_of_the_objectives(seed):
    X, y = regression(seed, 9, 5)
    before, after = np.random.default_rng(seed).standard_normal((2, 5))
    expected = objective(X, y, after, 0.7) - objective(X, y, before, 0.7)
    change = _change(restriction(X, y, before), after, X.T @ (y - X @ after), 0.7)
    assert change == pytest.approx(expected, rel=1e-11)


@pytest.mark.parametrize("seed", range(10))
def test_no_point_of_the_ray_is_lower(seed):
    """The quadratic (X: 9 x 5) and the linear case (two equal columns, no curvature along their difference)."""
    rng = np.random.default_rng(seed)
    X, y = regression(seed, 9, 5)
    w, d, L = rng.standard_normal(5), rng.standard_normal(5), float(rng.choice([0.1, 3.0, 30.0]))
    if seed % 2:
        X[:, 1] = X[:, 0]
        d = np.array([1.0, -1, 0, 0, 0])
    slope = -(X.T @ (y - X @ w)) @ d + L * np.sign(w) @ d
    if slope > 0:
        slope, d = slope - 2 * slope, -d
    curvature = float(np.sum((X @ d) ** 2))
    point = _lowest_point(w, d, slope, curvature if curvature > 1e-20 else 0.0, L)
    grid = [objective(X, y, w + t * d, L) for t in np.linspace(0, 20, 4_001)]
    assert objective(X, y, point, L) <= min(grid) * (1 + 1e-12)
    assert objective(X, y, point, L) < objective(X, y, w, L) or slope == 0
    if seed % 2 and slope:
        assert np.count_nonzero(point) < 5  # nothing but a kink ends the descent, and there a coefficient is zero


@pytest.mark.parametrize("size", [1e-6, 1.0, 1e6])
def test_zeros_that_are_reached_together_are_zero_and_others_are_not(size):
    """Three coefficients go to zero at t = 1, at 1 + 1e-15 and at 1.01 in units of `size`."""
    w = np.array([1.0, 2.0, 3.0])
    d = -w / (size * np.array([1.0, 1.0 + 1e-15, 1.01]))
    slope = -(2 * np.abs(d[0]) + np.abs(d[1])) * 0.5  # the first two jumps end the descent
    point = _lowest_point(w, d, slope, 0.0, 0.5)
    assert point[0] == point[1] == 0 and point[2] == pytest.approx(3 * 0.01 / 1.01)


def test_along_a_dependent_column_the_fit_stays():
    X, y = regression(2, 9, 4)
    X[:, 3] = 2 * X[:, 0] - X[:, 1]
    w = np.array([1.0, -0.5, 0.3, 0.2])
    A, d, slope, curvature = _ray(restriction(X, y, w), np.arange(4), np.sign(w), 0.3)
    assert curvature == 0 and slope <= 0
    np.testing.assert_allclose(X[:, A] @ d, 0, atol=1e-13 * np.abs(d).max() * np.abs(X).max())
    assert slope == pytest.approx(0.3 * np.sign(w)[A] @ d)


def test_along_independent_columns_the_ray_leads_to_the_sign_fixed_minimum():
    X, y = regression(2, 9, 4)
    w, L = np.array([1.0, -0.5, 0.3, 0.2]), 0.3
    A, d, slope, curvature = _ray(restriction(X, y, w), np.arange(4), np.sign(w), L)
    gradient = -X.T @ (y - X @ w) + L * np.sign(w)
    np.testing.assert_allclose(-X.T @ (y - X @ (w + d)) + L * np.sign(w), 0, atol=1e-11 * np.abs(gradient).max())
    assert slope == pytest.approx(gradient @ d) and curvature == pytest.approx(np.sum((X @ d) ** 2))


@pytest.mark.parametrize("distance", [0, 1e-8, 1e-6])
def test_newcomers_whose_digits_the_gram_matrix_has_lost_are_left_out(distance):
    X, _ = regression(3, 12, 5)
    X[:, 4] = X[:, 1] + distance * np.random.default_rng(0).standard_normal(12)
    w = np.array([1.0, 1.0, 0.0, 0.0, 0.0])  # columns 2, 3, 4 are new, and 4 is a twin of 1
    A, R = _independent(X.T @ X, np.arange(5), w)
    assert A.tolist() == [0, 1, 2, 3]
    np.testing.assert_allclose(np.triu(R).T @ np.triu(R), X[:, A].T @ X[:, A], rtol=1e-12)
    A, R = _independent(X.T @ X, np.arange(5), np.ones(5))  # none of them is new: the careful step is for these
    assert R is None
    A, R = _independent(X.T @ X, np.arange(4), w)
    assert A.tolist() == [0, 1, 2, 3] and R is not None
