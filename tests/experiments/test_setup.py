"""What the experiments begin with."""

import numpy as np
import pytest

import nn
from pruning.experiments import obd_mlp, obs_mlp, setup, train


def test_the_validation_split_holds_out_training_images_and_never_the_test_set(monkeypatch):
    x, t = np.arange(6000.0)[None], np.zeros(6000, int)
    monkeypatch.setattr(nn.data, "load", lambda *a, **k: nn.data.DataSet((x, t), (None, None)))
    (spec,) = train.specs("mnist", [0], "cpu", "lenet5", validation=True)
    (x_train, _), (x_held_out, _) = setup.parts(spec, None)
    np.testing.assert_array_equal(x_train[0], np.arange(1000))
    np.testing.assert_array_equal(x_held_out[0], np.arange(1000, 6000))


@pytest.mark.parametrize("experiment", [obd_mlp, obs_mlp])
def test_the_sparsities_of_a_grid_ascend_within_0_and_1(experiment):
    grid = experiment.spec()["grid"]
    assert grid == list(experiment.GRID) == sorted(set(grid))
    assert 0 < grid[0] and grid[-1] < 1
