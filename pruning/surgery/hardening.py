"""A net without random gates: every gate at its value of eval mode, as a factor of the weights around it.

A gate  y_c = z_c x_c  between two layers with weights is a factor of the rows in front,  z_c W_c,  or of the columns
behind,  W_oc z_c.  What is closed, z_c = 0, leaves a row or a column of zeros, which `remove_unused_paths` takes out.
"""

from typing import Any

from nn.activations import Identity, ReLU
from nn.backend import Array, asarray, get_array_module, to_numpy
from nn.batchnorm import Dropout
from nn.conv import Conv2d
from nn.gates import Tap
from nn.linear import Flatten, Linear
from nn.module import Module, Sequential, inside
from nn.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from nn.scale import Scale
from pruning.channels.members import consumed
from pruning.channels.tracing import refuse_shared
from pruning.surgery.folding import folded_into_rows
from pruning.surgery.resizing import Rebuild


def harden(net: Module) -> Module:
    """Return a new net, of the same function in eval mode, in which nothing draws gates: its counts are what is left.

    Every layer that has a method ``hardened()``, as `nn.Gate` does, gives way to what that returns: of a gate, an
    `nn.Scale` with its values of eval mode.  That one is moved into the weights or the batch norm directly in front,
    or else into the columns of the weights behind, past layers that a factor passes (means, flatten, dropout; ReLU and
    max-pool if no value is negative).  An `nn.Identity` takes its place, so that all other names stay.  A scale with
    neither, as in front of a residual block, stays, and is trained from then on.  Dropout stays too.

    Raises
    ------
    TypeError
        If this is no net.
    ValueError
        If two layers share a parameter, or the net is an outline.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> import pruning
    >>> class Open(nn.Gate):
    ...     def factor(self):
    ...         return np.array([1.0, 0.0, 0.5])
    >>> rng = np.random.default_rng(0)
    >>> net = nn.Sequential(nn.Linear(4, 3, rng), nn.ReLU(), Open(3, rng), nn.Linear(3, 2, rng)).eval()
    >>> plain, x = pruning.surgery.harden(net), np.ones((4, 5))
    >>> bool(np.allclose(plain.forward(x), net.forward(x), rtol=1e-14))
    True
    >>> pruning.surgery.remove_unused_paths(plain, (4,)).layers[0].W.shape
    (2, 4)
    """
    refuse_shared(net)
    noisy = [name for name, layer in net.named_modules() if hasattr(layer, "hardened")]

    def change(rebuild: Rebuild, name: str, module: Any) -> Module | None:
        return module.hardened() if name in noisy else None

    plain = Rebuild(net, change).net
    return _folded_into_columns(folded_into_rows(plain, noisy), noisy)


def _folded_into_columns(net: Module, scales: list[str]) -> Module:
    def change(rebuild: Rebuild, name: str, module: Module) -> Module | None:
        if not isinstance(module, Sequential):
            return None
        layers: list[Any] = [rebuild.module(inside(name, key), layer) for key, layer in module.children()]
        for i, layer in enumerate(layers):
            if isinstance(layer, Scale) and inside(name, str(i)) in scales:
                reader = _reader(layers[i + 1 :], bool((to_numpy(layer.factor()) < 0).any()))
                if reader is not None:
                    _multiply_columns(reader, layer.factor())
                    layers[i] = Identity()
                    layers[i].training = layer.training
        return Sequential(*layers)

    return Rebuild(net, change).net


def _reader(behind: list[Module], negative: bool) -> Conv2d | Linear | None:
    # The first layer with weights, if all in front of it give z f(x) for f(z x); a tap looks at what passes.
    passed = (Flatten, AvgPool2d, GlobalAvgPool2d, Dropout, Identity)
    for layer in behind:
        if isinstance(layer, Conv2d | Linear):
            return layer
        free = isinstance(layer, passed) and not isinstance(layer, Tap)
        if not free and (negative or not isinstance(layer, ReLU | MaxPool2d)):
            return None
    return None


def _multiply_columns(layer: Conv2d | Linear, z: Array) -> None:
    # Each column by the factor of the channel that it reads: of a flattened image, several rows are one channel.
    xp, W, groups = get_array_module(z), layer.W.data, consumed(layer)
    rows = (layer.c_in if isinstance(layer, Conv2d) else layer.n_in) // z.shape[0]
    channels = [row // rows for group in groups for row in group]
    factors = xp.reshape(xp.take(z, asarray(channels, like=z, dtype=xp.int64), axis=0), (len(groups), 1, -1))
    layer.W.data = xp.reshape(xp.reshape(W, (len(groups), W.shape[0] // len(groups), -1)) * factors, W.shape)
