"""Stages that cut filters and columns of the convolutions: by ADMM, at once, in steps, and by purification."""

import copy
import math

import numpy as np

from nn.backend import Array
from nn.module import Module
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

    One number scales all thresholds: of a column, of a channel's energy and of a filter, each in units of its mean in
    the layer.  A channel is weak when less than half of those of its columns stay that the net had before.  The
    smallest number that is enough is found by bisection.
    """
    before, low, high = lesson.accuracy(net), -12.0, 4.0  # of the logarithm of the scale
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (low, middle) if _conv_weights(net, middle) <= stage["keep"] else (middle, high)
    masks.apply(net, _purify(net, high))
    report = {"scale": math.exp(high), "before": before, "projected": lesson.accuracy(net)}
    return slim(net)[0], report


def _purify(net: Module, log_scale: float) -> dict[str, Array]:
    scale, rules = math.exp(log_scale), {}
    for name, W in list(masks.prunable(net).items())[:2]:
        O, K = W.shape[0], math.prod(W.shape[1:])
        energy = scale * float((W.data * W.data).sum())
        rules[name] = Thresholds(column=energy / K, fullness=0.5, energy=energy / K, filter=energy / O)
    return purify(net, rules)


def _conv_weights(net: Module, log_scale: float) -> int:
    # Of a net that purification would cut in two, nothing is left.
    purified = copy.deepcopy(net)
    try:
        masks.apply(purified, _purify(net, log_scale))
    except ValueError:
        return 0
    return sum(W.data.size for W in list(masks.prunable(slim(purified)[0]).values())[:2])
