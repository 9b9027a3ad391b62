"""Which channels go when the producers of some are told what to keep, and what cannot be cut.

One rule decides: a channel can go if all that adds into it goes.  Then the smaller net computes what the whole one
computes with the weights, biases, scales and shifts of that channel at zero.
"""

import itertools
import operator
from collections.abc import Iterable, Mapping, Sequence

from nn.conv import Conv2d
from nn.module import Module
from pruning.channels.members import by_group, producers, seen, sites_left, staying, where
from pruning.channels.tracing import INPUT, Site, Tie, Trace, called, roots

Keep = Mapping[str, Sequence[int]]
"""{name of a weight: the rows that stay}, such as {"3.W": [0, 2, 5]}; the order does not matter."""


def cut(trace: Trace, keep: Keep) -> set[int]:
    """Return the roots of the channels that go.

    Raises
    ------
    ValueError
        One sentence, naming the layer, if a name is no weight of the net; if indices are doubled, out of range or
        none; if tied producers were given different indices; if a channel is the input or an output of the net; if a
        layer would lose all its channels, or all of which it has columns; if the groups of a convolution would not
        keep equal numbers; or as `refuse_noise`.
    """
    refuse_noise((site.name, site.layer) for site in trace.sites)
    stays = _verdicts(trace, keep)
    gone = {root for root, verdict in stays.items() if not verdict}
    _spread_through_pads(trace, gone, stays)
    for refusal in _refusals(trace, gone):
        raise ValueError(refusal)
    return gone


def refuse_noise(layers: Iterable[tuple[str, Module]]) -> None:
    """Raise a ValueError for a random gate, or another layer with ``hardened()``: what it leaves is not settled."""
    for name, layer in layers:
        if hasattr(layer, "hardened"):
            raise ValueError(
                f"{called(name)} is a {type(layer).__name__}, which draws noise in training: expected the net that"
                " pruning.surgery.harden makes of it"
            )


def mapping(given: Keep, what: str) -> Keep:
    """Return what was given; a ValueError unless it is a mapping of names to the rows or columns that stay."""
    if not isinstance(given, Mapping):
        kind = type(given).__name__
        raise ValueError(f'expected a mapping such as {{"0.W": [0, 2]}} to the {what} that stay, got a {kind}')
    return given


def indices(given: Sequence[int], n: int, what: str) -> list[int]:
    """Return the indices, ascending; a ValueError if there are none, or one is doubled, no integer or not below n."""
    try:
        chosen = list(given)
        numbers = sorted(operator.index(index) for index in chosen)
        if any(isinstance(index, bool) for index in chosen):
            raise TypeError
    except TypeError:
        text = " ".join(repr(given).split())  # an array may be printed in many lines
        raise ValueError(f"expected the indices of {what} that stay, a sequence of integers, got {text}") from None
    if not numbers:
        raise ValueError(f"{what} keeps nothing: a layer cannot vanish (a residual block can: surgery.remove_blocks)")
    if numbers[0] < 0 or numbers[-1] >= n:
        wrong = numbers[0] if numbers[0] < 0 else numbers[-1]
        raise ValueError(f"{what} has indices 0 to {n - 1}, got {wrong}")
    doubled = [a for a, b in itertools.pairwise(numbers) if a == b]
    if doubled:
        raise ValueError(f"{what} was given the index {doubled[0]} twice")
    return numbers


def _verdicts(trace: Trace, keep: Keep) -> dict[int, bool]:
    # root -> whether it stays, for the channels whose producers are named.
    known = producers(trace)
    verdicts: dict[int, bool] = {}
    by: dict[int, tuple[str, int]] = {}
    for name, given in mapping(keep, "rows").items():
        if name not in known:
            some = f"; expected some of {', '.join(known)}" if known else ": no layer of the net does"
            raise ValueError(f"{name} makes no channels{some}")
        chosen = set(indices(given, len(known[name].outputs), name))
        for row, label in enumerate(known[name].outputs):
            root = trace.roots[label]
            if root == trace.roots[INPUT] and row not in chosen:
                raise ValueError(f"row {row} of {name} cannot go: it is tied to the input of the net")
            if verdicts.setdefault(root, row in chosen) != (row in chosen):
                raise ValueError(_conflict(trace, by[root], (name, row)))
            by.setdefault(root, (name, row))
    return verdicts


def _conflict(trace: Trace, one: tuple[str, int], other: tuple[str, int]) -> str:
    known = producers(trace)
    by = _tied_by(trace, *(known[name].outputs[row] for name, row in (one, other)))
    if one[0] == other[0]:
        return f"rows {one[1]} and {other[1]} of {one[0]} are tied by {by}: both stay or both go"
    return (
        f"{one[0]} and {other[0]} are tied by {by} but were given different indices:"
        f" row {one[1]} of the first is row {other[1]} of the second"
    )


def _tied_by(trace: Trace, a: int, b: int) -> str:
    # What it is that, after all ties before it, makes the two channels one.
    ties: list[Tie] = []
    for by, more in itertools.groupby(trace.ties, key=lambda tie: tie.by):
        ties += more
        one = roots(len(trace.origins), ties)
        if one[a] == one[b]:
            return by
    raise ValueError(f"channels {a} and {b} are not tied")


def _spread_through_pads(trace: Trace, gone: set[int], stays: Mapping[int, bool]) -> None:
    # Add to `gone` what zero-padded shortcuts take along, in place.  What comes out of one, the zeros aside, carries
    # what goes in, so that both go, unless they were named.  If the channel going in goes and the one coming out is to
    # stay, the shortcut becomes an index map with zeros there.
    before = -1
    while len(gone) > before:
        before = len(gone)
        for tie in trace.pads:
            source, out = trace.root((tie.first, tie.second))
            if out in gone and source not in gone:
                if stays.get(source):
                    a, b = (where(trace, label) for label in (tie.first, tie.second))
                    raise ValueError(f"{b} carries {a} through {tie.by}: it cannot go while that stays")
                gone.add(source)
            elif source in gone and not stays.get(out):
                gone.add(out)


def _refusals(trace: Trace, gone: set[int]) -> list[str]:
    # Why these channels cannot go together: one sentence for each reason, none if they can.
    why = []
    if trace.roots[INPUT] in gone:
        why.append("the input of the net cannot go: surgery.remove_columns takes single inputs away")
    for label in trace.outputs[""]:
        if trace.roots[label] in gone:
            maker = trace.origins[label][0]
            axis = f"the channel axis of {maker}" if maker else "its channel axis"
            why.append(f"{where(trace, label)} cannot go: {axis} is an output of the net")
    for site in sites_left(trace, gone):
        inputs, outputs = staying(trace, site.inputs, gone), staying(trace, site.outputs, gone)
        if (site.inputs and not inputs) or (site.outputs and not outputs):
            why.append(f"{called(site.name)} would be left without channels")
        elif site.inputs and not staying(trace, seen(site), gone):
            why.append(f"{called(site.name)} would be left without columns: it reads none of the channels that stay")
        elif isinstance(site.layer, Conv2d):
            why += _unequal(site, site.layer, inputs, outputs)
    return why


def _unequal(site: Site, layer: Conv2d, inputs: list[int], outputs: list[int]) -> list[str]:
    pairs = zip(by_group(layer, inputs, layer.c_in), by_group(layer, outputs, layer.c_out))
    left = [(channels, filters) for channels, filters in pairs if channels or filters]
    sizes = {(len(channels), len(filters)) for channels, filters in left}
    if len(sizes) > 1 or 0 in min(sizes):
        numbers = ", ".join(f"{len(channels)} channels and {len(filters)} filters" for channels, filters in left)
        return [f"the {layer.groups} groups of {called(site.name)} must keep equal numbers, got {numbers}"]
    if layer.columns is not None and len({tuple(channels) for channels, _ in left}) > 1:
        return [f"the groups of {called(site.name)} have the same columns and must keep the same channels"]
    return []
