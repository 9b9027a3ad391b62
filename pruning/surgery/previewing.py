"""What a cut will take, layer by layer, said before it is made."""

import math

from nn.backend import Array
from nn.branches import Residual
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module
from nn.scale import Scale
from pruning.channels import ranges, tracing
from pruning.channels.members import consumed, producers, staying
from pruning.channels.tracing import Site, Trace, called
from pruning.surgery.cuts import Keep, cut
from pruning.surgery.resizing import Rebuild, smaller, without

WIDTH = 40
"""How many characters of a list of rows are printed; their number stands in front."""


def preview(net: Module, keep: Keep) -> str:
    """Return as text what ``remove(net, keep)`` takes: rows and columns of each array, tied partners, sizes.

    One line for each array, or several of one layer, of which something goes, with its shape before and after; one for
    each sum, depthwise convolution or zero-padded shortcut that ties a channel that goes; one for the weights
    of all layers and one for all parameters.  Arrays that are not listed stay as they are.

    Parameters
    ----------
    net, keep : as for `pruning.surgery.remove`; nothing is modified.

    Raises
    ------
    ValueError
        As `pruning.surgery.remove`, for whatever cannot be cut.

    Examples
    --------
    >>> import nn
    >>> import pruning
    >>> print(pruning.surgery.preview(nn.models.lenet5(None), {"0.W": range(10)}))
    layer  kind    arrays  before     after      goes
    0      Conv2d  W       20x1x5x5   10x1x5x5   10 rows: 10-19
    0      Conv2d  b       20         10         10 rows: 10-19
    2      Conv2d  W       50x20x5x5  50x10x5x5  10 channels: 10-19
    weights 430,500 -> 417,750
    parameters 431,080 -> 418,320
    """
    trace = tracing.trace(net)
    gone = cut(trace, keep)
    made: dict[str, Module] = {}

    def make(rebuild: Rebuild, site: Site, inputs: list[int], outputs: list[int]) -> Module:
        made[site.name] = smaller(rebuild, site, inputs, outputs)
        return made[site.name]

    small = without(net, trace, gone, make).net
    rows = [row for site in trace.sites for row in _losses(site, made.get(site.name), trace, gone)]
    lines = _aligned([("layer", "kind", "arrays", "before", "after", "goes"), *rows]) if rows else ["nothing goes"]
    weights = [sum(math.prod(W.shape) for W in _weights(each)) for each in (net, small)]
    parameters = [sum(math.prod(parameter.shape) for parameter in each.parameters()) for each in (net, small)]
    totals = [f"{what} {n:,} -> {m:,}" for what, (n, m) in (("weights", weights), ("parameters", parameters))]
    return "\n".join([*lines, *_ties(trace, gone), *totals])


def _losses(site: Site, new: Module | None, trace: Trace, gone: set[int]) -> list[tuple[str, ...]]:
    # One row for all arrays of the layer that lose the same; none of those that lose nothing.
    if isinstance(site.layer, Residual):
        return []
    together: dict[tuple[str, str, str], list[str]] = {}
    for name, array in _arrays(site.layer).items():
        before, after = tuple(array.shape), None if new is None else tuple(_arrays(new)[name].shape)
        if before != after:
            goes = "the whole layer" if after is None else _goes(site, before[1:] != after[1:], trace, gone)
            together.setdefault((_size(before), _size(after), goes), []).append(name)
    kind = type(site.layer).__name__
    return [(called(site.name), kind, ", ".join(names), *loss) for loss, names in together.items()]


def _size(shape: tuple[int, ...] | None) -> str:
    return "-" if shape is None else "x".join(map(str, shape))


def _arrays(layer: Module) -> dict[str, Array]:
    return {name: a for name, a in [*layer.named_parameters(), *layer.named_buffers()] if a is not None}


def _goes(site: Site, narrower: bool, trace: Trace, gone: set[int]) -> str:
    layer, inputs, outputs = site.layer, *(_gone(trace, labels, gone) for labels in (site.inputs, site.outputs))
    if isinstance(layer, Scale):  # a group goes with the last of its channels
        of = layer.group_of()
        left = {of[row] for row in range(len(of)) if row not in outputs}
        return _counted(sorted({*of} - left), "group")
    parts = [_counted(outputs, "row")] if outputs else []
    if narrower and isinstance(layer, Conv2d | Linear):
        if isinstance(layer, Conv2d) and layer.columns is not None:
            group = next(group for group in consumed(layer) if not {*group} <= {*inputs})
            parts.append(_counted([k for k, channel in enumerate(group) if channel in inputs], "column"))
        else:
            parts.append(_counted(inputs, "column" if isinstance(layer, Linear) else "channel"))
    return "; ".join(parts)


def _gone(trace: Trace, labels: list[int], gone: set[int]) -> list[int]:
    return sorted({*range(len(labels))} - {*staying(trace, labels, gone)})


def _counted(numbers: list[int], noun: str) -> str:
    text = ranges(numbers)
    if len(text) > WIDTH:
        text = text[:WIDTH].rpartition(", ")[0] + ", ..."
    return f"{len(numbers)} {noun}{'s' * (len(numbers) > 1)}: {text}"


def _ties(trace: Trace, gone: set[int]) -> list[str]:
    # What ties channels that go, and the weights that make these.
    tied: dict[str, set[int]] = {}
    for tie in [*trace.ties, *trace.pads]:
        tied.setdefault(tie.by, set()).update(gone & {*trace.root((tie.first, tie.second))})
    made = {name: {*trace.root(site.outputs)} for name, site in producers(trace).items()}
    together = [(by, [name for name in made if made[name] & channels]) for by, channels in tied.items()]
    return [f"tied by {by}: {', '.join(names)}" for by, names in together if names]


def _weights(net: Module) -> list[Array]:
    return [layer.W for layer in net.modules() if isinstance(layer, Conv2d | Linear)]


def _aligned(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows)]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
