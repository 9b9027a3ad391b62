"""Principal filter analysis: exact numbers for known spectra, and the order in which correlated filters go."""

import numpy as np
import pytest

import nn
from pruning import filters, surgery
from pruning.architectures import principal_filters as pfa


def with_spectrum(values, rng, N=64):
    """Responses whose covariance has these eigenvalues, in random directions."""
    C = len(values)
    patterns = np.linalg.qr(np.column_stack([np.ones(N), rng.standard_normal((N, C))]))[0][:, 1:]
    turn = np.linalg.qr(rng.standard_normal((C, C)))[0]
    return turn @ np.diag(np.sqrt(values)) @ patterns.T + rng.standard_normal((C, 1))


def net_and_data(rng):
    net = nn.Sequential(nn.Conv2d(1, 5, 3, rng), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(5, 4, 2, rng), nn.Tanh())
    net = nn.Sequential(*net.layers, nn.Flatten(), nn.Linear(4, 3, rng)).eval()
    return net, rng.standard_normal((1, 6, 6, 40))


@pytest.mark.parametrize("C", [1, 2, 7, 64])
def test_uniform_responses_keep_all_and_rank_one_keeps_one(C):
    rng = np.random.default_rng(C)
    uniform, one = (pfa.spectrum(with_spectrum(v, rng, 200)) for v in (np.ones(C), np.eye(C)[0]))
    assert pfa.by_divergence(uniform) == pfa.by_energy(uniform, 1) == C
    assert pfa.by_divergence(one) == pfa.by_energy(one, 1) == pfa.by_energy(one, 0.5) == 1
    assert pfa.by_energy(np.full(C, 1 / C), 1) == C


def test_the_two_criteria_by_hand():
    found = pfa.spectrum(with_spectrum([8, 4, 2, 2], np.random.default_rng(0)))
    np.testing.assert_allclose(found, [1 / 2, 1 / 4, 1 / 8, 1 / 8], atol=1e-14)
    assert [pfa.by_energy(found, tau) for tau in (0.1, 0.5, 0.51, 0.75, 0.8, 0.875, 0.9, 1)] == [1, 1, 2, 2, 3, 3, 4, 4]
    # The entropy is 1.75 bits of 2: 3.5 of 4 filters; a little more than that is 4.
    assert pfa.by_divergence(np.array([0.49, 0.25, 0.13, 0.13])) == 4
    assert pfa.by_divergence(np.array([0.6, 0.2, 0.1, 0.1])) == 3
    KL = np.sum(found * np.log(found * 4))
    assert 1 - KL / np.log(4) == pytest.approx(1.75 / 2, abs=1e-14)


def test_the_number_changes_with_the_unit_of_one_map():
    A = with_spectrum(np.ones(4), np.random.default_rng(0))
    assert pfa.by_divergence(pfa.spectrum(A * np.array([[100.0], [1], [1], [1]]))) == 1


def test_responses_are_the_largest_numbers_of_the_maps():
    net, x = net_and_data(np.random.default_rng(0))
    found = pfa.responses(net, x, ["0.W", "6.W"], batch_size=7)
    z = np.maximum(net.layers[0].forward(x), 0)
    np.testing.assert_allclose(found["0.W"], z.reshape(5, 16, 40).max(1), atol=1e-14)
    np.testing.assert_allclose(found["6.W"], net.forward(x), atol=1e-14)


def test_the_most_correlated_goes_until_one_is_left():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((6, 50))
    A[4] = -3 * A[1] + 0.3 * rng.standard_normal(50)
    alive, expected = list(range(6)), np.empty(6)
    for step in range(6):
        R = np.abs(np.corrcoef(A[alive])).reshape(len(alive), -1) - np.eye(len(alive))
        goes = alive[int(np.argmax(R.sum(0)))] if len(alive) > 1 else alive[0]
        expected[goes] = step
        alive.remove(goes)
    found = pfa.order(A)
    np.testing.assert_array_equal(found[:6].argsort()[:4], expected.argsort()[:4])
    assert min(found[1], found[4]) == 0, "a negative correlation is one"
    constant = np.vstack([A, np.full(50, 0.1), A[0]])
    steps = pfa.order(constant)
    assert steps[6] == 0, "a constant goes first"
    assert steps[7] < steps[0], "of equal ones the last goes"


def test_filters_and_surgery_take_number_and_order():
    net, x = net_and_data(np.random.default_rng(0))
    for shares in (pfa.energy_shares(net, x, 0.9, ["0.W", "3.W"]), pfa.divergence_shares(net, x, ["0.W", "3.W"])):
        for choose in (filters.independent, filters.greedy):
            keep = choose(net, shares, lambda net, names: pfa.saliency(net, x, names))
            assert surgery.remove(net, keep).forward(x).shape == (3, 40)
        A = pfa.responses(net, x, ["0.W"])["0.W"]
        k = filters.kept(5, shares["0.W"])
        assert keep["0.W"] == sorted(np.argsort(-pfa.order(A))[:k])
    k = pfa.by_energy(pfa.spectrum(A), 0.9)
    assert 1 < k < 5 and filters.kept(5, pfa.energy_shares(net, x, 0.9)["0.W"]) == k


def test_bad_input_is_one_sentence():
    net, x = net_and_data(np.random.default_rng(0))
    net.layers[0].W.data[:] = 0
    with pytest.raises(ValueError, match=r"0\.W: expected responses that vary with the patterns, got constants"):
        pfa.divergence_shares(net, x, ["0.W"])
    with pytest.raises(ValueError, match="a share of the energy above 0, at most 1, got 0"):
        pfa.by_energy(np.ones(3) / 3, 0)
    for A in (np.ones(3), np.full((2, 3), np.nan), np.ones((0, 3))):
        with pytest.raises(ValueError, match=r"expected finite responses \(C, N\), got shape"):
            pfa.spectrum(A)
    with pytest.raises(ValueError, match=r"9\.W is not"):
        pfa.saliency(net, x, ["9.W"])
