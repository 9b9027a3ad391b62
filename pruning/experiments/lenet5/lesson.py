"""What all stages of a LeNet-5 share: what it learns from, steps of ADMM and their projection, and taking out zeros."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import nn
from nn.backend import Array
from nn.batches import Targets
from nn.module import Module
from nn.optimizers import Adam, Optimizer
from pruning import masks, surgery
from pruning.experiments.setup import SHAPES
from pruning.penalties import admm

SHAPE = SHAPES["mnist"]
# Adam forgets its squared gradients within some hundred steps: the net changes while it is pruned.
BETAS = (0.9, 0.99)
Stage = Mapping[str, Any]
Report = dict[str, Any]


@dataclass(frozen=True)
class Lesson:
    """What students learn from: draw(rng) returns `images` of them with targets; `held_out` is never trained on."""

    draw: Callable[[np.random.Generator], tuple[Array, Targets]]
    images: int
    loss: Any
    held_out: tuple[Array, Array]
    batch_size: int

    def epochs(
        self,
        net: Module,
        optimizer: Optimizer,
        number: int,
        rng: np.random.Generator,
        schedule: Callable[[int], float] | None = None,
        companions: Sequence[nn.Companion] = (),
    ) -> None:
        """Train for a number of epochs, each on images drawn anew."""
        for epoch in range(number):
            optimizer.learning_rate = schedule(epoch) if schedule else optimizer.learning_rate
            x, t = self.draw(rng)
            nn.training.train(
                net,
                self.loss,
                optimizer,
                x,
                t,
                epochs=1,
                batch_size=self.batch_size,
                rng=rng,
                companions=companions,
                progress=False,
            )

    def steps(self) -> int:
        """Return how many steps an epoch has."""
        return math.ceil(self.images / self.batch_size)

    def accuracy(self, net: Module) -> float:
        """Return the share of the held-out images that the net gets right."""
        return nn.batches.evaluate(net, nn.SoftmaxCrossEntropy(), *self.held_out)[1]


def slim(net: Module, optimizer: Adam | None = None) -> Any:
    """Return the net without what does nothing and without columns that are zero, the same function.

    With `optimizer` it is the pair (net, optimizer), as in `pruning.surgery`.
    """
    net, optimizer = surgery.remove_unused_paths(net, SHAPE, optimizer=optimizer or Adam(net.parameters(), 0.0))
    *names, _ = masks.prunable(net)
    return surgery.remove_columns(net, surgery.used_columns(net, names), optimizer)


def growing(stage: Stage, lesson: Lesson) -> Callable[[int], float]:
    """Return rho by update: it grows by the same factor at each, from the first number of the stage to the last."""
    low, high = stage["rho"]
    updates = stage["epochs"] * lesson.steps() // stage["every"]
    return lambda done: low * (high / low) ** (min(done, updates) / max(1, updates))


def train_with(split: admm.ADMM, net: Module, stage: Stage, lesson: Lesson, rng: np.random.Generator) -> None:
    """Train with this companion for the epochs of the stage."""
    optimizer = Adam(net.parameters(), stage["learning_rate"], BETAS)
    lesson.epochs(net, optimizer, stage["epochs"], rng, companions=[split])


def projected(split: admm.ADMM, net: Module, lesson: Lesson) -> tuple[Module, Report]:
    """Project, take out what was cut, and report what the projection did."""
    before = {name: W.data for name, W in split.parameters.items()}
    report: Report = {"before": lesson.accuracy(net), "history": split.history}
    split.project()
    moved = sum(_square(W.data - before[name]) for name, W in split.parameters.items())
    report["relative"] = math.sqrt(moved / sum(_square(w) for w in before.values()))
    report["projected"] = lesson.accuracy(net)
    return slim(net)[0], report


def _square(array: Array) -> float:
    return float((array * array).sum())
