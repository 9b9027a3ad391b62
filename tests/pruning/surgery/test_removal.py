"""The smaller net computes what the masked one computes: outputs, gradients and curvatures."""

import copy
from collections import Counter
from decimal import Decimal

import numpy as np
import pytest
from cases import TINY, build_model
from hypothesis import given, settings
from hypothesis import strategies as st
from random_nets import BLOCKS, RandomNet, choices, grouped_net, shortcut_net, small_net
from referees.li2017 import LI, kept, printed_as

import nn
import pruning
from nn import gradcheck
from nn.backend import to_numpy
from pruning import channels, surgery
from pruning.counts import count

TOLERANCE = 1e-12


def tagged(net):
    """A copy in which every number of every parameter is its own place, so that a cut shows what it kept."""
    twin = copy.deepcopy(net)
    for parameter in twin.parameters():
        parameter.data = np.arange(float(parameter.data.size)).reshape(parameter.shape)
    return twin


def kept_numbers(whole, tags, attribute):
    """One vector of those numbers of grad, hess_diag or data that the tagged small net says were kept."""
    arrays = dict(whole.named_parameters())
    pieces = [
        getattr(arrays[name], attribute).ravel()[tag.data.ravel().astype(int)] for name, tag in tags.named_parameters()
    ]
    return np.concatenate(pieces)


def sweep(net, x, t):
    """Both sweeps back, in eval mode."""
    loss = nn.SquaredError()
    loss.forward(net.eval().forward(x), t)
    return net.backward_hessian(loss.backward(), loss.backward_hessian())


def assert_same_net(small, whole, tags, x, t):
    """Outputs, dE/dx and its curvature, and grad and hess_diag of what was kept."""
    assert gradcheck.relative_error(small.eval().forward(x), whole.eval().forward(x)) <= TOLERANCE
    for ours, theirs in zip(sweep(small, x, t), sweep(whole, x, t)):
        assert gradcheck.relative_error(ours, theirs) <= TOLERANCE
    ours = dict(small.named_parameters())
    for attribute in ("grad", "hess_diag"):
        kept = np.concatenate([getattr(ours[name], attribute).ravel() for name, _ in tags.named_parameters()])
        assert gradcheck.relative_error(kept, kept_numbers(whole, tags, attribute)) <= TOLERANCE


def check(built, border, counts):
    """Cut a random net, compare it with its masked twin, and count what happened."""
    keep, gone = built.cut()
    twin = built.masked(gone)
    before = gradcheck.flat(twin)
    counts["nets"] += 1
    counts.update(built.features)
    try:
        folded = surgery.fold_constants(twin, keep, built.input_shape, border)
        small = surgery.remove(folded, keep)
    except ValueError as error:
        assert "\n" not in str(error)
        assert any(name.removesuffix(".W") in str(error) for name in built.names())
        assert built.reasons(gone) or (border == "refuse" and "border of zeros" in str(error))
        counts["refused", "border of zeros" if "border of zeros" in str(error) else built.reasons(gone)[0]] += 1
        return
    np.testing.assert_array_equal(gradcheck.flat(twin), before)
    assert sum(p.data.size for p in small.parameters()) < sum(p.data.size for p in folded.parameters())
    x, t = built.rng.standard_normal((*built.input_shape, 2)), built.rng.standard_normal((3, 2))
    assert_same_net(small, twin, surgery.remove(tagged(twin), keep), x, t)


@pytest.mark.slow
def test_two_hundred_random_nets():
    counts = Counter()

    @settings(max_examples=200)
    @given(*choices(), st.sampled_from(["map"] * 7 + ["refuse"]))
    def run(blocks, activation, flatten, seed, border):
        check(RandomNet(blocks, activation, flatten, np.random.default_rng(seed)), border, counts)

    run()
    print(dict(counts))
    refused = {reason: n for reason, n in counts.items() if isinstance(reason, tuple)}
    assert counts["nets"] == 200 and sum(refused.values()) <= 20
    assert all(counts[feature] >= 20 for feature in (*BLOCKS, "flatten", "padding"))


def convolutions(net):
    """Names of the convolutions on the way through the blocks, in order: number 1, 2, ..."""
    return [
        name
        for name, p in net.named_parameters()
        if name.endswith("W") and len(p.shape) == 4 and "shortcut" not in name
    ]


def left(net, numbers, percents):
    """{name: the first floor(n (1 - p)) filters} of the convolutions with these numbers."""
    shapes = dict(net.named_parameters())
    names = [convolutions(net)[number - 1] for number in numbers]
    return {name: range(kept(shapes[name].shape[0], percent)) for name, percent in zip(names, percents)}


def first_of_blocks(net, percents, stages, skip):
    """The first convolution of every block, which has an even number, with so many percent less in each stage."""
    each = [percent for percent, blocks in zip(percents, stages) for _ in range(blocks)]
    numbers = {number: percent for number, percent in zip(range(2, 2 * len(each) + 1, 2), each) if number not in skip}
    return left(net, numbers, numbers.values())


SKIP34 = {2, 8, 14, 16, 26, 28, 30, 32}
LI_KEEP = {
    "VGG-16-A": lambda net: left(net, (1, *range(8, 14)), 7 * [50]),
    "ResNet-56-A": lambda net: first_of_blocks(net, (10, 10, 10), (9, 9, 9), {16, 20, 38, 54}),
    "ResNet-56-B": lambda net: first_of_blocks(net, (60, 30, 10), (9, 9, 9), {16, 18, 20, 34, 38, 54}),
    "ResNet-110-A": lambda net: first_of_blocks(net, (50,), (18,), {36}),
    "ResNet-110-B": lambda net: first_of_blocks(net, (50, 40, 30), (18, 18, 18), {36, 38, 74}),
    "ResNet-34-A": lambda net: first_of_blocks(net, (30, 30, 30), (3, 4, 6), SKIP34),
    "ResNet-34-B": lambda net: first_of_blocks(net, (50, 60, 40), (3, 4, 6), SKIP34),
    "ResNet-34-C": lambda net: {"18.shortcut.0.W": range(kept(256, 20))},
}  # fmt: skip


@pytest.mark.parametrize("name", LI_KEEP)
def test_filter_pruning_table_1_on_what_remove_returns(name):
    """Li et al. (2017), Table 1: MACs and weights of the pruned nets, as outlines."""
    row = LI[name]
    whole = LI[row.whole].net
    small = surgery.remove(whole, LI_KEEP[name](whole))
    ours = count(small, row.shape, "li2017")
    assert (ours.macs, ours.parameters) == (row.macs, row.weights)


@pytest.mark.parametrize(
    ("filters", "columns", "printed"),
    [
        ((5, 19), (25, 100), ("25", "7.6")),  # four of the five channels
        ((3, 12), (25, 75), ("15", "3.6")),
        ((2, 50), (21, 41), ("8.4", "8.2")),
        ((1, 50), (7, 14), ("1.4", "2.8")),
    ],
)
def test_structured_sparsity_learning_lenet_on_what_remove_returns(filters, columns, printed):
    """Wen et al. (2016), LeNet: MACs of the two convolutions in percent; rows by remove, columns by remove_columns."""
    whole = nn.models.lenet5(None)
    small = surgery.remove(whole, {"0.W": range(filters[0]), "2.W": range(filters[1])})
    small = surgery.remove_columns(small, {"0.W": range(columns[0]), "2.W": range(columns[1])})
    base, thin = (count(net, (1, 28, 28), "conv_only").layers for net in (whole, small))
    for before, after, cell in zip(base, thin, printed):
        assert printed_as(Decimal(100 * after.macs) / before.macs, cell) == "rounded"
        assert printed_as(Decimal(100 * after.parameters) / before.parameters, cell) == "rounded"


@pytest.mark.parametrize(
    ("left", "printed"),
    [((469, 294, 166), ("35.18", "32.54", "55.33")), ((434, 174, 78), ("19.26", "9.05", "26.00"))],
)
def test_structured_sparsity_learning_perceptron_on_what_remove_returns(left, printed):
    """Wen et al. (2016), perceptron 784-500-300-10: MACs of the layers in percent; pixels by remove_columns."""
    whole = nn.models.mlp((784, 500, 300, 10), None)
    small = surgery.remove(whole, {"1.W": range(left[1]), "3.W": range(left[2])})
    small = surgery.remove_columns(small, {"1.W": range(0, left[0])})
    base, thin = (count(net, (1, 28, 28)).layers for net in (whole, small))
    assert [layer.name for layer in thin] == ["1.1", "3", "5"]
    for before, after, cell in zip(base, thin, printed):
        assert printed_as(Decimal(100 * after.macs) / before.macs, cell) == "rounded"


SHAPE, KEEP = (2, 6, 5), {"0.W": [1, 2, 5], "4.W": [3, 0], "8.W": [0, 1, 4]}


def masks_of(net, keep):
    """Masks that are zero on the rows of W and b, and of the norm behind 0, that do not stay."""
    found, parameters = {}, dict(net.named_parameters())
    for name, rows in keep.items():
        layer = name.removesuffix(".W")
        norms = ["1.gamma", "1.beta"] if layer == "0" else []
        for each in (name, f"{layer}.b", *norms):
            found[each] = np.zeros(parameters[each].shape)
            found[each][rows] = 1
    return found


@pytest.mark.parametrize("make", [lambda p: nn.SGD(p, 0.05, momentum=0.9), lambda p: nn.Adam(p, 0.01)])
def test_the_optimizer_goes_on_as_on_the_masked_net(make):
    rng = np.random.default_rng(0)
    net, loss = small_net(rng), nn.SoftmaxCrossEntropy()
    net.layers[6].p = 0.0
    data = [(rng.standard_normal((*SHAPE, 8)), rng.integers(0, 3, 8)) for _ in range(5)]
    optimizer = make(net.parameters())
    for x, t in data[:2]:
        nn.training.training_step(net, loss, optimizer, x, t)
    pruning.masks.apply(net, masks_of(net, KEEP))
    before, steps = gradcheck.flat(net), optimizer.steps
    states = [{key: array.copy() for key, array in state.items()} for state in optimizer.state]
    small, smaller = surgery.remove(net, KEEP, optimizer=optimizer)
    np.testing.assert_array_equal(gradcheck.flat(net), before)
    assert all(np.array_equal(a[k], b[k]) for a, b in zip(states, optimizer.state) for k in b)
    assert (type(smaller), smaller.config(), smaller.steps) == (type(optimizer), optimizer.config(), steps)
    assert all(p.mask is None for p in small.parameters())
    assert smaller.parameters == small.parameters()
    for x, t in data[2:]:
        assert nn.training.training_step(small, loss, smaller, x, t) == pytest.approx(
            float(nn.training.training_step(net, loss, optimizer, x, t)), rel=1e-12
        )
    kept = kept_numbers(net, surgery.remove(tagged(net), KEEP), "data")
    # Adam divides by roots of squared gradients, some of them near zero: rounding is multiplied.
    assert gradcheck.relative_error(gradcheck.flat(small), kept) <= 10 * TOLERANCE


def test_what_did_not_decay_does_not_decay_in_the_small_net():
    net = small_net(np.random.default_rng(0))
    decayed = [net.layers[0].W, net.layers[8].b]
    optimizer = nn.SGD(net.parameters(), 0.1, weight_decay=0.1, decayed=decayed)
    small, smaller = surgery.remove(net, KEEP, optimizer=optimizer)
    assert set(smaller.decayed) == {small.layers[0].W, small.layers[8].b}


def test_groups_of_rates_and_decays_go_along():
    net = small_net(np.random.default_rng(0))
    W, b = net.layers[0].W, net.layers[8].b
    optimizer = nn.Adam(net.parameters(), 0.1, weight_decay=0.1, decayed={W: 0.5, b: 2}, rates={b: 10})
    small, smaller = surgery.remove(net, KEEP, optimizer=optimizer)
    assert smaller.decayed == {small.layers[0].W: 0.5, small.layers[8].b: 2} and smaller.rates == {
        small.layers[8].b: 10
    }


def test_an_optimizer_of_some_parameters_or_of_another_net():
    net = small_net(np.random.default_rng(0))
    some = nn.SGD([net.layers[0].W, net.layers[8].b], 0.1)
    small, smaller = surgery.remove(net, KEEP, optimizer=some)
    assert smaller.parameters == [small.layers[0].W, small.layers[8].b]
    stranger = nn.SGD(small_net(np.random.default_rng(0)).parameters(), 0.1)
    with pytest.raises(ValueError, match="expected the optimizer of this net, got one that moves"):
        surgery.remove(net, KEEP, optimizer=stranger)


def test_an_optimizer_of_which_nothing_is_left():
    net = shortcut_net(np.random.default_rng(0))
    with pytest.raises(ValueError, match="the optimizer moves nothing that is left: all of its 4 parameters are gone"):
        surgery.remove_blocks(net, ["2"], nn.SGD(net.layers[2].parameters(), 0.1))


def test_an_optimizer_of_one_parameter():
    net = small_net(np.random.default_rng(0))
    small, smaller = surgery.remove(net, KEEP, optimizer=nn.SGD([net.layers[8].b], 0.1))
    assert smaller.parameters == [small.layers[8].b]


def test_masks_of_what_stays_stay():
    net = small_net(np.random.default_rng(0))
    net.layers[4].W.mask = np.ones(net.layers[4].W.shape)
    net.layers[4].W.mask[0, 5] = 0
    net.layers[8].W.mask = np.ones(net.layers[8].W.shape)
    net.layers[8].W.mask[2] = 0  # row 2 goes
    small = surgery.remove(net, KEEP)
    assert small.layers[8].W.mask is None
    expected = np.ones((2, 3, 2, 2))
    expected[0, 2] = 0
    np.testing.assert_array_equal(small.layers[4].W.mask, expected)


def test_modes_generators_and_arrays_are_the_small_nets_own():
    net = small_net(np.random.default_rng(0))
    net.layers[1].eval()
    small = surgery.remove(net, KEEP)
    assert [layer.training for layer in small.layers] == [layer.training for layer in net.layers]
    state = net.layers[6].rng.bit_generator.state
    small.forward(np.ones((*SHAPE, 2)))
    assert net.layers[6].rng.bit_generator.state == state
    copied = surgery.remove(net, {"0.W": range(6)})
    for ours, theirs in zip([*copied.parameters()], net.parameters()):
        assert not np.shares_memory(ours.data, theirs.data)
    assert not np.shares_memory(copied.layers[1].running_mean, net.layers[1].running_mean)


def test_checkpoints_of_the_small_net(tmp_path):
    """Saved and loaded by the ordinary functions; the sizes stand in the file."""
    net = small_net(np.random.default_rng(0))
    small = surgery.remove_columns(surgery.remove(net, KEEP), {"4.W": [0, 3, 7], "8.W": [1, 2]})
    nn.checkpoint.save(tmp_path / "small.npz", small, nn.SGD(small.parameters(), 0.1))
    loaded = nn.checkpoint.load(tmp_path / "small.npz")
    first, second = loaded.layers[0], loaded.layers[4]
    assert (first.c_out, loaded.layers[1].channels, second.c_in, second.c_out) == (3, 3, 3, 2)
    assert loaded.layers[4].W.shape == (2, 3) and loaded.layers[8].layers[1].W.shape == (3, 2)
    x = np.random.default_rng(1).standard_normal((*SHAPE, 4))
    np.testing.assert_array_equal(loaded.forward(x), small.eval().forward(x))
    t = np.array([0, 2, 1, 1])
    losses = []
    loaded.layers[6].p = 0.0
    optimizer = nn.SGD(loaded.parameters(), 0.1)
    for _ in range(50):
        losses.append(float(nn.training.training_step(loaded, nn.SoftmaxCrossEntropy(), optimizer, x, t)))
    assert losses[-1] < 0.9 * losses[0]


def test_the_dense_nets_checkpoint_is_refused_by_the_small_net(tmp_path):
    net = small_net(np.random.default_rng(0))
    optimizer, rng = nn.SGD(net.parameters(), 0.1), np.random.default_rng(0)
    run = {"epoch": 0, "step": 0, "epoch_loss": 0.0, "history": []}
    nn.checkpoint.save(tmp_path / "net.npz", net, optimizer, rng.bit_generator.state, run)
    small, smaller = surgery.remove(net, {"4.W": [0, 3]}, optimizer=optimizer)
    before = gradcheck.flat(small)
    with pytest.raises(ValueError, match=r"another architecture .*: 4 is a Conv2d with c_out 4 in the file and 2 here"):
        nn.checkpoint.restore(tmp_path / "net.npz", small, smaller, rng)
    np.testing.assert_array_equal(gradcheck.flat(small), before)
    few = surgery.remove_columns(net, {"8.W": [0, 1]})
    with pytest.raises(ValueError, match="8 is a Linear in the file and a Sequential here"):
        nn.checkpoint.restore(tmp_path / "net.npz", few, nn.SGD(few.parameters(), 0.1), rng)


def columns_zeroed(net, columns):
    """A copy whose other columns of W.reshape(O, -1) are zero."""
    twin = copy.deepcopy(net)
    for name, stay in columns.items():
        W = dict(twin.named_parameters())[name].data
        matrix = W.reshape(W.shape[0], -1)
        matrix[:, [k for k in range(matrix.shape[1]) if k not in stay]] = 0
    return twin


@pytest.mark.parametrize(
    ("make", "columns"),
    [
        (small_net, {"0.W": range(0, 18, 2), "4.W": [23, 0, 1, 5], "8.W": [7, 0], "10.W": [3]}),
        (grouped_net, {"2.W": [0, 6], "5.W": [1, 5]}),
    ],
)
def test_columns_that_are_gone_are_columns_of_zeros(make, columns):
    rng = np.random.default_rng(0)
    net = make(rng).eval()
    twin, small = columns_zeroed(net, columns), surgery.remove_columns(net, columns)
    tags = surgery.remove_columns(tagged(net), columns)
    renamed = {ours: theirs for (ours, _), (theirs, _) in zip(tags.named_parameters(), net.named_parameters())}
    arrays = dict(tags.named_parameters())
    x, t = rng.standard_normal((*SHAPE, 3)), rng.standard_normal((3, 3))
    assert gradcheck.relative_error(small.forward(x), twin.forward(x)) <= TOLERANCE
    for ours, theirs in zip(sweep(small, x, t), sweep(twin, x, t)):
        assert gradcheck.relative_error(ours, theirs) <= TOLERANCE
    whole = dict(twin.named_parameters())
    for name, parameter in small.named_parameters():
        place = arrays[name].data.astype(int)
        for attribute in ("grad", "hess_diag"):
            theirs = getattr(whole[renamed[name]], attribute).ravel()[place]
            assert gradcheck.relative_error(getattr(parameter, attribute), theirs) <= TOLERANCE
    assert small.layers[2 if make is grouped_net else 4].W.data.ndim == 2


def test_columns_twice_are_selected_once():
    net = small_net(np.random.default_rng(0)).eval()
    once = surgery.remove_columns(net, {"8.W": [0, 2, 3, 7], "0.W": [0, 4, 9, 17]})
    twice = surgery.remove_columns(once, {"8.1.W": [1, 3], "0.W": [1, 3]})
    assert [type(layer) for layer in twice.layers[8].layers] == [nn.Select, nn.Linear]
    x = np.random.default_rng(1).standard_normal((*SHAPE, 3))
    whole = columns_zeroed(net, {"8.W": [2, 7], "0.W": [4, 17]})
    assert gradcheck.relative_error(twice.forward(x), whole.forward(x)) <= TOLERANCE
    everything = surgery.remove_columns(net, {"8.W": range(8), "0.W": range(18)})
    assert [type(layer) for layer in everything.layers] == [type(layer) for layer in net.layers]


def test_channels_after_columns():
    """Filters go from a net that has lost columns: what is left is numbered anew, and whole is whole."""
    net = small_net(np.random.default_rng(0)).eval()
    columns = {"4.W": [*range(4, 12), *range(20, 24)], "8.W": [0, 1, 5, 6]}  # channels 1, 2 and 5
    thin = surgery.remove_columns(net, columns)
    small = surgery.remove(thin, {"0.W": [1, 2, 5], "4.W": [0, 3]})
    assert small.layers[4].columns is None and small.layers[4].W.shape == (2, 3, 2, 2)
    assert (small.layers[8].layers[0].indices, small.layers[8].layers[0].n_in) == ([0, 1, 2], 4)
    twin = columns_zeroed(net, columns)
    for layer, rows in ((0, [0, 3, 4]), (4, [1, 2])):
        twin.layers[layer].W.data[rows], twin.layers[layer].b.data[rows] = 0, 0
    twin.layers[1].gamma.data[[0, 3, 4]], twin.layers[1].beta.data[[0, 3, 4]] = 0, 0
    x = np.random.default_rng(1).standard_normal((*SHAPE, 3))
    assert gradcheck.relative_error(small.forward(x), twin.forward(x)) <= TOLERANCE
    part = surgery.remove(surgery.remove_columns(net, {"4.W": [0, 5, 6, 23]}), {"0.W": [1, 5]})
    assert part.layers[4].columns == [1, 2, 7]


def test_a_zero_padded_shortcut_becomes_an_index_map():
    """Channel 1 goes in front of the shortcut and stays behind it, where zeros then come in; 5 was zeros before."""
    net = shortcut_net(np.random.default_rng(0))
    twin = copy.deepcopy(net)
    for layer in (twin.layers[0], twin.layers[2].body.layers[2]):
        layer.W.data[1], layer.b.data[1] = 0, 0
    last = twin.layers[4].body.layers[2]
    last.W.data[5], last.b.data[5] = 0, 0
    small = surgery.remove(net, {"2.body.2.W": [0, 2, 3], "4.body.2.W": [0, 1, 2, 3, 4]})
    assert small.layers[4].shortcut.config() == {"new_channels": 2, "stride": 1, "positions": [0, 2, 3]}
    x = np.random.default_rng(1).standard_normal((*SHAPE, 3))
    assert gradcheck.relative_error(small.forward(x), twin.forward(x)) <= TOLERANCE
    tied = surgery.remove(net, {"0.W": [0, 2, 3]})
    assert tied.layers[4].shortcut.config() == {"new_channels": 2, "stride": 1}
    assert tied.layers[7].n_in == 5
    again = surgery.remove(small, {"0.W": [0, 2], "4.body.2.W": [0, 1, 3]})  # cuts an index map: 0, 2 of 0, 1, 3
    assert again.layers[4].shortcut.config() == {"new_channels": 1, "stride": 1, "positions": [0, 2]}
    for layer in (twin.layers[0], twin.layers[2].body.layers[2]):
        layer.W.data[2], layer.b.data[2] = 0, 0
    last.W.data[[2, 4]], last.b.data[[2, 4]] = 0, 0
    assert gradcheck.relative_error(again.forward(x), twin.forward(x)) <= TOLERANCE


def test_blocks_vanish_and_their_shortcuts_stay():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Residual(nn.Conv2d(2, 2, 3, rng, padding=1)), *shortcut_net(rng).layers)
    twin = copy.deepcopy(net)
    for module in (twin.layers[0].body, twin.layers[5].body.layers[2]):
        module.W.data[:], module.b.data[:] = 0, 0
    optimizer = nn.SGD(net.parameters(), 0.1)
    small, smaller = surgery.remove_blocks(net, ["0", "5"], optimizer=optimizer)
    assert (type(small.layers[0]), type(small.layers[5])) == (nn.Identity, nn.ZeroPadShortcut)
    assert smaller.parameters == small.parameters() and len(optimizer.parameters) > len(smaller.parameters)
    x = np.random.default_rng(1).standard_normal((*SHAPE, 3))
    assert gradcheck.relative_error(small.forward(x), twin.forward(x)) <= TOLERANCE
    outline = surgery.remove_blocks(nn.models.resnet_cifar(8, None), ["5"])
    assert outline.output_shape((3, 32, 32)) == (10,)


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_the_same_in_both_modes(mode):
    """In train mode too, where batch norm takes its statistics from the batch: zeros have no part in the others'."""
    rng = np.random.default_rng(0)
    net = nn.models.resnet_cifar(8, rng)
    keep = {"0.W": [0, 3, 4, 9, 15], "5.body.0.W": [1, 30]}
    gone = [i for i in range(16) if i not in keep["0.W"]]
    for name, p in net.named_parameters():
        layer, _, kind = name.rpartition(".")
        if layer in {"0", "1"} or layer.endswith(("body.3", "body.4")):  # what makes or follows the tied channels
            p.data[gone] = 0
        if layer in {"5.body.0", "5.body.1"}:
            p.data[[i for i in range(32) if i not in keep["5.body.0.W"]]] = 0
    small = surgery.remove(net, keep)
    getattr(net, mode)(), getattr(small, mode)()
    x, t, loss = rng.standard_normal((3, 8, 8, 3)), np.array([1, 5, 9]), nn.SoftmaxCrossEntropy()
    tags = surgery.remove(tagged(net), keep)
    vectors = []
    for each in (small, net):
        loss.forward(each.forward(x), t)
        vectors.append(each.backward(loss.backward()))
    assert gradcheck.relative_error(*vectors) <= TOLERANCE
    assert gradcheck.relative_error(gradcheck.flat(small, "grad"), kept_numbers(net, tags, "grad")) <= TOLERANCE


def test_every_library(library):
    rng = np.random.default_rng(0)
    net = small_net(rng).eval()
    net.layers[0].W.data[[0, 3, 4]] = 0
    keep, x = {"0.W": [1, 2, 5]}, rng.standard_normal((*SHAPE, 3))
    other, z = copy.deepcopy(net).to(library.xp), library.xp.asarray(x)
    small = surgery.remove(surgery.fold_constants(other, keep, SHAPE), keep)
    small = surgery.remove_unused_paths(surgery.remove_columns(small, {"8.W": [0, 3]}), SHAPE)
    whole = columns_zeroed(net, {"8.W": [0, 3]})
    assert gradcheck.relative_error(to_numpy(surgery.fold_batchnorm(small).forward(z)), whole.forward(x)) <= TOLERANCE
    assert sum(p.data.shape[0] for p in small.parameters()) < sum(p.data.shape[0] for p in net.parameters())


def test_float32_stays_float32():
    net = nn.models.lenet5(np.random.default_rng(0), 1, 16, 3, np.float32, filters=(3, 4), hidden=5)
    small = surgery.remove(net, {"0.W": [0, 2]})
    folded = surgery.fold_constants(net, {"0.W": range(3)}, (1, 16, 16))
    assert {p.dtype for each in (small, folded) for p in each.parameters()} == {np.dtype(np.float32)}


def first_channels(group, net):
    """{weight: rows that stay} and {parameter: rows that go} for the first channel of a group, and of its second half.

    Two channels go, so that convolutions in two groups keep equal numbers.
    """
    keep, zero, parameters = {}, {}, dict(net.named_parameters())
    both = {0, group.channels // 2}
    for member in group.members:
        rows = [row for i, row in enumerate(member.positions) if i in both]
        for array in member.arrays if member.role in ("producer", "follower") else ():
            if f"{member.name}.{array}" in parameters:
                zero[f"{member.name}.{array}"] = rows
        if member.role == "producer":
            keep[f"{member.name}.W"] = [row for row in range(len(member.positions)) if row not in both]
    return keep, zero


@pytest.mark.parametrize("name", TINY)
def test_all_groups_of_every_architecture(name):
    """What `channels.groups` lists is all that `remove` needs, and all that the masked twin has at zero."""
    net, x, _ = build_model(name)
    twin, keep = copy.deepcopy(net.eval()), {}
    cut = [group for group in channels.groups(net) if not group.fixed and group.channels > 2]
    if name == "lenet1990":
        with pytest.raises(ValueError, match=r"4\.1\.0 would be left without channels"):
            surgery.remove(net, first_channels(cut[0], net)[0])  # some kernels see one map alone
        cut = cut[1:]
    for group in cut:
        stay, zero = first_channels(group, net)
        keep |= stay
        for parameter, rows in zero.items():
            dict(twin.named_parameters())[parameter].data[rows] = 0
    small, y = surgery.remove(net, keep), twin.forward(x)
    t = np.random.default_rng(1).standard_normal(y.shape)
    assert_same_net(small, twin, surgery.remove(tagged(net), keep), x, t)
    assert cut and nn.checkpoint.architecture(small) != nn.checkpoint.architecture(net)


def test_used_columns_are_those_that_are_not_zero():
    net = nn.models.lenet5(np.random.default_rng(0), size=16, filters=(3, 4), hidden=5)
    W = net.layers[2].W.data
    W[:, 1, 2:4], W[:, 0, 0, 0] = 0, 0
    net.layers[5].W.data[:] = 0
    used = surgery.used_columns(net, ["2.W", "5.W"])
    expected = [k for k in range(75) if k != 0 and not (25 + 10 <= k < 25 + 20)]
    assert used == {"2.W": expected, "5.W": [0]}
    x = np.random.default_rng(1).random((1, 16, 16, 2))
    np.testing.assert_allclose(surgery.remove_columns(net, used).forward(x), net.forward(x), rtol=1e-12)
