"""The regression problems of the benchmarks, made anew from seed 0, X in the memory order that the peers like best.

== ================ ========================================================================================
a  100000 x 64      one column a channel: what it gives to the next layer's outputs, 12 factors shared by all
b  20000 x 512      neighbouring columns correlate by 0.5
c  500 x 500        0.5
d  200 x 5000       0.3
e  442 x 10         the diabetes data, columns of mean 0 and length 1, y of mean 0: for paths
f  1000 x 2000      0.9
g  1000 x 500       groups of 5, 10 of 100 active
h  300 x 3000       groups of 10, 10 of 300 active
i  20000 x 576      groups of 9, the size of 3 x 3 kernels, 12 of 64 active
== ================ ========================================================================================

In b, c, d and f one coefficient of ten is nonzero (of as many as there are samples, at most).  The noise is a third of
the size of the signal.
"""

import numpy as np

SIZES = {"a": (100_000, 64), "b": (20_000, 512), "c": (500, 500), "d": (200, 5000), "f": (1000, 2000)}
CORRELATIONS = {"b": 0.5, "c": 0.5, "d": 0.3, "f": 0.9}
GROUPS = {"g": (1000, 5, 100, 0.5, 10), "h": (300, 10, 300, 0.3, 10), "i": (20000, 9, 64, 0.5, 12)}


def lasso_problem(name, shape=None):
    """X (n, p) and y (n,) of one of a to f, at its own size or at another one."""
    rng = np.random.default_rng(0)
    if name == "e":
        return diabetes()
    n, p = shape or SIZES[name]
    if name == "a":
        return channels(n, p, rng)
    X = autoregressive(n, p, CORRELATIONS[name], rng)
    beta, nonzero = np.zeros(p), min(n, p) // 10
    beta[rng.choice(p, nonzero, replace=False)] = rng.standard_normal(nonzero)
    return X, noisy(X @ beta, rng)


def group_problem(name):
    """X (n, p), y (n,) and the groups of one of g, h and i."""
    n, size, count, correlation, active = GROUPS[name]
    rng = np.random.default_rng(0)
    X = autoregressive(n, size * count, correlation, rng)
    groups = [np.arange(g * size, (g + 1) * size) for g in range(count)]
    beta = np.zeros(size * count)
    for g in rng.choice(count, active, replace=False):
        beta[groups[g]] = rng.standard_normal(size)
    return X, noisy(X @ beta, rng), groups


def autoregressive(n, p, correlation, rng):
    """Rows are stationary AR(1) processes of variance 1: columns j and k correlate by correlation^|j - k|."""
    X = np.asfortranarray(rng.standard_normal((n, p)))
    for j in range(1, p):
        X[:, j] = correlation * X[:, j - 1] + np.sqrt(1 - correlation**2) * X[:, j]
    return X


def noisy(signal, rng):
    """The signal and noise of a third of its size."""
    noise = rng.standard_normal(len(signal))
    return signal + noise * (np.linalg.norm(signal) / np.linalg.norm(noise) / 3)


def channels(n, p, rng, outputs=100, factors=12):
    """What channel pruning solves: column i is vec(X_i W_i^T), the share of channel i in the next layer's outputs.

    X_i (n / outputs, 9) are windows of 3 x 3 behind a ReLU, whose pre-activations share a few factors; W_i (outputs, 9)
    is a filter bank; y is the sum of all columns, the outputs that no channel is missing from.
    """
    rows = n // outputs
    shared = rng.standard_normal((rows, factors)) @ rng.standard_normal((factors, p * 9))
    windows = np.maximum(0, shared.reshape(rows, p, 9) + 0.5 * rng.standard_normal((rows, p, 9)))
    W = rng.standard_normal((p, 9, outputs)) * np.sqrt(2 / (9 * p))
    X = np.empty((rows * outputs, p), order="F")
    for i in range(p):
        X[:, i] = (windows[:, i] @ W[i]).ravel()
    return X, X.sum(axis=1)


def diabetes():
    """The data of Efron et al., Least angle regression, 2004, as scikit-learn brings them."""
    from sklearn.datasets import load_diabetes

    X, y = load_diabetes(return_X_y=True)
    return np.asfortranarray(X), y - y.mean()
