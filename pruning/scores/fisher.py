"""Saliency by the squared gradient: what deleting a weight costs if the loss is a likelihood."""

from collections.abc import Iterable

from nn.backend import Array
from nn.module import Module
from nn.optimizers import Adam, Optimizer
from pruning.masks import prunable


def saliency(net: Module, optimizer: Adam, names: Iterable[str] | None = None) -> dict[str, Array]:
    """Return s_k = u_k^2 E[g_k^2], E[g_k^2] the running mean of squared minibatch gradients that Adam keeps anyway.

    With the empirical Fisher information E[g g^T] in the place of the Hessian this is OBD's h_kk u_k^2 / 2, but for a
    factor that all weights share.  The gradients are those of minibatches, so that E[g^2] is the squared mean plus the
    variance over the batch size: a ranking, not a prediction of the loss.

    Parameters
    ----------
    net : in training.
    optimizer : its Adam; the correction for its start at zero is a common factor too.
    names : the parameters to score; None is every W.

    Raises
    ------
    TypeError
        If this is no optimizer.
    ValueError
        If the optimizer has made no step with one of the parameters, or keeps no squares.

    References
    ----------
    LeCun, Denker and Solla 1990 (h_kk u_k^2 / 2); Theis et al. 2018, Faster gaze prediction with dense networks and
    Fisher pruning, arXiv:1801.05787 (the Fisher information in its place).
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"expected the Adam that trains the net, got {type(optimizer).__name__}")
    states = dict(zip(optimizer.parameters, optimizer.state))
    scores = {}
    for name, parameter in prunable(net, names).items():
        square = states.get(parameter, {}).get("square")
        if square is None:
            raise ValueError(f"expected an Adam that has made steps with {name}, got none of its squared gradients")
        scores[name] = parameter.data * parameter.data * square
    return scores
