"""`lasso` beside scikit-learn, celer and skglm, each at its loosest tolerance that reaches a duality gap of 1e-10.

On the problems a to f of `regression_problems` at 0.1 and 0.01 of lambda_max; gaps are relative to ||y||^2 / n.

    python tests/benchmarks/lasso.py [abcdef] [--rounds 7]
"""

import interleaved  # isort: skip  (sets the number of threads)

import sys
import warnings

import celer
import numpy as np
import skglm
import sklearn.linear_model
from regression_problems import lasso_problem

from textbook.certificates import lasso_gap, lasso_lambda_max
from textbook.exact.working_set import lasso

GAP = 1e-10
PEERS = {
    "scikit-learn": lambda lam, tol: sklearn.linear_model.Lasso(
        alpha=lam, tol=tol, fit_intercept=False, max_iter=10**6, copy_X=False
    ),
    "celer": lambda lam, tol: celer.Lasso(alpha=lam, tol=tol, fit_intercept=False, max_iter=1000),
    "skglm": lambda lam, tol: skglm.Lasso(alpha=lam, tol=tol, fit_intercept=False, max_iter=1000),
}


def loosest(make, X, y, lam):
    """The peer at its loosest power of ten that reaches the gap, that tolerance, and the gap."""
    for k in range(1, 16):
        model = make(lam, 10.0**-k).fit(X, y)
        gap = lasso_gap(X, y, model.coef_, lam) / (y @ y / len(y))
        if gap <= GAP:
            break
    return model, 10.0**-k, gap


def compare(name, share):
    """One problem at one lam."""
    X, y = lasso_problem(name)
    lam = share * lasso_lambda_max(X, y)
    ours, unit = lasso(X, y, lam), y @ y / len(y)
    print(f"{name}, lam = {share} lambda_max: {np.count_nonzero(ours.beta)} of {X.shape[1]} columns", end=", ")
    print(f"ours gap {ours.gap / unit:.1e}, KKT {ours.kkt / lam:.1e} lam")
    contenders = {"ours": lambda: lasso(X, y, lam)}
    for peer, make in PEERS.items():
        model, tol, gap = loosest(make, X, y, lam)
        print(f"  {peer}: tol {tol:.0e}, gap {gap:.1e}{'' if gap <= GAP else ', NOT REACHED'}")
        contenders[peer] = lambda model=model: model.fit(X, y)
    interleaved.compare(contenders, [("ours", peer) for peer in PEERS], rounds=7)


def main():
    """The problems named by their letters, or all, each at both lams."""
    warnings.simplefilter("ignore")  # a peer that stops at its number of iterations says so; the gap is what counts
    names = sys.argv.pop(1) if len(sys.argv) > 1 and not sys.argv[1].startswith("-") else "abcdef"
    for name in names:
        for share in (0.1, 0.01):
            compare(name, share)


if __name__ == "__main__":
    main()
