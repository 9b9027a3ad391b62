"""ThiNet: channels go one by one, always the one after which what is removed adds up to the least output.

With the set T of removed channels, the dense layer as the target, and y = sum_i Z_i,

    E || sum_{i in T} Z_i ||^2 = 1_T^T G 1_T,

so that channel i adds 2 (G 1_T)_i + G_ii: O(c) numbers a step, and no more samples.  With another target Y (the dense
net's, when earlier layers have lost channels) it is energy - 2 1_S^T q + 1_S^T G 1_S of the set S that stays, and
leaving out i adds 2 q_i - 2 (G 1_S)_i + G_ii, which is the same where q = G 1.  Afterwards the kept ones get one factor
each by least squares (`Moments.factors`), or new weights (`Moments.refit`).

The code of the journal version goes the other way, `forward`: orthogonal matching pursuit on the Z_i.

Luo, Wu and Lin 2017 (arXiv 1707.06342), section 3.2.  The paper's "compression rate" is the share that is kept.
"""

import numpy as np

from pruning.reconstruction.moments import Moments
from pruning.reconstruction.roots import root
from textbook.matching_pursuit import orthogonal_matching_pursuit


def order(moments: Moments) -> tuple[list[int], np.ndarray]:
    """Return the channels in the order in which they go, and the error (c,) after each of them.

    The errors grow while q = G 1 and no two Z_i oppose each other; nothing makes them grow in general.
    """
    G, q = moments.G, moments.q
    left, gone, errors = list(range(moments.channels)), [], []
    sums, error = G.sum(axis=1), moments.selection_error(range(moments.channels))
    while left:
        added = (2 * q - 2 * sums + np.diag(G))[left]
        best = int(np.argmin(added))
        error += float(added[best])
        gone.append(left.pop(best))
        sums = sums - G[:, gone[-1]]
        errors.append(error)
    return gone, np.array(errors)


def choose(moments: Moments, k: int) -> list[int]:
    """Return the k channels that stay, ascending; of equals the lowest goes first.

    Parameters
    ----------
    moments : of what the layer reads, from `pruning.reconstruction.moments.collect`.

    Raises
    ------
    ValueError
        If k is not a whole number from 1 to c.
    """
    k = moments.checked_count(k)
    return sorted(order(moments)[0][moments.channels - k :])


def forward(moments: Moments, k: int) -> list[int]:
    """Return k channels by orthogonal matching pursuit: the next one is most correlated with what is missing of Y.

    After each step all chosen factors are fitted anew.  Where the residual is zero before k channels are in, those that
    come next are the first of the rest.

    Parameters
    ----------
    moments : of what the layer reads, from `pruning.reconstruction.moments.collect`.

    Raises
    ------
    ValueError
        If k is not a whole number from 1 to c.
    """
    k = moments.checked_count(k)
    X, y = root(moments)
    support = orthogonal_matching_pursuit(X, y, k).support.tolist() if len(X) else []
    return sorted((support + [i for i in range(moments.channels) if i not in support])[:k])
