"""The rows of `admm_lenet5`; their cells are tested in lenet5/."""

import pytest

from pruning.experiments import admm_lenet5


def test_bad_input_is_one_sentence():
    with pytest.raises(
        ValueError,
        match="admm_lenet5 is LeNet-5 on MNIST on the CPU: expected --data mnist, no --model and no --device, got",
    ):
        admm_lenet5.specs("digits", [0], "cpu")
    with pytest.raises(ValueError, match=r"no --model and no --device, got --data mnist --model vgg --device cpu$"):
        admm_lenet5.specs("mnist", [0], "cpu", model="vgg")
    with pytest.raises(ValueError, match="expected a seed of 0 or more, got -1"):
        admm_lenet5.specs("mnist", [-1], "cpu")


def test_no_row_has_a_teacher():
    assert all(spec["teacher"] is None for spec in admm_lenet5.specs("mnist", [0, 1], "cpu"))
