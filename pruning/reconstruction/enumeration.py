"""The best of all subsets of channels, found by trying every one: the referee of all other methods.

Of the C(c, k) sets of k channels the one with the least E ||Y - Y'||^2 is taken.  There are three such problems, for
the channels as they are, with one factor each, and with refitted weights (see `pruning.reconstruction.moments`), and
three optima, which need not be the same set.  Derived here, to judge He et al. 2017 and Luo et al. 2017 by.
"""

import itertools
from collections.abc import Callable, Sequence

import numpy as np

from pruning.reconstruction.moments import Moments

MOST = 16
"""The largest number of channels whose subsets are tried: 12,870 of them for half of 16."""


def errors(
    moments: Moments, k: int, error: Callable[[Moments, Sequence[int]], float] = Moments.refit_error
) -> dict[tuple[int, ...], float]:
    """Return the error of every set of k channels, in lexicographic order.

    Parameters
    ----------
    error : `Moments.selection_error`, `Moments.scaling_error` or `Moments.refit_error`.
    moments : of what the layer reads, from `pruning.reconstruction.moments.collect`.

    Raises
    ------
    ValueError
        If there are more than 16 channels, or k is not a whole number from 1 to c.
    """
    k = moments.checked_count(k)
    if moments.channels > MOST:
        raise ValueError(f"expected at most {MOST} channels to try every subset of, got {moments.channels}")
    return {kept: error(moments, kept) for kept in itertools.combinations(range(moments.channels), k)}


def choose(
    moments: Moments, k: int, error: Callable[[Moments, Sequence[int]], float] = Moments.refit_error
) -> list[int]:
    """Return the k channels with the least error, ascending; of equals the first in lexicographic order.

    Parameters
    ----------
    moments : of what the layer reads, from `pruning.reconstruction.moments.collect`.

    Raises
    ------
    ValueError
        As `errors`.
    """
    found = errors(moments, k, error)
    return list(list(found)[int(np.argmin(list(found.values())))])
