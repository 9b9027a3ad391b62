"""What is recorded of named layers is what they compute, and the net is afterwards as it was."""

import contextlib
import copy

import numpy as np
import pytest
from cases import build_model

import nn
from nn.recording import record, record_backward


def nested():
    """A net with layers inside Sequential, Residual and Concat, by name, and its input."""
    rng = np.random.default_rng(0)
    body = nn.Sequential(nn.Conv2d(3, 3, 3, rng, padding=1), nn.BatchNorm(3), nn.ReLU())
    branches = nn.Concat(nn.Identity(), nn.Sequential(nn.Conv2d(3, 2, 1, rng), nn.Tanh()))
    net = nn.Sequential(nn.Conv2d(2, 3, 3, rng), nn.ReLU(), nn.Residual(body), branches, nn.Flatten())
    net = nn.Sequential(*net.layers, nn.Linear(5 * 4 * 3, 4, rng))
    return net, rng.standard_normal((2, 6, 5, 7))


def test_what_is_recorded_is_what_the_layers_compute_one_after_the_other():
    net, x = nested()
    net.eval()
    names = ["5", "0", "2", "2.body", "2.body.1", "3.1.0", "3.0", "4"]
    with record(net, names) as seen:
        y = net.forward(x)
    first, relu, residual, concat, flat, last = copy.deepcopy(net).layers
    a = relu.forward(first.forward(x))
    conv, norm, rectified = residual.body.layers
    b = conv.forward(a)
    c = rectified.forward(norm.forward(b))
    d = np.concatenate([a + c, np.tanh(concat.branches[1].layers[0].forward(a + c))])
    e = d.reshape(-1, 7)
    expected = {
        "0": (x, first.forward(x)),
        "2": (a, a + c),
        "2.body": (a, c),
        "2.body.1": (b, norm.forward(b)),
        "3.0": (a + c, a + c),
        "3.1.0": (a + c, concat.branches[1].layers[0].forward(a + c)),
        "4": (d, e),
        "5": (e, last.W.data @ e + last.b.data[:, None]),
    }
    assert list(seen) == names
    for name, pair in expected.items():
        (found,) = seen[name]
        for one, other in zip(found, pair, strict=True):
            np.testing.assert_array_equal(one, other)
    assert seen["5"][0][1] is y


def test_one_pair_a_forward_pass_and_none_outside_the_block():
    net, x = nested()
    with record(net, ("3", "3", "")) as seen:
        first, second = net.forward(x), net.forward(2 * x)
        net.backward(np.ones_like(second))
    net.forward(x)
    assert [len(passes) for passes in seen.values()] == [2, 2]
    assert [y is found for y, (_, found) in zip((first, second), seen[""])] == [True, True]
    assert not np.array_equal(seen["3"][0][1], seen["3"][1][1])


@pytest.mark.parametrize("fails", [False, True])
def test_the_net_is_afterwards_as_it_was(fails):
    net, x = nested()
    before = {id(module): {**vars(module)} for module in net.modules()}
    with contextlib.suppress(KeyboardInterrupt):
        with record(net, ["2.body.0", "2"]) as seen:
            with record(net, iter(["2"])) as inside:
                net.forward(x)
                if fails:
                    raise KeyboardInterrupt
            net.forward(x)
    assert (len(seen["2"]), len(inside["2"])) == (1 if fails else 2, 1)
    for module in net.modules():
        assert "forward" not in vars(module) and vars(module).keys() >= before[id(module)].keys()
    for parameter, other in zip(net.parameters(), nested()[0].parameters()):
        np.testing.assert_array_equal(parameter.data, other.data)


def test_a_forward_that_fails_is_not_recorded_and_the_net_is_as_it_was():
    net, x = nested()
    with pytest.raises(ValueError, match="expected"):
        with record(net, ["0", "2"]) as seen:
            net.forward(x[:1])
    assert seen == {"0": [], "2": []}
    assert all("forward" not in vars(module) for module in net.modules())


@pytest.mark.parametrize("name", ["vgg", "resnet_cifar", "densenet", "alexnet"])
def test_no_layer_changes_what_was_recorded(name):
    net, x, t = build_model(name)
    with record(net, [key for key, _ in record_names(net)]) as seen:
        loss = nn.SoftmaxCrossEntropy()
        loss.forward(net.forward(x), t)
        copies = copy.deepcopy(seen)
        net.backward(loss.backward())
        nn.SGD(net.parameters(), 0.1).step()
        net.forward(x)
    for key, ((x_seen, y_seen), _) in seen.items():
        np.testing.assert_array_equal(x_seen, copies[key][0][0])
        np.testing.assert_array_equal(y_seen, copies[key][0][1])


def record_names(net):
    """Return (name, parameter) of every layer that has a W."""
    return [(name.removesuffix(".W"), p) for name, p in net.named_parameters() if name.endswith(".W")]


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["7"], r"^the net has no layer '7'; it has 0, 1, 2, 2\.body, 2\.body\.0, .*, 5$"),
        (["2", "0.W"], "no layer '0.W'"),
        ("2", "expected a list of names, got the string '2'"),
    ],
)
def test_unknown_names_are_refused_before_anything_is_recorded(names, message):
    net, _ = nested()
    with pytest.raises(ValueError, match=message):
        with record(net, names):
            raise AssertionError("not reached")
    assert all("forward" not in vars(module) for module in net.modules())


def test_a_copy_within_the_block_computes_with_its_own_weights_and_is_not_recorded():
    net, x = nested()
    expected = copy.deepcopy(net).eval()
    for parameter in expected.parameters():
        parameter.data = 2 * parameter.data
    expected = expected.forward(x)
    with record(net, ["2.body.0", "2"]) as outer, record(net, ["2"]) as inner:
        for twin in (copy.deepcopy(net), copy.deepcopy(copy.deepcopy(net))):
            twin.eval()
            for parameter in twin.parameters():
                parameter.data = 2 * parameter.data
            np.testing.assert_array_equal(twin.forward(x), expected)
    assert (outer, inner) == ({"2.body.0": [], "2": []}, {"2": []})
    twin.layers[0].W.data = 0 * twin.layers[0].W.data  # and after the block
    assert not np.array_equal(twin.forward(x), expected)


def test_a_layer_asked_for_its_eval_mode_within_the_block_answers_in_it_and_is_not_recorded():
    norm, x = nn.BatchNorm(2), np.random.default_rng(0).standard_normal((2, 9))
    with record(nn.Sequential(norm), ["0"]) as seen:
        y = nn.module.evaluated(norm, x)
    np.testing.assert_allclose(y, x / np.sqrt(1 + norm.eps))
    assert seen == {"0": []} and not norm.running_mean.any()


def test_what_is_recorded_on_the_way_back_is_what_every_layer_gets_and_returns():
    net, x = nested()
    net.eval()
    gy = np.random.default_rng(1).standard_normal(net.forward(x).shape)
    with record_backward(net, ["0", "2", "2.body", "2.body.1", "3.1.0", "5"]) as seen:
        gx = net.backward(gy)
    twin = copy.deepcopy(net)
    ge = twin.layers[5].backward(gy)
    gd = twin.layers[4].backward(ge)
    g_concat = twin.layers[3].backward(gd)
    gc = twin.layers[2].body.layers[2].backward(g_concat)
    in_residual = twin.layers[2].backward(g_concat)
    tanh = twin.layers[3].branches[1].layers[1]
    expected = {
        "5": (gy, ge),
        "3.1.0": (tanh.backward(gd[3:]), None),
        "2": (g_concat, in_residual),
        "2.body": (g_concat, in_residual - g_concat),
        "2.body.1": (gc, twin.layers[2].body.layers[1].backward(gc)),
        "0": (twin.layers[1].backward(in_residual), gx),
    }
    for name, (arriving, leaving) in expected.items():
        ((one, other),) = seen[name]
        np.testing.assert_array_equal(one, arriving)
        if leaving is not None:
            np.testing.assert_allclose(other, leaving, atol=1e-14)


def test_a_sweep_that_ends_at_the_first_parameters_is_one_pair_too():
    net, x = nested()
    names = ["0", "2.body.0", "5", ""]
    with record_backward(net, names) as seen:
        y = net.forward(x)
        net.backward_parameters(np.ones_like(y))
        net.backward(np.ones_like(y))
    assert [len(seen[name]) for name in names] == [2, 2, 2, 2]
    for name in ("0", ""):
        (first, nothing), (second, gx) = seen[name]
        np.testing.assert_array_equal(first, second)
        assert nothing is None and gx.shape == x.shape
    assert not any({"backward", "backward_parameters"} & set(vars(module)) for module in net.modules())


def test_both_ways_may_be_recorded_at_once_and_a_copy_is_not():
    net, x = nested()
    with record(net, ["0"]) as ahead, record_backward(net, ["0"]) as back:
        twin = copy.deepcopy(net)
        net.backward(np.ones_like(net.forward(x)))
        twin.backward(np.ones_like(twin.forward(x)))
    assert len(ahead["0"]) == len(back["0"]) == 1
    with pytest.raises(ValueError, match="the net has no layer '7'"), record_backward(net, ["7"]):
        pass
