"""What goes into the exact solvers and comes out of them: units, means, dtypes, and what does not fit a dtype."""

import math

import fuzz_group_lasso
import fuzz_lasso
import numpy as np
import pytest

from textbook import group_lasso, lasso, lasso_at_most, lasso_path
from textbook.exact.data import Data

TINY = 2.0**-1070  # a subnormal number


def problem(n=19, p=6, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, p)), rng.standard_normal(n)


def single(X, y, lam, intercept=False):
    return lasso(X, y, lam, intercept=intercept)


def grouped(X, y, lam, intercept=False):
    return group_lasso(X, y, [[0, 1], *([j] for j in range(2, X.shape[1]))], lam, intercept=intercept)


class Column:
    """One column of a path, as a Solution."""

    def __init__(self, path):
        self.beta = path.beta[:, 0]
        self.gap, self.kkt, self.lam, self.intercept = path.gap[0], path.kkt[0], path.lam[0], path.intercept[0]


def along(X, y, lam, intercept=False):
    return Column(lasso_path(X, y, [lam], intercept=intercept))


SOLVERS = [single, grouped, along]


@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("exponents", [(0, 0), (300, 0), (-300, 0), (0, 300), (0, -300), (-500, 400), (450, 450)])
def test_data_keep_their_digits(exponents, intercept):
    X, y = problem()
    i, j = exponents
    data = Data(np.ldexp(X, i), np.ldexp(y, j), intercept)
    plain = Data(X, y, intercept)
    np.testing.assert_array_equal(np.ldexp(data.X, data.i), np.ldexp(plain.X, i))
    np.testing.assert_array_equal(np.ldexp(data.y, data.j), np.ldexp(plain.y, j))
    assert (data.i == 0) == (abs(i) < 100) and (i == 0 or intercept or 1 <= np.abs(data.X).max() < 2)
    assert data.lam(math.ldexp(0.3, i + j)) == math.ldexp(0.3, i + j - data.i - data.j)


def test_ordinary_data_are_not_copied():
    X, y = problem()
    data = Data(X, y)
    assert np.shares_memory(data.X, X) and np.shares_memory(data.y, y)


@pytest.mark.parametrize("solver", SOLVERS)
def test_coefficients_beyond_their_dtype_are_refused(solver):
    """They came back infinite, with a gap of 0."""
    X, y = problem()
    X, y = (X * 1e-30).astype(np.float32), (y * 1e12).astype(np.float32)
    for lam in (0.0, 1e-22):
        with pytest.raises(ValueError, match=r"expected units of X and y in which .* numbers of float32"):
            solver(X, y, lam)
    X, y = problem()
    with pytest.raises(ValueError, match="numbers of float64"):
        solver(X * 1e-300, y * 1e100, 0.0)


def test_the_whole_path_and_its_end_refuse_them_too():
    X, y = problem()
    X, y = (X * 1e-30).astype(np.float32), (y * 1e12).astype(np.float32)
    for call in (lambda: lasso_path(X, y), lambda: lasso_at_most(X, y, 6)):
        with pytest.raises(ValueError, match="numbers of float32"):
            call()


@pytest.mark.parametrize("solver", SOLVERS)
def test_subnormal_data_are_data(solver):
    """lasso_path gave NaN and -inf."""
    X, y = problem()
    X, y = np.round(8 * X), np.round(8 * y)
    least = solver(X, y, 0.0).beta
    np.testing.assert_allclose(solver(X * TINY, y * TINY, 0.0).beta, least, rtol=1e-12)
    np.testing.assert_allclose(solver(X * TINY, y * 2.0**-900, 0.0).beta, least * 2.0**170, rtol=1e-12)
    np.testing.assert_allclose(solver(X * TINY, y * 2.0**-100, 0.0).beta, least * 2.0**970, rtol=1e-12)
    zero = solver(X * TINY, y * 2.0**40, 1.0)
    assert not zero.beta.any() and zero.gap == 0


@pytest.mark.parametrize("solver", SOLVERS)
def test_a_constant_column_is_nothing_beside_an_intercept(solver):
    """Its rounding errors, once centred, were fitted."""
    X, y = problem(22)
    for constant in (math.log(1e-5), 14.62, 1e-3, 1e15 / 3):
        X[:, 2] = constant
        for lam in (0.0, 0.01):
            solution = solver(X, y, lam, intercept=True)
            without = solver(np.delete(X, 2, axis=1), y, lam, intercept=True)
            assert solution.beta[2] == 0
            np.testing.assert_allclose(np.delete(solution.beta, 2), without.beta, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_certificates_are_those_of_rounded_coefficients(solver):
    X, y = (a.astype(np.float32) for a in problem())
    solution, wide = solver(X, y, 0.02), solver(X.astype(float), y.astype(float), 0.02)
    assert solution.beta.dtype == np.float32 and wide.kkt < 1e-13 < 1e-10 < solution.kkt < 1e-5
    assert 0 <= wide.gap < 1e-14 < solution.gap < 1e-5


@pytest.mark.parametrize("solver", SOLVERS)
def test_the_solution_is_in_the_units_given(solver):
    X, y = problem()
    plain = solver(X + 2, y + 5, 0.05, intercept=True)
    for i, j in ((200, 0), (-200, 0), (0, 200), (0, -200), (170, -170)):
        other = solver(np.ldexp(X + 2, i), np.ldexp(y + 5, j), math.ldexp(0.05, i + j), intercept=True)
        np.testing.assert_allclose(np.ldexp(other.beta, i - j), plain.beta, rtol=1e-10, atol=1e-14)
        assert math.ldexp(float(other.intercept), -j) == pytest.approx(float(plain.intercept), rel=1e-12)
        assert abs(math.ldexp(float(other.kkt), -i - j)) <= 1e-13
        assert abs(math.ldexp(float(other.gap), -2 * j)) <= 1e-14
        assert other.lam == math.ldexp(0.05, i + j)


@pytest.mark.parametrize("span", [100, 300])
@pytest.mark.parametrize("solver", SOLVERS)
def test_numbers_of_all_sizes_give_numbers_or_one_sentence(solver, span):
    """Squares of them leave the floats: what comes back is finite, or refused, and certified by no NaN."""
    for seed in range(25):
        rng = np.random.default_rng(seed)
        n, p = int(rng.integers(1, 9)), int(rng.integers(3, 9))
        X = rng.standard_normal((n, p)) * 10.0 ** rng.uniform(-span, span, (n, p) if seed % 2 else p)
        y = rng.standard_normal(n) * 10.0 ** rng.uniform(-span, span)
        lam = [0.0, 1e-320, 10.0 ** rng.uniform(-span, span), math.inf][seed % 4]
        try:
            solution = solver(X, y, lam, intercept=bool(seed % 3))
        except ValueError as error:
            assert "expected units of X and y" in str(error)
        else:
            assert np.isfinite(solution.beta).all() and solution.gap >= 0 and solution.kkt >= 0


def test_a_penalty_far_below_rounding_is_none():
    """1e-320 divided the correlations to infinity."""
    X, y = problem()
    for lam in (1e-320, 1e-150):
        solution = grouped(X, y, lam)
        np.testing.assert_allclose(solution.beta, np.linalg.lstsq(X, y, rcond=None)[0], rtol=1e-12)
        assert solution.lam == lam


@pytest.mark.parametrize(("i", "j"), [(20, 0), (-20, 0), (0, 20), (0, -20)])
@pytest.mark.parametrize("number", range(24))
def test_no_digit_depends_on_the_units(number, i, j):
    """All that is compared with a rounding error grows and shrinks with the data: powers of two change no bit."""
    _, X, y, lam = fuzz_lasso.problem(number)
    A, b, to_beta = np.ldexp(X, i), np.ldexp(y, j), j - i
    ours, theirs = lasso(X, y, lam), lasso(A, b, math.ldexp(lam, i + j))
    np.testing.assert_array_equal(np.ldexp(ours.beta, to_beta), theirs.beta)
    assert (ours.n_iter, math.ldexp(ours.gap, 2 * j)) == (theirs.n_iter, theirs.gap)
    ours, theirs = lasso_path(X, y), lasso_path(A, b)
    np.testing.assert_array_equal(np.ldexp(ours.lam, i + j), theirs.lam)
    np.testing.assert_array_equal(np.ldexp(ours.beta, to_beta), theirs.beta)
    np.testing.assert_array_equal(np.ldexp(ours.gap, 2 * j), theirs.gap)
    _, X, y, groups, lam, weights = fuzz_group_lasso.problem(number)
    ours = group_lasso(X, y, groups, lam, weights)
    theirs = group_lasso(np.ldexp(X, i), np.ldexp(y, j), groups, math.ldexp(lam, i + j), weights)
    np.testing.assert_array_equal(np.ldexp(ours.beta, to_beta), theirs.beta)


@pytest.mark.parametrize("solver", SOLVERS)
def test_without_a_penalty_the_certificates_are_of_the_units_given(solver):
    X, y = problem()
    solution = solver(X, 1e6 * y, 0.0)
    gradient = np.abs(X.T @ (1e6 * y - X @ solution.beta)).max() / len(y)
    assert 0 < solution.kkt == pytest.approx(gradient, rel=1e-2)


@pytest.mark.parametrize("solver", [single, grouped])
def test_of_dependent_columns_without_a_penalty_it_is_the_shortest(solver):
    X, y = problem(5, 9)
    np.testing.assert_allclose(solver(X, y, 0.0).beta, np.linalg.pinv(X) @ y, rtol=1e-10)
