"""What a docstring need not say again, an API page says: arguments that always mean the same, and errors."""

import ast
import inspect
import re
import textwrap
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


WITHIN = {
    "nn.curvature.exact": {"gy": "dE/dy (D, N) at the net's outputs", "Hy": "d2E/dy2 (D, D, N) there"},
    "nn.training": {"companions": "what goes along with training; see `nn.Companion`"},
    "pruning.filters": {
        "shares": "share of the filters that goes, {name: share}, or the shares to try",
        "score": "function of net and names, such as `pruning.scores.filter_norm.saliency`",
        "measure": "function of a net, such as its accuracy",
    },
    "pruning.penalties.families": {
        "name": 'of the weight, such as "3.W"',
        "strength": "lam of the family, at least 0",
        "weighted": "whether s_g is the root of the number of weights in g; else it is 1",
    },
    "pruning.penalties.group_lasso": {
        "families": "such as `pruning.penalties.families.filters` of some layers",
        "family": "the groups, with their lam",
        "weights": "all parameters of the families, {name: array}",
        "step": "length of the gradient step, at least 0",
    },
    "pruning.reconstruction": {
        "moments": "of what the layer reads, as `pruning.reconstruction.moments.collect` returns them"
    },
    "pruning.reconstruction.neuron_merging": {
        "omega": "(n, D) weights into the neurons",
        "a": "(n,) weights out of them",
    },
    "pruning.scores.obs": {"u": "(K,) parameters", "Hinv": "(K, K) inverse of the Hessian"},
}
"""Arguments that mean the same throughout a module, or a package."""


def unsaid(value: Any) -> dict[str, str]:
    """Return the arguments of a function or class that its docstring does not name, and what they always mean."""
    said = (value.__doc__ or "") + (value.__init__.__doc__ or "" if inspect.isclass(value) else "")
    package = value.__module__.rpartition(".")[0]
    meant = USUAL | WITHIN.get(package, {}) | WITHIN.get(value.__module__, {})
    names = [each.name for each in arguments(value) if not re.search(rf"\b{re.escape(each.name)}\b", said)]
    return {name: meant[name] for name in names if name in meant}


def unsaid_errors(value: Any) -> dict[str, str]:
    """Return the errors that the code raises and the docstring does not name, each with its sentence."""
    function = inspect.unwrap(value.__dict__.get("__init__") if inspect.isclass(value) else value)
    if not inspect.isfunction(function) or "<" in function.__code__.co_filename:
        return {}
    found = {}
    for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(function)))):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and isinstance(node.exc.func, ast.Name):
            name, said = node.exc.func.id, (value.__doc__ or "") + (function.__doc__ or "")
            if name not in said and name != "NotImplementedError":
                found[name] = sentence(node.exc.args)
    return found


def sentence(arguments: list[ast.expr]) -> str:
    """Return the text of an error, with dots for what depends on the case."""
    parts = arguments[0].values if arguments and isinstance(arguments[0], ast.JoinedStr) else arguments[:1]
    return "".join(str(part.value) if isinstance(part, ast.Constant) else "..." for part in parts)


def arguments(value: Any) -> list[inspect.Parameter]:
    """Return the arguments of a function, or of a class's own __init__, without self."""
    function = inspect.unwrap(value.__dict__.get("__init__") if inspect.isclass(value) else value)
    if not inspect.isfunction(function):
        return []
    return [each for each in inspect.signature(function).parameters.values() if each.name not in ("self", "cls")]
