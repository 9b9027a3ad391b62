"""Which filters stay: from a score and a share to the indices that `pruning.surgery.remove` takes.

Li et al. 2017 prune a share p of a layer's n filters and keep floor(n (1 - p)).  Layers are chosen for independently,
each by its own weights as they are, or greedily, each without the kernels whose input maps are already gone.  In a
residual block the last convolution has no say of its own: its filters go with those of the shortcut, so that the
shortcut's projection is the weight to name (section 3.3).
"""

import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import TypeAlias

import numpy as np

from nn.backend import Array, to_numpy
from nn.module import Module
from pruning import surgery
from pruning.counts import count
from pruning.masks import prunable
from pruning.schedules import check_sparsity

Score: TypeAlias = Callable[[Module, list[str]], Mapping[str, Array]]
"""(net, names of weights) -> {name: (out,)}, low where a filter is cheap to delete; `filter_norm.saliency` is one."""

Keep: TypeAlias = dict[str, list[int]]


def kept(n: int, share: float) -> int:
    """Return floor(n (1 - share)), the share taken as the decimal that was written, and at least one.

    In floating point 20 (1 - 0.9) is 1.9999999999999996, and its floor 1.  What was computed and not written is taken
    as it prints: 0.1 + 0.2 as 0.30000000000000004, which keeps 6 of 10.

    Raises
    ------
    ValueError
        If the share is no number in [0, 1].
    """
    check_sparsity(share)
    if isinstance(share, bool):
        raise ValueError(f"expected a share from 0 to 1, got {share}")
    return max(1, math.floor(n * (1 - Fraction(str(share)))))


def largest(scores: Mapping[str, Array], shares: Mapping[str, float]) -> Keep:
    """Return {name: ascending indices of the filters that stay}: the `kept` ones of the largest scores.

    Among equals the lowest index stays.

    Raises
    ------
    ValueError
        If a name has no scores, the scores are no vector or hold NaN, or a share is not in [0, 1].
    """
    keep = {}
    for name, share in shares.items():
        if name not in scores:
            raise ValueError(f"expected scores of {name}, got those of {', '.join(scores)}")
        values = to_numpy(scores[name])
        if values.ndim != 1 or np.isnan(values).any():
            raise ValueError(f"expected one score without NaN for each filter of {name}, got shape {values.shape}")
        order = np.argsort(-values, kind="stable")
        keep[name] = sorted(int(index) for index in order[: kept(len(values), share)])
    return keep


def independent(net: Module, shares: Mapping[str, float], score: Score) -> Keep:
    """Return what stays if each layer is judged by its whole filters, whatever happens to the layers in front."""
    return largest(score(net, list(shares)), shares)


def greedy(net: Module, shares: Mapping[str, float], score: Score) -> Keep:
    """Return what stays if each layer is judged after the layers in front were cut, in the order of `shares`.

    Kernels that saw a removed map have no part in the sum.  The first layer is chosen as `independent` does.

    Raises
    ------
    ValueError
        If a layer loses filters with those of a layer before it, as through a shortcut: one of them speaks for both.
        Also as `largest` and `pruning.surgery.remove`.
    """
    keep: Keep = {}
    widths = {name: parameter.shape[0] for name, parameter in prunable(net, list(shares)).items()}
    for name, share in shares.items():
        if prunable(net, [name])[name].shape[0] < widths[name]:
            raise ValueError(
                f"{name} lost filters with those of {', '.join(keep)}: only one of tied layers has a share"
            )
        keep |= largest(score(net, [name]), {name: share})
        net = surgery.remove(net, {name: keep[name]})
    return keep


def share_for_macs(
    net: Module, names: Sequence[str], input_shape: Sequence[int], macs: float, convention: str = "li2017"
) -> float:
    """Return the smallest share p, the same for all `names`, that leaves at most the share `macs` of the net's MACs.

    By bisection on p in steps of 1/1000; only numbers of filters matter, so that it works on outlines.

    Raises
    ------
    ValueError
        If `macs` is not in (0, 1], there are no `names`, or even one filter a layer leaves more.
    """
    if not names:
        raise ValueError("expected the name of at least one weight to cut, got none")
    if not 0 < macs <= 1:
        raise ValueError(f"expected a share of the MACs above 0, at most 1, got {macs}")
    whole = count(net, input_shape, convention).macs

    def left(thousandths: int) -> float:
        widths = {name: prunable(net, [name])[name].shape[0] for name in names}
        keep = {name: list(range(kept(n, thousandths / 1000))) for name, n in widths.items()}
        return count(surgery.remove(net, keep), input_shape, convention).macs / whole

    low, high = -1, 1000  # too many MACs are left at low, few enough at high
    if left(high) > macs:
        raise ValueError(f"one filter a layer still leaves {left(high):.1%} of the MACs, more than {macs:.1%}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if left(middle) > macs else (low, middle)
    return high / 1000


def sensitivity(
    net: Module, names: Sequence[str], shares: Sequence[float], score: Score, measure: Callable[[Module], float]
) -> dict[str, list[float]]:
    """Return {name: measure of the net with only this layer cut, for each share}, without any retraining.

    Slide "Sensitivity of the layers"; the paper's figure 2b.
    """
    scores = score(net, list(names))
    return {name: [measure(surgery.remove(net, largest(scores, {name: share}))) for share in shares] for name in names}
