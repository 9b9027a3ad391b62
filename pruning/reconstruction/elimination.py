"""Backward elimination: Optimal Brain Surgeon on the channels of one layer, the others refitted after every deletion.

The error of all channels that are left, refitted, is energy - tr(W' C^T) with W' = C A^-1.  If block i of W' is set to
zero and all other blocks answer, it grows by

    L_i = tr(W'_i ([A^-1]_ii)^-1 W'_i^T),        W' <- W' - W'_i ([A^-1]_ii)^-1 [A^-1]_i:,

the surgeon's saliency with a block in the place of a single weight.  The cheapest goes, and A^-1 of what is left is

    A^-1 <- A^-1 - [A^-1]_:i ([A^-1]_ii)^-1 [A^-1]_i:.

Greedy, with the error after the refit as what is minimised: `lasso_channels` and `thinet` minimise the one before it.
Hassibi and Stork 1993, in blocks.
"""

from dataclasses import dataclass

import numpy as np

from nn.arguments import nonnegative, whole
from pruning.reconstruction.moments import Moments

SINGULAR = 1e-12
"""Eigenvalues of A below this share of the largest leave no inverse to go on with."""


@dataclass(frozen=True)
class Elimination:
    """The order in which channels go, and what each of them costs at that moment.

    Attributes
    ----------
    order : all c channels, the first to go first.
    costs : (c,) by how much E ||Y - Y'||^2 grows; their sum so far is the refitted error, above that of all channels.
    """

    order: list[int]
    costs: np.ndarray

    def kept(self, k: int) -> list[int]:
        """Return the k channels that stay, ascending; a ValueError if k is not a whole number from 0 to c."""
        if whole(k, "number of channels", 0) > len(self.order):
            raise ValueError(f"expected to keep 0 to {len(self.order)} channels, got {k}")
        return sorted(self.order[len(self.order) - k :])


def eliminate(moments: Moments, ridge: float = 0.0) -> Elimination:
    """Return the whole order at once: the sets for all numbers of channels are nested.

    Parameters
    ----------
    ridge : added to the diagonal of A, as a share of its mean.

    Raises
    ------
    ValueError
        If A is singular though no channel is dead: with fewer samples than columns, or channels that depend on each
        other, there is no inverse without a ridge.
    """
    dead, alive = _dead(moments)
    columns = moments.columns(alive)
    A = moments.A[np.ix_(columns, columns)] + nonnegative(ridge, "ridge") * np.trace(moments.A) / max(
        1, len(columns)
    ) * (np.eye(len(columns)))
    inverse = _inverse(A, moments)
    W, size = moments.C[:, columns] @ inverse, moments.W.shape[1] // moments.channels
    left, order, costs = list(range(len(alive))), list(dead), [0.0] * len(dead)
    while left:
        blocks = [np.arange(i * size, (i + 1) * size) for i in left]
        changes = [np.linalg.solve(inverse[np.ix_(block, block)], W[:, block].T) for block in blocks]
        growth = [float(np.sum(W[:, block].T * change)) for block, change in zip(blocks, changes)]
        i = int(np.argmin(growth))
        rows = inverse[blocks[i]]
        W = W - changes[i].T @ rows
        inverse = inverse - rows.T @ np.linalg.solve(rows[:, blocks[i]], rows)
        order.append(alive[left.pop(i)])
        costs.append(growth[i])
    return Elimination(order, np.array(costs))


def choose(moments: Moments, k: int, ridge: float = 0.0) -> list[int]:
    """Return the k channels that stay, ascending.

    Parameters
    ----------
    moments : of what the layer reads, from `pruning.reconstruction.moments.collect`.
    ridge : added to the diagonal of A, as a share of its mean.

    Raises
    ------
    ValueError
        If k is not a whole number from 1 to c; also as `eliminate`.
    """
    return eliminate(moments, ridge).kept(moments.checked_count(k))


def _dead(moments: Moments) -> tuple[list[int], list[int]]:
    # Channels that are zero on all data cost nothing, and have no inverse.
    energy = np.diag(moments.A).reshape(moments.channels, -1).sum(axis=1)
    return np.flatnonzero(energy == 0).tolist(), np.flatnonzero(energy > 0).tolist()


def _inverse(A: np.ndarray, moments: Moments) -> np.ndarray:
    if not len(A):
        return A
    values, vectors = np.linalg.eigh(A)
    if values[0] <= SINGULAR * values[-1]:
        few = f"only {moments.count} samples" if moments.count < len(A) else "columns that depend on each other"
        raise ValueError(
            f"the moments in front of {moments.name} have no inverse: {few} for {len(A)} columns; take more data or a"
            " ridge, such as ridge=1e-6"
        )
    inverse: np.ndarray = vectors / values @ vectors.T
    return inverse


def errors(moments: Moments, found: Elimination) -> np.ndarray:
    """Return the refitted error (c + 1,) of all channels, and after each deletion.

    Parameters
    ----------
    moments : of what the layer reads, from `pruning.reconstruction.moments.collect`.
    found : of `eliminate`.

    Raises
    ------
    ValueError
        If these are not the costs of so many channels.
    """
    if np.shape(found.costs) != (moments.channels,):
        raise ValueError(f"expected the costs of {moments.channels} channels, got {np.size(found.costs)}")
    return moments.refit_error(range(moments.channels)) + np.concatenate([[0.0], np.cumsum(found.costs)])
