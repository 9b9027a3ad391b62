"""The lasso's path in rational numbers: every kink without a rounding error, for a few columns.

Floats are rational, so that X and y are taken as they are.  It shares nothing with the path in the package but the
optimality conditions: at a level L = n lam, with the signs s of the active columns A,

    X_A^T (y - X_A beta_A) = L s_A,        |x_j^T (y - X_A beta_A)| <= L elsewhere,

so beta_A = b - L v with G_AA b = q_A and G_AA v = s_A, solved anew at every kink.
"""

from fractions import Fraction

import numpy as np


def rationals(X):
    """The columns of an array as lists of Fractions."""
    return [[Fraction(value) for value in column] for column in np.asarray(X, dtype=float).T.tolist()]


def dot(a, b):
    return sum(u * v for u, v in zip(a, b))


def solve(G, *right):
    """The solutions of G x = each right-hand side, by elimination."""
    rows = [[*row, *(b[i] for b in right)] for i, row in enumerate(G)]
    k = len(rows)
    for i in range(k):
        pivot = next(r for r in range(i, k) if rows[r][i])
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(k):
            if r != i and rows[r][i]:
                factor = rows[r][i] / rows[i][i]
                rows[r] = [u - factor * v for u, v in zip(rows[r], rows[i])]
    return [[rows[i][k + m] / rows[i][i] for i in range(k)] for m in range(len(right))]


def least_sum_of_squares(X, y):
    """min ||y - X beta||^2 of independent columns, as a Fraction."""
    columns, target = rationals(X), rationals(np.reshape(y, (-1, 1)))[0]
    q = [dot(column, target) for column in columns]
    (beta,) = solve([[dot(a, b) for b in columns] for a in columns], q)
    return dot(target, target) - dot(q, beta)


def sum_of_squares(X, y, beta, constant=0.0):
    """||y - X beta - constant||^2 as a Fraction."""
    target = [value - Fraction(float(constant)) for value in rationals(np.reshape(y, (-1, 1)))[0]]
    for column, b in zip(rationals(X), beta):
        b = Fraction(float(b))
        target = [t - b * value for t, value in zip(target, column)]
    return dot(target, target)


def exact_path(X, y):
    """The kinks [(L, {column: coefficient})] from the largest L to 0, L = n lam, as Fractions; no two may tie."""
    columns, target = rationals(X), rationals(np.reshape(y, (-1, 1)))[0]
    p = len(columns)
    G, q = [[dot(a, b) for b in columns] for a in columns], [dot(a, target) for a in columns]
    first = max(range(p), key=lambda j: abs(q[j]))
    L, signs = abs(q[first]), {first: 1 if q[first] > 0 else -1}
    kinks = [(L, {first: Fraction(0)})]
    while L:
        A = list(signs)
        b, v = solve([[G[i][j] for j in A] for i in A], [q[i] for i in A], [signs[i] for i in A])
        events = [(Fraction(0), None)]
        for i, b_i, v_i in zip(A, b, v):  # b_i - L v_i = 0
            if v_i and 0 < b_i / v_i < L:
                events.append((b_i / v_i, i))
        for j in range(p):  # q_j - G_jA (b - L v) = s L
            if j in signs:
                continue
            rest, rate = q[j] - dot((G[j][i] for i in A), b), dot((G[j][i] for i in A), v)
            for s in (1, -1):
                if rate != s and 0 < rest / (s - rate) < L:
                    events.append((rest / (s - rate), (j, s)))
        L, event = max(events, key=lambda event: event[0])
        kinks.append((L, {i: b_i - L * v_i for i, b_i, v_i in zip(A, b, v)}))
        if isinstance(event, tuple):
            signs = signs | {event[0]: event[1]}
        else:
            signs = {i: s for i, s in signs.items() if i != event}
    return kinks
