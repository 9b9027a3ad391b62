"""The stages of a LeNet-5 on its way to a small net: each takes a net and returns another one and what it measured.

Conv structures by ADMM, with what was cut taken out between the stages (progressive shrinking); the same structures
projected at once or in steps, as the controls; purification; single weights, by ADMM with one budget or by gradual
deletion; groups of the whole net; and retraining.  All train on the same images with the same loss, with Adam.
"""

import copy
from collections.abc import Callable, Mapping
from functools import partial

import numpy as np

import nn
from nn.backend import Array
from nn.module import Module
from nn.optimizers import Adam
from pruning import masks, schedules, surgery
from pruning.experiments.lenet5.lesson import (
    BETAS,
    SHAPE,
    Lesson,
    Report,
    Stage,
    growing,
    projected,
    slim,
    train_with,
)
from pruning.experiments.lenet5.structures import purified, structured_admm, structured_at_once, structured_in_steps
from pruning.penalties import admm
from pruning.pipeline.gradual import Gradual, check_budget, keep_highest
from pruning.pipeline.rows_and_columns import Groups
from pruning.scores import fisher, magnitude

# ---------------------------------------------------------------------------------------------- single weights


def sparse_admm(net: Module, stage: Stage, lesson: Lesson, rng: np.random.Generator) -> tuple[Module, Report]:
    """Train with ADMM on the whole net's `keep` largest weights, and project."""
    names = list(masks.prunable(net))
    split = admm.OneBudget(net, names, stage["keep"], growing(stage, lesson), stage["every"])
    train_with(split, net, stage, lesson, rng)
    _, report = projected(split, net, lesson)
    return surgery.remove_unused_paths(net, SHAPE), report


def sparse_at_once(net: Module, stage: Stage, lesson: Lesson, rng: np.random.Generator) -> tuple[Module, Report]:
    """Keep the weights of highest score as the net stands; the Fisher score costs an epoch without a step.

    Many of the best single weights lead nowhere: so many more are kept that `keep` of them are on a path.
    """
    keep, many = stage["keep"], check_budget(net, stage["keep"])
    optimizer = Adam(net.parameters(), 0.0, BETAS)
    if stage["score"] == "fisher":
        lesson.epochs(net, optimizer, 1, rng)
    scores = _score(stage, optimizer)(net)
    kept = _most(keep, many, lambda kept: _on_paths(net, scores, kept) <= keep)
    keep_highest(net, scores, kept)
    return surgery.remove_unused_paths(net, SHAPE), {"kept": kept, "projected": lesson.accuracy(net)}


def _most(few: int, many: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number from `few` to `many` that fits, by bisection; `few` if none does."""
    while few < many:
        tried = (few + many + 1) // 2
        few, many = (tried, many) if fits(tried) else (few, tried - 1)
    return few


def _on_paths(net: Module, scores: Mapping[str, Array], keep: int) -> int:
    pruned = copy.deepcopy(net)
    keep_highest(pruned, scores, keep)
    return masks.counts(surgery.remove_unused_paths(pruned, SHAPE))[0]


def gradual(net: Module, stage: Stage, lesson: Lesson, rng: np.random.Generator) -> tuple[Module, Report]:
    """Delete weights while the net trains, all but `keep` by nine tenths of the stage (`pruning.pipeline.gradual`).

    What leads nowhere any more is taken out after every epoch.
    """
    keep, every, last = stage["keep"], stage["every"], 0.9 * stage["epochs"] * lesson.steps()
    start = check_budget(net, keep)
    optimizer = Adam(net.parameters(), stage["learning_rate"], BETAS)
    for _ in range(stage["epochs"]):
        deletion = Gradual(net, _score(stage, optimizer), keep, last, every, start)
        lesson.epochs(net, optimizer, 1, rng, companions=[deletion])
        net, optimizer = surgery.remove_unused_paths(net, SHAPE, optimizer=optimizer)
    return net, {"projected": lesson.accuracy(net)}


def _score(stage: Stage, optimizer: Adam) -> Callable[[Module], Mapping[str, Array]]:
    return partial(fisher.saliency, optimizer=optimizer) if stage["score"] == "fisher" else magnitude.saliency


# --------------------------------------------------------------------------------------------- the whole net


def whole(net: Module, stage: Stage, lesson: Lesson, rng: np.random.Generator) -> tuple[Module, Report]:
    """Train for some epochs, then delete filters, units, inputs and columns while training, until `keep` weights stay.

    How many are left follows `pruning.schedules.weights_left`, for nine tenths of the stage.  What was deleted is taken
    out after every epoch, so that the steps become cheaper as the net gets smaller.
    """
    optimizer = Adam(net.parameters(), stage["learning_rate"], BETAS)
    lesson.epochs(net, optimizer, stage["warm_up"], rng)
    start, keep, every, warm = check_budget(net, stage["keep"]), stage["keep"], stage["every"], optimizer.steps
    last = 0.9 * stage["epochs"] * lesson.steps()

    def budget(step: int) -> int | None:
        return None if step % every else schedules.weights_left(start, keep, min(1.0, (step - warm) / last))

    for _ in range(stage["epochs"]):
        lesson.epochs(net, optimizer, 1, rng, companions=[_groups(net, budget)])
        net, optimizer = slim(net, optimizer)
    return net, {"projected": lesson.accuracy(net)}


def _groups(net: Module, budget: Callable[[int], int | None] | None = None) -> Groups:
    # Not the columns of the last layer: each is the one weight vector that reads a unit, and goes with it.
    *names, _ = masks.prunable(net)
    return Groups(net, rows=names, columns=names, budget=budget)


def whole_at_once(net: Module, stage: Stage, lesson: Lesson, rng: np.random.Generator) -> tuple[Module, Report]:
    """Train, observe the gates in the last epoch, and delete all that is too much together.

    What is left after it partly leads nowhere, and goes too: so much more is kept that `keep` weights are on a path.
    """
    optimizer = Adam(net.parameters(), stage["learning_rate"], BETAS)
    lesson.epochs(net, optimizer, stage["epochs"] - 1, rng)
    keep, many = stage["keep"], check_budget(net, stage["keep"])
    groups = _groups(net)
    lesson.epochs(net, optimizer, 1, rng, companions=[groups])
    kept = _most(keep, many, lambda kept: _after_deleting(groups, kept) <= keep)
    groups.delete(kept)
    return slim(net)[0], {"kept": kept, "projected": lesson.accuracy(net)}


def _after_deleting(groups: Groups, budget: int) -> int:
    groups = copy.deepcopy(groups)  # and its net with it
    groups.delete(budget)
    return masks.counts(slim(groups.net)[0])[0]


def retrain(net: Module, stage: Stage, lesson: Lesson, rng: np.random.Generator) -> tuple[Module, Report]:
    """Train what is left, masks and all, the learning rate falling along a cosine."""
    rate, epochs = stage["learning_rate"], stage["epochs"]
    lesson.epochs(net, Adam(net.parameters(), rate, BETAS), epochs, rng, nn.cosine_decay(rate, epochs))
    return net, {"retrained": lesson.accuracy(net)}


STAGES: dict[str, Callable[[Module, Stage, Lesson, np.random.Generator], tuple[Module, Report]]] = {
    "structured admm": structured_admm,
    "structured at once": structured_at_once,
    "structured in steps": structured_in_steps,
    "purify": purified,
    "sparse admm": sparse_admm,
    "sparse at once": sparse_at_once,
    "gradual": gradual,
    "whole": whole,
    "whole at once": whole_at_once,
    "retrain": retrain,
}
