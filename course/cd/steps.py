"""One step of coordinate descent on the elastic net (cd.1), and one sweep of steps (cd.2).

The referee knows no threshold: it looks closer and closer at where the slope of the objective, in one coefficient,
changes its sign.
"""

from collections.abc import Callable

import numpy as np

from course.cd.draws import apart, columns, one_of, soft
from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed

Step = Callable[..., float]
Pair = tuple[Array, Array]


# ---- cd.1: one coefficient -------------------------------------------------------------------------------------------
def _residual(n: int, p: int, unit: bool = False, deleted: bool = False) -> Draw:
    # `unit`: entries 1 and -1, so that a_j = 1, and numbers of one decimal; `deleted`: lam is too large for beta_j.
    def draw(rng: np.random.Generator) -> Inputs:
        z = 0.0
        while abs(z) < 1:
            X = rng.choice([-1.0, 1.0], (n, p)) if unit else columns(rng, n, p)
            beta, r, j = np.round(signed(rng, 0.5, 2, p), 1), np.round(2 * rng.standard_normal(n), 1), rng.integers(p)
            z = float(X[:, j] @ (r + X[:, j] * beta[j])) / n
        share = rng.uniform(1.2, 1.6) if deleted else rng.uniform(0.2, 0.7)
        lam, mu = round(abs(z) * float(share), 1), round(float(rng.uniform(0.3, 2)), 1)
        return {"X": X, "r": r, "beta": beta, "j": int(j), "lam": lam, "mu": mu}

    return apart(draw, lambda: STEP)


def _zero_column(rng: np.random.Generator) -> Inputs:
    inputs = dict(_residual(7, 3)(rng))
    X = inputs["X"].copy()
    X[:, inputs["j"]] = 0
    return {**inputs, "X": X, "mu": 0.0}


def _by_slopes(X: Array, r: Array, beta: Array, j: int, lam: float, mu: float) -> float:
    x, n = X[:, j], len(r)
    rest = r + x * beta[j]
    low, high = -1e3, 1e3
    for _ in range(10):
        b = np.linspace(low, high, 101)
        slope = -(x @ (rest[:, None] - np.outer(x, b))) / n + lam * np.sign(b) + mu * b
        k = int(np.clip(np.sum(slope < 0), 1, 100))
        low, high = b[k - 1], b[k]
    return 0.0 if abs(low) < 1e-14 else float(low)


def _form(
    z: Callable[..., float] = lambda xr, a, b, n: xr / n + a * b,
    threshold: Callable[..., float] = lambda lam, a, mu: lam,
    curvature: Callable[..., float] = lambda a, mu: a + mu,
    guarded: bool = True,
) -> Step:
    # The right step is that of the defaults; each wrong form changes one of them.
    def form(X: Array, r: Array, beta: Array, j: int, lam: float, mu: float) -> float:
        x, n = X[:, j], len(r)
        a = x @ x / n
        if a == 0 and guarded:
            return 0.0
        return soft(z(x @ r, a, beta[j], n), threshold(lam, a, mu)) / curvature(a, mu)

    return form


def _index_as_printed(X: Array, r: Array, beta: Array, j: int, lam: float, mu: float) -> float:
    y, others = r + X @ beta, np.sum(beta) - beta[j]
    return RIGHT(X, y - X[:, j] * (others + beta[j]), beta, j, lam, mu)


def _left_alone(X: Array, r: Array, beta: Array, j: int, lam: float, mu: float) -> float:
    return RIGHT(X, r, beta, j, lam, mu) if X[:, j].any() else float(beta[j])


RIGHT = _form()

STEP = Exercise(
    id="cd.1",
    function="coordinate_step",
    outputs=("b",),
    formula="aⱼ = xⱼᵀxⱼ / n,  zⱼ = xⱼᵀr / n + aⱼβⱼ,  βⱼ ← S(zⱼ, λ) / (aⱼ + μ), and 0 where xⱼ = 0",
    slide="S1, Coordinate descent",
    ledger="S1-F15, S1-F16, S1-F17",
    section="notebook 05, sections 1 and 2; notebook 05b, section 6",
    minutes=25,
    referee=_by_slopes,
    cases=(
        Case("a column of mean square 1", 1, _residual(4, 3, unit=True), public=True),
        Case(
            "other lengths and deleted coefficients",
            3,
            one_of(_residual(9, 4), _residual(9, 4), _residual(8, 3, deleted=True)),
            draws=10,
        ),
        Case("a column of zeros", 1, _zero_column, draws=2),
    ),
    wrong=(
        Wrong(
            "mean square taken for 1",
            _form(z=lambda xr, a, b, n: xr / n + b, curvature=lambda a, mu: 1 + mu),
            "This is the step as the slide prints it, with μ in the denominator. It holds for columns with"
            " xᵀx = n; here a = xᵀx / n is another number (S1-F17).",
        ),
        Wrong(
            "divided before the threshold",
            _form(threshold=lambda lam, a, mu: lam * (a + mu)),
            "This divides z by the curvature first, and applies the threshold λ then. The threshold belongs to z,"
            " before the division.",
        ),
        Wrong(
            "own term left out",
            _form(z=lambda xr, a, b, n: xr / n),
            "This has z = xᵀr / n. r is what is left with the old βⱼ in the model, and the part of βⱼ has to come back"
            " before it is fitted anew (S1-F15).",
        ),
        Wrong(
            "own term without the mean square",
            _form(z=lambda xr, a, b, n: xr / n + b),
            "This has z = xᵀr / n + βⱼ. If xᵀx is not n, the part of βⱼ comes back with another factor (S1-F17).",
        ),
        Wrong(
            "x_ij beta_k for x_ik beta_k",
            _index_as_printed,
            "This is the slip of the index as printed: the other coefficients enter with the entries of column j"
            " instead of their own (S1-F15).",
        ),
        Wrong(
            "1/(2n) in z",
            _form(z=lambda xr, a, b, n: xr / (2 * n) + a * b),
            "This has xᵀr / 2n in z. The slope of (1/2n) Σ r² has no 2: the half takes it away.",
        ),
        Wrong(
            "threshold 2 lam",
            _form(threshold=lambda lam, a, mu: 2 * lam, curvature=lambda a, mu: a + 2 * mu),
            "This is right for squares with 1/4n in front of them. The slope of (1/2n) Σ r² has no half any more.",
        ),
        Wrong(
            "lasso",
            _form(curvature=lambda a, mu: a),
            "This is the step of the lasso, as textbook.lasso_coordinate_descent has it. The term with μ is missing.",
        ),
        Wrong(
            "2 mu",
            _form(curvature=lambda a, mu: a + 2 * mu),
            "This is right for a penalty μ b². Here it is μ b² / 2, whose slope is μ b.",
        ),
        Wrong(
            "shrunk by 1 + mu afterwards",
            _form(curvature=lambda a, mu: a * (1 + mu)),
            "This is the lasso's step divided by 1 + μ. That is right where xᵀx = n: else the two curvatures add up to"
            " another number.",
        ),
        Wrong(
            "no threshold",
            _form(threshold=lambda lam, a, mu: 0.0),
            "This is the step of ridge, without a threshold: no coefficient becomes zero.",
        ),
        Wrong(
            "column of zeros left alone",
            _left_alone,
            "This leaves the coefficient of a column of zeros as it was. It serves no fit and costs its penalty.",
        ),
        Wrong(
            "0 / 0",
            _form(guarded=False),
            "This divides by zero where the column is zero and μ = 0.",
        ),
    ),
    hint="Write the objective as a function of the one number b, and collect what multiplies b and b².",
    package="textbook.lasso_coordinate_descent",
)


# ---- cd.2: all of them, one after the other --------------------------------------------------------------------------
def _start(n: int, p: int, integers: bool = False, dead: int = 0) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        X, beta = columns(rng, n, p), signed(rng, 0.5, 2, p) * rng.permuted(np.arange(p) < max(2, p // 2))
        X[:, rng.permutation(p)[:dead]] = 0
        if integers:
            X, beta = rng.integers(-2, 3, (n, p)).astype(float), np.round(beta, 1)
        y = np.round(X @ signed(rng, 0.5, 2, p) + 0.5 * rng.standard_normal(n), 1)
        lam = round(0.2 * float(np.abs(X.T @ y).max()) / n + 0.1, 1)
        return {"X": X, "y": y, "beta": beta, "lam": lam, "mu": round(float(rng.uniform(0.3, 1)), 1)}

    return apart(draw, lambda: SWEEP)


def _one_by_one(X: Array, y: Array, beta: Array, lam: float, mu: float) -> Pair:
    for j in range(len(beta)):
        beta[j] = _by_slopes(X, y - X @ beta, beta, j, lam, mu)
    return beta, y - X @ beta


def _sweep(
    step: Step = RIGHT,
    order: int = 1,
    update: Callable[[float, float], float] = lambda new, old: new - old,
    start: float = 1.0,
    after: Callable[[Array, Array], Array] = lambda r, right: r,
) -> Callable[..., Pair]:
    # `update` is what is taken off the residual, times x_j; `start` = 0 forgets beta at first; `after` is returned.
    def form(X: Array, y: Array, beta: Array, lam: float, mu: float) -> Pair:
        r = y - start * (X @ beta)
        for j in range(len(beta))[::order]:
            new = step(X, r, beta, j, lam, mu)
            r = r - update(new, beta[j]) * X[:, j]
            beta[j] = new
        return beta, after(r, y - X @ beta)

    return form


def _old_residual_returned(X: Array, y: Array, beta: Array, lam: float, mu: float) -> Pair:
    return _sweep()(X, y, beta.copy(), lam, mu)[0], y - X @ beta


SWEEP = Exercise(
    id="cd.2",
    function="sweep",
    outputs=("beta", "r"),
    formula="for j = 0 … p − 1:  βⱼ ← b of cd.1 with the newest r;  r ← r − (βⱼ new − βⱼ old) xⱼ",
    slide="S1, Coordinate descent, the algorithm",
    ledger="S1-F17",
    section="notebook 05, sections 2 and 6",
    minutes=30,
    referee=_one_by_one,
    cases=(
        Case("two columns", 1, _start(4, 2, integers=True), public=True),
        Case("correlated columns", 2, _start(10, 4), draws=3),
        Case("more columns than rows", 1, _start(5, 9), draws=2),
        Case("one row and a column of zeros", 1, _start(1, 4, dead=1), draws=2),
    ),
    wrong=(
        Wrong(
            "Jacobi",
            _sweep(update=lambda new, old: 0.0, after=lambda r, right: right),
            "This computes all steps from the residual of the beginning, and the residual anew at the end. That is"
            " Jacobi's method. Each step has to see what the steps before it have changed (S1-F17).",
        ),
        Wrong(
            "residual not updated",
            _sweep(update=lambda new, old: 0.0),
            "This leaves the residual as it was at the beginning, and returns it. All coefficients then correct the"
            " same error (S1-F17).",
        ),
        Wrong(
            "order reversed",
            _sweep(order=-1),
            "This begins with the last column. The sweep goes from the first one to the last.",
        ),
        Wrong(
            "whole value taken off",
            _sweep(update=lambda new, old: new),
            "This takes βⱼ new times xⱼ off the residual. The part of the old βⱼ is taken off already: the difference"
            " counts (S1-F17).",
        ),
        Wrong(
            "residual moves the wrong way",
            _sweep(update=lambda new, old: old - new),
            "This moves the residual the wrong way: r = y − Xβ falls by xⱼ where βⱼ grows by 1.",
        ),
        Wrong(
            "starts from zero",
            _sweep(start=0.0),
            "This begins with r = y, as if β were zero. It need not be: the residual is y − Xβ.",
        ),
        Wrong(
            "residual of the beginning",
            _old_residual_returned,
            "This has the right β and returns the residual of the beginning.",
        ),
        Wrong(
            "lasso",
            _sweep(step=_form(curvature=lambda a, mu: a)),
            "This is a sweep of the lasso, as textbook.lasso_coordinate_descent has it. The term with μ is missing.",
        ),
        Wrong(
            "mean squares taken for 1",
            _sweep(step=_form(z=lambda xr, a, b, n: xr / n + b, curvature=lambda a, mu: 1 + mu)),
            "This is the loop as the slide prints it, for columns with xᵀx = n (S1-F17).",
        ),
    ),
    hint="After every step, and so after the sweep, r is y − Xβ with the β of that moment.",
    package="textbook.lasso_coordinate_descent",
)
