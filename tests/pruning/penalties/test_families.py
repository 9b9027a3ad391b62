"""Which weights live and die together: what belongs to a group, and what belongs to none."""

import numpy as np
import pytest

import nn
from pruning.penalties import families, group_lasso


def test_scale_and_shift_are_found_by_the_channels_and_not_by_where_they_stand():
    rng = np.random.default_rng(0)
    # Behind a pool; behind the end of a Sequential; behind a sum (not of this layer alone); of an MLP.
    body = nn.Sequential(nn.Conv2d(4, 4, 3, rng, padding=1), nn.AvgPool2d(1), nn.BatchNorm(4), nn.ReLU())
    net = nn.Sequential(
        nn.Sequential(nn.Conv2d(2, 4, 3, rng)),
        nn.BatchNorm(4),
        nn.ReLU(),
        nn.Residual(nn.Sequential(body, nn.Conv2d(4, 4, 1, rng))),
        nn.BatchNorm(4),
        nn.Flatten(),
        nn.Linear(64, 5, rng),
        nn.BatchNorm(5),
        nn.ReLU(),
        nn.Linear(5, 3, rng),
    )
    for name, norm in (("0.0.W", "1"), ("3.body.0.0.W", "3.body.0.2"), ("6.W", "7")):
        assert set(families.filters(net, name, 1).axes) == {name, f"{norm}.gamma", f"{norm}.beta"}
    assert set(families.layer(net, "3.body.1.W", 1).axes) == {"3.body.1.W"}
    assert families.neurons(net, "6.W", "9.W", 1).axes == {"6.W": (0,), "7.gamma": (0,), "7.beta": (0,), "9.W": (1,)}


def test_a_norm_over_channels_of_several_layers_belongs_to_no_filter():
    rng = np.random.default_rng(0)
    branches = nn.Concat(nn.Conv2d(2, 3, 3, rng), nn.Conv2d(2, 4, 3, rng))
    net = nn.Sequential(branches, nn.BatchNorm(7), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(7, 2, rng))
    for family in (families.filters, families.layer):
        with pytest.raises(ValueError, match=r"^1 normalises what 0\.1 makes together with other channels"):
            family(net, "0.1.W", 0.1)


def test_a_neuron_is_what_enters_it_and_what_leaves_it():
    net = nn.models.mlp((6, 4, 3), np.random.default_rng(0))
    family = families.neurons(net, "1.W", "3.W", 0.2)
    W1, W2 = net.layers[1].W.data, net.layers[3].W.data
    expected = np.sqrt(np.sum(W1**2, axis=1) + np.sum(W2**2, axis=0))
    np.testing.assert_allclose(families.norms({"1.W": W1, "3.W": W2}, family), expected, rtol=1e-14)


def test_channels_of_grouped_convolutions_and_neurons_of_others_are_refused():
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(2, 4, 3, rng), nn.Conv2d(4, 4, 3, rng, groups=2), nn.Conv2d(4, 4, 1, rng, columns=[0, 2])]
    net = nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(4, 4, rng), nn.ReLU(), nn.Linear(4, 3, rng))
    for name in ("1.W", "2.W"):
        with pytest.raises(ValueError, match=rf"^{name}\[:, c\] does not belong to one channel"):
            families.channels(net, name, 0.1)
    with pytest.raises(ValueError, match=r"6\.W does not read what 0\.W makes"):
        families.neurons(net, "0.W", "6.W", 0.1)
    with pytest.raises(ValueError, match=r"1\.W\[:, c\] does not belong"):
        families.neurons(net, "0.W", "1.W", 0.1)
    assert families.channels(net, "4.W", 0.1).axes == {"4.W": (1,)}


def test_groups_are_not_weighted_unless_asked_for():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3, rng), nn.ReLU(), nn.Conv2d(3, 4, 1, rng))
    made = [make(net, "2.W", 0.1) for make in (families.filters, families.channels, families.columns)]
    made += [families.kernels(net, "2.W", 0.1), families.layer(net, "2.W", 0.1)]
    made += [families.neurons(net, "0.W", "2.W", 0.1), families.Family({"2.W": (0,)}, 0.1)]
    weights = {name: p.data for name, p in net.named_parameters()}
    for family in made:
        assert family.weighted is False and families.scales(weights, family) == 1.0
    for make in (families.filters, families.channels, families.columns, families.kernels, families.layer):
        assert make(net, "2.W", 0.1, weighted=True).weighted is True


def test_axes_may_be_a_list():
    family = families.Family({"0.W": [0, 2]}, 1)
    assert families.norms({"0.W": np.ones((2, 3, 4))}, family).shape == (2, 4)


def test_strengths_are_kept_as_floats():
    for strength in (np.float64(0.1), np.float32(0.5), np.int64(2), 1, True):
        family = families.Family({"0.W": (0,)}, strength)
        assert type(family.strength) is float and family.strength == strength


def test_the_penalty_names_the_families_it_is_made_of():
    for name in ("Family", "filters", "channels", "columns", "kernels", "layer", "neurons", "norms", "scales"):
        assert getattr(group_lasso, name) is getattr(families, name)


@pytest.mark.parametrize("axes", [["0.W"], None, {}, {"0.W": 0}, {"0.W": (0.0,)}, {"0.W": None}, {"0.W": "0"}])
def test_axes_of_the_wrong_kind_are_one_sentence(axes):
    with pytest.raises(TypeError, match=r"expected axes by the name of a parameter, .* got "):
        families.Family(axes, 0.1)
