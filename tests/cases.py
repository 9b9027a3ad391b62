"""The small nets on which every derivative is checked: sizes distinct and coprime, corner cases included."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

import nn


@dataclass(frozen=True)
class Case:
    name: str
    sizes: tuple[int, ...]
    hidden: type
    output: type
    loss: type
    N: int = 6
    scale: float = 1.0  # of the first layer's weights: 40 saturates a tanh, and its digits with it
    dead: bool = False  # first hidden layer's biases so low that no ReLU opens

    def build(self, seed=0):
        """Return net, loss, x (I, N), t."""
        rng = np.random.default_rng([seed, *self.sizes])
        layers = [nn.Flatten()]
        for i, (n_in, n_out) in enumerate(pairwise(self.sizes)):
            layer = nn.Linear(n_in, n_out, rng)
            layer.b.data = 0.3 * rng.standard_normal(n_out)
            layers += [layer, self.output() if i == len(self.sizes) - 2 else self.hidden()]
        layers[1].W.data *= self.scale
        if self.dead:
            layers[1].b.data -= 100
        x = rng.standard_normal((self.sizes[0], self.N))
        if self.loss is nn.SquaredError:
            t = rng.standard_normal((self.sizes[-1], self.N))
        else:
            t = rng.integers(0, self.sizes[-1], self.N)
        return nn.Sequential(*layers), self.loss(), x, t

    @property
    def weight_layers(self):
        return len(self.sizes) - 1


SSE, CE = nn.SquaredError, nn.SoftmaxCrossEntropy
CASES = [
    Case("linear-sse", (3, 4), nn.Tanh, nn.Identity, SSE),
    Case("linear-ce", (3, 4), nn.Tanh, nn.Identity, CE),
    Case("tanh-tanh-sse", (3, 5, 4), nn.Tanh, nn.Tanh, SSE),
    Case("tanh-ce", (3, 5, 4), nn.Tanh, nn.Identity, CE),
    Case("relu-ce", (3, 5, 4), nn.ReLU, nn.Identity, CE),
    Case("scaled-tanh-sse", (3, 5, 4), nn.ScaledTanh, nn.ScaledTanh, SSE),
    Case("sigmoid-softplus-sse", (3, 5, 4), nn.Sigmoid, nn.Softplus, SSE),
    Case("tanh-2-hidden-sse", (3, 5, 7, 4), nn.Tanh, nn.Tanh, SSE),
    Case("relu-2-hidden-sse", (3, 5, 7, 4), nn.ReLU, nn.Identity, SSE),
    Case("relu-2-hidden-ce", (3, 5, 7, 4), nn.ReLU, nn.Identity, CE),
    Case("softplus-2-hidden-ce", (3, 5, 7, 4), nn.Softplus, nn.Identity, CE),
    Case("sigmoid-3-hidden-sse", (3, 5, 7, 5, 4), nn.Sigmoid, nn.Sigmoid, SSE),
    Case("scaled-tanh-2-hidden-ce", (3, 5, 7, 4), nn.ScaledTanh, nn.ScaledTanh, CE),
    Case("width-1-inside-sse", (3, 5, 1, 4), nn.Tanh, nn.Tanh, SSE),
    Case("width-1-out-sse", (3, 5, 7, 1), nn.Tanh, nn.Tanh, SSE),
    Case("width-1-everywhere-sse", (1, 1, 1, 1), nn.Softplus, nn.Tanh, SSE),
    Case("batch-of-one-sse", (3, 5, 7, 4), nn.Tanh, nn.Tanh, SSE, N=1),
    Case("batch-of-one-ce", (3, 5, 4), nn.ReLU, nn.Identity, CE, N=1),
    Case("dead-relu-sse", (3, 5, 7, 4), nn.ReLU, nn.Identity, SSE, dead=True),
    Case("dead-relu-ce", (3, 5, 7, 4), nn.ReLU, nn.Identity, CE, dead=True),
    Case("saturated-tanh-sse", (3, 5, 7, 4), nn.Tanh, nn.Tanh, SSE, scale=40.0),
    Case("saturated-tanh-ce", (3, 5, 4), nn.Tanh, nn.Identity, CE, scale=40.0),
]
