"""Data sets of images: training and test part, with the batch last, made of what their files hold."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn.backend import Array


@dataclass(frozen=True, eq=False)
class DataSet:
    """Training and test part, each a pair (x, t): images x (C, H, W, N) batch last, labels t (N,) int64."""

    train: tuple[Array, Array]
    test: tuple[Array, Array]


def batch_last(images: Array) -> Array:
    """Return a new C-contiguous array with the batch, first axis of files and of PyTorch, as the last one.

    (N, H, W) becomes (1, H, W, N), (N, C, H, W) becomes (C, H, W, N), and a table (N, D) becomes (D, N).

    Raises
    ------
    ValueError
        If `images` has another number of axes, or is a list of images of several sizes.
    """
    try:
        images = np.asarray(images)
    except ValueError as error:
        raise ValueError(f"expected images of one size ({str(error).partition(' + ')[0]})") from None
    if images.ndim not in (2, 3, 4):
        raise ValueError(f"expected an array (N, D), (N, H, W) or (N, C, H, W), got one of shape {images.shape}")
    if images.ndim == 3:
        images = images[:, None]
    return np.array(np.moveaxis(images, 0, -1), order="C")


def _part(images: Array, labels: Array, scale: int, dtype: Any) -> tuple[Array, Array]:
    x = batch_last(images).astype(dtype)
    x /= scale
    return x, labels


def assemble_digits(parts: Sequence[Any], dtype: Any) -> DataSet:
    """The last 360 images are the test."""
    ((images, labels),) = parts
    n_train = 1437
    return DataSet(
        train=_part(images[:n_train], labels[:n_train], 16, dtype),
        test=_part(images[n_train:], labels[n_train:], 16, dtype),
    )


def assemble_mnist(parts: Sequence[Any], dtype: Any) -> DataSet:
    """Four files: images and labels of each part."""
    train_images, train_labels, test_images, test_labels = parts
    return DataSet(
        train=_part(train_images, train_labels, 255, dtype),
        test=_part(test_images, test_labels, 255, dtype),
    )


def assemble_usps(parts: Sequence[Any], dtype: Any) -> DataSet:
    """Two tables; the values as they are distributed."""
    (train_images, train_labels), (test_images, test_labels) = parts
    return DataSet(
        train=_part(train_images, train_labels, 1, dtype),
        test=_part(test_images, test_labels, 1, dtype),
    )


def assemble_cifar10(parts: Sequence[Any], dtype: Any) -> DataSet:
    """Five batches of training images, and the test batch."""
    *batches, (test_images, test_labels) = parts
    train_images, train_labels = (np.concatenate(arrays) for arrays in zip(*batches))
    return DataSet(
        train=_part(train_images, train_labels, 255, dtype),
        test=_part(test_images, test_labels, 255, dtype),
    )
