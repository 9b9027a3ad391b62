r"""Runtime neural pruning: how many channel groups of the next layer are computed is the action of a decision process.

The filters of a layer are k groups; action i computes the groups 1, ..., i.  Layer after layer, the agent sees
something of the features of this image and chooses.  Computing costs at once, the loss comes at the end:

    r_l = -price * (MACs of layer l, with what was computed before and now) / (MACs of the decided layers in full),
    and  r_L -= loss of this image.

`enumerated` runs every sequence of actions for every image, and `decisions` makes a `decision_process.Process` of that,
whose best policy is known exactly, and on which Q-learning is judged.

Notes
-----
Lin, Rao, Lu, Zhou 2017, Runtime Neural Pruning, NIPS 30, pages 2181-2191.  There the agent is a recurrent network on
all pooled channels, which learns Q by gradient steps, in turns with the net.  Here it is a table that reads one number,
in bins, and the net is trained beforehand with random widths (`FirstGroups`), so that the process stands still.
"""

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np

from nn.arguments import nonnegative, whole
from nn.backend import Array, dtype_name, get_array_module, to_numpy
from nn.batches import check_data
from nn.conv import Conv2d
from nn.gates import Gate
from nn.module import Sequential
from nn.recording import record
from pruning import counts
from pruning.dynamic.decision_process import Process, QLearning, Tables, follow, optimal

__all__ = [
    "FirstGroups",
    "Process",
    "QLearning",
    "decided",
    "decisions",
    "enumerated",
    "follow",
    "macs",
    "optimal",
    "quantiles",
]


class FirstGroups(Gate):
    """y_c = x_c in the first groups of channels, 0 in the others, behind a convolution that is decided about.

    Parameters
    ----------
    channels : number C.
    rng : draws in train mode how many groups each image has, from 1 to k; None builds an outline.
    groups : number k, a divisor of C.
    dtype : of the images.

    Attributes
    ----------
    computed : how many groups there are in eval mode; all of them at first.

    Raises
    ------
    ValueError
        Unless the groups divide the channels.
    """

    buffers = ("group",)

    def __init__(self, channels: int, rng: np.random.Generator | None, groups: int = 4, dtype: Any = np.float64):
        super().__init__(channels, rng)
        self.groups = self.computed = whole(groups, "number of groups", 1)
        if self.channels % self.groups:
            raise ValueError(f"expected a number of groups that divides {channels} channels, got {groups}")
        self.group = np.repeat(np.arange(self.groups, dtype=dtype), self.channels // self.groups)

    def config(self) -> dict[str, Any]:
        """Return the constructor's arguments; rng is None."""
        return {**super().config(), "groups": self.groups, "dtype": dtype_name(self.group.dtype)}

    def draw(self, N: int) -> np.ndarray:
        """Return the number of groups (N,) of each image, uniform from 1 to k."""
        assert self.rng is not None
        return self.rng.integers(1, self.groups + 1, N)

    def gates(self, noise: Array) -> Array:
        """Return z (C, N) of the numbers of groups."""
        return get_array_module(noise).astype(self.group[:, None] < noise, self.group.dtype)

    def factor(self) -> Array:
        """Return z (C,) of eval mode."""
        return get_array_module(self.group).astype(self.group < self.computed, self.group.dtype)


def decided(net: Sequential) -> list[tuple[str, FirstGroups]]:
    """Return the convolutions that are decided about, by name, with the `FirstGroups` behind them.

    Raises
    ------
    ValueError
        Unless the net is a chain, and its last convolutions have `FirstGroups` of one number right behind them.
    """
    layers = net.layers if isinstance(net, Sequential) else []
    pairs = [(j - 1, each) for j, each in enumerate(layers) if isinstance(each, FirstGroups)]
    convs = [j for j, each in enumerate(layers) if isinstance(each, Conv2d)]
    if not pairs or [j for j, _ in pairs] != convs[-len(pairs) :] or len({gate.groups for _, gate in pairs}) > 1:
        raise ValueError("expected a Sequential whose last convolutions have FirstGroups of one number behind them")
    return [(str(j), gate) for j, gate in pairs]


def macs(net: Sequential, image_shape: Sequence[int]) -> list[np.ndarray]:
    """Return the multiply-accumulates of the decided layers: (k,) for the first, (k, k) for those behind it.

    Layer l costs  K^2 area n_in n_out  with those channels n_in that were computed before, and those n_out of now.

    Parameters
    ----------
    image_shape : (C, H, W).

    Raises
    ------
    ValueError
        If the net cannot take such images, or as `decided`.
    """
    full = {layer.name: layer.macs for layer in counts.count(net, image_shape, "conv_only").layers}
    pairs = decided(net)
    share = np.arange(1, pairs[0][1].groups + 1) / pairs[0][1].groups
    return [full[name] * (np.outer(share, share) if l else share) for l, (name, _) in enumerate(pairs)]


def enumerated(net: Sequential, x: Array, t: Array) -> tuple[Tables, np.ndarray]:
    """Run every sequence of actions in eval mode.

    Returns
    -------
    looks : of layer l, the mean of what goes into it over channels and positions, (k,) * l + (N,).
    losses : cross-entropy of every image, (k,) * L + (N,).

    Raises
    ------
    ValueError
        If the net cannot take these images and labels, or as `decided`.
    """
    check_data(net, x, t)
    pairs, N, training = decided(net), x.shape[-1], net.training
    k, names = pairs[0][1].groups, [name for name, _ in pairs]
    looks, losses = [np.zeros((k,) * l + (N,)) for l in range(len(pairs))], np.zeros((k,) * len(pairs) + (N,))
    net.eval()
    for actions in product(range(k), repeat=len(pairs)):
        for (_, gate), a in zip(pairs, actions):
            gate.computed = a + 1
        with record(net, names) as seen:
            z = to_numpy(net.forward(x)).astype(float)
        for l, name in enumerate(names):
            looks[l][actions[:l]] = to_numpy(seen[name][0][0]).astype(float).reshape(-1, N).mean(axis=0)
        z = z - z.max(axis=0)
        losses[actions] = np.log(np.exp(z).sum(axis=0)) - z[to_numpy(t), np.arange(N)]
    for _, gate in pairs:
        gate.computed = k
    net.train() if training else net.eval()
    return tuple(looks), losses


def quantiles(looks: Tables, bins: int) -> Tables:
    """Return the edges (k,) * l + (bins - 1,) between bins of equally many images, for every sequence of actions.

    Parameters
    ----------
    looks : what `enumerated` returns.
    bins : their number.
    """
    shares = np.arange(1, whole(bins, "number of bins", 1)) / bins
    return tuple(np.moveaxis(np.quantile(each, shares, axis=-1), 0, -1) for each in looks)


def decisions(looks: Tables, losses: np.ndarray, edges: Tables, costs: Sequence[np.ndarray], price: float) -> Process:
    """Return the process of `enumerated` images, with the edges of the bins and the `macs` of the layers.

    Parameters
    ----------
    looks, losses : what `enumerated` returns.
    edges : of the bins, as `quantiles` returns them.
    costs : as `macs` returns them.
    price : of all decided layers in full, in units of the loss.
    """
    price, full = nonnegative(price, "price"), sum(each.flat[-1] for each in costs)
    seen = tuple(np.sum(o[..., None] > e[..., None, :], axis=-1) for o, e in zip(looks, edges, strict=True))
    k, N = losses.shape[-2:]
    paid = [-price / full * np.broadcast_to(c[..., None], (k,) * (l + 1) + (N,)) for l, c in enumerate(costs)]
    return Process(seen, (*paid[:-1], paid[-1] - losses), edges[0].shape[-1] + 1)
