"""Which is better, W ~ W' or Y = W X ~ W' X?  Both, at an equal price: rank, number of channels, number of weights.

With A = E[x x^T] of the layer's input columns, the change of the output is a norm of the change of the weights,

    E ||(W - W') x||^2 = tr((W - W') A (W - W')^T) = ||(W - W') A^1/2||_F^2,

so that the nearest outputs are the nearest weights in a metric that the data give.  Both questions have one answer if
A is a multiple of I.  Otherwise, at an equal price:

- rank r: the nearest W' is the truncated singular value decomposition of W.  The nearest output is U U^T W, U the first
  r left singular vectors of W A^1/2: W' A^1/2 has no higher rank than W', and no matrix of rank r is nearer to W A^1/2
  than its truncated decomposition (Eckart and Young 1936), which U U^T W A^1/2 is.
- channels S: the nearest W' keeps the weights of S as they are.  The nearest output refits them, W_S' = W A_:S A_SS^-1.
- single weights: |w_ij| keeps W nearest.  |w_ij| A_jj^1/2 keeps the output nearest if A is diagonal; with correlated
  inputs it need not.

Slide "Which is better?" of the lecture on sparse regression.
"""

from collections.abc import Sequence

import numpy as np

from nn.arguments import whole
from nn.backend import Array
from pruning import masks
from pruning.reconstruction.moments import real

CUT = 1e-13
"""Eigenvalues of moments below this share of the largest are zeros with rounding."""


def change(W: Array, other: Array, A: Array) -> float:
    """Return E ||(W - W') x||^2 = tr((W - W') A (W - W')^T), summed over the outputs; A = I asks for the weights.

    Parameters
    ----------
    W, other : (n, K).
    A : (K, K), E[x x^T] of the input columns.

    Raises
    ------
    TypeError
        If these are no arrays.
    ValueError
        If the shapes do not fit, numbers are not real and finite, or A is not symmetric with a diagonal of at least 0.
    """
    W, A = _checked(W, A)
    other = real(other, "the other weights")
    if other.shape != W.shape:
        raise ValueError(f"expected a second matrix of the shape {W.shape}, got {other.shape}")
    D = W - other
    return float(np.sum(D @ A * D))


def relative_change(W: Array, other: Array, A: Array) -> float:
    """Return the root of `change` over that of E ||W x||^2: 0 for W itself, 1 for zeros.

    Parameters
    ----------
    W, other : (O, K) weights before and after.
    A : (K, K) second moments of what the layer reads.

    Raises
    ------
    ValueError
        If the layer has no output to lose, E ||W x||^2 = 0; also as `change`.
    """
    lost, energy = change(W, other, A), change(W, np.zeros(np.shape(W)), A)
    if energy <= 0:
        raise ValueError("expected a layer whose outputs are not all zero, got E ||W x||^2 = 0")
    return float(np.sqrt(max(lost, 0.0) / energy))


def of_rank(W: Array, rank: int, A: Array | None = None) -> np.ndarray:
    """Return the W' (n, K) of this rank with the nearest outputs; without A, the W' nearest to W.

    Raises
    ------
    ValueError
        If the rank is not a whole number from 0 to min(n, K), or A has an eigenvalue below 0; also as `change`.
    """
    W, A = _checked(W, A)
    most = min(W.shape)
    if not isinstance(rank, int | np.integer) or isinstance(rank, bool) or not 0 <= rank <= most:
        raise ValueError(f"expected a rank from 0 to {most} for a matrix {W.shape}, got {rank!r}")
    U = np.linalg.svd(W @ _root(A), full_matrices=False)[0][:, :rank]
    return np.asarray(U @ (U.T @ W))


def on_channels(W: Array, kept: Sequence[int], channels: int, A: Array | None = None) -> np.ndarray:
    """Return the W' (n, K) that reads these channels alone, with the nearest outputs; without A, the nearest W'.

    Columns are ordered channel by channel, K / channels for each.  Of several best ones, where columns that stay are
    dependent, it is the smallest.

    Raises
    ------
    ValueError
        If the columns do not split into the channels, or `kept` is no list of different channels; also as `change`.
    """
    W, A = _checked(W, A)
    columns = _columns(W, kept, channels)
    fitted = np.zeros_like(W)
    # The moments of what stays may be singular (a dead channel); what rounding leaves of their zeros is cut off.
    inverse = np.linalg.pinv(A[np.ix_(columns, columns)], rcond=CUT, hermitian=True)
    fitted[:, columns] = W @ A[:, columns] @ inverse
    return fitted


def largest_channels(W: Array, channels: int, count: int) -> list[int]:
    """Return the `count` channels with the largest ||W_i||_F, ascending: those that keep W' nearest to W.

    Of equals the first stays.

    Raises
    ------
    ValueError
        If the columns do not split into the channels, or the count is not a whole number from 0 to `channels`.
    """
    W, _ = _checked(W, None)
    _columns(W, [], channels)
    if not isinstance(count, int | np.integer) or isinstance(count, bool) or not 0 <= count <= channels:
        raise ValueError(f"expected to keep 0 to {channels} of {channels} channels, got {count!r}")
    norms = np.sum(W.reshape(len(W), channels, -1) ** 2, axis=(0, 2))
    return sorted(np.argsort(-norms, kind="stable")[:count].tolist())


def on_weights(W: Array, sparsity: float, A: Array | None = None) -> np.ndarray:
    """Return W with this share of its weights at zero, those of smallest |w_ij| A_jj^1/2; without A, of smallest |w|.

    Parameters
    ----------
    W : (O, K) weights.
    sparsity : share of them that becomes zero.
    A : (K, K) second moments of what the layer reads.

    Raises
    ------
    ValueError
        As `change` and `pruning.masks.smallest`.
    """
    W, A = _checked(W, A)
    return np.asarray(W * masks.smallest({"W": np.abs(W) * np.sqrt(np.diag(A))}, sparsity)["W"])


def _root(A: np.ndarray) -> np.ndarray:
    """Return A^1/2, symmetric; eigenvalues that rounding has put below zero are zero."""
    values, vectors = np.linalg.eigh(A)
    if values[0] < -1e-9 * values[-1]:
        raise ValueError(f"expected A = E[x x^T], whose eigenvalues are at least 0, got the eigenvalue {values[0]:.3g}")
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0)) @ vectors.T)


def _columns(W: np.ndarray, kept: Sequence[int], channels: int) -> np.ndarray:
    K = W.shape[1]
    if not isinstance(channels, int | np.integer) or isinstance(channels, bool) or channels < 1 or K % channels:
        raise ValueError(f"expected a number of channels that divides the {K} columns, got {channels!r}")
    indices = [whole(i, "channel", 0) for i in kept]
    if len(set(indices)) < len(indices) or not all(i < channels for i in indices):
        raise ValueError(f"expected different channels from 0 to {channels - 1}, got {indices}")
    size = K // channels
    return np.array([i * size + j for i in indices for j in range(size)], dtype=int)


def _checked(W: Array, A: Array | None) -> tuple[np.ndarray, np.ndarray]:
    W = real(W, "weights")
    if W.ndim != 2 or 0 in W.shape:
        raise ValueError(f"expected a weight matrix (outputs, input columns), got an array of the shape {W.shape}")
    A = np.eye(W.shape[1]) if A is None else real(A, "moments")
    if A.shape != (W.shape[1],) * 2:
        raise ValueError(f"expected A of the shape {(W.shape[1],) * 2} for a matrix {W.shape}, got {A.shape}")
    if not np.allclose(A, A.T, rtol=1e-9, atol=1e-12 * np.max(np.abs(A))) or np.any(np.diag(A) < 0):
        raise ValueError("expected A = E[x x^T], symmetric with a diagonal of at least 0, got another matrix")
    return W, A
