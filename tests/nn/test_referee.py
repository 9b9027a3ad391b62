"""nn.verify and nn.verify_formula: every planted bug is found by name, every layer and loss of nn passes."""

import json
import math

import numpy as np
import pytest
from planted_bugs import BUGS

import nn
from nn.module import Module
from nn.referee import autograd, conduct


class Bump(nn.Activation):
    def f(self, a):
        return np.exp(-a * a / 2)

    def df(self, a):
        return -a * np.exp(-a * a / 2)

    def d2f(self, a):
        return (a * a - 1) * np.exp(-a * a / 2)


@pytest.fixture
def numpy_only(monkeypatch):
    monkeypatch.setattr(autograd, "present", lambda: False)
    monkeypatch.setattr(conduct, "libraries", lambda: iter(()))


def failed(report):
    return {line.name for line in report.failed()}


@pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name)
def test_a_planted_bug_is_found_by_the_name_of_its_derivative_and_its_twin_passes(bug, numpy_only):
    report = nn.verify(bug.wrong, bug.x, t=bug.t)
    assert failed(report) == bug.names, str(report)
    assert not report
    assert nn.verify(bug.right, bug.x, t=bug.t), str(nn.verify(bug.right, bug.x, t=bug.t))


@pytest.mark.parametrize("name", ["Doubled", "WeightNotSquared", "NotDividedByN", "FirstDerivativeTwice"])
def test_autograd_finds_them_too(name):
    pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    bug = next(bug for bug in BUGS if bug.name == name)
    report = nn.verify(bug.wrong, bug.x, t=bug.t)
    assert failed(report) == bug.names
    assert any("autograd" in line.referee for line in report.failed())


def rng():
    return np.random.default_rng(0)


def shifted(layer):
    """The layer with parameters that are neither zero nor one."""
    draw = rng()
    for parameter in layer.parameters():
        parameter.data = parameter.data + 0.3 * draw.standard_normal(parameter.shape)
    return layer


def trained_norm(channels):
    layer = shifted(nn.BatchNorm(channels))
    layer.running_mean = np.linspace(-0.5, 0.5, channels)
    layer.running_variance = np.linspace(0.5, 2.0, channels)
    return layer


def conv(*arguments, **settings):
    return shifted(nn.Conv2d(*arguments, rng(), **settings))


def with_map():
    layer = conv(2, 3, 2, bias_map=(2, 3))
    layer.bias_map = rng().standard_normal((3, 2, 3))
    return layer


def dense(*sizes):
    return shifted(nn.Linear(*sizes, rng()))


IMAGES = (2, 4, 3, 2)
T, LABELS, TEACHER = rng().standard_normal((5, 4)), np.array([0, 4, 1, 4]), rng().standard_normal((5, 4))
SUBJECTS = {
    "Linear": (dense(3, 5), (3, 4)),
    "Linear without bias": (nn.Linear(3, 5, rng(), bias=False), (3, 4)),
    "Flatten": (nn.Flatten(), IMAGES),
    "Identity": (nn.Identity(), (3, 5)),
    "ReLU": (nn.ReLU(), (3, 5)),
    "Tanh": (nn.Tanh(), (3, 5)),
    "ScaledTanh": (nn.ScaledTanh(), (3, 5)),
    "Sigmoid": (nn.Sigmoid(), (3, 5)),
    "Softplus": (nn.Softplus(), (2, 3, 2, 2)),
    "Conv2d": (conv(2, 3, 2), IMAGES),
    "Conv2d of groups": (conv(4, 2, (1, 2), groups=2), (4, 2, 3, 2)),
    "Conv2d with stride and padding": (conv(2, 2, (2, 3), stride=(2, 1), padding=((1, 0), (0, 1))), IMAGES),
    "Conv2d with dilation": (conv(1, 2, 2, dilation=2), (1, 4, 3, 2)),
    "Conv2d of some columns": (conv(2, 3, 2, columns=[0, 3, 5]), IMAGES),
    "Conv2d with a bias map": (with_map(), (2, 3, 4, 2)),
    "MaxPool2d": (nn.MaxPool2d(2), IMAGES),
    "MaxPool2d of overlapping windows": (nn.MaxPool2d((3, 2), 1, 1), IMAGES),
    "AvgPool2d": (nn.AvgPool2d(2, 1, 1), IMAGES),
    "AvgPool2d without padding in the mean": (nn.AvgPool2d(2, 1, 1, count_padding=False), IMAGES),
    "GlobalAvgPool2d": (nn.GlobalAvgPool2d(), IMAGES),
    "Subsampling": (shifted(nn.Subsampling(2, 2, rng())), IMAGES),
    "BatchNorm": (trained_norm(3), (3, 5)),
    "BatchNorm of images": (trained_norm(2), IMAGES),
    "Scale": (shifted(nn.Scale(3)), (3, 5)),
    "Scale of groups of images": (shifted(nn.Scale(2, 2)), IMAGES),
    "Tap": (nn.Tap(), (3, 5)),
    "Dropout": (nn.Dropout(0.4, rng()), (3, 5)),
    "Residual": (nn.Residual(nn.Sequential(dense(3, 3), nn.Tanh())), (3, 4)),
    "Residual with a shortcut": (nn.Residual(conv(2, 3, 1), nn.ZeroPadShortcut(1)), (2, 2, 3, 2)),
    "Concat": (nn.Concat(dense(3, 2), nn.Tanh()), (3, 4)),
    "Select": (nn.Select([2, 0], n_in=3), (3, 4)),
    "ZeroPadShortcut": (nn.ZeroPadShortcut(2, 2), IMAGES),
    "ZeroPadShortcut to places": (nn.ZeroPadShortcut(1, 1, positions=[0, 2]), IMAGES),
    "Sequential": (nn.Sequential(dense(3, 5), nn.Tanh(), dense(5, 2)), (3, 4)),
    "Sequential of images": (
        nn.Sequential(conv(1, 2, 2), trained_norm(2), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), dense(4, 2)),
        (1, 5, 3, 2),
    ),
}
LOSSES = {
    "SquaredError": (nn.SquaredError(), T),
    "SoftmaxCrossEntropy of labels": (nn.SoftmaxCrossEntropy(), LABELS),
    "SoftmaxCrossEntropy of soft labels": (nn.SoftmaxCrossEntropy(), np.abs(T)),
    "Distillation": (nn.Distillation(2.5, 0.3), (LABELS, TEACHER)),
}


@pytest.mark.parametrize("name", SUBJECTS)
def test_every_layer_of_nn_passes(name):
    layer, x = SUBJECTS[name]
    report = nn.verify(layer, x)
    assert report, str(report)
    runs = [line for line in report.lines if line.name == "all"]
    assert runs == [], str(report)  # all of them take tensors, and run in every library
    measured = {type(layer) for layer in layer.modules()} & {nn.Sequential, nn.Residual, nn.Concat}
    if not measured and "BatchNorm" not in name:
        assert {line.mark for line in report.lines} == {"PASS"}, str(report)


@pytest.mark.parametrize("name", LOSSES)
def test_every_loss_of_nn_passes(name):
    loss, t = LOSSES[name]
    report = nn.verify(loss, (5, 4), t=t)
    assert report, str(report)
    assert {line.mark for line in report.lines} == {"PASS"}
    assert {f"d2E/dy2, {what}" for what in ("hessian", "hessian_root", "backward_tangent")} <= {
        line.name for line in report.lines
    }


def test_no_layer_or_loss_of_nn_is_left_out():
    public = [value for name in nn.__all__ if isinstance(value := getattr(nn, name), type)]
    layers = {kind for kind in public if issubclass(kind, Module)} - {nn.Module, nn.Activation, nn.Channelwise, nn.Gate}
    # Layers of sequences read (D, T, N) or tokens and refuse second derivatives: their referee is test_recurrent.
    layers -= {nn.SRU, nn.Positionwise, nn.Embedding}
    assert layers == {type(layer) for layer, _ in SUBJECTS.values()}
    losses = {kind for kind in public if hasattr(kind, "backward_hessian") and not issubclass(kind, Module)}
    assert losses == {type(loss) for loss, _ in LOSSES.values()}


def test_the_report_of_the_bump(numpy_only):
    report = nn.verify(Bump(), (3, 5))
    assert report.ok and bool(report)
    text = str(report)
    assert text.startswith("Bump on x (3, 5), without parameters: nothing wrong was found\n")
    assert [line.split()[:2] for line in text.splitlines()[2:4]] == [["PASS", "dE/dx"], ["PASS", "d2E/dx2"]]
    assert max(line.error for line in report.lines if line.tolerance == 1e-10) < 1e-14


def test_a_report_becomes_json_without_nan():
    class Infinite(Bump):
        def df(self, a):
            return a / 0.0 if a.dtype == complex else np.full(a.shape, np.nan)

    with np.errstate(all="ignore"):
        report = nn.verify(Infinite(), (3, 5))
    found = json.loads(json.dumps(report.as_dict(), allow_nan=False))
    assert found == report.as_dict()
    assert found["ok"] is False
    assert "holds NaN or infinity" in {line["note"] for line in found["lines"]}


def test_the_layer_is_afterwards_as_it_was():
    draws = rng()
    layer = nn.Sequential(trained_norm(3), nn.Dropout(0.4, draws), dense(3, 2))
    layer.forward(rng().standard_normal((3, 5)))
    layer.backward(np.ones((2, 5)))
    layer.layers[1].eval()
    state, buffers = draws.bit_generator.state, [buffer.copy() for _, buffer in layer.named_buffers()]
    arrays = [(p.data.copy(), p.grad.copy()) for p in layer.parameters()]
    x = rng().standard_normal((3, 5))
    kept = x.copy()
    nn.verify(layer, x)
    assert draws.bit_generator.state == state
    assert [module.training for module in layer.modules()] == [True, True, False, True]
    np.testing.assert_array_equal(x, kept)
    for (_, buffer), before in zip(layer.named_buffers(), buffers):
        np.testing.assert_array_equal(buffer, before)
    for p, (data, grad) in zip(layer.parameters(), arrays):
        np.testing.assert_array_equal(p.data, data)
        np.testing.assert_array_equal(p.grad, grad)
        assert p.hess_diag is None


def test_what_a_layer_drops_is_measured_and_exact_here_is_said(numpy_only):
    report = nn.verify(SUBJECTS["Sequential"][0], (3, 4))
    lines = {line.name: line for line in report.lines}
    assert lines["d2E/dx2"].mark == "----" and lines["d2E/dx2"].error > 1e-2
    assert "drops terms" in lines["d2E/dx2"].note
    assert lines["d2E/d(2.W)2"].mark == "PASS" and "exact here" in lines["d2E/d(2.W)2"].note


def test_a_layer_without_second_derivatives_is_told_and_the_rest_checked(numpy_only):
    class Cube(nn.Module):
        def forward(self, x):
            self.x = x
            return x * x * x

        def backward(self, gy):
            return 3 * self.x * self.x * gy

    report = nn.verify(Cube(), (3, 5))
    assert report
    assert [line.note for line in report.lines if line.mark == "----"] == [
        "no backward_hessian: second derivatives not checked"
    ]
    inside = nn.verify(nn.Sequential(nn.Tanh(), Cube()), (3, 5))
    assert "no backward_hessian in Cube" in str(inside) and inside


def test_a_rule_that_breaks_down_has_failed(numpy_only):
    class Broken(nn.Tanh):
        def d2f(self, a):
            return np.zeros((7, 7)) @ a

    report = nn.verify(Broken(), (3, 5))
    assert failed(report) == {"d2E/dx2"}


def test_code_that_takes_no_complex_numbers_is_judged_by_differences_and_the_report_says_so(numpy_only):
    class Cast(Bump):
        def f(self, a):
            return np.array([math.exp(-(float(v) ** 2) / 2) for v in a.ravel()], a.dtype).reshape(a.shape)

    report = nn.verify(Cast(), (3, 5))
    assert report, str(report)
    assert "forward is not complex-safe in x: it raised" in str(report)
    (line,) = [line for line in report.lines if line.name == "dE/dx" and "differences" in line.referee]
    assert line.tolerance == 1e-6


def test_zeros_at_a_kink_are_left_out_and_said(numpy_only):
    x = np.array([[0.0, 1.0, -2.0], [0.5, 0.0, 3.0]])
    report = nn.verify(nn.ReLU(), x)
    assert report, str(report)
    assert "2 of 6 numbers stand at a kink" in str(report)


class Growing(nn.Tanh):
    times = 0

    def forward(self, a):
        self.times += 1
        y = super().forward(a)
        return y if self.times == 1 else y[:1]


class OneOverZero(nn.Tanh):
    def f(self, a):
        return a * np.nan


class Raising(nn.Tanh):
    def backward(self, gy):
        raise KeyError("gy")


class NoForward(nn.Module):
    pass


class ManyNumbers(nn.SquaredError):
    def forward(self, y, t):
        super().forward(y, t)
        return (y - t) ** 2


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ((Growing(), (3, 5)), ValueError, r"gave an output of shape \(3, 5\), and then one of \(1, 5\)"),
        ((OneOverZero(), (3, 5)), ValueError, "finite outputs of OneOverZero, got NaN or infinity in 15 of 15"),
        ((nn.Tanh(), np.array([[np.nan, 1.0]])), ValueError, "finite numbers.* for x, got NaN or infinity in 1 of 2"),
        ((nn.Tanh(), np.zeros((3, 0))), ValueError, r"at least one, for x, got the shape \(3, 0\)"),
        ((nn.Tanh(), np.arange(3)), ValueError, "real floating-point numbers for x, got int64"),
        ((nn.Tanh(), (3, -1)), ValueError, r"shape of positive whole numbers for x, got \(3, -1\)"),
        ((nn.Tanh(), "x"), TypeError, "an array, or a shape such as .* for x, got str"),
        ((nn.Tanh, (3, 5)), TypeError, r"got the class Tanh: write Tanh\(...\)"),
        (
            (nn.SquaredError(), (3, 5)),
            TypeError,
            r"a loss and its targets as nn.verify\(loss, y, t=t\), got SquaredError",
        ),
        ((object(), (3, 5), T), TypeError, r"expected a loss with forward\(y, t\) and backward\(\), got object"),
        ((ManyNumbers(), (5, 4), T), ValueError, r"ManyNumbers to give one number, got an array of shape \(5, 4\)"),
        ((nn.SquaredError(), (5, 3), T), ValueError, "forward of SquaredError raised ValueError: expected targets"),
        ((Raising(), (3, 5)), ValueError, "backward of Raising raised KeyError: 'gy'"),
        ((NoForward(), (3, 5)), ValueError, "forward of NoForward raised ValueError: NoForward has no forward"),
        ((nn.Linear(3, 2, None), (3, 5)), ValueError, "this net is an outline"),
    ],
)
def test_bad_input_is_refused_in_one_sentence(arguments, error, sentence):
    with pytest.raises(error, match=sentence) as raised:
        nn.verify(*arguments[:2], t=dict(enumerate(arguments)).get(2))
    assert "\n" not in str(raised.value)


def test_targets_in_the_place_of_the_generator_and_a_bad_tolerance_are_refused():
    with pytest.raises(
        TypeError, match=r"expected rng=np.random.default_rng\(...\), got ndarray; targets go by name, t="
    ):
        nn.verify(nn.SquaredError(), (5, 4), T)
    with pytest.raises(ValueError, match="tolerance of 0 or more, got nan"):
        nn.verify(nn.Tanh(), (3, 5), tolerance=np.nan)


def test_the_generator_draws_and_without_one_the_report_repeats():
    def report(*rng):
        return nn.verify(nn.Tanh(), (3, 5), *rng).as_dict()

    assert report() == report() == report(np.random.default_rng(0)) != report(np.random.default_rng(1))


def test_where_kinks_of_several_layers_meet_nothing_right_fails(numpy_only):
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(1, 3, 3, rng), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 3, rng))
    report = nn.verify(net, np.zeros((1, 6, 6, 2)))
    assert report, str(report)
    assert "kink" in str(report)


def energy(u):
    return u[0] ** 2 * u[1] + u[1] ** 3


def gradient(u):
    return np.array([2 * u[0] * u[1], u[0] ** 2 + 3 * u[1] ** 2])


def hess_diag(u):
    return np.array([2 * u[1], 6 * u[1]])


def hessian(u):
    return np.array([[2 * u[1], 2 * u[0]], [2 * u[0], 6 * u[1]]])


U = np.array([0.7, -1.2])


def test_a_right_formula_passes_as_functions_and_as_arrays():
    for functions in (True, False):
        written = [f if functions else f(U) for f in (gradient, hess_diag, hessian)]
        report = nn.verify_formula(energy, U, *written)
        assert report, str(report)
        assert {"dE/du", "d2E/du2", "d2E/du2, full"} <= {line.name for line in report.lines}


@pytest.mark.parametrize("together", [True, False])
def test_a_wrong_formula_is_named(together, numpy_only):
    rest = {"gradient": gradient, "hess_diag": hess_diag, "hessian": hessian} if together else {}
    wrong = {"gradient": lambda u: 2 * gradient(u), "hess_diag": gradient, "hessian": lambda u: np.diag(hess_diag(u))}
    names = {"gradient": "dE/du", "hess_diag": "d2E/du2", "hessian": "d2E/du2, full"}
    for what, f in wrong.items():
        report = nn.verify_formula(energy, U, **{**rest, what: f})
        assert failed(report) == {names[what]}, str(report)


def test_a_gradient_that_is_zero_but_for_rounding_is_told(numpy_only):
    report = nn.verify_formula(lambda u: np.sum((u - U) ** 2), U + 1e-16, gradient=lambda u: 1e-17 + 0 * u)
    assert "another point tells more" in str(report)


@pytest.mark.parametrize(
    ("E", "written", "error", "sentence"),
    [
        (energy, {}, ValueError, "expected a gradient, hess_diag or hessian to judge, got none"),
        (1.0, {"gradient": gradient}, TypeError, "expected E as a function of an array, got float"),
        (gradient, {"gradient": gradient}, ValueError, r"gradient to give one number, got an array of shape \(2,\)"),
        (lambda u: np.nan, {"gradient": gradient}, ValueError, "to give a finite number, got nan"),
        (lambda u: u @ np.ones(3), {"gradient": gradient}, ValueError, r"raised ValueError: .* for u of shape \(2,\)"),
        (energy, {"gradient": np.ones(3)}, ValueError, r"dE/du of the shape of u, \(2,\), got \(3,\)"),
        (energy, {"hess_diag": hessian}, ValueError, r"d2E/du2 of the shape of u, \(2,\), got \(2, 2\)"),
        (energy, {"hessian": hess_diag}, ValueError, r"d2E/du2, full of shape \(2, 2\) for 2 numbers, got \(2,\)"),
    ],
)
def test_a_formula_that_is_none_is_refused_in_one_sentence(E, written, error, sentence):
    with pytest.raises(error, match=sentence):
        nn.verify_formula(E, U, **written)


def test_a_layer_of_the_size_of_the_tests_takes_few_sweeps(monkeypatch):
    """No seconds, which are a machine's: 190 forward sweeps took .08 s of one core, and half a second was promised."""
    calls, forward = [], nn.Conv2d.forward
    monkeypatch.setattr(nn.Conv2d, "forward", lambda layer, x: calls.append(x.shape) or forward(layer, x))
    assert nn.verify(SUBJECTS["Conv2d"][0], IMAGES)
    numbers = math.prod(IMAGES)
    assert numbers < len(calls) < 5 * numbers
