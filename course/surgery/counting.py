"""Which filters stay (surg.1), and how many operations that saves (surg.4)."""

from collections.abc import Callable
from fractions import Fraction
from math import floor, prod
from typing import Any

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong

# ---- surg.1: kept ----------------------------------------------------------------------------------------------------
CUT = ((7, 0.3), (9, 0.5), (6, 0.4), (11, 0.4), (8, 0.4))
"""Filters and shares of which n (1 - p) is 4.9, 4.5, 3.6, 6.6 and 4.8: rounded up, one too many stays."""
DECIMALS = ((10, 0.8), (15, 0.8), (20, 0.8), (20, 0.9))
"""Whole numbers of filters that stay; in binary, n * (1 - p) lies below each of them, and above one."""


def _filters(sizes: tuple[tuple[int, float], ...], maps: int = 0, ties: bool = False) -> Draw:
    # What goes is loud where it does not count: the maps that are gone are read with weights in reverse order.
    def draw(rng: np.random.Generator) -> Inputs:
        n, p = sizes[rng.integers(len(sizes))]
        c = maps or int(rng.integers(4, 7))
        kept_in = np.sort(rng.permutation(c)[: max(2, c // 2)])
        level = 1 + rng.permutation(n)
        if ties:
            level = np.ones(n, dtype=np.int64)
        kernels = np.where(np.isin(np.arange(c), kept_in), level[:, None], 10 * (n + 1 - level[:, None]))
        W = rng.integers(8, 10, (n, c, 2, 2)) / 8 * kernels[:, :, None, None] * rng.choice([-1.0, 1.0], (n, c, 2, 2))
        s = 2.0 ** rng.integers(-2, 3, c)
        if ties:  # the same numbers in another order; which map a filter reads most does not matter to the sum
            W = np.abs(W[:1]) * rng.choice([-1.0, 1.0], W.shape)
            W[rng.permutation(n)[: n // 2]] *= 2
        s[kept_in[:2]] = 4.0, 0.25
        if not ties:  # the second map is read with weights that would change the order, were they not small there
            W[:, kept_in[1]] *= (n + 1 - level)[:, None, None]
        return {"W": W, "s": s, "kept_in": kept_in, "p": p}

    return draw


def _one_at_a_time(W: Array, s: Array, kept_in: Array, p: float) -> tuple[Array, Array]:
    # The sum is what a filter makes of inputs of these sizes, each with the sign of its weight.
    x = np.zeros(W.shape[1:])
    for c in kept_in:
        x[c] = s[c]
    scores = np.array([float(np.vdot(w, np.sign(w) * x)) for w in W])
    left = list(range(len(W)))
    goes = Fraction(str(p)) * len(W)
    while len(W) - len(left) < goes and len(left) > 1:  # until at least this many are gone
        left.remove(min(left, key=lambda j: (scores[j], -j)))
    return scores, np.array(left)


def _sums(W: Array, s: Array, kept_in: Array) -> Array:
    return np.sum(np.abs(W).sum(axis=(2, 3))[:, kept_in] * s[kept_in], axis=1)


def _number(n: int, p: float) -> int:
    return max(1, floor(n * (1 - Fraction(str(p)))))


def _kept_by(
    score: Callable[[Array, Array, Array], Array] = _sums,
    number: Callable[[int, float], int] = _number,
    order: Callable[[Array], Array] = lambda scores: np.argsort(-scores, kind="stable"),
) -> Callable[..., tuple[Array, Array]]:
    def form(W: Array, s: Array, kept_in: Array, p: float) -> tuple[Array, Array]:
        scores = score(W, s, kept_in)
        return scores, np.sort(order(scores)[: number(len(W), p)])

    return form


KEPT = Exercise(
    id="surg.1",
    function="kept",
    outputs=("scores", "indices"),
    formula="sⱼ = Σ over the maps c that are left of s_c Σ |w_jc|;  ⌊n (1 − p)⌋ filters stay, at least one",
    slide="S4, Determining which filters to prune; across multiple layers",
    ledger="S4-F5, S4-F7, S4-F11e",
    section="notebook 11b, section 3",
    minutes=20,
    referee=_one_at_a_time,
    cases=(
        Case("five filters", 1, _filters(((5, 0.5),), 3), public=True),
        Case("other sizes and other shares", 1, _filters(CUT), draws=3),
        Case("shares of which decimals are the point", 1, _filters(DECIMALS), draws=3),
        Case("equal scores", 1, _filters(((7, 0.3), (9, 0.4)), ties=True), draws=2),
    ),
    wrong=(
        Wrong(
            "sizes of the maps forgotten",
            _kept_by(lambda W, s, kept_in: np.abs(W[:, kept_in]).sum(axis=(1, 2, 3))),
            "This is the sum of absolute weights as Li et al. have it, which takes all input maps for equally large."
            " Here map c is up to s_c (S4-F5).",
        ),
        Wrong(
            "whole filters",
            _kept_by(lambda W, s, kept_in: _sums(W, s, np.arange(W.shape[1]))),
            "This is the independent choice: it counts kernels that read maps which are gone already (S4-F7).",
        ),
        Wrong(
            "the maps that are gone",
            _kept_by(lambda W, s, kept_in: _sums(W, s, np.setdiff1d(np.arange(W.shape[1]), kept_in))),
            "This sums over the maps that are gone. `kept_in` lists those that are left (S4-F7).",
        ),
        Wrong(
            "weights squared",
            _kept_by(lambda W, s, kept_in: np.sum((W * W).sum(axis=(2, 3))[:, kept_in] * s[kept_in], axis=1)),
            "This has the squares of the weights. The bound on what a filter makes is a sum of moduli (S4-F5).",
        ),
        Wrong(
            "no modulus",
            _kept_by(lambda W, s, kept_in: np.sum(W.sum(axis=(2, 3))[:, kept_in] * s[kept_in], axis=1)),
            "This adds up weights of both signs, which cancel. The bound takes the modulus of each weight (S4-F5).",
        ),
        Wrong(
            "rounded",
            _kept_by(number=lambda n, p: max(1, floor(n * (1 - Fraction(str(p))) + Fraction(1, 2)))),
            "This rounds n (1 − p) to the nearest number. The paper's table comes from rounding down (S4-F11e).",
        ),
        Wrong(
            "floor in binary",
            _kept_by(number=lambda n, p: max(1, floor(n * (1 - p)))),
            "This keeps one filter too few where n (1 − p) is a whole number: in binary, 1 − 0.9 is less than 0.1"
            " (S4-F11e).",
        ),
        Wrong(
            "the smallest stay",
            _kept_by(order=lambda scores: np.argsort(scores, kind="stable")),
            "This keeps the filters with the smallest scores. These are the ones that go (S4-F5).",
        ),
        Wrong(
            "ties to the last",
            _kept_by(order=lambda scores: np.lexsort((-np.arange(len(scores)), -scores))),
            "This keeps the last ones of equal filters. The rule of this exercise keeps the first.",
        ),
    ),
    hint="How large can the modulus of a filter's output be, if every pixel of map c lies between -s_c and s_c?",
    package="pruning.filters.greedy",
)


# ---- surg.4: saved ---------------------------------------------------------------------------------------------------
def _layers(alone: bool = False, small: bool = False) -> Draw:
    # Three numbers of maps, all different, and three sizes, each smaller than the one before.
    def draw(rng: np.random.Generator) -> Inputs:
        n = np.array([2, 4, 3]) if small else np.cumsum(rng.integers(1, 3, 3))[rng.permutation(3)] + 1
        k = rng.permutation([2, 3])
        h, w = (np.array([6, 4, 2]) + int(rng.integers(0, 2)) * np.array([3, 2, 1]) for _ in range(2))
        m, m2 = int(rng.integers(1, n[1])), 0 if alone else int(rng.integers(1, n[2]))
        return {"n": n, "k": k, "h": h, "w": w + np.array([2, 1, 1]), "m": m, "m2": m2}

    return draw


def _by_loops(n: Array, k: Array, h: Array, w: Array, m: int, m2: int) -> Array:
    # Every output pixel of every filter that is left, its terms counted: so many products, and one sum less.
    def operations(inputs: int, outputs: int, layer: int) -> int:
        total = 0
        for _ in np.ndindex(outputs, int(h[layer + 1]), int(w[layer + 1])):
            terms = prod((inputs, int(k[layer]), int(k[layer])))
            total += sum((terms, terms - 1)) if terms else 0
        return total

    before = [operations(int(n[i]), int(n[i + 1]), i) for i in (0, 1)]
    after = [operations(int(n[0]), int(n[1]) - m, 0), operations(int(n[1]) - m, int(n[2]) - m2, 1)]
    return np.array(before) - np.array(after)


def _terms(factor: int, less: int) -> Callable[..., int]:
    # Operations of a layer: factor * terms - less for every pixel.
    return lambda n_in, n_out, k, h, w: n_out * (factor * n_in * k * k - less) * h * w


PRODUCTS_AND_SUMS = _terms(2, 1)


def _saved_with(cost: Callable[..., int] = PRODUCTS_AND_SUMS, shift: int = 1) -> Callable[..., Array]:
    def form(n: Array, k: Array, h: Array, w: Array, m: int, m2: int) -> Array:
        sizes = [(k[i], h[i + shift], w[i + shift]) for i in (0, 1)]
        first = cost(n[0], n[1], *sizes[0]) - cost(n[0], n[1] - m, *sizes[0])
        return np.array([first, cost(n[1], n[2], *sizes[1]) - cost(n[1] - m, n[2] - m2, *sizes[1])])

    return form


def _second(formula: Callable[..., Any]) -> Callable[..., Array]:
    # The first layer as it is right, the second by this formula.
    def form(n: Array, k: Array, h: Array, w: Array, m: int, m2: int) -> Array:
        pixels = h[2] * w[2]
        first = _saved_with()(n, k, h, w, m, m2)[0]
        return np.array([first, formula(n, k[1] ** 2, m, m2) * pixels])

    return form


SAVED = Exercise(
    id="surg.4",
    function="saved",
    outputs=("saved",),
    formula="first: m (2 n₀ k² − 1) h₁ w₁;  next: [n₂ (2 n₁ k² − 1) − (n₂ − m₂) (2 (n₁ − m) k² − 1)] h₂ w₂",
    slide="S4, section 2, operations of a convolution",
    ledger="S4-F2, S4-F3, S4-F4",
    section="notebook 11, section 1",
    minutes=25,
    referee=_by_loops,
    cases=(
        Case("two small layers", 1, _layers(small=True), public=True),
        Case("filters of the first layer alone (m2 = 0)", 1, _layers(alone=True), draws=3),
        Case("filters of both layers", 2, _layers(), draws=3),
    ),
    wrong=(
        Wrong(
            "multiply-accumulates",
            _saved_with(_terms(1, 0)),
            "This counts multiply-accumulates, as the paper does. Here a product is one operation, and a sum is"
            " another (S4-F2).",
        ),
        Wrong(
            "as many sums as products",
            _saved_with(_terms(2, 0)),
            "This is twice the number of products. To add up K of them takes fewer than K sums.",
        ),
        Wrong(
            "savings added",
            _second(lambda n, q, m, m2: 2 * m * n[2] * q + m2 * (2 * n[1] * q - 1)),
            "This adds what the columns save and what the rows save. The kernels in both are counted twice (S4-F4).",
        ),
        Wrong(
            "sizes of the inputs",
            _saved_with(shift=0),
            "This has the sizes of the maps that a layer reads. A window is multiplied once for every pixel that"
            " comes out (S4-F2).",
        ),
        Wrong(
            "kernels stay",
            _second(lambda n, q, m, m2: m2 * (2 * n[1] * q - 1)),
            "This leaves the next layer the kernels that read the maps which are gone (S4-F4).",
        ),
        Wrong(
            "filters of the wrong layer",
            _second(lambda n, q, m, m2: 2 * m * n[1] * q + m2 * (2 * (n[1] - m) * q - 1)),
            "This has n of the first layer where each filter of the next layer loses one kernel a map (S4-F4).",
        ),
        Wrong(
            "kernel side not squared",
            lambda n, k, h, w, m, m2: _saved_with(lambda a, b, k, h, w: b * (2 * a * k - 1) * h * w)(n, k, h, w, m, m2),
            "This has k for k²: a kernel has k times k weights (S4-F2).",
        ),
    ),
    hint="Write down what both layers cost before and after, and subtract: nothing is counted twice then.",
    package="pruning.counts.count",
)
