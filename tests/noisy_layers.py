"""Layers with noise that only tests have: gates that are drawn, a table of tokens, a layer with other noise."""

import numpy as np

import nn
from nn.backend import get_array_module
from nn.initializers import draw


class ConcreteGate(nn.Gate):
    """z = 1.2 s - 0.1,  s = sigmoid(tilt (log u - log(1 - u) + a)), smooth; in eval mode clip(1.2 sigmoid(a) - 0.1).

    One draw for the batch, or one for each pattern; all channels share `tilt`, a second parameter.
    """

    __module__ = "pruning.gates_of_a_test"

    def __init__(self, channels, rng, by_pattern=False, dtype=np.float64):
        super().__init__(channels, rng)
        self.by_pattern, self.dtype = by_pattern, np.dtype(dtype).name
        self.a = draw(lambda shape, r: r.standard_normal(shape), (channels,), rng, dtype)
        self.tilt = draw(lambda shape, r: np.full(shape, 1.5), (1,), rng, dtype)

    def config(self):
        return {**super().config(), "by_pattern": self.by_pattern, "dtype": self.dtype}

    def draw(self, N):
        return self.rng.uniform(0.01, 0.99, (self.channels, N) if self.by_pattern else self.channels)

    def gates(self, noise):
        xp = get_array_module(noise)
        self.shift = xp.log(noise) - xp.log(1 - noise)
        a = self.a.data[:, None] if self.by_pattern else self.a.data
        self.s = 1 / (1 + xp.exp(-self.tilt.data * (self.shift + a)))
        return 1.2 * self.s - 0.1

    def factor(self):
        xp = get_array_module(self.a.data)
        stretched = 1.2 / (1 + xp.exp(-self.a.data)) - 0.1
        kept = xp.where(stretched > 0, stretched, xp.zeros_like(stretched))
        return xp.where(kept < 1, kept, xp.ones_like(kept))

    def backward_gates(self, gz):
        xp = get_array_module(gz)
        slope = 1.2 * gz * self.s * (1 - self.s)
        a = self.a.data[:, None] if self.by_pattern else self.a.data
        self.a.grad = self.tilt.data * (xp.sum(slope, axis=1) if self.by_pattern else slope)
        self.tilt.grad = xp.reshape(xp.sum(slope * (self.shift + a)), (1,))


class CoinGate(nn.Gate):
    """z is 0 or 1 with probability 1/2, and 1/2 in eval mode; no parameters."""

    __module__ = "pruning.gates_of_a_test"
    buffers = ("mean",)

    def __init__(self, channels, rng):
        super().__init__(channels, rng)
        self.mean = np.full(channels, 0.5)

    def draw(self, N):
        return self.rng.random(self.channels)

    def gates(self, noise):
        xp = get_array_module(noise)
        return xp.astype(noise < 0.5, noise.dtype)

    def factor(self):
        return self.mean


class Jitter(nn.Module):
    """y = x + noise in train mode, with a generator under another name and one more in a list."""

    __module__ = "pruning.gates_of_a_test"

    def __init__(self, dice, cards=None):
        self.dice, self.decks = dice, [cards]

    def config(self):
        return {"dice": None}

    def forward(self, x):
        if not self.training:
            return x
        return x + self.dice.standard_normal(x.shape) + sum(d.random() for d in self.decks if d is not None)

    def backward(self, gy):
        return gy

    def hardened(self):
        return nn.Identity()


class Table(nn.Module):
    """y (D, T, N) of tokens x (T, N): column x of W (D, V)."""

    __module__ = "pruning.gates_of_a_test"
    takes_integers = True

    def __init__(self, D, V, rng):
        self.W = draw(nn.initializers.lecun_normal, (D, V), rng, np.float64)

    def config(self):
        return {"D": self.W.shape[0], "V": self.W.shape[1], "rng": None}

    def forward(self, x):
        self.x = x
        return self.W.data[:, x]

    def backward_parameters(self, gy):
        self.W.grad = np.zeros(self.W.shape)
        for index in np.ndindex(self.x.shape):
            self.W.grad[:, self.x[index]] += gy[(slice(None), *index)]

    def backward(self, gy):
        self.backward_parameters(gy)
        return np.zeros(self.x.shape)
