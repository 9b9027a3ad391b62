"""The rows of `lenet_record`, and the epochs of all controls; their cells are tested in lenet5/."""

import pytest

from pruning.experiments import admm_lenet5, lenet_record
from pruning.experiments.lenet5 import bank


def test_all_seeds_have_one_teacher():
    specs = lenet_record.specs("mnist", [0, 1], "cpu")
    assert {spec["dense"]["seed"] for spec in specs} == {0, 1}
    assert all(spec["seed"] == spec["dense"]["seed"] for spec in specs)
    assert all(spec["teacher"] == bank.spec(specs[0]["dense"]) for spec in specs)
    assert specs[0]["teacher"]["dense"]["seed"] == 0


def test_the_control_has_as_many_epochs():
    for module in (admm_lenet5, lenet_record):
        total = {}
        for spec in module.specs("mnist", [0], "cpu"):
            epochs = [stage.get("epochs", 0) + stage.get("warm_up", 0) for stage in spec["stages"]]
            free = spec["stages"][0].get("score") == "fisher" and spec["stages"][0]["kind"] == "sparse at once"
            total.setdefault(spec["row"], set()).add(sum(epochs) + free)
        assert all(len(epochs) == 1 for epochs in total.values()), total


def test_bad_input_is_one_sentence():
    with pytest.raises(
        ValueError,
        match="lenet_record is LeNet-5 on MNIST on the CPU: expected --data mnist, no --model and no --device, got",
    ):
        lenet_record.specs("digits", [0], "cpu")
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        lenet_record.specs("mnist", [-1], "cpu")
