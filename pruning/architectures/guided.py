r"""Guided pruning and guided sparsification: new nets from the stage averages of pruned ones (Liu et al. 2019).

A stage is the layers that make maps of one size.  Of the pruned nets no weight is used, only what their stages keep:

    guided pruning          r_s = sum_l kept_l / sum_l n_l,    n'_l = max(1, [r_s n_l])
    guided sparsification   P_s[i, j] = sum_l sum_oc m_l[o, c, i, j] / sum_l O_l C_l,    k_l[i, j] = [P_s[i, j] O_l C_l]

with l over the layers of the stage s, n_l filters and masks m_l (O_l, C_l, KH, KW); [.] is the nearest whole number,
halves up.  The new nets have n'_l filters, or k_l[i, j] weights at the place (i, j) of their kernels, drawn at random.
Numbers and shares are given by name, {"3.W": ...}; what the stages of one net keep may guide another one, too.

References
----------
Liu, Sun, Zhou, Huang, Darrell 2019, Rethinking the value of network pruning, ICLR, arXiv:1810.05270; the lecture's
Tables 18 to 21 are such averages (`pruning.architectures.stage_patterns`).
"""

import math
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from nn.arguments import number, whole
from nn.backend import Array, dtype_name, to_numpy
from nn.conv import Conv2d
from nn.initializers import check_generator
from nn.module import Module, inside
from pruning.counts import checked_shape, count, walk
from pruning.masks import check_arrays, prunable

HALF = Fraction(1, 2)


def stages(net: Module, input_shape: Sequence[int], names: Iterable[str] | None = None) -> dict[str, int]:
    """Return {name of a convolution's W: its stage}: 1 for the first size of maps that they make, 2 for the next, ...

    Parameters
    ----------
    names : of the weights to take; None: all convolutions that are no shortcut.

    Raises
    ------
    ValueError
        If the net cannot take this input, or a name is none of a convolution.
    """
    sizes = {
        inside(name, "W"): (module.output_shape(shape)[1:], projection)
        for name, module, shape, projection in walk(net, checked_shape(net, input_shape))
        if isinstance(module, Conv2d)
    }
    chosen = [name for name, (_, projection) in sizes.items() if not projection] if names is None else list(names)
    for name in chosen:
        if name not in sizes:
            raise ValueError(f"expected the names of convolutions, {', '.join(sizes)}; got {name!r}")
    order = list(dict.fromkeys(sizes[name][0] for name in sizes if name in chosen))
    return {name: order.index(sizes[name][0]) + 1 for name in chosen}


# ---- guided pruning --------------------------------------------------------------------------------------------------
def shares(kept: Mapping[str, int], of: Mapping[str, int], stages: Mapping[str, Hashable]) -> dict[Any, Fraction]:
    """Return what each stage keeps, r_s = sum_l kept_l / sum_l n_l, exactly.

    Parameters
    ----------
    kept, of : numbers of filters by name, after pruning and before.
    stages : the stage of each name.

    Raises
    ------
    ValueError
        If the names differ, a number is none of filters, or more are kept than were there.
    """
    _same_names(kept, of, stages)
    sums: dict[Any, list[int]] = {}
    for name, stage in stages.items():
        n, left = _filters(of[name], name), whole(kept[name], f"number of filters kept of {name}", 0)
        if left > n:
            raise ValueError(f"expected to keep at most {n} filters of {name}, got {left}")
        one = sums.setdefault(stage, [0, 0])
        one[0], one[1] = one[0] + left, one[1] + n
    return {stage: Fraction(left, n) for stage, (left, n) in sums.items()}


def widths(
    of: Mapping[str, int], stages: Mapping[str, Hashable], shares: Mapping[Any, float | Fraction]
) -> dict[str, int]:
    """Return the widths of the guided net, n'_l = max(1, [r_s n_l]), halves up.

    Parameters
    ----------
    of : numbers of filters of the net to be made small, by name; it need not be the net that was pruned.
    stages : the stage of each name.
    shares : what each stage keeps, from 0 to 1; a float is taken as the decimal that it prints.

    Raises
    ------
    TypeError
        If a share is no number.
    ValueError
        If the names differ, a number is none of filters, or a stage has no share from 0 to 1.
    """
    _same_names(of, stages)
    exact = {stage: _share(shares, stage) for stage in set(stages.values())}
    return {name: max(1, _nearest(exact[stages[name]] * _filters(of[name], name))) for name in of}


def widest(
    of: Mapping[str, int],
    stages: Mapping[str, Hashable],
    shares: Mapping[Any, float | Fraction],
    cost: Callable[[dict[str, int]], float],
    most: float,
) -> dict[str, int]:
    """Return the widest net that costs at most so much and whose stages keep shares in these proportions.

        max f  such that  cost({l: max(1, [min(1, f r_s) n_l])}) <= most

    With one stage for all layers it is the uniform net, the control.  The widths change at f = (k - 1/2) / (r_s n_l)
    only; the search halves the list of these.

    Parameters
    ----------
    of, stages, shares : as for `widths`.
    cost : of a net with these widths, such as its MACs; no wider net may cost less.
    most : in the same unit.

    Raises
    ------
    TypeError
        If `most`, a cost or a share is no number.
    ValueError
        As `widths`; if one filter a layer costs too much.
    """
    _same_names(of, stages)
    exact = {stage: _share(shares, stage) for stage in set(stages.values())}
    pairs = {(exact[stages[name]], _filters(n, name)) for name, n in of.items()}
    steps = [Fraction(0), *sorted({(k - HALF) / (r * n) for r, n in pairs if r for k in range(2, n + 1)})]
    most = number(most, "the highest cost")

    def at(step: int) -> dict[str, int]:
        return widths(of, stages, {stage: min(Fraction(1), steps[step] * r) for stage, r in exact.items()})

    def fits(step: int) -> bool:
        return number(cost(at(step)), "the cost") <= most

    low, high = 0, len(steps)  # what fits, and what does not
    if not fits(low):
        raise ValueError(f"one filter a layer costs more than {most:g}")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return at(low)


# ---- guided sparsification -------------------------------------------------------------------------------------------
def patterns(masks: Mapping[str, Array], stages: Mapping[str, Hashable]) -> dict[Any, np.ndarray]:
    """Return the share of weights that each stage keeps at each place of its kernels, P_s (KH, KW).

    Parameters
    ----------
    masks : zeros and ones (O, C, KH, KW) by name.
    stages : the stage of each name.

    Raises
    ------
    TypeError
        If the masks are not arrays by name.
    ValueError
        If the names differ, a mask is no array (O, C, KH, KW) of zeros and ones, or two kernels of a stage differ in
        size.
    """
    check_arrays("masks", masks)
    _same_names(masks, stages)
    sums: dict[Any, Any] = {}
    kernels: dict[Any, int] = {}
    for name, stage in stages.items():
        mask = to_numpy(masks[name])
        if mask.ndim != 4 or not ((mask == 0) | (mask == 1)).all():
            raise ValueError(f"expected a mask (O, C, KH, KW) of zeros and ones for {name}, got shape {mask.shape}")
        there = np.sum(mask, axis=(0, 1), dtype=float)
        if stage in sums and sums[stage].shape != there.shape:
            raise ValueError(f"expected kernels of {sums[stage].shape} in stage {stage}, got {there.shape} in {name}")
        sums[stage] = sums.get(stage, 0) + there
        kernels[stage] = kernels.get(stage, 0) + mask.shape[0] * mask.shape[1]
    return {stage: np.asarray(sums[stage] / kernels[stage]) for stage in sums}


def numbers(pattern: Array, kernels: int) -> np.ndarray:
    """Return how many of so many kernels keep the weight at each place, k[i, j] = [P[i, j] kernels], halves up.

    Raises
    ------
    ValueError
        If the pattern is no matrix of shares from 0 to 1, or there is no kernel.
    """
    kernels, P = whole(kernels, "number of kernels", 1), np.asarray(to_numpy(pattern))
    if P.ndim != 2 or not np.isrealobj(P) or not ((P >= 0) & (P <= 1)).all():
        raise ValueError(f"expected a pattern (KH, KW) of shares from 0 to 1, got {' '.join(repr(pattern).split())}")
    return np.array([[_nearest(Fraction(str(share)) * kernels) for share in row] for row in P.tolist()])


def sparse(
    net: Module, stages: Mapping[str, Hashable], patterns: Mapping[Any, Array], rng: np.random.Generator
) -> dict[str, np.ndarray]:
    """Return masks of a guided sparse net: at each place of the kernels exactly k_l[i, j] weights, drawn at random.

    What the stages do not name stays whole.  `pruning.masks.apply` sets the masks.

    Parameters
    ----------
    net : an outline is enough; only its shapes count.
    stages : the stage of the convolutions to be made sparse, {name: stage}.
    patterns : what each stage keeps, {stage: (KH, KW)}.
    rng : draws the kernels.

    Returns
    -------
    {name: zeros and ones (O, C, KH, KW), in the dtype of the weight}

    Raises
    ------
    TypeError
        If `rng` is no generator.
    ValueError
        If a name is no weight of a convolution, or a stage has no pattern of the size of its kernels.
    """
    check_generator(rng, outline=False)
    found = {}
    for name, parameter in prunable(net, stages).items():
        if len(parameter.shape) != 4:
            raise ValueError(f"expected weights (O, C, KH, KW) of a convolution, got {parameter.shape} of {name}")
        k = _numbers_of(name, parameter.shape, stages, patterns)
        O, C, *kernel = parameter.shape
        mask = np.zeros((O * C, *kernel), dtype=dtype_name(parameter.dtype))
        for i, j in np.ndindex(*kernel):
            mask[rng.permutation(O * C)[: k[i, j]], i, j] = 1
        found[name] = mask.reshape(parameter.shape)
    return found


def sparse_cost(
    net: Module,
    input_shape: Sequence[int],
    stages: Mapping[str, Hashable],
    patterns: Mapping[Any, Array],
    convention: str = "li2017",
) -> tuple[int, int]:
    """Return (MACs, weights) of the guided sparse net, nothing drawn; a weight that is zero multiplies nothing.

        weights = sum_l sum_ij k_l[i, j],    MACs = sum_l H_l W_l sum_ij k_l[i, j],    other layers as they are

    Parameters
    ----------
    stages : {name: stage} of the layers that are sparse.
    patterns : what each stage keeps, {stage: (KH, KW)}.

    Raises
    ------
    ValueError
        As `sparse`, `pruning.counts.count` and for a convention that counts biases.
    """
    layers = {inside(layer.name, "W"): layer for layer in count(net, input_shape, convention).layers}
    macs = sum(layer.macs for layer in layers.values())
    weights = sum(layer.parameters for layer in layers.values())
    for name, parameter in prunable(net, stages).items():
        if name not in layers or layers[name].parameters != math.prod(parameter.shape):
            raise ValueError(f"expected a convention that counts the weights of {name} alone, got {convention!r}")
        gone = math.prod(parameter.shape) - int(_numbers_of(name, parameter.shape, stages, patterns).sum())
        weights, macs = weights - gone, macs - gone * math.prod(layers[name].output[1:])
    return macs, weights


def _numbers_of(
    name: str, shape: tuple[int, ...], stages: Mapping[str, Hashable], patterns: Mapping[Any, Array]
) -> np.ndarray:
    stage = stages[name]
    pattern = patterns.get(stage)
    if pattern is None or tuple(np.shape(pattern)) != shape[2:]:
        got = "none" if pattern is None else f"one of {np.shape(pattern)}"
        raise ValueError(f"expected a pattern of {shape[2:]} for stage {stage}, that of {name}, got {got}")
    return numbers(pattern, shape[0] * shape[1])


# ---- what both ask of their arguments --------------------------------------------------------------------------------
def _nearest(x: Fraction) -> int:
    return math.floor(x + HALF)


def _filters(n: Any, name: str) -> int:
    return whole(n, f"number of filters of {name}", 1)


def _share(shares: Mapping[Any, float | Fraction], stage: Hashable) -> Fraction:
    if stage not in shares:
        raise ValueError(f"expected a share of stage {stage}, got those of {', '.join(map(str, shares)) or 'none'}")
    given = shares[stage]
    if not 0 <= number(given, f"the share of stage {stage}") <= 1:
        raise ValueError(f"expected a share from 0 to 1 of stage {stage}, got {given!r}")
    return given if isinstance(given, Fraction) else Fraction(str(given))


def _same_names(*several: Mapping[str, Any]) -> None:
    for each in several:
        if not isinstance(each, Mapping):
            raise TypeError(f"expected a dict by name, got {type(each).__name__}")
        if not each or set(each) != set(several[0]):
            raise ValueError(f"expected the same names everywhere, got {', '.join(map(str, each)) or 'none'}")
