"""The straight-through gradient against sums over decisions and integrals over noise that share no code with it."""

from itertools import pairwise, product

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from nn.gradcheck import relative_error
from pruning.dynamic import self_adaptive, straight_through
from pruning.dynamic.straight_through import Quadratic, agreement, exact, patterns

TOLERANCE = 1e-12


def problem(n=6, curvature=1.0, seed=0):
    return straight_through.drawn(n, curvature, np.random.default_rng(seed))


def expected_loss(loss, s):
    """E L(b), the sum over all decisions in plain Python."""
    total = 0.0
    for decided in product((0.0, 1.0), repeat=len(s)):
        b = np.array(decided)
        p = np.prod([norm.cdf(each) if one else norm.cdf(-each) for each, one in zip(s, b)])
        total += p * (loss.g @ b + loss.curvature / 2 * b @ loss.A @ b)
    return total


@pytest.mark.parametrize("curvature", [0.0, 0.3, 3.0])
def test_the_exact_gradient_is_that_of_the_expected_loss(curvature):
    loss, s = problem(curvature=curvature)
    steps = 1e-5 * np.eye(6)
    differences = [(expected_loss(loss, s + h) - expected_loss(loss, s - h)) / 2e-5 for h in steps]
    assert relative_error(exact(loss.losses(patterns(6)), s), np.array(differences)) <= 1e-9


def test_the_straight_through_gradient_is_its_mean_over_noise():
    """Two decisions: the integral over the noise of one, times both cases of the other."""
    loss, s = problem(2, 3.0, seed=3)
    found = straight_through.straight_through(loss.gradients(patterns(2)), s)
    slope = lambda a: float(self_adaptive.slope(np.array(a)))  # noqa: E731
    reference = []
    for i in (0, 1):
        other, mean = 1 - i, 0.0
        for bit in (0.0, 1.0):
            p = norm.cdf(s[other]) if bit else norm.cdf(-s[other])

            def integrand(a, i=i, other=other, bit=bit):
                b = np.zeros(2)
                b[i], b[other] = float(a > 0), bit
                return slope(a) * norm.pdf(a - s[i]) * (loss.g + loss.curvature * loss.A @ b)[i]

            kinks = (-np.log(11), 0.0, np.log(11))
            mean += p * sum(quad(integrand, *ends, epsabs=1e-14)[0] for ends in pairwise(kinks))
        reference.append(mean)
    assert relative_error(found, np.array(reference)) <= TOLERANCE


def test_it_is_the_mean_of_what_the_layer_sends_back():
    """Draws of the noise, b and slope by the layer's own functions."""
    loss, s = problem(3, 1.0, seed=1)
    a = s[:, None] + np.random.default_rng(5).standard_normal((3, 400_000))
    sent = self_adaptive.slope(a) * loss.gradients(self_adaptive.decisions(a))
    error = sent.std(axis=1) / np.sqrt(a.shape[1])
    found = straight_through.straight_through(loss.gradients(patterns(3)), s)
    assert np.all(np.abs(sent.mean(axis=1) - found) <= 4 * error)


def test_without_curvature_in_single_decisions_each_entry_is_exact_up_to_a_positive_factor():
    """Pairs may interact as they like: A with zeros on its diagonal."""
    for seed in range(5):
        loss, s = problem(curvature=4.0, seed=seed)
        A = loss.A - np.diag(np.diag(loss.A))
        loss = Quadratic(loss.g, A, 4.0)
        true = exact(loss.losses(patterns(6)), s)
        passed = straight_through.straight_through(loss.gradients(patterns(6)), s)
        factor = sum(straight_through.slopes(s)) / norm.pdf(s)
        assert relative_error(passed, factor * true) <= TOLERANCE and np.all(factor > 0)


def test_with_curvature_the_sign_can_be_wrong():
    """L = -0.4 b + b^2 / 2: opening costs 0.1, and the slope at the closed end says that it gains 0.4."""
    loss, s = Quadratic(np.array([-0.4]), np.ones((1, 1)), 1.0), np.array([-1.0])
    assert exact(loss.losses(patterns(1)), s)[0] > 0
    assert straight_through.straight_through(loss.gradients(patterns(1)), s)[0] < 0


def test_the_agreement_falls_with_curvature():
    """The four of the notebook: medians of 300 losses."""
    medians = [np.median(agreement(6, c, 300, np.random.default_rng(0)), axis=1) for c in (0.1, 0.3, 1.0, 3.0)]
    cosines, lengths = np.array(medians).T
    np.testing.assert_allclose(cosines, [0.990, 0.988, 0.975, 0.955], atol=0.01)
    assert np.all(np.diff(cosines) < 0) and np.all((lengths > 0.65) & (lengths < 0.8))


def test_patterns_and_probabilities():
    b = patterns(3)
    assert sorted(map(tuple, b.T)) == sorted(product((0.0, 1.0), repeat=3))
    s = np.array([0.3, -1.0, 2.0])
    np.testing.assert_allclose(np.prod(straight_through.probabilities(s), axis=0).sum(), 1, rtol=1e-14)
    np.testing.assert_allclose(
        np.prod(straight_through.probabilities(s), axis=0)[5], norm.cdf(0.3) * norm.cdf(1) * norm.cdf(2)
    )


def test_bad_input_is_one_sentence():
    rng = np.random.default_rng(0)
    for wrong, message in (
        (lambda: patterns(0), "expected a whole number of decisions of at least 1, got 0"),
        (lambda: patterns(21), r"expected at most 20 decisions, of which there are 2\^20 patterns, got 21"),
        (lambda: agreement(6, -1.0, 3, rng), "expected a curvature of 0 or more, got -1.0"),
        (lambda: agreement(6, 1.0, 0, rng), "expected a whole number of draws of at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=f"^{message}$"):
            wrong()
