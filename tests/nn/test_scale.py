"""One factor for a block, for groups of channels or for each: beyond what is asked of every layer (cases, referees)."""

import copy

import numpy as np
import pytest

import nn
from nn import gradcheck

GROUPS = [1, 5, [1, 3, 1], [2, 3]]


def scale(groups, seed=0):
    layer = nn.Scale(5, groups)
    layer.s.data = np.random.default_rng(seed).standard_normal(layer.s.shape)
    return layer


@pytest.mark.parametrize("groups", GROUPS)
@pytest.mark.parametrize("shape", [(5, 7), (5, 3, 2, 4)])
def test_by_loops(groups, shape):
    """Every channel by the factor of its group; derivatives of a factor added up over all that it multiplies."""
    layer, rng = scale(groups), np.random.default_rng(1)
    x, gy, hy = rng.standard_normal((3, *shape))
    sizes = {1: [5], 5: [1] * 5}.get(groups, groups) if isinstance(groups, int) else groups
    of = [g for g, size in enumerate(sizes) for _ in range(size)]
    y = layer.forward(x)
    gx, hx = layer.backward_hessian(gy, hy)
    gs, hs = np.zeros(len(sizes)), np.zeros(len(sizes))
    for index in np.ndindex(shape):
        s = layer.s.data[of[index[0]]]
        assert y[index] == pytest.approx(s * x[index], rel=1e-14)
        assert gx[index] == pytest.approx(s * gy[index], rel=1e-14)
        assert hx[index] == pytest.approx(s**2 * hy[index], rel=1e-14)
        gs[of[index[0]]] += gy[index] * x[index]
        hs[of[index[0]]] += hy[index] * x[index] ** 2
    np.testing.assert_allclose(layer.s.grad, gs, rtol=1e-12)
    np.testing.assert_allclose(layer.s.hess_diag, hs, rtol=1e-12)
    np.testing.assert_array_equal(layer.factor(), layer.s.data[of])


def test_it_starts_as_the_identity_and_an_outline_has_no_numbers():
    x = np.random.default_rng(0).standard_normal((5, 4))
    np.testing.assert_array_equal(nn.Scale(5, [2, 3]).forward(x), x)
    outline = nn.Scale(5, outline=True)
    assert outline.s.is_outline and outline.s.shape == (1,)
    with pytest.raises(ValueError, match="this net is an outline"):
        outline.forward(x)


@pytest.mark.parametrize("groups", GROUPS)
def test_its_config_builds_it_again(groups, tmp_path):
    net = nn.Sequential(nn.Linear(3, 5, np.random.default_rng(0)), scale(groups))
    nn.checkpoint.save(tmp_path / "net.npz", net)
    again, x = nn.checkpoint.load(tmp_path / "net.npz"), np.ones((3, 2))
    assert again.layers[1].sizes == net.layers[1].sizes
    np.testing.assert_array_equal(again.forward(x), net.forward(x))


def test_float32_stays():
    layer = nn.Scale(4, 2, dtype=np.float32)
    x = np.ones((4, 3), np.float32)
    gx, hx = (layer.forward(x), layer.backward_hessian(x, x))[1]
    assert {a.dtype for a in (layer.forward(x), gx, hx, layer.s.grad, layer.s.hess_diag)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "a whole number of channels of at least 1, got 0"),
        ((-3,), "a whole number of channels of at least 1, got -3"),
        ((4.0,), "a whole number of channels of at least 1, got 4.0"),
        ((True,), "a whole number of channels of at least 1, got True"),
        ((5, True), "a number of groups, or the sizes of the groups, got True"),
        ((5, [True, 4]), r"a number of groups, or the sizes of the groups, got \[True, 4\]"),
        ((5, "5"), "a number of groups, or the sizes of the groups, got '5'"),
        ((5, 2), "a number of groups that divides 5 channels, got 2"),
        ((5, 0), "a number of groups that divides 5 channels, got 0"),
        ((5, [2, 2]), r"groups of one channel at least, 5 together, got sizes \[2, 2\]"),
        ((5, [5, 0]), r"groups of one channel at least, 5 together, got sizes \[5, 0\]"),
        ((5, []), "groups of one channel at least"),
        ((5, 1.0), "a number of groups, or the sizes of the groups, got 1.0"),
        ((5, [2.0, 3.0]), r"a number of groups, or the sizes of the groups, got \[2.0, 3.0\]"),
    ],
)
def test_groups_that_make_no_sense_are_one_sentence(arguments, message):
    with pytest.raises(ValueError, match=message):
        nn.Scale(*arguments)


def test_other_channels_are_refused():
    with pytest.raises(ValueError, match=r"Scale\(5\) expected 5 channels, got 4"):
        nn.Scale(5).forward(np.ones((4, 2)))


def test_a_block_with_a_factor_against_the_block_with_the_factor_in_its_last_weights():
    rng = np.random.default_rng(0)
    body = nn.Sequential(nn.Linear(4, 6, rng), nn.Tanh(), nn.Linear(6, 4, rng), nn.Scale(4))
    body.layers[3].s.data = np.array([-0.7])
    twin = copy.deepcopy(body)
    twin.layers[2].W.data, twin.layers[2].b.data = -0.7 * body.layers[2].W.data, -0.7 * body.layers[2].b.data
    twin.layers[3].s.data = np.array([1.0])
    x, g = rng.standard_normal((2, 4, 5))
    blocks = [nn.Residual(each) for each in (body, twin)]
    ys = [block.forward(x) for block in blocks]
    gxs = [block.backward(g) for block in blocks]
    for ours, theirs in (ys, gxs):
        assert gradcheck.relative_error(ours, theirs) <= 1e-14
