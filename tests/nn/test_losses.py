import numpy as np
import pytest

import nn
from nn import gradcheck

LOSSES = [nn.SquaredError, nn.SoftmaxCrossEntropy]


def problem(loss, N=6, K=4):
    rng = np.random.default_rng(0)
    y = rng.standard_normal((K, N))
    t = rng.standard_normal((K, N)) if loss is nn.SquaredError else rng.integers(0, K, N)
    return y, t


@pytest.mark.parametrize("loss", LOSSES)
def test_first_and_second_derivatives_by_the_complex_step(loss):
    y, t = problem(loss)
    E = loss()

    def gradient(z):
        E.forward(z, t)
        return E.backward()

    gy, H = gradcheck.complex_step(lambda z: E.forward(z, t), y), gradcheck.complex_step(gradient, y)
    E.forward(y, t)
    assert gradcheck.relative_error(E.backward(), gy) <= 1e-13
    per_pattern = np.stack([H[:, n, :, n] for n in range(y.shape[1])], axis=-1)
    assert gradcheck.relative_error(E.hessian(), per_pattern) <= 1e-13
    assert gradcheck.relative_error(E.backward_hessian(), nn.backend.diagonal(per_pattern)) <= 1e-13


@pytest.mark.parametrize("activation", [nn.Identity, nn.Tanh, nn.ScaledTanh, nn.Sigmoid, nn.Softplus])
@pytest.mark.parametrize(
    ("form", "factor"), [("sum of squares", 1.0), ("half of it", 0.5), ("mean over patterns", 1 / 6)]
)
def test_boundary_condition_of_the_slide_in_its_three_scalings(activation, form, factor):
    """2 f'^2 - 2 (d - x) f'' belongs to E = sum (d - x)^2; with a half both 2s vanish, a mean divides by N."""
    rng = np.random.default_rng(1)
    a, d = rng.standard_normal((4, 6)), rng.standard_normal((4, 6))
    f = activation()

    def gradient(z):  # of `factor` times the sum of squares, written out here and not taken from nn
        return factor * 2 * (f.f(z) - d) * f.df(z)

    reference = np.einsum("inin->in", gradcheck.complex_step(gradient, a))
    formula = 2 * f.df(a) ** 2 - 2 * (d - f.f(a)) * f.d2f(a)
    assert gradcheck.relative_error(factor * formula, reference) <= 1e-13
    loss = nn.SquaredError()  # ours is the slide's sum, divided by N
    loss.forward(f.forward(a), d)
    _, ha = f.backward_hessian(loss.backward(), loss.backward_hessian())
    assert gradcheck.relative_error(6 * factor * ha, reference) <= 1e-13
    if activation is not nn.Identity:
        wrong_sign = 2 * f.df(a) ** 2 + 2 * (d - f.f(a)) * f.d2f(a)
        assert gradcheck.relative_error(factor * wrong_sign, reference) > 0.1


def test_squared_error_is_a_mean_over_patterns_and_a_sum_over_outputs():
    y, t = problem(nn.SquaredError)
    assert nn.SquaredError().forward(y, t) == pytest.approx(np.sum((t - y) ** 2) / 6, rel=1e-15)


def test_cross_entropy_of_uniform_logits_is_log_k():
    assert nn.SoftmaxCrossEntropy().forward(np.zeros((4, 6)), np.arange(6) % 4) == pytest.approx(np.log(4), rel=1e-15)


@pytest.mark.parametrize("size", [1e3, 1e6])
def test_cross_entropy_is_stable_at_huge_logits(size):
    y = np.array([[size, -size, 0.0], [-size, size, 0.0]])
    loss = nn.SoftmaxCrossEntropy()
    assert loss.forward(y, np.array([0, 0, 1])) == pytest.approx((2 * size + np.log(2)) / 3, rel=1e-15)
    np.testing.assert_allclose(loss.backward(), np.array([[0, -1, 0.5], [0, 1, -0.5]]) / 3, atol=1e-15)
    assert np.all(np.isfinite(loss.backward_hessian())) and np.all(np.isfinite(loss.hessian()))


def test_hard_labels_equal_one_hot_soft_labels():
    y, t = problem(nn.SoftmaxCrossEntropy)
    hard, soft = nn.SoftmaxCrossEntropy(), nn.SoftmaxCrossEntropy()
    assert hard.forward(y, t) == soft.forward(y, nn.one_hot(t, 4, like=y))
    np.testing.assert_array_equal(hard.backward(), soft.backward())


def test_cross_entropy_hessian_is_singular_and_positive():
    y, t = problem(nn.SoftmaxCrossEntropy)
    loss = nn.SoftmaxCrossEntropy()
    loss.forward(y, t)
    H = loss.hessian()
    np.testing.assert_allclose(H.sum(axis=0), 0, atol=1e-16)
    assert np.linalg.eigvalsh(np.moveaxis(H, -1, 0)).min() > -1e-16


def test_one_hot_with_the_targets_of_1990():
    np.testing.assert_array_equal(
        nn.one_hot(np.array([2, 0]), 3, like=np.zeros(1, np.float32), off=-1, on=1), [[-1, 1], [-1, -1], [1, -1]]
    )


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_is_a_numpy_scalar_and_keeps_float32(loss):
    y, t = problem(loss)
    y = y.astype(np.float32)
    t = t.astype(np.float32) if loss is nn.SquaredError else t
    E = loss()
    assert isinstance(E.forward(y, t), np.float32)
    assert {E.backward().dtype, E.backward_hessian().dtype, E.hessian().dtype} == {np.dtype(np.float32)}


def test_labels_of_eight_bits_with_more_classes_than_they_can_count():
    hits = nn.one_hot(np.array([255, 3], np.uint8), 300, like=np.zeros(1))
    assert hits.shape == (300, 2) and hits[255, 0] == hits[3, 1] == 1 and hits.sum() == 2


def test_bad_targets():
    y, labels = problem(nn.SoftmaxCrossEntropy)
    with pytest.raises(ValueError, match=r"logits of shape \(K, N\) or \(K, T, N\), got \(4,\)"):
        nn.SoftmaxCrossEntropy().forward(y[:, 0], labels)
    with pytest.raises(ValueError, match=r"labels in 0 \.\. 3, got labels from 1 to 4"):
        nn.SoftmaxCrossEntropy().forward(y, np.array([1, 2, 3, 4, 1, 1]))
    with pytest.raises(ValueError, match=r"labels in 0 \.\. 3, got labels from -1 to 2"):
        nn.SoftmaxCrossEntropy().forward(y, np.array([1, 2, -1, 0, 1, 1]))
    with pytest.raises(ValueError, match=r"shape \(6,\) or soft labels of shape \(4, 6\).*got \(5,\)"):
        nn.SoftmaxCrossEntropy().forward(y, labels[:5])
    with pytest.raises(ValueError, match="integer labels of shape"):
        nn.SoftmaxCrossEntropy().forward(y, labels.astype(float))
    with pytest.raises(ValueError, match=r"shape of the outputs \(4, 6\), got \(6,\)"):
        nn.SquaredError().forward(y, labels)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, bool])
def test_whole_numbers_as_outputs_would_wrap_around(loss, dtype):
    y, t = problem(loss)
    with pytest.raises(ValueError, match=f"floating-point outputs, got {np.dtype(dtype)}"):
        loss().forward((10 * y).astype(dtype), t)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("dtype", [np.uint8, np.int64, np.int8])
def test_whole_numbers_as_targets_neither_wrap_nor_change_the_dtype(loss, dtype):
    y, _ = problem(loss)
    t = np.random.default_rng(1).integers(0, 100, y.shape)
    E, expected = loss(), loss()
    assert E.forward(y, t.astype(dtype)) == expected.forward(y, t.astype(float))
    np.testing.assert_array_equal(E.backward(), expected.backward())
    assert E.forward(y.astype(np.float32), t.astype(dtype)).dtype == E.backward().dtype == np.float32


@pytest.mark.parametrize("loss", LOSSES)
def test_targets_of_another_real_dtype_are_refused(loss):
    y, _ = problem(loss)
    with pytest.raises(ValueError, match="targets in the dtype of the outputs, float32, got float64"):
        loss().forward(y.astype(np.float32), y)


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_no_array_is_said(loss):
    y, t = problem(loss)
    for outputs, targets in ((y.tolist(), t), (y, t.tolist()), (y, None), (None, t), ("y", t)):
        with pytest.raises(TypeError, match="expected an array of NumPy, CuPy or the array-API standard, got "):
            loss().forward(outputs, targets)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("shape", [(4, 0), (0, 6), ()])
def test_the_mean_over_no_pattern_is_none(loss, shape):
    with pytest.raises(ValueError, match="the outputs of at least one pattern, got shape"):
        loss().forward(np.ones(shape), np.ones(shape))


@pytest.mark.parametrize(("K", "N"), [(10, 60000), (1000, 1000), (100_000, 10), (3, 1)])
def test_long_sums_in_float32_keep_their_digits(K, N):
    """Means of equal terms are known; added one after the other, 600,000 of them would lose three digits."""
    y, zero = np.full((K, N), np.float32(0.1)), np.zeros((K, N), np.float32)
    for a, b in ((y, zero), (np.asfortranarray(y), np.asfortranarray(zero)), (y.repeat(2, 1)[:, ::2], zero)):
        expected = K * float(np.float32(0.1)) ** 2
        assert float(nn.SquaredError().forward(a, b)) == pytest.approx(expected, rel=3e-7)
        E = nn.SoftmaxCrossEntropy().forward(a, np.arange(N) % K)
        assert float(E) == pytest.approx(np.log(K), rel=3e-7)


def test_one_hot_of_numpy_scalars_keeps_float32():
    t = nn.one_hot(np.array([2, 0]), 3, np.zeros(1, np.float32), off=np.float64(-1), on=np.float64(1))
    assert t.dtype == np.float32
    with pytest.raises(TypeError, match="a number for on, got 'hot'"):
        nn.one_hot(np.array([2, 0]), 3, np.zeros(1), on="hot")


def sequences(K=4, T=3, N=5, soft=False):
    rng = np.random.default_rng(3)
    t = rng.uniform(0, 2, (K, T, N)) if soft else rng.integers(0, K, (T, N))
    return rng.standard_normal((K, T, N)), t


@pytest.mark.parametrize("soft", [False, True])
def test_cross_entropy_of_sequences_is_that_of_all_positions_side_by_side(soft):
    y, t = sequences(soft=soft)
    ours, flat = nn.SoftmaxCrossEntropy(), nn.SoftmaxCrossEntropy()
    E = flat.forward(y.reshape(4, 15), t.reshape(4, 15) if soft else t.reshape(15))
    assert ours.forward(y, t) == pytest.approx(E, rel=1e-15)
    ry = np.random.default_rng(4).standard_normal(y.shape)
    for a, b in (
        (ours.backward(), flat.backward()),
        (ours.backward_hessian(), flat.backward_hessian()),
        (ours.backward_tangent(ry), flat.backward_tangent(ry.reshape(4, 15))),
    ):
        np.testing.assert_allclose(a, b.reshape(y.shape), rtol=1e-15)


@pytest.mark.parametrize("loss", [nn.SoftmaxCrossEntropy, lambda: nn.Distillation(2.0, 0.7)])
def test_derivatives_of_losses_of_sequences_by_the_complex_step(loss):
    y, t = sequences()
    E = loss()
    t = t if isinstance(E, nn.SoftmaxCrossEntropy) else (t, np.random.default_rng(5).standard_normal(y.shape))

    def gradient(z):
        E.forward(z, t)
        return E.backward()

    gy = gradcheck.complex_step(lambda z: E.forward(z, t), y)
    H = gradcheck.complex_step(gradient, y).reshape(y.size, y.size)
    assert gradcheck.relative_error(gradient(y), gy) <= 1e-13
    assert gradcheck.relative_error(E.backward_hessian().ravel(), np.diag(H)) <= 1e-13
    for matrix in (E.hessian, E.hessian_root):
        with pytest.raises(
            ValueError, match=r"^expected logits \(K, N\) for matrices of second derivatives, got \(4, 3, 5\)"
        ):
            matrix()


def test_distillation_of_sequences_is_zero_where_student_and_teacher_agree():
    y, t = sequences()
    assert float(nn.Distillation(3.0, 1.0).forward(y, (t, y))) == pytest.approx(0, abs=1e-15)


def test_labels_of_sequences_on_every_library(library):
    y, t = sequences()
    loss, other = nn.SoftmaxCrossEntropy(), nn.SoftmaxCrossEntropy()
    E = other.forward(library.xp.asarray(y), library.xp.asarray(t))
    assert float(E) == pytest.approx(float(loss.forward(y, t)), rel=1e-14)
    for a, b in ((other.backward(), loss.backward()), (other.backward_hessian(), loss.backward_hessian())):
        np.testing.assert_allclose(nn.backend.to_numpy(a), b, rtol=1e-12)


def test_bad_labels_of_sequences_are_one_sentence():
    y, t = sequences()
    with pytest.raises(ValueError, match=r"^expected labels of shape \(3, 5\) or soft labels of shape \(4, 3, 5\)"):
        nn.SoftmaxCrossEntropy().forward(y, t.T)
    with pytest.raises(ValueError, match=r"^expected labels in 0 \.\. 3, got labels from 0 to 4"):
        nn.SoftmaxCrossEntropy().forward(y, t + (t == 3))
    with pytest.raises(
        ValueError, match=r"^expected integer labels of shape \(N,\) or \(T, N\), got float64 of shape \(3, 5\)"
    ):
        nn.SoftmaxCrossEntropy().forward(y, 1.0 * t)
    with pytest.raises(ValueError, match=r"^expected logits of shape \(K, N\) or \(K, T, N\), got \(4, 3, 5, 1\)"):
        nn.SoftmaxCrossEntropy().forward(y[..., None], t)
