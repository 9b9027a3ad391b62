"""Adversarial neural pruning, and adversarial training alone for as many epochs, for twice as many, and without masks.

Two nets without masks are trained for the first epochs, one on the images, one on attacked ones too (Madry et al.
2018); whatever follows goes on from one of them.  From the standard net: standard training, and beta-Bernoulli pruning.
From the robust net: adversarial training for as many epochs as all others have, for twice as many, and with the
vulnerability suppressed; and beta-Bernoulli masks that learn from clean images, from attacked ones (adversarial neural
pruning), also under twice the prior, and from attacked ones with the vulnerability suppressed (Madaan et al. 2019).  A
last net has the widths that adversarial neural pruning left, and is trained from scratch on attacked images, for as
many epochs.

Every net is attacked by projected gradient descent with its own gradients in eval mode.  Whether an attack fails for
want of gradients is asked in four ways: one large step, many smaller steps from several points with the worst of them
counted for each image, no gradient at all, and images that were made against another net.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import nn
from nn.backend import array_module, asarray, get_array_module, to_numpy
from nn.companions import Companion
from nn.module import Module
from pruning import surgery
from pruning.experiments import setup
from pruning.experiments.comparison import Arm, percent
from pruning.experiments.figures import adversarial as figures
from pruning.experiments.setup import SHAPES, Part, costs
from pruning.penalties import beta_bernoulli
from pruning.penalties.adversarial import PGD, AdversarialGradients, vulnerability

RECIPE: dict[str, Any] = {
    "widths": [64, 60, 60, 10],
    "images": 1437,
    "batch_size": 128,
    "learning_rate": 5e-3,
    "gate_rate": 0.165,
    "base": 30,
    "epochs": 90,  # after those of the base
    "milestones": [0.7, 0.9],  # of these; the rates fall to a tenth at each
    "training": [0.15, 0.0375, 5],  # eps, step and number of steps of the attack
    "test": [0.15, 0.02, 20],
    "strong": [0.15, 0.01, 100],
    "restarts": 5,
    "shares": [1 / 3, 2 / 3],
    "beta": 1.0,
    "lam": 2.0,
}
RECIPES = {("digits", "mlp60"): RECIPE}
EPS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.5)
"""Radii of the attack, for the curve of accuracies; of 20 steps of 2/15 of the radius."""
METHODS: dict[str, dict[str, Any]] = {
    "standard": {"from": "standard"},
    "beta-Bernoulli": {"from": "standard", "masks": [1.0, 0.0]},
    "adversarial training": {"from": "robust"},
    "adversarial training, twice": {"from": "robust", "twice": True},
    "AT-VS": {"from": "robust", "suppress": True},
    "AT with masks of clean images": {"from": "robust", "masks": [1.0, 0.0]},
    "ANP": {"from": "robust", "masks": [0.0, 1.0]},
    "ANP, twice beta": {"from": "robust", "masks": [0.0, 1.0], "beta": 2.0},
    "ANP-VS": {"from": "robust", "masks": [0.0, 1.0], "suppress": True},
}
"""What follows the base: whose weights, whether for twice as many epochs, the shares of the masks and their beta, V."""
SCRATCH = "ANP's widths from scratch"
SOURCE = "adversarial training, twice"
"""Whose images all nets have to tell that were made against another net."""
FIELDS = ("rows", "rescaled", "source", "radii")
LOSS = nn.SoftmaxCrossEntropy()


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed; with `validation` all accuracies are those on the held-out images.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    model = {"digits": "mlp60"}.get(data) if model is None else model
    setup.check_known(RECIPES, data, model)
    setup.check_seeds(seeds)
    shared = {"data": data, "model": model, "device": device, **RECIPES[data, str(model)]}
    return [{**shared, "seed": seed, "validation": validation} for seed in seeds]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"rows": one a net, "rescaled": V of the same function, "source": of images made elsewhere, "radii"}.

    Every training leaves a checkpoint in `folder`, and goes on from it.
    """
    xp, (_, test) = array_module(spec["device"]), setup.parts(spec, root)
    test = xp.asarray(test[0]), xp.asarray(test[1])
    runs = (root, progress, folder)
    bases = {name: base(spec, name == "robust", *runs) for name in ("standard", "robust")}
    nets = {name: method(spec, name, bases[METHODS[name]["from"]], *runs) for name in METHODS}
    nets[SCRATCH] = scratch(spec, [layer.W.shape[0] for layer in _weights(_small(nets["ANP"], spec))], *runs)
    source = attacked(nets[SOURCE], spec["test"], test, spec["seed"])
    rows = [{"method": f"{name} base", **measured(net, spec, test, source)} for name, net in bases.items()]
    rows += [{"method": name, **measured(net, spec, test, source)} for name, net in nets.items()]
    result = {
        "rows": rows,
        "rescaled": rescaled(nets["adversarial training"], spec, test),
        "source": SOURCE,
        "radii": list(EPS),
    }
    if progress:
        tqdm.write(table({"spec": spec, **result}))
    return result


# -------------------------------------------------------------------------------------------------- nets and training


def fresh(widths: Sequence[int], gated: bool, seed: int) -> Module:
    """Return a perceptron of float32 with a tap behind every hidden layer, and gates in front of it."""
    rng, layers = np.random.default_rng(seed), list[Module]([nn.Flatten()])
    for k, (n_in, n_out) in enumerate(pairwise(widths)):
        layers.append(nn.Linear(n_in, n_out, rng, dtype=np.float32))
        if k < len(widths) - 2:
            mask = beta_bernoulli.BetaBernoulli(n_out, np.random.default_rng([seed, 1 + k]), dtype=np.float32)
            layers += [nn.ReLU(), *([mask] if gated else []), nn.Tap()]
    return nn.Sequential(*layers)


def _weights(net: Module) -> list[Any]:
    return [layer for layer in net.modules() if isinstance(layer, nn.Linear)]


def base(
    spec: Mapping[str, Any], robust: bool, root: str | None = None, progress: bool = False, folder: Path | None = None
) -> Module:
    """Return the net that others go on from."""
    net = fresh(spec["widths"], False, spec["seed"])
    part = {"epochs": spec["base"], "milestones": [spec["base"]], "robust": robust}
    return _fitted(net, {**spec, **part, "stage": "base"}, root, progress, folder)


def method(
    spec: Mapping[str, Any],
    name: str,
    start: Module,
    root: str | None = None,
    progress: bool = False,
    folder: Path | None = None,
) -> Module:
    """Return the net of a method, which has the weights of `start` and goes on."""
    plan = METHODS[name]
    net = fresh(spec["widths"], "masks" in plan, spec["seed"])
    for ours, theirs in zip(_weights(net), _weights(start)):
        ours.W.data, ours.b.data = 0 + to_numpy(theirs.W.data), 0 + to_numpy(theirs.b.data)
    total = spec["base"] + spec["epochs"]
    epochs = 2 * total - spec["base"] if plan.get("twice") else spec["epochs"]
    return _fitted(net, {**_timed(spec, epochs), **plan, "stage": name}, root, progress, folder)


def scratch(
    spec: Mapping[str, Any],
    hidden: Sequence[int],
    root: str | None = None,
    progress: bool = False,
    folder: Path | None = None,
) -> Module:
    """Return a net of these widths, drawn anew and trained on attacked images for as many epochs as ANP has in all."""
    net = fresh([spec["widths"][0], *hidden], False, spec["seed"])
    recipe = _timed(spec, spec["base"] + spec["epochs"])
    return _fitted(
        net,
        {**recipe, "widths": [spec["widths"][0], *hidden], "robust": True, "stage": SCRATCH},
        root,
        progress,
        folder,
    )


def _timed(spec: Mapping[str, Any], epochs: int) -> dict[str, Any]:
    # The last epochs, with falling rates, are as many everywhere.
    ends = [epochs - round((1 - share) * spec["epochs"]) for share in spec["milestones"]]
    return {**spec, "epochs": epochs, "milestones": ends}


def _fitted(net: Module, recipe: Mapping[str, Any], root: str | None, progress: bool, folder: Path | None) -> Module:
    net.to(array_module(recipe["device"])).train()
    seed, rates, companions = recipe["seed"], {}, list[Companion]()
    shares, lam = recipe["shares"], recipe["lam"] if recipe.get("suppress") else 0.0
    if recipe.get("robust") or recipe.get("from") == "robust":
        attack, rng = PGD(*recipe["training"]), np.random.default_rng([seed, 100])
        companions.append(AdversarialGradients(net, attack, rng, shares, recipe.get("masks", (0, 1)), lam))
    if "masks" in recipe:
        patterns = setup.parts(recipe, root)[0][1].shape[0]
        companions.append(beta_bernoulli.Divergence(net, recipe["beta"], patterns))
        factor = recipe["gate_rate"] / recipe["learning_rate"]
        rates = {u: factor for gate in beta_bernoulli.gates(net).values() for u in gate.parameters()}
    optimizer = nn.Adam(net.parameters(), recipe["learning_rate"], rates=rates)
    setup.fit(net, optimizer, recipe, np.random.default_rng([seed, 0]), root, progress, folder, companions)
    return net


# ------------------------------------------------------------------------------------------------------ measurements


def attacked(net: Module, attack: Sequence[float], test: Part, seed: int) -> Any:
    """Return the test images attacked with the gradients of this net."""
    eps, step, steps = attack
    return PGD(eps, step, int(steps))(net, LOSS, *test, np.random.default_rng([seed, 200]))


def measured(net: Module, spec: Mapping[str, Any], test: Part, source: Any) -> dict[str, Any]:
    """Return accuracies without and with the attack, V in both modes, and what is left of the net."""
    x, t = test
    images = attacked(net, spec["test"], test, spec["seed"])
    net.eval()
    found = {**setup.tested(net, test), "attacked": setup.tested(net, (images, t))}
    found |= {"V": vulnerability(net, x, images)}
    net.train()
    found |= {"V drawn": vulnerability(net, x, images), "V identical": vulnerability(net, x, x)}
    net.eval()
    gates = [layer for layer in net.modules() if isinstance(layer, beta_bernoulli.BetaBernoulli)]
    small = _small(net, spec)
    found |= {"open": [int((gate.factor() > 0).sum()) for gate in gates]} if gates else {}
    found |= {"widths": [layer.W.shape[0] for layer in _weights(small)][:-1], **costs(small, spec["data"])}
    difference = to_numpy(small.forward(x)) - to_numpy(net.forward(x))
    return {
        **found,
        "removal changes outputs by": float(np.abs(difference).max()),
        "curve": curve(net, spec, test),
        "doubts": doubts(net, spec, test, source),
    }


def _small(net: Module, spec: Mapping[str, Any]) -> Module:
    plain = surgery.harden(net).eval()
    return surgery.remove_unused_paths(plain, SHAPES[spec["data"]], border="map")


def curve(net: Module, spec: Mapping[str, Any], test: Part) -> list[float]:
    """Return the accuracies under attacks of the radii EPS."""
    steps = spec["test"][2]
    found = []
    for eps in EPS:
        images = attacked(net, [eps, eps * 2 / 15, steps], test, spec["seed"])
        found.append(setup.accuracy(net, (images, test[1])))
    return found


def doubts(net: Module, spec: Mapping[str, Any], test: Part, source: Any) -> dict[str, float]:
    """Return accuracies under other attacks of the same radius: if gradients were masked, one would be lower."""
    (x, t), eps = test, spec["test"][0]
    right = np.ones(t.shape[0], bool)
    for restart in range(spec["restarts"]):
        images = attacked(net, spec["strong"], test, spec["seed"] + 1000 * (1 + restart))
        right &= to_numpy(net.forward(images)).argmax(axis=0) == to_numpy(t)
    noise = np.random.default_rng([spec["seed"], 300]).choice([-eps, eps], x.shape)
    xp = get_array_module(x)
    noisy = xp.minimum(xp.maximum(x + asarray(noise, like=x), xp.zeros_like(x)), xp.ones_like(x))
    return {
        "one step": setup.accuracy(net, (PGD(eps, eps, 1)(net, LOSS, x, t, None), t)),
        "strong": float(right.mean()),
        "noise": setup.accuracy(net, (noisy, t)),
        "made elsewhere": setup.accuracy(net, (source, t)),
    }


def rescaled(net: Module, spec: Mapping[str, Any], test: Part) -> dict[str, float]:
    """Return V and the attacked accuracy of a net, and of the same function with hidden layers of half the size."""
    other = surgery.duplicate(net)
    first, *_, last = layers = _weights(other)
    for layer in layers[:-1]:
        layer.b.data = layer.b.data * np.float32(0.5)
    first.W.data, last.W.data = first.W.data * np.float32(0.5), last.W.data * np.float32(2)
    found: dict[str, float] = {}
    for name, each in (("as trained", net.eval()), ("rescaled", other.eval())):
        images = attacked(each, spec["test"], test, spec["seed"])
        found |= {f"V {name}": vulnerability(each, test[0], images)}
        found |= {f"attacked {name}": setup.accuracy(each, (images, test[1]))}
    return found


# ------------------------------------------------------------------------------------------------------------ reports


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw accuracies with and without attack, and the attacked ones over its radius."""
    spec = records[0]["spec"]
    stem = f"adversarial-{spec['data']}-{spec['model']}"
    return [figures.nets(records, folder / f"{stem}-nets.png"), figures.radii(records, folder / f"{stem}-radii.png")]


def table(record: Mapping[str, Any]) -> str:
    """Return the record as a readable table, one line a net."""
    lines = [f"{'net':32}{'units':>8}{'clean':>8}{'PGD':>8}{'strong':>8}{'V':>7}{'V same':>8}"]
    for row in record["rows"]:
        accuracies = (row["test_accuracy"], row["attacked"]["test_accuracy"], row["doubts"]["strong"])
        units = "-".join(map(str, row["widths"]))
        numbers = "".join(f"{each:8.1%}" for each in accuracies) + f"{row['V']:7.3f}{row['V identical']:8.3f}"
        lines.append(f"{row['method']:32}{units:>8}{numbers}")
    scaled = record["rescaled"]
    lines.append(f"V {scaled['V as trained']:.3f}, and {scaled['V rescaled']:.3f} of the same function rescaled")
    return "\n".join(lines)


CONTROLS = {
    "adversarial training": ("standard",),
    "beta-Bernoulli": ("standard",),
    "AT-VS": ("adversarial training",),
    "ANP": ("adversarial training", "ANP's widths from scratch", "AT with masks of clean images"),
    "ANP-VS": ("ANP", "AT-VS"),
}
"""What a net is compared with."""


def compared(record: Mapping[str, Any]) -> Iterator[Arm]:
    """Yield the nets, their accuracies under attack first."""
    for row in record["rows"]:
        numbers = {**percent(row["attacked"], "under PGD, %"), **percent(row), "weights": row["weights"], "V": row["V"]}
        yield Arm(row["method"], numbers, CONTROLS.get(row["method"], ()))
