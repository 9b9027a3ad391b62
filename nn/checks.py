"""What every layer refuses in one sentence: no arrays, integers, derivatives of another shape than its output."""

from typing import TYPE_CHECKING

from nn.backend import Array, get_array_module, is_floating

if TYPE_CHECKING:
    from nn.module import Module


def check_input(layer: "Module", x: Array) -> tuple[int, ...]:
    """Return the shape of the output for the input x, and remember it for the sweeps back.

    Raises
    ------
    TypeError
        If x is no array.
    ValueError
        If x has no batch as its last axis, or not the shape that the layer can take.
    """
    get_array_module(x)
    if len(x.shape) == 0:
        raise ValueError(f"{type(layer).__name__} expected an array with the batch as last axis, got a single number")
    layer.y_shape = (*layer.output_shape(x.shape[:-1]), x.shape[-1])
    return layer.y_shape


def check_floating(layer: "Module", x: Array) -> None:
    """Raise a ValueError if x holds integers or truth values: sums of bytes, for one, wrap at 256 without a word."""
    if not is_floating(get_array_module(x), x.dtype):
        raise ValueError(
            f"{type(layer).__name__} expected floating-point numbers, got {x.dtype}; convert them, such as images / 255"
        )


def check_signal(layer: "Module", *signals: Array) -> None:
    """Refuse what comes back to the layer and has not the shape of its last output: it would broadcast.

    Raises
    ------
    TypeError
        If it is no array.
    ValueError
        If it has another shape, or there was no forward pass to go back through.
    """
    for signal in signals:
        _check_shape(layer, signal, layer.y_shape)


def check_matrices(layer: "Module", Hy: Array) -> None:
    """Raise as `check_signal` does unless these are the matrices (D, D, N) of outputs (D, N)."""
    _check_shape(layer, Hy, layer.y_shape and (layer.y_shape[0], *layer.y_shape))


def _check_shape(layer: "Module", signal: Array, shape: tuple[int, ...] | None) -> None:
    given = getattr(signal, "shape", None)
    if given == shape is not None:
        return
    get_array_module(signal)
    name = type(layer).__name__
    if shape is None:
        raise ValueError(f"{name} expected a forward pass before the sweep back, got none")
    raise ValueError(f"{name} expected a derivative of shape {shape} for its output of {layer.y_shape}, got {given}")
