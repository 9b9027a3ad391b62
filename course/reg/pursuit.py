"""Orthogonal matching pursuit with a constant (reg.5): the referee fits every column to what is left.

Draws are repeated until every choice is clear: a right answer does not hang on rounding.  Where a column occurs twice,
all numbers are small multiples of 1/64, so that the two are equal to the last digit and the first is taken.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from scipy.linalg import hadamard

from course.spec import Array, Case, Exercise, Inputs, Wrong

Fit = tuple[Array, float]
CLEAR = 0.02
"""By so much, relative, a choice has to be better than the next one, and a wrong answer different from the right."""


# ---- the referee -----------------------------------------------------------------------------------------------------
def with_constant(X: Array, y: Array, columns: Sequence[int]) -> Fit:
    """Return the least-squares fit of a constant and these columns, by the pseudo-inverse with a column of ones."""
    columns = sorted(set(columns))
    found = np.linalg.pinv(np.column_stack([np.ones(len(y)), X[:, columns]])) @ y
    beta = np.zeros(X.shape[1])
    beta[columns] = found[1:]
    return beta, float(found[0])


def _error(X: Array, y: Array, fit: Fit) -> float:
    return float(np.sum((y - X @ fit[0] - fit[1]) ** 2))


def _alone(X: Array, r: Array) -> Array:
    """Return the squared error that each column leaves when it alone, and a constant, is fitted to r."""
    pairs = np.stack([np.ones_like(X.T), X.T], axis=2)  # (p, n, 2)
    fits = np.linalg.pinv(pairs) @ r
    return np.sum((r - np.einsum("pnc,pc->pn", pairs, fits)) ** 2, axis=1)


def _steps(X: Array, y: Array, k: int) -> Iterator[tuple[Fit, Array]]:
    """Yield the fit after every step, and the errors that its choice was made from."""
    kept: list[int] = []
    fit = with_constant(X, y, kept)
    scale = _error(X, y, fit)
    for _ in range(k):
        if _error(X, y, fit) <= 1e-20 * scale:
            break
        left = _alone(X, y - X @ fit[0] - fit[1])
        kept.append(int(np.flatnonzero(left <= left.min() + 1e-10 * scale)[0]))
        fit = with_constant(X, y, kept)
        yield fit, left


def _step_by_step(X: Array, y: Array, k: int) -> Fit:
    return list(_steps(X, y, k))[-1][0]


def _clear(X: Array, y: Array, k: int) -> bool:
    # At every step the best column beats all that are not the same one.
    for _, left in _steps(X, y, k):
        total, best = float(left.max()), float(left.min())
        if np.any((left > best + 1e-9 * total) & (left < best + CLEAR * total)):
            return False
    return True


# ---- wrong forms -----------------------------------------------------------------------------------------------------
def _pursuit(
    norm: str = "centred", refit: str = "always", constant: bool = True, stop: bool = True, guard: bool = True
) -> Callable[..., Fit]:
    # norm: of the centred columns, of those as given, or none; refit: always, at the end, or never.
    def form(X: Array, y: Array, k: int) -> Fit:
        Z, target = (X - X.mean(axis=0), y - y.mean()) if constant else (X, y)
        size = {"centred": np.linalg.norm(Z, axis=0), "given": np.linalg.norm(X, axis=0), "none": np.ones(X.shape[1])}
        divisor = np.where((size[norm] > 0) | (not guard), size[norm], np.inf)
        kept: list[int] = []
        beta, r = np.zeros(X.shape[1]), target
        for _ in range(k):
            if stop and np.linalg.norm(r) <= 1e-9 * np.linalg.norm(target):
                break
            c = np.abs(Z.T @ r) / divisor
            if refit == "always":
                c[kept] = -1
            j = int(np.argmax(c))
            kept.append(j)
            if refit == "always":
                beta[kept] = np.linalg.lstsq(Z[:, kept], target, rcond=None)[0]
            else:
                beta[j] += Z[:, j] @ r / (Z[:, j] @ Z[:, j])
            r = target - Z @ beta
        if refit == "at the end":
            return with_constant(X, y, kept)
        return beta, float(np.mean(y) - np.mean(X, axis=0) @ beta) if constant else 0.0

    return form


def _at_once(X: Array, y: Array, k: int) -> Fit:
    return with_constant(X, y, np.argsort(_alone(X, y), kind="stable")[:k].tolist())


def _largest(X: Array, y: Array, k: int) -> Fit:
    beta, _ = with_constant(X, y, range(X.shape[1]))
    return with_constant(X, y, np.argsort(-np.abs(beta), kind="stable")[:k].tolist())


def _mean_for_constant(X: Array, y: Array, k: int) -> Fit:
    return _step_by_step(X, y, k)[0], float(np.mean(y))


def _normalised(X: Array, y: Array, k: int) -> Fit:
    beta, constant = _step_by_step(X, y, k)
    return beta * np.linalg.norm(X - X.mean(axis=0), axis=0), constant


def _differ(X: Array, y: Array, k: int, forms: Sequence[Callable[..., Fit]]) -> bool:
    beta, constant = _step_by_step(X, y, k)
    found = [form(X, y, k) for form in forms]
    return all(
        np.linalg.norm(b - beta) > CLEAR * np.linalg.norm(beta) or abs(c - constant) > CLEAR * abs(constant)
        for b, c in found
    )


ALWAYS = (_pursuit(refit="never"), _mean_for_constant)
"""Wrong on every draw but those of whole numbers."""


# ---- draws -----------------------------------------------------------------------------------------------------------
def _orthogonal(rng: np.random.Generator) -> Inputs:
    # The column with the largest unit has the largest product with y, and explains less than two others.
    units = np.array([1.0, 3.0, 0.5, 2.0])
    X = hadamard(8)[:, [1, 2, 4, 7]] * units
    return {"X": X, "y": 2 + X @ (np.array([1.6, 0.9, -1.2, 0.4]) / units), "k": 2}


def _correlated(rng: np.random.Generator, n: int, p: int, mean: float) -> tuple[Array, Array]:
    X = rng.standard_normal((n, p)) + rng.standard_normal((n, p)) @ rng.standard_normal((p, p))
    X = X / X.std(axis=0) + mean * rng.standard_normal(p)
    y = rng.uniform(2, 4) + X @ rng.standard_normal(p) + 0.5 * rng.standard_normal(n)
    return X * rng.permutation(np.geomspace(0.2, 5, p)), y


def _units(rng: np.random.Generator) -> Inputs:
    n, p, k = int(rng.integers(11, 15)), int(rng.integers(6, 8)), 3
    while True:
        X, y = _correlated(rng, n, p, mean=3)
        wrong = [_pursuit(norm="none"), _pursuit(norm="given"), _pursuit(constant=False), _at_once, _largest]
        if _clear(X, y, k) and _differ(X, y, k, [*ALWAYS, *wrong]):
            return {"X": X, "y": y, "k": k}


def _taken_again(rng: np.random.Generator) -> Inputs:
    # Without a refit the first column would be taken once more.
    n, p, k = 12, 5, 3
    while True:
        X, y = _correlated(rng, n, p, mean=0.5)
        if _clear(X, y, k) and _differ(X, y, k, [*ALWAYS, _pursuit(refit="at the end")]):
            return {"X": X, "y": y, "k": k}


def _constant_column(rng: np.random.Generator) -> Inputs:
    # A power of two, sixteen times: without its mean it is zero, to the last digit.
    while True:
        X, y = _correlated(rng, 16, 5, mean=1)
        X[:, rng.integers(5)] = rng.choice([0.5, 1, 2])
        if _clear(X, y, 2) and _differ(X, y, 2, ALWAYS):
            return {"X": X, "y": y, "k": 2}


def _twice(rng: np.random.Generator) -> Inputs:
    # All numbers are multiples of 1/2 and n is 16: means and products are exact, and the two columns really tie.
    while True:
        X = rng.integers(-3, 4, (16, 4)).astype(float)
        first, second = np.sort(rng.choice(4, 2, replace=False))
        X[:, first] = X[:, second] = rng.permuted(np.repeat([-2.0, 2.0], 8))
        other = int(np.flatnonzero(~np.isin(np.arange(4), [first, second]))[0])
        y = float(rng.choice([-5, 5])) + rng.choice([-4, 4]) * X[:, first] + rng.choice([-1.5, 1.5]) * X[:, other]
        if 0.25 < abs(np.corrcoef(X[:, first], X[:, other])[0, 1]) < 0.5 and _clear(X, y, 4):
            return {"X": X, "y": y, "k": 4}


OMP = Exercise(
    id="reg.5",
    function="omp",
    outputs=("beta", "constant"),
    formula="with centred columns zⱼ:  j = argmax |zⱼᵀr| / ‖zⱼ‖, then the least-squares fit of a constant and all"
    " columns chosen so far, r = y − Xβ − b; k times",
    slide="S1, the slide with L0 and OMP",
    ledger="S1-F7, S1-F1",
    section="notebook 04, section 5",
    minutes=35,
    referee=_step_by_step,
    cases=(
        Case("orthogonal columns", 1, _orthogonal, public=True),
        Case("columns with means and in other units", 1, _units, draws=3),
        Case("correlated columns", 1, _taken_again, draws=2),
        Case("a constant column", 1, _constant_column, draws=2),
        Case("a column that is there twice in a fit without error", 1, _twice, draws=2),
    ),
    wrong=(
        Wrong(
            "not divided by the norm",
            _pursuit(norm="none"),
            "This takes the column with the largest |zⱼᵀr|. Then a column wins by its unit alone: how far does the"
            " error fall when this column is fitted to r (S1-F7)?",
        ),
        Wrong(
            "norm with the mean",
            _pursuit(norm="given"),
            "This divides by the norm of the column as it is given. Its mean belongs to the constant, which is always"
            " in the fit: only what the column adds to that counts.",
        ),
        Wrong(
            "no refit",
            _pursuit(refit="never"),
            "This is matching pursuit: a chosen coefficient stays as it is. Orthogonal means that all chosen ones are"
            " fitted again, so that r is orthogonal to their columns (S1-F7).",
        ),
        Wrong(
            "refit at the end",
            _pursuit(refit="at the end"),
            "This fits the chosen columns together at the end only. Until then r is not orthogonal to them: another"
            " column is chosen, or one a second time (S1-F7).",
        ),
        Wrong(
            "k at once",
            _at_once,
            "This takes the k columns that fit y best each alone. The second column has to explain what the first one"
            " has left (S1-F7).",
        ),
        Wrong(
            "largest of least squares",
            _largest,
            "This keeps the k largest coefficients of the full fit. They depend on the units, and on all the others"
            " that then go.",
        ),
        Wrong(
            "no constant",
            _pursuit(constant=False),
            "This is the fit through zero, as textbook.orthogonal_matching_pursuit has it. Here a constant is in the"
            " fit from the start.",
        ),
        Wrong(
            "constant is the mean of y",
            _mean_for_constant,
            "This returns the mean of y as the constant. The chosen columns have means too: Xβ + b is to have the mean"
            " of y.",
        ),
        Wrong(
            "coefficients of normalised columns",
            _normalised,
            "These are the coefficients of columns of length 1. The support is right; return to the columns as given.",
        ),
        Wrong(
            "goes on when nothing is left",
            _pursuit(stop=False),
            "This goes on after a fit without error. It then chooses by rounding, and a column that is there twice"
            " shares its coefficient with its copy.",
        ),
        Wrong(
            "0/0 wins",
            _pursuit(guard=False),
            "This divides by the norm of a constant column, which is zero without its mean: 0/0 is nan, and np.argmax"
            " takes nan for the largest.",
        ),
    ),
    hint="A constant in the fit does the same as taking the means of y and of all columns away first.",
    package="textbook.orthogonal_matching_pursuit",
)
