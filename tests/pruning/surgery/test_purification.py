import copy
import math

import numpy as np
import pytest
from hypothesis import given, settings
from random_nets import RandomNet, choices

import nn
from pruning import masks, surgery
from pruning.surgery.purification import Thresholds, guided, purify


def small_net(seed=0, filters=(4, 5), hidden=6):
    return nn.models.lenet5(np.random.default_rng(seed), size=16, classes=3, filters=filters, hidden=hidden)


def weight(net, name):
    return dict(net.named_parameters())[name]


def images(seed=1):
    return np.random.default_rng(seed).random((1, 16, 16, 3))


def test_weak_columns_go_and_strong_ones_stay():
    net = small_net()
    W = weight(net, "2.W").data
    energies = np.sum(W.reshape(5, -1) ** 2, axis=0)
    limit = np.sort(energies)[30]
    found = purify(net, {"2.W": Thresholds(column=limit)})
    np.testing.assert_array_equal(found["2.W"].reshape(5, -1), np.tile(energies >= limit, (5, 1)))
    for name in ("0.W", "5.W", "7.W"):
        assert found[name].all()


def one_strong_column():
    """Channel 1 of the second convolution: one column of energy 100, all others weak."""
    net = small_net()
    W = weight(net, "2.W")
    W.data = np.ones(W.shape)  # energy 5 a column
    W.data[:, 1] = 1e-3
    W.data[:, 1, 2, 2] = [10, 0, 0, 0, 0]
    return net


def test_eta_and_sigma_are_taken_over_all_columns_of_a_channel():
    net = one_strong_column()
    weak = Thresholds(column=1e-2, fullness=0.1, energy=5.0)  # eta = 1/25 < 0.1, sigma = 100/25 = 4 < 5: goes
    assert not purify(net, {"2.W": weak})["2.W"][:, 1].any()
    for kept in (Thresholds(1e-2, 0.03, 5.0), Thresholds(1e-2, 0.1, 3.9)):  # either is enough to stay
        mask = purify(net, {"2.W": kept})["2.W"][:, 1]
        assert mask[:, 2, 2].all() and mask.sum() == 5


def literal(W, Th1, Th2, Th3):
    """Algorithm 1 as printed: (8) and (9) are calculated 'for k with ||column_k||^2 < Th1', over those alone."""
    gone = []
    for j in range(W.shape[1]):
        energies = np.sum(W[:, j].reshape(len(W), -1) ** 2, axis=0)
        weak = energies[energies < Th1]
        if not weak.size:
            continue  # nothing is calculated for this channel, and nothing is compared
        eta, sigma = np.count_nonzero(weak) / len(energies), weak.sum() / len(energies)
        if eta < Th2 and sigma < Th3:
            gone.append(j)
    return gone


def test_read_to_the_letter_the_strongest_channel_goes_and_no_other():
    net = small_net()
    W = weight(net, "2.W")
    W.data = np.ones(W.shape)  # the columns of the other channels have an energy of 5: none is weak
    W.data[:, 1] = 0
    W.data[:, 1, 2, 2] = [100, 0, 0, 0, 0]
    energies = np.sum(W.data.reshape(5, 4, 25) ** 2, axis=(0, 2))
    assert energies.tolist() == [125, 10000, 125, 125]
    assert literal(W.data, 1e-2, 0.03, 1.0) == [1]
    expected = np.ones(W.shape)
    expected[:, 1] = 0
    expected[:, 1, 2, 2] = 1  # eta = 1/25 and sigma = 400, each enough to stay
    found = purify(net, {"2.W": Thresholds(1e-2, 0.03, 1.0)})
    np.testing.assert_array_equal(found["2.W"], expected)
    assert found["0.W"].all()


def test_the_channels_of_the_data_and_the_outputs_are_not_for_the_thresholds_to_take():
    net = small_net()
    weight(net, "7.W").data[1] *= 1e-4
    above_all = {"channels": Thresholds(fullness=2.0, energy=1e9), "filters": Thresholds(filter=1e9)}
    for name, kind in (("0.W", "channels"), ("7.W", "filters")):
        assert all(mask.all() for mask in purify(net, {name: above_all[kind]}).values())
    for name, kind in (("2.W", "channels"), ("7.W", "channels"), ("0.W", "filters"), ("5.W", "filters")):
        with pytest.raises(ValueError, match="would set all weights of"):
            purify(net, {name: above_all[kind]})


def test_a_channel_that_goes_takes_its_filter_and_a_filter_that_goes_leaves_its_constant():
    net = one_strong_column()
    net.layers[0].b.data = np.random.default_rng(2).standard_normal(4)
    net.layers[2].b.data = np.random.default_rng(3).standard_normal(5)
    found = purify(net, {"2.W": Thresholds(1e-2, 0.1, 5.0)})
    assert not found["0.W"][1].any() and found["0.W"][[0, 2, 3]].all()
    net = small_net()
    net.layers[2].b.data = np.random.default_rng(3).standard_normal(5)
    weight(net, "2.W").data[3] *= 1e-4
    found = purify(net, {"2.W": Thresholds(filter=1e-3)})
    assert not found["2.W"][3].any() and found["5.W"].all()  # its map is its bias now, and the next layer reads it
    masks.apply(net, found)
    x = images()
    before = net.eval().forward(x)
    small = surgery.remove_unused_paths(net, (1, 16, 16))
    assert small.layers[2].W.shape[0] == 4
    np.testing.assert_allclose(small.eval().forward(x), before, rtol=1e-12)


def test_columns_that_read_dead_maps_do_not_keep_a_filter_alive():
    net = small_net(filters=(2, 3))
    weight(net, "0.W").data[0] = 0
    W = weight(net, "2.W")
    W.data[1, 1] = 1e-4  # strong on the dead map, weak on the live one
    W.data[1, 0] = 10
    found = purify(net, {"2.W": Thresholds(filter=1e-3)})
    assert not found["2.W"][1].any() and found["2.W"][[0, 2]].all()


def sparse_net(seed):
    rng = np.random.default_rng(seed)
    net = small_net(seed, (8, 10))
    for name in ("0.W", "2.W", "5.W", "7.W"):
        W = weight(net, name)
        W.data = W.data * (rng.random(W.shape) < 0.5)
    for name in ("0.b", "2.b", "5.b", "7.b"):
        weight(net, name).data = rng.standard_normal(weight(net, name).shape)
    weight(net, "0.W").data[0] = weight(net, "2.W").data[1] = weight(net, "2.W").data[:, 2] = 0
    weight(net, "5.W").data[4] = 0
    return net


@pytest.mark.parametrize("seed", range(5))
def test_with_all_thresholds_zero_the_function_is_the_same(seed):
    net, x = sparse_net(seed), images(seed)
    before = net.eval().forward(x)
    masks.apply(net, purify(net, Thresholds()))
    np.testing.assert_allclose(net.forward(x), before, rtol=1e-12)
    small = surgery.remove_unused_paths(net, (1, 16, 16))
    np.testing.assert_allclose(small.eval().forward(x), before, rtol=1e-12)
    assert sum(p.data.size for p in small.parameters()) < sum(p.data.size for p in net.parameters())


@settings(max_examples=30)
@given(*choices())
def test_with_all_thresholds_zero_every_net_keeps_its_function(blocks, activation, flatten, seed):
    built = RandomNet(blocks, activation, flatten, np.random.default_rng(seed))
    net, rng = built.net, np.random.default_rng(seed)
    for name, parameter in masks.prunable(net).items():
        W = parameter.data = parameter.data * (rng.random(parameter.shape) < 0.7)
        W[rng.random(len(W)) < 0.3] = 0
        W[:, rng.random(W.shape[1]) < 0.3] = 0
        if rng.random() < 0.1 and name != list(masks.prunable(net))[-1]:
            W[:] = 0  # a whole layer: purification has not emptied it, and does not refuse
    x = rng.standard_normal((*built.input_shape, 2))
    before = net.forward(x)
    found = purify(net, Thresholds())
    masks.apply(net, found)
    assert np.abs(net.forward(x) - before).max() <= 1e-12 * np.abs(before).max()
    for name, mask in purify(net, Thresholds()).items():
        np.testing.assert_array_equal(mask, found[name])


def test_a_block_that_adds_nothing_may_lose_the_layers_that_nobody_reads():
    net = residual_net("identity")
    net.layers[1].body.layers[2].W.data[:] = 0
    x = np.random.default_rng(1).standard_normal((2, 6, 6, 3))
    before = net.eval().forward(x)
    found = purify(net, Thresholds())
    assert not found["1.body.0.W"].any() and found["0.W"].all()
    masks.apply(net, found)
    np.testing.assert_array_equal(net.forward(x), before)


def rule(*values):
    return {"2.W": Thresholds(*values), "5.W": Thresholds(values[0])}


@pytest.mark.parametrize("seed", range(5))
def test_purification_is_idempotent_and_grows_with_every_threshold(seed):
    net = sparse_net(seed)
    once = purify(net, rule(0.01, 0.95, 0.03, 0.2))
    again = copy.deepcopy(net)
    masks.apply(again, once)
    for name, mask in purify(again, rule(0.01, 0.95, 0.03, 0.2)).items():
        np.testing.assert_array_equal(mask, once[name])
    kept = sum(mask.sum() for mask in once.values())
    assert kept < sum(weight(net, name).data.size for name in once)
    base = (0.01, 0.95, 0.03, 0.2)
    for larger in ((0.012, *base[1:]), (0.01, 0.97, 0.03, 0.2), (0.01, 0.95, 0.032, 0.2), (*base[:3], 0.3)):
        assert all((mask <= once[name]).all() for name, mask in purify(net, rule(*larger)).items())


def residual_net(shortcut):
    rng = np.random.default_rng(0)
    width, way = {"identity": (4, None), "zero-padded": (6, nn.ZeroPadShortcut(2))}[shortcut]
    body = nn.Sequential(nn.Conv2d(4, 5, 3, rng, padding=1), nn.ReLU(), nn.Conv2d(5, width, 3, rng, padding=1))
    head = nn.ReLU(), nn.Flatten(), nn.Linear(width * 16, 3, rng)
    return nn.Sequential(nn.Conv2d(2, 4, 3, rng), nn.Residual(body, way), *head)


@pytest.mark.parametrize("shortcut", ["identity", "zero-padded"])
def test_a_shortcut_reads_too(shortcut):
    net = residual_net(shortcut)
    x = np.random.default_rng(1).standard_normal((2, 6, 6, 3))
    net.layers[1].body.layers[0].W.data[:, 1] = 0  # the body does not read channel 1, the shortcut does
    net.layers[1].body.layers[2].W.data[2] = 0  # the body adds nothing to channel 2, the shortcut does
    before = net.eval().forward(x)
    found = purify(net, Thresholds())
    masks.apply(net, found)
    np.testing.assert_allclose(net.forward(x), before, rtol=1e-12)
    assert found["0.W"].all()


def test_what_a_zero_padded_shortcut_brings_keeps_a_filter_alive():
    rng = np.random.default_rng(0)
    body = nn.Conv2d(4, 6, 3, rng, padding=1)
    first, second = nn.Conv2d(2, 4, 3, rng), nn.Conv2d(6, 5, 3, rng)
    block = nn.Residual(body, nn.ZeroPadShortcut(2))
    net = nn.Sequential(first, block, nn.ReLU(), second, nn.ReLU(), nn.Flatten(), nn.Linear(20, 3, rng))
    body.W.data[[1, 5]] = 0  # channel 1 comes by the shortcut alone, channel 5 is zero
    second.W.data[2, [0, 2, 3, 4, 5]] = 0  # filter 2 reads channel 1 alone
    second.W.data[3, :5] = 0  # filter 3 reads channel 5 alone
    x = rng.standard_normal((2, 6, 6, 3))
    before = net.forward(x)
    found = purify(net, {"3.W": Thresholds(filter=1e-3)})
    assert [bool(mask.any()) for mask in found["3.W"]] == [True, True, True, False, True]
    assert found["3.W"][2, 1].all() and found["0.W"].all()
    masks.apply(net, found)
    np.testing.assert_allclose(net.forward(x), before, rtol=1e-12)


def test_a_depthwise_convolution_of_zeros_does_not_kill_the_data():
    rng = np.random.default_rng(0)
    depthwise, other = nn.Conv2d(2, 2, 3, rng, groups=2), nn.Conv2d(2, 4, 3, rng)
    depthwise.W.data[:] = 0  # what it makes is tied to the channels of the data, which the other branch reads
    other.W.data[3] *= 1e-4
    net = nn.Sequential(nn.Concat(depthwise, other), nn.Flatten(), nn.Linear(6 * 16, 3, rng))
    (name,) = [name for name, parameter in net.named_parameters() if parameter is other.W]
    assert [bool(mask.any()) for mask in purify(net, {name: Thresholds(filter=1e-3)})[name]] == [
        True,
        True,
        True,
        False,
    ]


def test_masks_are_taken_into_account_and_the_net_is_left_alone():
    net = small_net()
    mask = np.ones(weight(net, "2.W").shape)
    mask[:, 1] = 0
    weight(net, "2.W").mask = mask
    before = {name: p.data.copy() for name, p in net.named_parameters()}
    found = purify(net, Thresholds())
    assert not found["2.W"][:, 1].any() and not found["0.W"][1].any()
    for name, p in net.named_parameters():
        np.testing.assert_array_equal(p.data, before[name])
    assert weight(net, "2.W").mask is mask and weight(net, "0.W").mask is None


def test_guided_thresholds_drop_as_many_columns_as_the_tolerance_allows():
    net, x = small_net(), images()
    before = {name: p.data.copy() for name, p in net.named_parameters()}
    reference = net.eval().forward(x)

    def measure(each):
        return float(np.sum((each.eval().forward(x) - reference) ** 2))

    tolerance = 0.05 * float(np.sum(reference**2))
    found = guided(net, measure, tolerance, ["2.W"])
    for name, p in net.named_parameters():
        np.testing.assert_array_equal(p.data, before[name])
    columns = np.sum(before["2.W"].reshape(5, -1) ** 2, axis=0)
    limit = found["2.W"].column
    assert 0 < (columns < limit).sum() < len(columns)

    def cost(threshold):
        weight(net, "2.W").data = (before["2.W"].reshape(5, -1) * (columns >= threshold)).reshape(before["2.W"].shape)
        return measure(net)

    assert cost(limit) <= tolerance < cost(np.sort(columns)[np.searchsorted(np.sort(columns), limit) + 1])


def test_guided_thresholds_are_measured_as_purification_drops_the_columns_of_groups():
    rng = np.random.default_rng(0)
    layers = [nn.Conv2d(2, 4, 3, rng), nn.ReLU(), nn.Conv2d(4, 4, 3, rng, groups=2), nn.Flatten()]
    net = nn.Sequential(*layers, nn.Linear(16, 3, rng))
    x = rng.standard_normal((2, 6, 6, 5))
    reference = net.forward(x)

    def measure(each):
        return float(np.sum((each.forward(x) - reference) ** 2))

    tolerance = 0.05 * float(np.sum(reference**2))
    found = purify(net, guided(net, measure, tolerance, ["2.W"]))
    assert 0 < (found["2.W"] == 0).sum() < found["2.W"].size
    masks.apply(net, found)
    assert measure(net) <= tolerance


def test_guided_thresholds_together_leave_something_of_every_layer():
    halved = 0
    for seed in range(12):
        rng = np.random.default_rng(seed)
        net = nn.models.lenet5(rng, size=16, filters=(3, 4), hidden=5)
        x = rng.random((1, 16, 16, 6))
        reference = net.eval().forward(x)

        def measure(each, x=x, reference=reference):
            return float(np.sum((each.forward(x) - reference) ** 2))

        together = guided(net, measure, 0.5 * float(np.sum(reference**2)))
        alone = {name: guided(net, measure, 0.5 * float(np.sum(reference**2)), [name])[name] for name in together}
        factors = {together[name].column / alone[name].column for name in alone if alone[name].column}
        assert len(factors) <= 1 and all(np.log2(factor) % 1 == 0 for factor in factors)
        halved += factors not in (set(), {1.0})
        assert all(mask.any() for mask in purify(net, together).values())
    assert 0 < halved < 12


def test_a_measure_that_fails_leaves_the_net_as_it_was():
    net = small_net()
    before, calls = weight(net, "2.W").data, []

    def measure(_):
        calls.append(None)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return 0.0

    with pytest.raises(KeyboardInterrupt):
        guided(net, measure, 0.1, ["2.W"])
    assert weight(net, "2.W").data is before


def test_bad_input_is_one_sentence():
    net = small_net()
    for value in (-1.0, math.nan, math.inf):
        with pytest.raises(ValueError, match="threshold of 0 or more for energy"):
            Thresholds(energy=value)
    with pytest.raises(ValueError, match=r"9\.W makes no channels; expected some of 0\.W, 2\.W, 5\.W, 7\.W"):
        purify(net, {"9.W": Thresholds()})
    before = [p.data.copy() for p in net.parameters()]
    with pytest.raises(ValueError, match=r"would set all weights of 2\.W to zero"):
        purify(net, {"2.W": Thresholds(column=1e9)})
    for p, b in zip(net.parameters(), before):
        np.testing.assert_array_equal(p.data, b)
    with pytest.raises(ValueError, match="tolerance of 0 or more"):
        guided(net, lambda net: 0.0, -1)
    with pytest.raises(ValueError, match="a net with a finite loss, got nan"):
        guided(net, lambda net: math.nan, 0.1)
    with pytest.raises(ValueError, match=r"0\.b makes no channels; expected some of 0\.W"):
        guided(net, lambda net: 0.0, 0.1, ["0.b"])


def test_the_same_on_three_libraries(library):
    net = sparse_net(0)
    expected = purify(net, rule(0.01, 0.95, 0.03, 0.2))
    net.to(library.xp)
    for name, mask in purify(net, rule(0.01, 0.95, 0.03, 0.2)).items():
        np.testing.assert_array_equal(nn.backend.to_numpy(mask), expected[name])


def test_a_map_that_dies_during_purification_counts_as_dead():
    """The weak filter goes by Th4; its map is dead then, and the strong column that reads it keeps nothing alive."""
    net = small_net(filters=(2, 3))
    weight(net, "0.W").data[0] = 1e-4
    W = weight(net, "2.W")
    W.data[1, 1] = 1e-4  # strong on the map that dies, weak on the other
    W.data[1, 0] = 10
    found = purify(net, {"0.W": Thresholds(filter=1e-3), "2.W": Thresholds(filter=1e-3)})
    assert not found["0.W"][0].any() and found["0.W"][1].all()
    assert not found["2.W"][1].any() and found["2.W"][[0, 2]].all()
    alone = purify(net, {"2.W": Thresholds(filter=1e-3)})
    assert alone["2.W"][1].any()


@pytest.mark.parametrize("eta", [0.12, np.nextafter(0.12, 1)])
@pytest.mark.parametrize("sigma", [4.0, np.nextafter(4.0, 5)])
def test_a_channel_goes_only_with_eta_and_sigma_below_their_thresholds(eta, sigma):
    net = small_net()
    W = weight(net, "2.W")
    W.data = np.ones(W.shape)
    W.data[:, 1] = 0
    W.data[:, 1, 2, 2:5] = [[5, 4, 3], [3, 3, 4], [1, 3, 1], [0, 1, 1], [1, 1, 1]]
    assert np.sum(W.data[:, 1] ** 2) == 100  # three columns of 25: eta = 0.12, sigma = 4
    gone = not purify(net, {"2.W": Thresholds(fullness=eta, energy=sigma)})["2.W"][:, 1].any()
    assert gone == (eta > 0.12 and sigma > 4)


def test_a_column_or_filter_exactly_at_its_threshold_stays():
    net = small_net()
    W = weight(net, "2.W")
    W.data = np.ones(W.shape)
    W.data[:, 1, 0, 0] = [1, 1, 1, 1, 0]
    for limit, stays in ((4.0, True), (np.nextafter(4.0, 5), False)):
        assert purify(net, {"2.W": Thresholds(column=limit)})["2.W"][:, 1, 0, 0].any() == stays
    W.data = np.ones(W.shape)
    W.data[3] = 0
    W.data[3, :, 0, 0] = 1
    for limit, stays in ((4.0, True), (np.nextafter(4.0, 5), False)):
        assert purify(net, {"2.W": Thresholds(filter=limit)})["2.W"][3].any() == stays


def test_guided_takes_names_from_an_iterator():
    net, x = small_net(), images()
    reference = net.eval().forward(x)

    def measure(each):
        return float(np.sum((each.eval().forward(x) - reference) ** 2))

    listed = guided(net, measure, 0.1, ["2.W", "5.W"])
    assert guided(net, measure, 0.1, iter(["2.W", "5.W"])) == listed
    assert list(listed) == ["2.W", "5.W"] and listed["2.W"].column > 0


def test_a_tolerance_of_zero_allows_what_costs_nothing():
    net = small_net()
    net.layers[2].W.data[:, 0, 0, 0] = 0
    x = images()
    reference = net.eval().forward(x)
    found = guided(net, lambda each: float(np.sum((each.eval().forward(x) - reference) ** 2)), 0.0, ["2.W"])
    energies = np.sum(net.layers[2].W.data ** 2, axis=0).ravel()
    assert found["2.W"].column == np.sort(energies)[1]


def test_arguments_of_the_wrong_kind_are_one_sentence():
    net = small_net()
    for wrong in (1e-3, None, [Thresholds()], {"2.W": 1e-3}, {"2.W": None}):
        with pytest.raises(TypeError, match="expected Thresholds, or Thresholds by the name of a weight, got "):
            purify(net, wrong)
    for wrong in ("1", None, [0.1]):
        with pytest.raises(ValueError, match="expected a threshold of 0 or more for fullness, got "):
            Thresholds(fullness=wrong)
        with pytest.raises(ValueError, match="expected a tolerance of 0 or more, got "):
            guided(net, lambda net: 0.0, wrong)
    with pytest.raises(ValueError, match=r"expected a list of names, got the string '2\.W'"):
        guided(net, lambda net: 0.0, 0.1, "2.W")
    with pytest.raises(TypeError, match="expected a list of names, got 3"):
        guided(net, lambda net: 0.0, 0.1, 3)
