"""Guided pruning and sparsification against loops in decimals, counting by hand, and masks that are really drawn."""

import itertools
from decimal import ROUND_HALF_UP, Decimal
from fractions import Fraction

import numpy as np
import pytest

import nn
from nn.models import densenet, preresnet, vgg
from pruning import masks
from pruning.architectures import guided
from pruning.counts import count

CIFAR = (3, 32, 32)


def halves_up(x):
    return int(Decimal(x).quantize(Decimal(1), ROUND_HALF_UP))


# ---- stages ----------------------------------------------------------------------------------------------------------
def test_stages_are_the_sizes_of_the_maps():
    net = vgg(16, None)
    per_stage = [1, 1, 2, 2, 3, 3, 3, 4, 4, 4, 5, 5, 5]
    assert list(guided.stages(net, CIFAR).values()) == per_stage
    assert list(guided.stages(net, CIFAR)) == [f"{i}.W" for i, m in enumerate(net.layers) if isinstance(m, nn.Conv2d)]
    dense = guided.stages(densenet(40, None), CIFAR)
    assert [list(dense.values()).count(stage) for stage in (1, 2, 3)] == [1 + 12 + 1, 12 + 1, 12]
    # The first 1x1 of the second block still makes maps of the first stage; its shortcut is left out.
    found = guided.stages(preresnet(11, None), CIFAR)
    assert found == {
        "0.W": 1,
        **{f"1.body.{i}.W": 1 for i in (2, 5, 8)},
        **{"2.body.2.W": 1, "2.body.5.W": 2, "2.body.8.W": 2, "3.body.2.W": 2, "3.body.5.W": 3, "3.body.8.W": 3},
    }
    assert guided.stages(preresnet(11, None), CIFAR, ["3.body.5.W", "2.shortcut.W"]) == {
        "3.body.5.W": 2,
        "2.shortcut.W": 1,
    }


# ---- guided pruning --------------------------------------------------------------------------------------------------
OF = {"a": 16, "b": 16, "c": 32, "d": 33, "e": 7}
STAGES = {"a": 1, "b": 1, "c": "two", "d": "two", "e": 3}


def test_shares_by_hand():
    kept = {"a": 3, "b": 8, "c": 32, "d": 0, "e": 7}
    assert guided.shares(kept, OF, STAGES) == {1: Fraction(11, 32), "two": Fraction(32, 65), 3: Fraction(1)}
    assert guided.widths(OF, STAGES, guided.shares(kept, OF, STAGES)) == {"a": 6, "b": 6, "c": 16, "d": 16, "e": 7}


def test_widths_in_decimals():
    rng = np.random.default_rng(0)
    for _ in range(200):
        of = {str(i): int(n) for i, n in enumerate(rng.integers(1, 513, 6))}
        stages = {name: int(rng.integers(1, 4)) for name in of}
        written = {stage: f"{rng.integers(0, 1001) / 1000:.3f}" for stage in (1, 2, 3)}
        found = guided.widths(of, stages, {stage: float(share) for stage, share in written.items()})
        assert found == {name: max(1, halves_up(Decimal(written[stages[name]]) * n)) for name, n in of.items()}


def test_a_share_is_the_decimal_that_was_written_and_halves_go_up():
    """0.29 of 50 is 14.5, which floating point has as 14.499999999999998; half of 1 is rounded up, of 0.145 to 1."""
    assert guided.widths({"a": 50}, {"a": 1}, {1: 0.29}) == {"a": 15} and round(0.29 * 50) == 14
    assert guided.widths({"a": 5}, {"a": 1}, {1: 0.5}) == {"a": 3}
    assert guided.widths({"a": 5}, {"a": 1}, {1: 0}) == {"a": 1}
    assert guided.widths({"a": 3}, {"a": 1}, {1: Fraction(1, 2)}) == {"a": 2}
    assert guided.widths({"a": np.int64(5)}, {"a": 1}, {1: np.float64(0.5)}) == {"a": 3}


def test_equal_layers_keep_the_average_of_what_was_kept():
    rng = np.random.default_rng(1)
    of = {str(i): 64 for i in range(5)}
    kept = {name: int(rng.integers(1, 65)) for name in of}
    found = guided.widths(of, dict.fromkeys(of, 1), guided.shares(kept, of, dict.fromkeys(of, 1)))
    assert set(found.values()) == {halves_up(Decimal(sum(kept.values())) / 5)}


@pytest.mark.parametrize("most", [8, 9, 100, 150, 5000, 10**6])
@pytest.mark.parametrize("shares", [(1, 1, 1), (0.5, 0.5, 0.5), (0.8, 0.8, 0.2), (Fraction(1, 3), 1, 1), (1, 0, 0.4)])
def test_the_widest_net_is_the_best_of_all_factors(most, shares):
    of, stages = {"a": 4, "b": 6, "c": 9}, dict(zip("abc", "xyz"))
    cost = lambda w: 3 * w["a"] + w["a"] * w["b"] + 4 * w["b"] * w["c"]  # noqa: E731
    each = dict(zip("abc", (Fraction(str(share)) for share in shares)))
    nets = [
        {name: max(1, min(n, int(Fraction(i, 200) * each[name] * n + Fraction(1, 2)))) for name, n in of.items()}
        for i in range(1001)
    ]
    best = max((net for net in nets if cost(net) <= most), key=cost)
    assert guided.widest(of, stages, dict(zip("xyz", shares)), cost, most) == best


def test_uniform_of_equal_macs_on_an_outline():
    def macs(found):
        n = list(found.values())
        return count(vgg(11, None, filters=(n[0], 0, n[1], 0, n[2], n[3], 0), size=8), (3, 8, 8)).macs

    of = {"0": 64, "1": 128, "2": 256, "3": 256}
    found = guided.widest(of, dict.fromkeys(of, 1), {1: 1}, macs, macs(of) / 4)
    assert macs(found) <= macs(of) / 4
    shares = [n / of[name] for name, n in found.items()]
    assert max(shares) - min(shares) <= 1 / 64
    wider = {name: min(of[name], n + 1) for name, n in found.items()}
    assert macs(wider) > macs(of) / 4


# ---- guided sparsification -------------------------------------------------------------------------------------------
def small():
    rng = np.random.default_rng(2)
    layers = [nn.Conv2d(2, 5, 3, rng, padding=1), nn.ReLU(), nn.Conv2d(5, 4, 3, rng, padding=1), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Conv2d(4, 3, 3, rng, dtype=np.float32), nn.Flatten(), nn.Linear(12, 3, rng))


def test_patterns_by_loops():
    rng = np.random.default_rng(3)
    given = {"0.W": rng.integers(0, 2, (5, 2, 3, 3)), "2.W": rng.integers(0, 2, (4, 5, 3, 3)) * 1.0}
    found = guided.patterns(given, {"0.W": 1, "2.W": 1})[1]
    for i, j in itertools.product(range(3), repeat=2):
        alive = [mask[o, c, i, j] for mask in given.values() for o, c in np.ndindex(mask.shape[:2])]
        assert found[i, j] == sum(alive) / 30
    apart = guided.patterns(given, {"0.W": "x", "2.W": "y"})
    np.testing.assert_allclose((10 * apart["x"] + 20 * apart["y"]) / 30, found, rtol=1e-15)


def test_numbers_in_decimals():
    rng = np.random.default_rng(4)
    for kernels in (1, 7, 100, 4096):
        written = [[f"{rng.integers(0, 1001) / 1000:.3f}" for _ in range(3)] for _ in range(2)]
        found = guided.numbers(np.array(written, dtype=float), kernels)
        assert found.tolist() == [[halves_up(Decimal(share) * kernels) for share in row] for row in written]


def test_a_sparse_net_has_exactly_the_pattern_and_is_drawn_at_random():
    net, stages = small(), {"0.W": 1, "2.W": 1, "4.W": 2}
    P = {1: np.array([[0.1, 0.5, 0.9], [1, 0, 0.25], [0.5, 0.33, 0.8]]), 2: np.eye(3)}
    found = guided.sparse(net, stages, P, np.random.default_rng(5))
    for name, kernels in (("0.W", 10), ("2.W", 20), ("4.W", 12)):
        assert found[name].dtype == dict(net.named_parameters())[name].dtype
        assert found[name].sum(axis=(0, 1)).tolist() == guided.numbers(P[stages[name]], kernels).tolist()
    masks.apply(net, found)
    assert set(np.unique(found["0.W"])) == {0, 1}
    again = guided.sparse(small(), stages, P, np.random.default_rng(5))
    other = guided.sparse(small(), stages, P, np.random.default_rng(6))
    assert all((again[name] == found[name]).all() for name in found)
    assert any((other[name] != found[name]).any() for name in found)
    np.testing.assert_array_equal(other["4.W"], found["4.W"])  # all or none: nothing to draw


def test_every_kernel_is_as_likely():
    """4,000 draws of 3 kernels of 8: each stays in 3/8 of them, to four standard errors, and places are independent."""
    net = nn.Sequential(nn.Conv2d(4, 2, (1, 2), None))
    rng, P = np.random.default_rng(7), {1: np.array([[3 / 8, 3 / 8]])}
    drawn = np.array([guided.sparse(net, {"0.W": 1}, P, rng)["0.W"].reshape(8, 2) for _ in range(4000)])
    error = 4 * np.sqrt(3 / 8 * 5 / 8 / 4000)
    assert abs(drawn.mean(axis=0) - 3 / 8).max() < error
    assert abs((drawn[:, :, 0] * drawn[:, :, 1]).mean(axis=0) - 9 / 64).max() < 4 * np.sqrt(9 / 64 * 55 / 64 / 4000)


def test_there_and_back():
    """The pattern of a guided sparse net is the one that guided it, to half a kernel a layer."""
    net, rng = densenet(22, None), np.random.default_rng(8)
    names = [name for name, p in net.named_parameters() if len(p.shape) == 4 and p.shape[-1] == 3]
    stages = guided.stages(net, CIFAR, names)
    P = {stage: np.round(rng.uniform(0, 1, (3, 3)), 3) for stage in (1, 2, 3)}
    back = guided.patterns(guided.sparse(net, stages, P, rng), stages)
    for stage in P:
        layers = [name for name in names if stages[name] == stage]
        kernels = sum(p.shape[0] * p.shape[1] for name, p in net.named_parameters() if name in layers)
        assert abs(back[stage] - P[stage]).max() <= len(layers) / 2 / kernels + 1e-12


@pytest.mark.parametrize("convention", ["li2017", "conv_only"])
def test_the_cost_is_that_of_the_masks_that_are_drawn(convention):
    net, stages = small(), {"0.W": 1, "2.W": 1, "4.W": 2}
    P = {1: np.full((3, 3), 0.3), 2: np.full((3, 3), 0.55)}
    alive = {name: int(mask.sum()) for name, mask in guided.sparse(net, stages, P, np.random.default_rng(9)).items()}
    pixels = {"0.W": 64, "2.W": 64, "4.W": 4}
    fully = 36 if convention == "li2017" else 0
    weights, macs = sum(alive.values()) + fully, sum(n * pixels[name] for name, n in alive.items()) + fully
    assert guided.sparse_cost(net, (2, 8, 8), stages, P, convention) == (macs, weights)


# ---- bad input -------------------------------------------------------------------------------------------------------
NET = small()
ONE = {"0.W": 1}
ALONE = {"a": 4}, {"a": 1}, {1: 1}
THIRD = {1: np.full((3, 3), 1 / 3)}
RNG = np.random.default_rng(0)
REFUSED = {
    "no such convolution": (lambda: guided.stages(NET, (2, 8, 8), ["6.W"]), "names of convolutions, .*; got '6.W'"),
    "image": (lambda: guided.stages(NET, (3, 8, 8)), "2"),
    "other names": (lambda: guided.shares({"a": 1}, {"b": 1}, {"a": 1}), "same names everywhere, got b"),
    "no names": (lambda: guided.widths({}, {}, {}), "same names everywhere, got none"),
    "more than there": (lambda: guided.shares({"a": 5}, {"a": 4}, {"a": 1}), "keep at most 4 filters of a, got 5"),
    "kept -1": (lambda: guided.shares({"a": -1}, {"a": 4}, {"a": 1}), "kept of a of at least 0, got -1"),
    "no filter": (lambda: guided.shares({"a": 0}, {"a": 0}, {"a": 1}), "of a of at least 1, got 0"),
    "half a filter": (lambda: guided.widths({"a": 1.5}, {"a": 1}, {1: 1}), "of at least 1, got 1.5"),
    "no share": (lambda: guided.widths({"a": 4}, {"a": 2}, {1: 1.0}), "expected a share of stage 2, got those of 1"),
    "share 1.1": (lambda: guided.widths({"a": 4}, {"a": 1}, {1: 1.1}), "share from 0 to 1 of stage 1, got 1.1"),
    "share NaN": (lambda: guided.widths({"a": 4}, {"a": 1}, {1: float("nan")}), "from 0 to 1 of stage 1, got nan"),
    "dear": (lambda: guided.widest(*ALONE, lambda w: w["a"], 0.5), "one filter a layer costs more than 0.5"),
    "mask of a matrix": (lambda: guided.patterns({"a": np.ones((2, 3))}, {"a": 1}), r"for a, got shape \(2, 3\)"),
    "mask of halves": (lambda: guided.patterns({"a": np.full((1, 1, 3, 3), 0.5)}, {"a": 1}), "zeros and ones for a"),
    "two sizes": (
        lambda: guided.patterns({"a": np.ones((1, 1, 3, 3)), "b": np.ones((1, 1, 1, 1))}, {"a": 1, "b": 1}),
        r"kernels of \(3, 3\) in stage 1, got \(1, 1\) in b",
    ),
    "pattern above 1": (lambda: guided.numbers(np.full((3, 3), 1.5), 4), r"pattern \(KH, KW\) of shares from 0 to 1"),
    "pattern NaN": (lambda: guided.numbers(np.full((3, 3), np.nan), 4), "shares from 0 to 1, got array"),
    "pattern of a vector": (lambda: guided.numbers(np.ones(3), 4), "expected a pattern"),
    "no kernels": (lambda: guided.numbers(np.ones((3, 3)), 0), "number of kernels of at least 1, got 0"),
    "sparse Linear": (lambda: guided.sparse(NET, {"6.W": 1}, THIRD, RNG), r"got \(3, 12\) of 6.W"),
    "sparse 1x1": (lambda: guided.sparse(NET, ONE, {1: np.ones((1, 1))}, RNG), r"of \(3, 3\) for stage 1.* got one of"),
    "sparse stage": (lambda: guided.sparse(NET, {"0.W": 2}, THIRD, RNG), "for stage 2, that of 0.W, got none"),
    "sparse name": (lambda: guided.sparse(NET, {"1.W": 1}, THIRD, RNG), "no parameter 1.W"),
    "biases": (lambda: guided.sparse_cost(NET, (2, 8, 8), ONE, THIRD, "full"), "weights of 0.W alone, got 'full'"),
}
WRONG_TYPES = {
    "rng": (lambda: guided.sparse(NET, ONE, THIRD, 0), "expected an np.random.Generator"),
    "share": (lambda: guided.widths({"a": 4}, {"a": 1}, {1: "half"}), "number for the share of stage 1, got 'half'"),
    "cost": (lambda: guided.widest(*ALONE, lambda w: "dear", 3), "expected a number for the cost, got 'dear'"),
    "most": (lambda: guided.widest(*ALONE, lambda w: 1, None), "expected a number for the highest cost, got None"),
    "masks": (lambda: guided.patterns([1], {"a": 1}), "expected masks as a dict of arrays by name, got list"),
    "list": (lambda: guided.widths([4], {"a": 1}, {1: 1}), "expected a dict by name, got list"),
}


@pytest.mark.parametrize("case", [*REFUSED, *WRONG_TYPES])
def test_bad_input_is_one_sentence(case):
    call, message = {**REFUSED, **WRONG_TYPES}[case]
    with pytest.raises(ValueError if case in REFUSED else TypeError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
