"""Random variants of training images, drawn anew for every minibatch: shifted, mirrored, turned, scaled, sheared.

Functions of a NumPy batch x (C, H, W, N) that return a new one of the same shape and dtype and leave x alone.  Every
image has its own draw from `rng`, so equal generators give equal batches.  For CIFAR-10 the usual choice is
`augment` on the training batches and nothing on the test images (He et al. 2016, Deep residual learning).
"""

import math
import numbers
import operator

import numpy as np

from nn.backend import Array


def flip(x: Array, rng: np.random.Generator) -> Array:
    """Return x (C, H, W, N) with each image mirrored left to right with probability 1/2.

    Draws N uniform numbers.

    Raises
    ------
    ValueError
        If x is no NumPy array with four axes.
    TypeError
        If rng is no np.random.Generator, a seed say.
    """
    _check(x, rng)
    mirrored = rng.random(x.shape[-1]) < 0.5  # (N,)
    return np.where(mirrored, x[:, :, ::-1], x)


def padded_crop(x: Array, rng: np.random.Generator, padding: int = 4) -> Array:
    """Return x (C, H, W, N) with each image shifted at random by up to `padding` pixels, zeros moving in.

    The image is framed by `padding` zeros on every side, and of this an (H, W) window is cut out whose upper left
    corner (i_n, j_n) is uniform on 0..2 padding each: y[c, h, w, n] = framed[c, h + i_n, w + j_n, n].  Draws the N i_n,
    then the N j_n.

    Raises
    ------
    ValueError
        If x is no NumPy array with four axes, or the padding is no integer of at least 0, or longer than both sides of
        the image, nothing of which would be left.
    TypeError
        If rng is no np.random.Generator, a seed say.
    """
    _check(x, rng)
    C, H, W, N = x.shape
    P = _checked_padding(padding, H, W)
    framed = np.pad(x, ((0, 0), (P, P), (P, P), (0, 0)))
    i, j = rng.integers(0, 2 * P + 1, size=(2, N))
    rows, columns = np.arange(H)[:, None, None] + i, np.arange(W)[:, None] + j  # (H, 1, N), (W, N)
    # One gather for all images, from each channel as a vector: framed[c, row, column, n] has the index below.
    return np.take(framed.reshape(C, -1), (rows * (W + 2 * P) + columns) * N + np.arange(N), axis=1)


def augment(x: Array, rng: np.random.Generator) -> Array:
    """Return x (C, H, W, N) cropped by `padded_crop` with four pixels of padding, then mirrored by `flip`."""
    return flip(padded_crop(x, rng), rng)


def affine(
    x: Array,
    rng: np.random.Generator,
    rotation: float = 10.0,
    scale: float = 0.1,
    shear: float = 0.1,
    shift: float = 2.0,
) -> Array:
    """Return x (C, H, W, N) with each image turned, scaled, sheared and shifted at random, zeros moving in.

    With u the place of an output pixel seen from the middle of the image, y(u) = x(A u - d),

        A = 1/s [cos a  -sin a; sin a  cos a] [1  k; 0  1],

    x read between its pixels by bilinear interpolation.  Each image has its own a, s, k and d, drawn in this order,
    N uniform numbers each (d: the N rows, then the N columns).

    Parameters
    ----------
    rotation : a is uniform in +-rotation, in degrees.
    scale : s is uniform in 1 +- scale; below 1.
    shear : k is uniform in +-shear.
    shift : both entries of d are uniform in +-shift pixels.

    Raises
    ------
    ValueError
        If x is no NumPy array with four axes or holds integers, a range is negative or not finite, or the scale is 1 or
        more.
    TypeError
        If rng is no np.random.Generator, a seed say.
    """
    _check(x, rng)
    if not np.issubdtype(x.dtype, np.floating):
        raise ValueError(f"expected floating-point images to interpolate, got {x.dtype}; for instance images / 255")
    for name, value in (("rotation", rotation), ("scale", scale), ("shear", shear), ("shift", shift)):
        if not (isinstance(value, numbers.Real) and math.isfinite(value) and value >= 0):
            raise ValueError(f"expected a {name} of 0 or more, got {value!r}")
    if scale >= 1:
        raise ValueError(f"expected a scale below 1, got {scale}")
    _, H, W, N = x.shape
    a, s, k = (
        np.radians(rng.uniform(-rotation, rotation, N)),
        rng.uniform(1 - scale, 1 + scale, N),
        rng.uniform(-shear, shear, N),
    )
    di, dj = rng.uniform(-shift, shift, (2, N))
    i, j = np.arange(H)[:, None, None] - (H - 1) / 2, np.arange(W)[:, None] - (W - 1) / 2
    cos, sin = np.cos(a) / s, np.sin(a) / s
    rows = cos * i + (cos * k - sin) * j - di + (H - 1) / 2  # (H, W, N)
    columns = sin * i + (sin * k + cos) * j - dj + (W - 1) / 2
    return _read_between(x, rows, columns)


def _read_between(x: np.ndarray, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """Return x (C, H, W, N) at the real places rows, columns (H, W, N), bilinear; zero outside."""
    C, H, W, N = x.shape
    top, left = np.floor(rows), np.floor(columns)
    down, right = (rows - top).astype(x.dtype), (columns - left).astype(x.dtype)
    framed = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))  # the frame is where everything outside is read
    flat = framed.reshape(C, -1)
    total = np.zeros_like(x)
    for below, row_share in ((0, 1 - down), (1, down)):
        for beside, column_share in ((0, 1 - right), (1, right)):
            i = np.clip(top + (below + 1), 0, H + 1).astype(np.int64)
            j = np.clip(left + (beside + 1), 0, W + 1).astype(np.int64)
            total += row_share * column_share * np.take(flat, (i * (W + 2) + j) * N + np.arange(N), axis=1)
    return total


def _check(x: Array, rng: np.random.Generator) -> None:
    if not isinstance(rng, np.random.Generator):
        raise TypeError(f"expected an np.random.Generator, for instance np.random.default_rng(0), got {rng!r}")
    if not isinstance(x, np.ndarray) or x.ndim != 4:
        found = f"one of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise ValueError(f"expected a NumPy array (C, H, W, N), got {found}")


def _checked_padding(padding: int, H: int, W: int) -> int:
    try:
        whole = operator.index(padding)
    except TypeError:
        whole = -1
    if whole < 0:
        raise ValueError(f"expected a padding that is an integer of at least 0, got {padding!r}")
    if whole > max(H, W):
        raise ValueError(f"expected a padding of at most {max(H, W)} for images of {H} x {W}, got {padding}")
    return whole
