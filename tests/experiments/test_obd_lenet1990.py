"""The experiment `obd_lenet1990`: LeNet of 1990, pruned whole, on a handful of images."""

import copy
import json

import numpy as np
import pytest

import nn
from pruning import masks
from pruning.counts import live_connections
from pruning.experiments import obd_lenet1990, runner
from pruning.experiments.figures import obd_lenet1990 as figures

FIELD = obd_lenet1990.FIELD


def tiny(seed=0, **more):
    (spec,) = obd_lenet1990.specs("digits", [seed], "cpu")
    baselines = {name: {**recipe, "epochs": 1} for name, recipe in spec["baselines"].items()}
    short = {
        "images": [60, 20, 10],
        "epochs": 3,
        "retrain_epochs": 1,
        "rounds": 2,
        "final": 0.9,
        "baselines": baselines,
    }
    short |= {
        "baselines": baselines,
        "deleted": [100, 1600, 2500],
        "accounted": {"obd": [100, 1600], "magnitude": [100, 1600]},
        "shared": ["6.b"],
        "shared_images": 2,
    }
    return {**spec, **short, **more}


@pytest.fixture(scope="module")
def records():
    return [runner.run_one("obd_lenet1990", tiny(seed)) for seed in (0, 1)]


def rows(record, method, part="at_once"):
    return [row for row in record[part] if row["method"] == method]


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(records):
    again = runner.run_one("obd_lenet1990", tiny(0))
    assert {**again, "time": 0} == {**records[0], "time": 0}
    assert json.loads(json.dumps(again)) == again
    assert records[0]["at_once"] != records[1]["at_once"]


@pytest.mark.slow
def test_the_net_of_the_paper_before_pruning(records):
    trained = records[0]["trained"]
    assert (trained["parameters"], trained["connections"]) == (2578, 98442)
    assert trained["train_loss"] < 10  # what outputs of zero cost
    assert set(records[0]["baselines"]) == {"softmax regression", "mlp 40-20"}
    assert records[0]["baselines"]["softmax regression"]["parameters"] == 65 * 10


@pytest.mark.slow
def test_what_is_left_out_of_the_prediction_adds_up(records):
    for record in records:
        for method in ("obd", "magnitude"):
            full = [row for row in rows(record, method) if "true" in row]
            assert [row["deleted"] for row in full] == [100, 1600]
            for row in full:
                parts = (row[name] for name in ("gradient", "diagonal", "off_diagonal", "higher_order"))
                assert sum(parts) == pytest.approx(row["true"], rel=1e-12, abs=1e-14)
                assert row["diagonal"] == row["predicted"]
                assert row["E"] - record["trained"]["E"] == pytest.approx(row["true"], rel=1e-9, abs=1e-12)


@pytest.mark.slow
def test_obd_ranks_by_saliency_and_magnitude_by_size_over_the_whole_net(records):
    net, objective, _ = obd_lenet1990.trained_net(tiny(0))
    h = objective.curvature(net)
    flat = lambda of: np.concatenate([np.ravel(of(name, p)) for name, p in net.named_parameters()])  # noqa: E731
    u = flat(lambda _, p: p.data)
    for method, values in (("obd", np.maximum(flat(lambda n, p: h[n] * p.data**2 / 2), 0)), ("magnitude", abs(u))):
        gone = np.argsort(values, kind="stable")[:1600]
        pruned = copy.deepcopy(net)
        nn.gradcheck.set_flat(pruned, np.where(np.isin(np.arange(len(u)), gone), 0, u))
        (row,) = [row for row in rows(records[0], method) if row["deleted"] == 1600]
        assert row["E"] == pytest.approx(objective.value(pruned), rel=1e-12)


@pytest.mark.slow
def test_the_loop_deletes_more_in_every_round_and_the_control_nothing(records):
    for method in ("obd", "magnitude"):
        loop = rows(records[0], method, "loop")
        assert [row["parameters_left"] for row in loop] == [815, 258]
        assert [sum(row["left"].values()) for row in loop] == [815, 258]
        assert 98442 > loop[0]["connections_left"] > loop[1]["connections_left"] > 0
        assert all(row["retrained"]["E"] != row["E"] for row in loop)
    control = rows(records[0], "control", "loop")
    assert [(row["parameters_left"], row["connections_left"]) for row in control] == [(2578, 98442)] * 2
    assert control[-1]["retrained"]["E"] < records[0]["trained"]["E"]


def test_a_deleted_shared_weight_stays_dead_through_retraining_in_float32():
    spec = tiny(0)
    net, objective, rng = obd_lenet1990.trained_net(spec)
    keep = obd_lenet1990.keep_all_but(net, obd_lenet1990.score(net, "magnitude", objective), 2000)
    masks.apply(net, keep)
    before = nn.gradcheck.flat(net)
    obd_lenet1990._train(net, objective, spec, 1, rng)
    after = nn.gradcheck.flat(net)
    assert np.all(after[before == 0] == 0) and np.mean(after[before != 0] != before[before != 0]) > 0.9
    assert all(p.data.dtype == p.mask.dtype == np.float64 for p in net.parameters())
    assert live_connections(net, FIELD) < 98442


@pytest.mark.slow
def test_what_sharing_costs_the_diagonal(records):
    """h_kk of a shared bias against the second derivative along it: the slope of the gradient."""
    spec = tiny(0)
    net, objective, _ = obd_lenet1990.trained_net(spec)
    x, t = (array[..., :2] for array in objective.train)
    h = nn.curvature.hess_diag(net, objective.loss, x, t)["6.b"]
    slopes = np.zeros(12)
    for k in range(12):
        for side in (1e-5, -1e-5):
            moved = copy.deepcopy(net)
            moved.layers[6].b.data[k] += side
            slopes[k] += nn.curvature.gradient(moved, objective.loss, x, t)["6.b"][k] / (2 * side)
    row = records[0]["shared"]["6.b"]
    assert row["error"] == pytest.approx(np.linalg.norm(slopes - h) / np.linalg.norm(slopes), rel=1e-4)
    assert row["ratio"] == pytest.approx(h.sum() / slopes.sum(), rel=1e-4)


def test_the_frame_puts_images_into_the_middle_of_the_field():
    rng = np.random.default_rng(0)
    for size in (16, 28):
        x = rng.uniform(-1, 1, (1, size, size, 3))
        framed, edge = obd_lenet1990.framed(x), (28 - size) // 2
        np.testing.assert_array_equal(framed[:, edge : edge + size, edge : edge + size], x)
        assert framed.shape == (1, 28, 28, 3) and np.sum(framed == -1) == 3 * (784 - size * size)
    small = rng.uniform(-1, 1, (1, 8, 8, 3))
    np.testing.assert_array_equal(
        obd_lenet1990.framed(small)[:, 6:22, 6:22], np.repeat(np.repeat(small, 2, axis=1), 2, axis=2)
    )


def test_held_out_images_are_training_images_and_subsets_are_the_same_for_every_seed(monkeypatch):
    part = lambda n, sign: (sign * np.arange(n) / n * np.ones((1, 28, 28, 1)), np.arange(n))  # noqa: E731
    data = nn.data.DataSet(part(50, 1.0), part(40, -1.0))
    monkeypatch.setattr(nn.data, "load", lambda *a, **k: data)
    spec = {"data": "mnist", "images": [30, 20, 7], "validation": False, "seed": 0}
    (x, t), (x_test, t_test) = obd_lenet1990.images(spec)
    assert (len(set(t)), len(set(t_test))) == (30, 20) and np.all(x_test[0, 0, 0] == -2 * t_test / 40 - 1)
    np.testing.assert_array_equal(t, obd_lenet1990.images({**spec, "seed": 1})[0][1])
    (_, t_less), (x_held, t_held) = obd_lenet1990.images({**spec, "validation": True})
    np.testing.assert_array_equal(np.concatenate([t_less, t_held]), t)
    assert len(t_held) == 7 and np.all(x_held[0, 0, 0] == 2 * t_held / 50 - 1)


@pytest.mark.slow
def test_figures(records, tmp_path):
    paths = obd_lenet1990.draw(records, tmp_path)
    assert len({path.name for path in paths}) == 4
    for path in [*paths, figures.prune_retrain_loop(records[:1], tmp_path / "one_seed.png")]:
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 100_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cifar10", [0], "cpu"), "expected one of the data sets digits, usps, mnist, got 'cifar10'"),
        (("usps", [-1], "cpu"), "expected a seed of 0 or more, got -1"),
        (("usps", [0], "cpu", "lenet5"), "leave --model out"),
    ],
)
def test_specifications_that_make_no_sense(arguments, message):
    with pytest.raises(ValueError, match=message):
        obd_lenet1990.specs(*arguments)
