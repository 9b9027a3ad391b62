"""Least squares and ridge, and the differences that the lecture starts from."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np

import textbook
from pruning.ledger.core import Claim, Form, Formula, Measured, Statement, relative

Fit: TypeAlias = tuple[np.ndarray, float]
Fits: TypeAlias = tuple[np.ndarray, np.ndarray]


def _draw_constant(rng: np.random.Generator) -> dict[str, np.ndarray]:
    X = rng.standard_normal((11, 3)) + rng.uniform(1, 3, 3)
    return {"X": X, "y": 2 + X @ rng.uniform(0.5, 2, 3) + 0.1 * rng.standard_normal(11)}


def _with_constant(X: np.ndarray, y: np.ndarray) -> Fit:
    fit = textbook.least_squares(X, y, intercept=True)
    return fit.beta, fit.intercept


def _column_of_ones(X: np.ndarray, y: np.ndarray) -> Fit:
    beta = np.linalg.pinv(np.column_stack([X, np.ones(len(y))])) @ y
    return beta[:-1], float(beta[-1])


def _through_zero(X: np.ndarray, y: np.ndarray) -> Fit:
    return np.linalg.pinv(X) @ y, 0.0


def _only_y_centred(X: np.ndarray, y: np.ndarray) -> Fit:
    return np.linalg.pinv(X) @ (y - y.mean()), float(y.mean())


def _constant_is_the_mean(X: np.ndarray, y: np.ndarray) -> Fit:
    return _column_of_ones(X, y)[0], float(y.mean())


def _reshaped(X: np.ndarray, y: np.ndarray) -> Fit:
    return _column_of_ones(X.T.reshape(X.shape), y)


def _solved_in_fractions(A: list[list[Fraction]], b: list[Fraction]) -> list[Fraction]:
    """Solve A x = b by Gauss and Jordan's elimination, without rounding."""
    rows = [[*row, value] for row, value in zip(A, b)]
    for j, pivot in enumerate(rows):
        pivot[:] = [value / pivot[j] for value in pivot]
        for other in rows:
            if other is not pivot:
                other[:] = [value - other[j] * lead for value, lead in zip(other, pivot)]
    return [row[-1] for row in rows]


def _dot(a: list[Fraction], b: list[Fraction]) -> Fraction:
    return sum((u * v for u, v in zip(a, b)), Fraction(0))


def _exactly(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The slide's formula in fractions; for n < p the smallest of all solutions, X^T (X X^T)^{-1} y."""
    rows, target = [[Fraction(float(value)) for value in row] for row in X], [Fraction(float(value)) for value in y]
    columns = [list(column) for column in zip(*rows)]
    if len(rows) < len(columns):
        weights = _solved_in_fractions([[_dot(a, b) for b in rows] for a in rows], target)
        return np.array([float(_dot(column, weights)) for column in columns])
    gram, q = [[_dot(a, b) for b in columns] for a in columns], [_dot(a, target) for a in columns]
    return np.array([float(value) for value in _solved_in_fractions(gram, q)])


def _draw_conditioned(rng: np.random.Generator, n: int, p: int, cond: float) -> tuple[np.ndarray, np.ndarray]:
    """Return an X (n, p) with this condition number, its columns in different units, and y = X times ones."""
    k = min(n, p)
    U, V = (np.linalg.qr(rng.standard_normal((size, k)))[0] for size in (n, p))
    X = 20 * (U * np.logspace(0, -np.log10(cond), k)) @ V.T
    return X, X @ np.ones(p)


def _normal_equations(X: np.ndarray, y: np.ndarray) -> np.ndarray:
    try:
        beta: np.ndarray = textbook.normal_equations(X, y)
    except ValueError:  # X^T X is singular to the last digit
        return np.full(X.shape[1], np.inf)
    return beta


def _least_squares(rng: np.random.Generator) -> Iterator[Measured]:
    for n, p, cond in ((9, 4, 1e2), (9, 4, 1e8), (4, 7, 1e1)) * 3:
        X, y = _draw_conditioned(rng, n, p, cond)
        exact = _exactly(X, y)
        yield Measured(f"{n} x {p}, cond {cond:.0e}", relative(textbook.least_squares(X, y).beta, exact) / cond)
        normal = relative(_normal_equations(X, y), exact) / cond
        if cond == 1e8:
            message = "X^T X has the square of the condition number: twice as many digits are lost."
            yield Measured("normal equations, cond 1e8", normal, wrong=True, message=message)
        if n < p:
            message = "With fewer samples than coefficients X^T X has no inverse: what comes out is rounding."
            yield Measured("normal equations, n < p", normal, wrong=True, message=message)
            first = np.append(np.linalg.solve(X[:, :n], y), np.zeros(p - n))
            message = "It fits as well, but of all solutions the smallest is meant, and that uses every column."
            yield Measured("first n columns, n < p", relative(first, exact) / cond, wrong=True, message=message)


def _sensitivity(rng: np.random.Generator) -> Iterator[Measured]:
    A, b, x = rng.standard_normal((5, 5)), rng.standard_normal(5), rng.standard_normal(5)

    def f(x: np.ndarray) -> float:
        return float(x @ A @ x / 2 + b @ x)

    slope, curvature, steps = (A + A.T) @ x / 2 + b, np.diag(A), rng.uniform(0.2, 0.5, 5)
    ours = textbook.local_sensitivity(f, x, steps)
    yield Measured("slope + step/2 curvature", relative(ours, slope + steps / 2 * curvature))
    yield Measured("mean of +step and -step", relative((ours + textbook.local_sensitivity(f, x, -steps)) / 2, slope))
    together = (f(x + steps) - f(x)) / steps
    path = [f(x + steps * (np.arange(5) <= i)) for i in range(-1, 5)]
    for name, S, message in (
        ("all moved together", together, "Then every quotient holds the change that the others have made too."),
        (
            "not moved back",
            np.diff(path) / steps,
            "A parameter returns to its nominal value before the next one moves.",
        ),
        ("not divided", ours * steps, "Without the division it is a change of f, and depends on the unit of x."),
    ):
        yield Measured(name, relative(S, slope + steps / 2 * curvature), wrong=True, message=message)
    for name, step, message in (
        ("slope, step 0.01", 0.01, "The quotient is the slope in the middle of the step: the error is of first order."),
        ("slope, step 1e-12", 1e-12, "The rounding of f is divided by the step: below 1e-8 the error grows again."),
    ):
        yield Measured(name, relative(textbook.local_sensitivity(f, x, step), slope), wrong=True, message=message)


def _draw_ridge(rng: np.random.Generator) -> dict[str, Any]:
    tall, wide = rng.standard_normal((13, 5)), rng.standard_normal((5, 11))
    return {"tall": tall, "y": rng.standard_normal(13), "wide": wide, "z": rng.standard_normal(5), "lam": 4.0}


def _ridge(tall: np.ndarray, y: np.ndarray, wide: np.ndarray, z: np.ndarray, lam: float) -> Fits:
    return textbook.ridge(tall, y, lam / (2 * len(y))).beta, textbook.ridge(wide, z, lam / (2 * len(z))).beta


def _rows_below(X: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
    # ||y - X beta||^2 + lam ||beta||^2 is the square of one residual, that of (X; root(lam) I) and (y; 0).
    p = X.shape[1]
    return np.linalg.pinv(np.vstack([X, np.sqrt(lam) * np.eye(p)])) @ np.append(y, np.zeros(p))


def _both(solve: Callable[[np.ndarray, np.ndarray, float], np.ndarray]) -> Callable[..., Fits]:
    def form(tall: np.ndarray, y: np.ndarray, wide: np.ndarray, z: np.ndarray, lam: float) -> Fits:
        return solve(tall, y, lam), solve(wide, z, lam)

    return form


def _gradient_by_torch(tall: np.ndarray, y: np.ndarray, wide: np.ndarray, z: np.ndarray, lam: float) -> Fits:
    """Newton's step from zero with autograd's gradient and Hessian: of a parabola it ends at the minimum."""
    import torch

    def solve(X: np.ndarray, y: np.ndarray, lam: float) -> np.ndarray:
        A, b, zero = torch.from_numpy(X), torch.from_numpy(y), torch.zeros(X.shape[1], dtype=torch.float64)

        def objective(beta: Any) -> Any:
            return torch.sum((b - A @ beta) ** 2) + lam * torch.sum(beta**2)

        hessian, gradient = torch.func.hessian(objective)(zero), torch.func.grad(objective)(zero)
        return np.linalg.solve(hessian.numpy(), -gradient.numpy())

    return solve(tall, y, lam), solve(wide, z, lam)


STATEMENTS: tuple[Statement, ...] = (
    Formula(
        id="S1-F1",
        title="the model, and its constant",
        printed=r"y\approx X\beta,\qquad X=(x^{(1)},\dots,x^{(N)})^\top:\ N\text{ parameters}",
        verdict="slip",
        remark="The rows of X are N parameter vectors, one for each sample; a constant has to be asked for.",
        where="S1, Linear Regression",
        code="textbook.least_squares",
        notebook="04, section 1",
        draw=_draw_constant,
        right=_with_constant,
        referees=(Form("a column of ones, pseudo-inverse", _column_of_ones),),
        wrong=(
            Form("reshaped, not transposed", _reshaped, "The x^(i) are the rows of X: columns have to be transposed."),
            Form("no constant", _through_zero, "X beta alone goes through zero, and beta has to make up for it."),
            Form("only y centred", _only_y_centred, "The columns of X have means too, which then stay in the fit."),
            Form("constant = mean of y", _constant_is_the_mean, "It is mean of y less means of X times beta."),
        ),
    ),
    Claim(
        id="S1-F2",
        title="least squares",
        printed=r"\min_\beta\|y-X\beta\|_2^2\quad\to\quad\beta=(X^\top X)^{-1}X^\top y",
        verdict="right if",
        remark="X needs rank p, and even then the formula loses digits (errors are given per condition number of X).",
        where='S1, the slides before and after "Please prove"',
        code="textbook.least_squares, textbook.normal_equations",
        notebook="04, section 3",
        tolerance=1e-13,
        measure=_least_squares,
        referee="the formula in exact fractions",
    ),
    Claim(
        id="S1-F3",
        title="sensitivity to one parameter at a time",
        printed=r"S_i=\frac{f(x_1,\cdots,x_i+\Delta x_i,\cdots,x_K)-f(x_1,\cdots,x_K)}{\Delta x_i}",
        verdict="right",
        remark="It is no slope but a quotient: for a parabola the slope plus half the step times the curvature.",
        where="S1, the slide with the formula of S_i",
        code="textbook.local_sensitivity",
        notebook="04, section 2",
        measure=_sensitivity,
        referee="slope and curvature of a parabola",
    ),
    Formula(
        id="S1-F8",
        title="ridge, and its dual form for n < p",
        printed=r"\arg\min_\beta\|y-X\beta\|_2^2+\lambda\sum_{j=1}^p|\beta_j|^2\quad\to\quad"
        r"\beta=(X^\top X+\lambda I)^{-1}X^\top y",
        verdict="scale",
        remark="Right for this objective; with 1/2n in front of the squares the matrix is X^T X + 2 n lam I.",
        where="S1, the two slides on ridge regression",
        code="textbook.ridge",
        notebook="04, section 6",
        draw=_draw_ridge,
        right=_ridge,
        referees=(
            Form("p rows root(lam) I below X", _both(_rows_below)),
            Form("autograd's Newton step", _gradient_by_torch, needs="torch"),
        ),
        wrong=(
            Form("lam not converted", _both(lambda X, y, lam: _rows_below(X, y, 2 * len(y) * lam)),
                 "This lam belongs to the objective with 1/2n, where it weighs 2 n times as much."),
            Form("n lam for lam", _both(lambda X, y, lam: _rows_below(X, y, len(y) * lam)),
                 "That is the objective with 1/2n in front of the squares and lam/2 in front of the penalty."),
            Form("lam^2 for lam", _both(lambda X, y, lam: _rows_below(X, y, lam * lam)),
                 "The rows below X are root(lam) I: the sum of squares squares them once more."),
            Form("(1 + lam) divides", _both(lambda X, y, lam: np.linalg.pinv(X) @ y / (1 + lam)),
                 "Least squares divided by 1 + lam is ridge only where X^T X = I."),
        ),
    ),
)  # fmt: skip
