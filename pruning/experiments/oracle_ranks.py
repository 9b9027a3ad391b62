"""Every criterion's ranking against the true change of E, of every single filter and of every pair of filters.

A small convolutional net on the digits, before and after training: each filter is really removed, and each pair, and
the change of E on the training images is compared with what the criteria say, by Spearman's rank correlation: in each
layer, over all layers with the scores as they are (also with the change's absolute value) and with each layer's
divided by their l2 norm, and over pairs, for which the scores of the two are added.  As the last criterion stands the
oracle itself: for pairs, the true changes of the two filters added.  E is the loss alone: the decay of the weights that
went is no part of it.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.module import Sequential
from pruning import surgery
from pruning.experiments import setup
from pruning.experiments.comparison import Arm
from pruning.experiments.figures import oracle_ranks as figures
from pruning.masks import prunable
from pruning.pipeline import Objective
from pruning.reconstruction import moments
from pruning.scores import activation, chance, filter_norm, nisp, taylor

WIDTHS = (6, 8, 8)
NAMES = ("0.W", "3.W", "7.W")
READERS = ("3.W", "7.W", "11.W")
NORMS = ("1.gamma", "4.gamma", "8.gamma")
# Rate and epochs by hand, on seed 0: the training loss ends near zero.
RECIPE = {"learning_rate": 0.05, "epochs": 25, "batch_size": 64, "weight_decay": 1e-3}
FIELDS = ("states",)
Scores = dict[str, np.ndarray]


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed.

    Raises
    ------
    ValueError
        For another data set, a model, a validation split, another device than the CPU, or a negative seed.
    """
    if data != "digits" or model is not None or validation or device != "cpu":
        raise ValueError(
            "the experiment oracle_ranks has its own net and data, on the CPU:"
            " leave --data, --model, --device and --validation out"
        )
    setup.check_seeds(seeds)
    return [{"data": data, "seed": seed, "device": device, "widths": list(WIDTHS), **RECIPE} for seed in seeds]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"states": one dict before training, one after}; nothing is written to `folder`.

    A state has its name, `Objective.measure`, "true" (the change of E by each filter), "scores" (criterion -> layer ->
    filters), "pairs" (changes of E, in the order of `itertools.combinations` of all filters) and "spearman".
    """
    rng = np.random.default_rng(spec["seed"])
    data = setup.images(spec["data"], root)
    objective = Objective(nn.SoftmaxCrossEntropy(), data.train, data.test)
    net = setup.three_convolutions(spec["widths"], rng)
    states = [{"state": "before training", **state(net, objective, rng, progress)}]
    rate, epochs = spec["learning_rate"], spec["epochs"]
    optimizer = nn.SGD(net.parameters(), rate, momentum=0.9, weight_decay=spec["weight_decay"])
    schedule = setup.two_steps(rate, epochs)
    nn.training.train(
        net, objective.loss, optimizer, *data.train, epochs, spec["batch_size"], rng, schedule, progress=progress
    )
    return {"states": [*states, {"state": "after training", **state(net, objective, rng, progress)}]}


def state(net: Sequential, objective: Objective, rng: np.random.Generator, progress: bool = False) -> dict[str, Any]:
    """Return all that is measured of one net."""
    sizes = {name: parameter.shape[0] for name, parameter in prunable(net, NAMES).items()}
    filters = [(name, row) for name, n in sizes.items() for row in range(n)]
    measures = objective.measure(net)

    def change(*gone: tuple[str, int]) -> float:
        keep = {name: [row for row in range(n) if (name, row) not in gone] for name, n in sizes.items()}
        return objective.value(surgery.remove(net, keep)) - measures["E"]

    single = {each: change(each) for each in tqdm(filters, disable=not progress, unit="filter")}
    pairs = [change(*pair) for pair in tqdm(list(combinations(filters, 2)), disable=not progress, unit="pair")]
    true = {name: np.array([single[name, row] for row in range(n)]) for name, n in sizes.items()}
    scores = {name: score() for name, score in criteria(net, objective, rng).items()}
    agreement = {name: dict(_agreement(score, true, pairs)) for name, score in {**scores, "oracle": true}.items()}
    return {
        **measures,
        "true": _listed(true),
        "scores": {name: _listed(score) for name, score in scores.items()},
        "pairs": pairs,
        "spearman": agreement,
    }


def criteria(net: Sequential, objective: Objective, rng: np.random.Generator) -> dict[str, Callable[[], Scores]]:
    """Return {criterion: its scores of the three convolutions}."""
    (x, t), names = objective.train, list(NAMES)
    data, parameters = (net, objective.loss, x, t, names), dict(net.named_parameters())
    return {
        "chance": lambda: chance.saliency(net, rng, names),
        "L1": lambda: filter_norm.saliency(surgery.fold_batchnorm(net), names),
        "Taylor": lambda: taylor.saliency(*data),
        "Taylor, |mean|": lambda: taylor.of_mean(*data),
        "Taylor, inside": lambda: taylor.inside(*data),
        "Taylor, squared": lambda: taylor.squared(*data),
        "mean": lambda: activation.saliency(net, x, names),
        "deviation": lambda: activation.deviation(net, x, names),
        "1 - APoZ": lambda: activation.nonzero(net, x, names),
        "NISP": lambda: nisp.of_classifier(net, x, names),
        "|gamma|": lambda: _by_layer(abs(parameters[name].data) for name in NORMS),
        "reader's l2": lambda: _by_layer(np.sqrt(_squares(parameters[name].data)) for name in READERS),
        "energy": lambda: _by_layer(np.diag(moments.collect(net, name, x).G) for name in READERS),
    }


def _by_layer(scores: Iterable[Any]) -> Scores:
    return dict(zip(NAMES, scores))


def _squares(W: np.ndarray) -> np.ndarray:
    # Of all weights that read one channel: rows are filters of the next layer, columns its channels.
    squares: np.ndarray = np.sum(W.reshape(*W.shape[:2], -1) ** 2, axis=(0, 2))
    return squares


def _agreement(score: Scores, true: Scores, pairs: list[float]) -> Iterator[tuple[str, float]]:
    for name in NAMES:
        yield name, _spearman(score[name], true[name])
    yield "all", _spearman(_joined(score), _joined(true))
    yield "all, |change|", _spearman(_joined(score), np.abs(_joined(true)))
    unit = taylor.normalised(score)
    yield "all, normalised", _spearman(_joined(unit), _joined(true))
    yield "pairs", _spearman(np.array([a + b for a, b in combinations(_joined(score), 2)]), np.array(pairs))


def _joined(scores: Scores) -> np.ndarray:
    return np.concatenate([scores[name] for name in NAMES])


def _spearman(a: np.ndarray, b: np.ndarray) -> float:
    return float(nisp.rank_correlations(np.stack([a, b]))[0, 1])


def _listed(scores: Scores) -> dict[str, list[float]]:
    return {name: [float(each) for each in score] for name, score in scores.items()}


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the rank correlations of all criteria, before and after training."""
    return [figures.correlations(records, folder / "oracle_ranks-digits.png")]


def table(records: Sequence[Mapping[str, Any]]) -> str:
    """Return Spearman's correlations as text, one line a state and criterion, means over the records."""
    columns = [*NAMES, "all", "all, |change|", "all, normalised", "pairs"]
    lines = [f"{'state':16} {'criterion':16} " + " ".join(f"{each:>15}" for each in columns)]
    for number, first in enumerate(records[0]["states"]):
        for name in first["spearman"]:
            found = [each["states"][number]["spearman"][name] for each in records]
            means = [float(np.mean([each[column] for each in found])) for column in columns]
            lines.append(f"{first['state']:16} {name:16} " + " ".join(f"{mean:15.2f}" for mean in means))
    return "\n".join(lines)


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the criteria by Spearman's correlation with the oracle, the mean of the layers first."""
    for state in record["states"]:
        for name, found in state["spearman"].items():
            layers = sum(found[layer] for layer in NAMES) / len(NAMES)
            numbers = {"within a layer": layers, **{f"over {key}": found[key] for key in ("all", "pairs")}}
            yield Arm(name, numbers, () if name == "chance" else ("chance",), state["state"])
