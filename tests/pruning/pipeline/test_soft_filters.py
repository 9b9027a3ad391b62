"""Soft filters: which are zeroed, that they may come back, how many do, and that a killed run goes on to the bit."""

import itertools
import json

import numpy as np
import pytest
from killing import assert_killed_runs_end_in_the_same_bits

import nn
from nn import gradcheck
from nn.backend import to_numpy
from pruning import surgery
from pruning.pipeline import RandomFilters, SoftFilters

SHARES = {"0.W": 0.5, "3.W": 0.4}


def problem(seed=0, groups=1):
    rng = np.random.default_rng(seed)
    convs = [nn.Conv2d(2, 6, 3, rng), nn.BatchNorm(6), nn.ReLU(), nn.Conv2d(6, 10, 2, rng, groups=groups), nn.ReLU()]
    net = nn.Sequential(*convs, nn.Flatten(), nn.Linear(10 * 9, 3, rng))
    return net, rng.standard_normal((2, 6, 6, 40)), rng.integers(0, 3, 40)


def train(net, x, t, companions, epochs=3, learning_rate=0.05, **settings):
    optimizer = nn.SGD(net.parameters(), learning_rate, momentum=0.9)
    rng = np.random.default_rng(1)
    return nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, epochs, 10, rng, progress=False,
                             companions=companions, **settings)  # fmt: skip


class Watch(nn.Companion):
    def __init__(self, net):
        self.layers, self.seen = (net.layers[0], net.layers[3]), []

    def after_step(self, step):
        self.seen.append([layer.W.data.copy() for layer in self.layers])


def zeros(W):
    return {row for row, w in enumerate(W) if not w.any()}


def test_the_filters_of_smallest_norm_are_zeroed_after_every_epoch_and_move_in_the_next():
    """Zeroed from the state just before: the step of the epoch's end is made again without the companion."""
    net, x, t = problem()
    before, after = Watch(net), Watch(net)
    soft = SoftFilters(net, SHARES, every=4)
    train(net, x, t, [before, soft, after])
    for step, (old, new) in enumerate(zip(before.seen, after.seen), 1):
        for W, V, gone in zip(old, new, (3, 4)):
            sizes = [sum(float(w) ** 2 for w in row.ravel()) for row in W]
            smallest = set(sorted(range(len(W)), key=lambda k: sizes[k])[:gone])
            if step % 4:
                np.testing.assert_array_equal(W, V)
            else:
                assert zeros(V) == smallest and all(np.array_equal(W[k], V[k]) for k in set(range(len(W))) - smallest)
    assert not zeros(before.seen[4][0]) and not zeros(before.seen[4][1])  # one step later all are back
    assert zeros(net.layers[0].W.data) == set(soft.zeroed["0.W"])  # the last epoch ends with zeros
    assert all(u.mask is None for u in net.parameters())
    assert net.layers[1].gamma.data.all() and net.layers[3].b.data.all()


def test_how_many_come_back_is_what_two_choices_in_a_row_differ_in():
    net, x, t = problem()
    soft, seen = SoftFilters(net, SHARES, every=4), []

    class Choices(nn.Companion):
        def after_step(self, step):
            if step % 4 == 0:
                seen.append([zeros(net.layers[0].W.data), zeros(net.layers[3].W.data)])

    train(net, x, t, [soft, Choices()], epochs=8, learning_rate=0.3)
    assert [record["step"] for record in soft.history] == [4 * k for k in range(1, 9)]
    assert {record["zeroed"] for record in soft.history} == {7}
    expected = [0] + [sum(len(a - b) for a, b in zip(one, two)) for one, two in itertools.pairwise(seen)]
    assert [record["came_back"] for record in soft.history] == expected and sum(expected) > 0


def test_a_filter_comes_back_if_the_loss_asks_for_it_and_stays_zeroed_if_nothing_moves():
    net, x, t = problem()
    soft = SoftFilters(net, SHARES, every=1)
    train(net, x, t, [soft], epochs=2, learning_rate=0.0)
    assert [record["came_back"] for record in soft.history] == [0] * 8
    net.layers[0].W.data[soft.zeroed["0.W"][0]] = 100.0
    soft.zero(9)
    assert soft.history[-1]["came_back"] == 1


def test_chance_draws_other_filters_each_time_and_as_many():
    net, x, t = problem()
    random = RandomFilters(net, SHARES, 1, np.random.default_rng(3))
    sets = []
    for step in range(300):
        random.zero(step)
        sets.append(set(random.zeroed["3.W"]))
        assert len(random.zeroed["0.W"]) == 3 and len(sets[-1]) == 4
    shares = [sum(row in chosen for chosen in sets) / 300 for row in range(10)]
    assert all(0.28 < share < 0.52 for share in shares)  # 0.4, four standard errors
    back = np.mean([record["came_back"] for record in random.history[1:]])
    assert abs(back - (3 * 0.5 + 4 * 0.6)) < 0.25  # of 3 half are not drawn again, of 4 six tenths


def test_what_is_left_is_removed_exactly_after_folding_and_not_without():
    net, x, t = problem()
    soft = SoftFilters(net, SHARES, every=4)
    train(net, x, t, [soft])
    net.eval()
    net.layers[1].beta.data, net.layers[3].b.data = (
        np.full(6, 0.5),
        np.full(10, 0.3),
    )  # what is left of a filter at zero
    keep, y = soft.keep(), net.forward(x)
    small = surgery.remove(surgery.fold_constants(net, keep, (2, 6, 6)), keep)
    assert [small.layers[i].c_out for i in (0, 3)] == [3, 6]
    assert gradcheck.relative_error(small.forward(x), y) <= 1e-12
    assert gradcheck.relative_error(surgery.remove(net, keep).forward(x), y) > 1e-2


def test_what_a_shortcut_adds_to_is_trained_so_and_is_not_removed():
    rng = np.random.default_rng(0)
    net, x = nn.models.resnet_cifar(8, rng).eval(), rng.standard_normal((3, 8, 8, 2))
    inner = SoftFilters(net, {"3.body.0.W": 0.5, "5.body.0.W": 0.5}, every=1)
    inner.after_step(1)
    keep, y = inner.keep(), net.forward(x)
    small = surgery.remove(surgery.fold_constants(net, keep, (3, 8, 8), border="map"), keep)
    assert gradcheck.relative_error(small.forward(x), y) <= 1e-12
    outer = SoftFilters(net, {"3.body.3.W": 0.5}, every=1)
    outer.after_step(1)
    with pytest.raises(ValueError, match="is not constant there"):
        surgery.fold_constants(net, outer.keep(), (3, 8, 8))


def test_groups_keep_equal_numbers():
    net, x, t = problem(groups=2)
    net.layers[3].W.data[:5] *= 0.01  # without the groups all four would be of the first
    soft = SoftFilters(net, SHARES, every=4)
    train(net, x, t, [soft], 1)
    assert sum(row < 5 for row in soft.zeroed["3.W"]) == 2 == sum(row >= 5 for row in soft.zeroed["3.W"])


def test_every_library_zeroes_the_same(library):
    net, _, _ = problem()
    net.to(library.xp)
    soft = SoftFilters(net, SHARES, every=1)
    soft.after_step(1)
    reference = problem()[0]
    other = SoftFilters(reference, SHARES, every=1)
    other.after_step(1)
    assert soft.zeroed == other.zeroed
    np.testing.assert_array_equal(to_numpy(net.layers[0].W.data), reference.layers[0].W.data)


@pytest.mark.parametrize("kind", [SoftFilters, RandomFilters])
def test_a_state_is_taken_up_whole(kind):
    """Choices, records and generator: the next choice, and how many came back, are those of the first companion."""
    net, twin = problem()[0], problem()[0]
    first, second = (
        kind(each, SHARES, 1, *([np.random.default_rng(seed)] if kind is RandomFilters else []))
        for seed, each in enumerate((net, twin))
    )
    first.zero(1)
    for ours, theirs in zip(net.parameters(), twin.parameters()):
        theirs.data = ours.data.copy()
    second.load(json.loads(json.dumps(first.state())))
    assert second.state() == first.state() and second.keep() == first.keep()
    for each in (net, twin):
        each.layers[0].W.data[first.keep()["0.W"]] *= 1e-3
        each.layers[0].W.data[sorted(set(range(6)) - set(first.keep()["0.W"]))] = 1.0
    first.zero(2), second.zero(2)
    assert second.state() == first.state() and len(second.history) == 2
    assert first.history[1]["came_back"] > 0


def test_bad_input_is_one_sentence():
    net, _, _ = problem()
    rng = np.random.default_rng(0)
    for call, kind, message in (
        (lambda: SoftFilters(net, [0.5], 1), TypeError, "expected shares as a dict, .* got list"),
        (lambda: SoftFilters(net, {}, 1), ValueError, "weights that make channels, 0.W, 3.W, 6.W; there is none"),
        (lambda: SoftFilters(net, {"1.gamma": 0.5}, 1), ValueError, "weights that make channels, .*; 1.gamma is not"),
        (
            lambda: SoftFilters(net, {"0.W": 1}, 1),
            ValueError,
            "a share from 0 to below 1 for 0.W, got 1: a layer without filters",
        ),
        (lambda: SoftFilters(net, {"0.W": -0.1}, 1), ValueError, "-0.1"),
        (lambda: SoftFilters(net, {"0.W": float("nan")}, 1), ValueError, "a share from 0 to below 1 for 0.W, got nan"),
        (lambda: SoftFilters(net, {"0.W": "0.5"}, 1), TypeError, "expected a number for the share of 0.W, got '0.5'"),
        (lambda: SoftFilters(net, {"0.W": [0.5]}, 1), TypeError, r"a number for the share of 0.W, got \[0.5\]"),
        (lambda: SoftFilters(net, {"0.W": True}, 1), TypeError, "expected a number for the share of 0.W, got True"),
        (lambda: SoftFilters(net, {"0.W": 0.5}, 0), ValueError, "number of steps of an epoch of at least 1, got 0"),
        (lambda: RandomFilters(net, {"0.W": 0.5}, 1, 3), TypeError, "expected an np.random.Generator, .* got 3"),
        (lambda: SoftFilters([net], {"0.W": 0.5}, 1), TypeError, "expected a net, got list"),
    ):
        with pytest.raises(kind, match=message):
            call()
    first, second = nn.Conv2d(2, 2, 1, rng), nn.Conv2d(2, 2, 1, rng)
    second.W = first.W
    with pytest.raises(ValueError, match="are one parameter"):
        SoftFilters(nn.Sequential(first, nn.ReLU(), second), {"0.W": 0.5}, 1)
    soft, random = SoftFilters(net, SHARES, 1), RandomFilters(net, SHARES, 1, rng)
    soft.zero(1)
    good = soft.state()
    for state in (
        {},
        {"zeroed": {}},
        good | {"zeroed": {"6.W": [0]}},
        good | {"zeroed": {"0.W": [6], "3.W": []}},
        good | {"zeroed": {"0.W": [0]}},
        good | {"zeroed": {"0.W": [0, 0], "3.W": []}},
        good | {"zeroed": {"0.W": 0, "3.W": []}},
        good | {"history": [1]},
        good | {"history": [{"step": 1}]},
        good | {"history": None},
        good | {"a": 1},
    ):
        with pytest.raises(ValueError, match=r"expected the zeroed filters of 0\.W, 3\.W, got"):
            SoftFilters(net, SHARES, 1).load(state)
    for state, message in ((good, "the state of the generator that draws the filters, got none"),
                           (good | {"rng": {"state": 1}}, "no state of the random generator PCG64")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            random.load(state)
    assert soft.keep() == {
        name: sorted(set(range(n)) - set(soft.zeroed[name])) for name, n in (("0.W", 6), ("3.W", 10))
    }


RUN = """
from pruning.pipeline import {kind}

rng = np.random.default_rng(0)
net = nn.Sequential(nn.Conv2d(2, 6, 3, rng), nn.BatchNorm(6), nn.ReLU(), nn.Flatten(), nn.Linear(54, 3, rng))
x, t = rng.standard_normal((2, 5, 5, 60)), rng.integers(0, 3, 60)
optimizer = nn.SGD(net.parameters(), 0.05, 0.9)
soft = {kind}(net, {{"0.W": 0.5}}, 6{more})
nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, 60, 10, np.random.default_rng(1), companions=[soft],
                  checkpoint_path=path, checkpoint_every=2, progress=False)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "more"), [("SoftFilters", ""), ("RandomFilters", ", np.random.default_rng(2)")])
def test_kill_9_and_resume_ends_in_the_same_bits(kind, more, tmp_path):
    assert_killed_runs_end_in_the_same_bits(RUN.format(kind=kind, more=more), tmp_path)
