"""What a target is worth: the small net fine-tuned, and beside it the same small net from new weights.

The three stages are train, prune, fine-tune.  The first is `nn.training.train`; the second makes the target, of which
Liu et al. have three kinds:

    predefined      surgery.remove(net, filters.independent(net, shares, filter_norm.saliency))
    automatic       slimming.slim(net, slimming.keep_for_macs(net, shape, share), shape), of a net trained for it
    unstructured    masks.apply(copy, masks.smallest(magnitude.saliency(net), share))

`arms` says the third, and the two trainings that fine-tuning has to beat: the same architecture, or the same masks,
from new weights for the epochs of the dense net (scratch-E) or for its computation (scratch-B).  Every arm is trained
with the optimizer, the batches and the images of the dense net; what differs stands in `Arm`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nn.arguments import number
from nn.initializers import Initializer, he_normal
from nn.module import Module
from nn.optimizers import step_decay
from pruning import masks
from pruning.counts import count
from pruning.pipeline.new_weights import redrawn
from pruning.pipeline.scratch_budget import Budget, masked_scratch_b, scratch_b, scratch_e
from pruning.surgery import duplicate

ARMS = ("fine-tuned", "scratch-E", "scratch-B")


@dataclass(frozen=True)
class Arm:
    """A training: its name, the net that it starts from, how long, and how fast (`nn.step_decay` of rate and falls)."""

    name: str
    net: Module
    budget: Budget
    learning_rate: float


def arms(
    dense: Module,
    small: Module,
    input_shape: Sequence[int],
    schedule: Budget,
    learning_rate: float,
    fine_tuning: int,
    rng: np.random.Generator,
    names: Sequence[str] = ARMS,
    init: Initializer = he_normal,
    density: bool = False,
    at_most: float | None = None,
) -> list[Arm]:
    """Return the arms of a target, each with a net of its own.

        fine-tuned   the small net as it is,   fine_tuning epochs at the lowest rate, eta / 10^milestones
        scratch-E    new weights,              the epochs and milestones of the dense net, from eta
        scratch-B    new weights, the same,    r times the epochs and milestones, from eta

    with r = MACs(dense) / MACs(small), and for masks, whose zeros a dense processor multiplies as well,
    r = weights / weights that are left; at most `at_most`.

    Parameters
    ----------
    dense : the net before pruning, whatever its weights.
    small : the target: fewer filters, or masks.  It is not modified.
    input_shape : of one input, without the batch.
    schedule, learning_rate : how the dense net was trained: epochs, milestones and the first rate eta.
    fine_tuning : epochs of the fine-tuned arm.
    rng : draws the new weights, once for both arms from scratch.
    names : the arms that are wanted.
    init, density : as for `pruning.pipeline.redrawn`.
    at_most : the largest r, None for no cap; the authors' code has 2 for ImageNet, none for CIFAR.

    Raises
    ------
    ValueError
        If the target is larger than the dense net, or not smaller at all; for an unknown arm, or none; for a rate that
        is not positive.  Also as `scratch_e`, `scratch_b` and `redrawn`.
    TypeError
        If one of the nets is none, `names` is one string, or a number is none.

    References
    ----------
    Liu, Sun, Zhou, Huang, Darrell 2019, Rethinking the value of network pruning, ICLR, arXiv:1810.05270; slides
    "Training budget" and "Implementation".
    """
    _check_names(names)
    rate = number(learning_rate, "the learning rate")
    if not 0 < rate < math.inf:
        raise ValueError(f"expected a positive learning rate, got {rate}")
    e = scratch_e(schedule.epochs, schedule.milestones)
    fine = scratch_e(fine_tuning)
    b = _computation(dense, small, input_shape, e, at_most)
    fresh = redrawn(small, rng, init, density)
    lowest = step_decay(rate, e.milestones)(e.epochs - 1)
    found = {"fine-tuned": (small, fine, lowest), "scratch-E": (fresh, e, rate), "scratch-B": (fresh, b, rate)}
    return [Arm(name, duplicate(found[name][0]), *found[name][1:]) for name in names]


def _check_names(names: Sequence[str]) -> None:
    if isinstance(names, str):
        raise TypeError(f"expected a list of arms, got {names!r}")
    unknown = [repr(name) for name in names if name not in ARMS]
    if unknown or not names:
        raise ValueError(f"expected arms of {', '.join(ARMS)}, got {unknown[0] if unknown else 'none'}")


def _computation(dense: Module, small: Module, input_shape: Sequence[int], e: Budget, at_most: float | None) -> Budget:
    """Return the budget of scratch-B; a ValueError unless the target is smaller than the dense net."""
    b = scratch_b(dense, small, input_shape, e.epochs, e.milestones, at_most)
    (left, size), (_, whole) = masks.counts(small), masks.counts(dense)
    macs = count(dense, input_shape).macs
    if left == whole and count(small, input_shape).macs == macs:
        raise ValueError(
            f"expected a target smaller than the dense net, got one with all {macs:,} of its multiply-accumulates and"
            f" all {whole:,} weights: nothing is pruned"
        )
    return b if left == size else masked_scratch_b(small, e.epochs, e.milestones, at_most)
