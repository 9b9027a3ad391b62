"""The package's own lines in the place of a student's, with arguments renamed and reordered and nothing else."""

import numpy as np

import textbook


def coordinate_step(X, r, beta, j, lam, mu):
    x_j, n = X[:, j], len(r)
    a_j = x_j @ x_j / n
    if a_j == 0:
        return 0.0
    z_j = x_j @ r / n + a_j * beta[j]
    return textbook.soft_threshold(z_j, lam) / a_j


def sweep(X, y, beta, lam, mu):
    new = textbook.lasso_coordinate_descent(X, y, lam, tol=0, max_sweeps=1, start=beta).beta
    return new, y - X @ new


def lambda_max(X, y, w, intercept):
    return textbook.group_lasso_lambda_max(X, y, [[j] for j in range(len(w))], w, intercept)


def duality_gap(X, y, beta, lam, mu):
    return textbook.lasso_gap(X, y, beta, lam)


def first_with(lams, betas, k):
    # lasso_channels.bisected, its lassos looked up in the table.
    low, high, doubled = 0.0, 1e-3 * np.max(lams), False
    for _ in range(60):
        lam = (low + high) / 2 if doubled else high
        i = int(np.argmin(abs(lams - lam)))
        kept = np.flatnonzero(betas[:, i])
        if k <= len(kept) <= 1.1 * k:
            break
        if not doubled and len(kept) >= k:
            low, high = high, 2 * high
        elif not doubled:
            doubled = True
        elif len(kept) < k:
            high = lam
        else:
            low = lam
    return lams[i], kept


PASTED = {
    "cd.1": coordinate_step,
    "cd.2": sweep,
    "cd.3": lambda_max,
    "cd.4": duality_gap,
    "cd.5": first_with,
}
