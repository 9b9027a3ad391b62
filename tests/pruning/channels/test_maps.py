"""Where a weight's map is emitted, and its values and gradients there, against layers called one by one."""

import copy

import numpy as np
import pytest

import nn
from pruning.channels import maps


def nested():
    rng = np.random.default_rng(0)
    body = nn.Sequential(nn.ReLU(), nn.Conv2d(3, 3, 3, rng, padding=1), nn.BatchNorm(3))
    concat = nn.Concat(nn.Sequential(nn.Conv2d(3, 2, 1, rng), nn.Tanh()), nn.Conv2d(3, 2, 1, rng))
    front = nn.Sequential(nn.Sequential(nn.Conv2d(2, 3, 3, rng), nn.BatchNorm(3)), nn.ReLU(), nn.Dropout(0.5, rng))
    head = [nn.BatchNorm(4), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(16, 4, rng)]
    net = nn.Sequential(front, nn.Residual(body), nn.ReLU(), concat, *head)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm):
            layer.running_mean = rng.standard_normal(layer.channels)
            layer.running_variance = rng.uniform(0.5, 2, layer.channels)
    return net, rng.standard_normal((2, 6, 6, 5)), rng.integers(0, 4, 5)


def test_a_map_is_emitted_behind_norm_and_activation_in_front_of_pools_sums_and_concatenations():
    net, _, _ = nested()
    expected = {"0.0.0.W": "0.2", "1.body.1.W": "1.body.2", "3.0.0.W": "3.0.1", "3.1.W": "3.1", "7.W": "7"}
    assert maps.emitters(net) == expected
    assert list(maps.emitters(net)) == list(expected), "in the order of the net"
    assert maps.emitters(net, iter(["7.W", "0.0.0.W"])) == {"7.W": "7", "0.0.0.W": "0.2"}
    pooled = nn.Sequential(nn.Conv2d(1, 2, 3, None), nn.Subsampling(2, 2, None), nn.Tanh())
    assert maps.emitters(pooled) == {"0.W": "0"}
    assert maps.emitters(nn.Linear(2, 3, None)) == {"W": ""}


def test_maps_are_those_of_eval_mode_batch_by_batch_and_the_net_stays_as_it_is():
    net, x, t = nested()
    net.train()
    before = copy.deepcopy(net)
    found = list(maps.maps(net, x, ["0.0.0.W"], batch_size=2))
    z = copy.deepcopy(net).eval().layers[0].forward(x)
    assert [each["0.0.0.W"].shape[-1] for each in found] == [2, 2, 1]
    np.testing.assert_allclose(np.concatenate([each["0.0.0.W"] for each in found], axis=-1), z, atol=1e-14)
    list(maps.maps_and_gradients(net, nn.SoftmaxCrossEntropy(), x, t))
    assert all(module.training for module in net.modules())
    for (name, one), (_, other) in zip(net.named_parameters(), before.named_parameters()):
        np.testing.assert_array_equal(one.data, other.data, err_msg=name)
        assert one.grad is None
    for (name, one), (_, other) in zip(net.named_buffers(), before.named_buffers()):
        np.testing.assert_array_equal(one, other, err_msg=name)


def test_gradients_are_those_of_single_patterns_whatever_the_batches():
    net, x, t = nested()
    net.eval()
    loss = nn.SoftmaxCrossEntropy()
    whole = next(maps.maps_and_gradients(net, loss, x, t))
    for n in range(5):
        (single,) = maps.maps_and_gradients(net, loss, x[..., n : n + 1], t[n : n + 1])
        for name, (z, g) in whole.items():
            np.testing.assert_allclose(single[name][0][..., 0], z[..., n], atol=1e-14)
            np.testing.assert_allclose(single[name][1][..., 0], g[..., n], atol=1e-14)
    parts = list(maps.maps_and_gradients(net, loss, x, t, batch_size=2))
    for name, (_, g) in whole.items():
        np.testing.assert_allclose(np.concatenate([part[name][1] for part in parts], axis=-1), g, atol=1e-14)


def test_bad_input_is_one_sentence():
    net, x, t = nested()
    with pytest.raises(ValueError, match=r"expected weights of filters or units, 0\.0\.0\.W, .*; 9\.W is not"):
        maps.emitters(net, ["9.W"])
    with pytest.raises(ValueError, match="there is none"):
        maps.emitters(net, [])
    with pytest.raises(ValueError, match="expected a list of names, got the string"):
        maps.emitters(net, "7.W")
    with pytest.raises(TypeError, match="expected a net, got list"):
        maps.emitters([net])
    with pytest.raises(ValueError, match="finite inputs"):
        next(maps.maps(net, x * np.nan))
    net.layers[1].body.layers[1].W.data[0] = np.inf
    for made in (maps.maps(net, x, ["1.body.1.W"]), maps.maps_and_gradients(net, nn.SoftmaxCrossEntropy(), x, t)):
        with np.errstate(all="ignore"), pytest.raises(ValueError, match=r"expected finite maps, .* of 1\.body\.1\.W"):
            next(made)
