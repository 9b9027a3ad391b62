"""What goes into and comes out of named layers, on the way ahead and on the way back."""

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
    with _noted(net, names, ("forward",)) as seen:
        yield seen


@contextmanager
def record_backward(net: Module, names: Sequence[str]) -> Iterator[dict[str, Passes]]:
    """Keep dE/dy and dE/dx of the named layers, one pair a backward sweep that is made within the ``with`` block.

        with record_backward(net, ["3.body.1"]) as seen:
            net.backward(loss.backward())
        ((gy, gx),) = seen["3.body.1"]                 # gx = the layer's backward(gy)

    All else is as in `record`.  Where a sweep ends, in ``backward_parameters``, gx is None; what it does not reach has
    no pair.
    """
    with _noted(net, names, ("backward", "backward_parameters")) as seen:
        yield seen


@contextmanager
def _noted(net: Module, names: Sequence[str], methods: Sequence[str]) -> Iterator[dict[str, Passes]]:
    if isinstance(names, str):
        raise ValueError(f"expected a list of names, got the string {names!r}")
    layers, names = dict(net.named_modules()), list(dict.fromkeys(names))
    unknown = [name for name in names if name not in layers]
    if unknown:
        raise ValueError(f"the net has no layer {unknown[0]!r}; it has {', '.join(filter(None, layers))}")
    seen: dict[str, Passes] = {name: [] for name in names}
    places = [(layers[name], method, seen[name]) for name in names for method in methods]
    before = [vars(layer).get(method) for layer, method, _ in places]  # there is one inside of another block
    try:
        for layer, method, passes in places:
            vars(layer)[method] = _Noting(layer, method, passes)
        yield seen
    finally:
        for (layer, method, _), own in zip(places, before):
            vars(layer).pop(method, None)
            vars(layer).update({} if own is None else {method: own})


class _Noting:
    """A method of a layer, which keeps what goes in and comes out."""

    def __init__(self, layer: Module, method: str, passes: Passes):
        self.layer, self.name, self.passes = layer, method, passes
        self.method: Callable[[Array], Any] = getattr(layer, method)

    def __call__(self, x: Array) -> Any:
        known = len(self.passes)
        y = self.method(x)
        # Each of the two ways back may call the other: one sweep is one pair, that of the method called from outside.
        self.passes[known:] = [(x, y)]
        return y

    def __deepcopy__(self, memo: dict[int, Any]) -> Callable[[Array], Any]:
        # A copy of the layer computes with its own weights, not with those of the layer that is recorded.
        twin = copy.deepcopy(self.layer, memo)
        return functools.partial(getattr(type(twin), self.name), twin)
