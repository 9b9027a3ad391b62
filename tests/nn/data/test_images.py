"""The batch comes last, the values are scaled, and each set is put together in the right order."""

import re

import numpy as np
import pytest
from data_files import IMAGES

import nn
from nn.data.sources import DATA_SETS


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((4, 3, 5), (1, 3, 5, 4)), ((4, 2, 3, 5), (2, 3, 5, 4)), ((4, 3), (3, 4)), ((1, 3, 5), (1, 3, 5, 1))],
)
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_batch_last_moves_the_first_axis_to_the_end(shape, expected, dtype):
    images = np.arange(np.prod(shape)).reshape(shape).astype(dtype)
    x = nn.data.batch_last(images)
    assert x.shape == expected
    assert x.dtype == dtype
    assert x.flags.c_contiguous
    assert not np.shares_memory(x, images)
    for n in range(shape[0]):
        assert np.array_equal(x[..., n].ravel(), images[n].ravel())


@pytest.mark.parametrize("shape", [(), (4,), (4, 1, 2, 3, 5)])
def test_batch_last_refuses_other_shapes(shape):
    with pytest.raises(ValueError, match=rf"\(N, D\), \(N, H, W\) or \(N, C, H, W\).*{re.escape(str(shape))}"):
        nn.data.batch_last(np.zeros(shape))


def test_batch_last_takes_lists_but_not_of_several_sizes():
    assert nn.data.batch_last([[1, 2, 3], [4, 5, 6]]).tolist() == [[1, 4], [2, 5], [3, 6]]
    with pytest.raises(ValueError, match=r"^expected images of one size \(.*\)$"):
        nn.data.batch_last([[[1, 2]], [[1]]])
    for other in (None, 3, "abc"):
        with pytest.raises(ValueError, match=r"\(N, C, H, W\), got one of shape \(\)$"):
            nn.data.batch_last(other)


def test_digits_are_part_of_the_package():
    digits = nn.data.load("digits")
    for (x, t), N in [(digits.train, 1437), (digits.test, 360)]:
        assert x.shape == (1, 8, 8, N)
        assert x.dtype == np.float64
        assert x.flags.c_contiguous
        assert (x.min(), x.max()) == (0, 1)
        assert np.array_equal(16 * x, np.round(16 * x))
        assert t.shape == (N,)
        assert t.dtype == np.int64
    assert digits.train[1][:4].tolist() == [0, 1, 2, 3]
    assert (16 * digits.train[0][0, 0, :, 0]).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    counts = np.bincount(digits.train[1]), np.bincount(digits.test[1])
    assert counts[1].tolist() == [35, 36, 35, 37, 37, 37, 37, 36, 33, 37]
    assert (counts[0] + counts[1]).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_digits_in_float32_are_the_same_numbers():
    for part, single in zip(
        (nn.data.load("digits").train, nn.data.load("digits").test),
        (nn.data.load("digits", dtype="float32").train, nn.data.load("digits", dtype=np.float32).test),
    ):
        assert single[0].dtype == np.float32
        assert np.array_equal(part[0], single[0])  # sixteenths have no rounding
        assert np.array_equal(part[1], single[1])


def test_data_set_is_frozen_and_compared_by_identity():
    digits = nn.data.load("digits")
    with pytest.raises(AttributeError):
        digits.train = None
    assert digits != nn.data.load("digits")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_mnist_is_divided_by_255_and_usps_stays_as_it_is(dtype):
    other, four, two = np.zeros((2, 3, 5), dtype=np.uint8), np.array([3, 0, 9, 1]), np.array([5, 8])
    mnist = DATA_SETS["mnist"].assemble([IMAGES.astype(np.uint8), four, other, two], dtype)
    usps = DATA_SETS["usps"].assemble([(IMAGES / 64, four), (other, two)], dtype)
    for data, scale in [(mnist, 255), (usps, 64)]:
        (x, t), (x_test, t_test) = data.train, data.test
        assert x.dtype == x_test.dtype == dtype
        assert x.shape == (1, 3, 5, 4)
        assert x_test.shape == (1, 3, 5, 2)
        assert np.array_equal(x[0, 2, 1], IMAGES[:, 2, 1].astype(dtype) / dtype(scale))
        assert (t.tolist(), t_test.tolist()) == ([3, 0, 9, 1], [5, 8])
