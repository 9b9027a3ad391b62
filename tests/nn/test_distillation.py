import copy
import math

import numpy as np
import pytest

import nn
from nn import gradcheck

K, N = 4, 6
RNG = np.random.default_rng(0)
LOGITS, TEACHER, LABELS = RNG.standard_normal((K, N)), 3 * RNG.standard_normal((K, N)), RNG.integers(0, K, N)
SETTINGS = [(3.0, 0.8), (1.0, 0.5), (0.5, 1.0), (4.0, 0.0)]


def softmax(z):
    return [math.exp(v) / sum(math.exp(u) for u in z) for v in z]


@pytest.mark.parametrize(("T", "alpha"), SETTINGS)
def test_value_by_plain_loops(T, alpha):
    total = 0.0
    for n in range(N):
        p, soft, q = softmax(LOGITS[:, n]), softmax(LOGITS[:, n] / T), softmax(TEACHER[:, n] / T)
        divergence = sum(b * math.log(b / a) for a, b in zip(soft, q))
        total += (1 - alpha) * -math.log(p[LABELS[n]]) + alpha * T**2 * divergence
    assert nn.Distillation(T, alpha).forward(LOGITS, (LABELS, TEACHER)) == pytest.approx(total / N, rel=1e-13)


@pytest.mark.parametrize(("T", "alpha"), SETTINGS)
def test_first_and_second_derivatives_by_the_complex_step(T, alpha):
    loss = nn.Distillation(T, alpha)

    def gradient(z):
        loss.forward(z, (LABELS, TEACHER))
        return loss.backward()

    gy = gradcheck.complex_step(lambda z: loss.forward(z, (LABELS, TEACHER)), LOGITS)
    H = gradcheck.complex_step(gradient, LOGITS)
    loss.forward(LOGITS, (LABELS, TEACHER))
    per_pattern = np.stack([H[:, n, :, n] for n in range(N)], axis=-1)
    assert gradcheck.relative_error(loss.backward(), gy) <= 1e-13
    assert gradcheck.relative_error(loss.hessian(), per_pattern) <= 1e-13
    assert gradcheck.relative_error(loss.backward_hessian(), nn.backend.diagonal(per_pattern)) <= 1e-13
    S = loss.hessian_root()
    assert gradcheck.relative_error(np.einsum("ikn,jkn->ijn", S, S), per_pattern) <= 1e-13
    ry = np.random.default_rng(1).standard_normal((K, N))
    assert gradcheck.relative_error(loss.backward_tangent(ry), np.einsum("ijn,jn->in", per_pattern, ry)) <= 1e-13


def test_it_equals_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed (extra verify)")
    T, alpha = 3.0, 0.8
    y = torch.tensor(LOGITS.T, requires_grad=True)
    soft = torch.nn.functional.kl_div(
        torch.log_softmax(y / T, 1), torch.softmax(torch.tensor(TEACHER.T) / T, 1), reduction="batchmean"
    )
    E = (1 - alpha) * torch.nn.functional.cross_entropy(y, torch.tensor(LABELS)) + alpha * T**2 * soft
    E.backward()
    loss = nn.Distillation(T, alpha)
    assert loss.forward(LOGITS, (LABELS, TEACHER)) == pytest.approx(E.item(), rel=1e-13)
    np.testing.assert_allclose(loss.backward(), y.grad.numpy().T, rtol=1e-12, atol=1e-16)


def test_logits_whose_exponentials_overflow_or_vanish():
    student, teacher = np.array([[0.0, -1e4], [1e4, -1e4]]), np.array([[1e4, -1e4], [0.0, -1e4]])
    loss = nn.Distillation(2.0, 0.5)
    # The first pattern: CE = 1e4 and KL = 1e4 / 2, weighed by 1/2 and 2^2 / 2; the second: CE = log 2 and KL = 0.
    E = loss.forward(student, (np.array([0, 0]), teacher))
    assert E == pytest.approx((1e4 / 2 + 2 * 1e4 / 2 + math.log(2) / 2) / 2, rel=1e-15)
    # (p - t) / 2 + (p - q), with p = (0, 1) and q = t = (1, 0); then p = q = (1/2, 1/2).
    np.testing.assert_array_equal(loss.backward(), np.array([[-1.5, -0.25], [1.5, 0.25]]) / 2)


def test_a_student_that_is_its_teacher_has_no_gradient():
    loss = nn.Distillation(2.0, 1.0)
    assert loss.forward(TEACHER, (LABELS, TEACHER)) == pytest.approx(0, abs=1e-15)
    np.testing.assert_allclose(loss.backward(), 0, atol=1e-16)


def test_train_takes_labels_with_a_teachers_logits():
    """Every batch gets the logits of its own patterns, at the test too."""
    rng = np.random.default_rng(3)
    x, t = rng.standard_normal((3, 10)), rng.integers(0, K, 10)
    teacher = nn.models.mlp((3, 8, K), rng)
    logits = teacher.forward(x)
    net = nn.models.mlp((3, 8, K), np.random.default_rng(4))
    by_hand = copy.deepcopy(net)
    loss, optimizer = nn.Distillation(2.0, 0.7), nn.SGD(net.parameters(), 0.1)
    test = (x, (t, logits))
    (record,) = nn.training.train(
        net, loss, optimizer, x, (t, logits), 1, 4, np.random.default_rng(5), test=test, progress=False
    )
    order, other = np.random.default_rng(5).permutation(10), nn.SGD(by_hand.parameters(), 0.1)
    for batch in (order[:4], order[4:8], order[8:]):
        nn.training.training_step(by_hand, loss, other, x[:, batch], (t[batch], teacher.forward(x[:, batch])))
    np.testing.assert_allclose(nn.gradcheck.flat(net), nn.gradcheck.flat(by_hand), rtol=1e-12, atol=1e-15)
    assert record["test_accuracy"] == np.mean(np.argmax(net.forward(x), axis=0) == t)
    assert record["test_loss"] == pytest.approx(float(loss.forward(net.forward(x), (t, logits))), rel=1e-13)
    for wrong, message in (
        ((t, logits[:, :9]), "got 10 inputs, 9 targets"),
        ((t, logits.astype(np.float32)), "one dtype"),
        ((t, logits * math.inf), "finite targets"),
        ((t, logits[:3]), "teacher's logits of shape"),
    ):
        with pytest.raises(ValueError, match=message):
            nn.training.train(net, loss, optimizer, x, wrong, 1, 10, rng, progress=False)


def test_the_same_on_three_libraries(library):
    loss = nn.Distillation(3.0, 0.8)
    expected = loss.forward(LOGITS, (LABELS, TEACHER)), loss.backward(), loss.backward_hessian(), loss.hessian()
    y, t, teacher = (library.xp.asarray(a) for a in (LOGITS, LABELS, TEACHER))
    found = loss.forward(y, (t, teacher)), loss.backward(), loss.backward_hessian(), loss.hessian()
    for a, b in zip(found, expected):
        np.testing.assert_allclose(nn.backend.to_numpy(a), b, rtol=1e-12, atol=1e-15)


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match="positive temperature"):
        nn.Distillation(0, 0.5)
    with pytest.raises(ValueError, match="alpha in"):
        nn.Distillation(2, 1.5)
    with pytest.raises(ValueError, match=r"teacher's logits of shape \(4, 6\), got \(3, 6\)"):
        nn.Distillation(2, 0.5).forward(LOGITS, (LABELS, TEACHER[:3]))
    for t in (LABELS, [LABELS, TEACHER], np.stack([LABELS, LABELS])):
        with pytest.raises(
            ValueError, match=r"the pair \(labels, the teacher's logits\) for targets, got (ndarray|list)"
        ):
            nn.Distillation(2, 0.5).forward(LOGITS, t)


@pytest.mark.parametrize("value", [-np.inf, np.inf, np.nan])
def test_a_teacher_of_infinite_logits_is_refused(value):
    teacher = TEACHER.copy()
    teacher[1, 2] = value
    with pytest.raises(ValueError, match="finite logits of the teacher, got NaN or infinity"):
        nn.Distillation(2.0, 0.5).forward(LOGITS, (LABELS, teacher))


def test_settings_as_numpy_scalars_leave_float32_alone():
    y, teacher = LOGITS.astype(np.float32), TEACHER.astype(np.float32)
    loss = nn.Distillation(np.float64(3), np.float64(0.5))
    assert loss.forward(y, (LABELS, teacher)).dtype == np.float32
    found = loss.backward(), loss.backward_hessian(), loss.hessian(), loss.hessian_root(), loss.backward_tangent(y)
    assert {array.dtype for array in found} == {np.dtype(np.float32)}
    for settings in (("3", 0.5), (3, "0.5")):
        with pytest.raises(TypeError, match="expected a number for"):
            nn.Distillation(*settings)


def test_a_teacher_of_another_kind_than_the_student_is_refused():
    loss = nn.Distillation(2.0, 0.5)
    with pytest.raises(ValueError, match="a teacher's logits in the dtype of the outputs, float32, got float64"):
        loss.forward(LOGITS.astype(np.float32), (LABELS, TEACHER))
    with pytest.raises(TypeError, match="expected an array"):
        loss.forward(LOGITS, (LABELS, TEACHER.tolist()))
    with pytest.raises(TypeError, match="expected an array"):
        loss.forward(LOGITS, (LABELS.tolist(), TEACHER))
    with pytest.raises(ValueError, match="floating-point outputs, got uint8"):
        loss.forward(LOGITS.astype(np.uint8), (LABELS, TEACHER))
    np.testing.assert_array_equal(
        loss.forward(LOGITS, (LABELS, TEACHER.astype(int))), loss.forward(LOGITS, (LABELS, TEACHER.astype(int) * 1.0))
    )
