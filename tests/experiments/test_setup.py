"""What the experiments begin with."""

import ast
import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

import nn
from pruning.experiments import (
    EXPERIMENTS,
    OLD_NAMES,
    obd_mlp,
    obs_mlp,
    record_file,
    scratch,
    setup,
    sparse_speed,
    train,
)

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "notebooks" / "results"
# The commands that the committed records come from: (experiment, data, model, seeds, with --validation); those of
# NAME-scratch have the option --scratch.
COMMANDS = [
    ("accelerators", "digits", None, range(5), False),
    ("accelerators", "mnist", None, range(3), False),
    ("accelerators-scratch", "digits", None, range(5), False),
    *(("obd_mlp", data, None, range(5), False) for data in ("digits", "usps")),
    *(("obd_lenet1990", data, None, range(5), False) for data in ("usps", "mnist")),
    ("obs_mlp", "digits", None, range(5), False),
    ("oracle_ranks", "digits", None, range(5), False),
    ("reconstruction", "digits", None, range(5), False),
    ("reconstruction", "mnist", None, range(3), False),
    ("reconstruction", "cifar10", None, range(3), False),
    ("parameter_efficiency", "digits", None, range(5), False),
    ("parameter_efficiency", "cifar10-16", None, range(3), False),
    ("reconstruction-scratch", "digits", None, range(5), False),
    ("rethinking", "digits", None, range(5), False),
    ("rethinking", "mnist", "lenet300", range(3), False),
    ("rethinking", "mnist", "lenet5", range(5), False),
    ("rethinking", "cifar10", "vgg11-thin", range(5), False),
    ("scaling_factors", "digits", None, range(5), False),
    ("scaling_factors", "cifar10-16", None, range(3), False),
    ("scaling_factors-scratch", "digits", None, range(5), False),
    ("scaling_factors-scratch", "cifar10-16", None, range(3), False),
    ("self_adaptive", "digits", None, range(5), False),
    ("slimming", "digits", None, range(5), False),
    ("slimming", "cifar10", None, range(3), False),
    ("slimming-scratch", "digits", None, range(5), False),
    ("soft_filters", "digits", None, range(5), False),
    ("soft_filters", "cifar10", None, range(3), False),
    ("soft_filters-scratch", "digits", None, range(5), False),
    ("transformable", "digits", None, range(5), False),
    ("adversarial", "digits", None, range(3), False),
    ("factorised_l0", "digits", None, range(3), False),
    ("from_scratch", "digits", None, range(5), False),
    ("l0", "digits", None, range(5), False),
    ("l0", "mnist", "lenet300", range(3), False),
    ("l0", "mnist", "lenet5", range(3), False),
    ("variational_dropout", "digits", None, range(5), False),
    ("variational_dropout", "mnist", "lenet300", range(3), False),
    ("variational_dropout", "mnist", "lenet5", range(3), False),
    ("variational_dropout-scratch", "digits", None, range(5), False),
    ("train", "mnist", "lenet5", range(3), False),
    ("train", "cifar10", "vgg11-thin", range(3), False),
    ("train", "cifar10", "resnet20", range(3), False),
    ("filters", "mnist", "lenet5", range(3), False),
    ("filters", "cifar10", "vgg11-thin", range(3), False),
    ("filters", "cifar10", "resnet20", range(3), False),
    ("structured_sparsity", "mnist", "lenet5", range(3), False),
    ("structured_sparsity", "mnist", "mlp500", range(3), False),
    ("structured_sparsity", "cifar10", "resnet20", range(3), False),
    ("structured_sparsity-scratch", "mnist", "mlp500", range(3), False),
    ("sparse_speed", "digits", None, range(3), False),
    ("admm_lenet5", "mnist", None, range(3), False),
    ("lenet_record", "mnist", None, range(3), False),
]


def anywhere(spec):
    """The specification without what differs from one machine, or one version of Python's help texts, to another."""
    return {**spec, **{name: None for name in ("machine", "sha256") if name in spec}}


@pytest.mark.parametrize(("name", "data", "model", "seeds", "validation"), COMMANDS)
def test_the_committed_records_are_those_of_todays_specifications(name, data, model, seeds, validation):
    there = [record["spec"] for record in record_file.read(RESULTS / f"{name}.jsonl")]
    found = {record_file.key(anywhere(spec)) for spec in there}
    experiment = EXPERIMENTS[name.removesuffix(scratch.SUFFIX)]
    specs = experiment.specs(data, list(seeds), "cpu", model, validation)
    if name.endswith(scratch.SUFFIX):
        pruned = RESULTS / f"{name.removesuffix(scratch.SUFFIX)}.jsonl"
        specs = scratch.specs(experiment, scratch.pruned(experiment, specs, pruned))
        assert specs
    for spec in specs:
        own = anywhere(spec)
        assert record_file.key(own) in found, f"no record of seed {spec['seed']}"


def test_all_grids_are_of_sparsities_that_ascend():
    for grid in (obd_mlp.GRID, obs_mlp.GRID, sparse_speed.SPARSITIES):
        assert list(grid) == sorted(set(grid)) and 0 < min(grid) and max(grid) < 1
    for experiment in (obd_mlp, obs_mlp):
        assert experiment.spec()["grid"] == list(experiment.GRID)


def test_no_experiment_imports_another_and_every_command_is_its_file():
    for name, module in EXPERIMENTS.items():
        assert module.__name__ == f"pruning.experiments.{name}"
        tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
        imported = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                imported |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        assert not imported & {f"pruning.experiments.{other}" for other in EXPERIMENTS}, name
        assert (ROOT / "tests" / "experiments" / f"test_{name}.py").is_file()
        assert (ROOT / "notebooks" / "results" / f"{name}.jsonl").is_file()
    assert set(OLD_NAMES.values()) <= EXPERIMENTS.keys() and not OLD_NAMES.keys() & EXPERIMENTS.keys()


def test_the_validation_split_holds_out_training_images_and_never_the_test_set(monkeypatch):
    x, t = np.arange(6000.0)[None], np.zeros(6000, int)
    monkeypatch.setattr(nn.data, "load", lambda *a, **k: nn.data.DataSet((x, t), (None, None)))
    (spec,) = train.specs("mnist", [0], "cpu", "lenet5", validation=True)
    (x_train, _), (x_held_out, _) = setup.parts(spec, None)
    np.testing.assert_array_equal(x_train[0], np.arange(1000))
    np.testing.assert_array_equal(x_held_out[0], np.arange(1000, 6000))


def test_pruned_nets_leave_the_last_training_images_of_mnist_out_and_trained_ones_do_not():
    for (data, model), recipe in setup.DENSE.items():
        (dense,), (trained,) = setup.dense_specs(data, [7], "cpu", model), train.specs(data, [7], "cpu", model)
        others = {"cifar10": 10000, "cifar10-16": 10000, "digits": 1137}
        assert dense["images"] == recipe["images"] == {"mnist": 55000, **others}[data]
        assert trained["images"] == {"mnist": 60000, **others}[data]
        assert dense["seed"] == trained["seed"] == 7


def test_rates_fall_at_milestones_or_along_a_cosine():
    spec = {"learning_rate": 0.8, "milestones": [2, 4], "epochs": 6}
    assert [setup.schedule(spec)(epoch) for epoch in range(6)] == pytest.approx([0.8, 0.8, 0.08, 0.08, 0.008, 0.008])
    cosine = setup.schedule({**spec, "milestones": []})
    assert [cosine(epoch) for epoch in (0, 3, 6)] == pytest.approx([0.8, 0.4, 0])
    assert [setup.two_steps(1.0, 20)(epoch) for epoch in (11, 12, 16, 17)] == pytest.approx([1, 0.1, 0.1, 0.01])


def test_a_digest_is_that_of_the_sorted_json():
    spec = {"b": [1, 2.5], "a": None}
    expected = hashlib.sha256(b'{"a": null, "b": [1, 2.5]}').hexdigest()[:8]
    assert setup.digest(spec) == setup.digest(json.loads(json.dumps(spec))) == expected
    name = setup.checkpoint_name({"data": "mnist", "model": "lenet5", "seed": 3})
    assert name == "train-mnist-lenet5-3-" + setup.digest({"data": "mnist", "model": "lenet5", "seed": 3}) + ".npz"


def test_accuracy_is_the_share_that_is_right_and_refuses_a_net_that_diverged():
    net, rng = nn.Sequential(nn.Linear(4, 3, np.random.default_rng(0))), np.random.default_rng(1)
    x = rng.standard_normal((4, 10))
    t = np.argmax(net.forward(x), axis=0)
    t[:3] = (t[:3] + 1) % 3
    assert setup.accuracy(net, (x, t)) == 0.7
    net.layers[0].b.data[0] = np.nan
    with pytest.raises(FloatingPointError, match="the loss became nan in the last step"):
        setup.accuracy(net, (x, t))


def test_hits_say_which_images_were_right():
    net, rng = nn.Sequential(nn.Linear(4, 3, np.random.default_rng(0))), np.random.default_rng(1)
    x, t = rng.standard_normal((4, 2345)), rng.integers(0, 3, 2345)  # more than two batches of a thousand, and odd
    right = np.argmax(net.forward(x), axis=0) == t
    measured = setup.tested(net, (x, t))
    np.testing.assert_array_equal(record_file.unpacked(measured["hits"], 2345), right)
    assert measured["test_accuracy"] == np.mean(right) and net.training


def test_the_costs_of_lenet5():
    assert setup.costs(nn.models.lenet5(None), "mnist") == {
        "conv_macs": 500 * 24**2 + 25000 * 8**2,
        "conv_weights": 25500,
        "macs": 500 * 24**2 + 25000 * 8**2 + 405000,
        "weights": 430500,
    }


def test_seeds_that_make_no_sense():
    setup.check_seeds([0, 2**63 - 1, np.int64(5)])
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        setup.check_seeds([0, -1])
    with pytest.raises(ValueError, match=r"expected a seed of at most 9223372036854775807, got one of 1000 bits"):
        setup.check_seeds([2**999])
    for specs in (
        lambda: train.specs("mnist", [2**64], "cpu", "lenet5"),
        lambda: obs_mlp.specs("digits", [2**64], "cpu"),
        lambda: sparse_speed.specs("digits", [2**64], "cpu"),
    ):
        with pytest.raises(ValueError, match="expected a seed of at most 9223372036854775807, got one of 65 bits"):
            specs()


@pytest.mark.parametrize("experiment", [obd_mlp, obs_mlp])
def test_the_sparsities_of_a_grid_ascend_within_0_and_1(experiment):
    grid = experiment.spec()["grid"]
    assert grid == list(experiment.GRID) == sorted(set(grid))
    assert 0 < grid[0] and grid[-1] < 1
