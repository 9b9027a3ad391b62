"""Network slimming: how long a free scale lives, the threshold and its guard, and small nets of the same function."""

import math
import warnings

import numpy as np
import pytest
from killing import assert_killed_runs_end_in_the_same_bits

import nn
from nn import gradcheck
from pruning import surgery
from pruning.counts import count
from pruning.penalties import group_lasso, slimming

ETA, LAM, MU = 0.1, 0.02, 0.9


def chain(seed=0, widths=(4, 6), linear=5):
    """Conv, norm, ReLU twice with borders of zeros and a pool, then two fully connected layers with a norm between."""
    rng = np.random.default_rng(seed)
    a, b = widths
    return warm(
        nn.Sequential(
            *(nn.Conv2d(2, a, 3, rng, padding=1, bias=False), nn.BatchNorm(a), nn.ReLU()),
            *(nn.Conv2d(a, b, 3, rng, padding=1, bias=False), nn.BatchNorm(b), nn.ReLU(), nn.MaxPool2d(2)),
            *(nn.Flatten(), nn.Linear(b * 9, linear, rng), nn.BatchNorm(linear), nn.ReLU()),
            nn.Linear(linear, 3, rng),
        ),
        seed,
    )


def warm(net, seed=0):
    """Statistics, scales and shifts as after some training."""
    rng = np.random.default_rng([seed, 1])
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm):
            layer.gamma.data, layer.beta.data = rng.normal(0, 1, layer.channels), rng.normal(0, 0.5, layer.channels)
            layer.running_mean = rng.normal(0, 0.3, layer.channels)
            layer.running_variance = rng.uniform(0.5, 2, layer.channels)
    return net.eval()


# ---------------------------------------------------------------------------------------------------- training


def free_scale(companion_of):
    """The number of steps after which a scale that the loss does not hold is at zero or has changed its sign."""
    net = chain()
    slimming.start(net, 0.5)
    optimizer = nn.SGD(net.parameters(), ETA, MU)
    companion = companion_of(net, slimming.families(net, LAM), optimizer)
    gamma = net.layers[1].gamma
    for step in range(1, 200):
        for parameter in net.parameters():
            parameter.grad = np.zeros(parameter.shape)
        companion.after_backward(step)
        optimizer.step()
        companion.after_step(step)
        if gamma.data[0] <= 0:
            return step, gamma.data[0]
    return None


def test_a_free_scale_lives_as_long_as_predicted():
    """gamma_0 (1 - mu) / (eta lam) steps with the prox; with the subgradient mu / (1 - mu) more, by the velocity."""
    predicted = 0.5 * (1 - MU) / (ETA * LAM)
    step, value = free_scale(group_lasso.ProximalSteps)
    assert abs(step - predicted) <= 1 and value == 0
    later, value = free_scale(lambda net, families, _: group_lasso.Subgradients(net, families, threshold=0))
    assert abs(later - predicted - MU / (1 - MU)) <= 1 and value != 0


def test_the_fixed_point_of_the_proximal_step():
    """Full batch, all else fixed: |dE/dgamma| <= lam where gamma = 0, and -lam sign(gamma) elsewhere."""
    rng, loss, lam = np.random.default_rng(3), nn.SquaredError(), 0.5
    net = warm(nn.Sequential(nn.Linear(6, 8, rng), nn.BatchNorm(8), nn.Linear(8, 4, rng)))
    x, t = rng.normal(size=(6, 40)), rng.normal(size=(4, 40))
    gamma = slimming.scales(net)["1.gamma"]
    optimizer, families = nn.SGD([gamma], 0.02, 0.5), slimming.families(net, lam)

    def sweep():
        loss.forward(net.forward(x), t)
        net.backward_parameters(loss.backward())

    for _ in range(3000):
        sweep()
        optimizer.step()
        group_lasso.proximal_step(net, families, optimizer)
    sweep()
    dead = gamma.data == 0
    assert 2 <= dead.sum() <= 6
    assert np.all(np.abs(gamma.grad[dead]) <= lam * (1 + 1e-6))
    np.testing.assert_allclose(gamma.grad[~dead], -lam * np.sign(gamma.data[~dead]), rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_the_prox_leaves_zeros_and_the_subgradient_none(seed):
    zeros = {}
    for kind in ("prox", "subgradient"):
        rng = np.random.default_rng(seed)
        net = chain(seed)
        net.train()
        slimming.start(net, 0.5)
        optimizer, families = nn.SGD(net.parameters(), 0.1, 0.9), slimming.families(net, 0.03)
        companion = (
            group_lasso.ProximalSteps(net, families, optimizer)
            if kind == "prox"
            else group_lasso.Subgradients(net, families, threshold=0)
        )
        x, t = rng.normal(size=(2, 6, 6, 60)), rng.integers(0, 3, 60)
        nn.training.train(
            net, nn.SoftmaxCrossEntropy(), optimizer, x, t, 20, 20, rng, progress=False, companions=[companion]
        )
        zeros[kind] = sum(int(np.sum(gamma.data == 0)) for gamma in slimming.scales(net).values())
    assert zeros["prox"] > 0 == zeros["subgradient"]


def test_the_penalty_pulls_at_scales_alone():
    net = chain()
    before = gradcheck.flat(net)
    for parameter in net.parameters():
        parameter.grad = np.zeros(parameter.shape)
    group_lasso.add_subgradient(net, slimming.families(net, LAM))
    for name, parameter in net.named_parameters():
        expected = LAM * np.sign(parameter.data) if name.endswith("gamma") else np.zeros(parameter.shape)
        np.testing.assert_allclose(parameter.grad, expected, atol=1e-15)
    for parameter in net.parameters():
        parameter.grad = np.zeros(parameter.shape)
    next(iter(slimming.scales(net).values())).data[0] = 0.0
    group_lasso.add_subgradient(net, slimming.families(net, LAM))
    assert next(iter(slimming.scales(net).values())).grad[0] == 0  # sign(0) = 0
    optimizer = nn.SGD(net.parameters(), ETA)
    group_lasso.proximal_step(net, slimming.families(net, LAM), optimizer)
    changed = {name for name, p in net.named_parameters() if not np.array_equal(p.data, chain_parameter(name))}
    assert changed == set(slimming.scales(net)) and before.size == gradcheck.flat(net).size


def chain_parameter(name):
    return dict(chain().named_parameters())[name].data


def test_all_scales_start_at_one_number():
    net = chain()
    slimming.start(net)
    assert all(np.all(gamma.data == 0.5) for gamma in slimming.scales(net).values())
    slimming.start(net, np.float32(1))
    assert {str(gamma.data.dtype) for gamma in slimming.scales(net).values()} == {"float64"}
    assert not any(np.all(norm.beta.data == 0.5) for norm in net.modules() if isinstance(norm, nn.BatchNorm))


# --------------------------------------------------------------------------------------------------- threshold


def with_scales(*values):
    net = chain(widths=(len(values[0]), len(values[1])), linear=len(values[2]))
    for gamma, new in zip(slimming.scales(net).values(), values):
        gamma.data = np.array(new, dtype=float)
    return net


def test_one_threshold_for_all_layers():
    net = with_scales([0.1, -0.9, 0.3, 0.05], [1.0, -0.2, 0.7, 2.0], [0.4, 0.6])
    kept = slimming.keep(net, 0.4)  # 0.05, 0.1, -0.2, 0.3 go
    assert kept == {"1.gamma": [1], "4.gamma": [0, 2, 3], "9.gamma": [0, 1]} == slimming.by_threshold(net, 0.4)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.25, 0.3, 0.33, 0.5, 0.7])
def test_as_many_go_as_the_share_says(share):
    for seed in range(5):
        net = chain(seed, (8, 10), 7)
        left = sum(map(len, slimming.by_threshold(net, share).values()))
        assert left == math.floor(25 * (1 - share) + 1e-9)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert sum(map(len, slimming.keep(net, share).values())) == left


def test_ties_are_broken_by_the_order_of_layers_and_the_last_entry_goes():
    net = with_scales([1, 1, 1, 1], [1, 1, 1, 1], [1, 1])
    assert slimming.keep(net, 0.2) == {"1.gamma": [0, 1], "4.gamma": [0, 1, 2, 3], "9.gamma": [0, 1]}
    with pytest.warns(UserWarning, match=r"the threshold alone would empty 1\.gamma: the largest scale stays"):
        kept = slimming.keep(net, 0.5)
    assert kept == {"1.gamma": [0], "4.gamma": [0, 1], "9.gamma": [0, 1]}


def test_the_guard_keeps_the_largest_of_a_layer_and_others_go_in_its_place():
    net = with_scales([0.1, 0.2, 0.15, 0.05], [1.0, 0.9, 0.8, 0.7], [0.6, 0.5])
    assert slimming.by_threshold(net, 0.5) == {"1.gamma": [], "4.gamma": [0, 1, 2, 3], "9.gamma": [0]}
    with pytest.warns(UserWarning, match=r"would empty 1\.gamma"):
        assert slimming.keep(net, 0.5) == {"1.gamma": [1], "4.gamma": [0, 1, 2], "9.gamma": [0]}
    with pytest.raises(ValueError, match=r"one channel left in each of 3 layers; 0\.8 of 10 is too much"):
        slimming.keep(net, 0.8)
    assert slimming.by_threshold(net, 1.0) == {"1.gamma": [], "4.gamma": [], "9.gamma": []}


def test_grouped_convolutions_keep_as_many_in_every_group():
    rng = np.random.default_rng(0)
    first = [nn.Conv2d(2, 8, 3, rng, padding=1, bias=False), nn.BatchNorm(8), nn.ReLU()]
    net = warm(nn.Sequential(*first, nn.Conv2d(8, 8, 3, rng, groups=2), nn.ReLU(), nn.Conv2d(8, 3, 3, rng)))
    kept = slimming.keep(net, 0.3)["1.gamma"]
    assert sum(k < 4 for k in kept) == sum(k >= 4 for k in kept) == 2
    small, x = slimming.slim(net, {"1.gamma": kept}, (2, 6, 6)), rng.normal(size=(2, 6, 6, 3))
    np.testing.assert_allclose(small.forward(x), slimming.masked(net, {"1.gamma": kept}).forward(x), atol=1e-12)


# -------------------------------------------------------------------------------------------------- small nets


def mlp():
    rng = np.random.default_rng(0)
    return nn.Sequential(nn.Linear(6, 8, rng), nn.BatchNorm(8), nn.ReLU(), nn.Linear(8, 4, rng))


NETS = {
    "chain": (chain, (2, 6, 6), 3),
    "perceptron": (mlp, (6,), 1),
    "resnet": (lambda: nn.models.resnet_cifar(8, np.random.default_rng(0)), (3, 8, 8), 3),
    "preresnet": (lambda: nn.models.preresnet(11, np.random.default_rng(0)), (3, 8, 8), 10),
    "densenet": (lambda: nn.models.densenet(10, np.random.default_rng(0), growth=4), (3, 8, 8), 9),
    "densenet-bc": (lambda: nn.models.densenet(10, np.random.default_rng(0), 4, bottleneck=True), (3, 8, 8), 9),
}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6])
def test_the_small_net_computes_what_the_masked_one_does(name, share):
    make, shape, layers = NETS[name]
    net = warm(make())
    assert len(slimming.scales(net)) == layers
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        kept = slimming.keep(net, share)
    whole, small = slimming.masked(net, kept), slimming.slim(net, kept, shape)
    x = np.random.default_rng(5).normal(size=(*shape, 4))
    y = whole.forward(x)
    assert gradcheck.relative_error(small.forward(x), y) <= 1e-12
    assert not small.training
    total = sum(gamma.shape[0] for gamma in slimming.scales(net).values())
    assert sum(map(len, kept.values())) == math.floor(total * (1 - share) + 1e-9)
    if share:
        assert count(small, shape).macs < count(net, shape).macs
        assert gradcheck.relative_error(whole.forward(x), net.forward(x)) > 1e-2
    else:
        assert [name for name, _ in small.named_parameters()] == [name for name, _ in net.named_parameters()]


def test_a_block_selects_what_it_reads_and_the_sum_keeps_its_channels():
    net = warm(nn.models.preresnet(20, np.random.default_rng(0)))
    small = slimming.slim(net, {"2.body.0.gamma": [1, 5, 6]}, (3, 8, 8))
    select, norm = small.layers[2].body.layers[0].layers
    assert (select.indices, select.n_in, norm.channels) == ([1, 5, 6], 64, 3)
    assert small.layers[2].body.layers[2].W.shape[1] == 3
    np.testing.assert_array_equal(norm.running_mean, net.layers[2].body.layers[0].running_mean[[1, 5, 6]])
    assert count(small, (3, 8, 8)).macs == count(net, (3, 8, 8)).macs - 61 * 16 * 64  # 61 columns, 16 rows, 64 places


def test_a_dead_scale_still_emits_its_shift():
    """Removed without folding, or with beta at zero too as in the authors' code, the net is another."""
    net = chain()
    kept = {"1.gamma": [0, 2], "4.gamma": [1, 2, 5]}
    whole, x = slimming.masked(net, kept), np.random.default_rng(5).normal(size=(2, 6, 6, 4))
    y = whole.forward(x)
    naive = surgery.remove(whole, {"0.W": [0, 2], "3.W": [1, 2, 5]})
    assert gradcheck.relative_error(naive.forward(x), y) > 0.05
    with pytest.raises(ValueError, match="border of zeros"):
        slimming.slim(net, kept, (2, 6, 6), border="refuse")
    waiting = surgery.remove_unused_paths(whole, (2, 6, 6))
    assert gradcheck.relative_error(waiting.forward(x), y) <= 1e-12
    assert waiting.layers[0].W.shape[0] > 2 and waiting.layers[3].W.shape[0] == 3


def test_passes_follow_each_other():
    net, x = chain(widths=(8, 8), linear=8), np.random.default_rng(5).normal(size=(2, 6, 6, 4))
    sizes = []
    for _ in range(3):
        kept = slimming.keep(net, 0.25)
        small = slimming.slim(net, kept, (2, 6, 6))
        assert gradcheck.relative_error(small.forward(x), slimming.masked(net, kept).forward(x)) <= 1e-12
        sizes.append(sum(gamma.shape[0] for gamma in slimming.scales(small).values()))
        net = small
    assert sizes == [18, 13, 9]


@pytest.mark.parametrize("name", ["chain", "preresnet", "densenet"])
def test_as_few_go_as_reach_the_macs(name):
    make, shape, _ = NETS[name]
    net = warm(make())
    kept = slimming.keep_for_macs(net, shape, 0.5, "conv_only")
    whole = count(net, shape, "conv_only").macs
    assert count(slimming.slim(net, kept, shape), shape, "conv_only").macs <= 0.5 * whole
    total = sum(gamma.shape[0] for gamma in slimming.scales(net).values())
    gone = total - sum(map(len, kept.values()))
    one_less = slimming._largest(net, slimming._sizes(net), gone - 1)
    assert count(slimming.slim(net, one_less, shape), shape, "conv_only").macs > 0.5 * whole


@pytest.mark.parametrize("name", ["chain", "preresnet", "densenet"])
def test_as_few_go_as_fit_whatever_that_means(name):
    make, shape, _ = NETS[name]
    net = warm(make())
    most = 0.6 * count(net, shape).parameters
    kept = slimming.keep_that_fit(net, lambda small: count(small, shape).parameters <= most)
    assert count(slimming.slim(net, kept, shape), shape).parameters <= most
    gone = sum(gamma.shape[0] for gamma in slimming.scales(net).values()) - sum(map(len, kept.values()))
    one_less = slimming._largest(net, slimming._sizes(net), gone - 1)
    assert count(slimming.slim(net, one_less, shape), shape).parameters > most
    assert slimming.keep_that_fit(net, lambda _: True) == {
        key: list(range(gamma.shape[0])) for key, gamma in slimming.scales(net).items()
    }


def test_scales_of_an_outline_have_names():
    assert list(slimming.scales(nn.models.preresnet(11, None)))[:2] == ["1.body.0.gamma", "1.body.3.gamma"]


# --------------------------------------------------------------------------------------------------- bad input


def test_bad_input():
    net = chain()
    plain = nn.Sequential(nn.Linear(4, 3, np.random.default_rng(0)), nn.ReLU())
    with pytest.raises(ValueError, match="expected a net with batch norms whose channels can go one by one"):
        slimming.scales(plain)
    for strength in (-1, np.nan, np.inf):
        with pytest.raises(ValueError, match="a strength"):
            slimming.families(net, strength)
    with pytest.raises(TypeError, match="the strength"):
        slimming.families(net, "1")
    with pytest.raises(ValueError, match="a starting value of the scales"):
        slimming.start(net, -0.5)
    for share in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError):
            slimming.keep(net, share)
    with pytest.raises(TypeError, match="a share"):
        slimming.keep(net, True)
    for macs in (0, 1.5, True, "a"):
        with pytest.raises(ValueError, match="expected a share of the MACs above 0, at most 1"):
            slimming.keep_for_macs(net, (2, 6, 6), macs)
    with pytest.raises(ValueError, match=r"even one channel for each of 1.gamma, 4.gamma, 9.gamma is too much"):
        slimming.keep_for_macs(net, (2, 6, 6), 0.001)
    with pytest.raises(ValueError, match=r"expected some of the scales 1.gamma, 4.gamma, 9.gamma, got 0.W"):
        slimming.slim(net, {"0.W": [0]}, (2, 6, 6))
    with pytest.raises(ValueError, match=r"1.gamma has indices 0 to 3, got 4"):
        slimming.slim(net, {"1.gamma": [4]}, (2, 6, 6))
    with pytest.raises(ValueError, match=r"1\.gamma keeps nothing"):
        slimming.masked(net, {"1.gamma": []})
    net.layers[4].gamma.data[0] = np.nan
    with pytest.raises(ValueError, match=r"expected finite scales, and 4.gamma has others"):
        slimming.keep(net, 0.5)


def test_a_scale_of_two_layers_is_refused():
    net = chain(widths=(4, 4))
    net.layers[4].gamma = net.layers[1].gamma
    for refused in (slimming.scales, lambda net: slimming.keep(net, 0.5), lambda net: slimming.families(net, 0.1)):
        with pytest.raises(ValueError, match=r"1\.gamma"):
            refused(net)


def test_adam_is_refused_before_the_first_step():
    net = chain()
    with pytest.raises(TypeError, match="needs SGD"):
        group_lasso.ProximalSteps(net, slimming.families(net, 0.1), nn.Adam(net.parameters(), 0.1))


RUN = """
from pruning.penalties import group_lasso, slimming

rng = np.random.default_rng(0)
layers = [nn.Conv2d(1, 6, 3, rng, padding=1, bias=False), nn.BatchNorm(6), nn.ReLU(), nn.Flatten()]
net = nn.Sequential(*layers, nn.Linear(96, 3, rng))
slimming.start(net, 0.5)
x, t = rng.standard_normal((1, 4, 4, 60)), rng.integers(0, 3, 60)
optimizer, families = nn.SGD(net.parameters(), 0.05, 0.9), slimming.families(net, 0.01)
steps = group_lasso.{steps}
nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, 60, 10, np.random.default_rng(1), companions=[steps],
                  checkpoint_path=path, checkpoint_every=2, progress=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "steps", ["ProximalSteps(net, families, optimizer)", "Subgradients(net, families, threshold=0)"]
)
def test_kill_9_and_resume_ends_in_the_same_bits(steps, tmp_path):
    assert_killed_runs_end_in_the_same_bits(RUN.format(steps=steps), tmp_path)
