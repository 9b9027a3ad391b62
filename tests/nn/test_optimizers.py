import copy
import json

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
    assert set(again.decayed) == {twin.parameters()[0]}


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


NUMBERS = [np.float64, np.float32, np.float16]


@pytest.mark.parametrize("number", NUMBERS)
@pytest.mark.parametrize("name", ["SGD", "Adam"])
def test_settings_as_numpy_scalars_leave_float32_alone_and_fit_in_json(name, number):
    rng = np.random.default_rng(0)
    net = nn.models.mlp((3, 5, 4), rng, dtype=np.float32)
    x, t = rng.standard_normal((3, 6)).astype(np.float32), rng.integers(0, 4, 6)
    if name == "SGD":
        settings = {"momentum": number(0.5), "nesterov": np.bool_(True)}
    else:
        settings = {"betas": np.array([0.5, 0.75], number), "eps": number(1e-3)}
    optimizer = getattr(nn, name)(net.parameters(), number(0.125), weight_decay=number(0.25), **settings)
    for rate in (number(0.25), np.int64(1), 1):
        optimizer.learning_rate = rate
        nn.training.training_step(net, nn.SoftmaxCrossEntropy(), optimizer, x, t)
    arrays = [p.data for p in net.parameters()] + [a for state in optimizer.state for a in state.values()]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
    config = optimizer.config()
    assert json.loads(json.dumps(config)) == json.loads(json.dumps(config | {"learning_rate": 1.0}))
    numbers = [*config.get("betas", ()), *(value for key, value in config.items() if key != "betas")]
    assert {type(value) for value in numbers} <= {float, bool}


@pytest.mark.parametrize("schedule", [nn.step_decay, lambda rate, epochs: nn.cosine_decay(rate, epochs[0])])
def test_schedules_of_numpy_scalars_return_pythons_floats(schedule):
    found = schedule(np.float32(0.5), np.array([4, 6]))
    assert [type(found(epoch)) for epoch in range(8)] == [float] * 8


def test_milestones_of_an_iterator_hold_in_every_epoch():
    schedule = nn.step_decay(0.1, iter((2, 5)), 0.5)
    assert [schedule(epoch) for epoch in (6, 6, 0, 3)] == [0.025, 0.025, 0.1, 0.05]


@pytest.mark.parametrize("rate", [-0.1, -np.inf, np.inf, np.nan, -1e-300])
def test_a_rate_that_is_no_step_down_is_refused_wherever_it_comes_from(rate):
    net = CASES[3].build()[0]
    for make in (nn.SGD, nn.Adam):
        with pytest.raises(ValueError, match=f"learning rate of 0 or more, got {rate}"):
            make(net.parameters(), rate)
        optimizer = make(net.parameters(), 0.1)
        with pytest.raises(ValueError, match=f"learning rate of 0 or more, got {rate}"):
            optimizer.learning_rate = rate
        assert optimizer.learning_rate == 0.1
    for schedule in (lambda: nn.step_decay(rate, (2,)), lambda: nn.cosine_decay(rate, 3)):
        with pytest.raises(ValueError, match=f"learning rate of 0 or more, got {rate}"):
            schedule()


@pytest.mark.parametrize(
    "betas", [(0.9, 1), (0.9, 1.5), (1, 0.9), (-0.1, 0.9), (0.9, np.nan), (0.9,), (0.9,) * 3, (), 0.9]
)
def test_betas_outside_their_range_are_refused(betas):
    with pytest.raises(ValueError, match=r"two betas in \[0, 1\), got "):
        nn.Adam(CASES[3].build()[0].parameters(), betas=betas)


def test_settings_that_are_none_are_one_sentence():
    parameters = CASES[3].build()[0].parameters()
    for eps in (0, -1e-8, np.nan, np.inf):
        with pytest.raises(ValueError, match="an eps above 0, got "):
            nn.Adam(parameters, eps=eps)
    for call, message in (
        (lambda: nn.SGD(parameters, "0.1"), "a number for the learning rate, got '0.1'"),
        (lambda: nn.SGD(parameters, None), "a number for the learning rate, got None"),
        (lambda: nn.SGD(parameters, True), "a number for the learning rate, got True"),
        (lambda: nn.SGD(parameters, 1j), "a number for the learning rate, got 1j"),
        (lambda: nn.SGD(parameters, 0.1, "0.9"), "a number for the momentum, got '0.9'"),
        (lambda: nn.SGD(parameters, 0.1, weight_decay=[1]), r"a number for the weight decay, got \[1\]"),
        (lambda: nn.Adam(parameters, eps="tiny"), "a number for eps, got 'tiny'"),
        (lambda: nn.Adam(parameters, betas="90"), "a number for a beta of Adam, got '9'"),
        (lambda: nn.SGD([p.data for p in parameters], 0.1), r"parameters such as net.parameters\(\), got a ndarray"),
        (lambda: nn.step_decay(0.1, (2,), "x"), "a number for the factor, got 'x'"),
        (lambda: nn.cosine_decay(0.1, "x"), "a number for the epochs, got 'x'"),
    ):
        with pytest.raises(TypeError, match=message):
            call()
    for factor in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="a positive factor, got "):
            nn.step_decay(0.1, (2,), factor)
    for milestone in (1.5, -1, np.nan):
        with pytest.raises(ValueError, match="whole milestone of at least 0, got "):
            nn.step_decay(0.1, (milestone,))
    with pytest.raises(ValueError, match="at least one epoch, got nan"):
        nn.cosine_decay(0.1, np.nan)


@pytest.mark.parametrize("make", [lambda p: nn.SGD(p, 0.1, 0.9), lambda p: nn.Adam(p, 0.1)])
@pytest.mark.parametrize(
    ("grad", "message"), [(None, "no gradient: call backward"), (np.ones(1), r"\(4,\) has a gradient of shape \(1,\)")]
)
def test_a_step_that_cannot_be_made_moves_nothing(make, grad, message):
    net, loss, x, t = CASES[3].build()
    optimizer = make(net.parameters())
    nn.training.training_step(net, loss, optimizer, x, t)
    net.parameters()[-1].grad = grad
    before = nn.gradcheck.flat(net)
    states = copy.deepcopy(optimizer.state)
    with pytest.raises(ValueError, match=message):
        optimizer.step()
    np.testing.assert_array_equal(nn.gradcheck.flat(net), before)
    assert optimizer.steps == 1
    for state, old in zip(optimizer.state, states):
        assert all(np.array_equal(state[name], old[name]) for name in old)


def test_a_parameter_of_two_layers_would_move_twice():
    net = nn.Sequential(*[nn.Linear(3, 3, np.random.default_rng(0)) for _ in range(2)])
    net.layers[1].W = net.layers[0].W
    for make in (lambda p: nn.SGD(p, 0.1), nn.Adam):
        with pytest.raises(ValueError, match="every parameter once, got one twice, as of two layers that share it"):
            make(net.parameters())


@pytest.mark.parametrize(("name", "settings", "_"), SETTINGS)
def test_groups_of_rates_and_decays_equal_torch(name, settings, _):
    """Ten steps under a schedule, which scales all groups, against torch's parameter groups."""
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    net, loss, x, t = CASES[3].build()
    u = net.parameters()
    rates, decayed, decay = {u[1]: 10, u[3]: 0.5}, {u[0]: 1, u[1]: 3.0, u[2]: 0}, settings.get("weight_decay", 0)
    theirs = [torch.tensor(p.data.copy(), requires_grad=True) for p in u]
    renamed = {{"learning_rate": "lr"}.get(key, key): value for key, value in settings.items()}
    groups = [{"params": [q], "weight_decay": decay * decayed.get(p, 0)} for p, q in zip(u, theirs)]
    reference = getattr(torch.optim, name)(groups, **renamed)
    optimizer = getattr(nn, name)(u, **settings, decayed=decayed, rates=rates)
    for step in range(10):
        optimizer.learning_rate = 0.1 * 0.8**step
        for p, group in zip(u, reference.param_groups):
            group["lr"] = 0.1 * 0.8**step * rates.get(p, 1)
            assert optimizer.rate(p) == pytest.approx(group["lr"], rel=1e-15)
        nn.training.training_step(net, loss, optimizer, x, t)
        for p, q in zip(u, theirs):
            q.grad = torch.from_numpy(p.grad.copy())
        reference.step()
    for p, q in zip(u, theirs):
        np.testing.assert_allclose(p.data, q.detach().numpy(), rtol=1e-12, atol=1e-15)


def test_a_rate_of_zero_holds_a_parameter_and_a_copy_has_its_own_groups():
    net, loss, x, t = CASES[3].build()
    W, b = net.parameters()[:2]
    before = W.data.copy()
    optimizer = nn.SGD(net.parameters(), 0.1, momentum=0.9, rates={W: 0, b: 2})
    for _ in range(3):
        nn.training.training_step(net, loss, optimizer, x, t)
    np.testing.assert_array_equal(W.data, before)
    twin, again = copy.deepcopy((net, optimizer))
    assert again.rates == dict(zip(twin.parameters()[:2], (0, 2))) and again.config() == optimizer.config()


def test_groups_that_make_no_sense_are_one_sentence():
    net, _, _, _ = CASES[3].build()
    W, twin = net.parameters()[0], copy.deepcopy(net).parameters()[0]
    for make in (nn.SGD, nn.Adam):
        for what in ("rates", "decayed"):
            with pytest.raises(
                ValueError, match=f"^expected {what} to be among the parameters that are optimized, got"
            ):
                make(net.parameters(), 0.1, **{what: {twin: 1}})
            for factor in (-1, float("nan"), float("inf")):
                with pytest.raises(ValueError, match=f"^expected a factor in {what} of 0 or more, got {factor}$"):
                    make(net.parameters(), 0.1, **{what: {W: factor}})
        with pytest.raises(TypeError, match=r"^expected rates such as \{parameter: 10\}, got list$"):
            make(net.parameters(), 0.1, rates=[W])
