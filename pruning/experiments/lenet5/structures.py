"""Stages that cut filters and columns of the convolutions: by ADMM, at once, in steps, and by purification."""

import copy
import math

import numpy as np

from nn.backend import to_numpy
from nn.module import Module, Parameter
from nn.optimizers import Adam
from pruning import masks
from pruning.experiments.lenet5.lesson import BETAS, Lesson, Report, Stage, growing, projected, slim, train_with
from pruning.experiments.lenet5.sets import conv_sets
from pruning.penalties import admm
from pruning.surgery.purification import Thresholds, purify


def structured_admm(net: Module, stage: Stage, lesson: Lesson, rng: np.random.Generator) -> tuple[Module, Report]:
    """Train with ADMM on filters and columns of the convolutions, project, and take out what was cut."""
    split = admm.ADMM(net, conv_sets(net, stage["shapes"]), growing(stage, lesson), stage["every"])
    train_with(split, net, stage, lesson, rng)
    return projected(split, net, lesson)


def structured_at_once(net: Module, stage: Stage, lesson: Lesson, rng: np.random.Generator) -> tuple[Module, Report]:
    """Project on filters and columns of the convolutions as the net stands, and take out what was cut."""
    return projected(admm.ADMM(net, conv_sets(net, stage["shapes"]), 1.0), net, lesson)


def structured_in_steps(net: Module, stage: Stage, lesson: Lesson, rng: np.random.Generator) -> tuple[Module, Report]:
    """Project on fewer filters and columns before every epoch, by equal ratios, and take out what was cut.

    The control of ADMM that does not prune at once either: as many epochs, and neither Y nor U.
    """
    optimizer = Adam(net.parameters(), stage["learning_rate"], BETAS)
    for left in reversed(range(stage["epochs"])):
        admm.ADMM(net, conv_sets(net, _on_the_way(net, stage, left)), 1.0).project()
        accuracy = lesson.accuracy(net)
        net, optimizer = slim(net, optimizer)
        lesson.epochs(net, optimizer, 1, rng)
    return net, {"projected": accuracy, "trained": lesson.accuracy(net)}


def _on_the_way(net: Module, stage: Stage, left: int) -> dict[str, list[int]]:
    """Return (filters, columns) `left` steps before the last, on the way from those of the net to the stage's."""
    shapes = {}
    for name, W in masks.prunable(net, list(stage["shapes"])).items():
        now, last = (W.shape[0], math.prod(W.shape[1:])), stage["shapes"][name]
        shapes[name] = [round(few * (many / few) ** (left / (left + 1))) for many, few in zip(now, last)]
    return shapes


def purified(net: Module, stage: Stage, lesson: Lesson, rng: np.random.Generator) -> tuple[Module, Report]:
    """Purify the convolutions until at most `keep` weights are left in them, and take out what is unused.

    Thresholds for a given number of weights cannot be chosen by hand.  So one of them is raised until something goes,
    again and again, without training in between: that of the column or filter whose energy is the smallest in units of
    the mean in its layer.  A channel goes with its columns when less than half of those stay that it had before.  All
    thresholds raised together would start an avalanche: a filter that goes takes energy from the columns, and these
    from the filters.
    """
    before = lesson.accuracy(net)
    while _conv_weights(net) > stage["keep"]:
        masks.apply(net, purify(net, _just_enough(net)))
    report = {"before": before, "projected": lesson.accuracy(net)}
    return slim(net)[0], report


def _just_enough(net: Module) -> dict[str, Thresholds]:
    """Return the smallest threshold, in units of the means, for which a column or a filter is too weak."""
    found = []
    for name, W in _convolutions(net).items():
        squares = to_numpy(W.data).reshape(W.shape[0], -1) ** 2
        columns, filters = (energy[energy > 0] for energy in (squares.sum(axis=0), squares.sum(axis=1)))
        # Above the weakest by more than float32 rounds.
        column, whole = (1.0001 * float(energy.min()) for energy in (columns, filters))
        found.append((column / columns.mean(), name, Thresholds(column=column, fullness=0.5, energy=column)))
        found.append((whole / filters.mean(), name, Thresholds(filter=whole)))
    _, name, rule = min(found, key=lambda each: each[0])
    return {name: rule}


def _convolutions(net: Module) -> dict[str, Parameter]:
    return dict(list(masks.prunable(net).items())[:2])


def _conv_weights(net: Module) -> int:
    return sum(W.data.size for W in _convolutions(slim(copy.deepcopy(net))[0]).values())
