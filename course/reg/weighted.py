"""Ridge with a weight for each sample (reg.1).

The objective is a parabola in beta: its values at 0, e_j and e_i + e_j, in exact fractions, determine it, and so the
bottom is found to the last digit without calculus and without a matrix product.
"""

from fractions import Fraction

import numpy as np

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed
from pruning.ledger.regression import _solved_in_fractions


def _integers(rng: np.random.Generator) -> Inputs:
    X = np.array([[2.0, 1.0], [-1.0, 3.0], [1.0, -2.0]])
    return {"X": X, "y": np.array([4.0, -2.0, 3.0]), "v": np.array([1.0, 3.0, 2.0]), "lam": 0.5}


def _samples(n: int = 0, p: int = 0) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        p_ = p or int(rng.integers(2, 5))
        n_ = n or p_ + int(rng.integers(2, 6))
        v = rng.permuted(np.geomspace(0.2, 4, n_) if n_ > 1 else rng.uniform(2, 4, 1))
        y = signed(rng, 0.5, 2, n_)
        return {"X": signed(rng, 0.3, 2, (n_, p_)), "y": y, "v": v, "lam": float(rng.uniform(0.1, 0.4))}

    return draw


def _nearly_dependent(rng: np.random.Generator) -> Inputs:
    # Singular values from 1 to 1e-7, and y in the span: a formula with cond(X)^2 has two digits left, a fit nine.  Once
    # in some hundred draws rounding is kind to it, and then another one is made.
    while True:
        U, V = (np.linalg.qr(rng.standard_normal((size, 4)))[0] for size in (10, 4))
        X = 10 * (U * np.geomspace(1, 1e-7, 4)) @ V.T
        y, v = X @ signed(rng, 0.5, 1.5, 4), rng.permuted(np.linspace(0.5, 2, 10))
        beta = _fit(X, y, v, 0.0)
        rounded = [np.linalg.norm(form(X, y, v, 0.0) - beta) for form in (_inverted, _solved)]
        if min(rounded) > 1e-3 * np.linalg.norm(beta):
            return {"X": X, "y": y, "v": v, "lam": 0.0}


def _by_values(X: Array, y: Array, v: Array, lam: float) -> Array:
    rows = [[Fraction(float(value)) for value in row] for row in X]
    target, weights = [Fraction(float(value)) for value in y], [Fraction(float(value)) for value in v]
    n, p = X.shape

    def objective(*moved: int) -> Fraction:
        beta = [Fraction(moved.count(j)) for j in range(p)]
        errors = [t - sum(x * b for x, b in zip(row, beta)) for t, row in zip(target, rows)]
        return sum((w * e * e for w, e in zip(weights, errors)), Fraction(0)) / (2 * n) + Fraction(lam) * sum(
            b * b for b in beta
        )

    zero, one = objective(), [objective(j) for j in range(p)]
    curvature = [[objective(i, j) - one[i] - one[j] + zero for j in range(p)] for i in range(p)]
    slope = [one[j] - zero - curvature[j][j] / 2 for j in range(p)]
    return -np.array([float(value) for value in _solved_in_fractions(curvature, slope)])


def _fit(X: Array, y: Array, v: Array, ridge: float) -> Array:
    # min sum v r^2 + ridge ||beta||^2 as one least-squares fit, accurate where the columns are nearly dependent.
    p, s = X.shape[1], np.sqrt(v)
    above, below = np.vstack([s[:, None] * X, np.sqrt(ridge) * np.eye(p)]), np.append(s * y, np.zeros(p))
    return np.linalg.lstsq(above, below, rcond=None)[0]


def _one_side(X: Array, y: Array, v: Array, lam: float) -> Array:
    return np.linalg.lstsq(X.T @ X + 2 * len(y) * lam * np.eye(X.shape[1]), X.T @ (v * y), rcond=None)[0]


def _system(X: Array, y: Array, v: Array, lam: float) -> tuple[Array, Array]:
    return X.T @ (v[:, None] * X) + 2 * len(y) * lam * np.eye(X.shape[1]), X.T @ (v * y)


def _inverted(X: Array, y: Array, v: Array, lam: float) -> Array:
    A, b = _system(X, y, v, lam)
    return np.linalg.inv(A) @ b


def _solved(X: Array, y: Array, v: Array, lam: float) -> Array:
    return np.linalg.solve(*_system(X, y, v, lam))


DIGITS = (
    " Where columns are nearly dependent, this matrix has the square of their condition number, and twice as many"
    " digits are lost as need be."
)

RIDGE = Exercise(
    id="reg.1",
    function="ridge",
    outputs=("beta",),
    formula="(1/2n) Σ vᵢ rᵢ² + λ ‖β‖² is least where (XᵀVX + 2nλI) β = XᵀVy, V = diag(v): the least-squares fit of"
    " the rows √vᵢ xᵢ to √vᵢ yᵢ, and of √(2nλ) I to 0 below them",
    slide="S1, the two slides on ridge regression",
    ledger="S1-F8, S1-F2",
    section="notebook 04, sections 3 and 6",
    minutes=20,
    referee=_by_values,
    cases=(
        Case("three samples and two columns in whole numbers", 1, _integers, public=True),
        Case("fewer samples than columns", 1, _samples(3, 5), draws=2),
        Case("other sizes or a single sample", 1, lambda rng: _samples(*rng.choice([[0, 0], [1, 3]]))(rng), draws=4),
        Case("λ = 0 and nearly dependent columns", 1, _nearly_dependent, draws=2),
    ),
    wrong=(
        Wrong(
            "λ for 2nλ",
            lambda X, y, v, lam: _fit(X, y, v, lam),
            "This has λ where the derivative of this objective leaves another factor. It is the slide's form, which is"
            " for ‖y − Xβ‖² + λ‖β‖², without 1/2n (S1-F8).",
        ),
        Wrong(
            "nλ for 2nλ",
            lambda X, y, v, lam: _fit(X, y, v, len(y) * lam),
            "This is right for a penalty with a half, (λ/2)‖β‖². Here it is λ‖β‖²: differentiate both terms (S1-F8).",
        ),
        Wrong(
            "Σv for n",
            lambda X, y, v, lam: _fit(X, y, v, 2 * float(np.sum(v)) * lam),
            "This divides by the sum of the weights. The objective has 1/2n, and n is the number of samples whatever"
            " they weigh.",
        ),
        Wrong(
            "weights forgotten",
            lambda X, y, v, lam: _fit(X, y, np.ones(len(y)), 2 * len(y) * lam),
            "This is ridge with all weights 1, as textbook.ridge has it. Here every sample has a weight vᵢ.",
        ),
        Wrong(
            "weights squared",
            lambda X, y, v, lam: _fit(X, y, v * v, 2 * len(y) * lam),
            "This has vᵢ² for vᵢ. The weight stands in front of the square of the residual, not under it: what do the"
            " rows have to be multiplied with?",
        ),
        Wrong(
            "weights on one side",
            _one_side,
            "This has the weights on the right side, XᵀVy, and not in the matrix. They weigh the whole residual"
            " y − Xβ.",
        ),
        Wrong(
            "the inverse",
            _inverted,
            "This is the inverse of XᵀVX + 2nλI times XᵀVy." + DIGITS,
        ),
        Wrong(
            "the normal equations",
            _solved,
            "This solves (XᵀVX + 2nλI) β = XᵀVy as it stands." + DIGITS,
        ),
    ),
    hint="A weight of 2 does the same as a sample that is there twice, if n stays what it was.",
    package="textbook.ridge",
)  # fmt: skip
