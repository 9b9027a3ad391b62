"""The lasso without iterations: every pattern of signs is tried, and its linear system solved."""

import itertools

import numpy as np


def lasso_by_signs(X, y, lam):
    """argmin (1/2n) ||y - X b||^2 + lam ||b||_1 for few columns in general position.

    With the signs s of the solution known, its nonzeros solve X_A^T X_A b = X_A^T y - n lam s; of all patterns whose
    solution has the signs that were assumed, the one of the smallest objective is the minimum.
    """
    n, p = X.shape
    best, smallest = np.zeros(p), 0.5 * np.mean(y**2)
    for signs in itertools.product((-1, 0, 1), repeat=p):
        A = np.flatnonzero(signs)
        s = np.array(signs, dtype=float)[A]
        if not 0 < A.size <= n:
            continue
        b = np.zeros(p)
        b[A] = np.linalg.solve(X[:, A].T @ X[:, A], X[:, A].T @ y - n * lam * s)
        objective = 0.5 * np.mean((y - X @ b) ** 2) + lam * np.abs(b).sum()
        if np.all(b[A] * s > 0) and objective < smallest:
            best, smallest = b, objective
    return best


def regression(seed, n, p, noise=0.3):
    """A random problem with correlated columns of unequal size, and half of the coefficients zero."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) @ (np.eye(p) + 0.4 * rng.standard_normal((p, p)))
    beta = rng.standard_normal(p) * (np.arange(p) % 2)
    return X, X @ beta + noise * rng.standard_normal(n)


def lambda_max(X, y):
    return np.abs(X.T @ y).max() / len(y)


def relative(ours, reference):
    return np.linalg.norm(ours - reference) / np.linalg.norm(reference)
