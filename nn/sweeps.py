"""A signal carried through any net: what containers do to it, written once.

`nn.curvature.squares` and `nn.curvature.tangents` are sweeps: one page for one thing that is known of all layers, with
one rule a layer.
"""

from typing import Any

from nn.backend import Array, get_array_module
from nn.branches import Concat, Residual
from nn.module import Module, Sequential

Signal = tuple[Array, ...]
"""One or more arrays of the shape of a layer's output, such as dE/dy alone, or dE/dy and R{dE/dy}."""


class Sweep:
    """Carries a signal through a net: ``forward`` ahead, ``through`` back to the input, ``to_parameters`` not so far.

    What happens in a layer say three rules: ``ahead``, ``fill`` and ``back``.  A subclass makes each that it needs a
    `functools.singledispatchmethod` with one entry a class of layers; a layer without an entry has that of its base
    class.  A layer that lives elsewhere brings its own there: ``Squares.fill.register(Layer, rule)``.
    """

    what = "sweeps"

    ahead: Any
    """(layer, signal) -> the one array behind the layer, of that in front of it, after a forward pass of the net."""
    fill: Any
    """(layer, *signal): what the parameters are to have of the signal that arrives."""
    back: Any
    """(layer, *signal) -> the signal in front of the layer, a tuple."""

    def unknown(self, layer: Module) -> ValueError:
        """Return the error for a layer without a rule."""
        return ValueError(f"{type(layer).__name__} has no rule for {self.what}")

    def forward(self, module: Module, signal: Array) -> Array:
        """Return the signal behind the module: a chain, a sum of two ways, or branches one behind the other."""
        if isinstance(module, Sequential):
            for layer in module.layers:
                signal = self.forward(layer, signal)
            return signal
        if isinstance(module, Residual):
            by_shortcut = signal if module.shortcut is None else self.forward(module.shortcut, signal)
            return self.forward(module.body, signal) + by_shortcut
        if isinstance(module, Concat):
            parts = [self.forward(branch, signal) for branch in module.branches]
            return get_array_module(signal).concat(parts, axis=0)
        return self.ahead(module, signal)

    def through(self, module: Module, *signal: Array) -> Signal:
        """Fill the parameters, and return the signal in front of the module."""
        if isinstance(module, Sequential):
            for layer in reversed(module.layers):
                signal = self.through(layer, *signal)
            return signal
        if isinstance(module, Residual):
            by_body = self.through(module.body, *signal)
            by_shortcut = signal if module.shortcut is None else self.through(module.shortcut, *signal)
            return tuple(x + z for x, z in zip(by_body, by_shortcut))
        if isinstance(module, Concat):
            by_branches = [self.through(branch, *part) for branch, part in _branches(module, signal)]
            return tuple(sum(each) for each in zip(*by_branches))
        self.fill(module, *signal)
        return self.back(module, *signal)

    def to_parameters(self, module: Module, *signal: Array) -> None:
        """Fill the parameters, and go no further back than the first of them."""
        if isinstance(module, Sequential):
            behind, first = module.trained()
            for layer in behind:
                signal = self.through(layer, *signal)
            for layer in first:
                self.to_parameters(layer, *signal)
        elif isinstance(module, Residual):
            for way in (module.body, module.shortcut):
                if way is not None:
                    self.to_parameters(way, *signal)
        elif isinstance(module, Concat):
            for branch, part in _branches(module, signal):
                self.to_parameters(branch, *part)
        else:
            self.fill(module, *signal)


def _branches(module: Concat, signal: Signal) -> list[tuple[Module, Signal]]:
    return list(zip(module.branches, zip(*(module.split(each) for each in signal))))
