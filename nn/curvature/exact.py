"""The full second derivative d2E/da2 of every pattern, taken back through a fully connected net: nothing is dropped.

Every layer's own rule is its ``backward_hessian_full``; here stands how far the matrices have to go.
"""

from collections.abc import Iterator

from nn.activations import Activation
from nn.backend import Array, diagonal, get_array_module
from nn.linear import Flatten, Linear
from nn.module import Module, Sequential

DIAGONAL = (Linear, Flatten, Activation)
"""Layers whose ``backward_hessian`` is exact for the parameters, and without any towards x, given an exact diagonal."""


def to_parameters(net: Module, gy: Array, Hy: Array) -> None:
    """Take dE/dy and the matrices d2E/dy2 (D, D, N), fill grad and the exact hess_diag of all parameters.

    A parameter needs only the diagonal of the d2E/da2 that arrives.  So no matrix is made in front of the second layer
    with parameters (or the first, if there is but one): the diagonal suffices from there on.

    Raises
    ------
    ValueError
        If a layer on the way has no full rule.
    """
    layers = list(_chain(net))
    first, *others = [i for i, layer in enumerate(layers) if layer.parameters()] or [0]
    second = others[0] if others else first
    if not all(isinstance(layer, DIAGONAL) for layer in layers[first : second + 1]):
        for layer in reversed(layers[first:]):
            gy, Hy = layer.backward_hessian_full(gy, Hy)
        return
    for layer in reversed(layers[second + 1 :]):
        gy, Hy = layer.backward_hessian_full(gy, Hy)
    if second == first:
        hy = diagonal(Hy)
    else:
        gy, hy = _diagonal_in_front(layers[second], gy, Hy)
        for layer in reversed(layers[first + 1 : second]):
            gy, hy = layer.backward_hessian(gy, hy)
    for layer in layers[first : first + 1]:
        layer.backward_hessian_parameters(gy, hy)


def _diagonal_in_front(layer: Module, ga: Array, Ha: Array) -> tuple[Array, Array]:
    # Of an affine layer d2E/dx_i2 = sum over l and m of w_li w_mi d2E/da_l da_m; the others keep a diagonal exact.
    if not isinstance(layer, Linear):
        return layer.backward_hessian(ga, diagonal(Ha))
    layer.backward_hessian_parameters(ga, diagonal(Ha))
    W = layer.W.data
    HaW = get_array_module(Ha).tensordot(W, Ha, axes=((0,), (0,)))  # (I, O, N)
    return W.T @ ga, (W.T[:, None, :] @ HaW)[:, 0, :]


def _chain(net: Module) -> Iterator[Module]:
    for layer in net.layers if isinstance(net, Sequential) else (net,):
        if isinstance(layer, Sequential):
            yield from _chain(layer)
        else:
            yield layer
