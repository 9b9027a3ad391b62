"""Masks: which weights live (1) and which are deleted for good (0)."""

import math
import warnings
from collections.abc import Mapping

import numpy as np

from nn.backend import Array, asarray, get_array_module, to_numpy
from nn.module import Module, Parameter
from pruning.schedules import check_sparsity


def prunable(net: Module, names: list[str] | None = None) -> dict[str, Parameter]:
    """Return the parameters that pruning acts on, by name: every W of an affine layer, or those in `names`.

    Raises
    ------
    ValueError
        If a name is no parameter of the net, or there is nothing to prune.
    """
    parameters = dict(net.named_parameters())
    if isinstance(names, str):
        raise ValueError(f"expected a list of names, got the string {names!r}")
    if names is None:
        names = [name for name in parameters if name.rpartition(".")[2] == "W"]
    elif not names:
        raise ValueError("expected the name of at least one parameter, got none")
    unknown = [name for name in names if name not in parameters]
    if unknown or not names:
        raise ValueError(f"the net has no parameter {', '.join(unknown) or 'W'}; it has {', '.join(parameters)}")
    return {name: parameters[name] for name in names}


def smallest(
    scores: Mapping[str, Array],
    sparsity: float,
    scope: str = "global",
    dead: Mapping[str, Array | None] | None = None,
) -> dict[str, Array]:
    """Return masks {name: 0/1} that delete the share `sparsity` of the weights, those with the smallest scores.

    Exactly round(sparsity * n) entries are zero, ties or not: among equals the lowest index goes first, in the order
    of `scores`.

    Parameters
    ----------
    scores : parameter name -> array, low = cheap to delete (NaN is refused).
    sparsity : share of zeros in [0, 1].
    scope : "global" ranks all weights together, "layer" prunes every array by the same share.
    dead : parameter name -> the mask so far (or None); what is zero there stays zero and counts.

    Raises
    ------
    ValueError
        For a sparsity outside [0, 1], an unknown scope, no or NaN scores, masks that do not fit, or more dead weights
        than may be deleted.

    Warns
    -----
    UserWarning
        If an array loses all its weights, which cuts the net in two.
    """
    check_sparsity(sparsity)
    if scope not in ("global", "layer"):
        raise ValueError(f'expected the scope "global" or "layer", got {scope!r}')
    if not scores:
        raise ValueError("expected the scores of at least one array, got none")
    flat = [_flat(name, score) for name, score in scores.items()]
    alive = _alive(scores, dead or {})
    if scope == "global":
        lives = _keep(np.concatenate(flat), np.concatenate(alive), sparsity)
        kept = np.split(lives, np.cumsum([len(score) for score in flat])[:-1])
    else:
        kept = [_keep(score, live, sparsity) for score, live in zip(flat, alive)]
    for name, mask in zip(scores, kept):
        if not mask.any():
            warnings.warn(f"{name} loses all of its {len(mask)} weights at sparsity {sparsity}", stacklevel=2)
    return {
        name: asarray(mask.reshape(score.shape), like=score, dtype=score.dtype)
        for (name, score), mask in zip(scores.items(), kept)
    }


def _flat(name: str, score: Array) -> np.ndarray:
    values = np.reshape(to_numpy(score), -1)
    if np.isnan(values).any():
        raise ValueError(f"expected scores without NaN, got {int(np.isnan(values).sum())} of them in {name}")
    return values


def _alive(scores: Mapping[str, Array], dead: Mapping[str, Array | None]) -> list[np.ndarray]:
    strangers = [name for name in dead if name not in scores]
    if strangers:
        raise ValueError(f"expected masks of {', '.join(scores)}, got one of {strangers[0]}")
    alive = []
    for name, score in scores.items():
        mask = dead.get(name)
        if mask is not None and tuple(mask.shape) != tuple(score.shape):
            raise ValueError(f"expected a mask of shape {tuple(score.shape)} for {name}, got {tuple(mask.shape)}")
        alive.append(np.ones(math.prod(score.shape)) if mask is None else np.reshape(to_numpy(mask), -1))
    return alive


def _keep(scores: np.ndarray, alive: np.ndarray, sparsity: float) -> np.ndarray:
    delete = round(sparsity * len(scores))
    gone = int(np.sum(alive == 0))
    if gone > delete:
        raise ValueError(
            f"{gone} of {len(scores)} weights are deleted already, more than the sparsity {sparsity} allows"
        )
    keep = np.ones(len(scores))
    keep[np.lexsort((scores, alive))[:delete]] = 0  # the dead first, then by score; stable, so that ties go in order
    return keep


def apply(net: Module, masks: Mapping[str, Array]) -> None:
    """Set the masks of the named parameters, and their deleted weights to zero, in place.

    A mask has the shape of its parameter, or one entry for each of the rows (filters) of W.

    Raises
    ------
    ValueError
        If a name, a shape or a value does not fit; nothing is changed then.
    """
    parameters = prunable(net, list(masks))
    for name, mask in masks.items():
        shape = parameters[name].shape
        if tuple(mask.shape) not in (shape, shape[:1]):
            either = "" if len(shape) == 1 else f" or {shape[:1]}"
            raise ValueError(f"expected a mask of shape {shape}{either} for {name}, got {tuple(mask.shape)}")
        values = to_numpy(mask)
        if not np.all((values == 0) | (values == 1)):
            raise ValueError(f"expected a mask of zeros and ones for {name}, got other numbers")
    for name, mask in masks.items():
        parameter = parameters[name]
        values = asarray(mask, like=parameter.data)
        xp, inside = get_array_module(values), (1,) * (len(parameter.shape) - values.ndim)
        parameter.mask = xp.reshape(values, (*values.shape, *inside)) * xp.ones_like(parameter.data)
        parameter.data = parameter.data * parameter.mask


def current(net: Module, names: list[str] | None = None) -> dict[str, Array | None]:
    """Return the masks that the prunable parameters have, None where there is none."""
    return {name: parameter.mask for name, parameter in prunable(net, names).items()}


def counts(net: Module, names: list[str] | None = None) -> tuple[int, int]:
    """Return (weights left, weights in all) of the prunable parameters; a weight without mask is left, 0 or not."""
    left = total = 0
    for parameter in prunable(net, names).values():
        n = math.prod(parameter.shape)
        total += n
        left += n if parameter.mask is None else int(np.sum(to_numpy(parameter.mask)))
    return left, total
