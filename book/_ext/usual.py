"""Arguments that mean the same everywhere: what a docstring need not say again, an API page says."""

import inspect
import re
from typing import Any

USUAL = {
    "net": "the net, an `nn.Module`; its parameters are named as in ``net.named_parameters()``",
    "loss": "the loss at its end, such as `nn.SquaredError` or `nn.SoftmaxCrossEntropy`",
    "x": "inputs, one pattern in each place of the last axis: features (D, N), images (C, H, W, N)",
    "t": "targets: values (K, N), or classes as whole numbers (N,)",
    "rng": "the ``np.random.Generator`` of all random draws; models and layers take None and are outlines then",
    "dtype": "float64 or float32, of all arrays that are made",
    "init": "``init(shape, rng)`` draws the weights; see `nn.initializers`",
    "batch_size": "patterns at a time, to save memory; None takes all at once",
    "weight_decay": "lam of E + (lam / 2) ||u||^2 over all parameters",
    "names": 'parameters by name, such as ``["0.W"]``; None is every W of the affine layers',
    "input_shape": "shape of one input, without the batch: (D,) or (C, H, W)",
    "classes": "number of outputs",
    "learning_rate": "length of the steps",
    "kernel": "KH and KW, or one number for both",
    "stride": "steps of the windows down and to the right, or one number for both",
    "padding": "zeros around the images: one number, (down, right), or ((top, bottom), (left, right))",
    "dilation": "distance of the pixels of a window, 1 for neighbours",
    "progress": "whether a bar shows how far it is",
    "X": "samples in rows, (n, p)",
    "y": "one answer for each row of X, (n,)",
    "lam": "weight of the penalty in (1/2n) ||y - X beta||^2 + lam penalty(beta)",
    "tolerance": "largest relative error that passes",
    "convention": "what counts as an operation and as a parameter; see `pruning.counts`",
}


def unsaid(value: Any) -> dict[str, str]:
    """Return the usual arguments of a function or class that its docstring does not name, and what they mean."""
    said = (value.__doc__ or "") + (value.__init__.__doc__ or "" if inspect.isclass(value) else "")
    return {
        each.name: USUAL[each.name]
        for each in arguments(value)
        if each.name in USUAL and not re.search(rf"\b{re.escape(each.name)}\b", said)
    }


def arguments(value: Any) -> list[inspect.Parameter]:
    """Return the arguments of a function, or of a class's own __init__, without self."""
    function = inspect.unwrap(value.__dict__.get("__init__") if inspect.isclass(value) else value)
    if not inspect.isfunction(function):
        return []
    return [each for each in inspect.signature(function).parameters.values() if each.name not in ("self", "cls")]
