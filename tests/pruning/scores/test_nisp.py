"""NISP against products of absolute matrices, its bound on random masks, and Inf-FS as a sum over paths."""

import copy

import numpy as np
import pytest

import nn
from nn.gradcheck import relative_error
from nn.recording import record
from pruning import filters, surgery
from pruning.scores import nisp

SHAPE = (2, 6, 5)


def mlp(rng, activation=nn.ReLU):
    net = nn.models.mlp((4, 6, 5, 3), rng, activation=activation)
    for layer in net.layers:
        if isinstance(layer, nn.Linear):
            layer.b.data = rng.standard_normal(layer.b.shape)
    return net


def conv_net(rng):
    """Every kind of layer that has a rule, and where each adds something to lose: strides, padding, groups, overlap."""
    body = nn.Sequential(nn.Conv2d(4, 4, 3, rng, padding=1), nn.BatchNorm(4), nn.Softplus())
    concat = nn.Concat(nn.Conv2d(4, 2, 1, rng, groups=2), nn.Sequential(nn.Select([0, 3], 4), nn.Tanh()))
    layers = [nn.Conv2d(2, 4, 3, rng, padding=1), nn.BatchNorm(4), nn.ReLU(), nn.MaxPool2d(3, 2, padding=1)]
    layers += [nn.Residual(body), concat, nn.AvgPool2d(2, 1, padding=1, count_padding=False), nn.Dropout(0.3, rng)]
    layers += [nn.Residual(nn.Conv2d(4, 6, 1, rng, stride=2), nn.ZeroPadShortcut(2, 2)), nn.Subsampling(6, 2, rng)]
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(6, 5, rng), nn.Sigmoid(), nn.Linear(5, 3, rng)).eval()
    for layer in net.modules():
        for parameter in vars(layer).values():
            if isinstance(parameter, nn.Parameter) and len(parameter.shape) == 1:
                parameter.data = rng.standard_normal(parameter.shape)
        if isinstance(layer, nn.BatchNorm):
            layer.running_mean, layer.running_variance = rng.standard_normal(4), rng.uniform(0.1, 3, 4)
    return net


def dense(layer, shape):
    """The matrix of a layer that is linear but for a constant, (outputs, inputs), column by column."""
    inputs = np.eye(int(np.prod(shape))).reshape(*shape, -1)
    y = layer.forward(inputs) - layer.forward(0 * inputs)
    return y.reshape(-1, inputs.shape[-1])


def windows(pool, shape):
    """The 0/1 matrix of which pixel is in which window, without any pool of nn."""
    (kh, kw), (sh, sw) = pool.geometry.kernel, pool.geometry.stride
    (top, _), (left, _) = pool.geometry.padding
    C, H, W = shape
    _, OH, OW = pool.output_shape(shape)
    found = np.zeros((C, OH, OW, C, H, W))
    for c, i, j, k, m in np.ndindex(C, OH, OW, kh, kw):
        h, w = i * sh + k - top, j * sw + m - left
        if 0 <= h < H and 0 <= w < W:
            found[c, i, j, c, h, w] = 1
    return found.reshape(C * OH * OW, -1)


@pytest.mark.parametrize("seed", range(5))
def test_nisp_is_the_product_of_absolute_weights_of_an_mlp(seed):
    rng = np.random.default_rng(seed)
    net, final = mlp(rng), rng.uniform(0, 1, 3)
    found = nisp.saliency(net, final, (4,))
    one, two, three = (layer.W.data for layer in net.layers if isinstance(layer, nn.Linear))
    assert one.shape == (6, 4)
    names = ["1.W", "3.W", "5.W"]
    expected = dict(zip(names, [np.abs(two).T @ np.abs(three).T @ final, np.abs(three).T @ final, final]))
    assert list(found) == names
    assert all(relative_error(found[name], expected[name]) < 1e-12 for name in names)


@pytest.mark.parametrize("seed", range(3))
def test_nisp_of_convolutions_is_the_product_of_dense_absolute_matrices(seed):
    rng = np.random.default_rng(seed)
    net, final, shapes = conv_net(rng), rng.uniform(0, 1, 3), [SHAPE]
    for layer in net.layers:
        shapes.append(layer.output_shape(shapes[-1]))
    plain = {id(layer): np.abs(dense(layer, shape)) for layer, shape in zip(net.layers, shapes) if not _special(layer)}
    s, expected = final, {}
    for place in reversed(range(len(net.layers))):
        layer, shape = net.layers[place], shapes[place]
        expected[place] = s.reshape(shapes[place + 1][0], -1).sum(1)
        if isinstance(layer, nn.MaxPool2d):
            s = windows(layer, shape).T @ s
        elif isinstance(layer, nn.Residual):
            body = layer.body.layers[:2] if isinstance(layer.body, nn.Sequential) else [layer.body]
            by_shortcut = s if layer.shortcut is None else np.abs(dense(layer.shortcut, shape)).T @ s
            back = s
            for each in reversed(body):
                size = body[0].output_shape(shape) if each is not body[0] else shape
                back = np.abs(dense(each, size)).T @ back
            s = back + by_shortcut
        elif isinstance(layer, nn.Concat):
            ends = [layer.branches[0], layer.branches[1].layers[0]]
            split = len(s) // 2
            s = sum(np.abs(dense(end, shape)).T @ part for end, part in zip(ends, (s[:split], s[split:])))
        elif not isinstance(layer, nn.Activation):
            s = plain[id(layer)].T @ s
    found = nisp.saliency(net, final, SHAPE)
    for name, place in (("0.W", 2), ("11.W", 12), ("13.W", 13)):
        assert relative_error(found[name], expected[place]) < 1e-12, name
    assert relative_error(found["8.body.W"], expected[8]) < 1e-12
    assert relative_error(found["4.body.0.W"], expected[4]) < 1e-12


def _special(layer):
    return isinstance(layer, nn.MaxPool2d | nn.Residual | nn.Concat | nn.Activation)


@pytest.mark.parametrize("kind", ["mlp", "convolutions"])
def test_its_bound_is_never_broken_by_random_masks(kind):
    """1,000 draws: sum_k s_k |F_k(z) - F_k(mask z)| <= sum_i s_i |z_i - mask_i z_i|, position by position."""
    tightest = 0.0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        net, shape = (mlp(rng), (4,)) if kind == "mlp" else (conv_net(rng), SHAPE)
        final, front, back = rng.uniform(0, 1, 3), nn.Sequential(*net.layers[:3]), nn.Sequential(*net.layers[3:])
        z = front.forward(rng.standard_normal((*shape, 50)))
        sweep = nisp.Importance()
        back.forward(z[..., :1])
        (s,) = sweep.through(back, final[:, None])
        mask = rng.integers(0, 2, (z.shape[0], 50)).reshape(z.shape[0], *(1 for _ in z.shape[1:-1]), 50)
        change = final @ np.abs(back.forward(z) - back.forward(mask * z))
        allowed = (s * np.abs(z - mask * z)).reshape(-1, 50).sum(0)
        doubled = final @ np.abs(back.forward(z) - back.forward(np.abs(mask - 1) * z))
        rest = (s * np.abs(mask * z)).reshape(-1, 50).sum(0)
        assert (change <= allowed * (1 + 1e-12)).all() and (doubled <= rest * (1 + 1e-12)).all()
        tightest = max(tightest, float((change / np.maximum(allowed, 1e-300)).max()))
    assert tightest > 0.01, "a bound this loose would forgive every bug"


def test_a_factor_on_a_map_divides_its_score_and_leaves_the_net():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Linear(3, 4, rng), nn.BatchNorm(4), nn.ReLU(), nn.Linear(4, 2, rng)).eval()
    x, before = rng.standard_normal((3, 9)), nisp.saliency(net, np.ones(2), (3,), ["0.W"])["0.W"]
    y = net.forward(x)
    net.layers[1].gamma.data[0] *= 10
    net.layers[3].W.data[:, 0] /= 10
    np.testing.assert_allclose(net.forward(x), y, atol=1e-14)
    after = nisp.saliency(net, np.ones(2), (3,), ["0.W"])["0.W"]
    np.testing.assert_allclose(after, before * np.array([0.1, 1, 1, 1]), rtol=1e-14)


def test_the_responses_in_front_of_the_classifier_and_surgery():
    rng = np.random.default_rng(0)
    net = conv_net(rng)
    x = rng.standard_normal((*SHAPE, 20))
    with record(net, ["12"]) as seen:
        net.forward(x)
    final = nisp.infinite_ranking(seen["12"][0][1])

    def score(net, names):
        return nisp.saliency(nn.Sequential(*net.layers[:-1]), final, SHAPE, names)

    keep = filters.independent(net, {"11.W": 0.4}, score)
    assert keep == {"11.W": sorted(np.argsort(-final)[:3].tolist())}
    assert surgery.remove(net, keep).forward(x).shape == (3, 20)
    by_data = nisp.of_classifier(net, x, ["0.W", "11.W"])
    np.testing.assert_array_equal(by_data["11.W"], final)
    np.testing.assert_allclose(by_data["0.W"], score(net, ["0.W"])["0.W"], rtol=1e-12)
    share = filters.share_for_macs(net, ["0.W"], SHAPE, 0.8)
    assert 0 < share < 1 and 0 < len(filters.greedy(net, {"0.W": share}, score)["0.W"]) < 4


def test_the_net_stays_as_it_is():
    net = conv_net(np.random.default_rng(0)).train()
    before = copy.deepcopy(net)
    nisp.saliency(net, np.ones(3), SHAPE)
    assert net.training and all(parameter.grad is None for parameter in net.parameters())
    for kind in ("named_parameters", "named_buffers"):
        for (name, one), (_, other) in zip(getattr(net, kind)(), getattr(before, kind)()):
            np.testing.assert_array_equal(getattr(one, "data", one), getattr(other, "data", other), err_msg=name)


def test_infinite_ranking_is_the_sum_over_paths_of_every_length():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((5, 40)) * rng.uniform(0.5, 2, (5, 1))
    A[3] = 3.0  # constant: it varies with none, and not at all
    d = A.std(1) / A.std(1).max()
    ranks = np.argsort(np.argsort(A, axis=1), axis=1).astype(float)
    graph = np.zeros((5, 5))
    for i, j in np.ndindex(5, 5):
        rho = 0.0 if 3 in (i, j) else np.corrcoef(ranks[i], ranks[j])[0, 1]
        graph[i, j] = 0.5 * max(d[i], d[j]) + 0.5 * (1 - abs(rho))
    step, paths, total = 0.9 / np.abs(np.linalg.eigvals(graph)).max() * graph, np.eye(5), np.zeros((5, 5))
    for _ in range(600):
        paths = paths @ step
        total += paths
    assert relative_error(nisp.infinite_ranking(A), total.sum(1)) < 1e-12


def test_equal_responses_have_the_mean_of_their_ranks():
    same = np.array([[1.0, 1, 2, 3], [1, 1, 2, 3], [3, 3, 2, 1]])
    found = nisp.infinite_ranking(same)
    np.testing.assert_allclose(found, found[0])
    relabelled = nisp.infinite_ranking(same[:, [1, 0, 2, 3]])
    np.testing.assert_allclose(relabelled, found, rtol=1e-12)


def test_responses_that_are_no_features_of_a_classifier_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(TypeError, match="expected a Sequential, whose last layer is the classifier, got a Linear"):
        nisp.of_classifier(nn.Linear(2, 2, rng), np.ones((2, 5)))
    net = nn.Sequential(nn.Conv2d(1, 2, 3, rng), nn.ReLU())
    with pytest.raises(
        ValueError, match=r"expected features \(D, N\) in front of the last layer, got an array \(2, 2, 2"
    ):
        nisp.of_classifier(net, np.ones((1, 4, 4, 5)))


def test_bad_input_is_one_sentence():
    net = mlp(np.random.default_rng(0))
    for final, message in (
        (np.ones(4), r"a score for each response, shape \(3,\), got \(4,\)"),
        (-np.ones(3), "finite scores of 0 or more"),
        (np.full(3, np.nan), "finite scores of 0 or more"),
    ):
        with pytest.raises(ValueError, match=message):
            nisp.saliency(net, final, (4,))
    with pytest.raises(ValueError, match=r"expected weights of filters or units, 1\.W, .*; 2\.W is not"):
        nisp.saliency(net, np.ones(3), (4,), ["2.W"])

    class Own(nn.Module):
        def forward(self, x):
            return x

    with pytest.raises(ValueError, match="Own has no rule for importance"):
        nisp.saliency(nn.Sequential(nn.Linear(2, 3, np.random.default_rng(0)), Own()), np.ones(3), (2,))
    for responses in (np.ones(3), np.ones((3, 1)), np.full((3, 4), np.inf)):
        with pytest.raises(ValueError, match="expected finite responses"):
            nisp.infinite_ranking(responses)
    with pytest.raises(ValueError, match=r"a mixture and a decay between 0 and 1, got 0\.5 and 1"):
        nisp.infinite_ranking(np.ones((3, 4)), decay=1)
