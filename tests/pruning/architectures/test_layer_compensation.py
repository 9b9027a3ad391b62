"""One ranking of all layers, its constants, and their evolution."""

import numpy as np
import pytest

import nn
from pruning import filters, surgery
from pruning.architectures import layer_compensation as lcp
from pruning.architectures import widths
from pruning.counts import count
from pruning.scores import filter_norm

SHAPE = (1, 8, 8)
NAMES = ["0.W", "2.W", "4.W"]


def make(seed=0):
    rng = np.random.default_rng(seed)
    layers = [nn.Conv2d(1, 6, 3, rng), nn.ReLU(), nn.Conv2d(6, 5, 3, rng), nn.ReLU(), nn.Conv2d(5, 7, 3, rng)]
    return nn.Sequential(*layers, nn.ReLU(), nn.Flatten(), nn.Linear(28, 3, rng))


def test_a_share_keeps_exactly_so_many():
    for n in range(1, 200):
        for k in range(1, n + 1):
            assert filters.kept(n, filters.share(n, k)) == k
    for wrong in (0, 4, 1.5):
        with pytest.raises(ValueError, match=f"expected to keep 1 to 3 filters of 3, got {wrong}"):
            filters.share(3, wrong)


@pytest.mark.parametrize("macs", [1, 0.8, 0.5, 0.1])
def test_the_lowest_of_all_layers_go_one_by_one_until_the_budget_is_met(macs):
    net = make()
    scores = filter_norm.saliency(net, NAMES)
    keep = {name: list(range(score.size)) for name, score in scores.items()}
    queue = sorted((float(s), name, i) for name, score in scores.items() for i, s in enumerate(score))
    whole = count(net, SHAPE).macs
    while count(surgery.remove(net, keep), SHAPE).macs > macs * whole:
        _, name, i = queue.pop(0)
        if len(keep[name]) > 1:
            keep[name].remove(i)
    assert widths.together(net, scores, SHAPE, macs) == keep


def test_a_common_shift_says_nothing_and_a_constant_a_layer_does():
    net = make()
    scores = filter_norm.saliency(net, NAMES)
    constants = {"0.W": 0.0, "2.W": -30.0, "4.W": 1.0}
    found = widths.together(net, lcp.compensated(scores, constants), SHAPE, 0.5)
    shifted = {name: constant + 8 for name, constant in constants.items()}
    assert widths.together(net, lcp.compensated(scores, shifted), SHAPE, 0.5) == found
    plain = widths.together(net, scores, SHAPE, 0.5)
    assert plain != found
    for name, rows in found.items():
        assert rows == sorted(np.argsort(-scores[name])[: len(rows)]), "in a layer the order is that of the score"


def test_shares_give_the_same_through_filters():
    net = make()
    scores = lcp.compensated(filter_norm.saliency(net, NAMES), {"0.W": 1.0, "2.W": 0.0, "4.W": 0.0})
    keep = widths.together(net, scores, SHAPE, 0.5)
    shares = {name: filters.share(scores[name].size, len(rows)) for name, rows in keep.items()}
    assert filters.independent(net, shares, filter_norm.saliency) == keep
    assert surgery.remove(net, keep).forward(np.ones((*SHAPE, 2))).shape == (3, 2)


def test_evolution_finds_the_constants_of_a_bowl_and_never_ends_above_the_plain_ranking():
    goal = {"0.W": 0.0, "2.W": 1.5, "4.W": -2.0}

    def bowl(constants):
        assert constants["0.W"] == 0
        return sum((constants[name] - goal[name]) ** 2 for name in goal)

    found, fitness = lcp.evolve(bowl, NAMES, 1.0, np.random.default_rng(0), steps=300)
    assert fitness == bowl(found) < 0.05
    for seed in range(5):
        assert lcp.evolve(bowl, NAMES, 1.0, np.random.default_rng(seed), steps=5)[1] <= bowl(dict.fromkeys(NAMES, 0.0))
    again = lcp.evolve(bowl, NAMES, 1.0, np.random.default_rng(0), steps=300)
    assert again == (found, fitness)


def test_the_oldest_dies_however_good():
    met = []

    def fitness(constants):
        met.append(constants)
        return float(len(met))  # the first, the zeros, are the best

    best, _ = lcp.evolve(fitness, NAMES, 1.0, np.random.default_rng(0), population=3, tournament=3, steps=6)
    assert best == met[0] and len(met) == 9
    for step, child in enumerate(met[3:]):
        parent = met[step]  # of the three that live the oldest is the best, and only its children are born
        assert sum(child[name] != parent[name] for name in NAMES) == 1


def test_bad_input_is_one_sentence():
    net, ones = make(), {"0.W": np.ones(6)}
    with pytest.raises(ValueError, match=r"expected a finite constant for 0\.W, got None"):
        lcp.compensated(ones, {})
    with pytest.raises(ValueError, match=r"expected one finite score for each of 6 filters of 0\.W"):
        widths.together(net, {"0.W": np.ones(5)}, SHAPE, 0.5)
    with pytest.raises(ValueError, match="a share of the MACs above 0, at most 1, got 0"):
        widths.together(net, ones, SHAPE, 0)
    with pytest.raises(ValueError, match=r"even one filter in each of 0\.W leaves more than 5\.0% of the MACs"):
        widths.together(net, ones, SHAPE, 0.05)
    with pytest.raises(TypeError, match="expected scores as a dict"):
        widths.together(net, [1.0], SHAPE, 0.5)
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="expected two layers or more and a tournament of at most 8, got 1 and 3"):
        lcp.evolve(lambda _: 0.0, ["0.W"], 1.0, rng)
    with pytest.raises(ValueError, match="expected a spread of 0 or more"):
        lcp.evolve(lambda _: 0.0, NAMES, -1.0, rng)
