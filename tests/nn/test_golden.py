"""Frozen results of torch (tests/referees/freeze_golden.py): what keeps the suite meaningful without it."""

import json
from pathlib import Path

import numpy as np
import pytest
from cases import CASES

from nn import gradcheck

GOLDEN = json.loads((Path(__file__).parents[1] / "referees/golden.json").read_text())


@pytest.mark.parametrize("name", GOLDEN)
def test_gradients_and_curvatures_equal_the_frozen_ones(name):
    golden = {key: np.array(values) for key, values in GOLDEN[name].items()}
    net, loss, _, _ = next(case for case in CASES if case.name == name).build()
    gradcheck.set_flat(net, golden["u"])
    loss.forward(net.forward(golden["x"]), golden["t"])
    gx, hx = net.backward_hessian(loss.backward(), loss.backward_hessian())
    ours = {"gradient": gradcheck.flat(net, "grad"), "gx": gx, "obd": gradcheck.flat(net, "hess_diag"), "obd_hx": hx}
    _, Hx = net.backward_hessian_full(loss.backward(), loss.hessian())
    ours |= {"exact": gradcheck.flat(net, "hess_diag"), "exact_hx": np.einsum("iin->in", Hx)}
    for key, values in ours.items():
        assert gradcheck.relative_error(values, golden[key]) <= 1e-12, key
    assert gradcheck.relative_error(golden["obd"], golden["exact"]) > 1e-2
