"""Gradual thresholds: groups of weights that fell below a threshold are deleted, and the threshold grows.

    at step k:   W^(g) <- 0 for good,   where ||W^(g)|| <= tau(k) s_g,   s_g = 1 or sqrt(the group's size)

Beside a penalty, which makes groups small, or without one.  Masks hold what is deleted at zero, in every optimizer.
"""

import math
from collections.abc import Callable, Iterable

from nn.arguments import nonnegative, whole
from nn.backend import asarray, get_array_module, to_numpy
from nn.companions import Companion
from nn.module import Module
from pruning import masks
from pruning.channels.tracing import refuse_shared
from pruning.masks import prunable
from pruning.penalties.families import Family, check_family, norms, scales, spread


class GradualThresholds(Companion):
    """Deletes the groups of the families whose norms are at most a threshold that depends on the step.

    A companion of `nn.training.train`.  Of every family at least one group stays, the largest.  What was deleted is in
    the masks of the net, so that there is no other state.

    Parameters
    ----------
    net : in training.
    families : of groups (`pruning.penalties.families`), in the order in which they are looked at; their strengths are
        those of a penalty, and mean nothing here.
    threshold : number of the optimizer's step -> tau, 0 or more.
    every : steps from one look to the next.

    Raises
    ------
    TypeError
        If these are no families, or the threshold is no function.
    ValueError
        If a parameter of a family is not of the net, is shared by two layers, has not the axes of the family or no data
        (an outline), or `every` is no whole number from 1; in training, if the threshold is no number of 0 or more.

    References
    ----------
    Lebedev and Lempitsky 2016, Fast ConvNets using group-wise brain damage, arXiv:1506.02515, with
    `pruning.penalties.families.columns`.
    """

    def __init__(self, net: Module, families: Iterable[Family], threshold: Callable[[int], float], every: int = 1):
        if isinstance(families, Family) or not isinstance(families, Iterable):
            raise TypeError(f"expected a list of families, got {families!r}")
        self.net, self.families = net, list(families)
        for family in self.families:
            check_family(family)
        self.parameters = prunable(net, [name for family in self.families for name in family.axes])
        refuse_shared(net)
        if not callable(threshold):
            raise TypeError(f"expected a threshold as a function of the step, got {threshold!r}")
        self.threshold, self.every = threshold, whole(every, "number of steps from one look to the next", 1)
        self.left()  # groups that overlap are refused before the first step

    def after_step(self, step: int) -> None:
        """Delete what is below the threshold of this step, if it is one of every `every`."""
        if step % self.every == 0:
            tau = self.threshold(step)
            for family in self.families:
                self.delete(family, tau)

    def delete(self, family: Family, tau: float) -> None:
        """Mask the groups of one family with norms of at most tau s_g, all but the largest; tau is 0 or more."""
        tau = nonnegative(tau, "threshold")
        weights = {name: self.parameters[name].data for name in family.axes}
        size = to_numpy(norms(weights, family))
        dead = size <= tau * scales(weights, family)
        if dead.all():
            dead = size < size.max()
        for name, axes in family.axes.items():
            u = self.parameters[name]
            kept = spread(asarray(1.0 - dead, like=u.data), u.data, axes) * get_array_module(u.data).ones_like(u.data)
            masks.apply(self.net, {name: kept if u.mask is None else kept * u.mask})

    def left(self) -> list[int]:
        """Return how many groups of each family are not zero."""
        found = []
        for family in self.families:
            size = norms({name: self.parameters[name].data for name in family.axes}, family)
            found.append(math.prod(size.shape) - int((to_numpy(size) == 0).sum()))
        return found
