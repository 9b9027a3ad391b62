"""A handful of random images for the tests of the record of LeNet-5, and small cells on them."""

import json

import numpy as np
import pytest

from pruning.experiments import admm_lenet5, lenet_record, runner, setup
from pruning.experiments.lenet5 import bank

SHAPE = (1, 28, 28)


@pytest.fixture(scope="module", autouse=True)
def few():
    """40 random images to train on, 20 that are held out, and 30 to test on."""
    rng = np.random.default_rng(0)
    train_part, held_out, test = ((rng.random((*SHAPE, n), np.float32), rng.integers(0, 10, n)) for n in (40, 20, 30))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(setup, "parts", lambda spec, root: (train_part, held_out if spec["validation"] else test))
        yield


@pytest.fixture(scope="module")
def tiny():
    return tiny_cell


def tiny_cell(module, row, method, **more):
    """Return a cell with one epoch a stage, and a thin net if it is a small one that is started from."""
    found = [s for s in module.specs("mnist", [0], "cpu") if (s["row"], s["method"]) == (row, method)]
    spec = json.loads(json.dumps(found[0]))
    spec["dense"] |= {"epochs": 1, "batch_size": 20}
    if spec["teacher"] is not None:
        spec["teacher"]["dense"] = spec["dense"]
        spec["teacher"] |= {"teacher": {**bank.TEACHER, "epochs": 1}, "copies": {**bank.COPIES, "number": 2}}
    for stage in spec["stages"]:
        stage |= {name: 1 for name in ("epochs", "every", "warm_up") if name in stage}
    return spec | more


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("records")


CELLS = [
    (admm_lenet5, "conv 650", "admm"),
    (admm_lenet5, "conv 650", "at once"),
    (admm_lenet5, "conv 650", "in steps"),
    (admm_lenet5, "conv 650", "admm and purification"),
    (admm_lenet5, "whole 6050", "gradual fisher"),
    (admm_lenet5, "whole 6050", "admm"),
    (lenet_record, "whole 2750", "groups"),
    (lenet_record, "whole 2750", "at once"),
]


@pytest.fixture(scope="module")
def records(folder):
    return [runner.run_one("admm_lenet5", tiny_cell(*cell), folder=folder) for cell in CELLS]
