"""What a solver returns: the coefficients, and the evidence that they are a solution."""

from dataclasses import dataclass

from nn.backend import Array


@dataclass(frozen=True, eq=False)
class Solution:
    """Coefficients of (1/2n) ||y - X beta - intercept||^2 + lam penalty(beta), with their certificates.

    Attributes
    ----------
    beta : (p,) coefficients; those that are not chosen are exactly zero.
    objective : value at beta.
    gap : duality gap, an upper bound of objective - minimum, in the objective's units.
    kkt : largest violation of the optimality conditions, in the units of lam.
    n_iter : iterations of the solver (its docstring says of what).
    lam : weight of the penalty.
    intercept : 0 unless it was asked for.
    """

    beta: Array
    objective: float
    gap: float
    kkt: float
    n_iter: int
    lam: float
    intercept: float = 0.0


@dataclass(frozen=True, eq=False)
class SolutionPath:
    """The lasso's solutions at L values of lam, from the largest to the smallest.

    Attributes
    ----------
    beta : (p, L), one solution a column.
    lam, gap, kkt : (L,), as in `Solution`.
    intercept : (L,), zeros unless asked for.
    """

    beta: Array
    lam: Array
    gap: Array
    kkt: Array
    intercept: Array
