"""Many groups: the sparse group lasso under a sign (group.3), and where the first group enters (group.4)."""

from collections.abc import Callable, Sequence

import numpy as np

from course.group.blocks import NOTHING, Draw
from course.spec import Array, Case, Exercise, Inputs, Wrong

Groups = Sequence[Array]


# ---- group.3: single coefficients, groups, groups of groups, and nothing below zero ----------------------------------
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
            "This takes half of μ before the groups and half after. That splits a flow; the nearest point is not found"
            " by it.",
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


# ---- group.4: where the first group enters ---------------------------------------------------------------------------
def _pair_and_single(rng: np.random.Generator) -> Inputs:
    X, y = rng.standard_normal((4, 3)), np.array([2.0, -1.0, 1.5, 0.5])
    return {"X": X, "y": y, "groups": [np.array([0, 2]), np.array([1])], "w": np.array([1.5, 0.8])}


def _sizes(sizes: Sequence[int], free: int, rank: int = 0) -> Draw:
    # The first groups are not penalised and explain most of y; rank: of all of their columns together.
    def draw(rng: np.random.Generator) -> Inputs:
        n, many = 15, sum(sizes[:free])
        U = rng.standard_normal((n, rank or many)) + 0.5
        U = U @ rng.standard_normal((rank, many)) if rank else U
        X = np.hstack([U, 0.5 * U[:, :1] + rng.standard_normal((n, sum(sizes[free:])))])
        y = U @ rng.uniform(1, 2, many) + rng.standard_normal(n)
        columns = rng.permutation(X.shape[1])
        places = np.split(np.argsort(columns), np.cumsum(sizes)[:-1])
        w = np.where(np.arange(len(sizes)) < free, 0, rng.uniform(0.5, 2, len(sizes)))
        order = rng.permutation(len(sizes))
        return {"X": X[:, columns], "y": y, "groups": [places[k] for k in order], "w": w[order]}

    return draw


def _apart(draw: Draw) -> Draw:
    # One number is soon near another one by chance: draw until every wrong form is equal or clearly off.
    def clearly(rng: np.random.Generator) -> Inputs:
        while True:
            inputs = draw(rng)
            with np.errstate(divide="ignore"):
                off = [abs(wrong.function(**inputs) / _entering()(**inputs) - 1) for wrong in LAMBDA_MAX.wrong]
            if not any(1e-12 < each < 1e-2 for each in off):
                return inputs

    return clearly


def _steepest(X: Array, y: Array, groups: Groups, w: Array) -> float:
    # At which lam does (1/2n) ||y - X b||^2 fall by no more than lam w_g a length, whatever the direction of b_g, with
    # the free groups at their best?  The slope of a parabola is a difference of two values, with a step of any size.
    free = np.concatenate([np.zeros(0, int), *(g for g, each in zip(groups, w) if each == 0)])

    def lowest(b: Array, g: Array) -> float:
        t = y - X[:, g] @ b
        t = t - X[:, free] @ np.linalg.lstsq(X[:, free], t, rcond=1e-10)[0] if len(free) else t
        return float(t @ t) / (2 * len(y))

    found = 0.0
    for g, each in zip(groups, w):
        if each > 0:
            falls = [(lowest(-e, g) - lowest(e, g)) / 2 for e in np.eye(len(g))]
            best = falls[0]
            for fall in falls[1:]:
                best = _best_between(best, fall)
            found = max(found, abs(best) / each)
    return found


def _best_between(a: float, b: float) -> float:
    # Of all directions in the plane of two that fall by a and by b: a search, and no root of a sum of squares.
    def along(angle: float) -> float:
        return a * float(np.cos(angle)) + b * float(np.sin(angle))

    best = max(np.linspace(0, 2 * np.pi, 13), key=along)
    low, high = best - 0.6, best + 0.6
    for _ in range(60):
        p, q = low + (high - low) / 3, high - (high - low) / 3
        low, high = (p, high) if along(p) < along(q) else (low, q)
    return along((low + high) / 2)


def _residual(X: Array, y: Array, groups: Groups, w: Array) -> Array:
    free = [X[:, g] for g, each in zip(groups, w) if each == 0]
    return y - np.hstack(free) @ np.linalg.lstsq(np.hstack(free), y, rcond=1e-10)[0] if free else y


def _entering(
    rest: Callable[..., Array] = _residual,
    length: Callable[[Array], float] = lambda c: float(np.linalg.norm(c)),
    weight: Callable[[float, int], float] = lambda w, p: w,
    scale: Callable[[int], float] = lambda n: n,
) -> Callable[..., float]:
    def form(X: Array, y: Array, groups: Groups, w: Array) -> float:
        r = rest(X, y, groups, w)
        values = [length(X[:, g].T @ r) / weight(each, len(g)) for g, each in zip(groups, w) if each > 0]
        return max(values) / scale(len(y))

    return form


def _divided(X: Array, y: Array, groups: Groups, w: Array) -> float:
    lengths = np.array([np.linalg.norm(X[:, g].T @ y) for g in groups])
    return float(np.max(lengths / w)) / len(y)


LAMBDA_MAX = Exercise(
    id="group.4",
    function="weighted_lambda_max",
    outputs=("lam",),
    formula="with r = y less its least-squares fit on the groups of w_g = 0: max over the others of ‖X_gᵀr‖ / (n w_g)",
    slide="S1, Group lasso (derived)",
    ledger="D9, S1-F18a",
    section="notebook 06, sections 3 and 7",
    minutes=25,
    referee=_steepest,
    cases=(
        Case("a pair and a single column", 1, _pair_and_single, public=True),
        Case("unequal sizes, and a group that is free", 2, _apart(_sizes([2, 1, 4, 3, 2], 1)), draws=3),
        Case(
            "two free groups whose columns depend on each other", 1, _apart(_sizes([2, 3, 4, 1, 3], 2, rank=3)), draws=2
        ),
    ),
    wrong=(
        Wrong(
            "roots of the sizes on top",
            _entering(weight=lambda w, p: w * p**0.5),
            "This multiplies w_g by the root of the size. w_g is all of the group's weight; the root may be in it"
            " already (D9).",
        ),
        Wrong(
            "largest single correlation",
            _entering(length=lambda c: float(np.max(np.abs(c)))),
            "This takes the largest correlation of a group, as the lasso does. All of them count, by their norm"
            " (S1-F18a).",
        ),
        Wrong(
            "no 1/n",
            _entering(scale=lambda n: 1.0),
            "This lacks the 1/n of the loss (1/2n)‖y − Xβ‖².",
        ),
        Wrong(
            "the slide's scale",
            _entering(scale=lambda n: n / 2),
            "This is twice too large: the slope of (1/2n)‖r‖² has no 2 left (S1-F18).",
        ),
        Wrong(
            "weights ignored",
            _entering(weight=lambda w, p: 1.0),
            "This does not divide by w_g. A heavy group enters later (D9).",
        ),
        Wrong(
            "free groups left out",
            _entering(rest=lambda X, y, groups, w: y),
            "This leaves the free groups out and correlates with y. They are fitted whatever λ is: the others only see"
            " what they leave.",
        ),
        Wrong(
            "only a constant taken off",
            _entering(rest=lambda X, y, groups, w: y - y.mean()),
            "This takes a constant off y. The free groups are to be fitted, and no constant is among them unless it is"
            " a column.",
        ),
        Wrong(
            "divided by zero",
            _divided,
            "This divides by w_g = 0, so that it is infinite. A free group is not waited for: asked for is the smallest"
            " λ at which all others are zero.",
        ),
    ),
    hint="At which β is the objective lowest if all penalised groups are zero? Write the zero condition there.",
    package="textbook.group_lasso_lambda_max",
)
