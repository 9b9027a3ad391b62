"""The experiment `train`."""

import numpy as np
import pytest

import nn
from pruning.experiments import setup, train
from pruning.experiments.figures import train as figures


@pytest.mark.parametrize("data", ["digits", "cifar10"])
def test_the_training_experiment_goes_on_from_its_checkpoint(data, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    N = 60 if data == "digits" else 4
    images = rng.random((1, 28, 28, N)) if data == "digits" else rng.random((3, 32, 32, N))
    part = images.astype(np.float32), rng.integers(0, 10, N)
    monkeypatch.setattr(nn.data, "load", lambda *a, **k: nn.data.DataSet(part, part))
    model = "lenet300" if data == "digits" else "vgg11-thin"
    monkeypatch.setitem(train.RECIPES, (data, model), {**train.MNIST, "epochs": 3})
    (spec,) = train.specs(data, [0], "cpu", model)
    whole = train.run_cell(spec, folder=None)
    train.run_cell({**spec, "epochs": 1}, folder=tmp_path)
    (tmp_path / setup.checkpoint_name({**spec, "epochs": 1})).rename(tmp_path / setup.checkpoint_name(spec))
    assert train.run_cell(spec, folder=tmp_path) == {**whole, "resumed": True}
    other = {**spec, "learning_rate": 1e-9, "epochs": 1}
    assert not train.run_cell(other, folder=tmp_path)["resumed"]  # another recipe has another checkpoint
    assert len(whole["history"]) == 3 and whole["test_accuracy"] == whole["history"][-1]["test_accuracy"]
    path = figures.training_curves([{"spec": spec, **whole}], tmp_path / "curves.png")
    assert path.stat().st_size > 1000
