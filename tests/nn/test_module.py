import json
from collections import deque

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


def derivative_methods(cls):
    """Names of the methods that one class body defines for the forward pass and for derivatives."""
    found = [name for name, value in vars(cls).items() if callable(value)]
    words = ("tangent", "squares", "hessian")
    return {name for name in found if name.startswith(("forward", "backward")) or any(word in name for word in words)}


def test_a_layer_has_f_and_its_first_two_derivatives_and_nothing_else():
    """Whatever else is known of all layers is a page with one rule a layer (`nn.sweeps`), never another method."""
    layers = {value for value in vars(nn).values() if isinstance(value, type) and issubclass(value, nn.Module)}
    layers |= {base for layer in layers for base in layer.__mro__ if issubclass(base, nn.Module)}
    frozen = {"forward", "backward", "backward_parameters", "backward_hessian", "backward_hessian_parameters",
              "backward_hessian_full"}  # fmt: skip
    for layer in layers:
        assert derivative_methods(layer) <= frozen | ({"backward_gates"} if layer is nn.Gate else set()), layer
    counts = {layer.__name__: len(derivative_methods(layer)) for layer in layers}
    assert sum(counts.values()) <= 88
    assert (counts["Module"], counts["Linear"], counts["Conv2d"], counts["BatchNorm"]) == (6, 6, 5, 4)


def test_named_modules():
    body = nn.Sequential(nn.Linear(5, 4, None), nn.Tanh())
    net = nn.Sequential(nn.ReLU(), nn.Residual(body, nn.Linear(5, 4, None)))
    names = ["", "0", "1", "1.body", "1.body.0", "1.body.1", "1.shortcut"]
    assert [name for name, _ in net.named_modules()] == names
    assert [name for name, _ in net.named_modules("net")] == ["net", *(f"net.{name}" for name in names[1:])]
    assert dict(net.named_modules())["1.body"] is body
    assert list(net.modules()) == [module for _, module in net.named_modules()]


class Tower(nn.Module):
    """Keeps layers and parameters as a user may: in lists, tuples, dicts, and these in each other."""

    def __init__(self, rng):
        self.blocks = [nn.Linear(3, 3, rng), nn.Tanh(), [nn.Linear(3, 3, rng)]]
        self.heads = {"left": nn.Linear(3, 2, rng), "others": deque([nn.BatchNorm(2)])}
        self.scales = [nn.Parameter(np.ones(3)), None, nn.Parameter(np.ones(2))]
        self.sizes = [3, 3, 2]


def test_layers_and_parameters_in_lists_tuples_and_dicts_are_found():
    tower = Tower(np.random.default_rng(0))
    assert [name for name, _ in tower.children()] == [
        "blocks.0",
        "blocks.1",
        "blocks.2.0",
        "heads.left",
        "heads.others.0",
    ]
    assert [name for name, _ in tower.named_parameters()] == [
        "scales.0", "scales.2", "blocks.0.W", "blocks.0.b", "blocks.2.0.W", "blocks.2.0.b", "heads.left.W",
        "heads.left.b", "heads.others.0.gamma", "heads.others.0.beta",
    ]  # fmt: skip
    assert [name for name, _ in tower.named_buffers("t.")] == [
        "t.heads.others.0.running_mean", "t.heads.others.0.running_variance"
    ]  # fmt: skip
    tower.eval()
    assert not tower.heads["others"][0].training
    net = nn.Sequential(tower, nn.ReLU())
    assert len(net.parameters()) == 10
    with pytest.raises(ValueError, match="the same Linear object in two places"):
        nn.Sequential(tower, tower.blocks[0])


def test_more_layers_in_a_subclass_of_a_container_are_found():
    class Tagged(nn.Sequential):
        def __init__(self, *layers):
            super().__init__(*layers)
            self.extra = nn.Linear(2, 2, None)

    class Ways(nn.Concat):
        def __init__(self, *branches):
            super().__init__(*branches)
            self.extra = [nn.Linear(2, 2, None)]

    assert [name for name, _ in Tagged(nn.Linear(2, 2, None)).named_parameters()] == [
        "0.W",
        "0.b",
        "extra.W",
        "extra.b",
    ]
    assert [name for name, _ in Ways(nn.Linear(2, 2, None)).children()] == ["0", "extra.0"]


@pytest.mark.parametrize("kind", [set, frozenset])
def test_a_set_of_layers_has_no_order_and_is_refused(kind):
    class Unordered(nn.Module):
        def __init__(self, held):
            self.held = held

    for held, what in ((nn.ReLU(), "modules"), (nn.Parameter(np.ones(2)), "parameters")):
        for inside in (kind([held]), [kind([held])]):
            with pytest.raises(ValueError, match=f"expected the {what} held.* of Unordered in a list, tuple or dict"):
                Unordered(inside).parameters()
    assert Unordered(kind([1, 2])).parameters() == []


def test_containers_deeper_than_any_walk_are_one_sentence():
    net = nn.Sequential(nn.Linear(2, 2, np.random.default_rng(0)))
    for _ in range(98):
        net = nn.Sequential(net)
    x = np.ones((2, 3))
    loss = nn.SquaredError()
    net = nn.Sequential(net)
    for rule in nn.curvature.RULES:
        nn.curvature.hess_diag(net, loss, x, x, rule)  # a hundred levels are no trouble
    assert next(net.named_parameters())[0] == 100 * "0." + "W"
    for container in (nn.Sequential, nn.Residual, nn.Concat):
        with pytest.raises(ValueError, match="expected containers at most 100 deep inside each other, got one deeper"):
            container(net)
    deep = []
    for _ in range(2000):
        deep = [deep]
    with pytest.raises(ValueError, match=r"expected layers such as nn\.ReLU\(\), got \[\["):
        nn.Sequential(deep)


def test_sizes_and_settings_of_numpy_become_python_numbers():
    """Checkpoints write them as JSON, and NumPy's float64 would make float64 of a float32 net."""
    one, two, three = (np.int64(n) for n in (1, 2, 3))
    rng = np.random.default_rng(0)
    layers = [
        nn.Linear(three, two, rng), nn.Conv2d(two, two, three, rng, stride=one, padding=one, groups=two),
        nn.BatchNorm(two, eps=np.float64(1e-5), momentum=np.float64(0.1)), nn.Subsampling(two, two, rng),
        nn.Select([one], n_in=two), nn.ZeroPadShortcut(two, one), nn.Dropout(np.float64(0.5), rng), nn.MaxPool2d(two),
    ]  # fmt: skip
    for layer in layers:
        json.dumps(layer.config())
    norm = nn.BatchNorm(2, eps=np.float64(1e-5), momentum=np.float64(0.1), dtype=np.float32)
    x = rng.standard_normal((2, 5)).astype(np.float32)
    y = norm.forward(x)
    gx = norm.backward(y)
    arrays = [y, gx, norm.running_mean, norm.running_variance, norm.gamma.grad, norm.eval().forward(x)]
    assert {array.dtype for array in arrays} == {np.dtype(np.float32)}


def test_an_array_of_layers_is_refused():
    """Its layers would be found by no sweep."""
    layer = nn.Identity()
    layer.blocks = np.array([nn.Tanh(), None], dtype=object)
    for walk in (lambda: list(layer.children()), layer.parameters, layer.eval):
        with pytest.raises(ValueError, match="in a list, tuple or dict, got an array of objects"):
            walk()
