"""What the splitting methods do with units, dtypes and degenerate problems: all of it is in the problem they solve."""

import math
import re

import numpy as np
import pytest
from referees.lasso_by_signs import lambda_max, lasso_by_signs, regression, relative

import nn.backend
import textbook
from textbook.coordinate_descent import group_lasso_coordinate_descent, lasso_coordinate_descent
from textbook.forward_backward import fista, ista
from textbook.regression import LeastSquares
from textbook.solution import Solution
from textbook.splitting import lasso_admm
from textbook.unit_problem import UnitProblem, returned, small_gram
from textbook.units import leading_exponent, scaled

METHODS = [ista, fista, lasso_admm]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(("a", "b"), [(1e200, 1.0), (1e-200, 1e-100), (1e200, 1e100), (1e-140, 1e-150)])
def test_any_scale(method, a, b):
    X, y = regression(0, 11, 4)
    lam = 0.1 * lambda_max(X, y)
    beta = method(a * X, b * y, a * (b * lam), tol=1e-12).beta
    assert relative(beta * (a / b), lasso_by_signs(X, y, lam)) <= 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_float32_lists_and_integers(method):
    X, y = regression(1, 11, 4)
    lam = 0.1 * lambda_max(X, y)
    best = lasso_by_signs(X, y, lam)
    single = method(X.astype(np.float32), y.astype(np.float32), lam)
    assert single.beta.dtype == np.float32 and relative(single.beta, best) <= 1e-5
    assert single.gap <= 1e-6 * 0.5 * np.mean(y**2)
    assert method(X.tolist(), y.tolist(), lam).beta.dtype == np.float64
    Z, t = np.round(3 * X).astype(int), np.round(3 * y).astype(int)
    assert relative(method(Z, t, 1, tol=1e-12).beta, lasso_by_signs(1.0 * Z, 1.0 * t, 1.0)) <= 1e-5


@pytest.mark.parametrize("method", METHODS)
def test_nothing_is_modified_and_read_only_will_do(method):
    X, y = regression(2, 11, 4)
    before = X.copy(), y.copy()
    X.flags.writeable = y.flags.writeable = False
    method(X, y, 0.01, max_iter=20)
    np.testing.assert_array_equal(X, before[0])
    np.testing.assert_array_equal(y, before[1])


@pytest.mark.parametrize("method", METHODS)
def test_zero_columns_zero_targets_and_zero_everything(method):
    X, y = regression(3, 11, 4)
    X[:, 2] = 0
    assert method(X, y, 0.01).beta[2] == 0
    assert method(X, y, 0.01, tol=1e-12).beta[0] == pytest.approx(
        lasso_by_signs(X[:, [0, 1, 3]], y, 0.01)[0], rel=1e-5, abs=1e-8
    )
    for Z, t in ((X, 0 * y), (0 * X, y), (0 * X, 0 * y)):
        solution = method(Z, t, 0.01)
        assert not solution.beta.any() and solution.gap == 0 and solution.n_iter <= 20
        assert solution.objective == pytest.approx(0.5 * np.mean(t**2), rel=1e-14, abs=0)


def test_without_an_intercept_it_is_zero():
    assert Solution(np.ones(2), 1.0, 0.0, 0.0, 3, 0.1).intercept == 0
    assert LeastSquares(np.ones(2), 1.0, 0.0, 2).intercept == 0


def test_the_units_are_powers_of_two_and_cancel():
    X, y = 2.0**40 * np.array([[3.0, -5.0], [1.0, 0.5]]), 2.0**-20 * np.array([0.7, -0.2])
    unit = UnitProblem(X, y, 3.0)
    assert (unit.i, unit.j) == (42, -21)
    np.testing.assert_array_equal(2.0**42 * unit.X, X)
    np.testing.assert_array_equal(2.0**-21 * unit.y, y)
    assert unit.lam == 3.0 * 2.0**-21
    beta = np.array([0.25, -1.0])  # in the problem's own units
    solution = unit.solution(beta, 7)
    given = beta * 2.0**-63
    np.testing.assert_array_equal(unit.given_units(beta), given)
    np.testing.assert_array_equal(unit.start(given, "start"), beta)
    r = y - X @ given
    assert solution.objective == pytest.approx(0.25 * (r @ r) + 3 * np.abs(given).sum(), rel=1e-14)
    c = X.T @ r / 2
    assert solution.kkt == pytest.approx(np.abs(c - 3 * np.sign(given)).max(), rel=1e-12)
    np.testing.assert_array_equal(solution.beta, given)
    assert solution.n_iter == 7 and solution.lam == 3.0 and 0 < solution.gap < math.inf


LOOPS = [
    *METHODS,
    lasso_coordinate_descent,
    lambda X, y, lam, **more: group_lasso_coordinate_descent(X, y, [[0, 2], [1, 3]], lam, **more),
]
IDS = ["ista", "fista", "lasso_admm", "coordinate_descent", "group_coordinate_descent"]


@pytest.mark.parametrize("method", LOOPS, ids=IDS)
def test_one_sample_is_a_problem_too(method):
    X, y = regression(0, 1, 4)
    solution = method(X, y, 0.1 * lambda_max(X, y))
    assert solution.gap <= 1e-8 * y[0] ** 2 and solution.beta.any()


@pytest.mark.parametrize("method", LOOPS, ids=IDS)
@pytest.mark.parametrize("power", [0, 1, -7, 30])
def test_powers_of_two_change_no_digit(method, power):
    X, y = regression(5, 11, 4)
    lam = 0.1 * lambda_max(X, y)
    plain, other = method(X, y, lam), method(X * 2.0**power, y * 2.0**-3, lam * 2.0 ** (power - 3))
    np.testing.assert_array_equal(other.beta, plain.beta * 2.0 ** (-3 - power))
    assert (other.n_iter, other.objective, other.gap) == (plain.n_iter, plain.objective / 64, plain.gap / 64)
    assert other.kkt == plain.kkt * 2.0 ** (power - 3) and plain.intercept == 0 == other.intercept


@pytest.mark.parametrize("method", LOOPS, ids=IDS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_coefficients_beyond_the_dtype_are_refused(method, dtype):
    """float32 X * 1e-30 and y * 1e12 have coefficients of 1e42; they came back infinite, with a gap of 0."""
    X, y = regression(0, 11, 4)
    small, large = (1e-30, 1e12) if dtype == np.float32 else (1e-200, 1e200)
    X, y = (X * small).astype(dtype), (y * large).astype(dtype)
    with pytest.raises(ValueError, match=f"coefficients are numbers of {np.dtype(dtype)}, at most .* got one of"):
        method(X, y, 0.1 * float(lambda_max(X.astype(float), y.astype(float))))
    X = np.where(X > 0, 5e-324, 0) if dtype == np.float64 else X  # subnormal
    with pytest.raises(ValueError, match=f"coefficients are numbers of {np.dtype(dtype)}"):
        method(X, y, 0)


@pytest.mark.parametrize("value", [-2e42, math.inf, math.nan])
def test_the_message_names_the_coefficient_that_is_too_large(value):
    np.testing.assert_array_equal(returned(np.array([1.0, -3e38]), np.ones(1, np.float32)), np.float32([1, -3e38]))
    with pytest.raises(
        ValueError, match=re.escape(f"numbers of float32, at most 3.4e+38, got one of {abs(value):.1e}")
    ):
        returned(np.array([1.0, value, 3e38]), np.ones(1, np.float32))


@pytest.mark.parametrize("method", LOOPS, ids=IDS)
def test_a_float32_that_underflows_is_certified_as_it_is(method):
    X, y = (a.astype(np.float32) for a in regression(0, 11, 4))
    lam = 0.1 * lambda_max(X, y)
    solution = method(X * np.float32(1e35), y * np.float32(1e-12), lam * 1e23)
    assert not solution.beta.any() and solution.kkt == pytest.approx(lam * 1e23 * 9, rel=0.5)


@pytest.mark.parametrize("method", LOOPS, ids=IDS)
@pytest.mark.parametrize("lam", [5e-324, 1e-320, 1e-300, 1e-160])
def test_a_tiny_lam_is_next_to_none(method, lam):
    X, y = regression(0, 11, 4)
    solution = method(X, y, lam, tol=1e-12)
    assert relative(solution.beta, np.linalg.lstsq(X, y)[0]) <= 1e-4
    assert 0 <= solution.gap < math.inf


@pytest.mark.parametrize(("a", "b"), [(2.0**-1000, 2.0**20), (2.0**900, 2.0**-100), (2.0**-1060, 2.0**-1060)])
def test_units_whose_ratio_or_product_is_no_number(a, b):
    X, y = regression(0, 11, 4)
    problem = UnitProblem(a * X, b * y, 1.0)
    assert 1 <= np.abs(problem.X).max() < 2 and 1 <= np.abs(problem.y).max() < 2
    np.testing.assert_array_equal(np.ldexp(problem.X, problem.i), a * X)
    np.testing.assert_array_equal(np.ldexp(problem.y, problem.j), b * y)
    zero = problem.solution(problem.zero, 3)
    assert not zero.beta.any() and zero.kkt < math.inf and zero.objective == pytest.approx(b * b * (y @ y) / 22)


@pytest.mark.parametrize("method", [ista, fista, *LOOPS[-2:]], ids=["ista", "fista", *IDS[-2:]])
def test_callbacks_get_copies_and_a_start_stays_whatever_the_units(method):
    X, y = regression(0, 11, 4)
    X, y = X * 1.5 / np.abs(X).max(), y * 1.5 / np.abs(y).max()  # nothing has to be scaled
    assert (UnitProblem(X, y).i, UnitProblem(X, y).j) == (0, 0)
    seen, kept = [], []
    method(X, y, 0.01, callback=lambda k, beta: (seen.append(beta), kept.append(beta.copy())))
    assert len(seen) > 3 and not np.array_equal(seen[0], seen[-1])
    np.testing.assert_array_equal(seen, kept)
    start = np.ones(4)
    lasso_coordinate_descent(X, y, 0.01, start=start, callback=lambda k, beta: beta.fill(7.0))
    np.testing.assert_array_equal(start, 1)


def test_a_start_beyond_the_units_is_refused():
    X, y = regression(0, 11, 4)
    with pytest.raises(ValueError, match="expected start in the units of y over X, got numbers far beyond them"):
        lasso_coordinate_descent(X * 2.0**500, y * 2.0**-500, 0.1, start=np.full(4, 2.0**50))


def test_the_largest_entry_may_be_negative():
    X, y = regression(0, 11, 4)
    X[3, 1] = -1e200
    problem = UnitProblem(X, -np.abs(y) * 1e200)
    assert np.abs(problem.X).max() < 2 and np.abs(problem.y).max() < 2
    assert leading_exponent(np.array([-1e200, 1.0])) == leading_exponent(np.array([1e200, 1.0])) == 664
    for solve in (textbook.lasso, textbook.lasso_coordinate_descent, textbook.fista):
        solution = solve(X, y, 0.05)
        assert np.isfinite(solution.beta).all() and solution.objective <= y @ y / 22


def test_an_infinite_lam_where_all_correlations_are_negative():
    X, y = regression(0, 11, 4)
    X = X * -np.sign(X.T @ y)
    for method in (*LOOPS, textbook.lasso, lambda X, y, lam: textbook.group_lasso(X, y, [[0, 2], [1, 3]], lam)):
        solution = method(X, y, math.inf)
        assert not solution.beta.any() and solution.gap == 0 == solution.kkt
        assert not method(X, y, 1.001 * lambda_max(X, y) * 2).beta.any()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("exponent", [-2000, -1074, -149, -3, 0, 5, 127, 1023, 2000])
def test_scaled_is_exact_or_infinite_or_zero(exponent, dtype):
    values = np.array([1.0, -1.5, 0.0], dtype)
    with np.errstate(over="ignore"):
        expected = np.ldexp(values, exponent)
    np.testing.assert_array_equal(scaled(values, exponent), expected)
    assert scaled(values, exponent).dtype == dtype
    if abs(exponent) < 120:
        assert scaled(0.75, exponent) == math.ldexp(0.75, exponent)


def test_with_an_intercept_the_units_are_those_of_what_is_left(library):
    X, y = regression(0, 11, 4)
    problem = UnitProblem(library.xp.asarray(X + 1e6), library.xp.asarray(y - 1e9), 0.1, intercept=True)
    ours, means = nn.backend.to_numpy(problem.X), nn.backend.to_numpy(problem.x_mean)
    assert 1 <= np.abs(ours).max() < 2 and np.abs(ours.sum(axis=0)).max() <= 1e-14
    np.testing.assert_allclose(np.ldexp(ours, problem.i), X - X.mean(axis=0), atol=1e-9)
    np.testing.assert_allclose(np.ldexp(means, problem.i), X.mean(axis=0) + 1e6, rtol=1e-14)
    beta = problem.start(library.xp.asarray(np.array([1.0, 2, 3, 4])), "beta")
    assert problem.constant(beta) == pytest.approx(y.mean() - 1e9 - (X.mean(axis=0) + 1e6) @ [1, 2, 3, 4], rel=1e-14)
    assert problem.solution(beta, 1).intercept == problem.constant(beta)


@pytest.mark.parametrize("shape", [(11, 4), (4, 6)])
def test_the_small_gram_matrix_has_the_eigenvalues_of_the_large_one(shape):
    X = regression(4, *shape)[0]
    ours = np.linalg.eigvalsh(small_gram(X))
    assert ours.shape == (4,)
    reference = np.linalg.svd(X, compute_uv=False) ** 2 / shape[0]
    np.testing.assert_allclose(np.sort(ours), np.sort(reference), rtol=1e-12)
