"""Scores by chance: the numbers that the generator draws, filter by filter."""

import numpy as np
import pytest

import nn
from nn.backend import to_numpy
from pruning.scores import chance


def net_of(dtype=np.float64):
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(2, 5, 3, rng, dtype=dtype), nn.ReLU(), nn.Conv2d(5, 7, 3, rng, dtype=dtype), nn.Flatten()]
    return nn.Sequential(*layers, nn.Linear(7, 3, rng, dtype=dtype))


def test_one_number_a_filter_in_the_order_of_the_names():
    for names in (["0.W", "2.W", "4.W"], ["4.W", "0.W"]):
        found, rng = chance.saliency(net_of(), np.random.default_rng(1), iter(names)), np.random.default_rng(1)
        assert list(found) == names
        for name, scores in found.items():
            np.testing.assert_array_equal(scores, rng.random({"0.W": 5, "2.W": 7, "4.W": 3}[name]))


def test_all_weights_unless_named_and_the_dtype_stays():
    found = chance.saliency(net_of(np.float32), np.random.default_rng(1))
    assert {name: scores.dtype for name, scores in found.items()} == dict.fromkeys(["0.W", "2.W", "4.W"], np.float32)


def test_on_every_library(library):
    drawn = chance.saliency(net_of().to(library.xp), np.random.default_rng(0), ["0.W"])["0.W"]
    np.testing.assert_array_equal(to_numpy(drawn), np.random.default_rng(0).random(5))


def test_a_seed_is_no_generator():
    with pytest.raises(TypeError, match=r"expected an np\.random\.Generator, .* got 0$"):
        chance.saliency(net_of(), 0)
