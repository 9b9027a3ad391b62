"""What is known without solving: the lam from which on nothing is left (cd.3), and how far off a beta is (cd.4).

The squares that are left, as a function of one coefficient, are a parabola: three values of it tell its slope and its
lowest value, and no derivative is taken.
"""

from collections.abc import Callable

import numpy as np

from course.cd.draws import apart, columns, one_of
from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed
from pruning.ledger.lasso import by_signs


# ---- cd.3: the smallest lam at which no penalised coefficient is left ------------------------------------------------
def _penalised(n: int, p: int, intercept: bool, free: int = 0) -> Draw:
    # `free` columns have the weight 0.
    def draw(rng: np.random.Generator) -> Inputs:
        X, w = columns(rng, n, p) + signed(rng, 0.5, 1, p), rng.choice([0.5, 1.5, 2.0, 3.0], p)
        y = X @ signed(rng, 0.5, 2, p) + rng.uniform(3, 6) + 0.5 * rng.standard_normal(n)
        w[rng.permutation(p)[:free]] = 0
        inputs = {"X": np.round(X, 1), "y": np.round(y, 1), "w": w, "intercept": intercept}
        if _largest(modulus=lambda c: c)(**inputs) == _largest()(**inputs):
            inputs["y"] = -inputs["y"]  # the steepest slope is that of a column that correlates negatively
        return inputs

    return apart(draw, lambda: LARGEST)


def _from_parabolas(X: Array, y: Array, w: Array, intercept: bool) -> float:
    free = X[:, w == 0] if not intercept else np.column_stack([np.ones(len(y)), X[:, w == 0]])

    def left(b: float, x: Array) -> float:
        rest = y - b * x
        if free.shape[1]:
            rest = rest - free @ np.linalg.lstsq(free, rest, rcond=None)[0]
        return float(rest @ rest) / (2 * len(y))

    slopes = [(left(1.0, x) - left(-1.0, x)) / 2 for x in X.T]
    return max(abs(slope) / weight for slope, weight in zip(slopes, w) if weight > 0)


def _largest(
    modulus: Callable[[Array], Array] = np.abs,
    constant: bool = True,
    free: bool = True,
    weigh: Callable[[Array, Array], Array] = lambda c, w: c / w,
    factor: Callable[[int], float] = lambda n: 1 / n,
    at_least: float = 0.0,
) -> Callable[..., float]:
    # The right form is that of the defaults: project on what is free, then the largest |c_j| / w_j of the others.
    def form(X: Array, y: Array, w: Array, intercept: bool) -> float:
        w = np.maximum(w, at_least)
        F = X[:, (w == 0) & free]
        if intercept and constant:
            F = np.column_stack([np.ones(len(y)), F])
        r = y - F @ np.linalg.lstsq(F, y, rcond=None)[0] if F.shape[1] else y
        c = X[:, w > 0].T @ r * factor(len(y))
        return float(np.max(weigh(modulus(c), w[w > 0])))

    return form


def _one_after_the_other(X: Array, y: Array, w: Array, intercept: bool) -> float:
    return _largest()(X, y - np.mean(y), w, False) if intercept else _largest()(X, y, w, False)


LARGEST = Exercise(
    id="cd.3",
    function="lambda_max",
    outputs=("lam",),
    formula="r = y minus its least-squares fit by the unpenalised columns and the constant;"
    "  λ_max = max over wⱼ > 0 of |xⱼᵀr| / (n wⱼ)",
    slide="S1, l1 penalty (Lasso)",
    ledger="S1-F10, C3",
    section="notebook 05, sections 3.1, 4 and 7",
    minutes=25,
    referee=_from_parabolas,
    cases=(
        Case("weights without a constant", 1, _penalised(5, 3, False), public=True),
        Case("weights and a constant", 1, _penalised(9, 5, True), draws=3),
        Case("columns that cost nothing", 1, _penalised(10, 6, False, free=2), draws=2),
        Case("columns that cost nothing and a constant", 1, _penalised(10, 6, True, free=2), draws=2),
    ),
    wrong=(
        Wrong(
            "factor 2",
            _largest(factor=lambda n: 2 / n),
            "This is twice the right value. It holds for squares without the half in front (S1-F10).",
        ),
        Wrong(
            "no 1/n",
            _largest(factor=lambda n: 1.0),
            "This is n times the right value. It holds for ½ Σ r², without the mean over the samples (C3).",
        ),
        Wrong(
            "factor 2, no 1/n",
            _largest(factor=lambda n: 2.0),
            "This is λ_max of Σ r² + λ Σ |β|, as the slide on the lasso has it. Here the squares have 1/2n in front of"
            " them (S1-F10).",
        ),
        Wrong(
            "not centred",
            _largest(constant=False),
            "This lacks the constant. With intercept=True it is fitted at every λ, and takes its part of y.",
        ),
        Wrong(
            "weights ignored",
            _largest(weigh=lambda c, w: c),
            "This has no weights, as textbook.lasso_lambda_max. Column j is held at zero by λ wⱼ.",
        ),
        Wrong(
            "times the weight",
            _largest(weigh=lambda c, w: c * w),
            "This multiplies with the weights. A column with a large weight is held at zero by a smaller λ.",
        ),
        Wrong(
            "no modulus",
            _largest(modulus=lambda c: c),
            "This has xᵀr without the modulus. A column that correlates negatively enters as well (S1-F10).",
        ),
        Wrong(
            "free columns not fitted",
            _largest(free=False),
            "This leaves the columns with wⱼ = 0 out of the model. They are in it at every λ, and the others see what"
            " they leave of y.",
        ),
        Wrong(
            "free columns penalised",
            _largest(at_least=1.0),
            "This treats a weight below 1 as 1, so that columns that cost nothing are penalised.",
        ),
        Wrong(
            "constant first, then the columns",
            _one_after_the_other,
            "This takes the mean off y, and then fits the columns with wⱼ = 0 as they are. The constant and these"
            " columns are not orthogonal: they have to be fitted together.",
        ),
    ),
    hint="At λ_max only the unpenalised part of the model is there, at its best. How steep are the squares then?",
    package="textbook.lasso_lambda_max, textbook.group_lasso_lambda_max",
)


# ---- cd.4: the duality gap of the elastic net ------------------------------------------------------------------------
def _anywhere(n: int, p: int) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        X, beta = columns(rng, n, p), signed(rng, 0.5, 2, p) * rng.permuted(np.arange(p) < max(2, p // 2))
        y = X @ signed(rng, 0.3, 1, p) + 0.5 * rng.standard_normal(n)
        lam = float(rng.uniform(0.1, 0.5) * np.abs(X.T @ y).max() / n)
        return {"X": X, "y": y, "beta": beta, "lam": lam, "mu": float(rng.uniform(0.2, 1))}

    return draw


def _at_zero(rng: np.random.Generator) -> Inputs:
    # beta = 0, where it is no minimum or where it is one with room to spare.
    inputs = dict(_anywhere(8, 6)(rng))
    most = float(np.abs(inputs["X"].T @ inputs["y"]).max()) / 8
    return {**inputs, "beta": np.zeros(6), "lam": most * float(rng.choice([0.4, 2.5]))}


def _too_strong(rng: np.random.Generator) -> Inputs:
    # The residual lies inside of the box, although beta is not zero.
    inputs = dict(_anywhere(8, 4)(rng))
    c = inputs["X"].T @ (inputs["y"] - inputs["X"] @ inputs["beta"]) / 8 - inputs["mu"] * inputs["beta"]
    return {**inputs, "lam": float(rng.uniform(1.5, 3) * np.abs(c).max())}


def _minimum_of_one_decimal(rng: np.random.Generator) -> Inputs:
    # Columns of 1 and -1 that are orthogonal, and mu = 1: beta = S(z, lam) / 2 with X^T y / n = z.
    X = np.array([[1.0, 1, 1, 1], [1, -1, 1, -1], [1, 1, -1, -1]]).T
    beta = np.round(signed(rng, 0.3, 2, 3), 1) * rng.permutation([1.0, 1.0, 0.0]) + 0.0
    z = 2 * beta + np.where(beta == 0, 0.2, 0.5 * np.sign(beta))
    return {"X": X, "y": X @ z, "beta": beta, "lam": 0.5, "mu": 1.0}


def _near_the_minimum(rng: np.random.Generator) -> Inputs:
    # More columns than rows.  A coefficient of the minimum is moved towards 0: that takes the residual out of the box.
    inputs = dict(_anywhere(4, 6)(rng))
    A, b = _augmented(inputs["X"], inputs["y"], inputs["mu"])
    beta = by_signs(A, b, inputs["lam"], 1 / 8)
    beta[int(np.argmax(np.abs(beta)))] *= 0.8
    return {**inputs, "beta": beta}


def _apart(draw: Draw) -> Draw:
    return apart(draw, lambda: GAP)


def _augmented(X: Array, y: Array, mu: float) -> tuple[Array, Array]:
    n, p = X.shape
    return np.vstack([X, np.sqrt(n * mu) * np.eye(p)]), np.append(y, np.zeros(p))


def _lowest(y: Array, nu: Array, n: int) -> float:
    # min over z of (1/2n) ||y - z||^2 + nu^T z / n: a parabola in each z_i, known from its values at -1, 0 and 1.
    below, here, above = ((y - z) ** 2 / (2 * n) + nu * z / n for z in (-1.0, 0.0, 1.0))
    slope, curvature = (above - below) / 2, above - 2 * here + below
    return float(np.sum(here - slope**2 / (2 * curvature)))


def _by_the_definition(X: Array, y: Array, beta: Array, lam: float, mu: float) -> float:
    n = len(y)
    A, b = _augmented(X, y, mu)
    r, low, high = b - A @ beta, 0.0, 2.0
    for _ in range(60):  # the largest share of r that lies in the box, if it is not all of it
        s = (low + high) / 2
        low, high = (s, high) if np.abs(A.T @ (s * r)).max() <= n * lam else (low, s)
    objective = float(np.sum((y - X @ beta) ** 2)) / (2 * n) + sum(lam * abs(v) + mu * v * v / 2 for v in beta)
    gap = objective - _lowest(b, min(low, 1.0) * r, n)
    return gap if gap > 1e-12 * objective else 0.0


def _gap(
    share: Callable[[float, float, int], float] = lambda c, lam, n: min(1.0, lam / c),
    squares: Callable[[int], float] = lambda n: 1 / (2 * n),
    ridge: float = 1.0,
    dual: bool = True,
    sign: float = 1.0,
) -> Callable[..., float]:
    # The right form is that of the defaults.  `ridge`: factor of mu b^2 / 2; `dual`: the dual knows mu.
    def form(X: Array, y: Array, beta: Array, lam: float, mu: float) -> float:
        n = len(y)
        A, b = _augmented(X, y, mu if dual else 0.0)
        r = b - A @ beta
        nu = share(float(np.abs(A.T @ r).max()) / n, lam, n) * r
        primal = squares(n) * np.sum((y - X @ beta) ** 2) + lam * np.sum(np.abs(beta)) + ridge * mu * beta @ beta / 2
        return float(primal - squares(n) * (b @ b - sign * np.sum((b - nu) ** 2)))

    return form


GAP = Exercise(
    id="cd.4",
    function="duality_gap",
    outputs=("gap",),
    formula="c = Xᵀr/n − μβ,  s = min(1, λ / maxⱼ|cⱼ|),  gap = (1 − s)² (‖r‖²/n + μ‖β‖²) / 2 + Σ (λ|βⱼ| − s βⱼcⱼ)",
    slide="S1, Coordinate descent (when to stop)",
    ledger="",
    section="notebook 05, section 4; notebook 05b, section 6",
    minutes=40,
    referee=_by_the_definition,
    cases=(
        Case("at the minimum where it is 0", 1, _minimum_of_one_decimal, public=True),
        Case("far from the minimum and at zero", 2, _apart(one_of(_anywhere(9, 4), _at_zero)), draws=6),
        Case("near the minimum with more columns than rows", 1, _apart(_near_the_minimum), draws=2),
        Case("the residual lies in the box", 1, _apart(_too_strong), draws=2),
    ),
    wrong=(
        Wrong(
            "residual not scaled",
            _gap(share=lambda c, lam, n: 1.0),
            "This takes the residual itself as the dual point. Where it is outside of the box it bounds nothing, and"
            " the difference may even be negative.",
        ),
        Wrong(
            "scaled onto the box",
            _gap(share=lambda c, lam, n: lam / c),
            "This stretches the residual up to the box where it lies inside. At the minimum the residual itself is the"
            " dual point; scale down only.",
        ),
        Wrong(
            "n forgotten in the box",
            _gap(share=lambda c, lam, n: min(1.0, lam / (n * c))),
            "This asks for |xᵀν| ≤ λ. The squares have 1/2n in front of them, and the box is |xᵀν| ≤ nλ.",
        ),
        Wrong(
            "n forgotten in the squares",
            _gap(squares=lambda n: 0.5),
            "This has ½ in front of the squares of both objectives. Here it is 1/2n.",
        ),
        Wrong(
            "half forgotten in the squares",
            _gap(squares=lambda n: 1 / n),
            "This has 1/n in front of the squares of both objectives. Here it is 1/2n.",
        ),
        Wrong(
            "lasso",
            _gap(ridge=0.0, dual=False),
            "This is the gap of the lasso, as textbook.lasso_gap has it. The penalty with μ is in neither of its two"
            " objectives.",
        ),
        Wrong(
            "dual of the lasso",
            _gap(dual=False),
            "This compares the elastic net with the dual objective of the lasso. That is below the minimum, but does"
            " not come up to it: the gap is not zero at the minimum.",
        ),
        Wrong(
            "mu only in the dual",
            _gap(ridge=0.0),
            "This lacks μβ²/2 in the objective that is minimised.",
        ),
        Wrong(
            "mu without the half",
            _gap(ridge=2.0),
            "This has μβ² in the objective that is minimised. It is μβ²/2.",
        ),
        Wrong(
            "sign in the dual",
            _gap(sign=-1.0),
            "This adds ‖y − ν‖² in the dual objective. It is (‖y‖² − ‖y − ν‖²) / 2n.",
        ),
    ),
    hint="Try the β that coordinate descent ends at: the gap is zero there, and positive everywhere else.",
    package="textbook.lasso_gap",
)
