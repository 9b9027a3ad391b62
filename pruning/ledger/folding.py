"""Surgery that is exact: rows and columns taken out, filters that nobody reads, and batch norm moved."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import nn
from pruning import surgery
from pruning.ledger import plain
from pruning.ledger.core import Claim, Form, Formula, Measured, relative
from pruning.ledger.plain import DEAD, KEEP, SHAPE, chain, convolutions, settings


# ---- S3-F10 ----------------------------------------------------------------------------------------------------------
def _draw_matrix(rng: np.random.Generator) -> dict[str, Any]:
    """W (5, 3, 3, 2) without filters 1 and 3 and without half of its 18 columns, all six of channel 2 among them."""
    W, columns = rng.standard_normal((5, 3, 3, 2)), np.array([0, 1, 2, 3, 4, 5, 7, 9, 10])
    matrix = W.reshape(5, 18)
    matrix[DEAD] = 0
    matrix[:, np.setdiff1d(np.arange(18), columns)] = 0
    return {"W": W, "x": rng.standard_normal((3, 5, 4, 2))}


def _without_zeros(W: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The matrix that is left of W in front of a unit layer, and what its filters compute."""
    first, second = nn.Conv2d(3, 5, (3, 2), None, bias=False), nn.Conv2d(5, 5, 1, None, bias=False)
    first.W.data, second.W.data = W, np.eye(5)[:, :, None, None]
    net = nn.Sequential(first, second).eval()
    columns = surgery.remove_columns(net, surgery.used_columns(net, ["0.W"]))
    small = surgery.remove(columns, KEEP)
    return small.layers[0].W.data, small.forward(x)


def _dense(W: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = [o for o in range(5) if np.any(W[o] != 0)]
    columns = [(c, k, m) for c in range(3) for k in range(3) for m in range(2) if np.any(W[:, c, k, m] != 0)]
    left = np.array([[W[o, c, k, m] for c, k, m in columns] for o in rows])
    return left, plain.convolution(x, W)


def _other_columns(order: Callable[[int], int]) -> Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]:
    """The columns that are not zero, renumbered, stay instead."""

    def form(W: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        alive = np.flatnonzero(W.reshape(5, 18).any(axis=0))
        columns = np.array([order(int(k)) for k in alive])
        kept = np.zeros((5, 18))
        kept[:, columns] = W.reshape(5, 18)[:, columns]
        return W.reshape(5, 18)[KEEP["0.W"]][:, columns], plain.convolution(x, kept.reshape(W.shape))

    return form


def _channel_with_a_zero_column(W: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    full = (W != 0).any(axis=0).all(axis=(1, 2))
    return _dense(W, x)[0], plain.convolution(x, W * full[:, None, None])


# ---- S3-F12 ----------------------------------------------------------------------------------------------------------
def _unread(rng: np.random.Generator) -> Iterator[Measured]:
    for bias, norm, act, padding in settings():
        net, x = convolutions(rng, bias, norm, act, padding), rng.standard_normal((*SHAPE, 2))
        net.layers[0].W.data[DEAD] = rng.standard_normal((2, 2, 3, 3))
        net.layers[-1].W.data[:, DEAD] = 0
        small = surgery.remove_unused_paths(net, SHAPE)
        yield Measured("surgery", relative(small.forward(x), plain.forward(net, x)))
        yield Measured("filters that surgery leaves", abs(len(small.layers[0].W.data) - 3))
    beside = nn.Conv2d(5, 5, 3, rng, padding=1)
    net = chain(rng, nn.Conv2d(2, 5, 3, rng), nn.Tanh(), nn.Residual(beside), nn.Conv2d(5, 3, 2, rng))
    net.layers[0].W.data[DEAD] = rng.standard_normal((2, 2, 3, 3))
    beside.W.data[:, DEAD] = 0
    x, small = rng.standard_normal((*SHAPE, 2)), surgery.remove_unused_paths(net, SHAPE)
    yield Measured("surgery, with a shortcut", relative(small.forward(x), plain.forward(net, x)))
    yield Measured("filters left, with a shortcut", abs(len(small.layers[0].W.data) - 5))
    message = "The shortcut carries the map past the channel that does not read it."
    yield Measured("dropped beside a shortcut", _without_filters(net, x), True, message)
    net = convolutions(rng, True, False, nn.Tanh, 1)
    net.layers[0].W.data[DEAD] = rng.standard_normal((2, 2, 3, 3))
    net.layers[-1].W.data[:, DEAD, 1:] = 0
    message = "A channel is unread when all KH KW of its columns are zero, not when most of them are."
    yield Measured("dropped for six empty columns of nine", _without_filters(net, x), True, message)


def _without_filters(net: Any, x: np.ndarray) -> float:
    fewer, y = surgery.duplicate(net), plain.forward(net, x)
    fewer.layers[0].W.data[DEAD] = 0
    fewer.layers[0].b.data[DEAD] = 0
    return relative(fewer.forward(x), y)


# ---- D16 -------------------------------------------------------------------------------------------------------------
def _draw_norm(rng: np.random.Generator) -> dict[str, np.ndarray]:
    names = {"b": (-1, 1), "gamma": (0.5, 2), "beta": (-1, 1), "mean": (0.5, 1), "variance": (0.5, 2)}
    numbers = {name: rng.uniform(*ends, 4) for name, ends in names.items()}
    return {"x": rng.standard_normal((3, 5, 6, 2)), "W": rng.standard_normal((4, 3, 3, 2)), **numbers}


def _folded_pair(x: np.ndarray, W: np.ndarray, b: np.ndarray, **numbers: np.ndarray) -> np.ndarray:
    layer: Any = nn.Conv2d(3, 4, (3, 2), None, padding=1)
    norm = nn.BatchNorm(4)
    layer.W.data, layer.b.data = W, b
    norm.gamma.data, norm.beta.data = numbers["gamma"], numbers["beta"]
    norm.running_mean, norm.running_variance = numbers["mean"], numbers["variance"]
    return np.asarray(nn.fold_pair(layer, norm).eval().forward(x))


def _one_after_the_other(x: np.ndarray, W: np.ndarray, b: np.ndarray, **numbers: np.ndarray) -> np.ndarray:
    return plain.normalised(plain.convolution(x, W, 1) + b[:, None, None, None], **numbers, eps=1e-5)


def _folded_by(scale: Callable[..., Any], shift: Callable[..., Any]) -> Callable[..., np.ndarray]:
    def form(
        x: np.ndarray, W: np.ndarray, b: np.ndarray, gamma: np.ndarray, beta: np.ndarray, mean: Any, variance: Any
    ) -> np.ndarray:
        s = scale(gamma, variance)
        new = shift(s, b, mean, beta)
        return plain.convolution(x, s[:, None, None, None] * W, 1) + new[:, None, None, None]

    return form


def _scale(gamma: np.ndarray, variance: np.ndarray) -> np.ndarray:
    return gamma / np.sqrt(variance + 1e-5)


def _shift(s: np.ndarray, b: np.ndarray, mean: np.ndarray, beta: np.ndarray) -> np.ndarray:
    return (b - mean) * s + beta


# ---- D16b ------------------------------------------------------------------------------------------------------------
def _norm_in_front(rng: np.random.Generator) -> Iterator[Measured]:
    layers = nn.Conv2d(2, 5, 3, rng), nn.BatchNorm(5), nn.Tanh(), nn.BatchNorm(5)
    x = rng.standard_normal((*SHAPE, 3))
    for padding in (0, 1):
        net = chain(rng, *layers, nn.Conv2d(5, 3, 3, rng, padding=padding))
        y = plain.forward(net, x)
        folded: Any = surgery.fold_batchnorm(net)
        yield Measured("batch norms moved into what stands in front", relative(folded.forward(x), y))
        left = [isinstance(layer, nn.BatchNorm) for layer in folded.layers]
        yield Measured("batch norms that stay", float(left != [False, False, False, True, False]))
        # By hand into the convolution behind: W' = W s,  b' = b + sum W (beta - s mean).
        behind, norm, last = surgery.duplicate(folded), net.layers[3], net.layers[4]
        s = norm.gamma.data / np.sqrt(norm.running_variance + norm.eps)
        behind.layers[3] = nn.Identity()
        behind.layers[4].W.data = last.W.data * s[:, None, None]
        behind.layers[4].b.data = last.b.data + last.W.data.sum(axis=(2, 3)) @ (norm.beta.data - s * norm.running_mean)
        off = behind.forward(x)
        if padding == 0:
            yield Measured("into the convolution behind, without padding", relative(off, y))
        else:
            yield Measured("the same, interior", relative(off[:, 1:-1, 1:-1], y[:, 1:-1, 1:-1]))
            message = "The zeros of the border stand behind the norm, and beta - s mean is not added to them."
            yield Measured("into a convolution behind that pads", relative(off, y), True, message)


STATEMENTS = (
    Formula(
        id="S3-F10",
        title="rows and columns leave a dense matrix",
        printed=r"\begin{array}{l}\text{We adopt filter pruning and column pruning together to reduce matrix"
        r" dimension.}\\\text{[...] in the meantime, the shape of the weight matrix is still regular.}\end{array}",
        verdict="right",
        remark="A channel goes with the last of its KH KW columns; before that they leave the product one by one.",
        where="S3, section 2, Figure 1",
        code="pruning.surgery.remove, pruning.surgery.remove_columns, pruning.surgery.used_columns",
        notebook="15, section 1",
        draw=_draw_matrix,
        right=_without_zeros,
        referees=(Form("entries one by one, whole W", _dense),),
        wrong=(
            Form(
                "columns numbered (kh, kw, c)",
                _other_columns(lambda k: k % 3 * 6 + k // 3),
                "In the matrix product the kernel positions of one channel are neighbours.",
            ),
            Form(
                "a channel for one empty column",
                _channel_with_a_zero_column,
                "The other columns of the channel still read it.",
            ),
        ),
    ),
    Claim(
        id="S3-F12",
        title="the filter of a pruned channel is unused",
        printed=r"\begin{array}{l}\text{If a channel is pruned, then no matter what values are in the previous layer's"
        r" corresponding filter,}\\\text{the GEMM result of the generated feature maps by this channel will be all"
        r" zeros,}\\\text{in which case make that corresponding filter an unused one.}\end{array}",
        verdict="right if",
        remark="It is exact for every bias, batch norm, activation and padding, if nothing else reads the map.",
        where="S3, section 3, second paragraph",
        code="pruning.surgery.remove_unused_paths",
        notebook="15, section 2",
        referee="whole net in plain NumPy, 32 configurations",
        measure=_unread,
    ),
    Formula(
        id="D16",
        title="batch norm folded into the layer in front",
        printed=r"W'=sW,\quad b'=(b-\mu)s+\beta,\quad s=\frac{\gamma}{\sqrt{\sigma^2+\varepsilon}}",
        verdict="lost",
        remark="It is exact in eval mode, with epsilon under the root.",
        where="S4, section 3, VGG-16 on CIFAR-10 (batch norm behind each convolution)",
        code="nn.fold_pair, pruning.surgery.fold_batchnorm",
        notebook="11b, section 2",
        draw=_draw_norm,
        right=_folded_pair,
        referees=(Form("one after the other, plain NumPy", _one_after_the_other),),
        wrong=(
            Form(
                "without epsilon",
                _folded_by(lambda gamma, variance: gamma / np.sqrt(variance), _shift),
                "Epsilon stands under the root in eval mode too: the sixth digit is lost without it.",
            ),
            Form(
                "variance without the root",
                _folded_by(lambda gamma, variance: gamma / (variance + 1e-5), _shift),
                "Batch norm divides by the deviation, not by the variance.",
            ),
            Form(
                "bias not scaled",
                _folded_by(_scale, lambda s, b, mean, beta: b - s * mean + beta),
                "The bias goes through the norm with the rest of the sum.",
            ),
            Form(
                "bias replaced",
                _folded_by(_scale, lambda s, b, mean, beta: beta - s * mean),
                "The layer in front had a bias already, which only networks trained with the norm leave out.",
            ),
            Form(
                "mean not scaled",
                _folded_by(_scale, lambda s, b, mean, beta: s * b - mean + beta),
                "The mean is taken off before the norm scales.",
            ),
        ),
    ),
    Claim(
        id="D16b",
        title="batch norm in front of a convolution",
        printed=r"W'_{om}=W_{om}s_m,\quad b'_o=b_o+\sum_{m,k,l}W_{omkl}(\beta_m-s_m\mu_m)"
        r"\quad\text{without padding only}",
        verdict="lost",
        remark="It cannot be folded where the convolution pads, nor past an activation, so ours stays where it is.",
        where="S4, section 3, VGG-16 on CIFAR-10 (the other order: batch norm in front)",
        code="pruning.surgery.fold_batchnorm",
        notebook="11b, section 2",
        referee="whole net in plain NumPy",
        measure=_norm_in_front,
    ),
)
