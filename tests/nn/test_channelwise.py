"""One factor and one shift a channel: what the layers say of themselves is what they do."""

import numpy as np
import pytest

import nn
from nn import gradcheck


def norm(rng):
    layer = nn.BatchNorm(4)
    layer.gamma.data, layer.beta.data, layer.running_mean = rng.standard_normal((3, 4))
    layer.running_variance = rng.uniform(0.5, 2, 4)
    return layer


def subsampling(rng):
    layer = nn.Subsampling(4, 2, rng)
    layer.coefficient.data, layer.b.data = rng.standard_normal((2, 4))
    return layer


@pytest.mark.parametrize("make", [norm, subsampling])
def test_the_factor_is_the_slope_of_the_layer_in_eval_mode(make):
    """Before any forward pass, and for constant images, of which a mean is the constant."""
    layer = make(np.random.default_rng(0))
    factor = layer.factor()
    zero, one = (layer.eval().forward(np.full((4, 2, 2, 1), value))[:, 0, 0, 0] for value in (0.0, 1.0))
    assert isinstance(layer, nn.Channelwise) and factor.shape == (4,)
    assert gradcheck.relative_error(one - zero, factor) <= 1e-14


def test_the_factor_of_batch_norm_is_that_of_the_running_variance_in_train_mode_too():
    rng = np.random.default_rng(0)
    layer = norm(rng).train()
    layer.forward(rng.standard_normal((4, 9)))
    np.testing.assert_array_equal(layer.factor(), layer.gamma.data / np.sqrt(layer.running_variance + layer.eps))
    assert gradcheck.relative_error(layer.factor(), layer.scale()) > 1e-3


def test_a_layer_that_says_nothing_is_refused_in_one_sentence():
    class Silent(nn.Channelwise):
        channels = 3

    assert Silent().config() == {"channels": 3} and Silent().output_shape((3, 5, 5)) == (3, 5, 5)
    with pytest.raises(ValueError, match=r"Silent\(3\) expected 3 channels, got 4"):
        Silent().output_shape((4, 5, 5))
    with pytest.raises(ValueError, match=r"Silent does not say what it multiplies a channel with"):
        Silent().factor()


def test_evaluated_leaves_the_layer_as_it_is():
    rng = np.random.default_rng(0)
    layer, x = norm(rng).train(), rng.standard_normal((4, 5))
    before = dict(vars(layer))
    y = nn.module.evaluated(layer, x)
    assert vars(layer) == before and layer.training
    np.testing.assert_array_equal(y, layer.eval().forward(x))


def test_named_modules_are_the_modules_with_the_names_of_their_parameters():
    net = nn.models.resnet_cifar(8, None)
    named = dict(net.named_modules())
    assert list(named.values()) == list(net.modules()) and named[""] is net
    for name, parameter in net.named_parameters():
        layer, _, key = name.rpartition(".")
        assert getattr(named[layer], key) is parameter
    inside = dict(net.layers[0].named_modules("0"))
    assert next(iter(inside)) == "0"


def test_a_pool_is_no_part_of_the_layer_in_front():
    rng = np.random.default_rng(0)
    with pytest.raises(TypeError, match="expected a Conv2d or Linear and the BatchNorm behind it, got Conv2d and Sub"):
        nn.fold_pair(nn.Conv2d(2, 4, 1, rng), subsampling(rng))
