r"""What dead channels still emit, moved into the layers that read it.

A filter without weights makes a constant map, not a zero one: c = act(BN(b)).  The next layer reads it,

    a_o = b_o + sum_m W_om * x_m  with  x_m = c_m  on a dead channel m,

and without that channel its bias has to be  b'_o = b_o + c_m sum_kk' W_omkk'.  This is exact where every window sees
c_m everywhere: behind a flatten, and in a convolution without padding.  At a border of zeros a window sees fewer of
them, and what c_m adds to a_o is a map, which `nn.Conv2d` takes as ``bias_map``: exact, for images of one size.

That the maps of a pruned filter are "blank" (the paper on structured ADMM pruning, P-RM, section 3) holds only if
act(BN(b)) = 0.
"""

from typing import Any

import numpy as np

from nn.activations import Identity
from nn.backend import Array, asarray, get_array_module, to_numpy
from nn.batchnorm import BatchNorm, fold_pair
from nn.branches import ZeroPadShortcut
from nn.channelwise import Channelwise
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module, Sequential, inside
from nn.pooling import Pool2d
from nn.scale import Scale
from pruning.channels import tracing
from pruning.channels.members import where
from pruning.channels.tracing import Site, Trace, refuse_shared
from pruning.surgery.constants import Emitted, Reading, readings, weights
from pruning.surgery.cuts import Keep, cut
from pruning.surgery.resizing import Rebuild, smaller, without

BORDERS = ("refuse", "map")


def fold_constants(net: Module, keep: Keep, input_shape: tuple[int, ...], border: str = "refuse") -> Module:
    """Return a new net, of the same function in eval mode, that no longer reads the channels outside `keep`.

    Those channels must be constant where they are read: their weights are zero, or reach constant channels only, or a
    batch norm (or a subsampling) in between scales them by zero.  What they emit, such as act(0), a bias or a batch
    norm's shift, goes into the biases of the layers that read it, and the columns that read it are zero afterwards.
    Where a constant was added, a bias is no longer masked.  ``remove(fold_constants(net, keep, shape), keep)`` then
    computes what `net` computes.

    Parameters
    ----------
    net, keep : as for `pruning.surgery.remove`.
    input_shape : of one input, without the batch.
    border : what to do where a constant that is not zero meets a border of zeros (a padded convolution, a padded mean
        that counts the padding).  "refuse" raises; "map" gives the convolution that reads it a bias map, of the size
        that `input_shape` leads to: a fixed buffer, which other sizes of images cannot use.

    Raises
    ------
    ValueError
        As `pruning.surgery.cuts.cut`; if a channel to be folded is not constant; at a border of zeros, with "refuse";
        if a zero-padded shortcut carries a constant that is not zero into a channel that stays; if `input_shape` does
        not fit the net.

    Notes
    -----
    Exact up to rounding in eval mode.  In train mode batch norm takes a constant for its own mean and emits its shift,
    and Dropout scales it: what is folded here is what they emit in eval mode.
    """
    check_border(border)
    trace = tracing.trace(net)
    gone = cut(trace, keep)
    emitted = Emitted(net, trace, input_shape)
    for site in trace.sites:
        for reading in emitted.unfoldable(site, gone, border):
            raise ValueError(_why(trace, site, reading))
    return folded(net, emitted, gone)


def _why(trace: Trace, site: Site, reading: Reading) -> str:
    channel = where(trace, reading.label)
    if not reading.constant:
        return (
            f"{channel} is read by {site.name} and is not constant there: neither the weights of all that adds into it"
            " are zero, nor a scale in between"
        )
    if isinstance(site.layer, ZeroPadShortcut):
        return (
            f"{channel} emits a constant that is not zero, and {site.name} carries it into a channel that stays:"
            " zeros would take its place there"
        )
    return (
        f"{channel} emits a constant that is not zero, and {site.name} reads it over a border of zeros: no bias makes"
        ' up for it, border="map" does'
    )


def check_border(border: str) -> None:
    """Raise a ValueError if this is no way to treat a border."""
    if border not in BORDERS:
        raise ValueError(f"expected border {' or '.join(map(repr, BORDERS))}, got {border!r}")


def folded(net: Module, emitted: Emitted, gone: set[int]) -> Module:
    """Return the net whose layers no longer read the channels in `gone`, none of them unfoldable."""
    sites = {site.name: site for site in emitted.trace.sites}

    def change(rebuild: Rebuild, name: str, module: Module) -> Module | None:
        if not isinstance(module, Conv2d | Linear) or not emitted.read(sites[name], gone):
            return None
        share = _share_of(module, sites[name], emitted, gone)
        absorbed = _Absorbed(module, share, sites[name], emitted, gone)
        new: Any = absorbed.added_to(rebuild.layer(module, **absorbed.room), list(range(module.W.shape[0])))
        new.W.data = module.W.data - share
        return new

    return Rebuild(net, change).net


def folded_without(net: Module, emitted: Emitted, gone: set[int]) -> Rebuild:
    """Return the net without the channels in `gone`, what they emit moved into the layers that read it."""

    def make(rebuild: Rebuild, site: Site, inputs: list[int], outputs: list[int]) -> Module:
        layer = site.layer
        if not isinstance(layer, Conv2d | Linear) or not emitted.read(site, gone):
            return smaller(rebuild, site, inputs, outputs)
        absorbed = _Absorbed(layer, _share_of(layer, site, emitted, gone), site, emitted, gone)
        return absorbed.added_to(smaller(rebuild, site, inputs, outputs, **absorbed.room), outputs)

    return without(net, emitted.trace, gone, make)


def _share_of(layer: Conv2d | Linear, site: Site, emitted: Emitted, gone: set[int]) -> Array:
    # The columns of W that read channels in `gone`, the others zero.
    W, dead = layer.W.data, np.zeros(weights(layer).shape)
    for rows, columns in readings(layer):
        dead[rows] = [emitted.trace.roots[site.inputs[column]] in gone for column in columns]
    return W * asarray(np.reshape(dead, W.shape), like=W)


class _Absorbed:
    """What constants add to the outputs of a layer, and what the layer needs to take it up: a bias, or a bias map."""

    def __init__(self, layer: Conv2d | Linear, share: Array, site: Site, emitted: Emitted, gone: set[int]):
        self.layer = layer
        self.added = _linear_part(layer, share).forward(emitted.inputs[site.name].x)[..., 0]  # (O,) or (O, OH, OW)
        self.room: dict[str, Any] = {"bias": True}
        if not to_numpy(self.added).any():
            self.room = {}
        elif any(reading.uneven for reading in emitted.read(site, gone)):
            self.room = {"bias_map": self.added.shape[1:]}

    def added_to(self, new: Any, rows: list[int]) -> Any:
        """Return the new layer, which has these rows of the old one, with what they take up."""
        xp = get_array_module(self.added)
        added = xp.take(self.added, asarray(rows, like=self.added, dtype=xp.int64), axis=0)
        if "bias_map" in self.room:
            new.bias_map = added + asarray(new.bias_map, like=added)
        elif self.room:
            b = added if isinstance(self.layer, Linear) else added[:, 0, 0]  # the same everywhere
            new.b.data = b if self.layer.b is None else new.b.data + b
            if new.b.mask is not None:  # or the next step would delete what was added
                alive = (to_numpy(new.b.mask) != 0) | (to_numpy(b) != 0)
                new.b.mask = None if alive.all() else asarray(alive, like=b)
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
    beta - s mean would be missing there.  Masks of W are kept, for s W is zero where W is; b' has none.  Other layers
    of one factor and one shift a channel (`nn.Channelwise`) are moved as batch norm is, and so is one behind another,
    such as a block's factor behind the batch norm, or behind an `nn.Identity` that an earlier fold left.

    Raises
    ------
    ValueError
        If two layers share a parameter, or the net is an outline.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> import pruning
    >>> net = nn.Sequential(nn.Linear(3, 2, np.random.default_rng(0)), nn.BatchNorm(2)).eval()
    >>> net.layers[1].running_mean, net.layers[1].running_variance = np.array([1.0, -1.0]), np.array([4.0, 0.25])
    >>> folded = pruning.surgery.fold_batchnorm(net)
    >>> isinstance(folded.layers[1], nn.Identity)
    True
    >>> x = np.ones((3, 5))
    >>> bool(np.allclose(folded.forward(x), net.forward(x), rtol=1e-14))
    True
    """
    refuse_shared(net)

    def change(rebuild: Rebuild, name: str, module: Module) -> Module | None:
        if not isinstance(module, Sequential):
            return None
        layers: list[Any] = [rebuild.module(inside(name, key), layer) for key, layer in module.children()]
        front = None  # where the convolution or affine layer is that takes up what comes next
        for i, layer in enumerate(module.layers):
            if front is not None and isinstance(layer, Channelwise) and not isinstance(layer, Pool2d):
                first, layers[i] = layers[front], Identity()
                layers[front] = fold_pair(first, layer)
                layers[front].W.mask = first.W.mask
                layers[front].training, layers[i].training = first.training, layer.training
            elif not isinstance(layer, Identity):  # such as those that a fold has left
                front = i if isinstance(layer, Conv2d | Linear) else None
        return Sequential(*layers)

    return Rebuild(net, change).net


def fold_scales(net: Module) -> Module:
    """Return a new net with every `nn.Scale` that has weights or a batch norm directly in front moved into these.

    W' = s W,  b' = s b;  of batch norm gamma' = s gamma,  beta' = s beta:  the same function in train mode too, and
    batch norm trains on.  An `nn.Identity` takes the place of the scale, so that all other names stay.  A scale behind
    anything else, such as an activation, stays; only an `nn.Identity` may stand in between.  Masks are kept.

    Raises
    ------
    ValueError
        If two layers share a parameter, or the net is an outline.

    Examples
    --------
    >>> import numpy as np
    >>> import nn
    >>> import pruning
    >>> net = nn.Sequential(nn.Linear(3, 2, np.random.default_rng(0)), nn.Scale(2))
    >>> net.layers[1].s.data = np.array([0.5])
    >>> folded, x = pruning.surgery.fold_scales(net), np.ones((3, 5))
    >>> bool(np.allclose(folded.forward(x), net.forward(x), rtol=1e-14)), folded.layers[1].parameters()
    (True, [])
    """
    refuse_shared(net)

    def change(rebuild: Rebuild, name: str, module: Module) -> Module | None:
        if not isinstance(module, Sequential):
            return None
        layers: list[Any] = [rebuild.module(inside(name, key), layer) for key, layer in module.children()]
        front = None
        for i, layer in enumerate(module.layers):
            if front is not None and isinstance(layer, Scale):
                _multiply(front, layer.factor())
                layers[i] = Identity()
                layers[i].training = layer.training
            elif not isinstance(layer, Identity):
                front = layers[i] if isinstance(layer, Conv2d | Linear | BatchNorm) else None
        return Sequential(*layers)

    return Rebuild(net, change).net


def _multiply(layer: Conv2d | Linear | BatchNorm, s: Array) -> None:
    # All that the layer emits, by one factor for each channel.
    xp = get_array_module(s)
    for u in (layer.gamma, layer.beta) if isinstance(layer, BatchNorm) else (layer.W, layer.b):
        if u is not None:
            u.data = u.data * xp.reshape(s, (-1, *(1 for _ in u.shape[1:])))
    if isinstance(layer, Conv2d) and layer.bias_map is not None:
        layer.bias_map = s[:, None, None] * layer.bias_map
