"""Channels, columns and blocks taken out of a net: `remove`, `remove_columns`, `remove_blocks`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from nn.backend import to_numpy
from nn.branches import Residual, Select
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module, Sequential, inside
from nn.optimizers import Optimizer
from pruning.channels import tracing
from pruning.channels.tracing import called, refuse_shared
from pruning.masks import prunable
from pruning.surgery.cuts import Keep, cut, indices, mapping
from pruning.surgery.resizing import Rebuild, bypassed, cut_like, without


def remove(net: Module, keep: Keep, optimizer: Optimizer | None = None) -> Any:
    """Return a new net that has only the output channels in `keep`, of the weights that are named there.

    It computes what `net` computes with the weights, biases, batch-norm scales and shifts of the other channels at
    zero, provided that their activation is zero at zero; `fold_constants` first, if it is not.

    Parameters
    ----------
    net : any net of nn's layers; an outline will do.
    keep : {"3.W": indices of the rows that stay}.  Channels that are tied go together, and one of their producers is
        enough to name them.
    optimizer : its parameters are those of `net`, or some of them.

    Returns
    -------
    the net, or with `optimizer` the pair (net, optimizer): a new one with the old one's settings, step count, and
    state, cut as the parameters were.  Masks are cut too, and are None where nothing but ones is left.  Gradients
    and curvatures are left behind.

    Raises
    ------
    ValueError
        One sentence, for whatever cannot be cut: see `pruning.surgery.cuts.cut` and `pruning.channels.tracing.trace`.

    Notes
    -----
    Where a sum adds the output of a zero-padded shortcut, its two sides can be given different indices, as long as
    all that stay in front stay behind: the shortcut is then an index map (`nn.ZeroPadShortcut(positions=)`).

    References
    ----------
    Li, Kadav, Durdanovic, Samet, Graf, "Pruning Filters for Efficient ConvNets", 2017, section 2.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> import pruning
    >>> rng = np.random.default_rng(0)
    >>> net = nn.Sequential(nn.Linear(4, 3, rng), nn.ReLU(), nn.Linear(3, 2, rng))
    >>> small = pruning.surgery.remove(net, {"0.W": [0, 2]})  # unit 1 goes, and the column that reads it
    >>> [(name, parameter.shape) for name, parameter in small.named_parameters()]
    [('0.W', (2, 4)), ('0.b', (2,)), ('2.W', (2, 2)), ('2.b', (2,))]
    """
    trace = tracing.trace(net)
    return without(net, trace, cut(trace, keep)).result(optimizer)


def remove_columns(net: Module, columns: Mapping[str, Sequence[int]], optimizer: Optimizer | None = None) -> Any:
    """Return a new net whose named weights have only these columns of W.reshape(O, -1): those are read, and no others.

    It computes what `net` computes with the other columns at zero, whatever the padding and the activations.

    Parameters
    ----------
    net : any net; an outline will do.
    columns : {"3.W": indices of the columns that stay}, numbered (c, kh, kw) in a convolution.  The convolution gets
        ``columns=`` and a W (O, K).  A fully connected layer gets an `nn.Select` in front, in a Sequential that takes
        its place: "3.W" is "3.1.W" afterwards.  What was selected before is selected once, not twice.
    optimizer : as for `remove`.

    Raises
    ------
    ValueError
        If a name is no weight of a convolution or a fully connected layer, if indices are doubled, out of range or
        none, or if two layers share a parameter.

    References
    ----------
    Wen et al., "Learning Structured Sparsity in Deep Neural Networks", 2016: shape-wise sparsity.
    """
    refuse_shared(net)
    layers = {inside(name, "W"): layer for name, layer in net.named_modules() if isinstance(layer, Conv2d | Linear)}
    unknown = [name for name in mapping(columns, "columns") if name not in layers]
    if unknown:
        some = f"; expected some of {', '.join(layers)}" if layers else ": no layer of the net has any"
        raise ValueError(f"{unknown[0]} has no columns{some}")
    left = {name: indices(given, math.prod(layers[name].W.shape[1:]), name) for name, given in columns.items()}

    def change(rebuild: Rebuild, name: str, module: Module) -> Module | None:
        if isinstance(module, Sequential) and inside(name, "1.W") in left and len(module.layers) == 2:
            select, inner = module.layers
            if isinstance(select, Select) and isinstance(inner, Linear):
                kept = left[inside(name, "1.W")]
                chosen = Select([select.indices[k] for k in kept], select.n_in)
                return Sequential(chosen, _fewer_columns(rebuild, inner, kept))
        if not isinstance(module, Conv2d | Linear) or inside(name, "W") not in left:
            return None
        kept = left[inside(name, "W")]
        if len(kept) == math.prod(module.W.shape[1:]):
            return None
        new = _fewer_columns(rebuild, module, kept)
        return Sequential(Select(kept, module.n_in), new) if isinstance(module, Linear) else new

    return Rebuild(net, change).result(optimizer)


def used_columns(net: Module, names: Sequence[str]) -> dict[str, list[int]]:
    """Return the columns of these weights that are not zero, for `remove_columns`; if all are zero, the first.

    Raises
    ------
    ValueError
        If a name is no parameter of the net.
    """
    used = {}
    for name, W in prunable(net, list(names)).items():
        used[name] = np.flatnonzero(to_numpy(W.data).reshape(W.shape[0], -1).any(axis=0)).tolist() or [0]
    return used


def _fewer_columns(rebuild: Rebuild, layer: Conv2d | Linear, kept: list[int]) -> Module:
    rows = list(range(layer.W.shape[0]))
    blocks = cut_like(layer, [(rows, kept)], rows)
    if isinstance(layer, Linear):
        return rebuild.layer(layer, blocks, n_in=len(kept))
    columns = kept if layer.columns is None else [layer.columns[k] for k in kept]
    return rebuild.layer(layer, blocks, columns=columns)


def remove_blocks(net: Module, names: Sequence[str], optimizer: Optimizer | None = None) -> Any:
    """Return a new net in which the shortcut stands in the place of each of these residual blocks.

    It computes what `net` computes if their bodies emit zeros.  No other layer can vanish: nothing would go around it.

    Parameters
    ----------
    net : any net; an outline will do.
    names : such as "3", or "5.body.0"; `nn.Identity` takes the place of a block without a layer in its shortcut.
    optimizer : as for `remove`; what the bodies have is left out.

    Raises
    ------
    ValueError
        If a name is not that of a residual block, or two layers share a parameter.

    References
    ----------
    Wen et al. 2016: depth-wise sparsity.
    """
    refuse_shared(net)
    modules = dict(net.named_modules())
    if isinstance(names, str) or not isinstance(names, Iterable):
        raise ValueError(f"expected a list of names, got {'the string ' * isinstance(names, str)}{names!r}")
    names = list(names)
    for name in names:
        if not isinstance(modules.get(name), Residual):
            kind = f"a {type(modules[name]).__name__}" if name in modules else "no layer of the net"
            raise ValueError(f"{called(name)} is {kind}: only a residual block can vanish, for its shortcut stays")

    return bypassed(net, names).result(optimizer)
