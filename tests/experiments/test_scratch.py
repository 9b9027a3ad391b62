"""The option --scratch: which nets are trained from new weights, for how long, and what becomes of the records."""

import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import nn
from pruning import __main__ as command
from pruning import masks, surgery
from pruning.experiments import EXPERIMENTS, record_file, runner, scaling_factors, scratch, setup
from pruning.experiments.lenet5 import bank

RESULTS = Path(__file__).parents[2] / "notebooks" / "results"
REMOVED = ["5", "9"]
SPECS = scaling_factors.specs


def tiny(seed=0):
    """A specification of a record of blocks, of which only what --scratch reads is there."""
    (spec,) = SPECS("digits", [seed], "cpu")
    return {**spec, "dense": {**spec["dense"], "epochs": 2, "milestones": [1], "images": 200}}


def record(seed=0):
    accuracy = {"test_accuracy": 0.5, "hits": ""}
    rows = [{"method": method, "removed": REMOVED, "retrained": accuracy} for method in ("SSS", "same blocks")]
    rows.append({"method": "chance", "removed": ["3", "5"], "retrained": accuracy})
    return {"spec": tiny(seed), "dense": {}, "selected": {}, "rows": rows}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    record_file.write(tmp_path / "scaling_factors.jsonl", [record(seed) for seed in (0, 1)])
    monkeypatch.setattr(scaling_factors, "specs", lambda data, seeds, *_: [tiny(seed) for seed in seeds])
    return tmp_path


def run(folder, *options):
    return command.main(["run", "scaling_factors", "--scratch", "--out", str(folder), *options])


def without_times(path):
    return sorted(json.dumps({**each, "time": None}, sort_keys=True) for each in record_file.read(path))


def test_rows_of_one_architecture_share_one_training_and_have_both_budgets(folder):
    before = (folder / "scaling_factors.jsonl").read_bytes()
    assert run(folder) == 0
    (added,) = record_file.read(folder / "scaling_factors-scratch.jsonl")
    assert added["spec"]["record"] == setup.digest(tiny()) and added["experiment"] == "scaling_factors-scratch"
    assert [(row["arm"], row["of"]) for row in added["rows"]] == [
        (f"scratch-{arm}", ["SSS", "same blocks"]) for arm in "EB"
    ]
    e, b = added["rows"]
    net = nn.models.resnet_cifar(14, np.random.default_rng(0), channels=1)
    whole, small = (setup.costs(each, "digits")["macs"] for each in (net, surgery.remove_blocks(net, REMOVED)))
    r = Fraction(whole, small)
    assert e["macs"] == b["macs"] == small
    assert (e["epochs"], e["milestones"]) == (2, [1])
    assert (b["epochs"], b["milestones"]) == (round(2 * r), [round(r)]) == (3, [2])
    assert e["start"] == b["start"] < 0.35 and e["learning_rate"] == b["learning_rate"] == 0.05
    assert (folder / "scaling_factors.jsonl").read_bytes() == before


def test_a_run_goes_on_where_it_stopped_and_processes_make_the_same_records(folder, tmp_path_factory, capsys):
    other = tmp_path_factory.mktemp("processes")
    (other / "scaling_factors.jsonl").write_bytes((folder / "scaling_factors.jsonl").read_bytes())
    assert run(folder) == 0
    first = (folder / "scaling_factors-scratch.jsonl").read_bytes()
    assert run(folder, "--seed", "0", "1") == 0
    both = folder / "scaling_factors-scratch.jsonl"
    assert both.read_bytes().startswith(first) and len(record_file.read(both)) == 2
    out = capsys.readouterr().out
    assert "2 records are in" in out and "same blocks     2" in out and "+-" in out
    cells = scratch.specs(scaling_factors, [record(0), record(1)])
    runner.run("scaling_factors-scratch", cells, other / "scaling_factors-scratch.jsonl", jobs=2)
    assert without_times(other / "scaling_factors-scratch.jsonl") == without_times(both)


def test_a_missing_record_and_experiments_without_small_nets_are_refused(folder, capsys):
    assert run(folder, "--seed", "0", "7") == 2
    assert "expected a record of scaling_factors, seed 7" in capsys.readouterr().err
    assert not (folder / "scaling_factors-scratch.jsonl").exists()
    assert {name for name, each in EXPERIMENTS.items() if not hasattr(each, "small_nets")} == scratch.WHY_NOT.keys()
    for name, why in scratch.WHY_NOT.items():
        with pytest.raises(ValueError, match=f"^{name} has no small nets for --scratch: {why}$"):
            scratch.pruned(EXPERIMENTS[name], [], folder / "x.jsonl")


def test_paired_differences_are_those_of_the_same_seed():
    old = [record(0), record(1)]
    old[1]["rows"][0]["retrained"] = {"test_accuracy": 0.7}
    gains = {0: {"E": 0.01, "B": 0.05}, 1: {"E": 0.03, "B": 0.09}}

    def added(seed):
        nets = [{"rows": ["SSS", "same blocks"], "net": {"removed": REMOVED}}]
        was = old[seed]["rows"][0]["retrained"]["test_accuracy"]
        rows = [
            {"of": nets[0]["rows"], "arm": f"scratch-{arm}", "epochs": 9, "trained": {"test_accuracy": was + gain}}
            for arm, gain in gains[seed].items()
        ]
        return {"spec": {"record": setup.digest(tiny(seed)), "nets": nets}, "rows": rows}

    rows = scratch.compared(scaling_factors, old, [added(0), added(1)])
    assert rows[0]["B - retrained"] == pytest.approx((7.0, 2.0)) and not rows[0]["by chance"]
    lines = scratch.table(rows).splitlines()
    assert lines[1].split() == ("SSS 2 60.00 +- 10.00 62.00 +- 11.00 67.00 +- 12.00 2.00 +- 1.00 7.00 +- 2.00".split())


def found_in(record, label):
    """What the record says of the small net of this row: MACs (not those of masks) and weights."""
    if "small" in record:
        return {"weights": sum(record["small"]["weights"])}
    if record["experiment"] in ("ssl", "structured_sparsity"):
        return record["retrained"]
    names = ("target", "{:.0%} of the MACs"), ("sparsity", "{:.0%} of the weights gone")
    for row in record["rows"]:
        parts = [row["method"], *(text.format(row[name]) for name, text in names if name in row)]
        if ", ".join(parts) == label:
            return row


@pytest.mark.parametrize("name", sorted(EXPERIMENTS.keys() - scratch.WHY_NOT.keys()))
def test_the_small_nets_are_as_large_as_those_that_were_pruned(name):
    checked = 0
    for record in record_file.read(RESULTS / f"{name}.jsonl"):
        dense = record["spec"].get("dense", record["spec"])
        net = setup.MODELS[dense["model"]](np.random.default_rng(0), dtype=np.float32)
        for label, wanted, old in EXPERIMENTS[name].small_nets(record):
            small = scratch.small_net(net, wanted, setup.SHAPES[dense["data"]], np.random.default_rng(1))
            row, sizes = found_in(record, label), setup.costs(small, dense["data"])
            if "weights" in row:
                assert row["weights"] == (masks.counts(small)[0] if wanted.get("left") else sizes["weights"])
            assert row.get("macs", sizes["macs"]) == sizes["macs"] and 0 < old["test_accuracy"] < 1
            checked += 1
    assert checked > 10


def test_columns_and_single_weights_are_drawn_as_many_as_are_left_and_by_chance():
    net = setup.MODELS["lenet5"](np.random.default_rng(0), dtype=np.float32)
    wanted = scratch.matrices("lenet5", [[3, 10], [13, 20], [500, 200], [10, 500]])
    assert wanted == {"widths": {"0.W": 3, "2.W": 13, "5.W": 500}, "columns": {"0.W": 10, "2.W": 20, "5.W": 200}}
    one, same, other = (scratch.small_net(net, wanted, (1, 28, 28), np.random.default_rng(s)) for s in (0, 0, 1))
    assert [W.shape for W in masks.prunable(one).values()] == [(3, 10), (13, 20), (500, 200), (10, 500)]
    assert one.layers[0].columns == same.layers[0].columns != other.layers[0].columns
    left = {"0.W": 36, "2.W": 100, "5.W": 40, "7.W": 5000}
    masked = scratch.small_net(net, {"left": left}, (1, 28, 28), np.random.default_rng(0))
    assert {name: masks.counts(masked, [name])[0] for name in left} == left
    assert masked.layers[0].W.mask.reshape(20, 25).any(axis=1).sum() > 10, "they are not all in a row"


def test_nets_of_mnist_and_masked_ones_are_trained_for_at_most_twice_the_epochs():
    long = {"data": "mnist", "model": "lenet5", "epochs": 10, "milestones": [], "learning_rate": 0.05}
    net = setup.MODELS["lenet5"](np.random.default_rng(0), dtype=np.float32)
    small = surgery.remove(net, {"0.W": [0], "2.W": [0]})
    half = surgery.remove(net, {"0.W": list(range(15)), "2.W": list(range(40))})
    r = Fraction(*(setup.costs(each, "mnist")["macs"] for each in (net, half)))
    for fresh, at_most, epochs in ((small, 2, 20), (half, 2, round(10 * r)), (half, None, round(10 * r))):
        (_, e), (_, b) = scratch.plans(net, fresh, long, at_most)
        assert (e["epochs"], b["epochs"]) == (10, epochs)
    assert 11 < round(10 * r) < 20
    (_, b) = list(scratch.plans(net, small, long))[1]
    assert b["epochs"] > 100
    masked = scratch.small_net(net, {"left": {"5.W": 400}}, (1, 28, 28), np.random.default_rng(0))
    assert list(scratch.plans(net, masked, long))[1][1]["epochs"] == 20


def test_a_recipe_without_momentum_is_trained_with_adam(monkeypatch):
    made = []
    monkeypatch.setattr(setup, "fit_to", lambda net, optimizer, *_, **__: made.append(optimizer))
    net = setup.MODELS["conv3"](np.random.default_rng(0), dtype=np.float32)
    plan = {"epochs": 1, "milestones": [], "learning_rate": 0.005}
    test = np.zeros((1, 8, 8, 2), np.float32), np.array([0, 1])
    for more in ({}, {"momentum": 0.9, "weight_decay": 1e-3}):
        scratch.trained(net, {"seed": 0, **more}, plan, test, test, None)
    adam, sgd = made
    assert isinstance(adam, nn.Adam) and adam.learning_rate == sgd.learning_rate == 0.005
    assert isinstance(sgd, nn.SGD) and (sgd.momentum, sgd.weight_decay) == (0.9, 1e-3)


def test_experiments_that_train_without_a_dense_net_lend_their_recipe():
    (spec,) = EXPERIMENTS["variational_dropout"].specs("digits", [3], "cpu")
    rows = [{"method": m, "layers": {"0.W": 5}, "test_accuracy": 0.5} for m in ("variational, fitted", "small dense")]
    (cell,) = scratch.specs(EXPERIMENTS["variational_dropout"], [{"spec": spec, "rows": rows}])
    assert cell["dense"].items() <= spec.items() and "momentum" not in cell["dense"] and "at_most" not in cell
    assert cell["nets"] == [{"rows": ["variational, fitted"], "net": {"left": {"0.W": 5}}}]


@pytest.mark.parametrize("path", sorted(RESULTS.glob(f"*{scratch.SUFFIX}.jsonl")), ids=lambda path: path.stem)
def test_the_committed_records_belong_to_records_that_are_there(path):
    name = path.stem.removesuffix(scratch.SUFFIX)
    there = {setup.digest(each["spec"]): each for each in record_file.read(RESULTS / f"{name}.jsonl")}
    for record in record_file.read(path):
        spec = record["spec"]
        assert record["experiment"] == path.stem and record["versions"]["commit"]
        assert [spec] == scratch.specs(EXPERIMENTS[name], [there[spec["record"]]])
        wanted = [(net["rows"], f"scratch-{arm}") for net in spec["nets"] for arm in "EB"]
        assert [(row["of"], row["arm"]) for row in record["rows"]] == wanted
        e, b = record["rows"][::2], record["rows"][1::2]
        assert all(row["epochs"] == spec["dense"]["epochs"] for row in e)
        assert all(one["epochs"] <= two["epochs"] and one["start"] == two["start"] for one, two in zip(e, b))


def test_the_summary_has_every_row_of_the_committed_records():
    rows = {(row["experiment"], row["data"], row["row"]): row for row in scratch.summary(RESULTS)}
    for path in RESULTS.glob(f"*{scratch.SUFFIX}.jsonl"):
        for record in record_file.read(path):
            labels = [label for net in record["spec"]["nets"] for label in net["rows"]]
            keys = {(path.stem.removesuffix(scratch.SUFFIX), record["spec"]["dense"]["data"], each) for each in labels}
            assert keys <= rows.keys()
    for row in rows.values():
        for arm in "EB":
            mean, error = row[f"{arm} - retrained"]
            assert mean == pytest.approx(row[f"scratch-{arm}"][0] - row["retrained"][0], abs=1e-9)
            assert (error is None) == (row["seeds"] == 1)


def test_nets_of_records_with_a_teacher_learn_from_it_and_not_from_the_labels(monkeypatch):
    (spec, *_) = (each for each in EXPERIMENTS["lenet_record"].specs("mnist", [0], "cpu") if each["structured"])
    small = {"shapes": [[2, 5], [3, 10], [500, 48], [10, 500]], "weights": [10, 30, 24000, 5000], "test_accuracy": 0.9}
    (cell,) = scratch.specs(EXPERIMENTS["lenet_record"], [{"spec": spec, "small": small}])
    assert cell["teacher"] == spec["teacher"] and cell["at_most"] == scratch.CAP
    x, t = np.random.default_rng(0).random((1, 28, 28, 60), np.float32), np.zeros(60, int)
    logits = np.zeros((1, 10, 60))
    logits[:, 1] = 50.0  # the teacher says 1, the labels 0
    copies = bank.Bank((255 * x).astype(np.uint8).reshape(-1, 60).T[None], logits, t, (1, 28, 28))
    monkeypatch.setattr(bank, "bank", lambda *_: copies)
    lesson = scratch.taught({"distillation": {"temperature": 3.0, "alpha": 1.0}}, cell["dense"], (x, t), None, None)
    net = setup.MODELS["lenet5"](np.random.default_rng(0), dtype=np.float32)
    fresh = scratch.small_net(net, cell["nets"][0]["net"], (1, 28, 28), np.random.default_rng(0))
    plan = {"epochs": 9, "milestones": [], "learning_rate": 0.05}
    done = scratch.trained(fresh, cell["dense"], plan, (x, t), (x, t + 1), None, lesson)
    assert done["start"] < 1 == done["trained"]["test_accuracy"]
