"""Numbers and arrays of the wrong kind are refused in one sentence by the methods that choose channels and widths."""

import dataclasses
import re

import numpy as np
import pytest

import nn
from pruning import masks
from pruning.architectures import layer_compensation, principal_filters, widths
from pruning.penalties import families, gradual_thresholds, ista_scales, slimming
from pruning.reconstruction import approximation, elimination, lasso_channels, moments, neuron_merging, refitting

NAN = float("nan")
SHAPE = (1, 8, 8)
RNG = np.random.default_rng(0)
NET = nn.Sequential(
    *(nn.Conv2d(1, 4, 3, RNG), nn.BatchNorm(4), nn.ReLU(), nn.Conv2d(4, 6, 3, RNG), nn.BatchNorm(6), nn.ReLU()),
    *(nn.Flatten(), nn.Linear(96, 10, RNG)),
)
IMAGES = RNG.standard_normal((*SHAPE, 30))
FOUND = moments.collect(NET, "3.W", IMAGES)
W, A = RNG.integers(-5, 6, (3, 8)), np.cov(RNG.standard_normal((8, 40)))
OMEGA, READ = RNG.standard_normal((4, 3)), RNG.standard_normal((2, 4))
HALVES = np.array([0.5, 0.5])


def changed(**fields):
    return dataclasses.replace(FOUND, **fields)


def evolved(fitness=lambda constants: sum(constants.values()), names=("0.W", "3.W"), rng=None):
    return layer_compensation.evolve(fitness, names, 1.0, np.random.default_rng(0) if rng is None else rng)


def poisoned():
    net = nn.Sequential(*(nn.Conv2d(1, 4, 3, RNG), nn.ReLU(), nn.Conv2d(4, 6, 3, RNG), nn.Flatten()))
    net.layers[2].W.data[0] = NAN
    return net


def healthy():
    return nn.Sequential(*(nn.Conv2d(1, 4, 3, RNG), nn.ReLU(), nn.Conv2d(4, 6, 3, RNG), nn.Flatten()))


def thresholds():
    family = families.filters(net := healthy(), "0.W", 0.0)
    return gradual_thresholds.GradualThresholds(net, [family], lambda step: 0.0), family


REFUSED = {
    # moments that do not fit together, or are none
    "weights of fewer rows": (lambda: FOUND.with_weights(np.ones((1, 36))), "weights of the shape .1, 36.*C .6, 36"),
    "weights of fewer columns": (lambda: FOUND.with_weights(np.ones((6, 35))), "35"),
    "weights NaN": (lambda: FOUND.with_weights(FOUND.W * NAN), "expected finite"),
    "weights complex": (lambda: FOUND.with_weights(FOUND.W * 1j), "expected real"),
    "five channels of 36 columns": (lambda: changed(channels=5), "channels that divides 36 columns, got 5"),
    "no channel": (lambda: changed(channels=0), "channels"),
    "C of one row": (lambda: changed(C=FOUND.C[:1]), "C .1, 36"),
    "A of fewer columns": (lambda: changed(A=FOUND.A[:4, :4]), "A .4, 4"),
    "A NaN": (lambda: changed(A=FOUND.A * NAN), "expected finite"),
    "energy NaN": (lambda: changed(energy=NAN), "energy"),
    "no samples": (lambda: changed(count=0), "count"),
    "a dense net with NaN": (lambda: moments.collect(healthy(), "2.W", IMAGES, poisoned()), "expected finite"),
    "columns of -1": (lambda: FOUND.columns([-1]), "got -1"),
    "columns of 1.5": (lambda: FOUND.columns([1.5]), "got 1.5"),
    "columns of a mask": (lambda: FOUND.columns([True, False]), "got True"),
    "columns of a tenth channel": (lambda: FOUND.columns([9]), r"below 4 in front of 3\.W, got \[9\]"),
    "no positions": (lambda: moments.collect(NET, "3.W", IMAGES, None, 0, RNG), "positions of at least 1, got 0"),
    "half positions": (lambda: moments.collect(NET, "3.W", IMAGES, None, 1.5, RNG), "positions of at least 1, got 1.5"),
    "a name that is a number": (lambda: moments.collect(NET, 3, IMAGES), "expected the weight of a .*; got 3"),
    # how many stay, and how a search goes on
    "more than all": (lambda: elimination.eliminate(FOUND, 1e-6).kept(5), "0 to 4 channels, got 5"),
    "less than none": (lambda: elimination.eliminate(FOUND, 1e-6).kept(-1), "got -1"),
    "true channels": (lambda: elimination.eliminate(FOUND, 1e-6).kept(True), "got True"),
    "costs of another layer": (
        lambda: elimination.errors(FOUND, elimination.Elimination([0, 1], np.zeros(2))),
        "costs of 4 channels, got 2",
    ),
    "at most none": (lambda: lasso_channels.at_most(FOUND, 0), "got 0"),
    "a first lam of 0": (lambda: lasso_channels.bisected(FOUND, 2, start=0), "first share .* above 0, got 0"),
    "a first lam of NaN": (lambda: lasso_channels.bisected(FOUND, 2, start=NAN), "first share .* above 0, got nan"),
    "no lassos": (lambda: lasso_channels.bisected(FOUND, 2, most=0), "lassos of at least 1, got 0"),
    "half lassos": (lambda: lasso_channels.bisected(FOUND, 2, most=1.5), "lassos of at least 1, got 1.5"),
    "no rounds": (lambda: lasso_channels.alternated(FOUND, 2, 0), "rounds of at least 1, got 0"),
    "half rounds": (lambda: lasso_channels.alternated(FOUND, 2, 1.5), "rounds of at least 1, got 1.5"),
    "five factors": (lambda: lasso_channels.normalised(np.ones(5), FOUND.W), r"a factor for each .* got \(5,\)"),
    "factors in a column": (lambda: lasso_channels.normalised(np.ones((4, 1)), FOUND.W), r"got \(4, 1\)"),
    "normalised NaN": (lambda: lasso_channels.normalised(np.ones(4), FOUND.W * NAN), "expected finite"),
    # weights written into a net
    "one column": (lambda: refitting.written(NET, "3.W", [0, 1], np.ones((6, 1)), FOUND), r"\(6, 18\), got \(6, 1\)"),
    "one number": (lambda: refitting.written(NET, "3.W", [0, 1], np.float64(3), FOUND), r"\(6, 18\), got \(\)"),
    "written NaN": (lambda: refitting.written(NET, "3.W", [0, 1], np.full((6, 18), NAN), FOUND), "expected finite"),
    # matrices
    "another matrix with NaN": (lambda: approximation.change(1.0 * W, W * NAN, A), "expected finite"),
    "complex weights": (lambda: approximation.change(1j * W, 0j * W, A), "expected real"),
    "moments of no data": (lambda: approximation.of_rank(np.eye(2), 1, np.array([[1, 2], [2, 1]])), "eigenvalue"),
    "a mask for channels": (lambda: approximation.on_channels(1.0 * W, [True, False], 4), "got True"),
    "true sparsity": (lambda: approximation.on_weights(1.0 * W, True), "expected a sparsity from 0 to 1 .* got True"),
    "true sparsity of masks": (lambda: masks.smallest({"W": 1.0 * W}, True), "expected a sparsity .* got True"),
    "units of NaN": (lambda: neuron_merging.saliency(OMEGA * NAN, READ), "expected finite weights"),
    "true merges": (lambda: neuron_merging.pairs(OMEGA, READ, True), "0 to 3 of 4 units, got True"),
    # widths
    "scores of NaN": (lambda: layer_compensation.compensated({"0.W": OMEGA[0] * NAN}, {"0.W": 1.0}), "finite scores"),
    "a layer twice": (lambda: evolved(names=["0.W", "0.W"]), "two different layers or more"),
    "a name for names": (lambda: evolved(names="ab"), "list of names, got the string 'ab'"),
    "a fitness of NaN": (lambda: evolved(lambda c: NAN if not any(c.values()) else 1.0), "fitness .* got NaN"),
    "shares of 4": (lambda: principal_filters.by_divergence(np.array([3.0, 1.0])), "add up to 1"),
    "shares of 4, energy": (lambda: principal_filters.by_energy(np.array([3.0, 1.0]), 0.5), "add up to 1"),
    "shares of NaN": (lambda: principal_filters.by_divergence(np.array([NAN, 1.0])), "add up to 1"),
    "no shares": (lambda: principal_filters.by_divergence(np.array([])), "add up to 1"),
    "negative shares": (lambda: principal_filters.by_energy(np.array([1.2, -0.2]), 0.5), "add up to 1"),
    "rising shares": (lambda: principal_filters.by_energy(np.array([0.2, 0.8]), 0.7), "the largest first"),
    "true energy": (lambda: principal_filters.by_energy(HALVES, True), "share of the energy .* got True"),
    "an order of NaN": (lambda: principal_filters.order(np.array([[NAN, 1], [1, 2]])), "expected finite responses"),
    "an order of a vector": (lambda: principal_filters.order(np.arange(3.0)), "expected finite responses"),
    "true MACs": (lambda: widths.together(NET, {"0.W": np.ones(4)}, SHAPE, True), "a share of the MACs .* got True"),
    "complex scores": (lambda: widths.together(NET, {"0.W": np.ones(4) * 1j}, SHAPE, 0.9), "one finite score"),
    # penalties
    "negative strength": (lambda: slimming.families(NET, -1), "^expected a strength of 0 or more, got -1$"),
    "a start of NaN": (lambda: slimming.start(NET, NAN), "^expected a starting value of the scales of 0 or more"),
    "a number for names": (lambda: ista_scales.rescaled(NET, 2.0, 3), "expected a list of names, got 3"),
    "a threshold of NaN": (lambda: thresholds()[0].delete(thresholds()[1], NAN), "expected a threshold of 0 or more"),
    "a threshold below 0": (lambda: thresholds()[0].delete(thresholds()[1], -1.0), "expected a threshold of 0 or more"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_bad_numbers_are_one_sentence(case):
    call, sentence = REFUSED[case]
    with pytest.raises(ValueError, match=sentence) as error:
        call()
    assert "\n" not in str(error.value)


def test_what_is_of_no_kind_is_refused_by_its_type():
    with pytest.raises(TypeError, match=r"expected an np\.random\.Generator"):
        evolved(rng=3)
    for wrong in (None, "0.5", True):
        with pytest.raises(TypeError, match=r"expected a number for the constant of 0\.W"):
            layer_compensation.compensated({"0.W": np.ones(4)}, {"0.W": wrong})
        with pytest.raises(TypeError, match="expected a number for the fitness"):
            evolved(lambda _, wrong=wrong: wrong)
    with pytest.raises(TypeError, match="expected an array for weights, got list"):
        approximation.change([[1.0, 2.0]], [[1.0, 2.0]], np.eye(2))


@pytest.mark.parametrize("kind", [np.int8, np.uint8, np.int64, bool])
def test_integers_are_the_numbers_that_they_are(kind):
    """No wrapping at 127 or 255, and no fraction cut off."""
    small = np.abs(20 * W).astype(kind)
    floats, other = small.astype(float), small[:, ::-1]
    assert approximation.change(small, other, A) == approximation.change(floats, other.astype(float), A)
    assert approximation.largest_channels(small, 4, 2) == approximation.largest_channels(floats, 4, 2)
    for method in (
        lambda w: approximation.on_channels(w, [0, 2], 4, A),
        lambda w: approximation.of_rank(w, 2, A),
        lambda w: approximation.on_weights(w, 0.5, A),
        lambda w: neuron_merging.saliency(w, w.T),
        lambda w: np.array(neuron_merging.pairs(w, w.T, 1)),
    ):
        np.testing.assert_array_equal(method(small), method(floats))
    whole = dataclasses.replace(FOUND, W=np.ones((6, 36), kind))
    np.testing.assert_array_equal(whole.G, FOUND.with_weights(np.ones((6, 36))).G)


def test_a_layer_that_reads_only_zeros_ends_the_search_at_once():
    dead = changed(A=0 * FOUND.A, B=0 * FOUND.B, C=0 * FOUND.C, energy=0.0)
    assert lasso_channels.bisected(dead, 2) == lasso_channels.Search([], 0.0, 0, False)


def test_the_sentences_name_one_article():
    for call, _ in REFUSED.values():
        with pytest.raises(ValueError) as error:
            call()
        assert not re.search(r"\b(a a|a the|an a) ", str(error.value))
