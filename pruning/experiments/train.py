"""Train one of the models from scratch, with checkpoints: a run that was killed goes on to the bit."""

import hashlib
import json
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
    "mlp500": lambda rng, dtype: nn.models.mlp((784, 500, 300, 10), rng, dtype=dtype),
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
# The net that the other experiments prune: the last 5,000 training images stay out, for choices made there.
DENSE = {**MNIST, "milestones": [], "epochs": 10, "images": 55000}
# A fifth of the images: what one core does in ten minutes (VGG) and half an hour (ResNet).
CIFAR = {"learning_rate": 0.05, "weight_decay": 5e-4, "images": 10000, "batch_size": 64}
RECIPES: dict[tuple[str, str], dict[str, Any]] = {
    ("mnist", "lenet5"): MNIST,
    ("mnist", "lenet300"): MNIST,
    ("mnist", "mlp500"): MNIST,
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


def dense_specs(data: str, seeds: Sequence[int], device: str, model: str) -> list[dict[str, Any]]:
    """Return the specifications, one a seed, of the nets that the other experiments prune; errors as for `specs`."""
    found = specs(data, seeds, device, model)
    return [{**spec, **DENSE} for spec in found] if data == "mnist" else found


def run_cell(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> dict[str, Any]:
    """Return {"history": one record per epoch, "test_accuracy": after the last epoch, never the best one, "resumed"}.

    A run that was resumed from its checkpoint took longer than its record's time says, which is the last process's.
    The checkpoint is written to `folder` after every epoch and every 100 steps.
    """
    return trained(spec, root, progress, folder)[1]


def trained(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> tuple[Module, dict[str, Any]]:
    """Return the trained net and the record of `run_cell`; from the checkpoint in `folder`, if that run is finished."""
    rng = np.random.default_rng(spec["seed"])
    xp = array_module(spec["device"])
    (x, t), test = parts(spec, root)
    net = MODELS[spec["model"]](rng, dtype=np.float32).to(xp)
    optimizer = nn.SGD(
        net.parameters(), spec["learning_rate"], spec["momentum"], nesterov=True, weight_decay=spec["weight_decay"]
    )
    path = None if folder is None else folder / checkpoint_name(spec)
    resumed = path is not None and path.exists()
    history = nn.training.train(
        net,
        nn.SoftmaxCrossEntropy(),
        optimizer,
        xp.asarray(x),
        xp.asarray(t),
        epochs=spec["epochs"],
        batch_size=spec["batch_size"],
        rng=rng,
        schedule=schedule(spec),
        test=(xp.asarray(test[0]), xp.asarray(test[1])),
        augment=augment if spec["data"] == "cifar10" else None,
        checkpoint_path=path,
        checkpoint_every=100,
        progress=progress,
    )
    return net, {"history": history, "test_accuracy": history[-1]["test_accuracy"], "resumed": resumed}


def schedule(spec: Mapping[str, Any]) -> Callable[[int], float]:
    """Return the learning rate by epoch: tenths from the milestones on, or along a cosine where there are none."""
    if spec["milestones"]:
        return nn.step_decay(spec["learning_rate"], spec["milestones"])
    return nn.cosine_decay(spec["learning_rate"], spec["epochs"])


def checkpoint_name(spec: Mapping[str, Any]) -> str:
    """Return a file name that no other specification has: a run never goes on from one of another recipe."""
    digest = hashlib.sha256(json.dumps(dict(spec), sort_keys=True).encode()).hexdigest()[:8]
    return f"train-{spec['data']}-{spec['model']}-{spec['seed']}-{digest}.npz"


def parts(spec: Mapping[str, Any], root: str | None) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
    """Return what is trained on and what is tested on; with "validation" both are training images."""
    data = nn.data.load(spec["data"], root, dtype=np.float32)
    if not isinstance(data, nn.data.DataSet):
        raise ValueError(f"expected a data set of images, got {spec['data']!r}")
    x, t = data.train
    held_out = 5000 if spec["validation"] else 0
    last = min(spec["images"], t.shape[0] - held_out)
    # Contiguous: of a part of its rows, `take` would copy the whole array for every batch.
    train = np.ascontiguousarray(x[..., :last]), t[:last]
    return train, (x[..., -held_out:], t[-held_out:]) if held_out else data.test


def draw(records: Sequence[Mapping[str, Any]], folder: Path) -> list[Path]:
    """Draw loss and accuracy by epoch, all seeds of one model together."""
    spec = records[0]["spec"]
    return [figures.training_curves(records, folder / f"train-{spec['data']}-{spec['model']}.png")]
