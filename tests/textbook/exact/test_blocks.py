"""Blocks of a vector against loops over them."""

import numpy as np

from textbook.exact.blocks import Blocks


def test_they_are_the_pieces_of_the_vector():
    rng = np.random.default_rng(0)
    blocks = Blocks(np.array([3, 1, 4]), np.array([0.5, 2.0, 1.0]))
    a, b = rng.standard_normal((2, 8))
    pieces = [slice(0, 3), slice(3, 4), slice(4, 8)]
    np.testing.assert_array_equal(blocks.starts, [0, 3, 4])
    np.testing.assert_allclose(blocks.dots(a, b), [a[g] @ b[g] for g in pieces], rtol=1e-14)
    np.testing.assert_allclose(blocks.norms(a), [np.linalg.norm(a[g]) for g in pieces], rtol=1e-14)
    np.testing.assert_array_equal(blocks.spread(blocks.lam), [0.5, 0.5, 0.5, 2, 1, 1, 1, 1])
    some = blocks.only(np.array([0, 2]))
    np.testing.assert_array_equal(some.sizes, [3, 4])
    np.testing.assert_array_equal(some.lam, [0.5, 1.0])
    np.testing.assert_array_equal(some.starts, [0, 3])
