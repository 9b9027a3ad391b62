"""The whole path of the problems of `fuzz_lasso`: every kink, a lam between each and the next, at most k coefficients.

python tests/fuzz/fuzz_lasso_path.py [number of problems]

A solution counts as exact if X^T (y - X beta) is as near to what it should be as numbers of this size can be: the
violation is within 1e-13 of max_j ||x_j|| times ||y|| + sum_j ||x_j beta_j||.  Far down the path of near-duplicate
columns the coefficients are a million times those of y = X beta, and this is all that rounding leaves of any solver;
above a millionth of lambda_max the gap has to be small as well.
"""

import sys
import time

import numpy as np
from fuzz_lasso import KINDS, LARGEST_GAP, SLOWEST, problem

from textbook.exact.homotopy import lasso_at_most, lasso_path

LARGEST_VIOLATION, DEEP = 1e-13, 1e-6


def gap_and_violation(X, y, beta, lam):
    """The largest of all columns of beta (p, L): gap relative to ||y||^2 / n, violation relative to its rounding."""
    n, y2 = len(y), float(y @ y)
    r = y[:, None] - X @ beta
    c = X.T @ r / n
    largest = np.abs(c).max(axis=0)
    share = np.where(largest > lam, lam / np.maximum(largest, 1e-300), 1.0)  # of r is feasible in the dual problem
    gap = (1 - share) ** 2 * (r * r).sum(axis=0) / (2 * n) + (lam * np.abs(beta) - share * beta * c).sum(axis=0)
    violation = np.where(beta == 0, np.abs(c) - lam, np.abs(c - lam * np.sign(beta))).max(axis=0)
    norms = np.sqrt((X * X).sum(axis=0))
    rounding = norms.max() * (np.sqrt(y2) + norms @ np.abs(beta)) / n
    shallow = lam >= DEEP * lam.max()
    return gap[shallow].max() / (y2 / n), (violation / np.maximum(rounding, 1e-300)).max()


def between(lam):
    """One lam between each and the next; the lams themselves if there is but one."""
    return 0.3 * lam[:-1] + 0.7 * lam[1:] if len(lam) > 1 else lam


def check(number):
    """Compute the paths of one problem; return its kind, the seconds of the slowest, the gap, the violation, kinks."""
    kind, X, y, lam = problem(number)
    k = number % (X.shape[1] + 1)
    start = time.process_time()
    kinks = lasso_path(X, y)
    seconds = time.process_time() - start
    others = lasso_path(X, y, [*between(kinks.lam), lam])
    few = lasso_at_most(X, y, k)
    assert np.count_nonzero(few.beta) <= k
    assert np.all(np.diff(kinks.lam) < 0) and kinks.lam[-1] == 0
    sizes = np.abs(kinks.beta).sum(axis=0)
    assert np.all(np.diff(sizes) >= -1e-13 * sizes[1:])  # ||beta||_1 grows as lam falls
    beta = np.column_stack([kinks.beta, others.beta, few.beta])
    gap, violation = gap_and_violation(X, y, beta, np.array([*kinks.lam, *others.lam, few.lam]))
    return kind, seconds, gap, violation, len(kinks.lam)


def main(count):
    results = {number: check(number) for number in range(count)}
    failed = [
        number
        for number, (_, seconds, gap, violation, _) in results.items()
        if seconds > SLOWEST or not gap <= LARGEST_GAP or not violation <= LARGEST_VIOLATION
    ]
    for number in failed:
        print("problem {}: {}, {:.2f} s, gap {:.1e}, violation {:.1e}, {} kinks".format(number, *results[number]))
    _, seconds, gaps, violations, kinks = zip(*results.values())
    print(
        f"lasso_path: {count} problems of {len(KINDS)} kinds, {sum(kinks)} kinks, {len(failed)} failed; slowest "
        f"{max(seconds):.3f} s, largest relative gap {max(gaps):.1e}, largest violation {max(violations):.1e}"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 2_000))
