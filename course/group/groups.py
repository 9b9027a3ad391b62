"""Single coefficients, groups, groups of groups, and nothing below zero (group.3)."""

from collections.abc import Sequence

import numpy as np

from course.group.blocks import NOTHING
from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong

Groups = Sequence[Array]


def _two_groups(rng: np.random.Generator) -> Inputs:
    w = np.array([3.0, 1.5, 0.3, 0.9, 0.8])
    return {"w": w, "groups": [np.array([0, 1, 2]), np.array([3, 4])], "lam": np.array([1.0, 1.5]), "mu": 0.5}


def _tree(sizes: Sequence[int], nested: bool = False, dead: int = 0) -> Draw:
    # Groups whose members lie anywhere; nested: pairs of them in a group of their own, which comes first in the list.
    def draw(rng: np.random.Generator) -> Inputs:
        groups = np.split(rng.permutation(sum(sizes)), np.cumsum(sizes)[:-1])
        w, mu = np.zeros(sum(sizes)), float(rng.uniform(0.5, 0.8))
        for k, g in enumerate(groups):
            w[g] = rng.uniform(0.9, 1.1, len(g)) * np.resize([4.0, 1.6, -3.0], len(g))
            w[g[3:4]] = rng.uniform(0.1, 0.3)  # below mu
            w[g] = -np.abs(w[g]) * rng.choice([0, 1]) if k < dead else w[g]
        lam = rng.uniform(1, 1.6, len(groups))  # the lengths are above 2.5, and those of outer groups above 1.2
        if dead:
            lam[dead] = 2 * np.linalg.norm(np.maximum(w[groups[dead]], 0))
        if nested:
            pairs = [np.concatenate(groups[k : k + 2]) for k in range(0, len(groups) - 1, 2)]
            groups, lam = [*pairs, *groups], np.append(rng.uniform(0.5, 0.9, len(pairs)), lam)
        return {"w": w, "groups": [rng.permutation(g) for g in groups], "lam": lam, "mu": mu}

    return draw


def _reweighted(w: Array, groups: Groups, lam: Array, mu: float) -> Array:
    # ||x|| <= ||x||^2 / (2 s) + s / 2, with equality at s = ||x||: one parabola a coefficient, solved again with new s.
    member = np.stack([np.isin(np.arange(len(w)), g) for g in groups]).astype(float)
    x = np.where(w > mu, w, 0)
    for _ in range(1000):
        s = np.maximum(np.sqrt(member @ (x * x)), NOTHING)
        before, x = x, np.maximum(0, (w - mu) / (1 + (lam / s) @ member))  # lowest for x >= 0
        if abs(x - before).max() < 1e-16:
            break
    return x


def _positive(w: Array, mu: float) -> Array:
    return np.maximum(w - mu, 0)


def _absolute(w: Array, mu: float) -> Array:
    return w - np.clip(w, -mu, mu)


def _after(x: Array, groups: Groups, lam: Array, together: bool = False) -> Array:
    # Block soft thresholds in the order given; `together`: by the lengths of the beginning.
    new = x.copy()
    for g, t in zip(groups, lam):
        size = np.linalg.norm((x if together else new)[g])
        new[g] *= max(1 - t / size, 0) if size > 0 else 0
    return new


def _inner_first(groups: Groups, lam: Array) -> tuple[Groups, Array]:
    order = np.argsort([len(g) for g in groups], kind="stable")
    return [groups[k] for k in order], lam[order]


def _blocks(x: Array, groups: Groups, lam: Array, together: bool = False) -> Array:
    return _after(x, *_inner_first(groups, lam), together)


def _split(w: Array, groups: Groups, lam: Array, mu: float) -> Array:
    return _positive(_blocks(_positive(w, mu / 2), groups, lam, False), mu / 2)


def _halves(w: Array, groups: Groups, lam: Array, mu: float) -> Array:
    return _blocks(_positive(_blocks(_positive(w, mu / 2), groups, lam / 2), mu / 2), groups, lam / 2)


def _by_roots(w: Array, groups: Groups, lam: Array, mu: float) -> Array:
    return _blocks(_positive(w, mu), groups, lam * np.array([len(g) ** 0.5 for g in groups]))


SPARSE_GROUPS = Exercise(
    id="group.3",
    function="sparse_group_prox",
    outputs=("x",),
    formula="argmin over x ≥ 0 of ½‖x − w‖² + μ Σ xᵢ + Σ λ_g ‖x_g‖: (w − μ)₊ first, then (1 − λ_g/‖x_g‖)₊ x_g,"
    " inner groups before outer ones",
    slide="S1, Group Lasso Regularization",
    ledger="D10a, S1-F13",
    section="notebook 06, section 10.1 and exercise 3",
    minutes=35,
    referee=_reweighted,
    cases=(
        Case("two groups, w above zero", 1, _two_groups, public=True),
        Case("w of either sign", 2, _tree([4, 3, 5]), draws=3),
        Case("nested groups", 1, _tree([3, 4, 3, 4], nested=True), draws=3),
        Case("groups that are zero or end there", 1, _tree([3, 4, 3, 5], dead=2), draws=2),
    ),
    wrong=(
        Wrong(
            "groups first",
            lambda w, groups, lam, mu: _positive(_blocks(np.maximum(w, 0), groups, lam), mu),
            "This shrinks the groups first and the single coefficients after. Then the lengths of the groups count"
            " what the other step takes away, and x is not the lowest point.",
        ),
        Wrong(
            "halves, groups in the middle",
            _split,
            "This takes half of μ before the groups and half after, as differential equations are split. Then the"
            " lengths of the groups count what the second half takes away, and x is not the lowest point.",
        ),
        Wrong(
            "both halves twice",
            _halves,
            "This goes through both penalties twice with half of each. The second round starts from lengths that the"
            " first has changed.",
        ),
        Wrong(
            "no sign",
            lambda w, groups, lam, mu: _blocks(_absolute(w, mu), groups, lam),
            "This is the sparse group lasso without a sign, as pruning.penalties.group_lasso has it. Here x must not be"
            " below zero.",
        ),
        Wrong(
            "cut at the end",
            lambda w, groups, lam, mu: np.maximum(_blocks(_absolute(w, mu), groups, lam), 0),
            "This cuts at zero when all is done. Until then the negative coefficients have counted in the lengths of"
            " their groups.",
        ),
        Wrong(
            "in the order given",
            lambda w, groups, lam, mu: _after(_positive(w, mu), groups, lam),
            "This shrinks the groups in the order of the list. A group inside another one comes before it.",
        ),
        Wrong(
            "lengths of the beginning",
            lambda w, groups, lam, mu: _blocks(_positive(w, mu), groups, lam, True),
            "This takes the lengths of all groups before any is shrunk. An outer group has the length that its inner"
            " ones have left.",
        ),
        Wrong(
            "groups alone",
            lambda w, groups, lam, mu: _blocks(np.maximum(w, 0), groups, lam),
            "This lacks the penalty of the single coefficients.",
        ),
        Wrong(
            "roots of the sizes",
            _by_roots,
            "This multiplies λ_g by the root of the size of the group. λ_g is all of its weight here.",
        ),
    ),
    hint="0 has to be in x − w + (subgradients of all penalties at x). Which step changes the direction of a group, and"
    " which does not?",
    package="pruning.penalties.families.sparse_groups, pruning.penalties.group_lasso.shrink_one_after_the_other",
)
