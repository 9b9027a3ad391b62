"""From one ranking of the filters of all layers to those that stay.

The ranking over all layers by which Molchanov et al. 2016, arXiv:1611.06440, and Chin et al. 2018, arXiv:1810.00518,
prune.
"""

from collections.abc import Mapping, Sequence
from numbers import Real

import numpy as np

from nn.backend import Array, to_numpy
from nn.module import Module
from pruning import filters, surgery
from pruning.counts import count
from pruning.masks import check_arrays, prunable


def together(
    net: Module, scores: Mapping[str, Array], input_shape: Sequence[int], macs: float, convention: str = "li2017"
) -> dict[str, list[int]]:
    """Return the filters that stay if those with the lowest scores of all layers go, until the MACs are few enough.

    As few go as leave at most the share `macs` of the net's multiply-accumulates, at least one filter a layer stays,
    and of equal scores the first in the order of `scores` goes.  Only differences of scores matter between layers: they
    need a common unit (`pruning.scores.taylor.normalised`) or constants that make up for it (`layer_compensation`).

    Raises
    ------
    TypeError
        If the scores are not arrays by name.
    ValueError
        If the scores do not fit a layer or are not finite, `macs` is not in (0, 1], or even one filter a layer leaves
        more.  As `pruning.surgery.remove`.
    """
    check_arrays("scores", scores)
    sizes = {name: parameter.shape[0] for name, parameter in prunable(net, scores).items()}
    values = {name: to_numpy(score) for name, score in scores.items()}
    for name, score in values.items():
        if score.shape != (sizes[name],) or not np.isrealobj(score) or not np.isfinite(score).all():
            raise ValueError(f"expected one finite score for each of {sizes[name]} filters of {name}")
    if not (isinstance(macs, Real) and not isinstance(macs, bool) and 0 < macs <= 1):
        raise ValueError(f"expected a share of the MACs above 0, at most 1, got {macs}")
    whole, sets = count(net, input_shape, convention).macs, filters.alike(net)
    layers = [name for name in sizes for _ in range(sizes[name])]
    order = [layers[i] for i in np.argsort(np.concatenate(list(values.values())), kind="stable")]

    def left(removed: int) -> dict[str, list[int]]:
        gone = order[:removed]
        shares = {name: filters.share(n, max(1, n - gone.count(name))) for name, n in sizes.items()}
        return filters.largest(values, shares, sets)

    def enough(removed: int) -> bool:
        return count(surgery.remove(net, left(removed)), input_shape, convention).macs <= macs * whole

    low, high = -1, len(order)  # too many MACs are left at low, few enough at high
    if not enough(high):
        raise ValueError(f"even one filter in each of {', '.join(sizes)} leaves more than {macs:.1%} of the MACs")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return left(high)
