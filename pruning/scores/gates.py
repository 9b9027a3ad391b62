"""Derivatives of the loss by gates on rows and columns: what whole filters, units and inputs contribute.

A gate z multiplies what it stands on and is 1.  With A = W dE/dW, entry by entry, and the chain rule,

    on row j of a layer, bias included:     dE/dz_j = sum_k W_jk dE/dW_jk + b_j dE/db_j = sum_k A_jk + b_j dE/db_j
    on column k, for all rows:              dE/dz_k = sum_j W_jk dE/dW_jk = sum_j A_jk.

Closing it changes E by -dE/dz to first order.

Molchanov et al. 2019, Importance estimation for neural network pruning, arXiv:1906.10771.
"""

from collections.abc import Iterable

from nn.backend import Array, get_array_module
from nn.module import Module, Parameter
from pruning.masks import prunable


def rows(net: Module, names: Iterable[str]) -> dict[str, Array]:
    """Return dE/dz (out,) of gates on the rows of these weights, after a backward sweep.

    Zero where batch norm follows, which cancels the scale of a row: there the gate belongs on the scale of the norm.

    Raises
    ------
    ValueError
        If a weight or its bias has no gradient.  As `pruning.masks.prunable` does, so does `columns`.
    """
    chosen, gates = prunable(net, names), {}
    parameters = dict(net.named_parameters())
    for name, W in chosen.items():
        of_weights, bias = _by_matrix(name, W), name.removesuffix("W") + "b"
        gates[name] = get_array_module(of_weights).sum(of_weights, axis=1)
        if bias in parameters:
            gates[name] = gates[name] + _by_entry(bias, parameters[bias])
    return gates


def columns(net: Module, names: Iterable[str]) -> dict[str, Array]:
    """Return dE/dz (K,) of gates on the columns of W.reshape(out, K), after a backward sweep."""
    by_matrix = {name: _by_matrix(name, W) for name, W in prunable(net, names).items()}
    return {name: get_array_module(A).sum(A, axis=0) for name, A in by_matrix.items()}


def _by_matrix(name: str, W: Parameter) -> Array:
    return get_array_module(W.data).reshape(_by_entry(name, W), (W.shape[0], -1))


def _by_entry(name: str, u: Parameter) -> Array:
    if u.grad is None:
        raise ValueError(f"{name} has no gradient: gates are read after the backward sweep")
    return u.data * u.grad
