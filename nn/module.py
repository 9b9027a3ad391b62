"""Layers and the container that chains them.

A layer has f, f' and f'': ``forward``, ``backward`` and ``backward_hessian``.  They stand next to each other in every
layer, in this order and with the same lines, so that x and W in one can be compared with x squared and W squared in the
next.  The two sweeps back have a form ``..._parameters``, which returns nothing: it spares the first layer what only
the data would need.  Where the full second derivative is known (affine layers, activations), it is
``backward_hessian_full``.  Whatever else is known of all layers has a page of its own, with one rule a layer, and no
method here: `nn.curvature.squares`, `nn.curvature.tangents`, and how a signal passes containers in `nn.sweeps`.
"""

import copy
import reprlib
from collections import deque
from collections.abc import Iterator
from typing import Any, Self, TypeVar

import numpy as np

from nn.backend import Array, ArrayModule
from nn.parameter import Parameter as Parameter
from nn.parameter import moved

Held = TypeVar("Held")

DEPTH = 100
"""How deep containers may stand inside each other: every walk through a net calls itself once or more a level."""


class Module:
    """A layer, or a container of layers."""

    training: bool = True
    buffers: tuple[str, ...] = ()
    """Names of attributes that are state but not trained, such as running statistics."""
    exact_diagonal: bool = True
    """Whether ``backward_hessian`` is exact given a diagonal d2E/dy2; what drops terms says so (`nn.verify` asks)."""
    takes_integers: bool = False
    """Whether x may hold integers, which this layer looks up in a table; in front of all others stands one that may."""
    y_shape: tuple[int, ...] | None = None
    """The shape of the last output, which the sweeps back expect again; `nn.checks.check_input` remembers it."""

    def forward(self, x: Array) -> Array:
        """Compute the output, and remember what the sweeps back need."""
        raise ValueError(f"{type(self).__name__} has no forward")

    def backward(self, gy: Array) -> Array:
        """Take dE/dy, fill the gradients of the parameters, return dE/dx."""
        raise ValueError(f"{type(self).__name__} has no backward")

    def backward_parameters(self, gy: Array) -> None:
        """Take dE/dy and fill the gradients of the parameters: all that training needs of the first layer."""
        self.backward(gy)

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """Take dE/dy and the diagonal of d2E/dy2, fill grad and hess_diag, return both with respect to x.

        Fed with ``gy = 0`` it is the Levenberg-Marquardt rule: f'' then multiplies a zero.
        """
        raise ValueError(f"{type(self).__name__} has no rule for the diagonal of the second derivative")

    def backward_hessian_parameters(self, gy: Array, hy: Array) -> None:
        """Fill grad and hess_diag as ``backward_hessian`` does."""
        self.backward_hessian(gy, hy)

    def backward_hessian_full(self, gy: Array, Hy: Array) -> tuple[Array, Array]:
        """Take dE/dy and the matrices d2E/dy2 (D, D, N), one per pattern, and return both with respect to x.

        Exact: nothing is dropped (notebook 02 derives it).  Fills grad and hess_diag.
        """
        raise ValueError(
            f"{type(self).__name__} has no full second-derivative rule; "
            "Linear, Flatten and the activations have (rule='exact' is for fully connected nets)"
        )

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the output, without the batch, for an input of this shape; most layers keep it.

        Raises
        ------
        ValueError
            If the layer cannot take this input.
        """
        return shape

    def children(self) -> Iterator[tuple[str, "Module"]]:
        """Yield (name, layer) of the layers directly inside this one, in definition order.

        Layers in lists, tuples and dicts are inside too, with names such as "blocks.0" and "heads.left".
        """
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value
            elif type(value) not in PLAIN and _may_hold(value):
                yield from _held(self, name, value, Module)

    def modules(self) -> Iterator["Module"]:
        """Yield this module and every one inside it, in definition order."""
        yield self
        for _, child in self.children():
            yield from child.modules()

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, "Module"]]:
        """Yield (name, module) of this module and every one inside it, in definition order; the net itself is ""."""
        yield prefix, self
        for name, child in self.children():
            yield from child.named_modules(inside(prefix, name))

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Parameter]]:
        """Yield (name, Parameter) in definition order; names read like a path: "0.W", "3.body.1.b"."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield prefix + name, value
            elif type(value) not in PLAIN and _may_hold(value):
                yield from _held(self, prefix + name, value, Parameter)
        for name, child in self.children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def parameters(self) -> list[Parameter]:
        """Return the parameters in definition order."""
        return [parameter for _, parameter in self.named_parameters()]

    def named_generators(self, prefix: str = "") -> Iterator[tuple[str, np.random.Generator]]:
        """Yield (name, generator) of all that noise is drawn with, under any name, such as "3.rng"; in lists too."""
        for name, value in vars(self).items():
            if isinstance(value, np.random.Generator):
                yield prefix + name, value
            elif type(value) not in PLAIN and _may_hold(value):
                yield from _held(self, prefix + name, value, np.random.Generator)
        for name, child in self.children():
            yield from child.named_generators(f"{prefix}{name}.")

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Array]]:
        """Yield (name, array) of the state that is saved but not trained."""
        for name in self.buffers:
            yield prefix + name, getattr(self, name)
        for name, child in self.children():
            yield from child.named_buffers(f"{prefix}{name}.")

    def config(self) -> dict[str, Any]:
        """Return the constructor's keyword arguments, as plain JSON, that build an outline of this layer."""
        return {}

    def train(self) -> Self:
        """Switch this module and all inside it to training mode."""
        return self._set_training(True)

    def eval(self) -> Self:
        """Switch this module and all inside it to evaluation mode."""
        return self._set_training(False)

    def _set_training(self, training: bool) -> Self:
        for module in self.modules():
            module.training = training
        return self

    def to(self, xp: ArrayModule) -> Self:
        """Move data, gradients, curvatures, masks and buffers into the library `xp`, in place."""
        for parameter in self.parameters():
            parameter.to(xp)
        for module in self.modules():
            for name in module.buffers:
                setattr(module, name, moved(getattr(module, name), xp))
        return self


def check_net(net: Any) -> None:
    """Raise a TypeError for what is no net, such as a list of layers."""
    if not isinstance(net, Module):
        raise TypeError(f"expected a net, got {type(net).__name__}")


def inside(prefix: str, name: str) -> str:
    """Return the name of what is inside a module, such as "3.W"; the net itself is ""."""
    return f"{prefix}.{name}" if prefix else name


HOLDERS = (list, tuple, deque, dict, set, frozenset)
PLAIN = {int, float, bool, str, type(None)}
"""Types that hold no layer, passed over at once: every sweep walks through its net."""


def _may_hold(value: Any) -> bool:
    # Shapes, the most frequent tuples, are told from others without a loop.
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise ValueError(
                "expected layers in a list, tuple or dict, got an array of objects as an attribute of a layer"
            )
        return False
    return isinstance(value, HOLDERS) and (isinstance(value, dict) or not PLAIN.issuperset(map(type, value)))


def _held(owner: Module, name: str, value: Any, kind: type[Held]) -> Iterator[tuple[str, Held]]:
    # What of this kind stands in lists, tuples and dicts, and these in each other; a set has no order to name it by.
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        if isinstance(each, kind):
            if isinstance(value, set | frozenset):
                what = f"the {kind.__name__.lower()}s {name} of {type(owner).__name__}"
                raise ValueError(f"expected {what} in a list, tuple or dict, got a set, which has no order")
            yield f"{name}.{key}", each
        elif type(each) not in PLAIN and _may_hold(each):
            yield from _held(owner, f"{name}.{key}", each, kind)


def evaluated(layer: Module, x: Array) -> Array:
    """Return what a layer makes of x in eval mode; its own mode, and what it remembers, stay as they are."""
    twin = copy.copy(layer)  # shares the arrays
    twin.training = False
    return type(twin).forward(twin, x)  # not that of the layer itself, as `nn.recording` puts it into its place


def check_layers(*layers: Module) -> None:
    """Raise a ValueError unless these are layers, and none of them, nor one inside them, stands in two places."""
    strangers = [layer for layer in layers if not isinstance(layer, Module)]
    if strangers:
        raise ValueError(f"expected layers such as nn.ReLU(), got {_short.repr(strangers[0])}")
    if max(map(_depth, layers), default=0) >= DEPTH:
        raise ValueError(f"expected containers at most {DEPTH} deep inside each other, got one deeper")
    seen: set[int] = set()
    for module in (module for layer in layers for module in layer.modules()):
        if id(module) in seen:
            raise ValueError(
                f"a layer stands twice in this net, the same {type(module).__name__} object in two places;"
                " each place needs its own, for it remembers its input"
            )
        seen.add(id(module))


def _has_parameters(layer: Module) -> bool:
    return next(layer.named_parameters(), None) is not None


_short = reprlib.Repr()
_short.maxother = _short.maxstring = 80


def _depth(module: Module) -> int:
    return max((1 + _depth(child) for _, child in module.children()), default=0)


class Sequential(Module):
    """Layers one after the other; the sweeps back pass through them in reverse.

    Parameters
    ----------
    layers : modules in the order in which x passes through them.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> rng = np.random.default_rng(0)
    >>> net = nn.Sequential(nn.Linear(4, 3, rng), nn.ReLU(), nn.Linear(3, 2, rng))
    >>> [(name, parameter.shape) for name, parameter in net.named_parameters()]
    [('0.W', (3, 4)), ('0.b', (3,)), ('2.W', (2, 3)), ('2.b', (2,))]
    >>> net.forward(np.ones((4, 5))).shape
    (2, 5)
    """

    exact_diagonal = False

    def __init__(self, *layers: Module):
        check_layers(*layers)
        self.layers = list(layers)

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield ("0", first layer), ("1", second layer), ..."""
        for name, layer in super().children():
            yield name.removeprefix("layers."), layer

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape behind the last layer; the ValueError of a layer that cannot take its input says which."""
        for index, layer in enumerate(self.layers):
            try:
                shape = layer.output_shape(shape)
            except ValueError as error:
                raise ValueError(f"layer {index} ({type(layer).__name__}): {error}") from None
        return shape

    def forward(self, x: Array) -> Array:
        """Pass x through all layers."""
        for layer in self.layers:
            x = layer.forward(x)
        return x

    def trained(self) -> tuple[list[Module], list[Module]]:
        """Return the layers behind the first that has parameters, the last of them first; and that one, if any."""
        first = next((i for i, layer in enumerate(self.layers) if _has_parameters(layer)), len(self.layers))
        return self.layers[:first:-1], self.layers[first : first + 1]

    def backward_parameters(self, gy: Array) -> None:
        """Fill the gradients, and stop at the first layer that has any."""
        behind, first = self.trained()
        for layer in behind:
            gy = layer.backward(gy)
        for layer in first:
            layer.backward_parameters(gy)

    def backward(self, gy: Array) -> Array:
        """Pass dE/dy back through all layers to dE/dx."""
        for layer in reversed(self.layers):
            gy = layer.backward(gy)
        return gy

    def backward_hessian_parameters(self, gy: Array, hy: Array) -> None:
        """Fill grad and hess_diag, and stop at the first layer that has any."""
        behind, first = self.trained()
        for layer in behind:
            gy, hy = layer.backward_hessian(gy, hy)
        for layer in first:
            layer.backward_hessian_parameters(gy, hy)

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """Pass the pair (dE/dy, diagonal of d2E/dy2) back through all layers."""
        for layer in reversed(self.layers):
            gy, hy = layer.backward_hessian(gy, hy)
        return gy, hy

    def backward_hessian_full(self, gy: Array, Hy: Array) -> tuple[Array, Array]:
        """Pass the pair (dE/dy, matrices d2E/dy2) back through all layers."""
        for layer in reversed(self.layers):
            gy, Hy = layer.backward_hessian_full(gy, Hy)
        return gy, Hy
