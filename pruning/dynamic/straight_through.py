r"""The straight-through gradient of yes-or-no decisions, and how far it is from the true one, by enumeration.

    b_i = 1[s_i + e_i > 0],   e ~ N(0, 1),   P(b_i = 1) = Phi(s_i)

    exact:             d/ds_i E L(b) = phi(s_i) E[L(b_i = 1) - L(b_i = 0)]
    straight through:  E[dL/db_i (b) v1'(s_i + e_i)],   v1' = [|s| < log 11] 1.2 sigmoid(s) (1 - sigmoid(s))

The loss is smooth in b, and known between the decisions.  Both are sums over all 2^n patterns of decisions.

If L is linear in each single b_i, whatever it does with pairs of them, dL/db_i is that very difference: each entry is
exact up to a positive factor,  E v1'(s_i + e_i) / phi(s_i).  What else is off is due to d2L/db_i2: the difference of L
is its mean slope between 0 and 1, and dL/db_i the slope at one of the two ends.

Notes
-----
Bengio, Leonard, Courville 2013, Estimating or propagating gradients through stochastic neurons, arXiv:1308.3432, where
the estimator has its name from; v1 is that of Kaiser and Bengio 2018, arXiv:1801.09797.
"""

import math
from dataclasses import dataclass

import numpy as np

from nn.arguments import nonnegative, whole

KINK = math.log(11)
"""v1 = clip(1.2 sigmoid(s) - 0.1) is 0 below -KINK and 1 above KINK."""
NODES, WEIGHTS = np.polynomial.legendre.leggauss(60)


def patterns(n: int) -> np.ndarray:
    """Return all 2^n patterns of n decisions, as columns of zeros and ones (n, 2^n).

    Raises
    ------
    ValueError
        If n is not from 1 to 20: there are 2^n of them.
    """
    if whole(n, "number of decisions", 1) > 20:
        raise ValueError(f"expected at most 20 decisions, of which there are 2^20 patterns, got {n}")
    return np.array([[pattern >> i & 1 for pattern in range(2**n)] for i in range(n)], dtype=float)


def normal(s: np.ndarray) -> np.ndarray:
    """Return phi(s), the density of N(0, 1)."""
    return np.exp(-s * s / 2) / math.sqrt(2 * math.pi)


def probabilities(s: np.ndarray) -> np.ndarray:
    """Return P(b_i) of each decision in each pattern, (n, 2^n): Phi(s_i) where b_i = 1, else 1 - Phi(s_i).

    Parameters
    ----------
    s : (n,) saliencies.
    """
    opened = np.array([(1 + math.erf(each / math.sqrt(2))) / 2 for each in s])[:, None]
    b = patterns(len(s))
    return b * opened + (1 - b) * (1 - opened)


def others(s: np.ndarray) -> np.ndarray:
    """Return the probability (n, 2^n) of all decisions of a pattern but the i-th.

    Parameters
    ----------
    s : (n,) saliencies.
    """
    p = probabilities(s)
    return np.array([np.prod(np.delete(p, i, axis=0), axis=0) for i in range(len(s))])


def exact(losses: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Return d/ds E L(b) (n,), of L of all patterns (2^n,): phi(s_i) E[L(b_i = 1) - L(b_i = 0)].

    Parameters
    ----------
    losses : (2^n,), in the order of `patterns`.
    s : (n,) saliencies.
    """
    b = patterns(len(s))
    return normal(s) * np.sum(others(s) * (2 * b - 1) * losses, axis=1)


def slopes(s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return E v1'(s + e) 1[s + e < 0] and E v1'(s + e) 1[s + e > 0], each (n,): integrals from kink to kink."""
    half = KINK / 2 * (NODES + 1)
    sigmoid = 1 / (1 + np.exp(-half))
    weights = KINK / 2 * WEIGHTS * 1.2 * sigmoid * (1 - sigmoid)  # v1' is even
    return normal(-half - s[:, None]) @ weights, normal(half - s[:, None]) @ weights


def straight_through(gradients: np.ndarray, s: np.ndarray) -> np.ndarray:
    """Return E[dL/db_i (b) v1'(s_i + e_i)] (n,), of dL/db of all patterns (n, 2^n).

    Parameters
    ----------
    gradients : (n, 2^n), in the order of `patterns`.
    s : (n,) saliencies.
    """
    b, (closed, opened) = patterns(len(s)), slopes(s)
    slope = b * opened[:, None] + (1 - b) * closed[:, None]
    return np.sum(others(s) * slope * gradients, axis=1)


@dataclass(frozen=True)
class Quadratic:
    """L(b) = g b + (curvature/2) b^T A b, A symmetric."""

    g: np.ndarray
    A: np.ndarray
    curvature: float

    def losses(self, b: np.ndarray) -> np.ndarray:
        """Return L of patterns, the columns of b."""
        return self.g @ b + self.curvature / 2 * np.sum(b * (self.A @ b), axis=0)

    def gradients(self, b: np.ndarray) -> np.ndarray:
        """Return dL/db = g + curvature A b."""
        return self.g[:, None] + self.curvature * (self.A @ b)


def drawn(n: int, curvature: float, rng: np.random.Generator) -> tuple[Quadratic, np.ndarray]:
    """Return a loss with g ~ N(0, 1) and A = B^T B / n, B ~ N(0, 1), of n decisions, and saliencies s ~ N(0, 1).

    Parameters
    ----------
    n : number of decisions.
    curvature : factor of A, 0 or more.
    """
    B = rng.standard_normal((n, n))
    return Quadratic(rng.standard_normal(n), B.T @ B / n, curvature), rng.standard_normal(n)


def agreement(n: int, curvature: float, draws: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return cosine and ratio of lengths of the straight-through to the exact gradient, one a drawn loss.

    Parameters
    ----------
    n : number of decisions.
    curvature : factor of A, 0 or more.
    draws : losses that are drawn.

    Raises
    ------
    ValueError
        If the curvature is below 0, there is no draw, or as `patterns`.
    """
    nonnegative(curvature, "curvature")
    b, found = patterns(n), []
    for _ in range(whole(draws, "number of draws", 1)):
        loss, s = drawn(n, curvature, rng)
        true, passed = exact(loss.losses(b), s), straight_through(loss.gradients(b), s)
        length, reference = np.linalg.norm(passed), np.linalg.norm(true)
        found.append((true @ passed / (length * reference), length / reference))
    cosines, lengths = np.array(found).T
    return cosines, lengths
