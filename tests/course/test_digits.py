"""The digits of the targets: what is shown and what is not, how a net learns them, and results that are none."""

import numpy as np
import pytest

import nn
from course import digits


def test_the_shown_and_the_unseen_are_all_digits_each_once():
    (x, t), (unseen, labels) = digits.split(np.random.default_rng(0))
    assert x.shape == (64, 1200) and t.shape == (1200,) and unseen.shape == (64, 597) and labels.shape == (597,)
    data = nn.data.load("digits")
    whole = np.concatenate([data.train[0], data.test[0]], axis=-1).reshape(64, -1)
    pairs = zip(np.concatenate([x, unseen], axis=1).T, np.concatenate([t, labels]))
    given = sorted((image.tolist(), int(label)) for image, label in pairs)
    assert given == sorted(zip(whole.T.tolist(), np.concatenate([data.train[1], data.test[1]]).tolist()))
    assert any(np.any(a != b) for a, b in zip((x, t), digits.split(np.random.default_rng(1))[0]))


def test_a_net_learns_and_only_what_may_move_does():
    rng = np.random.default_rng(0)
    (x, t), (unseen, labels) = digits.split(rng)
    net = nn.models.mlp([64, 8, 10], rng)
    before = [np.copy(parameter.data) for parameter in net.parameters()]
    after = digits.trained(net, x, t, rng, epochs=2, only=list(net.parameters())[2:])
    assert [bool(np.any(a != b)) for a, b in zip(before, after)] == [False, False, True, True]
    digits.trained(net, x, t, rng, epochs=5)
    assert digits.read_right(net.forward(unseen), labels) > 0.8


def test_the_share_that_is_read_right():
    assert digits.read_right(np.array([[1.0, 5, 2], [3, 4, 1], [2, 6, 9]]), np.array([1, 0, 2])) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("result", "words"),
    [
        (np.ones((2, 3)), "expected 2 arrays, W, b"),
        ((np.ones((2, 3)),), "expected 2 arrays, W, b"),
        ((np.ones((2, 3)), np.ones(3)), r"b has the shape \(3,\), expected \(2,\)"),
        ((np.ones((2, 3)), np.array([1, np.inf])), "b holds nan or inf"),
    ],
)
def test_arrays_that_are_none_are_refused_in_one_sentence(result, words):
    for check in (digits.arrays, digits.masks):
        with pytest.raises(ValueError, match=words):
            check(result, {"W": (2, 3), "b": (2,)})


def test_arrays_come_back_in_order_and_a_mask_has_zeros_and_ones_only():
    W, b = digits.masks((np.ones((2, 3), bool), [0, 1]), {"W": (2, 3), "b": (2,)})
    assert W.dtype == b.dtype == np.float64 and W.shape == (2, 3) and b.tolist() == [0, 1]
    with pytest.raises(ValueError, match="b holds other numbers than 0 and 1"):
        digits.masks((W, [0, 0.5]), {"W": (2, 3), "b": (2,)})
