"""The penalty sum_g ||w_g|| of structured sparsity: its subgradients, its proximal step, and groups that overlap."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from textbook.exact.grouped_working_set import group_lasso
from textbook.proximal import group_soft_threshold

SIZE, COUNT, ZERO = 3, 10, 7


def least_squares_with_zero_groups():
    """200 x 30, ten groups of three of which seven have no coefficients; the weight of the penalty; the step 1/L."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, SIZE * COUNT))
    groups = np.split(np.arange(SIZE * COUNT), COUNT)
    beta = np.zeros(SIZE * COUNT)
    beta[: SIZE * (COUNT - ZERO)] = rng.standard_normal(SIZE * (COUNT - ZERO))
    y = X @ beta + 0.1 * rng.standard_normal(200)
    return X, y, groups, 0.1, 1 / np.linalg.eigvalsh(X.T @ X / 200)[-1]


def objective(X, y, groups, lam, w):
    r = y - X @ w
    return r @ r / (2 * len(y)) + lam * sum(np.linalg.norm(w[g]) for g in groups)


def test_the_proximal_step_gives_exact_zeros_and_the_subgradient_none():
    X, y, groups, lam, step = least_squares_with_zero_groups()
    exact = group_lasso(X, y, groups, lam)
    assert sum(not exact.beta[g].any() for g in groups) == ZERO
    rng = np.random.default_rng(1)
    start = rng.standard_normal(SIZE * COUNT)
    prox, plain = start.copy(), start.copy()
    for _ in range(2000):
        z = prox + step * X.T @ (y - X @ prox) / 200
        prox = np.concatenate([group_soft_threshold(z[g], step * lam) for g in groups])
        gradient = -X.T @ (y - X @ plain) / 200
        for g in groups:
            gradient[g] += lam * plain[g] / np.linalg.norm(plain[g])
        plain = plain - step * gradient
    assert sum(not prox[g].any() for g in groups) == ZERO
    np.testing.assert_allclose(prox, exact.beta, atol=1e-12)
    assert sum(not plain[g].any() for g in groups) == 0
    # The groups that belong at zero jump across it, by about the step times lam.
    hovering = np.array([np.linalg.norm(plain[g]) for g in groups[-ZERO:]]) / (step * lam)
    assert (hovering > 0.5).all()
    assert (hovering < 1.5).all()
    assert objective(X, y, groups, lam, plain) - exact.objective > 0.04


@given(seed=st.integers(0, 10**6), length=st.floats(0, 1))
def test_the_subdifferential_at_zero_is_the_unit_ball(seed, length):
    """||w|| >= s^T w for all w if and only if ||s|| <= 1."""
    rng = np.random.default_rng(seed)
    s, w = rng.standard_normal(4), rng.standard_normal(4)
    s *= length / np.linalg.norm(s)
    assert np.linalg.norm(w) >= s @ w - 1e-15
    outside = 1.001 * w / np.linalg.norm(w)
    assert np.linalg.norm(w) < outside @ w


def test_the_written_out_norm_has_no_gradient_at_zero_and_the_library_chooses_zero():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    for norm, expected in (
        (torch.linalg.vector_norm, 0.0),
        (lambda w: torch.sqrt(torch.sum(w * w)), np.nan),  # 0 * inf, of one zero group in the whole loss
    ):
        W = torch.tensor([[3.0, 4.0], [0.0, 0.0]], dtype=torch.float64, requires_grad=True)
        (norm(W[0]) + norm(W[1])).backward()
        np.testing.assert_allclose(W.grad[0].numpy(), [0.6, 0.8], rtol=1e-15)
        np.testing.assert_array_equal(W.grad[1].numpy(), [expected, expected])


@given(seed=st.integers(0, 10**6), lam=st.floats(0.01, 3))
def test_the_groups_prox_satisfies_its_optimality_condition(seed, lam):
    """w - x is lam times a subgradient of ||.|| at x."""
    w = np.random.default_rng(seed).standard_normal(5)
    x = group_soft_threshold(w, lam)
    if x.any():
        np.testing.assert_allclose(w - x, lam * x / np.linalg.norm(x), atol=1e-14)
    else:
        assert np.linalg.norm(w) <= lam


def shrink_rows(W, lam):
    return np.stack([group_soft_threshold(row, lam) for row in W])


def shrink_columns(W, lam):
    return shrink_rows(W.T, lam).T


def rows_and_columns(W, lam, rounds=300):
    """Dykstra's algorithm for the prox of the sum: the parts that each prox takes away are given back to it."""
    x, p, q = W, np.zeros_like(W), np.zeros_like(W)
    for _ in range(rounds):
        half = shrink_rows(x + p, lam)
        p = x + p - half
        x = shrink_columns(half + q, lam)
        q = half + q - x
    return x, p, q


def test_the_prox_of_overlapping_rows_and_columns_is_not_one_prox_after_the_other():
    rng = np.random.default_rng(2)
    W, lam = rng.standard_normal((6, 8)), 0.8
    W[:2] *= 0.3
    W[:, 0] *= 0.2

    def value(x):
        norms = np.linalg.norm(x, axis=1).sum() + np.linalg.norm(x, axis=0).sum()
        return np.sum((x - W) ** 2) / 2 + lam * norms

    x, p, q = rows_and_columns(W, lam)
    # W - x = p + q, where every row of p and every column of q is lam times a subgradient of its norm at x.
    np.testing.assert_allclose(p + q, W - x, atol=1e-12)
    for part, point in ((p, x), (q.T, x.T)):
        for subgradient, line in zip(part, point):
            if np.linalg.norm(line) > 1e-9:
                np.testing.assert_allclose(subgradient, lam * line / np.linalg.norm(line), atol=1e-12)
            else:
                assert np.linalg.norm(subgradient) <= lam * (1 + 1e-12)
    assert (np.linalg.norm(x, axis=1) < 1e-9).tolist() == [False, True, False, False, False, False]
    assert (np.linalg.norm(x, axis=0) < 1e-9).tolist() == [True] + 7 * [False]
    after, before = shrink_columns(shrink_rows(W, lam), lam), shrink_rows(shrink_columns(W, lam), lam)
    assert np.linalg.norm(after - x) > 0.1 * np.linalg.norm(x)
    assert np.linalg.norm(after - before) > 0.2 * np.linalg.norm(x)
    assert min(value(after), value(before)) > value(x) * 1.001
