"""What one layer reads, and what its outputs should be, in second moments: all that a choice of its channels needs.

A layer y = W x + b reads the columns x (K,) of `nn.im2col`, or the rows of its input.  They belong to c channels, K / c
columns each.  Write Z_i = W_i x_i for the part of the output that channel i gives, and Y for the output without bias
that is wanted: that of the dense net.  One pass over the data gives

    A = E[x x^T] (K, K),        B = E[x x0^T] (K, K),        C = E[Y x^T] (n, K),        energy = E ||Y||^2,

x0 being what the layer reads in the dense net, where the channels in front of earlier layers are still there: their
error is part of the target.  E is the mean over images and positions.  With these, and

    G_ij = E <Z_i, Z_j> = sum of A * W^T W over the block (i, j),        q_i = E <Z_i, Y> = sum of C * W over block i,

the error E ||Y - Y'||^2 of the channels S that stay needs no data any more:

    as they are             energy - 2 sum_S q + sum_SS G
    one factor a channel    energy - q_S^T G_SS^+ q_S,                factors beta_S = G_SS^+ q_S
    refitted weights        energy - tr(C_S A_SS^+ C_S^T),            weights W'_S = C_S A_SS^+

and every line is at most the one above it.  What comes in front of a residual sum Y1 + Y2, Y1 on the shortcut, is asked
for Y1 + Y2 - Y1': it makes up for what the shortcut has lost too.

He, Zhang and Sun 2017 (arXiv 1707.06168), equations (1) to (4); Luo, Wu and Lin 2017 (arXiv 1707.06342).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import numpy as np

from nn.arguments import nonnegative, whole
from nn.backend import Array, to_numpy
from nn.batches import batches, check_data, evaluating
from nn.branches import Residual
from nn.conv import Conv2d
from nn.linear import Linear
from nn.module import Module, Sequential, check_net
from nn.recording import record
from nn.windows import im2col
from pruning.channels.tracing import INPUT, trace

CUT = 1e-13
"""Eigenvalues of moments below this share of the largest are zeros with rounding."""
BLOCK = 2**22
"""Numbers in the columns that are multiplied at a time: 32 MB in float64."""


@dataclass(frozen=True, eq=False)
class Moments:
    """The second moments in front of one layer.

    Attributes
    ----------
    name : of the layer's weight, such as "3.W".
    W : (n, K) its weights, a row a filter, columns channel by channel.
    channels : c, of K / c columns each.
    A, B : (K, K).  C : (n, K).  energy : a number.
    count : how many columns x the means are taken over.

    Raises
    ------
    ValueError
        If the shapes do not fit, the channels do not divide the columns, or numbers are complex, NaN or infinite.
    """

    name: str
    W: np.ndarray
    channels: int
    A: np.ndarray = field(repr=False)
    B: np.ndarray = field(repr=False)
    C: np.ndarray = field(repr=False)
    energy: float
    count: int

    def __post_init__(self) -> None:
        for key in ("W", "A", "B", "C"):
            object.__setattr__(self, key, real(getattr(self, key), f"{key} in front of {self.name}"))
        n, K = self.W.shape if self.W.ndim == 2 else (0, 0)
        if (self.A.shape, self.B.shape, self.C.shape) != ((K, K), (K, K), (n, K)) or 0 in (n, K):
            got = ", ".join(f"{key} {getattr(self, key).shape}" for key in "ABC")
            raise ValueError(f"expected A and B (K, K) and C (n, K) for weights of the shape {self.W.shape}, got {got}")
        if K % whole(self.channels, "number of channels", 1):
            raise ValueError(f"expected a number of channels that divides {K} columns, got {self.channels}")
        nonnegative(self.energy, "energy")
        whole(self.count, "count", 1)

    @cached_property
    def G(self) -> np.ndarray:
        """G_ij = E <Z_i, Z_j> (c, c)."""
        c, size = self.channels, self.W.shape[1] // self.channels
        return (self.A * (self.W.T @ self.W)).reshape(c, size, c, size).sum(axis=(1, 3))

    @cached_property
    def q(self) -> np.ndarray:
        """q_i = E <Z_i, Y> (c,)."""
        products: np.ndarray = (self.C * self.W).sum(axis=0).reshape(self.channels, -1).sum(axis=1)
        return products

    def columns(self, kept: Sequence[int]) -> np.ndarray:
        """Return the numbers of the columns of these channels, in their order; it raises what `checked` raises."""
        self.checked(kept)
        size = self.W.shape[1] // self.channels
        return (np.asarray(kept, dtype=np.int64)[:, None] * size + np.arange(size)).ravel()

    def selection_error(self, kept: Sequence[int]) -> float:
        """Return E ||Y - Y'||^2 if these channels stay as they are."""
        kept = self.checked(kept)
        return float(self.energy - 2 * self.q[kept].sum() + self.G[np.ix_(kept, kept)].sum())

    def scaling_error(self, kept: Sequence[int]) -> float:
        """Return E ||Y - Y'||^2 if each of these channels has the factor of `factors`."""
        return float(self.energy - self.q[self.checked(kept)] @ self.factors(kept))

    def refit_error(self, kept: Sequence[int]) -> float:
        """Return E ||Y - Y'||^2 if these channels have the weights of `refit`."""
        columns = self.columns(self.checked(kept))
        return float(self.energy - np.sum(self.refit(kept) * self.C[:, columns]))

    def factors(self, kept: Sequence[int]) -> np.ndarray:
        """Return the best factors beta_S = G_SS^+ q_S of these channels, ascending."""
        kept = self.checked(kept)
        return pseudo_inverse(self.G[np.ix_(kept, kept)]) @ self.q[kept]

    def refit(self, kept: Sequence[int]) -> np.ndarray:
        """Return the best weights W'_S = C_S A_SS^+ (n, K_S) of the columns of these channels, ascending."""
        columns = self.columns(self.checked(kept))
        return self.C[:, columns] @ pseudo_inverse(self.A[np.ix_(columns, columns)])

    def checked(self, kept: Sequence[int]) -> list[int]:
        """Return the channels in ascending order.

        Raises
        ------
        ValueError
            If one is named twice or is no channel of the layer.
        """
        chosen = sorted(whole(each, "channel", 0) for each in kept)
        if len(set(chosen)) < len(chosen) or (chosen and chosen[-1] >= self.channels):
            raise ValueError(f"expected different channels below {self.channels} in front of {self.name}, got {kept}")
        return chosen

    def checked_count(self, k: int) -> int:
        """Return how many channels are to stay.

        Raises
        ------
        ValueError
            If it is not a whole number from 1 to c.
        """
        if whole(k, "number of channels", 1) > self.channels:
            raise ValueError(f"expected to keep 1 to {self.channels} channels in front of {self.name}, got {k}")
        return k

    def with_weights(self, W: np.ndarray) -> "Moments":
        """Return the moments of a layer with other weights that reads the same and has the same target."""
        return replace(self, W=W)


def real(array: Array, what: str) -> np.ndarray:
    """Return an array of finite real numbers, integers too, in float64.

    Parameters
    ----------
    what : its name, for the error.

    Raises
    ------
    TypeError
        If it is no array.
    ValueError
        If its numbers are not real, or one is NaN or infinite.
    """
    if not hasattr(array, "shape"):
        raise TypeError(f"expected an array for {what}, got {type(array).__name__}")
    found = to_numpy(array)
    if found.dtype.kind not in "biuf":
        raise ValueError(f"expected real numbers for {what}, got {found.dtype}")
    if not np.isfinite(found).all():
        raise ValueError(f"expected finite numbers for {what}, got NaN or infinity")
    return found.astype(np.float64, copy=False)


def pseudo_inverse(S: np.ndarray) -> np.ndarray:
    """Return S^+ of a symmetric S of at least 0; what a dead or doubled channel leaves of zeros is cut off."""
    return np.asarray(np.linalg.pinv(S, rcond=CUT, hermitian=True) if len(S) else S)


def collect(
    net: Module,
    name: str,
    x: Array,
    dense: Module | None = None,
    positions: int | None = None,
    rng: np.random.Generator | None = None,
    batch_size: int = 100,
) -> Moments:
    """Return the moments in front of the layer with the weight `name`, such as "3.W"; the net is not changed.

    Parameters
    ----------
    net : in eval mode here, as it is now: earlier layers may be pruned.
    x : (..., N) data.
    dense : the net whose outputs are the target, with the same names; None: `net` itself.
    positions : so many positions of each image are drawn with `rng`; None: all of them.

    Raises
    ------
    TypeError
        If a net is none, or x no array.
    ValueError
        If the layer is not there, reads the image, has groups or left-out columns, its columns do not split evenly
        into channels, the data do not fit the net, what the layer reads is not finite, positions are asked for
        without an rng or are no whole number from 1, or the nets differ and batch norm stands between the layer and a
        residual sum.
    """
    check_net(net)
    check_data(net, x, x)
    channels, path = _channels(net, name), name.removesuffix(".W")
    layer, target = dict(net.named_modules())[path], net if dense is None else dense
    if positions is not None and not isinstance(rng, np.random.Generator):
        raise ValueError("expected rng=np.random.default_rng(...) to draw the positions with")
    positions = None if positions is None else whole(positions, "number of positions", 1)
    if target is not net and _channels(target, name) != channels:
        raise ValueError(f"expected {channels} channels in front of {name} of the dense net too")
    W, W0 = (_matrix(dict(each.named_modules())[path]) for each in (net, target))
    shortcut = None if target is net else _shortcut(net, path)
    sums = _Sums(*W.shape)
    for x_batch, _, _ in batches(x, x, batch_size):
        now = _seen(net, path, shortcut, x_batch)
        before = now if target is net else _seen(target, path, shortcut, x_batch)
        for columns, columns0, gap in _blocks(layer, now, before, positions, rng):
            sums.add(columns, columns0, W0, gap)
    A, B, C = (each / sums.count for each in (sums.A, sums.B, sums.C))
    return Moments(name, W, channels, A, B, C, sums.energy / sums.count, sums.count)


def _channels(net: Module, name: str) -> int:
    sites = {f"{site.name}.W": site for site in trace(net).sites if isinstance(site.layer, Conv2d | Linear)}
    if name not in sites:
        raise ValueError(f"expected the weight of a convolution or an affine layer, {', '.join(sites)}; got {name!r}")
    site = sites[name]
    layer: Conv2d | Linear = site.layer  # type: ignore[assignment]
    if isinstance(layer, Conv2d) and (layer.groups > 1 or layer.columns is not None):
        what = f"{layer.groups} groups" if layer.groups > 1 else "columns left out"
        raise ValueError(f"{name} has {what}: not every filter reads every column of a channel, so no sums over blocks")
    if INPUT in site.inputs:
        raise ValueError(f"{name} reads the image, and there is no channel in front of it to choose")
    runs = [label for place, label in enumerate(site.inputs) if place == 0 or site.inputs[place - 1] != label]
    if len(set(runs)) < len(runs) or len(site.inputs) % len(runs):
        raise ValueError(f"the columns of {name} do not split into channels of equal size")
    return len(runs)


def _matrix(layer: Module) -> np.ndarray:
    W: np.ndarray = to_numpy(layer.W.data).astype(np.float64)  # type: ignore[attr-defined]
    return W.reshape(len(W), -1)


def _shortcut(net: Module, path: str) -> tuple[str, str] | None:
    """Return the block whose sum the layer ends in, and the last layer of its body; None if it ends in no sum."""
    modules = dict(net.named_modules())
    for name, block in modules.items():
        inside = f"{name}.body" if name else "body"
        if isinstance(block, Residual) and (path == inside or path.startswith(f"{inside}.")):
            last = [each for each, module in _leaves(inside, block.body)]
            weights = [each for each in last if isinstance(modules[each], Conv2d | Linear)]
            if weights and path == weights[-1]:
                if last[-1] != path:
                    what = type(modules[last[-1]]).__name__
                    raise ValueError(
                        f"between {path}.W and the sum of {name or 'the net'} stands a {what}, which changes"
                        " what the sum should make up for: fold the batch norm of both nets first, by fold_batchnorm"
                    )
                return name, path
    return None


def _leaves(name: str, module: Module) -> list[tuple[str, Module]]:
    if isinstance(module, Sequential):
        return [leaf for key, layer in module.children() for leaf in _leaves(f"{name}.{key}", layer)]
    return [(name, module)]


def _seen(net: Module, path: str, shortcut: tuple[str, str] | None, x: Array) -> tuple[Array, Array | None]:
    # What the layer reads, and what the shortcut beside it adds to its output.
    names = [path] if shortcut is None else [path, shortcut[0]]
    with evaluating(net), record(net, names) as seen:
        net.forward(x)
    ((read, out),) = seen[path]
    if not np.all(np.isfinite(to_numpy(read))):
        raise ValueError(f"expected finite signals in front of {path}.W, got NaN or infinity")
    return read, None if shortcut is None else seen[shortcut[0]][0][1] - out


def _blocks(
    layer: Module,
    now: tuple[Array, Array | None],
    before: tuple[Array, Array | None],
    positions: int | None,
    rng: np.random.Generator | None,
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray | None]]:
    """Yield x (K, M), x0 (K, M) and Y1 - Y1' (n, M) or None, of a few images at a time, in float64."""
    (x, way), (x0, way0) = now, before
    rows = _rows(layer, x[..., :1])
    step = max(1, BLOCK // rows.size)
    for start in range(0, x.shape[-1], step):
        some = slice(start, start + step)
        own = _rows(layer, x[..., some])
        other = own if x0 is x else _rows(layer, x0[..., some])
        gap = None if way is None or way0 is None else to_numpy(way0[..., some] - way[..., some])
        gap = None if gap is None else gap.reshape(len(gap), -1).astype(np.float64)
        if positions is not None and rng is not None:
            images = min(step, x.shape[-1] - start)
            drawn = rng.integers(own.shape[1] // images, size=(positions, images)) * images + np.arange(images)
            own, other = own[:, drawn.ravel()], other[:, drawn.ravel()]
            gap = None if gap is None else gap[:, drawn.ravel()]
        yield own, other, gap


def _rows(layer: Module, x: Array) -> np.ndarray:
    if isinstance(layer, Conv2d):
        geometry = layer.geometry
        x = im2col(x, geometry.kernel, geometry.stride, geometry.padding, geometry.dilation)
    rows: np.ndarray = to_numpy(x).astype(np.float64)
    return rows


class _Sums:
    """Sums over columns: x x^T, x x0^T, Y x^T and ||Y||^2 with Y = W0 x0 + what the shortcut has lost."""

    def __init__(self, n: int, K: int):
        self.A, self.B, self.C = np.zeros((K, K)), np.zeros((K, K)), np.zeros((n, K))
        self.energy, self.count = 0.0, 0

    def add(self, x: np.ndarray, x0: np.ndarray, W0: np.ndarray, gap: np.ndarray | None) -> None:
        Y = W0 @ x0 if gap is None else W0 @ x0 + gap
        square = x @ x.T
        self.A += square
        self.B += square if x0 is x else x @ x0.T
        self.C += Y @ x.T
        self.energy += float(np.sum(Y * Y))
        self.count += x.shape[1]
