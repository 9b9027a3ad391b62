"""Random variants of training images, drawn anew for every minibatch: shifted by some pixels, mirrored.

Functions of a NumPy batch x (C, H, W, N) that return a new one of the same shape and dtype and leave x alone.  Every
image has its own draw from `rng`, so equal generators give equal batches.  For CIFAR-10 the usual choice is
`augment` on the training batches and nothing on the test images (He et al. 2016, Deep residual learning).
"""

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
    """
    _check(x)
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
        If x is no NumPy array with four axes, or the padding is no integer of at least 0.
    """
    _check(x)
    P = _checked_padding(padding)
    C, H, W, N = x.shape
    framed = np.pad(x, ((0, 0), (P, P), (P, P), (0, 0)))
    i, j = rng.integers(0, 2 * P + 1, size=(2, N))
    rows, columns = np.arange(H)[:, None, None] + i, np.arange(W)[:, None] + j  # (H, 1, N), (W, N)
    # One gather for all images, from each channel as a vector: framed[c, row, column, n] has the index below.
    return np.take(framed.reshape(C, -1), (rows * (W + 2 * P) + columns) * N + np.arange(N), axis=1)


def augment(x: Array, rng: np.random.Generator) -> Array:
    """Return x (C, H, W, N) cropped by `padded_crop` with four pixels of padding, then mirrored by `flip`."""
    return flip(padded_crop(x, rng), rng)


def _check(x: Array) -> None:
    if not isinstance(x, np.ndarray) or x.ndim != 4:
        found = f"one of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise ValueError(f"expected a NumPy array (C, H, W, N), got {found}")


def _checked_padding(padding: int) -> int:
    try:
        whole = operator.index(padding)
    except TypeError:
        whole = -1
    if whole < 0:
        raise ValueError(f"expected a padding that is an integer of at least 0, got {padding!r}")
    return whole
