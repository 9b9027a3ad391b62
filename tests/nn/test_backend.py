"""The same code on NumPy, torch tensors, array-api-strict with a second device, and CuPy where there is a GPU."""

import copy
import sys
import types

import numpy as np
import pytest
from cases import CASES

import nn
from nn import backend


def moved(net, library):
    return copy.deepcopy(net).to(library.xp)


def assert_close(ours, reference):
    np.testing.assert_allclose(backend.to_numpy(ours), reference, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("case", CASES[2:11], ids=lambda case: case.name)
def test_forward_and_all_sweeps_equal_numpy(case, library):
    net, loss, x, t = case.build()
    other, other_loss = moved(net, library), case.loss()
    z, s = library.xp.asarray(x), library.xp.asarray(t)
    assert_close(other_loss.forward(other.forward(z), s), loss.forward(net.forward(x), t))
    for sweep, start in (("backward_hessian", "backward_hessian"), ("backward_hessian_full", "hessian")):
        g, h = getattr(net, sweep)(loss.backward(), getattr(loss, start)())
        other_g, other_h = getattr(other, sweep)(other_loss.backward(), getattr(other_loss, start)())
        assert_close(other_g, g)
        assert_close(other_h, h)
        for a, b in zip(other.parameters(), net.parameters()):
            assert_close(a.grad, b.grad)
            assert_close(a.hess_diag, b.hess_diag)
    other.backward_parameters(other_loss.backward())
    assert_close(other.parameters()[0].grad, net.parameters()[0].grad)


@pytest.mark.parametrize("rule", nn.curvature.RULES)
def test_curvature_and_gradient_over_batches_equal_numpy(rule, library):
    net, loss, x, t = CASES[3].build()
    other, z, s = moved(net, library), library.xp.asarray(x), library.xp.asarray(t)
    ours = nn.curvature.hess_diag(other, nn.SoftmaxCrossEntropy(), z, s, rule, weight_decay=0.1, batch_size=4)
    reference = nn.curvature.hess_diag(net, loss, x, t, rule, weight_decay=0.1, batch_size=4)
    for name in reference:
        assert_close(ours[name], reference[name])
    ours = nn.curvature.gradient(other, nn.SoftmaxCrossEntropy(), z, s, weight_decay=0.1)
    for name, g in nn.curvature.gradient(net, loss, x, t, weight_decay=0.1).items():
        assert_close(ours[name], g)


@pytest.mark.parametrize(
    "make",
    [
        lambda p: nn.SGD(p, 0.1),
        lambda p: nn.SGD(p, 0.1, momentum=0.9, nesterov=True, weight_decay=0.01),
        lambda p: nn.Adam(p, 0.1, weight_decay=0.01),
    ],
    ids=["sgd", "nesterov", "adam"],
)
def test_training_with_masks_equals_numpy(make, library):
    net, _, x, t = CASES[3].build()
    net.parameters()[0].mask = np.tile([1.0, 0.0, 1.0], (5, 1))
    other = moved(net, library)
    histories = []
    for each, z, s in ((net, x, t), (other, library.xp.asarray(x), library.xp.asarray(t))):
        rng = np.random.default_rng(0)
        histories.append(
            nn.training.train(each, nn.SoftmaxCrossEntropy(), make(each.parameters()), z, s, epochs=3, batch_size=4,
                              rng=rng, test=(z, s), progress=False)
        )  # fmt: skip
    for a, b in zip(other.parameters(), net.parameters()):
        assert_close(a.data, b.data)
    for a, b in zip(*histories):
        assert a == pytest.approx(b, rel=1e-12)


def test_to_moves_everything_there_and_back(library):
    net, loss, x, t = CASES[3].build()
    loss.forward(net.forward(x), t)
    net.backward_hessian(loss.backward(), loss.backward_hessian())
    for p in net.parameters():
        p.mask = np.ones_like(p.data)
    there = moved(net, library)
    xp = backend.get_array_module(there.parameters()[0].data)
    for p in there.parameters():
        assert backend.get_array_module(p.data, p.grad, p.hess_diag, p.mask) is xp
    back = there.to(np)
    for p, q in zip(back.parameters(), net.parameters()):
        for name in ("data", "grad", "hess_diag", "mask"):
            np.testing.assert_array_equal(getattr(p, name), getattr(q, name))


def test_a_checkpoint_of_another_library_loads_as_numpy(library, tmp_path):
    net = CASES[3].build()[0]
    nn.checkpoint.save(tmp_path / "net.npz", moved(net, library))
    for p, q in zip(nn.checkpoint.load(tmp_path / "net.npz").parameters(), net.parameters()):
        np.testing.assert_array_equal(p.data, q.data)


def test_creation_follows_library_dtype_and_device(library):
    like = library.xp.asarray(np.ones((2, 3), np.float32))
    for made in (backend.zeros((4,), like=like), backend.asarray([1, 2, 3], like=like)):
        assert made.dtype == like.dtype and made.device == like.device
        assert type(made) is type(like)


def test_diagonals(library):
    H = np.random.default_rng(0).standard_normal((3, 3, 5))
    assert_close(backend.diagonal(library.xp.asarray(H)), np.einsum("iin->in", H))
    h = H[0]
    assert_close(backend.diagonal_matrices(library.xp.asarray(h)), np.einsum("in,ij->ijn", h, np.eye(3)))


def test_arrays_of_two_libraries_are_refused(library):
    if library.name == "numpy":
        with pytest.raises(TypeError, match="one library, got no array"):
            backend.get_array_module()
    else:
        with pytest.raises(TypeError, match=r"arrays of one library, got .*numpy"):
            backend.get_array_module(np.ones(2), library.xp.asarray(np.ones(2)))


def test_what_is_no_array_is_refused():
    with pytest.raises(TypeError, match="got list"):
        backend.get_array_module([1, 2])


def test_devices():
    assert backend.array_module("cpu") is np
    with pytest.raises(ValueError, match="device cpu or gpu, got 'tpu'"):
        backend.array_module("tpu")


def test_a_gpu_without_cupy_is_one_sentence_that_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(RuntimeError, match=r"pip install -e .\.\[gpu\]"):
        backend.array_module("gpu")


def test_cupy_without_a_gpu_is_one_sentence(monkeypatch):
    cupy = types.SimpleNamespace(cuda=types.SimpleNamespace(is_available=lambda: False))
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(RuntimeError, match="finds no usable GPU"):
        backend.array_module("gpu")
