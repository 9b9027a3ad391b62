"""Write tests/referees/golden.json: gradients and curvatures by torch, for the suite of those who have no torch.

    PYTHONPATH=.:tests python tests/referees/freeze_golden.py

Weights and data are stored too, so that nothing depends on a random generator.  Nothing here comes from our own
backward sweeps.
"""

import json
from pathlib import Path

import numpy as np
from cases import CASES
from referees.networks import autograd_gradient, autograd_hessian, curvature_recursion

import nn

NAMES = ("tanh-2-hidden-sse", "scaled-tanh-2-hidden-ce", "relu-2-hidden-ce")


def golden(case):
    net, loss, x, t = case.build()
    gu, gx = autograd_gradient(net, loss, x, t)
    H, hx = autograd_hessian(net, loss, x, t)
    layers = [layer for layer in net.layers if isinstance(layer, nn.Linear)]
    activations = [case.hidden.__name__] * (len(layers) - 1) + [case.output.__name__]
    weights = [(layer.W.data, layer.b.data) for layer in layers]
    pairs, obd_hx = curvature_recursion(weights, activations, case.loss.__name__, x, t, drop=True)
    numbers = {
        "u": nn.gradcheck.flat(net),
        "x": x,
        "t": t,
        "gradient": gu,
        "gx": gx,
        "exact": np.diagonal(H),
        "exact_hx": hx,
        "obd": np.concatenate([h.ravel() for pair in pairs for h in pair]),
        "obd_hx": obd_hx,
    }
    return {name: array.tolist() for name, array in numbers.items()}


if __name__ == "__main__":
    cases = {case.name: golden(case) for case in CASES if case.name in NAMES}
    Path(__file__).with_name("golden.json").write_text(json.dumps(cases) + "\n")
