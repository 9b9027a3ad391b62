"""The experiment `structured_sparsity` on a handful of random images."""

import json
import math

import numpy as np
import pytest

import nn
from nn.gradcheck import relative_error
from pruning.experiments import runner, setup, structured_sparsity
from pruning.experiments.setup import SHAPES
from pruning.penalties import group_lasso

MNIST = SHAPES["mnist"]
PARTS = setup.parts  # before `few` stands in for it


@pytest.fixture(scope="module", autouse=True)
def few():
    """40 random images to train on, 20 that are held out, and 30 to test on."""
    rng = np.random.default_rng(0)
    parts = {
        name: tuple((rng.random((*shape, n), np.float32), rng.integers(0, 10, n)) for n in (40, 20, 30))
        for name, shape in (("mnist", MNIST), ("cifar10", (3, 8, 8)))
    }

    def few_images(spec, root):
        train_part, held_out, test = parts[spec["data"]]
        return train_part, held_out if spec["validation"] else test

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "parts", few_images)
        patch.setitem(SHAPES, "cifar10", (3, 8, 8))
        yield


def tiny(structure="channels", data="mnist", model="lenet5", stronger=30, stop=None, **more):
    """Return a cell with a penalty that kills groups within a few steps; "dense" has no sparse phase."""
    (spec,) = (s for s in structured_sparsity.specs(data, [0], "cpu", model) if s["structure"] == structure)
    spec |= {"dense": {**spec["dense"], "epochs": 1}, "retraining": {**spec["retraining"], "learning_rate": 0.01}}
    if structure == "dense":
        return {**spec, "epochs": 2, **more}
    strengths = {kind: {n: stronger * lam for n, lam in each.items()} for kind, each in spec["strengths"].items()}
    sparse = {**spec["sparse"], "at_most_epochs": 12, "checks": 2, "batch_size": 4, "learning_rate": 0.02}
    return {**spec, "strengths": strengths, "sparse": sparse, "epochs": 13, "stop": stop or spec["stop"], **more}


@pytest.fixture(scope="module")
def records():
    stop = {"conv_weights": 24000}
    return [
        runner.run_one("structured_sparsity", tiny(s, stop=stop, stronger=3)) for s in ("channels", "columns", "dense")
    ]


@pytest.mark.slow
def test_the_sparse_phase_stops_at_the_stated_number_of_conv_weights(records):
    for record in records[:2]:
        sparse = record["sparse"]
        left = [row["conv_weights"] for row in sparse["left"]]
        assert left[0] == 25500 and sparse["reached"]
        assert left[-1] <= 24000 < min(left[:-1])
        assert sparse["epochs"] == (len(left) - 1) / 2
        assert json.loads(json.dumps(record)) == record


@pytest.mark.slow
def test_the_small_net_has_what_the_record_says(records):
    for record in records[:2]:
        small = record["retrained"]
        assert small["conv_weights"] == sum(n * k for n, k in small["matrices"][:2])
        assert small["conv_weights"] == record["sparse"]["left"][-1]["conv_weights"]
        assert (
            small["weights"] - small["conv_weights"]
            == small["hidden 2"] * 16 * small["hidden 3"] + 10 * small["hidden 3"]
        )
        assert record["dense"]["conv_weights"] == 25500 and record["dense"]["weights"] == 430500


@pytest.mark.slow
def test_all_nets_are_trained_for_the_same_number_of_epochs(records):
    for record in records[:2]:
        assert record["retrained"]["epochs"] + math.ceil(record["sparse"]["epochs"]) == 13
    longer = records[2]
    assert longer["sparse"] is None and longer["retrained"]["epochs"] == 2 == len(longer["retrained"]["train_loss"])
    assert longer["retrained"]["weights"] == 430500
    for model in ("lenet5", "mlp500"):
        cells = structured_sparsity.CELLS["mnist", model].values()
        assert len({cell["epochs"] for cell in cells}) == 1
        assert all(cell["epochs"] > cell["sparse"]["at_most_epochs"] for cell in cells)


@pytest.mark.slow
def test_a_cell_is_a_pure_function_of_its_specification(records):
    again = runner.run_one("structured_sparsity", tiny("columns", stop={"conv_weights": 24000}, stronger=3))
    assert {**again, "time": 0} == {**records[1], "time": 0}


def test_what_is_cut_computes_the_same():
    spec, rng = tiny("columns"), np.random.default_rng(0)
    net = nn.models.lenet5(rng)
    W1, W2 = net.layers[0].W.data, net.layers[2].W.data
    W1[:5], W1[:, :, 0], W2[10:30], W2[:, 5:9], W2[:, :, 4, 4] = 0, 0, 0, 0, 0
    for layer in (net.layers[0], net.layers[2]):
        layer.b.data = rng.standard_normal(layer.b.data.shape)
    x = rng.random((*MNIST, 3))
    small, optimizer = structured_sparsity.cut(net, spec, nn.SGD(net.parameters(), 0.1))
    assert [small.layers[k].W.shape for k in (0, 2)] == [(11, 20), (30, 11 * 24)]
    assert relative_error(small.forward(x), net.forward(x)) < 1e-12
    assert [p.shape for p in optimizer.parameters] == [p.shape for p in small.parameters()]


def test_a_perceptron_loses_pixels_and_neurons():
    spec = tiny("neurons", model="mlp500", stronger=0)
    net = setup.MODELS["mlp500"](np.random.default_rng(0), np.float32)
    first, second, third = (net.layers[k].W.data for k in (1, 3, 5))
    first[:, 100:], first[:, 7] = 0, 0
    first[:300], second[:, :300], second[20:], third[:, 20:] = 0, 0, 0, 0
    part, (x, _) = setup.shared_parts(spec, None)
    still = {**spec["sparse"], "learning_rate": 0.0}
    small, report = structured_sparsity.sparse_phase(net, {**spec, "sparse": still}, part, np.random.default_rng(0))
    assert report["left"] == [
        {"inputs": 99, "hidden 1": 500, "hidden 2": 300},
        {"inputs": 99, "hidden 1": 200, "hidden 2": 20},
    ]
    assert report["reached"] and report["epochs"] == 0.5
    assert structured_sparsity.size(small, spec)["matrices"] == [[200, 99], [20, 200], [10, 20]]
    assert relative_error(small.forward(x), net.forward(x)) < 1e-5


@pytest.mark.slow
def test_the_cell_of_a_perceptron():
    record = runner.run_one("structured_sparsity", tiny("neurons", model="mlp500", stronger=20, stop={"hidden 2": 200}))
    small = record["retrained"]
    assert record["sparse"]["reached"] and small["hidden 2"] <= 200 and small["conv_weights"] == 0
    assert small["weights"] == sum(n * k for n, k in small["matrices"]) < 545_000
    assert f"{545_000 / small['weights']:.1f} x fewer weights" in structured_sparsity.table(record)


def test_a_residual_net_loses_blocks():
    spec = tiny("blocks", "cifar10", "resnet20", stronger=0)
    net = setup.MODELS["resnet20"](np.random.default_rng(0), np.float32)
    for name, parameter in net.named_parameters():
        if name.startswith(("7.body.", "9.body.")):  # the second of them widens: its shortcut stays
            parameter.data = 0 * parameter.data
    part, (x, _) = setup.shared_parts(spec, None)
    still = {**spec["sparse"], "learning_rate": 0.0, "checks": 1}
    few = {**spec, "sparse": still, "stop": {"blocks": 7}}
    small, report = structured_sparsity.sparse_phase(net, few, part, np.random.default_rng(0))
    assert report["left"] == [{"blocks": 9}, {"blocks": 7}] and report["reached"]
    assert len(structured_sparsity.families(net, spec["strengths"])) == 9
    left = structured_sparsity.families(small, spec["strengths"])
    assert [len(family.axes) for family in left] == 7 * [6]  # two weights, two scales, two shifts
    assert not any(name.startswith(("7.", "9.body")) for family in left for name in family.axes)


def test_the_cell_of_a_residual_net():
    spec = tiny("blocks", "cifar10", "resnet20", stronger=100)
    record = runner.run_one(
        "structured_sparsity", {**spec, "epochs": 4, "sparse": {**spec["sparse"], "at_most_epochs": 3}}
    )
    assert record["sparse"]["reached"] and record["retrained"]["blocks"] <= 6
    assert record["dense"]["blocks"] == 9 and record["retrained"]["conv_weights"] < record["dense"]["conv_weights"]


def test_weight_decay_acts_on_the_layers_without_a_penalty_only(monkeypatch):
    seen = []
    original = nn.SGD.__init__

    def spy(self, parameters, *arguments, decayed=None, **more):
        original(self, parameters, *arguments, decayed=decayed, **more)
        seen.append([p.shape for p in self.parameters if p in self.decayed])

    monkeypatch.setattr(nn.SGD, "__init__", spy)
    spec = tiny(sparse={**tiny()["sparse"], "at_most_epochs": 0})
    part, _ = setup.shared_parts(spec, None)
    net = nn.models.lenet5(np.random.default_rng(0), dtype=np.float32)
    _, report = structured_sparsity.sparse_phase(net, spec, part, np.random.default_rng(0))
    assert seen == [[(500, 800), (500,), (10, 500), (10,)]]
    assert not report["reached"] and report["epochs"] == 0


def perceptron(rng=0):
    return setup.MODELS["mlp500"](np.random.default_rng(rng), dtype=np.float32)


def test_an_epoch_of_the_sparse_phase_has_every_image_once(monkeypatch):
    seen, N = [], 22
    x, t = np.zeros((*MNIST, N), np.float32) + np.arange(N, dtype=np.float32), np.arange(N)

    def spy(net, optimizer, spec, recipe, part, epochs, rng, prox):
        np.testing.assert_array_equal(part[0][0, 0, 0], part[1])  # labels stay with their images
        seen.append((part[1].tolist(), epochs))

    monkeypatch.setattr(structured_sparsity, "_train", spy)
    spec = tiny("neurons", model="mlp500", stop={"hidden 2": 0})
    spec["sparse"] |= {"checks": 4, "at_most_epochs": 2}
    _, report = structured_sparsity.sparse_phase(perceptron(), spec, (x, t), np.random.default_rng(0))
    assert report["epochs"] == 2 and not report["reached"]
    assert [(len(images), epochs) for images, epochs in seen] == 2 * [(6, 1), (6, 1), (5, 1), (5, 1)]
    first, second = ([n for images, _ in half for n in images] for half in (seen[:4], seen[4:]))
    assert sorted(first) == sorted(second) == list(range(N))
    assert first != second  # every epoch cuts the images anew


@pytest.mark.parametrize("validation", [False, True])
@pytest.mark.parametrize(("images", "trained_on"), [(8, 8), (5012, 12)])
def test_images_that_are_trained_on_held_out_and_tested_on(images, trained_on, validation, monkeypatch):
    x = np.arange(5020, dtype=np.float32).reshape(1, 1, 1, -1)
    data = nn.data.DataSet((x[..., :5012], np.arange(5012)), (x[..., 5012:], np.arange(5012, 5020)))
    monkeypatch.setattr(setup, "parts", PARTS)
    monkeypatch.setattr(nn.data, "load", lambda *name, **more: data)
    dense = tiny(validation=validation)["dense"]
    spec = {"dense": {**dense, "images": 10}, "images": images, "validation": validation}
    expected = np.arange(trained_on), np.arange(12, 5012) if validation else np.arange(5012, 5020)
    for (x, t), numbers in zip(setup.shared_parts(spec, None), expected):
        np.testing.assert_array_equal(x, numbers[None, None, None])
        np.testing.assert_array_equal(t, numbers)


@pytest.mark.parametrize(("data", "model"), list(structured_sparsity.CELLS))
def test_all_cells_of_a_seed_have_one_dense_net_and_are_retrained_alike(data, model):
    known = structured_sparsity.CELLS[data, model]
    for validation in (False, True):
        specs = structured_sparsity.specs(data, [3, 5], "cpu", model, validation)
        assert [(s["seed"], s["structure"]) for s in specs] == [(k, s) for k in (3, 5) for s in (*known, "dense")]
        assert ["sparse" in s for s in specs] == [s["structure"] != "dense" for s in specs]
        for spec in specs:
            for cell in known.values():
                assert all(spec[name] == cell[name] for name in ("epochs", "images", "retraining"))
            (dense,) = setup.dense_specs(data, [spec["seed"]], "cpu", model)
            assert spec["dense"] == dense and spec["validation"] is validation
            # The last 5,000 training images are held out, from the dense net too.
            assert spec["images"] <= dense["images"] <= {"mnist": 55000, "cifar10": 45000}[data]


def test_other_seeds_draw_other_images_from_one_dense_net(monkeypatch):
    net, original, drawn = perceptron(), structured_sparsity._train, []

    def spy(net, optimizer, spec, recipe, part, *others, **more):
        drawn[-1].append(part[1].tolist())
        return original(net, optimizer, spec, recipe, part, *others, **more)

    monkeypatch.setattr(setup, "dense_net", lambda *given: (net, {}))
    monkeypatch.setattr(structured_sparsity, "_train", spy)
    spec = tiny("neurons", model="mlp500", stop={"hidden 2": 0}, epochs=2)
    spec["sparse"] |= {"at_most_epochs": 1}
    batches = {"retraining": {**spec["retraining"], "batch_size": 8}}  # of all images at once the order is nothing
    losses = []
    for seed in (0, 1, 0):
        drawn.append([])
        for one in (spec | batches, tiny("dense", model="mlp500") | batches):
            losses.append(structured_sparsity.run_cell({**one, "seed": seed})["retrained"]["train_loss"])
    assert drawn[0] == drawn[2] and drawn[0][:2] != drawn[1][:2]
    assert losses[:2] == losses[4:] and losses[0] != losses[2] and losses[1] != losses[3]


@pytest.mark.parametrize(
    ("structure", "data", "model"), [("channels", "mnist", "lenet5"), ("blocks", "cifar10", "resnet20")]
)
def test_the_recipe_of_both_phases(structure, data, model, monkeypatch):
    calls = []

    def spy(net, loss, optimizer, x, t, **more):
        decayed = sum(p in optimizer.decayed for p in net.parameters())
        calls.append({"loss": type(loss), "images": len(t), "config": optimizer.config(), "decayed": decayed, **more})
        return [{"train_loss": 0.0}]

    net = setup.MODELS[model](np.random.default_rng(0), dtype=np.float32)
    monkeypatch.setattr(setup, "dense_net", lambda *given: (net, {}))
    monkeypatch.setattr(nn.training, "train", spy)
    spec = tiny(structure, data, model, stop={"blocks": -1}, epochs=5)
    spec["sparse"] = {"learning_rate": 0.03, "momentum": 0.8, "weight_decay": 3e-4, "batch_size": 7}
    spec["sparse"] |= {"checks": 2, "at_most_epochs": 1}
    spec["retraining"] = {"learning_rate": 0.07, "momentum": 0.6, "weight_decay": 2e-4, "batch_size": 9}
    structured_sparsity.run_cell(spec)
    assert len(calls) == 3
    for call, phase, images, epochs in zip(calls, ("sparse", "sparse", "retraining"), (20, 20, 40), (1, 1, 4)):
        recipe = spec[phase]
        settings = {name: recipe[name] for name in ("learning_rate", "momentum", "weight_decay")}
        assert call["loss"] is nn.SoftmaxCrossEntropy and call["images"] == images
        assert call["config"] == {**settings, "nesterov": True}
        assert (call["epochs"], call["batch_size"]) == (epochs, recipe["batch_size"])
        assert call["augment"] is (nn.data.augment.augment if data == "cifar10" else None)
        assert (not call["companions"]) == (call["schedule"] is not None) == (phase == "retraining")
        assert (call["decayed"] == len(net.parameters())) == (phase == "retraining")
    cosine = [0.07 * (1 + math.cos(math.pi * epoch / 4)) / 2 for epoch in range(4)]
    assert [calls[2]["schedule"](epoch) for epoch in range(4)] == pytest.approx(cosine, rel=1e-12)


def test_weighted_blocks_have_the_strength_times_the_root_of_their_size():
    net = setup.MODELS["resnet20"](np.random.default_rng(0), np.float32)
    plain, weighted = (
        structured_sparsity.families(net, {kind: {"3": 0.5, "9": 0.5, "19": 0.5}})
        for kind in ("blocks", "weighted blocks")
    )
    assert [family.axes for family in plain] == [family.axes for family in weighted]
    weights = {name: parameter.data for name, parameter in net.named_parameters()}
    sizes = [9 * (a * b + b * b) + 4 * b for a, b in ((16, 16), (16, 32), (64, 64))]
    for scale, families in (([1, 1, 1], plain), ([math.sqrt(size) for size in sizes], weighted)):
        assert [family.strength for family in families] == [0.5, 0.5, 0.5]
        assert [group_lasso.scales(weights, family) for family in families] == scale


def test_families_of_every_kind():
    axes = {"filters": {"0.W": (0,)}, "channels": {"2.W": (1,)}, "columns": {"2.W": (1, 2, 3)}}
    strengths = {kind: {name: 0.5} for kind, each in axes.items() for name in each}
    found = structured_sparsity.families(nn.models.lenet5(None), {**strengths, "blocks": {"9": 1.0}})
    assert [(family.axes, family.strength) for family in found] == [(each, 0.5) for each in axes.values()]
    found = structured_sparsity.families(perceptron(), {"neurons": {"1.W": 0.2, "3.W": 0.3}, "columns": {"1.W": 0.1}})
    # A neuron is a row of its layer, and the column of the next one that reads it.
    expected = [({"1.W": (0,), "3.W": (1,)}, 0.2), ({"3.W": (0,), "5.W": (1,)}, 0.3), ({"1.W": (1,)}, 0.1)]
    assert [(family.axes, family.strength) for family in found] == expected


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_run_whose_last_step_diverges_says_so_too(monkeypatch):
    def spoiled(net, *_):
        net.layers[-1].b.data[:] = np.nan
        return net, [0.1]

    monkeypatch.setattr(structured_sparsity, "_retrained", spoiled)
    record = runner.run_one("structured_sparsity", tiny("dense"))
    assert record["diverged"] == "the loss became nan in the last step" and record["retrained"] is None


def test_a_run_that_diverges_says_so_in_its_record(tmp_path):
    # Without a penalty, whose threshold grows with the learning rate and would kill everything first.
    with np.errstate(all="ignore"):
        record = runner.run_one(
            "structured_sparsity", tiny(sparse={**tiny()["sparse"], "learning_rate": 1e6}, stronger=0)
        )
    assert record["diverged"].startswith("the training loss became")
    assert record["retrained"] is None and record["dense"]["test_accuracy"] >= 0
    assert "diverged" in structured_sparsity.table(record)
    assert structured_sparsity.draw([record], tmp_path) == [] and not list(tmp_path.iterdir())


def test_a_dense_net_that_diverges_stays_in_the_records(tmp_path, monkeypatch):
    def diverges(*_):
        raise FloatingPointError("the training loss became nan")

    monkeypatch.setattr(setup, "dense_net", diverges)
    record = runner.run_one("structured_sparsity", tiny())
    assert record["diverged"] == "the training loss became nan"
    assert [record[phase] for phase in ("dense", "sparse", "retrained")] == [None, None, None]
    assert structured_sparsity.table(record).endswith("no dense net\ndiverged: the training loss became nan")
    assert structured_sparsity.draw([record], tmp_path) == []


@pytest.mark.slow
def test_figure_and_table(records, tmp_path):
    gone = {**records[0], "sparse": None, "retrained": None, "diverged": "the training loss became nan"}
    (path,) = structured_sparsity.draw([gone, *records], tmp_path)
    assert path.read_bytes().startswith(b"\x89PNG") and path.stat().st_size < 100_000
    small = records[0]["retrained"]
    assert f"{25500 / small['conv_weights']:.1f} x fewer conv_weights" in structured_sparsity.table(records[0])


def test_bad_input_is_one_sentence():
    with pytest.raises(ValueError, match=r"expected one of --data cifar10 .*; got --data digits --model None"):
        structured_sparsity.specs("digits", [0], "cpu")
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        structured_sparsity.specs("mnist", [-1], "cpu", "lenet5")
