"""Gates on rows and columns against finite differences and plain loops."""

import numpy as np
import pytest

import nn
from nn.gradcheck import relative_error
from pruning.scores import gates

NAMES = ["0.W", "2.W", "5.W", "7.W"]


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    net = nn.models.lenet5(rng, size=16, filters=(3, 4), hidden=5)
    for parameter in net.parameters():
        parameter.data = parameter.data + 0.1 * rng.standard_normal(parameter.shape)
    x, t, loss = rng.random((1, 16, 16, 6)), rng.integers(0, 10, 6), nn.SoftmaxCrossEntropy()

    def E():
        return float(loss.forward(net.forward(x), t))

    E()
    net.backward_parameters(loss.backward())
    return net, E


def by_differences(E, arrays, change):
    """Return dE/dz of a gate that multiplies the parts `change` of these arrays."""
    values, step, kept = [], 1e-6, [array.data for array in arrays]
    for z in (1 + step, 1 - step):
        for array, data in zip(arrays, kept):
            array.data = change(data, z)
        values.append(E())
    for array, data in zip(arrays, kept):
        array.data = data
    return (values[0] - values[1]) / (2 * step)


def test_gates_of_rows_are_derivatives(problem):
    net, E = problem
    parameters = dict(net.named_parameters())
    for name, found in gates.rows(net, NAMES).items():
        for j in range(len(found)):

            def close(data, z, j=j):
                data = data.copy()
                data[j] *= z
                return data

            expected = by_differences(E, [parameters[name], parameters[name.replace("W", "b")]], close)
            assert abs(found[j] - expected) < 1e-8


def test_gates_of_columns_are_derivatives(problem):
    net, E = problem
    for name, found in gates.columns(net, NAMES).items():
        parameter = dict(net.named_parameters())[name]
        for k in range(0, len(found), 7):

            def close(data, z, k=k):
                matrix = data.reshape(len(data), -1).copy()
                matrix[:, k] *= z
                return matrix.reshape(data.shape)

            assert abs(found[k] - by_differences(E, [parameter], close)) < 1e-8


def test_a_map_has_one_gate_seen_from_both_sides(problem):
    # Without activations between, and max-pooling lets a positive factor through: the gate on a filter is the sum of
    # those on the columns that read it.
    net, _ = problem
    behind = gates.columns(net, ["2.W"])["2.W"].reshape(3, -1).sum(axis=1)
    assert relative_error(gates.rows(net, ["0.W"])["0.W"], behind) < 1e-12


def test_gates_need_a_backward_sweep():
    net = nn.models.mlp((4, 3, 2), np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"1\.W has no gradient: gates are read after the backward sweep"):
        gates.columns(net, ["1.W"])
    with pytest.raises(ValueError, match=r"the net has no parameter 9\.W"):
        gates.rows(net, ["9.W"])


def test_names_from_an_iterator_are_all_of_them(problem):
    net, _ = problem
    for score in (gates.rows, gates.columns):
        listed = score(net, NAMES)
        for name, found in score(net, iter(NAMES)).items():
            np.testing.assert_array_equal(found, listed[name])


def test_a_bias_without_gradient_is_named_and_a_layer_without_bias_has_its_weights_alone():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(3, 2, rng))
    W, b = net.parameters()
    W.grad = rng.standard_normal((2, 3))
    with pytest.raises(ValueError, match=r"^0\.b has no gradient: gates are read after the backward sweep$"):
        gates.rows(net, ["0.W"])
    b.grad = rng.standard_normal(2)
    b.data = rng.standard_normal(2)
    np.testing.assert_allclose(gates.rows(net, ["0.W"])["0.W"], (W.data * W.grad).sum(axis=1) + b.data * b.grad)
    bare = nn.Sequential(nn.Linear(3, 2, rng, bias=False))
    bare.layers[0].W.data, bare.layers[0].W.grad = W.data, W.grad
    np.testing.assert_allclose(gates.rows(bare, ["0.W"])["0.W"], (W.data * W.grad).sum(axis=1))
