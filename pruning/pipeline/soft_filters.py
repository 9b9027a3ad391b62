"""Soft filter pruning: filters are set to zero after every epoch, and are free to come back.

    after each epoch:   W[j] <- 0  for the share p of the filters with the smallest ||W[j]||_2 of a layer

No mask holds them there: gradients, and the velocity of the optimizer, move them on in the next epoch, and the choice
is made anew.  Those of the last epoch are removed.  Biases and batch norm are not touched, so that a filter at zero
still emits a constant: `pruning.surgery.fold_constants` before `pruning.surgery.remove`.

How many come back is recorded: the method stands on it, and a choice that freezes is hard pruning from then on.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from nn.arguments import number, whole
from nn.backend import Array, asarray
from nn.companions import Companion, State
from nn.initializers import check_generator
from nn.module import Module
from nn.run_state import check_generator_state, generator_state
from pruning import filters
from pruning.masks import prunable
from pruning.scores import chance, filter_norm


class SoftFilters(Companion):
    """Zeroes the filters of smallest l2 norm after every epoch: a companion of `nn.training.train`.

    Parameters
    ----------
    net : in training.
    shares : {name of a weight: the share of its filters to be zeroed}, from 0 to below 1; of n filters floor(n (1 - p))
        stay (`pruning.filters.kept`), of a grouped convolution as many in every group.
    every : steps of the optimizer from one choice to the next: the batches of an epoch.

    Attributes
    ----------
    zeroed : {name: the filters zeroed last}, none before the first time.
    history : one dict for each time: "step", "zeroed" (how many filters), and "came_back" (how many of those zeroed the
        time before are not among them).

    Raises
    ------
    TypeError
        If the shares are no dict, or a share is no number.
    ValueError
        If a name is no weight that makes channels, a share is not in [0, 1), no share is given, or `every` is no whole
        number from 1; as `pruning.channels.tracing.trace`.

    Notes
    -----
    He, Kang, Dong, Fu, Yang 2018, Soft filter pruning for accelerating deep convolutional neural networks,
    arXiv:1808.06866.  The rate of the authors' code is the share that is kept.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> from pruning import surgery
    >>> from pruning.pipeline import SoftFilters
    >>> rng, data = np.random.default_rng(0), nn.data.load("digits")
    >>> convs = [nn.Conv2d(1, 8, 3, rng), nn.ReLU(), nn.Conv2d(8, 16, 3, rng), nn.ReLU(), nn.Flatten()]
    >>> net = nn.Sequential(*convs, nn.Linear(256, 10, rng))
    >>> optimizer = nn.SGD(net.parameters(), 0.05, momentum=0.9)
    >>> soft = SoftFilters(net, {"0.W": 0.5, "2.W": 0.5}, every=23)  # 1437 images in batches of 64
    >>> settings = {"batch_size": 64, "rng": rng, "progress": False, "companions": [soft]}
    >>> history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, *data.train, epochs=3, **settings)
    >>> [record["zeroed"] for record in soft.history]
    [12, 12, 12]
    >>> keep = soft.keep()
    >>> small = surgery.remove(surgery.fold_constants(net, keep, (1, 8, 8)), keep)
    >>> small.layers[0].W.shape, small.layers[2].W.shape
    ((4, 1, 3, 3), (8, 4, 3, 3))
    """

    def __init__(self, net: Module, shares: Mapping[str, float], every: int):
        if not isinstance(shares, Mapping):
            raise TypeError(f"expected shares as a dict, name of a weight -> share, got {type(shares).__name__}")
        self.sets = filters.alike(net)
        strangers = [str(name) for name in shares if name not in self.sets]
        if strangers or not shares:
            given = f"{strangers[0]} is not" if strangers else "there is none"
            raise ValueError(f"expected shares of weights that make channels, {', '.join(self.sets)}; {given}")
        for name, share in shares.items():
            if not 0 <= number(share, f"the share of {name}") < 1:
                why = "a layer without filters cuts the net"
                raise ValueError(f"expected a share from 0 to below 1 for {name}, got {share}: {why}")
        self.net, self.shares, self.every = net, dict(shares), whole(every, "number of steps of an epoch", 1)
        self.parameters = prunable(net, list(shares))
        self.zeroed: dict[str, list[int]] = {}
        self.history: list[dict[str, int]] = []

    def scores(self) -> Mapping[str, Array]:
        """Return the l2 norms of the filters, low where they are zeroed."""
        return filter_norm.saliency(self.net, list(self.shares), norm=2)

    def after_step(self, step: int) -> None:
        """Choose, and zero, if an epoch has ended."""
        if step % self.every == 0:
            self.zero(step)

    def zero(self, step: int) -> None:
        """Choose anew, set the weights of the chosen filters to zero, and record how many came back."""
        before, stay = self.zeroed, filters.largest(self.scores(), self.shares, self.sets)
        sizes = {name: u.shape[0] for name, u in self.parameters.items()}
        self.zeroed = {name: sorted(set(range(n)) - set(stay[name])) for name, n in sizes.items()}
        for name, u in self.parameters.items():
            alive = np.isin(np.arange(sizes[name]), stay[name]).reshape(-1, *(1 for _ in u.shape[1:]))
            u.data = u.data * asarray(alive * 1.0, like=u.data)
        back = sum(len(set(gone) - set(self.zeroed[name])) for name, gone in before.items())
        self.history.append({"step": step, "zeroed": sum(map(len, self.zeroed.values())), "came_back": back})

    def keep(self) -> dict[str, list[int]]:
        """Return the filters that were not zeroed the last time, for `pruning.surgery.remove`; all before the first.

        A channel to which a shortcut adds is not constant when one of its filters is zeroed: surgery refuses it.
        """
        return {
            name: sorted(set(range(u.shape[0])) - set(self.zeroed.get(name, ()))) for name, u in self.parameters.items()
        }

    def state(self) -> State:
        """Return the filters zeroed last, and the history."""
        return {"zeroed": {name: list(rows) for name, rows in self.zeroed.items()}, "history": list(self.history)}

    def load(self, state: State) -> None:
        """Take up a state; a ValueError if it is not of these filters."""
        zeroed: Any = state.get("zeroed")
        history: Any = state.get("history")
        if state.keys() != {"zeroed", "history"} or not (self._are_filters(zeroed) and _are_records(history)):
            raise ValueError(f"expected the zeroed filters of {', '.join(self.shares)}, got {dict(state)}")
        self.zeroed, self.history = {name: list(rows) for name, rows in zeroed.items()}, list(history)

    def _are_filters(self, zeroed: Any) -> bool:
        if not isinstance(zeroed, dict) or zeroed.keys() not in (set(), self.parameters.keys()):
            return False
        sizes = {name: self.parameters[name].shape[0] for name in zeroed}
        return all(
            isinstance(rows, list) and rows == [row for row in range(sizes[name]) if row in rows]
            for name, rows in zeroed.items()
        )


def _are_records(history: Any) -> bool:
    keys = {"step", "zeroed", "came_back"}
    return isinstance(history, list) and all(isinstance(each, dict) and each.keys() == keys for each in history)


class RandomFilters(SoftFilters):
    """Zeroes filters drawn at random after every epoch: what the norms of `SoftFilters` have to beat.

    Hard, once and before retraining, the same choice is `pruning.filters.independent` with `pruning.scores.chance`.

    Parameters
    ----------
    net, shares, every : as for `SoftFilters`, which says what else is raised.
    rng : draws the filters; its state is saved with the run, and nothing else should draw from it.

    Raises
    ------
    TypeError
        If `rng` is no generator.

    Notes
    -----
    Mittal, Bhardwaj, Khapra, Ravindran 2018, Recovering from random pruning: on the plasticity of deep convolutional
    neural networks, arXiv:1801.10447.
    """

    def __init__(self, net: Module, shares: Mapping[str, float], every: int, rng: np.random.Generator):
        check_generator(rng, outline=False)
        super().__init__(net, shares, every)
        self.rng = rng

    def scores(self) -> Mapping[str, Array]:
        """Return random numbers."""
        return chance.saliency(self.net, self.rng, list(self.shares))

    def state(self) -> State:
        """Return what `SoftFilters` does, and the state of the generator."""
        return {**super().state(), "rng": generator_state(self.rng.bit_generator.state)}

    def load(self, state: State) -> None:
        """Take up a state; a ValueError if it is not of these filters or of another kind of generator."""
        rest = {key: value for key, value in state.items() if key != "rng"}
        if "rng" not in state:
            raise ValueError("expected the state of the generator that draws the filters, got none")
        check_generator_state("the state of RandomFilters", self.rng, state["rng"])
        super().load(rest)
        self.rng.bit_generator.state = state["rng"]
