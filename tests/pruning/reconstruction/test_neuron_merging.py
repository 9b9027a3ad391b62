"""Neuron merging: twins merge without a trace, strangers at no more than the bound."""

import copy

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import nn
from nn.gradcheck import flat
from pruning import masks
from pruning.reconstruction import neuron_merging
from pruning.scores import magnitude


def saliency_by_loops(omega, a):
    """The definition, entry by entry."""
    n, O = len(omega), len(a)
    s = np.full((n, n), np.inf)
    for i in range(n):
        for j in range(n):
            if i != j:
                s[i, j] = sum(a[k, j] ** 2 for k in range(O)) / O * sum((omega[i] - omega[j]) ** 2)
    return s


def net_of(seed=0, activation=nn.Tanh, bias=True):
    rng = np.random.default_rng(seed)
    layers = [nn.Flatten(), nn.Linear(3, 5, rng, bias=bias), activation(), nn.Linear(5, 4, rng, bias=bias)]
    net = nn.Sequential(*layers, nn.Tanh(), nn.Linear(4, 2, rng))
    for p in net.parameters():
        p.data = rng.standard_normal(p.shape)
    return net, rng.standard_normal((3, 7))


def test_saliency_equals_its_definition():
    rng = np.random.default_rng(0)
    omega, a = rng.standard_normal((5, 4)), rng.standard_normal((3, 5))
    s, expected = neuron_merging.saliency(omega, a), saliency_by_loops(omega, a)
    off_diagonal = ~np.eye(5, dtype=bool)
    np.testing.assert_allclose(s[off_diagonal], expected[off_diagonal], rtol=1e-13)
    assert not s.diagonal().any()
    assert np.abs(s - s.T).max() > 0.1  # j goes, i stays: not symmetric


@settings(max_examples=40)
@given(st.integers(0, 10**6), st.integers(2, 7), st.data())
def test_the_order_of_the_merges_is_that_of_a_search_from_scratch(seed, n, data):
    rng = np.random.default_rng(seed)
    omega, a = rng.integers(-2, 3, (n, 3)) * 1.0, rng.integers(-2, 3, (2, n)) * 1.0  # many ties
    count = data.draw(st.integers(0, n - 1))
    merges = neuron_merging.pairs(omega, a, count)
    left = list(range(n))
    for i, j, cost in merges:
        s = saliency_by_loops(omega, a)
        best = min((s[p, q], p, q) for p in left for q in left if p != q)
        assert (cost, i, j) == pytest.approx(best)
        a[:, i] += a[:, j]
        left.remove(j)
    assert len(merges) == count


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Sigmoid, nn.ScaledTanh, nn.Softplus])
@pytest.mark.parametrize("bias", [True, False])
def test_duplicated_neurons_merge_to_an_identical_function(activation, bias):
    net, x = net_of(1, activation, bias)
    copies = [0, 0, 1, 2, 2, 2, 3, 4]  # unit 0 twice, unit 2 three times
    rng = np.random.default_rng(2)
    split = rng.standard_normal(8)
    wide = copy.deepcopy(net)
    first, second = nn.Linear(3, 8, rng, bias=bias), nn.Linear(8, 4, rng, bias=bias)
    first.W.data, second.W.data = net.layers[1].W.data[copies], net.layers[3].W.data[:, copies] * split
    for k in range(5):  # the shares of a unit's copies add up to one
        same = [m for m in range(8) if copies[m] == k]
        second.W.data[:, same] *= 1 / split[same].sum()
    if bias:
        first.b.data, second.b.data = net.layers[1].b.data[copies], net.layers[3].b.data
    wide.layers[1], wide.layers[3] = first, second
    y, before = wide.forward(x), flat(wide)
    assert [s for *_, s in neuron_merging.pairs(np.column_stack([first.W.data, first.b.data if bias else np.zeros(8)]), second.W.data, 3)] == [0, 0, 0]  # fmt: skip  # noqa: E501
    small = neuron_merging.merge(wide, "1.W", 3)
    assert np.abs(small.forward(x) - y).max() <= 1e-12 * np.abs(y).max()
    assert small.layers[1].W.shape == (5, 3) and small.layers[3].W.shape == (4, 5)
    assert np.abs(neuron_merging.merge(wide, "1.W", 4).forward(x) - y).max() > 1e-3
    np.testing.assert_array_equal(flat(wide), before)
    np.testing.assert_array_equal(wide.forward(x), y)
    keep = [0, 2, 3, 6, 7]  # the same units without the surgery
    first.W.data, second.W.data = first.W.data[keep], second.W.data[:, keep]
    if bias:
        first.b.data = first.b.data[keep]
    first.n_out = second.n_in = 5
    assert np.abs(wide.forward(x) - y).max() > 1e-3


def test_the_small_net_is_a_net_like_any_other(tmp_path):
    net, x = net_of()
    small = neuron_merging.merge(net, "1.W", 2)
    nn.checkpoint.save(tmp_path / "small.npz", small)
    np.testing.assert_array_equal(nn.checkpoint.load(tmp_path / "small.npz").forward(x), small.forward(x))
    t, loss = np.zeros((2, 7)), nn.SquaredError()
    E = loss.forward(small.forward(x), t)
    optimizer = nn.SGD(small.parameters(), 0.01)
    nn.training.train(small, loss, optimizer, x, t, 5, 7, np.random.default_rng(0), progress=False)
    assert loss.forward(small.forward(x), t) < E
    assert small.layers[1].config()["n_out"] == small.layers[3].config()["n_in"] == 3


@pytest.mark.parametrize("activation", [nn.ReLU, nn.Tanh, nn.Softplus])
def test_the_saliency_bounds_the_mean_square_change_behind_the_layer(activation):
    for seed in range(5):
        net, x = net_of(seed, activation)
        second = net.layers[3]
        omega = np.column_stack([net.layers[1].W.data, net.layers[1].b.data])
        ((_, _, s),) = neuron_merging.pairs(omega, second.W.data, 1)
        head, small = nn.Sequential(*net.layers[:4]), nn.Sequential(*neuron_merging.merge(net, "1.W", 1).layers[:4])
        change = np.mean((head.forward(x) - small.forward(x)) ** 2, axis=0)
        bound = s * (np.sum(x * x, axis=0) + 1)
        assert np.all(change <= bound) and np.any(change > bound / 100)


def test_masks_go_with_their_units():
    net, x = net_of()
    masks.apply(net, masks.smallest(magnitude.saliency(net), 0.4))
    omega = np.column_stack([net.layers[1].W.data, net.layers[1].b.data])
    ((i, j, _),) = neuron_merging.pairs(omega, net.layers[3].W.data, 1)
    small = neuron_merging.merge(net, "1.W", 1)
    rows, columns = net.layers[1].W.mask, net.layers[3].W.mask.copy()
    columns[:, i] = np.maximum(columns[:, i], columns[:, j])
    np.testing.assert_array_equal(small.layers[1].W.mask, np.delete(rows, j, axis=0))
    np.testing.assert_array_equal(small.layers[3].W.mask, np.delete(columns, j, axis=1))
    assert small.layers[1].b.mask is None
    assert not small.layers[3].W.data[small.layers[3].W.mask == 0].any()


@pytest.mark.parametrize(
    ("name", "count", "message"),
    [
        ("1.W", 5, "expected to merge away 0 to 4 of 5 units, got 5"),
        ("1.W", -1, "expected to merge away 0 to 4 of 5 units, got -1"),
        (
            "5.W",
            1,
            "expected the W of a Linear layer before an activation and a Linear layer in a Sequential, got '5.W'",
        ),
        ("1.b", 1, "got '1.b'"),
        ("2.W", 1, "got '2.W'"),
        ("99.W", 1, "got '99.W'"),
        ("W", 1, "got 'W'"),
        (None, 1, "got None"),
        (1, 1, "got 1"),
        ("1.W", 1.5, r"expected to merge away 0 to 4 of 5 units, got 1\.5"),
        ("1.W", None, "expected to merge away 0 to 4 of 5 units, got None"),
    ],
)
def test_what_cannot_be_merged_is_one_sentence(name, count, message):
    net, _ = net_of()
    with pytest.raises(ValueError, match=message):
        neuron_merging.merge(net, name, count)
    with pytest.raises(ValueError, match="in a Sequential"):
        neuron_merging.merge(net.layers[1], "1.W", 1)
    net.layers[1].W.data[0, 0] = np.nan
    with pytest.raises(ValueError, match="expected finite weights, got NaN or infinity"):
        neuron_merging.merge(net, "1.W", 1)


@pytest.mark.parametrize(
    ("omega", "a", "shapes"),
    [
        (np.ones((4, 3)), np.ones((2, 5)), r"\(4, 3\) and \(2, 5\)"),
        (np.ones(4), np.ones((2, 4)), r"\(4,\) and \(2, 4\)"),
        ([[1.0]], np.ones((2, 1)), r"\(\) and \(2, 1\)"),
        (np.ones((4, 3)), None, r"\(4, 3\) and \(\)"),
    ],
)
def test_weights_of_the_wrong_shape_are_one_sentence(omega, a, shapes):
    for ask in (neuron_merging.saliency, lambda omega, a: neuron_merging.pairs(omega, a, 1)):
        with pytest.raises(
            ValueError, match=rf"^expected arrays omega \(n, I \+ 1\) and a \(O, n\), got shapes {shapes}$"
        ):
            ask(omega, a)


def test_a_mask_of_another_shape_is_one_sentence():
    net, _ = net_of()
    net.layers[3].W.mask = np.ones((5, 5))
    with pytest.raises(ValueError, match=r"the mask of 3\.W does not fit: expected shape \(4, 5\), got shape \(5, 5\)"):
        neuron_merging.merge(net, "1.W", 1)


def test_everything_else_is_as_it_was():
    """Buffers, modes and masks of the other layers; what is left out is what `pruning.surgery` leaves out."""
    net, _ = net_of()
    net = nn.Sequential(nn.BatchNorm(3), *net.layers).eval()
    net.layers[0].running_mean, net.layers[6].W.mask = np.arange(3.0), np.array([[1.0, 0, 1, 1]] * 2)
    small = neuron_merging.merge(net, "2.W", 2)
    np.testing.assert_array_equal(small.layers[0].running_mean, np.arange(3.0))
    np.testing.assert_array_equal(small.layers[6].W.mask, net.layers[6].W.mask)
    assert not any(module.training for module in small.modules())
    assert neuron_merging.merge(net, "2.W", 0).layers[4].W.shape == (4, 5)


def test_on_every_library(library):
    net, x = net_of()
    masks.apply(net, masks.smallest(magnitude.saliency(net), 0.3))
    other = copy.deepcopy(net).to(library.xp)
    small, expected = neuron_merging.merge(other, "1.W", 2), neuron_merging.merge(net, "1.W", 2)
    for p, q in zip(small.parameters(), expected.parameters()):
        np.testing.assert_allclose(nn.backend.to_numpy(p.data), q.data, rtol=1e-13)
        assert (p.mask is None) == (q.mask is None)
        assert q.mask is None or np.array_equal(nn.backend.to_numpy(p.mask), q.mask)
    y = small.forward(library.xp.asarray(x))
    np.testing.assert_allclose(nn.backend.to_numpy(y), expected.forward(x), rtol=1e-12)
    omega, a = (library.xp.asarray(np.random.default_rng(k).standard_normal((4, 4))) for k in (0, 1))
    np.testing.assert_allclose(
        nn.backend.to_numpy(neuron_merging.saliency(omega, a)),
        neuron_merging.saliency(*(nn.backend.to_numpy(each) for each in (omega, a))),
        rtol=1e-13,
    )


@pytest.mark.parametrize("shape", [(0, 3), (3, 0), (0, 0)])
def test_units_that_nobody_reads_have_no_saliency(shape):
    """The mean over no readers is no number."""
    O, n = shape
    for ask in (neuron_merging.saliency, lambda omega, a: neuron_merging.pairs(omega, a, 0)):
        with pytest.raises(ValueError, match=r"^expected at least one unit that is read, got a of shape \("):
            ask(np.ones((n, 2)), np.ones(shape))
