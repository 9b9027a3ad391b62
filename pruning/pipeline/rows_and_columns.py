"""Whole rows and columns deleted while a net trains: those whose gates matter least per weight that goes.

A row is a filter or a unit; with it go its bias and all columns that read it, two layers' weights for one gate.  A
column is a kernel position of all filters, or one input of all units.  A group costs the running mean of (dE/dz)^2,
z its gate (`pruning.scores.gates`), and is worth the weights that go with it; the cheapest per weight goes first.
Masks hold what is deleted at zero; `pruning.surgery` takes it out afterwards, exactly, for a row without bias emits
zeros.

The saliency is that of Molchanov et al. 2019 (arXiv:1906.10771); that it is divided by the weights freed serves a
budget of weights.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from nn.arguments import number, whole
from nn.backend import asarray, to_numpy
from nn.batchnorm import BatchNorm
from nn.branches import Concat, Residual
from nn.companions import Companion, State
from nn.conv import Conv2d
from nn.module import Module
from pruning.channels import tracing
from pruning.channels.members import consumed, producers
from pruning.masks import prunable
from pruning.scores import gates


class Groups(Companion):
    """Running means of the squared gates of rows and columns, and masks on those that were deleted.

    A companion of `nn.training.train`: it observes the gates of every backward sweep, and with a `budget` deletes; or
    call `delete` between runs.

    Parameters
    ----------
    net : in training; of ungrouped layers, without shortcuts.
    rows, columns : names of the weights whose rows, columns may go.
    memory : the share of the old running mean in the new one.
    budget : number of the optimizer's step -> how many weights may stay after it, or None for a step without deletion.

    Raises
    ------
    ValueError
        If a name is no weight of the net, the memory is outside [0, 1), or the rows of an output may go; also for a net
        with shortcuts, concatenations, grouped convolutions or batch norm.
    """

    def __init__(
        self,
        net: Module,
        rows: Sequence[str],
        columns: Sequence[str],
        memory: float = 0.95,
        budget: Callable[[int], int | None] | None = None,
    ):
        self.memory = number(memory, "the memory")
        if not 0 <= self.memory < 1:
            raise ValueError(f"expected a memory in [0, 1), got {memory}")
        _check_plain(net)
        self.net, self.rows, self.columns, self.budget = net, _names(rows), _names(columns), budget
        self.weights = prunable(net)
        prunable(net, [*self.rows, *self.columns])
        self.means: dict[tuple[str, str], np.ndarray] = {}
        self.keep = {name: _matrix(W.data if W.mask is None else W.mask) != 0 for name, W in self.weights.items()}
        self.readers = _readers(net, self.rows)

    def after_backward(self, step: int) -> None:
        """Observe the gates."""
        self.observe()

    def after_step(self, step: int) -> None:
        """Delete down to the budget, if there is one for this step."""
        budget = None if self.budget is None else self.budget(step)
        if budget is not None:
            self.delete(budget)

    def state(self) -> State:
        """Return the running means, and what is kept."""
        means = {f"mean/{kind}/{name}": mean for (kind, name), mean in self.means.items()}
        return {**means, **{f"keep/{name}": keep.copy() for name, keep in self.keep.items()}}

    def load(self, state: State) -> None:
        """Take up a state; a ValueError if it is not of these rows and columns."""
        axes = {("row", name): 0 for name in self.rows} | {("column", name): 1 for name in self.columns}
        means = {f"mean/{kind}/{name}": (kind, name) for kind, name in axes}
        keeps = {f"keep/{name}": name for name in self.keep}
        if state.keys() not in (keeps.keys(), keeps.keys() | means.keys()):
            expected = ", ".join([*keeps, *means])
            raise ValueError(f"expected the state of {expected}, got that of {', '.join(state) or 'nothing'}")
        for key, value in state.items():
            if key in keeps:
                _check_array(key, value, self.keep[keeps[key]].shape, np.dtype(bool))
            else:
                size = self.keep[means[key][1]].shape[axes[means[key]]]
                _check_array(key, value, (size,), np.dtype(float))
        self.means = {means[key]: np.array(value) for key, value in state.items() if key in means}
        self.keep = {name: np.array(state[key]) for key, name in keeps.items()}

    def observe(self) -> None:
        """Take the squares of all gates into the running means."""
        found = {("row", name): gate for name, gate in gates.rows(self.net, self.rows).items()} if self.rows else {}
        if self.columns:
            found |= {("column", name): gate for name, gate in gates.columns(self.net, self.columns).items()}
        for key, gate in found.items():
            squares = to_numpy(gate).astype(float) ** 2
            self.means[key] = squares if key not in self.means else self._mean(self.means[key], squares)

    def _mean(self, old: np.ndarray, new: np.ndarray) -> np.ndarray:
        return self.memory * old + (1 - self.memory) * new

    def left(self) -> int:
        """Return how many weights are left."""
        return sum(int(keep.sum()) for keep in self.keep.values())

    def delete(self, budget: int) -> None:
        """Mask the cheapest group per weight, one after the other, until at most `budget` weights are left.

        Every layer keeps a row and a column: where no other group is left to delete, more weights than the budget stay.

        Raises
        ------
        ValueError
            If nothing was observed yet, or the budget is no whole number of 0 or more.
        """
        whole(budget, "budget of weights", 0)
        if not self.means:
            raise ValueError("expected at least one backward sweep to be observed before a group is deleted")
        while self.left() > budget:
            price, kind, name, k = min(self._cheapest(*key) for key in self.means)
            if price == np.inf:
                break
            self._close(kind, name, k)
        self._apply()

    def _cheapest(self, kind: str, name: str) -> tuple[float, str, str, int]:
        freed = self._freed(kind, name)
        alive = np.any(self.keep[name], axis=1 if kind == "row" else 0)
        prices = np.full(len(freed), np.inf)
        if alive.sum() > 1:
            prices[alive] = self.means[kind, name][alive] / freed[alive]
        return float(prices.min()), kind, name, int(prices.argmin())

    def _freed(self, kind: str, name: str) -> np.ndarray:
        freed = np.sum(self.keep[name], axis=1 if kind == "row" else 0)
        if kind == "row":
            for reader, owner in self.readers[name]:
                freed = freed + np.bincount(owner, np.sum(self.keep[reader], axis=0), len(freed))
        return freed

    def _close(self, kind: str, name: str, k: int) -> None:
        if kind == "column":
            self.keep[name][:, k] = False
            return
        self.keep[name][k] = False
        for reader, owner in self.readers[name]:
            self.keep[reader][:, owner == k] = False

    def _apply(self) -> None:
        parameters = dict(self.net.named_parameters())
        for name, W in self.weights.items():
            keep = {name: self.keep[name].reshape(W.shape)}
            b = parameters.get(name.removesuffix("W") + "b")
            if name in self.rows and b is not None:
                keep[name.removesuffix("W") + "b"] = np.any(self.keep[name], axis=1)
            for each, mask in keep.items():
                parameters[each].mask = asarray(mask * 1.0, like=parameters[each].data)
                parameters[each].data = parameters[each].data * parameters[each].mask


def _check_plain(net: Module) -> None:
    # A shortcut reads what a row makes a second time; batch norm cancels the scale of a row, and its gate with it.
    for module in net.modules():
        grouped = isinstance(module, Conv2d) and module.groups > 1
        if grouped or isinstance(module, (Residual, Concat, BatchNorm)):
            what = "a grouped convolution" if grouped else type(module).__name__
            raise ValueError(f"rows and columns are deleted in plain nets only, and this one has {what}")


def _names(names: Sequence[str]) -> list[str]:
    if isinstance(names, str):
        raise ValueError(f"expected a list of names, got the string {names!r}")
    return list(names)


def _check_array(key: str, value: Any, shape: tuple[int, ...], dtype: np.dtype) -> None:
    if not isinstance(value, np.ndarray) or (value.shape, value.dtype) != (shape, dtype):
        got = f"{value.dtype} {value.shape}" if isinstance(value, np.ndarray) else repr(value)
        raise ValueError(f"expected {key} of {dtype} {shape}, got {got}")
    if not np.all(np.isfinite(value)) or np.any(value < 0):
        raise ValueError(f"expected finite numbers of 0 or more in {key}")


def _matrix(array: object) -> np.ndarray:
    values = to_numpy(array)
    return values.reshape(values.shape[0], -1)


def _readers(net: Module, rows: Sequence[str]) -> dict[str, list[tuple[str, np.ndarray]]]:
    # {weight: [(weight that reads its rows, for each column the row it reads)]}
    trace = tracing.trace(net)
    sites, outputs = producers(trace), set(trace.root(trace.outputs[""]))
    readers: dict[str, list[tuple[str, np.ndarray]]] = {name: [] for name in rows}
    for name in rows:
        made = {root: row for row, root in enumerate(trace.root(sites[name].outputs))}
        if outputs & made.keys():
            raise ValueError(f"the rows of {name} are the outputs of the net: none of them can go")
        for reader, site in sites.items():
            layer: Any = site.layer
            (sees,) = consumed(layer)
            inputs = np.array(trace.root(site.inputs))[sees]
            if set(inputs.tolist()) <= made.keys():
                readers[name].append((reader, np.array([made[root] for root in inputs.tolist()])))
    return readers
