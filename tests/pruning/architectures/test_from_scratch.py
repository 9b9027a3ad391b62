"""Gates over random weights, their penalty, and the search for widths under a budget."""

import copy
import math

import numpy as np
import pytest

import nn
from nn import backend, checkpoint, gradcheck
from pruning import surgery
from pruning.architectures import from_scratch
from pruning.counts import count

SHAPE = (1, 8, 8)
NAMES = ["0.W", "3.W", "7.W"]
BUDGETS = [k / 100 for k in range(5, 96)]


def make(widths=(4, 6, 5), seed=0, dtype=np.float64):
    rng, (a, b, c) = np.random.default_rng(seed), widths
    layers = []
    for c_in, c_out in ((1, a), (a, b), (b, c)):
        layers += [nn.Conv2d(c_in, c_out, 3, rng, padding=1, bias=False, dtype=dtype)]
        layers += [nn.BatchNorm(c_out, dtype=dtype), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if len(layers) == 6 else []
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(c, 10, rng, dtype=dtype))


def by_hand(widths):
    """The multiply-accumulates of `make` as a sum of products: 8 x 8 maps twice, then 4 x 4, then ten outputs."""
    a, b, c = (widths[name] for name in NAMES)
    return 9 * (64 * a + 64 * a * b + 16 * b * c) + 10 * c


def some_gates(rng, sizes=(4, 6, 5), ties=True):
    """Gates in [0, 1], many of them equal: a third are 0, and the others have two digits."""
    found = {name: np.round(np.clip(rng.uniform(-0.5, 1, n), 0, 1), 2 if ties else 16) for name, n in zip(NAMES, sizes)}
    return {name: np.minimum(g, 0.9) if ties else g for name, g in found.items()}


def with_values(net, rng):
    for g in from_scratch.gates(net).values():
        g.data = backend.asarray(rng.uniform(0.1, 0.9, g.shape), like=g.data)
    return net


# ------------------------------------------------------------------------------------------------------ the gates


def test_open_gates_change_nothing_and_names_stay():
    net, x = make(), np.random.default_rng(1).standard_normal((*SHAPE, 7))
    new = from_scratch.gated(net)
    assert [name for name, _ in net.named_parameters() if name.endswith("W")] == [
        name for name, _ in new.named_parameters() if name.endswith("W")
    ]
    assert {name: g.shape for name, g in from_scratch.gates(new).items()} == dict(zip(NAMES, [(4,), (6,), (5,)]))
    np.testing.assert_array_equal(new.forward(x), net.forward(x))
    np.testing.assert_array_equal(new.eval().forward(x), net.eval().forward(x))
    new.layers[0].W.data[:] = 0
    assert net.layers[0].W.data.all(), "no array is shared"


def test_a_gate_stands_between_the_norm_and_the_relu():
    net, x = make(), np.random.default_rng(1).standard_normal((*SHAPE, 7))
    new = with_values(from_scratch.gated(net), np.random.default_rng(2))
    y = net.layers[1].forward(net.layers[0].forward(x))
    g = from_scratch.gates(new)["0.W"].data
    expected = np.maximum(g[:, None, None, None] * y, 0)
    z = x
    for layer in new.layers[:3]:
        z = layer.forward(z)
    np.testing.assert_allclose(z, expected, rtol=1e-14)


def test_the_gradient_of_the_gates_and_of_the_penalty_against_autograd():
    torch = pytest.importorskip("torch")
    from referees.networks import autograd_gradient

    rng = np.random.default_rng(0)
    net, loss = with_values(from_scratch.gated(make()), rng), nn.SoftmaxCrossEntropy()
    x, t = rng.standard_normal((*SHAPE, 9)), rng.integers(0, 10, 9)
    gu, _ = autograd_gradient(net, loss, x, t)
    loss.forward(net.forward(x), t)
    net.backward_parameters(loss.backward())
    ours = np.concatenate([np.reshape(u.grad, -1) for u in net.parameters()])
    assert np.linalg.norm(ours - gu) <= 1e-12 * np.linalg.norm(gu)
    gates = from_scratch.gates(net).values()
    before = np.concatenate([g.grad for g in gates])
    is_gate = np.concatenate([np.full(math.prod(u.shape), name.endswith("1.s")) for name, u in net.named_parameters()])
    assert np.linalg.norm(before - gu[is_gate]) <= 1e-12 * np.linalg.norm(gu[is_gate])
    penalty = from_scratch.MeanGate(net, 0.7, 0.2)
    penalty.after_backward(1)
    g = torch.from_numpy(np.concatenate([g.data for g in gates])).requires_grad_()
    value = 0.7 * (torch.mean(torch.abs(g)) - 0.2) ** 2
    (expected,) = torch.autograd.grad(value, g)
    assert penalty.penalty() == pytest.approx(value.item(), rel=1e-14)
    np.testing.assert_allclose(np.concatenate([g.grad for g in gates]) - before, expected.numpy(), rtol=1e-12)


def test_the_loss_leaves_the_level_of_gates_in_front_of_a_batch_norm_free():
    """E(kappa g) = E(g) for a layer that a convolution and batch norm follow, so that sum g dE/dg = 0 there."""
    rng, loss = np.random.default_rng(0), nn.SoftmaxCrossEntropy()
    net = with_values(from_scratch.gated(make()), rng)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm):
            module.eps = 0.0
    x, t = rng.standard_normal((*SHAPE, 9)), rng.integers(0, 10, 9)
    E = loss.forward(net.forward(x), t)
    net.backward_parameters(loss.backward())
    gates = from_scratch.gates(net)
    sums = {name: np.sum(g.data * g.grad) / np.sum(np.abs(g.data * g.grad)) for name, g in gates.items()}
    assert max(abs(sums["0.W"]), abs(sums["3.W"])) < 1e-12 < 1e-3 < abs(sums["7.W"])
    for name, g in gates.items():
        g.data = 3 * g.data
        free = abs(loss.forward(net.forward(x), t) - E) < 1e-12
        assert free == (name != "7.W")
        g.data = g.data / 3


def test_the_penalty_by_the_complex_step_and_on_every_library(library):
    net = with_values(from_scratch.gated(make()), np.random.default_rng(3))
    at = np.concatenate([g.data for g in from_scratch.gates(net).values()])
    expected = gradcheck.complex_step(lambda g: np.asarray(0.4 * (np.sum(g) / g.size - 0.3) ** 2), at)
    other = copy.deepcopy(net).to(library.xp)
    penalty, gates = from_scratch.MeanGate(other, 0.4, 0.3), list(from_scratch.gates(other).values())
    for g in gates:
        g.grad = 0 * g.data
    penalty.after_backward(1)
    found = np.concatenate([backend.to_numpy(g.grad) for g in gates])
    np.testing.assert_allclose(found, np.reshape(expected, -1), rtol=1e-12)
    gates[1].data = backend.asarray(np.array([-0.5, 0.0, 0.25, 1.0, 1.5, 0.9]), like=gates[1].data)
    penalty.after_step(1)
    np.testing.assert_array_equal(backend.to_numpy(gates[1].data), [0, 0, 0.25, 1, 1, 0.9])


def test_float32_stays_and_so_does_the_mode():
    net = from_scratch.gated(make(dtype=np.float32).eval())
    assert {u.data.dtype for u in net.parameters()} == {np.dtype(np.float32)}
    assert not any(module.training for module in net.modules())
    penalty, gates = from_scratch.MeanGate(net, np.float64(0.5)), from_scratch.gates(net).values()
    for g in gates:
        g.grad = g.data
    penalty.after_backward(1), penalty.after_step(1)
    assert {array.dtype for g in gates for array in (g.data, g.grad)} == {np.dtype(np.float32)}
    assert isinstance(penalty.mean(), float) and isinstance(penalty.open(), float)


def test_the_mean_gate_is_never_above_the_share_that_is_open():
    net, rng = from_scratch.gated(make()), np.random.default_rng(0)
    penalty = from_scratch.MeanGate(net)
    for _ in range(50):
        for g in from_scratch.gates(net).values():
            g.data = np.clip(rng.uniform(-1, 2, g.shape), 0, 1)
        assert penalty.mean() <= penalty.open()
    for g in from_scratch.gates(net).values():
        g.data = np.round(g.data)
    assert penalty.mean() == penalty.open(), "they agree only if every open gate is 1"


def test_training_moves_gates_and_nothing_else():
    data = nn.data.load("digits")
    x, t = data.train[0][..., :256], data.train[1][:256]
    net = from_scratch.gated(make())
    gates, before = from_scratch.gates(net), {name: u.data.copy() for name, u in net.named_parameters()}
    penalty, optimizer = from_scratch.MeanGate(net, 0.5, 0.2), nn.Adam(gates.values(), 0.05)
    settings = {"rng": np.random.default_rng(0), "progress": False, "companions": [penalty]}
    history = nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, 8, 32, **settings)
    moved = {name for name, u in net.named_parameters() if (u.data != before[name]).any()}
    assert moved == {"1.1.s", "4.1.s", "8.1.s"}
    values = np.concatenate([g.data for g in gates.values()])
    assert values.min() >= 0 and values.max() <= 1 and penalty.mean() < 0.8
    assert history[-1]["penalty"] == penalty.penalty() < history[0]["penalty"]


def test_a_gated_net_is_saved_and_loaded(tmp_path):
    net = with_values(from_scratch.gated(make()), np.random.default_rng(2))
    checkpoint.save(tmp_path / "net.npz", net)
    x = np.random.default_rng(1).standard_normal((*SHAPE, 7))
    loaded = checkpoint.load(tmp_path / "net.npz")
    np.testing.assert_array_equal(loaded.eval().forward(x), net.eval().forward(x))


def test_norms_whose_channels_a_sum_ties_get_no_gates():
    net = from_scratch.gated(nn.models.resnet_cifar(20, np.random.default_rng(0)))
    found = from_scratch.gates(net)
    assert len(found) == 9 and all(".body.0.W" in name for name in found)
    outline = from_scratch.gated(nn.models.resnet_cifar(20, None))
    assert {name: g.shape for name, g in from_scratch.gates(outline).items()} == {k: g.shape for k, g in found.items()}


# ------------------------------------------------------------------------------------------------------ the search


def test_costs_are_those_of_the_small_net():
    net, rng = make(), np.random.default_rng(0)
    cost, gated = from_scratch.costs(net, SHAPE), from_scratch.costs(from_scratch.gated(net), SHAPE)
    for _ in range(20):
        widths = {name: int(rng.integers(1, n + 1)) for name, n in zip(NAMES, (4, 6, 5))}
        assert cost(widths) == gated(widths) == by_hand(widths) == count(make([*widths.values()]), SHAPE).macs
    for wrong in (0, 7, -1):
        with pytest.raises(ValueError, match=f"expected 1 to 6 channels of 3.W, got {wrong}"):
            cost({"0.W": 1, "3.W": wrong, "7.W": 1})


def enumerated(gates, k):
    """The widths of the k largest gates, in plain Python: first the largest of each layer."""
    order = sorted(((-value, layer, i) for layer, name in enumerate(NAMES) for i, value in enumerate(gates[name])))
    best = [next(each for each in order if each[1] == layer) for layer in range(len(NAMES))]
    chosen = [*best, *(each for each in order if each not in best)][:k]
    return {name: sum(each[1] == layer for each in chosen) for layer, name in enumerate(NAMES)}


def test_the_largest_k_and_one_a_layer():
    rng = np.random.default_rng(0)
    for _ in range(20):
        gates = some_gates(rng)
        for k in range(3, 16):
            assert from_scratch.largest(gates, k) == enumerated(gates, k)
    ties = {"0.W": np.array([0.5, 0.5]), "3.W": np.array([0.5, 0.5])}
    assert from_scratch.largest(ties, 3) == {"0.W": 2, "3.W": 1}, "of equal gates the first layer's"
    empty = {"0.W": np.array([0.0, 0.0]), "3.W": np.array([0.5, 0.5])}
    assert from_scratch.largest(empty, 2) == {"0.W": 1, "3.W": 1}, "one channel a layer"


@pytest.mark.parametrize("ties", [True, False])
def test_search_is_a_linear_scan_never_over_and_the_next_gate_is(ties):
    rng, sizes = np.random.default_rng(0), (12, 16, 16)
    gates = some_gates(rng, sizes, ties)
    whole = by_hand(dict(zip(NAMES, sizes)))
    for budget in BUDGETS:
        most = budget * whole
        scan = [k for k in range(3, 45) if by_hand(enumerated(gates, k)) <= most]
        found = from_scratch.search(gates, by_hand, most)
        assert found == enumerated(gates, max(scan))
        assert scan == list(range(3, max(scan) + 1)), "costs rise with k"
        assert by_hand(found) <= most < by_hand(enumerated(gates, sum(found.values()) + 1))
    exact = by_hand(enumerated(gates, 20))
    assert from_scratch.search(gates, by_hand, exact) == enumerated(gates, 20), "a budget that is met is not exceeded"
    assert from_scratch.search(gates, by_hand, whole) == dict(zip(NAMES, sizes))


def authors(gates, full, ratio, flops):
    """The loop of the authors' script prune_model.py, in plain Python, with one channel a layer at least."""
    start, end, values = 0, 1, sum(len(g) for g in gates.values())
    for _ in range(10):
        current = (start + end) / 2
        config = enumerated(gates, max(3, round(values * (1 - current))))
        actual = 1 - flops(config) / full
        if abs(actual - ratio) / ratio <= 0.001:
            break
        if actual > ratio:
            end = current
        else:
            start = current
    return config


def test_the_authors_bisection_ends_on_either_side_of_the_budget():
    sizes = (24, 32, 32)
    gates, whole = some_gates(np.random.default_rng(0), sizes), by_hand(dict(zip(NAMES, sizes)))
    over = 0
    for budget in BUDGETS:
        found = from_scratch.last_midpoint(gates, by_hand, budget * whole)
        assert found == authors(gates, whole, 1 - budget, by_hand)
        over += by_hand(found) > budget * whole
    assert 30 <= over <= 60


def test_uniform_and_random_widths_under_the_same_budget():
    sizes = dict(zip(NAMES, (24, 32, 32)))
    whole = by_hand(sizes)
    for budget in (0.1, 0.25, 0.4, 0.7, 1.0):
        widths = from_scratch.in_proportion(sizes, by_hand, budget * whole)
        shares = [widths[name] / n for name, n in sizes.items()]
        assert by_hand(widths) <= budget * whole
        assert max(shares) - min(shares) <= 1 / 24
        for factor in (1, 3):
            scaled = dict.fromkeys(sizes, factor)
            assert from_scratch.in_proportion(sizes, by_hand, budget * whole, scaled) == widths
    widths = from_scratch.in_proportion(sizes, by_hand, 0.2 * whole, {"0.W": 0.25, "3.W": 0.5, "7.W": 1.0})
    p = widths["7.W"] / 32
    assert abs(widths["3.W"] - p * 16) <= 1 and abs(widths["0.W"] - p * 6) <= 1


def test_the_widths_are_what_surgery_leaves():
    net, gates = make(), some_gates(np.random.default_rng(0))
    widths = from_scratch.search(gates, from_scratch.costs(net, SHAPE), 0.5 * count(net, SHAPE).macs)
    small = surgery.remove(net, {name: range(width) for name, width in widths.items()})
    assert count(small, SHAPE).macs <= 0.5 * count(net, SHAPE).macs


# ------------------------------------------------------------------------------------------------------ bad input

GATES = {"0.W": np.array([0.5, 0.2]), "3.W": np.array([0.1])}
COST = lambda widths: 10 * sum(widths.values())  # noqa: E731
PLAIN = nn.Sequential(nn.Linear(2, 3, np.random.default_rng(0)), nn.ReLU(), nn.Linear(3, 2, np.random.default_rng(0)))


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: from_scratch.gated(PLAIN), ValueError, "expected a net with batch norms behind weights whose"),
        (lambda: from_scratch.gates(PLAIN), ValueError, "expected a net with gates, made by gated, got one without"),
        (lambda: from_scratch.MeanGate(make()), ValueError, "expected a net with gates"),
        (lambda: from_scratch.MeanGate(from_scratch.gated(make()), -1), ValueError, "strength of 0 or more, got -1"),
        (lambda: from_scratch.MeanGate(from_scratch.gated(make()), 1, 1.5), ValueError, r"in \[0, 1\], got 1.5"),
        (lambda: from_scratch.MeanGate(from_scratch.gated(make()), 1, math.nan), ValueError, r"in \[0, 1\], got nan"),
        (
            lambda: from_scratch.search(GATES, COST, 19),
            ValueError,
            "expected a budget of at least 20, that of one channel a layer, got 19",
        ),
        (lambda: from_scratch.last_midpoint(GATES, COST, 19), ValueError, "budget of at least 20"),
        (lambda: from_scratch.search(GATES, COST, math.nan), ValueError, "budget of 0 or more, got nan"),
        (lambda: from_scratch.search(GATES, COST, "40 %"), TypeError, "expected a number for the budget, got '40 %'"),
        (lambda: from_scratch.search({}, COST, 30), ValueError, "expected the gates of one layer at least, got none"),
        (lambda: from_scratch.search([0.5], COST, 30), TypeError, "gates as a dict of arrays by name, got list"),
        (lambda: from_scratch.search({"0.W": np.ones((2, 2))}, COST, 30), ValueError, "finite vector of gates for 0.W"),
        (lambda: from_scratch.search({"0.W": np.array([math.nan])}, COST, 30), ValueError, "finite vector of gates"),
        (lambda: from_scratch.largest(GATES, 1), ValueError, "expected 2 gates, one a layer, to 3, got 1"),
        (lambda: from_scratch.largest(GATES, 4), ValueError, "to 3, got 4"),
        (lambda: from_scratch.largest(GATES, 2.5), ValueError, "whole number of gates of at least 1, got 2.5"),
        (lambda: from_scratch.in_proportion({}, COST, 30), TypeError, "expected the sizes of layers by name"),
        (lambda: from_scratch.in_proportion({"0.W": 0}, COST, 30), ValueError, "size of 0.W of at least 1, got 0"),
        (
            lambda: from_scratch.in_proportion({"0.W": 3}, COST, 30, {"0.W": 0}),
            ValueError,
            "factor above 0 for 0.W, got 0",
        ),
        (
            lambda: from_scratch.in_proportion({"0.W": 3}, COST, 30, {"3.W": 1}),
            TypeError,
            "expected a number for the factor of 0.W, got None",
        ),
        (lambda: from_scratch.last_midpoint(GATES, COST, 20, steps=0), ValueError, "number of steps of at least 1"),
        (lambda: from_scratch.costs(make(), (3, 8, 8)), ValueError, "Conv2d expected images"),
    ],
)
def test_what_is_refused(call, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        call()
    assert "\n" not in str(raised.value)


def test_the_penalty_belongs_behind_a_backward_sweep():
    penalty = from_scratch.MeanGate(from_scratch.gated(make()))
    with pytest.raises(ValueError, match="the gates have no gradient to add to"):
        penalty.after_backward(1)
