"""Companions of training: when they are called, what is refused, and that they go on where they stood."""

import copy

import numpy as np
import pytest
from cases import everything

import nn
from nn.training import train

SETTINGS = {"epochs": 3, "batch_size": 4, "progress": False}


class Average(nn.Companion):
    """The running mean of the weights, and what it was called with."""

    def __init__(self, net, fail_at=None):
        self.net, self.fail_at, self.calls = net, fail_at, []
        self.mean = [parameter.data.copy() for parameter in net.parameters()]

    def after_backward(self, step):
        self.calls.append(["backward", step])
        if step == self.fail_at:
            raise KeyboardInterrupt

    def after_step(self, step):
        self.calls.append(["step", step])
        self.mean = [0.9 * m + 0.1 * p.data for m, p in zip(self.mean, self.net.parameters())]

    def penalty(self):
        return float(sum((m * m).sum() for m in self.mean))

    def state(self):
        return {"calls": self.calls, **{str(k): m for k, m in enumerate(self.mean)}}

    def load(self, state):
        if state.keys() != self.state().keys():
            raise ValueError(f"expected {len(self.mean)} means, got {len(state) - 1}")
        self.calls = list(state["calls"])
        self.mean = [np.array(state[str(k)]) for k in range(len(self.mean))]


class Shifting(nn.Companion):
    """Moves the weights by what it remembers: the gradient of five steps ago."""

    def __init__(self, net):
        self.net, self.memory = net, []

    def after_backward(self, step):
        self.memory.append([p.grad.copy() for p in self.net.parameters()])
        if len(self.memory) > 5:
            for p, g in zip(self.net.parameters(), self.memory.pop(0)):
                p.grad = p.grad + 0.5 * g

    def state(self):
        return {f"{age}/{k}": g for age, each in enumerate(self.memory) for k, g in enumerate(each)}

    def load(self, state):
        ages = range(len(state) // len(self.net.parameters()))
        self.memory = [[state[f"{age}/{k}"] for k in range(len(self.net.parameters()))] for age in ages]


def setup():
    rng = np.random.default_rng(0)
    net = nn.models.mlp((3, 5, 4), rng)
    x, t = rng.standard_normal((3, 11)), rng.integers(0, 4, 11)
    return net, nn.SoftmaxCrossEntropy(), nn.SGD(net.parameters(), 0.1, momentum=0.9), x, t


def test_they_are_called_in_every_step_in_their_order_with_the_optimizers_count():
    net, loss, optimizer, x, t = setup()
    log = []

    class Logging(nn.Companion):
        def __init__(self, name):
            self.name = name

        def after_backward(self, step):
            log.append((self.name, "backward", step, optimizer.steps))

        def after_step(self, step):
            log.append((self.name, "step", step, optimizer.steps))

    nn.training.training_step(net, loss, optimizer, x, t)
    companions = (each for each in [Logging("a"), Logging("b")])  # of an iterator, too, every step has all
    train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=companions, **SETTINGS)
    expected = [
        (name, when, step, step if when == "step" else step - 1)
        for step in range(2, 11)
        for when in ("backward", "step")
        for name in "ab"
    ]
    assert log == expected


def test_one_that_does_nothing_changes_nothing_and_the_history_shows_the_penalty():
    (net, loss, optimizer, x, t), (twin, _, other, _, _) = setup(), setup()
    average = Average(net)
    history = train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=[nn.Companion(), average],
                    **SETTINGS)  # fmt: skip
    plain = train(twin, loss, other, x, t, rng=np.random.default_rng(1), **SETTINGS)
    np.testing.assert_array_equal(nn.gradcheck.flat(net), nn.gradcheck.flat(twin))
    assert [{key: value for key, value in record.items() if key != "penalty"} for record in history] == plain
    assert history[-1]["penalty"] == average.penalty() > 0
    assert nn.Companion().penalty() == 0 and nn.Companion().state() == {}


@pytest.mark.parametrize("killed_at", [1, 3, 4, 5, 8, 9])
def test_a_run_that_was_broken_off_goes_on_to_the_bit(tmp_path, killed_at):
    net, loss, optimizer, x, t = setup()
    companions = [Average(net), Shifting(net)]
    uninterrupted = train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=companions, **SETTINGS)
    settings = {**SETTINGS, "checkpoint_path": tmp_path / "run.npz", "checkpoint_every": 2}
    other, _, optimizer, _, _ = setup()
    with pytest.raises(KeyboardInterrupt):
        train(other, loss, optimizer, x, t, rng=np.random.default_rng(1),
              companions=[Average(other, killed_at), Shifting(other)], **settings)  # fmt: skip
    resumed, _, optimizer, _, _ = setup()
    again = [Average(resumed), Shifting(resumed)]
    history = train(resumed, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=again, **settings)
    assert history == uninterrupted
    np.testing.assert_array_equal(nn.gradcheck.flat(resumed), nn.gradcheck.flat(net))
    assert again[0].calls == companions[0].calls
    assert all(np.array_equal(a, b) for a, b in zip(again[0].mean, companions[0].mean))


class Picky(nn.Companion):
    def load(self, state):
        raise ValueError("no state is good enough")


def test_where_a_companion_refuses_its_state_nothing_changes_not_the_other_companion_either(tmp_path):
    net, loss, optimizer, x, t = setup()
    train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=[Average(net), Picky()],
          checkpoint_path=tmp_path / "run.npz", **SETTINGS)  # fmt: skip
    other, _, optimizer, _, _ = setup()
    rng, average = np.random.default_rng(7), Average(other)
    before = everything(other, optimizer, rng, average)
    with pytest.raises(ValueError, match=r"run.npz holds a state that does not fit the Picky of this run: no state is"):
        nn.checkpoint.restore(tmp_path / "run.npz", other, optimizer, rng, [average, Picky()])
    assert everything(other, optimizer, rng, average) == before


@pytest.mark.parametrize(
    ("saved", "here", "message"),
    [
        ([], [Average], "none in the file and Average here"),
        ([Average], [], "Average in the file and none here"),
        ([Average, Shifting], [Shifting, Average], "Average, Shifting in the file and Shifting, Average here"),
    ],
)
def test_other_companions_than_those_of_the_file_are_refused(tmp_path, saved, here, message):
    net, loss, optimizer, x, t = setup()
    settings = {**SETTINGS, "checkpoint_path": tmp_path / "run.npz"}
    train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=[c(net) for c in saved], **settings)
    other, _, optimizer, _, _ = setup()
    before = nn.gradcheck.flat(other)
    with pytest.raises(ValueError, match=f"holds a run with other companions: {message}"):
        train(other, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=[c(other) for c in here],
              **settings)  # fmt: skip
    np.testing.assert_array_equal(nn.gradcheck.flat(other), before)


def test_strangers_are_refused_before_the_first_step():
    net, loss, optimizer, x, t = setup()
    before = nn.gradcheck.flat(net)
    run = lambda *companions: train(  # noqa: E731
        net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=companions, **SETTINGS
    )
    with pytest.raises(TypeError, match=r"companions derived from nn\.Companion, got a function"):
        run(lambda step: None)
    with pytest.raises(ValueError, match="companions of this net, got a Average of another"):
        run(Average(copy.deepcopy(net)))
    np.testing.assert_array_equal(nn.gradcheck.flat(net), before)
    with pytest.raises(ValueError, match="expected no state for Companion, got one of a"):
        nn.Companion().load({"a": 1})


def test_a_penalty_that_is_no_number_ends_the_run():
    class Infinite(nn.Companion):
        def penalty(self):
            return float("inf")

    net, loss, optimizer, x, t = setup()
    with pytest.raises(FloatingPointError, match="the penalty became inf in epoch 0"):
        train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=[Infinite()], **SETTINGS)


def test_a_companion_that_stands_twice_is_refused():
    net, loss, optimizer, x, t = setup()
    average = Average(net)
    with pytest.raises(ValueError, match="expected every companion once, got one twice"):
        train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=[average, average], **SETTINGS)
    assert average.calls == []


def test_a_ramp_counts_the_optimizers_steps():
    net, loss, optimizer, x, t = setup()
    ramp, seen = nn.Ramp(optimizer, steps=4, start=2), []

    class Watching(nn.Companion):
        def after_backward(self, step):
            seen.append(ramp.value)

        def penalty(self):
            return ramp.value

    history = train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=[Watching()], **SETTINGS)
    assert seen == [0, 0, 0, 0.25, 0.5, 0.75, 1, 1, 1]
    assert [record["penalty"] for record in history] == [0.25, 1, 1]


@pytest.mark.parametrize("killed_at", [2, 4, 5, 7])
def test_a_ramp_goes_on_where_it_stood_at_the_end_of_an_epoch_too(tmp_path, killed_at):
    """Saved behind every step: the last one of an epoch, too, whose penalty another process then records."""

    class Pull(nn.Companion):
        def __init__(self, net, optimizer, fail_at=None):
            self.net, self.ramp, self.fail_at = net, nn.Ramp(optimizer, 7), fail_at

        def after_backward(self, step):
            if step == self.fail_at:
                raise KeyboardInterrupt
            for u in self.net.parameters():
                u.grad = u.grad + self.ramp.value * u.data

        def penalty(self):
            return self.ramp.value * sum(float((u.data * u.data).sum()) for u in self.net.parameters()) / 2

    def run(fail_at=None, **more):
        net, loss, optimizer, x, t = setup()
        companions = [Pull(net, optimizer, fail_at)]
        history = train(
            net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=companions, **SETTINGS, **more
        )
        return nn.gradcheck.flat(net), history

    whole, history = run()
    saved = {"checkpoint_path": tmp_path / "run.npz", "checkpoint_every": 1}
    with pytest.raises(KeyboardInterrupt):
        run(killed_at, **saved)
    again, records = run(**saved)
    np.testing.assert_array_equal(again, whole)
    assert records == history


def test_a_ramp_of_no_steps_is_refused():
    optimizer = setup()[2]
    for arguments, message in (((optimizer, 0), "number of steps"), ((optimizer, 2, -1), "start")):
        with pytest.raises(ValueError, match=message):
            nn.Ramp(*arguments)
    with pytest.raises(TypeError, match=r"^expected an optimizer, whose steps are counted, got int$"):
        nn.Ramp(100, 10)


class Plain(nn.OwnGradients):
    """The forward and the backward sweep of a batch, as training makes them; times a factor."""

    def __init__(self, net, factor=1.0):
        self.net, self.factor, self.log = net, factor, []

    def gradients(self, net, loss, x, t):
        self.log.append("gradients")
        E = loss.forward(net.forward(x), t)
        net.backward_parameters(loss.backward())
        for u in net.parameters():
            u.grad = self.factor * u.grad
        return E

    def after_backward(self, step):
        self.log.append("after_backward")


def test_one_may_fill_the_gradients_itself_before_all_others_see_them():
    ends = []
    for kind in (None, 1.0, 2.0):
        net, loss, optimizer, x, t = setup()
        seen = []

        class Seeing(nn.Companion):
            def after_backward(self, step, net=net, seen=seen):
                seen.append(net.parameters()[0].grad.copy())

        own = [] if kind is None else [Plain(net, kind)]
        history = train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=[Seeing(), *own],
                        **SETTINGS)  # fmt: skip
        ends.append((nn.gradcheck.flat(net), history, seen))
        assert all(each.log == 9 * ["gradients", "after_backward"] for each in own)
    np.testing.assert_array_equal(ends[0][0], ends[1][0])
    assert ends[0][1] == ends[1][1]
    np.testing.assert_array_equal(ends[2][2][0], 2 * ends[0][2][0])
    assert (ends[2][0] != ends[0][0]).any()


def test_two_that_fill_the_gradients_are_refused():
    net, loss, optimizer, x, t = setup()
    with pytest.raises(ValueError, match=r"^expected at most one companion with gradients of its own, got Plain and"):
        train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=[Plain(net), Plain(net)], **SETTINGS)
    with pytest.raises(ValueError, match=r"^OwnGradients does not say what it differentiates"):
        train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), companions=[nn.OwnGradients()], **SETTINGS)
