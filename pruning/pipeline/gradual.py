"""Single weights deleted while a net trains: a few every so many steps, those of lowest score at that moment.

The schedule of Zhu and Gupta 2017 is one of the sparsity (`pruning.schedules.cubic`).  This is one of the logarithm of
what is left, so that the last steps, which hurt most, delete a small share of the few weights that there still are:

    ln n = ln keep + (ln start - ln keep) (1 - r)^power,  r = steps / last, at most 1

Masks hold what is deleted at zero through training, in every optimizer; a weight that is deleted never comes back.
"""

import math
from collections.abc import Callable, Mapping

from nn.arguments import number, whole
from nn.backend import Array
from nn.companions import Companion, State
from nn.module import Module
from pruning import masks
from pruning.schedules import weights_left


class Gradual(Companion):
    """Deletes weights of a net in training until `keep` of them are left: a companion of `nn.training.train`.

    Parameters
    ----------
    net : in training; its masks are replaced.
    score : net -> {name: saliency} of the weights that may go, for instance `pruning.scores.magnitude.saliency`.
    keep : weights left at the end.
    last : the step from which on no more than `keep` are left, a whole one or not.  Steps are the optimizer's: they go
        on from net to net when `pruning.surgery` has cut both.
    every : steps from one deletion to the next.
    start : weights left before the first step, of those that have a score; None counts all of the net.
    power : above 1 the first deletions are larger, at 1 all delete the same share of what is left.

    Raises
    ------
    ValueError
        If fewer weights are to be kept than the net has layers, or more than it has left; if `every` is below 1, or
        `last` or `power` is not positive; for counts that are not whole.
    TypeError
        If `last` or `power` is no number.

    References
    ----------
    Zhu, Gupta 2017, To prune, or not to prune: exploring the efficacy of pruning for model compression,
    arXiv:1710.01878.
    """

    def __init__(
        self,
        net: Module,
        score: Callable[[Module], Mapping[str, Array]],
        keep: int,
        last: float,
        every: int = 20,
        start: int | None = None,
        power: float = 1.5,
    ):
        last, power = number(last, "the last step"), number(power, "the power")
        if not (every >= 1 and last > 0):
            raise ValueError(f"expected deletions every 1 or more steps until a step above 0, got {every} and {last}")
        if not 0 < power < math.inf:
            raise ValueError(f"expected a positive power, got {power}")
        every, keep = whole(every, "number of steps", 1), whole(keep, "number of weights", 0)
        start = check_budget(net, keep) if start is None else whole(start, "number of weights at the start", 0)
        if start < keep:
            raise ValueError(f"expected at least {keep} weights at the start, those that are to be left, got {start}")
        self.net, self.score, self.start, self.keep = net, score, start, keep
        self.last, self.every, self.power = last, every, power

    def after_step(self, step: int) -> None:
        """Delete down to the number of weights that the schedule has for this step, if it is one of every `every`."""
        if step % self.every == 0:
            left = weights_left(self.start, self.keep, min(1.0, step / self.last), self.power)
            keep_highest(self.net, self.score(self.net), left)

    def state(self) -> State:
        """Return how many weights there were at the start: those that are gone are in the masks of the net."""
        return {"start": self.start}

    def load(self, state: State) -> None:
        """Take up a state; a ValueError if it is not that of a deletion from as many weights or more to as many."""
        start = state.get("start")
        if state.keys() != {"start"} or not isinstance(start, int) or start < self.keep:
            raise ValueError(f"expected the state of a gradual deletion, a start of at least {self.keep}, got {state}")
        self.start = start


def keep_highest(net: Module, scores: Mapping[str, Array], keep: int) -> None:
    """Mask all weights but the `keep` of highest score, of those that are left; fewer that are left all stay."""
    left, total = masks.counts(net, list(scores))
    dead = masks.current(net, list(scores))
    masks.apply(net, masks.smallest(scores, 1 - min(keep, left) / total, dead=dead))


def check_budget(net: Module, keep: int) -> int:
    """Return how many weights are left; a ValueError unless `keep` is one a layer at least, and at most all of them."""
    left, layers = masks.counts(net)[0], len(masks.prunable(net))
    if not layers <= keep <= left:
        raise ValueError(f"expected to keep {layers} to {left} weights, at least one a layer, got {keep}")
    return left
