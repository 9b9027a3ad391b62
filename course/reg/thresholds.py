"""One weight at a time: the elastic net (reg.2), and penalties that jump (reg.3).

The referees look for the bottom of each function of one variable: where its slope changes sign, by bisection, and
whether it is lower there than at zero.
"""

from collections.abc import Callable

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed
from pruning.ledger.thresholds import (
    _half_by_smaller_root,
    _half_jumps_too_early,
    _half_keeps_w,
    _half_without_jump,
    _soft,
)

Pointwise = Callable[[float, float], float]


# ---- reg.2: every weight has a lam and a mu of its own ---------------------------------------------------------------
def _five(rng: np.random.Generator) -> Inputs:
    w = np.array([3.0, -2.0, 0.5, -4.0, 1.5])
    return {"w": w, "lam": np.array([1.0, 0.5, 1.0, 2.0, 0.0]), "mu": np.array([1.0, 0.5, 2.0, 0.0, 3.0])}


def _weights(lam: tuple[float, float], mu: tuple[float, float], scale: float = 1.0) -> Draw:
    # Two in three outside the threshold, one inside.
    def draw(rng: np.random.Generator) -> Inputs:
        size = 3 * int(rng.integers(2, 5))
        lams, mus = rng.uniform(*lam, size), rng.uniform(*mu, size)
        w = np.where(np.arange(size) % 3 < 2, signed(rng, 0.3, 2, size) * 1.0, 0)
        w = w + np.sign(w) * lams + np.where(w == 0, lams * rng.uniform(-0.9, 0.9, size), 0)
        return {"w": scale * w, "lam": scale * lams, "mu": mus}

    return draw


def _edges(rng: np.random.Generator) -> Inputs:
    # Weights at their threshold to the last digit, zeros, and two that are not zero in the end.
    lam, mu = rng.uniform(0.4, 2, 7), rng.uniform(0.5, 2, 7)
    w = lam * np.array([1, -1, 0, 1, -1, rng.uniform(2, 3), -rng.uniform(2, 3)])
    return {"w": w, "lam": lam, "mu": mu}


def _some_without(rng: np.random.Generator) -> Inputs:
    inputs = dict(_weights((0.4, 1), (0.5, 2))(rng))
    none = np.arange(len(inputs["w"])) % 4
    return inputs | {"lam": inputs["lam"] * (none % 2 > 0), "mu": inputs["mu"] * (none < 2)}


def _where_the_slope_turns(w: Array, lam: Array, mu: Array) -> Array:
    low, high = -np.abs(w) - 1, np.abs(w) + 1
    for _ in range(100):
        x = (low + high) / 2
        rises = x - w + lam * np.sign(x) + mu * x > 0
        low, high = np.where(rises, low, x), np.where(rises, x, high)
    return (low + high) / 2


ELASTIC = Exercise(
    id="reg.2",
    function="prox_elastic",
    outputs=("x",),
    formula="½(x − w)² + λ|x| + ½μx² is least at x = S(w, λ) / (1 + μ), S(w, λ) = sign(w) max(|w| − λ, 0)",
    slide='S1, "Provide closed-form solution to single variable Lasso problem"',
    ledger="S1-F13",
    section="notebook 04, section 8",
    minutes=20,
    referee=_where_the_slope_turns,
    cases=(
        Case("five weights", 1, _five, public=True),
        Case("other λ and μ", 1, _weights((0.4, 1.5), (0.3, 2)), draws=3),
        Case("w = ±λ and w = 0", 1, _edges, draws=2),
        Case("some λ and some μ are zero", 1, _some_without, draws=2),
    ),
    wrong=(
        Wrong(
            "shrunk first",
            lambda w, lam, mu: _soft(w / (1 + mu), lam),
            "This is S(w/(1 + μ), λ): it divides before it subtracts. Collect the terms in x, and see what 1 + μ"
            " divides.",
        ),
        Wrong(
            "λ/2",
            lambda w, lam, mu: _soft(w, lam / 2) / (1 + mu),
            "This has the threshold λ/2, which belongs to (x − w)² without the half (S1-F13).",
        ),
        Wrong(
            "hard threshold",
            lambda w, lam, mu: np.where(np.abs(w) > lam, w, 0) / (1 + mu),
            "This keeps the whole of w where it is not zero. The slope of λ|x| is λ however large x is: what stays is"
            " pulled as well.",
        ),
        Wrong(
            "lost minus sign",
            lambda w, lam, mu: np.where(w > lam, w * lam, np.where(w < -lam, w + lam, 0)) / (1 + mu),
            "This has ωλ: the text of the slide has lost a minus sign (S1-F13). Solve the slope for x > 0 yourself.",
        ),
        Wrong(
            "μ forgotten",
            lambda w, lam, mu: _soft(w, lam),
            "This is the solution of the lasso, as textbook.soft_threshold has it. Here a square ½μx² pulls as well.",
        ),
        Wrong(
            "1 + 2μ",
            lambda w, lam, mu: _soft(w, lam) / (1 + 2 * mu),
            "This is right for μx² without the half. Differentiate ½μx².",
        ),
        Wrong(
            "sign forgotten",
            lambda w, lam, mu: np.abs(_soft(w, lam)) / (1 + mu),
            "This has lost the sign of w: a negative w has a negative minimiser.",
        ),
        Wrong(
            "w − λ on both sides",
            lambda w, lam, mu: np.where(np.abs(w) > lam, w - lam, 0) / (1 + mu),
            "This subtracts λ on both sides. For x < 0 the penalty pulls upwards: its slope has the other sign there.",
        ),
    ),
    hint="Set the slope to zero for x > 0 and for x < 0; where neither is possible, x = 0.",
    package="textbook.soft_threshold",
)


# ---- reg.3: every weight has a curvature of its own ------------------------------------------------------------------
def _around_one_jump(rng: np.random.Generator) -> Inputs:
    return {"w": np.array([1.3, 1.7, -1.3, -1.7, 0.4, -5.0]), "h": np.ones(6), "lam": 1.0, "p": 0.5}


def _around(p: float) -> Draw:
    # The jump is where keeping and deleting cost the same; near it the wrong thresholds decide otherwise.
    def draw(rng: np.random.Generator) -> Inputs:
        near = rng.permuted(np.array([0.8, 0.85, 0.9, 0.97, 0.99, 1.01, 1.03, 1.1, 1.2, 1.4, 2.0, 4.0]))
        lam, price = float(rng.uniform(0.3, 2)), rng.uniform(0.2, 1.1, 12)
        jump = np.sqrt(2 * price) if p == 0 else 1.5 * price ** (2 / 3)
        return {"w": signed(rng, 1, 1, 12) * jump * near, "h": lam / price, "lam": lam, "p": p}

    return draw


def _scales(rng: np.random.Generator) -> Inputs:
    inputs = dict(_around(float(rng.choice([0, 0.5])))(rng))
    size = 10.0 ** rng.choice([-3, 3])
    cheap = np.arange(12) % 4 == 0  # these are zeros
    w = np.where(cheap, 0, inputs["w"]) * np.sqrt(size) if inputs["p"] == 0 else np.where(cheap, 0, inputs["w"])
    h = inputs["h"] if inputs["p"] == 0 else inputs["h"] * size
    return inputs | {"w": w, "h": h, "lam": inputs["lam"] * size}


def _lowest(w: Array, h: Array, lam: float, p: float) -> Array:
    return np.array([np.sign(a) * _lowest_of_one(abs(float(a)), float(b), lam, p) for a, b in zip(w, h)])


def _lowest_of_one(w: float, h: float, lam: float, p: float) -> float:
    def cost(x: float) -> float:
        return h / 2 * (x - w) ** 2 + lam * (float(x != 0) if p == 0 else x**p)

    if w == 0:
        return 0.0
    x = w  # p = 0: the price is the same for all x but 0, so that w is the best of them
    if p:
        # Downwards from w the slope is positive until the bottom: the first place where it is negative brackets it.
        grid = np.linspace(w, 0, 4000, endpoint=False)
        falls = np.flatnonzero(h * (grid - w) + lam * p * grid ** (p - 1) < 0)
        if not len(falls):
            return 0.0
        low, high = float(grid[falls[0]]), float(grid[falls[0] - 1])
        for _ in range(100):
            x = (low + high) / 2
            low, high = (low, x) if h * (x - w) + lam * p * x ** (p - 1) > 0 else (x, high)
    return x if cost(x) < cost(0.0) else 0.0


def _each(half: Pointwise, hard: Pointwise) -> Callable[..., Array]:
    # A form for each power, as a function of w and of lam / h, the price where the curvature is 1.
    def form(w: Array, h: Array, lam: float, p: float) -> Array:
        one = hard if p == 0 else half
        return np.array([one(float(a), lam / float(b)) for a, b in zip(w, h)])

    return form


def _of_ledger(form: Callable[[Array, float], Array]) -> Pointwise:
    return lambda w, price: float(form(np.array([w]), price)[0])


def _half(w: float, price: float) -> float:
    return float(np.sign(w)) * _lowest_of_one(abs(w), 1.0, price, 0.5)


def _hard(w: float, price: float) -> float:
    return w if w * w / 2 > price else 0.0


def _half_beyond(threshold: Callable[[float], float]) -> Pointwise:
    def form(w: float, price: float) -> float:
        if abs(w) <= threshold(price):
            return 0.0
        roots = np.roots([1, 0, -abs(w), price / 2])  # of the slope in the root of x
        found = [float(r.real) for r in roots if abs(r.imag) < 1e-9 and r.real > 0]
        return float(np.sign(w)) * max(found, default=0.0) ** 2

    return form


def _price(change: Callable[[Array, float], Array]) -> Callable[..., Array]:
    # Right for another curvature: change(h, lam).
    return lambda w, h, lam, p: _lowest(w, change(h, lam), lam, p)


def _jump_of_root(price: float) -> float:
    return float(1.5 * np.cbrt(price) ** 2)


JUMP = Exercise(
    id="reg.3",
    function="prox_root",
    outputs=("x",),
    formula="½h(x − w)² + λ|x|^p:  for p = 0 x = w where ½hw² > λ, else 0;  for p = ½, with κ = λ/h, x = 0 up to"
    " |w| = (3/2) κ^(2/3), beyond it |x| = t² with the largest root of t³ − |w|t + κ/2 = 0: a jump to κ^(2/3)",
    slide='S1, "Can we introduce a more sparse regularization term?"',
    ledger="S1-F12",
    section="notebook 04, section 8",
    minutes=25,
    referee=_lowest,
    cases=(
        Case("the root on both sides of the jump where h = 1", 1, _around_one_jump, public=True),
        Case("the count (p = 0) near the jump and far from it", 1, _around(0), draws=2),
        Case("the root (p = 1/2) near the jump and far from it", 1, _around(0.5), draws=2),
        Case("very small and very large λ with zeros in w", 1, _scales, draws=3),
    ),
    wrong=(
        Wrong(
            "threshold λ/h",
            _each(_half_beyond(lambda price: price), lambda w, price: w if abs(w) > price else 0.0),
            "This has the threshold λ/h, that of |x|. Compare the cost of the best x ≠ 0 with that of x = 0 (S1-F12).",
        ),
        Wrong(
            "no jump",
            _each(_of_ledger(_half_without_jump), _of_ledger(lambda w, price: _soft(w, float(np.sqrt(2 * price))))),
            "This is continuous at the threshold, like a soft threshold. These penalties are not convex: at the"
            " threshold there are two minimisers, 0 and another one (S1-F12).",
        ),
        Wrong(
            "smaller root",
            _each(_of_ledger(_half_by_smaller_root), _hard),
            "This is the smaller positive root of the cubic, for p = ½: a maximum between the two minima (S1-F12).",
        ),
        Wrong(
            "where a root appears",
            _each(_of_ledger(_half_jumps_too_early), _hard),
            "This jumps for p = ½ as soon as the slope has a zero at all. There the minimum is only local: x = 0 is"
            " still lower (S1-F12).",
        ),
        Wrong(
            "w kept whole",
            _each(_of_ledger(_half_keeps_w), _hard),
            "This keeps w as it is for p = ½. Where x is not zero, it is still pulled by the slope of the root.",
        ),
        Wrong(
            "h forgotten",
            _price(lambda h, lam: np.ones_like(h)),
            "This is right for h = 1, as textbook.half_threshold and textbook.hard_threshold have it. Here a mistake"
            " in x costs ½h times its square.",
        ),
        Wrong(
            "λh for λ/h",
            _price(lambda h, lam: 1 / h),
            "This has the curvature on the wrong side: a large h makes a mistake dear, and keeps more weights.",
        ),
        Wrong(
            "no half",
            _price(lambda h, lam: 2 * h),
            "This is right for h(x − w)², without the half: the threshold is too small.",
        ),
        Wrong(
            "sign forgotten",
            lambda w, h, lam, p: np.abs(_lowest(w, h, lam, p)),
            "This has lost the sign of w: a negative w has a negative minimiser.",
        ),
    ),
    hint="For p = 1/2 put x = t². np.roots gives the three roots of the cubic; x = 0 is a candidate, too.",
    package="textbook.half_threshold, textbook.hard_threshold",
)
