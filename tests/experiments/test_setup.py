"""What the experiments begin with."""

import numpy as np

import nn
from pruning.experiments import setup, train


def test_the_validation_split_holds_out_training_images_and_never_the_test_set(monkeypatch):
    x, t = np.arange(6000.0)[None], np.zeros(6000, int)
    monkeypatch.setattr(nn.data, "load", lambda *a, **k: nn.data.DataSet((x, t), (None, None)))
    (spec,) = train.specs("mnist", [0], "cpu", "lenet5", validation=True)
    (x_train, _), (x_held_out, _) = setup.parts(spec, None)
    np.testing.assert_array_equal(x_train[0], np.arange(1000))
    np.testing.assert_array_equal(x_held_out[0], np.arange(1000, 6000))
