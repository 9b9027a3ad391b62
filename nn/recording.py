"""What goes into and comes out of named layers."""

import copy
import functools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from nn.backend import Array
from nn.module import Module

Passes = list[tuple[Array, Array]]


@contextmanager
def record(net: Module, names: Sequence[str]) -> Iterator[dict[str, Passes]]:
    """Keep x and y of the named layers, one pair a forward pass that is made within the ``with`` block.

        with record(net, ["3", "3.body.1"]) as seen:
            net.forward(x)
        ((x, y),) = seen["3.body.1"]                   # y = the layer's forward(x)

    Parameters
    ----------
    net : as it was again after the block, also after an error.
    names : of layers or containers, as in `Module.named_parameters` without the ".W"; "" is the net itself.

    Yields
    ------
    dict name -> list of pairs (x, y), in the order of the passes.  They are the arrays that the layers passed on, not
    copies: no layer changes an array that it was given or has handed out.  All stay in memory; who adds up over many
    batches opens a block for each.

    Raises
    ------
    ValueError
        If a name is no layer of the net, or a string stands where a list of names belongs; nothing is recorded then.

    Notes
    -----
    A copy of the net that is made within the block is not recorded.
    """
    if isinstance(names, str):
        raise ValueError(f"expected a list of names, got the string {names!r}")
    layers, names = dict(net.named_modules()), list(dict.fromkeys(names))
    unknown = [name for name in names if name not in layers]
    if unknown:
        raise ValueError(f"the net has no layer {unknown[0]!r}; it has {', '.join(filter(None, layers))}")
    seen: dict[str, Passes] = {name: [] for name in names}
    before = {name: vars(layers[name]).get("forward") for name in names}  # there is one inside of another block
    try:
        for name in names:
            vars(layers[name])["forward"] = _Noting(layers[name], layers[name].forward, seen[name])
        yield seen
    finally:
        for name, forward in before.items():
            vars(layers[name]).pop("forward", None)
            vars(layers[name]).update({} if forward is None else {"forward": forward})


class _Noting:
    """The forward of a layer, which keeps what goes in and comes out."""

    def __init__(self, layer: Module, forward: Callable[[Array], Any], passes: Passes):
        self.layer, self.forward, self.passes = layer, forward, passes

    def __call__(self, x: Array) -> Any:
        y = self.forward(x)
        self.passes.append((x, y))
        return y

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[[Array], Any]:
        # A copy of the layer computes with its own weights, not with those of the layer that is recorded.
        twin = copy.deepcopy(self.layer, memo)
        return functools.partial(type(twin).forward, twin)
