"""Ten thousand random lasso problems of eight kinds, most of them degenerate: no slow solve, no gap.

python tests/fuzz/fuzz_lasso.py [number of problems]
"""

import sys
import time

import numpy as np

from textbook.certificates import lasso_gap, lasso_lambda_max
from textbook.exact.working_set import lasso

SLOWEST, LARGEST_GAP = 1.0, 1e-9  # seconds; relative to ||y||^2 / n


def gaussian(X, rng):
    return X


def duplicates(X, rng):
    """Two of three columns are plus or minus another one."""
    n, p = X.shape
    return X[:, rng.integers(0, (p + 2) // 3, p)] * rng.choice([-1.0, 1.0], p)


def integers(X, rng):
    return np.round(X)


def rank_three(X, rng):
    n, p = X.shape
    return rng.standard_normal((n, 3)) @ rng.standard_normal((3, p))


def near_duplicates(X, rng):
    """Every column has a twin at a relative distance of 1e-6."""
    n, p = X.shape
    return X[:, np.arange(p) // 2] + 1e-6 * X * (np.arange(p) % 2)


def column_scales(X, rng):
    return X * 10 ** rng.uniform(-4, 4, X.shape[1])


def zero_columns(X, rng):
    return X * (rng.random(X.shape[1]) < 0.7)


def three_rows(X, rng):
    return X[:3]


KINDS = [gaussian, duplicates, integers, rank_three, near_duplicates, column_scales, zero_columns, three_rows]


def problem(number):
    """Return kind, X, y and lam, the same for the same number."""
    rng = np.random.default_rng(number)
    kind = KINDS[number % len(KINDS)]
    n, p = int(rng.integers(3, 60)), int(rng.integers(1, 120))
    X = kind(rng.standard_normal((n, p)), rng)
    beta = rng.standard_normal(p) * (rng.random(p) < 0.3)
    y = X @ beta + 10 ** rng.uniform(-3, 0) * rng.standard_normal(len(X))
    return kind.__name__, X, y, lasso_lambda_max(X, y) * 10 ** rng.uniform(-4, 0.1)


def check(number):
    """Solve one problem; return its kind, the seconds and the gap."""
    kind, X, y, lam = problem(number)
    start = time.process_time()
    solution = lasso(X, y, lam)
    seconds = time.process_time() - start
    return kind, seconds, lasso_gap(X, y, solution.beta, lam) / (float(y @ y) / len(y))


def main(count):
    results = {number: check(number) for number in range(count)}
    failed = [n for n, (_, t, gap) in results.items() if t > SLOWEST or not gap <= LARGEST_GAP]
    for number in failed:
        print("problem {}: {}, {:.2f} s, gap {:.1e}".format(number, *results[number]))
    _, seconds, gaps = zip(*results.values())
    print(
        f"lasso: {count} problems of {len(KINDS)} kinds, {len(failed)} failed; slowest {max(seconds):.3f} s, "
        f"largest relative gap {max(gaps):.1e}, {sum(seconds):.0f} s in all"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000))
