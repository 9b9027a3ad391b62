"""Nearest weights against nearest outputs: the metric, who is best at which price, when both agree, and the gap."""

import itertools

import numpy as np
import pytest

from pruning.reconstruction import approximation


def layer(seed, n=6, c=4, k=3, samples=50):
    """W (n, c k), correlated inputs X (c k, samples) of very different sizes, and A = X X^T / samples."""
    rng = np.random.default_rng(seed)
    K = c * k
    X = rng.standard_normal((K, K)) @ (10 ** rng.uniform(-1, 1, (K, 1)) * rng.standard_normal((K, samples)))
    return rng.standard_normal((n, K)), X, X @ X.T / samples


def through_data(W, other, X):
    """The mean over the samples of the squared change, one sample and one output after the other."""
    changes = [sum(float(w @ x - v @ x) ** 2 for w, v in zip(W, other)) for x in X.T]
    return sum(changes) / len(changes)


def white(W):
    """A of inputs that all have the same size and no correlation."""
    return 2.5 * np.eye(W.shape[1])


@pytest.mark.parametrize("seed", range(5))
def test_the_change_through_A_is_that_of_the_outputs(seed):
    W, X, A = layer(seed)
    for other in (approximation.of_rank(W, 2), approximation.of_rank(W, 2, A), approximation.on_weights(W, 0.5)):
        judge = through_data(W, other, X)
        assert abs(approximation.change(W, other, A) - judge) <= 1e-10 * judge
        ratio = np.sqrt(judge / through_data(W, 0 * W, X))
        assert abs(approximation.relative_change(W, other, A) - ratio) <= 1e-10 * ratio
    assert approximation.change(W, W, A) == 0
    assert approximation.relative_change(W, 0 * W, A) == 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rank", range(7))
def test_eckart_and_young_bound_the_error_of_every_rank(seed, rank):
    """The bound is the tail of the spectrum of the outputs W X; it is met."""
    W, X, A = layer(seed)
    other = approximation.of_rank(W, rank, A)
    assert np.linalg.matrix_rank(other) == rank
    tail = np.sum(np.linalg.svd(W @ X, compute_uv=False)[rank:] ** 2) / X.shape[1]
    whole = through_data(W, 0 * W, X)
    assert abs(through_data(W, other, X) - tail) <= 1e-10 * whole
    plain = approximation.of_rank(W, rank)
    distance = np.sum(np.linalg.svd(W, compute_uv=False)[rank:] ** 2)
    assert abs(np.sum((W - plain) ** 2) - distance) <= 1e-12 * np.sum(W**2)


@pytest.mark.parametrize("seed", range(3))
def test_no_other_matrix_of_the_rank_has_nearer_outputs(seed):
    W, X, A = layer(seed)
    rng = np.random.default_rng([seed, 1])
    for rank in (1, 2, 4):
        best = approximation.of_rank(W, rank, A)
        least = through_data(W, best, X)
        U, s, V = np.linalg.svd(best, full_matrices=False)
        left, right = U[:, :rank] * s[:rank], V[:rank]
        for size in (1e-3, 1e-2, 1e-1, 1.0):
            for _ in range(10):
                L = left + size * np.abs(left).mean() * rng.standard_normal(left.shape)
                R = right + size * np.abs(right).mean() * rng.standard_normal(right.shape)
                assert through_data(W, L @ R, X) > least
        for _ in range(20):  # a random row space, the best outputs within it
            R = rng.standard_normal((rank, W.shape[1]))
            L = np.linalg.lstsq((R @ X).T, (W @ X).T, rcond=None)[0].T
            assert through_data(W, L @ R, X) > least


def test_each_wins_by_its_own_measure_and_the_gap_is_wide():
    ratios = []
    for seed in range(20):
        W, _, A = layer(seed)
        weights, outputs, I = approximation.of_rank(W, 2), approximation.of_rank(W, 2, A), np.eye(W.shape[1])
        assert approximation.relative_change(W, weights, I) < approximation.relative_change(W, outputs, I)
        ratios.append(approximation.relative_change(W, outputs, A) / approximation.relative_change(W, weights, A))
    assert max(ratios) < 1 and np.median(ratios) < 0.85


@pytest.mark.parametrize("seed", range(5))
def test_white_inputs_make_both_questions_one(seed):
    W, _, _ = layer(seed)
    A = white(W)
    for weights, outputs in (
        (approximation.of_rank(W, 3), approximation.of_rank(W, 3, A)),
        (approximation.on_channels(W, [0, 3], 4), approximation.on_channels(W, [0, 3], 4, A)),
        (approximation.on_weights(W, 0.6), approximation.on_weights(W, 0.6, A)),
    ):
        assert np.linalg.norm(weights - outputs) <= 1e-12 * np.linalg.norm(W)
    best = min(itertools.combinations(range(4), 2), key=lambda kept: left_over(W, kept, 4, A))
    assert approximation.largest_channels(W, 4, 2) == list(best)


def left_over(W, kept, c, A):
    return approximation.change(W, approximation.on_channels(W, kept, c, A), A)


@pytest.mark.parametrize("seed", range(3))
def test_channels_refitted_are_least_squares_on_the_data(seed):
    W, X, A = layer(seed)
    for kept in itertools.combinations(range(4), 2):
        rows = [3 * i + j for i in kept for j in range(3)]
        judge = np.linalg.lstsq(X[rows].T, (W @ X).T, rcond=None)[0].T
        ours = approximation.on_channels(W, kept, 4, A)
        assert np.linalg.norm(ours[:, rows] - judge) <= 1e-9 * np.linalg.norm(judge)
        assert not np.any(np.delete(ours, rows, axis=1))
        masked = approximation.on_channels(W, kept, 4)
        assert np.allclose(masked[:, rows], W[:, rows], rtol=1e-13) and not np.any(np.delete(masked, rows, axis=1))
        assert through_data(W, ours, X) < through_data(W, masked, X)


def test_a_dead_channel_gets_no_weights_and_costs_nothing():
    W, X, _ = layer(0)
    X[3:6] = 0
    A = X @ X.T / X.shape[1]
    fitted = approximation.on_channels(W, [0, 1], 4, A)
    assert np.max(np.abs(fitted[:, 3:6])) <= 1e-12
    alone = approximation.on_channels(W, [0], 4, A)
    assert np.linalg.norm(fitted - alone) <= 1e-10 * np.linalg.norm(alone)
    assert abs(approximation.change(W, approximation.on_channels(W, [0, 2, 3], 4, A), A)) <= 1e-10
    X[3:6] = X[0:3]  # twins: of all that compute the same the smallest shares the weights between them
    twins = approximation.on_channels(W, [0, 1, 2, 3], 4, X @ X.T / X.shape[1])
    assert np.max(np.abs(twins[:, 0:3] - (W[:, 0:3] + W[:, 3:6]) / 2)) <= 1e-8


def test_single_weights_with_orthogonal_inputs_are_the_best_choice():
    """All choices of three of six weights, two questions, two answers."""
    w = np.array([[0.1, 0.3, 1.0, 0.5, 2.0, 3.0]])
    A = np.diag([100.0, 10.0, 1.0, 1.0, 0.1, 0.01])
    for metric, kept in ((None, [2, 4, 5]), (A, [0, 1, 2])):
        judge = np.eye(6) if metric is None else metric
        choices = [w * np.isin(np.arange(6), each) for each in itertools.combinations(range(6), 3)]
        best = min(choices, key=lambda other: float(((w - other) @ judge @ (w - other).T)[0, 0]))
        assert np.flatnonzero(best).tolist() == kept
        np.testing.assert_array_equal(approximation.on_weights(w, 0.5, metric), best)


@pytest.mark.parametrize("seed", range(5))
def test_single_weights_on_diagonal_moments_are_the_best_of_all_choices(seed):
    rng = np.random.default_rng(seed)
    w, A = rng.standard_normal((1, 8)), np.diag(10 ** rng.uniform(-1, 1, 8))
    choices = [w * np.isin(np.arange(8), each) for each in itertools.combinations(range(8), 4)]
    best = min(choices, key=lambda other: float(((w - other) @ A @ (w - other).T)[0, 0]))
    np.testing.assert_array_equal(approximation.on_weights(w, 0.5, A), best)


def test_correlated_inputs_may_turn_the_rule_for_single_weights_round():
    """Two inputs that are nearly one carry weights of opposite signs: alone they are large, together nothing."""
    w = np.array([[1.0, -1.0, 0.5]])
    A = np.array([[1.0, 0.999, 0.0], [0.999, 1.0, 0.0], [0.0, 0.0, 1.0]])
    rule = approximation.on_weights(w, 2 / 3, A)
    assert np.flatnonzero(rule).tolist() in ([0], [1])
    third = w * [0, 0, 1]
    assert approximation.change(w, third, A) < 0.01 * approximation.change(w, rule, A)


def test_the_inputs_are_left_alone():
    W, _, A = layer(0)
    copies = W.copy(), A.copy()
    approximation.of_rank(W, 2, A)
    approximation.on_channels(W, [1], 4, A)
    approximation.on_weights(W, 0.5, A)
    np.testing.assert_array_equal(W, copies[0])
    np.testing.assert_array_equal(A, copies[1])


W, _, A = layer(0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: approximation.of_rank(W, 7, A), r"expected a rank from 0 to 6 for a matrix \(6, 12\), got 7"),
        (lambda: approximation.of_rank(W, 1.5), r"expected a rank from 0 to 6 .*, got 1.5"),
        (lambda: approximation.of_rank(W[0], 1), r"expected a weight matrix .*, got an array of the shape \(12,\)"),
        (lambda: approximation.of_rank(W, 1, A[:3, :3]), r"expected A of the shape \(12, 12\) .*, got \(3, 3\)"),
        (lambda: approximation.of_rank(W * np.nan, 1, A), "expected finite numbers for (weights|moments), got NaN"),
        (lambda: approximation.of_rank(W, 1, np.triu(A)), r"expected A = E\[x x\^T\], symmetric .*, got another"),
        (lambda: approximation.of_rank(W, 1, -A), "with a diagonal of at least 0"),
        (lambda: approximation.change(W, W[:3], A), r"expected a second matrix of the shape \(6, 12\), got \(3, 12\)"),
        (lambda: approximation.relative_change(0 * W, W, A), "expected a layer whose outputs are not all zero"),
        (lambda: approximation.on_channels(W, [0], 5, A), "expected a number of channels that divides the 12 columns"),
        (lambda: approximation.on_channels(W, [0, 0], 4, A), r"expected different channels from 0 to 3, got \[0, 0\]"),
        (lambda: approximation.on_channels(W, [4], 4, A), r"expected different channels from 0 to 3, got \[4\]"),
        (lambda: approximation.largest_channels(W, 4, 5), "expected to keep 0 to 4 of 4 channels, got 5"),
    ],
)
def test_what_cannot_be_compared_is_one_sentence(call, message):
    with pytest.raises(ValueError, match=message) as error:
        call()
    assert "\n" not in str(error.value)
