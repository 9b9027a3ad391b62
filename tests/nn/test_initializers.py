import math

import numpy as np
import pytest

import nn
from nn import initializers


@pytest.mark.parametrize(
    ("init", "variance"),
    [
        (initializers.he_normal, 2 / 600),
        (initializers.lecun_normal, 1 / 600),
        (initializers.lecun_uniform_1990, (2.4 / 600) ** 2 / 3),
    ],
)
def test_mean_and_variance(init, variance):
    W = init((400, 600), np.random.default_rng(0))
    assert abs(W.mean()) < 4 * math.sqrt(variance / W.size)
    assert W.var() == pytest.approx(variance, rel=0.02)


def test_convolution_shapes_use_the_receptive_field():
    assert initializers.he_normal((400, 6, 10, 10), np.random.default_rng(0)).var() == pytest.approx(2 / 600, rel=0.02)


def test_float32_and_float64_start_equal():
    a, b = (nn.models.mlp((3, 5, 4), np.random.default_rng(0), dtype=dtype) for dtype in (np.float64, np.float32))
    for p, q in zip(a.parameters(), b.parameters()):
        np.testing.assert_array_equal(p.data.astype(np.float32), q.data)


def test_biases_start_at_zero():
    assert not nn.Linear(3, 5, np.random.default_rng(0)).b.data.any()


DRAWN = [initializers.he_normal, initializers.lecun_normal, initializers.lecun_uniform_1990]


@pytest.mark.parametrize("init", DRAWN)
@pytest.mark.parametrize("rng", [0, None, "0", np.random])
def test_a_seed_in_the_place_of_a_generator_is_refused(init, rng):
    with pytest.raises(
        TypeError, match=r"expected an np\.random\.Generator, for instance np\.random\.default_rng\(0\), got"
    ):
        init((3, 4), rng)
    if rng is not None:
        for layer in (lambda: nn.Linear(3, 4, rng), lambda: nn.Conv2d(1, 2, 3, rng), lambda: nn.Dropout(0.5, rng)):
            with pytest.raises(
                TypeError, match=r"for instance np\.random\.default_rng\(0\) \(or None for an outline\), got"
            ):
                layer()


@pytest.mark.parametrize("init", DRAWN)
@pytest.mark.parametrize("shape", [(3, 0), (3, -4), (3, 2.5), (0, 4), ("3", 4)])
def test_sizes_that_are_none_are_refused(init, shape):
    with pytest.raises(ValueError, match="positive integers as the sizes of a weight, got "):
        init(shape, np.random.default_rng(0))
