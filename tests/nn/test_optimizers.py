import copy

import numpy as np
import pytest
from cases import CASES

import nn

SETTINGS = [
    ("SGD", {"learning_rate": 0.1}, {}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9}, {}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "weight_decay": 0.01}, {}),
    ("SGD", {"learning_rate": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.01}, {}),
    ("Adam", {"learning_rate": 0.1}, {}),
    ("Adam", {"learning_rate": 0.1, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.01}, {}),
]


@pytest.mark.parametrize(("name", "settings", "_"), SETTINGS)
def test_ten_steps_equal_torch(name, settings, _):
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    net, loss, x, t = CASES[3].build()
    theirs = [torch.tensor(p.data.copy(), requires_grad=True) for p in net.parameters()]
    renamed = {{"learning_rate": "lr"}.get(key, key): value for key, value in settings.items()}
    reference = getattr(torch.optim, name)(theirs, **renamed)
    optimizer = getattr(nn, name)(net.parameters(), **settings)
    for step in range(10):
        optimizer.learning_rate = reference.param_groups[0]["lr"] = 0.1 * 0.8**step  # the rate may change on the way
        nn.training.training_step(net, loss, optimizer, x, t)
        for p, q in zip(net.parameters(), theirs):
            q.grad = torch.from_numpy(p.grad.copy())
        reference.step()
    for p, q in zip(net.parameters(), theirs):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize(("name", "settings", "_"), SETTINGS)
def test_masked_weights_stay_zero_through_momentum(name, settings, _):
    net, loss, x, t = CASES[3].build()
    optimizer = getattr(nn, name)(net.parameters(), **settings)
    for _ in range(5):  # the velocity of the weights to be pruned is not zero
        nn.training.training_step(net, loss, optimizer, x, t)
    W = net.parameters()[0]
    W.mask = np.tile([1.0, 0.0, 1.0], (5, 1))
    for _ in range(20):
        nn.training.training_step(net, loss, optimizer, x, t)
        assert not W.data[:, 1].any()
        assert np.all(W.data[:, [0, 2]] != 0)


def test_masking_only_the_gradient_would_revive_them():
    """Why the mask is applied to the data: momentum goes on moving a weight whose gradient is zero."""
    net, loss, x, t = CASES[3].build()
    optimizer = nn.SGD(net.parameters(), 0.1, momentum=0.9)
    for _ in range(5):
        nn.training.training_step(net, loss, optimizer, x, t)
    W = net.parameters()[0]
    W.data[:, 1] = 0
    loss.forward(net.forward(x), t)
    net.backward_parameters(loss.backward())
    W.grad[:, 1] = 0
    optimizer.step()
    assert np.all(W.data[:, 1] != 0)


def test_step_decay():
    schedule = nn.step_decay(0.1, milestones=(2, 5), factor=0.5)
    assert [schedule(epoch) for epoch in range(7)] == [0.1, 0.1, 0.05, 0.05, 0.05, 0.025, 0.025]


def test_bad_input():
    net = copy.deepcopy(CASES[3].build()[0])
    with pytest.raises(ValueError, match="Nesterov's step needs a momentum above 0"):
        nn.SGD(net.parameters(), 0.1, nesterov=True)
    with pytest.raises(ValueError, match="learning rate of 0 or more, got nan"):
        nn.SGD(net.parameters(), float("nan"))
    with pytest.raises(ValueError, match=r"momentum in \[0, 1\), got 2"):
        nn.SGD(net.parameters(), 0.1, momentum=2)
    with pytest.raises(ValueError, match="no gradient: call backward"):
        nn.SGD(net.parameters(), 0.1).step()
    with pytest.raises(ValueError, match="at least one parameter"):
        nn.SGD([], 0.1)


def test_cosine_decay():
    schedule = nn.cosine_decay(0.2, epochs=4)
    np.testing.assert_allclose(
        [schedule(e) for e in range(5)], [0.2, 0.1 + 0.1 / 2**0.5, 0.1, 0.1 - 0.1 / 2**0.5, 0], atol=1e-15
    )

    assert schedule(5) == 0  # and does not rise again
    with pytest.raises(ValueError, match="at least one epoch, got 0"):
        nn.cosine_decay(0.2, 0)


def test_a_copy_decays_its_own_parameters():
    net, _, _, _ = CASES[3].build()
    optimizer = nn.SGD(net.parameters(), 0.1, weight_decay=0.5, decayed=net.parameters()[:1])
    twin, again = copy.deepcopy((net, optimizer))
    assert again.decayed == {twin.parameters()[0]}


def test_adam_decays_some_parameters_only_too():
    net, loss, x, t = CASES[3].build()
    twin = copy.deepcopy(net)
    optimizer = nn.Adam(net.parameters(), 0.1, weight_decay=0.5, decayed=net.parameters()[1:])
    other = nn.Adam(twin.parameters(), 0.1, weight_decay=0.5)
    for each, moved in ((net, optimizer), (twin, other)):
        nn.training.training_step(each, loss, moved, x, t)
    same = [bool(np.all(a["mean"] == b["mean"])) for a, b in zip(optimizer.state, other.state)]
    assert same == [False] + [True] * (len(same) - 1)
    g = net.parameters()[0].grad
    np.testing.assert_allclose(optimizer.state[0]["mean"], (1 - 0.9) * g, rtol=1e-14)


def test_weight_decay_of_some_parameters_only():
    net, loss, x, t = CASES[3].build()
    twin = copy.deepcopy(net)
    decayed = net.parameters()[0]
    optimizer = nn.SGD(net.parameters(), 0.1, weight_decay=0.5, decayed=[decayed])
    nn.training.training_step(net, loss, optimizer, x, t)
    nn.training.training_step(twin, loss, nn.SGD(twin.parameters(), 0.1), x, t)
    for p, q in zip(net.parameters(), twin.parameters()):
        # Both went along the same gradient; only the first was pulled to zero, by 0.1 x 0.5 of what it was before.
        before = q.data + 0.1 * q.grad
        np.testing.assert_allclose(p.data, q.data - (0.05 * before if p is decayed else 0), atol=1e-15)
    with pytest.raises(ValueError, match="decayed"):
        nn.SGD(net.parameters(), 0.1, decayed=twin.parameters())
    for make in (nn.SGD, nn.Adam):
        for value in (-1e-4, float("nan")):
            with pytest.raises(ValueError, match="weight decay of 0 or more"):
                make(net.parameters(), 0.1, weight_decay=value)
