"""X and y as the exact solvers take them: in NumPy, in float64, centred if there is an intercept; and the way back.

`textbook.unit_problem` copies the data into units of their own.  Here they stay as they are unless their squares would
leave the floats: for a tall X two copies cost as much as the solution.
"""

from typing import Any

import numpy as np

from nn.backend import Array, to_numpy
from textbook.inputs import as_regression
from textbook.solution import Solution
from textbook.unit_problem import returned
from textbook.units import centred, leading_exponent, scaled

RANGE = 160  # data whose size is between 2^-160 and 2^160 keep their units
# Where columns differ by more than 1e150 in size squares of them leave the floats; the gap says what came of it.
BEYOND_FLOATS = np.errstate(over="ignore", divide="ignore", invalid="ignore")


class Data:
    """X 2^-i (n, p) and y 2^-j (n,), and their means.

    Parameters
    ----------
    X, y : of any library.
    intercept : whether they are centred; otherwise the means are zeros.

    Raises
    ------
    ValueError, TypeError
        As `as_regression`.
    """

    def __init__(self, X: Any, y: Any, intercept: bool = False) -> None:
        self.given, y = as_regression(X, y)
        self.X, self.x_mean, self.i = _prepared(self.given, intercept)
        self.y, self.y_mean, self.j = _prepared(y, intercept)

    def lam(self, given: Any) -> Any:
        """Return a lam, or an array of them, in these units."""
        return scaled(given, -self.i - self.j)

    def residual(self, beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return r = y - X beta and X^T r / n."""
        r = self.y - self.X @ beta
        return r, self.X.T @ r / len(r)

    def returned(self, beta: np.ndarray) -> tuple[Array, np.ndarray]:
        """Return beta as it goes back to the caller, and that again in these units: it may have been rounded.

        Raises
        ------
        ValueError
            If a coefficient is too large for the dtype of X.
        """
        result = returned(scaled(beta, self.j - self.i), self.given)
        return result, scaled(to_numpy(result).astype(np.float64), self.i - self.j)

    def intercept(self, beta: np.ndarray) -> Any:
        """Return the constant beside beta (p,), or beside each column of it, in the units of y."""
        return scaled(self.y_mean - self.x_mean @ beta, self.j)

    def solution(
        self, beta: Array, b: np.ndarray, certificates: tuple[float, float, float], n_iter: int, lam: float
    ) -> Solution:
        """Return what `returned` gave, with objective, gap and KKT violation of these units, and the lam given."""
        objective, gap, kkt = certificates
        return Solution(
            beta=beta,
            objective=float(scaled(objective, 2 * self.j)),
            gap=float(scaled(gap, 2 * self.j)),
            kkt=float(scaled(kkt, self.i + self.j)),
            n_iter=n_iter,
            lam=lam,
            intercept=float(self.intercept(b)),
        )


def _prepared(given: Array, intercept: bool) -> tuple[np.ndarray, np.ndarray, int]:
    """Return the array times 2^-k, its means, and k."""
    array = to_numpy(given).astype(np.float64, copy=False)
    with np.errstate(over="ignore", under="ignore"):
        size = float(np.linalg.norm(array))
    exponent = 0 if 2.0**-RANGE < size < 2.0**RANGE else leading_exponent(array)
    if exponent:
        array = scaled(array, -exponent)
    return (*centred(array), exponent) if intercept else (array, np.zeros(array.shape[1:]), exponent)
