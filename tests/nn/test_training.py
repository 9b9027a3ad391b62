import copy
import subprocess
import sys
import time

import numpy as np
import pytest

import nn
from nn.batches import evaluate
from nn.training import train

ARGUMENTS = {"epochs": 3, "batch_size": 4, "progress": False}


def setup(dtype=np.float64):
    rng = np.random.default_rng(0)
    net = nn.models.mlp((3, 5, 4), rng, dtype=dtype)
    x, t = rng.standard_normal((3, 11)).astype(dtype), rng.integers(0, 4, 11)
    return net, nn.SoftmaxCrossEntropy(), nn.SGD(net.parameters(), 0.1, momentum=0.9), x, t


def test_training_lowers_the_loss_and_returns_a_history():
    net, loss, optimizer, x, t = setup()
    before, _ = evaluate(net, loss, x, t)
    history = train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), test=(x, t), epochs=30, batch_size=4,
                    schedule=nn.step_decay(0.1, (20,)), progress=False)  # fmt: skip
    after, accuracy = evaluate(net, loss, x, t)
    assert after < before / 2
    assert [record["epoch"] for record in history] == list(range(30))
    assert history[19]["learning_rate"] == 0.1 and history[20]["learning_rate"] == pytest.approx(0.01)
    assert (history[-1]["test_loss"], history[-1]["test_accuracy"]) == (after, accuracy)
    assert net.training


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    ends = []
    for seed in (1, 1, 2):
        net, loss, optimizer, x, t = setup()
        train(net, loss, optimizer, x, t, rng=np.random.default_rng(seed), **ARGUMENTS)
        ends.append(nn.gradcheck.flat(net))
    np.testing.assert_array_equal(ends[0], ends[1])
    assert np.any(ends[0] != ends[2])


def test_every_pattern_is_seen_once_an_epoch():
    class Recording(nn.SquaredError):
        seen = []

        def forward(self, y, t):
            self.seen.extend(t[0].tolist())
            return super().forward(y, t)

    net = nn.Sequential(nn.Linear(1, 1, np.random.default_rng(0)))
    x = np.arange(11.0)[None, :]
    train(net, Recording(), nn.SGD(net.parameters(), 1e-6), x, x, rng=np.random.default_rng(0), **ARGUMENTS)
    for epoch in range(3):
        assert sorted(Recording.seen[11 * epoch : 11 * (epoch + 1)]) == list(range(11))


@pytest.mark.parametrize("batch_size", [1, 4, 11, 100, None])
def test_evaluate_does_not_depend_on_the_batch_size(batch_size):
    net, loss, _, x, t = setup()
    E, accuracy = evaluate(net, loss, x, t, batch_size)
    assert pytest.approx(float(loss.forward(net.forward(x), t)), rel=1e-14) == E
    assert accuracy == np.mean(np.argmax(net.forward(x), axis=0) == t)
    one_hot = nn.one_hot(t, 4, like=x, off=-1)
    assert evaluate(net, nn.SquaredError(), x, one_hot, batch_size)[1] == accuracy


@pytest.mark.parametrize("make", [lambda p: nn.SGD(p, 0.1, momentum=0.9), lambda p: nn.Adam(p, 0.01)])
@pytest.mark.parametrize("killed_after", [1, 2, 3, 4, 7, 8, 9])
def test_a_killed_run_goes_on_to_the_bit(tmp_path, make, killed_after):
    """A run is killed after some step (in, at the end of, and between epochs of 3 steps), and started again."""

    class Killed(Exception):
        pass

    class Dying(nn.SoftmaxCrossEntropy):
        steps = 0

        def forward(self, y, t):
            if self.steps == killed_after:
                raise Killed
            self.steps += 1
            return super().forward(y, t)

    net, loss, _, x, t = setup()
    net.parameters()[0].mask = np.tile([1.0, 0.0, 1.0], (5, 1))
    start, path = copy.deepcopy(net), tmp_path / "run.npz"
    uninterrupted = train(net, loss, make(net.parameters()), x, t, rng=np.random.default_rng(1), **ARGUMENTS)
    settings = {**ARGUMENTS, "checkpoint_path": path, "checkpoint_every": 2}
    if killed_after < 9:
        other = copy.deepcopy(start)
        with pytest.raises(Killed):
            train(other, Dying(), make(other.parameters()), x, t, rng=np.random.default_rng(1), **settings)
    resumed = copy.deepcopy(start)
    rng = np.random.default_rng(1)
    history = train(resumed, loss, make(resumed.parameters()), x, t, rng=rng, **settings)
    assert history == uninterrupted
    np.testing.assert_array_equal(nn.gradcheck.flat(resumed), nn.gradcheck.flat(net))
    finished = copy.deepcopy(start)  # a finished run started again does nothing
    assert history == train(finished, loss, make(finished.parameters()), x, t, rng=np.random.default_rng(1), **settings)
    np.testing.assert_array_equal(nn.gradcheck.flat(finished), nn.gradcheck.flat(net))
    assert [p.name for p in tmp_path.iterdir()] == ["run.npz"]


SCRIPT = """
import sys
import numpy as np
import nn
from nn.data.augment import augment
rng = np.random.default_rng(0)
features = nn.Conv2d(1, 3, 3, rng), nn.BatchNorm(3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
net = nn.Sequential(*features, nn.Linear(27, 10, rng))
x, t = (each[..., :150] for each in nn.data.load("digits").train)
optimizer = nn.SGD(net.parameters(), 0.05, momentum=0.9)
nn.training.train(net, nn.SoftmaxCrossEntropy(), optimizer, x, t, epochs=12, batch_size=32, rng=rng, augment=augment,
                  checkpoint_path=sys.argv[1], checkpoint_every=1, progress=False)
"""


@pytest.mark.slow
def test_a_process_killed_at_random_moments_ends_in_the_same_bits(tmp_path):
    """kill -9 again and again, batch norm's statistics, momentum and augmentation included."""
    run = lambda path: subprocess.Popen([sys.executable, "-c", SCRIPT, str(path)])  # noqa: E731
    reference, path = tmp_path / "reference.npz", tmp_path / "killed.npz"
    assert run(reference).wait() == 0
    pause, kills = np.random.default_rng(1), 0
    while True:
        process = run(path)
        while process.poll() is None and not path.exists():
            time.sleep(0.01)
        time.sleep(pause.uniform(0, 0.1))
        if process.poll() is not None and process.wait() == 0:
            break
        if kills < 4:
            process.kill()
            kills += 1
        if process.wait() == 0:
            break
    assert kills > 0
    with np.load(reference) as a, np.load(path) as b:
        assert set(a.files) == set(b.files)
        assert all(a[name].tobytes() == b[name].tobytes() for name in a.files)


def test_data_and_weights_of_two_dtypes_are_refused():
    net, loss, optimizer, x, t = setup(np.float32)
    with pytest.raises(ValueError, match=r"one dtype: x is float64, 1.W is float32"):
        train(net, loss, optimizer, x.astype(np.float64), t, rng=np.random.default_rng(0), **ARGUMENTS)


def test_bad_data_is_refused():
    net, loss, optimizer, x, t = setup()
    run = lambda x, t, **more: train(net, loss, optimizer, x, t, rng=np.random.default_rng(0), **ARGUMENTS | more)  # noqa: E731
    nan = x.copy()
    nan[1, 2] = np.nan
    with pytest.raises(ValueError, match="finite inputs, got data with NaN"):
        run(nan, t)
    with pytest.raises(ValueError, match="x is float64, the targets are float32"):
        run(x, np.ones((4, 11), np.float32))
    with pytest.raises(ValueError, match="finite inputs"):
        evaluate(net, loss, nan, t)
    with pytest.raises(ValueError, match="finite targets"):
        run(x, np.full((4, 11), np.inf))
    with pytest.raises(ValueError, match="11 inputs, 10 targets"):
        run(x, t[:10])
    with pytest.raises(ValueError, match="real floating-point inputs, got uint8"):
        run(np.zeros((3, 11), np.uint8), t)
    with pytest.raises(ValueError, match="batch size >= 1, got 3 and 0"):
        run(x, t, batch_size=0)
    with pytest.raises(ValueError, match=r"labels in 0 \.\. 3"):
        run(x, t + 4)


def test_divergence_is_reported_and_the_checkpoint_is_of_before(tmp_path):
    net, _, _, x, t = setup()
    path, targets = tmp_path / "run.npz", nn.one_hot(t, 4, like=x)
    settings = {"epochs": 100, "batch_size": 4, "progress": False, "checkpoint_path": path, "checkpoint_every": 1}
    sentence = r"training loss became (inf|nan) in epoch \d+, step \d+"
    with pytest.raises(FloatingPointError, match=sentence), np.errstate(all="ignore"):
        optimizer = nn.SGD(net.parameters(), 1e6)
        train(net, nn.SquaredError(), optimizer, x, targets, rng=np.random.default_rng(0), **settings)
    assert all(np.all(np.isfinite(parameter.data)) for parameter in nn.checkpoint.load(path).parameters())


def test_the_progress_bar_goes_to_stderr(capsys):
    net, loss, optimizer, x, t = setup()
    train(net, loss, optimizer, x, t, rng=np.random.default_rng(0), **ARGUMENTS | {"progress": True})
    out, err = capsys.readouterr()
    assert out == "" and "9/9" in err


def test_a_net_with_dropout_goes_on_to_the_bit_too(tmp_path):
    def net_and_rest():
        rng = np.random.default_rng(5)
        net = nn.Sequential(nn.Linear(3, 6, rng), nn.Dropout(0.5, np.random.default_rng(6)), nn.Linear(6, 4, rng))
        return net, nn.SGD(net.parameters(), 0.1, momentum=0.9), np.random.default_rng(1)

    class Dying(nn.SoftmaxCrossEntropy):
        steps = 0

        def forward(self, y, t):
            self.steps += 1
            if self.steps > 5:
                raise KeyboardInterrupt
            return super().forward(y, t)

    _, loss, _, x, t = setup()
    net, optimizer, rng = net_and_rest()
    train(net, loss, optimizer, x, t, rng=rng, **ARGUMENTS)
    settings = {**ARGUMENTS, "checkpoint_path": tmp_path / "run.npz", "checkpoint_every": 2}
    killed, optimizer, rng = net_and_rest()
    with pytest.raises(KeyboardInterrupt):
        train(killed, Dying(), optimizer, x, t, rng=rng, **settings)
    resumed, optimizer, rng = net_and_rest()
    train(resumed, loss, optimizer, x, t, rng=rng, **settings)
    np.testing.assert_array_equal(nn.gradcheck.flat(resumed), nn.gradcheck.flat(net))
    resumed.layers[1].rng = rng
    with pytest.raises(ValueError, match="a generator of its own for Dropout"):
        train(resumed, loss, optimizer, x, t, rng=rng, **ARGUMENTS)


def test_the_hooks_stand_behind_the_gradient_and_behind_the_step():
    net, loss, _, x, t = setup()
    twin = copy.deepcopy(net)
    optimizer = nn.SGD(net.parameters(), 0.1)

    def double():
        for p in net.parameters():
            p.grad = 2 * p.grad

    def halve():
        for p in net.parameters():
            p.data = p.data / 2

    nn.training.train(net, loss, optimizer, x, t, 1, x.shape[-1], np.random.default_rng(0),
                      after_backward=double, after_step=halve, progress=False)  # fmt: skip
    nn.training.training_step(twin, loss, nn.SGD(twin.parameters(), 0.2), x, t)
    for p, q in zip(net.parameters(), twin.parameters()):
        np.testing.assert_allclose(p.data, q.data / 2, rtol=1e-12, atol=1e-15)
