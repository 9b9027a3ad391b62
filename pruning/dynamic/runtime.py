r"""Runtime neural pruning: how many channel groups of the next layer are computed is the action of a decision process.

The filters of a layer are k groups; action i computes the groups 1, ..., i and leaves the rest at zero.  Layer after
layer, the agent sees something of the features of this image and chooses.  Computing costs at once, the loss comes at
the end:

    r_l = -price * (MACs of layer l with what was computed before and now) / (MACs of the decided layers in full),
    and  r_L -= loss of this image.

The best that can be done with what is seen follows from Bellman's equation.  A state h is the history, what was seen
and done so far, and images are drawn uniformly, so that every expectation is a mean over the images of that history:

    Q(h, a) = mean over the images of h of ( r_l(a) + max_a' Q((h, a, what is seen next), a') )

`optimal` solves it from the last layer backwards.  `QLearning` sees one image at a time, and moves towards the same:

    Q(h, a) += (r + max_a' Q(h', a') - Q(h, a)) / n(h, a),     n = how often a was tried in h

What was seen last would not do as a state: which images come next depends on what was done before, and the process
would have no Markov property.  The paper's agent is a recurrent network that carries the history along.

Notes
-----
Lin, Rao, Lu, Zhou 2017, Runtime Neural Pruning, NIPS 30, pages 2181-2191.  There the agent is a recurrent network that
reads all pooled channels and learns Q by gradient steps, the net is trained along with it, and a group has the same
price wherever it stands.  Here the agent is a table that reads one number, in bins, and the net is trained beforehand,
with random widths (`FirstGroups`): the process stands still and its optimum can be enumerated.

Watkins, Dayan 1992, Q-learning, Machine Learning 8, 279-292, doi:10.1007/BF00992698.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np

from nn.arguments import nonnegative, number, whole
from nn.backend import Array, dtype_name, get_array_module, to_numpy
from nn.conv import Conv2d
from nn.gates import Gate
from nn.initializers import check_generator
from nn.module import Sequential
from nn.recording import record
from pruning import counts

Tables = tuple[np.ndarray, ...]
"""One table a layer, with the axes (seen, action, seen, action, ...) up to this layer's action."""


class FirstGroups(Gate):
    """y_c = x_c in the first groups of channels, 0 in the others; the layer in front is one that is decided about.

    Parameters
    ----------
    channels : number C.
    rng : draws how many groups an image has in train mode, from 1 to k; None builds an outline.
    groups : number k, a divisor of C.
    dtype : of the images.

    Attributes
    ----------
    computed : how many groups there are in eval mode; all of them at first.

    Raises
    ------
    ValueError
        Unless the groups are 1 or more and divide the channels.
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
        if self.rng is None:
            raise ValueError("FirstGroups has no rng to draw numbers of groups with")
        return self.rng.integers(1, self.groups + 1, N)

    def gates(self, noise: Array) -> Array:
        """Return z (C, N) of the numbers of groups."""
        return get_array_module(noise).astype(self.group[:, None] < noise, self.group.dtype)

    def factor(self) -> Array:
        """Return z (C,) of eval mode."""
        return get_array_module(self.group).astype(self.group < self.computed, self.group.dtype)


def decided(net: Sequential) -> list[tuple[str, FirstGroups]]:
    """Return the convolutions that are decided about, by name, each with the `FirstGroups` behind it.

    Raises
    ------
    ValueError
        Unless the net is a chain with at least one, and all have as many groups.
    """
    layers = net.layers if isinstance(net, Sequential) else []
    pairs = [(str(j - 1), each) for j, each in enumerate(layers) if isinstance(each, FirstGroups)]
    if not pairs or not all(isinstance(layers[int(name)], Conv2d) for name, _ in pairs):
        raise ValueError("expected a Sequential with FirstGroups, each right behind a convolution")
    if len({gate.groups for _, gate in pairs}) > 1:
        raise ValueError(f"expected one number of groups, got {[gate.groups for _, gate in pairs]}")
    return pairs


def macs(net: Sequential, image_shape: Sequence[int]) -> list[np.ndarray]:
    """Return the multiply-accumulates of the decided layers: (k,) for the first, (k, k) for those behind it.

    Layer l costs  K^2 area n_in n_out  with the channels n_in that were computed before, not all that there are, and
    those n_out that are computed now.
    """
    full = {layer.name: layer.macs for layer in counts.count(net, image_shape, "conv_only").layers}
    pairs = decided(net)
    share = np.arange(1, pairs[0][1].groups + 1) / pairs[0][1].groups
    return [full[name] * (np.outer(share, share) if l else share) for l, (name, _) in enumerate(pairs)]


def enumerated(net: Sequential, x: Array, t: Array) -> tuple[Tables, np.ndarray]:
    """Run every sequence of actions; return what the agent looks at, and the loss of every image.

    Returns
    -------
    looks : of layer l, the mean of what goes into it over channels and positions, (k,) * l + (N,).
    losses : cross-entropy, (k,) * L + (N,).
    """
    pairs, N, was = decided(net), x.shape[-1], net.training
    k, names = pairs[0][1].groups, [name for name, _ in pairs]
    looks, losses = [np.zeros((k,) * l + (N,)) for l in range(len(pairs))], np.zeros((k,) * len(pairs) + (N,))
    net.eval()
    for actions in product(range(k), repeat=len(pairs)):
        for (_, gate), a in zip(pairs, actions):
            gate.computed = a + 1
        with record(net, names) as seen:
            z = to_numpy(net.forward(x)).astype(float)
        for l, name in enumerate(names):
            features = to_numpy(seen[name][0][0]).astype(float)
            looks[l][actions[:l]] = features.reshape(-1, N).mean(axis=0)
        z = z - z.max(axis=0)
        losses[actions] = np.log(np.exp(z).sum(axis=0)) - z[to_numpy(t), np.arange(N)]
    for _, gate in pairs:
        gate.computed = k
    net.train() if was else net.eval()
    return tuple(looks), losses


@dataclass(frozen=True)
class Process:
    """Images in a row of decisions, as tables over (the actions so far, the image).

    Attributes
    ----------
    seen : of layer l, the bin (k,) * l + (N,) that is seen before it is decided about.
    rewards : of layer l, what its action brings, (k,) * (l + 1) + (N,).
    bins : number of bins.
    """

    seen: Tables
    rewards: Tables
    bins: int

    def __post_init__(self) -> None:
        k, N = np.shape(self.rewards[0])
        for l, (o, r) in enumerate(zip(self.seen, self.rewards, strict=True)):
            if o.shape != (k,) * l + (N,) or r.shape != (k,) * (l + 1) + (N,):
                raise ValueError(f"layer {l}: expected tables over {l} actions of {k}, got {o.shape} and {r.shape}")
            if o.min() < 0 or o.max() >= self.bins:
                raise ValueError(f"layer {l}: expected bins from 0 to {self.bins - 1}, got {o.min()} to {o.max()}")

    def totals(self) -> np.ndarray:
        """Return the sum of the rewards of every sequence of actions and every image, (k,) * L + (N,)."""
        total = np.zeros(self.rewards[0].shape[-1])
        for r in self.rewards:
            total = total[..., None, :] + r
        return total

    def history(self, l: int) -> tuple[np.ndarray, ...]:
        """Return the indices (seen, action, ..., seen) of every image after all sequences of l actions."""
        k, N = self.rewards[0].shape
        indices: list[np.ndarray] = []
        for j in range(l + 1):
            indices.append(self.seen[j].reshape((k,) * j + (1,) * (l - j) + (N,)))
            indices.append(np.arange(k).reshape((k,) + (1,) * (l - j)))
        return tuple(np.broadcast_to(each, (k,) * l + (N,)) for each in indices[:-1])


def quantiles(looks: Tables, bins: int) -> Tables:
    """Return the edges (k,) * l + (bins - 1,) between bins of equally many images, for every sequence of actions."""
    shares = np.arange(1, whole(bins, "number of bins", 1)) / bins
    return tuple(np.moveaxis(np.quantile(each, shares, axis=-1), 0, -1) for each in looks)


def process(looks: Tables, losses: np.ndarray, edges: Tables, costs: Sequence[np.ndarray], price: float) -> Process:
    """Return the process of `enumerated` images, with the edges of the bins and the `macs` of the layers."""
    price, full = nonnegative(price, "price"), sum(each.flat[-1] for each in costs)
    seen = tuple(np.sum(o[..., None] > e[..., None, :], axis=-1) for o, e in zip(looks, edges, strict=True))
    k, N = losses.shape[-2:]
    paid = [-price / full * np.broadcast_to(c[..., None], (k,) * (l + 1) + (N,)) for l, c in enumerate(costs)]
    return Process(seen, (*paid[:-1], paid[-1] - losses), edges[0].shape[-1] + 1)


def optimal(process: Process) -> Tables:
    """Return Q of the best policy that sees what the agent sees, by Bellman's equation from the last layer backwards.

    A history that no image has is 0 everywhere.
    """
    k, N = process.rewards[0].shape
    tables, ahead = [], np.zeros(1)
    for l in reversed(range(len(process.rewards))):
        history = process.history(l)
        pairs = (*(each[..., None, :] for each in history), np.arange(k)[:, None])
        sums, images = np.zeros((process.bins, k) * (l + 1)), np.zeros((process.bins, k) * (l + 1))
        np.add.at(sums, pairs, process.rewards[l] + ahead)
        np.add.at(images, pairs, 1.0)
        tables.append(sums / np.maximum(images, 1))
        ahead = tables[-1].max(axis=-1)[history]
    return tuple(reversed(tables))


def follow(process: Process, tables: Tables) -> tuple[np.ndarray, np.ndarray]:
    """Return the reward (N,) of every image and its actions (L, N) under the largest Q, the first of equal ones."""
    images = np.arange(process.rewards[0].shape[-1])
    reward, actions, history = np.zeros(images.size), list[np.ndarray](), list[np.ndarray]()
    for o, r, Q in zip(process.seen, process.rewards, tables, strict=True):
        history.append(o[(*actions, images)])
        actions.append(Q[tuple(history)].argmax(axis=-1))
        history.append(actions[-1])
        reward = reward + r[(*actions, images)]
    return reward, np.array(actions)


class QLearning:
    """Tabular Q-learning, image by image: epsilon-greedy actions, a rate of 1 / n(h, a).

    Parameters
    ----------
    process : where the images come from, uniformly.
    epsilon : share of decisions that are drawn uniformly, from 0 to 1.
    rng : draws images and actions.

    Attributes
    ----------
    tables, visits : Q and n, as `optimal` has them.

    Raises
    ------
    ValueError
        Unless epsilon is a share.
    """

    def __init__(self, process: Process, epsilon: float, rng: np.random.Generator):
        check_generator(rng)
        self.process, self.epsilon, self.rng = process, number(epsilon, "epsilon"), rng
        if not 0 <= self.epsilon <= 1:
            raise ValueError(f"expected a share epsilon from 0 to 1, got {epsilon}")
        shape, L = (process.bins, process.rewards[0].shape[0]), len(process.rewards)
        self.tables = tuple(np.zeros(shape * (l + 1)) for l in range(L))
        self.visits = tuple(np.zeros(shape * (l + 1), dtype=int) for l in range(L))

    def run(self, episodes: int) -> None:
        """Go on for so many images."""
        (k, N), L = self.process.rewards[0].shape, len(self.tables)
        size = (whole(episodes, "number of episodes", 1), L)
        drawn = np.where(self.rng.random(size) < self.epsilon, self.rng.integers(k, size=size), -1)
        for n, row in zip(self.rng.integers(N, size=size[0]).tolist(), drawn.tolist()):
            self._episode(n, row)

    def _episode(self, n: int, drawn: list[int]) -> None:
        # drawn: an action, or -1 where the best one is taken.
        seen, rewards = self.process.seen, self.process.rewards
        history: tuple[int, ...] = (seen[0].item(n),)
        for l, a in enumerate(drawn):
            Q, n_tried = self.tables[l], self.visits[l]
            pair = (*history, int(Q[history].argmax()) if a < 0 else a)
            taken = (*pair[1::2], n)
            target = rewards[l].item(taken)
            if l + 1 < len(drawn):
                history = (*pair, seen[l + 1].item(taken))
                target += max(self.tables[l + 1][history].tolist())
            n_tried[pair] += 1
            Q[pair] += (target - Q[pair]) / n_tried[pair]
