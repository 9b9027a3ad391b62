"""`group_lasso` beside celer and skglm, each at its loosest tolerance that reaches a relative duality gap of 1e-10, on
the problems g, h and i of `regression_problems`.

    python tests/benchmarks/group_lasso.py [--rounds 7]
"""

import interleaved  # isort: skip  (sets the number of threads)

import warnings

import celer
import numpy as np
import skglm
from regression_problems import GROUPS, group_problem

from textbook.certificates import group_lasso_gap, group_lasso_lambda_max, group_lasso_objective
from textbook.exact.grouped_working_set import group_lasso

GAP = 1e-10
PEERS = {"celer": celer.GroupLasso, "skglm": skglm.GroupLasso}


def loosest(peer, X, y, groups, lam):
    """The peer at its loosest power of ten that reaches the gap, and that gap; all weights are 1 in both."""
    unit, ones = y @ y / len(y), np.ones(len(groups))
    for k in range(1, 15):
        model = peer(groups=len(groups[0]), alpha=lam, tol=10.0**-k, fit_intercept=False).fit(X, y)
        beta = np.ravel(model.coef_)
        gap = group_lasso_gap(X, y, beta, groups, lam, ones) / unit
        if gap <= GAP:
            break
    return model, k, gap, group_lasso_objective(X, y, beta, groups, lam, ones)


def compare(name, share):
    """One problem at one lam."""
    X, y, groups = group_problem(name)
    lam = share * group_lasso_lambda_max(X, y, groups)
    ours, unit = group_lasso(X, y, groups, lam), y @ y / len(y)
    nonzero = sum(bool(np.any(ours.beta[g])) for g in groups)
    reached = f"ours gap {ours.gap / unit:.1e}, KKT {ours.kkt / lam:.1e} lam"
    print(f"{name}, lam = {share} lambda_max: {nonzero} groups, {reached}")
    contenders = {"ours": lambda: group_lasso(X, y, groups, lam)}
    for peer, make in PEERS.items():
        model, k, gap, objective = loosest(make, X, y, groups, lam)
        difference = abs(objective - ours.objective) / ours.objective
        print(f"  {peer}: tol 1e-{k}, gap {gap:.1e}, objective differs by {difference:.1e}")
        assert difference <= 2 * GAP * unit / ours.objective  # the same problem
        contenders[peer] = lambda model=model: model.fit(X, y)
    interleaved.compare(contenders, [("ours", peer) for peer in PEERS], rounds=7)


def main():
    """All problems, each at 0.1 and at 0.02 of lambda_max."""
    warnings.simplefilter("ignore")  # a peer that stops at its number of iterations says so; the gap is what counts
    for name in GROUPS:
        for share in (0.1, 0.02):
            compare(name, share)


if __name__ == "__main__":
    main()
