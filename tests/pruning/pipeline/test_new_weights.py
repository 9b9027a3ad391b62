"""Weights drawn anew in a small net or under a mask: distributions, what starts at one and zero, what stays."""

import math

import numpy as np
import pytest

import nn
from nn.initializers import lecun_normal
from pruning import masks, surgery
from pruning.experiments import setup
from pruning.pipeline import redrawn


def trained(rng, widths=(12, 16, 16)):
    """A net whose numbers are all unlike those of a new one."""
    net = setup.three_convolutions(widths, rng)
    for _, parameter in net.named_parameters():
        parameter.data = parameter.data + 3
    net.train().forward(rng.standard_normal((1, 8, 8, 20)) + 5)
    return net.eval()


def test_nothing_of_the_training_is_left_and_the_net_itself_stays():
    net = trained(np.random.default_rng(0))
    before = {name: np.array(p.data) for name, p in [*net.named_parameters()]}
    new = redrawn(net, np.random.default_rng(1))
    for name, parameter in new.named_parameters():
        kind = name.rpartition(".")[2]
        if kind == "W":
            deviation = math.sqrt(2 / math.prod(parameter.shape[1:]))
            assert abs(parameter.data.mean()) < 4 * deviation / math.sqrt(parameter.data.size)
            assert parameter.data.std() == pytest.approx(deviation, rel=4 / math.sqrt(2 * parameter.data.size))
        else:
            assert np.all(parameter.data == (1 if kind == "gamma" else 0))
    for name, buffer in new.named_buffers():
        assert np.all(buffer == (1 if name.endswith("variance") else 0))
    assert all(np.array_equal(p.data, before[name]) for name, p in net.named_parameters())


def test_a_small_net_is_drawn_with_its_own_fan_in_not_that_of_the_net_that_it_was_cut_from():
    net = trained(np.random.default_rng(0), (64, 64, 64))
    small = surgery.remove(net, {"0.W": range(16), "3.W": range(16)})
    W = dict(redrawn(small, np.random.default_rng(1)).named_parameters())["3.W"].data
    assert W.std() == pytest.approx(math.sqrt(2 / (16 * 9)), rel=0.06)


@pytest.mark.parametrize("density", [False, True])
def test_the_mask_stays_and_with_density_the_variance_is_that_of_the_weights_left(density):
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(400, 300, rng), nn.ReLU(), nn.Linear(300, 10, rng))
    mask = (rng.random((300, 400)) < 0.05) * 1.0
    masks.apply(net, {"0.W": mask})
    W = dict(redrawn(net, np.random.default_rng(1), density=density).named_parameters())["0.W"]
    assert np.array_equal(W.mask, mask) and np.array_equal(W.data != 0, mask == 1)
    expected = 2 / 400 / (mask.mean() if density else 1)
    assert W.data[mask == 1].var() == pytest.approx(expected, rel=0.08)


def test_with_density_a_masked_layer_keeps_the_size_of_what_goes_through_it():
    """He's condition, measured: the mean square of the pre-activation is twice that of the rectified input."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(2000, 500, rng))
    masks.apply(net, {"0.W": (rng.random((500, 2000)) < 0.1) * 1.0})
    x = np.maximum(rng.standard_normal((2000, 50)), 0)
    sizes = {d: np.mean(redrawn(net, np.random.default_rng(1), density=d).forward(x) ** 2) for d in (False, True)}
    assert sizes[True] == pytest.approx(2 * np.mean(x * x), rel=0.05)
    assert sizes[False] == pytest.approx(0.2 * np.mean(x * x), rel=0.05)


def test_draws_are_those_of_the_generator_in_the_dtype_of_the_net():
    net = nn.models.mlp((8, 5, 3), np.random.default_rng(0), dtype=np.float32)
    new = redrawn(net, np.random.default_rng(7), lecun_normal)
    rng = np.random.default_rng(7)
    for (_, ours), shape in zip(masks.prunable(new).items(), [(5, 8), (3, 5)]):
        assert ours.data.dtype == np.float32
        assert np.array_equal(ours.data, lecun_normal(shape, rng).astype(np.float32))


def test_scales_start_at_one_and_a_layer_without_bias_has_none():
    net = nn.Sequential(nn.Linear(4, 3, np.random.default_rng(0), bias=False), nn.Scale(3, groups=3))
    scale = dict(net.named_parameters())["1.s"]
    scale.data = scale.data * 7
    new = dict(redrawn(net, np.random.default_rng(0)).named_parameters())
    assert sorted(new) == ["0.W", "1.s"] and np.all(new["1.s"].data == 1)


def test_what_cannot_be_drawn_anew_is_refused_in_one_sentence():
    rng = np.random.default_rng(0)
    net = nn.models.mlp((8, 5, 3), rng)
    with pytest.raises(TypeError, match=r"expected an np\.random.Generator"):
        redrawn(net, 3)
    with pytest.raises(ValueError, match=r"got an outline: 1\.W has only a shape"):
        redrawn(nn.models.mlp((8, 5, 3), None), rng)
    masks.apply(net, {"1.W": np.ones((5, 8))})
    dict(net.named_parameters())["1.W"].mask *= 0
    with pytest.raises(ValueError, match=r"expected a mask that leaves some of 1\.W"):
        redrawn(net, rng)
    with pytest.raises(ValueError, match="whose start is not known"):
        redrawn(nn.Sequential(nn.Embedding(7, 4, rng)), rng)
