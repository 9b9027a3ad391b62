"""The pipeline around pruning: three stages with masks that hold, channels without scale, budgets for the control."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

import nn
from nn.optimizers import Optimizer
from pruning import masks, pipeline, surgery
from pruning.ledger.core import Claim, Form, Formula, Measured
from pruning.scores import magnitude

Array = np.ndarray
OPTIMIZERS: dict[str, Callable[[list[nn.Parameter]], Optimizer]] = {
    "momentum": lambda u: nn.SGD(u, 0.05, momentum=0.9, weight_decay=0.01),
    "Nesterov": lambda u: nn.SGD(u, 0.05, momentum=0.9, nesterov=True),
    "Adam": lambda u: nn.Adam(u, 0.01),
}


def _data(rng: np.random.Generator) -> tuple[Array, Array]:
    return rng.standard_normal((4, 12)), rng.standard_normal((3, 12))


def _train(net: nn.Module, optimizer: Optimizer, data: tuple[Array, Array], on: Sequence[Array] = ()) -> None:
    # Five steps; `on` holds masks for the gradients of the weights, where that is what is masked.
    loss = nn.SquaredError()
    for _ in range(5):
        loss.forward(net.forward(data[0]), data[1])
        net.backward(loss.backward())
        for parameter, mask in zip(_weights(net), on):
            parameter.grad = parameter.grad * mask
        optimizer.step()


def _weights(net: nn.Module) -> list[nn.Parameter]:
    return list(masks.prunable(net).values())


def _three_stages(rng: np.random.Generator) -> Iterator[Measured]:
    for name in OPTIMIZERS:
        yield from _two_rounds(rng, name)
        yield from _masked_elsewhere(rng, name)
    yield from _ties(rng)
    message = "Sparsity counts all weights, not those that the round before has left."
    yield Measured("share of the survivors", abs(7 + round(0.62 * 28) - 22), True, message)


def _two_rounds(rng: np.random.Generator, name: str) -> Iterator[Measured]:
    net, data = nn.models.mlp((4, 5, 3), rng), _data(rng)
    optimizer, at_once = OPTIMIZERS[name](net.parameters()), []
    _train(net, optimizer, data)  # now the optimizer remembers something
    objective = pipeline.Objective(nn.SquaredError(), data, data)

    def retrain(net: nn.Module) -> None:
        at_once.append(_sizes(net))
        _train(net, optimizer, data)

    for sparsity, zeros in ((0.2, 7), (0.62, 22)):  # of 35 weights, to the nearest
        before = _sizes(net)
        pipeline.prune_and_retrain(net, magnitude.saliency, [sparsity], objective, retrain)
        gone, found = at_once[-1] == 0, _sizes(net) == 0
        smaller = int(np.sum(before < before[gone].max())) + 1
        yield Measured(f"zeros at once beside {zeros}, {name}", abs(int(gone.sum()) - zeros))
        yield Measured(f"zeros after training beside {zeros}, {name}", abs(int(found.sum()) - zeros))
        yield Measured(f"smaller ones that stay, {name}", abs(smaller - zeros))
        yield Measured(f"zeros that came back, {name}", int(np.sum((before == 0) & ~found)))
    yield Measured(f"masks applied twice, {name}", _changed_by_a_second_time(net))


def _sizes(net: nn.Module) -> Array:
    return np.concatenate([np.abs(u.data).ravel() for u in _weights(net)])


def _changed_by_a_second_time(net: nn.Module) -> float:
    before = [u.data.copy() for u in _weights(net)]
    keep = masks.smallest(magnitude.saliency(net), 0.62, dead=masks.current(net))
    masks.apply(net, keep)
    return float(sum(np.sum(u.data != old) for u, old in zip(_weights(net), before)))


def _masked_elsewhere(rng: np.random.Generator, name: str) -> Iterator[Measured]:
    for what, message in (
        ("the gradient alone is masked", "What the optimizer remembers moves deleted weights away from zero."),
        ("zeros are set once", "A zero without a mask is trained like any other weight."),
    ):
        net, data = nn.models.mlp((4, 5, 3), rng), _data(rng)
        optimizer = OPTIMIZERS[name](net.parameters())
        _train(net, optimizer, data)
        keep = [(rng.permutation(u.data.size) % 2).reshape(u.shape) for u in _weights(net)]
        for u, mask in zip(_weights(net), keep):
            u.data = u.data * mask
        _train(net, optimizer, data, keep if "gradient" in what else ())
        back = sum(int(np.sum((u.data != 0) & (mask == 0))) for u, mask in zip(_weights(net), keep))
        yield Measured(what, back, True, message)


def _ties(rng: np.random.Generator) -> Iterator[Measured]:
    scores = rng.permutation(np.repeat([0.0, 1.0, 2.0], [4, 10, 6]))
    zeros = int(np.sum(masks.smallest({"W": scores}, 0.3)["W"] == 0))
    yield Measured("zeros beside 6, among ties", abs(zeros - 6))
    up_to = int(np.sum(scores <= np.sort(scores)[5]))
    yield Measured("all up to a threshold", abs(up_to - 6), True, "A threshold deletes all ties at once, and too many.")


EPOCHS, MILESTONES, IMAGE = 160, (80, 120), (3, 15, 15)


def _narrow(first: int, second: int) -> nn.Module:
    layers = nn.Conv2d(3, first, 3, None, padding=1), nn.ReLU(), nn.Conv2d(first, second, 3, None, stride=2)
    return nn.Sequential(*layers, nn.GlobalAvgPool2d(), nn.Linear(second, 5, None))


def _multiplications(first: int, second: int) -> int:
    return 15 * 15 * first * 3 * 9 + 7 * 7 * second * first * 9 + 5 * second


def _numbers(budget: pipeline.Budget) -> Array:
    return np.array([budget.epochs, *budget.milestones])


def _off(a: Array, b: Sequence[float]) -> float:
    return float(np.max(np.abs(a - np.array(b))))


def _budgets(rng: np.random.Generator) -> Iterator[Measured]:
    whole = EPOCHS, *MILESTONES
    for _ in range(5):
        first, wide, narrow = (int(2 * rng.integers(low, low + 3) + 1) for low in (3, 12, 1))
        dense, small = _narrow(first, wide), _narrow(first, narrow)
        M, m = _multiplications(first, wide), _multiplications(first, narrow)
        b = _numbers(pipeline.scratch_b(dense, small, IMAGE, EPOCHS, MILESTONES))
        nearest = [min(range(10 * n), key=lambda k: abs(k * m - n * M)) for n in whole]  # m is odd: no ties
        yield Measured("scratch-B, the nearest whole epochs", _off(b, nearest))
        yield Measured("scratch-E, as many epochs", _off(_numbers(pipeline.scratch_e(EPOCHS, MILESTONES)), whole))
        capped = pipeline.scratch_b(dense, small, IMAGE, EPOCHS, MILESTONES, at_most=1.5)
        yield Measured("at most half as many more", _off(_numbers(capped), [1.5 * n for n in whole]))
        P, p = (27 * first + 9 * first * second + 5 * second for second in (wide, narrow))
        for name, wrong, message in (
            ("milestones stay", [nearest[0], *MILESTONES], "The schedule of the learning rate is stretched as well."),
            ("inverse ratio", [round(n * m / M) for n in whole], "The small net is cheaper, so it trains longer."),
            ("weights for operations", [round(n * P / p) for n in whole], "A budget is computation, not memory."),
            ("the saved share on top", [round(n * (2 - m / M)) for n in whole], "1 + (M - m) / M is not M / m."),
        ):
            yield Measured(name, _off(b, wrong), True, message)
    b = _numbers(pipeline.scratch_b(*_vgg16_and_a(), (3, 32, 32), EPOCHS, MILESTONES))
    yield Measured("VGG-16-A: 160 epochs become 243", _off(b, [243, 122, 182]))


def _vgg16_and_a() -> tuple[nn.Module, nn.Module]:
    # Half of the filters of layers 1 and 8 to 13 are gone: 206 of 313 million multiply-accumulates are left.
    halved = (32, 64, 0, 128, 128, 0, 256, 256, 256, 0, 256, 256, 256, 0, 256, 256, 256, 0)
    return nn.models.vgg(16, None), nn.models.vgg(16, None, filters=halved)


def _draw_scaleless(rng: np.random.Generator) -> dict[str, Array]:
    # Two of four channels have no scale; the shift of one passes ReLU, that of the other does not.
    gamma, beta = np.append([0.0, 0.0], rng.uniform(0.5, 1.5, 2)), rng.standard_normal(4)
    beta[:2] = rng.uniform(0.5, 1), rng.uniform(-1, -0.5)
    W, V = rng.standard_normal((4, 2, 3, 3)), rng.standard_normal((3, 4, 3, 3))
    return {"W": W, "gamma": gamma, "beta": beta, "V": V, "x": rng.standard_normal((2, 7, 7, 2))}


def _folded(W: Array, gamma: Array, beta: Array, V: Array, x: Array) -> Array:
    rng = np.random.default_rng(0)
    norm, last = nn.BatchNorm(4), nn.Conv2d(4, 3, 3, rng, padding=1)
    net = nn.Sequential(nn.Conv2d(2, 4, 3, rng, bias=False), norm, nn.ReLU(), last)
    for parameter, data in zip(net.parameters(), (W, gamma, beta, V)):
        parameter.data = data
    net.eval()
    keep = {"0.W": [2, 3]}
    small = surgery.remove(surgery.fold_constants(net, keep, x.shape[:3], border="map"), keep)
    return np.asarray(small.forward(x))


def _correlated(x: Array, W: Array) -> Array:
    windows = np.lib.stride_tricks.sliding_window_view(x, W.shape[2:], axis=(1, 2))
    return np.einsum("ocij,chwnij->ohwn", W, windows)


def _padded(x: Array) -> Array:
    return np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))


def _whole(W: Array, gamma: Array, beta: Array, V: Array, x: Array) -> Array:
    # Batch norm with the mean 0 and the variance 1 that it starts with.
    a = _correlated(x, W) * (gamma / np.sqrt(1 + 1e-5))[:, None, None, None] + beta[:, None, None, None]
    return _correlated(_padded(np.maximum(a, 0)), V)


def _without(constant: Callable[[Array, Array], Array]) -> Callable[..., Array]:
    # The two channels are dropped; `constant` of what they emit and of the kernels (o, c, i, j) that read it is added.
    def form(W: Array, gamma: Array, beta: Array, V: Array, x: Array) -> Array:
        rest = _whole(W[2:], gamma[2:], beta[2:], V[:, 2:], x)
        return rest + constant(beta[:2], V[:, :2])[:, None, None, None]

    return form


def _shift_without_relu(W: Array, gamma: Array, beta: Array, V: Array, x: Array) -> Array:
    emitted = np.broadcast_to(beta[:2, None, None, None], (2, 5, 5, 1))
    return _whole(W[2:], gamma[2:], beta[2:], V[:, 2:], x) + _correlated(_padded(emitted), V[:, :2])


STATEMENTS = (
    Formula(
        id="S0-F11",
        title="a channel without scale is a constant",
        printed=r"\gamma_c\approx0\;\Rightarrow\;\text{prune channel }c",
        verdict="right if",
        remark="Right if act(beta) = 0: else the channel emits this constant, which the next layer has to take up.",
        where="S0, Experiments - Automatic structured: Network Slimming",
        code="pruning.surgery.fold_constants, pruning.surgery.remove",
        notebook="11, section 4",
        draw=_draw_scaleless,
        right=_folded,
        referees=(Form("the whole net, by windows", _whole),),
        wrong=(
            Form("dropped", _without(lambda beta, V: 0 * V[:, 0, 0, 0]), "What batch norm shifts is not zero."),
            Form(
                "beta for act(beta)",
                _shift_without_relu,
                "The constant passes the activation, and ReLU stops a negative one.",
            ),
            Form(
                "one bias at a border of zeros",
                _without(lambda beta, V: V.sum(axis=(2, 3)) @ np.maximum(beta, 0)),
                "A window over the border sees less of the constant: only a map of biases is exact.",
            ),
            Form(
                "the middle of the kernel",
                _without(lambda beta, V: V[:, :, 1, 1] @ np.maximum(beta, 0)),
                "Every entry of the kernel reads the constant, not the middle one alone.",
            ),
        ),
    ),
    Claim(
        id="S0-A1",
        title="train, prune, retrain",
        printed=r"\text{training}\;\to\;\text{pruning}\;\to\;\text{fine-tuning}",
        verdict="right",
        remark="It is a recipe: the round(s n) smallest of n weights go, and masks keep them at zero in every step.",
        where="S0, Three-stage pipeline",
        code="pruning.pipeline.prune_and_retrain, pruning.masks.smallest, pruning.masks.apply, nn.SGD, nn.Adam",
        notebook="01, section 7.3",
        tolerance=0.0,
        measure=_three_stages,
        referee="zeros counted",
    ),
    Claim(
        id="S0-F12",
        title="scratch-E and scratch-B",
        printed=r"E_B=E\cdot\frac{\mathrm{FLOPs}(\text{full})}{\mathrm{FLOPs}(\text{pruned})},\qquad E_E=E",
        verdict="right",
        remark="The milestones of the learning rate are stretched by the same factor; epochs are whole numbers.",
        where="S0, Training budget",
        code="pruning.pipeline.scratch_b, pruning.pipeline.scratch_e",
        notebook="11b, section 5",
        tolerance=0.0,
        measure=_budgets,
        referee="every number of epochs tried",
    ),
)
