"""textbook.regression: normal equations and KKT conditions, exact arithmetic, and what the printed forms cost."""

import math
import os
from fractions import Fraction

import numpy as np
import pytest

import nn.data
import textbook
from nn.backend import to_numpy
from textbook.matching_pursuit import best_subset, orthogonal_matching_pursuit
from textbook.regression import _certify_ridge, least_squares, normal_equations, ridge

REAL = os.environ.get("PRUNING_DATA")


def problem(n=19, p=7, seed=0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p))
    return X, X @ rng.standard_normal(p) + rng.standard_normal(n)


def with_condition(cond, n=400, p=20, seed=0):
    """X with singular values from 1 to 1/cond, and y = X 1."""
    rng = np.random.default_rng(seed)
    U, V = np.linalg.qr(rng.standard_normal((n, p)))[0], np.linalg.qr(rng.standard_normal((p, p)))[0]
    X = U * np.logspace(0, -math.log10(cond), p) @ V.T
    return X, X @ np.ones(p)


# ---- least squares ---------------------------------------------------------------------------------------------------


def exact_solution(X, y):
    """(X^T X)^{-1} X^T y in rational numbers, by elimination."""
    X, y = [[Fraction(int(v)) for v in row] for row in X], [Fraction(int(v)) for v in y]
    p = len(X[0])
    rows = [[sum(a[i] * a[j] for a in X) for j in range(p)] + [sum(a[i] * b for a, b in zip(X, y))] for i in range(p)]
    for i in range(p):
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for other in range(p):
            if other != i:
                rows[other] = [v - rows[other][i] * w for v, w in zip(rows[other], rows[i])]
    return np.array([float(row[p]) for row in rows])


def test_least_squares_is_the_slide_formula_in_rational_numbers():
    rng = np.random.default_rng(0)
    X, y = rng.integers(-9, 10, (8, 4)), rng.integers(-9, 10, 8)
    fit = least_squares(X, y)
    np.testing.assert_allclose(fit.beta, exact_solution(X, y), rtol=1e-13)
    r = y - X @ exact_solution(X, y)
    assert fit.objective == pytest.approx(r @ r / 16, rel=1e-13)
    assert fit.rank == 4
    assert fit.kkt <= 1e-12
    assert fit.intercept == 0


@pytest.mark.parametrize("cond", [1e2, 1e4, 1e6, 1e8])
def test_least_squares_loses_log_cond_digits_and_the_printed_formula_twice_as_many(cond):
    X, y = with_condition(cond)
    error = np.abs(least_squares(X, y).beta - 1).max()
    printed = np.abs(normal_equations(X, y) - 1).max()
    assert error <= 1e-16 * cond * 10
    assert error <= 1e-8
    assert printed >= 1e-18 * cond**2
    assert printed >= 10 * error


def test_normal_equations_are_the_formula_where_nothing_is_lost():
    X, y = problem()
    np.testing.assert_allclose(normal_equations(X, y), least_squares(X, y).beta, rtol=1e-12)
    with pytest.raises(ValueError, match="expected columns that are not linearly dependent"):
        normal_equations([[1.0, 1], [1, 1]], [1.0, 2])


def test_rank_deficient_problems_get_the_minimiser_of_minimum_norm_and_the_rank():
    X, y = problem()
    X[:, 3] = X[:, 1]
    fit = least_squares(X, y)
    assert fit.rank == 6
    assert fit.kkt <= 1e-14
    assert fit.beta[3] == pytest.approx(fit.beta[1], rel=1e-13)  # splitting it evenly has the smallest norm
    without = least_squares(np.delete(X, 3, axis=1), y)
    assert fit.objective == pytest.approx(without.objective, rel=1e-13)
    assert 2 * fit.beta[1] == pytest.approx(without.beta[1], rel=1e-12)


def exact_minimum_norm(X, y):
    """X^+ y in rational numbers: X = B F with the independent columns B, and F^T (F F^T)^{-1} (B^T B)^{-1} B^T y."""
    exact = [[Fraction(float(v)) for v in row] for row in X]
    F, first = [row[:] for row in exact], []
    for j in range(len(F[0])):
        i = len(first)
        k = next((k for k in range(i, len(F)) if F[k][j] != 0), None)
        if k is None:
            continue
        F[i], F[k] = F[k], [v for v in F[i]]
        F[i] = [v / F[i][j] for v in F[i]]
        for other in range(len(F)):
            if other != i:
                F[other] = [v - F[other][j] * w for v, w in zip(F[other], F[i])]
        first.append(j)
    F, B = F[: len(first)], [[row[j] for j in first] for row in exact]
    of_first = solved(products(zip(*B), zip(*B)), [sum(a * Fraction(float(b)) for a, b in zip(c, y)) for c in zip(*B)])
    z = solved(products(F, F), of_first)
    return np.array([float(sum(row[j] * v for row, v in zip(F, z))) for j in range(len(X[0]))])


def products(A, B):
    B = list(B)
    return [[sum(a * b for a, b in zip(row, other)) for other in B] for row in A]


def solved(A, b):
    """A^{-1} b of a positive definite matrix of rational numbers."""
    rows = [[*row, v] for row, v in zip(A, b)]
    for i in range(len(rows)):
        rows[i] = [v / rows[i][i] for v in rows[i]]
        for other in range(len(rows)):
            if other != i:
                rows[other] = [v - rows[other][i] * w for v, w in zip(rows[other], rows[i])]
    return [row[-1] for row in rows]


@pytest.mark.parametrize("spread", [0, 3, 60, 300])
@pytest.mark.parametrize("seed", range(15))
def test_the_minimiser_of_minimum_norm_in_any_units_in_rational_numbers(seed, spread):
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(3, 10)), int(rng.integers(3, 8))
    rank = int(rng.integers(1, min(n, p)))
    X = rng.integers(-3, 4, (n, rank)) @ rng.integers(-2, 3, (rank, p)) + 0.0
    X[:, 1] = X[:, 0]
    y = rng.integers(-5, 6, n) + 0.0
    units = rng.integers(-spread, spread + 1, p) if spread <= 60 else spread * rng.integers(-1, 2, p)
    X = np.ldexp(X, units)
    expected, fit = exact_minimum_norm(X, y), least_squares(X, y)
    assert fit.rank == np.linalg.matrix_rank(np.ldexp(X, -units))
    np.testing.assert_allclose(fit.beta, expected, rtol=0, atol=1e-12 * np.linalg.norm(expected))
    difference = np.ldexp(X, -units) @ np.ldexp(fit.beta - expected, units)
    assert np.linalg.norm(difference) <= 1e-12 * np.linalg.norm(y)


def dummies(factor):
    """Three 0/1 columns that add up to a constant, and a measured one in another unit."""
    rng = np.random.default_rng(0)
    X = np.concatenate([np.eye(3)[rng.integers(0, 3, 40)], rng.standard_normal((40, 1))], axis=1)
    y = X @ [1.0, 2, 4, 3] + 0.1 * rng.standard_normal(40)
    return X * [1, 1, 1, factor], y


@pytest.mark.parametrize("factor", [1e14, 1e-14, 1e100, 1e-100, 3.0])
def test_the_fit_of_dependent_columns_does_not_depend_on_the_unit_of_another(factor):
    X, y = dummies(factor)
    plain = np.linalg.lstsq(dummies(1.0)[0] - dummies(1.0)[0].mean(axis=0), y - y.mean(), rcond=None)[0]
    ones = [[0], [1], [2], [3]]
    fit = least_squares(X, y, intercept=True)
    assert fit.rank == 3
    for solution in (
        fit, ridge(X, y, 0, intercept=True), textbook.lasso(X, y, 0, intercept=True),
        textbook.group_lasso(X, y, ones, 0, intercept=True),
    ):  # fmt: skip
        np.testing.assert_allclose(solution.beta * [1, 1, 1, factor], plain, rtol=1e-11)
        assert solution.objective == pytest.approx(fit.objective, rel=1e-12)
    twice = np.concatenate([X, np.ones((40, 1))], axis=1)  # the constant beside its dummies
    assert least_squares(twice, y).rank == 4
    assert least_squares(twice, y).objective == pytest.approx(fit.objective, rel=1e-12)
    assert best_subset(twice, y, 5).objective == pytest.approx(fit.objective, rel=1e-12)


@pytest.mark.parametrize(("value", "n"), [(math.log(1e-5), 22), (14.62, 1000), (1e-3, 100), (-1e200, 7), (0.1, 1000)])
def test_a_constant_column_beside_an_intercept_is_no_column(value, n):
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal(n), rng.standard_normal(n)
    X = np.column_stack([np.full(n, value), x])
    assert np.any(X[:, 0] - X[:, 0].mean()) or n < 22  # it is not zero by itself: the mean is rounded
    alone = least_squares(x[:, None], y, intercept=True)
    fit = least_squares(X, y, intercept=True)
    assert fit.rank == 1
    for solution in (fit, ridge(X, y, 0, intercept=True)):
        assert solution.beta[0] == 0 and solution.beta[1] == pytest.approx(alone.beta[0], rel=1e-12)
        assert solution.intercept == pytest.approx(alone.intercept, rel=1e-12)
    constant = least_squares(x[:, None], np.full(n, value), intercept=True)
    assert constant.beta[0] == 0 == constant.objective and constant.intercept == pytest.approx(value, rel=1e-14)
    # One unit in the last place apart is rounding still; a spread far above that is a column.
    nearly = np.column_stack([np.where(np.arange(n) % 2, value, np.nextafter(value, math.inf)), x])
    assert least_squares(nearly, y, intercept=True).rank == 1
    assert least_squares(X * (1 + 1e-13 * rng.standard_normal((n, 2))), y, intercept=True).rank == 2


def test_offsets_of_1e15_leave_a_column_what_it_is():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 2, 40) + 0.0
    y = 3 * x + rng.standard_normal(40)
    plain, moved = (least_squares((x + offset)[:, None], y, intercept=True) for offset in (0, 1e15))
    assert moved.rank == 1 and moved.beta[0] == pytest.approx(plain.beta[0], rel=1e-2)


def test_more_columns_than_samples():
    X, y = problem(n=5, p=11)
    fit = least_squares(X, y)
    assert fit.rank == 5 and fit.objective <= 1e-28
    # Of minimum norm: orthogonal to the null space of X, in its row space.
    null = np.linalg.svd(X)[2][5:]
    assert np.abs(null @ fit.beta).max() <= 1e-14
    zero = least_squares(np.zeros((4, 3)), np.ones(4))
    assert zero.rank == 0 and not zero.beta.any() and zero.objective == 0.5


@pytest.mark.parametrize("degree", range(6, 16))
@pytest.mark.parametrize("intercept", [False, True])
def test_nearly_dependent_columns_in_very_different_units_are_fitted(degree, intercept):
    """The powers of 100 to 110: the residual was 1e12 times that of the same columns in one unit, or that of zero."""
    x = np.linspace(100, 110, 30)
    X, y = np.column_stack([x**k for k in range(int(intercept), degree + 1)]), np.sin(x)
    A, b = (X - X.mean(axis=0), y - y.mean()) if intercept else (X, y)
    A = A / np.abs(A).max(axis=0)
    least = np.sum((b - A @ np.linalg.lstsq(A, b, rcond=None)[0]) ** 2) / 60
    assert least_squares(X, y, intercept).objective <= 1.2 * least


def test_a_column_in_another_unit_still_counts_for_the_rank():
    X, y = problem()
    units = np.array([1, 1e-25, 1, 1e25, 1, 1, 1])
    fit, plain = least_squares(X * units, y), least_squares(X, y)
    assert fit.rank == 7
    np.testing.assert_allclose(fit.beta * units, plain.beta, rtol=1e-12)


@pytest.mark.parametrize("units", [(1e200, 1), (1e-200, 1), (1, 1e150), (1e200, 1e200), (1e-200, 1e-200), (1e-160, 1)])
def test_units_do_not_matter_to_least_squares(units):
    X, y = problem()
    plain, other = least_squares(X, y), least_squares(X * units[0], y * units[1])
    np.testing.assert_allclose(other.beta, plain.beta * (units[1] / units[0]), rtol=1e-12)
    assert other.rank == 7
    expected = plain.objective * units[1] * units[1]  # inf and 0 where the number itself is beyond the range
    assert other.objective == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("shape", [(19, 7), (7, 19)])
@pytest.mark.parametrize("units", [(1e150, 1), (1e-150, 1), (1, 1e150), (1e-150, 1e-150)])
def test_units_do_not_matter_to_ridge(shape, units):
    X, y = problem(*shape)
    plain, other = ridge(X, y, 0.1), ridge(X * units[0], y * units[1], 0.1 * units[0] * units[0])
    np.testing.assert_allclose(other.beta, plain.beta * (units[1] / units[0]), rtol=1e-12)
    assert other.objective == pytest.approx(plain.objective * units[1] * units[1], rel=1e-12)
    assert not ridge(X * 1e200, y, 1e-300).kkt > 1e-12 * 1e200


@pytest.mark.parametrize("lam", [1e-4, 0.1, 10.0])
@pytest.mark.parametrize("unit", [1e170, 1e-170, 1e30, 2.0**520])
@pytest.mark.parametrize("shape", [(19, 7), (7, 19)])
def test_ridge_with_one_column_in_a_unit_of_its_own(shape, unit, lam):
    """Its coefficient is next to nothing, and so is its penalty: that column is not penalised, the others are."""
    X, y = problem(*shape)
    n, p = shape
    units = np.where(np.arange(p) == 2, unit, 1.0)
    fit = ridge(X * units, y, lam)
    if unit > 1:
        penalty = np.diag(np.where(np.arange(p) == 2, 0.0, 2 * n * lam))
        expected = np.linalg.solve(X.T @ X + penalty, X.T @ y)
    else:
        expected = np.insert(ridge(np.delete(X, 2, axis=1), y, lam).beta, 2, 0)
    np.testing.assert_allclose(fit.beta * units, expected, rtol=1e-7, atol=1e-7)
    rest = y - X @ expected
    others = np.delete(expected, 2)
    assert fit.objective == pytest.approx(rest @ rest / (2 * n) + lam * others @ others, rel=1e-7)
    assert 0 <= fit.gap <= 1e-12 * (y @ y) / n


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("lam", [1e-30, 1e-18, 1e-12, 1e-9])
def test_the_certificate_of_ridge_says_something_for_tiny_lam_too(lam, dtype):
    X, y = problem()
    for Z, t in (
        (np.repeat(X[:5], 3, axis=0), np.repeat(y[:5], 3)),
        (X[:, [0, 1, 2, 1, 0]], y),
        (X, y),
        (X[:5], y[:5]),
    ):
        Z, t = Z.astype(dtype), t.astype(dtype)
        fit = ridge(Z, t, lam)
        assert fit.gap <= (1e-26 if dtype == np.float64 else 1e-12) * (t @ t) / len(t)
        wrong = fit.beta.astype(float) + 1e-3
        step = wrong - ridge(Z.astype(float), t.astype(float), lam).beta
        excess = np.sum((Z @ step) ** 2) / (2 * len(t)) + lam * step @ step
        gap = _certify_ridge(Z.astype(float), t.astype(float), wrong, lam, math.sqrt(2 * len(t) * lam))[1]
        assert gap == pytest.approx(excess, rel=1e-5) and excess > 1e-10  # of a quadratic both are the same


def test_the_certificate_is_in_the_units_of_the_problem():
    X, y = (a.astype(np.float32) for a in problem())
    plain, other = ridge(X, y, 0.1), ridge(X, y * np.float32(2**-60), 0.1)
    assert 1e-9 < plain.kkt < 1e-6  # of the beta that was rounded to float32
    assert (other.kkt, other.gap) == (plain.kkt * 2**-60, plain.gap * 2**-120)
    r = y - X.astype(np.float64) @ plain.beta
    assert plain.kkt == pytest.approx(np.abs(X.T @ r / 19 - 0.2 * plain.beta.astype(np.float64)).max(), rel=1e-6)


def test_intercept_is_a_column_of_ones_that_is_not_penalised():
    X, y = problem()
    X, y = X + 5, y + 3
    fit = least_squares(X, y, intercept=True)
    reference = np.linalg.lstsq(np.column_stack([np.ones(19), X]), y, rcond=None)[0]
    np.testing.assert_allclose([fit.intercept, *fit.beta], reference, rtol=1e-12)
    r = y - fit.intercept - X @ fit.beta
    assert fit.objective == pytest.approx(r @ r / 38, rel=1e-12)
    fit = ridge(X, y, 0.3, intercept=True)
    r = y - fit.intercept - X @ fit.beta
    assert abs(r.sum()) <= 1e-12 and np.abs(X.T @ r / 19 - 0.6 * fit.beta).max() <= 1e-13
    assert ridge(X, y, math.inf, intercept=True).intercept == pytest.approx(y.mean(), rel=1e-14)


# ---- ridge -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "p"), [(19, 7), (7, 7), (7, 19)])
@pytest.mark.parametrize("lam", [1e-3, 0.7, 1e4])
def test_ridge_has_zero_gradient_primal_and_dual(n, p, lam):
    X, y = problem(n, p)
    fit = ridge(X, y, lam)
    gradient = -X.T @ (y - X @ fit.beta) / n + 2 * lam * fit.beta
    assert np.abs(gradient).max() <= 1e-13
    assert fit.kkt <= 1e-13
    assert fit.gap <= 1e-24
    assert fit.objective == pytest.approx(np.sum((y - X @ fit.beta) ** 2) / (2 * n) + lam * fit.beta @ fit.beta)
    # The same as least squares with sqrt(2 n lam) I below X and zeros below y.
    below = np.concatenate([X, math.sqrt(2 * n * lam) * np.eye(p)]), np.concatenate([y, np.zeros(p)])
    np.testing.assert_allclose(fit.beta, np.linalg.lstsq(*below, rcond=None)[0], rtol=1e-11, atol=1e-14)
    assert (fit.lam, fit.n_iter, fit.intercept) == (lam, 1, 0)


def test_the_three_scales_of_ridge_and_the_error_of_mixing_them():
    X, y = problem()
    n, p, m = 19, 7, 5.0
    slide = np.linalg.solve(X.T @ X + m * np.eye(p), X.T @ y)  # ||y - Xb||^2 + m ||b||^2
    np.testing.assert_allclose(ridge(X, y, m / (2 * n)).beta, slide, rtol=1e-12)
    half = np.linalg.solve(X.T @ X + n * m * np.eye(p), X.T @ y)  # (1/2n) ||y - Xb||^2 + (m/2) ||b||^2
    np.testing.assert_allclose(ridge(X, y, m / 2).beta, half, rtol=1e-12)
    assert np.abs(ridge(X, y, m).beta - slide).max() > 0.5


def test_the_gap_of_ridge_is_the_excess_over_the_minimum():
    X, y = problem()
    lam, best = 0.3, ridge(X, y, 0.3)
    other = best.beta + np.random.default_rng(1).standard_normal(7)
    objective, gap, kkt = _certify_ridge(X, y, other, lam, math.sqrt(2 * 19 * lam))
    step = other - best.beta
    excess = np.sum((X @ step) ** 2) / 38 + lam * step @ step  # exact: the objective is a quadratic
    assert objective - best.objective == pytest.approx(excess, rel=1e-12)
    assert gap >= excess
    c = X.T @ (y - X @ other) / 19
    # The dual objective at nu = r, written out.
    dual = (y @ y - (X @ other) @ (X @ other)) / 38 - c @ c / (4 * lam)
    assert gap == pytest.approx(objective - dual, rel=1e-11)
    assert kkt == pytest.approx(np.abs(c - 2 * lam * other).max())


def test_ridge_goes_from_least_squares_to_zero():
    X, y = problem(n=5, p=11)
    assert np.array_equal(ridge(X, y, 0).beta, least_squares(X, y).beta)
    np.testing.assert_allclose(ridge(X, y, 1e-13).beta, least_squares(X, y).beta, rtol=1e-10)
    X, y = problem()
    assert np.array_equal(ridge(X, y, 0).beta, least_squares(X, y).beta)
    assert ridge(X, y, 0).gap <= 1e-28
    norms = [np.linalg.norm(ridge(X, y, lam).beta) for lam in (0, 1e-3, 0.1, 10, 1e3)]
    assert norms == sorted(norms, reverse=True)
    limit = ridge(X, y, math.inf)
    assert not limit.beta.any() and limit.gap == limit.kkt == 0
    assert limit.objective == pytest.approx(y @ y / 38)


@pytest.mark.parametrize("lam", [1e-12, 1e-16, 1e-20])
def test_ridge_of_an_ill_conditioned_problem_keeps_its_digits(lam):
    X, y = with_condition(1e7, n=60, p=8)
    fit = ridge(X, y, lam)
    below = np.concatenate([X, math.sqrt(120 * lam) * np.eye(8)]), np.concatenate([y, np.zeros(8)])
    np.testing.assert_allclose(fit.beta, np.linalg.lstsq(*below, rcond=1e-17)[0], atol=1e-8)
    wide = ridge(X.T, np.ones(8), lam)
    below = np.concatenate([X.T, math.sqrt(16 * lam) * np.eye(60)]), np.concatenate([np.ones(8), np.zeros(60)])
    reference = np.linalg.lstsq(*below, rcond=1e-17)[0]
    assert np.abs(wide.beta - reference).max() <= 1e-7 * np.abs(reference).max()


def test_ridge_of_equal_columns_goes_to_the_least_squares_of_minimum_norm():
    X, y = problem()
    X[:, 3] = X[:, 1]
    np.testing.assert_allclose(ridge(X, y, 1e-30).beta, least_squares(X, y).beta, rtol=1e-12)


# ---- all solvers -----------------------------------------------------------------------------------------------------

SOLVERS = {
    "least_squares": least_squares,
    "ridge": lambda X, y: ridge(X, y, 0.1),
    "normal_equations": lambda X, y: type("Result", (), {"beta": normal_equations(X, y)}),
    "best_subset": lambda X, y: best_subset(X, y, 1),
    "orthogonal_matching_pursuit": lambda X, y: orthogonal_matching_pursuit(X, y, 1),
}
X0, Y0 = problem()


def changed(array, index, value):
    copy = array.copy()
    copy[index] = value
    return copy


@pytest.mark.parametrize("name", SOLVERS)
def test_types_and_layouts(name):
    solve = SOLVERS[name]
    beta = solve(X0, Y0).beta
    for X, y in (
        (X0.tolist(), Y0.tolist()),
        (np.asfortranarray(X0), Y0),
        (np.repeat(X0, 2, axis=1)[:, ::2], np.repeat(Y0, 3)[::3]),
    ):
        np.testing.assert_allclose(solve(X, y).beta, beta, rtol=1e-12)
    whole = np.round(9 * X0).astype(np.int8), np.round(9 * Y0).astype(np.int64)
    np.testing.assert_array_equal(solve(*whole).beta, solve(*(a.astype(float) for a in whole)).beta)
    flags = X0 > 0, Y0 > 0
    np.testing.assert_array_equal(solve(*flags).beta, solve(*(a.astype(float) for a in flags)).beta)
    single = solve(X0.astype(np.float32), Y0.astype(np.float32))
    assert single.beta.dtype == np.float32
    np.testing.assert_allclose(single.beta, beta, rtol=1e-5)
    assert solve(X0.astype(np.float16), Y0.astype(np.float16)).beta.dtype == np.float64


@pytest.mark.parametrize("name", SOLVERS)
def test_inputs_are_not_modified_and_may_be_read_only(name):
    X, y = X0.copy(), Y0.copy()
    X.flags.writeable = y.flags.writeable = False
    SOLVERS[name](X, y)
    assert np.array_equal(X, X0) and np.array_equal(y, Y0)


@pytest.mark.parametrize("name", SOLVERS)
def test_coefficients_beyond_the_dtype_are_refused(name):
    X, y = X0.astype(np.float32), Y0.astype(np.float32)
    with pytest.raises(ValueError, match=r"coefficients are numbers of float32, at most 3\.4e\+38, got one of"):
        call = SOLVERS[name] if name != "ridge" else lambda X, y: ridge(X, y, 0)
        call(X * np.float32(1e-30), y * np.float32(1e12))
    with pytest.raises(ValueError, match=r"(coefficients are numbers of float64, at most 1\.8e\+308)|singular"):
        call(X0 * 1e-200, Y0 * 1e200)
    with pytest.raises(ValueError, match=r"(coefficients are numbers of float64)|singular"):
        call(X0 * 5e-324 / np.abs(X0).max(), Y0 * 1e10)


@pytest.mark.parametrize("name", ["least_squares", "ridge", "normal_equations"])
def test_all_libraries_agree(name, library):
    X, y = library.xp.asarray(X0), library.xp.asarray(Y0)
    fit = SOLVERS[name](X, y)
    assert type(fit.beta) is type(X) and fit.beta.device == X.device
    np.testing.assert_allclose(to_numpy(fit.beta), SOLVERS[name](X0, Y0).beta, rtol=1e-13)


@pytest.mark.parametrize("name", ["least_squares", "ridge", "best_subset", "orthogonal_matching_pursuit"])
def test_a_zero_column_gets_a_zero(name):
    X = changed(X0, (slice(None), 4), 0)
    assert SOLVERS[name](X, Y0).beta[4] == 0


# ---- real data -------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(REAL is None, reason="$PRUNING_DATA is not set")
def test_prostate_least_squares_row():
    """Table of the book The Elements of Statistical Learning: standardised with all 97 rows, fitted to 67."""
    data = nn.data.load("prostate", root=REAL)
    (X, y), (X_test, y_test) = data.train, data.test
    everyone = np.concatenate([X, X_test])
    mean, deviation = everyone.mean(axis=0), everyone.std(axis=0, ddof=1)
    fit = least_squares((X - mean) / deviation, y, intercept=True)
    assert fit.rank == 8
    row = [fit.intercept, *fit.beta]
    np.testing.assert_allclose(row, [2.465, 0.680, 0.263, -0.141, 0.210, 0.305, -0.288, -0.021, 0.267], atol=5e-4)
    errors = (y_test - fit.intercept - (X_test - mean) / deviation @ fit.beta) ** 2
    assert errors.mean() == pytest.approx(0.521, abs=5e-4)
    assert errors.std(ddof=1) / math.sqrt(30) == pytest.approx(0.179, abs=5e-4)
