"""The fast lasso: optimality conditions written out here, extremes of scale and lam, a hundred fuzz problems."""

import fuzz_lasso
import numpy as np
import pytest

from textbook import lasso, lasso_lambda_max


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


@pytest.mark.parametrize("exponent", [200, -200])
def test_scales_of_1e200(exponent):
    X, y = data()
    lam, scale = 0.1 * lasso_lambda_max(X, y), 10.0**exponent
    solution = lasso(scale * X, y, scale * lam)
    assert solution.gap <= 1e-12 * (y @ y) / len(y)
    np.testing.assert_allclose(solution.beta * scale, lasso(X, y, lam).beta, rtol=1e-9)


def test_float32_is_computed_in_float64_and_inputs_stay():
    X, y = (a.astype(np.float32) for a in data())
    before = X.copy(), y.copy()
    solution = lasso(X, y, 0.05)
    assert solution.beta.dtype == np.float32
    assert solution.gap <= 1e-6 * (y @ y) / len(y)
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
