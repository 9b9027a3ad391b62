r"""Principal filter analysis: as many filters stay as the responses of a layer have directions (Suau et al. 2018).

The response of a filter to a pattern is the largest number of its map.  The eigenvalues of the covariance of a layer's
responses, divided by their sum, are shares l_1 >= ... >= l_C of its energy:

    energy        keep the smallest k with l_1 + ... + l_k >= tau
    divergence    keep the ratio 1 - KL(l || u) / log C = -sum l log l / log C of them, u uniform: no parameter

Equal shares keep all, one share alone keeps one filter.  Which ones is another matter: the filter whose absolute
correlations with those that are left sum to the most goes next (`saliency`).  The number changes with units: what
multiplies one map by 10, and the weights that read it by 1/10, leaves the net and moves the spectrum.
"""

from collections.abc import Iterable
from numbers import Real

import numpy as np

from nn.backend import Array, get_array_module, to_numpy
from nn.module import Module
from pruning import filters
from pruning.channels.maps import maps

ROUNDING = 1e-12
"""What a sum of shares may lack of tau by rounding: equal shares add up to 1 only nearly."""


def responses(
    net: Module, x: Array, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> dict[str, np.ndarray]:
    """Return the largest number of every map, (C, N) for every weight.

    Raises
    ------
    TypeError, ValueError
        As `pruning.channels.maps.maps`.
    """
    parts = [{name: _largest(z) for name, z in batch.items()} for batch in maps(net, x, names, batch_size)]
    return {name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]}


def _largest(z: Array) -> np.ndarray:
    xp = get_array_module(z)
    return to_numpy(xp.max(xp.reshape(z, (z.shape[0], -1, z.shape[-1])), axis=1)).astype(float)


def spectrum(A: np.ndarray) -> np.ndarray:
    """Return the eigenvalues of the covariance of the responses A (C, N), the largest first, divided by their sum.

    Raises
    ------
    ValueError
        If A is no finite matrix, or no response varies.
    """
    A = _checked(A)
    centred = A - A.mean(axis=1, keepdims=True)
    values = np.maximum(np.linalg.eigvalsh(centred @ centred.T)[::-1], 0.0)
    if not values.sum() > 0:
        raise ValueError("expected responses that vary with the patterns, got constants")
    return np.asarray(values / values.sum())


def _checked(A: np.ndarray) -> np.ndarray:
    A = np.asarray(A, dtype=float)
    if A.ndim != 2 or not A.size or not np.isfinite(A).all():
        raise ValueError(f"expected finite responses (C, N), got shape {A.shape}")
    return A


def _checked_shares(shares: np.ndarray) -> np.ndarray:
    shares = np.asarray(shares, dtype=float)
    if shares.ndim != 1 or not (shares >= 0).all() or not abs(shares.sum() - 1) < 1e-6:
        raise ValueError(f"expected shares of 0 or more (C,) that add up to 1, got {shares.tolist()}")
    return shares


def by_energy(shares: np.ndarray, tau: float) -> int:
    """Return the smallest k with l_1 + ... + l_k >= tau.

    Parameters
    ----------
    shares : (C,) of the variance, one an eigenvector, the largest first; they add up to 1.

    Raises
    ------
    ValueError
        If tau is not in (0, 1], a share is negative, or they do not add up to 1 or begin with the largest.
    """
    shares = _checked_shares(shares)
    if (np.diff(shares) > 0).any():
        raise ValueError(f"expected the shares in order, the largest first, got {shares.tolist()}")
    if not (isinstance(tau, Real) and not isinstance(tau, bool) and 0 < tau <= 1):
        raise ValueError(f"expected a share of the energy above 0, at most 1, got {tau}")
    return min(len(shares), int(np.searchsorted(np.cumsum(shares), tau - ROUNDING)) + 1)


def by_divergence(shares: np.ndarray) -> int:
    """Return C (1 - KL(l || u) / log C), rounded to the nearest number and at least 1.

    Parameters
    ----------
    shares : (C,) of the variance, one an eigenvector, the largest first; they add up to 1.

    Raises
    ------
    ValueError
        If a share is negative, or they do not add up to 1.
    """
    shares = _checked_shares(shares)
    C, some = len(shares), shares[shares > 0]
    entropy = float(-np.sum(some * np.log(some)))
    return max(1, round(C * entropy / np.log(C))) if C > 1 else 1


def energy_shares(
    net: Module, x: Array, tau: float, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> dict[str, float]:
    """Return {name: share to prune} of the energy criterion, for `pruning.filters.independent` or `greedy`.

    Parameters
    ----------
    tau : share of the variance that stays, in (0, 1].

    Raises
    ------
    TypeError, ValueError
        As `responses`, `spectrum` and `by_energy`; it names the layer whose responses are constants.
    """
    found = _spectra(responses(net, x, names, batch_size))
    return {name: filters.share(len(shares), by_energy(shares, tau)) for name, shares in found.items()}


def divergence_shares(
    net: Module, x: Array, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> dict[str, float]:
    """Return {name: share to prune} of the divergence criterion; it raises what `energy_shares` raises."""
    found = _spectra(responses(net, x, names, batch_size))
    return {name: filters.share(len(shares), by_divergence(shares)) for name, shares in found.items()}


def _spectra(found: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    spectra = {}
    for name, A in found.items():
        try:
            spectra[name] = spectrum(A)
        except ValueError as error:
            raise ValueError(f"{name}: {error}") from None
    return spectra


def saliency(
    net: Module, x: Array, names: Iterable[str] | None = None, batch_size: int | None = 1000
) -> dict[str, Array]:
    """Return in which step each filter would go, (C,) for every weight: 0 is the first, C - 1 the last that is left.

    `pruning.filters` takes it as ``lambda net, names: principal_filters.saliency(net, x, names)``; it raises what
    `responses` raises.
    """
    return {name: order(A) for name, A in responses(net, x, names, batch_size).items()}


def order(A: np.ndarray) -> np.ndarray:
    """Return the step in which each of the responses A (C, N) goes: always the one most correlated with those left.

    A constant, which the next bias can take over, goes first; of equal ones the last.

    Raises
    ------
    ValueError
        If A is no finite matrix.
    """
    A = _checked(A)
    centred = A - A.mean(axis=1, keepdims=True)
    size = np.linalg.norm(centred, axis=1, keepdims=True)
    constant = size[:, 0] <= ROUNDING * np.abs(A).max(axis=1)
    unit = np.where(constant[:, None], 0.0, centred / np.where(size > 0, size, 1.0))
    correlations = np.abs(unit @ unit.T)
    np.fill_diagonal(correlations, 0.0)
    total = np.where(constant, np.inf, correlations.sum(axis=1))
    steps, alive = np.empty(len(A)), np.ones(len(A), dtype=bool)
    for step in range(len(A)):
        left = np.flatnonzero(alive)[::-1]
        goes = int(left[np.argmax(np.round(total[left], 12))])
        steps[goes], alive[goes] = step, False
        total = total - correlations[:, goes]
    return steps
