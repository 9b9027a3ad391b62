"""The experiment `parameter_efficiency`: equal prices, guides that are others, new weights with one recipe."""

import json
from fractions import Fraction

import numpy as np
import pytest

from pruning import masks
from pruning.experiments import parameter_efficiency, runner, setup
from pruning.masks import prunable


def tiny(seed=0, validation=False, **changes):
    (spec,) = parameter_efficiency.specs("digits", [seed], "cpu", validation=validation)
    dense = {**spec["dense"], "epochs": 1, "images": 300}
    return {**spec, "dense": dense, "images": 300, "shares": [0.5, 0.25], **changes}


@pytest.fixture(scope="module")
def record():
    return runner.run_one("parameter_efficiency", tiny())


def rows(record, **wanted):
    return [row for row in record["rows"] if all(row.get(name) == value for name, value in wanted.items())]


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("parameter_efficiency", tiny())
    assert json.dumps({**again, "time": None}) == json.dumps({**record, "time": None})


def test_no_net_guides_itself_and_no_guide_is_shared():
    for data, seeds in (("digits", range(5)), ("cifar10-16", range(3))):
        cells = parameter_efficiency.specs(data, list(seeds), "cpu")
        guides = [guide for cell in cells for guide in cell["guides"]]
        assert len(set(guides)) == len(guides) == 2 * len(cells)
        assert not set(guides) & {cell["seed"] for cell in cells}
        assert all(cell["dense"]["images"] == cell["images"] for cell in cells)


def test_no_net_is_dearer_than_the_uniform_one_and_stages_of_guided_ones_are_uniform(record):
    of = np.array([16, 16, 32, 32, 64, 64])
    for share in (0.5, 0.25):
        (uniform,) = rows(record, share=share, family="uniform")
        assert uniform["widths"] == (of * share).astype(int).tolist()
        assert uniform["left"] == uniform["weights"] and "price" not in uniform
        for price in ("weights", "macs"):
            for family in ("pruned", "guided"):
                (row,) = rows(record, share=share, family=family, price=price)
                assert 0.85 * uniform[price] < row[price] <= uniform[price]
                a, b, c, d, e, f = row["widths"]
                c_in = [1, a, b, c, d, e]
                maps = [64, 64, 16, 16, 4, 4]
                weights = [9 * n * m for n, m in zip(row["widths"], c_in)]
                assert row["weights"] == sum(weights) + 10 * f
                assert row["macs"] == sum(n * m for n, m in zip(weights, maps)) + 10 * f
                if family == "guided":
                    assert (a, c, e) == (b, d, f)
    assert len(rows(record)) == 2 * (1 + 2 * 2) + 2 * 3


def widths(spec):
    net, _ = setup.dense_net(spec["dense"])
    found = list(parameter_efficiency._widths(net, spec, None, None))
    for row, small in found:
        assert row["widths"] == [W.shape[0] for W in prunable(small, setup.free(small)).values()]
    return {(row["family"], row.get("price")): row["widths"] for row, _ in found}


@pytest.mark.slow
def test_guided_widths_come_from_the_guides_and_pruned_ones_from_the_own_seed():
    """Two epochs, so that the scales of different seeds differ by more than rounding."""

    def spec(seed, guides):
        cell = tiny(seed, guides=guides, shares=[0.5])
        return {**cell, "dense": {**cell["dense"], "epochs": 2}}

    one, other = widths(spec(0, [7, 8])), widths(spec(1, [7, 8]))
    assert one["guided", "weights"] == other["guided", "weights"] and one["guided", "macs"] == other["guided", "macs"]
    assert one["pruned", "weights"] != other["pruned", "weights"]
    third = widths(spec(0, [0, 0]))  # its own guide, which no specification has: averages of its own widths
    assert third["pruned", "weights"] == one["pruned", "weights"]
    assert third["uniform", None] == one["uniform", None] and third["guided", "weights"] != one["guided", "weights"]


def test_averages_of_stages_by_hand():
    of, stages = {"a": 16, "b": 16, "c": 32}, {"a": 1, "b": 1, "c": 2}
    several = [{"a": 3, "b": 8, "c": 32}, {"a": 5, "b": 1, "c": 7}]
    assert parameter_efficiency.averages(several, of, stages) == {1: Fraction(17, 64), 2: Fraction(39, 64)}


def test_means_of_patterns_by_loops():
    rng, stages = np.random.default_rng(0), {"a": 1, "b": 1}
    several = [{"a": rng.integers(0, 2, (2, 1, 3, 3)), "b": rng.integers(0, 2, (3, 2, 3, 3))} for _ in range(2)]
    (P,) = parameter_efficiency.means(several, stages).values()
    for i, j in np.ndindex(3, 3):
        alive = [
            mask[o, c, i, j] for found in several for mask in found.values() for o, c in np.ndindex(mask.shape[:2])
        ]
        assert P[i, j] == pytest.approx(sum(alive) / 16, abs=1e-15)


def test_masks_of_one_size_and_the_patterns_of_other_seeds(record):
    of = [144, 2304, 4608, 9216, 18432, 36864]
    for share in (0.9, 0.95):
        found = {row["family"]: row for row in rows(record, sparsity=share)}
        assert list(found) == ["uniform", "pruned", "guided"]
        left = round(sum(of) * (1 - share)) + 640
        assert found["uniform"]["left"] == sum(n - round(share * n) for n in of) + 640
        assert abs(found["pruned"]["left"] - left) <= 1 and abs(found["guided"]["left"] - left) <= 0.5 * 9 * 6
        spec = tiny()
        guides = [setup.dense_net({**spec["dense"], "seed": seed})[0] for seed in spec["guides"]]
        P = {}
        for net in guides:
            scores = np.concatenate([abs(W.data).ravel() for W in prunable(net, setup.free(net)).values()])
            least = np.sort(scores)[round(share * scores.size)]
            for stage, names in enumerate(np.reshape(setup.free(net), (3, 2)), 1):
                kernels = np.concatenate([dict(net.named_parameters())[n].data.reshape(-1, 3, 3) for n in names])
                P.setdefault(stage, []).append((abs(kernels) >= least).mean(axis=0))
        for stage, each in P.items():
            kernels = (16 + 256, 512 + 1024, 2048 + 4096)[stage - 1]
            assert abs(np.mean(each, axis=0) - found["guided"]["patterns"][f"{stage}"]).max() <= 1 / kernels + 1e-6


def test_all_train_from_new_weights_and_with_the_recipe_of_the_dense_net(monkeypatch):
    seen, retrained = [], setup.retrained
    spec = tiny(shares=[0.5], sparsities=[0.9])

    def noted(net, given, part, test):
        seen.append((net, given["retraining"], part[1].shape[0], test[1].shape[0]))
        return retrained(net, given, part, test)

    monkeypatch.setattr(setup, "retrained", noted)
    record = parameter_efficiency.run_cell(spec)
    assert len(seen) == len(record["rows"]) == 5 + 3
    recipe = {"learning_rate": 0.05, "momentum": 0.9, "weight_decay": 1e-3, "batch_size": 64, "epochs": 1}
    assert all(tuple(each) == (recipe, 300, 360) for _, *each in seen)
    dense, _ = setup.dense_net(spec["dense"])
    for net, *_ in seen:
        for name, W in prunable(net, setup.free(net)).items():
            old = dict(dense.named_parameters())[name].data[: W.shape[0], : W.shape[1]]
            alive = np.ones(W.shape, bool) if W.mask is None else W.mask == 1
            assert not np.any(W.data[alive] == old[alive]) and not np.any(W.data[~alive])
            n = alive.sum() / W.shape[0]  # He's variance, of the weights that are left
            if alive.sum() > 1000:
                assert np.var(W.data[alive]) == pytest.approx(2 / n, rel=0.2)


def test_masks_stay_through_the_training():
    spec = tiny(sparsities=[0.95])
    net, _ = setup.dense_net(spec["dense"])
    part, test = setup.shared_parts(spec, None)
    recipe = {**{name: spec["dense"][name] for name in ("learning_rate", "momentum", "weight_decay")}, "batch_size": 64}
    for row, masked in parameter_efficiency._masks(net, spec, None, None):
        before = masks.counts(masked)[0]
        setup.retrain(masked, {**spec, "retraining": recipe}, 1, part, test, np.random.default_rng(0))
        left = sum(int((W.data != 0).sum()) for W in prunable(masked).values())
        assert left == before == masks.counts(masked)[0], row["family"]


def test_figures_and_table(record, tmp_path):
    paths = parameter_efficiency.draw([{"spec": tiny(), **record}], tmp_path)
    assert len(paths) == 2 and all(path.exists() for path in paths)
    text = parameter_efficiency.table({"spec": tiny(), **record})
    assert len(text.splitlines()) == 1 + len(record["rows"]) and "as many weights" in text


def test_held_out_images_decide_with_validation():
    (spec,) = parameter_efficiency.specs("digits", [3], "cpu", validation=True)
    assert spec["validation"] and spec["dense"]["validation"] is False


def test_an_unknown_model_and_a_negative_seed_are_refused():
    with pytest.raises(ValueError, match="expected one of --data digits --model conv6"):
        parameter_efficiency.specs("digits", [0], "cpu", "lenet5")
    with pytest.raises(ValueError, match="seed"):
        parameter_efficiency.specs("digits", [-1], "cpu")
