"""Which filters stay: from a score and a share to the indices that `pruning.surgery.remove` takes.

Li et al. 2017 prune a share p of a layer's n filters and keep floor(n (1 - p)).  Layers are chosen for independently,
each by its own weights as they are, or greedily, each without the kernels whose input maps are already gone.  In a
residual block the last convolution has no say of its own: its filters go with those of the shortcut, so that the
shortcut's projection is the weight to name (section 3.3).  Where a grouped convolution makes or reads the channels, the
same number stays in every group, the best of each by score: floor(n (1 - p)) of the whole layer, rounded down to where
it can be shared out (in two groups an even number), and at least one a group.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from fractions import Fraction
from numbers import Integral, Real
from typing import TypeAlias

import numpy as np

from nn.backend import Array, to_numpy
from nn.conv import Conv2d
from nn.module import Module
from pruning import surgery
from pruning.channels import tracing
from pruning.channels.members import producers
from pruning.channels.tracing import depthwise, roots
from pruning.counts import count
from pruning.masks import check_arrays, prunable
from pruning.schedules import check_sparsity

Score: TypeAlias = Callable[[Module, list[str]], Mapping[str, Array]]
"""(net, names of weights) -> {name: (out,)}, low where a filter is cheap to delete; `filter_norm.saliency` is one."""

Sets: TypeAlias = Mapping[str, Sequence[Sequence[int]]]
"""{name: the filters of the layer, in sets of which the same fraction stays}, as `alike` finds them."""


def kept(n: int, share: float) -> int:
    """Return floor(n (1 - share)), the share taken as the decimal that was written, and at least one.

    In floating point 20 (1 - 0.9) is 1.9999999999999996, and its floor 1.  What was computed and not written is taken
    as it prints: 0.1 + 0.2 as 0.30000000000000004, which keeps 6 of 10.

    Raises
    ------
    ValueError
        If n is no number of filters, or the share no number in [0, 1].
    """
    check_sparsity(share)
    if not (isinstance(n, Integral) and n >= 1):
        raise ValueError(f"expected a number of filters, at least one, got {n!r}")
    return max(1, math.floor(n * (1 - Fraction(str(share)))))


def share(n: int, k: int) -> float:
    """Return a share p of n filters to prune with ``kept(n, p) == k``, safe from rounding: (n - k - 1/2) / n.

    Raises
    ------
    ValueError
        Unless 1 <= k <= n.

    Examples
    --------
    >>> from pruning import filters
    >>> [filters.kept(7, filters.share(7, k)) for k in range(1, 8)]
    [1, 2, 3, 4, 5, 6, 7]
    """
    if not (isinstance(n, Integral) and isinstance(k, Integral) and 1 <= k <= n):
        raise ValueError(f"expected to keep 1 to {n} filters of {n}, got {k!r}")
    return max(0.0, (n - k - 0.5) / n)


def alike(net: Module) -> dict[str, list[list[int]]]:
    """Return for each weight its filters in sets, of which the same fraction has to stay.

    Two filters are in one set if every grouped convolution that makes or reads them, or channels tied to them, has them
    in the same group: a layer without groups is one set, two groups are two.  A depthwise convolution leaves the choice
    free: its filters go with the channels that they see.  Where the groups of one convolution read different weights,
    as behind a concatenation, only the shares of these can keep it even, and only `independent` cuts them together:
    `pruning.surgery.remove` refuses what is not even.

    Raises
    ------
    ValueError
        As `pruning.channels.tracing.trace`.
    """
    trace = tracing.trace(net)
    one = roots(len(trace.origins), [*trace.ties, *trace.pads])
    ends = [
        (site.layer.groups, labels)
        for site in trace.sites
        if isinstance(site.layer, Conv2d) and site.layer.groups > 1 and not depthwise(site.layer)
        for labels in (site.inputs, site.outputs)
    ]
    groups: dict[int, tuple[tuple[int, int], ...]] = dict.fromkeys(one, ())
    for end, (n, labels) in enumerate(ends):
        for position, label in enumerate(labels):
            groups[one[label]] += ((end, position * n // len(labels)),)
    sets = {}
    for name, site in producers(trace).items():
        of = [groups[one[label]] for label in site.outputs]
        sets[name] = [[row for row, those in enumerate(of) if those == these] for these in dict.fromkeys(of)]
    return sets


def largest(scores: Mapping[str, Array], shares: Mapping[str, float], sets: Sets | None = None) -> dict[str, list[int]]:
    """Return {name: ascending indices of the filters that stay}: the `kept` ones of the largest scores.

    Of several sets the same fraction stays, the best of each; `kept` is rounded down to where that is a whole number.
    Among equals the lowest index stays.

    Raises
    ------
    TypeError
        If the scores are not arrays by name, or the shares no dict.
    ValueError
        If a name has no scores, the scores are no vector of one for each filter or hold NaN, or a share is not in
        [0, 1].
    """
    check_arrays("scores", scores)
    _check_shares(shares)
    keep = {}
    for name, share in shares.items():
        if name not in scores:
            raise ValueError(f"expected scores of {name}, got those of {', '.join(scores)}")
        values = to_numpy(scores[name])
        parts = (sets or {}).get(name, [range(values.size)])
        n = sum(len(part) for part in parts)
        if not n or values.shape != (n,) or np.isnan(values).any():
            raise ValueError(f"expected one score without NaN for each filter of {name}, got shape {values.shape}")
        unit = math.gcd(*(len(part) for part in parts))
        times = max(1, kept(n, share) * unit // n)
        best = [np.asarray(part)[np.argsort(-values[list(part)], kind="stable")] for part in parts]
        keep[name] = sorted(int(index) for part in best for index in part[: len(part) // unit * times])
    return keep


def _check_shares(shares: Mapping[str, float]) -> None:
    if not isinstance(shares, Mapping):
        raise TypeError(f"expected shares as a dict, name of a weight -> share, got {type(shares).__name__}")


def independent(net: Module, shares: Mapping[str, float], score: Score) -> dict[str, list[int]]:
    """Return what stays if each layer is judged by its whole filters, whatever happens to the layers in front."""
    _check_shares(shares)
    return largest(score(net, list(shares)), shares, alike(net))


def greedy(net: Module, shares: Mapping[str, float], score: Score) -> dict[str, list[int]]:
    """Return what stays if each layer is judged after the layers in front were cut, in the order of `shares`.

    Kernels that saw a removed map have no part in the sum.  The first layer is chosen as `independent` does.

    Raises
    ------
    ValueError
        If a layer loses filters with those of a layer before it, as through a shortcut: one of them speaks for both.
        If one grouped convolution reads several of the layers behind a concatenation: only `independent` cuts these
        together.  Also as `largest` and `pruning.surgery.remove`.
    """
    _check_shares(shares)
    keep: dict[str, list[int]] = {}
    widths = {name: parameter.shape[0] for name, parameter in prunable(net, shares).items()}
    sets, small = alike(net), net
    for name, share in shares.items():
        if prunable(small, [name])[name].shape[0] < widths[name]:
            raise ValueError(
                f"{name} lost filters with those of {', '.join(keep)}: only one of tied layers has a share"
            )
        keep |= largest(score(small, [name]), {name: share}, sets)
        small = surgery.remove(net, keep)
    return keep


def share_for_macs(
    net: Module, names: Iterable[str], input_shape: Sequence[int], macs: float, convention: str = "li2017"
) -> float:
    """Return the smallest share p, the same for all `names`, that leaves at most the share `macs` of the net's MACs.

    By bisection on p in steps of 1/1000; only numbers of filters matter, so that it works on outlines.

    Raises
    ------
    ValueError
        If `macs` is not in (0, 1], there are no `names`, or even the fewest filters that can stay leave more.
    """
    if not (isinstance(macs, Real) and 0 < macs <= 1):
        raise ValueError(f"expected a share of the MACs above 0, at most 1, got {macs}")
    equal = {name: np.zeros(parameter.shape[0]) for name, parameter in prunable(net, names).items()}
    whole, sets = count(net, input_shape, convention).macs, alike(net)

    def left(thousandths: int) -> float:
        keep = largest(equal, dict.fromkeys(equal, thousandths / 1000), sets)
        return count(surgery.remove(net, keep), input_shape, convention).macs / whole

    low, high = -1, 1000  # too many MACs are left at low, few enough at high
    if left(high) > macs:
        raise ValueError(
            f"the fewest filters that can stay still leave {left(high):.1%} of the MACs, more than {macs:.1%}"
        )
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if left(middle) > macs else (low, middle)
    return high / 1000


def sensitivity(
    net: Module, names: Iterable[str], shares: Iterable[float], score: Score, measure: Callable[[Module], float]
) -> dict[str, list[float]]:
    """Return {name: measure of the net with only this layer cut, for each share}, without any retraining.

    Slide "Sensitivity of the layers"; the paper's figure 2b.
    """
    if not isinstance(shares, Iterable):
        raise TypeError(f"expected a list of shares, got {shares!r}")
    names, shares = list(prunable(net, names)), list(shares)
    for share in shares:
        kept(1, share)  # a share that is none is refused before the first measurement
    scores, sets = score(net, names), alike(net)
    return {
        name: [measure(surgery.remove(net, largest(scores, {name: share}, sets))) for share in shares] for name in names
    }
