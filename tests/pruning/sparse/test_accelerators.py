"""The cycle models: against machines that are stepped cycle by cycle, exact identities, and the committed nets."""

import itertools
import math
from pathlib import Path

import numpy as np
import pytest

import nn
from pruning import counts, masks, sparse
from pruning.sparse import accelerators

NETS = Path(__file__).parents[3] / "notebooks" / "nets"


def weights(shape, density=1.0, seed=0):
    rng = np.random.default_rng(seed)
    return rng.uniform(1, 2, shape) * (rng.random(shape) < density)


# ---- machines, stepped ----------------------------------------------------------------------------------------------
def jobs(row):
    """The cycles of a unit with one filter, window by window: up to 16 of the nonzeros are taken a cycle."""
    for start in range(0, len(row), 256):
        left, cycles = [w for w in row[start : start + 256] if w != 0], 0
        while left or cycles == 0:
            left, cycles = left[16:], cycles + 1
        yield cycles


def stepped(W):
    """Units with a queue each, until the last is empty."""
    queues = [[cycles for row in W[u::16] for cycles in jobs(row)] for u in range(16)]
    clock = 0
    while any(queues):
        clock += 1
        for queue in queues:
            if queue:
                queue[0] -= 1
                if queue[0] == 0:
                    queue.pop(0)
    return clock


def in_step(W):
    """All units begin their next 256 inputs together."""
    clock = 0
    for first in range(0, len(W), 16):
        for together in zip(*(list(jobs(row)) for row in W[first : first + 16])):
            clock += max(together)
    return clock


def lanes(nonzeros):
    """Lanes with a queue of bricks each; an empty brick takes the cycle in which it is looked at."""
    queues = [list(nonzeros[lane::16]) for lane in range(16)]
    clock = 0
    while any(queues):
        clock += 1
        for queue in queues:
            if queue:
                queue[0] -= 1
                if queue[0] <= 0:
                    queue.pop(0)
    return clock


SHAPES = [(1, 1), (16, 256), (17, 257), (40, 500), (5, 1152), (33, 16), (10, 3, 5, 5)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("density", [0, 0.02, 0.3, 1])
def test_cambricon_x_is_the_machine_that_is_stepped(shape, density):
    W = weights(shape, density)
    matrix = W.reshape(shape[0], -1)
    assert accelerators.asynchronous(W) == stepped(matrix)
    assert accelerators.lockstep(W) == in_step(matrix)
    assert accelerators.dense(W) == stepped(np.ones(matrix.shape))


@pytest.mark.parametrize("number", [1, 9, 16, 36, 40, 144])
def test_cnvlutin_is_the_machine_that_is_stepped(number):
    nonzeros = np.random.default_rng(number).integers(0, 17, (number, 5))
    np.testing.assert_array_equal(accelerators.slowest_lane(nonzeros), [lanes(window) for window in nonzeros.T])


# ---- identities -----------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("shape", SHAPES)
def test_dense_weights_take_exactly_the_dense_cycles(shape):
    W = weights(shape)
    assert accelerators.asynchronous(W) == accelerators.lockstep(W) == accelerators.dense(W)
    O, K = shape[0], math.prod(shape[1:])
    assert accelerators.dense(0 * W) == accelerators.dense(W) == math.ceil(O / 16) * math.ceil(K / 16)


@pytest.mark.parametrize("seed", range(20))
def test_asynchronous_is_at_most_lockstep_which_is_at_most_dense_and_16_is_the_most(seed):
    rng = np.random.default_rng(seed)
    W = weights(tuple(rng.integers(1, [60, 800])), rng.uniform(0, 1), seed)
    fast, slow, whole = accelerators.asynchronous(W), accelerators.lockstep(W), accelerators.dense(W)
    assert whole / 16 <= fast <= slow <= whole
    assert accelerators.dense(np.ones((32, 512))) == 16 * accelerators.asynchronous(np.zeros((32, 512)))


@pytest.mark.parametrize("k", [1, 2, 9])
def test_16_k_dense_bricks_take_as_long_as_in_the_baseline(k):
    assert accelerators.slowest_lane(np.full((16 * k, 1), 16)).tolist() == [16 * k]


def test_no_activation_left_is_16_times_as_fast_and_few_dense_bricks_are_slower():
    assert accelerators.slowest_lane(np.zeros((144, 1))).tolist() == [9]
    for channels, speedup in ((16, 9 / 16), (32, 18 / 32), (64, 36 / 48), (128, 72 / 80), (256, 1)):
        dense = np.full((9 * channels // 16, 1), 16)
        assert len(dense) / accelerators.slowest_lane(dense)[0] == speedup


def test_bricks_have_16_channels_at_one_place():
    x = weights((40, 3, 2, 5), 0.4)
    found = accelerators.bricks(x)
    assert found.shape == (3, 3, 2, 5)
    for b, (h, w, n) in itertools.product(range(3), np.ndindex(3, 2, 5)):
        assert found[b, h, w, n] == np.count_nonzero(x[16 * b : 16 * b + 16, h, w, n])


def test_the_layers_that_the_trial_had():
    """Rates of a first trial, to its printed digits: single layers with random zeros."""
    rng = np.random.default_rng(0)
    for density, printed in ((0.1, 7.53), (0.01, 14.4)):
        W = rng.random((512, 1152)) < density
        assert accelerators.dense(W) / accelerators.asynchronous(W) == pytest.approx(printed, rel=0.01)
    x = (rng.random((256, 12, 12, 2)) < 0.56).astype(float)
    net = nn.Sequential(nn.Conv2d(256, 256, 1, rng), nn.Conv2d(256, 256, 3, rng))
    net.layers[0].W.data = np.eye(256)[:, :, None, None]
    assert accelerators.cnvlutin(net, x).layers[1].speedup == pytest.approx(1.58, rel=0.02)


# ---- nets -----------------------------------------------------------------------------------------------------------
def test_lenet5_and_the_committed_nets_on_cambricon_x():
    whole = sparse.cambricon_x(nn.models.lenet5(np.random.default_rng(0)), (1, 28, 28))
    assert [layer.dense for layer in whole.layers] == [576 * 2 * 2, 64 * 4 * 32, 32 * 50, 32]
    assert whole.dense == whole.cycles == 12128 and whole.macs == 2_293_000 and whole.speedup == 1
    printed = {  # over the dense LeNet-5: the dense machine, and Cambricon-X
        "conv110": (12.2, 12.2), "conv290-teacher": (10.5, 10.5), "conv650": (9.5, 9.5), "whole6050": (1.8, 3.7),
        "whole1537-teacher": (2.7, 8.1), "whole2750-teacher": (8.2, 8.2),
    }  # fmt: skip
    for name, rates in printed.items():
        found = sparse.cambricon_x(nn.checkpoint.load(NETS / f"lenet5-{name}.npz"), (1, 28, 28))
        assert (round(12128 / found.dense, 1), round(12128 / found.cycles, 1)) == rates, name
        slower = sparse.cambricon_x(nn.checkpoint.load(NETS / f"lenet5-{name}.npz"), (1, 28, 28), sparse.lockstep)
        assert found.cycles <= slower.cycles <= found.dense


def test_a_net_has_the_multiplications_that_counts_has_and_masks_leave():
    net = nn.models.lenet5(np.random.default_rng(0))
    scores = {name: np.abs(parameter.data) for name, parameter in masks.prunable(net).items()}
    masks.apply(net, masks.smallest(scores, 0.9))
    found, counted = sparse.cambricon_x(net, (1, 28, 28)), counts.count(net, (1, 28, 28)).layers
    assert [layer.name for layer in found.layers] == [layer.name for layer in counted] == ["0", "2", "5", "7"]
    for layer, whole in zip(found.layers, counted):
        W = net.layers[int(layer.name)].W.data
        assert layer.macs * W.size == whole.macs * np.count_nonzero(W)
        positions = math.prod(whole.output[1:])
        assert layer.cycles == positions * stepped(W.reshape(len(W), -1))


def by_loops(layer, x):
    """Cycles of a convolution with padding on Cnvlutin, window by window of every image, mean over the images."""
    C, H, W, N = x.shape
    (PH, _), (PW, _) = layer.geometry.padding
    SH, SW = layer.geometry.stride
    _, OH, OW = layer.output_shape((C, H, W))
    whole = cycles = macs = 0
    for n, i, j in itertools.product(range(N), range(OH), range(OW)):
        window = []
        for c, a, b in itertools.product(range(0, C, 16), *map(range, layer.geometry.kernel)):
            h, w = i * SH + a - PH, j * SW + b - PW
            window.append(np.count_nonzero(x[c : c + 16, h, w, n]) if 0 <= h < H and 0 <= w < W else 0)
        turns = math.ceil(layer.c_out / 256)
        whole, cycles = whole + turns * len(window), cycles + turns * lanes(window)
        macs += layer.c_out * sum(window)
    return macs / N, whole / N, cycles / N


@pytest.mark.parametrize(("c_in", "c_out", "stride", "padding"), [(20, 7, 1, 0), (16, 300, 2, 1), (40, 3, 1, 2)])
def test_cnvlutin_on_a_net_is_the_machine_that_is_stepped(c_in, c_out, stride, padding):
    rng = np.random.default_rng(0)
    first = nn.Conv2d(3, c_in, 1, rng)
    first.b.data = rng.standard_normal(c_in)
    conv = nn.Conv2d(c_in, c_out, 3, rng, stride=stride, padding=padding)
    head = nn.Linear(c_out, 10, rng)
    net = nn.Sequential(first, nn.ReLU(), conv, nn.ReLU(), nn.GlobalAvgPool2d(), head)
    x = rng.standard_normal((3, 6, 5, 4))
    found = sparse.cnvlutin(net, x).layers
    inner = nn.ReLU().forward(first.forward(x))
    assert (found[1].macs, found[1].dense, found[1].cycles) == by_loops(conv, inner)
    assert found[0].dense == found[0].cycles == 30 * math.ceil(c_in / 256) and found[0].macs == 30 * 3 * c_in
    pooled = net.layers[4].forward(net.layers[3].forward(conv.forward(inner)))
    assert found[2].dense == math.ceil(c_out / 16)
    assert found[2].cycles == np.mean([lanes(column) for column in accelerators.bricks(pooled).T])


def test_the_first_layer_is_as_in_the_baseline_whatever_its_zeros():
    net = nn.Sequential(nn.Conv2d(1, 4, 3, np.random.default_rng(0)))
    found = sparse.cnvlutin(net, np.zeros((1, 8, 8, 2)))
    assert found.cycles == found.dense == 36 * 9 and found.speedup == 1 and found.macs == 4 * 36 * 9


def test_groups_see_their_own_channels():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(32, 32, 1, rng), nn.Conv2d(32, 40, 3, rng, groups=2))
    found = sparse.cambricon_x(net, (32, 5, 5)).layers[1]
    assert found.dense == found.cycles == 9 * 2 * math.ceil(20 / 16) * math.ceil(16 * 9 / 16)
    on_other = sparse.cnvlutin(net, rng.standard_normal((32, 5, 5, 2))).layers[1]
    assert (on_other.dense, on_other.cycles) == (9 * 2 * 9, 9 * 2 * 16)


def test_the_net_is_as_it_was():
    net = nn.models.lenet5(np.random.default_rng(0)).train()
    sparse.cnvlutin(net, np.ones((1, 28, 28, 2)))
    assert net.training and not any("forward" in vars(layer) for layer in net.modules())


# ---- index costs ----------------------------------------------------------------------------------------------------
def decoded(alive):
    """Write steps of 4 bits with stored zeros and read them again; return the units and the number of entries."""
    entries, last = [], -1
    for place in np.flatnonzero(alive):
        while place - last > 16:
            entries.append((15, 0))
            last += 16
        entries.append((place - last - 1, 1))
        last = place
    found, at = np.zeros(alive.size, int), -1
    for step, value in entries:
        assert 0 <= step < 16
        at += step + 1
        found[at] = value
    return found, len(entries)


@pytest.mark.parametrize("granularity", sparse.INSIDE)
@pytest.mark.parametrize("sparsity", [0, 0.5, 0.9, 0.98])
def test_bits_of_the_three_codes(granularity, sparsity):
    W = weights((50, 20, 5, 5))
    W = W * sparse.granularity_mask(W, granularity, sparsity)
    alive = W.any(axis=sparse.INSIDE[granularity]).ravel()
    found, kept = sparse.index_bits(W, granularity), np.count_nonzero(W)
    back, entries = decoded(alive)
    np.testing.assert_array_equal(back, alive)
    assert (found.units, found.kept) == (alive.size, alive.sum())
    assert found.bitmap == alive.size / kept and found.steps == 4 * entries / kept
    exact = math.log2(math.comb(alive.size, int(alive.sum())))
    assert found.entropy == pytest.approx(exact / kept, rel=1e-9, abs=1e-9) and found.entropy <= found.bitmap


def test_a_step_of_16_needs_no_stored_zero_and_one_of_17_does():
    for place, entries in ((15, 1), (16, 2), (31, 2), (32, 3)):
        W = np.zeros((1, 64, 1, 1))
        W[0, place] = 1
        assert sparse.index_bits(W, "weight").steps == 4 * entries


def test_the_numbers_of_the_trial():
    """Bits of index for each kept weight at 90 %, conv2 of LeNet-5, to the digits that were noted."""
    W = np.random.default_rng(0).standard_normal((50, 20, 5, 5))
    noted = {"weight": (10, 4.90, 4.69), "vector": (2, 0.98, 0.94), "kernel": (0.4, 0.20, 0.19)}
    for granularity, numbers in noted.items():
        found = sparse.index_bits(W * sparse.granularity_mask(W, granularity, 0.9), granularity)
        assert (found.bitmap, found.steps, found.entropy) == pytest.approx(numbers, rel=0.03)
    found = sparse.index_bits(W * sparse.granularity_mask(W, "filter", 0.9), "filter")
    assert found.bitmap == 0.02 and round(found.entropy, 3) == 0.008 and 0.008 <= found.steps < 0.013


# ---- what makes no sense --------------------------------------------------------------------------------------------
def test_what_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"a weight \(O, ...\) of at least two axes and one entry, got shape \(3,\)"):
        accelerators.asynchronous(np.ones(3))
    with pytest.raises(ValueError, match=r"got shape \(0, 4\)"):
        accelerators.dense(np.ones((0, 4)))
    with pytest.raises(TypeError):
        accelerators.lockstep([[1.0]])
    for net in (nn.Sequential(nn.ReLU()), nn.models.lenet5(None)):
        with pytest.raises(ValueError, match="a net with weights in convolutions or affine layers, got"):
            sparse.cambricon_x(net, (1, 28, 28))
    with pytest.raises(ValueError, match="got none or an outline"):
        sparse.cnvlutin(nn.models.lenet5(None), np.ones((1, 28, 28, 1)))
    with pytest.raises(TypeError):
        sparse.cnvlutin(nn.models.lenet5(rng), "images")
    with pytest.raises(TypeError):
        sparse.cambricon_x("net", (1, 28, 28))
    with pytest.raises(ValueError, match="a granularity of weight, vector, kernel, filter, got 'row'"):
        sparse.index_bits(np.ones((1, 1, 1, 1)), "row")
    for W in (np.zeros((1, 2, 3, 3)), np.ones((2, 3))):
        with pytest.raises(ValueError, match="that is not all zero, got one of shape"):
            sparse.index_bits(W, "weight")
    with pytest.raises(TypeError):
        sparse.index_bits(3.0, "weight")
