"""The experiment `scaling_factors`: what is removed changes nothing, controls are of its size, killed runs go on."""

import json
from itertools import combinations

import numpy as np
import pytest

import nn
from pruning import surgery
from pruning.experiments import runner, scaling_factors, setup
from pruning.penalties import scaling_factors as penalty
from pruning.scores import filter_norm


def tiny(seed=0, validation=False):
    (spec,) = scaling_factors.specs("digits", [seed], "cpu", validation=validation)
    retraining = {**spec["retraining"], "epochs": 1}
    dense = {**spec["dense"], "epochs": 3, "images": 300, "milestones": [1, 2]}
    return {**spec, "strength": 0.55, "images": 300, "few": 50, "dense": dense, "retraining": retraining}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return runner.run_one("scaling_factors", tiny(), folder=tmp_path_factory.mktemp("nets"))


def without_time(record):
    return json.dumps({key: value for key, value in record.items() if key != "time"})


def test_the_blocks_at_zero_are_removed_and_no_output_changes(record):
    for found in record["selected"].values():
        names = list(record["dense"]["added"])
        assert found["removed"] == [name for name, s in zip(names, found["factors"][-1]) if s == 0]
        assert len(found["factors"]) == 3 == len(found["history"])
        assert found["removal"] == 0 and found["folding"] < 1e-5
    assert 1 <= len(record["selected"]["APG"]["removed"]) <= 5


def test_all_small_nets_have_as_many_blocks_and_filters_save_as_much(record):
    rows, added = {row["method"]: row for row in record["rows"]}, record["dense"]["added"]
    assert list(rows) == ["SSS", "same blocks", "chance", "smallest", "uniform", "slimming", "scratch"]
    least = rows["SSS"]["removed"]
    assert rows["same blocks"]["removed"] == rows["scratch"]["removed"] == least
    assert len(least) == len(rows["chance"]["removed"]) == len(rows["smallest"]["removed"]) == record["spec"]["blocks"]
    last = dict(zip(added, record["selected"]["APG"]["factors"][-1]))
    assert max(last[name] for name in least) <= min(value for name, value in last.items() if name not in least)
    assert max(added[name] for name in rows["smallest"]["removed"]) <= min(
        value for name, value in added.items() if name not in rows["smallest"]["removed"]
    )
    target = rows["SSS"]["conv_macs"]
    assert rows["same blocks"]["conv_macs"] == rows["scratch"]["conv_macs"] == target < record["dense"]["conv_macs"]
    assert "impossible" in rows["uniform"] or 0.8 * target < rows["uniform"]["conv_macs"] <= target
    assert rows["scratch"]["epochs"] == 4 and rows["SSS"]["cut"] != rows["same blocks"]["cut"]


def test_blocks_of_least_factor_and_of_those_at_zero_the_earliest():
    factors = [[0.9, 0.2, 0.9, -0.1, 0.3], [0.8, 0.0, 0.8, 0.0, -0.2], [0.7, 0.0, 0.0, 0.0, -0.3]]
    expected = {0: [], 1: ["d"], 2: ["b", "d"], 3: ["b", "c", "d"], 4: ["b", "c", "d", "e"]}
    assert {n: scaling_factors.of_least_factor("abcde", factors, n) for n in expected} == expected


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    assert without_time(record) == without_time(runner.run_one("scaling_factors", tiny()))


@pytest.mark.parametrize("steps", ["APG", "proximal"])
def test_a_run_that_was_killed_goes_on_to_the_bit(steps, tmp_path, monkeypatch):
    spec = tiny()
    whole, found = scaling_factors.selection(spec, steps)

    class Killed(Exception):
        pass

    # Steps of 64 in 300 images: killed in the second epoch, the last checkpoint is of the step before.
    train = nn.training.train
    monkeypatch.setattr(nn.training, "train", lambda *given, **named: train(*given, **{**named, "checkpoint_every": 1}))
    after_step = scaling_factors.Noted.after_step

    def killed(self, step):
        if step == 8:
            raise Killed
        after_step(self, step)

    with monkeypatch.context() as patch:
        patch.setattr(scaling_factors.Noted, "after_step", killed)
        with pytest.raises(Killed):
            scaling_factors.selection(spec, steps, folder=tmp_path)
    again, resumed = scaling_factors.selection(spec, steps, folder=tmp_path)
    assert resumed == found and len(found["factors"]) == 3
    for one, other in zip(whole.parameters(), again.parameters(), strict=True):
        np.testing.assert_array_equal(one.data, other.data)
    # Another strength begins anew.
    scaling_factors.selection({**spec, "strength": 0.0}, steps, folder=tmp_path)
    assert len(list(tmp_path.iterdir())) == 2


def test_only_the_other_weights_decay(monkeypatch):
    asked = []
    monkeypatch.setattr(setup, "fit", lambda net, optimizer, *rest: asked.append((net, optimizer)) or {"history": []})
    for steps in ("APG", "proximal"):
        scaling_factors.selection(tiny(), steps)
        net, optimizer = asked[-1]
        assert set(optimizer.decayed) == set(penalty.others(net)) and optimizer.weight_decay == 1e-3
        assert (set(penalty.factors(net).values()) <= set(optimizer.parameters)) == (steps == "proximal")


def small_net(seed=0):
    net = setup.MODELS["resnet14"](np.random.default_rng(seed), np.float64)
    return net, np.random.default_rng(1).random((1, 8, 8, 12))


def test_removal_in_double_precision_changes_no_bit_and_folding_hardly_any():
    net, x = small_net()
    net = penalty.with_block_factors(net)
    for name, s in penalty.factors(net).items():
        s.data = np.array([0.0 if name.startswith(("5", "7", "13")) else 0.7])
    small, found = scaling_factors.without_dead_blocks(net, x)
    assert found["removed"] == ["5", "7", "13"] and found["removal"] == 0 and found["folding"] < 1e-14
    np.testing.assert_allclose(small.eval().forward(x), net.eval().forward(x), rtol=1e-11)
    with pytest.raises(ValueError, match="this one has none"):
        penalty.factors(small)


def test_a_block_that_changes_the_shape_leaves_its_shortcut():
    net, x = small_net()
    assert scaling_factors.blocks(net) == ["3", "5", "7", "9", "11", "13"]
    y = surgery.remove_blocks(net, ["7"]).eval()
    for layer in y.layers[:7]:
        x = layer.forward(x)
    maps = y.layers[7].forward(x)
    np.testing.assert_array_equal(maps[:16], x[:, ::2, ::2])
    assert maps.shape == (32, 4, 4, 12) and not maps[16:].any()


def test_chance_takes_every_pair_of_blocks_as_often():
    net, _ = small_net()
    rng = np.random.default_rng(0)
    drawn = [tuple(scaling_factors.by_chance(net, 2, rng)) for _ in range(1500)]
    counts = [drawn.count(pair) for pair in combinations(scaling_factors.blocks(net), 2)]
    assert sum(counts) == 1500 and 60 < min(counts) and max(counts) < 140
    assert scaling_factors.by_chance(net, 0, rng) == []


def test_sizes_are_the_mean_norms_of_what_is_added_and_of_what_goes_past():
    net, x = small_net()
    found, now = scaling_factors.sizes(net, x), x
    net.eval()
    for number, layer in enumerate(net.layers[:15]):
        if isinstance(layer, nn.Residual):
            past = now if layer.shortcut is None else layer.shortcut.forward(now)
            norms = [[np.linalg.norm(y[..., n]) for n in range(12)] for y in (layer.body.forward(now), past)]
            assert found[str(number)] == pytest.approx(sum(norms[0]) / sum(norms[1]), rel=1e-10)
        now = layer.forward(now)
    assert list(found) == ["3", "5", "7", "9", "11", "13"]


def test_uniform_keeps_the_filters_of_largest_folded_norm_inside_the_blocks():
    net, _ = small_net()
    rng = np.random.default_rng(2)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm):
            module.gamma.data = rng.uniform(0.1, 2, module.gamma.shape)
    small = scaling_factors.uniform(net, "digits", 0.6)
    whole, left = (setup.costs(each, "digits")["conv_macs"] for each in (net, small))
    assert 0.5 < left / whole <= 0.6
    one = next(module for module in small.modules() if isinstance(module, nn.Residual)).body.layers[0]
    score = filter_norm.saliency(surgery.fold_batchnorm(net), ["3.body.0.W"])["3.body.0.W"]
    kept = sorted(np.argsort(-score)[: len(one.W.data)])
    np.testing.assert_array_equal(one.W.data, net.layers[3].body.layers[0].W.data[kept])


def test_the_table_and_the_figures(record, tmp_path):
    text = scaling_factors.table(record)
    assert text.count("\n") == 1 + 2 + 7
    assert f"{record['selected']['APG']['cut']['test_accuracy']:.2%}" in text
    paths = scaling_factors.draw([record, record], tmp_path)
    assert all(path.read_bytes().startswith(b"\x89PNG") for path in paths) and len(paths) == 2


def test_filters_that_cannot_save_as_much_are_in_the_record(record, tmp_path):
    changed = {**record, "rows": [{"method": "uniform", "impossible": "the fewest filters ..."}]}
    assert "uniform        the fewest filters" in scaling_factors.table(changed)
    assert len(scaling_factors.draw([changed], tmp_path)) == 2


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match=r"expected one of --data digits --model resnet14, .*; got --data usps"):
        scaling_factors.specs("usps", [0], "cpu")
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        scaling_factors.specs("cifar10-16", [-1], "cpu")
