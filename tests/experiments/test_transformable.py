"""The experiment `transformable`: widths of one cost, equal beginnings, a teacher that is the same for all, figures."""

import json

import numpy as np
import pytest

import nn
from pruning.experiments import record_file, runner, setup, transformable


def tiny(seed=0, **changes):
    (spec,) = transformable.specs("digits", [seed], "cpu")
    search = {**spec["search"], "epochs": 3, "tolerance": 0.25, "logits": 0.3}
    return {**spec, "images": 400, "widths": [8, 8, 10], "epochs": 2, "search": search, "nearest": 5, **changes}


@pytest.fixture(scope="module")
def record(tmp_path_factory):
    return runner.run_one("transformable", tiny(), folder=tmp_path_factory.mktemp("nets"))


def test_a_cell_is_a_pure_function_of_its_specification(record):
    again = runner.run_one("transformable", tiny())
    assert json.dumps({**again, "time": None}) == json.dumps({**record, "time": None})


def test_what_was_found_is_in_the_band_and_the_others_are_near_it(record):
    search, rows = record["search"], {row["kind"]: row for row in record["rows"]}
    assert list(rows) == ["search", "uniform", "random"]
    assert 0.25 <= search["macs"] / search["most"] <= 0.5 and search["most"] == record["teacher"]["macs"]
    assert rows["search"]["widths"] == list(search["widths"].values()) and rows["search"]["macs"] == search["macs"]
    for row in rows.values():
        assert row["macs"] == transformable.macs(row["widths"])
        assert abs(row["macs"] / search["macs"] - 1) < 0.3  # of nets of a few channels
    assert rows["random"]["widths"] != rows["search"]["widths"]
    assert len(search["history"]) == 3 and set(search["last"]) == set(search["widths"])


def test_hits_and_accuracies_are_those_of_one_net(record):
    for row in record["rows"]:
        for name in ("plain", "distilled"):
            hits = record_file.unpacked(row[name]["hits"], 360)
            assert hits.mean() == row[name]["test_accuracy"] and np.isfinite(row[name]["test_loss"])
        assert row["plain"]["test_loss"] != row["distilled"]["test_loss"]


def test_nets_of_equal_widths_begin_equal_and_the_teacher_is_left_alone():
    spec = tiny()
    part, test = setup.parts(spec, None)
    one, other, teacher = (transformable.fresh(spec, [4, 4, 5]) for _ in range(3))
    before = [u.data.copy() for u in teacher.parameters()]
    first = transformable.trained(one, spec, part, test, None)
    assert first == transformable.trained(other, spec, part, test, None)
    transformable.trained(transformable.fresh(spec, [4, 4, 5]), spec, part, test, teacher)
    assert all(np.array_equal(u.data, old) for u, old in zip(teacher.parameters(), before)) and teacher.training


def test_without_the_teachers_share_distillation_is_plain_training():
    spec = tiny(distillation={"temperature": 4.0, "alpha": 0.0})
    part, test = setup.parts(spec, None)
    plain, taught = (transformable.fresh(spec, [4, 4, 5]) for _ in range(2))
    one = transformable.trained(plain, spec, part, test, None)
    other = transformable.trained(taught, spec, part, test, transformable.fresh(spec, [8, 8, 10]))
    assert other["test_loss"] == pytest.approx(one["test_loss"], rel=1e-3)


def test_uniform_and_random_widths_are_the_nearest_in_macs():
    widths = transformable.RECIPE["widths"]
    goal = transformable.macs([28, 16, 64])
    same = transformable.uniform(widths, goal)
    assert same == [22, 22, 44] and abs(transformable.macs(same) / goal - 1) < 0.05
    candidates = [[a, b, 64] for a in (9, 16, 28) for b in (9, 16, 28)]
    rng = np.random.default_rng(0)
    drawn = {tuple(transformable.at_random(candidates, [28, 16, 64], goal, 2, rng)) for _ in range(30)}
    by_distance = sorted(candidates, key=lambda each: abs(transformable.macs(each) - goal))
    assert by_distance[0] == [28, 16, 64] and drawn == {tuple(each) for each in by_distance[1:3]}


def test_the_net_that_is_searched_has_a_mix_in_the_place_of_each_batch_norm():
    spec = {**tiny(), "widths": [32, 32, 64]}
    net = transformable.transformable(spec)
    assert [name for name, layer in net.named_modules() if hasattr(layer, "hardened")] == ["1", "4", "8"]
    plain = transformable.fresh(spec, [32, 32, 64])
    np.testing.assert_array_equal(net.layers[3].W.data, plain.layers[3].W.data)
    seeds = [repr(layer.rng.bit_generator.state) for layer in (net.layers[k] for k in (1, 4, 8))]
    assert len(set(seeds)) == 3
    assert all(u.dtype == np.float32 for u in net.parameters())


def test_the_table_and_the_figures(record, tmp_path):
    text = transformable.table(record)
    assert "search: MACs 0." in text and text.count("\n") == 5 and "uniform" in text
    paths = transformable.draw([record, record], tmp_path)
    assert all(path.stat().st_size > 10_000 for path in paths)


def test_other_data_and_models_are_refused():
    for data, model in (("mnist", None), ("digits", "conv3")):
        with pytest.raises(ValueError, match=r"leave --data and --model out$"):
            transformable.specs(data, [0], "cpu", model)
    (spec,) = transformable.specs("digits", [0], "cpu", validation=True)
    assert setup.parts(spec, None)[0][1].shape == (1137,)
    assert isinstance(nn.Distillation(**spec["distillation"]), nn.Distillation)
