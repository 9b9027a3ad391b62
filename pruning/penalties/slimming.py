r"""Network slimming: an l1 penalty on the scales of batch norm, and one threshold for the channels of all layers.

    min  sum_n l(f(x_n), t_n) + lam sum |gamma|

The penalty is that of groups of one (`families`).  `group_lasso.ProximalSteps` sets gamma to
S(gamma, eta lam / (1 - mu)) after every step and leaves exact zeros.  `group_lasso.Subgradients` with the threshold 0
adds lam sign(gamma) to the gradient, sign(0) = 0, as the authors do, and leaves none.  A scale that the loss does not
hold travels eta lam / (1 - mu) a step: it is zero after gamma_0 (1 - mu) / (eta lam) of them.

(t gamma, t beta, W / t), W being what reads the maps, is the same function in a ReLU net: with t -> 0 the penalty goes
to 0 and nothing was pruned.  It says something only beside weight decay on W, or as long as the steps are few.  Where W
stands in front of another batch norm, (t gamma, t beta) alone is the same function but for epsilon, and decay on W does
not see it.

Which scales: those whose channels can go one by one, directly behind the layer that makes them, or in front of a block
(`nn.models.preresnet`, `nn.models.densenet`), where the block then selects what it reads (`nn.Select`).  A batch norm
whose channels go into a sum, as the last one of a block of `nn.models.resnet_cifar`, has none.

Notes
-----
Liu, Li, Shen, Huang, Yan, Zhang 2017, Learning efficient convolutional networks through network slimming,
arXiv:1708.06519.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from numbers import Real

import numpy as np

from nn.arguments import nonnegative, number
from nn.backend import asarray, to_numpy
from nn.batchnorm import BatchNorm
from nn.branches import Select
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module, Parameter, Sequential, inside
from nn.run_state import kind_of
from pruning import channels, filters, surgery
from pruning.channels.tracing import refuse_shared
from pruning.counts import count
from pruning.penalties.families import Family
from pruning.surgery.resizing import Rebuild, duplicate

Keep = Mapping[str, Sequence[int]]
"""{name of a scale: its entries that stay}, such as {"1.gamma": [0, 2, 5]}."""


def scales(net: Module) -> dict[str, Parameter]:
    """Return the scales gamma of the batch norms whose channels can go one by one, by name.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If there is none, or two layers share a parameter; as `pruning.channels.tracing.trace`.
    """
    refuse_shared(net)
    apart, made = _apart(net)
    alone = {
        inside(group.named("producer")[0].name, "W")
        for group in channels.groups(apart)
        if not group.fixed and len(group.named("producer")) == 1
    }
    norms = {name: layer for name, layer in net.named_modules() if isinstance(layer, BatchNorm)}
    found = {inside(name, "gamma"): norm.gamma for name, norm in norms.items() if made[name] in alone}
    if not found:
        raise ValueError("expected a net with batch norms whose channels can go one by one; this one has none")
    return found


def start(net: Module, value: float = 0.5) -> None:
    """Set all scales to one number, in place, before training: 0.5 in the paper (recalled), 1 where nothing is set.

    Raises
    ------
    TypeError, ValueError
        Unless the value is a number of 0 or more; as `scales`.
    """
    value = nonnegative(value, "starting value of the scales")
    for gamma in scales(net).values():
        gamma.data = gamma.data * 0 + value


def families(net: Module, strength: float) -> list[Family]:
    """Return lam sum |gamma| as families of groups of one, for `pruning.penalties.group_lasso`.

    The shifts beta and the weights are in none of them.  The optimizer should not let the scales decay
    (``nn.SGD(..., decayed=...)``), which would be a second penalty.

    Raises
    ------
    TypeError, ValueError
        Unless the strength is a number of 0 or more; as `scales`.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning.penalties import group_lasso, slimming
    >>> rng, data = np.random.default_rng(0), nn.data.load("digits")
    >>> layers = [nn.Conv2d(1, 12, 3, rng, padding=1, bias=False), nn.BatchNorm(12), nn.ReLU()]
    >>> net = nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(12, 10, rng))
    >>> slimming.start(net, 0.5)
    >>> optimizer = nn.SGD(net.parameters(), 0.05, momentum=0.9)
    >>> steps = group_lasso.ProximalSteps(net, slimming.families(net, 0.02), optimizer)
    >>> settings = {"batch_size": 64, "rng": rng, "progress": False, "companions": [steps]}
    >>> history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, *data.train, epochs=5, **settings)
    >>> keep = slimming.keep(net, 0.5)
    >>> small = slimming.slim(net, keep, (1, 8, 8))
    >>> small.layers[0].W.shape, small.layers[4].W.shape
    ((6, 1, 3, 3), (10, 6))
    """
    return [Family({name: (0,)}, nonnegative(strength, "strength")) for name in scales(net)]


def by_threshold(net: Module, share: float) -> dict[str, list[int]]:
    """Return what stays above one threshold for all scales, without a guard: of some layers it may be nothing.

    Of N scales in all, floor(N (1 - share)) stay, those of largest |gamma|, and one at least unless the share is 1.
    Among equals the first layer and in a layer the last entry goes.

    Raises
    ------
    ValueError
        If the share is not in [0, 1], or a scale is not finite; as `scales`.
    """
    sizes = _sizes(net)
    left = _left(sizes, _removed(sizes, share), guard=0)
    return {name: sorted(np.argsort(-size, kind="stable")[: left[name]].tolist()) for name, size in sizes.items()}


def keep(net: Module, share: float) -> dict[str, list[int]]:
    """Return what stays of the scales if the share of them with the least |gamma| goes, but one at least a layer.

    As many go as with `by_threshold`: the largest of each layer stays, and the next ones of other layers go in its
    place.  A warning names the layers that the threshold alone would empty.  Where a grouped convolution makes or reads
    the channels, as many stay in every group (`pruning.filters.largest`), and a few less go.

    Raises
    ------
    ValueError
        If the share would leave less than one channel a layer; as `by_threshold`.
    """
    sizes = _sizes(net)
    removed = _removed(sizes, share)
    total = sum(size.size for size in sizes.values())
    if removed > total - len(sizes):
        raise ValueError(f"expected one channel left in each of {len(sizes)} layers; {share} of {total} is too much")
    empty = [name for name, n in _left(sizes, removed, guard=0).items() if not n]
    if empty:
        warnings.warn(f"the threshold alone would empty {', '.join(empty)}: the largest scale stays", stacklevel=2)
    return _largest(net, sizes, removed)


def keep_for_macs(
    net: Module, input_shape: Sequence[int], macs: float, convention: str = "li2017"
) -> dict[str, list[int]]:
    """Return what stays if as few scales go as leave at most the share `macs` of the net's multiply-accumulates.

    Parameters
    ----------
    input_shape : of one input, without the batch.
    macs : above 0, at most 1.
    convention : as for `pruning.counts.count`.

    Raises
    ------
    ValueError
        If `macs` is outside its range; as `keep_that_fit`.
    """
    if not (isinstance(macs, Real) and not isinstance(macs, bool) and 0 < macs <= 1):
        raise ValueError(f"expected a share of the MACs above 0, at most 1, got {macs}")
    most = macs * count(net, input_shape, convention).macs
    return keep_that_fit(net, lambda small: count(small, input_shape, convention).macs <= most)


def keep_that_fit(net: Module, fits: Callable[[Module], bool]) -> dict[str, list[int]]:
    """Return what stays if as few scales go, those of least |gamma|, as leave a small net that fits.

    Parameters
    ----------
    fits : says so of a small net, such as of its weights; what has less channels than one that fits has to fit, too.

    Raises
    ------
    ValueError
        If even one channel a layer does not fit; as `scales`.
    """
    sizes = _sizes(net)

    def enough(removed: int) -> bool:
        return fits(_cut(net, _largest(net, sizes, removed)))

    low, high = -1, sum(size.size - 1 for size in sizes.values())  # too much is left at low, little enough at high
    if not enough(high):
        raise ValueError(f"even one channel for each of {', '.join(sizes)} is too much")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return _largest(net, sizes, high)


def masked(net: Module, keep: Keep) -> Module:
    """Return a new net whose scales outside `keep` are zero; shifts stay, so that these channels emit a constant.

    Raises
    ------
    ValueError
        If a name is none of the scales, or its entries are doubled, out of range or none; as `scales`.
    """
    known = scales(net)
    for name, entries in surgery.cuts.mapping(keep, "scales").items():
        if name not in known:
            raise ValueError(f"expected some of the scales {', '.join(known)}, got {name}")
        surgery.cuts.indices(entries, known[name].shape[0], name)
    new: Module = duplicate(net)
    for name, gamma in scales(new).items():
        stays = np.isin(np.arange(gamma.shape[0]), list(keep.get(name, range(gamma.shape[0]))))
        gamma.data = gamma.data * asarray(stays * 1.0, like=gamma.data)
    return new


def slim(net: Module, keep: Keep, input_shape: tuple[int, ...], border: str = "map") -> Module:
    """Return the small net, which computes in eval mode what the `masked` one does.

    What a dead channel emits, act(beta), goes into the biases of what reads it, under a border of zeros into a bias
    map of the size that `input_shape` leads to.  With ``border="refuse"`` a ValueError names the layer instead, and
    ``surgery.remove_unused_paths(masked(net, keep), input_shape)`` keeps the channels that meet a border.  The channels
    that a block no longer reads stay in the sum, or the concatenation, that they come from.

    Several passes are training, `keep` and `slim`, again and again; the new net needs a new optimizer.

    Raises
    ------
    ValueError
        As `masked` and `pruning.surgery.fold_constants`.
    """
    apart, made = _apart(masked(net, keep))
    rows = _rows(keep, made)
    return _selecting(surgery.remove(surgery.fold_constants(apart, rows, input_shape, border), rows), net)


def _sizes(net: Module) -> dict[str, np.ndarray]:
    sizes = {name: np.abs(to_numpy(gamma.data)) for name, gamma in scales(net).items()}
    for name, size in sizes.items():
        if not np.isfinite(size).all():
            raise ValueError(f"expected finite scales, and {name} has others")
    return sizes


def _removed(sizes: Mapping[str, np.ndarray], share: float) -> int:
    total = sum(size.size for size in sizes.values())
    if number(share, "a share") == 1:
        return total
    return total - filters.kept(total, share)


def _left(sizes: Mapping[str, np.ndarray], removed: int, guard: int) -> dict[str, int]:
    # How many stay in each layer if the smallest of all go; the `guard` largest of a layer are no candidates.
    candidates = [(float(v), name) for name, size in sizes.items() for v in np.sort(size)[: size.size - guard]]
    gone = [name for _, name in sorted(candidates, key=lambda pair: pair[0])[:removed]]
    return {name: size.size - gone.count(name) for name, size in sizes.items()}


def _largest(net: Module, sizes: Mapping[str, np.ndarray], removed: int) -> dict[str, list[int]]:
    apart, made = _apart(net)
    sets, makers = filters.alike(apart), {name: made[name.removesuffix("gamma").rstrip(".")] for name in sizes}
    left = _left(sizes, removed, guard=1)
    shares = {makers[name]: filters.share(size.size, left[name]) for name, size in sizes.items()}
    stay = filters.largest({makers[name]: size for name, size in sizes.items()}, shares, sets)
    return {name: stay[makers[name]] for name in sizes}


def _cut(net: Module, keep: Keep) -> Module:
    apart, made = _apart(net)
    return _selecting(surgery.remove(apart, _rows(keep, made)), net)


def _rows(keep: Keep, made: Mapping[str, str]) -> dict[str, Sequence[int]]:
    return {made[name.removesuffix("gamma").rstrip(".")]: entries for name, entries in keep.items()}


def _apart(net: Module) -> tuple[Module, dict[str, str]]:
    """Return the net in which every batch norm has a layer that makes its channels for it alone, and those layers' W.

    Where others read the channels too, an identity of 1 x 1 filters stands in front: to prune a filter of it is to
    select channels.
    """
    made = {}
    for name, module in net.named_modules():
        if isinstance(module, Sequential):
            for (front, a), (behind, b) in pairwise(module.children()):
                if isinstance(a, Conv2d | Linear) and isinstance(b, BatchNorm):
                    made[inside(name, behind)] = inside(inside(name, front), "W")

    def change(_: Rebuild, name: str, module: Module) -> Module | None:
        if not isinstance(module, BatchNorm) or name in made:
            return None
        norm = duplicate(module)
        return Sequential(_identity(norm), norm)

    inserted = {
        name: inside(name, "0.W")
        for name, module in net.named_modules()
        if isinstance(module, BatchNorm) and name not in made
    }
    return Rebuild(net, change).net, made | inserted


def _identity(norm: BatchNorm) -> Conv2d:
    C, outline = norm.channels, norm.gamma.is_outline
    rng = None if outline else np.random.default_rng(0)  # what it draws is overwritten
    layer = Conv2d(C, C, 1, rng, bias=False, dtype=kind_of(norm.gamma)[1])
    if not outline:
        layer.W.data = asarray(np.eye(C)[:, :, None, None], like=norm.gamma.data)
    layer.training = norm.training
    return layer


def _selecting(apart: Module, net: Module) -> Module:
    # Identities become selections, and where all channels are read nothing.
    norms = {name for name, module in net.named_modules() if isinstance(module, BatchNorm)}

    def change(rebuild: Rebuild, name: str, module: Module) -> Module | None:
        if name not in norms or not isinstance(module, Sequential):
            return None
        identity, norm = module.layers
        layer = rebuild.module(inside(name, "1"), norm)
        read = to_numpy(dict(identity.named_parameters())["W"].data)[:, :, 0, 0]
        if len(read) == read.shape[1]:
            return layer
        select = Select(read.argmax(axis=1).tolist(), read.shape[1])
        select.training = norm.training
        return Sequential(select, layer)

    return Rebuild(apart, change).net
