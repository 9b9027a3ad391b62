import numpy as np
import pytest

import nn


def small(rng=None):
    return nn.models.mlp((3, 5, 4), rng)


def test_names_in_definition_order():
    inner = nn.Sequential(nn.Linear(5, 4, None), nn.Tanh(), nn.Linear(4, 2, None))
    net = nn.Sequential(nn.Linear(3, 5, None), nn.ReLU(), inner)
    assert [name for name, _ in net.named_parameters()] == ["0.W", "0.b", "2.0.W", "2.0.b", "2.2.W", "2.2.b"]
    assert net.parameters() == [p for _, p in net.named_parameters()]
    assert list(net.named_buffers()) == []


def test_train_and_eval_reach_every_layer():
    net = nn.Sequential(nn.Sequential(nn.Tanh()), nn.Flatten())
    assert net.eval() is net
    assert not any(module.training for module in net.modules())
    net.train()
    assert all(module.training for module in net.modules())


def test_an_outline_knows_shapes_but_holds_no_data():
    net = small()
    assert [(p.shape, p.dtype, p.is_outline) for p in net.parameters()] == [
        ((5, 3), np.float64, True), ((5,), np.float64, True), ((4, 5), np.float64, True), ((4,), np.float64, True)
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"outline \(rng=None\)"):
        net.forward(np.ones((3, 2)))


def test_an_outline_of_a_huge_net_allocates_nothing():
    layer = nn.Linear(10**6, 10**6, None)
    assert layer.W.shape == (10**6, 10**6)


def test_a_layer_may_stand_in_a_net_only_once():
    relu = nn.ReLU()
    with pytest.raises(ValueError, match="stands twice"):
        nn.Sequential(nn.Linear(3, 3, None), relu, nn.Linear(3, 3, None), relu)
    with pytest.raises(ValueError, match="stands twice"):
        nn.Sequential(relu, nn.Sequential(relu))
    linear = nn.Linear(3, 3, None)
    with pytest.raises(ValueError, match="stands twice in this net, the same Linear object in two places"):
        nn.Residual(linear, linear)
    with pytest.raises(ValueError, match="the same ReLU object"):
        nn.Residual(nn.Sequential(linear, relu), nn.Concat(nn.Identity(), relu))
    with pytest.raises(ValueError, match="the same ReLU object"):
        nn.Concat(relu, nn.Sequential(nn.Identity(), relu))


def test_constructors_refuse_bad_arguments():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"layers such as nn\.ReLU\(\), got 'ReLU'"):
        nn.Sequential(nn.Linear(3, 2, rng), "ReLU")
    with pytest.raises(ValueError, match=r"layers such as nn\.ReLU\(\), got <class 'nn.activations.ReLU'>"):
        nn.Residual(nn.Linear(3, 3, rng), nn.ReLU)
    with pytest.raises(ValueError, match=r"layers such as nn\.ReLU\(\), got None"):
        nn.Concat(nn.ReLU(), None)
    with pytest.raises(ValueError, match="Concat expected at least one branch, got none"):
        nn.Concat()
    with pytest.raises(ValueError, match="dtype float32 or float64, got 'foo'"):
        nn.Linear(3, 2, rng, dtype="foo")
    with pytest.raises(ValueError, match=r"positive integers as the sizes of a weight, got \(0, 3\)"):
        nn.Linear(3, 0, rng)
    with pytest.raises(ValueError, match=r"dtype float32 or float64, got .*int64"):
        nn.Linear(3, 2, rng, dtype=np.int64)
    with pytest.raises(TypeError, match=r"np.random.Generator, for instance .* \(or None for an outline\), got "):
        nn.Linear(3, 2, 0)
    with pytest.raises(ValueError, match="at least two sizes"):
        nn.models.mlp((3,), rng)
    with pytest.raises(ValueError, match=r"activation class such as nn\.ReLU, got 'relu'"):
        nn.models.mlp((3, 2), rng, activation="relu")


def test_wrong_input_sizes_are_refused_in_one_sentence():
    net = small(np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"expected inputs \(3, N\), got \(4, N\)"):
        net.forward(np.ones((4, 2)))
    for dtype in (np.uint8, np.int64, bool):  # the squares of bytes, in the second derivatives, would wrap at 256
        with pytest.raises(ValueError, match=f"Linear expected floating-point numbers, got {np.dtype(dtype)}"):
            net.forward(np.ones((3, 2), dtype))


def test_output_shape_names_the_layer_that_cannot_take_its_input():
    body = nn.Sequential(nn.ReLU(), nn.Linear(4, 5, None))
    net = nn.Sequential(nn.Flatten(), nn.Linear(3, 5, None), nn.Residual(body))
    with pytest.raises(ValueError, match=r"^layer 2 \(Residual\): layer 1 \(Linear\): .* expected inputs \(4, N\)"):
        net.output_shape((3,))


def test_mlp_begins_with_flatten_and_takes_images():
    net = nn.models.mlp((12, 5, 4), np.random.default_rng(0), activation=nn.Tanh, dtype=np.float32)
    assert isinstance(net.layers[0], nn.Flatten) and isinstance(net.layers[2], nn.Tanh)
    assert net.forward(np.ones((1, 3, 4, 6), np.float32)).dtype == np.float32
    assert len(net.layers) == 4


def test_float32_nets_stay_float32_through_training():
    rng = np.random.default_rng(0)
    for activation in (nn.Identity, nn.ReLU, nn.Sigmoid, nn.Tanh, nn.ScaledTanh, nn.Softplus):
        net, loss = nn.models.mlp((3, 5, 4), rng, activation=activation, dtype=np.float32), nn.SoftmaxCrossEntropy()
        x, t = rng.standard_normal((3, 6)).astype(np.float32), rng.integers(0, 4, 6)
        for optimizer in (nn.SGD(net.parameters(), 0.1, momentum=0.9, weight_decay=0.01), nn.Adam(net.parameters())):
            loss.forward(net.forward(x), t)
            gx, hx = net.backward_hessian(loss.backward(), loss.backward_hessian())
            optimizer.step()
            arrays = [gx, hx] + [getattr(p, name) for p in net.parameters() for name in ("data", "grad", "hess_diag")]
            arrays += [array for state in optimizer.state for array in state.values()]
            assert {array.dtype for array in arrays} == {np.dtype(np.float32)}, activation
