import copy
import itertools

import numpy as np
import pytest

import nn
from pruning import counts, filters, masks, surgery
from pruning.scores import chance, filter_norm


def chain(widths=(5, 7, 6), seed=0):
    rng = np.random.default_rng(seed)
    layers = []
    for c_in, c_out in itertools.pairwise((2, *widths)):
        layers += [nn.Conv2d(c_in, c_out, 3, rng, padding=1), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(widths[-1] * 16, 3, rng))


def normed(seed=0):
    rng = np.random.default_rng(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 8, 3, rng),
        nn.BatchNorm(8),
        nn.ReLU(),
        nn.Conv2d(8, 4, 3, rng),
        nn.Flatten(),
        nn.Linear(16, 3, rng),
    )
    net.layers[1].running_variance = rng.uniform(0.5, 2, 8)
    return net


@pytest.mark.parametrize("norm", [1, 2])
def test_norms_by_plain_loops(norm):
    net = chain()
    for name, found in filter_norm.saliency(net, norm=norm).items():
        W = dict(net.named_parameters())[name].data
        expected = [sum(abs(w) ** norm for w in W[j].ravel().tolist()) ** (1 / norm) for j in range(len(W))]
        np.testing.assert_allclose(found, expected, rtol=1e-13)


def test_masks_take_the_scores_as_they_are():
    net = chain()
    before = copy.deepcopy(net)
    keep = masks.smallest(filter_norm.saliency(net, ["0.W", "2.W"]), 0.4, "layer")
    masks.apply(net, keep)
    for name, mask in keep.items():
        W, old = dict(net.named_parameters())[name].data, dict(before.named_parameters())[name].data
        np.testing.assert_array_equal(W, old * mask[:, None, None, None])
        assert dict(net.named_parameters())[name].mask.shape == W.shape
    assert sum(int((mask == 0).sum()) for mask in keep.values()) == 5


def test_a_mask_of_rows_takes_the_dtype_and_the_shape_of_its_weight():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 2, rng, dtype=np.float32), nn.Flatten(), nn.Linear(3, 2, rng, dtype=np.float32))
    old = net.layers[0].W.data.copy()
    for rows in (np.array([True, False, True]), np.array([1, 0, 1])):
        masks.apply(net, {"0.W": rows, "2.b": np.array([0, 1])})
        W, b = net.layers[0].W, net.layers[2].b
        assert (W.data.dtype, W.mask.dtype, b.mask.dtype) == (np.float32,) * 3 and W.mask.shape == (3, 2, 2, 2)
        np.testing.assert_array_equal(W.data, old * np.array([1, 0, 1])[:, None, None, None])
        np.testing.assert_array_equal(b.mask, [0, 1])
    with pytest.raises(ValueError, match="zeros and ones for 0"):
        masks.apply(net, {"2.W": np.zeros((2, 3)), "0.W": np.array([1, 0.5, 1])})
    assert net.layers[2].W.mask is None and net.layers[2].W.data.any()  # nothing is changed then


def test_a_tenth_of_twenty_is_two():
    assert int(20 * (1 - 0.9)) == 1  # the trap
    assert filters.kept(20, 0.9) == 2
    assert [filters.kept(n, p) for n, p in ((64, 0.5), (16, 0.6), (512, 0.1), (3, 0.99), (10, 0.3), (10, 0.0))] == [
        32,
        6,
        460,
        1,
        7,
        10,
    ]
    for n in range(1, 60):
        for tenths in range(10):
            assert filters.kept(n, tenths / 10) == max(1, n * (10 - tenths) // 10)


@pytest.mark.parametrize("number", [float, np.float64, np.float32, np.float16, str, np.array])
def test_shares_of_every_kind_of_number_are_taken_as_written(number):
    if number is str:
        with pytest.raises(ValueError, match="from 0 to 1"):
            filters.kept(20, "0.9")
    else:
        assert [filters.kept(20, number(p)) for p in (0.9, 0.1, 0.35)] == [2, 18, 13]
    with pytest.raises(ValueError, match=r"expected a sparsity from 0 to 1 .*, got True"):
        filters.kept(20, True)


def test_the_largest_stay_and_among_equals_the_first():
    scores = {"a": np.array([1.0, 3.0, 3.0, 2.0, 3.0])}
    assert filters.largest(scores, {"a": 0.4}) == {"a": [1, 2, 4]}
    assert filters.largest(scores, {"a": 0.6}) == {"a": [1, 2]}


def test_greedy_leaves_out_what_saw_removed_maps():
    net = chain((2, 2))
    W1, W2 = net.layers[0].W, net.layers[2].W
    W1.data[0], W1.data[1] = 1.0, 0.1  # filter 1 goes
    W2.data[0, 0], W2.data[0, 1] = 0.1, 5.0  # strong by the map that goes
    W2.data[1, 0], W2.data[1, 1] = 1.0, 0.1
    shares = {"0.W": 0.5, "2.W": 0.5}
    assert filters.independent(net, shares, filter_norm.saliency) == {"0.W": [0], "2.W": [0]}
    assert filters.greedy(net, shares, filter_norm.saliency) == {"0.W": [0], "2.W": [1]}


def test_greedy_is_independent_if_nothing_goes_in_front():
    net = chain()
    for shares in ({"4.W": 0.5}, {"0.W": 0.0, "2.W": 0.4}):
        assert filters.greedy(net, shares, filter_norm.saliency) == filters.independent(
            net, shares, filter_norm.saliency
        )


def test_greedy_equals_sums_over_the_kernels_that_stay():
    net = chain((16, 16, 16), seed=2)
    shares = {"0.W": 0.5, "2.W": 0.5, "4.W": 0.5}
    found = filters.greedy(net, shares, filter_norm.saliency)
    inputs = [0, 1]
    for name in shares:
        W = dict(net.named_parameters())[name].data
        sums = np.abs(W[:, inputs]).sum(axis=(1, 2, 3))
        inputs = sorted(np.argsort(-sums, kind="stable")[:8].tolist())
        assert found[name] == inputs
    assert found != filters.independent(net, shares, filter_norm.saliency)


def test_greedy_refuses_a_layer_that_was_cut_with_another():
    rng = np.random.default_rng(0)
    body = nn.Sequential(nn.Conv2d(4, 3, 3, rng, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 3, rng, padding=1))
    net = nn.Sequential(nn.Conv2d(2, 4, 3, rng), nn.Residual(body), nn.GlobalAvgPool2d(), nn.Linear(4, 3, rng))
    with pytest.raises(ValueError, match=r"^1\.body\.2\.W lost filters with those of 0\.W, 1\.body\.0\.W: only one"):
        filters.greedy(net, {"0.W": 0.5, "1.body.0.W": 0.4, "1.body.2.W": 0.5}, filter_norm.saliency)
    assert filters.greedy(net, {"0.W": 0.5, "1.body.0.W": 0.4}, filter_norm.saliency).keys() == {"0.W", "1.body.0.W"}


def test_under_batch_norm_the_ranking_is_arbitrary_until_it_is_folded():
    net = normed()
    x = np.random.default_rng(3).standard_normal((2, 6, 6, 4))
    twin = copy.deepcopy(net)
    stretch = np.array([0.1, 9, 0.5, 3, 2, 7, 0.3, 1])
    conv, norm = twin.layers[0], twin.layers[1]
    conv.W.data = conv.W.data * stretch[:, None, None, None]
    norm.running_mean = norm.running_mean * stretch  # and the convolution's biases are zero
    norm.running_variance = (norm.running_variance + norm.eps) * stretch**2 - norm.eps
    np.testing.assert_allclose(twin.eval().forward(x), net.eval().forward(x), rtol=1e-10, atol=1e-12)
    plain = [filter_norm.saliency(n, ["0.W"])["0.W"] for n in (net, twin)]
    folded = [filter_norm.saliency(surgery.fold_batchnorm(n), ["0.W"])["0.W"] for n in (net, twin)]
    assert (np.argsort(plain[0]) != np.argsort(plain[1])).any()
    np.testing.assert_allclose(folded[0], folded[1], rtol=1e-10)


@pytest.mark.parametrize("wrap", [nn.Sequential, nn.Concat])
def test_a_norm_behind_a_container_is_not_folded_and_the_scores_are_the_plain_ones(wrap):
    first, *rest = normed().layers
    net = nn.Sequential(wrap(first), *rest)
    rest[0].gamma.data = rest[0].gamma.data * np.arange(1.0, 9.0)
    folded = surgery.fold_batchnorm(net)
    assert any(isinstance(module, nn.BatchNorm) for module in folded.modules())
    score = lambda net, names: filter_norm.saliency(surgery.fold_batchnorm(net), names)  # noqa: E731
    np.testing.assert_array_equal(score(net, ["0.0.W"])["0.0.W"], filter_norm.saliency(net, ["0.0.W"])["0.0.W"])
    keep = filters.independent(nn.Sequential(first, *rest), {"0.W": 0.5}, score)
    sums = abs(first.W.data).sum(axis=(1, 2, 3)) * rest[0].gamma.data / np.sqrt(rest[0].running_variance + rest[0].eps)
    assert keep == {"0.W": sorted(np.argsort(-abs(sums))[:4].tolist())}


def test_the_shortcuts_projection_speaks_for_the_block():
    rng = np.random.default_rng(0)
    body = nn.Sequential(nn.Conv2d(3, 6, 3, rng, padding=1), nn.ReLU(), nn.Conv2d(6, 8, 3, rng, padding=1))
    net = nn.Sequential(nn.Residual(body, nn.Conv2d(3, 8, 1, rng)), nn.ReLU(), nn.Flatten(), nn.Linear(128, 3, rng))
    keep = filters.independent(net, {"0.shortcut.W": 0.5}, filter_norm.saliency)
    small = surgery.remove(net, keep)
    sums = np.abs(net.layers[0].shortcut.W.data).sum(axis=(1, 2, 3))
    rows = sorted(np.argsort(-sums)[:4].tolist())
    assert keep == {"0.shortcut.W": rows}
    np.testing.assert_array_equal(small.layers[0].body.layers[2].W.data, body.layers[2].W.data[rows])


def test_a_share_of_the_macs_by_bisection():
    net = nn.models.lenet5(None)
    for target in (0.5, 0.25, 0.9):
        share = filters.share_for_macs(net, ["0.W", "2.W"], (1, 28, 28), target, "conv_only")

        def left(p):
            small = nn.models.lenet5(None, filters=(filters.kept(20, p), filters.kept(50, p)))
            return counts.count(small, (1, 28, 28), "conv_only").macs / 1_888_000

        assert left(share) <= target < left(round(share - 0.001, 3))
    macs = [
        counts.count(
            nn.models.lenet5(None, filters=(filters.kept(20, p / 1000), filters.kept(50, p / 1000))), (1, 28, 28)
        ).macs
        for p in range(0, 1001, 7)
    ]
    assert macs == sorted(macs, reverse=True)  # what bisection needs
    for wrong in (1.5, -0.1, 0, float("nan")):
        with pytest.raises(ValueError, match=f"a share of the MACs above 0, at most 1, got {wrong}"):
            filters.share_for_macs(net, ["0.W"], (1, 28, 28), wrong)
    assert filters.share_for_macs(net, ["0.W", "2.W"], (1, 28, 28), 1.0) == 0.0
    with pytest.raises(ValueError, match="expected the name of at least one parameter, got none"):
        filters.share_for_macs(net, [], (1, 28, 28), 0.5)
    with pytest.raises(ValueError, match=r"the fewest filters that can stay still leave .* more than 0\.1%"):
        filters.share_for_macs(net, ["0.W", "2.W"], (1, 28, 28), 0.001)


def halves(scores, share, groups=2):
    # The best of each of the contiguous groups, by plain loops: floor(n (1 - share)) of all, fewer if not even.
    n = len(scores)
    each = max(1, n * (1000 - round(1000 * share)) // 1000 // groups)
    size = n // groups
    parts = [sorted(range(g * size, (g + 1) * size), key=lambda i: (-scores[i], i))[:each] for g in range(groups)]
    return sorted(row for part in parts for row in part)


def grouped(rng):
    a, b, c, d = (2 * int(n) for n in rng.integers(1, 6, 4) + 1)
    return nn.Sequential(
        nn.Conv2d(2, a, 3, rng, padding=1),  # read by two groups
        nn.ReLU(),
        nn.Conv2d(a, b, 3, rng, padding=1, groups=2),  # made in two groups and read by two
        nn.BatchNorm(b),
        nn.ReLU(),
        nn.Conv2d(b, c, 3, rng, padding=1, groups=2),  # made in two groups
        nn.ReLU(),
        nn.Conv2d(c, d, 3, rng, padding=1),  # no groups
        nn.Flatten(),
        nn.Linear(d * 16, 3, rng),
    )


@pytest.mark.parametrize("seed", range(20))
def test_the_best_of_each_group_stay(seed):
    rng = np.random.default_rng(seed)
    net = grouped(rng)
    shares = {f"{i}.W": float(rng.choice([0.0, 0.3, 0.5, 0.99])) for i in (0, 2, 5, 7)}
    weights = {name: dict(net.named_parameters())[name].data for name in shares}
    plain = {"7.W": 1}  # 7.W is free to keep any
    expected = {
        name: halves([np.abs(w).sum() for w in W], shares[name], plain.get(name, 2)) for name, W in weights.items()
    }
    found = filters.independent(net, shares, filter_norm.saliency)
    assert found == expected
    small = surgery.remove(net, found)
    assert small.forward(rng.standard_normal((2, 4, 4, 3))).shape == (3, 3)

    inputs, expected = [0, 1], {}
    for name, W in weights.items():
        groups = 2 if name in ("2.W", "5.W") else 1
        seen = W.shape[1]
        sums = [
            sum(
                np.abs(w[j - row * groups // len(W) * seen]).sum()
                for j in inputs
                if j // seen == row * groups // len(W)
            )
            for row, w in enumerate(W)
        ]
        inputs = expected[name] = halves(sums, shares[name], plain.get(name, 2))
    found = filters.greedy(net, shares, filter_norm.saliency)
    assert found == expected
    surgery.remove(net, found)

    rows = {}
    cut = [0.0, 0.4, 0.99]
    for name, W in weights.items():
        rows[name] = [len(halves(W[:, 0, 0, 0], share, plain.get(name, 2))) for share in cut]
        measured = filters.sensitivity(
            net, [name], cut, filter_norm.saliency, lambda s, n=name: len(dict(s.named_parameters())[n].data)
        )
        assert measured[name] == rows[name]


ALEXNET = {"0.W": 96, "3.W": 256, "6.W": 384, "8.W": 384, "10.W": 256}
"""Its convolutions and their filters, all of them made or read by two groups."""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("names", "target"),
    [(["0.W"], 0.8), (["3.W"], 0.5), (["6.W"], 0.8), (["8.W"], 0.8), (["10.W"], 0.9), (list(ALEXNET), 0.5)],
)
def test_a_share_of_the_macs_of_alexnet(names, target):
    net, shape = nn.models.alexnet(None), (3, 227, 227)
    share = filters.share_for_macs(net, names, shape, target, "conv_only")
    whole = counts.count(net, shape, "conv_only").macs

    def left(p):
        keep = {name: halves([0.0] * ALEXNET[name], p) for name in names}
        return counts.count(surgery.remove(net, keep), shape, "conv_only").macs / whole

    assert left(share) <= target < left(round(share - 0.001, 3))


def test_one_filter_a_group_may_leave_too_many_macs():
    with pytest.raises(ValueError, match=r"^the fewest filters that can stay still leave 5\d\.\d% .* than 50\.0%$"):
        filters.share_for_macs(nn.models.alexnet(None), ["0.W"], (3, 227, 227), 0.5, "conv_only")


def test_two_groups_that_are_read_by_three_and_groups_behind_a_sum():
    rng = np.random.default_rng(1)
    net = nn.Sequential(nn.Conv2d(4, 12, 1, rng, groups=2), nn.ReLU(), nn.Conv2d(12, 9, 1, rng, groups=3))
    score = chance.saliency(net, rng, ["0.W"])
    for share, stay in ((0.0, 12), (0.4, 6), (0.5, 6), (0.9, 6)):  # a multiple of six
        keep = filters.independent(net, {"0.W": share}, lambda *_: score)["0.W"]
        best = [
            sorted(rows, key=lambda i: -score["0.W"][i])[: len(rows) * stay // 12]
            for rows in (range(4), [4, 5], [6, 7], range(8, 12))
        ]
        assert keep == sorted(itertools.chain(*best))
        assert surgery.remove(net, {"0.W": keep}).layers[2].c_in == stay

    body = nn.Sequential(nn.Conv2d(3, 4, 1, rng), nn.ReLU(), nn.Conv2d(4, 8, 1, rng, groups=2))
    net = nn.Sequential(nn.Residual(body, nn.Conv2d(3, 8, 1, rng)), nn.GlobalAvgPool2d(), nn.Linear(8, 3, rng))
    sums = np.array([8, 7, 6, 5, 4, 3, 2, 1.0])
    keep = filters.independent(net, {"0.shortcut.W": 0.3}, lambda *_: {"0.shortcut.W": sums})
    assert keep == {"0.shortcut.W": [0, 1, 4, 5]}  # five of eight, rounded down
    assert surgery.remove(net, keep).layers[0].body.layers[2].c_out == 4

    body = nn.Conv2d(4, 8, 1, rng)
    shortcut = nn.ZeroPadShortcut(4, positions=[2, 3, 4, 5])
    net = nn.Sequential(nn.Conv2d(3, 4, 1, rng), nn.Residual(body, shortcut), nn.Conv2d(8, 4, 1, rng, groups=2))
    keep = filters.independent(net, {"0.W": 0.5}, lambda *_: {"0.W": sums[:4]})
    assert keep == {"0.W": [0, 2]}  # rows 2 to 5 behind the shortcut, two in each group
    assert surgery.remove(net, keep).layers[2].c_in == 6


def test_groups_of_several_weights_are_even_if_their_shares_are():
    rng = np.random.default_rng(0)
    branches = nn.Concat(nn.Conv2d(3, 4, 1, rng), nn.Conv2d(3, 4, 1, rng))
    net = nn.Sequential(branches, nn.Conv2d(8, 6, 1, rng, groups=2))
    keep = filters.independent(net, {"0.0.W": 0.5, "0.1.W": 0.5}, filter_norm.saliency)
    assert surgery.remove(net, keep).layers[1].c_in == 4
    with pytest.raises(
        ValueError, match=r"^the 2 groups of 1 must keep equal numbers, got 2 channels and 3 filters, 4"
    ):
        surgery.remove(net, {"0.0.W": keep["0.0.W"]})


def test_a_depthwise_convolution_goes_with_its_producer_and_leaves_the_choice_free():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(3, 6, 1, rng), nn.Conv2d(6, 6, 3, rng, groups=6), nn.ReLU(), nn.Conv2d(6, 4, 1, rng))
    sums = np.arange(6.0)
    for name in ("0.W", "1.W"):
        for rule in (filters.independent, filters.greedy):
            keep = rule(net, {name: 0.5}, lambda _, names: {n: sums for n in names})
            assert keep == {name: [3, 4, 5]}
            small = surgery.remove(net, keep)
            assert (small.layers[0].c_out, small.layers[1].groups, small.layers[3].c_in) == (3, 3, 3)
        assert filters.share_for_macs(net, [name], (3, 5, 5), 0.5) > 0
    keep = filters.independent(net, {"0.W": 0.5, "1.W": 0.5}, lambda *_: {"0.W": sums, "1.W": -sums})
    with pytest.raises(ValueError, match=r"^0\.W and 1\.W are tied by the depthwise convolution 1 but were given diff"):
        surgery.remove(net, keep)

    twice = nn.Sequential(nn.Conv2d(3, 4, 1, rng), nn.Conv2d(4, 8, 3, rng, groups=4), nn.Conv2d(8, 2, 1, rng))
    keep = filters.independent(twice, {"0.W": 0.5}, lambda *_: {"0.W": sums[:4]})
    assert keep == {"0.W": [2, 3]} and surgery.remove(twice, keep).layers[1].c_out == 4
    keep = filters.independent(twice, {"1.W": 0.5}, lambda *_: {"1.W": np.array([1, 5, 2, 6, 3, 7, 4, 8.0])})
    with pytest.raises(ValueError, match=r"^rows 0 and 1 of 1\.W are tied by the depthwise convolution 1: both stay"):
        surgery.remove(twice, keep)


def test_sensitivity_cuts_one_layer_at_a_time_and_leaves_the_net_alone():
    net = chain()
    before = [p.data.copy() for p in net.parameters()]
    widths = filters.sensitivity(
        net,
        ["0.W", "4.W"],
        [0.0, 0.5, 0.9],
        filter_norm.saliency,
        lambda small: float(sum(p.data.size for p in small.parameters())),
    )
    total = sum(b.size for b in before)
    assert widths["0.W"] == [total, total - 3 * (18 + 1 + 63), total - 4 * (18 + 1 + 63)]
    assert widths["4.W"] == [total, total - 3 * (63 + 1 + 48), total - 5 * (63 + 1 + 48)]
    for a, b in zip(net.parameters(), before):
        np.testing.assert_array_equal(a.data, b)


def test_the_same_on_three_libraries(library):
    net = chain()
    expected = {norm: filter_norm.saliency(net, norm=norm) for norm in (1, 2)}
    net.to(library.xp)
    for norm in (1, 2):
        for name, found in filter_norm.saliency(net, norm=norm).items():
            np.testing.assert_allclose(nn.backend.to_numpy(found), expected[norm][name], rtol=1e-12)


def test_bad_input_is_one_sentence():
    net = chain()
    with pytest.raises(ValueError, match="the norm 1 or 2, got 3"):
        filter_norm.saliency(net, norm=3)
    with pytest.raises(ValueError, match=r"expected scores of 2\.W, got those of 0\.W"):
        filters.largest(filter_norm.saliency(net, ["0.W"]), {"2.W": 0.5})
    with pytest.raises(ValueError, match=r"one score without NaN for each filter of a, got shape \(2, 2\)"):
        filters.largest({"a": np.ones((2, 2))}, {"a": 0.5})
    with pytest.raises(ValueError, match="sparsity"):
        filters.kept(10, 1.2)
    for wrong in (4, 6):
        with pytest.raises(ValueError, match=rf"for each filter of 0\.W, got shape \({wrong},\)"):
            filters.independent(net, {"0.W": 0.5}, lambda *_, n=wrong: {"0.W": np.ones(n)})
    with pytest.raises(ValueError, match=r"no parameter 9\.W"):
        chance.saliency(net, np.random.default_rng(0), ["9.W"])
    with pytest.raises(ValueError, match=r"mask of shape \(5, 2, 3, 3\) or \(5,\) for 0\.W, got \(4,\)"):
        masks.apply(net, {"0.W": np.ones(4)})


def test_sets_of_unlike_sizes_keep_the_same_fraction():
    """Branches of 3 and 7 in two groups of 5: the second has 2 in the first group and 5 in the second."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Concat(nn.Conv2d(3, 3, 1, rng), nn.Conv2d(3, 7, 1, rng)), nn.Conv2d(10, 6, 1, rng, groups=2))
    scores = {"0.1.W": np.arange(7.0)}
    assert filters.independent(net, {"0.1.W": 0}, lambda *_: scores) == {"0.1.W": list(range(7))}


def test_no_scores_are_refused():
    with pytest.raises(ValueError, match=r"expected one score without NaN for each filter of a, got shape \(0,\)"):
        filters.largest({"a": np.ones(0)}, {"a": 0.5})


def test_among_many_equals_the_lowest_indices_stay():
    scores = np.tile([1.0, 2.0], 200)
    assert filters.largest({"a": scores}, {"a": 0.75})["a"] == list(range(1, 200, 2))


@pytest.mark.parametrize("rng", [0, None, "0", np.random.RandomState(0)])
def test_a_seed_is_no_generator(rng):
    with pytest.raises(
        TypeError, match=r"expected an np\.random\.Generator, for instance np\.random\.default_rng\(0\), got"
    ):
        chance.saliency(chain(), rng)


def test_names_and_shares_from_iterators_are_all_of_them():
    net, names = chain(), ["0.W", "2.W"]
    assert list(filter_norm.saliency(net, iter(names))) == names
    assert list(chance.saliency(net, np.random.default_rng(0), iter(names))) == names
    share = filters.share_for_macs(net, names, (2, 4, 4), 0.5)
    assert filters.share_for_macs(net, iter(names), (2, 4, 4), 0.5) == share > 0
    size = lambda small: sum(p.data.size for p in small.parameters())  # noqa: E731
    listed = filters.sensitivity(net, names, [0.0, 0.5], filter_norm.saliency, size)
    assert filters.sensitivity(net, iter(names), iter([0.0, 0.5]), filter_norm.saliency, size) == listed
    assert list(listed) == names and all(len(each) == 2 for each in listed.values())


def test_a_share_of_the_macs_that_is_reached_exactly_is_reached():
    """The least that can stay is a share that can be asked for, and so is each of those on the way to it."""
    net, shape = nn.models.lenet5(None), (1, 28, 28)
    whole = counts.count(net, shape, "conv_only").macs
    for n in (1, 2, 10):
        small = counts.count(nn.models.lenet5(None, filters=(n, 50)), shape, "conv_only").macs / whole
        share = filters.share_for_macs(net, ["0.W"], shape, small, "conv_only")
        assert filters.kept(20, share) == n < filters.kept(20, round(share - 0.001, 3))
        if n == 1:
            with pytest.raises(ValueError, match="the fewest filters that can stay still leave"):
                filters.share_for_macs(net, ["0.W"], shape, np.nextafter(small, 0), "conv_only")


def test_of_more_than_a_thousand_filters_one_may_stay():
    net = nn.Sequential(nn.Conv2d(1, 3000, 1, None), nn.ReLU(), nn.Flatten(), nn.Linear(3000, 1, None))
    assert filters.share_for_macs(net, ["0.W"], (1, 1, 1), 1 / 3000) == 1.0
    assert filters.share_for_macs(net, ["0.W"], (1, 1, 1), 3 / 3000) == 0.999


def test_shares_and_scores_of_the_wrong_kind_are_one_sentence():
    net, calls = chain(), []
    for wrong in ([np.ones(5)], None, {"0.W": [1.0, 2.0]}):
        with pytest.raises(TypeError, match="expected scores as a dict of arrays by name, got "):
            filters.largest(wrong, {"0.W": 0.5})
    for wrong in ([("0.W", 0.5)], None, 0.5, ["0.W"]):
        for call in (
            lambda shares: filters.largest(filter_norm.saliency(net), shares),
            lambda shares: filters.independent(net, shares, filter_norm.saliency),
            lambda shares: filters.greedy(net, shares, filter_norm.saliency),
        ):
            with pytest.raises(TypeError, match="expected shares as a dict, name of a weight -> share, got "):
                call(wrong)
    with pytest.raises(TypeError, match=r"expected a list of shares, got 0\.5"):
        filters.sensitivity(net, ["0.W"], 0.5, filter_norm.saliency, calls.append)
    for wrong in (0, -3, 2.5, None, "10", np.ones(2)):
        with pytest.raises(ValueError, match="expected a number of filters, at least one, got "):
            filters.kept(wrong, 0.5)
    for scores in ([1.0, np.nan, 2.0], [np.nan] * 3):
        with pytest.raises(ValueError, match=r"one score without NaN for each filter of a, got shape \(3,\)"):
            filters.largest({"a": np.array(scores)}, {"a": 0.5})
    for wrong in ("0.5", None, [0.5]):
        with pytest.raises(ValueError, match="a share of the MACs above 0, at most 1, got "):
            filters.share_for_macs(net, ["0.W"], (2, 4, 4), wrong)
    with pytest.raises(ValueError, match="from 0 to 1"):
        filters.sensitivity(net, ["0.W"], [0.5, 1.5], filter_norm.saliency, calls.append)
    assert not calls
    for wrong in (np.ones(2), None, "1", 0, 1.5):
        with pytest.raises(ValueError, match="expected the norm 1 or 2, got "):
            filter_norm.saliency(net, norm=wrong)


def test_a_convolution_without_groups_that_reads_some_of_the_channels_ties_none_of_them():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 1, rng), nn.Select([1, 3]), nn.Conv2d(2, 5, 1, rng))
    assert filters.alike(net) == {"0.W": [[0, 1, 2, 3]], "2.W": [[0, 1, 2, 3, 4]]}


def test_sets_may_be_tuples():
    sets = {"a": ((0, 2), (1, 3))}
    assert filters.largest({"a": np.array([1.0, 2, 3, 4])}, {"a": 0.5}, sets) == {"a": [2, 3]}
