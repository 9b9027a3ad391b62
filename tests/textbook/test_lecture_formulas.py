"""Formulas of the lecture that lie between the modules: as printed, as meant, and by how much the two differ."""

import numpy as np
import pytest
from referees.lasso_by_signs import lasso_by_signs, regression, relative

from textbook import (
    group_lasso,
    group_lasso_coordinate_descent,
    keep_largest,
    lasso,
    lasso_lambda_max,
    least_squares,
    normal_equations,
    soft_threshold,
)


def channels(seed=0, N=13, c=6, k=4, n_out=5):
    """Samples X_i (N, k) of c input channels, filters W_i (n_out, k), and Z whose columns are vec(X_i W_i^T)."""
    rng = np.random.default_rng(seed)
    X, W = np.maximum(rng.standard_normal((c, N, k)), 0), rng.standard_normal((c, n_out, k))
    return X, W, np.stack([(X[i] @ W[i].T).ravel() for i in range(c)], axis=1)


def sweep(X, y, beta, lam, newest):
    """One sweep of S(x_j^T r / n + a_j beta_j, lam) / a_j, with r of the newest coefficients or of the sweep before."""
    n, r, new = len(y), y - X @ beta, beta.copy()
    for j, a in enumerate((X * X).sum(axis=0) / n):
        new[j] = soft_threshold(X[:, j] @ r / n + a * beta[j], lam) / a
        if newest:
            r = r - (new[j] - beta[j]) * X[:, j]
    return new


def test_within_a_sweep_the_residual_is_that_of_the_newest_coefficients():
    X, y = regression(3, 12, 5)
    X = X + 2 * X[:, :1]  # correlated, or it would not matter
    expected = lasso_by_signs(X, y, 0.1)
    right, printed = np.zeros(5), np.zeros(5)
    for _ in range(2000):
        right = sweep(X, y, right, 0.1, newest=True)
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(200):
            printed = sweep(X, y, printed, 0.1, newest=False)
    assert relative(right, expected) <= 1e-10
    assert not np.linalg.norm(printed) < 1e6  # all at once, every coefficient corrects the same error


def test_the_lambdas_of_the_group_lasso_slide_are_2n_times_ours():
    X, y = regression(1, 15, 6)
    groups, lam = [[0, 1, 2], [3], [4, 5]], np.array([4.0, 9.0, 6.0])  # of ||y - X beta||^2 + sum_j lam_j ||beta_j||
    n = len(y)
    for solve in (group_lasso, group_lasso_coordinate_descent):
        beta = solve(X, y, groups, 1 / (2 * n), weights=lam).beta
        for g, lam_g in zip(groups, lam):
            gradient = -2 * X[:, g].T @ (y - X @ beta)
            size = np.linalg.norm(beta[g])
            violation = np.linalg.norm(gradient + lam_g * beta[g] / size) if size else np.linalg.norm(gradient) - lam_g
            assert violation <= 1e-5 * lam_g
        assert relative(solve(X, y, groups, 1, weights=lam).beta, beta) > 0.5  # the number taken over as it is


def test_a_block_of_the_slide_is_zero_if_twice_its_correlation_is_at_most_lambda():
    X, y = regression(2, 15, 6)
    groups, n = [[0, 1, 2], [3], [4, 5]], 15
    correlations = [np.linalg.norm(X[:, g].T @ y) for g in groups]
    for factor, zero in ((1.001, True), (0.999, False)):  # all blocks at once: r is y
        beta = group_lasso(X, y, groups, 1 / (2 * n), weights=[2 * factor * c for c in correlations]).beta
        assert bool(np.any(beta)) != zero
    without_the_two = group_lasso(X, y, groups, 1 / (2 * n), weights=[1.001 * c for c in correlations]).beta
    assert np.any(without_the_two)


def test_the_norm_of_structured_sparsity_has_no_weights_of_group_sizes():
    X, y = regression(4, 20, 6)
    groups = [[0, 1, 2, 3], [4], [5]]
    plain = group_lasso(X, y, groups, 0.2)
    penalty = sum(np.sqrt(sum(plain.beta[j] ** 2 for j in g)) for g in groups)
    r = y - X @ plain.beta
    assert plain.objective == pytest.approx(r @ r / 40 + 0.2 * penalty, rel=1e-13)
    weighted = group_lasso(X, y, groups, 0.2, weights=[2, 1, 1])
    assert relative(weighted.beta, plain.beta) > 1e-3


def test_the_nearest_weights_are_not_those_of_the_nearest_outputs():
    w, variance = np.array([0.1, 0.3, 1.0, 0.5, 2.0, 3.0]), np.array([100, 10, 1, 1, 0.1, 0.01])
    rng = np.random.default_rng(0)
    X = np.linalg.qr(rng.standard_normal((40, 6)))[0].T * np.sqrt(40 * variance)[:, None]  # X X^T / 40 = diag(variance)
    by_weight = np.flatnonzero(keep_largest(w, 3))
    by_output = np.flatnonzero(keep_largest(w * np.sqrt(variance), 3))
    assert by_weight.tolist() == [2, 4, 5] and by_output.tolist() == [0, 1, 2]

    def error(kept):
        d = w - w * np.isin(np.arange(6), kept)
        assert np.sum((d @ X) ** 2) == pytest.approx(d @ (X @ X.T) @ d)  # tr(dW X X^T dW^T)
        return np.sum((d @ X) ** 2)

    assert error(by_output) < 0.5 * error(by_weight)


def test_the_channels_of_a_layer_are_the_columns_of_a_regression():
    X, W, Z = channels()
    beta = np.random.default_rng(1).standard_normal(6)
    Y = sum(X[i] @ W[i].T for i in range(6))
    assert np.linalg.norm(Y - sum(b * X[i] @ W[i].T for i, b in enumerate(beta))) == pytest.approx(
        np.linalg.norm(Y.ravel() - Z @ beta), rel=1e-13
    )
    # Nothing pruned, nothing penalised: every channel as it is.
    np.testing.assert_allclose(lasso(Z, Y.ravel(), 0).beta, 1, rtol=1e-10)


def test_the_lambda_of_channel_pruning_is_the_lassos_times_the_number_of_outputs():
    """(1/2N) ||Y - sum_i beta_i Z_i||_F^2 divides by the N samples, the lasso by the N n_out rows of vec Y."""
    X, W, Z = channels(k=1)
    N, n_out = 13, 5
    Y = Z @ np.ones(6) + np.random.default_rng(2).standard_normal(N * n_out)
    lam = 0.3 * np.abs(Z.T @ Y).max() / N

    def violation(beta):
        c = Z.T @ (Y - Z @ beta) / N
        return max(abs(c[j] - lam * np.sign(b)) if b else max(abs(c[j]) - lam, 0) for j, b in enumerate(beta))

    assert violation(lasso(Z, Y, lam / n_out).beta) <= 1e-12 * lam
    assert violation(lasso(Z, Y, lam).beta) > 0.1 * lam
    # The Gram matrices G = Z^T Z / N and q = Z^T Y / N are all that the data are needed for.
    R = np.linalg.cholesky(Z.T @ Z / N).T
    small = lasso(np.sqrt(6) * R, np.sqrt(6) * np.linalg.solve(R.T, Z.T @ Y / N), lam).beta
    np.testing.assert_allclose(small, lasso(Z, Y, lam / n_out).beta, rtol=1e-9, atol=1e-13)


def test_without_a_norm_of_the_filters_the_penalty_can_be_made_as_small_as_one_likes():
    X, W, Z = channels()
    beta = lasso(Z, Z.sum(axis=1), 0.1).beta
    penalties = []
    for t in (1, 10, 100):
        scaled = np.stack([(X[i] @ (t * W[i]).T).ravel() for i in range(6)], axis=1)
        np.testing.assert_allclose(scaled @ (beta / t), Z @ beta, rtol=1e-11, atol=1e-12)
        penalties.append(np.abs(beta / t).sum())
    np.testing.assert_allclose(penalties, penalties[0] / np.array([1, 10, 100]))


def test_rescaling_preserves_the_layer_and_a_pruned_channel_has_no_norm_to_divide_by():
    X, W, _ = channels()
    beta = np.array([1.5, -0.7, 0.0, 2.0, 0.3, 1.0])
    W[2] = 0  # what the least-squares step leaves of a channel with beta = 0
    norms = np.sqrt((W * W).sum(axis=(1, 2)))
    new_beta, new_W = beta * norms, W / np.where(norms > 0, norms, 1)[:, None, None]
    np.testing.assert_allclose(new_beta[:, None, None] * new_W, beta[:, None, None] * W, rtol=1e-14, atol=0)
    np.testing.assert_allclose(np.sqrt((new_W * new_W).sum(axis=(1, 2))), [1, 1, 0, 1, 1, 1], rtol=1e-14)
    with np.errstate(invalid="ignore"):
        assert np.isnan(W / norms[:, None, None])[2].all()  # as printed


def test_the_least_squares_step_needs_the_channels_that_are_off_dropped():
    """min_W' ||Y - X' W'^T||_F^2 with X' = [beta_1 X_1 ... beta_c X_c] has a block of zero columns where beta_i = 0."""
    X, W, Z = channels(N=40)
    beta = np.array([1.5, 0.0, 0.8, 2.0, 0.0, 1.0])
    Y = Z.sum(axis=1).reshape(40, 5)
    wide = np.concatenate([b * x for b, x in zip(beta, X)], axis=1)
    on = np.concatenate([b * x for b, x in zip(beta, X) if b], axis=1)
    fits = [least_squares(wide, column) for column in Y.T]
    assert {fit.rank for fit in fits} == {16}  # of 24
    refit = np.stack([least_squares(on, column).beta for column in Y.T])
    whole = np.stack([fit.beta for fit in fits]).reshape(5, 6, 4)
    assert not whole[:, beta == 0].any()
    np.testing.assert_allclose(whole[:, beta != 0].reshape(5, 16), refit, rtol=1e-10, atol=1e-12)
    with pytest.raises(ValueError, match="X\\^T X is singular"):
        normal_equations(wide, Y[:, 0])


def test_a_bias_that_is_left_out_moves_the_coefficients_and_centring_brings_them_back():
    _, _, Z = channels()
    y = Z @ np.ones(6) + 4.0  # columns behind a ReLU have means
    lam = 0.05 * lasso_lambda_max(Z - Z.mean(axis=0), y - y.mean())
    exact = lasso(Z, y, lam, intercept=True)
    centred = lasso(Z - Z.mean(axis=0), y - y.mean(), lam)
    np.testing.assert_allclose(exact.beta, centred.beta, rtol=1e-9, atol=1e-12)
    r = y - Z @ exact.beta - exact.intercept
    c = Z.T @ r / len(y)
    assert np.abs(c[exact.beta != 0]).max() == pytest.approx(lam, rel=1e-9) and abs(r.mean()) <= 1e-13
    assert relative(lasso(Z, y, lam).beta, exact.beta) > 0.1


def test_the_constant_column_of_ones_must_not_be_penalised():
    X, y = regression(5, 20, 4)
    y = y + 10
    free = lasso(X, y, 0.3, intercept=True)
    penalised = lasso(np.column_stack([np.ones(20), X]), y, 0.3).beta
    assert penalised[0] == pytest.approx(free.intercept - 0.3, abs=0.3) and abs(penalised[0] - free.intercept) > 0.05
    fit = least_squares(np.column_stack([np.ones(20), X]), y)
    assert least_squares(X, y, intercept=True).intercept == pytest.approx(fit.beta[0], rel=1e-12)
