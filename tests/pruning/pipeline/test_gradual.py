import itertools
import math

import numpy as np
import pytest

import nn
from pruning import masks, surgery
from pruning.pipeline.gradual import Gradual, check_budget, keep_highest
from pruning.scores import magnitude


def problem(hidden=9):
    rng = np.random.default_rng(0)
    net = nn.models.mlp((8, hidden, 3), rng)
    return net, rng.standard_normal((8, 40)), rng.integers(0, 3, 40)


def trained(net, x, t, optimizer, epochs, **calls):
    rng = np.random.default_rng(1)
    return nn.training.train(
        net, nn.SoftmaxCrossEntropy(), optimizer, x, t, epochs, 10, rng, progress=False, **calls
    )  # four steps an epoch


class Watch(nn.Companion):
    def __init__(self, look):
        self.look = look

    def after_step(self, step):
        self.look()


def largest(values, n):
    """The n largest of a list, by sorting it; none of them is as large as one that is not among them."""
    order = sorted(range(len(values)), key=lambda k: -values[k])
    return set(order[:n])


def flat(net, of):
    return np.concatenate([of(p).reshape(-1) for p in masks.prunable(net).values()])


def test_how_many_are_left_at_every_step_and_which():
    """Nothing moves at a rate of zero: each deletion leaves the largest weights, as many as the formula says."""
    net, x, t = problem()
    u, optimizer, seen = flat(net, lambda p: p.data.copy()), nn.SGD(net.parameters(), 0.0), []
    deletion = Gradual(net, magnitude.saliency, keep=7, last=10, every=2)

    def look():
        seen.append(set(np.flatnonzero(flat(net, lambda p: p.data))))

    trained(net, x, t, optimizer, 3, companions=[deletion, Watch(look)])  # twelve steps
    assert len(seen) == 12 and len(u) == 99
    for step, kept in enumerate(seen, 1):
        deletions = step // 2 * 2
        share = max(0, 1 - deletions / 10)
        n = round(math.exp(math.log(7) + (math.log(99) - math.log(7)) * share**1.5))
        assert kept == largest(list(abs(u)), n if deletions else 99)
    assert len(seen[9]) == len(seen[11]) == 7


@pytest.mark.parametrize("power", [1.0, 2.5])
def test_a_power_of_one_deletes_the_same_share_each_time_and_a_larger_one_more_at_first(power):
    net, x, t = problem(90)
    optimizer, left = nn.SGD(net.parameters(), 0.0), [720]
    score = lambda each: magnitude.saliency(each, ["1.W"])  # noqa: E731
    deletion = Gradual(net, score, keep=80, last=8, every=1, start=720, power=power)

    def look():
        left.append(masks.counts(net, ["1.W"])[0])

    trained(net, x, t, optimizer, 2, companions=[deletion, Watch(look)])
    shares = np.array(left[1:]) / left[:-1]
    np.testing.assert_allclose(np.log(shares), np.diff(np.linspace(1, 0, 9) ** power) * math.log(9), atol=8e-3)


def test_what_is_deleted_stays_deleted_while_the_rest_trains_on():
    net, x, t = problem()
    optimizer, seen = nn.SGD(net.parameters(), 0.1, momentum=0.9), []
    deletion = Gradual(net, magnitude.saliency, keep=20, last=6, every=1)
    before = flat(net, lambda p: p.data.copy())

    def look():
        seen.append(set(np.flatnonzero(flat(net, lambda p: p.data))))

    trained(net, x, t, optimizer, 4, companions=[deletion, Watch(look)])
    assert all(later <= earlier for earlier, later in itertools.pairwise(seen))
    after = flat(net, lambda p: p.data)
    assert len(seen[-1]) == 20 and np.all(after[sorted(seen[-1])] != before[sorted(seen[-1])])
    scored_last = set(np.argsort(-abs(before))[:20])
    assert scored_last != seen[-1]  # ranked anew each time, not once


def test_it_goes_on_through_surgery_where_it_was():
    net, x, t = problem()
    optimizer = nn.Adam(net.parameters(), 1e-2)
    settings = {"score": magnitude.saliency, "keep": 12, "last": 10, "every": 1, "start": 99}
    for _ in range(3):
        deletion = Gradual(net, **settings)
        trained(net, x, t, optimizer, 1, companions=[deletion])
        net, optimizer = surgery.remove_unused_paths(net, (8,), optimizer=optimizer)
    assert optimizer.steps == 12 and masks.counts(net)[0] <= 12
    assert masks.counts(net)[0] >= 8  # dead ends apart, which went with surgery


def test_the_weights_that_may_go_are_those_that_have_a_score():
    net, _, _ = problem()
    W = net.layers[-1].W.data.copy()
    keep_highest(net, magnitude.saliency(net, ["1.W"]), 5)
    assert np.count_nonzero(net.layers[1].W.data) == 5
    np.testing.assert_array_equal(net.layers[-1].W.data, W)
    keep_highest(net, magnitude.saliency(net, ["1.W"]), 9)  # more than are left: nothing changes
    assert np.count_nonzero(net.layers[1].W.data) == 5


def test_what_is_dead_goes_first_whatever_its_score():
    net, _, _ = problem()
    keep_highest(net, {"1.W": -magnitude.saliency(net)["1.W"]}, 30)
    few = net.layers[1].W.mask.copy()
    keep_highest(net, {"1.W": 1 - few}, 10)
    assert net.layers[1].W.mask.sum() == 10 and np.all(net.layers[1].W.mask <= few)


def test_bad_input_is_one_sentence_and_changes_nothing():
    net, _, _ = problem()
    good = {"score": magnitude.saliency, "keep": 7, "last": 10}
    for change, message in (
        ({"keep": 1}, "expected to keep 2 to 99 weights, at least one a layer, got 1"),
        ({"keep": 100}, "expected to keep 2 to 99 weights, at least one a layer, got 100"),
        ({"every": 0}, "every 1 or more steps until a step above 0, got 0 and 10"),
        ({"last": 0}, "got 20 and 0"),
        ({"last": math.nan}, "got 20 and nan"),
        ({"power": 0}, "expected a positive power, got 0"),
        ({"power": math.nan}, "expected a positive power, got nan"),
        ({"start": 6}, "expected at least 7 weights at the start, those that are to be left, got 6"),
    ):
        with pytest.raises(ValueError, match=message):
            Gradual(net, **{**good, **change})
    assert all(parameter.mask is None for parameter in net.parameters())
    assert check_budget(net, 99) == 99


def test_its_state_is_the_number_of_weights_at_the_start_and_no_other_is_taken():
    net, x, t = problem()
    optimizer = nn.SGD(net.parameters(), 0.1)
    deletion = Gradual(net, magnitude.saliency, keep=7, last=10, every=2)
    trained(net, x, t, optimizer, 1, companions=[deletion])
    again = Gradual(net, magnitude.saliency, keep=7, last=10, every=2)  # of what is left by now
    assert again.start < 99
    again.load(deletion.state())
    assert again.start == 99
    for state in ({}, {"start": 6}, {"start": 9.0}, {"start": 99, "keep": 7}):
        with pytest.raises(ValueError, match="expected the state of a gradual deletion, a start of at least 7"):
            again.load(state)
    assert again.start == 99


def test_counts_of_numpy_go_on_and_others_are_refused_at_once(tmp_path):
    counts = {"keep": np.int64(10), "every": np.uint8(2), "start": np.int64(90)}
    lefts = []
    for epochs in (1, 2):
        net, x, t = problem()
        deletion = Gradual(net, magnitude.saliency, last=np.float32(6), **counts)
        trained(net, x, t, nn.SGD(net.parameters(), 0.1), epochs, companions=[deletion],
                checkpoint_path=tmp_path / "run.npz")  # fmt: skip
        lefts.append(masks.counts(net)[0])
    assert lefts[1] == 10 < lefts[0]
    for name in counts:
        with pytest.raises(ValueError, match=r"expected a whole number of .*, got 10\.5"):
            Gradual(net, magnitude.saliency, last=6, **{"keep": 10, name: 10.5})
    with pytest.raises(TypeError, match="a number for the last step, got '6'"):
        Gradual(net, magnitude.saliency, keep=10, last="6")
