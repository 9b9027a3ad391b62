"""What the experiments begin with: images, the two kinds of nets that they prune, and what they refuse alike.

Dense nets of images in float32, trained with checkpoints (`dense_specs`, `parts`, `dense_net`), for the experiments on
MNIST and CIFAR-10; small perceptrons in float64 (`perceptron_spec`, `perceptron`), where changes of E are compared.
"""

import base64
import hashlib
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import nn
from nn.backend import Array, array_module, to_numpy
from nn.companions import Companion
from nn.data import DataSet
from nn.data.augment import augment, flip, padded_crop
from nn.models.blocks import conv_bn_relu
from nn.module import Module, Sequential
from nn.optimizers import Optimizer
from pruning import channels, filters, surgery
from pruning.counts import count
from pruning.masks import prunable
from pruning.penalties import group_lasso, slimming
from pruning.pipeline import Objective
from pruning.scores import filter_norm

SHAPES = {"mnist": (1, 28, 28), "cifar10": (3, 32, 32), "cifar10-16": (3, 16, 16), "digits": (1, 8, 8)}
HALVED = {"cifar10-16": "cifar10"}
"""Images of means over 2 x 2 pixels, a quarter of the work, and the data sets that they are made of."""
HELD_OUT = {"digits": 300}
"""How many training images, the last ones, stay out for choices; 5,000 of the large sets."""
MOST_SEED = 2**63 - 1
RETRAINING = {"learning_rate": 0.01, "momentum": 0.9, "weight_decay": 5e-4, "epochs": 4, "batch_size": 64}
"""Of small nets, in experiments whose records are compared seed by seed."""
Part = tuple[Array, Array]


def check_known(recipes: Iterable[tuple[str, str]], data: str, model: str | None) -> None:
    """Raise a ValueError that lists the pairs (data set, model) that there are, unless this is one of them."""
    known = list(recipes)
    if (data, model) not in known:
        listed = ", ".join(f"--data {d} --model {m}" for d, m in known)
        raise ValueError(f"expected one of {listed}; got --data {data} --model {model}")


def check_seeds(seeds: Sequence[int]) -> None:
    """Raise a ValueError for a seed that is negative, or beyond 63 bits: a file name holds it."""
    for seed in seeds:
        if seed < 0:
            raise ValueError(f"expected a seed of 0 or more, got {seed}")
        if seed > MOST_SEED:
            raise ValueError(f"expected a seed of at most {MOST_SEED}, got one of {int(seed).bit_length()} bits")


def digest(spec: Any) -> str:
    """Return eight hexadecimal digits of the specification's SHA-256."""
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:8]


def images(name: str, root: str | None, dtype: Any = np.float64) -> DataSet:
    """Return a data set of images; a ValueError for any other, such as those of regression."""
    data = nn.data.load(HALVED.get(name, name), root, dtype=dtype)
    if not isinstance(data, DataSet):
        raise ValueError(f"expected a data set of images, got {name!r}")
    if name in HALVED:
        return DataSet(*((halved(x), t) for x, t in (data.train, data.test)))
    return data


def halved(x: Array) -> Array:
    """Return images (C, H, W, N) of half the height and width, H and W even: every pixel the mean of four."""
    return (x[:, ::2, ::2] + x[:, 1::2, ::2] + x[:, ::2, 1::2] + x[:, 1::2, 1::2]) / 4


def _augment_halved(x: Array, rng: np.random.Generator) -> Array:
    # As `augment`, with half its padding.
    return flip(padded_crop(x, rng, 2), rng)


AUGMENT = {"cifar10": augment, "cifar10-16": _augment_halved}
"""What happens to training images; nothing in other data sets."""


# ---------------------------------------------------------------------------------------------------- dense nets


def three_convolutions(widths: Sequence[int], rng: np.random.Generator | None, dtype: Any = np.float64) -> Sequential:
    """Return a small net for the digits: batch norm, a pool, means of maps, ten outputs."""
    a, b, c = widths
    layers: list[Module] = []
    for c_in, c_out in ((1, a), (a, b), (b, c)):
        convolution = nn.Conv2d(c_in, c_out, 3, rng, padding=1, bias=False, dtype=dtype)
        layers += [convolution, nn.BatchNorm(c_out, dtype=dtype, outline=rng is None), nn.ReLU()]
        layers += [nn.MaxPool2d(2)] if len(layers) == 6 else []
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(c, 10, rng, dtype=dtype))


def six_convolutions(channels: int, rng: np.random.Generator | None, dtype: Any = np.float64) -> Sequential:
    """Return a small VGG: three stages of two convolutions with batch norm, two pools, means of maps, ten outputs."""
    layers: list[Module] = []
    c_in = channels
    for c_out in (16, 16, 0, 32, 32, 0, 64, 64):
        layers += conv_bn_relu(c_in, c_out, 3, rng, dtype=dtype) if c_out else [nn.MaxPool2d(2)]
        c_in = c_out or c_in
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(c_in, 10, rng, dtype=dtype))


THIN_VGG = (16, 0, 32, 0, 64, 64, 0, 64, 64, 0)
MODELS: dict[str, Callable[..., Module]] = {
    "lenet5": lambda rng, dtype: nn.models.lenet5(rng, init=nn.initializers.lecun_normal, dtype=dtype),
    "lenet300": nn.models.lenet300,
    "mlp500": lambda rng, dtype: nn.models.mlp((784, 500, 300, 10), rng, dtype=dtype),
    "vgg11-thin": lambda rng, dtype: nn.models.vgg(11, rng, filters=THIN_VGG, head=64, dtype=dtype),
    "resnet20": lambda rng, dtype: nn.models.resnet_cifar(20, rng, dtype=dtype),
    "conv3": lambda rng, dtype: three_convolutions((12, 16, 16), rng, dtype=dtype),
    "conv3-wide": lambda rng, dtype: three_convolutions((32, 64, 64), rng, dtype=dtype),
    "conv6": lambda rng, dtype: six_convolutions(1, rng, dtype=dtype),
    "conv6-rgb": lambda rng, dtype: six_convolutions(3, rng, dtype=dtype),
    "resnet14": lambda rng, dtype: nn.models.resnet_cifar(14, rng, channels=1, dtype=dtype),
}
# Chosen on the last 5,000 training images, with --validation.
STEPS = {"learning_rate": 0.05, "weight_decay": 5e-4}
# The last 5,000 training images of MNIST stay out, for choices made there.
MNIST = {**STEPS, "milestones": [], "epochs": 10, "images": 55000, "batch_size": 128}
# A fifth of the images: what one core does in ten minutes (VGG) and half an hour (ResNet).
CIFAR = {**STEPS, "images": 10000, "batch_size": 64}
# Rate and epochs are those of `oracle_ranks`.
DIGITS = {
    "learning_rate": 0.05,
    "weight_decay": 1e-3,
    "images": 1137,
    "batch_size": 64,
    "milestones": [15, 21],
    "epochs": 25,
}
DENSE: dict[tuple[str, str], dict[str, Any]] = {
    ("mnist", "lenet5"): MNIST,
    ("mnist", "lenet300"): MNIST,
    ("mnist", "mlp500"): MNIST,
    ("cifar10", "vgg11-thin"): {**CIFAR, "milestones": [12, 17], "epochs": 20},
    ("cifar10", "resnet20"): {**CIFAR, "milestones": [8, 11], "epochs": 13},
    # Four minutes on one core.
    ("cifar10-16", "resnet20"): {**CIFAR, "milestones": [7, 10], "epochs": 12},
    ("digits", "conv3"): DIGITS,
    ("digits", "conv3-wide"): DIGITS,
    ("digits", "resnet14"): DIGITS,
}


def dense_specs(
    data: str,
    seeds: Sequence[int],
    device: str,
    model: str | None,
    validation: bool = False,
    recipes: Mapping[tuple[str, str], Mapping[str, Any]] = DENSE,
) -> list[dict[str, Any]]:
    """Return the specifications, one a seed, of dense nets: by default of those that other experiments prune.

    Raises
    ------
    ValueError
        If there is no recipe for this model on this data set, or a seed is negative.
    """
    check_known(recipes, data, model)
    check_seeds(seeds)
    shared = {"data": data, "model": model, "device": device, "momentum": 0.9, **recipes[data, str(model)]}
    return [{**shared, "seed": seed, "validation": validation} for seed in seeds]


def parts(spec: Mapping[str, Any], root: str | None) -> tuple[Part, Part]:
    """Return what is trained on and what is tested on; with "validation" both are training images."""
    data = images(spec["data"], root, np.float32)
    x, t = data.train
    held_out = HELD_OUT.get(spec["data"], 5000) if spec["validation"] else 0
    last = min(spec["images"], t.shape[0] - held_out)
    # Contiguous: of a part of its rows, `take` would copy the whole array for every batch.
    train = np.ascontiguousarray(x[..., :last]), t[:last]
    return train, (x[..., -held_out:], t[-held_out:]) if held_out else data.test


def shared_parts(spec: Mapping[str, Any], root: str | None) -> tuple[Part, Part]:
    """Return what pruned nets are trained on, "images" of what the dense net saw or more, and what they are tested on.

    The images that are held out stay out of both, unless "validation" asks for accuracies on them.
    """
    xp = array_module(spec["dense"]["device"])
    wanted = {**spec["dense"], "images": spec["images"]}
    part, held_out = parts({**wanted, "validation": True}, root)
    test = held_out if spec["validation"] else parts(wanted, root)[1]
    return (xp.asarray(part[0]), xp.asarray(part[1])), (xp.asarray(test[0]), xp.asarray(test[1]))


def dense_net(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False, folder: Path | None = None
) -> tuple[Module, dict[str, Any]]:
    """Return the trained net and {"history", "test_accuracy", "resumed"}.

    The checkpoint is written to `folder` after every epoch and every 100 steps; a run that was killed goes on from it,
    and one that is finished is not repeated.
    """
    rng = np.random.default_rng(spec["seed"])
    net = MODELS[spec["model"]](rng, dtype=np.float32).to(array_module(spec["device"]))
    rate, momentum, decay = (spec[name] for name in ("learning_rate", "momentum", "weight_decay"))
    optimizer = nn.SGD(net.parameters(), rate, momentum, nesterov=True, weight_decay=decay)
    return net, fit(net, optimizer, spec, rng, root, progress, folder)


def fit(
    net: Module,
    optimizer: Optimizer,
    spec: Mapping[str, Any],
    rng: np.random.Generator,
    root: str | None = None,
    progress: bool = False,
    folder: Path | None = None,
    companions: Sequence[Companion] = (),
) -> dict[str, Any]:
    """Train a new net in place and return {"history", "test_accuracy", "resumed"}; checkpoints are as in `dense_net`.

    Whatever decides what the net becomes has to be in the specification, the name of the checkpoint.
    """
    part, test = parts(spec, root)
    history, resumed = _trained(net, optimizer, spec, rng, part, test, progress, folder, companions)
    return {"history": history, "test_accuracy": history[-1]["test_accuracy"], "resumed": resumed}


def fit_to(
    net: Module,
    optimizer: Optimizer,
    spec: Mapping[str, Any],
    rng: np.random.Generator,
    part: Part,
    folder: Path | None,
) -> None:
    """Train as `fit` does on images that are loaded already, without a test after every epoch: of many small nets."""
    _trained(net, optimizer, spec, rng, part, None, folder=folder)


def _trained(
    net: Module,
    optimizer: Optimizer,
    spec: Mapping[str, Any],
    rng: np.random.Generator,
    part: Part,
    test: Part | None,
    progress: bool = False,
    folder: Path | None = None,
    companions: Sequence[Companion] = (),
) -> tuple[list[dict[str, Any]], bool]:
    xp = array_module(spec["device"])
    path = None if folder is None else folder / checkpoint_name(spec)
    resumed = path is not None and path.exists()
    history = nn.training.train(
        net,
        nn.SoftmaxCrossEntropy(),
        optimizer,
        xp.asarray(part[0]),
        xp.asarray(part[1]),
        epochs=spec["epochs"],
        batch_size=spec["batch_size"],
        rng=rng,
        schedule=schedule(spec),
        test=None if test is None else (xp.asarray(test[0]), xp.asarray(test[1])),
        augment=AUGMENT.get(spec["data"]),
        companions=companions,
        checkpoint_path=path,
        checkpoint_every=100,
        progress=progress,
    )
    return history, resumed


def slimming_net(
    spec: Mapping[str, Any],
    penalty: Mapping[str, Any],
    root: str | None = None,
    progress: bool = False,
    folder: Path | None = None,
) -> tuple[Module, dict[str, Any]]:
    """Return a net trained from scratch as `dense_net` is, but for a penalty on its scales, and what `fit` returns.

    Parameters
    ----------
    penalty : "strength"; "start" of all scales; "steps", how they move, "proximal" or "subgradient".  All weights but
        the scales decay.
    """
    rng = np.random.default_rng(spec["seed"])
    net = MODELS[spec["model"]](rng, dtype=np.float32).to(array_module(spec["device"]))
    slimming.start(net, penalty["start"])
    held = set(slimming.scales(net).values())
    optimizer = nn.SGD(
        net.parameters(),
        spec["learning_rate"],
        spec["momentum"],
        nesterov=True,
        weight_decay=spec["weight_decay"],
        decayed=[parameter for parameter in net.parameters() if parameter not in held],
    )
    families = slimming.families(net, penalty["strength"])
    moves: Companion = (
        group_lasso.ProximalSteps(net, families, optimizer)
        if penalty["steps"] == "proximal"
        else group_lasso.Subgradients(net, families, threshold=0)
    )
    return net, fit(net, optimizer, {**spec, **penalty}, rng, root, progress, folder, [moves])


def schedule(spec: Mapping[str, Any]) -> Callable[[int], float]:
    """Return the learning rate by epoch: tenths from the milestones on, or along a cosine where there are none."""
    if spec["milestones"]:
        return nn.step_decay(spec["learning_rate"], spec["milestones"])
    return nn.cosine_decay(spec["learning_rate"], spec["epochs"])


def checkpoint_name(spec: Mapping[str, Any]) -> str:
    """Return a file name that no other specification has: a run never goes on from one of another recipe."""
    return f"train-{spec['data']}-{spec['model']}-{spec['seed']}-{digest(dict(spec))}.npz"


def accuracy(net: Module, part: Part) -> float:
    """Return the share of patterns that the net gets right; a FloatingPointError if its loss is no longer finite."""
    loss, right = nn.batches.evaluate(net, nn.SoftmaxCrossEntropy(), *part)
    if not math.isfinite(loss):
        raise FloatingPointError(f"the loss became {loss} in the last step")
    return right


def hits(net: Module, part: Part) -> str:
    """Return which patterns the net gets right, eight to a byte, in base64: two nets can be compared image by image.

    `record_file.unpacked` reads it again.
    """
    x, t = part
    with nn.batches.evaluating(net):
        right = [
            to_numpy(net.forward(x[..., k : k + 1000])).argmax(axis=0) == to_numpy(t[k : k + 1000])
            for k in range(0, t.shape[0], 1000)
        ]
    return base64.b64encode(np.packbits(np.concatenate(right)).tobytes()).decode("ascii")


def tested(net: Module, part: Part) -> dict[str, Any]:
    """Return {"test_accuracy", "hits"} of a net: the number, and what paired tests of it need."""
    return {"test_accuracy": accuracy(net, part), "hits": hits(net, part)}


def costs(net: Module, data: str) -> dict[str, int]:
    """Return MACs and weights of the convolutions alone, and of the whole net, for an image of this data set."""
    conv, whole = count(net, SHAPES[data], "conv_only"), count(net, SHAPES[data], "li2017")
    return {
        "conv_macs": conv.macs,
        "conv_weights": conv.parameters,
        "macs": whole.macs,
        "weights": whole.parameters,
    }


# ------------------------------------------------------------------------------------ pruning what was trained


def free(net: Module) -> list[str]:
    """Return the weights of the convolutions whose filters no sum ties: in a residual block, all but the last."""
    return [
        f"{group.named('producer')[0].name}.W"
        for group in channels.groups(net)
        if not group.fixed and [member.kind for member in group.named("producer")] == ["Conv2d"]
    ]


def folded_l1(net: Module, names: list[str]) -> dict[str, Array]:
    """Return the L1 norms of the filters with batch norm folded in, which is a score of the function computed."""
    return filter_norm.saliency(surgery.fold_batchnorm(net), names)


def retrain(
    net: Module, spec: Mapping[str, Any], epochs: int, part: Part, test: Part, rng: np.random.Generator
) -> list[dict[str, float]]:
    """Train the net on in place, the learning rate falling along a cosine, and return one record an epoch.

    Raises
    ------
    FloatingPointError
        If a loss is no longer finite, that on the test images after an epoch included: the last step may be the one.
    """
    recipe = spec["retraining"]
    rate, momentum, decay = (recipe[name] for name in ("learning_rate", "momentum", "weight_decay"))
    optimizer = nn.SGD(net.parameters(), rate, momentum, nesterov=True, weight_decay=decay)
    history = nn.training.train(
        net,
        nn.SoftmaxCrossEntropy(),
        optimizer,
        *part,
        epochs=epochs,
        batch_size=recipe["batch_size"],
        rng=rng,
        schedule=nn.cosine_decay(rate, epochs),
        test=test,
        augment=AUGMENT.get(spec["dense"]["data"]),
        progress=False,
    )
    for row in history:
        if not math.isfinite(row["test_loss"]):
            raise FloatingPointError(f"the test loss became {row['test_loss']} in epoch {row['epoch']}")
    return history


def uniform_widths(net: Module, names: Sequence[str], data: str, macs: float) -> dict[str, int]:
    """Return how many filters each layer keeps if the same share of all goes, and this share of conv MACs is left."""
    share = filters.share_for_macs(net, names, SHAPES[data], macs, "conv_only")
    return {name: filters.kept(weight.shape[0], share) for name, weight in prunable(net, names).items()}


def retrained(net: Module, spec: Mapping[str, Any], part: Part, test: Part) -> dict[str, Any]:
    """Return {"retrained": the accuracy and hits of a copy that trained on, or {"diverged": why}}."""
    small, rng = surgery.duplicate(net), np.random.default_rng(spec["seed"])
    try:
        retrain(small, spec, spec["retraining"]["epochs"], part, test, rng)
    except FloatingPointError as error:
        return {"retrained": {"diverged": str(error)}}
    return {"retrained": tested(small, test)}


def scratch(keep: Mapping[str, Sequence[int]], dense: Mapping[str, Any], rng: np.random.Generator) -> Module:
    """Return a new net of the widths that `keep` leaves, drawn as the dense net was.

    Weights of the dense net's fan-in are cut and multiplied by the root of the old fan-in over the new one.
    """
    whole = MODELS[dense["model"]](rng, dtype=np.float32)
    small: Module = surgery.remove(whole, keep)
    for (_, old), (_, new) in zip(prunable(whole).items(), prunable(small).items()):
        new.data *= np.float32(np.sqrt(old.data[0].size / new.data[0].size))
    return small


def from_scratch(net: Module, spec: Mapping[str, Any], root: str | None, test: Part) -> dict[str, Any]:
    """Return the costs of a new net, and what `retrained` does after training it as a dense net is trained.

    It sees the images of the dense net, for as many steps as its training and the retraining had together.
    """
    dense, retraining = spec["dense"], spec["retraining"]
    part, _ = shared_parts({**spec, "images": dense["images"]}, root)
    recipe = {name: dense[name] for name in ("learning_rate", "momentum", "weight_decay", "batch_size")}
    epochs = dense["epochs"] + round(retraining["epochs"] * spec["images"] / dense["images"])
    longer = {**spec, "retraining": {**recipe, "epochs": epochs}}
    return {**costs(net, dense["data"]), "epochs": epochs, **retrained(net, longer, part, test)}


# --------------------------------------------------------------------------------------------------- perceptrons

ACTIVATIONS = {"relu": (nn.ReLU, nn.initializers.he_normal), "tanh": (nn.Tanh, nn.initializers.lecun_normal)}
LOSSES = {"squared error": nn.SquaredError, "cross-entropy": nn.SoftmaxCrossEntropy}


def perceptron_spec(data: str, seed: int, activation: str, loss: str, device: str) -> dict[str, Any]:
    """Return what the specifications of all perceptrons share.

    Raises
    ------
    ValueError
        If there is no such activation or loss, or the seed is negative.
    """
    if activation not in ACTIVATIONS or loss not in LOSSES:
        raise ValueError(
            f"expected an activation of {', '.join(ACTIVATIONS)} and a loss of {', '.join(LOSSES)},"
            f" got {activation!r} and {loss!r}"
        )
    check_seeds([seed])
    names = {"data": data, "seed": seed, "activation": activation, "loss": loss, "device": device}
    return {**names, "batch_size": 64, "weight_decay": 1e-3}


def perceptron(
    spec: Mapping[str, Any], root: str | None = None, progress: bool = False
) -> tuple[Module, Objective, np.random.Generator]:
    """Return the net of a cell after training, what it minimised, and the generator that goes on drawing.

    In float64: predicted changes of E down to 1e-4 of it are compared with true ones.
    """
    rng = np.random.default_rng(spec["seed"])
    xp = array_module(spec["device"])
    activation, init = ACTIVATIONS[spec["activation"]]
    data = images(spec["data"], root)
    train, test = (
        (xp.asarray(x), targets(spec["loss"], xp.asarray(x), xp.asarray(t))) for x, t in (data.train, data.test)
    )
    objective = Objective(LOSSES[spec["loss"]](), train, test, spec["weight_decay"])
    n_in = int(np.prod(train[0].shape[:-1]))
    net = nn.models.mlp((n_in, *spec["hidden"], 10), rng, activation=activation, init=init)
    net.to(xp)
    descend(net, objective, spec, spec["epochs"], rng, progress)
    return net, objective, rng


def targets(loss: str, x: Array, t: Array) -> Array:
    """Return what the loss compares the outputs with: labels, or +-1 for squared error, as in the paper's network."""
    return nn.one_hot(t, 10, like=x, off=-1) if loss == "squared error" else t


def descend(
    net: Module,
    objective: Objective,
    spec: Mapping[str, Any],
    epochs: int,
    rng: np.random.Generator,
    progress: bool = False,
) -> None:
    """Train in place with momentum, on the data and with the decay of the objective."""
    rate, (x, t) = spec["learning_rate"], objective.train
    optimizer = nn.SGD(net.parameters(), rate, momentum=0.9, weight_decay=spec["weight_decay"])
    schedule = two_steps(rate, epochs)
    nn.training.train(
        net, objective.loss, optimizer, x, t, epochs, spec["batch_size"], rng, schedule, progress=progress
    )


def two_steps(learning_rate: float, epochs: int) -> Callable[[int], float]:
    """Return the schedule that divides the rate by ten after 60 and after 85 % of the epochs."""
    return nn.step_decay(learning_rate, (epochs * 6 // 10, epochs * 85 // 100))
