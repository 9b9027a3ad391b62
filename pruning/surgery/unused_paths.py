"""Whatever a sparse net does not need, taken out to a fixed point, in both directions.

Backwards: a channel that nobody reads goes, and what only it read goes with it.  This is exact whatever it emits.
Forwards: a channel whose weights are all zero, or read constants only, is constant, and so is one behind a batch norm
that scales it by zero; what it emits moves on (`pruning.surgery.folding`), and then nobody reads it.  A channel goes
only if nothing needs it of all that is tied to it: in a sum, every summand has to be constant or unread.

"Unused path removal" of the paper on structured ADMM pruning (P-RM, section 3); where it takes the maps of a pruned
filter for blank, see `pruning.surgery.folding`.
"""

from typing import Any

import numpy as np

from nn.branches import Residual, ZeroPadShortcut
from nn.conv import Conv2d
from nn.module import Module, check_net
from nn.optimizers import Optimizer
from pruning.channels import tracing
from pruning.channels.members import seen, sites_left, staying
from pruning.channels.tracing import INPUT, Site, Trace
from pruning.surgery.constants import Emitted
from pruning.surgery.cuts import refuse_noise
from pruning.surgery.folding import check_border, folded_without
from pruning.surgery.resizing import Rebuild, bypassed, duplicate


def remove_unused_paths(
    net: Module, input_shape: tuple[int, ...], border: str = "refuse", optimizer: Optimizer | None = None
) -> Any:
    """Return a new net, of the same function in eval mode, without the channels and blocks that do nothing in it.

    Parameters
    ----------
    net : with zeros in its weights, masked or not.
    input_shape : of one input, without the batch.
    border : as for `pruning.surgery.fold_constants`, but that "refuse" leaves a channel where it is, of which no bias
        takes up the constant.
    optimizer : as for `pruning.surgery.remove`.

    Raises
    ------
    ValueError
        As `pruning.channels.tracing.trace`; for an outline, which has no zeros; for another `border`; if `input_shape`
        does not fit the net; if the optimizer moves parameters of another net, or nothing that is left; if a layer
        draws noise (`harden` first).

    Notes
    -----
    No layer is emptied: where all its channels could go, or all of which it has columns, the first one of these stays.
    A branch of a concatenation goes as a whole, and so does a residual block whose body emits only zeros.  The groups
    of a convolution keep equal numbers.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> import pruning
    >>> rng = np.random.default_rng(0)
    >>> net = nn.Sequential(nn.Linear(4, 3, rng), nn.ReLU(), nn.Linear(3, 2, rng))
    >>> net.layers[2].W.data[:, 1] = 0  # nobody reads unit 1
    >>> small = pruning.surgery.remove_unused_paths(net, (4,))
    >>> small.layers[0].W.shape, small.layers[2].W.shape
    ((2, 4), (2, 2))
    """
    check_border(border)
    check_net(net)
    refuse_noise(net.named_modules())
    given = net
    while (smaller := _smaller(net, input_shape, border)) is not None:
        net, optimizer = smaller.net, None if optimizer is None else smaller.optimizer(optimizer)
    if net is given:
        return duplicate(net, optimizer)
    return net if optimizer is None else (net, optimizer)


def _smaller(net: Module, input_shape: tuple[int, ...], border: str) -> Rebuild | None:
    # The net without its silent blocks, or else without its unused channels; None if it has neither.
    trace = tracing.trace(net)
    emitted = Emitted(net, trace, input_shape)
    blocks = [site.name for site in trace.sites if isinstance(site.layer, Residual) and emitted.silent(site)]
    if blocks:
        return bypassed(net, blocks)
    gone = unused(emitted, border)
    return folded_without(net, emitted, gone) if gone else None


def unused(emitted: Emitted, border: str) -> set[int]:
    """Return the roots of the channels that can all go together.

    It starts from all channels, and takes back those that something reads or carries, until nothing does: the largest
    such set.  Only then a layer that would be emptied, or uneven in its groups, takes back what its shape needs.
    """
    trace = emitted.trace
    gone = set(trace.roots) - {trace.roots[INPUT], *trace.root(trace.outputs[""])}
    while True:
        before = None
        while gone != before:
            before = set(gone)
            for site in reversed(trace.sites):
                gone -= {trace.roots[reading.label] for reading in emitted.unfoldable(site, gone, border)}
                gone -= _carriers(site, trace, gone)
        shapes = (_needed_for_shape(trace, site, gone) & gone for site in reversed(sites_left(trace, gone)))
        needed = next(filter(None, shapes), None)
        if needed is None:
            return gone
        gone -= needed


def _carriers(site: Site, trace: Trace, gone: set[int]) -> set[int]:
    # What comes out of a zero-padded shortcut stays while what goes in does.
    if not isinstance(site.layer, ZeroPadShortcut):
        return set()
    pairs = zip(site.layer.sources(len(site.inputs)), trace.root(site.outputs))
    return {out for i, out in pairs if i is not None and trace.roots[site.inputs[i]] not in gone}


def _needed_for_shape(trace: Trace, site: Site, gone: set[int]) -> set[int]:
    needed = set()
    for labels in (seen(site), site.outputs):
        if labels and not staying(trace, labels, gone):
            needed.add(trace.roots[labels[0]])
    if isinstance(site.layer, Conv2d) and site.layer.groups > 1:
        needed |= _evened_out(trace, site, site.layer, gone)
    return needed


def _evened_out(trace: Trace, site: Site, layer: Conv2d, gone: set[int]) -> set[int]:
    # As many in every group of a convolution as in the group that keeps most; a group without any may vanish.
    sides = [np.array_split(trace.root(labels), layer.groups) for labels in (site.inputs, site.outputs)]
    alive = [group for group in zip(*sides) if any(root not in gone for side in group for root in side)]
    if layer.columns is not None:
        return {root for group in alive for side in group for root in side}
    needed = set()
    for groups in zip(*alive):
        most = max(sum(root not in gone for root in side) for side in groups)
        for side in groups:
            out = [root for root in side if root in gone]
            needed |= {*out[: len(out) - len(side) + most]}
    return needed
