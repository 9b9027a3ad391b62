"""Masks: which weights live (1) and which are deleted for good (0)."""

import math
import warnings
from collections.abc import Iterable, Mapping

import numpy as np

from nn.backend import Array, asarray, get_array_module, to_numpy
from nn.module import Module, Parameter, check_net
from pruning.schedules import check_sparsity


def prunable(net: Module, names: Iterable[str] | None = None) -> dict[str, Parameter]:
    """Return the parameters that pruning acts on, by name: every W of an affine layer, or those in `names`.

    The one door for names: a function that needs them twice goes on with those of the result.

    Raises
    ------
    TypeError
        If this is no net, or `names` holds no names.
    ValueError
        If a name is no parameter of the net, there is nothing to prune, or `names` is one string.
    """
    check_net(net)
    if isinstance(names, str):
        raise ValueError(f"expected a list of names, got the string {names!r}")
    if names is not None and not isinstance(names, Iterable):
        raise TypeError(f"expected a list of names, got {names!r}")
    parameters = dict(net.named_parameters())
    chosen = [name for name in parameters if name.rpartition(".")[2] == "W"] if names is None else list(names)
    if names is not None and not chosen:
        raise ValueError("expected the name of at least one parameter, got none")
    unknown = [str(name) for name in chosen if not (isinstance(name, str) and name in parameters)]
    if unknown or not chosen:
        raise ValueError(f"the net has no parameter {', '.join(unknown) or 'W'}; it has {', '.join(parameters)}")
    return {name: parameters[name] for name in chosen}


def check_arrays(what: str, arrays: Mapping[str, Array | None], or_none: bool = False) -> None:
    """Raise a TypeError unless this is {name: array (or None)}; `what` says what the arrays are.

    Parameters
    ----------
    or_none : whether a None may stand in the place of an array.
    """
    if not isinstance(arrays, Mapping):
        raise TypeError(f"expected {what} as a dict of arrays by name, got {type(arrays).__name__}")
    for name, array in arrays.items():
        if not hasattr(array, "shape") and not (or_none and array is None):
            raise TypeError(f"expected {what} as a dict of arrays by name, got {type(array).__name__} for {name}")


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
    TypeError
        If scores or masks are not arrays by name.
    ValueError
        For a sparsity outside [0, 1], an unknown scope, no or NaN scores, masks that do not fit or are not of zeros and
        ones, or more dead weights than may be deleted.

    Warns
    -----
    UserWarning
        If an array loses all its weights, which cuts the net in two.

    Examples
    --------
    >>> import numpy as np
    >>> import pruning
    >>> pruning.masks.smallest({"0.W": np.array([[3.0, 1.0], [2.0, 1.0]])}, sparsity=0.25)
    {'0.W': array([[1., 0.],
           [1., 1.]])}
    """
    check_sparsity(sparsity)
    if not isinstance(scope, str) or scope not in ("global", "layer"):
        raise ValueError(f'expected the scope "global" or "layer", got {scope!r}')
    check_arrays("scores", scores)
    if not scores:
        raise ValueError("expected the scores of at least one array, got none")
    flat = [_flat(name, score) for name, score in scores.items()]
    alive = _alive(scores, {} if dead is None else dead)
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
    check_arrays("masks", dead, or_none=True)
    strangers = [name for name in dead if name not in scores]
    if strangers:
        raise ValueError(f"expected masks of {', '.join(scores)}, got one of {strangers[0]}")
    alive = []
    for name, score in scores.items():
        mask = dead.get(name)
        if mask is None:
            alive.append(np.ones(math.prod(score.shape)))
            continue
        if tuple(mask.shape) != tuple(score.shape):
            raise ValueError(f"expected a mask of shape {tuple(score.shape)} for {name}, got {tuple(mask.shape)}")
        alive.append(np.reshape(_zeros_and_ones(name, mask), -1))
    return alive


def _zeros_and_ones(name: str, mask: Array) -> np.ndarray:
    values = to_numpy(mask)
    if not np.all((values == 0) | (values == 1)):
        raise ValueError(f"expected a mask of zeros and ones for {name}, got other numbers")
    return values


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
    TypeError, ValueError
        As `fitted`; nothing is changed then.
    """
    found = fitted(net, masks)
    parameters = prunable(net, found)
    for name, mask in found.items():
        parameters[name].mask = mask
        parameters[name].data = parameters[name].data * mask


def fitted(net: Module, masks: Mapping[str, Array]) -> dict[str, Array]:
    """Return the masks as `apply` would set them, of the shape and dtype of their parameters; the net stays.

    Raises
    ------
    TypeError
        If the masks are not arrays by name.
    ValueError
        If a name, a shape or a value does not fit.
    """
    check_arrays("masks", masks)
    parameters = prunable(net, masks)
    for name, mask in masks.items():
        shape = parameters[name].shape
        if tuple(mask.shape) not in (shape, shape[:1]):
            either = "" if len(shape) == 1 else f" or {shape[:1]}"
            raise ValueError(f"expected a mask of shape {shape}{either} for {name}, got {tuple(mask.shape)}")
        _zeros_and_ones(name, mask)
    found = {}
    for name, parameter in parameters.items():
        values = asarray(masks[name], like=parameter.data)
        xp, inside = get_array_module(values), (1,) * (len(parameter.shape) - values.ndim)
        found[name] = xp.reshape(values, (*values.shape, *inside)) * xp.ones_like(parameter.data)
    return found


def current(net: Module, names: Iterable[str] | None = None) -> dict[str, Array | None]:
    """Return the masks that the prunable parameters have, None where there is none."""
    return {name: parameter.mask for name, parameter in prunable(net, names).items()}


def counts(net: Module, names: Iterable[str] | None = None) -> tuple[int, int]:
    """Return (weights left, weights in all) of the prunable parameters; a weight without mask is left, 0 or not."""
    left = total = 0
    for parameter in prunable(net, names).values():
        n = math.prod(parameter.shape)
        total += n
        left += n if parameter.mask is None else int(np.sum(to_numpy(parameter.mask)))
    return left, total
