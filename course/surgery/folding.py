"""What is folded into weights and biases: a batch norm in front (surg.2), and what dead filters emit (surg.3)."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from course.spec import Array, Case, Draw, Exercise, Inputs, Wrong, signed


# ---- surg.2: a norm in front of a convolution ------------------------------------------------------------------------
def _norm(channels: int = 0, bias: bool = True, small: bool = False) -> Draw:
    # As many filters as channels, or a norm that is taken for one behind could not be told from a wrong shape.
    def draw(rng: np.random.Generator) -> Inputs:
        c = channels or int(rng.integers(3, 6))
        signs = np.where(np.arange(c) % 2, 1.0, -1.0)
        numbers = {
            "gamma": rng.uniform(0.5, 2, c),
            "beta": signs * rng.uniform(0.3, 1, c),
            "mean": signed(rng, 0.3, 1, c),
            "var": rng.uniform(0.5, 1, c) ** 2 * (0.01 if small else 1) + 0.1 * (not small),
        }
        W = signed(rng, 0.5, 1.5, (c, c, 2, 3))
        eps = float(rng.choice([0.01, 0.02, 0.05]))
        return {"W": W, "b": signed(rng, 0.5, 1, c) if bias else None, **numbers, "eps": eps}

    return draw


def _probed(W: Array, b: Array | None, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Any:
    # Norm and filter, one after the other, are an affine function of a window: ask it at zero and at unit windows.
    def output(window: Array) -> Array:
        y = np.array([(row - m) / (v + eps) ** 0.5 * g + a for row, m, v, g, a in zip(window, mean, var, gamma, beta)])
        return np.array([np.vdot(w, y) for w in W]) + (0.0 if b is None else b)

    bias = output(np.zeros(W.shape[1:]))
    folded = np.empty(W.shape)
    for k in np.ndindex(W.shape[1:]):
        unit = np.zeros(W.shape[1:])
        unit[k] = 1.0
        folded[(slice(None), *k)] = output(unit) - bias
    return folded, bias


def _root(gamma: Array, var: Array, eps: float) -> Array:
    return gamma / np.sqrt(var + eps)


def _in_front(
    scale: Callable[..., Array] = _root,
    shift: Callable[[Array, Array, Array], Array] = lambda s, beta, mean: beta - s * mean,
    bias: Callable[[Array, Array, Array], Array] = lambda b, W, shift: b + W.sum(axis=(2, 3)) @ shift,
) -> Callable[..., tuple[Array, Array]]:
    def form(W: Array, b: Array | None, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Any:
        s = scale(gamma, var, eps)
        old = np.zeros(len(W)) if b is None else b
        return W * s[:, None, None], bias(old, W, shift(s, beta, mean))

    return form


def _behind(W: Array, b: Array | None, gamma: Array, beta: Array, mean: Array, var: Array, eps: float) -> Any:
    s = _root(gamma, var, eps)
    return s[:, None, None, None] * W, s * ((0.0 if b is None else b) - mean) + beta


FOLD = Exercise(
    id="surg.2",
    function="fold",
    outputs=("W", "b"),
    formula="s = γ / √(σ² + ε):  W′_oc = s_c W_oc,  b′_o = b_o + Σ_c (β_c − s_c μ_c) Σ_kl W_ockl",
    slide="S4, VGG-16 on CIFAR-10 (batch norm, here in front)",
    ledger="D16, D16b",
    section="notebook 11b, section 2",
    minutes=20,
    referee=_probed,
    cases=(
        Case("two channels", 1, _norm(2), public=True),
        Case("other sizes", 1, _norm(), draws=2),
        Case("no bias (b = None)", 1, _norm(bias=False), draws=2),
        Case("small variances", 1, _norm(small=True), draws=2),
    ),
    wrong=(
        Wrong(
            "no ε",
            _in_front(scale=lambda gamma, var, eps: gamma / np.sqrt(var)),
            "This leaves ε out. It stands under the root in eval mode too (D16).",
        ),
        Wrong(
            "ε beside the root",
            _in_front(scale=lambda gamma, var, eps: gamma / (np.sqrt(var) + eps)),
            "This adds ε to the root. It is added to the variance, under the root (D16).",
        ),
        Wrong(
            "no root",
            _in_front(scale=lambda gamma, var, eps: gamma / (var + eps)),
            "This divides by the variance. Batch norm divides by its root (D16).",
        ),
        Wrong(
            "the norm behind",
            _behind,
            "This is the fold of a norm that stands behind the layer: s scales the filters. Here the norm stands in"
            " front (D16b).",
        ),
        Wrong(
            "bias left as it is",
            _in_front(bias=lambda b, W, shift: b),
            "This scales the weights alone. The norm also shifts every input, and the layer reads that (D16b).",
        ),
        Wrong(
            "old bias lost",
            _in_front(bias=lambda b, W, shift: W.sum(axis=(2, 3)) @ shift),
            "This replaces the bias that the layer had already (D16b).",
        ),
        Wrong(
            "mean not scaled",
            _in_front(shift=lambda s, beta, mean: beta - mean),
            "This takes off the mean after the scale. The norm takes it off first (D16).",
        ),
        Wrong(
            "scaled weights read the shift",
            _in_front(shift=lambda s, beta, mean: s * (beta - s * mean)),
            "This puts s into the weights before they read the shift. The shift is what the old weights read (D16b).",
        ),
        Wrong(
            "one tap of the kernel",
            _in_front(bias=lambda b, W, shift: b + W[:, :, 0, 0] @ shift),
            "This lets one weight of each kernel read the shift. All of them do (D16b).",
        ),
    ),
    hint="Write BN(x) = s x + t, put it into the layer, and sort by what depends on x.",
    package="nn.fold_pair",
)


# ---- surg.3: dead filters over a border ------------------------------------------------------------------------------
def _maps(padding: tuple[int, ...], kernel: tuple[int, int] = (0, 0), even: bool = False) -> Draw:
    def draw(rng: np.random.Generator) -> Inputs:
        kh, kw = kernel if kernel[0] else [(2, 3), (3, 2)][rng.integers(2)]
        o, c, size = int(rng.integers(2, 4)), int(rng.integers(3, 6)), rng.permutation([4, 5])
        a, v = signed(rng, 0.5, 1.5, c), float(rng.choice([-0.8, 0.6]))
        dead = np.sort(rng.permutation(c)[: int(rng.integers(2, c))])
        if even:  # what the dead filters emit is as large as the border
            a[dead] = 0.7
            v = float(np.tanh(0.7))
        W = rng.uniform(0.5, 1.5, (o, c, kh, kw)) * np.where(rng.random((o, c, kh, kw)) < 0.2, -1.0, 1.0)
        W[:, :, 0, 0] += 1.0  # far from its mirror image
        p = int(padding[rng.integers(len(padding))])
        return {"W": W, "b": signed(rng, 0.3, 1, o), "a": a, "dead": dead, "padding": p, "v": v, "size": size}

    return draw


def _correlated(x: Array, W: Array) -> Array:
    return np.einsum("ockl,cijkl->oij", W, sliding_window_view(x, W.shape[2:], axis=(1, 2)))


def _bordered(x: Array, padding: int, v: float) -> Array:
    return np.pad(x, ((0, 0), (padding, padding), (padding, padding)), constant_values=v)


def _large_less_small(W: Array, b: Array, a: Array, dead: Array, padding: int, v: float, size: Array) -> Array:
    # The layer on images of which the maps of dead filters are as they are and the others anything, less the layer
    # that is left on the maps that are left.
    x = np.random.default_rng(0).standard_normal((W.shape[1], *size))
    stay = [m for m in range(len(a)) if m not in dead]
    for m in dead:
        x[m] = np.tanh(a[m])
    small = _correlated(_bordered(x[stay], padding, v), W[:, stay])
    return _correlated(_bordered(x, padding, v), W) + b[:, None, None] - small


def _window(W: Array, padding: int, v: float, size: Array, c: Array) -> Array:
    # What maps of the constants c add, with a border of v.
    return _correlated(_bordered(np.ones((len(c), *size)) * c[:, None, None], padding, v), W)


def _folded_with(
    c: Callable[[Array], Array] = np.tanh, border: Callable[[float], float] = lambda v: v, flip: bool = False
) -> Callable[..., Array]:
    def form(W: Array, b: Array, a: Array, dead: Array, padding: int, v: float, size: Array) -> Array:
        read = W[:, dead][:, :, ::-1, ::-1] if flip else W[:, dead]
        return b[:, None, None] + _window(read, padding, border(v), size, c(a[dead]))

    return form


def _everywhere(share: Callable[[Array], Array]) -> Callable[..., Array]:
    # One bias for all pixels: `share` of the kernels times what the dead filters emit.
    def form(W: Array, b: Array, a: Array, dead: Array, padding: int, v: float, size: Array) -> Array:
        pixels = [n + 2 * padding - k + 1 for n, k in zip(size, W.shape[2:])]
        return np.ones((1, *pixels)) * (b + share(W[:, dead]) @ np.tanh(a[dead]))[:, None, None]

    return form


def _mean_of_all(W: Array, b: Array, a: Array, dead: Array, padding: int, v: float, size: Array) -> Array:
    bias: Array = _folded_with()(W, b, a, dead, padding, v, size)
    return np.ones_like(bias) * bias.mean(axis=(1, 2), keepdims=True)


CONSTANT = Exercise(
    id="surg.3",
    function="fold_constant",
    outputs=("bias map",),
    formula="B_oij = b_o + Σ_m dead Σ_kl W_omkl · (c_m where the window sees the map, v where it sees the border),"
    " c_m = tanh(a_m)",
    slide="S3, section 3, unused path removal",
    ledger="S3-F11a, S3-F11b",
    section="notebook 11, section 4",
    minutes=45,
    referee=_large_less_small,
    cases=(
        Case("a border of one pixel with kernels of 3 x 3", 1, _maps((1,), (3, 3)), public=True),
        Case("no border", 1, _maps((0,)), draws=2),
        Case("borders of one or two pixels with other kernels", 3, _maps((1, 2)), draws=4),
        Case("a border that is as large as what the dead filters emit", 1, _maps((1,), even=True)),
    ),
    wrong=(
        Wrong(
            "dropped",
            _everywhere(lambda W: np.zeros(W.shape[:2])),
            "This is the old bias: the dead filters are dropped as if their maps were blank. They emit a constant"
            " (S3-F11a).",
        ),
        Wrong(
            "one bias for all pixels",
            _everywhere(lambda W: W.sum(axis=(2, 3))),
            "This is the fold without a border. With one, a window sees fewer pixels of the constant near the edge"
            " (S3-F11b).",
        ),
        Wrong(
            "activation forgotten",
            _folded_with(c=lambda a: a),
            "This folds what stands in front of the activation. The layer reads what comes out of it (S3-F11b).",
        ),
        Wrong(
            "a border of zeros",
            _folded_with(border=lambda v: 0.0),
            "This has a border of zeros, as nn.Conv2d has. Here the border holds v, and the kernels of dead maps read"
            " it too.",
        ),
        Wrong(
            "one tap of the kernel",
            _everywhere(lambda W: W[:, :, W.shape[2] // 2, W.shape[3] // 2]),
            "This lets the middle weight of a kernel read the constant. All weights do (S3-F11b).",
        ),
        Wrong(
            "mirrored kernels",
            _folded_with(flip=True),
            "This has the kernels mirrored, as in a convolution in mathematics. Layers slide them as they are.",
        ),
        Wrong(
            "averaged",
            _mean_of_all,
            "This is the mean of the right map. What is missing at the edge is not spread over all pixels (S3-F11b).",
        ),
    ),
    hint="Make the images that the dead filters emit, border and all, and let the layer read them.",
    package="pruning.surgery.fold_constants",
)
