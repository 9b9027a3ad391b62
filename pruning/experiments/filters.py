"""Filter pruning of LeNet-5: sensitivity of its layers, then half of the conv MACs removed and the net retrained.

Li et al. 2017: filters with small L1 norms go, at once or in steps.  Beside them filters chosen by chance, and the
dense net trained on for as many epochs.  Sensitivity is measured on the 5,000 training images that the dense net never
saw; accuracies after retraining are those of the last epoch on the test images.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
import pruning.filters
from nn.backend import Array, array_module
from nn.module import Module
from pruning import surgery
from pruning.counts import count
from pruning.experiments import figures, train
from pruning.scores import chance, filter_norm

SHAPE = (1, 28, 28)
CONVOLUTIONS = ("0.W", "2.W")
METHODS = ("l1", "l1 in steps", "random", "dense")
# Short: three epochs over 20,000 images are one over all.  The learning rate, a fifth of the dense net's first one, was
# not tuned, so that no method is favoured.
RETRAINING = {
    "learning_rate": 0.01,
    "images": 20000,
    "epochs": 3,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "batch_size": 128,
}
Part = tuple[Array, Array]


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies are those on the held-out images.

    Raises
    ------
    ValueError
        For another data set than MNIST, another model than LeNet-5, or a negative seed.
    """
    if data != "mnist" or model not in (None, "lenet5"):
        raise ValueError(f"filters prunes LeNet-5 on MNIST: expected --data mnist, got --data {data} --model {model}")
    if min(seeds) < 0:
        raise ValueError(f"expected a seed of 0 or more, got {min(seeds)}")
    dense = {"data": data, "model": "lenet5", "device": device, "momentum": 0.9, **train.DENSE, "validation": False}
    shared = {
        "shares": [k / 10 for k in range(10)],
        "macs": 0.5,
        "convention": "conv_only",
        "steps": 2,
        "retraining": RETRAINING,
        "validation": validation,
    }
    return [{"seed": seed, "dense": {**dense, "seed": seed}, **shared} for seed in seeds]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"dense": of the net before pruning, "sensitivity": {score: {layer: accuracies}}, "rows": one a method}.

    The dense net comes from its checkpoint in `folder`, and is trained if there is none.
    """
    net, _ = train.trained(spec["dense"], root, progress, folder)
    xp = array_module(spec["dense"]["device"])
    few = {**spec["dense"], "images": spec["retraining"]["images"]}
    part, held_out = train.parts({**few, "validation": True}, root)
    test = held_out if spec["validation"] else train.parts(few, root)[1]
    part, held_out, test = ((xp.asarray(x), xp.asarray(t)) for x, t in (part, held_out, test))
    scores: dict[str, Any] = {
        "l1": filter_norm.saliency,
        "random": partial(_by_chance, rng=np.random.default_rng([spec["seed"], 1])),
    }
    curves = {
        name: pruning.filters.sensitivity(net, CONVOLUTIONS, spec["shares"], score, partial(accuracy, part=held_out))
        for name, score in scores.items()
    }
    rows = []
    for method in tqdm(METHODS, disable=not progress, unit="net", desc="retraining"):
        score = scores["random" if method == "random" else "l1"]
        rows.append({"method": method, **pruned_and_retrained(net, spec, method, score, part, test)})
    result = {
        "dense": {"test_accuracy": accuracy(net, test), "epochs": spec["dense"]["epochs"], **costs(net)},
        "sensitivity": curves,
        "rows": rows,
    }
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


def pruned_and_retrained(
    net: Module, spec: Mapping[str, Any], method: str, score: pruning.filters.Score, part: Part, test: Part
) -> dict[str, Any]:
    """Cut and retrain in turn, and return the costs of what is left and its accuracy by epoch.

    "epochs" and "test_accuracy" go together; an epoch stands there twice where the net is cut after it.
    """
    rng = np.random.default_rng(spec["seed"])
    steps = {"dense": 0, "l1 in steps": spec["steps"]}.get(method, 1)
    total, whole = spec["retraining"]["epochs"], count(net, SHAPE, spec["convention"]).macs
    small = surgery.remove(net, {})
    epochs, accuracies = ([], []) if steps else ([0], [accuracy(net, test)])
    for step in range(max(1, steps)):
        if steps:
            left = 1 - (1 - spec["macs"]) * (step + 1) / steps
            small = fewer_macs(small, left * whole, spec["convention"], score)
            epochs.append(total * step // max(1, steps))
            accuracies.append(accuracy(small, test))
        until = total * (step + 1) // max(1, steps)
        history = retrain(small, spec["retraining"], until - epochs[-1], part, test, rng)
        epochs += range(epochs[-1] + 1, until + 1)
        accuracies += [row["test_accuracy"] for row in history]
    widths = [layer.W.shape[0] for layer in small.modules() if isinstance(layer, nn.Conv2d)]
    return {"filters": widths, **costs(small), "epochs": epochs, "test_accuracy": accuracies}


def fewer_macs(net: Module, macs: float, convention: str, score: pruning.filters.Score) -> Module:
    """Return the net without the share of filters, the same in both convolutions, that leaves at most `macs`."""
    now = count(net, SHAPE, convention).macs
    share = pruning.filters.share_for_macs(net, CONVOLUTIONS, SHAPE, macs / now, convention)
    keep = pruning.filters.independent(net, dict.fromkeys(CONVOLUTIONS, share), score)
    return surgery.remove(net, keep)


def retrain(
    net: Module, recipe: Mapping[str, Any], epochs: int, part: Part, test: Part, rng: np.random.Generator
) -> list[dict[str, float]]:
    """Train the net on in place, the learning rate falling along a cosine, and return one record an epoch."""
    rate, momentum, decay = (recipe[name] for name in ("learning_rate", "momentum", "weight_decay"))
    optimizer = nn.SGD(net.parameters(), rate, momentum, nesterov=True, weight_decay=decay)
    return nn.training.train(
        net,
        nn.SoftmaxCrossEntropy(),
        optimizer,
        *part,
        epochs=epochs,
        batch_size=recipe["batch_size"],
        rng=rng,
        schedule=nn.cosine_decay(rate, epochs),
        test=test,
        progress=False,
    )


def accuracy(net: Module, part: Part) -> float:
    """Return the share of patterns that the net gets right."""
    return nn.training.evaluate(net, nn.SoftmaxCrossEntropy(), *part)[1]


def costs(net: Module) -> dict[str, int]:
    """Return MACs and weights of the convolutions alone, and of the whole net."""
    conv, whole = count(net, SHAPE, "conv_only"), count(net, SHAPE, "li2017")
    return {
        "conv_macs": conv.macs,
        "conv_weights": conv.parameters,
        "macs": whole.macs,
        "weights": whole.parameters,
    }


def _by_chance(net: Module, names: list[str], rng: np.random.Generator) -> dict[str, Array]:
    return chance.saliency(net, rng, names)


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the sensitivity of the layers, and the accuracy while the pruned nets are retrained."""
    return [
        figures.filter_sensitivity(records, folder / "filters-sensitivity.png"),
        figures.filter_retraining(records, folder / "filters-retraining.png"),
    ]


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a method."""
    dense = record["dense"]
    where = "held-out" if record["spec"]["validation"] else "test"
    lines = [
        f"dense net, {dense['epochs']} epochs: {100 * dense['test_accuracy']:.2f} % of the {where} images",
        "method       filters  conv MACs left  whole net  cut, not retrained  retrained",
    ]
    for row in record["rows"]:
        lines.append(
            f"{row['method']:11} {'-'.join(map(str, row['filters'])):>8} {row['conv_macs'] / dense['conv_macs']:15.1%}"
            f" {row['macs'] / dense['macs']:10.1%} {row['test_accuracy'][0]:19.2%} {row['test_accuracy'][-1]:10.2%}"
        )
    return "\n".join(lines)
