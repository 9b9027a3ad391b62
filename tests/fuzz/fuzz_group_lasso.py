"""Random group-lasso problems of ten kinds, judged by a duality gap that shares no code with the solver's.

``python tests/fuzz/fuzz_group_lasso.py [number of problems]`` prints one line and fails if a solve ended far from
the minimum or took too long; a few dozen of the same problems are in `test_grouped_working_set.py`.
"""

import sys
import time

import numpy as np

KINDS = (
    "gaussian", "wide", "duplicate columns", "near-duplicate columns", "zero columns", "rank 3", "integers",
    "column scales", "group scales", "three samples",
)  # fmt: skip
GAP = 1e-9
SECONDS = 1.0


def problem(seed):
    """Kind, X, y, groups, lam and weights of problem number `seed`."""
    rng = np.random.default_rng(seed)
    kind = KINDS[seed % len(KINDS)]
    n, p = int(rng.integers(5, 60)), int(rng.integers(2, 60))
    if kind == "wide":
        n, p = int(rng.integers(5, 40)), int(rng.integers(60, 250))
    if kind == "three samples":
        n = 3
    X = rng.standard_normal((n, p))
    if "duplicate" in kind:
        copies = rng.integers(0, p, p // 2)
        X[:, rng.integers(0, p, p // 2)] = X[:, copies] * rng.choice([-1, 1], p // 2)
        if kind.startswith("near"):
            X += 1e-6 * rng.standard_normal((n, p))
    elif kind == "zero columns":
        X[:, rng.random(p) < 0.4] = 0
    elif kind == "rank 3":
        X = rng.standard_normal((n, 3)) @ rng.standard_normal((3, p))
    elif kind == "integers":
        X = rng.integers(-3, 4, (n, p)).astype(float)
    elif kind == "column scales":
        X = X * 10 ** rng.uniform(-4, 4, p)
    groups = partition(p, rng)
    if kind == "group scales":
        for g in groups:
            X[:, g] *= 10 ** rng.uniform(-4, 4)
    y = X[:, rng.integers(0, p, 3)] @ rng.standard_normal(3)
    y = y + rng.choice([0, 0.1, 1]) * (np.std(y) + 1e-3) * rng.standard_normal(n)
    if kind == "integers":
        y = np.round(y)
    weights = rng.choice([None, "sizes", "random"])
    weights = {"sizes": np.sqrt([len(g) for g in groups]), "random": rng.uniform(0.2, 5, len(groups))}.get(weights)
    w = np.ones(len(groups)) if weights is None else weights
    largest = max(np.linalg.norm(X[:, g].T @ y) / (n * w_g) for g, w_g in zip(groups, w))
    return kind, X, y, groups, float(largest * 10 ** rng.uniform(-4, 0)), weights


def partition(p, rng):
    """A random partition of p columns into groups of 1 to 12, or of 1 each, or one of all."""
    order, groups = rng.permutation(p), []
    most = int(rng.choice([1, 3, 12, p]))
    while len(order):
        size = int(rng.integers(1, most + 1))
        groups.append(order[:size])
        order = order[size:]
    return groups


def relative_gap(X, y, groups, lam, weights, beta):
    """Duality gap by its definition, primal less dual at the residual scaled into the dual's set, over ||y||^2 / n."""
    n = len(y)
    w = np.ones(len(groups)) if weights is None else weights
    r = y - X @ beta
    primal = r @ r / (2 * n) + lam * sum(w_g * np.linalg.norm(beta[g]) for g, w_g in zip(groups, w))
    s = min(1, *(n * lam * w_g / max(np.linalg.norm(X[:, g].T @ r), 1e-300) for g, w_g in zip(groups, w)))
    dual = (y @ y - (y - s * r) @ (y - s * r)) / (2 * n)
    return float((primal - dual) / (y @ y / n))


def run(seeds):
    """Solve the problems; return [(relative gap, seconds, seed, kind)]."""
    from textbook.exact.grouped_working_set import group_lasso

    rows = []
    for seed in seeds:
        kind, X, y, groups, lam, weights = problem(seed)
        if not lam > 0:  # y or X is zero
            continue
        start = time.process_time()
        solution = group_lasso(X, y, groups, lam, weights)
        seconds = time.process_time() - start
        rows.append((relative_gap(X, y, groups, lam, weights, solution.beta), seconds, seed, kind))
    return rows


def main():
    """Solve many problems and say in one line how they went."""
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 2000
    rows = run(range(number))
    worst, slowest = max(rows), max(rows, key=lambda row: row[1])
    bad = [row for row in rows if not row[0] <= GAP or row[1] > SECONDS]  # a gap that is no number is none at all
    print(
        f"group_lasso: {len(rows)} problems of {len(KINDS)} kinds, largest relative gap {worst[0]:.1e}"
        f" ({worst[3]}, {worst[2]}), slowest {slowest[1]:.2f} s ({slowest[3]}, {slowest[2]}), {len(bad)} failures"
    )
    for row in bad:
        print("  ", *row)
    sys.exit(bool(bad))


if __name__ == "__main__":
    main()
