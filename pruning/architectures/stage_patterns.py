"""What the stages of pruned nets keep: Tables 18 to 21 of Liu et al. 2019, as the lecture shows them.

``VGG16[30]`` are the shares of channels that its five stages keep when 30 % of all channels went; ``DENSENET40[50]``
are the shares of weights at the nine places of the 3x3 kernels of its three stages when half of all weights went.
They are what `guided.widths` and `guided.sparse` take.

Where care is needed:

- The percentages of Table 18 are lost in the slides as we have them, but for the sixth, "60%".  Weighted by the batch
  norms of the blocks its columns keep .908, .807, .704, .604, .503, .403 and .302: they are 10 to 70 %.
- Table 21 weighted by the widths of VGG-16 keeps .9000, .7998, .6997, .6000, .4998 and .3999, as it should.
- The 3x3 kernels of Tables 19 and 20 alone keep less than the column says: 6.0 and 7.3 % at 90 %.  The authors rank the
  weights of all convolutions together, so that the 1x1 convolutions, which have no place in the tables, keep more.
- The captions of 18 to 20 call the patterns close to uniform across stages.  At 90 % the first stage keeps 3.7 and 2.4
  times as much as the third (Tables 19 and 20).

References
----------
Liu, Sun, Zhou, Huang, Darrell 2019, Rethinking the value of network pruning, ICLR, arXiv:1810.05270.  C. Quintero,
"Network Pruning", Rice University, 23 September 2019, the slides with these tables.
"""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from nn.models.blocks import check_depth, check_known
from nn.models.vggs import FILTERS
from pruning.architectures import guided

Shares = dict[int, float]
"""{stage, from 1 on: share of the channels that it keeps}"""
Patterns = dict[int, np.ndarray]
"""{stage, from 1 on: shares of the weights that it keeps at the places of its kernels, (3, 3)}"""


def _columns(percents: Sequence[int], *stages: Sequence[float]) -> dict[int, Shares]:
    return {percent: dict(enumerate(column, 1)) for percent, *column in zip(percents, *stages, strict=True)}


def _kernels(rows: Sequence[Sequence[float]]) -> dict[int, Patterns]:
    # As printed: three rows a stage, three columns each of 10, 50 and 90 %.
    P = np.reshape(rows, (3, 3, 3, 3))  # stage, i, percent, j
    P.flags.writeable = False
    return {percent: {s + 1: P[s, :, k, :] for s in range(3)} for k, percent in enumerate((10, 50, 90))}


PRERESNET164 = _columns(
    (10, 20, 30, 40, 50, 60, 70),
    (0.879, 0.729, 0.557, 0.484, 0.421, 0.349, 0.271),
    (0.959, 0.863, 0.754, 0.651, 0.537, 0.428, 0.320),
    (0.889, 0.798, 0.716, 0.610, 0.507, 0.403, 0.301),
)
"""Table 18: channels, network slimming on CIFAR-10."""

PRERESNET110 = _kernels(
    [
        [0.905, 0.905, 0.909, 0.530, 0.561, 0.538, 0.129, 0.171, 0.133],
        [0.900, 0.912, 0.899, 0.559, 0.588, 0.551, 0.166, 0.217, 0.176],
        [0.903, 0.913, 0.902, 0.532, 0.563, 0.547, 0.142, 0.172, 0.163],
        [0.906, 0.911, 0.906, 0.485, 0.523, 0.503, 0.073, 0.102, 0.085],
        [0.912, 0.911, 0.915, 0.508, 0.529, 0.525, 0.099, 0.114, 0.111],
        [0.911, 0.916, 0.912, 0.502, 0.529, 0.519, 0.080, 0.113, 0.096],
        [0.901, 0.904, 0.900, 0.454, 0.475, 0.454, 0.043, 0.059, 0.048],
        [0.885, 0.891, 0.889, 0.409, 0.420, 0.415, 0.032, 0.033, 0.035],
        [0.898, 0.903, 0.902, 0.450, 0.468, 0.458, 0.042, 0.055, 0.046],
    ]
)
"""Table 19: weights of 3x3 kernels, pruned by magnitude on CIFAR-100."""

DENSENET40 = _kernels(
    [
        [0.861, 0.856, 0.858, 0.507, 0.495, 0.510, 0.145, 0.129, 0.142],
        [0.843, 0.844, 0.851, 0.484, 0.486, 0.479, 0.123, 0.115, 0.126],
        [0.850, 0.854, 0.857, 0.509, 0.490, 0.511, 0.136, 0.131, 0.147],
        [0.907, 0.905, 0.906, 0.498, 0.487, 0.499, 0.099, 0.088, 0.100],
        [0.892, 0.888, 0.892, 0.442, 0.427, 0.444, 0.064, 0.043, 0.065],
        [0.907, 0.906, 0.905, 0.497, 0.485, 0.493, 0.095, 0.082, 0.098],
        [0.897, 0.901, 0.899, 0.470, 0.475, 0.472, 0.060, 0.060, 0.064],
        [0.888, 0.890, 0.889, 0.433, 0.437, 0.435, 0.040, 0.040, 0.042],
        [0.898, 0.900, 0.899, 0.473, 0.477, 0.473, 0.060, 0.061, 0.063],
    ]
)
"""Table 20: weights of 3x3 kernels, pruned by magnitude on CIFAR-100."""

VGG16 = _columns(
    (10, 20, 30, 40, 50, 60),
    (0.969, 0.914, 0.883, 0.875, 0.844, 0.836),
    (1.000, 1.000, 1.000, 1.000, 1.000, 1.000),
    (0.991, 0.975, 0.966, 0.957, 0.947, 0.947),
    (0.861, 0.718, 0.575, 0.446, 0.312, 0.258),
    (0.871, 0.751, 0.626, 0.486, 0.352, 0.132),
)
"""Table 21: channels, network slimming on CIFAR-10."""


def vgg_filters(depth: int, shares: Mapping[int, float | Fraction]) -> tuple[int, ...]:
    """Return the numbers of filters of a guided VGG, 0 for a pool, as `nn.models.vgg` takes them.

    Stages end at the pools, so that VGG-16 may guide VGG-19, too.

    Parameters
    ----------
    shares : {stage: share of the filters that stays}.

    Raises
    ------
    TypeError, ValueError
        If there is no VGG of this depth; as `guided.widths`.

    Examples
    --------
    >>> from pruning.architectures import stage_patterns
    >>> stage_patterns.vgg_filters(16, stage_patterns.VGG16[60])
    (54, 54, 0, 128, 128, 0, 242, 242, 242, 0, 132, 132, 132, 0, 68, 68, 68, 0)
    """
    check_known(depth, FILTERS, "VGG")
    filters = FILTERS[depth]
    stage = {str(i): 1 + filters[:i].count(0) for i, n in enumerate(filters) if n}
    found = guided.widths({name: filters[int(name)] for name in stage}, stage, shares)
    return tuple(found.get(str(i), 0) for i in range(len(filters)))


def preresnet_widths(depth: int, shares: Mapping[int, float | Fraction]) -> dict[str, Any]:
    """Return ``inner`` and ``seen`` of a guided PreResNet, as `nn.models.preresnet` takes them.

    All that network slimming cuts counts as its stage's: the filters inside the blocks, the channels that they read,
    and in the third stage those that the last batch norm reads.

    Parameters
    ----------
    shares : {stage: share of the channels that stays}.

    Raises
    ------
    TypeError, ValueError
        If there is no PreResNet of this depth; as `guided.widths`.
    """
    n = check_depth(depth, 9, 2)
    inner = {f"inner {i}": w for i, w in enumerate(w for w in (16, 32, 64) for _ in range(n))}
    seen = {f"seen {i}": c for i, c in enumerate((16, *(4 * w for w in inner.values())))}
    of = {**inner, **seen}
    found = guided.widths(of, {name: 1 + min(int(name.split()[1]) // n, 2) for name in of}, shares)
    return {"inner": [found[name] for name in inner], "seen": [found[name] for name in seen]}
