"""Layers and the container that chains them.

A layer has up to seven sweeps: ``forward``, ``backward``, ``backward_hessian``, ``backward_hessian_full``,
``backward_squares``, and the derivatives of the first two along a direction, ``forward_tangent`` and
``backward_tangent``.  They stand next to each other in every layer, in this order and with the same lines, so that x
and W in one can be compared with x squared and W squared in the next.  Every sweep back has a form ``..._parameters``,
which returns nothing: it spares the first layer what only the data would need.
"""

import copy
from collections.abc import Iterator
from typing import Any, Self

from nn.backend import Array, ArrayModule, diagonal, get_array_module
from nn.parameter import Parameter as Parameter
from nn.parameter import moved


class Module:
    """A layer, or a container of layers."""

    training: bool = True
    buffers: tuple[str, ...] = ()
    """Names of attributes that are state but not trained, such as running statistics."""
    exact_diagonal: bool = False
    """Whether ``backward_hessian`` is exact for the parameters (without any: towards x) given an exact diagonal."""

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

    def backward_hessian_full_diagonal(self, gy: Array, Hy: Array) -> tuple[Array, Array]:
        """Do as ``backward_hessian_full``, but return the diagonal of d2E/dx2 only."""
        gx, Hx = self.backward_hessian_full(gy, Hy)
        return gx, diagonal(Hx)

    def backward_hessian_full_parameters(self, gy: Array, Hy: Array) -> None:
        """Fill grad and hess_diag as ``backward_hessian_full`` does."""
        self.backward_hessian_full(gy, Hy)

    def backward_squares(self, gy: Array) -> Array:
        """Take dE/dy, set hess_diag to the sum over the patterns n of (dE_n/du)^2, return dE/dx.

        E_n is what pattern n contributes to E.  Not a second derivative in itself: `nn.curvature` makes the
        Gauss-Newton diagonal and the empirical Fisher of it.  Layers without parameters only pass dE/dy back.
        """
        if self.parameters():
            raise ValueError(f"{type(self).__name__} has no rule for the squared gradients of single patterns")
        return self.backward(gy)

    def backward_squares_parameters(self, gy: Array) -> None:
        """Fill hess_diag as ``backward_squares`` does."""
        self.backward_squares(gy)

    def forward_tangent(self, rx: Array) -> Array:
        """Take R{x} and return R{y}: R{z} is dz/de of the last forward pass at x + e R{x}, u + e ``direction``."""
        raise ValueError(f"{type(self).__name__} has no rule for Hessian-vector products")

    def backward_tangent(self, gy: Array, rgy: Array) -> tuple[Array, Array]:
        """Take dE/dy and R{dE/dy}, fill grad and hess_vector = R{dE/du}, return both with respect to x."""
        raise ValueError(f"{type(self).__name__} has no rule for Hessian-vector products")

    def backward_tangent_parameters(self, gy: Array, rgy: Array) -> None:
        """Fill grad and hess_vector as ``backward_tangent`` does."""
        self.backward_tangent(gy, rgy)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return the shape of the output, without the batch, for an input of this shape; most layers keep it.

        Raises
        ------
        ValueError
            If the layer cannot take this input.
        """
        return shape

    def children(self) -> Iterator[tuple[str, "Module"]]:
        """Yield (name, layer) of the layers directly inside this one, in definition order."""
        for name, value in vars(self).items():
            if isinstance(value, Module):
                yield name, value

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
        for name, child in self.children():
            yield from child.named_parameters(f"{prefix}{name}.")

    def parameters(self) -> list[Parameter]:
        """Return the parameters in definition order."""
        return [parameter for _, parameter in self.named_parameters()]

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


def inside(prefix: str, name: str) -> str:
    """Return the name of what is inside a module, such as "3.W"; the net itself is ""."""
    return f"{prefix}.{name}" if prefix else name


def evaluated(layer: Module, x: Array) -> Array:
    """Return what a layer makes of x in eval mode; its own mode, and what it remembers, stay as they are."""
    twin = copy.copy(layer)  # shares the arrays
    twin.training = False
    return twin.forward(x)


def check_floating(layer: Module, x: Array) -> None:
    """Raise a ValueError if x holds integers or truth values: sums of bytes, for one, wrap at 256 without a word."""
    if get_array_module(x).isdtype(x.dtype, ("integral", "bool")):
        raise ValueError(
            f"{type(layer).__name__} expected floating-point numbers, got {x.dtype}; convert them, such as images / 255"
        )


def check_layers(*layers: Module) -> None:
    """Raise a ValueError unless these are layers, and none of them, nor one inside them, stands in two places."""
    strangers = [layer for layer in layers if not isinstance(layer, Module)]
    if strangers:
        raise ValueError(f"expected layers such as nn.ReLU(), got {strangers[0]!r}")
    seen: set[int] = set()
    for module in (module for layer in layers for module in layer.modules()):
        if id(module) in seen:
            raise ValueError(
                f"a layer stands twice in this net, the same {type(module).__name__} object in two places;"
                " each place needs its own, for it remembers its input"
            )
        seen.add(id(module))


class Sequential(Module):
    """Layers one after the other; the sweeps back pass through them in reverse."""

    def __init__(self, *layers: Module):
        check_layers(*layers)
        self.layers = list(layers)

    def children(self) -> Iterator[tuple[str, Module]]:
        """Yield ("0", first layer), ("1", second layer), ..."""
        for index, layer in enumerate(self.layers):
            yield str(index), layer

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

    def _trained(self) -> tuple[list[Module], list[Module]]:
        # The layers behind the first one that has parameters, the last of them first; and that one, if there is one.
        first = next((i for i, layer in enumerate(self.layers) if layer.parameters()), len(self.layers))
        return self.layers[:first:-1], self.layers[first : first + 1]

    def backward_parameters(self, gy: Array) -> None:
        """Fill the gradients, and stop at the first layer that has any."""
        behind, first = self._trained()
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
        behind, first = self._trained()
        for layer in behind:
            gy, hy = layer.backward_hessian(gy, hy)
        for layer in first:
            layer.backward_hessian_parameters(gy, hy)

    def backward_hessian(self, gy: Array, hy: Array) -> tuple[Array, Array]:
        """Pass the pair (dE/dy, diagonal of d2E/dy2) back through all layers."""
        for layer in reversed(self.layers):
            gy, hy = layer.backward_hessian(gy, hy)
        return gy, hy

    def backward_hessian_full_parameters(self, gy: Array, Hy: Array) -> None:
        """Fill grad and hess_diag.

        Under the second layer with parameters no matrix is made: what is left then only needs the exact diagonal.
        """
        trained = [i for i, layer in enumerate(self.layers) if layer.parameters()]
        if len(trained) < 2 or not all(layer.exact_diagonal for layer in self.layers[trained[0] : trained[1]]):
            self.backward_hessian_full(gy, Hy)
            return
        for layer in self.layers[: trained[1] : -1]:
            gy, Hy = layer.backward_hessian_full(gy, Hy)
        gy, hy = self.layers[trained[1]].backward_hessian_full_diagonal(gy, Hy)
        Sequential(*self.layers[: trained[1]]).backward_hessian_parameters(gy, hy)

    def backward_hessian_full(self, gy: Array, Hy: Array) -> tuple[Array, Array]:
        """Pass the pair (dE/dy, matrices d2E/dy2) back through all layers."""
        for layer in reversed(self.layers):
            gy, Hy = layer.backward_hessian_full(gy, Hy)
        return gy, Hy

    def backward_squares_parameters(self, gy: Array) -> None:
        """Fill hess_diag, and stop at the first layer that has any."""
        behind, first = self._trained()
        for layer in behind:
            gy = layer.backward_squares(gy)
        for layer in first:
            layer.backward_squares_parameters(gy)

    def backward_squares(self, gy: Array) -> Array:
        """Pass dE/dy back through all layers to dE/dx."""
        for layer in reversed(self.layers):
            gy = layer.backward_squares(gy)
        return gy

    def forward_tangent(self, rx: Array) -> Array:
        """Pass R{x} through all layers."""
        for layer in self.layers:
            rx = layer.forward_tangent(rx)
        return rx

    def backward_tangent_parameters(self, gy: Array, rgy: Array) -> None:
        """Fill grad and hess_vector, and stop at the first layer that has any."""
        behind, first = self._trained()
        for layer in behind:
            gy, rgy = layer.backward_tangent(gy, rgy)
        for layer in first:
            layer.backward_tangent_parameters(gy, rgy)

    def backward_tangent(self, gy: Array, rgy: Array) -> tuple[Array, Array]:
        """Pass the pair (dE/dy, R{dE/dy}) back through all layers."""
        for layer in reversed(self.layers):
            gy, rgy = layer.backward_tangent(gy, rgy)
        return gy, rgy
