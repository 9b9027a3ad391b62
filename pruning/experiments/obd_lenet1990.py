"""Optimal Brain Damage on the network of its paper: LeCun's LeNet of 1990, 2,578 shared parameters.

One cell trains one net.  Copies of it lose more and more parameters at once, by OBD and by magnitude, and the change
of E is compared with its expansion term by term; other copies go through the six-step loop, beside a control that is
trained on for as long and loses nothing.
"""

import copy
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn import gradcheck
from nn.backend import Array, array_module, full, get_array_module
from nn.module import Module
from nn.training import train
from pruning import masks, schedules
from pruning.counts import live_connections
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import obd_lenet1990 as figures
from pruning.pipeline import Objective, account
from pruning.scores import magnitude, obd

FIELD = (1, 28, 28)
PARAMETERS = 2578
# How many images train, test, and (with --validation, out of the training images) are held out.
DATA = {"digits": (1437, 360, 237), "usps": (7291, 2007, 1291), "mnist": (9300, 3350, 1300)}
# Chosen on the held-out training images of usps, seed 0 (rates 0.001 to 0.03, batches 20 to 100, decay 0 to 0.001, 20
# and 40 epochs; 4, 6 and 12 epochs a round), and kept for the other data sets.  From a rate of 0.02 on the net
# saturates.
RECIPE = {"batch_size": 50, "learning_rate": 0.01, "weight_decay": 0.0, "epochs": 40, "retrain_epochs": 12}
# The perceptron is that of the experiment obd_mlp, with its recipe for usps.
BASELINES = {
    "softmax regression": {"hidden": [], "loss": "cross-entropy", "learning_rate": 0.005, "epochs": 60},
    "mlp 40-20": {"hidden": [40, 20], "loss": "squared error", "learning_rate": 0.003, "epochs": 60},
}
FIELDS = ("trained", "baselines", "shared", "at_once", "loop")


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed.

    Raises
    ------
    ValueError
        For a data set without a split, a negative seed, or a model: this experiment has its own.
    """
    if model is not None:
        raise ValueError("the experiment obd_lenet1990 has its own net: leave --model out")
    if data not in DATA:
        raise ValueError(f"expected one of the data sets {', '.join(DATA)}, got {data!r}")
    setup.check_seeds(seeds)
    n_train, n_test, held_out = DATA[data]
    shared = {
        "data": data,
        "device": device,
        "validation": validation,
        "images": [n_train, n_test, held_out],
        **RECIPE,
        "chosen_on": "1,291 held-out training images of usps, seed 0",
        "deleted": [*range(100, 1600, 100), 1750, 2000, 2250, 2500],
        "accounted": {"obd": [100, 200, 400, 600, 800, 1000, 1500, 2000], "magnitude": [1000, 2000]},
        "shared": [name for name in names_of(nn.models.lenet1990(None)) if not name.startswith("9.")],
        "shared_images": 100,
        "final": 0.8,
        "rounds": 5,
        "baselines": BASELINES,
    }
    return [{**shared, "seed": seed} for seed in seeds]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"trained", "baselines", "shared", "at_once", "loop"}; nothing is written to `folder`.

    "trained" : measures before pruning.  "baselines" : other nets on the same images.
    "shared" : of every parameter with more than one connection, the error of OBD's h_kk against d2E/du_k2.
    "at_once" : one row per method and number of deleted parameters, without retraining.
    "loop" : one row per method (and control) and round.
    """
    net, objective, rng = trained_net(spec, root, progress)
    before = {**objective.measure(net), "gradient_norm": objective.gradient_norm(net), "parameters": _live(net)}
    miss, shared = _errors_of_shared(net, objective, spec)
    with tqdm(total=2 * len(spec["deleted"]) + 3 * spec["rounds"], disable=not progress, desc="pruning") as bar:
        at_once, loop = [], []
        for row in _at_once(net, objective, spec, miss):
            at_once.append(row)
            bar.update()
        for method, generator in zip(("obd", "magnitude", "control"), rng.spawn(3)):
            for row in _loop(copy.deepcopy(net), method, objective, spec, generator):
                loop.append({"method": method, **row})
                bar.update()
    return {
        "trained": {**before, "connections": live_connections(net, FIELD)},
        "baselines": {name: _baseline(recipe, spec, root) for name, recipe in spec["baselines"].items()},
        "shared": shared,
        "at_once": at_once,
        "loop": loop,
    }


def trained_net(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False
) -> tuple[Module, Objective, np.random.Generator]:
    """Return the net of a cell after training, what it minimised, and the generator that goes on drawing."""
    rng = np.random.default_rng(spec["seed"])
    xp = array_module(spec["device"])
    parts = [(framed(xp.asarray(x)), xp.asarray(t)) for x, t in images(spec, root)]
    targets = [(x, nn.one_hot(t, 10, like=x, off=-1)) for x, t in parts]
    objective = Objective(nn.SquaredError(), targets[0], targets[1], spec["weight_decay"])
    net = nn.models.lenet1990(rng).to(xp)
    _train(net, objective, spec, spec["epochs"], rng, progress)
    return net, objective, rng


def images(spec: Mapping[str, Any], root: str | None = None) -> list[tuple[Array, Array]]:
    """Return the two parts (x, t) to train and to test on, pixels in -1..1; with "validation" both are training images.

    Where a data set has more images than asked for, the same are drawn for every seed.
    """
    data = setup.images(spec["data"], root)
    *sizes, held_out = spec["images"]
    draw = np.random.default_rng(1990)
    chosen = []
    for (x, t), size in zip((data.train, data.test), sizes):
        if size < len(t):
            some = draw.permutation(len(t))[:size]
            x, t = nn.training.take(x, some), t[some]
        chosen.append((x if spec["data"] == "usps" else 2 * x - 1, t))
    if not spec["validation"]:
        return chosen
    x, t = chosen[0]
    return [(x[..., :-held_out], t[:-held_out]), (x[..., -held_out:], t[-held_out:])]


def framed(x: Array) -> Array:
    """Return images in the middle of the 28 x 28 field of the net, background -1; 8 x 8 digits are doubled first."""
    if x.shape[1] == 8:
        x = get_array_module(x).concat([x[:, i // 2 : i // 2 + 1, :, :] for i in range(16)], axis=1)
        x = get_array_module(x).concat([x[:, :, i // 2 : i // 2 + 1, :] for i in range(16)], axis=2)
    _, H, W, N = x.shape
    top, left = (28 - H) // 2, (28 - W) // 2
    field = full((*FIELD, N), -1.0, like=x)
    field[:, top : top + H, left : left + W, :] = x
    return field


def _train(
    net: Module,
    objective: Objective,
    spec: Mapping[str, Any],
    epochs: int,
    rng: np.random.Generator,
    progress: bool = False,
) -> None:
    # In float32, which is faster; measured in float64, for small changes of E are differences of large numbers.
    xp = get_array_module(objective.train[0])
    single = copy.deepcopy(net)
    _convert(single, net, xp.float32)
    x, t = (xp.astype(array, xp.float32) for array in objective.train)
    rate = spec["learning_rate"]
    optimizer = nn.SGD(single.parameters(), rate, momentum=0.9, weight_decay=spec["weight_decay"])
    schedule = setup.two_steps(rate, epochs)
    train(single, objective.loss, optimizer, x, t, epochs, spec["batch_size"], rng, schedule, progress=progress)
    _convert(net, single, xp.float64)


def _convert(net: Module, source: Module, dtype: Any) -> None:
    for parameter, other in zip(net.parameters(), source.parameters()):
        xp = get_array_module(other.data)
        parameter.data = xp.astype(other.data, dtype)
        parameter.mask = None if other.mask is None else xp.astype(other.mask, dtype)


def names_of(net: Module) -> list[str]:
    """Return the names of all parameters: biases and subsampling coefficients can be deleted too."""
    return [name for name, _ in net.named_parameters()]


def _live(net: Module) -> int:
    return masks.counts(net, names_of(net))[0]


def _left(net: Module) -> dict[str, Any]:
    return {
        "parameters_left": _live(net),
        "connections_left": live_connections(net, FIELD),
        "left": {name: masks.counts(net, [name])[0] for name in names_of(net)},
    }


def score(net: Module, method: str, objective: Objective) -> dict[str, Array]:
    """Return the saliencies of all parameters by "obd" or "magnitude"."""
    if method == "magnitude":
        return magnitude.saliency(net, names_of(net))
    return obd.saliency(
        net,
        objective.loss,
        *objective.train,
        weight_decay=objective.weight_decay,
        batch_size=objective.batch_size,
        names=names_of(net),
    )


def keep_all_but(net: Module, scores: Mapping[str, Array], deleted: int) -> dict[str, Array]:
    """Return the masks under which `deleted` parameters of the whole net are gone, the cheapest first."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the curves go on to where whole arrays are empty
        return masks.smallest(scores, deleted / PARAMETERS, dead=masks.current(net, list(scores)))


def _at_once(
    net: Module, objective: Objective, spec: Mapping[str, Any], miss: Mapping[str, Array]
) -> Iterator[dict[str, Any]]:
    h, g = objective.curvature(net), objective.gradient(net)
    for method in ("obd", "magnitude"):
        scores = score(net, method, objective)
        for deleted in spec["deleted"]:
            keep = keep_all_but(net, scores, deleted)
            row = {"method": method, "deleted": deleted, "predicted": obd.predicted_change(net, keep, h)}
            if deleted in spec["accounted"][method]:
                own = {name: mask for name, mask in keep.items() if name in miss}
                row |= account(net, keep, objective, h, g)
                row["recursion"] = obd.predicted_change(net, own, miss)
            pruned = copy.deepcopy(net)
            masks.apply(pruned, keep)
            yield {**row, **_left(pruned), **objective.measure(pruned)}


def _loop(
    net: Module, method: str, objective: Objective, spec: Mapping[str, Any], rng: np.random.Generator
) -> Iterator[dict[str, Any]]:
    for sparsity in schedules.geometric(spec["final"], spec["rounds"]):
        row: dict[str, Any] = {}
        if method != "control":
            keep = keep_all_but(net, score(net, method, objective), round(sparsity * PARAMETERS))
            if method == "obd":
                h = {name: parameter.hess_diag for name, parameter in net.named_parameters()}  # left by the score
                row["predicted"] = obd.predicted_change(net, keep, h)
                row["negative_curvature"] = obd.count_negative(h, net, names_of(net))
            masks.apply(net, keep)
            row |= objective.measure(net)
        _train(net, objective, spec, spec["retrain_epochs"], rng)
        yield {**row, **_left(net), "retrained": objective.measure(net)}


def _errors_of_shared(
    net: Module, objective: Objective, spec: Mapping[str, Any]
) -> tuple[dict[str, Array], dict[str, dict[str, float]]]:
    # What OBD's h_kk misses of d2E/du_k2, on the first images.  In the output layer, where nothing is shared, nothing.
    x, t = (array[..., : spec["shared_images"]] for array in objective.train)
    h = nn.curvature.hess_diag(net, objective.loss, x, t)
    miss, table = {}, {}
    for name, parameter in masks.prunable(net, spec["shared"]).items():
        exact = gradcheck.second_differences(lambda: float(objective.loss.forward(net.forward(x), t)), parameter.data)
        miss[name] = exact - h[name]
        norms = [float(get_array_module(v).sum(v * v)) ** 0.5 for v in (miss[name], exact)]
        table[name] = {"error": norms[0] / norms[1], "ratio": float(h[name].sum() / exact.sum())}
    return miss, table


def _baseline(recipe: Mapping[str, Any], spec: Mapping[str, Any], root: str | None) -> dict[str, float]:
    # On the images as they are, without the frame around them.
    rng = np.random.default_rng(spec["seed"])
    loss, epochs = setup.LOSSES[recipe["loss"]](), recipe["epochs"]
    (x, t), test = ((x, setup.targets(recipe["loss"], x, t)) for x, t in images(spec, root))
    net = nn.models.mlp((x[..., 0].size, *recipe["hidden"], 10), rng)
    optimizer = nn.SGD(net.parameters(), recipe["learning_rate"], momentum=0.9, weight_decay=1e-3)
    schedule = setup.two_steps(recipe["learning_rate"], epochs)
    train(net, loss, optimizer, x, t, epochs, 64, rng, schedule, progress=False)
    accuracies = [nn.batches.evaluate(net, loss, *part)[1] for part in ((x, t), test)]
    return {"parameters": _live(net), "train_accuracy": accuracies[0], "test_accuracy": accuracies[1]}


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw the lecture's four figures, one set a data set, all seeds together."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for record in records:
        spec = record["spec"]
        groups.setdefault(spec["data"] + ("-validation" if spec["validation"] else ""), []).append(record)
    drawings = {
        "prediction": figures.prediction_of_obd,
        "obd_against_magnitude": figures.obd_against_magnitude,
        "log_mse": figures.log_mse,
        "loop": figures.prune_retrain_loop,
    }
    return [
        figure(group, folder / f"obd_lenet1990-{name}-{title}.png")
        for name, group in groups.items()
        for title, figure in drawings.items()
    ]


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets after every round of deleting and retraining, those beside them, and those pruned once."""
    yield Arm("before pruning", {**percent(record["trained"]), "parameters": record["trained"]["parameters"]})
    for name, found in record["baselines"].items():
        yield Arm(name, {**percent(found), "parameters": found["parameters"]})
    rounds: dict[str, int] = {}
    for row in record["loop"]:
        method = row["method"]
        rounds[method] = rounds.get(method, 0) + 1
        others = {"obd": ("magnitude", "control"), "magnitude": ("control",)}.get(method, ())
        controls = tuple(f"{each}, round {rounds[method]}" for each in others)
        controls += ("before pruning",) * (method == "obd")
        name = f"{method}, round {rounds[method]}"
        yield Arm(name, {**percent(row["retrained"]), "parameters": row["parameters_left"]}, controls)
    for row in sorted(record["at_once"], key=lambda row: row["deleted"]):
        numbers = {"E": row["E"], **percent(row), "parameters": row["parameters_left"]}
        controls = (f"magnitude, {row['deleted']} deleted",) if row["method"] == "obd" else ()
        yield Arm(f"{row['method']}, {row['deleted']} deleted", numbers, controls, "pruned once, no retraining")
