"""Filter norms: a filter with small weights makes a weak map.

With batch norm folded in first it is a score of the function; `pruning.filters` takes it as

    lambda net, names: filter_norm.saliency(surgery.fold_batchnorm(net), names)

`fold_batchnorm` moves a norm into the layer directly in front of it in the same Sequential.  One behind a container, as
in Sequential(Sequential(conv), BatchNorm) or behind a concatenation, or in front of its convolution, stays, and the
norms of the filters that it follows are then the plain ones: where this matters, see that no BatchNorm is left.
"""

from collections.abc import Iterable
from numbers import Real

from nn.backend import Array, get_array_module
from nn.module import Module
from pruning.masks import prunable


def saliency(net: Module, names: Iterable[str] | None = None, norm: int = 1) -> dict[str, Array]:
    """Return s_j = sum |w| over the weights of filter j, (out,) for every weight; with ``norm=2`` the root of sum w^2.

    `pruning.masks.smallest` takes it as it is, and `pruning.masks.apply` spreads the masks over the filters.  Under
    batch normalisation W_j and any positive multiple of it give the same net, so that the same function has many
    rankings.  Score ``pruning.surgery.fold_batchnorm(net)``, which has scale and deviation in the weights and keeps all
    names.

    Parameters
    ----------
    net : trained.
    names : the weights to score; None is every W.
    norm : 1 or 2.

    Raises
    ------
    ValueError
        For a name that is no parameter of the net, or another norm.

    Notes
    -----
    Li et al. 2017, Pruning filters for efficient ConvNets, section 3.1; the slides on filter pruning.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> import pruning
    >>> net = nn.Sequential(nn.Conv2d(1, 2, 2, np.random.default_rng(0)))
    >>> net.layers[0].W.data = np.array([[[[1.0, -1.0], [2.0, 0.0]]], [[[0.0, 0.5], [0.0, 0.0]]]])
    >>> pruning.scores.filter_norm.saliency(net)
    {'0.W': array([4. , 0.5])}
    """
    if not isinstance(norm, Real) or norm not in (1, 2):
        raise ValueError(f"expected the norm 1 or 2, got {norm!r}")
    return {name: _norms(parameter.data, norm) for name, parameter in prunable(net, names).items()}


def _norms(W: Array, norm: int) -> Array:
    xp = get_array_module(W)
    rows = xp.reshape(W, (W.shape[0], -1))
    return xp.sum(xp.abs(rows), axis=1) if norm == 1 else xp.sqrt(xp.sum(rows * rows, axis=1))
