"""What is asked of a trace: which layers make a channel, which rows and columns of a layer it has, and what is left.

A set `gone` of channels is given by their roots (`Trace.roots`), so that what is tied goes together.
"""

from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import inside
from pruning.channels.tracing import Site, Trace, called


def producers(trace: Trace) -> dict[str, Site]:
    """Return {name of a weight: its layer} of all weights whose rows make channels, such as "3.W"."""
    return {inside(site.name, "W"): site for site in trace.sites if isinstance(site.layer, Conv2d | Linear)}


def consumed(layer: Conv2d | Linear) -> list[list[int]]:
    """Return, for each group of the layer, which input row each column of W.reshape(O, -1) multiplies."""
    if isinstance(layer, Linear):
        return [list(range(layer.n_in))]
    per_group, area = layer.c_in // layer.groups, layer.geometry.kernel[0] * layer.geometry.kernel[1]
    columns = range(per_group * area) if layer.columns is None else layer.columns
    return [[group * per_group + k // area for k in columns] for group in range(layer.groups)]


def shaped_like_weights(layer: Conv2d | Linear) -> list[str]:
    """Return the names of the layer's parameters that have W's shape: "W", and what a subclass has for each weight."""
    return [name for name, array in layer.named_parameters() if tuple(array.shape) == tuple(layer.W.shape)]


def seen(site: Site) -> list[int]:
    """Return the channels going in that the layer has columns for; it needs at least one of them."""
    if isinstance(site.layer, Conv2d) and site.layer.columns is not None:
        return [site.inputs[row] for group in consumed(site.layer) for row in group]
    return site.inputs


def by_group(layer: Conv2d, rows: list[int], n: int) -> list[list[int]]:
    """Return which of the n rows of a grouped convolution are in each group, numbered inside the group."""
    size = n // layer.groups
    return [[row % size for row in rows if row // size == group] for group in range(layer.groups)]


def where(trace: Trace, label: int) -> str:
    """Return a channel in words, such as "row 3 of 2.W": the first producer of it, or else where it is made."""
    for name, site in producers(trace).items():
        if trace.roots[label] in trace.root(site.outputs):
            return f"row {trace.root(site.outputs).index(trace.roots[label])} of {name}"
    name, row = trace.origins[label]
    return f"channel {row} of {called(name)}"


def staying(trace: Trace, labels: list[int], gone: set[int]) -> list[int]:
    """Return the positions of the channels that stay."""
    return [position for position, root in enumerate(trace.root(labels)) if root not in gone]


def sites_left(trace: Trace, gone: set[int]) -> list[Site]:
    """Return the sites that are still there; a branch of a concatenation that loses all its channels is not."""
    empty = tuple(f"{branch}." for branch in trace.branches if not staying(trace, trace.outputs[branch], gone))
    return [site for site in trace.sites if not f"{site.name}.".startswith(empty)]
