"""The lasso's path of the diabetes data beside scikit-learn, and at most k coefficients of problem a beside one solve.

scikit-learn's coordinate descent runs at its loosest tolerance that reaches a gap at all of 100 lams, from lambda_max
to a thousandth of it: 1e-10 as it is by default, with the Gram matrix; and ours, 1e-14, without, since from the Gram
matrix it is out of its reach.  Its LARS, exact too, has only the kinks.  Gaps are relative to ||y||^2 / n.

    python tests/benchmarks/lasso_path.py [--rounds 15]
"""

import interleaved  # isort: skip  (sets the number of threads)

import time

import numpy as np
import sklearn.linear_model
from regression_problems import lasso_problem

from textbook import lasso, lasso_at_most, lasso_gap, lasso_lambda_max, lasso_path

PEERS = {"lasso_path to 1e-10": ("auto", 1e-10), "lasso_path to 1e-14": (False, 1e-14)}


def path_of_diabetes():
    """All lams at once against all lams at once."""
    X, y = lasso_problem("e")
    unit, lams = y @ y / len(y), np.geomspace(1, 1e-3, 100) * lasso_lambda_max(X, y)
    ours = lasso_path(X, y, lams)
    print(f"e, 100 lams: ours, largest gap {ours.gap.max() / unit:.1e}, largest KKT {(ours.kkt / lams).max():.1e} lam")

    def descent(gram, tol):
        return sklearn.linear_model.lasso_path(X, y, alphas=lams, precompute=gram, tol=tol, max_iter=10**6)[1]

    contenders = {"ours": lambda: lasso_path(X, y, lams)}
    for peer, (gram, wanted) in PEERS.items():
        for k in range(1, 16):
            beta = descent(gram, 10.0**-k)
            gap = max(lasso_gap(X, y, b, lam) for b, lam in zip(beta.T, lams)) / unit
            if gap <= wanted:
                break
        print(f"  scikit-learn, {peer}: tol {10.0**-k:.0e}, largest gap {gap:.1e}{'' if gap <= wanted else ', NO'}")
        contenders[peer] = lambda gram=gram, tol=10.0**-k: descent(gram, tol)
    contenders["lars_path"] = lambda: sklearn.linear_model.lars_path(X, y, method="lasso", alpha_min=lams[-1])
    interleaved.compare(contenders, [("ours", peer) for peer in list(contenders)[1:]], repeats=10)


def at_most_k_of_a():
    """Every number of channels: first that the answers are right, then the times."""
    X, y = lasso_problem("a")
    p, unit, largest = X.shape[1], y @ y / len(y), lasso_lambda_max(X, y)
    seconds, gaps, violations, right = {}, [], [], 0
    for k in range(1, p + 1):
        start = time.perf_counter()
        solution = lasso_at_most(X, y, k)
        seconds[k] = time.perf_counter() - start
        gaps.append(solution.gap / unit)
        violations.append(solution.kkt / largest)
        below = lasso(X, y, solution.lam * (1 - 1e-9)).beta if solution.lam else solution.beta
        right += np.count_nonzero(solution.beta) <= k and np.count_nonzero(below) == min(k + 1, p)
    print(f"a, k = 1 to {p}: {right} right, largest gap {max(gaps):.1e}, largest KKT {max(violations):.1e} lambda_max")
    slowest = max(seconds, key=seconds.get)
    contenders = {f"at most {k}": lambda k=k: lasso_at_most(X, y, k) for k in sorted({1, p // 2, slowest, p})}
    solves = {f"lasso, {share} lambda_max": lambda s=share: lasso(X, y, s * largest) for share in (0.1, 0.01)}
    interleaved.compare(contenders | solves, [(k, solve) for solve in solves for k in contenders])


if __name__ == "__main__":
    path_of_diabetes()
    at_most_k_of_a()
