"""The path down to lam = 0 on columns of very different length, beside the same path in rational numbers."""

from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from referees.exact_path import dot, exact_path, least_sum_of_squares, rationals, sum_of_squares
from referees.nist import CERTIFIED, DATA, powers

from textbook import lasso_at_most, lasso_path, least_squares
from textbook.exact.kinks import Homotopy


def polynomial(degree, low, high, n, seed=0):
    """The powers of a grid beside a constant column, and three quarters of a sine with some noise."""
    x = np.linspace(low, high, n)
    y = np.sin(4.5 * (x - low) / (high - low)) + 10.0 ** -(degree % 5) * np.random.default_rng(seed).standard_normal(n)
    return powers(x, degree), y


POLYNOMIALS = {
    f"degree {degree}, {low} to {high}": polynomial(degree, low, high, n)
    for degree, low, high, n in [(5, 0, 20, 25), (5, -1, 2, 30), (7, 1, 9, 30), (9, -1, 1, 40)]
}
PROBLEMS = DATA | POLYNOMIALS
EXACT = {}


def exact(name):
    """The kinks of a problem as rational numbers, computed once."""
    if name not in EXACT:
        EXACT[name] = exact_path(*PROBLEMS[name])
    return EXACT[name]


def objective(X, y, beta, L):
    """||y - X beta||^2 / 2 + L ||beta||_1 in rational numbers."""
    return sum_of_squares(X, y, beta) / 2 + L * sum(abs(Fraction(float(b))) for b in beta)


def minimum(name, L):
    """Its smallest value: beta is a straight line between two kinks."""
    for (above, b), (below, a) in pairwise(exact(name)):
        if above >= L >= below:
            share = (above - L) / (above - below)
            beta = {j: (1 - share) * b.get(j, 0) + share * a.get(j, 0) for j in {*a, *b}}
            columns, r = rationals(PROBLEMS[name][0]), rationals(PROBLEMS[name][1][:, None])[0]
            for j, value in beta.items():
                r = [t - value * x for t, x in zip(r, columns[j])]
            return dot(r, r) / 2 + L * sum(abs(value) for value in beta.values())


@pytest.mark.parametrize("name", DATA)
def test_the_referee_has_the_certified_residuals(name):
    X, y = DATA[name]
    size = (float(least_sum_of_squares(X, y)) / (len(y) - X.shape[1])) ** 0.5
    assert size == pytest.approx(CERTIFIED[name], rel=1e-9)
    assert exact(name)[-1][0] == 0 and sum_of_squares(X, y, least_squares(X, y).beta) >= least_sum_of_squares(X, y)


@pytest.mark.parametrize("name", PROBLEMS)
def test_every_kink_is_found_down_to_zero(name):
    """Pontius has 6, Filip 80; the shortest column is 1e13 or 1e9 times shorter than the longest."""
    X, y = PROBLEMS[name]
    L = lasso_path(X, y).lam * len(y)
    assert len(L) == len(exact(name)) and L[-1] == 0
    # What rounding leaves of the largest lam depends on the order in which a BLAS kernel adds.
    np.testing.assert_allclose(L[:-1], [float(kink) for kink, _ in exact(name)[:-1]], rtol=1e-6, atol=4e-16 * L[0])


@pytest.mark.parametrize("name", PROBLEMS)
def test_between_the_kinks_it_is_as_low_as_numbers_allow_and_the_gap_says_so(name):
    """What the end of Filip's path loses depends on the order in which a BLAS kernel adds; the gap says how much."""
    X, y = PROBLEMS[name]
    kinks = [kink for kink, _ in exact(name)]
    path = lasso_path(X, y, [float(a + b) / 2 / len(y) for a, b in pairwise(kinks)])
    for lam, beta, gap in list(zip(path.lam, path.beta.T, path.gap))[:: max(1, len(kinks) // 15)]:
        L = Fraction(lam) * len(y)
        least = minimum(name, L)
        excess = float(objective(X, y, beta, L) / least - 1)
        bound = gap * len(y) / float(least)
        assert 0 <= 0.99 * excess <= bound + 1e-16
        assert L < 0.1 or (excess <= 1e-12 and bound <= 1e-9)


@pytest.mark.parametrize("name", PROBLEMS)
def test_the_end_is_least_squares(name):
    X, y = PROBLEMS[name]
    least = least_sum_of_squares(X, y)
    path, few = lasso_path(X, y), lasso_at_most(X, y, X.shape[1])
    assert float(sum_of_squares(X, y, path.beta[:, -1]) / least - 1) <= 1e-12
    assert path.gap[-1] <= 1e-12 * float(least) / (2 * len(y))
    assert few.lam == 0 and few.gap <= 1e-12 * float(least) / (2 * len(y))
    np.testing.assert_array_equal(few.beta, path.beta[:, -1])


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(
    "grid", [(10, 1, 3, 18), (11, -9, -3, 60), (12, 0, 1, 25), (13, 0, 20, 25), (6, 100, 110, 30)], ids=str
)
def test_where_rounding_hides_the_last_kinks_the_end_is_least_squares_all_the_same(grid, intercept):
    """Columns within 1e-11 of the others' span; before, the residual was up to a million times too long."""
    X, y = polynomial(*grid)
    least = least_sum_of_squares(X, y)
    A = X[:, 1:] if intercept else X
    path, few = lasso_path(A, y, intercept=intercept), lasso_at_most(A, y, A.shape[1], intercept=intercept)
    excess = float(sum_of_squares(A, y, path.beta[:, -1], path.intercept[-1]) / least - 1)
    assert excess <= 1e-7
    assert path.gap[-1] * 2 * len(y) / float(least) == pytest.approx(excess, rel=0.5, abs=1e-9)
    assert few.lam > 0 or np.array_equal(few.beta, path.beta[:, -1])


def test_coefficients_that_have_grown_beyond_all_digits_are_not_taken_for_an_end():
    """The powers of 100 to 110 to degree 13: rounding errors of X beta were larger than y."""
    x = np.linspace(100, 110, 30)
    X, y = powers(x, 13), np.sin(x)
    end = lasso_path(X, y).beta[:, -1]
    assert sum_of_squares(X, y, end) <= 1e-3 * (y @ y)


def test_columns_of_all_lengths_end_in_least_squares():
    """The fit of the shortest column was lost in the rounding errors of the longest one."""
    for seed in range(40):
        rng = np.random.default_rng(seed)
        n, p = int(rng.integers(20, 60)), int(rng.integers(2, 19))
        X = rng.standard_normal((n, p)) * 10 ** rng.uniform(-7, 7, p)
        y = X @ (rng.standard_normal(p) / np.linalg.norm(X, axis=0)) + 0.01 * rng.standard_normal(n)
        for A in (X, X[: 2 * p - 1]):  # with and without a triangular factor
            b = y[: len(A)]
            r = b - A @ lasso_path(A, b).beta[:, -1]
            assert r @ r <= (1 + 1e-10) * 2 * len(b) * least_squares(A, b).objective


def test_an_interpolating_end_keeps_the_smallest_sum():
    """Least squares of smallest ||beta||_2, which takes over where the path is lost, must not do so here."""
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((8, 30)), rng.standard_normal(8)
    end, shortest = lasso_path(X, y).beta[:, -1], np.linalg.lstsq(X, y, rcond=None)[0]
    assert np.count_nonzero(end) == 8 and np.abs(end).sum() < 0.9 * np.abs(shortest).sum()


def test_the_factor_stays_orthogonal_and_a_factor_of_the_active_columns():
    X, y = DATA["filip"]
    state = Homotopy(np.asfortranarray(X), y)
    for _ in state.kinks():
        Q, R = state.Q[:, : state.k], np.triu(state.R[: state.k, : state.k])
        np.testing.assert_allclose(Q.T @ Q, np.eye(state.k), atol=1e-14)
        np.testing.assert_allclose((Q @ R - X[:, state.columns]) / state.norms[state.columns], 0, atol=1e-15)
