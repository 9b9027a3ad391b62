"""Where the first group enters, beside groups that are not penalised (group.4)."""

from collections.abc import Callable, Sequence

import numpy as np

from course.group.groups import Groups
from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong


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
