"""A regression of c columns in the place of one with a row for every output of every sample."""

import numpy as np

from pruning.reconstruction.moments import CUT, Moments


def root(moments: Moments) -> tuple[np.ndarray, np.ndarray]:
    """Return X (r, c) and y (r,) with X^T X / r = G and X^T y / r = q, r being the rank of G.

    (1/2r) ||y - X beta||^2 is then (1/2) E ||Y - sum_i beta_i Z_i||^2 but for a constant, for every beta: the
    eigenvalues s and eigenvectors V of G give X = (r s)^1/2 V^T and y = r^1/2 s^-1/2 V^T q.
    """
    s, V = np.linalg.eigh(moments.G)
    there = s > CUT * max(s[-1], 0.0)
    s, V = s[there], V[:, there]
    return np.sqrt(len(s) * s)[:, None] * V.T, np.sqrt(len(s) / s) * (V.T @ moments.q)
