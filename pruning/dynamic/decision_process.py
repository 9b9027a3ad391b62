r"""Decisions in a row about an image: the best policy by Bellman's equation, and Q-learning that moves towards it.

A state h is the history, what was seen and done so far.  Images are drawn uniformly, so that every expectation is a
mean over the images of a history.  `optimal` solves Bellman's equation from the last decision backwards,

    Q(h, a) = mean over the images of h of ( r(a) + max_a' Q((h, a, what is seen next), a') ) ,

and `QLearning` sees one image at a time, and moves towards the same:

    Q(h, a) += (r + max_a' Q(h', a') - Q(h, a)) / n(h, a),     n = how often a was tried in h .

Rewards are not discounted: their sum is what counts.  What is seen last would be no Markov state by itself, since which
images are met in it depends on what was done before.

Notes
-----
Watkins, Dayan 1992, Q-learning, Machine Learning 8, 279-292, doi:10.1007/BF00992698.
"""

from dataclasses import dataclass

import numpy as np

from nn.arguments import number, whole
from nn.initializers import check_generator

Tables = tuple[np.ndarray, ...]
"""One table a decision; those of Q have the axes (seen, action, seen, action, ...) up to its own action."""


@dataclass(frozen=True)
class Process:
    """N images and L decisions about each, of k actions, as tables over (the actions so far, the image).

    Attributes
    ----------
    seen : of decision l, the bin (k,) * l + (N,) that is seen before it.
    rewards : of decision l, what its action brings, (k,) * (l + 1) + (N,).
    bins : number of bins.

    Raises
    ------
    ValueError
        If a table has another shape, or a bin is not from 0 to bins - 1.
    """

    seen: Tables
    rewards: Tables
    bins: int

    def __post_init__(self) -> None:
        k, N = self.rewards[0].shape
        for l, (o, r) in enumerate(zip(self.seen, self.rewards, strict=True)):
            if o.shape != (k,) * l + (N,) or r.shape != (k,) * (l + 1) + (N,):
                raise ValueError(f"decision {l}: expected tables over {l} actions of {k}, got {o.shape} and {r.shape}")
            if not 0 <= o.min() <= o.max() < self.bins:
                raise ValueError(f"decision {l}: expected bins from 0 to {self.bins - 1}, got {o.min()} to {o.max()}")

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


def optimal(process: Process) -> Tables:
    """Return Q of the best policy that sees what the agent sees, by Bellman's equation from the last layer backwards.

    A history that no image has is 0 everywhere.

    Parameters
    ----------
    process : images, and the decisions about each.
    """
    k = len(process.rewards[0])
    tables, ahead = list[np.ndarray](), np.zeros(1)
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
    """Return the reward (N,) of every image and its actions (L, N) under the largest Q, the first of equal ones.

    Parameters
    ----------
    process : images, and the decisions about each.
    tables : Q of every layer, as `optimal` returns them.
    """
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
    tables, visits : Q and n, with the axes that `optimal` has; all 0 before the first image.

    Raises
    ------
    ValueError
        Unless epsilon is a share.

    Examples
    --------
    >>> import numpy as np
    >>> from pruning.dynamic.decision_process import Process, QLearning, follow
    >>> first_is_right_in_bin_0 = np.array([[1.0, 1.0, 0.0, 0.0], [0.0, 0.0, 1.0, 1.0]])
    >>> process = Process((np.array([0, 0, 1, 1]),), (first_is_right_in_bin_0,), 2)
    >>> learner = QLearning(process, 0.5, np.random.default_rng(0))
    >>> learner.run(100)
    >>> follow(process, learner.tables)
    (array([1., 1., 1., 1.]), array([[0, 0, 1, 1]]))
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
