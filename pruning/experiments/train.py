"""Train one of the models from scratch, with checkpoints: a run that was killed goes on to the bit."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import nn
from nn.backend import Array, array_module
from nn.data.augment import augment
from nn.module import Module
from pruning.experiments import figures

THIN_VGG = (16, 0, 32, 0, 64, 64, 0, 64, 64, 0)
MODELS: dict[str, Callable[..., Module]] = {
    "lenet5": lambda rng, dtype: nn.models.lenet5(rng, init=nn.initializers.lecun_normal, dtype=dtype),
    "lenet300": nn.models.lenet300,
    "vgg11-thin": lambda rng, dtype: nn.models.vgg(11, rng, filters=THIN_VGG, head=64, dtype=dtype),
    "resnet20": lambda rng, dtype: nn.models.resnet_cifar(20, rng, dtype=dtype),
}
# Chosen on the last 5,000 training images, with --validation.
MNIST = {
    "learning_rate": 0.05,
    "milestones": [6, 9],
    "epochs": 11,
    "weight_decay": 5e-4,
    "images": 60000,
    "batch_size": 128,
}
# A fifth of the images: what one core does in ten minutes (VGG) and half an hour (ResNet).  Rates 0.02, 0.05 and 0.1
# gave 65.4, 65.5 and 62.5 % on 2,000 of the held-out images, after ten epochs of the VGG.
CIFAR = {"learning_rate": 0.05, "weight_decay": 5e-4, "images": 10000, "batch_size": 64}
RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("mnist", "lenet5"): MNIST,
    ("mnist", "lenet300"): MNIST,
    ("cifar10", "vgg11-thin"): {**CIFAR, "milestones": [12, 17], "epochs": 20},
    ("cifar10", "resnet20"): {**CIFAR, "milestones": [8, 11], "epochs": 13},
}


def specs(
    data: str, seeds: Sequence[int], device: str, model: str | None = None, validation: bool = False
) -> list[dict[str, Any]]:
    """Return one cell a seed.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    if model is None or (data, model) not in RECIPES:
        known = ", ".join(f"--data {d} --model {m}" for d, m in RECIPES)
        raise ValueError(f"expected one of {known}; got --data {data} --model {model}")
    if min(seeds) < 0:
        raise ValueError(f"expected a seed of 0 or more, got {min(seeds)}")
    shared = {
        "data": data,
        "model": model,
        "device": device,
        "momentum": 0.9,
        **RECIPES[data, model],
    }
    return [{**shared, "seed": seed, "validation": validation} for seed in seeds]


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"history": one record per epoch, "test_accuracy": after the last epoch, never the best one}.

    The checkpoint is written to `folder` after every epoch and every 100 steps.
    """
    rng = np.random.default_rng(spec["seed"])
    xp = array_module(spec["device"])
    (x, t), test = parts(spec, root)
    net = MODELS[spec["model"]](rng, dtype=np.float32).to(xp)
    optimizer = nn.SGD(
        net.parameters(), spec["learning_rate"], spec["momentum"], nesterov=True, weight_decay=spec["weight_decay"]
    )
    name = "-".join(str(spec[key]) for key in ("data", "model", "seed")) + "-validation" * spec["validation"]
    history = nn.training.train(
        net,
        nn.SoftmaxCrossEntropy(),
        optimizer,
        xp.asarray(x),
        xp.asarray(t),
        epochs=spec["epochs"],
        batch_size=spec["batch_size"],
        rng=rng,
        schedule=nn.step_decay(spec["learning_rate"], spec["milestones"]),
        test=(xp.asarray(test[0]), xp.asarray(test[1])),
        augment=augment if spec["data"] == "cifar10" else None,
        checkpoint_path=None if folder is None else folder / f"train-{name}.npz",
        checkpoint_every=100,
        progress=progress,
    )
    return {"history": history, "test_accuracy": history[-1]["test_accuracy"]}


def parts(spec: Mapping[str, Any], root: str | None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return what is trained on and what is tested on; with "validation" both are training images."""
    data = nn.data.load(spec["data"], root, dtype=np.float32)
    if not isinstance(data, nn.data.DataSet):
        raise ValueError(f"expected a data set of images, got {spec['data']!r}")
    x, t = data.train
    held_out = 5000 if spec["validation"] else 0
    last = min(spec["images"], t.shape[0] - held_out)
    train = x[..., :last], t[:last]
    return train, (x[..., -held_out:], t[-held_out:]) if held_out else data.test


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw loss and accuracy by epoch, all seeds of one model together."""
    spec = records[0]["spec"]
    return [figures.training_curves(records, folder / f"train-{spec['data']}-{spec['model']}.png")]
