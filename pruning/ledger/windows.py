"""The windows of an image: how many there are, the matrix that they make, and the way back to the image."""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any, TypeAlias

import numpy as np

import nn
from nn.windows import Geometry
from pruning.ledger.core import Claim, Form, Formula, Measured, relative

Index: TypeAlias = tuple[int, ...]
Pairs: TypeAlias = tuple[tuple[int, int], ...]


def draw_geometry(rng: np.random.Generator) -> dict[str, Any]:
    """Return a geometry: on one axis windows overlap, on the other they may leave gaps; sides of a border differ."""
    axes = [(3, int(rng.integers(1, 3)), 1), tuple(map(int, rng.integers(1, (4, 5, 3))))]  # kernel, stride, dilation
    kernel, stride, dilation = zip(*(axes[k] for k in rng.permutation(2)))
    padding = tuple(tuple(map(int, rng.permutation(3)[:2])) for _ in range(2))
    return {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}


def starts(sizes: Index, kernel: Index, stride: Index, padding: Pairs, dilation: Index) -> list[list[int]]:
    """Return, for each axis, the first pixel of every window that ends inside the border."""
    return [
        [first - before for first in range(0, size + before + after, s) if first + d * (k - 1) < size + before + after]
        for size, k, s, (before, after), d in zip(sizes, kernel, stride, padding, dilation)
    ]


def _adjoint(rng: np.random.Generator) -> Iterator[Measured]:
    """The identity <im2col(x), c> = <x, col2im(c)> in whole numbers, and how often a window sees a pixel."""
    off, off_divided, off_counts, off_inverse = 0.0, 0.0, 0.0, np.inf
    for _ in range(10):
        geometry, shape = draw_geometry(rng), (2, *map(int, rng.integers(5, 8, 2)), 2)
        x = rng.integers(1, 10, shape).astype(float)
        cols = nn.im2col(x, **geometry)
        c = rng.integers(1, 10, cols.shape).astype(float)
        seen = _times_seen(shape, **geometry)
        back = nn.col2im(c, shape, **geometry)
        off = max(off, abs(float(np.sum(cols * c) - np.sum(x * back))))
        off_divided = max(off_divided, abs(float(1 - np.sum(x * back / np.maximum(seen, 1)) / np.sum(cols * c))))
        off_counts = max(off_counts, relative(nn.col2im(cols, shape, **geometry), seen * x))
        off_inverse = min(off_inverse, relative(nn.col2im(cols, shape, **geometry), x))
    yield Measured("<im2col(x), c> - <x, col2im(c)>", off)
    yield Measured("col2im(im2col(x)) = count x", off_counts)
    ones = np.ones((1, 5, 5, 1))
    counts = np.outer([1, 2, 3, 2, 1], [1, 2, 3, 2, 1]).reshape(ones.shape)
    yield Measured("counts of 5 x 5 under 3 x 3", relative(nn.col2im(nn.im2col(ones, 3), ones.shape, 3), counts))
    once = np.zeros(25)
    once[nn.im2col(np.arange(25).reshape(ones.shape), 3)] += nn.im2col(ones, 3)
    for name, error, message in (
        ("x[index] += cols", relative(once.reshape(ones.shape), counts), "Of equal indices only the last one counts."),
        ("col2im undoes im2col", off_inverse, "It adds up the copies: a pixel comes back as often as windows saw it."),
        ("divided by the counts", off_divided, "That is an inverse, and the sweep back wants the adjoint."),
    ):
        yield Measured(name, error, wrong=True, message=message)


def _times_seen(shape: Index, **geometry: Any) -> np.ndarray:
    # In how many windows a pixel is, axis by axis.
    rows, columns = np.zeros(shape[1]), np.zeros(shape[2])
    for axis, k, d, along in zip(
        (rows, columns), geometry["kernel"], geometry["dilation"], starts(shape[1:3], **geometry)
    ):
        for first, position in product(along, range(k)):
            if 0 <= first + d * position < len(axis):
                axis[first + d * position] += 1
    return np.outer(rows, columns)[None, :, :, None]


def _draw_sizes(rng: np.random.Generator) -> dict[str, np.ndarray]:
    # A hundred images, two axes each, into which at least one window fits.
    k, s, d = (rng.integers(1, most, (100, 2)) for most in (5, 6, 4))
    before, after = rng.integers(0, 4, (2, 100, 2))
    return {
        "H": d * (k - 1) + 1 + rng.integers(0, 12, (100, 2)),
        "k": k,
        "s": s,
        "d": d,
        "top": before,
        "bottom": after,
    }


def _sizes(
    H: np.ndarray, k: np.ndarray, s: np.ndarray, d: np.ndarray, top: np.ndarray, bottom: np.ndarray
) -> np.ndarray:
    sides = np.stack([top, bottom], axis=-1)
    cases = zip(*(values.tolist() for values in (H, k, s, sides, d)))
    return np.array([Geometry.of(*geometry).output(*size) for size, *geometry in cases])


def _counted(
    H: np.ndarray, k: np.ndarray, s: np.ndarray, d: np.ndarray, top: np.ndarray, bottom: np.ndarray
) -> np.ndarray:
    counts = [
        len(starts((size,), (kernel,), (stride,), ((before, after),), (spread,))[0])
        for size, kernel, stride, spread, before, after in zip(*(v.ravel().tolist() for v in (H, k, s, d, top, bottom)))
    ]
    return np.reshape(counts, H.shape)


def _draw_layout(rng: np.random.Generator) -> dict[str, Any]:
    x, W = rng.integers(1, 10, (3, 4, 4, 2)), rng.integers(1, 10, (3, 3, 2, 3))
    return {"x": x.astype(float), "W": W.astype(float), "channel": int(rng.integers(3))}


def _outside(channel: int) -> list[int]:
    return [k for k in range(18) if k // 6 != channel]  # its columns are 6 channel to 6 channel + 5


def _without_channel(
    matrix: Callable[[np.ndarray], np.ndarray] = lambda W: W.reshape(len(W), -1),
    chosen: Callable[[int], list[int]] = _outside,
) -> Callable[..., np.ndarray]:
    def form(x: np.ndarray, W: np.ndarray, channel: int) -> np.ndarray:
        layer = nn.Conv2d(3, 3, (2, 3), np.random.default_rng(0), bias=False, columns=chosen(channel))
        layer.W.data = matrix(W)[:, chosen(channel)]
        return np.asarray(layer.forward(x))

    return form


def _without_channel_loops(x: np.ndarray, W: np.ndarray, channel: int) -> np.ndarray:
    a = np.zeros((3, 3, 2, 2))
    for o, i, j, n in np.ndindex(a.shape):
        for c, p, q in np.ndindex(3, 2, 3):
            if c != channel:
                a[o, i, j, n] += W[o, c, p, q] * x[c, i + p, j + q, n]
    return a


STATEMENTS = (
    Claim(
        id="S1-F19b",
        title="col2im is the adjoint of im2col, not its inverse",
        printed=r"\langle\mathrm{im2col}(x),c\rangle=\langle x,\mathrm{col2im}(c)\rangle",
        verdict="lost",
        remark="A pixel in several windows is summed: im2col and col2im multiply it by the number of its windows.",
        where="S1, Im2col (Image2Column) Convolution",
        code="nn.im2col, nn.col2im",
        notebook="03, section 2.3",
        tolerance=0,
        measure=_adjoint,
        referee="whole numbers, windows counted",
    ),
    Formula(
        id="S1-F19d",
        title="how many windows there are",
        printed=r"H_o=\Big\lfloor\frac{H+p_t+p_b-d(k_h-1)-1}{s}\Big\rfloor+1",
        verdict="lost",
        remark="A kernel with dilation d spans d (k - 1) + 1 pixels, and the last window must end inside the border.",
        where="S1, Im2col (Image2Column) Convolution",
        code="nn.windows.Geometry.output",
        notebook="03, section 1",
        tolerance=0,
        draws=2,
        draw=_draw_sizes,
        right=_sizes,
        referees=(Form("windows counted", _counted),),
        wrong=(
            Form(
                "rounded up",
                lambda H, k, s, d, top, bottom: -(-(H + top + bottom - d * (k - 1) - 1) // s) + 1,
                "A last window that does not fit is none.",
            ),
            Form(
                "twice the top",
                lambda H, k, s, d, top, bottom: (H + 2 * top - d * (k - 1) - 1) // s + 1,
                "2 p is the border of a symmetric one.",
            ),
            Form(
                "dilated kernel d k long",
                lambda H, k, s, d, top, bottom: (H + top + bottom - d * k) // s + 1,
                "There are k - 1 gaps between k weights.",
            ),
            Form(
                "dilation forgotten",
                lambda H, k, s, d, top, bottom: (H + top + bottom - k) // s + 1,
                "The kernel spans d (k - 1) + 1 pixels.",
            ),
            Form(
                "no + 1",
                lambda H, k, s, d, top, bottom: (H + top + bottom - d * (k - 1) - 1) // s,
                "The first window stands before the first step.",
            ),
        ),
    ),
    Formula(
        id="C1",
        title="row = filter, column = (c, kh, kw), channel = kh kw columns",
        printed=r"W_{2d}[o,\,(c\,k_h+i)\,k_w+j]=W[o,c,i,j],\quad W\in\mathbb R^{O\times C\times k_h\times k_w}",
        verdict="lost",
        remark="A convention of this project; S4 names the input maps first in F_i, yet F_{i,j} is one filter.",
        where="S1, Structural Sparsity (rows and columns in GEMM); S4, section 3",
        code="nn.Conv2d",
        notebook="03, section 1.2",
        tolerance=0,
        draw=_draw_layout,
        right=_without_channel(),
        referees=(Form("loops over c, kh, kw", _without_channel_loops),),
        wrong=(
            Form(
                "every C-th column is the channel",
                _without_channel(chosen=lambda channel: [k for k in range(18) if k % 3 != channel]),
                "That is the numbering (kh, kw, c) of images with the channel last.",
            ),
            Form(
                "W.reshape(-1, O).T",
                _without_channel(matrix=lambda W: W.reshape(-1, len(W)).T),
                "It has the right shape and mixes the filters: a filter is a row because it lies in one piece.",
            ),
            Form(
                "input maps first",
                _without_channel(matrix=lambda W: W.swapaxes(0, 1).reshape(len(W), -1)),
                "That is the order of F_i in S4; where there are as many filters as channels no shape tells.",
            ),
        ),
    ),
)
