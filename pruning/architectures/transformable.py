r"""Transformable architecture search: the widths of a net by gradient descent, within a band of costs.

Every convolution is followed by a `WidthMix`.  Weights and logits move in turn, each on their own half of the training
images: a step of the weights by the loss alone, then a step of the logits by

    E + strength * d,   d = +log E[MACs]  if the net of the largest logits has more than `target` of the most MACs,
                        d = -log E[MACs]  if it has less than `target - tolerance` of them,   d = 0 in the band between

as in the authors' code: the tolerance is a share of the most MACs, too.  The term ends at the edge of the band, and the
loss alone pushes the logits over it again.  So the net at the last step may be out of the band, and what the search
returns are the widths of the largest logits when they were in it for the last time.

Notes
-----
Dong and Yang 2019, Network pruning via transformable architecture search, NeurIPS, arXiv:1905.09717; their code is
github.com/D-X-Y/AutoDL-Projects, from which the cost term and its numbers are taken.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from tqdm import tqdm

from nn.arguments import nonnegative, number, whole
from nn.backend import Array, asarray, to_numpy
from nn.batches import Targets, check_data
from nn.initializers import check_generator
from nn.module import Module, inside
from nn.optimizers import Optimizer
from nn.training import take
from pruning import surgery
from pruning.architectures.width_cost import WidthCost
from pruning.architectures.width_mix import mixes

Part = tuple[Array, Targets]


@dataclass(frozen=True)
class Band:
    """The MACs that a net may have, as shares of the most: from target - tolerance to target, both included."""

    target: float
    tolerance: float

    def __post_init__(self) -> None:
        target, tolerance = number(self.target, "the target"), number(self.tolerance, "the tolerance")
        if not 0 < tolerance < target <= 1:
            raise ValueError(f"expected 0 < tolerance < target <= 1, got {tolerance} and {target}")

    def direction(self, share: float) -> int:
        """Return +1 where there are too many MACs, -1 where there are too few, 0 in the band."""
        return int(share > self.target) - int(share < self.target - self.tolerance)


@dataclass
class Found:
    """The widths that a search found, and the course of it, one dict an epoch."""

    widths: dict[str, int]
    macs: int
    most: int
    last: dict[str, int]
    """The widths of the largest logits at the end, in the band or not."""
    history: list[dict[str, Any]] = field(default_factory=list)


class Search:
    """The alternation, in place, of a net with mixes of widths; `run` makes all epochs.

    Parameters
    ----------
    net : a chain with `WidthMix` layers, as `WidthCost` takes it.
    loss : of the weights and of the logits.
    weights, logits : the optimizers of all other parameters, and of the logits of all mixes.
    band : what the net may cost.
    input_shape : of one input, without the batch.
    strength : of the cost term.
    temperatures : tau in the first epoch and in the last, linear between.

    Raises
    ------
    TypeError, ValueError
        As `WidthCost`; if an optimizer moves other parameters; if a temperature is not above 0; if no net of the band
        exists.
    """

    def __init__(
        self,
        net: Module,
        loss: Any,
        weights: Optimizer,
        logits: Optimizer,
        band: Band,
        input_shape: Sequence[int],
        strength: float = 2.0,
        temperatures: tuple[float, float] = (5.0, 0.1),
    ):
        self.net, self.loss, self.weights, self.logits, self.band = net, loss, weights, logits, band
        self.cost, self.strength = WidthCost(net, input_shape), nonnegative(strength, "strength")
        self.temperatures = tuple(number(tau, "a temperature") for tau in temperatures)
        if len(self.temperatures) != 2 or not all(0 < tau < math.inf for tau in self.temperatures):
            raise ValueError(f"expected two temperatures above 0, got {temperatures}")
        own = {mix.logits for mix in self.cost.mixes.values()}
        if set(logits.parameters) != own or set(weights.parameters) != set(net.parameters()) - own:
            raise ValueError("expected one optimizer of all logits, and one of all other parameters of the net")
        if all(band.direction(self.cost.macs(each) / self.cost.most) for each in self.cost.architectures()):
            raise ValueError(f"no widths of the mixes have MACs in the band below {band.target} of the most")
        self.found: dict[str, int] | None = None

    def widths(self) -> dict[str, int]:
        """Return {name of the mix: width of the largest logit}."""
        return {name: mix.width for name, mix in self.cost.mixes.items()}

    def side(self) -> int:
        """Return where the net of the largest logits is, +1, 0 or -1, and remember its widths if it is in the band."""
        side = self.band.direction(self.cost.chosen() / self.cost.most)
        if side == 0:
            self.found = self.widths()
        return side

    def step_weights(self, x: Array, t: Targets) -> float:
        """Make one step of the weights with widths that are drawn, and return the loss before it."""
        E = self._swept(x, t)
        self.weights.step()
        return E

    def step_logits(self, x: Array, t: Targets) -> float:
        """Make one step of the logits, with the cost term outside of the band, and return the loss before it."""
        E = self._swept(x, t)
        side = self.side()
        if side:
            factor = side * self.strength / float(self.cost.expected())  # d log E[MACs] = dE[MACs] / E[MACs]
            for name, slope in self.cost.gradient().items():
                mix = self.cost.mixes[name]
                mix.logits.grad = mix.logits.grad + factor * slope
        self.logits.step()
        return E

    def _swept(self, x: Array, t: Targets) -> float:
        E = float(self.loss.forward(self.net.forward(x), t))
        if not math.isfinite(E):
            raise FloatingPointError(f"the loss of the search became {E}; a smaller learning rate may help")
        self.net.backward_parameters(self.loss.backward())
        return E

    def run(
        self,
        part: Part,
        held_out: Part,
        epochs: int,
        batch_size: int,
        rng: np.random.Generator,
        schedule: Callable[[int], float] | None = None,
        progress: bool = False,
    ) -> Found:
        """Search, and return the widths that were in the band last.

        Parameters
        ----------
        part, held_out : (x, t) for the weights, and (x, t) for the logits, which are drawn from as often.
        epochs, batch_size : passes over `part`; patterns in a step, of which what is left over waits for another epoch.
        rng : draws the order of both.
        schedule : epoch -> learning rate of the weights.

        Raises
        ------
        ValueError
            If the data cannot be used, a part has less than one batch, or the widths were never in the band.
        FloatingPointError
            If the loss is no longer finite.
        """
        epochs, batch_size = whole(epochs, "number of epochs", 1), whole(batch_size, "batch size", 2)
        check_generator(rng, outline=False)
        for each in (part, held_out):
            check_data(self.net, *each)
        steps = min(each[0].shape[-1] for each in (part, held_out)) // batch_size
        if steps < 1:
            raise ValueError(f"expected at least one batch of {batch_size} patterns in both parts")
        history = []
        for epoch in tqdm(range(epochs), disable=not progress, unit="epoch", desc="search"):
            (first, last), part_of = self.temperatures, epoch / max(1, epochs - 1)
            for mix in self.cost.mixes.values():
                mix.temperature = (1 - part_of) * first + part_of * last
            self.weights.learning_rate = schedule(epoch) if schedule else self.weights.learning_rate
            history.append(self._epoch(part, held_out, steps, batch_size, rng))
        self.side()
        if self.found is None:
            raise ValueError(
                f"the net of the largest logits was never in the band, {self.band.target - self.band.tolerance:.2f} to"
                f" {self.band.target:.2f} of the MACs: more epochs, or a larger rate of the logits, may help"
            )
        return Found(self.found, int(self.cost.macs(self.found)), self.cost.most, self.widths(), history)

    def _epoch(self, part: Part, held_out: Part, steps: int, size: int, rng: np.random.Generator) -> dict[str, Any]:
        self.net.train()
        orders = [rng.permutation(each[0].shape[-1]) for each in (part, held_out)]
        losses, inside = [], 0
        for step in range(steps):
            batches = [order[step * size : (step + 1) * size] for order in orders]
            E = self.step_weights(*(take(each, batches[0]) for each in part))
            losses.append((E, self.step_logits(*(take(each, batches[1]) for each in held_out))))
            inside += self.band.direction(self.cost.chosen() / self.cost.most) == 0
        train, held = np.mean(losses, axis=0)
        return {
            "train_loss": float(train),
            "held_out_loss": float(held),
            "expected": float(self.cost.expected()) / self.cost.most,
            "chosen": self.cost.chosen() / self.cost.most,
            "inside": inside / steps,
            "probabilities": {name: to_numpy(mix.probabilities()).tolist() for name, mix in self.cost.mixes.items()},
        }


def narrowed(net: Module, widths: Mapping[str, int], input_shape: Sequence[int]) -> Module:
    """Return the plain net with these widths in the places of the mixes, with weights and batch norms of the search.

    Raises
    ------
    ValueError
        As `WidthCost`; unless every mix is given one of its widths.
    """
    cost, twin = WidthCost(net, input_shape), surgery.duplicate(net)
    if widths.keys() != cost.mixes.keys() or any(c not in cost.mixes[name].widths for name, c in widths.items()):
        raise ValueError(f"expected one of the widths of each of {', '.join(cost.mixes)}, got {dict(widths)}")
    for name, mix in mixes(twin).items():
        only = [float(c == widths[name]) for c in mix.widths]
        mix.logits.data = asarray(only, like=mix.logits.data)
    made = [(each.name, each.outputs) for each in cost.products if isinstance(each.outputs, str)]
    keep = {inside(name, "W"): range(widths[mix]) for name, mix in made}
    small: Module = surgery.remove(surgery.harden(twin), keep)
    return small
