r"""Channel pruning by the lasso: which channels stay is found by one factor a channel and an l1 penalty.

    min over beta, W' of   (1/2N) || Y - sum_i beta_i X_i W_i^T ||_F^2 + lam ||beta||_1,   ||beta||_0 <= c',   (1), (3)

in two steps.  (i) With W fixed it is a lasso in beta (c,), N rows times n outputs long; in moments it is

    (1/2) (energy - 2 beta^T q + beta^T G beta) + lam ||beta||_1,

a problem of c columns, whose exact path gives the sets for all c' at once (`sets`).  (ii) With the set fixed the kept
weights are refitted by least squares, W'_S = C_S A_SS^+ (`Moments.refit`), and beta is folded in.

The slide alternates (i) and (ii).  After (ii) the removed channels have weights of zero, and of the k that are left
none has to go: the same set comes again (`alternated`).  The authors' code does each step once.

lam stands on three scales, for N columns x and n outputs: the slide's (1/2N) ||.||_F^2, which is that of this module;
the mean over all N n rows, as `textbook.lasso` on these rows or scikit-learn have it, lam / n; and without any mean,
N lam.

He, Zhang and Sun 2017 (arXiv 1707.06168), equations (1) to (4); slides "Channel pruning".
"""

import math
from dataclasses import dataclass

import numpy as np

from nn.arguments import number, whole
from nn.backend import Array
from pruning.reconstruction.moments import Moments, real
from pruning.reconstruction.roots import root
from textbook.certificates import lasso_lambda_max
from textbook.exact.homotopy import lasso_at_most, lasso_path
from textbook.exact.working_set import lasso


def sets(moments: Moments) -> dict[int, list[int]]:
    """Return {c': the channels that stay} for every c' from 1 to c, from one pass along the exact path of step (i).

    Parameters
    ----------
    moments : of what the layer reads, from `pruning.reconstruction.moments.collect`.
    """
    X, y = root(moments)
    B = np.asarray(lasso_path(X, y).beta) if len(X) else np.zeros((moments.channels, 1))
    # Between two kinks those have a factor that have one at either end: one may enter before another has left.
    between = np.count_nonzero((B[:, :-1] != 0) | (B[:, 1:] != 0), axis=0)
    # Coming down, the last kink in front of which never more than c' had one.
    last = np.searchsorted(np.maximum.accumulate(between), np.arange(1, moments.channels + 1), side="right")
    return {k: _completed(moments, B[:, place], k) for k, place in enumerate(last, start=1)}


def choose(moments: Moments, k: int) -> list[int]:
    """Return the k channels of the last point of the path before a (k+1)-th would enter, ascending.

    Where several would enter at one lam and there are fewer, those follow whose Z_i correlate most with what is missing
    of Y, which are the next to enter.

    Parameters
    ----------
    moments : of what the layer reads, from `pruning.reconstruction.moments.collect`.

    Raises
    ------
    ValueError
        If k is not a whole number from 1 to c.
    """
    k = moments.checked_count(k)
    return _completed(moments, at_most(moments, k), k)


def _completed(moments: Moments, beta: np.ndarray, k: int) -> list[int]:
    missing = np.abs(moments.q - moments.G @ beta)
    missing[beta != 0] = np.inf
    return sorted(np.argsort(-missing, kind="stable")[:k].tolist())


def at_most(moments: Moments, k: int) -> np.ndarray:
    """Return the factors beta (c,) of step (i) with at most k nonzeros; it raises what `choose` raises.

    Parameters
    ----------
    moments : of what the layer reads, from `pruning.reconstruction.moments.collect`.
    """
    k = moments.checked_count(k)
    X, y = root(moments)
    beta: np.ndarray = np.asarray(lasso_at_most(X, y, k).beta) if len(X) else np.zeros(moments.channels)
    return beta


@dataclass(frozen=True)
class Search:
    """Where a search for lam ended.

    Attributes
    ----------
    kept : the channels with a factor, ascending; none where every part Z_i is zero.
    lam : on the scale of the slide.
    solves : how many lassos it took.
    found : whether their number lies in the band from c' to 1.1 c'.
    """

    kept: list[int]
    lam: float
    solves: int
    found: bool


def bisected(moments: Moments, k: int, start: float = 1e-3, most: int = 60) -> Search:
    """Search lam as the authors' code does: doubled until fewer than c' are left, then halved in between.

    It ends when c' to 1.1 c' channels have a factor, which can be more than c', or after `most` lassos without such a
    set: their number jumps where several leave at one lam, and the authors' loop then does not end.

    Parameters
    ----------
    start : the first lam, as a share of the one at which all factors are zero; above 0.
    most : lassos, 1 or more.
    moments : of what the layer reads, from `pruning.reconstruction.moments.collect`.

    Raises
    ------
    TypeError
        If `start` is no number.
    ValueError
        If k is not a whole number from 1 to c, `start` not above 0 and finite, or `most` no whole number from 1.
    """
    k, most = moments.checked_count(k), whole(most, "number of lassos", 1)
    if not 0 < number(start, "the first share of lam") < math.inf:
        raise ValueError(f"expected a first share of lam above 0, got {start}")
    X, y = root(moments)
    if not len(X):
        return Search([], 0.0, 0, False)
    low, high, solves = 0.0, start * float(lasso_lambda_max(X, y)), 0
    doubled = False
    while True:
        lam = (low + high) / 2 if doubled else high
        kept = np.flatnonzero(np.asarray(lasso(X, y, lam).beta)).tolist()
        solves += 1
        found = k <= len(kept) <= 1.1 * k
        if found or solves == most:
            return Search(kept, lam, solves, found)
        if not doubled and len(kept) >= k:
            low, high = high, 2 * high
        elif not doubled:
            doubled = True
        elif len(kept) < k:
            high = lam
        else:
            low = lam


def normalised(beta: Array, W: Array) -> tuple[np.ndarray, np.ndarray]:
    """Return beta_i ||W_i||_F and W_i / ||W_i||_F, which compute the same; what is zero stays zero.

    Parameters
    ----------
    beta : (c,).
    W : (n, K), the columns channel by channel.

    Raises
    ------
    TypeError, ValueError
        If these are no arrays of real, finite numbers, or c does not divide K.
    """
    beta, W = real(beta, "the factors"), real(W, "the weights")
    if beta.ndim != 1 or W.ndim != 2 or not beta.size or W.shape[1] % beta.size:
        raise ValueError(f"expected a factor for each channel of weights (n, K), {W.shape}, got {beta.shape}")
    norms = np.sqrt(np.sum(W.reshape(len(W), len(beta), -1) ** 2, axis=(0, 2)))
    shares = np.repeat(1 / np.where(norms > 0, norms, 1), W.shape[1] // len(beta))
    return beta * norms, W * shares


def alternated(moments: Moments, k: int, rounds: int = 5) -> list[list[int]]:
    """Return the set of k channels after each round of (i) and (ii), the weights being those that (ii) has left.

    Raises
    ------
    ValueError
        If k is not a whole number from 1 to c, or `rounds` none from 1.
    """
    found = []
    for _ in range(whole(rounds, "number of rounds", 1)):
        found.append(choose(moments, k))
        W = np.zeros_like(moments.W)
        W[:, moments.columns(found[-1])] = moments.refit(found[-1])
        moments = moments.with_weights(W)
    return found
