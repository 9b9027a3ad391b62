"""The experiment `filters` on a handful of random images."""

import json
import math

import numpy as np
import pytest

import nn
from pruning import surgery
from pruning.experiments import filters, runner, setup
from pruning.experiments.figures import filters as figures
from pruning.scores import filter_norm

SIZES = {"mnist": (60, 20, 30), "cifar10": (6, 4, 5)}


@pytest.fixture(scope="module", autouse=True)
def few():
    """A handful of random images to train on, fewer that are held out, and some to test on."""
    rng = np.random.default_rng(0)
    data = {
        name: [(rng.random((*setup.SHAPES[name], n), np.float32), rng.integers(0, 10, n)) for n in sizes]
        for name, sizes in SIZES.items()
    }

    def parts(spec, root):
        train_part, held_out, test = data[spec["data"]]
        return train_part, held_out if spec["validation"] else test

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "parts", parts)
        yield


def tiny(seed=0, validation=False, **more):
    (spec,) = filters.specs("mnist", [seed], "cpu", validation=validation)
    return {**shortened(spec), "shares": [0.0, 0.9], **more}


def shortened(spec):
    dense = {**spec["dense"], "epochs": 1}
    return {**spec, "dense": dense, "retraining": {**spec["retraining"], "epochs": 2}}


@pytest.fixture(scope="module")
def records():
    return [runner.run_one("filters", tiny(seed)) for seed in (0, 1)]


@pytest.fixture
def record(records):
    return records[0]


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(records):
    again = runner.run_one("filters", tiny())
    assert {**again, "time": 0} == {**records[0], "time": 0}
    assert json.loads(json.dumps(again)) == again
    assert records[0]["rows"] != records[1]["rows"]


@pytest.mark.slow
def test_half_of_the_conv_macs_are_left_in_every_pruned_net(record):
    assert [row["method"] for row in record["rows"]] == ["l1", "l1 in steps", "random", "dense"]
    assert record["dense"]["conv_macs"] == 1_888_000 and record["dense"]["weights"] == 430_500
    for row in record["rows"]:
        first, second = row["filters"]
        assert row["conv_macs"] == first * 25 * 24**2 + second * first * 25 * 8**2
        assert row["macs"] - row["conv_macs"] == second * 16 * 500 + 5000
        assert row["conv_weights"] == 25 * first + 25 * first * second
        if row["method"] == "dense":
            assert row["filters"] == [20, 50]
        else:
            assert 0.44 < row["conv_macs"] / 1_888_000 <= 0.5


@pytest.mark.slow
def test_every_row_is_retrained_for_the_same_number_of_epochs(record):
    for row in record["rows"]:
        steps = row["method"] == "l1 in steps"
        assert row["epochs"] == ([0, 1, 1, 2] if steps else [0, 1, 2])
        assert len(row["test_accuracy"]) == len(row["epochs"])


@pytest.mark.slow
def test_what_is_measured_before_retraining_is_the_trained_net_without_its_weakest_filters(record):
    net, _ = setup.dense_net(tiny()["dense"])
    test = setup.parts(tiny()["dense"], None)[1]
    row = record["rows"][0]
    scores = filter_norm.saliency(net)
    keep = {name: sorted(np.argsort(-scores[name])[:n].tolist()) for name, n in zip(("0.W", "2.W"), row["filters"])}
    y = surgery.remove(net, keep).forward(test[0])
    assert row["test_accuracy"][0] == pytest.approx(np.mean(np.argmax(y, axis=0) == test[1]))
    assert record["rows"][3]["test_accuracy"][0] == record["dense"]["test_accuracy"]


def test_every_method_is_given_its_score(monkeypatch):
    given = {}

    def noted(net, spec, method, names, score, part, test):
        given[method] = score(net, ["2.W"])["2.W"], filter_norm.saliency(net, ["2.W"])["2.W"]
        return {}

    monkeypatch.setattr(filters, "pruned_and_retrained", noted)
    filters.run_cell(tiny())
    for method, (scores, norms) in given.items():
        assert (scores == norms).all() == (method != "random")
    assert len(given) == 4


def test_other_seeds_draw_other_filters_and_other_batches_from_one_dense_net(monkeypatch):
    net, original, weights = setup.MODELS["lenet5"](np.random.default_rng(0), np.float32), setup.retrain, []

    def spy(net, *others):
        weights[-1].append(net.layers[0].W.data.copy())
        history = original(net, *others)
        weights[-1].append(net.layers[0].W.data.copy())
        return history

    monkeypatch.setattr(setup, "dense_net", lambda *given: (net, {}))
    monkeypatch.setattr(setup, "retrain", spy)
    retraining = {**tiny()["retraining"], "images": 16, "epochs": 1, "batch_size": 8}
    spec = tiny(methods=["l1", "random"], shares=[0.0], retraining=retraining)
    for seed in (0, 1, 0):
        weights.append([])
        filters.run_cell({**spec, "seed": seed})
    # Before and after retraining, of both methods; the filters of largest norm know of no seed.
    same = [np.array_equal(one, other) for one, other in zip(weights[0], weights[1])]
    assert same == [True, False, False, False]
    assert all(np.array_equal(one, other) for one, other in zip(weights[0], weights[2]))


def test_the_recipe_of_retraining(monkeypatch):
    calls = []

    def spy(net, loss, optimizer, x, t, *, epochs, schedule, **more):
        rates = [schedule(epoch) for epoch in range(epochs)]
        calls.append({"loss": type(loss), "config": optimizer.config(), "x": x, "t": t, "rates": rates, **more})
        assert all(p in optimizer.decayed for p in net.parameters())
        return epochs * [{"test_accuracy": 0.5, "test_loss": 1.0}]

    net = setup.MODELS["lenet5"](np.random.default_rng(0), np.float32)
    monkeypatch.setattr(setup, "dense_net", lambda *given: (net, {}))
    monkeypatch.setattr(nn.training, "train", spy)
    recipe = {"learning_rate": 0.07, "momentum": 0.6, "weight_decay": 2e-4}
    retraining = {**recipe, "images": 50, "epochs": 7, "batch_size": 9}
    spec = tiny(methods=["l1", "l1 in steps", "dense"], shares=[0.0], retraining=retraining)
    filters.run_cell(spec)
    part, _, test = filters._parts(spec, None)
    for call, epochs in zip(calls, (7, 3, 4, 7), strict=True):
        assert call["loss"] is nn.SoftmaxCrossEntropy and call["config"] == {**recipe, "nesterov": True}
        cosine = [0.07 * (1 + math.cos(math.pi * epoch / epochs)) / 2 for epoch in range(epochs)]
        assert call["rates"] == pytest.approx(cosine, rel=1e-12)
        assert call["batch_size"] == 9 and call["augment"] is None
        for found, expected in zip((call["x"], call["t"], *call["test"]), (*part, *test)):
            np.testing.assert_array_equal(found, expected)


def test_sensitivity_is_measured_on_the_held_out_images(monkeypatch):
    net = setup.MODELS["vgg11-thin"](np.random.default_rng(0), np.float32)
    weights = {name: p.data for name, p in net.named_parameters() if name in setup.free(net)}
    for name in set(weights) - {"8.W", "15.W"}:
        weights[name][::2] = 0  # without this half of its filters such a layer computes the same
    x = np.random.default_rng(1).random((3, 32, 32, 16), np.float32)
    t = np.argmax(net.eval().forward(x), axis=0)
    held_out, others = (x[..., :12], t[:12]), (x[..., 12:], (t[12:] + 1) % 10)  # of the others all are wrong
    monkeypatch.setattr(setup, "dense_net", lambda *given: (net, {}))
    monkeypatch.setattr(setup, "parts", lambda spec, root: (others, held_out if spec["validation"] else others))
    monkeypatch.setattr(filters, "pruned_and_retrained", lambda *given: {})
    (spec,) = filters.specs("cifar10", [0], "cpu", "vgg11-thin")
    record = filters.run_cell({**spec, "shares": [0.0, 0.5, 0.9], "methods": ["l1", "l1, skipping"]})
    assert record["dense"]["test_accuracy"] == 0
    assert set(record["skipped"]) == {"8.W", "15.W"}
    for name, W in weights.items():
        keep = np.sort(np.argsort(-abs(W).sum(axis=(1, 2, 3)))[: len(W) // 2]).tolist()
        right = np.argmax(surgery.remove(net, {name: keep}).forward(held_out[0]), axis=0) == held_out[1]
        first, half, _ = record["sensitivity"]["l1"][name]
        assert first == 1 and half == pytest.approx(np.mean(right), rel=1e-12)
        assert (half < 1) == (name in record["skipped"])


@pytest.mark.slow
def test_sensitivity_begins_at_the_dense_net(record):
    for curves in record["sensitivity"].values():
        assert list(curves) == ["0.W", "2.W"]
        assert len({values[0] for values in curves.values()}) == 1


def test_with_validation_all_accuracies_are_those_on_the_held_out_images():
    record = runner.run_one("filters", tiny(validation=True))
    assert record["dense"]["test_accuracy"] == record["sensitivity"]["l1"]["0.W"][0]


@pytest.mark.slow
def test_figures_and_table(records, tmp_path):
    for path in filters.draw(records, tmp_path):
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 100_000
    assert figures.retraining(records[:1], tmp_path / "one.png").is_file()
    lines = filters.table(records[0]).split("\n")
    assert len(lines) == 6 and len({len(line) for line in lines[2:]}) == 1


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_row_that_diverges_says_so_and_the_others_go_on(records, tmp_path, monkeypatch):
    original, huge = filters.pruned_and_retrained, {**tiny()["retraining"], "learning_rate": 1e30}

    def some_diverge(net, spec, method, *rest):
        return original(net, {**spec, "retraining": huge} if "l1" in method else spec, method, *rest)

    monkeypatch.setattr(filters, "pruned_and_retrained", some_diverge)
    record = runner.run_one("filters", tiny())
    for row in record["rows"][:2]:
        assert set(row) == {"method", "diverged"} and " loss became " in row["diverged"]
    assert record["rows"][2:] == records[0]["rows"][2:] and json.loads(json.dumps(record)) == record
    lines = filters.table(record).split("\n")
    assert lines[2] == f"l1              diverged: {record['rows'][0]['diverged']}" and len(lines) == 6
    assert figures.retraining([record, records[1]], tmp_path / "two.png").is_file()
    gone = {**record, "rows": record["rows"][:2]}
    assert [path.name for path in filters.draw([gone], tmp_path)] == ["filters-mnist-lenet5-sensitivity.png"]


@pytest.fixture(scope="module")
def vgg():
    (spec,) = filters.specs("cifar10", [0], "cpu", "vgg11-thin")
    spec = {**shortened(spec), "shares": [0.0, 0.5]}
    return runner.run_one("filters", spec)


@pytest.mark.slow
def test_a_net_with_batch_norm_has_six_rows_and_three_scores(vgg, tmp_path):
    assert [row["method"] for row in vgg["rows"]] == filters.METHODS
    assert list(vgg["sensitivity"]) == ["l1", "l1, not folded", "random"]
    assert all(0.4 < row["conv_macs"] / vgg["dense"]["conv_macs"] <= 0.5 for row in vgg["rows"][:-1])
    for path in filters.draw([vgg], tmp_path):
        assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 100_000
    lines = filters.table(vgg).split("\n")
    assert lines[0].endswith(f"skipped are {', '.join(vgg['skipped'])}")
    assert len({len(line) for line in lines[2:]}) == 1


@pytest.mark.slow
def test_skipped_layers_keep_all_filters_and_the_others_pay_for_them(vgg):
    names = list(vgg["sensitivity"]["l1"])
    whole = [16, 32, 64, 64, 64, 64]
    even, skipping = (next(r for r in vgg["rows"] if r["method"] == m)["filters"] for m in ("l1", "l1, skipping"))
    assert len(vgg["skipped"]) == 2
    for name, n, one, other in zip(names, whole, even, skipping):
        assert one < n and (other == n if name in vgg["skipped"] else other < one)


def test_the_third_that_leaves_the_lowest_accuracy_is_sensitive():
    curves = {"a": [0.9, 0.5], "b": [0.9, 0.2], "c": [0.1, 0.8], "d": [0.9, 0.3], "e": [0.9, 0.6], "f": [0.9, 0.7]}
    assert filters.sensitive(curves, 1) == ["b", "d"]


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("lenet5", ["0.W", "2.W"]),
        ("vgg11-thin", ["0.W", "4.W", "8.W", "11.W", "15.W", "18.W"]),
        ("resnet20", [f"{n}.body.0.W" for n in range(3, 20, 2)]),
    ],
)
def test_of_a_residual_block_only_the_first_convolution_is_free(model, expected):
    assert setup.free(setup.MODELS[model](None, dtype=np.float32)) == expected


def test_what_the_net_gives_out_is_not_free():
    assert setup.free(nn.Sequential(nn.Conv2d(1, 3, 3, None), nn.ReLU(), nn.Conv2d(3, 2, 3, None))) == ["0.W"]


def test_the_folded_norm_is_one_of_the_function_and_the_plain_one_is_not():
    rng = np.random.default_rng(0)
    net = nn.Sequential(nn.Conv2d(2, 6, 3, rng), nn.BatchNorm(6), nn.ReLU(), nn.GlobalAvgPool2d(), nn.Linear(6, 3, rng))
    conv, norm = net.layers[:2]
    norm.running_variance, norm.gamma.data = rng.uniform(1, 2, 6), rng.uniform(-2, 2, 6)
    before = setup.folded_l1(net, ["0.W"])["0.W"]
    sums = np.array([abs(W).sum() for W in conv.W.data])
    np.testing.assert_allclose(before, sums * abs(norm.gamma.data) / np.sqrt(norm.running_variance + norm.eps))
    stretch = rng.uniform(2, 9, 6)
    conv.W.data = conv.W.data * stretch[:, None, None, None]
    norm.running_variance = (norm.running_variance + norm.eps) * stretch**2 - norm.eps
    np.testing.assert_allclose(setup.folded_l1(net, ["0.W"])["0.W"], before)


@pytest.mark.parametrize(("data", "model", "times"), [("mnist", "lenet5", 0), ("cifar10", "vgg11-thin", 1)])
def test_only_the_images_of_cifar_are_augmented(data, model, times, monkeypatch):
    seen = []
    monkeypatch.setitem(setup.AUGMENT, "cifar10", lambda x, rng: seen.append(x.shape) or x)
    (spec,) = filters.specs(data, [0], "cpu", model)
    part, _, test = filters._parts(spec, None)
    net = setup.MODELS[model](np.random.default_rng(0), dtype=np.float32)
    setup.retrain(net, spec, 1, part, test, np.random.default_rng(0))
    assert seen == [part[0].shape] * times


def test_images_that_are_trained_on_held_out_and_tested_on():
    (spec,) = filters.specs("cifar10", [0], "cpu", "vgg11-thin")
    spec = {**spec, "held_out": 2, "test_images": 3, "retraining": {**spec["retraining"], "images": 4}}
    whole = [setup.parts({"data": "cifar10", "validation": held_out}, None) for held_out in (True, False)]
    expected = [(whole[0][0], 4), (whole[0][1], 2), (whole[1][1], 3)]
    for (x, t), ((x_all, t_all), n) in zip(filters._parts(spec, None), expected):
        np.testing.assert_array_equal(x, x_all[..., :n])
        np.testing.assert_array_equal(t, t_all[:n])
    np.testing.assert_array_equal(filters._parts({**spec, "validation": True}, None)[2][1], whole[0][1][1][:3])


@pytest.mark.parametrize(("data", "model"), list(filters.RECIPES))
def test_the_dense_net_never_sees_the_held_out_images(data, model):
    (spec,) = filters.specs(data, [3], "cpu", model)
    available = {"mnist": 60000, "cifar10": 50000}[data]
    assert spec["dense"]["images"] <= available - spec["held_out"] and not spec["dense"]["validation"]
    assert spec["retraining"]["images"] <= spec["dense"]["images"] and spec["dense"]["seed"] == spec["seed"] == 3


@pytest.mark.slow
def test_a_dense_net_that_diverges_stays_in_the_records_and_counts(records, tmp_path, monkeypatch):
    def diverges(*_):
        raise FloatingPointError("the training loss became nan")

    monkeypatch.setattr(setup, "dense_net", diverges)
    record = runner.run_one("filters", tiny(5))
    assert record["dense"] is None and json.loads(json.dumps(record)) == record
    assert [row["method"] for row in record["rows"]] == record["spec"]["methods"]
    assert {row["diverged"] for row in record["rows"]} == {"the dense net: the training loss became nan"}
    assert filters.table(record) == "diverged: the dense net: the training loss became nan"
    assert filters.draw([record], tmp_path) == []
    assert len(filters.draw([record, *records], tmp_path)) == 2


def test_bad_input_is_one_sentence():
    with pytest.raises(
        ValueError, match=r"expected one of --data mnist --model lenet5, .*; got --data digits --model None"
    ):
        filters.specs("digits", [0], "cpu")
    with pytest.raises(ValueError, match="got --data mnist --model vgg11-thin"):
        filters.specs("mnist", [0], "cpu", "vgg11-thin")
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        filters.specs("mnist", [0, -1], "cpu")
