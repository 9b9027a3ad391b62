"""The pieces that every sum over a data set needs: slices of it, a net in eval mode, data checked once."""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

from nn.arguments import whole
from nn.backend import Array, get_array_module
from nn.module import Module, Sequential

Targets: TypeAlias = Array | tuple[Array, ...]
"""Labels (N,) or (T, N), or targets (K, N), or several of these (`nn.Distillation`): the first says what is right."""


def batches(x: Array, t: Targets, batch_size: int | None) -> Iterator[tuple[Array, Targets, float]]:
    """Yield (x, t, N_b / N) for consecutive slices of the last axis; ``batch_size=None`` is one slice.

    Raises
    ------
    ValueError
        If there are no patterns, not as many targets as patterns, or the batch size is below 1.
    """
    _check_lengths(x, t)
    N = x.shape[-1]
    step = N if batch_size is None else whole(batch_size, "batch size", 1)
    for start in range(0, N, step):
        stop = min(start + step, N)
        yield x[..., start:stop], _slice(t, start, stop), (stop - start) / N


def _slice(t: Targets, start: int, stop: int) -> Targets:
    return tuple(part[..., start:stop] for part in t) if isinstance(t, tuple) else t[..., start:stop]


def _check_lengths(x: Array, t: Targets) -> None:
    for part in t if isinstance(t, tuple) else (t,):
        N, M = (each.shape[-1] if each.shape else "a single number for" for each in (x, part))
        if N == 0 or not x.shape or M != N:
            got = f"{N} inputs, {M} targets"
            raise ValueError(f"expected as many targets as inputs, at least one; got {got}")


@contextmanager
def evaluating(net: Module) -> Iterator[None]:
    """Put the net in eval mode for a while; modes and gradients are afterwards as before, also after an error.

    The inputs that the layers remember are not: a backward sweep needs its own forward pass after this.
    """
    modes = [(module, module.training) for module in net.modules()]
    gradients = [(parameter, parameter.grad) for parameter in net.parameters()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
        for parameter, grad in gradients:
            parameter.grad = grad


def evaluate(net: Module, loss: Any, x: Array, t: Targets, batch_size: int | None = 1000) -> tuple[float, float]:
    """Return the mean loss and the share of patterns whose largest output is the right class, in eval mode.

    For targets (K, N) the right class is the largest target; of sequences all positions count alike.  Data are checked
    as `check_data` does.
    """
    check_data(net, x, t)
    xp = get_array_module(x)
    E, hits, positions = 0.0, 0, 0
    with evaluating(net):
        for x_batch, t_batch, weight in batches(x, t, batch_size):
            y = net.forward(x_batch)
            E += weight * float(loss.forward(y, t_batch))
            right = t_batch[0] if isinstance(t_batch, tuple) else t_batch
            labels = right if len(right.shape) < len(y.shape) else xp.argmax(right, axis=0)
            hits += int(xp.sum(xp.astype(xp.argmax(y, axis=0) == labels, xp.int64)))
            positions += math.prod(labels.shape)
    return E, hits / positions


def check_data(net: Module, x: Array, t: Targets) -> None:
    """Refuse a net and data that no sum over a data set can use, in one sentence.

    Raises
    ------
    ValueError
        If two layers share a Parameter, x or real targets are not of the weights' dtype, or hold a NaN or an infinity,
        or x is empty or not as long as t; if x holds integers and the first layer is none that `takes_integers`.
    TypeError
        If this is no net, x or t is no array, or they are of two libraries.
    """
    if not isinstance(net, Module):
        raise TypeError(f"expected a net, got {type(net).__name__}")
    targets = t if isinstance(t, tuple) else (t,)
    xp = get_array_module(x, *targets)
    tokens = xp.isdtype(x.dtype, "integral") and takes_integers(net)
    if not tokens and not xp.isdtype(x.dtype, "real floating"):
        raise ValueError(f"expected real floating-point inputs, got {x.dtype}; convert them, for instance images / 255")
    what = "the first parameter" if tokens else "x"
    dtype = next((u.dtype for u in net.parameters()), x.dtype) if tokens else x.dtype
    _check_parameters(net, what, dtype)
    _check_lengths(x, t)
    if not tokens and not bool(xp.all(xp.isfinite(x))):
        raise ValueError("expected finite inputs, got data with NaN or infinity")
    for part in targets:
        if xp.isdtype(part.dtype, "real floating"):
            if part.dtype != dtype:
                raise ValueError(
                    f"data and targets must have one dtype: {what} is {dtype}, the targets are {part.dtype}"
                )
            if not bool(xp.all(xp.isfinite(part))):
                raise ValueError("expected finite targets, got targets with NaN or infinity")


def takes_integers(net: Module) -> bool:
    """Whether the first layer of the net says that x may hold the numbers of tokens: one that looks up a table."""
    while isinstance(net, Sequential) and net.layers:
        net = net.layers[0]
    return net.takes_integers


def _check_parameters(net: Module, what: str, dtype: Any) -> None:
    owners: dict[int, str] = {}
    for name, parameter in net.named_parameters():
        if parameter.dtype != dtype:
            raise ValueError(
                f"data and weights must have one dtype: {what} is {dtype}, {name} is {parameter.dtype};"
                " pass dtype= to the model and to nn.data.load"
            )
        other = owners.setdefault(id(parameter), name)
        if other != name:
            raise ValueError(
                f"{other} and {name} are one Parameter, whose derivatives would be those of one of the two places;"
                " give each layer its own"
            )
