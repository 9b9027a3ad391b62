"""Moments in front of a layer, against plain sums over samples."""

import numpy as np
import pytest

import nn
from pruning import surgery
from pruning.reconstruction import lasso_channels, moments, refitted, rescaled, thinet


def chain(rng, dtype=np.float64):
    return nn.Sequential(
        nn.Conv2d(2, 5, 3, rng, dtype=dtype),
        nn.ReLU(),
        nn.Conv2d(5, 4, 3, rng, stride=2, padding=1, dtype=dtype),
        nn.ReLU(),
        nn.Conv2d(4, 3, 1, rng, dtype=dtype),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(48, 6, rng, dtype=dtype),
        nn.ReLU(),
        nn.Linear(6, 3, rng, dtype=dtype),
    )


def concatenated(rng):
    branches = nn.Concat(nn.Conv2d(2, 3, 1, rng), nn.Conv2d(2, 2, 3, rng, padding=1))
    return nn.Sequential(branches, nn.ReLU(), nn.Conv2d(5, 4, 3, rng, padding=1))


def residual(rng):
    body = nn.Sequential(nn.Conv2d(4, 3, 3, rng, padding=1), nn.ReLU(), nn.Conv2d(3, 4, 3, rng, padding=1))
    return nn.Sequential(nn.Conv2d(2, 4, 3, rng, padding=1), nn.ReLU(), nn.Residual(body), nn.ReLU())


CASES = {  # how the net is made, the weight, its channels
    "stride and padding": (chain, "2.W", 5),
    "one by one": (chain, "4.W", 4),
    "behind a flatten": (chain, "7.W", 3),
    "affine": (chain, "9.W", 6),
    "behind a concatenation": (concatenated, "2.W", 5),
    "first of a block": (residual, "2.body.0.W", 4),
    "last of a block": (residual, "2.body.2.W", 3),
}


def damaged(net, rng):
    """A copy in which every weight has moved, so that each layer reads something else than in the dense net."""
    other = surgery.duplicate(net)
    for parameter in other.parameters():
        parameter.data = parameter.data + 0.1 * rng.standard_normal(parameter.shape)
    return other


def read(net, name, x):
    """What the layer reads, (places, K) with columns by channel, in loops over images and places."""
    path, layer = name.removesuffix(".W"), dict(net.named_modules())[name.removesuffix(".W")]
    with nn.recording.record(net, [path]) as seen:
        net.forward(x)
    ((signal, out),) = seen[path]
    if isinstance(layer, nn.Linear):
        return signal.T, out.T - (0 if layer.b is None else layer.b.data)
    (KH, KW), (SH, SW), (top, left) = (
        layer.geometry.kernel,
        layer.geometry.stride,
        (p[0] for p in layer.geometry.padding),
    )
    padded = np.pad(signal, ((0, 0), *layer.geometry.padding, (0, 0)))
    assert (top, left) == tuple(p[1] for p in layer.geometry.padding)
    rows, outs = [], []
    for i in range(out.shape[1]):
        for j in range(out.shape[2]):
            for n in range(x.shape[-1]):
                rows.append(padded[:, i * SH : i * SH + KH, j * SW : j * SW + KW, n].ravel())
                outs.append(out[:, i, j, n] - (0 if layer.b is None else layer.b.data))
    return np.array(rows), np.array(outs)


@pytest.fixture(params=CASES)
def case(request):
    """A dense net, the net as it is now, the weight, and plain rows x, Z (channel by channel) and Y."""
    make, name, channels = CASES[request.param]
    rng = np.random.default_rng(3)
    dense = make(rng)
    net, x = damaged(dense, rng), rng.standard_normal((2, 9 if make is chain else 5, 9 if make is chain else 5, 7))
    rows, _ = read(net, name, x)
    rows0, Y = read(dense, name, x)
    if name == "2.body.2.W":  # the shortcut's part of the sum, which the body has to make up for
        with nn.recording.record(net, ["2"]) as seen, nn.recording.record(dense, ["2"]) as before:
            net.forward(x), dense.forward(x)
        Y = Y + np.moveaxis(before["2"][0][0] - seen["2"][0][0], 0, -1).reshape(-1, 4)
    W = dict(net.named_parameters())[name].data
    W = W.reshape(len(W), channels, -1)
    Z = np.stack([rows.reshape(len(rows), channels, -1)[:, i] @ W[:, i].T for i in range(channels)])
    return dense, net, name, x, rows, rows0, Z, Y


def test_moments_are_means_over_images_and_places(case):
    dense, net, name, x, rows, rows0, Z, Y = case
    found = moments.collect(net, name, x, dense)
    M = len(rows)
    assert (found.channels, found.count, found.name) == (len(Z), M, name)
    for ours, plain in (
        (found.A, rows.T @ rows / M),
        (found.B, rows.T @ rows0 / M),
        (found.C, Y.T @ rows / M),
        (found.energy, np.sum(Y * Y) / M),
        (found.G, np.einsum("imo,jmo->ij", Z, Z) / M),
        (found.q, np.einsum("imo,mo->i", Z, Y) / M),
    ):
        assert np.linalg.norm(ours - plain) <= 1e-10 * np.linalg.norm(plain)


def test_how_the_data_are_cut_changes_nothing(case, monkeypatch):
    dense, net, name, x, *_ = case
    whole = moments.collect(net, name, x, dense, batch_size=7)
    monkeypatch.setattr(moments, "BLOCK", 1)
    cut = moments.collect(net, name, x, dense, batch_size=2)
    for field in ("A", "B", "C", "G", "q", "energy"):
        np.testing.assert_allclose(getattr(cut, field), getattr(whole, field), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("kept", [[0, 2], [1], [0, 1, 2]])
def test_three_errors_are_those_of_outputs(case, kept):
    dense, net, name, x, rows, _, Z, Y = case
    found = moments.collect(net, name, x, dense)
    columns = found.columns(kept)
    beta = np.linalg.lstsq(np.stack([Z[i].ravel() for i in kept], axis=1), Y.ravel(), rcond=None)[0]
    refit = rows[:, columns] @ np.linalg.lstsq(rows[:, columns], Y, rcond=None)[0]
    plain = [
        np.sum((Y - sum(Z[i] for i in kept)) ** 2),
        np.sum((Y - sum(b * Z[i] for b, i in zip(beta, kept))) ** 2),
        np.sum((Y - refit) ** 2),
    ]
    ours = [found.selection_error(kept), found.scaling_error(kept), found.refit_error(kept)]
    np.testing.assert_allclose(ours, np.array(plain) / len(rows), atol=1e-10 * found.energy)
    assert ours[2] <= ours[1] + 1e-12 and ours[1] <= ours[0] + 1e-12
    np.testing.assert_allclose(found.factors(kept), beta, rtol=1e-8)
    # And once more of nets that really compute them; the target of a block's last layer is more than its own output.
    if name != "2.body.2.W":
        for new, error in ((rescaled(net, name, kept, found), ours[1]), (refitted(net, name, kept, found), ours[2])):
            got = np.sum((read(new, name, x)[1] - Y) ** 2) / len(rows)
            assert got == pytest.approx(error, abs=1e-10 * found.energy)


def test_the_net_itself_is_the_target_if_no_other_is_named(case):
    _, net, name, x, *_ = case
    found = moments.collect(net, name, x)
    np.testing.assert_array_equal(found.A, found.B)
    np.testing.assert_allclose(found.q, found.G.sum(axis=1), rtol=1e-10)
    everything = range(found.channels)
    assert abs(found.selection_error(everything)) <= 1e-12 * found.energy
    same = refitted(net, name, everything, found)
    before = dict(net.named_parameters())[name].data
    if name not in ("7.W", "9.W"):  # of 7 samples alone: other weights compute the same
        np.testing.assert_allclose(dict(same.named_parameters())[name].data, before, atol=1e-10)
    np.testing.assert_allclose(same.forward(x), net.forward(x), atol=1e-10)


def test_other_weights_read_the_same_and_keep_the_target(case):
    dense, net, name, x, rows, _, Z, Y = case
    found = moments.collect(net, name, x, dense)
    W = np.random.default_rng(8).standard_normal(found.W.shape)
    other = found.with_weights(W)
    parts = W.reshape(len(W), len(Z), -1), rows.reshape(len(rows), len(Z), -1)
    Z = np.stack([parts[1][:, i] @ parts[0][:, i].T for i in range(len(Z))])
    np.testing.assert_allclose(other.G, np.einsum("imo,jmo->ij", Z, Z) / len(rows), rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(other.q, np.einsum("imo,mo->i", Z, Y) / len(rows), rtol=1e-8, atol=1e-10)
    assert other.energy == found.energy and np.all(other.C == found.C)


def test_a_small_net_computes_what_the_refitted_one_does():
    rng = np.random.default_rng(0)
    net = chain(rng)
    x = rng.standard_normal((2, 9, 9, 20))
    for name, producer, kept in (("2.W", "0.W", [0, 3]), ("4.W", "2.W", [1, 2]), ("7.W", "4.W", [0, 2])):
        found = moments.collect(net, name, x)
        for make in (refitted, rescaled):
            new = make(net, name, kept, found)
            small = surgery.remove(new, {producer: kept})
            np.testing.assert_allclose(small.forward(x), new.forward(x), atol=1e-12)


def test_a_float32_net_is_summed_in_float64_and_refitted_in_float32():
    rng = np.random.default_rng(0)
    net = chain(rng, np.float32)
    x = rng.standard_normal((2, 9, 9, 20)).astype(np.float32)
    found = moments.collect(net, "2.W", x)
    rows, _ = read(net, "2.W", x)
    np.testing.assert_allclose(found.A, rows.T.astype(float) @ rows.astype(float) / len(rows), rtol=1e-12, atol=1e-15)
    assert dict(refitted(net, "2.W", [0, 1], found).named_parameters())["2.W"].data.dtype == np.float32


def test_nothing_of_the_net_changes_and_eval_mode_is_used():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, rng), nn.BatchNorm(4), nn.ReLU(), nn.Conv2d(4, 3, 3, rng))
    net.forward(rng.standard_normal((2, 6, 6, 9)))
    before = {name: array.copy() for name, array in net.named_buffers()}
    x = 3 + rng.standard_normal((2, 6, 6, 9))
    found = moments.collect(net, "3.W", x)
    assert net.training
    for name, array in net.named_buffers():
        np.testing.assert_array_equal(array, before[name])
    rows, _ = read(net.eval() or net, "3.W", x)
    np.testing.assert_allclose(found.A, rows.T @ rows / len(rows), rtol=1e-10)


def test_sampled_places_are_drawn_from_each_image_and_repeat():
    rng = np.random.default_rng(0)
    net, x = chain(rng), rng.standard_normal((2, 9, 9, 200))
    whole = moments.collect(net, "2.W", x)
    some = [moments.collect(net, "2.W", x, positions=8, rng=np.random.default_rng(seed)) for seed in (1, 1, 2)]
    assert some[0].count == 8 * 200
    np.testing.assert_array_equal(some[0].A, some[1].A)
    assert np.any(some[0].A != some[2].A)
    assert np.linalg.norm(some[0].A - whole.A) < 0.2 * np.linalg.norm(whole.A)
    one = np.zeros((2, 9, 9, 200))  # images of one kind: each of the two halves has moments of its own
    one[..., 100:] = 1
    halves = moments.collect(net, "2.W", one, positions=3, rng=np.random.default_rng(0), batch_size=100)
    both = moments.collect(net, "2.W", one, positions=3, rng=np.random.default_rng(0), batch_size=200)
    assert np.all(np.isfinite(halves.A)) and halves.count == both.count == 600


def test_a_dead_channel_costs_nothing_and_is_left_out():
    rng = np.random.default_rng(0)
    net = chain(rng)
    net.layers[0].W.data[1], net.layers[0].b.data[1] = 0, -1  # behind the ReLU always 0
    x = rng.standard_normal((2, 9, 9, 20))
    found = moments.collect(net, "2.W", x)
    others = [0, 2, 3, 4]
    for error in (found.selection_error, found.scaling_error, found.refit_error):
        assert abs(error(others)) <= 1e-12 * found.energy
    new = refitted(net, "2.W", range(5), found)
    assert np.all(np.isfinite(new.layers[2].W.data)) and abs(new.layers[2].W.data[:, 1]).max() <= 1e-14
    np.testing.assert_allclose(new.forward(x), net.forward(x), atol=1e-10)
    assert 1 not in thinet.choose(found, 4) and 1 not in lasso_channels.choose(found, 4)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_bad_input_is_refused_in_one_sentence():
    rng = np.random.default_rng(0)
    net, x = chain(rng), rng.standard_normal((2, 9, 9, 4))
    grouped = nn.Sequential(nn.Conv2d(2, 4, 1, rng), nn.Conv2d(4, 4, 1, rng, groups=2))
    few = nn.Sequential(nn.Conv2d(2, 4, 1, rng), nn.Conv2d(4, 4, 1, rng, columns=[0, 2]))
    body = nn.Sequential(nn.Conv2d(2, 2, 1, rng), nn.Conv2d(2, 2, 1, rng), nn.BatchNorm(2))
    normed = nn.Sequential(nn.Conv2d(2, 2, 1, rng), nn.Residual(body))
    moved = damaged(normed, rng)
    wider = nn.Sequential(nn.Conv2d(2, 6, 3, rng), nn.ReLU(), nn.Conv2d(6, 4, 3, rng, stride=2, padding=1))
    other = nn.Sequential(nn.Conv2d(2, 5, 3, rng), nn.ReLU(), nn.Conv2d(5, 4, 3, rng, stride=2, padding=1))
    infinite = surgery.duplicate(net)
    infinite.layers[0].b.data[2] = np.inf
    found = moments.collect(net, "2.W", x)
    for sentence, call in (
        ("0.W reads the image", lambda: moments.collect(net, "0.W", x)),
        ("a convolution or an affine layer, 0.W, .*; got '3.W'", lambda: moments.collect(net, "3.W", x)),
        ("1.W has 2 groups", lambda: moments.collect(grouped, "1.W", x)),
        ("1.W has columns left out", lambda: moments.collect(few, "1.W", x)),
        ("1.body.1.W and the sum of 1 stands a BatchNorm", lambda: moments.collect(normed, "1.body.1.W", x, moved)),
        ("expected 6 channels in front of 2.W of the dense net too", lambda: moments.collect(wider, "2.W", x, other)),
        ("expected rng=", lambda: moments.collect(net, "2.W", x, positions=2)),
        ("expected finite signals in front of 2.W", lambda: moments.collect(infinite, "2.W", x)),
        ("expected finite inputs", lambda: moments.collect(net, "2.W", x * np.nan)),
        ("expected to keep 1 to 5 channels in front of 2.W, got 6", lambda: thinet.choose(found, 6)),
        ("whole number of channels of at least 1, got 0", lambda: lasso_channels.choose(found, 0)),
        ("expected different channels below 5 in front of 2.W", lambda: found.refit([0, 0])),
        ("expected different channels below 5 in front of 2.W", lambda: found.refit([5])),
        ("expected the moments in front of 4.W", lambda: refitted(net, "4.W", [0], found)),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=sentence) as raised:
            call()
        assert "\n" not in str(raised.value)
    with pytest.raises(TypeError, match="net"):
        moments.collect(3, "2.W", x)
