r"""What dead channels still emit, moved into the layers that read it.

A filter without weights makes a constant map, not a zero one: c = act(BN(b)).  The next layer reads it,

    a_o = b_o + sum_m W_om * x_m  with  x_m = c_m  on a dead channel m,

and without that channel its bias has to be  b'_o = b_o + c_m sum_kk' W_omkk'.  This is exact where every window sees
c_m everywhere: behind a flatten, and in a convolution without padding.  At a border of zeros a window sees fewer of
them, and what c_m adds to a_o is a map, which `nn.Conv2d` takes as ``bias_map``: exact, for images of one size.

"An empty filter leads to a blank feature map" (the paper on ADMM and purification, section 3.4) holds only if
act(BN(b)) = 0.
"""

from itertools import pairwise
from typing import Any

import numpy as np

import nn.batchnorm
from nn.activations import Identity
from nn.backend import Array, asarray, get_array_module, to_numpy, zeros
from nn.batchnorm import BatchNorm
from nn.branches import Residual, ZeroPadShortcut
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module, Sequential
from nn.optimizers import Optimizer
from nn.pooling import AvgPool2d
from pruning.cuts import Keep, cut, where
from pruning.resizing import Rebuild
from pruning.tracing import Site, Trace, consumed, join, refuse_shared, trace

BORDERS = ("refuse", "map")


def fold_constants(
    net: Module, keep: Keep, input_shape: tuple[int, ...], border: str = "refuse", optimizer: Optimizer | None = None
) -> Any:
    """Return a new net, of the same function in eval mode, that no longer reads the channels outside `keep`.

    Those channels must be constant: their weights are zero, or reach constant channels only.  What they emit, such as
    act(0), a bias or a batch norm's shift, goes into the biases of the layers that read it, and the columns that read
    it are zero afterwards.  ``remove(fold_constants(net, keep, shape), keep)`` then computes what `net` computes.

    Parameters
    ----------
    net, keep : as for `pruning.surgery.remove`.
    input_shape : of one input, without the batch.
    border : what to do where a constant that is not zero meets a border of zeros (a padded convolution, a padded mean
        that counts the padding).  "refuse" raises; "map" gives the convolution that reads it a bias map, of the size
        that `input_shape` leads to: a fixed buffer, which other sizes of images cannot use.
    optimizer : as for `pruning.surgery.remove`; a new bias starts without state.

    Raises
    ------
    ValueError
        As `pruning.cuts.cut`; if a channel to be folded is not constant; at a border of zeros, with "refuse".

    Notes
    -----
    Exact up to rounding in eval mode.  In train mode batch norm takes a constant for its own mean and emits its shift,
    and Dropout scales it: what is folded here is what they emit in eval mode.
    """
    check_border(border)
    found = trace(net)
    gone = cut(found, keep)
    emitted = Emitted(net, found, input_shape)
    for site in found.sites:
        for reason in emitted.refusals(site, gone, border).values():
            raise ValueError(reason)
    return folded(net, emitted, gone).result(optimizer)


def check_border(border: str) -> None:
    """Raise a ValueError if this is no way to treat a border."""
    if border not in BORDERS:
        raise ValueError(f"expected border {' or '.join(map(repr, BORDERS))}, got {border!r}")


class Emitted:
    """Which channels are constant in eval mode whatever the input, and what they emit.

    Attributes
    ----------
    constant : numbers of the channels whose weights are zero, or reach constant channels only.
    uneven : those of them that may differ from pixel to pixel, because a border of zeros lies in between.
    values : module name -> what goes in and what comes out when the input of the net is zero, one pattern.
    """

    def __init__(self, net: Module, found: Trace, input_shape: tuple[int, ...]):
        self.found = found
        self.constant: set[int] = set()
        self.uneven: set[int] = set()
        self.values: dict[str, tuple[Array, Array]] = {}
        self._forward("", Rebuild(net, lambda *_: None).net.eval(), zeros((*input_shape, 1), net.parameters()[0].data))
        for site in found.sites:
            self._pass(site)

    def _forward(self, name: str, module: Module, x: Array) -> Array:
        # The forward pass of the containers, written out, to have every value at hand.
        ends: list[Array] = []
        for key, child in module.children():
            ends.append(
                self._forward(join(name, key), child, ends[-1] if isinstance(module, Sequential) and ends else x)
            )
        if isinstance(module, Sequential):
            y = ends[-1] if ends else x
        elif isinstance(module, Residual):
            y = sum(ends) if len(ends) > 1 else ends[0] + x
        else:
            y = get_array_module(x).concat(ends, axis=0) if ends else module.forward(x)
        self.values[name] = x, y
        return y

    def nonzero(self, site: Site) -> np.ndarray:
        """Return which of the channels that the layer reads are not zero everywhere, when the net's input is."""
        x = to_numpy(self.values[site.name][0])
        return np.any(np.reshape(x, (x.shape[0], -1)) != 0, axis=1)

    def silent(self, site: Site) -> bool:
        """Whether the body of a residual block emits nothing but zeros, whatever the input."""
        body = site.inputs[: len(site.outputs)]
        return set(body) <= self.constant and not to_numpy(self.values[join(site.name, "body")][1]).any()

    def _pass(self, site: Site) -> None:
        # Constant in, constant out; the sites come in the order of the forward pass.
        if isinstance(site.layer, Residual):
            n = len(site.outputs)
            for one, other, out in zip(site.inputs[:n], site.inputs[n:], site.outputs):
                self._set(out, {one, other} <= self.constant, not self.uneven.isdisjoint((one, other)))
        elif isinstance(site.layer, ZeroPadShortcut):
            for source, out in zip(site.layer.sources(len(site.inputs)), site.outputs):
                label = None if source is None else site.inputs[source]
                self._set(out, label is None or label in self.constant, label in self.uneven)
        elif isinstance(site.layer, AvgPool2d):
            if site.layer.count_padding and pads(site.layer):
                self.uneven |= self.constant & set(site.inputs)
        elif isinstance(site.layer, Conv2d | Linear):
            nonzero, matrix = self.nonzero(site), weights(site)
            for rows, columns, labels in readings(site):
                live = np.array([label not in self.constant for label in labels])
                varying = np.array([self.spreads(site, label) for label in labels]) & nonzero[columns]
                mapped = isinstance(site.layer, Conv2d) and site.layer.bias_map is not None
                for row, read in zip(rows, matrix[rows] != 0):
                    self._set(site.outputs[row], not (read & live).any(), mapped or bool((read & varying).any()))

    def _set(self, label: int, constant: bool, uneven: bool) -> None:
        if constant:
            self.constant.add(label)
            self.uneven |= {label} if uneven else set()

    def spreads(self, site: Site, label: int) -> bool:
        """Whether a constant that the layer reads adds more to one pixel than to another."""
        return isinstance(site.layer, Conv2d) and (label in self.uneven or pads(site.layer))

    def read(self, site: Site, gone: set[int]) -> list[tuple[int, bool]]:
        """Return the channels in `gone` that rows which stay read, and of each whether no bias makes up for it."""
        found: list[tuple[int, bool]] = []
        if not isinstance(site.layer, Conv2d | Linear):
            return found
        nonzero, matrix = self.nonzero(site), weights(site)
        stay = np.array([root not in gone for root in self.found.root(site.outputs)])
        for rows, columns, labels in readings(site):
            used = np.any(matrix[rows[stay[rows]]] != 0, axis=0)
            for k in np.flatnonzero(used):
                if self.found.roots[labels[k]] in gone:
                    found.append((labels[k], bool(nonzero[columns[k]]) and self.spreads(site, labels[k])))
        return found

    def refusals(self, site: Site, gone: set[int], border: str) -> dict[int, str]:
        """Return {root: why} of the channels in `gone` that rows which stay read, and that cannot be folded."""
        found: dict[int, str] = {}
        for label, uneven in self.read(site, gone):
            if label not in self.constant:
                found[self.found.roots[label]] = (
                    f"{where(self.found, label)} is read by {site.name} and is not constant: its weights are not zero"
                )
            elif uneven and border == "refuse":
                found[self.found.roots[label]] = (
                    f"{where(self.found, label)} emits a constant that is not zero, and {site.name} reads it over a"
                    ' border of zeros: no bias makes up for it, border="map" does'
                )
        return found


def weights(site: Site) -> np.ndarray:
    """Return W of a convolution or an affine layer as the matrix (O, K)."""
    layer: Any = site.layer
    W = to_numpy(layer.W.data)
    return np.reshape(W, (W.shape[0], -1))


def readings(site: Site) -> list[tuple[np.ndarray, list[int], list[int]]]:
    """Return, for each group of the layer, its rows, and for each column of W the input row and channel it reads."""
    layer: Any = site.layer
    groups = consumed(layer)
    rows = np.split(np.arange(len(site.outputs)), len(groups))
    return [(r, columns, [site.inputs[column] for column in columns]) for r, columns in zip(rows, groups)]


def pads(layer: Any) -> bool:
    """Whether there is a border of zeros."""
    return any(max(side) > 0 for side in layer.geometry.padding)


def folded(net: Module, emitted: Emitted, gone: set[int]) -> Rebuild:
    """Return the net whose layers no longer read the channels in `gone`, none of which `Emitted.refusals` refuses."""
    sites = {site.name: site for site in emitted.found.sites}

    def change(rebuild: Rebuild, name: str, module: Module) -> Module | None:
        if not isinstance(module, Conv2d | Linear) or not emitted.read(sites[name], gone):
            return None
        return _absorbing(rebuild, sites[name], module, emitted, gone)

    return Rebuild(net, change)


def _absorbing(rebuild: Rebuild, site: Site, layer: Conv2d | Linear, emitted: Emitted, gone: set[int]) -> Module:
    W, dead, x = layer.W.data, np.zeros(weights(site).shape), emitted.values[site.name][0]
    for rows, _, labels in readings(site):
        dead[rows] = [root in gone for root in emitted.found.root(labels)]
    share = W * asarray(np.reshape(dead, W.shape), like=W)
    added = _linear_part(layer, share).forward(x)[..., 0]  # (O,) or (O, OH, OW)
    new: Any
    if not to_numpy(added).any():
        new = rebuild.layer(layer)
    elif any(uneven for _, uneven in emitted.read(site, gone)):
        new = rebuild.layer(layer, bias_map=added.shape[1:])
        new.bias_map = added + asarray(new.bias_map, like=added)
    else:
        new = rebuild.layer(layer, bias=True)
        b = added if isinstance(layer, Linear) else added[:, 0, 0]  # the same everywhere
        new.b.data = b if layer.b is None else layer.b.data + b
    new.W.data = W - share
    return new


def _linear_part(layer: Conv2d | Linear, W: Array) -> Any:
    none: dict[str, Any] = {"bias": False} if isinstance(layer, Linear) else {"bias": False, "bias_map": None}
    other: Any = type(layer)(**{**layer.config(), **none})
    other.W.data = W
    return other


def fold_batchnorm(net: Module) -> Module:
    """Return a new net with every batch norm that has a convolution or an affine layer directly in front moved into it.

    W' = s W,  b' = s (b - mean) + beta,  s = gamma / sqrt(variance + eps):  the function of eval mode.  An
    `nn.Identity` takes the place of the batch norm, so that all other names stay, and scores of the folded net are
    scores of `net`.  Any other batch norm stays: in the pre-activation order what comes next pads with zeros, and
    beta - s mean would be missing there.  Masks are kept, for s W is zero where W is.

    Raises
    ------
    ValueError
        If two layers share a parameter, or the net is an outline.
    """
    refuse_shared(net)

    def change(rebuild: Rebuild, name: str, module: Module) -> Module | None:
        if not isinstance(module, Sequential):
            return None
        layers: list[Any] = [rebuild.module(join(name, key), layer) for key, layer in module.children()]
        for i, (layer, norm) in enumerate(pairwise(module.layers)):
            if isinstance(layer, Conv2d | Linear) and isinstance(norm, BatchNorm):
                mask, layers[i + 1] = layers[i].W.mask, Identity()
                layers[i] = nn.batchnorm.fold_batchnorm(layer, norm)
                layers[i].W.mask = mask
                layers[i].training, layers[i + 1].training = layer.training, norm.training
        return Sequential(*layers)

    return Rebuild(net, change).net
