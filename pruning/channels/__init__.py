"""Who produces, who follows and who consumes a channel.

A channel is one row (axis 0) of an activation.  A convolution or an affine layer **produces** one with each row of its
W, and its bias.  Batch norm, subsampling, activations, pools and dropout **follow** it: they have one entry for each
channel, or none.  The next W **consumes** it with its columns: KH*KW of them in a convolution, H*W behind a flatten.

A sum **ties** channels: row i of the body and row i of the shortcut are one channel afterwards, so that both go or
none.  A concatenation ties nothing, it moves channels to an offset.  A depthwise convolution, which has as many groups
as channels, follows: its filters go with the channels that they see.  A zero-padded shortcut ties one way only: what
comes out of it may stay without what went in, but not the other way round (`pruning.surgery`).

`groups` and `table` say it of a net.  Underneath, in the order of reading: `tracing` (a walk through the net that
numbers every channel) and `members` (what is asked of such a walk).

Li et al. 2017, figures 1 and 3; He et al. 2016 for the three kinds of shortcut.
"""

from collections import Counter
from dataclasses import dataclass

from nn.branches import Residual, Select, ZeroPadShortcut
from nn.conv import Conv2d
from nn.linear import Flatten, Linear
from nn.module import Module
from pruning.channels import tracing
from pruning.channels.members import shaped_like_weights
from pruning.channels.tracing import INPUT, Site, Tie, Trace, called, depthwise, roots


@dataclass(frozen=True)
class Member:
    """What a group of channels is to one layer.

    Attributes
    ----------
    role : "producer", "follower", "consumer", or "sum" for a residual block that ties.
    name, kind : of the layer.
    arrays : the arrays of the layer that have one entry, or one slice, for each channel.
    positions : the rows, channels or columns of the layer that belong to the group.
    each : how many of them there are for one channel: H*W behind a flatten; 1 if not every channel has as many.
    """

    role: str
    name: str
    kind: str
    arrays: tuple[str, ...]
    positions: list[int]
    each: int = 1


@dataclass(frozen=True)
class Group:
    """Channels whose producers are tied, directly or through others; they are cut together.

    Attributes
    ----------
    channels : how many there are.
    members : the layers that make, follow, add and see them, in the order of the forward pass.
    fixed : why they, or some of them, cannot go: "the input of the net" or "the output of the net"; or "".
    """

    channels: int
    members: tuple[Member, ...]
    fixed: str

    def named(self, role: str) -> list[Member]:
        """Return the members with this role."""
        return [member for member in self.members if member.role == role]


def groups(net: Module) -> list[Group]:
    """Return the groups of channels of the net, in the order in which they are made; first that of its input.

    Raises
    ------
    ValueError
        As `pruning.channels.tracing.trace`.
    """
    trace = tracing.trace(net)
    families = _families(trace)
    members: dict[int, list[Member]] = {}
    for site in trace.sites:
        for family, member in _members(site, families):
            members.setdefault(family, []).append(member)
    counts = _count(trace, families, members)
    return [
        Group(counts[family], tuple(members[family]), _fixed(trace, families, family)) for family in sorted(members)
    ]


def table(net: Module) -> str:
    """Return the groups as text: one line for each layer that has a part in one."""
    rows = [("group", "channels", "role", "layer", "kind", "cut along")]
    for number, group in enumerate(groups(net)):
        heads = [(str(number), str(group.channels)), *[("", "")] * (len(group.members) - 1)]
        rows += [
            (*head, member.role, called(member.name), member.kind, _where(member))
            for head, member in zip(heads, group.members)
        ]
        rows += [("", "", "fixed", group.fixed, "", "")] if group.fixed else []
    widths = [max(len(row[i]) for row in rows if row[2] != "fixed") for i in range(5)]
    return "\n".join("  ".join([*(c.ljust(w) for c, w in zip(row, widths)), row[5]]).rstrip() for row in rows)


def _families(trace: Trace) -> list[int]:
    made = [site for site in trace.sites if isinstance(site.layer, Conv2d | Linear)]
    rows = [Tie(site.outputs[0], out, site.name) for site in made for out in site.outputs]
    return roots(len(trace.origins), [*trace.ties, *trace.pads, *rows])


def _count(trace: Trace, families: list[int], members: dict[int, list[Member]]) -> dict[int, int]:
    one = roots(len(trace.origins), [*trace.ties, *trace.pads])
    counts = {family: len({root for root, f in zip(one, families) if f == family}) for family in members}
    # One number stands for all channels of the input: what the layers see of it has to tell how many there are.
    seen = [len(member.positions) for member in members.get(families[INPUT], [])]
    return {**counts, families[INPUT]: max(seen, default=0)}


def _members(site: Site, families: list[int]) -> list[tuple[int, Member]]:
    layer, kind = site.layer, type(site.layer).__name__
    if isinstance(layer, Residual):
        return _split("sum", site, kind, (), site.outputs, families)
    if isinstance(layer, Conv2d | Linear):
        own = tuple(name for name, _ in layer.named_parameters())
        if depthwise(layer):
            return _split("follower", site, kind, own, site.outputs, families)
        made = _split("producer", site, kind, own, site.outputs, families)
        return [*_split("consumer", site, kind, tuple(shaped_like_weights(layer)), site.inputs, families), *made]
    if isinstance(layer, Flatten | Select | ZeroPadShortcut):
        return []
    arrays = [*layer.named_parameters(), *layer.named_buffers()]
    own = tuple(name for name, a in arrays if a is not None and tuple(a.shape[:1]) == (len(site.inputs),))
    return _split("follower", site, kind, own, site.inputs, families)


def _split(
    role: str, site: Site, kind: str, arrays: tuple[str, ...], labels: list[int], families: list[int]
) -> list[tuple[int, Member]]:
    positions: dict[int, list[int]] = {}
    for position, label in enumerate(labels):
        positions.setdefault(families[label], []).append(position)
    return [
        (family, Member(role, site.name, kind, arrays, where, _each([labels[position] for position in where])))
        for family, where in positions.items()
    ]


def _each(labels: list[int]) -> int:
    times = set(Counter(labels).values())
    return times.pop() if len(times) == 1 and INPUT not in labels else 1


def _fixed(trace: Trace, families: list[int], family: int) -> str:
    if families[INPUT] == family:
        return "the input of the net"
    if any(families[label] == family for label in trace.outputs[""]):
        return "the output of the net"
    return ""


def _where(member: Member) -> str:
    nouns = {"producer": " rows", "consumer": " columns" if member.kind == "Linear" else " channels"}
    each = f", {member.each} a channel" if member.each > 1 else ""
    where = f"{', '.join(member.arrays)}{nouns.get(member.role, '')} {ranges(member.positions)}{each}"
    return where if member.arrays else ""


def ranges(numbers: list[int]) -> str:
    """Return ascending numbers as text, runs shortened: [0, 1, 2, 5] is "0-2, 5"."""
    starts = [n for n, before in zip(numbers, [None, *numbers]) if before is None or n != before + 1]
    ends = [n for n, after in zip(numbers, [*numbers[1:], None]) if after is None or n != after - 1]
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in zip(starts, ends))
