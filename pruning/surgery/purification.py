"""Network purification: what a pruned net still carries along, found in the weights and masked.

A layer is its matrix W (filters in rows, columns (c, kh, kw)); a channel is a block of columns, KH*KW of them in a
convolution, H*W behind a flatten.  For channel j with Lambda columns,

    fullness  eta_j = number of columns != 0 / Lambda,      energy  sigma_j = sum ||column||^2 / Lambda.

Algorithm 1 of the paper, made precise, repeated until nothing changes:

    every column with ||column||^2 < Th1 is set to zero;
    every channel with eta < Th2 and sigma < Th3 is set to zero;
    the filter that makes a channel which nobody reads is set to zero;
    every filter with ||filter||^2 < Th4 is set to zero, columns of dead maps not counted.

Channels of the data and filters of the outputs do not go by their thresholds.

With all thresholds zero the function stays the same.  What is dead afterwards is taken out by
`pruning.surgery.remove_unused_paths`, which also moves on what a dead map still emits.

Notes
-----
Ma et al. 2019, the P-RM paper (ADMM with network purification and unused path removal), section 3.3.  The sentence
under its equation (8) calls a channel empty if eta exceeds the threshold; the algorithm, and this file, if it is below.
Read to the letter, the algorithm adds up (8) and (9) over the weak columns alone, so that a channel whose only column
is the strongest of all goes first: eta and sigma are taken over all of its columns, after the weak ones went.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from numbers import Real
from typing import Any

import numpy as np

from nn.backend import Array, asarray, to_numpy
from nn.module import Module, Parameter
from pruning import masks
from pruning.channels import tracing
from pruning.channels.members import consumed, producers
from pruning.channels.tracing import INPUT, Site, Trace


@dataclass(frozen=True)
class Thresholds:
    """Th1 to Th4 of the algorithm, each 0 or more.

    Raises
    ------
    ValueError
        If one is negative, infinite, NaN or no number.
    """

    column: float = 0.0
    fullness: float = 0.0
    energy: float = 0.0
    filter: float = 0.0

    def __post_init__(self) -> None:
        thresholds: dict[str, float] = vars(self)
        for name, value in thresholds.items():
            if not (isinstance(value, Real) and math.isfinite(value) and value >= 0):
                raise ValueError(f"expected a threshold of 0 or more for {name}, got {value!r}")


def purify(net: Module, thresholds: Thresholds | Mapping[str, Thresholds]) -> dict[str, Array]:
    """Return the masks {name of a weight: 0/1} that purification ends with; the net is not touched.

    Parameters
    ----------
    net : pruned, with or without masks.
    thresholds : for all weights, or {name: thresholds}; weights without an entry have zeros.

    Raises
    ------
    TypeError
        If the thresholds are not `Thresholds`.
    ValueError
        If a name is no weight that makes channels, or the thresholds would take all weights of a layer; also as
        `pruning.channels.tracing.trace`.

    Notes
    -----
    A layer that nobody reads before any threshold, as in a residual block that adds zeros, may lose all of its weights.
    """
    trace = tracing.trace(net)
    layers = {name: _Layer(site.layer, site, trace) for name, site in producers(trace).items()}
    rules = thresholds if isinstance(thresholds, Mapping) else dict.fromkeys(layers, thresholds)
    _check_names(rules, layers)
    for rule in rules.values():
        if not isinstance(rule, Thresholds):
            raise TypeError(f"expected Thresholds, or Thresholds by the name of a weight, got {rule!r}")
    _settle(layers, trace, {}, [])
    _settle(layers, trace, rules, [name for name, layer in layers.items() if layer.lives()])
    data = {name: parameter.data for name, parameter in masks.prunable(net, list(layers)).items()}
    return {
        name: asarray(layer.keep.reshape(data[name].shape) * 1.0, like=data[name]) for name, layer in layers.items()
    }


def _check_names(names: Iterable[str], layers: Iterable[str]) -> None:
    strangers = [name for name in names if name not in layers]
    if strangers:
        raise ValueError(f"{strangers[0]} makes no channels; expected some of {', '.join(layers)}")


def _settle(layers: Mapping[str, "_Layer"], trace: Trace, rules: Mapping[str, Thresholds], needed: list[str]) -> None:
    # Purify to a fixed point; the layers `needed` must not lose all of their weights.
    outputs, left = set(trace.root(trace.outputs[""])), -1
    while left != (left := sum(int(layer.keep.sum()) for layer in layers.values())):
        for name, layer in layers.items():
            layer.drop_columns(rules.get(name, Thresholds()))
            layer.drop_channels(rules.get(name, Thresholds()))
        _refuse_empty(layers, needed)
        read, dead = outputs | _read(layers, trace), _dead(layers, trace)
        for name, layer in layers.items():
            layer.drop_filters(rules.get(name, Thresholds()), read, dead, outputs)
        _refuse_empty(layers, needed)


def _refuse_empty(layers: Mapping[str, "_Layer"], needed: list[str]) -> None:
    for name in needed:
        if not layers[name].lives():
            raise ValueError(f"the thresholds would set all weights of {name} to zero, which cuts the net in two")


def _read(layers: Mapping[str, "_Layer"], trace: Trace) -> set[int]:
    # A zero-padded shortcut is one way: what goes in is read if what comes out is.
    read = {channel for layer in layers.values() for channel in layer.read()}
    for tie in reversed(trace.pads):
        inside, outside = trace.root((tie.first, tie.second))
        if outside in read:
            read.add(inside)
    return read


def _dead(layers: Mapping[str, "_Layer"], trace: Trace) -> set[int]:
    # In a sum every summand has to be dead, and what a zero-padded shortcut brings is not known to be.
    made = {channel for layer in layers.values() for channel in layer.outputs}
    alive = {channel for layer in layers.values() for channel in layer.made()}
    return made - alive - set(trace.root(tie.second for tie in trace.pads)) - {trace.roots[INPUT]}


class _Layer:
    """The matrix of one layer, which of its entries live, and which channel each column reads."""

    def __init__(self, layer: Any, site: Site, trace: Trace):
        W, mask = to_numpy(layer.W.data), layer.W.mask
        self.W = W.reshape(W.shape[0], -1)
        self.keep = np.ones(self.W.shape, bool) if mask is None else to_numpy(mask).reshape(self.W.shape) != 0
        sees = consumed(layer)
        roots = np.array(trace.root(site.inputs))
        self.outputs = trace.root(site.outputs)
        self.input = trace.roots[INPUT]
        # (rows of a group, the channel of each of its columns)
        rows = np.array_split(np.arange(len(self.W)), len(sees))
        self.groups = [(group, roots[columns]) for group, columns in zip(rows, sees)]

    def live(self, group: np.ndarray) -> np.ndarray:
        return self.W[group] * self.keep[group]

    def drop_columns(self, rule: Thresholds) -> None:
        for group, _ in self.groups:
            weak = np.sum(self.live(group) ** 2, axis=0) < rule.column
            self.keep[np.ix_(group, weak)] = False

    def drop_channels(self, rule: Thresholds) -> None:
        for group, channels in self.groups:
            energies = np.sum(self.live(group) ** 2, axis=0)
            for channel in set(channels.tolist()) - {self.input}:
                columns = channels == channel
                eta, sigma = np.mean(energies[columns] != 0), np.mean(energies[columns])
                if eta < rule.fullness and sigma < rule.energy:
                    self.keep[np.ix_(group, columns)] = False

    def read(self) -> set[int]:
        """Return the roots of the channels of which some column lives."""
        return {
            int(channel)
            for group, channels in self.groups
            for channel, alive in zip(channels, np.any(self.live(group), axis=0).tolist())
            if alive
        }

    def made(self) -> set[int]:
        """Return the roots of the channels whose filters have a weight that lives."""
        alive = np.any(self.W * self.keep, axis=1)
        return {channel for channel, row in zip(self.outputs, alive.tolist()) if row}

    def lives(self) -> bool:
        return bool((self.W * self.keep).any())

    def drop_filters(self, rule: Thresholds, needed: set[int], dead: set[int], outputs: set[int]) -> None:
        """Drop the filters that nobody reads, and those that are weak without the columns that read dead maps."""
        for group, channels in self.groups:
            counted = self.live(group)[:, [channel not in dead for channel in channels.tolist()]]
            for row, size in zip(group, np.sum(counted**2, axis=1)):
                made = self.outputs[row]
                if made not in needed or (made not in outputs and size < rule.filter):
                    self.keep[row] = False


def guided(
    net: Module, measure: Callable[[Module], float], tolerance: float, names: Iterable[str] | None = None
) -> dict[str, Thresholds]:
    """Return for each weight a Th1 whose columns, dropped by `purify` in this layer alone, cost at most `tolerance`.

    By bisection over the columns' energies; it is the largest such Th1 if the loss only rises with it.  Together they
    cost more than the tolerance.  If together they would empty a layer, all are halved until they do not.  Th2 to Th4
    are zero.

    Parameters
    ----------
    net : pruned; its weights are as before afterwards, also after an error.
    measure : net -> loss on data that are neither trained nor tested on.
    tolerance : by how much the loss may rise, 0 or more.
    names : the weights; None is all that make channels.

    Raises
    ------
    ValueError
        If the tolerance is negative, the loss of the net is not finite, or a name is no weight that makes channels.
    """
    if not (isinstance(tolerance, Real) and math.isfinite(tolerance) and tolerance >= 0):
        raise ValueError(f"expected a tolerance of 0 or more, got {tolerance!r}")
    trace = tracing.trace(net)
    sites = producers(trace)
    chosen = masks.prunable(net, sites if names is None else names)
    _check_names(chosen, sites)
    allowed = measure(net) + tolerance
    if not math.isfinite(allowed):
        raise ValueError(f"expected a net with a finite loss, got {allowed - tolerance}")
    thresholds = {}
    for name, parameter in chosen.items():
        W = parameter.data
        layer = _Layer(sites[name].layer, sites[name], trace)
        try:
            thresholds[name] = _bisected(layer, parameter, lambda: measure(net) <= allowed)
        finally:
            parameter.data = W
    return _that_leave_something(net, thresholds)


def _that_leave_something(net: Module, thresholds: dict[str, Thresholds]) -> dict[str, Thresholds]:
    while True:
        try:
            purify(net, thresholds)
            return thresholds
        except ValueError:
            thresholds = {name: Thresholds(column=rule.column / 2) for name, rule in thresholds.items()}


def _bisected(layer: "_Layer", parameter: Parameter, passes: Callable[[], bool]) -> Thresholds:
    whole, W = layer.keep, parameter.data
    energies = np.unique([np.sum(layer.live(group) ** 2, axis=0) for group, _ in layer.groups])
    low, high = 0, len(energies) - 1  # the strongest column always stays
    while low < high:
        middle = (low + high + 1) // 2
        layer.keep = whole.copy()
        layer.drop_columns(Thresholds(column=float(energies[middle])))
        parameter.data = asarray((layer.W * layer.keep).reshape(W.shape), like=W)
        low, high = (middle, high) if passes() else (low, middle - 1)
    return Thresholds(column=float(energies[low]))
