import copy
import math
import subprocess
import sys
import time

import numpy as np
import pytest
from cases import everything
from noisy_layers import Table

import nn
from nn import gradcheck
from nn.batches import evaluate
from nn.training import train
from pruning import surgery

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
    with pytest.raises(ValueError, match=r"a generator of its own as 1\.rng, got the one that shuffles"):
        train(resumed, loss, optimizer, x, t, rng=rng, **ARGUMENTS)


def test_companions_stand_behind_the_gradient_and_behind_the_step():
    net, loss, _, x, t = setup()
    twin = copy.deepcopy(net)
    optimizer = nn.SGD(net.parameters(), 0.1)

    class DoubleAndHalve(nn.Companion):
        def after_backward(self, step):
            for p in net.parameters():
                p.grad = 2 * p.grad

        def after_step(self, step):
            for p in net.parameters():
                p.data = p.data / 2

    nn.training.train(net, loss, optimizer, x, t, 1, x.shape[-1], np.random.default_rng(0),
                      companions=[DoubleAndHalve()], progress=False)  # fmt: skip
    nn.training.training_step(twin, loss, nn.SGD(twin.parameters(), 0.2), x, t)
    for p, q in zip(net.parameters(), twin.parameters()):
        np.testing.assert_allclose(p.data, q.data / 2, rtol=1e-12, atol=1e-15)


def unchanged(net, optimizer, rng, call, error, message):
    """The call is refused in one sentence, and nothing has moved."""
    before = everything(net, optimizer, rng)
    with pytest.raises(error, match=message):
        call()
    assert everything(net, optimizer, rng) == before


def test_an_optimizer_of_another_net_is_refused_before_it_ruins_that_one(tmp_path):
    net, loss, optimizer, x, t = setup()
    train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), **ARGUMENTS)
    nn.checkpoint.save(tmp_path / "net.npz", net)
    others = [copy.deepcopy(net), nn.checkpoint.load(tmp_path / "net.npz"), surgery.remove(net, {"1.W": [0, 2]})]
    for other in others:
        rng = np.random.default_rng(0)
        for moved, of in (([*net.parameters()], 4), ([net.parameters()[0], *other.parameters()[1:]], 1)):
            stranger = nn.SGD(moved, 0.1)
            run = lambda: train(other, loss, stranger, x, t, rng=rng, **ARGUMENTS)  # noqa: B023, E731
            sentence = f"an optimizer of this net, got one with {of} of 4 parameters of another: a net that was copied"
            unchanged(net, stranger, rng, run, ValueError, sentence)
    few = nn.SGD(net.parameters()[2:], 0.1)  # what is left out stays as it is
    first = net.parameters()[0].data.copy()
    train(net, loss, few, x, t, rng=np.random.default_rng(0), **ARGUMENTS)
    np.testing.assert_array_equal(net.parameters()[0].data, first)


def test_two_layers_of_one_parameter_are_refused():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(3, 3, rng), nn.Tanh(), nn.Linear(3, 3, rng))
    net.layers[2].W = net.layers[0].W
    x, t = rng.standard_normal((3, 5)), rng.integers(0, 3, 5)
    loss, sentence = (
        nn.SoftmaxCrossEntropy(),
        r"0\.W and 2\.W are one Parameter, whose derivatives would be those of one",
    )
    optimizer = nn.SGD([net.layers[0].W], 0.1)
    unchanged(
        net, optimizer, rng, lambda: train(net, loss, optimizer, x, t, rng=rng, **ARGUMENTS), ValueError, sentence
    )
    for sweep in (evaluate, nn.curvature.hess_diag, nn.curvature.gradient):
        with pytest.raises(ValueError, match=sentence):
            sweep(net, loss, x, t)


def test_numbers_of_numpy_leave_float32_alone_and_the_run_goes_on(tmp_path):
    """A schedule of np.cos, settings of np.logspace: what was saved in float32 is resumed in float32."""
    rates = np.logspace(-2, -1, 3)
    schedule = lambda epoch: rates[epoch] * (1 + np.cos(np.pi * np.float32(epoch) / 4))  # noqa: E731

    def run(epochs, path=None):
        net, loss, _, x, t = setup(np.float32)
        optimizer = nn.Adam(net.parameters(), rates[0], weight_decay=rates[1])
        history = train(net, loss, optimizer, x, t, rng=np.random.default_rng(1), schedule=schedule,
                        checkpoint_path=path, **ARGUMENTS | {"epochs": epochs})  # fmt: skip
        arrays = [p.data for p in net.parameters()] + [a for state in optimizer.state for a in state.values()]
        assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
        return nn.gradcheck.flat(net), history

    whole, history = run(np.int64(3))
    run(2, tmp_path / "run.npz")
    resumed, again = run(3, tmp_path / "run.npz")
    np.testing.assert_array_equal(whole, resumed)
    assert history == again and all(type(value) in (int, float) for record in history for value in record.values())


@pytest.mark.parametrize(
    ("rate", "error", "message"),
    [
        (-1, ValueError, "learning rate of 0 or more, got -1"),
        (np.nan, ValueError, "learning rate of 0 or more, got nan"),
        (np.inf, ValueError, "learning rate of 0 or more, got inf"),
        (None, TypeError, "a number for the learning rate, got None"),
        ("0.1", TypeError, "a number for the learning rate, got '0.1'"),
    ],
)
def test_a_schedule_that_gives_no_rate_ends_the_run_where_it_stands(tmp_path, rate, error, message):
    net, loss, optimizer, x, t = setup()
    path = tmp_path / "run.npz"
    with pytest.raises(error, match=message):
        train(net, loss, optimizer, x, t, rng=np.random.default_rng(0), checkpoint_path=path,
              schedule=lambda epoch: rate if epoch == 2 else 0.1, **ARGUMENTS)  # fmt: skip
    np.testing.assert_array_equal(nn.gradcheck.flat(nn.checkpoint.load(path)), nn.gradcheck.flat(net))
    assert nn.checkpoint.load_progress(path)["epoch"] == 2


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"epochs": 1.5}, "whole numbers, epochs >= 0 and a batch size >= 1, got 1.5 and 4"),
        ({"epochs": -1}, "whole numbers, epochs >= 0 and a batch size >= 1, got -1 and 4"),
        ({"epochs": "3"}, "whole numbers, epochs >= 0 and a batch size >= 1, got 3 and 4"),
        ({"batch_size": math.inf}, "whole numbers, epochs >= 0 and a batch size >= 1, got 3 and inf"),
        ({"batch_size": 2.5}, "whole numbers, epochs >= 0 and a batch size >= 1, got 3 and 2.5"),
        ({"batch_size": True}, "whole numbers, epochs >= 0 and a batch size >= 1, got 3 and True"),
        ({"batch_size": None}, "whole numbers, epochs >= 0 and a batch size >= 1, got 3 and None"),
        ({"checkpoint_every": 0}, "whole checkpoint_every of at least 1, got 0"),
        ({"checkpoint_every": 2.5}, "whole checkpoint_every of at least 1, got 2.5"),
    ],
)
def test_counts_that_are_none_are_refused(given, message):
    net, loss, optimizer, x, t = setup()
    rng = np.random.default_rng(0)
    run = lambda: train(net, loss, optimizer, x, t, rng=rng, **ARGUMENTS | given)  # noqa: E731
    unchanged(net, optimizer, rng, run, ValueError, message)
    for size in (0, 1.5, math.inf, "4"):
        with pytest.raises(ValueError, match="whole batch size of at least 1, got "):
            evaluate(net, loss, x, t, size)


@pytest.mark.parametrize("rng", [0, None, np.random])
def test_a_seed_in_the_place_of_a_generator_is_refused(rng):
    net, loss, optimizer, x, t = setup()
    sentence = r"expected an np\.random\.Generator, for instance np\.random\.default_rng\(0\), got"
    with pytest.raises(TypeError, match=sentence):
        train(net, loss, optimizer, x, t, rng=rng, **ARGUMENTS)


def test_what_is_no_array_is_refused_before_the_first_step():
    net, loss, optimizer, x, t = setup()
    rng = np.random.default_rng(0)
    for data, targets in ((x, t.tolist()), (x.tolist(), t), (x, None), (x, (t, t.tolist())), (None, None)):
        run = lambda: train(net, loss, optimizer, data, targets, rng=rng, **ARGUMENTS)  # noqa: B023, E731
        unchanged(
            net, optimizer, rng, run, TypeError, "expected an array of NumPy, CuPy or the array-API standard, got"
        )
        with pytest.raises(TypeError, match="expected an array of NumPy"):
            evaluate(net, loss, data, targets)
    for data, targets in ((np.float64(1), t), (x, np.int64(1))):
        with pytest.raises(ValueError, match="as many targets as inputs"):
            evaluate(net, loss, data, targets)


def normed(behind):
    rng = np.random.default_rng(0)
    norm = [nn.Conv2d(1, 2, 3, rng), nn.BatchNorm(2), nn.Flatten(), nn.Linear(8, 4, rng)]
    if behind:
        norm = [nn.Flatten(), nn.Linear(16, 8, rng), nn.Sequential(nn.BatchNorm(8)), nn.Linear(8, 4, rng)]
    net = nn.Sequential(*norm)
    x, t = rng.standard_normal((1, 4, 4, 13)), rng.integers(0, 4, 13)
    return net, nn.SoftmaxCrossEntropy(), nn.SGD(net.parameters(), 0.1), x, t, rng


@pytest.mark.parametrize(("batch_size", "first"), [(4, 13), (12, 13), (1, 13), (1, 2), (5, 1)])
def test_batch_norm_and_a_last_batch_of_one_are_refused_before_the_first_step(batch_size, first):
    net, loss, optimizer, x, t, rng = normed(behind=True)
    run = lambda: train(net, loss, optimizer, x[..., :first], t[:first], 1, batch_size, rng, progress=False)  # noqa: E731
    sentence = (
        f"the last of the batches of {batch_size} has one of the {first} patterns, and this net cannot be trained"
    )
    unchanged(net, optimizer, rng, run, ValueError, sentence)
    assert net.layers[2].layers[0].running_mean.any() == 0


def test_batch_norm_of_maps_takes_a_last_batch_of_one_and_other_batches_fit_any_net():
    for net, loss, optimizer, x, t, rng in (normed(behind=False), normed(behind=True)):
        size = 4 if isinstance(net.layers[1], nn.BatchNorm) else 5
        train(net, loss, optimizer, x, t, 1, size, rng, progress=False)
        assert optimizer.steps == -(-x.shape[-1] // size)
    net, loss, optimizer, x, t = setup()
    train(net, loss, optimizer, x, t, 1, 5, np.random.default_rng(0), progress=False)
    assert optimizer.steps == 3  # 5, 5 and 1 of 11 patterns


def test_the_last_batch_is_tried_as_it_will_be_augmented():
    net, loss, optimizer, x, t, rng = normed(behind=False)
    grown = lambda images, rng: np.pad(images[:, :2, :2], ((0, 0), (1, 1), (1, 1), (0, 0)))  # noqa: E731
    train(net, loss, optimizer, x[:, :2, :2], t, 1, 4, rng, augment=grown, progress=False)
    assert optimizer.steps == -(-x.shape[-1] // 4)


def test_a_checkpoint_in_a_missing_folder_is_refused_before_the_first_step(tmp_path):
    net, loss, optimizer, x, t = setup()
    rng, path = np.random.default_rng(0), tmp_path / "nowhere" / "run.npz"
    run = lambda: train(net, loss, optimizer, x, t, rng=rng, checkpoint_path=path, **ARGUMENTS)  # noqa: E731
    unchanged(net, optimizer, rng, run, FileNotFoundError, r"there is no folder .*nowhere to write run\.npz to")


@pytest.mark.parametrize(
    ("test", "message"),
    [
        (lambda x, t: (x[:2], t), "the net cannot be evaluated on the test data: "),
        (lambda x, t: (x, np.where(t == t[5], 4, t)), r"on the test data: expected labels in 0 \.\. 3"),
        (lambda x, t: (x, np.where(t == t[5], -1, t)), r"on the test data: expected labels in 0 \.\. 3"),
        (lambda x, t: (x, x), "on the test data: expected labels of shape"),
        (lambda x, t: (x, t[:5]), "11 inputs, 5 targets"),
        (lambda x, t: (x.astype(np.float32), t), "one dtype"),
        (lambda x, t: (np.full_like(x, np.nan), t), "finite inputs"),
        (lambda x, t: x, r"the pair \(x, t\) to test on, got ndarray"),
        (lambda x, t: (x, t, t), r"the pair \(x, t\) to test on, got tuple"),
    ],
)
def test_test_data_that_do_not_fit_are_refused_before_the_first_step(test, message):
    net, loss, optimizer, x, t = setup()
    rng = np.random.default_rng(0)
    run = lambda: train(net, loss, optimizer, x, t, rng=rng, test=test(x, t), **ARGUMENTS)  # noqa: E731
    unchanged(net, optimizer, rng, run, ValueError, message)


def test_a_mask_is_no_list_of_indices():
    x = np.arange(12.0).reshape(2, 6)
    np.testing.assert_array_equal(nn.training.take(x, np.array([5, 0])), [[5, 0], [11, 6]])
    for indices in (np.array([True, False]), np.array([0.0, 1.0]), [True]):
        with pytest.raises(ValueError, match=r"the indices of patterns, got (bool|float64); np\.flatnonzero finds"):
            nn.training.take(x, indices)
        with pytest.raises(ValueError, match="the indices of patterns"):
            nn.training.take((x, x[0]), indices)


def test_weights_that_overflow_after_a_finite_loss_are_not_saved(tmp_path):
    net, loss, _, x, t = setup(np.float32)
    path, x = tmp_path / "run.npz", 1000 * x
    train(net, loss, nn.SGD(net.parameters(), 0.1), x, t, rng=np.random.default_rng(0), checkpoint_path=path,
          **ARGUMENTS)  # fmt: skip
    before = path.read_bytes()
    with pytest.raises(FloatingPointError, match=r"1\.W became nan in epoch 3, step 1"), np.errstate(all="ignore"):
        train(net, loss, nn.SGD(net.parameters(), 0.1), x, t, rng=np.random.default_rng(0), checkpoint_path=path,
              checkpoint_every=1, schedule=lambda epoch: 3e38 if epoch == 3 else 0.1,
              companions=[], **ARGUMENTS | {"epochs": 5, "batch_size": 11})  # fmt: skip
    assert path.read_bytes() == before


def test_small_integers_of_numpy_do_not_wrap(tmp_path):
    lasts = []
    for size, every in ((200, 2), (np.uint8(200), np.uint8(2))):
        net, loss, optimizer, x, t = setup()
        x, t = np.tile(x, (1, 1 + 500 // x.shape[-1]))[:, :500], np.tile(t, 1 + 500 // t.shape[-1])[..., :500]
        train(net, loss, optimizer, x, t, np.uint8(2), size, np.random.default_rng(1), progress=False,
              checkpoint_path=tmp_path / f"{type(size).__name__}.npz", checkpoint_every=every)  # fmt: skip
        assert optimizer.steps == 6
        lasts.append(nn.gradcheck.flat(net))
    np.testing.assert_array_equal(*lasts)


@pytest.mark.parametrize("kind", ["MT19937", "Philox", "SFC64"])
def test_generators_whose_state_holds_arrays_go_on_to_the_bit(tmp_path, kind):
    ends = []
    for epochs in ((3,), (1, 3)):
        for last in epochs:
            net, loss, optimizer, x, t = setup()
            rng = np.random.Generator(getattr(np.random, kind)(3))
            train(net, loss, optimizer, x, t, last, 8, rng, progress=False,
                  checkpoint_path=tmp_path / f"{len(epochs)}.npz")  # fmt: skip
        ends.append(nn.gradcheck.flat(net))
    np.testing.assert_array_equal(*ends)


def test_what_is_no_net_or_no_optimizer_is_said():
    net, loss, optimizer, x, t = setup()
    with pytest.raises(TypeError, match="expected a net, got NoneType"):
        train(None, loss, optimizer, x, t, rng=np.random.default_rng(1), **ARGUMENTS)
    with pytest.raises(TypeError, match=r"expected an optimizer such as nn\.SGD.*, got None"):
        train(net, loss, None, x, t, rng=np.random.default_rng(1), **ARGUMENTS)


def tokens():
    """A net that reads tokens (T, N) and has outputs at each position: a table, its tanh; x, and the next tokens."""
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Sequential(Table(6, 6, rng)), nn.Tanh())
    x = (np.arange(7)[:, None] + np.arange(20)) % 6
    return net, x[:-1], x[1:]


def test_a_net_that_begins_with_a_table_is_trained_on_tokens():
    net, x, t = tokens()
    loss, optimizer = nn.SoftmaxCrossEntropy(), nn.SGD(net.parameters(), 0.3)
    history = train(net, loss, optimizer, x, t, 30, 5, np.random.default_rng(1), test=(x, t), progress=False)
    assert history[0]["test_accuracy"] < history[-1]["test_accuracy"] == 1
    E, accuracy = nn.batches.evaluate(net, loss, x, t, batch_size=3)
    assert E == pytest.approx(history[-1]["test_loss"], rel=1e-12) and accuracy == 1
    t = t.copy()
    t[0, :4] = (t[0, :4] + 1) % 6
    assert nn.batches.evaluate(net, loss, x, t)[1] == 1 - 4 / t.size
    H = nn.curvature.gradient(net, loss, x, t)
    assert (
        gradcheck.relative_error(
            H["0.0.W"].ravel(),
            gradcheck.complex_step(lambda u: gradcheck.energy(net, loss, x, t, u), gradcheck.flat(net)),
        )
        <= 1e-12
    )


def test_integers_are_refused_where_no_table_comes_first():
    net, x, t = tokens()
    first = nn.Sequential(nn.Tanh(), *net.layers)
    for wrong in (first, nn.Sequential(nn.Linear(3, 2, np.random.default_rng(0)))):
        with pytest.raises(ValueError, match=r"^expected real floating-point inputs, got int64"):
            nn.batches.check_data(wrong, x, t)
    for each in (1.0 * x, x):
        nn.batches.check_data(net, each, t)
    with pytest.raises(ValueError, match="expected real floating-point inputs, got bool"):
        nn.batches.check_data(net, x > 2, t)
    with pytest.raises(ValueError, match=r"one dtype: the first parameter is float64, the targets are float32"):
        nn.batches.check_data(net, x, np.ones((6, 6, 20), np.float32))
    net.layers.append(nn.Linear(6, 2, np.random.default_rng(0), dtype=np.float32))
    with pytest.raises(ValueError, match=r"one dtype: the first parameter is float64, 2\.W is float32"):
        nn.batches.check_data(net, x, t)


def test_labels_of_sequences_that_the_net_has_no_class_for_are_refused_before_the_first_step():
    net, x, t = tokens()
    wrong, before = t.copy(), gradcheck.flat(net)
    wrong[3, 7] = 6
    with pytest.raises(ValueError, match=r"cannot be evaluated on the test data: expected labels in 0 \.\. 5"):
        train(net, nn.SoftmaxCrossEntropy(), nn.SGD(net.parameters(), 1.0), x, t, 1, 5, np.random.default_rng(1),
              test=(x, wrong), progress=False)  # fmt: skip
    np.testing.assert_array_equal(gradcheck.flat(net), before)
